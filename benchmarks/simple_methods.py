# SPDX-License-Identifier: Apache-2.0
"""
Simple ways to find odd images, for comparison with ours, each in a few lines.

All of them see the frame, or its region of interest, as a gray image of 256x256, not aligned. They
give one score per image; high is anomalous.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.scoring.ssim import SsimReference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

SSIM_BEST, SSIM_MEAN, Z_MAP = 'SSIM, best of 20', 'SSIM to the mean', 'z map'
SIDE_PX, REFERENCES = 256, 20
# Gray levels added to each pixel's deviation, because a pixel that never changes has a deviation
# of 0.
_Z_FLOOR_LEVELS = 8.0
_Z_BLUR_PX = 7


def small_gray(image: NDArray[np.uint8], region: RegionOfInterest | None) -> NDArray[np.uint8]:
    """
    Give the image of a frame that the simple methods see.

    Returns
    -------
    ndarray of uint8, (256, 256)

    """
    if region is not None:
        image = image[region.y : region.y + region.height, region.x : region.x + region.width]
    if image.ndim == 3:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    small = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


class SimpleMethods:
    """
    All simple methods, fitted to the same good images.

    Parameters
    ----------
    good : sequence of ndarray of uint8, (256, 256)
        As `small_gray` gives them.

    """

    def __init__(self, good: Sequence[NDArray[np.uint8]]) -> None:
        places = np.linspace(0, len(good) - 1, min(REFERENCES, len(good))).astype(int)
        self._references = [SsimReference.of(good[place]) for place in places]
        stack = np.array(good, np.float32)
        self._mean, self._deviation = stack.mean(axis=0), stack.std(axis=0)
        self._mean_reference = SsimReference.of(np.rint(self._mean).astype(np.uint8))

    def scores(self, image: NDArray[np.uint8]) -> dict[str, float]:
        """
        Score one image by each method.

        """
        own = SsimReference.of(image)
        best, to_mean = (
            max(float(own.similarity_map(one).mean()) for one in references)
            for references in (self._references, [self._mean_reference])
        )
        z_map = np.abs(image - self._mean) / (self._deviation + _Z_FLOOR_LEVELS)
        peak = float(cv2.blur(z_map, (_Z_BLUR_PX, _Z_BLUR_PX)).max())
        return {SSIM_BEST: 1 - best, SSIM_MEAN: 1 - to_mean, Z_MAP: peak}
