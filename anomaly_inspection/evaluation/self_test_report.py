# SPDX-License-Identifier: Apache-2.0
"""
Write the self-test as a page: what the recipe sees by size and contrast, with examples.

"""

from __future__ import annotations

from html import escape
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.charts import share_map
from anomaly_inspection.evaluation.report import remarks, STYLE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from anomaly_inspection.evaluation.self_test_result import JudgedDefect, SelfTest

MOST_EXAMPLES = 8

_OUTLINE_COLOUR = (60, 230, 140)
_CROP_PX = 64
_SHOWN_PX = 192
_GAP_PX = 6
_IN_A_ROW = 4
_AXES = 'size, px (diameter of the circle of the same area)', 'contrast, gray levels'
_EXAMPLE_STYLE = """
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr));
  gap: 16px; }
.maps { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 16px; }
.panel.wide { max-width: 620px; }
"""


def write_self_test(result: SelfTest, folder: Path) -> Path:
    """
    Write the page into a folder, with seen.svg beside it, and return the path of the page.

    Parameters
    ----------
    result : SelfTest
        Result of `self_test`; the examples are drawn again.
    folder : Path
        Created when missing; files of an older page in it are replaced.

    Raises
    ------
    SettingError
        When the folder cannot be written.

    """
    all_kinds = _map(result, None)
    try:
        (folder / 'images').mkdir(parents=True, exist_ok=True)
        for old in (folder / 'images').glob('example_*.png'):
            old.unlink()
        (folder / 'seen.svg').write_text(all_kinds + '\n', encoding='utf-8')
        missed, seen = _examples(result)
        pictures = [
            _write_examples(result, defects, folder, what)
            for what, defects in (('missed', missed), ('seen', seen))
        ]
        page = folder / 'index.html'
        page.write_text(_page(result, all_kinds, *pictures), encoding='utf-8', errors='replace')
    except OSError as error:
        raise SettingError(
            f'the self-test cannot be written to {folder}: {error.strerror}'
        ) from error
    return page


def examples_picture(result: SelfTest, *, is_seen: bool) -> NDArray[np.uint8] | None:
    """
    Draw up to four examples side by side: each as the camera sees it, and with its outline.

    Parameters
    ----------
    result : SelfTest
        Result of `self_test`; the examples are drawn again.
    is_seen : bool
        True: the faintest defects that were seen. False: the most striking ones that were missed.

    Returns
    -------
    ndarray of uint8, (H, W, 3), or None
        None when there are none.

    """
    missed, seen = _examples(result)
    pictures = [
        _picture(*result.damaged(defect)) for defect in (seen if is_seen else missed)[:_IN_A_ROW]
    ]
    if not pictures:
        return None
    gap = np.full((_SHOWN_PX, 3 * _GAP_PX, 3), 255, np.uint8)
    row = [part for picture in pictures for part in (gap, picture)][1:]
    return np.hstack(row)


def _map(result: SelfTest, kind: str | None) -> str:
    return share_map(
        kind or 'All kinds: share of defects seen',
        [f'{size:g}' for size in result.sizes_px],
        [f'{contrast:g}' for contrast in result.contrasts],
        [
            [result.seen(size, contrast, kind) for size in result.sizes_px]
            for contrast in result.contrasts
        ],
        _AXES,
    )


def _examples(result: SelfTest) -> tuple[list[JudgedDefect], list[JudgedDefect]]:
    """
    Give the most striking defects that were missed and the faintest that were seen.

    """

    def strength(defect: JudgedDefect) -> float:
        return math.log(defect.size_px * defect.contrast_levels)

    missed = [defect for defect in result.defects if not defect.is_seen]
    seen = [defect for defect in result.defects if defect.is_seen]
    missed.sort(key=strength, reverse=True)
    seen.sort(key=strength)
    return missed[:MOST_EXAMPLES], seen[:MOST_EXAMPLES]


def _write_examples(result: SelfTest, defects: list[JudgedDefect], folder: Path, what: str) -> str:
    figures = []
    for place, defect in enumerate(defects, 1):
        name = f'images/example_{what}_{place}.png'
        encoded = cv2.imencode('.png', _picture(*result.damaged(defect)))[1]
        (folder / name).write_bytes(encoded.tobytes())
        anomaly_score = defect.judgement.anomaly_score
        score = '' if math.isnan(anomaly_score) else f', score {anomaly_score:.2f}'
        caption = escape(
            f'{defect.kind}, {defect.size_px:g} px at {defect.contrast_levels:g} levels{score} '
            f'({defect.image})'
        )
        figures.append(
            f'<figure><img src="{name}" alt="{caption}">'
            f'<figcaption>{caption}</figcaption></figure>'
        )
    return f'<div class="examples">{"".join(figures)}</div>' if figures else '<p>None.</p>'


def _picture(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """
    Cut out a defect, enlarge it, and put a copy with its outline on the right.

    """
    rows, columns = np.nonzero(mask)
    side = max(_CROP_PX, 2 * int(max(np.ptp(rows), np.ptp(columns))))
    side = min(side, *mask.shape)
    middle = (int(rows.min() + rows.max()) // 2, int(columns.min() + columns.max()) // 2)
    top, left = (
        min(max(0, at - side // 2), size - side)
        for at, size in zip(middle, mask.shape, strict=True)
    )
    cut = image[top : top + side, left : left + side]
    if cut.ndim == 2:
        cut = np.asarray(cv2.cvtColor(cut, cv2.COLOR_GRAY2BGR), np.uint8)
    size = (_SHOWN_PX, _SHOWN_PX)
    plain = cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC)
    outlined = plain.copy()
    large = cv2.resize(
        mask[top : top + side, left : left + side].view(np.uint8),
        size,
        interpolation=cv2.INTER_NEAREST,
    )
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(outlined, contours, -1, _OUTLINE_COLOUR, 1, cv2.LINE_AA)
    gap = np.full((_SHOWN_PX, _GAP_PX, 3), 255, np.uint8)
    return np.hstack([np.asarray(plain, np.uint8), gap, np.asarray(outlined, np.uint8)])


def _page(result: SelfTest, all_kinds: str, missed: str, seen: str) -> str:
    recipe = result.recipe
    title = f'What recipe {escape(recipe.name)} sees'
    notes = remarks(result.faults(), filter(None, (result.weakness(), *result.notes)))
    words = ''.join(f'<li>{escape(sentence)}</li>' for sentence in result.in_words())
    kinds = ''.join(f'<div class="panel">{_map(result, kind)}</div>' for kind in result.kinds)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}{_EXAMPLE_STYLE}</style></head><body><main>
<h1>{title}</h1>
<p class="quiet">{len(result.defects)} synthetic defects on {len(result.images)} good images,
judged at the recipe's limits. Recipe version {recipe.version}, taught on
{recipe.provenance.image_count} good parts, hash {escape(recipe.hash[:12])}.</p>
{notes}
<h2>In words</h2>
<ul>{words}</ul>
<h2>By size and contrast</h2>
<div class="panel wide">{all_kinds}</div>
<p class="quiet">The exact 95 % interval is below each share. Size and contrast describe the
finished image: the pixels that changed by at least 4 levels, and their mean change. Real defects
differ from these. The test says nothing about kinds of defect that it does not draw.</p>
<h2>By kind</h2>
<p class="quiet">All sizes and contrasts together: {escape(result.kinds_in_words())}.
A defect of the part's own structure is left out where the part has no piece of that size and
contrast.</p>
<div class="maps">{kinds}</div>
<h2>The largest and strongest defects that were missed</h2>
<p class="quiet">Left: as the camera sees the defect. Right: with its outline.</p>
{missed}
<h2>The smallest and weakest defects that were seen</h2>
{seen}
</main></body></html>
"""
