# SPDX-License-Identifier: Apache-2.0
"""
The picture of a belt with an arm: parts with their verdicts, the hand, the trays.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.overlay.canvas import (
    BACKGROUND,
    BAD,
    Box,
    BRIGHT,
    DIM,
    draw_text,
    fill,
    fill_rounded,
    FRAME,
    GOOD,
    text_width,
    TRACK,
)

if TYPE_CHECKING:
    from anomaly_inspection.overlay.canvas import Picture

_WIDTH, _HEIGHT = 960, 360
_BELT = Box(0, 150, _WIDTH, 250)
_MARGIN_M = 0.1
_PART_PX = 20
_TEXT_PX = 11
_COLOURS = {'PASS': GOOD, 'REJECT': BAD, '': DIM}


@dataclass(frozen=True)
class BeltPart:
    """
    A part on the belt.

    Parameters
    ----------
    number : int
        Which one.
    along_m : float
        How far behind the pick line it is, metres; below 0 = before it.
    verdict : str
        'PASS', 'REJECT' or '' = none yet.

    """

    number: int
    along_m: float
    verdict: str


@dataclass(frozen=True)
class ArmPicture:
    """
    What the picture shows.

    Parameters
    ----------
    distance_m : float
        From the camera to the pick line, metres.
    reach_m : (float, float)
        Where the reach of the hand begins and ends, metres behind the pick line.
    belt_m : float
        Where the belt is, metres; NaN = nobody knows.
    parts : tuple of BeltPart
        What lies on the belt.
    hand_m : float
        Where the hand is, metres behind the pick line.
    stage : str
        What the arm does.
    holds, wanted : int
        Number of the part in the gripper, and of the part that is asked for; 0 = none.
    tray, rejected : int
        How many parts the arm has put into the tray, and into reject.

    """

    distance_m: float
    reach_m: tuple[float, float]
    belt_m: float
    parts: tuple[BeltPart, ...]
    hand_m: float
    stage: str
    holds: int
    wanted: int
    tray: int
    rejected: int


def draw_arm(shown: ArmPicture) -> Picture:
    """
    Draw a belt with an arm, from above; parts come from the left.

    Returns
    -------
    ndarray, shape (360, 960, 3), dtype uint8
        Blue, green, red.

    """
    canvas = np.empty((_HEIGHT, _WIDTH, 3), np.uint8)
    canvas[:] = BACKGROUND
    scale = _Scale(-shown.distance_m - _MARGIN_M, shown.reach_m[1] + 2 * _MARGIN_M)
    _draw_belt(canvas, shown, scale)
    for part in shown.parts:
        x = scale.px(part.along_m) if math.isfinite(part.along_m) else -_WIDTH
        if -_PART_PX < x < _WIDTH + _PART_PX:
            _draw_part(canvas, x, 200, part.number, _COLOURS[part.verdict])
    _draw_hand(canvas, shown, scale)
    _draw_trays(canvas, shown)
    return canvas


class _Scale:
    """
    Turns metres behind the pick line into columns.

    """

    def __init__(self, from_m: float, to_m: float) -> None:
        self._from_m, self._px_per_m = from_m, _WIDTH / (to_m - from_m)

    def px(self, along_m: float) -> int:
        return round((along_m - self._from_m) * self._px_per_m)


def _draw_belt(canvas: Picture, shown: ArmPicture, scale: _Scale) -> None:
    fill(canvas, _BELT, TRACK)
    if math.isfinite(shown.belt_m):
        # Marks on the belt show that it moves.
        first = math.ceil((shown.belt_m - 2.0) / 0.05)
        for mark in range(first, first + 100):
            x = scale.px(shown.belt_m - 0.05 * mark)
            cv2.line(canvas, (x, _BELT.y_max - 8), (x, _BELT.y_max - 1), BACKGROUND, 1)
    else:
        draw_text(canvas, 'no encoder: nobody knows where the parts are', 20, 275, _TEXT_PX, BAD)
    from_px, to_px = (scale.px(along_m) for along_m in shown.reach_m)
    cv2.rectangle(canvas, (from_px, _BELT.y_min - 4), (to_px, _BELT.y_max + 4), FRAME, 1)
    _write_centred(canvas, 'reach', (from_px + to_px) // 2, _BELT.y_max + 22, DIM)
    for along_m, text in ((-shown.distance_m, 'camera'), (0.0, 'pick line')):
        x = scale.px(along_m)
        cv2.line(canvas, (x, _BELT.y_min - 12), (x, _BELT.y_max + 12), BRIGHT, 1, cv2.LINE_AA)
        _write_centred(canvas, text, x, _BELT.y_max + 40, BRIGHT)
    _write_centred(canvas, 'reject', _WIDTH - 40, _BELT.y_max + 22, BAD)


def _draw_part(canvas: Picture, x: int, y: int, number: int, colour: tuple[int, int, int]) -> None:
    half = _PART_PX
    fill_rounded(canvas, Box(x - half, y - half, x + half, y + half), 6, colour)
    _write_centred(canvas, str(number), x, y + 5, BACKGROUND)


def _draw_hand(canvas: Picture, shown: ArmPicture, scale: _Scale) -> None:
    x = scale.px(shown.hand_m)
    is_over_belt = shown.stage in ('reaching', 'gripping')
    y = 200 if is_over_belt else 110
    cv2.line(canvas, (x, 0), (x, y - 26), BRIGHT, 6, cv2.LINE_AA)
    for side in (-1, 1):
        jaw = x + side * (24 if shown.stage == 'reaching' else 22)
        cv2.line(canvas, (x, y - 26), (jaw, y - 26), BRIGHT, 4, cv2.LINE_AA)
        cv2.line(canvas, (jaw, y - 26), (jaw, y), BRIGHT, 4, cv2.LINE_AA)
    if shown.holds:
        _draw_part(canvas, x, y, shown.holds, GOOD)
    wants = f' part {shown.wanted}' if shown.wanted else ''
    draw_text(canvas, f'arm: {shown.stage}{wants}', 20, 28, _TEXT_PX, BRIGHT)


def _draw_trays(canvas: Picture, shown: ArmPicture) -> None:
    for box, colour, text in (
        (Box(600, 14, 770, 54), GOOD, f'tray: {shown.tray}'),
        (Box(780, 14, 950, 54), BAD, f'dropped: {shown.rejected}'),
    ):
        fill_rounded(canvas, box, 6, TRACK)
        cv2.rectangle(canvas, box[:2], (box.x_max - 1, box.y_max - 1), colour, 2)
        _write_centred(canvas, text, (box.x_min + box.x_max) // 2, 40, BRIGHT)
    legend = (('PASS', GOOD), ('REJECT', BAD), ('not judged yet', DIM))
    x = 20
    for text, colour in legend:
        fill_rounded(canvas, Box(x, _HEIGHT - 26, x + 16, _HEIGHT - 10), 4, colour)
        draw_text(canvas, text, x + 24, _HEIGHT - 13, _TEXT_PX, DIM)
        x += 60 + text_width(text, _TEXT_PX)


def _write_centred(
    canvas: Picture, text: str, x: int, baseline: int, colour: tuple[int, int, int]
) -> None:
    draw_text(canvas, text, x - text_width(text, _TEXT_PX) // 2, baseline, _TEXT_PX, colour)
