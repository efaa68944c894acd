# SPDX-License-Identifier: Apache-2.0
"""
How good the images are that a recipe is taught on: what varies in them, and what is wrong.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.imaging.frame_check import SATURATED_LEVEL, saturation
from anomaly_inspection.learning.false_rejects import FEWEST_TO_PROMISE
from anomaly_inspection.learning.near_copies import copy_groups, Looks, sequence_groups
from anomaly_inspection.learning.part_mask import silhouette
from anomaly_inspection.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.learning.good_images import Named
    from anomaly_inspection.progress import Progress

_FEW_DIFFERENT = 0.8
_POSE_SAMPLE = 60
_LEAST_LIKENESS = 0.7
# Of the blocks with those of the median image: brightness of parts that look alike is light.
_LEAST_ALIKE = 0.7
_SHARE_FOUND = 0.7
_STILL_PX, _STILL_DEG = 0.5, 0.2
# A normal line keeps its light within this share.
STEADY_LIGHT = 0.2
# So many times as far from the median as usual: lit differently.
UNUSUAL_LIGHT = 4.0
_FEWEST_IN_KIND, _SHARE_IN_KIND = 3, 0.1
_GAP_BETWEEN_KINDS = 1.5
# How much wider the edges of a blurred image are: in pixels of the small images, as a multiple of
# the median, and in steps from the sharpest tenth to the median.
BLURRED_PX, BLURRED_TIMES, BLURRED_REACHES = 1.0, 1.5, 4.0
SATURATED_SHARE_OF_PART = 0.02
_SCALES_PX = (1.0, 3.0)
_EDGE_QUANTILE = 0.99


@dataclass(frozen=True)
class Finding:
    """
    One thing to know about the images.

    Parameters
    ----------
    topic : str
        'parts', 'position', 'light', 'focus', 'saturation' or 'kinds'.
    sentence : str
        What was found, with what to do when it is a problem.
    is_problem : bool
        Whether the recipe will be worse for it.

    """

    topic: str
    sentence: str
    is_problem: bool = False


@dataclass(frozen=True)
class ImageQuality:
    """
    How good the teaching images are.

    Parameters
    ----------
    image_count : int
        How many images were looked at.
    distinct_count : int
        How many of them show something new; near copies count once.
    groups : dict of str to int
        For each image by its name the group of near copies, or of a recorded sequence, that it
        belongs to. Images of a group belong in the same fold of a cross-validation.
    findings : tuple of Finding
        One for each topic.

    """

    image_count: int
    distinct_count: int
    groups: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def can_promise(self) -> bool:
        """
        Whether there are enough different images to promise a false-reject rate.

        """
        return self.independent_count >= FEWEST_TO_PROMISE

    @property
    def independent_count(self) -> int:
        """
        How many groups the images form: near copies and images of one sequence count once.

        """
        return len(set(self.groups.values()))

    @property
    def sentences(self) -> tuple[str, ...]:
        """
        What to tell the operator, one line a finding.

        """
        return tuple(finding.sentence for finding in self.findings)


def image_quality(
    named: Sequence[Named], progress: Progress = no_progress, *, has_classes: bool = False
) -> ImageQuality:
    """
    Judge images of good parts before anything is taught on them.

    Parameters
    ----------
    named : sequence of (name, ndarray of uint8)
        At least one image; all of one format.
    progress : callable (done, total, what), optional
        Called after every step.
    has_classes : bool
        Whether the parts have named classes; then several kinds of picture are no surprise.

    """
    frames = [frame for _, frame in named]
    total, what = 5, 'looking at the images'
    looks = Looks.of(frames)
    progress(1, total, what)
    copies = copy_groups(looks)
    runs = sequence_groups(looks)
    progress(2, total, what)
    distinct = sorted(set(copies))
    findings = [_parts(len(frames), len(distinct), len(set(runs)))]
    findings.append(_position(looks))
    progress(3, total, what)
    findings.append(_light(looks))
    findings.append(_focus(looks))
    progress(4, total, what)
    findings.append(_saturation(frames, silhouette(frames[looks.most_central()])))
    if not has_classes:
        findings += _kinds(looks, copies, [name for name, _ in named])
    progress(5, total, what)
    groups = {name: group for (name, _), group in zip(named, _merged(copies, runs), strict=True)}
    return ImageQuality(len(frames), len(distinct), groups, tuple(findings))


def _merged(copies: Sequence[int], runs: Sequence[int]) -> list[int]:
    """
    Join groups that share an image; each is named by its first image.

    """
    first = list(range(len(copies)))

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for groups in (copies, runs):
        for index, group in enumerate(groups):
            low, high = sorted((root(index), root(group)))
            first[high] = low
    return [root(index) for index in range(len(copies))]


def _parts(images: int, distinct: int, runs: int) -> Finding:
    if distinct < _FEW_DIFFERENT * images:
        return Finding(
            'parts',
            f'{images} images, but only {_number(distinct, "different one")}: put the part down '
            'anew each time, and take several parts.',
            True,
        )
    if runs < _FEW_DIFFERENT * images:
        return Finding(
            'parts',
            f'{images} images in {_number(runs, "recorded sequence")}, {distinct} of them '
            'different: images of more parts and other days tell more.',
        )
    return Finding('parts', f'{images} images, {distinct} of them different.')


def _position(looks: Looks) -> Finding:
    """
    Measure how far the parts lie apart, by direct alignment of the small images.

    """
    count = len(looks.small)
    places = np.unique(np.linspace(0, count - 1, min(count, _POSE_SAMPLE)).round().astype(int))
    reference = looks.small[looks.most_central()]
    poses = [pose for place in places if (pose := _pose(reference, looks.small[place]))]
    if len(poses) < _SHARE_FOUND * len(places):
        return Finding(
            'position',
            'Position: the images have no common position that could be measured (a surface, or '
            'parts that lie in any turn).',
        )
    x, y, turn = np.array(poses).T
    x_px, y_px, turn_deg = (_reach(values) for values in (x, y, turn))
    x_px, y_px = looks.reduction * x_px, looks.reduction * y_px
    text = (
        f'Position varies by +-{x_px:.1f} px across and +-{y_px:.1f} px down, turn by '
        f'+-{turn_deg:.1f} degrees'
    )
    if max(x_px, y_px) < _STILL_PX * max(1.0, looks.reduction) and turn_deg < _STILL_DEG:
        return Finding(
            'position',
            f'{text}: the part hardly moved. Put it down anew for each image, as the line does.',
            True,
        )
    return Finding('position', f'{text}.')


def _pose(reference: NDArray[np.float32], image: NDArray[np.float32]) -> tuple[float, ...] | None:
    """
    Give shift, small pixels, and turn, degrees, of the middle of an image; None when unsure.

    """
    start = np.eye(2, 3, dtype=np.float32)
    everywhere = np.ones(reference.shape, np.uint8)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)
    try:
        likeness, warp = cv2.findTransformECC(
            reference, image, start, cv2.MOTION_EUCLIDEAN, criteria, everywhere, 5
        )
    except cv2.error:
        return None
    if not likeness >= _LEAST_LIKENESS:
        return None
    height, width = image.shape
    middle = np.array([(width - 1) / 2, (height - 1) / 2, 1.0])
    matrix = np.asarray(warp, np.float64)
    x, y = matrix @ middle - middle[:2]
    return float(x), float(y), math.degrees(math.atan2(matrix[1, 0], matrix[0, 0]))


def _reach(values: NDArray[np.float64]) -> float:
    """
    Give half of the range that nine of ten values lie in.

    """
    low, high = np.quantile(values, (0.05, 0.95))
    return float(high - low) / 2


def _light(looks: Looks) -> Finding:
    """
    Compare the light of each image with that of the median image: brightness and slope.

    """
    if not _are_alike(looks):
        return Finding('light', 'Light: the parts differ too much to tell how it varies.')
    planes = np.array([light_plane(one) for one in looks.small])
    planes -= np.median(planes, axis=0)
    change = np.abs(planes[:, 0]) + np.abs(planes[:, 1:]).sum(axis=1)
    usual = float(np.median(change))
    odd = np.flatnonzero(change > max(math.log1p(STEADY_LIGHT), UNUSUAL_LIGHT * usual))
    spread = math.expm1(_reach(planes[:, 0]))
    text = f'Light varies by +-{100 * spread:.0f} %'
    if odd.size:
        darker = 1.0 - math.exp(float(np.median(planes[odd, 0])))
        word = f'{100 * abs(darker):.0f} % {"darker" if darker > 0 else "brighter"}'
        slope = float(np.median(np.abs(planes[odd, 1:]).max(axis=1)))
        if slope > abs(math.log1p(-darker)):
            word = 'darker on one side'
        return Finding(
            'light',
            f'{text}: {odd.size} of {len(planes)} images are lit differently, {word}. Is a lamp '
            'off or covered? Take these images anew.',
            True,
        )
    if spread > STEADY_LIGHT:
        return Finding('light', f'{text}: steady light, or a fixed exposure, finds more.', True)
    return Finding('light', f'{text}.')


def _are_alike(looks: Looks) -> bool:
    """
    Tell whether most images look so much like the median image that light and focus show.

    """
    middle = np.median(looks.blocks, axis=0)
    likeness = looks.blocks @ middle / (middle.size * max(float(middle.std()), 1e-6))
    return float(np.mean(likeness >= _LEAST_ALIKE)) >= _SHARE_FOUND


def light_plane(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """
    Fit a plane to the logarithm of the gray level; level in the middle, and half the change over x
    and over y.

    """
    small = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA)
    levels = np.log(small.astype(np.float64) + 4.0)
    across = np.linspace(-1.0, 1.0, 16)
    weight = float(np.square(across).sum()) * 16
    return np.array(
        [
            levels.mean(),
            (levels * across).sum() / weight,
            (levels * across[:, None]).sum() / weight,
        ]
    )


def _focus(looks: Looks) -> Finding:
    if not _are_alike(looks):
        return Finding('focus', 'Focus: the parts differ too much to compare their edges.')
    widths = looks.reduction * np.array([edge_width(one) for one in looks.small])
    sharp, sharpest = np.quantile(widths, (0.5, 0.1)).tolist()
    odd = widths > max(
        BLURRED_TIMES * sharp,
        math.hypot(sharp, BLURRED_PX * looks.reduction),
        sharp + BLURRED_REACHES * (sharp - sharpest),
    )
    if odd.any():
        return Finding(
            'focus',
            f'{int(odd.sum())} of {len(widths)} images are blurred: their edges are '
            f'{float(np.median(widths[odd])):.1f} px wide, those of the others {sharp:.1f} px. '
            'Check focus, vibration and exposure time, and take these images anew.',
            True,
        )
    return Finding('focus', f'All images are equally sharp (edges {sharp:.1f} px wide).')


def edge_width(image: NDArray[np.float32], direction: str = 'any') -> float:
    """
    Give the deviation of the blur of the steepest edges, pixels.

    The gradient of an edge falls with the scale s that it is measured at as 1 / sqrt(s^2 + b^2),
    where b is the blur of the edge. Two scales give b.

    Parameters
    ----------
    image : ndarray of float32, (h, w)
        A small gray image, see `near_copies.Looks`.
    direction : str
        'any', or 'across' or 'down' for the blur in this direction alone.

    """
    fine, coarse = (_steepest(image, scale, direction) for scale in _SCALES_PX)
    low, high = (scale**2 for scale in _SCALES_PX)
    ratio = (fine / max(coarse, 1e-6)) ** 2
    if ratio <= 1.0:
        return _SCALES_PX[1] * 2
    return min(math.sqrt(max(0.0, (high - ratio * low) / (ratio - 1.0))), _SCALES_PX[1] * 2)


def _steepest(image: NDArray[np.float32], scale: float, direction: str) -> float:
    smooth = cv2.GaussianBlur(image, (0, 0), scale)
    across = 0.0 if direction == 'down' else cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = 0.0 if direction == 'across' else cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    gradient = np.hypot(across, down)
    return float(np.quantile(gradient, _EDGE_QUANTILE))


def _saturation(frames: Sequence[NDArray[np.uint8]], part: NDArray[np.bool_] | None) -> Finding:
    """
    Tell how much of a typical image, or of the part where it stands out, has no detail.

    """
    shares = []
    for frame in frames:
        if part is None:
            shares.append(saturation(frame))
        else:
            shares.append(float((frame[part] >= SATURATED_LEVEL).mean()))
    share = float(np.median(shares))
    where = 'a typical image' if part is None else 'the part'
    text = f'{100 * share:.1f} % of {where} is saturated (white)'
    if share > SATURATED_SHARE_OF_PART:
        return Finding(
            'saturation', f'{text}: nothing can be seen there. Shorten the exposure.', True
        )
    return Finding('saturation', f'{text}.')


def _kinds(looks: Looks, copies: Sequence[int], names: Sequence[str]) -> list[Finding]:
    """
    Look for a gap between the images that divides them into kinds of their own.

    """
    distinct = sorted(set(copies))
    small_kind = max(_FEWEST_IN_KIND, math.ceil(_SHARE_IN_KIND * len(distinct)))
    if len(distinct) < 2 * small_kind:
        return []
    edges = _spanning_tree(looks.blocks[distinct])
    lengths = np.array([length for length, _, _ in edges])
    usual = float(np.quantile(lengths, 0.9))
    kinds = _components(
        len(distinct), [(a, b) for length, a, b in edges if length <= _GAP_BETWEEN_KINDS * usual]
    )
    counts = sorted((len(kind) for kind in kinds if len(kind) >= small_kind), reverse=True)
    if len(counts) < 2:
        return []
    smallest = min((kind for kind in kinds if len(kind) >= small_kind), key=len)
    return [
        Finding(
            'kinds',
            f'The images show {len(counts)} kinds of part ({", ".join(map(str, counts))} images; '
            f'{names[distinct[smallest[0]]]} is of the rarest). Teach each product in a recipe of '
            'its own; if one product has several kinds, put each in a folder of its own.',
            True,
        )
    ]


def _spanning_tree(points: NDArray[np.float32]) -> list[tuple[float, int, int]]:
    """
    Give the edges of the minimum spanning tree (Prim): length and both ends.

    """
    count = len(points)
    nearest = np.sqrt(np.square(points - points[0]).mean(axis=1))
    parent = np.zeros(count, int)
    is_out = np.ones(count, bool)
    is_out[0] = False
    edges = []
    for _ in range(count - 1):
        new = int(np.argmin(np.where(is_out, nearest, np.inf)))
        edges.append((float(nearest[new]), int(parent[new]), new))
        is_out[new] = False
        distances = np.sqrt(np.square(points - points[new]).mean(axis=1))
        is_nearer = distances < nearest
        nearest[is_nearer], parent[is_nearer] = distances[is_nearer], new
    return edges


def _components(count: int, edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    first = list(range(count))
    for a, b in edges:
        old, new = max(first[a], first[b]), min(first[a], first[b])
        first = [new if one == old else one for one in first]
    return [[i for i, one in enumerate(first) if one == root] for root in sorted(set(first))]


def _number(count: int, what: str) -> str:
    return f'{count} {what}' if count == 1 else f'{count} {what}s'
