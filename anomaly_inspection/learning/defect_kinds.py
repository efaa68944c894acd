# SPDX-License-Identifier: Apache-2.0
"""
The kinds of synthetic defects, under the names that an operator reads.

To add a kind, write a function in `surface_defects.py` or `structure_defects.py` and name it in
`KINDS`.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.learning import structure_defects, surface_defects

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.learning.defect_drawing import Drawing, Place

ANYWHERE, RIM, STRUCTURE = 'anywhere', 'rim', 'structure'


@dataclass(frozen=True)
class DefectKind:
    """
    A kind of defect.

    Parameters
    ----------
    draw : callable (rng, place, other good images) -> Drawing
        Draws it.
    half_per_size : float
        Half the side of the patch that it needs, in diameters.
    largest_of_part : float
        Largest random size, as a share of the part's own size.
    hearts : str
        Where it lies: ANYWHERE on the part, mostly at its RIM, or where it has STRUCTURE.
    is_structural : bool
        Whether its contrast comes from the part, so that it must not be drawn stronger than that.
    leaves_part_by : float
        How far it also changes what lies around the part, in diameters.

    """

    draw: Callable[[np.random.Generator, Place, Sequence[NDArray[np.uint8]]], Drawing]
    half_per_size: float = 1.3
    largest_of_part: float = 0.5
    hearts: str = ANYWHERE
    is_structural: bool = False
    leaves_part_by: float = 0.0


KINDS: dict[str, DefectKind] = {
    'scratch': DefectKind(surface_defects.scratch, half_per_size=2.4, largest_of_part=0.15),
    'crack': DefectKind(surface_defects.crack, half_per_size=3.2, largest_of_part=0.12),
    'stain': DefectKind(surface_defects.stain),
    'dirt': DefectKind(surface_defects.dirt, half_per_size=1.6),
    'wrong colour': DefectKind(surface_defects.wrong_colour),
    'dent': DefectKind(surface_defects.dent),
    'foreign pattern': DefectKind(structure_defects.foreign_pattern),
    'wrong piece': DefectKind(structure_defects.wrong_piece, hearts=STRUCTURE, is_structural=True),
    'missing piece': DefectKind(
        structure_defects.missing_piece, 1.6, hearts=STRUCTURE, is_structural=True
    ),
    'displaced piece': DefectKind(
        structure_defects.displaced_piece,
        2.0,
        hearts=STRUCTURE,
        is_structural=True,
        leaves_part_by=0.5,
    ),
    'turned piece': DefectKind(
        structure_defects.turned_piece, hearts=STRUCTURE, is_structural=True
    ),
    'bent edge': DefectKind(
        structure_defects.bent_edge, 1.6, hearts=RIM, is_structural=True, leaves_part_by=0.5
    ),
    'broken edge': DefectKind(structure_defects.broken_edge, hearts=RIM, is_structural=True),
}
