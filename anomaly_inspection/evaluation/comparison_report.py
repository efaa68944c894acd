# SPDX-License-Identifier: Apache-2.0
"""
Write a page that shows several recipes side by side, with the report of each in its own folder.

"""

from __future__ import annotations

from html import escape
from typing import Any, TYPE_CHECKING

from anomaly_inspection.chart_style import colour_of, DEFECT, GOOD
from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.charts import interval_bar, roc, score_histogram
from anomaly_inspection.evaluation.judged_image import NO_PART
from anomaly_inspection.evaluation.report import (
    dataset_name,
    remarks,
    roc_curve_of,
    share_read,
    STYLE,
    write_report,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anomaly_inspection.evaluation.comparison import Comparison

MOST_DISAGREEMENTS = 40

# Words, keys that lead to the figure, and whether a higher value is better.
_ROWS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ('image AUROC', ('image_auroc',), True),
    ('average precision', ('average_precision',), True),
    ('best F1', ('f1_max',), True),
    ('recall at the limits', ('at_limits', 'recall'), True),
    ('false reject rate', ('at_limits', 'false_reject_rate'), False),
    ('balanced accuracy', ('at_limits', 'balanced_accuracy'), True),
    ('F1 at the limits', ('at_limits', 'f1'), True),
    ('class recognised', ('class_accuracy',), True),
    ('pixel AUROC', ('pixel_auroc',), True),
    ('AUPRO to 0.3', ('aupro',), True),
    ('regions by boxes: precision', ('regions', 'box', 'precision'), True),
    ('regions by boxes: recall', ('regions', 'box', 'recall'), True),
    ('regions by boxes: F1', ('regions', 'box', 'f1'), True),
    ('mean IoU of matched boxes', ('regions', 'box', 'mean_iou'), True),
    ('median IoU of matched boxes', ('regions', 'box', 'median_iou'), True),
    ('regions by pixels: F1', ('regions', 'mask', 'f1'), True),
    ('mean IoU of all pixels found', ('regions', 'union_mask', 'mean_iou'), True),
    ('median IoU of all pixels found', ('regions', 'union_mask', 'median_iou'), True),
)

_STYLE = """
.swatch { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; }
td.best { font-weight: 650; }
th a { color: inherit; }
td .quiet, th .quiet { font-weight: 400; display: block; }
h3 { font-size: 14px; margin: 0 0 6px; font-weight: 650; }
td.bar { white-space: nowrap; }
.wide { overflow-x: auto; }
.pass { color: #16783a; } .reject { color: #b3261e; font-weight: 650; }
"""


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """
    Write the page and, in folders beside it, the report of each recipe; return the page.

    Parameters
    ----------
    comparison : Comparison
        Result of `compare`.
    folder : Path
        Created when missing; files of an older report in it are replaced.

    Raises
    ------
    SettingError
        When the folder cannot be written.

    """
    places = [
        f'{place}_{evaluation.recipe.name}'
        for place, evaluation in enumerate(comparison.evaluations, 1)
    ]
    for place, evaluation in zip(places, comparison.evaluations, strict=True):
        write_report(evaluation, folder / place)
    page = folder / 'index.html'
    try:
        page.write_text(_page(comparison, places), encoding='utf-8', errors='replace')
    except OSError as error:
        raise SettingError(
            f'the report cannot be written to {folder}: {error.strerror}'
        ) from error
    return page


def _page(comparison: Comparison, places: Sequence[str]) -> str:
    first = comparison.evaluations[0]
    figures = first.figures
    title = f'{len(places)} recipes on {escape(dataset_name(first.folder))}'
    faults, notes = (
        [
            f'{label}: {text}'
            for label, one in zip(comparison.labels, comparison.evaluations, strict=True)
            for text in one.figures[kind]
        ]
        for kind in ('faults', 'notes')
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}{_STYLE}</style></head><body><main>
<h1>{title}</h1>
<p class="quiet">Each recipe judged the same {figures['n_good']} good and {figures['n_defect']}
defective images and {figures['n_no_part']} images of empty places{share_read(figures)}.
{escape(figures['dataset'])}</p>
{remarks(faults, notes)}
<h2>Figures</h2>
<div class="wide">{_figures(comparison, places)}</div>
<p class="quiet">The 95 % interval is below each figure, and the best figure of each row is bold.
The difference is paired: each draw takes the same images for both recipes. So the difference can
be clear although the intervals overlap.</p>
<h2>Scores</h2>
<div class="pair">{_charts(comparison)}</div>
<h2>Defects found, by kind</h2>
<div class="wide">{_kinds(comparison)}</div>
<h2>Judged differently</h2>
{_disagreements(comparison)}
</main></body></html>
"""


def _heads(comparison: Comparison) -> list[str]:
    return [
        f'<i class="swatch" style="background:{colour_of(place)}"></i>{escape(label)}'
        for place, label in enumerate(comparison.labels)
    ]


def _figures(comparison: Comparison, places: Sequence[str]) -> str:
    heads = [
        f'<th class="n"><a href="{place}/index.html">{head}</a>'
        f'<span class="quiet">{escape(", ".join(one.recipe.scorers))}; '
        f'taught on {one.recipe.provenance.image_count}</span></th>'
        for head, place, one in zip(
            _heads(comparison), places, comparison.evaluations, strict=True
        )
    ]
    rows = [
        _row(words, [_found(one.figures, way) for one in comparison.evaluations], is_more_better)
        for words, way, is_more_better in _ROWS
    ]
    differences = [
        None if one is None else (one.value, [one.low, one.high]) for one in comparison.differences
    ]
    if any(differences):
        less = escape(comparison.labels[0])
        rows.insert(1, _row(f'AUROC minus that of {less}', [None, *differences], None, '+.3f'))
    times = [one.figures['ms_per_image']['p50'] for one in comparison.evaluations]
    rows.append(
        '<tr><td>median time per image</td>'
        + ''.join(
            f'<td class="n{_best(time, times, False)}">'
            f'{"" if time is None else f"{time:.1f} ms"}</td>'
            for time in times
        )
        + '</tr>'
    )
    return f'<table><tr><th></th>{"".join(heads)}</tr>{"".join(rows)}</table>'


def _found(figures: dict[str, Any], way: Sequence[str]) -> tuple[float, list[float]] | None:
    """
    Give a figure and its interval; None where it is undefined.

    """
    value: Any = figures
    interval: Any = figures['interval']
    for key in way:
        if value is None:
            return None
        value, interval = value[key], interval[key]
    return None if value is None else (value, interval)


def _row(
    words: str,
    found: Sequence[tuple[float, list[float]] | None],
    is_more_better: bool | None,
    form: str = '.3f',
) -> str:
    if not any(found):
        return ''
    values = [None if one is None else one[0] for one in found]
    cells = [
        '<td></td>'
        if one is None
        else f'<td class="n{_best(one[0], values, is_more_better)}">{one[0]:{form}}'
        f'<span class="quiet">{one[1][0]:{form}} to {one[1][1]:{form}}</span></td>'
        for one in found
    ]
    return f'<tr><td>{words}</td>{"".join(cells)}</tr>'


def _best(value: float | None, values: Sequence[float | None], is_more_better: bool | None) -> str:
    known = [one for one in values if one is not None]
    if value is None or is_more_better is None or len(set(known)) < 2:
        return ''
    return ' best' if value == (max(known) if is_more_better else min(known)) else ''


def _charts(comparison: Comparison) -> str:
    is_defect, _ = comparison.evaluations[0].ranked()
    charts = []
    if comparison.evaluations[0].figures['image_auroc'] is not None:
        curves = map(roc_curve_of, comparison.evaluations, comparison.labels)
        charts.append(('ROC', roc(is_defect, list(curves))))
    for head, evaluation in zip(_heads(comparison), comparison.evaluations, strict=True):
        scores = evaluation.ranked()[1]
        charts.append((head, score_histogram(scores[~is_defect], scores[is_defect])))
    return ''.join(f'<div class="panel"><h3>{head}</h3>{chart}</div>' for head, chart in charts)


def _kinds(comparison: Comparison) -> str:
    heads = ''.join(f'<th>{head}</th>' for head in _heads(comparison))
    images = [i for i in comparison.evaluations[0].images if i.true_class != NO_PART]
    kinds = [
        (kind, ('recall_by_defect', kind), DEFECT)
        for kind in comparison.evaluations[0].figures['recall_by_defect']
    ]
    rows = []
    for kind, way, colour in (*kinds, ('good', ('at_limits', 'false_reject_rate'), GOOD)):
        count = sum(image.true_class == kind for image in images)
        found = [_found(one.figures, way) for one in comparison.evaluations]
        cells = [
            '<td></td>'
            if one is None
            else f'<td class="bar">{interval_bar(one[0], one[1][0], one[1][1], colour)} '
            f'{100 * one[0]:.0f} %</td>'
            for one in found
        ]
        rows.append(
            f'<tr{" class=sum" if kind == "good" else ""}><td>{escape(kind)}</td>'
            f'<td class="n">{count}</td>{"".join(cells)}</tr>'
        )
    return (
        f'<table><tr><th>truth</th><th class="n">images</th>{heads}</tr>{"".join(rows)}</table>'
        '<p class="quiet">Share of images rejected, with its interval. For good images, less is '
        'better.</p>'
    )


def _disagreements(comparison: Comparison) -> str:
    rows = []
    judged = list(zip(*(one.images for one in comparison.evaluations), strict=True))
    different = [images for images in judged if len({i.is_rejected for i in images}) > 1]
    if not different:
        return '<p>None.</p>'
    for images in different[:MOST_DISAGREEMENTS]:
        cells = [
            f'<td class="n {image.judgement.verdict.name.lower()}">'
            f'{image.judgement.verdict.name} {image.rank_score:.2f}</td>'
            for image in images
        ]
        rows.append(
            f'<tr><td>{escape(images[0].name)}</td><td>{escape(images[0].true_class)}</td>'
            f'{"".join(cells)}</tr>'
        )
    heads = ''.join(f'<th class="n">{head}</th>' for head in _heads(comparison))
    shown = f' (the first {MOST_DISAGREEMENTS} shown)' if len(different) > len(rows) else ''
    return (
        f'<p class="quiet">{len(different)} of {len(judged)} images{shown}, with their anomaly '
        'scores. A score above 1 is a reject.</p><div class="wide"><table><tr><th>image</th>'
        f'<th>truth</th>{heads}</tr>{"".join(rows)}</table></div>'
    )
