# SPDX-License-Identifier: Apache-2.0
"""
Template: the best match in a bank of good parts of several classes, and how a frame differs.

The classes (faces of a die, variants of a part, boards) come from the images themselves: good
parts that are alike by normalised cross-correlation are one template, the mean of them with the
deviation of every pixel. One part of a kind is a template too.

Likeness is the correlation coefficient of Lewis (1995), "Fast normalized cross-correlation",
with one gray level squared added to both variances so that flat images have one as well ::

    NCC = (cov(x, t) + 1) / sqrt((var(x) + 1) * (var(t) + 1))

A frame x differs from the template t, of n parts with the deviation s, by ::

    z = |x - t| / sqrt((n * s^2 + 3 * r^2) / (n + 3) + floor^2)

r being the range of t in the neighbourhood: what a pixel changes by when an edge moves by as much.
It stands for the deviation that few parts have not shown yet, in the weight of three of them (the
mean of the conjugate prior of a variance; Gelman et al., Bayesian Data Analysis, section 2.6).
Templates of up to three parts may also bend: every place takes the shift, by up to `bend_px`, that
fits the 31x31 pixels around it best.

"""

from __future__ import annotations

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
# Two bytes of memory for each of them.
_MOST_VALUES = 128_000_000
# Deviations are kept in half gray levels: none of 8-bit values is above 127.5.
_STEPS_PER_LEVEL = 2.0
_NOT_JUDGED = 255
_PRIOR_PARTS = 3
_ROOM_FOR_SHIFTS = 3.0
# Wider than a defect, so that none chooses the shift that hides it.
_SURROUNDINGS = (31, 31)
_LEAST_VARIANCE = 1.0


class _Match(NamedTuple):
    """
    How a frame lies on one template.

    Parameters
    ----------
    which : int
        Of the template.
    ncc : float
        Over the pixels that both have; -inf when they are less than half of the frame's.
    frame, template : (slice, slice)
        The part of the frame that the template covers, and the part of the template there.

    """

    which: int
    ncc: float
    frame: tuple[slice, slice]
    template: tuple[slice, slice]


class TemplateScorer:
    """
    Best match in a bank of templates, and the z map against it.

    The bank is searched by one matrix product of thumbnails; the few best are compared in full at
    every shift up to `search_px`. A frame that is of no class of the bank has a low `best_ncc`.

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
        ),
        MeasureSpec(
            'peak_difference',
            '1',
            BadSide.HIGH,
            'Largest difference from the best template at any place, in deviations of good parts.',
        ),
    )
    map_unit: ClassVar[str] = '1'
    settings: ClassVar[Mapping[str, Setting]] = {
        'templates': Setting(1000, 1, 10000),
        'same_ncc': Setting(0.95, 0.5, 1.0),
        'candidates': Setting(5, 1, 100),
        'search_px': Setting(3, 0, 32),
        'bend_px': Setting(1, 0, 4),
        'floor_levels': Setting(5.0, 0.5, 64.0),
        'edge_px': Setting(1, 0, 8),
        'smooth_px': Setting(5, 1, 63),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def __init__(
        self,
        means: NDArray[np.uint8],
        deviations: NDArray[np.uint8],
        counts: NDArray[np.int32],
        settings: Mapping[str, Any],
    ) -> None:
        chosen = checked_settings(self.name, self.settings, settings)
        self._means = means
        self._deviations = deviations
        self._counts = counts
        self._candidates: int = chosen['candidates']
        # Three quarters of the template at least are compared at every shift.
        self._search_px = min(chosen['search_px'], (min(means.shape[1:3]) - 1) // 8)
        self._bend_px: int = chosen['bend_px']
        self._floor_variance = chosen['floor_levels'] ** 2
        edge = 2 * chosen['edge_px'] + 1
        self._neighbourhood = np.ones((edge, edge), np.uint8)
        self._smooth = (chosen['smooth_px'],) * 2
        self._thumbnails = np.stack([_thumbnail(mean) for mean in means])

    @classmethod
    def fit(cls, images: Sequence[Prepared], settings: Mapping[str, Any]) -> Self:
        """
        Sort good parts into classes and make one template of each.

        Parameters
        ----------
        images : sequence of Prepared
            At least one.
        settings : mapping
            ``templates``: how many to keep at most, those that stand for most parts first.
            ``same_ncc``: parts that correlate as much with another are of its class.
            ``candidates``: how many templates a frame is compared with in full. ``search_px``: how
            far it may be shifted. ``floor_levels``: deviation of every pixel at least, gray
            levels. ``edge_px``, ``bend_px``: how far an edge, or all of a place, may move where
            the few parts of a class do not tell. ``smooth_px``: the map is the mean over a square
            of this edge.

        """
        chosen = checked_settings(cls.name, cls.settings, settings)
        check_alike(images, at_least=1)
        blind = sum(not prepared.valid.any() for prepared in images)
        if blind:
            raise FrameError(f'{blind} of {len(images)} good images have no valid pixel')
        shape = images[0].image.shape
        most = max(1, min(chosen['templates'], _MOST_VALUES // images[0].image.size))
        classes = cls._classes(images, chosen, most)
        means = np.empty((len(classes), *shape), np.uint8)
        deviations = np.empty_like(means)
        for index, members in enumerate(classes):
            means[index], deviations[index] = _moments(images, members, shape)
        counts = np.array([len(members) for members in classes], np.int32)
        return cls(means, deviations, counts, chosen)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> Self:
        """
        Make the fitted scorer again from `to_arrays`; see `Scorer.from_arrays`.

        """
        means = fitted_array(arrays, 'means', np.uint8, (3, 4))
        deviations = fitted_array(arrays, 'deviations', np.uint8, (3, 4))
        counts = fitted_array(arrays, 'counts', np.int32, (1,))
        if deviations.shape != means.shape or len(counts) != len(means):
            raise RecipeError(
                f'sizes disagree: means {means.shape}, deviations {deviations.shape}, '
                f'counts {counts.shape}'
            )
        if means.shape[3:] not in ((), (3,)):
            raise RecipeError(f'means have {means.shape[3]} channels; allowed: 3, or gray')
        if counts.min() < 1:
            raise RecipeError(f'a count is {counts.min()}; a template stands for 1 part or more')
        blind = sum(not _judged(deviation).any() for deviation in deviations)
        if blind:
            raise RecipeError(f'{blind} of {len(means)} templates have no judged pixel')
        return cls(means, deviations, counts, settings)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """
        Give the templates: mean, deviation in half gray levels (255: not judged), parts of each.

        """
        return {'means': self._means, 'deviations': self._deviations, 'counts': self._counts}

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        The map is z, of colour images the highest of the channels, averaged over `smooth_px`; 0
        where the shifted template does not reach.

        """
        check_prepared(prepared, self._means[0])
        match = self._best_match(prepared)
        judged = _judged(self._deviations[match.which])[match.template]
        inside = prepared.valid[match.frame] & judged
        z = self._difference(prepared.image[match.frame], inside, match)
        smooth = cv2.blur(z, self._smooth, borderType=cv2.BORDER_REFLECT)
        anomaly_map = np.zeros(prepared.valid.shape, np.float32)
        anomaly_map[match.frame] = smooth * inside
        return ScorerOutput(
            measures={'best_ncc': match.ncc, 'peak_difference': float(anomaly_map.max())},
            anomaly_map=anomaly_map,
        )

    def _difference(
        self, image: NDArray[np.uint8], inside: NDArray[np.bool_], match: _Match
    ) -> NDArray[np.float32]:
        """
        Give z, at every place of the shift that fits its surroundings best.

        """
        few = self._counts[match.which] <= _PRIOR_PARTS
        reach = self._bend_px if few else 0
        mean, inverse = (
            cv2.copyMakeBorder(plane, reach, reach, reach, reach, cv2.BORDER_REPLICATE)
            for plane in self._mean_and_inverse(match.which)
        )
        values = np.asarray(image, np.float32)
        best_z = np.full(inside.shape, np.inf, np.float32)
        least = best_z.copy()
        rows, columns = match.template
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

    def _mean_and_inverse(self, which: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """
        Give mean and inverse deviation of a template, the prior and the floor included.

        """
        mean = self._means[which]
        count = float(self._counts[which])
        variance = np.square(self._deviations[which], dtype=np.float32)
        variance *= count / (count + _PRIOR_PARTS) / _STEPS_PER_LEVEL**2
        moved = np.square(
            cv2.morphologyEx(mean, cv2.MORPH_GRADIENT, self._neighbourhood), dtype=np.float32
        )
        variance += moved * np.float32(_PRIOR_PARTS / (count + _PRIOR_PARTS))
        variance += np.float32(self._floor_variance)
        return mean.astype(np.float32), 1 / np.sqrt(variance)

    def _best_match(self, prepared: Prepared) -> _Match:
        """
        Find the template of highest NCC among those whose thumbnails are most alike.

        """
        likeness = _correlations(self._thumbnails, prepared.image, prepared.valid)
        nearest = np.argsort(-likeness, kind='stable')[: self._candidates]
        best = max(
            (self._match(prepared, int(which)) for which in nearest), key=lambda match: match.ncc
        )
        if best.ncc < -1:
            raise FrameError('no template covers half of the valid part of the frame')
        return best

    def _match(self, prepared: Prepared, which: int) -> _Match:
        judged = _judged(self._deviations[which])
        frame, template, ncc = _laid_over(
            prepared.image, prepared.valid, self._means[which], judged, self._search_px
        )
        return _Match(which, ncc, frame, template)

    @classmethod
    def _classes(
        cls, images: Sequence[Prepared], chosen: Mapping[str, Any], most: int
    ) -> list[list[_Member]]:
        """
        Choose the parts that most others are like, greedily, each with those like it.

        """
        search_px = min(chosen['search_px'], (min(images[0].valid.shape) - 1) // 8)
        thumbnails = np.stack([_thumbnail(prepared.image) for prepared in images])
        likeness = np.stack([_correlations(thumbnails, one.image, one.valid) for one in images])
        # Thumbnails are compared as the parts lie, not shifted.
        alike = likeness >= 1 - _ROOM_FOR_SHIFTS * (1 - chosen['same_ncc'])
        np.fill_diagonal(alike, True)
        free = np.ones(len(images), np.bool_)
        classes: list[list[_Member]] = []
        while free.any() and len(classes) < most:
            leader = int(np.where(free, (alike & free).sum(axis=1), -1).argmax())
            reference = images[leader]
            members = []
            for index in np.flatnonzero(alike[leader] & free).tolist():
                one = images[index]
                frame, template, ncc = _laid_over(
                    one.image, one.valid, reference.image, reference.valid, search_px
                )
                # Alike when small can still be another board.
                if index == leader or ncc >= chosen['same_ncc']:
                    members.append(_Member(index, frame, template))
                    free[index] = False
            classes.append(members)
        return classes


class _Member(NamedTuple):
    """
    A part of a class: which, and what of it lies where on the class's first part.

    """

    which: int
    frame: tuple[slice, slice]
    template: tuple[slice, slice]


def _moments(
    images: Sequence[Prepared], members: Sequence[_Member], shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """
    Give mean and deviation of a class as a template holds them.

    """
    channels = (1,) * (len(shape) - 2)
    weights = np.zeros((*shape[:2], *channels), np.float32)
    total, squares = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for member in members:
        one = images[member.which]
        valid = one.valid[member.frame].astype(np.float32)
        valid = valid.reshape(*valid.shape, *channels)
        values = one.image[member.frame] * valid
        weights[member.template] += valid
        total[member.template] += values
        squares[member.template] += values * values
    seen = np.maximum(weights, 1)
    mean = total / seen
    variance = np.maximum(squares - total * mean, 0) / np.maximum(weights - 1, 1)
    steps = np.minimum(np.ceil(np.sqrt(variance) * _STEPS_PER_LEVEL), _NOT_JUDGED - 1)
    steps = np.where(weights >= max(1, len(members) / 2), steps, _NOT_JUDGED)
    judged = np.broadcast_to(steps != _NOT_JUDGED, shape)
    # What was not seen must not look like an edge or a class.
    mean = np.where(judged, mean, mean[judged].mean())
    return np.rint(mean).astype(np.uint8), np.broadcast_to(steps, shape).astype(np.uint8)


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
    template: NDArray[np.uint8],
    judged: NDArray[np.bool_],
    search_px: int,
) -> tuple[tuple[slice, slice], tuple[slice, slice], float]:
    """
    Find the shift of highest NCC.

    Returns
    -------
    frame, template : (slice, slice)
        What of the image is covered, and by what of the template.
    ncc : float
        Over the pixels that count in both; -inf when they are less than half of the image's.

    """
    x_px = y_px = 0
    if search_px:
        known = image
        shared = valid & judged
        if not shared.all():
            # What is not known says nothing for or against any shift.
            mask = shared[..., None] if image.ndim == 3 else shared
            known = np.where(mask, image, template)
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
        return frame, covering, -math.inf
    return frame, covering, _ncc(image[frame], template[covering], inside)


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
