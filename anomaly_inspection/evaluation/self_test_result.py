# SPDX-License-Identifier: Apache-2.0
"""
The result of a self-test: which synthetic defects the recipe saw, in figures and in words.

"""

from __future__ import annotations

from dataclasses import dataclass
import itertools
import json
import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.evaluation.figures import Estimate, proportion
from anomaly_inspection.evaluation.recipe_faults import (
    blindness_fault,
    false_reject_fault,
    limits_fault,
)
from anomaly_inspection.learning.synthetic_defects import synthetic_defect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.deciding.frame_judge import Judgement
    from anomaly_inspection.recipes.recipe import Recipe

# A size counts as seen from this share on.
SEEN_SHARE = 0.9

_MOST_OTHERS = 8


@dataclass(frozen=True)
class JudgedDefect:
    """
    One synthetic defect and the judgement on it.

    Parameters
    ----------
    image : str
        Name of the good image it was put on.
    kind : str
        See `synthetic_defect`.
    size_px, contrast_levels : float
        As asked for; the defect drawn differs by 15 % at most.
    number : int
        Its number in the test; `SelfTest.damaged` draws it again from this.
    judgement : Judgement
        What the decider would say of the part with this defect.

    """

    image: str
    kind: str
    size_px: float
    contrast_levels: float
    number: int
    judgement: Judgement

    @property
    def is_seen(self) -> bool:
        """
        Whether the recipe rejects the part.

        """
        return self.judgement.verdict is Verdict.REJECT


@dataclass(frozen=True, eq=False)
class GoodImage:
    """
    A frame of a good part, and where a defect may be: on the part, inside the judged area.

    """

    frame: NDArray[np.uint8]
    mask_of_part: NDArray[np.bool_]


@dataclass(frozen=True)
class Reach:
    """
    The smallest size from which on defects of one contrast are seen.

    Parameters
    ----------
    size_px : float
        The smallest size that is seen, or the largest one tried.
    share : Estimate
        Share of the defects of this size that are seen.
    is_seen : bool
        Whether this share is enough, see `SEEN_SHARE`.
    has_larger : bool
        Whether larger ones were tried.

    """

    size_px: float
    share: Estimate
    is_seen: bool
    has_larger: bool

    def __str__(self) -> str:
        if not self.is_seen:
            return (
                f'sees {self.size_px:g} px, the largest size tried, only in '
                f'{shares_text(self.share)}'
            )
        larger = ', and larger ones' if self.has_larger else ''
        return f'sees {self.size_px:g} px in {shares_text(self.share)}{larger}'


@dataclass(frozen=True, eq=False)
class SelfTest:
    """
    Which synthetic defects a recipe sees.

    Parameters
    ----------
    recipe : Recipe
        What was tested.
    images : dict of str to GoodImage
        Good images that the recipe passes as they are, by name.
    rejected : dict of str to str
        Good images that the recipe rejects as they are, each with the reason. They get no defects.
    sizes_px, contrasts : tuple of float
        The grid, ascending.
    kinds : tuple of str
        Kinds of defect.
    defects : tuple of JudgedDefect
        All that could be drawn; a part may be too small for a size, or too even for a contrast.
    notes : tuple of str
        What the reader must know, one sentence each.
    seed : int
        The same one gives the same defects.

    """

    recipe: Recipe
    images: dict[str, GoodImage]
    rejected: dict[str, str]
    sizes_px: tuple[float, ...]
    contrasts: tuple[float, ...]
    kinds: tuple[str, ...]
    defects: tuple[JudgedDefect, ...]
    notes: tuple[str, ...]
    seed: int

    def seen(
        self, size_px: float, contrast_levels: float, kind: str | None = None
    ) -> Estimate | None:
        """
        Give the share of defects of one size and contrast that are seen, with its exact interval.

        None when there are none; all kinds together unless one is named.

        """
        found = [
            defect.is_seen
            for defect in self.defects
            if (defect.size_px, defect.contrast_levels) == (size_px, contrast_levels)
            and kind in (None, defect.kind)
        ]
        return proportion(sum(found), len(found))

    def seen_in_all(self, kind: str | None = None) -> Estimate | None:
        """
        Give the share of defects that are seen, whatever their size and contrast.

        With its exact interval; None when there are none; all kinds together unless one is named.

        """
        found = [defect.is_seen for defect in self.defects if kind in (None, defect.kind)]
        return proportion(sum(found), len(found))

    def kinds_in_words(self) -> str:
        """
        List the share seen of every kind, the least seen first: 'crack 40 %, stain 95 %'.

        """
        shares = {kind: self.seen_in_all(kind) for kind in self.kinds}
        found = {kind: share.value for kind, share in shares.items() if share}
        in_order = sorted(found, key=lambda kind: found[kind])
        return ', '.join(f'{kind} {100 * found[kind]:.0f} %' for kind in in_order)

    def reach(self, contrast_levels: float) -> Reach | None:
        """
        Give from which size on defects of a contrast are seen; None when none could be drawn.

        """
        cells = [(size, self.seen(size, contrast_levels)) for size in self.sizes_px]
        measured = [(size, cell) for size, cell in cells if cell is not None]
        if not measured:
            return None
        seen_from = len(measured)
        while seen_from and measured[seen_from - 1][1].value >= SEEN_SHARE:
            seen_from -= 1
        is_seen = seen_from < len(measured)
        size, share = measured[seen_from if is_seen else -1]
        return Reach(size, share, is_seen, has_larger=seen_from < len(measured) - 1)

    def in_words(self) -> list[str]:
        """
        Say for every contrast from which size on defects are seen.

        """
        reaches = {contrast: self.reach(contrast) for contrast in self.contrasts}
        return [f'at {contrast:g} levels: {reach}' for contrast, reach in reaches.items() if reach]

    def weakness(self) -> str | None:
        """
        Say that even the largest and strongest defects can pass; None when they are seen.

        """
        share = self.seen(self.sizes_px[-1], self.contrasts[-1])
        if share is None or share.value >= SEEN_SHARE:
            return None
        return (
            f'large defects can pass: the recipe sees {shares_text(share)} of the defects with '
            f'{self.sizes_px[-1]:g} px at {self.contrasts[-1]:g} levels'
        )

    def faults(self) -> list[str]:
        """
        List what makes the recipe unfit for use, the worst first; empty when nothing does.

        """
        good = len(self.images) + len(self.rejected)
        found = (
            false_reject_fault(self.recipe, len(self.rejected), good),
            limits_fault(self.recipe),
            blindness_fault(
                sum(one.is_seen for one in self.defects), len(self.defects), 'synthetic defects'
            ),
        )
        return [fault for fault in found if fault]

    def damaged(self, defect: JudgedDefect) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """
        Draw a defect again: the image with it, and the mask of where it changed.

        """
        return draw_defect(
            self.images,
            defect.image,
            (defect.kind, defect.size_px, defect.contrast_levels),
            np.random.default_rng((self.seed, defect.number)),
        )


def shares_text(estimate: Estimate) -> str:
    """
    Write a share with its interval in percent: '97 % (90..99)'.

    """
    return f'{100 * estimate.value:.0f} % ({100 * estimate.low:.0f}..{100 * estimate.high:.0f})'


def to_json(result: SelfTest) -> str:
    """
    Write the figures: one entry for each size and contrast, first for all kinds, then for each.

    """
    cells = []
    for kind in (None, *result.kinds):
        for contrast, size_px in itertools.product(result.contrasts, result.sizes_px):
            share = result.seen(size_px, contrast, kind)
            count = sum(
                (one.size_px, one.contrast_levels) == (size_px, contrast)
                and kind in (None, one.kind)
                for one in result.defects
            )
            cells.append(
                {
                    'kind': kind or 'all',
                    'size_px': size_px,
                    'contrast_levels': contrast,
                    'defects': count,
                    'seen': share and share.value,
                    'interval': share and [share.low, share.high],
                }
            )
    recipe = result.recipe
    figures: dict[str, Any] = {
        'recipe': {'name': recipe.name, 'version': recipe.version, 'hash': recipe.hash},
        'seed': result.seed,
        'images': sorted(result.images),
        'rejected': result.rejected,
        'faults': result.faults(),
        'notes': result.notes,
        'in_words': result.in_words(),
        'kinds_in_words': result.kinds_in_words(),
        'cells': cells,
    }
    return json.dumps(figures, indent=2, allow_nan=False) + '\n'


def draw_defect(
    images: dict[str, GoodImage],
    name: str,
    cell: tuple[str, float, float],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """
    Draw a defect on one of the good images; give the image and the mask of where it changed.

    Parameters
    ----------
    images : dict of str to GoodImage
        A defect may show a piece of another one of them.
    name : str
        Which image gets the defect.
    cell : (str, float, float)
        Kind, size in pixels and contrast in gray levels, see `synthetic_defect`.
    rng : numpy Generator
        Makes the choices.

    Raises
    ------
    SettingError
        When the part has no place for such a defect.

    """
    kind, size_px, contrast_levels = cell
    frame = images[name].frame
    others = [
        other.frame
        for key, other in images.items()
        if key != name and other.frame.shape == frame.shape
    ]
    return synthetic_defect(
        frame,
        others[:: math.ceil(len(others) / _MOST_OTHERS) or 1],
        rng,
        kind=kind,
        size_px=size_px,
        contrast_levels=contrast_levels,
        mask_of_part=images[name].mask_of_part,
    )
