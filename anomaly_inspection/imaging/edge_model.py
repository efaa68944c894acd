# SPDX-License-Identifier: Apache-2.0
"""
The edges of a reference at one level, and how well a frame shows them.

The fine search is inverse compositional Gauss-Newton (Baker and Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd) with Tukey's weights on the edge pixels of the band-passed
reference. All that depends on the reference alone is computed once.

"""

from __future__ import annotations

import cmath
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.edge_images import (
    band_pass,
    band_radius,
    gradients,
    level_position,
    NOISE_GRADIENT,
    OUTSIDE,
    region_mask,
    SHOWN,
)
from anomaly_inspection.imaging.quick_median import quick_median

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

# Edge pixels weaker than this share of the strongest ones are left out.
_EDGE_SHARE = 0.15
FEWEST_POINTS, _MOST_POINTS = 64, 2048
# How many of them a median is taken of.
_MEDIAN_POINTS = 512
# cv2.remap takes no list of points longer than 32767, so they stand in rows of this length.
_ROW = 64
# Gauss-Newton steps at one level: 2 to 4 are usual.
_ROUNDS = 6
# A step below this share of a level's pixel is the last one.
_STILL_PX = 0.02
# Share of the edges that the frame must show; what is hidden beyond that counts as missing.
_SHARE_SHOWN = 0.7


class Pose(NamedTuple):
    turn: complex
    shift: complex


class EdgeModel:
    """
    The edge pixels of the reference at one level, prepared for Gauss-Newton.

    """

    def __init__(
        self,
        image: NDArray[np.float32],
        factor: int,
        middle: complex,
        region: RegionOfInterest,
        unknowns: int,
    ) -> None:
        self._factor = factor
        self._middle = level_position(middle, factor)
        band = band_pass(image)
        slope_x, slope_y = gradients(band)
        magnitude = np.hypot(slope_x, slope_y)
        inside = region_mask(
            image.shape, self._middle, region, factor, band_radius(image.shape) + 1
        )
        rows, columns = _edge_pixels(magnitude, inside)
        points = ((columns + 1j * rows) - self._middle) * factor
        self._points = points.astype(np.complex64)
        self._values = band[rows, columns]
        # Per frame pixel, so that the shift comes out in frame pixels at every level.
        gradient_x = slope_x[rows, columns] / factor
        gradient_y = slope_y[rows, columns] / factor
        # Angle and scale are counted in pixels at this radius, which keeps the normal equations
        # well conditioned.
        self._radius = max(region.width, region.height) / 2
        x, y = points.real / self._radius, points.imag / self._radius
        along_turn, along_scale = gradient_y * x - gradient_x * y, gradient_x * x + gradient_y * y
        jacobian = np.array([gradient_x, gradient_y, along_turn, along_scale], np.float32)
        self._jacobian = jacobian[:unknowns]
        self._information = _information(self._jacobian)
        size = np.hypot(gradient_x, gradient_y)
        self._direction = ((gradient_x + 1j * gradient_y) / size).astype(np.complex64)

    @property
    def is_usable(self) -> bool:
        """
        Whether this level has enough edge pixels.

        """
        return len(self._values) >= FEWEST_POINTS

    @property
    def places_px(self) -> NDArray[np.float32]:
        """
        Where the edge pixels lie, (n, 2), x and y from the middle of the region.

        """
        return np.column_stack([self._points.real, self._points.imag])

    def refine(
        self, band: NDArray[np.float32], pose: Pose, *, unknowns: int | None = None
    ) -> Pose:
        """
        Move the pose to where the frame fits best; `unknowns` = change only so many unknowns.

        """
        jacobian = self._jacobian[:unknowns]
        for _ in range(_ROUNDS):
            sampled = self._sample(band, pose, 0)
            shown = sampled < SHOWN
            if np.count_nonzero(shown) < FEWEST_POINTS:
                break
            some = np.flatnonzero(shown)
            some = some[:: max(1, len(some) // _MEDIAN_POINTS)]
            frame_level = quick_median(np.abs(sampled[some]))
            reference_level = quick_median(np.abs(self._values[some]))
            gain = float(np.clip(frame_level / reference_level, 0.25, 4.0))
            residual = sampled / gain - self._values
            # Half a level keeps a perfect fit from dividing by zero.
            spread = 1.4826 * float(quick_median(np.abs(residual[some]))) + 0.5
            weight = np.square(np.maximum(0, 1 - np.square(residual / (4.685 * spread))))
            weighted = jacobian * weight
            hessian = (weighted @ jacobian.T).astype(np.float64)
            # Along what the edges do not show (a straight edge, a round part) nothing moves.
            hessian.flat[:: len(hessian) + 1] += 1e-4 * np.trace(hessian) / len(hessian) + 1e-9
            step = np.zeros(4)
            step[: len(hessian)] = np.linalg.solve(hessian, weighted @ residual)
            step = np.clip(step, -2 * self._factor, 2 * self._factor)
            inverse = cmath.exp(-complex(step[3], step[2]) / self._radius)
            turn = pose.turn * inverse
            pose = Pose(turn, pose.shift - turn * complex(step[0], step[1]))
            if np.abs(step).max() < _STILL_PX * self._factor:
                break
        return pose

    def cosines(self, band: NDArray[np.float32], pose: Pose) -> NDArray[np.float32]:
        """
        Give the cosine of the angle between the gradients of reference and frame.

        One for each edge pixel; NaN where the frame does not show the pixel.

        """
        step = self._factor
        across = self._sample(band, pose, step) - self._sample(band, pose, -step)
        down = self._sample(band, pose, 1j * step) - self._sample(band, pose, -1j * step)
        along = across * self._direction.real + down * self._direction.imag
        size = np.hypot(across, down) + NOISE_GRADIENT
        size[size > SHOWN] = np.nan
        return np.asarray(along / size, np.float32)

    def agreement(self, band: NDArray[np.float32], pose: Pose) -> float:
        """
        Give the mean cosine over the edge pixels that the frame shows, 0 to 1.

        Up to 30 % of them may lie outside of the frame; more count as missing.

        """
        return _mean_shown(self.cosines(band, pose), np.float32(1 / len(self._values)))

    def least_agreement(
        self, band: NDArray[np.float32], pose: Pose, unknowns: Collection[int]
    ) -> float:
        """
        Give the lowest agreement, 0 to 1, among the edges that determine one of these unknowns.

        All circles of a flange agree when it is turned by 40 degrees; its bores do not.

        """
        cosines = self.cosines(band, pose)
        return min(_mean_shown(cosines, self._information[unknown]) for unknown in unknowns)

    @property
    def angle_information(self) -> float:
        """
        How well the edges determine the angle independently of the shift; 0 = a circle.

        """
        hessian = (self._jacobian @ self._jacobian.T).astype(np.float64)
        shift, mixed = hessian[:2, :2], hessian[2, :2]
        own = hessian[2, 2] - mixed @ np.linalg.lstsq(shift, mixed, rcond=None)[0]
        return float(own / max(np.sqrt(shift[0, 0] * shift[1, 1]), 1e-6))

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """
        Keep only the chosen edge pixels; keep all when too few would be left.

        """
        kept = np.flatnonzero(chosen)
        kept = kept[: len(kept) // _ROW * _ROW]
        if len(kept) < max(FEWEST_POINTS, 0.2 * len(chosen)):
            return
        self._points, self._values = self._points[kept], self._values[kept]
        self._direction, self._jacobian = self._direction[kept], self._jacobian[:, kept]
        self._information = _information(self._jacobian)

    def _sample(
        self, band: NDArray[np.float32], pose: Pose, offset: complex
    ) -> NDArray[np.float32]:
        turn = pose.turn / self._factor
        shift = self._middle + pose.shift / self._factor + turn * offset
        where = np.complex64(turn) * self._points + np.complex64(shift)
        sampled = cv2.remap(
            band,
            where.real.reshape(-1, _ROW),
            where.imag.reshape(-1, _ROW),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=OUTSIDE,
        )
        return np.asarray(sampled, np.float32).reshape(-1)


def _edge_pixels(
    magnitude: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    strongest = float(np.percentile(magnitude[inside], 99.5)) if inside.any() else 0.0
    limit = max(NOISE_GRADIENT, _EDGE_SHARE * strongest)
    rows, columns = np.nonzero(inside & (magnitude >= limit))
    count = min(len(rows), _MOST_POINTS) // _ROW * _ROW
    chosen = np.linspace(0, len(rows) - 1, count).astype(np.intp)
    return rows[chosen], columns[chosen]


def _information(jacobian: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give how much each edge pixel says about each unknown, beyond the unknowns before; sums of 1.

    """
    if jacobian.shape[1] < FEWEST_POINTS:
        return np.zeros_like(jacobian)
    return np.asarray(np.square(np.linalg.qr(jacobian.T)[0].T), np.float32)


def _mean_shown(cosines: NDArray[np.float32], weight: Any) -> float:
    shown = np.isfinite(cosines)
    share = float(np.sum(weight * shown))
    total = float(np.sum(weight * np.where(shown, cosines, 0)))
    return max(0.0, total / max(share, _SHARE_SHOWN))
