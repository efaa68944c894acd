# SPDX-License-Identifier: Apache-2.0
"""
The picture of a drift: the taught part beside the mean of the last good ones, what differs marked.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.alignment import Alignment
    from anomaly_inspection.imaging.conditions import ConditionMeter

# Of each of the two pictures side by side.
_WIDTH_PX = 320
# How many parts the mean counts, about.
_RECENT_PARTS = 10
# Differences smaller than this many gray levels, and than this share of the largest, are not
# marked.
_LEAST_LEVELS, _LEAST_SHARE = 8.0, 0.5
_GAP_PX, _HEADER_PX = 6, 22
_INK, _PAPER, _MARK = (40, 40, 40), (245, 245, 245), (43, 98, 209)
_JPEG_QUALITY = 80


class DriftPicture:
    """
    Keeps the mean picture of the last good parts, small, and draws it when it is asked for.

    The memory it takes is that of four pictures 320 px wide, however many parts come.

    Parameters
    ----------
    meter : ConditionMeter
        Of the recipe.
    references : sequence of ndarray of uint8
        Taught frames; the first is what parts are laid on.

    """

    def __init__(self, meter: ConditionMeter, references: Sequence[NDArray[np.uint8]]) -> None:
        self._meter = meter
        self._taught = _small(meter.seen(references[0]))
        self._laid: NDArray[np.float32] | None = None
        self._seen: NDArray[np.float32] | None = None
        self._count = 0

    def add(self, frame: NDArray[np.uint8], alignment: Alignment | None) -> None:
        """
        Add the frame of a good part.

        """
        self._count += 1
        weight = max(1.0 / self._count, 1.0 / _RECENT_PARTS)
        self._laid = _followed(self._laid, _small(self._meter.laid(frame, alignment)), weight)
        self._seen = _followed(self._seen, _small(self._meter.seen(frame)), weight)

    def jpeg(self, *, as_it_lies: bool, cells: NDArray[np.bool_] | None = None) -> bytes:
        """
        Draw the two pictures side by side.

        Parameters
        ----------
        as_it_lies : bool
            Whether the parts are shown where the camera saw them, as for a camera that was moved,
            or laid on the taught part, as for all else.
        cells : ndarray of bool, optional
            A grid over the region of interest: what to mark; by default what differs most.

        Returns
        -------
        bytes
            A JPEG file, 646 px wide; empty before the first part.

        """
        now = self._seen if as_it_lies else self._laid
        if now is None:
            return b''
        taught, now = _in_colour(self._taught), _in_colour(now)
        outlines, _ = cv2.findContours(
            _differing(taught, now) if cells is None or not cells.any() else _grown(cells, now),
            cv2.RETR_EXTERNAL,
            cv2.CHAIN_APPROX_SIMPLE,
        )
        marked = np.clip(np.rint(now), 0, 255).astype(np.uint8)
        cv2.drawContours(marked, outlines, -1, _MARK, 2, cv2.LINE_AA)
        height, width = marked.shape[:2]
        sheet = np.full((height + _HEADER_PX, 2 * width + _GAP_PX, 3), _PAPER, np.uint8)
        sheet[_HEADER_PX:, :width] = np.clip(np.rint(taught), 0, 255).astype(np.uint8)
        sheet[_HEADER_PX:, width + _GAP_PX :] = marked
        for text, x in (('taught', 4), (f'mean of the last {_RECENT_PARTS} good', width + 10)):
            cv2.putText(sheet, text, (x, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.48, _INK, 1, cv2.LINE_AA)
        is_encoded, content = cv2.imencode(
            '.jpg', sheet, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
        )
        return content.tobytes() if is_encoded else b''


def _differing(taught: NDArray[np.float32], now: NDArray[np.float32]) -> NDArray[np.uint8]:
    difference = cv2.GaussianBlur(np.abs(now - taught).max(axis=2), (0, 0), 2.0)
    least = max(_LEAST_LEVELS, _LEAST_SHARE * float(difference.max()))
    return np.asarray(difference > least, np.uint8)


def _grown(cells: NDArray[np.bool_], picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    mask = cv2.resize(cells.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.dilate(mask, np.ones((5, 5), np.uint8)), np.uint8)


def _small(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    if width > _WIDTH_PX:
        size = _WIDTH_PX, max(1, round(height * _WIDTH_PX / width))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return image.astype(np.float32)


def _followed(
    mean: NDArray[np.float32] | None, image: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    if mean is None:
        return image
    return np.asarray(cv2.accumulateWeighted(image, mean, weight), np.float32)


def _in_colour(image: NDArray[np.float32]) -> NDArray[np.float32]:
    if image.ndim == 3:
        return image
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.float32)
