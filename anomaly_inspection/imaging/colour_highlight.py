# SPDX-License-Identifier: Apache-2.0
"""
Colour highlight: a colour that good parts do not have stands out in brightness.

Rust, grease or a wrong component can be as bright as what it covers: then a gray picture does not
show it. The highlight moves every pixel toward white or black by how foreign its colour is, so
every scorer that looks at brightness sees it. Colour means a and b of CIE Lab: brightness is
already in the picture, and with it a few reference colours could not cover light and shade. In a
frame that is 15 % darker a and b are 12 % smaller, which does not matter where parts are gray.

"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
import re
from typing import ClassVar, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_choice, check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the a-b plane, 256 levels each.
PLACES = 256 * 256
MOST_COLOURS = 64
HIGHEST_TOLERANCE_LEVELS = 100.0
TOWARD = ('white', 'black')


@dataclass(frozen=True)
class ColourHighlight:
    """
    Moves pixels toward white or black by how far their colour lies from those of good parts.

    Parameters
    ----------
    colours : tuple of str
        Reference colours as '#rrggbb', 1 to 64; how bright they are does not matter.
    tolerance_levels : float
        Up to this distance from the nearest reference colour a pixel stays as it is; in the a-b
        plane of CIE Lab, 1 to 100.
    ramp_levels : float
        So much beyond it is white or black; between, in proportion. 1 to 100.
    toward : str
        'white' or 'black'.

    """

    kind: ClassVar[str] = 'colour_highlight'
    radius_px: ClassVar[int] = 0
    colours: tuple[str, ...]
    tolerance_levels: float
    ramp_levels: float
    toward: str

    def __post_init__(self) -> None:
        key = f'filters.{self.kind}'
        if not isinstance(self.colours, (list, tuple)) or not (
            1 <= len(self.colours) <= MOST_COLOURS
        ):
            raise SettingError(
                f'{key}.colours is {self.colours!r}; allowed: a list of 1 to {MOST_COLOURS} '
                "colours such as '#c81e00'"
            )
        for index, colour in enumerate(self.colours):
            if not isinstance(colour, str) or not re.fullmatch('#[0-9a-f]{6}', colour):
                raise SettingError(
                    f"{key}.colours[{index}] is {colour!r}; allowed: '#rrggbb', red, green and "
                    "blue as two hex digits each, '00' to 'ff', in quotes"
                )
        check_number(f'{key}.tolerance_levels', self.tolerance_levels, 1, HIGHEST_TOLERANCE_LEVELS)
        check_number(f'{key}.ramp_levels', self.ramp_levels, 1, 100)
        check_choice(f'{key}.toward', self.toward, TOWARD)
        # As a recipe gives it, a list.
        object.__setattr__(self, 'colours', tuple(self.colours))

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Highlight foreign colours in a BGR image, (h, w, 3).

        """
        share = self._share_of_place.take(places_of(image))
        if not share.any():
            return image
        shares = cv2.merge([share, share, share])
        if self.toward == 'black':
            return np.asarray(
                cv2.subtract(image, cv2.multiply(image, shares, scale=1 / 255)), np.uint8
            )
        room = cv2.bitwise_not(image)
        return np.asarray(cv2.add(image, cv2.multiply(room, shares, scale=1 / 255)), np.uint8)

    @cached_property
    def _share_of_place(self) -> NDArray[np.uint8]:
        """
        How far a colour at each place of the a-b plane moves, 255 = all the way.

        """
        pixels = np.array(
            [[int(colour[at : at + 2], 16) for at in (5, 3, 1)] for colour in self.colours],
            np.uint8,
        )
        beyond = distances(places_of(pixels[None])[0]) - self.tolerance_levels
        return np.asarray(np.rint(255 * np.clip(beyond / self.ramp_levels, 0, 1)), np.uint8)


def places_of(image: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """
    Give the place of every pixel's colour in the a-b plane of CIE Lab: 256 a + b, both 8-bit.

    Parameters
    ----------
    image : ndarray of uint8, (h, w, 3)
        BGR.

    """
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2Lab)
    places = np.empty(image.shape[:2], '<u2')
    cv2.mixChannels([lab], [places.view(np.uint8).reshape(*image.shape[:2], 2)], [1, 1, 2, 0])
    return places


def distances(places: NDArray[np.uint16]) -> NDArray[np.float32]:
    """
    Give how far each place of the a-b plane lies from the nearest of some, levels, (PLACES,).

    """
    is_other = np.ones(PLACES, np.uint8)
    is_other[places] = 0
    distance = cv2.distanceTransform(
        is_other.reshape(256, 256), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return np.asarray(distance, np.float32).reshape(-1)
