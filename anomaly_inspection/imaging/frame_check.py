# SPDX-License-Identifier: Apache-2.0
"""
Checks whether a frame can be judged: size, encoding, neither black nor saturated.

"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import FrameError
from anomaly_inspection.setting_check import check_choice, check_integer, check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENCODINGS = {'mono8': 1, 'bgr8': 3}

# A frame is black when at most one value in a thousand reaches BLACK_LEVEL: dark noise and a few
# hot pixels stay below that, the smallest lit part does not.
BLACK_LEVEL = 6
BLACK_SHARE = 0.001
SATURATED_LEVEL = 254
# 98 of 100 values: a bright background with a part on it stays below that.
SATURATED_SHARE = 0.98

_STEP_PX = 4


@dataclass(frozen=True)
class AcceptedSizes:
    """
    The sizes of frames that a recipe scales to its own.

    Parameters
    ----------
    min_width, min_height, max_width, max_height : int
        Pixels, 16 to 16384; the least is at most the largest.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    min_width: int
    min_height: int
    max_width: int
    max_height: int

    def __post_init__(self) -> None:
        for side in ('width', 'height'):
            least, largest = getattr(self, f'min_{side}'), getattr(self, f'max_{side}')
            check_integer(f'min_{side}', least, 16, 16384)
            check_integer(f'max_{side}', largest, least, 16384)

    def include(self, width: int, height: int) -> bool:
        """
        Tell whether a frame of this size is accepted.

        """
        return (
            self.min_width <= width <= self.max_width
            and self.min_height <= height <= self.max_height
        )

    @property
    def text(self) -> str:
        """
        Give the sizes for people: '500 x 1225 px to 500 x 1270 px'.

        """
        least = f'{self.min_width} x {self.min_height} px'
        largest = f'{self.max_width} x {self.max_height} px'
        return least if least == largest else f'{least} to {largest}'


@dataclass(frozen=True)
class FrameFormat:
    """
    The format of the frames that a recipe judges.

    A frame of another size is refused, unless `accepted_sizes` includes it. Then it is scaled to
    this format before anything else is done with it; see `frame_fit.py`.

    Parameters
    ----------
    width, height : int
        Pixels, 16 to 16384.
    encoding : str
        'mono8' (one channel) or 'bgr8' (three), as in sensor_msgs/Image.
    saturated_share : float
        A frame is saturated when at least this share of its values is at the ceiling, 0.5 to 1.
    accepted_sizes : AcceptedSizes or None
        Other sizes that are scaled to this one; None = none.
    accepts_colour : bool
        For 'mono8': colour frames are turned to gray instead of refused.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    width: int
    height: int
    encoding: str
    saturated_share: float = SATURATED_SHARE
    accepted_sizes: AcceptedSizes | None = None
    accepts_colour: bool = False

    def __post_init__(self) -> None:
        check_number('saturated_share', self.saturated_share, 0.5, 1.0)
        check_integer('width', self.width, 16, 16384)
        check_integer('height', self.height, 16, 16384)
        check_choice('encoding', self.encoding, ENCODINGS)

    @property
    def shape(self) -> tuple[int, ...]:
        """
        Shape of the array of such a frame.

        """
        channels = ENCODINGS[self.encoding]
        return (self.height, self.width) if channels == 1 else (self.height, self.width, channels)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """
        Tell whether an array of this shape is a frame that can be brought to this format.

        """
        channels = shape[2:]
        is_size_right = shape[:2] == (self.height, self.width) or (
            self.accepted_sizes is not None and self.accepted_sizes.include(shape[1], shape[0])
        )
        is_colour_right = channels == self.shape[2:] or (
            self.accepts_colour and self.encoding == 'mono8' and channels == (3,)
        )
        return is_size_right and is_colour_right


def check_frame(image: NDArray[np.uint8], frame_format: FrameFormat) -> None:
    """
    Refuse a frame that cannot be judged.

    Brightness is checked on every fourth pixel of every fourth row.

    Parameters
    ----------
    image : ndarray
        The frame as the camera gave it; need not be contiguous.
    frame_format : FrameFormat
        What it must be.

    Raises
    ------
    FrameError
        Another size, number of channels or type; black; saturated. Says what was wanted and what
        came.

    """
    if not isinstance(image, np.ndarray):
        raise FrameError(f'frame is a {type(image).__name__}, wanted an array')
    if image.dtype != np.uint8:
        raise FrameError(f'frame has values of type {image.dtype}, wanted uint8')
    if image.ndim not in (2, 3):
        raise FrameError(f'frame is an array of shape {image.shape}, wanted 2 or 3 dimensions')
    if not frame_format.accepts(image.shape):
        came, wanted = _format_words(image.shape, frame_format)
        raise FrameError(f'frame is {came}, the recipe wants {wanted}')
    sample = image[::_STEP_PX, ::_STEP_PX]
    lit = np.count_nonzero(sample >= BLACK_LEVEL) / sample.size
    if lit <= BLACK_SHARE:
        raise FrameError(
            f'frame is black: {lit:.2%} of its values reach level {BLACK_LEVEL}, '
            f'wanted more than {BLACK_SHARE:.2%}'
        )
    full = saturation(image)
    if full >= frame_format.saturated_share:
        raise FrameError(
            f'frame is saturated: {full:.2%} of its values reach level {SATURATED_LEVEL}, '
            f'wanted less than {frame_format.saturated_share:.2%}'
        )


def format_problem(sentence: str) -> str | None:
    """
    Find in a sentence what `check_frame` says of a frame of another size or number of channels.

    Returns
    -------
    str or None
        'frame is 480 x 480 px, the recipe wants 512 x 512 px'; None when it says no such thing.

    """
    found = re.search(r'frame is [^,;]+, the recipe wants [\w ]+\w', sentence)
    return found and found[0]


def saturation(image: NDArray[np.uint8]) -> float:
    """
    Give the share of values at the ceiling, from every fourth pixel of every fourth row.

    """
    sample = image[::_STEP_PX, ::_STEP_PX]
    # A recipe holds the share, and YAML cannot write numbers of NumPy.
    return float(np.count_nonzero(sample >= SATURATED_LEVEL) / sample.size)


def _format_words(came: tuple[int, ...], wanted: FrameFormat) -> tuple[str, str]:
    """
    Name two formats; channels only when these differ.

    """
    sizes = wanted.accepted_sizes.text if wanted.accepted_sizes else _size_words(wanted.shape)
    if came[2:] == wanted.shape[2:]:
        return _size_words(came), sizes
    return f'{_size_words(came)} {_colour(came)}', f'{sizes} {_colour(wanted.shape)}'


def _size_words(shape: tuple[int, ...]) -> str:
    return f'{shape[1]} x {shape[0]} px'


def _colour(shape: tuple[int, ...]) -> str:
    channels = shape[2] if len(shape) == 3 else 1
    return {1: 'gray', 3: 'colour'}.get(channels, f'with {channels} channels')
