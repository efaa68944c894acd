# SPDX-License-Identifier: Apache-2.0
"""
Carry the marks on a part from one picture of it to the reference of a recipe.

"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.part_marks import PartMarks
    from anomaly_inspection.recipes.recipe import Recipe


def with_marks(recipe: Recipe, marks: PartMarks, picture: NDArray[np.uint8], name: str) -> Recipe:
    """
    Give a recipe the marks that were made in a picture of a good part, not yet on disk.

    Parameters
    ----------
    recipe : Recipe
        Aligns its parts.
    marks : PartMarks
        In pixels of the picture.
    picture : ndarray of uint8
        As the camera gave it.
    name : str
        Of the picture, for messages.

    Raises
    ------
    SettingError
        When the recipe does not align parts, a mark lies outside of the picture or of the
        reference, or the part is not found in the picture.

    """
    marks.check_within(picture.shape[1], picture.shape[0])
    if recipe.preprocessing.alignment.kind == 'none':
        raise SettingError(
            f'recipe {recipe.name} does not align its parts, so marks cannot follow them; '
            'allowed: parts that may move (--tolerate)'
        )
    score = recipe.frame_scorer().score(picture)[0]
    if score.to_frame is None or score.alignment is None or not score.alignment.is_found:
        raise SettingError(
            f'the part is not found in {name}, so its marks cannot be carried to the reference of '
            f'recipe {recipe.name} ({score.detail}); allowed: a picture in which it is found'
        )
    region = recipe.preprocessing.region_of_interest
    to_reference = np.asarray(cv2.invertAffineTransform(score.to_frame), np.float64)
    if region is not None:
        to_reference[:, 2] += (region.x, region.y)
    carried = marks.carried(to_reference)
    carried.check_within(recipe.frame_format.width, recipe.frame_format.height)
    return replace(recipe, marks=carried, path=None, hash='')


def with_marks_of(older: Recipe | None, recipe: Recipe) -> Recipe:
    """
    Give a recipe that was taught anew the marks of the one that it takes the place of.

    Marks that a robot relies on must not be lost without a word: where they cannot be carried, the
    new recipe is refused.

    Parameters
    ----------
    older : Recipe or None
        The recipe from before; None = there is none.
    recipe : Recipe
        The new one. Its own marks come first.

    Raises
    ------
    SettingError
        When the marks cannot be carried; says what to do.

    """
    if older is None or older.marks is None or recipe.marks is not None:
        return recipe
    name = f'the reference of version {older.version}'
    try:
        return with_marks(recipe, older.marks, older.references[0], name)
    except SettingError as error:
        raise SettingError(
            f'the marks of recipe {older.name} (origin, axis, grasps) would be lost: {error}. '
            'Mark the part anew (anomaly-inspection teach --origin, --axis, --grasp), or give '
            '--no-marks'
        ) from error
