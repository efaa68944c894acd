# SPDX-License-Identifier: Apache-2.0
"""
Which images of good parts show something new, and which only repeat others.

A *near copy* differs from another image by the noise of the camera alone. The difference of the
two, less a common gain and offset of the light and a shake of the camera, is then white: its means
over blocks are as small as noise makes them. Anything that is new (another part, another place)
shows in the block means. Both images must also share their detail: two pieces of one texture
differ by noise-like detail that is no noise.

A *run* is a stretch of images in which each one follows the one before, as in a recorded sequence.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

# Images are compared with about so many pixels on their shorter side: noise of neighbouring pixels
# is then independent, whatever the camera's colour filter or the file format have done to it.
_SIDE_PX = 192
_BLOCK_PX = 8
# No camera of 8 bits shows less.
_LEAST_DIFFERENCE_LEVELS = 0.5
# The 99th percentile of |block mean| / deviation is 2.6 for white noise. Twice that is a surely
# visible difference.
_WHITE_QUANTILE, _NOT_WHITE = 0.99, 5.2
_LEAST_SHARED_DETAIL = 0.5
_LARGEST_SHAKE_PX = 1.0
_MEDIAN_OF_HALF_NORMAL = 0.6745
# Groups, the nearest by their block means, that an image is compared with.
_CANDIDATES = 3
_SHARE_IN_SEQUENCE = 0.5
# A run is cut there, so that cross-validation has folds to choose from.
_LONGEST_RUN_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Looks:
    """
    Images of one format, made small for comparison.

    Parameters
    ----------
    small : list of ndarray of float32, (h, w)
        Gray, about 192 px on the shorter side.
    blocks : ndarray of float32, (n, k)
        Means over blocks of 8 px, of each image, brought to mean 0 and deviation 1.
    reduction : float
        Pixels of the frame per pixel of the small image.

    """

    small: list[Plane]
    blocks: NDArray[np.float32]
    reduction: float

    @classmethod
    def of(cls, frames: Sequence[NDArray[np.uint8]]) -> Looks:
        """
        Make images of one format small.

        """
        height, width = frames[0].shape[:2]
        reduction = max(1.0, min(height, width) / _SIDE_PX)
        size = (max(1, round(width / reduction)), max(1, round(height / reduction)))
        small = [_small(frame, size) for frame in frames]
        rows = np.array([_block_means(one).ravel() for one in small], np.float32)
        rows -= rows.mean(axis=1, keepdims=True)
        rows /= np.maximum(rows.std(axis=1, keepdims=True), _LEAST_DIFFERENCE_LEVELS)
        return cls(small, rows, reduction)

    def distances(self, index: int) -> NDArray[np.float32]:
        """
        Give how far the blocks of all images are from those of one, root mean square.

        """
        squares = np.square(self.blocks - self.blocks[index]).mean(axis=1)
        return np.asarray(np.sqrt(squares), np.float32)

    def most_central(self) -> int:
        """
        Give the image with the smallest median distance to the others.

        """
        medians = [float(np.median(self.distances(i))) for i in range(len(self.small))]
        return int(np.argmin(medians))


def copy_groups(looks: Looks) -> list[int]:
    """
    Count near copies once.

    Returns
    -------
    list of int
        For each image the index of the first image that it is a near copy of, which may be itself.

    """
    leaders: list[int] = []
    groups = []
    for index in range(len(looks.small)):
        leader = index
        if leaders:
            distances = np.square(looks.blocks[leaders] - looks.blocks[index]).mean(axis=1)
            for place in np.argsort(distances)[:_CANDIDATES]:
                if are_near_copies(looks.small[leaders[place]], looks.small[index]):
                    leader = leaders[int(place)]
                    break
        if leader == index:
            leaders.append(index)
        groups.append(leader)
    return groups


def sequence_groups(looks: Looks) -> list[int]:
    """
    Put images that follow one another in a recorded sequence into one group.

    The images come in such a sequence when for most of them the nearest other image is the one
    before or after. A run ends where the step to the next image is as large as between any two.

    Returns
    -------
    list of int
        For each image the index of the first image of its run; its own where there is no sequence.

    """
    count = len(looks.small)
    alone = list(range(count))
    if count < 2 / _LONGEST_RUN_SHARE:
        return alone
    steps, typical, follows = np.empty(count - 1), np.empty(count), 0
    for index in range(count):
        distances = looks.distances(index)
        distances[index] = np.inf
        follows += abs(int(np.argmin(distances)) - index) == 1
        typical[index] = np.median(distances)
        if index + 1 < count:
            steps[index] = distances[index + 1]
    if follows <= _SHARE_IN_SEQUENCE * count:
        return alone
    longest = max(2, math.floor(_LONGEST_RUN_SHARE * count))
    groups = [0]
    for index in range(1, count):
        is_near = steps[index - 1] < 0.5 * typical[index]
        start = groups[-1]
        groups.append(start if is_near and index - start < longest else index)
    return groups


def are_near_copies(one: Plane, other: Plane) -> bool:
    """
    Tell whether two images differ by noise, brightness and a shake of the camera alone.

    Parameters
    ----------
    one, other : ndarray of float32, (h, w)
        Small gray images.

    """
    return new_detail(one, other) <= _NOT_WHITE and _shared_detail(one, other)


def new_detail(one: Plane, other: Plane) -> float:
    """
    Give how far two images differ in places, in deviations of the noise between them.

    The 99th percentile over blocks of 8 x 8 px.

    """
    difference = one - _brought_to(other, one)
    fine = difference - cv2.blur(difference, (3, 3))
    noise = float(np.median(np.abs(fine))) / _MEDIAN_OF_HALF_NORMAL * math.sqrt(9 / 8)
    deviation = math.hypot(noise / _BLOCK_PX, _LEAST_DIFFERENCE_LEVELS)
    means = np.abs(_block_means(difference))
    return float(np.quantile(means, _WHITE_QUANTILE)) / deviation


def _brought_to(image: Plane, wanted: Plane) -> Plane:
    """
    Bring an image to the light and place of another: gain, offset, and a shift of a pixel or less.

    A camera stand shakes by less than that; a part that is put down anew lies further away.

    """
    across, down = (
        cv2.Sobel(image, cv2.CV_32F, *order, ksize=3, scale=0.125) for order in ((1, 0), (0, 1))
    )
    terms = np.stack([image, np.ones_like(image), across, down]).reshape(4, -1).astype(np.float64)
    factors, *_ = np.linalg.lstsq(terms @ terms.T, terms @ wanted.ravel(), rcond=None)
    largest = _LARGEST_SHAKE_PX * abs(factors[0])
    factors[2:] = np.clip(factors[2:], -largest, largest)
    return np.asarray((factors @ terms).reshape(image.shape), np.float32)


def _shared_detail(one: Plane, other: Plane) -> bool:
    fine = [image - cv2.GaussianBlur(image, (0, 0), 2.0) for image in (one, other)]
    deviations = float(fine[0].std()) * float(fine[1].std())
    if deviations == 0.0:
        return bool((one == other).all())
    return float((fine[0] * fine[1]).mean()) / deviations > _LEAST_SHARED_DETAIL


def _small(frame: NDArray[np.uint8], size: tuple[int, int]) -> Plane:
    if frame.ndim == 3:
        frame = np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), np.uint8)
    smaller = cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.float32)


def _block_means(image: Plane) -> Plane:
    height, width = (max(1, side // _BLOCK_PX) for side in image.shape)
    inside = image[: max(1, height * _BLOCK_PX), : max(1, width * _BLOCK_PX)]
    return np.asarray(
        cv2.resize(inside, (width, height), interpolation=cv2.INTER_AREA), np.float32
    )
