# SPDX-License-Identifier: Apache-2.0
"""
Write the evaluation as a page: index.html with its pictures. It loads nothing from elsewhere.

"""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.chart_style import DEFECT, GOOD
from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.evaluation.charts import (
    BAR_STYLE,
    interval_bar,
    roc,
    RocCurve,
    score_histogram,
)
from anomaly_inspection.evaluation.judged_image import NO_PART
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.overlay import draw_overlay, enlargement, MeasureRow, regions_to_draw
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.scoring.frame_scorer import combined_map
from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.evaluation.evaluate import Evaluation
    from anomaly_inspection.evaluation.judged_image import JudgedImage

MOST_PICTURES = 8
_MASK_COLOUR = (140, 230, 60)

STYLE = (
    """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif; color: #1d1f23;
  background: #f5f6f8; margin: 0; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; font-weight: 650; }
h2 { font-size: 18px; margin: 36px 0 12px; font-weight: 650; }
p { margin: 4px 0 12px; max-width: 78ch; }
.quiet { color: #5c636e; font-size: 13px; overflow-wrap: anywhere; }
.fault { background: #fdeaea; border-left: 4px solid #c62828; padding: 8px 12px;
  font-weight: 650; }
.note { background: #fff6dd; border-left: 4px solid #d9a413; padding: 8px 12px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; }
.card, .panel { background: white; border: 1px solid #e3e6ea; border-radius: 8px; }
.card { padding: 12px 16px; }
.card b { display: block; font-size: 26px; font-weight: 650; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.panel { padding: 12px 16px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
.chart { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; background: white; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: #5c636e; font-size: 13px; }
th, td { padding: 6px 12px; border-bottom: 1px solid #e3e6ea; }
td.n, th.n { text-align: right; }
tr.sum td { font-weight: 650; background: #fafbfc; }
figure { margin: 0; }
figure img { width: 100%; display: block; border-radius: 6px; }
figcaption { font-size: 13px; color: #5c636e; margin: 4px 0 8px; overflow-wrap: anywhere; }
@media (max-width: 800px) { .pair { grid-template-columns: 1fr; } }
@media print { body { background: white; } main { padding: 0; max-width: none; }
  figure, .card, .panel, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""
    + BAR_STYLE
)


def write_report(evaluation: Evaluation, folder: Path) -> Path:
    """
    Write the report into a folder and give the path of its page.

    Parameters
    ----------
    evaluation : Evaluation
        Result of `evaluate_dataset`. The worst images are read and scored again.
    folder : Path
        Created when missing; files of an older report in it are replaced.

    Raises
    ------
    SettingError
        When the folder cannot be written.

    """
    worst_good, missed = _worst(evaluation)
    try:
        (folder / 'images').mkdir(parents=True, exist_ok=True)
        for old in (folder / 'images').glob('worst_*.jpg'):
            old.unlink()
        pictures = [
            _write_pictures(evaluation, images, folder, kind)
            for kind, images in (('good', worst_good), ('defect', missed))
        ]
        page = folder / 'index.html'
        page.write_text(_page(evaluation, *pictures), encoding='utf-8', errors='replace')
    except OSError as error:
        raise SettingError(
            f'the report cannot be written to {folder}: {error.strerror}'
        ) from error
    return page


def _worst(evaluation: Evaluation) -> tuple[list[JudgedImage], list[JudgedImage]]:
    """
    Give the good images with the highest scores and the defective ones with the lowest.

    """
    by_score = sorted(evaluation.images, key=lambda image: image.rank_score)
    good = [image for image in by_score if image.true_class == 'good']
    defective = [image for image in by_score if image.true_class not in ('good', NO_PART)]
    return good[::-1][:MOST_PICTURES], defective[:MOST_PICTURES]


# Pictures


def _write_pictures(
    evaluation: Evaluation, images: Sequence[JudgedImage], folder: Path, kind: str
) -> str:
    recipe_judge = RecipeJudge(evaluation.recipe)
    figures = []
    with ImageFolder(evaluation.folder) as source:
        for place, image in enumerate(images, 1):
            truth = source.truth(image.name)
            drawn = _draw(evaluation, recipe_judge, image, None if truth is None else truth.mask)
            caption = escape(_caption(image))
            if drawn is None:
                figures.append(f'<figure class="panel">no picture<p>{caption}</p></figure>')
                continue
            name = f'images/worst_{kind}_{place}.jpg'
            encoded = cv2.imencode('.jpg', drawn, (cv2.IMWRITE_JPEG_QUALITY, 88))[1]
            (folder / name).write_bytes(encoded.tobytes())
            figures.append(
                f'<figure><img src="{name}" alt="{escape(image.name)}">'
                f'<figcaption>{caption}</figcaption></figure>'
            )
    return f'<div class="pair">{"".join(figures)}</div>' if figures else '<p>None.</p>'


def _draw(
    evaluation: Evaluation,
    recipe_judge: RecipeJudge,
    image: JudgedImage,
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.uint8] | None:
    try:
        frame = read_image(evaluation.folder / image.name)
    except FrameError:
        return None
    judgement, scores = recipe_judge.judge(Frame(frame, 0, 0))
    recipe = evaluation.recipe
    drawn = draw_overlay(
        frame,
        verdict=judgement.verdict.name,
        reason=judgement.reason.name.lower().replace('_', ' '),
        anomaly_map=combined_map(scores),
        regions=regions_to_draw(scores),
        rows=[
            MeasureRow(
                limit.name,
                value,
                limit.value,
                '<=' if limit.bad_side is BadSide.HIGH else '>=',
                limit.unit,
                limit.anomaly_score(value),
            )
            for limit in limit_table(recipe)
            if (value := image.measures.get(limit.scorer, {}).get(limit.measure)) is not None
        ],
        title=printable(image.name),
        recipe=f'{recipe.name} version {recipe.version}',
    )
    if mask is not None and mask.shape == frame.shape[:2]:
        _outline(drawn, mask)
    return drawn


def _outline(drawn: NDArray[np.uint8], mask: NDArray[np.bool_]) -> None:
    height, width = mask.shape
    factor = enlargement(width, height)
    large = np.kron(mask, np.ones((factor, factor), np.uint8)).astype(np.uint8)
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for colour, thickness in (((30, 24, 20), 4), (_MASK_COLOUR, 2)):
        cv2.drawContours(drawn, contours, -1, colour, thickness, cv2.LINE_AA)


# Page


def _page(evaluation: Evaluation, worst_good: str, missed: str) -> str:
    figures, recipe = evaluation.figures, evaluation.recipe
    title = f'Recipe {escape(recipe.name)} on {escape(dataset_name(evaluation.folder))}'
    notes = remarks(figures['faults'], figures['notes'])
    has_masks = figures['pixel_auroc'] is not None
    outline = ', and the outline shows the marked defect' if has_masks else ''
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head><body><main>
<h1>{title}</h1>
<p class="quiet">{figures['n_good']} good and {figures['n_defect']} defective images,
{figures['n_no_part']} images of empty places{share_read(figures)}. Recipe version
{recipe.version}, taught on {recipe.provenance.image_count} good parts, hash
{escape(recipe.hash[:12])}. {escape(figures['dataset'])}</p>
{notes}
<h2>Figures</h2>
<div class="cards">{_cards(figures)}</div>
<p class="quiet">The 95 % interval is below each figure. Recall, false reject rate, balanced
accuracy and F1 at the limits come from the verdicts. Image AUROC, average precision and best F1
use only the order of the scores.</p>
<h2>Scores</h2>
<div class="pair">{_charts(evaluation)}</div>
<h2>Verdicts</h2>
{_verdicts(evaluation)}
{_regions(figures)}
<h2>Each scorer and measure alone</h2>
{_alone(evaluation)}
<h2>Good images with the highest scores</h2>
<p class="quiet">Heat shows where a map exceeds its region limit.</p>
{worst_good}
<h2>Defective images with the lowest scores</h2>
<p class="quiet">Heat shows where a map exceeds its region limit{outline}.</p>
{missed}
</main></body></html>
"""


def remarks(faults: Iterable[str], notes: Iterable[str]) -> str:
    """
    Make one paragraph for each fault and each note, faults first.

    """
    return ''.join(
        f'<p class="{kind}">{escape(text)}</p>'
        for kind, texts in (('fault', faults), ('note', notes))
        for text in texts
    )


def dataset_name(folder: Path) -> str:
    """
    Give the usual name of the data set that a test folder belongs to.

    """
    return folder.parent.name if folder.name == 'test' else folder.name


def share_read(figures: dict[str, Any]) -> str:
    """
    Say how many of the images were read; '' when all of them were.

    """
    read, of = figures['share']['images'], figures['share']['of']
    return '' if read == of else f' ({read} of {of} images read)'


def _cards(figures: dict[str, Any]) -> str:
    at_limits, intervals = figures['at_limits'], figures['interval']
    shown = [
        ('image AUROC', figures['image_auroc'], intervals['image_auroc']),
        ('average precision', figures['average_precision'], intervals['average_precision']),
        ('best F1', figures['f1_max'], intervals['f1_max']),
        *(
            (words, at_limits[key], intervals['at_limits'][key])
            for words, key in (
                ('recall', 'recall'),
                ('false reject rate', 'false_reject_rate'),
                ('balanced accuracy', 'balanced_accuracy'),
                ('F1 at the limits', 'f1'),
            )
        ),
        ('class recognised', figures['class_accuracy'], intervals['class_accuracy']),
        ('pixel AUROC', figures['pixel_auroc'], intervals['pixel_auroc']),
        ('AUPRO to 0.3', figures['aupro'], intervals['aupro']),
    ]
    cards = [
        f'<div class="card">{words}<b>{value:.3f}</b>'
        f'<span class="quiet">{interval[0]:.3f} to {interval[1]:.3f}</span></div>'
        for words, value, interval in shown
        if value is not None
    ]
    times = figures['ms_per_image']
    if times['p50'] is not None:
        cards.append(
            f'<div class="card">time per image<b>{times["p50"]:.1f} ms</b>'
            f'<span class="quiet">median; 99th percentile {times["p99"]:.1f} ms</span></div>'
        )
    return ''.join(cards)


def _charts(evaluation: Evaluation) -> str:
    is_defect, scores = evaluation.ranked()
    charts = [score_histogram(scores[~is_defect], scores[is_defect])]
    if evaluation.figures['image_auroc'] is not None:
        charts.append(roc(is_defect, [roc_curve_of(evaluation)]))
    return ''.join(f'<div class="panel">{chart}</div>' for chart in charts)


def roc_curve_of(evaluation: Evaluation, label: str = '') -> RocCurve:
    """
    Give the ROC curve of an evaluation that has both classes.

    """
    at_limits = evaluation.figures['at_limits']
    point = at_limits['false_reject_rate'], at_limits['recall']
    return RocCurve(label, evaluation.ranked()[1], point)


def _regions(figures: dict[str, Any]) -> str:
    """
    Make the section on regions; empty when no mask marks a defect.

    """
    if figures['regions'] is None:
        return ''
    counts, rows = figures['region_counts'], []
    for matched, name in (('box', 'boxes'), ('mask', 'pixels')):
        cells = [
            _with_interval(value, figures['interval']['regions'][matched][key])
            for key, value in figures['regions'][matched].items()
        ]
        rows.append(
            f'<tr><td>{name}</td><td class="n">{counts[f"matched_by_{matched}"]}</td>'
            + ''.join(f'<td class="n">{cell}</td>' for cell in cells)
            + '</tr>'
        )
    heads = ('matched', 'precision', 'recall', 'F1', 'mean IoU', 'median IoU')
    union = figures['regions']['union_mask']
    return f"""<h2>Regions</h2>
<table><tr><th>matched by</th>{''.join(f'<th class="n">{head}</th>' for head in heads)}</tr>
{''.join(rows)}</table>
<p class="quiet">The recipe found {counts['found']} regions; the masks mark
{counts['true']} defects. A region and a defect match when their IoU is
{counts['iou_at_least']:g} or more, and each matches at most one other. The IoU
of all pixels found and all pixels marked, over the images with a defect, has a mean of
{union['mean_iou']:.3f} and a median of {union['median_iou']:.3f}.</p>"""


def _verdicts(evaluation: Evaluation) -> str:
    """
    Make the table of verdicts for each class, with reasons and rates.

    """
    reasons = [
        reason
        for reason in Reason
        if reason is not Reason.WITHIN_LIMITS
        and any(image.judgement.reason is reason for image in evaluation.images)
    ]
    groups = {
        'good': [image for image in evaluation.images if image.true_class == 'good'],
        'defective': [i for i in evaluation.images if i.true_class not in ('good', NO_PART)],
    }
    kinds = sorted({image.true_class for image in groups['defective']})
    groups |= {kind: [i for i in groups['defective'] if i.true_class == kind] for kind in kinds}
    groups['empty place'] = [i for i in evaluation.images if i.true_class == NO_PART]
    figures, intervals = evaluation.figures, evaluation.figures['interval']
    rates = {
        'good': (
            figures['at_limits']['false_reject_rate'],
            intervals['at_limits']['false_reject_rate'],
        ),
        'defective': (figures['at_limits']['recall'], intervals['at_limits']['recall']),
        **{
            kind: (figures['recall_by_defect'][kind], intervals['recall_by_defect'][kind])
            for kind in kinds
        },
    }
    rows = []
    for name, images in groups.items():
        if not images:
            continue
        count = Counter(image.judgement.reason for image in images)
        rejected = sum(image.is_rejected for image in images)
        rate = '<td class="n"></td><td></td>'
        if name in rates:
            value, (low, high) = rates[name]
            bar = interval_bar(value, low, high, GOOD if name == 'good' else DEFECT)
            rate = f'<td class="n">{100 * value:.1f} %</td><td>{bar}</td>'
        cells = [len(images), len(images) - rejected, *(count[reason] for reason in reasons)]
        rows.append(
            f'<tr{" class=sum" if name in ("good", "defective") else ""}><td>{escape(name)}</td>'
            + ''.join(f'<td class="n">{cell}</td>' for cell in cells)
            + f'{rate}</tr>'
        )
    heads = ['images', 'passed', *(_words(reason) for reason in reasons), 'rejected']
    return (
        '<table><tr><th>truth</th>'
        + ''.join(f'<th class="n">{head}</th>' for head in heads)
        + f'<th>with interval</th></tr>{"".join(rows)}</table>'
    )


def _words(reason: Reason) -> str:
    return reason.name.lower().replace('_', ' ')


def _alone(evaluation: Evaluation) -> str:
    figures = evaluation.figures
    limits = {limit.name: limit for limit in limit_table(evaluation.recipe)}
    rows = []
    for group in ('scorers', 'measures'):
        for name, alone in figures[group].items():
            intervals = figures['interval'][group][name]
            limit = limits.get(name)
            sign = '' if limit is None else '≤' if limit.bad_side is BadSide.HIGH else '≥'
            unit = '' if limit is None or limit.unit == '1' else f' {limit.unit}'
            cells = [
                '' if limit is None else f'{limit.typical:.4g}',
                '' if limit is None else f'{sign} {limit.value:.4g}{escape(unit)}',
                *(
                    _with_interval(alone[key], intervals[key])
                    for key in ('image_auroc', 'recall', 'false_reject_rate')
                ),
            ]
            rows.append(
                f'<tr{" class=sum" if group == "scorers" else ""}><td>{escape(name)}</td>'
                + ''.join(f'<td class="n">{cell}</td>' for cell in cells)
                + '</tr>'
            )
    heads = ('typical good part', 'limit', 'image AUROC', 'recall', 'false reject rate')
    return (
        '<table><tr><th></th>'
        + ''.join(f'<th class="n">{head}</th>' for head in heads)
        + f'</tr>{"".join(rows)}</table>'
    )


def _with_interval(value: float | None, interval: list[float] | None) -> str:
    if value is None or interval is None:
        return 'undefined'
    low, high = interval
    return f'{value:.3f} <span class="quiet">{low:.2f} to {high:.2f}</span>'


def _caption(image: JudgedImage) -> str:
    judgement = image.judgement
    if not judgement.worst_measure:
        return f'{image.name}: {judgement.comparison}'
    return f'{image.name}: score {judgement.anomaly_score:.2f}, {judgement.worst_measure}'
