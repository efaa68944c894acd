# SPDX-License-Identifier: Apache-2.0
"""
The one format that all good images of a product are brought to, and the recipe's frames with them.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.imaging.frame_check import AcceptedSizes, FrameFormat
from anomaly_inspection.learning.outliers import FEWEST_PARTS, most_left_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.good_images import Named

    Size = tuple[int, int]

_SMALLEST_PX, _LARGEST_PX = 16, 16384
_NOTEWORTHY_STRETCH = 1.1


@dataclass(frozen=True)
class CommonFormat:
    """
    What the good images are brought to.

    Parameters
    ----------
    frame_format : FrameFormat
        The format.
    left_out : dict of str to str
        Names of the few images that are unlike the others in size or colour, with the reason.
    notes : tuple of str
        What is done to the images, one sentence each; empty when they have one format.
    scale : (float, float)
        Width and height of the format, as shares of the median size of the images.

    """

    frame_format: FrameFormat
    left_out: dict[str, str]
    notes: tuple[str, ...]
    scale: tuple[float, float]


def common_format(
    named: Sequence[Named], sizes: Mapping[str, Size], size: Size | None = None
) -> CommonFormat:
    """
    Find the format for good images of whatever sizes and colours.

    At most a tenth of the images (at least one) may be left out because they are unlike the
    others. Where more of them differ, all are taken: they are scaled to the median size, and
    judged in gray when some have no colours.

    Parameters
    ----------
    named : sequence of (name, ndarray of uint8)
        At least one image.
    sizes : mapping of str to (width, height)
        The size that each image has on disk, px.
    size : (width, height), optional
        Wanted, px; by default the most common size or the median size.

    """
    odd_colours, is_gray, colour_notes = _colours(named)
    of_colour = [one for one in named if one[0] not in odd_colours]
    odd_sizes = {} if size else _odd_sizes([name for name, _ in of_colour], sizes)
    kept = [one for one in of_colour if one[0] not in odd_sizes]
    found = [sizes[name] for name, _ in kept]
    median = _median(found)
    # Large images may have been scaled while they were read.
    width, height = size or _median([(one.shape[1], one.shape[0]) for _, one in kept])
    accepted = None if set(found) == {(width, height)} else _accepted(found)
    return CommonFormat(
        FrameFormat(
            width,
            height,
            'mono8' if is_gray else 'bgr8',
            accepted_sizes=accepted,
            accepts_colour=is_gray and any(frame.ndim == 3 for _, frame in kept),
        ),
        odd_colours | odd_sizes,
        (*colour_notes, *_size_notes(found, (width, height))),
        (width / median[0], height / median[1]),
    )


def _colours(named: Sequence[Named]) -> tuple[dict[str, str], bool, tuple[str, ...]]:
    """
    Give the images of odd colour, whether the others are taken in gray, and what to say of it.

    """
    gray = [name for name, frame in named if frame.ndim == 2]
    coloured = [name for name, frame in named if frame.ndim == 3]
    if not gray or not coloured:
        return {}, bool(gray), ()
    has_colours = any(_has_colours(frame) for _, frame in named if frame.ndim == 3)
    if has_colours and _are_few(len(gray), len(named)):
        return dict.fromkeys(gray, 'is gray, the others are in colour'), False, ()
    note = (
        f'{len(gray)} of {len(named)} images are gray, the others in colour: all are judged in '
        'gray, and so are colour frames in the cell.'
    )
    return {}, True, (note,)


def _has_colours(frame: NDArray[np.uint8]) -> bool:
    return bool((frame[..., :2] != frame[..., 1:]).any())


def _odd_sizes(names: Sequence[str], sizes: Mapping[str, Size]) -> dict[str, str]:
    common, count = Counter(sizes[name] for name in names).most_common(1)[0]
    if not _are_few(len(names) - count, len(names)):
        return {}
    return {
        name: f'is {_text(sizes[name])}, the others are {_text(common)}'
        for name in names
        if sizes[name] != common
    }


def _are_few(odd: int, total: int) -> bool:
    """
    Tell whether images that differ can be left out instead of changing all the others.

    """
    return odd <= most_left_out(total) and total - odd >= FEWEST_PARTS


def _median(sizes: Iterable[Size]) -> Size:
    widths, heights = zip(*sizes, strict=True)
    return int(np.median(widths)), int(np.median(heights))


def _accepted(sizes: Sequence[Size]) -> AcceptedSizes:
    """
    Give the sizes to accept: those of the images, and as far again beyond the extremes.

    """
    widths, heights = zip(*sizes, strict=True)
    ranges = [(2 * min(side) - max(side), 2 * max(side) - min(side)) for side in (widths, heights)]
    (min_width, max_width), (min_height, max_height) = (
        (max(_SMALLEST_PX, least), min(_LARGEST_PX, largest)) for least, largest in ranges
    )
    return AcceptedSizes(min_width, min_height, max_width, max_height)


def _size_notes(sizes: Sequence[Size], wanted: Size) -> tuple[str, ...]:
    odd = [one for one in sizes if one != wanted]
    if not odd:
        return ()
    widths, heights = zip(*sizes, strict=True)
    smallest, largest = (min(widths), min(heights)), (max(widths), max(heights))
    are = (
        f'are {_text(smallest)}'
        if smallest == largest
        else f'differ in size ({_text(smallest)} to {_text(largest)})'
    )
    notes = [
        f'The images {are}: they are scaled to {_text(wanted)}, and so are frames in the cell.'
    ]
    proportions = [width / height for width, height in sizes]
    stretch = max(proportions) / min(proportions)
    if stretch > _NOTEWORTHY_STRETCH:
        notes.append(
            f'Their proportions differ by up to {100 * (stretch - 1):.0f} %, so parts are '
            'stretched. Uncut images of one camera are better.'
        )
    return tuple(notes)


def _text(size: Size) -> str:
    return f'{size[0]} x {size[1]} px'
