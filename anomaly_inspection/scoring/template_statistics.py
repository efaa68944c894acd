# SPDX-License-Identifier: Apache-2.0
"""
Mean and deviation of the good parts of a template, and how a part differs from them.

The formulas are at the top of `template.py`.

"""

from __future__ import annotations

import itertools
from typing import NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.scoring.template_matching import Pose, rotated, rotation_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

FLOOR_LEVELS = 5.0
PRIOR_PARTS = 3

# Deviations are kept in half gray levels: no deviation of 8-bit values is above 127.5.
_STEPS_PER_LEVEL = 2.0
_NOT_JUDGED = 255
# Wider than a defect, so that a defect cannot choose the shift that hides it.
_SURROUNDINGS = (31, 31)


class Template(NamedTuple):
    """
    Good parts that are alike.

    Parameters
    ----------
    mean : ndarray of uint8, (h, w[, 3])
        Their mean.
    deviation : ndarray of uint8, (h, w[, 3])
        Their deviation in half gray levels; 255 = not judged.
    parts : int
        How many good parts they are.

    """

    mean: NDArray[np.uint8]
    deviation: NDArray[np.uint8]
    parts: int


class TemplateSums:
    """
    Sums for mean and deviation of parts; parts can be added and taken out again.

    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._channels = (1,) * (len(shape) - 2)
        self._count = 0
        self._weights = np.zeros((*shape[:2], *self._channels), np.float32)
        self._total = np.zeros(shape, np.float32)
        self._squares = np.zeros(shape, np.float32)

    def add(self, part: Prepared, pose: Pose, times: int = 1) -> None:
        """
        Add a part as it lies on the template; `times` -1 takes it out.

        """
        image, seen = rotated(part.image, part.valid, pose.turn_deg)
        valid = seen[pose.frame].astype(np.float32)
        valid = valid.reshape(*valid.shape, *self._channels)
        values = image[pose.frame] * valid
        self._count += times
        self._weights[pose.template] += times * valid
        self._total[pose.template] += times * values
        self._squares[pose.template] += times * values * values

    def template(self) -> Template:
        """
        Give mean and deviation, judged where half of the parts were seen.

        """
        seen = np.maximum(self._weights, 1)
        mean = self._total / seen
        variance = np.maximum(self._squares - self._total * mean, 0)
        variance /= np.maximum(self._weights - 1, 1)
        steps = np.minimum(np.ceil(np.sqrt(variance) * _STEPS_PER_LEVEL), _NOT_JUDGED - 1)
        steps = np.where(self._weights >= max(1, self._count / 2), steps, _NOT_JUDGED)
        judged = steps != _NOT_JUDGED
        # Pixels that were not seen must not look like an edge or a class.
        mean = np.where(judged, mean, mean[judged].mean() if judged.any() else 0)
        return Template(np.rint(mean).astype(np.uint8), steps.astype(np.uint8), self._count)


def difference_from(
    part: Prepared,
    template: Template,
    pose: Pose,
    *,
    bend_px: int,
    edge_px: int,
    smooth_px: int,
) -> NDArray[np.float32]:
    """
    Give z of a part against a template.

    Parameters
    ----------
    part : Prepared
        The part.
    template : Template
        What it is compared with.
    pose : Pose
        How the part lies on the template.
    bend_px, edge_px : int
        How far all of a place, or an edge, may move where the few parts of a template do not tell.
    smooth_px : int
        z is averaged over a square of this edge.

    Returns
    -------
    ndarray of float32, (h, w)
        As the part lay before it was rotated; 0 where nothing is judged.

    """
    image, valid = rotated(part.image, part.valid, pose.turn_deg)
    reach = bend_px if template.parts <= PRIOR_PARTS else 0
    judged = judged_pixels(template.deviation)
    border = min(1 + edge_px + reach, (min(judged.shape) - 1) // 8)
    inside = np.zeros_like(judged)
    core = (slice(border, judged.shape[0] - border), slice(border, judged.shape[1] - border))
    inside[core] = judged[core]
    inside = valid[pose.frame] & inside[pose.template]
    z = _bent_difference(image[pose.frame], inside, template, pose, reach, edge_px)
    smooth = cv2.blur(z, (smooth_px, smooth_px), borderType=cv2.BORDER_REFLECT)
    difference = np.zeros(valid.shape, np.float32)
    difference[pose.frame] = smooth * inside
    if pose.turn_deg:
        back = cv2.warpAffine(
            difference, rotation_matrix(valid, -pose.turn_deg), valid.shape[::-1]
        )
        difference = np.asarray(back, np.float32) * part.valid
    return difference


def _bent_difference(
    image: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    template: Template,
    pose: Pose,
    reach: int,
    edge_px: int,
) -> NDArray[np.float32]:
    """
    Give z, at every place with the shift of up to `reach` that fits its surroundings best.

    """
    mean, inverse = (
        cv2.copyMakeBorder(plane, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        for plane in _mean_and_inverse(template, edge_px)
    )
    values = np.asarray(image, np.float32)
    best_z = np.full(inside.shape, np.inf, np.float32)
    least = best_z.copy()
    rows, columns = pose.template
    for y_px, x_px in itertools.product(range(2 * reach + 1), repeat=2):
        covering = (
            slice(rows.start + y_px, rows.stop + y_px),
            slice(columns.start + x_px, columns.stop + x_px),
        )
        z = np.asarray(cv2.absdiff(values, mean[covering]), np.float32)
        z *= inverse[covering]
        if z.ndim == 3:
            z = z.max(axis=2)
        z *= inside
        if not reach:
            return z
        around = cv2.blur(z, _SURROUNDINGS, borderType=cv2.BORDER_REFLECT)
        fits = around < least
        np.copyto(least, around, where=fits)
        np.copyto(best_z, z, where=fits)
    return best_z


def _mean_and_inverse(
    template: Template, edge_px: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and inverse deviation of a template, with the prior and the floor.

    """
    mean, count = template.mean, float(template.parts)
    variance = np.square(template.deviation, dtype=np.float32)
    variance *= count / (count + PRIOR_PARTS) / _STEPS_PER_LEVEL**2
    neighbourhood = np.ones((2 * edge_px + 1, 2 * edge_px + 1), np.uint8)
    moved = np.square(cv2.morphologyEx(mean, cv2.MORPH_GRADIENT, neighbourhood), dtype=np.float32)
    variance += moved * np.float32(PRIOR_PARTS / (count + PRIOR_PARTS))
    variance += np.float32(FLOOR_LEVELS**2)
    return mean.astype(np.float32), np.asarray(1 / np.sqrt(variance), np.float32)


def judged_pixels(deviation: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """
    Tell which pixels of a template are judged.

    """
    judged = deviation != _NOT_JUDGED
    return np.asarray(judged.all(axis=2) if judged.ndim == 3 else judged)
