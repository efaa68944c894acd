# SPDX-License-Identifier: Apache-2.0
"""
The overlay: the picture an operator looks at.

The part stays fully visible. A soft heat marks where the anomaly map exceeds the limit. Regions
are framed on the outside of their boxes. A dark panel beside the picture (below it for wide
frames) shows verdict, reason and measures.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.overlay.canvas import (
    Box,
    draw_text,
    enlarged_canvas,
    fill,
    FRAME,
    FULL_HEAT,
    HALO,
    HEAT,
    HEAT_ALPHA,
    sortable,
    text_width,
)
from anomaly_inspection.overlay.panel import (
    draw_header,
    draw_legend,
    draw_table,
    HEADER,
    LEAST_ROWS,
    LEGEND,
    MARGIN,
    PANEL,
    ROW,
    ROWS_BELOW,
    VERDICT_COLOURS,
)
from anomaly_inspection.scoring.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.overlay.canvas import Picture
    from anomaly_inspection.overlay.panel import MeasureRow

# A smaller frame is enlarged by the smallest integer factor that brings its longer side to this.
SMALLEST_LONG_SIDE_PX = 480
# Text and lines have their nominal size on a picture of this area and grow with larger ones.
NOMINAL_AREA_PX = 640 * 480
# Frames wider than this have the panel below.
WIDEST_BESIDE = 1.65
# Past so many labels they would hide the part.
MOST_LABELS = 12
# Level of a map at its limit, before the heat begins.
_GRAY_AT_LIMIT = 110


def regions_to_draw(scores: Iterable[Any]) -> list[Region]:
    """
    Give the regions of all scores, their peaks in units of the region limit, as `combined_map`.

    Parameters
    ----------
    scores : iterable of ScorerResult, or of Score messages
        Of one frame.

    """
    return [
        Region(
            region.x_min,
            region.y_min,
            region.x_max,
            region.y_max,
            region.area_px,
            region.peak / score.region_limit,
        )
        for score in scores
        for region in score.regions
    ]


def draw_overlay(
    frame: NDArray[Any],
    *,
    verdict: str,
    reason: str,
    anomaly_map: NDArray[np.float32] | None = None,
    map_limit: float = 1.0,
    regions: Sequence[Region] = (),
    rows: Sequence[MeasureRow] = (),
    title: str = '',
    recipe: str = '',
) -> Picture:
    """
    Draw what was found in a frame.

    The part is at the upper left, at the frame's size or an integer multiple (`enlargement`).

    Parameters
    ----------
    frame : ndarray of uint8, (H, W), (H, W, 1) or (H, W, 3)
        Gray or BGR; left as it is.
    verdict : str
        'PASS', 'REJECT' or 'UNDECIDED' (no verdict yet).
    reason : str
        In words.
    anomaly_map : ndarray of float32, (H, W), optional
        In the frame's pixels. Transparent up to the limit, full heat at `FULL_HEAT` times that;
        NaN is transparent.
    map_limit : float
        The region limit, unit of the map; not finite = no heat.
    regions : sequence of Region
        In the frame's pixels. Boxes are drawn on the outside; the highest peaks are labelled where
        there is room.
    rows : sequence of MeasureRow
        When there are too many for the panel, the anomalous and the highest scores are shown.
    title, recipe : str
        What part it is; name and version of the recipe.

    Returns
    -------
    ndarray of uint8, (height, width, 3)
        BGR, larger than the frame.

    Raises
    ------
    FrameError
        When the frame is no picture or the map is of another size.
    SettingError
        When the verdict is unknown.

    """
    if verdict not in VERDICT_COLOURS:
        raise SettingError(f'verdict is {verdict!r}; allowed: {", ".join(VERDICT_COLOURS)}')
    picture = _part_picture(frame, anomaly_map, map_limit)
    height, width = picture.shape[:2]
    is_beside = width <= WIDEST_BESIDE * height or width < 2 * PANEL
    unit = max(1.0, math.sqrt(width * height / NOMINAL_AREA_PX))
    if not is_beside:
        unit = max(1.0, min(unit, width / (3 * PANEL)))
    _draw_regions(picture, regions, width // frame.shape[1], unit)

    panel, margin, header, row = (round(n * unit) for n in (PANEL, MARGIN, HEADER, ROW))
    if is_beside:
        table = min(len(rows), LEAST_ROWS) * row
        canvas = enlarged_canvas(picture, width + panel, max(height, header + table))
        header_box = Box(width, 0, width + panel, header)
        table_box = Box(width, header, width + panel, canvas.shape[0])
    else:
        canvas = enlarged_canvas(picture, width, height + margin + ROWS_BELOW * row)
        header_box = Box(0, height, panel, canvas.shape[0])
        table_box = Box(panel, height + margin, width, canvas.shape[0])
    draw_header(canvas, header_box, unit, verdict, (reason, title, recipe))
    bottom = draw_table(canvas, table_box, unit, rows)
    if anomaly_map is not None and table_box.y_max - bottom >= round(LEGEND * unit):
        draw_legend(canvas, table_box, unit)
    return canvas


def draw_part(
    frame: NDArray[Any],
    *,
    anomaly_map: NDArray[np.float32] | None = None,
    map_limit: float = 1.0,
    regions: Sequence[Region] = (),
) -> Picture:
    """
    Draw what was found in a frame without the panel, for a page that has words of its own.

    Parameters
    ----------
    frame, anomaly_map, map_limit, regions
        As for `draw_overlay`.

    Returns
    -------
    ndarray of uint8, (height, width, 3)
        BGR, of the frame's size or an integer multiple (`enlargement`).

    Raises
    ------
    FrameError
        When the frame is no picture or the map is of another size.

    """
    picture = _part_picture(frame, anomaly_map, map_limit)
    height, width = picture.shape[:2]
    unit = max(1.0, math.sqrt(width * height / NOMINAL_AREA_PX))
    _draw_regions(picture, regions, width // frame.shape[1], unit)
    return picture


def draw_map(anomaly_map: NDArray[np.float32], map_limit: float = 1.0) -> Picture:
    """
    Draw an anomaly map alone: gray up to the limit, heat above it.

    Parameters
    ----------
    anomaly_map : ndarray of float32, (H, W)
        NaN is black.
    map_limit : float
        The region limit, unit of the map.

    Returns
    -------
    ndarray of uint8, (height, width, 3)
        BGR, of the frame's size or an integer multiple (`enlargement`).

    """
    below = np.nan_to_num(anomaly_map / (map_limit or 1.0), posinf=1.0, neginf=0.0)
    gray = (np.clip(below, 0.0, 1.0) * _GRAY_AT_LIMIT).astype(np.uint8)
    return _part_picture(gray, anomaly_map, map_limit)


def enlargement(width: int, height: int) -> int:
    """
    Give the integer factor by which a frame of that size is enlarged.

    """
    return max(1, math.ceil(SMALLEST_LONG_SIDE_PX / max(width, height)))


# The part


def _part_picture(
    frame: NDArray[Any], anomaly_map: NDArray[np.float32] | None, map_limit: float
) -> Picture:
    channels = frame.shape[2] if frame.ndim == 3 else 1
    is_picture = frame.dtype == np.uint8 and frame.ndim in (2, 3) and channels in (1, 3)
    if not is_picture or not frame.size:
        raise FrameError(
            f'frame is {frame.dtype} of shape {frame.shape}; '
            'allowed: uint8 of shape (H, W), (H, W, 1) or (H, W, 3)'
        )
    picture: Any = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) if channels == 1 else frame.copy()
    if anomaly_map is not None:
        if anomaly_map.shape != frame.shape[:2]:
            raise FrameError(
                f'anomaly map is of shape {anomaly_map.shape}; '
                f"allowed: {frame.shape[:2]}, the frame's"
            )
        _add_heat(picture, anomaly_map, map_limit)
    factor = enlargement(frame.shape[1], frame.shape[0])
    if factor > 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return np.asarray(picture, np.uint8)


def _add_heat(picture: Picture, anomaly_map: NDArray[np.float32], limit: float) -> None:
    span = abs(limit) or 1.0
    highest = limit + (FULL_HEAT - 1) * span
    if not highest < float(np.finfo(np.float32).max):
        return
    x, y, width, height = cv2.boundingRect((anomaly_map > limit).astype(np.uint8))
    if not width:
        return
    hot = (slice(y, y + height), slice(x, x + width))
    # fmax and fmin read NaN as the limit, which is transparent.
    above = np.fmin(np.fmax(anomaly_map[hot], limit), highest) - limit
    level = (np.log1p(above / span) * (255 / math.log(FULL_HEAT))).astype(np.uint8)
    alpha = cv2.LUT(level, HEAT_ALPHA)
    heat = cv2.LUT(cv2.cvtColor(level, cv2.COLOR_GRAY2BGR), HEAT)
    picture[hot] = cv2.blendLinear(picture[hot], heat, 1 - alpha, alpha)


def _draw_regions(picture: Picture, regions: Sequence[Region], factor: int, unit: float) -> None:
    whole = Box(0, 0, picture.shape[1], picture.shape[0])
    line = max(1, round(unit))
    halo = line + max(1, line // 2)
    by_peak = sorted(regions, key=lambda region: sortable(region.peak), reverse=True)
    # Where a region touches the edge of the picture its line moves in, to stay visible.
    boxes = [
        Box(*(int(n) * factor for n in (r.x_min, r.y_min, r.x_max, r.y_max))).inside(
            whole.grown(-halo)
        )
        for r in by_peak
    ]
    for rings, colour in ((range(line + 1, halo + 1), HALO), (range(1, line + 1), FRAME)):
        for x_min, y_min, x_max, y_max in (box.grown(n) for box in boxes for n in rings):
            cv2.rectangle(picture, (x_min, y_min), (x_max - 1, y_max - 1), colour)
    taken = [box.grown(halo) for box in boxes]
    for region, box in zip(by_peak[:MOST_LABELS], boxes, strict=False):
        label = f'{region.peak:.3g}'
        place = _free_place(box.grown(halo), text_width(label, 8 * unit), unit, taken, whole)
        if place:
            taken.append(place)
            fill(picture, place, HALO)
            x, baseline = place.x_min + round(4 * unit), place.y_max - round(4 * unit)
            draw_text(picture, label, x, baseline, 8 * unit, FRAME)


def _free_place(
    box: Box, label_width: int, unit: float, taken: list[Box], whole: Box
) -> Box | None:
    width, height = label_width + round(8 * unit), round(16 * unit)
    for x, y in (
        (box.x_min, box.y_min - height),
        (box.x_min, box.y_max),
        (box.x_max, box.y_min),
        (box.x_min - width, box.y_min),
    ):
        place = Box(x, y, x + width, y + height)
        if place == place.inside(whole) and not any(place.overlaps(other) for other in taken):
            return place
    return None
