# SPDX-License-Identifier: Apache-2.0
"""
The coarse search for a part: the directions of the reference's edges against those of the frame.

Directions do not depend on the light. Correlation runs over Fourier transforms: that of a frame is
computed once for all templates, those of the templates once for all frames.

"""

from __future__ import annotations

import cmath
import math
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np
from scipy import fft

from anomaly_inspection.errors import AlignmentError
from anomaly_inspection.imaging.edge_images import (
    edge_directions,
    level_position,
    region_mask,
    rotated_half_sides,
)
from anomaly_inspection.imaging.edge_model import Pose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

_MOST_CANDIDATES = 8
# How many templates are correlated at once; more would not fit into the processor's cache.
_BATCH = 16
_MOST_TEMPLATE_BYTES = 512 * 10**6


class Candidate(NamedTuple):
    score: float
    pose: Pose


class CoarseSearch:
    """
    The reference's edge directions, turned through the search range, at the coarsest level.

    Raises AlignmentError when they would take too much memory.

    """

    def __init__(
        self,
        image: NDArray[np.float32],
        factor: int,
        middle: complex,
        region: RegionOfInterest,
        search_px: float,
        search_rad: float,
        search_scale: float,
    ) -> None:
        self._factor = factor
        self._middle = level_position(middle, factor)
        half_width, half_height = rotated_half_sides(
            region.width / 2 / factor, region.height / 2 / factor, search_rad
        )
        self._half = (
            math.ceil(half_width * (1 + search_scale)),
            math.ceil(half_height * (1 + search_scale)),
        )
        self._reach = math.ceil(search_px / factor) + 1
        rim = math.hypot(region.width, region.height) / 2 / factor
        # The rim of the part moves by at most 1.5 pixels from one turn to the next.
        self._turns = [
            cmath.rect(scale, angle)
            for scale in _steps(search_scale, 3.0 / rim) + 1
            for angle in _steps(search_rad, 3.0 / rim)
        ]
        self._size = 2 * (self._half[0] + self._reach) + 1, 2 * (self._half[1] + self._reach) + 1
        self._fast = [fft.next_fast_len(side) for side in self._size[::-1]]
        n_bytes = len(self._turns) * math.prod(self._fast) * np.dtype(np.complex64).itemsize
        if n_bytes > _MOST_TEMPLATE_BYTES:
            raise AlignmentError(
                f'the search for the part would take {n_bytes / 1e6:,.0f} MB; allowed: '
                f'{_MOST_TEMPLATE_BYTES / 1e6:.0f} MB: search less far (search_deg, search_px), '
                'or give a shorter region of interest'
            )
        self._templates = np.array(
            [
                np.conj(fft.fft2(_complex(self._template(image, region, turn)), self._fast))
                for turn in self._turns
            ]
        )

    def candidates(self, image: NDArray[np.float32]) -> list[Candidate]:
        """
        Give at most eight poses that score higher than their neighbours in angle, best first.

        """
        field = edge_directions(image)
        half_width, half_height = self._half
        reach = self._reach
        left = math.floor(self._middle.real + 0.5) - half_width - reach
        top = math.floor(self._middle.imag + 0.5) - half_height - reach
        seen = fft.fft2(_complex(_cut(field, left, top, *self._size)), self._fast)
        side = 2 * reach + 1
        found = []
        for start in range(0, len(self._turns), _BATCH):
            templates = self._templates[start : start + _BATCH]
            scores = fft.ifft2(templates * seen, overwrite_x=True).real[:, :side, :side]
            places = scores.reshape(len(scores), -1).argmax(axis=1)
            for turn, each, at in zip(
                self._turns[start : start + _BATCH], scores, places.tolist(), strict=True
            ):
                y, x = divmod(at, side)
                place = complex(x + half_width + left, y + half_height + top)
                shift = (place - self._middle) * self._factor
                found.append(Candidate(float(each[y, x]), Pose(turn, shift)))
        best = max(candidate.score for candidate in found)
        limit = best - 0.2 * abs(best)
        peaks = [
            candidate
            for index, candidate in enumerate(found)
            if candidate.score >= limit
            and candidate.score >= max(item.score for item in found[max(0, index - 1) : index + 2])
        ]
        return sorted(peaks, key=lambda candidate: -candidate.score)[:_MOST_CANDIDATES]

    def _template(
        self, image: NDArray[np.float32], region: RegionOfInterest, turn: complex
    ) -> NDArray[np.float32]:
        half_width, half_height = self._half
        size = 2 * half_width + 1, 2 * half_height + 1
        back = 1 / turn
        shift = self._middle - back * complex(half_width, half_height)
        matrix = np.array(
            [[back.real, -back.imag, shift.real], [back.imag, back.real, shift.imag]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = np.asarray(
            cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE),
            np.float32,
        )
        mask = region_mask(image.shape, self._middle, region, self._factor, 2).astype(np.float32)
        turned_mask = cv2.warpAffine(mask, matrix, size, flags=flags)
        field = edge_directions(turned) * (np.asarray(turned_mask)[..., None] > 0.5)
        weight = float(np.hypot(field[..., 0], field[..., 1]).sum())
        return np.asarray(field / max(weight, 1e-6), np.float32)


def _complex(field: NDArray[np.float32]) -> NDArray[np.complex64]:
    """
    Give directions as complex numbers: one times the conjugate of another has their cosine as its
    real part.

    """
    return np.asarray(field[..., 0] + 1j * field[..., 1], np.complex64)


def _steps(reach: float, step: float) -> NDArray[np.float64]:
    count = math.ceil(reach / step)
    return np.linspace(-reach, reach, 2 * count + 1)


def _cut(
    field: NDArray[np.float32], left: int, top: int, width: int, height: int
) -> NDArray[np.float32]:
    rows, columns = field.shape[:2]
    before_x, before_y = max(0, -left), max(0, -top)
    after_x, after_y = max(0, left + width - columns), max(0, top + height - rows)
    if before_x or before_y or after_x or after_y:
        border = before_y, after_y, before_x, after_x
        field = np.asarray(cv2.copyMakeBorder(field, *border, cv2.BORDER_CONSTANT), np.float32)
        left, top = left + before_x, top + before_y
    return field[top : top + height, left : left + width]
