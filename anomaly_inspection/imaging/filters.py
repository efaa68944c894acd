# SPDX-License-Identifier: Apache-2.0
"""
Noise filters, applied in the order of the recipe.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, MISSING
import math
from typing import Any, ClassVar, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.colour_highlight import ColourHighlight
from anomaly_inspection.setting_check import (
    check_choice,
    check_integer,
    check_keys,
    check_number,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Gauss:
    """
    Gaussian blur: for sensor noise; widens every edge and defect by about sigma.

    Parameters
    ----------
    sigma_px : float
        Standard deviation, pixels, 0.3 to 10.

    """

    kind: ClassVar[str] = 'gauss'
    sigma_px: float = 1.0

    def __post_init__(self) -> None:
        check_number('filters.gauss.sigma_px', self.sigma_px, 0.3, 10)

    @property
    def radius_px(self) -> int:
        """
        How far the filter looks around a pixel.

        """
        return math.ceil(3 * self.sigma_px)

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Filter an image.

        """
        size = 2 * self.radius_px + 1
        return np.asarray(cv2.GaussianBlur(image, (size, size), self.sigma_px), np.uint8)


@dataclass(frozen=True)
class Median:
    """
    Median: for single wrong pixels; removes defects thinner than half its size.

    Parameters
    ----------
    size_px : int
        Side of the window, pixels, odd, 3 to 31.

    """

    kind: ClassVar[str] = 'median'
    size_px: int = 3

    def __post_init__(self) -> None:
        check_integer('filters.median.size_px', self.size_px, 3, 31)
        if self.size_px % 2 == 0:
            raise SettingError(
                f'filters.median.size_px is {self.size_px}; allowed: an odd integer from 3 to 31'
            )

    @property
    def radius_px(self) -> int:
        """
        How far the filter looks around a pixel.

        """
        return self.size_px // 2

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Filter an image.

        """
        return np.asarray(cv2.medianBlur(image, self.size_px), np.uint8)


@dataclass(frozen=True)
class Bilateral:
    """
    Bilateral filter: for sensor noise, keeps edges; the slow one.

    Its time grows with the square of the diameter.

    Parameters
    ----------
    diameter_px : int
        Diameter of the neighbourhood, pixels, 3 to 15.
    sigma_color : float
        Differences well above this many gray levels are kept, 1 to 255.
    sigma_space : float
        Standard deviation in space, pixels, 0.3 to 15.

    """

    kind: ClassVar[str] = 'bilateral'
    diameter_px: int = 5
    sigma_color: float = 20.0
    sigma_space: float = 2.0

    def __post_init__(self) -> None:
        check_integer('filters.bilateral.diameter_px', self.diameter_px, 3, 15)
        check_number('filters.bilateral.sigma_color', self.sigma_color, 1, 255)
        check_number('filters.bilateral.sigma_space', self.sigma_space, 0.3, 15)

    @property
    def radius_px(self) -> int:
        """
        How far the filter looks around a pixel.

        """
        return self.diameter_px // 2

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Filter an image.

        """
        smooth = cv2.bilateralFilter(image, self.diameter_px, self.sigma_color, self.sigma_space)
        return np.asarray(smooth, np.uint8)


Filter = Gauss | Median | Bilateral | ColourHighlight

FILTERS: dict[str, type[Filter]] = {
    kind.kind: kind for kind in (Gauss, Median, Bilateral, ColourHighlight)
}


def filter_from_mapping(mapping: Mapping[str, Any]) -> Filter:
    """
    Make a filter from its kind and settings, e.g. {'kind': 'gauss', 'sigma_px': 1.0}.

    Raises
    ------
    SettingError
        Unknown kind or key, one that is missing, or a value out of range.

    """
    if not isinstance(mapping, Mapping):
        raise SettingError(f'filters holds {mapping!r}; allowed: mappings with a kind')
    check_choice('filters.kind', mapping.get('kind'), FILTERS)
    filter_class = FILTERS[mapping['kind']]
    names = [field.name for field in fields(filter_class)]
    check_keys(f'filters.{filter_class.kind}', mapping, ['kind', *names])
    for field in fields(filter_class):
        if field.default is MISSING and field.name not in mapping:
            raise SettingError(
                f'filters.{filter_class.kind} lacks {field.name!r}; it needs {", ".join(names)}'
            )
    return filter_class(**{name: mapping[name] for name in names if name in mapping})


def filter_to_mapping(image_filter: Filter) -> dict[str, Any]:
    """
    Give the mapping that `filter_from_mapping` reads.

    """
    values = asdict(image_filter)
    return {'kind': image_filter.kind} | {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
