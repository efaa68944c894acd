# SPDX-License-Identifier: Apache-2.0
"""
Extend a recipe: teach it anew with the images that it keeps and some more.

"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.printable import printable
from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
from anomaly_inspection.scoring.openvino import OpenvinoScorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from anomaly_inspection.learning.good_images import Offered
    from anomaly_inspection.recipes.recipe import Recipe

# What these know comes from elsewhere: good parts alone cannot teach it anew.
_TRAINED = (AutoencoderScorer.name, OpenvinoScorer.name)


def with_more_images(recipe: Recipe, more: Iterable[Offered]) -> GoodImages:
    """
    Give the images that a recipe keeps together with new ones, in the recipe's format.

    Parameters
    ----------
    recipe : Recipe
        Keeps its teaching images.
    more : iterable of ndarray of uint8, or of (name, ndarray or FrameError)
        The new images. One that has the name of a kept image gets another.

    Raises
    ------
    SettingError
        When the recipe does not keep its images; says which ones are needed.
    RecipeError
        When a kept image is missing or damaged.
    FrameError
        When most of the images do not have a format that the recipe accepts.

    """
    kept = recipe.teaching_images
    if kept is None:
        source = recipe.provenance.source
        raise SettingError(
            f'recipe {recipe.name} does not keep the {recipe.provenance.image_count} images that '
            f'it was taught on{f" (from {printable(source)})" if source else ""}. Put them into '
            'one folder with the new ones, and teach that folder'
        )
    return GoodImages.of_format(_all(recipe, more), recipe.frame_format)


def scorers_of(recipe: Recipe) -> dict[str, Mapping[str, Any]]:
    """
    Give the scorers of a recipe that can be taught anew, with their settings.

    Raises
    ------
    SettingError
        When there are none.

    """
    found: dict[str, Mapping[str, Any]] = {
        name: part.settings for name, part in recipe.scorers.items() if name not in _TRAINED
    }
    if not found:
        raise SettingError(
            f'recipe {recipe.name} has only {", ".join(recipe.scorers)}, which good images alone '
            'cannot teach anew; name another --scorer'
        )
    return found


def _all(recipe: Recipe, more: Iterable[Offered]) -> Iterator[Offered]:
    assert recipe.teaching_images is not None
    known = set()
    for name, frame in recipe.teaching_images.read():
        known.add(name)
        yield name, frame
    for index, image in enumerate(more):
        name, content = image if isinstance(image, tuple) else (f'image {index}', image)
        if name in known:
            name = f'{name} (added to version {recipe.version})'
        yield name, content
