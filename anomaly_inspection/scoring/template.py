# SPDX-License-Identifier: Apache-2.0
"""
Template: the best match in a bank of good parts of several classes, and how a frame differs.

A class (a face of a die, a variant of a part, a board) has one or more templates: those of its
good parts that are alike by normalised cross-correlation are one template, the mean of them with
the deviation of every pixel. One part is a template too. Where the good parts do not come with the
name of their class (`Prepared.part_class`), every template is a class, 'class 1' that of most
parts.

Likeness is the correlation coefficient of Lewis (1995), "Fast normalized cross-correlation",
with one gray level squared added to both variances so that flat images have one as well ::

    NCC = (cov(x, t) + 1) / sqrt((var(x) + 1) * (var(t) + 1))

A frame x differs from the template t, of n parts with the deviation s, by ::

    z = |x - t| / sqrt((n * s^2 + 3 * r^2) / (n + 3) + 5^2)

r being the range of t in the neighbourhood: what a pixel changes by when an edge moves by as much.
It stands for the deviation that few parts have not shown yet, in the weight of three of them (the
mean of the conjugate prior of a variance; Gelman et al., Bayesian Data Analysis, section 2.6).
Templates of up to three parts may also bend: every place takes the shift, by up to `bend_px`, that
fits the 31x31 pixels around it best.

Every class has its own limit: differences are given in units of its typical good part. Of the n
parts of the class that have their like in it, each is compared with the template of the others;
with the mean m of the logarithms of their largest z, and the mean M of those of all classes ::

    typical = exp((n * m + 3 * M) / (n + 3)), at least 1 and at most 5

so that a class of few parts is taken to be like the others. The limit of the class, in deviations,
is the limit of the recipe times this.

"""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import math
from typing import Any, ClassVar, NamedTuple, Self, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, RecipeError
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.scorer import (
    check_alike,
    check_prepared,
    checked_settings,
    fitted_array,
    ScorerOutput,
    Setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

THUMBNAIL_PX = 32
# Parts that correlate as much are of one template; others, of one that correlates less, explain
# less than half of what varies in it.
SAME_NCC, STRANGE_NCC = 0.95, 0.7
# Two bytes of memory for each of them.
_MOST_VALUES = 128_000_000
# Deviations are kept in half gray levels: none of 8-bit values is above 127.5.
_STEPS_PER_LEVEL = 2.0
_NOT_JUDGED = 255
_FLOOR_LEVELS = 5.0
_PRIOR_PARTS = 3
# No 8-bit value lies further off. Every class reaches a fifth of that.
_LARGEST_DIFFERENCE = 255 / _FLOOR_LEVELS
_LARGEST_TYPICAL = 5.0
_MOST_COMPARED = 30
_ROOM_FOR_SHIFTS = 3.0
# Wider than a defect, so that none chooses the shift that hides it.
_SURROUNDINGS = (31, 31)
_LEAST_VARIANCE = 1.0
# Angles are searched on images of about this edge.
_COARSE_PX = 64


class _Pose(NamedTuple):
    """
    How an image lies on a template.

    Parameters
    ----------
    ncc : float
        Over the pixels that both have; -inf when they are less than half of the image's.
    frame, template : (slice, slice)
        The part of the image, after it was turned, that the template covers, and the part of the
        template there.
    turn_deg : float
        By which the image is turned about its centre, counter-clockwise.

    """

    ncc: float
    frame: tuple[slice, slice]
    template: tuple[slice, slice]
    turn_deg: float = 0.0


class _Template(NamedTuple):
    """
    Good parts that are alike: mean, deviation in half gray levels (255: not judged), how many.

    """

    mean: NDArray[np.uint8]
    deviation: NDArray[np.uint8]
    parts: int


@dataclass(frozen=True)
class TaughtClass:
    """
    What the bank holds of one class.

    Parameters
    ----------
    name : str
        As it was given, or 'class 1' ... .
    templates, parts : int
        How many templates, and of how many good parts.
    typical : float
        Largest z of a typical good part: the unit of `peak_difference`.

    """

    name: str
    templates: int
    parts: int
    typical: float


def taught_classes(arrays: Mapping[str, NDArray[Any]]) -> list[TaughtClass]:
    """
    Give the classes in the arrays of a fitted scorer, in the order of their first template.

    """
    names, counts, typical = (arrays[key].tolist() for key in ('names', 'counts', 'typical'))
    rows = list(zip(names, counts, typical, strict=True))
    return [
        TaughtClass(
            name,
            names.count(name),
            sum(count for other, count, _ in rows if other == name),
            typical[names.index(name)],
        )
        for name in dict.fromkeys(names)
    ]


class TemplateScorer:
    """
    Best match in a bank of templates, and the z map against it.

    The bank is searched by one matrix product of thumbnails; the few best are compared in full at
    every shift up to `search_px`, as they lie and turned by the likeliest angle up to
    `search_deg`. A frame that is of no class of the bank has a low `best_ncc`.

    A template takes two bytes a value in memory and in the recipe; the bank is cut at 128 million
    values (256 MB): 568 templates of 320x320 gray pixels are 116 MB.

    """

    name: ClassVar[str] = 'template'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
        MeasureSpec(
            'best_ncc',
            '1',
            BadSide.LOW,
            'Correlation with the best template; low for a part of no taught class.',
            -1.0,
            1.0,
            class_range=(STRANGE_NCC, SAME_NCC),
        ),
        MeasureSpec(
            'peak_difference',
            '1',
            BadSide.HIGH,
            'Largest difference from the best template, in those of typical good parts of its '
            'class.',
            0.0,
            _LARGEST_DIFFERENCE,
        ),
    )
    map_unit: ClassVar[str] = '1'
    array_names: ClassVar[tuple[str, ...]] = ('means', 'deviations', 'counts', 'names', 'typical')
    settings: ClassVar[Mapping[str, Setting]] = {
        'templates': Setting(1000, 1, 10000),
        'candidates': Setting(5, 1, 100),
        'search_px': Setting(3, 0, 32),
        'search_deg': Setting(3.0, 0.0, 15.0),
        'bend_px': Setting(1, 0, 4),
        'edge_px': Setting(1, 0, 8),
        'smooth_px': Setting(5, 1, 63),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        templates: Sequence[_Template],
        names: Sequence[str],
        typical: Sequence[float],
        settings: Mapping[str, Any],
    ) -> None:
        self._settings = checked_settings(self.name, self.settings, settings)
        self._templates = tuple(templates)
        self._names = tuple(names)
        self._typical = tuple(typical)
        self._thumbnails = np.stack([_thumbnail(template.mean) for template in templates])

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Sort good parts into templates, and measure what is typical of each class.

        Parameters
        ----------
        images : sequence of Prepared
            At least one. Only parts of one `part_class` become one template.
        settings : mapping
            ``templates``: how many to keep at most, those that stand for most parts first.
            ``candidates``: how many templates a frame is compared with in full. ``search_px``,
            ``search_deg``: how far it may be shifted and turned. ``edge_px``, ``bend_px``: how far
            an edge, or all of a place, may move where the few parts of a template do not tell.
            ``smooth_px``: the map is the mean over a square of this edge.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        check_alike(images, at_least=1)
        blind = sum(not prepared.valid.any() for prepared in images)
        if blind:
            raise FrameError(f'{blind} of {len(images)} good images have no valid pixel')
        most = max(1, min(chosen['templates'], _MOST_VALUES // images[0].image.size))
        groups = _alike(images, chosen, most)
        names = [
            images[members[0][0]].part_class or f'class {number}'
            for number, members in enumerate(groups, start=1)
        ]
        templates, peaks = [], []
        for members in groups:
            sums = _Sums(images[0].image.shape)
            for index, pose in members:
                sums.add(images[index], pose)
            templates.append(sums.template())
            peaks.append(_peaks_of_good(images, members, sums, chosen))
        return cls(templates, names, _typical(names, peaks), chosen)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        means = fitted_array(arrays, 'means', np.uint8, (3, 4))
        deviations = fitted_array(arrays, 'deviations', np.uint8, (3, 4))
        counts = fitted_array(arrays, 'counts', np.int32, (1,))
        names = fitted_array(arrays, 'names', np.str_, (1,))
        typical = fitted_array(arrays, 'typical', np.float32, (1,))
        if deviations.shape != means.shape or any(
            len(array) != len(means) for array in (counts, names, typical)
        ):
            raise RecipeError(
                f'sizes disagree: means {means.shape}, deviations {deviations.shape}, '
                f'counts {counts.shape}, names {names.shape}, typical {typical.shape}'
            )
        if means.shape[3:] not in ((), (3,)):
            raise RecipeError(f'means have {means.shape[3]} channels; allowed: 3, or gray')
        if counts.min() < 1:
            raise RecipeError(f'a count is {counts.min()}; a template stands for 1 part or more')
        if not all(names):
            raise RecipeError("the name of a class is ''; allowed: any other text")
        if typical.min() < 1 or typical.max() > _LARGEST_TYPICAL:
            raise RecipeError(
                f'typical is {typical.min():g} to {typical.max():g}; '
                f'allowed: 1 to {_LARGEST_TYPICAL:g}'
            )
        blind = sum(not _judged(deviation).any() for deviation in deviations)
        if blind:
            raise RecipeError(f'{blind} of {len(means)} templates have no judged pixel')
        templates = [
            _Template(mean, deviation, int(count))
            for mean, deviation, count in zip(means, deviations, counts, strict=True)
        ]
        return cls(templates, [str(name) for name in names], typical.tolist(), settings)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give the templates, and the name of the class and its typical largest z for each.

        """
        return {
            'means': np.stack([template.mean for template in self._templates]),
            'deviations': np.stack([template.deviation for template in self._templates]),
            'counts': np.array([template.parts for template in self._templates], np.int32),
            'names': np.array(self._names),
            'typical': np.array(self._typical, np.float32),
        }

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        The map is z, of colour images the highest of the channels, averaged over `smooth_px`, in
        units of the class's typical largest z; 0 where the shifted template does not reach and at
        its very border, where nobody can tell what an edge that moves brings in.

        """
        check_prepared(prepared, self._templates[0].mean)
        which, pose = self._best_match(prepared)
        anomaly_map = _difference(prepared, self._templates[which], pose, self._settings)
        anomaly_map /= np.float32(self._typical[which])
        return ScorerOutput(
            measures={'best_ncc': pose.ncc, 'peak_difference': float(anomaly_map.max())},
            anomaly_map=anomaly_map,
            part_class=self._names[which],
        )

    def _best_match(self, prepared: Prepared) -> tuple[int, _Pose]:
        """
        Find the template of highest NCC among those whose thumbnails are most alike.

        """
        likeness = _correlations(self._thumbnails, prepared.image, prepared.valid)
        nearest = np.argsort(-likeness, kind='stable')[: self._settings['candidates']].tolist()
        templates = [self._templates[which] for which in nearest]
        place, pose = _laid_over(
            prepared.image,
            prepared.valid,
            [(template.mean, _judged(template.deviation)) for template in templates],
            self._settings,
        )
        if pose.ncc < -1:
            raise FrameError('no template covers half of the valid part of the frame')
        return nearest[place], pose


def _alike(
    images: Sequence[Prepared], settings: Mapping[str, Any], most: int
) -> list[list[tuple[int, _Pose]]]:
    """
    Choose the parts that most others are like, greedily, each with those like it.

    Returns
    -------
    list of list of (int, _Pose)
        Of each group the indices of its parts, and how they lie on the first of them.

    """
    thumbnails = np.stack([_thumbnail(prepared.image) for prepared in images])
    likeness = np.stack([_correlations(thumbnails, one.image, one.valid) for one in images])
    classes = np.array([prepared.part_class for prepared in images])
    # Thumbnails are compared as the parts lie, not shifted.
    alike = likeness >= 1 - _ROOM_FOR_SHIFTS * (1 - SAME_NCC)
    alike &= classes[:, None] == classes
    np.fill_diagonal(alike, True)
    free = np.ones(len(images), np.bool_)
    groups: list[list[tuple[int, _Pose]]] = []
    while free.any() and len(groups) < most:
        leader = int(np.where(free, (alike & free).sum(axis=1), -1).argmax())
        reference = images[leader]
        whole = (slice(0, reference.valid.shape[0]), slice(0, reference.valid.shape[1]))
        members = [(leader, _Pose(1.0, whole, whole))]
        free[leader] = False
        for index in np.flatnonzero(alike[leader] & free).tolist():
            one = images[index]
            one_reference = [(reference.image, reference.valid)]
            _, pose = _laid_over(one.image, one.valid, one_reference, settings)
            # Alike when small can still be another board.
            if pose.ncc >= SAME_NCC:
                members.append((index, pose))
                free[index] = False
        groups.append(members)
    return groups


class _Sums:
    """
    What mean and deviation of parts are made of; parts can be added and taken out again.

    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._channels = (1,) * (len(shape) - 2)
        self._count = 0
        self._weights = np.zeros((*shape[:2], *self._channels), np.float32)
        self._total = np.zeros(shape, np.float32)
        self._squares = np.zeros(shape, np.float32)

    def add(self, part: Prepared, pose: _Pose, times: int = 1) -> None:
        """
        Add a part as it lies; `times` -1 takes it out.

        """
        image, seen = _turned(part.image, part.valid, pose.turn_deg)
        valid = seen[pose.frame].astype(np.float32)
        valid = valid.reshape(*valid.shape, *self._channels)
        values = image[pose.frame] * valid
        self._count += times
        self._weights[pose.template] += times * valid
        self._total[pose.template] += times * values
        self._squares[pose.template] += times * values * values

    def template(self) -> _Template:
        """
        Give mean and deviation, judged where half of the parts were seen.

        """
        seen = np.maximum(self._weights, 1)
        mean = self._total / seen
        variance = np.maximum(self._squares - self._total * mean, 0)
        variance /= np.maximum(self._weights - 1, 1)
        steps = np.minimum(np.ceil(np.sqrt(variance) * _STEPS_PER_LEVEL), _NOT_JUDGED - 1)
        steps = np.where(self._weights >= max(1, self._count / 2), steps, _NOT_JUDGED)
        judged = steps != _NOT_JUDGED
        # What was not seen must not look like an edge or a class.
        mean = np.where(judged, mean, mean[judged].mean() if judged.any() else 0)
        return _Template(np.rint(mean).astype(np.uint8), steps.astype(np.uint8), self._count)


def _peaks_of_good(
    images: Sequence[Prepared],
    members: Sequence[tuple[int, _Pose]],
    sums: _Sums,
    settings: Mapping[str, Any],
) -> list[float]:
    """
    Give the largest z of parts against the template of the others; of 30 at most.

    """
    if len(members) < 2:
        return []
    peaks = []
    for index, pose in members[:: math.ceil(len(members) / _MOST_COMPARED)]:
        sums.add(images[index], pose, -1)
        peaks.append(float(_difference(images[index], sums.template(), pose, settings).max()))
        sums.add(images[index], pose)
    return peaks


def _typical(names: Sequence[str], peaks: Sequence[Sequence[float]]) -> list[float]:
    """
    Give for each template what is typical of its class; see the top of the file.

    """
    logarithms = [np.log(np.maximum(some, 1e-3)) for some in peaks]
    known = np.concatenate(logarithms)
    common = float(known.mean()) if known.size else 0.0
    typical = {}
    for name in set(names):
        own = [each for other, each in zip(names, logarithms, strict=True) if other == name]
        values = np.concatenate(own)
        weighed = float(values.sum()) + _PRIOR_PARTS * common
        typical[name] = math.exp(weighed / (values.size + _PRIOR_PARTS))
    return [min(max(typical[name], 1.0), _LARGEST_TYPICAL) for name in names]


def _difference(
    part: Prepared, template: _Template, pose: _Pose, settings: Mapping[str, Any]
) -> NDArray[np.float32]:
    """
    Give the smoothed z of a part, as it lay before it was turned: (h, w).

    """
    image, valid = _turned(part.image, part.valid, pose.turn_deg)
    reach = settings['bend_px'] if template.parts <= _PRIOR_PARTS else 0
    judged = _judged(template.deviation)
    border = min(1 + settings['edge_px'] + reach, (min(judged.shape) - 1) // 8)
    inside = np.zeros_like(judged)
    core = (slice(border, judged.shape[0] - border), slice(border, judged.shape[1] - border))
    inside[core] = judged[core]
    inside = valid[pose.frame] & inside[pose.template]
    z = _bent(image[pose.frame], inside, template, pose, reach, settings['edge_px'])
    smooth = cv2.blur(z, (settings['smooth_px'],) * 2, borderType=cv2.BORDER_REFLECT)
    difference = np.zeros(valid.shape, np.float32)
    difference[pose.frame] = smooth * inside
    if pose.turn_deg:
        back = cv2.warpAffine(difference, _rotation(valid, -pose.turn_deg), valid.shape[::-1])
        difference = np.asarray(back, np.float32) * part.valid
    return difference


def _bent(
    image: NDArray[np.uint8],
    inside: NDArray[np.bool_],
    template: _Template,
    pose: _Pose,
    reach: int,
    edge_px: int,
) -> NDArray[np.float32]:
    """
    Give z, at every place of the shift, up to `reach`, that fits its surroundings best.

    """
    mean, inverse = (
        cv2.copyMakeBorder(plane, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
        for plane in _mean_and_inverse(template, edge_px)
    )
    values = np.asarray(image, np.float32)
    best_z = np.full(inside.shape, np.inf, np.float32)
    least = best_z.copy()
    rows, columns = pose.template
    for y_px, x_px in itertools.product(range(2 * reach + 1), repeat=2):
        covering = (
            slice(rows.start + y_px, rows.stop + y_px),
            slice(columns.start + x_px, columns.stop + x_px),
        )
        z = np.asarray(cv2.absdiff(values, mean[covering]), np.float32)
        z *= inverse[covering]
        if z.ndim == 3:
            z = z.max(axis=2)
        z *= inside
        if not reach:
            return z
        around = cv2.blur(z, _SURROUNDINGS, borderType=cv2.BORDER_REFLECT)
        fits = around < least
        np.copyto(least, around, where=fits)
        np.copyto(best_z, z, where=fits)
    return best_z


def _mean_and_inverse(
    template: _Template, edge_px: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Give mean and inverse deviation of a template, the prior and the floor included.

    """
    mean, count = template.mean, float(template.parts)
    variance = np.square(template.deviation, dtype=np.float32)
    variance *= count / (count + _PRIOR_PARTS) / _STEPS_PER_LEVEL**2
    neighbourhood = np.ones((2 * edge_px + 1, 2 * edge_px + 1), np.uint8)
    moved = np.square(cv2.morphologyEx(mean, cv2.MORPH_GRADIENT, neighbourhood), dtype=np.float32)
    variance += moved * np.float32(_PRIOR_PARTS / (count + _PRIOR_PARTS))
    variance += np.float32(_FLOOR_LEVELS**2)
    return mean.astype(np.float32), np.asarray(1 / np.sqrt(variance), np.float32)


def _judged(deviation: NDArray[np.uint8]) -> NDArray[np.bool_]:
    judged = deviation != _NOT_JUDGED
    return np.asarray(judged.all(axis=2) if judged.ndim == 3 else judged)


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Give a small version to search by, as one row.

    """
    small = cv2.resize(image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32).ravel()


def _correlations(
    thumbnails: NDArray[np.float32], image: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """
    Give the NCC of an image with every thumbnail, over the image's valid part.

    """
    weights = np.ones(thumbnails.shape[1], np.float32)
    if not valid.all():
        size = (THUMBNAIL_PX, THUMBNAIL_PX)
        share = cv2.resize(valid.view(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
        channels = len(weights) // share.size
        weights = np.repeat(np.asarray(share == 255, np.float32).ravel(), channels)
    total = max(float(weights.sum()), 1.0)
    small = _thumbnail(image)
    small = (small - small @ weights / total) * weights
    sums, squares = thumbnails @ weights, np.square(thumbnails) @ weights
    variances = np.maximum(squares - sums * sums / total, 0) / total
    own = float(small @ small) / total
    covariances = thumbnails @ small / total
    return np.asarray(
        (covariances + _LEAST_VARIANCE)
        / np.sqrt((variances + _LEAST_VARIANCE) * (own + _LEAST_VARIANCE)),
        np.float32,
    )


def _laid_over(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    templates: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    settings: Mapping[str, Any],
) -> tuple[int, _Pose]:
    """
    Find the template, the shift, and the turn where one helps, of highest NCC.

    Parameters
    ----------
    image, valid : ndarray of uint8, (h, w[, 3]), and of bool, (h, w)
        What is laid.
    templates : sequence of (ndarray of uint8, ndarray of bool)
        On what: each with its judged pixels.

    Returns
    -------
    (int, _Pose)
        On which, and how.

    """
    # Three quarters of the template at least are compared at every shift.
    search_px = min(settings['search_px'], (min(valid.shape) - 1) // 8)
    poses = [_shifted(image, valid, *template, search_px) for template in templates]
    best = max(range(len(poses)), key=lambda which: poses[which].ncc)
    likely, turn_deg = _likely_turn(image, valid, templates, search_px, settings['search_deg'])
    # Less than half a pixel at the corners makes no difference.
    if abs(turn_deg) * math.hypot(*valid.shape) > math.degrees(1.0):
        turned = _shifted(*_turned(image, valid, turn_deg), *templates[likely], search_px)
        if turned.ncc > poses[best].ncc:
            return likely, turned._replace(turn_deg=turn_deg)
    return best, poses[best]


def _likely_turn(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    templates: Sequence[tuple[NDArray[np.uint8], NDArray[np.bool_]]],
    search_px: int,
    search_deg: float,
) -> tuple[int, float]:
    """
    Find template and angle of highest NCC on small copies at any shift.

    Angles between the steps come from a parabola. What is not valid has the mean gray level.

    """
    scale = max(1, min(valid.shape) // _COARSE_PX)
    size = (valid.shape[1] // scale, valid.shape[0] // scale)
    reach = math.ceil(search_px / scale)
    if not search_deg or min(size) <= 2 * reach + 2:
        return 0, 0.0
    small = _small(image, valid, size)
    # A step moves the corners by a pixel.
    steps = math.ceil(math.radians(search_deg) * math.hypot(*size) / 2)
    angles = np.linspace(-search_deg, search_deg, 2 * steps + 1)
    everywhere = np.ones(size[::-1], np.bool_)
    turned = np.stack([_turned(small, everywhere, angle)[0] for angle in angles.tolist()])
    inner = np.stack([_small(*template, size) for template in templates])
    inner = inner[:, reach : size[1] - reach, reach : size[0] - reach]
    windows = [
        turned[:, top : top + inner.shape[1], left : left + inner.shape[2]]
        for top, left in itertools.product(range(2 * reach + 1), repeat=2)
    ]
    likeness = np.max([_unit_rows(inner) @ _unit_rows(window).T for window in windows], axis=0)
    which, best = divmod(int(likeness.argmax()), len(angles))
    turn_deg = float(angles[best])
    if 0 < best < len(angles) - 1:
        before, at, after = likeness[which, best - 1 : best + 2].tolist()
        if before - 2 * at + after < 0:
            step = float(angles[1] - angles[0])
            turn_deg += 0.5 * step * (before - after) / (before - 2 * at + after)
    return which, turn_deg


def _unit_rows(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """
    Give each image as a row, so that the product of two is their correlation.

    """
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum('ij,ij->i', rows, rows))
    return np.asarray(rows / np.maximum(lengths, 1.0)[:, None], np.float32)


def _small(
    image: NDArray[np.uint8], valid: NDArray[np.bool_], size: tuple[int, int]
) -> NDArray[np.uint8]:
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    if valid.all():
        return small
    share = cv2.resize(valid.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    seen = np.asarray(share) == 255
    level = small[seen].mean(axis=0) if seen.any() else small.mean(axis=(0, 1))
    return np.where(seen[..., None] if image.ndim == 3 else seen, small, level).astype(np.uint8)


def _shifted(
    image: NDArray[np.uint8],
    valid: NDArray[np.bool_],
    template: NDArray[np.uint8],
    judged: NDArray[np.bool_],
    search_px: int,
) -> _Pose:
    """
    Find the shift of highest NCC.

    """
    x_px = y_px = 0
    if search_px:
        known = image
        shared = valid & judged
        if not shared.all():
            # What is not known says nothing for or against any shift.
            known = np.where(shared[..., None] if image.ndim == 3 else shared, image, template)
        inner = template[search_px:-search_px, search_px:-search_px]
        likeness = np.nan_to_num(cv2.matchTemplate(known, inner, cv2.TM_CCOEFF_NORMED))
        _, highest, _, (left, top) = cv2.minMaxLoc(likeness)
        if highest > likeness[search_px, search_px]:
            x_px, y_px = left - search_px, top - search_px
    rows, row = _overlap(y_px, image.shape[0])
    columns, column = _overlap(x_px, image.shape[1])
    frame, covering = (rows, columns), (row, column)
    inside = valid[frame] & judged[covering]
    # A few pixels correlate with anything.
    if 2 * int(np.count_nonzero(inside)) < max(2, int(np.count_nonzero(valid))):
        return _Pose(-math.inf, frame, covering)
    return _Pose(_ncc(image[frame], template[covering], inside), frame, covering)


def _likely_turn_deg(
    image: NDArray[np.uint8], template: NDArray[np.uint8], search_px: int, search_deg: float
) -> float:
    """
    Find the angle of highest NCC on small copies at any shift, between steps by a parabola.

    """
    scale = max(1, min(image.shape[:2]) // _COARSE_PX)
    size = (image.shape[1] // scale, image.shape[0] // scale)
    reach = math.ceil(search_px / scale)
    if not search_deg or min(size) <= 2 * reach + 2:
        return 0.0
    small, other = (
        np.asarray(cv2.resize(one, size, interpolation=cv2.INTER_AREA), np.uint8)
        for one in (image, template)
    )
    inner = other[reach : size[1] - reach, reach : size[0] - reach]
    # A step moves the corners by a pixel.
    steps = math.ceil(math.radians(search_deg) * math.hypot(*size) / 2)
    angles = np.linspace(-search_deg, search_deg, 2 * steps + 1)
    everywhere = np.ones(size[::-1], np.bool_)
    turned = (_turned(small, everywhere, angle)[0] for angle in angles.tolist())
    likeness = [
        float(np.max(cv2.matchTemplate(one, inner, cv2.TM_CCOEFF_NORMED))) for one in turned
    ]
    best = int(np.argmax(likeness))
    turn_deg = float(angles[best])
    if 0 < best < len(angles) - 1:
        before, at, after = likeness[best - 1 : best + 2]
        bend = before - 2 * at + after
        if bend < 0:
            turn_deg += 0.5 * (before - after) / bend * float(angles[1] - angles[0])
    return turn_deg


def _turned(
    image: NDArray[np.uint8], valid: NDArray[np.bool_], turn_deg: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Turn an image about its centre; valid is what was so before and has not come in.

    """
    if not turn_deg:
        return image, valid
    rotation, size = _rotation(valid, turn_deg), valid.shape[::-1]
    turned = cv2.warpAffine(image, rotation, size, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpAffine(valid.view(np.uint8) * np.uint8(255), rotation, size)
    return np.asarray(turned, np.uint8), np.asarray(seen == 255)


def _rotation(valid: NDArray[np.bool_], turn_deg: float) -> NDArray[np.float64]:
    height, width = valid.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    return np.asarray(cv2.getRotationMatrix2D(centre, turn_deg, 1.0), np.float64)


def _overlap(shift_px: int, length: int) -> tuple[slice, slice]:
    """
    Give what of a frame's axis is covered by a template that is shifted, and by what of it.

    """
    ahead, behind = max(shift_px, 0), max(-shift_px, 0)
    return slice(ahead, length - behind), slice(behind, length - ahead)


def _ncc(one: NDArray[np.uint8], two: NDArray[np.uint8], inside: NDArray[np.bool_]) -> float:
    """
    Give the NCC of two images over some of their pixels, each channel about its own mean.

    """
    pixels = np.count_nonzero(inside)
    first, second = (
        np.asarray(image[inside] if pixels < inside.size else image, np.float32).reshape(
            pixels, -1
        )
        for image in (one, two)
    )
    first -= first.mean(axis=0)
    second -= second.mean(axis=0)
    samples = first.size
    covariance = float(np.vdot(first, second)) / samples
    variances = [float(np.vdot(each, each)) / samples for each in (first, second)]
    return (covariance + _LEAST_VARIANCE) / float(
        np.sqrt((variances[0] + _LEAST_VARIANCE) * (variances[1] + _LEAST_VARIANCE))
    )
