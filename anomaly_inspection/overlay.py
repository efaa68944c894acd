# SPDX-License-Identifier: Apache-2.0
"""
The overlay: the picture an operator looks at.

The part stays fully visible. A soft heat marks where the anomaly map exceeds the limit. Regions
are framed on the outside of their boxes. A dark panel beside the picture (below it for wide
frames) shows verdict, reason and measures.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.scoring.region import Region

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

# A smaller frame is enlarged by the smallest integer factor that brings its longer side to this.
SMALLEST_LONG_SIDE_PX = 480
# Text and lines have their nominal size on a picture of this area and grow with larger ones.
NOMINAL_AREA_PX = 640 * 480
# Frames wider than this have the panel below.
WIDEST_BESIDE = 1.65
# Past so many labels they would hide the part.
MOST_LABELS = 12
# Full heat, in limits; the scale up to it is logarithmic.
FULL_HEAT = 4
# The bar of a measure ends at this anomaly score; its tick stands at 1.
BAR_END = 1.5

# Nominal pixels of the panel.
_PANEL, _MARGIN, _HEADER, _ROW, _LEGEND = 316, 14, 170, 41, 46
# So many rows fit beside any picture, and in a column below a wide one.
_LEAST_ROWS, _ROWS_BELOW = 6, 4

# Blue, green, red. Verdicts differ in word and icon as well, for the colour-blind.
VERDICT_COLOURS = {'PASS': (84, 142, 22), 'REJECT': (44, 48, 214), 'UNDECIDED': (128, 114, 107)}
_BACKGROUND, _TRACK = (29, 25, 22), (62, 54, 48)
_BRIGHT, _DIM, _WHITE = (240, 236, 232), (170, 160, 150), (255, 255, 255)
_GOOD, _BAD = (130, 190, 60), (92, 98, 255)
_BOX, _HALO = (255, 214, 60), (30, 24, 20)

# The dark third of the colour map would look like a shadow on the part.
_HEAT = cv2.applyColorMap(np.linspace(125, 252, 256).astype(np.uint8)[None], cv2.COLORMAP_PLASMA)
_HEAT_ALPHA = (0.65 * np.sqrt(np.linspace(0, 1, 256))).astype(np.float32)

# OpenCV 5 draws its fonts as outlines with a weight of their own; before, they are strokes that
# must grow thicker with their size.
_HAS_STROKE_FONT = int(cv2.__version__.split('.')[0]) < 5
_CAPITAL_PX = 21.5


@dataclass(frozen=True)
class MeasureRow:
    """
    One line of the table of measures.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    value, limit : float
        Unit as below; NaN = not measured, which counts as anomalous.
    relation : str
        What a good value does: '<=' the limit or '>=' the limit.
    unit : str
        '1' for a pure number.
    anomaly_score : float
        0 = a typical good part, 1 = exactly at the limit; NaN = not measured.

    Raises
    ------
    SettingError
        When the relation is another.

    """

    name: str
    value: float
    limit: float
    relation: str
    unit: str = '1'
    anomaly_score: float = math.nan

    def __post_init__(self) -> None:
        if self.relation not in ('<=', '>='):
            raise SettingError(f"relation is {self.relation!r}; allowed: '<=', '>='")

    @property
    def is_anomalous(self) -> bool:
        """
        Whether the value lies beyond the limit or is not known.

        """
        is_good = self.value <= self.limit if self.relation == '<=' else self.value >= self.limit
        return not is_good


class _Box(NamedTuple):
    x_min: int
    y_min: int
    x_max: int
    y_max: int

    def grown(self, by: int) -> _Box:
        return _Box(self.x_min - by, self.y_min - by, self.x_max + by, self.y_max + by)

    def inside(self, other: _Box) -> _Box:
        x_min, x_max = (min(max(x, other.x_min), other.x_max) for x in (self.x_min, self.x_max))
        y_min, y_max = (min(max(y, other.y_min), other.y_max) for y in (self.y_min, self.y_max))
        return _Box(x_min, y_min, x_max, y_max)

    def overlaps(self, other: _Box) -> bool:
        return (
            self.x_min < other.x_max
            and other.x_min < self.x_max
            and self.y_min < other.y_max
            and other.y_min < self.y_max
        )


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
    is_beside = width <= WIDEST_BESIDE * height or width < 2 * _PANEL
    unit = max(1.0, math.sqrt(width * height / NOMINAL_AREA_PX))
    if not is_beside:
        unit = max(1.0, min(unit, width / (3 * _PANEL)))
    _draw_regions(picture, regions, width // frame.shape[1], unit)

    panel, margin, header, row = (round(n * unit) for n in (_PANEL, _MARGIN, _HEADER, _ROW))
    if is_beside:
        table = min(len(rows), _LEAST_ROWS) * row
        canvas = _canvas(picture, width + panel, max(height, header + table))
        header_box = _Box(width, 0, width + panel, header)
        table_box = _Box(width, header, width + panel, canvas.shape[0])
    else:
        canvas = _canvas(picture, width, height + margin + _ROWS_BELOW * row)
        header_box = _Box(0, height, panel, canvas.shape[0])
        table_box = _Box(panel, height + margin, width, canvas.shape[0])
    _draw_header(canvas, header_box, unit, verdict, (reason, title, recipe))
    bottom = _draw_table(canvas, table_box, unit, rows)
    if anomaly_map is not None and table_box.y_max - bottom >= round(_LEGEND * unit):
        _draw_legend(canvas, table_box, unit)
    return canvas


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
    alpha = cv2.LUT(level, _HEAT_ALPHA)
    heat = cv2.LUT(cv2.cvtColor(level, cv2.COLOR_GRAY2BGR), _HEAT)
    picture[hot] = cv2.blendLinear(picture[hot], heat, 1 - alpha, alpha)


def _draw_regions(picture: Picture, regions: Sequence[Region], factor: int, unit: float) -> None:
    whole = _Box(0, 0, picture.shape[1], picture.shape[0])
    line = max(1, round(unit))
    halo = line + max(1, line // 2)
    by_peak = sorted(regions, key=lambda region: _sortable(region.peak), reverse=True)
    # Where a region touches the edge of the picture its line moves in, to stay visible.
    boxes = [
        _Box(*(int(n) * factor for n in (r.x_min, r.y_min, r.x_max, r.y_max))).inside(
            whole.grown(-halo)
        )
        for r in by_peak
    ]
    for rings, colour in ((range(line + 1, halo + 1), _HALO), (range(1, line + 1), _BOX)):
        for x_min, y_min, x_max, y_max in (box.grown(n) for box in boxes for n in rings):
            cv2.rectangle(picture, (x_min, y_min), (x_max - 1, y_max - 1), colour)
    taken = [box.grown(halo) for box in boxes]
    for region, box in zip(by_peak[:MOST_LABELS], boxes, strict=False):
        label = f'{region.peak:.3g}'
        place = _free_place(box.grown(halo), _text_width(label, 8 * unit), unit, taken, whole)
        if place:
            taken.append(place)
            _fill(picture, place, _HALO)
            x, baseline = place.x_min + round(4 * unit), place.y_max - round(4 * unit)
            _draw_text(picture, label, x, baseline, 8 * unit, _BOX)


def _free_place(
    box: _Box, text_width: int, unit: float, taken: list[_Box], whole: _Box
) -> _Box | None:
    width, height = text_width + round(8 * unit), round(16 * unit)
    for x, y in (
        (box.x_min, box.y_min - height),
        (box.x_min, box.y_max),
        (box.x_max, box.y_min),
        (box.x_min - width, box.y_min),
    ):
        place = _Box(x, y, x + width, y + height)
        if place == place.inside(whole) and not any(place.overlaps(other) for other in taken):
            return place
    return None


# The panel


def _canvas(picture: Picture, width: int, height: int) -> Picture:
    below, beside = height - picture.shape[0], width - picture.shape[1]
    canvas = cv2.copyMakeBorder(
        picture, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=_BACKGROUND
    )
    return np.asarray(canvas, np.uint8)


def _fill(canvas: Picture, box: _Box, colour: tuple[int, int, int]) -> None:
    if box.x_min < box.x_max and box.y_min < box.y_max:
        cv2.rectangle(canvas, box[:2], (box.x_max - 1, box.y_max - 1), colour, cv2.FILLED)


def _draw_header(
    canvas: Picture, box: _Box, unit: float, verdict: str, words: tuple[str, str, str]
) -> None:
    margin = round(_MARGIN * unit)
    left, right, top = box.x_min + margin, box.x_max - margin, box.y_min + margin
    badge = _Box(left, top, right, top + round(60 * unit))
    _fill_rounded(canvas, badge, round(8 * unit), VERDICT_COLOURS[verdict])
    _draw_icon(canvas, left + round(34 * unit), top + round(30 * unit), unit, verdict)
    room = right - left - round(76 * unit)
    capital = min(22 * unit, 22 * unit * room / max(1, _text_width(verdict, 22 * unit, bold=True)))
    baseline = top + round(30 * unit + capital / 2)
    _draw_text(canvas, verdict, left + round(62 * unit), baseline, capital, _WHITE, bold=True)

    reason, title, recipe = (_printable(text) for text in words)
    baseline = badge.y_max + round(24 * unit)
    for line in _wrapped(reason, right - left, 10.5 * unit, 2):
        _draw_text(canvas, line, left, baseline, 10.5 * unit, _BRIGHT, bold=True)
        baseline += round(19 * unit)
    baseline += round(2 * unit)
    for text in (title, recipe):
        fitted = _fitted(text, right - left, 9 * unit)
        _draw_text(canvas, fitted, left, baseline, 9 * unit, _DIM)
        baseline += round(18 * unit) if text else 0


def _draw_icon(canvas: Picture, x: int, y: int, unit: float, verdict: str) -> None:
    colour, thickness = VERDICT_COLOURS[verdict], round(4.5 * unit)
    cv2.circle(canvas, (x, y), round(17 * unit), _WHITE, -1, cv2.LINE_AA)
    strokes = {
        'PASS': (((-7.5, 0.5), (-2.5, 5.5)), ((-2.5, 5.5), (7.5, -5))),
        'REJECT': (((-6, -6), (6, 6)), ((-6, 6), (6, -6))),
        'UNDECIDED': (((-6, 0), (6, 0)),),
    }[verdict]
    for stroke in strokes:
        ends = [(x + round(dx * unit), y + round(dy * unit)) for dx, dy in stroke]
        cv2.line(canvas, ends[0], ends[1], colour, thickness, cv2.LINE_AA)


def _draw_table(canvas: Picture, box: _Box, unit: float, rows: Sequence[MeasureRow]) -> int:
    margin, row_height = round(_MARGIN * unit), round(_ROW * unit)
    columns = max(1, (box.x_max - box.x_min) // round(_PANEL * unit))
    places = (box.y_max - box.y_min) // row_height * columns
    shown = list(rows)
    if len(rows) > places:
        shown = sorted(
            rows, key=lambda row: (row.is_anomalous, _sortable(row.anomaly_score)), reverse=True
        )[: max(0, places - 1)]
    lines = math.ceil(min(len(rows), places) / columns)
    pitch = (box.x_max - box.x_min) // columns
    for index in range(min(len(rows), places)):
        left = box.x_min + index // max(1, lines) * pitch + margin
        top = box.y_min + index % lines * row_height
        right = left + pitch - 2 * margin
        if index < len(shown):
            _draw_row(canvas, _Box(left, top, right, top + row_height), unit, shown[index])
        else:
            more = _fitted(f'and {len(rows) - len(shown)} more', right - left, 9 * unit)
            _draw_text(canvas, more, left, top + round(16 * unit), 9 * unit, _DIM)
    return box.y_min + lines * row_height


def _draw_row(canvas: Picture, box: _Box, unit: float, row: MeasureRow) -> None:
    capital, baseline = 9 * unit, box.y_min + round(16 * unit)
    width = box.x_max - box.x_min
    value = _number(row.value, row.limit)
    limit = f'{row.relation} {_number(row.limit, row.value)}'
    gap = round(7 * unit)
    limit_x = box.x_max - _text_width(limit, capital)
    value_x = limit_x - gap - _text_width(value, capital, bold=True)
    name_room = value_x - gap - box.x_min
    name = _fitted(_printable(row.name), name_room, capital)
    _draw_text(canvas, name, box.x_min, baseline, capital, _BRIGHT)
    colour = _BAD if row.is_anomalous else _GOOD
    _draw_text(canvas, value, value_x, baseline, capital, colour, bold=True)
    _draw_text(canvas, limit, limit_x, baseline, capital, _DIM)
    unit_x = box.x_min + _text_width(name, capital) + gap
    unit_name = '' if row.unit == '1' else _printable(row.unit)
    if _text_width(unit_name, 8 * unit) <= value_x - gap - unit_x:
        _draw_text(canvas, unit_name, unit_x, baseline, 8 * unit, _DIM)

    top, bottom = box.y_min + round(24 * unit), box.y_min + round(30 * unit)
    _fill(canvas, _Box(box.x_min, top, box.x_max, bottom), _TRACK)
    if not math.isnan(row.anomaly_score):
        share = min(max(row.anomaly_score / BAR_END, 0.0), 1.0)
        _fill(canvas, _Box(box.x_min, top, box.x_min + round(share * width), bottom), colour)
    tick, half = box.x_min + round(width / BAR_END), max(1, round(unit))
    reach = round(3 * unit)
    _fill(canvas, _Box(tick - half, top - reach, tick + half, bottom + reach), _WHITE)


def _draw_legend(canvas: Picture, box: _Box, unit: float) -> None:
    margin = round(_MARGIN * unit)
    left, right = box.x_min + margin, box.x_max - margin
    bottom = box.y_max - margin
    baseline = bottom - round(14 * unit)
    _draw_text(canvas, 'limit', left, baseline, 8 * unit, _DIM)
    end = f'{FULL_HEAT} x limit'
    _draw_text(canvas, end, right - _text_width(end, 8 * unit), baseline, 8 * unit, _DIM)
    alpha = _HEAT_ALPHA[None, :, None] / _HEAT_ALPHA[-1]
    gradient = (_HEAT * alpha + np.array(_TRACK) * (1 - alpha)).astype(np.uint8)
    size = (right - left, round(6 * unit))
    canvas[bottom - size[1] : bottom, left:right] = cv2.resize(gradient, size)


def _fill_rounded(canvas: Picture, box: _Box, radius: int, colour: tuple[int, int, int]) -> None:
    _fill(canvas, _Box(box.x_min + radius, box.y_min, box.x_max - radius, box.y_max), colour)
    _fill(canvas, _Box(box.x_min, box.y_min + radius, box.x_max, box.y_max - radius), colour)
    for x in (box.x_min + radius, box.x_max - radius - 1):
        for y in (box.y_min + radius, box.y_max - radius - 1):
            cv2.circle(canvas, (x, y), radius, colour, -1, cv2.LINE_AA)


# Text


def _font(capital_px: float, bold: bool) -> tuple[int, float, int]:
    face = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    thickness = math.ceil(capital_px / 12) if _HAS_STROKE_FONT else 1
    return face, capital_px / _CAPITAL_PX, thickness


def _text_width(text: str, capital_px: float, bold: bool = False) -> int:
    face, scale, thickness = _font(capital_px, bold)
    return int(cv2.getTextSize(text, face, scale, thickness)[0][0]) if text else 0


def _draw_text(
    canvas: Picture,
    text: str,
    x: int,
    baseline: int,
    capital_px: float,
    colour: tuple[int, int, int],
    bold: bool = False,
) -> None:
    if text:
        face, scale, thickness = _font(capital_px, bold)
        cv2.putText(canvas, text, (x, baseline), face, scale, colour, thickness, cv2.LINE_AA)


def _printable(text: str) -> str:
    """
    Keep only characters that the fonts of every OpenCV have; a lone surrogate ends the process.

    """
    return ''.join(c if ' ' <= c <= '~' else '?' for c in ' '.join(text[:300].split()))


def _fitted(text: str, width: int, capital_px: float, bold: bool = False) -> str:
    if _text_width(text, capital_px, bold) <= width:
        return text
    length = len(text) - 1
    while length > 0 and _text_width(f'{text[:length]}...', capital_px, bold) > width:
        length -= 1
    return f'{text[:length]}...' if length > 0 else ''


def _wrapped(text: str, width: int, capital_px: float, most_lines: int) -> list[str]:
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most_lines - 1:
        count = len(words)
        while count > 1 and _text_width(' '.join(words[:count]), capital_px, bold=True) > width:
            count -= 1
        lines.append(_fitted(' '.join(words[:count]), width, capital_px, bold=True))
        words = words[count:]
    if words:
        lines.append(_fitted(' '.join(words), width, capital_px, bold=True))
    return lines


def _number(value: float, other: float) -> str:
    """
    Write a number with enough decimals to tell it from the other one.

    """
    if math.isnan(value):
        return 'n/a'
    if math.isinf(value):
        return 'inf' if value > 0 else '-inf'
    size = max((abs(n) for n in (value, other) if math.isfinite(n)), default=0.0)
    if size >= 1e6 or 0 < size < 1e-3:
        return f'{value:.2e}'
    decimals = 3 if size < 10 else 1 if size < 1000 else 0
    if value == round(value) and (not math.isfinite(other) or other == round(other)):
        decimals = 0
    while value != other and f'{value:.{decimals}f}' == f'{other:.{decimals}f}' and decimals < 6:
        decimals += 1
    return f'{value:.{decimals}f}'


def _sortable(value: float) -> float:
    return -math.inf if math.isnan(value) else value
