# SPDX-License-Identifier: Apache-2.0
"""
The conditions of a picture: light, sharpness, place and background, apart from any defect.

Teaching and the drift watch measure them in the same way, so that the two can be compared.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.alignment import Alignment
from anomaly_inspection.imaging.frame_fit import fit_frame
from anomaly_inspection.imaging.light import LightMeter
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.imaging.silhouette import part_silhouette

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Preprocessor

#: Rows and columns of the grid over the region of interest, in which local changes are looked for.
GRID = (24, 32)
#: The grid in the pixels of the camera, and the same in those of the part.
CELLS = ('image_cells', 'part_cells')
#: Every single number that may be measured; see `ConditionMeter.measure`.
CONDITIONS = (
    'light',
    'colour_blue',
    'colour_red',
    'sharpness',
    'position_x',
    'position_y',
    'rotation',
    'size',
    'certainty',
    'background',
    'background_blue',
    'background_red',
)

_STILL = Alignment(0.0, 0.0, 0.0, 1.0, 1.0)
# The outline of the part runs along its edges; its shadow lies further out.
_OUTLINE_GROWS = 1.25
_STEP_PX = 4
_FEWEST_BACKGROUND = 200
# So dark places have no large logarithm.
_DARK_LEVELS = 8.0
_COARSE_FACTOR = 4
# An outline's bits after the point, for OpenCV.
_BITS = 4


@dataclass(frozen=True, eq=False)
class Conditions:
    """
    The conditions of one picture of a part.

    Parameters
    ----------
    values : dict of str to float
        By name, out of `CONDITIONS`; what could not be measured is left out.
    cells : dict of str to ndarray of float32, `GRID`
        By name, out of `CELLS`: the logarithm of the mean gray level of each cell, in the light
        of the reference.

    """

    values: dict[str, float]
    cells: dict[str, NDArray[np.float32]] = field(default_factory=dict)


class ConditionMeter:
    """
    Measures the conditions of pictures of one recipe.

    Parameters
    ----------
    preprocessor : Preprocessor
        Of the recipe.
    reference : ndarray of uint8
        The recipe's first reference, a frame.

    """

    def __init__(self, preprocessor: Preprocessor, reference: NDArray[np.uint8]) -> None:
        self._format = preprocessor.frame_format
        self._region = preprocessor.settings.region_of_interest or RegionOfInterest.whole(
            self._format
        )
        self._outline = preprocessor.part_outline
        self._part = self._outlined(1.0, np.eye(2, 3))
        laid = self._laid(_gray(reference), _STILL)
        if self._outline is not None:
            around = ~self._outlined(_OUTLINE_GROWS, np.eye(2, 3))
            self._part = part_silhouette(self._laid(reference, _STILL), self._part, around)
        self._light_meter = LightMeter('gain', laid, self._part)
        self._valid = np.ones(laid.shape, np.bool_)

    def measure(self, frame: NDArray[np.uint8], alignment: Alignment | None) -> Conditions:
        """
        Measure the conditions of one picture.

        Parameters
        ----------
        frame : ndarray of uint8, (H, W) or (H, W, 3) BGR
            As the camera gave it.
        alignment : Alignment or None
            How its part lies; None where the recipe asks for no alignment. Of a part that was not
            found, the certainty alone is measured.

        Returns
        -------
        Conditions
            light, background: natural logarithm of the brightness of the part beside the
            reference's, and of what is around the part beside that of the part. colour_blue,
            colour_red: logarithm of blue and red beside green, of the part; background_blue,
            background_red: the same around it, beside the part's. sharpness: logarithm of the
            energy of fine edges beside that of coarse ones. position_x, position_y: pixels.
            rotation: degrees. size: logarithm. certainty: 0 to 1.

        """
        if alignment is not None and not alignment.is_found:
            return Conditions({'certainty': alignment.confidence})
        fitted, _ = fit_frame(frame, self._format)
        gray = _gray(fitted)
        pose = alignment or _STILL
        laid = self._laid(gray, pose)
        light = self._light_meter.measure(laid, self._valid)
        values = {'light': math.log(light.gain)}
        inside, around = self._masks(pose)
        sharpness = _sharpness(gray[self._window], inside)
        if sharpness is not None:
            values['sharpness'] = sharpness
        if alignment is not None:
            values |= {
                'position_x': alignment.x_px,
                'position_y': alignment.y_px,
                'rotation': math.degrees(alignment.angle_rad),
                'size': math.log(max(alignment.scale, 0.01)),
                'certainty': alignment.confidence,
            }
        values |= self._colours(fitted[self._window], inside, around, values['light'])
        cells = {'image_cells': _cells(gray[self._window], light.gain)}
        if self._outline is not None:
            cells['part_cells'] = _cells(laid, light.gain)
        return Conditions(values, cells)

    @property
    def _window(self) -> tuple[slice, slice]:
        region = self._region
        return (
            slice(region.y, region.y + region.height),
            slice(region.x, region.x + region.width),
        )

    def laid(self, frame: NDArray[np.uint8], alignment: Alignment | None) -> NDArray[np.uint8]:
        """
        Give the region of interest of a frame, in colour where it has any, laid on the reference.

        """
        fitted, _ = fit_frame(frame, self._format)
        return self._laid(fitted, alignment or _STILL)

    def seen(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Give the region of interest of a frame as the camera saw it.

        """
        return np.ascontiguousarray(fit_frame(frame, self._format)[0][self._window])

    def _laid(self, image: NDArray[np.uint8], pose: Alignment) -> NDArray[np.uint8]:
        if pose is _STILL or pose.is_still:
            return np.ascontiguousarray(image[self._window])
        return np.asarray(
            cv2.warpAffine(
                image,
                pose.to_frame(self._region),
                (self._region.width, self._region.height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
            np.uint8,
        )

    def _masks(self, pose: Alignment) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """
        Tell where the part is in the region of interest, and where the background surely is.

        """
        if self._outline is None:
            return self._part, ~self._part
        to_region = pose.to_frame(self._region) - [
            [0, 0, self._region.x],
            [0, 0, self._region.y],
        ]
        part = cv2.warpAffine(
            self._part.view(np.uint8), to_region, self._part.shape[::-1], flags=cv2.INTER_NEAREST
        )
        return part.view(np.bool_), ~self._outlined(_OUTLINE_GROWS, to_region)

    def _outlined(self, grown: float, to_region: NDArray[np.float64]) -> NDArray[np.bool_]:
        """
        Fill the outline of the part, grown about its middle; everywhere where it has none.

        """
        shape = self._region.height, self._region.width
        if self._outline is None:
            return np.ones(shape, np.bool_)
        middle = self._outline.mean(axis=0)
        outline = middle + grown * (self._outline - middle)
        corners = outline @ to_region[:, :2].T + to_region[:, 2]
        mask = np.zeros(shape, np.uint8)
        cv2.fillConvexPoly(mask, np.rint(corners * 2**_BITS).astype(np.int32), 1, shift=_BITS)
        return mask.view(np.bool_)

    def _colours(
        self,
        seen: NDArray[np.uint8],
        inside: NDArray[np.bool_],
        around: NDArray[np.bool_],
        light: float,
    ) -> dict[str, float]:
        """
        Measure the colour of the part, and brightness and colour of what is around it.

        """
        thin = (slice(None, None, _STEP_PX), slice(None, None, _STEP_PX))
        pixels, part, background = seen[thin], inside[thin], around[thin]
        has_colour = pixels.ndim == 3
        values: dict[str, float] = {}
        blue = red = 0.0
        if has_colour and part.any():
            levels = np.log(pixels[part].mean(axis=0) + 1.0)
            blue, red = float(levels[0] - levels[1]), float(levels[2] - levels[1])
            values |= {'colour_blue': blue, 'colour_red': red}
        if np.count_nonzero(background) >= _FEWEST_BACKGROUND:
            shown = pixels[background].astype(np.float64)
            around_levels = np.log(shown.mean(axis=0) + 1.0)
            if has_colour:
                values |= {
                    'background': float(around_levels[1]) - light,
                    'background_blue': float(around_levels[0] - around_levels[1]) - blue,
                    'background_red': float(around_levels[2] - around_levels[1]) - red,
                }
            else:
                values['background'] = float(around_levels) - light
        return values


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _cells(gray: NDArray[np.uint8], gain: float) -> NDArray[np.float32]:
    rows, columns = GRID
    means = cv2.resize(gray.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(np.log(means / np.float32(gain) + np.float32(_DARK_LEVELS)), np.float32)


def _sharpness(gray: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float | None:
    """
    Compare the energy of edges one pixel wide with that of edges four pixels wide.

    Light and contrast change both alike; an unsharp picture loses the fine ones.

    """
    fine = _edge_energy(gray, inside)
    height, width = gray.shape
    small = width // _COARSE_FACTOR, height // _COARSE_FACTOR
    coarse = _edge_energy(
        np.asarray(cv2.resize(gray, small, interpolation=cv2.INTER_AREA), np.uint8),
        cv2.resize(inside.view(np.uint8), small, interpolation=cv2.INTER_NEAREST).view(np.bool_),
    )
    if fine <= 0.0 or coarse <= 0.0:
        return None
    return math.log(fine / coarse)


def _edge_energy(gray: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float:
    across = cv2.Sobel(gray, cv2.CV_32F, 1, 0, ksize=1)
    down = cv2.Sobel(gray, cv2.CV_32F, 0, 1, ksize=1)
    return float(cv2.mean(across * across + down * down, inside.view(np.uint8))[0])
