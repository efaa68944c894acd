# SPDX-License-Identifier: Apache-2.0
"""
The protocol that every scorer follows, and the checks that scorers share.

"""

from __future__ import annotations

from dataclasses import dataclass
import sys
from typing import Any, ClassVar, Protocol, runtime_checkable, Self, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.printable import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared
    from anomaly_inspection.scoring.measure import MeasureSpec


@dataclass(frozen=True)
class ScorerOutput:
    """
    What a scorer finds in one prepared frame.

    Parameters
    ----------
    measures : dict of str to float
        One value for each of the scorer's `measures`, apart from those made from regions.
    anomaly_map : ndarray of float32, (h, w)
        Same size as the prepared image; high = anomalous; 0 outside its `valid` mask.
    part_class : str
        The taught class that the part looks most like; '' for scorers that know no classes.

    """

    measures: dict[str, float]
    anomaly_map: NDArray[np.float32]
    part_class: str = ''


class Scorer(Protocol):
    """
    A scoring method, fitted to good parts. Stateless between frames: several threads may score
    with it at once.

    `array_names` are the keys of `to_arrays` that hold no dot: a recipe may have no others.

    """

    name: ClassVar[str]
    measures: ClassVar[tuple[MeasureSpec, ...]]
    map_unit: ClassVar[str]
    array_names: ClassVar[tuple[str, ...]]
    settings: ClassVar[Mapping[str, Setting]]
    default_settings: ClassVar[Mapping[str, Any]]

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Fit to good parts.

        Raises
        ------
        SettingError
            When a setting is unknown, of another type or out of range.
        FrameError
            When there are too few images, or not all of one size and type.

        """
        ...

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from what `to_arrays` gave (the recipe's statistics.npz).

        Raises
        ------
        SettingError
            As `fit`.
        RecipeError
            When an array is missing, of another type or shape, or not finite.

        """
        ...

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give all fitted data.

        """
        ...

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame.

        Raises
        ------
        FrameError
            When the size or type of the image is not the fitted one.

        """
        ...


@runtime_checkable
class TrainedOnPreprocessing(Protocol):
    """
    A scorer with a network for one preprocessing; a recipe with another one refuses it.

    """

    @property
    def preprocessing_fingerprint(self) -> str:
        """
        Give the `PreprocessingSettings.fingerprint` of the images it was trained on.

        """
        ...


@runtime_checkable
class RunsNetwork(Protocol):
    """
    A scorer with a network, which must know how many threads may run it at once.

    """

    def allow_threads(self, count: int) -> None:
        """
        Let so many threads score at the same time; without this they wait for each other.

        """
        ...


@dataclass(frozen=True)
class Setting:
    """
    One setting of a scorer.

    Parameters
    ----------
    default : float, int or str
        An int asks for whole numbers, a str for one of the `choices`, or any text without them.
    minimum, maximum : float
        Allowed range of a number, both ends allowed.
    choices : tuple of str
        Allowed texts.

    """

    default: float | int | str
    minimum: float = 0.0
    maximum: float = float('inf')
    choices: tuple[str, ...] = ()

    def checked(self, key: str, value: object) -> float | int | str:
        """
        Give the value in the type of the default, or raise SettingError with the allowed range.

        """
        if self.choices:
            if value not in self.choices:
                raise SettingError(f'{key} is {shown(value)}; allowed: {", ".join(self.choices)}')
            return str(value)
        if isinstance(self.default, str):
            if not isinstance(value, str):
                raise SettingError(f'{key} is {shown(value)}; allowed: a text')
            return value
        kind = 'a whole number' if isinstance(self.default, int) else 'a number'
        allowed = f'{kind} from {self.minimum:g} to {self.maximum:g}'
        if (
            isinstance(value, bool)
            or not isinstance(value, (int, float, np.integer, np.floating))
            or not -sys.float_info.max <= value <= sys.float_info.max
            or not self.minimum <= value <= self.maximum
            or (isinstance(self.default, int) and value != int(value))
        ):
            raise SettingError(f'{key} is {shown(value)}; allowed: {allowed}')
        return type(self.default)(value)


def checked_settings(
    scorer_name: str, known: Mapping[str, Setting], given: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Fill in the defaults; refuse a setting that is unknown, of another type or out of range.

    """
    for key in given:
        if key not in known:
            raise SettingError(
                f'{scorer_name} has no setting {key!r}; known: {", ".join(sorted(known))}'
            )
    return {
        key: setting.checked(f'{scorer_name}.{key}', given.get(key, setting.default))
        for key, setting in known.items()
    }


def shape_text(image: NDArray[Any]) -> str:
    """
    Describe an image: '640x480x3 uint8'.

    """
    height, width = image.shape[:2]
    return 'x'.join(map(str, (width, height, *image.shape[2:]))) + f' {image.dtype}'


def check_prepared(prepared: Prepared, like: NDArray[np.uint8]) -> None:
    """
    Raise FrameError unless the prepared image has the size and type of the fitted one.

    """
    image = prepared.image
    if image.shape != like.shape or image.dtype != like.dtype:
        raise FrameError(
            f'the prepared image is {shape_text(image)}, the scorer is fitted to '
            f'{shape_text(like)}'
        )
    if prepared.valid.shape != image.shape[:2]:
        raise FrameError(
            f'the valid mask is {shape_text(prepared.valid)}, the image {shape_text(image)}'
        )


def check_alike(images: Sequence[Prepared], at_least: int) -> None:
    """
    Raise FrameError unless there are enough images to fit to, all 8-bit and of one size.

    """
    if len(images) < at_least:
        raise FrameError(f'{len(images)} good images; at least {at_least} are needed')
    first = images[0].image
    if first.dtype != np.uint8 or first.ndim not in (2, 3) or first.size == 0:
        raise FrameError(f'the first image is {shape_text(first)}; 8-bit gray or BGR is needed')
    for prepared in images:
        check_prepared(prepared, first)


def fitted_array(
    arrays: Mapping[str, NDArray[Any]], key: str, dtype: type, dimensions: Sequence[int]
) -> NDArray[Any]:
    """
    Take an array out of a recipe's statistics.

    Raises
    ------
    RecipeError
        When it is missing, of another type or number of dimensions, empty or not finite.

    """
    if key not in arrays:
        raise RecipeError(f'the statistics lack {key!r}; they hold {sorted(arrays)}')
    array = np.asarray(arrays[key])
    if not np.issubdtype(array.dtype, dtype) or array.ndim not in dimensions or array.size == 0:
        raise RecipeError(
            f'{key!r} is {array.dtype} of shape {array.shape}; '
            f'{dtype.__name__} with {" or ".join(map(str, dimensions))} dimensions is needed'
        )
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
        raise RecipeError(f'{key!r} holds values that are not finite')
    return array
