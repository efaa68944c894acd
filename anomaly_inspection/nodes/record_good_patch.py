# SPDX-License-Identifier: Apache-2.0
"""
The nearest good part beside a reject, for the records.

The good images of the recipe in force are read on a thread of their own; until they are there,
rejects are kept without.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
import threading
from typing import TYPE_CHECKING

from anomaly_inspection.errors import FrameError, InspectionError
from anomaly_inspection.nodes.image_conversion import array_from_image
from anomaly_inspection.overlay.good_patch import GoodImages
from anomaly_inspection.recipes.folder import read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    from numpy.typing import NDArray
    from sensor_msgs.msg import Image

    from anomaly_inspection.msg import Decision, RecipeInForce, Score
    from anomaly_inspection.overlay.good_patch import Box, Pose


@dataclass(frozen=True)
class FoundIn:
    """
    What a reject is shown for.

    Parameters
    ----------
    recipe_hash : str
        The recipe that judged.
    region : (int, int, int, int)
        Half-open box, frame pixels.
    pose : (float, float, float, float) or None
        How the part lies; None = it was not aligned.

    """

    recipe_hash: str
    region: Box
    pose: Pose | None


def found_in(message: Decision, scores: Iterable[Score]) -> FoundIn | None:
    """
    Give what a decision says was found; None = no region was.

    """
    explanation = message.explanation
    if not explanation.scorer:
        return None
    region = explanation.region
    pose = None
    for score in scores:
        values = (
            *(score.alignment_x_px, score.alignment_y_px),
            *(score.alignment_angle_rad, score.alignment_scale),
        )
        if score.scorer == explanation.scorer and all(map(math.isfinite, values)):
            pose = values
    box = (region.x_min, region.y_min, region.x_max, region.y_max)
    return FoundIn(message.recipe_hash, box, pose)


class GoodPatches:
    """
    Finds the nearest good part for rejects of the recipe in force.

    """

    def __init__(self) -> None:
        self._hash = ''
        self._images: GoodImages | None = None
        self._reading: threading.Thread | None = None

    def use(self, message: RecipeInForce) -> None:
        """
        Read the good images of a recipe; returns at once.

        """
        if message.hash == self._hash:
            return
        self._hash, self._images = message.hash, None
        arguments = (message.path, message.hash)
        self._reading = threading.Thread(
            target=self._read, args=arguments, name='good images', daemon=True
        )
        self._reading.start()

    def settle(self, timeout_s: float = 10.0) -> None:
        """
        Wait until the images are read.

        """
        if self._reading is not None:
            self._reading.join(timeout_s)

    def maker(self, image: Image, found: FoundIn) -> Callable[[], NDArray[np.uint8]] | None:
        """
        Give what makes the picture of the nearest good part; None = it cannot be made.

        """
        images = self._images
        if images is None or not len(images) or found.recipe_hash != self._hash:
            return None

        def made() -> NDArray[np.uint8]:
            patch = images.beside(array_from_image(image), found.region, found.pose)
            if patch is None:
                raise FrameError('there is no good image')
            return patch.good

        return made

    def _read(self, path: str, recipe_hash: str) -> None:
        try:
            recipe = read_recipe(path)
            taught = recipe.teaching_images
            images = GoodImages(
                recipe.preprocessing,
                recipe.frame_format,
                recipe.references,
                (image for _, image in taught.read()) if taught else (),
            )
        except InspectionError:
            # The decider has the recipe; here only a picture is missing.
            return
        if self._hash == recipe_hash == recipe.hash:
            self._images = images
