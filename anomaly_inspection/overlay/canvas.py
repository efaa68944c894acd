# SPDX-License-Identifier: Apache-2.0
"""
What the overlay is drawn with: boxes, colours, heat, text.

"""

from __future__ import annotations

import math
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

# Blue, green, red.
BACKGROUND, TRACK = (29, 25, 22), (62, 54, 48)
BRIGHT, DIM, WHITE = (240, 236, 232), (170, 160, 150), (255, 255, 255)
GOOD, BAD = (130, 190, 60), (92, 98, 255)
FRAME, HALO = (255, 214, 60), (30, 24, 20)
# Full heat, in limits; the scale up to it is logarithmic.
FULL_HEAT = 4
# The dark third of the colour map would look like a shadow on the part.
HEAT = cv2.applyColorMap(np.linspace(125, 252, 256).astype(np.uint8)[None], cv2.COLORMAP_PLASMA)
HEAT_ALPHA = (0.65 * np.sqrt(np.linspace(0, 1, 256))).astype(np.float32)

# OpenCV 5 draws its fonts as outlines with a weight of their own; before, they are strokes that
# must grow thicker with their size.
_HAS_STROKE_FONT = int(cv2.__version__.split('.')[0]) < 5
_CAPITAL_PX = 21.5


class Box(NamedTuple):
    """
    A half-open box, pixels.

    """

    x_min: int
    y_min: int
    x_max: int
    y_max: int

    def grown(self, by: int) -> Box:
        """
        Give the box grown by this on every side.

        """
        return Box(self.x_min - by, self.y_min - by, self.x_max + by, self.y_max + by)

    def inside(self, other: Box) -> Box:
        """
        Give the part of the box inside another one.

        """
        x_min, x_max = (min(max(x, other.x_min), other.x_max) for x in (self.x_min, self.x_max))
        y_min, y_max = (min(max(y, other.y_min), other.y_max) for y in (self.y_min, self.y_max))
        return Box(x_min, y_min, x_max, y_max)

    def overlaps(self, other: Box) -> bool:
        """
        Tell whether two boxes share a pixel.

        """
        return (
            self.x_min < other.x_max
            and other.x_min < self.x_max
            and self.y_min < other.y_max
            and other.y_min < self.y_max
        )


def enlarged_canvas(picture: Picture, width: int, height: int) -> Picture:
    """
    Give a canvas of this size with the picture at its upper left.

    """
    below, beside = height - picture.shape[0], width - picture.shape[1]
    canvas = cv2.copyMakeBorder(
        picture, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=BACKGROUND
    )
    return np.asarray(canvas, np.uint8)


def fill(canvas: Picture, box: Box, colour: tuple[int, int, int]) -> None:
    """
    Fill a box with a colour.

    """
    if box.x_min < box.x_max and box.y_min < box.y_max:
        cv2.rectangle(canvas, box[:2], (box.x_max - 1, box.y_max - 1), colour, cv2.FILLED)


def fill_rounded(canvas: Picture, box: Box, radius: int, colour: tuple[int, int, int]) -> None:
    """
    Fill a box with rounded corners.

    """
    fill(canvas, Box(box.x_min + radius, box.y_min, box.x_max - radius, box.y_max), colour)
    fill(canvas, Box(box.x_min, box.y_min + radius, box.x_max, box.y_max - radius), colour)
    for x in (box.x_min + radius, box.x_max - radius - 1):
        for y in (box.y_min + radius, box.y_max - radius - 1):
            cv2.circle(canvas, (x, y), radius, colour, -1, cv2.LINE_AA)


def _font(capital_px: float, bold: bool) -> tuple[int, float, int]:
    face = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    thickness = math.ceil(capital_px / 12) if _HAS_STROKE_FONT else 1
    return face, capital_px / _CAPITAL_PX, thickness


def text_width(text: str, capital_px: float, bold: bool = False) -> int:
    """
    Give the width of a text, pixels, by the height of its capitals.

    """
    face, scale, thickness = _font(capital_px, bold)
    return int(cv2.getTextSize(text, face, scale, thickness)[0][0]) if text else 0


def draw_text(
    canvas: Picture,
    text: str,
    x: int,
    baseline: int,
    capital_px: float,
    colour: tuple[int, int, int],
    bold: bool = False,
) -> None:
    """
    Write a text from x on its baseline.

    """
    if text:
        face, scale, thickness = _font(capital_px, bold)
        cv2.putText(canvas, text, (x, baseline), face, scale, colour, thickness, cv2.LINE_AA)


def printable_text(text: str) -> str:
    """
    Keep only characters that the fonts of every OpenCV have; a lone surrogate ends the process.

    """
    return ''.join(c if ' ' <= c <= '~' else '?' for c in ' '.join(text[:300].split()))


def fitted_text(text: str, width: int, capital_px: float, bold: bool = False) -> str:
    """
    Shorten a text to a width.

    """
    if text_width(text, capital_px, bold) <= width:
        return text
    length = len(text) - 1
    while length > 0 and text_width(f'{text[:length]}...', capital_px, bold) > width:
        length -= 1
    return f'{text[:length]}...' if length > 0 else ''


def wrapped_text(text: str, width: int, capital_px: float, most_lines: int) -> list[str]:
    """
    Break a text into lines of a width; the last one is shortened.

    """
    lines: list[str] = []
    words = text.split()
    while words and len(lines) < most_lines - 1:
        count = len(words)
        while count > 1 and text_width(' '.join(words[:count]), capital_px, bold=True) > width:
            count -= 1
        lines.append(fitted_text(' '.join(words[:count]), width, capital_px, bold=True))
        words = words[count:]
    if words:
        lines.append(fitted_text(' '.join(words), width, capital_px, bold=True))
    return lines


def sortable(value: float) -> float:
    """
    Give a value that sorts NaN first.

    """
    return -math.inf if math.isnan(value) else value
