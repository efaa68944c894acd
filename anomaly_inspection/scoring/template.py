# SPDX-License-Identifier: Apache-2.0
"""
Template: the best match in a bank of good parts of several classes, and how a frame differs.

A class (a face of a die, a variant of a part, a board) has one or more templates. Good parts of a
class that are alike by normalised cross-correlation (see `template_matching.py`) make one
template: their mean and the deviation of every pixel. A single part is a template too. Where the
good parts come without the name of their class (`Prepared.part_class`), every template is a class
of its own; 'class 1' has the most parts.

A frame x differs from the template t, of n parts with the deviation s, by ::

    z = |x - t| / sqrt((n * s^2 + 3 * r^2) / (n + 3) + 5^2)

where r is the range of t in the neighbourhood: by so much a pixel changes when an edge moves. It
stands for the deviation that few parts have not shown yet, with the weight of three parts (the
mean of the conjugate prior of a variance; Gelman et al., Bayesian Data Analysis, section 2.6).
Templates of up to three parts may also bend: every place takes the shift, by up to `bend_px`, that
fits the 31x31 pixels around it best.

Every class has its own limit: differences are given in units of the typical good part of the
class. Each of its n parts that have their like in the class is compared with the template of the
others. With the mean m of the logarithms of their largest z, and the mean M of those of all
classes ::

    typical = exp((n * m + 3 * M) / (n + 3)), at least 1 and at most 5

so a class of few parts is assumed to be like the others. The limit of the class, in deviations, is
the limit of the recipe times this.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any, ClassVar, Self, TYPE_CHECKING

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
from anomaly_inspection.scoring.template_matching import (
    best_match,
    Pose,
    thumbnail,
    thumbnail_correlations,
)
from anomaly_inspection.scoring.template_statistics import (
    difference_from,
    FLOOR_LEVELS,
    judged_pixels,
    PRIOR_PARTS,
    Template,
    TemplateSums,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.preprocessing import Prepared

# Parts that correlate by SAME_NCC or more are of one template. A template that correlates by less
# than STRANGE_NCC explains less than half of what varies in a part.
SAME_NCC, STRANGE_NCC = 0.95, 0.7
# Each takes two bytes of memory.
_MOST_VALUES = 128_000_000
# No 8-bit value lies further off. Every class can reach at least a fifth of it.
_LARGEST_DIFFERENCE = 255 / FLOOR_LEVELS
_LARGEST_TYPICAL = 5.0
_MOST_COMPARED = 30
_ROOM_FOR_SHIFTS = 3.0


@dataclass(frozen=True)
class TaughtClass:
    """
    One class of the bank.

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

    One matrix product of thumbnails searches the bank. The few best templates are compared in full
    at every shift up to `search_px`, as they lie and rotated by the likeliest angle up to
    `search_deg`. A frame of no class of the bank has a low `best_ncc`.

    A template takes two bytes a value, in memory and in the recipe. The bank is limited to 128
    million values (256 MB); 568 templates of 320x320 gray pixels take 116 MB.

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
        templates: Sequence[Template],
        names: Sequence[str],
        typical: Sequence[float],
        settings: Mapping[str, Any],
    ) -> None:
        self._settings = checked_settings(self.name, self.settings, settings)
        self._templates = tuple(templates)
        self._names = tuple(names)
        self._typical = tuple(typical)
        self._thumbnails = np.stack([thumbnail(template.mean) for template in templates])

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
            sums = TemplateSums(images[0].image.shape)
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
        blind = sum(not judged_pixels(deviation).any() for deviation in deviations)
        if blind:
            raise RecipeError(f'{blind} of {len(means)} templates have no judged pixel')
        templates = [
            Template(mean, deviation, int(count))
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

        The map is z (for colour images of the highest channel), averaged over `smooth_px`, in
        units of the typical largest z of the class. It is 0 where the shifted template does not
        reach, and at its very border, where an edge that moves may bring in anything.

        """
        check_prepared(prepared, self._templates[0].mean)
        which, pose = self._nearest_template(prepared)
        anomaly_map = _difference(prepared, self._templates[which], pose, self._settings)
        anomaly_map /= np.float32(self._typical[which])
        return ScorerOutput(
            measures={'best_ncc': pose.ncc, 'peak_difference': float(anomaly_map.max())},
            anomaly_map=anomaly_map,
            part_class=self._names[which],
        )

    def _nearest_template(self, prepared: Prepared) -> tuple[int, Pose]:
        """
        Find the template with the highest NCC among those with the most similar thumbnails.

        """
        likeness = thumbnail_correlations(self._thumbnails, prepared.image, prepared.valid)
        nearest = np.argsort(-likeness, kind='stable')[: self._settings['candidates']].tolist()
        templates = [self._templates[which] for which in nearest]
        place, pose = best_match(
            prepared.image,
            prepared.valid,
            [(template.mean, judged_pixels(template.deviation)) for template in templates],
            self._settings['search_px'],
            self._settings['search_deg'],
        )
        if pose.ncc < -1:
            raise FrameError('no template covers half of the valid part of the frame')
        return nearest[place], pose


def _alike(
    images: Sequence[Prepared], settings: Mapping[str, Any], most: int
) -> list[list[tuple[int, Pose]]]:
    """
    Group the parts: greedily choose the part that most others are like, with those like it.

    Returns
    -------
    list of list of (int, Pose)
        Of each group the indices of its parts, and how they lie on the first of them.

    """
    thumbnails = np.stack([thumbnail(prepared.image) for prepared in images])
    likeness = np.stack(
        [thumbnail_correlations(thumbnails, one.image, one.valid) for one in images]
    )
    classes = np.array([prepared.part_class for prepared in images])
    # Thumbnails are compared without a shift.
    alike = likeness >= 1 - _ROOM_FOR_SHIFTS * (1 - SAME_NCC)
    alike &= classes[:, None] == classes
    np.fill_diagonal(alike, True)
    free = np.ones(len(images), np.bool_)
    groups: list[list[tuple[int, Pose]]] = []
    while free.any() and len(groups) < most:
        leader = int(np.where(free, (alike & free).sum(axis=1), -1).argmax())
        reference = images[leader]
        whole = (slice(0, reference.valid.shape[0]), slice(0, reference.valid.shape[1]))
        members = [(leader, Pose(1.0, whole, whole))]
        free[leader] = False
        for index in np.flatnonzero(alike[leader] & free).tolist():
            one = images[index]
            one_reference = [(reference.image, reference.valid)]
            _, pose = best_match(
                one.image, one.valid, one_reference, settings['search_px'], settings['search_deg']
            )
            # Similar thumbnails can still be of another board.
            if pose.ncc >= SAME_NCC:
                members.append((index, pose))
                free[index] = False
        groups.append(members)
    return groups


def _peaks_of_good(
    images: Sequence[Prepared],
    members: Sequence[tuple[int, Pose]],
    sums: TemplateSums,
    settings: Mapping[str, Any],
) -> list[float]:
    """
    Give the largest z of at most 30 parts, each against the template of the others.

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
    Give the typical largest z of the class of each template; see the top of the file.

    """
    logarithms = [np.log(np.maximum(some, 1e-3)) for some in peaks]
    known = np.concatenate(logarithms)
    common = float(known.mean()) if known.size else 0.0
    typical = {}
    for name in set(names):
        own = [each for other, each in zip(names, logarithms, strict=True) if other == name]
        values = np.concatenate(own)
        weighed = float(values.sum()) + PRIOR_PARTS * common
        typical[name] = math.exp(weighed / (values.size + PRIOR_PARTS))
    return [min(max(typical[name], 1.0), _LARGEST_TYPICAL) for name in names]


def _difference(
    part: Prepared, template: Template, pose: Pose, settings: Mapping[str, Any]
) -> NDArray[np.float32]:
    return difference_from(
        part,
        template,
        pose,
        bend_px=settings['bend_px'],
        edge_px=settings['edge_px'],
        smooth_px=settings['smooth_px'],
    )
