# SPDX-License-Identifier: Apache-2.0
"""
What a good part looks like at the place where another one has a defect.

The good images are laid as the part lies, and the one that looks most like it around the region
is the nearest.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, InspectionError
from anomaly_inspection.imaging.alignment import Alignment
from anomaly_inspection.imaging.preprocessing import Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat
    from anomaly_inspection.imaging.preprocessing import PreprocessingSettings

    Image = NDArray[np.uint8]
    # x_min, y_min, x_max, y_max, half-open, frame pixels.
    Box = tuple[int, int, int, int]
    # x and y in pixels, angle in radians, scale.
    Pose = tuple[float, float, float, float]

#: Good images that are compared at most, and their memory.
MOST_GOOD_IMAGES, MOST_GOOD_BYTES = 24, 48 * 10**6
_LEAST_SIDE_PX = 96
# The crop reaches so many times the longer side of the region to every side of it.
_MARGIN = 0.6


@dataclass(frozen=True, eq=False)
class GoodPatch:
    """
    A defect beside the same place of a good part.

    Parameters
    ----------
    found, good : ndarray of uint8, (h, w) gray or (h, w, 3) BGR
        The crop of the part, and the same place of the nearest good part, laid as this part lies.
    contrast_levels : float
        How much brighter the region is than there, gray levels, by its strongest tenth; negative =
        darker.
    good_index : int
        Which of the good images it is.

    """

    found: Image
    good: Image
    contrast_levels: float
    good_index: int


class GoodImages:
    """
    Good parts of one recipe, and how each of them lies.

    Parameters
    ----------
    settings : PreprocessingSettings
        Of the recipe.
    frame_format : FrameFormat
        Of the recipe.
    references : sequence of ndarray of uint8
        Of the recipe; the first is the alignment reference.
    more : iterable of ndarray of uint8
        Further good images; as many are taken as there is room for. What cannot be aligned is left
        out.

    Raises
    ------
    InspectionError
        When the references cannot be used.

    """

    def __init__(
        self,
        settings: PreprocessingSettings,
        frame_format: FrameFormat,
        references: Sequence[Image],
        more: Iterable[Image] = (),
    ) -> None:
        self._region = settings.region_of_interest or RegionOfInterest.whole(frame_format)
        self._size = frame_format.width, frame_format.height
        preprocessor = Preprocessor(
            settings, frame_format, references[0], references[1:], gives_unaligned=False
        )
        # Each with the map from pixels of the region of interest to its own.
        self._images: list[tuple[Image, NDArray[np.float64]]] = []
        n_bytes = 0
        for images in (references, more):
            for image in images:
                if len(self._images) >= MOST_GOOD_IMAGES or n_bytes >= MOST_GOOD_BYTES:
                    return
                try:
                    to_image = preprocessor.prepare(image).to_frame
                except InspectionError:
                    continue
                self._images.append((image, to_image))
                n_bytes += image.nbytes

    def __len__(self) -> int:
        return len(self._images)

    def beside(self, frame: Image, region: Box, pose: Pose | None) -> GoodPatch | None:
        """
        Give a region of a frame beside the same place of the nearest good part.

        Parameters
        ----------
        frame : ndarray of uint8, (H, W) or (H, W, 3) BGR
            As it was judged.
        region : (int, int, int, int)
            Half-open box, frame pixels.
        pose : (float, float, float, float) or None
            How the part lies; None = as the reference does.

        Returns
        -------
        GoodPatch or None
            None when there is no good image.

        Raises
        ------
        FrameError
            When the region or the pose is none of this frame.

        """
        height, width = frame.shape[:2]
        if not (0 <= region[0] < region[2] <= width and 0 <= region[1] < region[3] <= height):
            raise FrameError(f'the region {region} is not inside the frame, {width} x {height} px')
        if pose is not None and not (np.isfinite(pose).all() and 0.1 <= pose[3] <= 10):
            raise FrameError(f'the pose {pose} is none; allowed: a scale of 0.1 to 10')
        left, top, right, bottom = crop_box(region, (width, height))
        found = frame[top:bottom, left:right]
        to_region = self._from_frame(frame.shape[:2], pose)
        inside = np.zeros(found.shape[:2], bool)
        inside[region[1] - top : region[3] - top, region[0] - left : region[2] - left] = True
        best: GoodPatch | None = None
        least = math.inf
        for index, (image, to_image) in enumerate(self._images):
            from_crop = to_image @ to_region @ _shifted(left, top)
            good = cv2.warpAffine(
                image,
                from_crop[:2],
                (right - left, bottom - top),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            difference = _gray(found) - _gray(good)
            around = difference[~inside] if not inside.all() else difference.ravel()
            # The light of another day makes no other part.
            light = float(np.median(around))
            distance = float(np.abs(around - light).mean())
            if distance < least:
                least = distance
                contrast = _contrast(difference[inside] - light)
                best = GoodPatch(found, np.asarray(good, np.uint8), contrast, index)
        return best

    def _from_frame(self, shape: tuple[int, ...], pose: Pose | None) -> NDArray[np.float64]:
        """
        Give the (3, 3) map from pixels of a frame to those of the region of interest.

        """
        alignment = Alignment(*(pose or (0.0, 0.0, 0.0, 1.0)), confidence=1.0)
        to_recipe = np.vstack([alignment.to_frame(self._region), [0.0, 0.0, 1.0]])
        # A frame of another size was scaled to that of the recipe; see `fit_frame`.
        step_x, step_y = shape[1] / self._size[0], shape[0] / self._size[1]
        to_frame = np.array(
            [[step_x, 0, (step_x - 1) / 2], [0, step_y, (step_y - 1) / 2], [0, 0, 1]]
        )
        return np.asarray(np.linalg.inv(to_frame @ to_recipe), np.float64)


def crop_box(region: Box, frame_size: tuple[int, int]) -> Box:
    """
    Give what is shown of a region: the region with some of the part around it, inside the frame.

    Parameters
    ----------
    region : (int, int, int, int)
        Half-open box, frame pixels.
    frame_size : (int, int)
        Width and height of the frame.

    """
    sides = region[2] - region[0], region[3] - region[1]
    margin = _MARGIN * max(sides)
    box = []
    for axis in (0, 1):
        size = frame_size[axis]
        length = min(size, max(_LEAST_SIDE_PX, round(sides[axis] + 2 * margin)))
        middle = (region[axis] + region[axis + 2]) / 2
        start = min(max(0, round(middle - length / 2)), size - length)
        box.append((start, start + length))
    return box[0][0], box[1][0], box[0][1], box[1][1]


def _contrast(difference: NDArray[np.float32]) -> float:
    """
    Give the mean of the strongest tenth, with its sign.

    """
    n = max(1, difference.size // 10)
    strongest = np.argpartition(np.abs(difference).ravel(), -n)[-n:]
    return float(difference.ravel()[strongest].mean())


def _gray(image: NDArray[Any]) -> NDArray[np.float32]:
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    return np.asarray(gray, np.float32)


def _shifted(x_px: int, y_px: int) -> NDArray[np.float64]:
    return np.array([[1.0, 0.0, x_px], [0.0, 1.0, y_px], [0.0, 0.0, 1.0]])
