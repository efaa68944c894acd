# SPDX-License-Identifier: Apache-2.0
"""
Rejects beside the nearest good part: made when somebody looks, on the thread that asks.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
import threading
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.imaging.image_decoding import decode_image
from anomaly_inspection.overlay.good_patch import crop_box, GoodImages
from anomaly_inspection.panel.recipes.library import summary_of
from anomaly_inspection.recipes.folder import read_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anomaly_inspection.overlay.good_patch import Box
    from anomaly_inspection.panel.cell.part_views import PartKey, PartView, RegionView
    from anomaly_inspection.panel.recipes.library import RecipeLibrary
    from anomaly_inspection.panel.review.reject import Reject

_RECIPES, _COMPARED = 2, 48
_LEAST_SIDE_PX = 320
# The box stands so far outside of the region.
_BOX_GAP_PX = 4
_BOX_COLOUR = (43, 98, 209)
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 90)


@dataclass(frozen=True, eq=False)
class Compared:
    """
    A reject beside the nearest good part.

    Parameters
    ----------
    found, good : bytes
        Two JPEG files of one size.
    contrast_levels : float
        How much brighter the region is than there, gray levels; negative = darker.

    """

    found: bytes
    good: bytes
    contrast_levels: float


class GoodParts:
    """
    Keeps the good images of the last recipes that somebody asked for, and what was made of them.

    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: OrderedDict[tuple[str, int], GoodImages | None] = OrderedDict()
        self._compared: OrderedDict[PartKey, Compared] = OrderedDict()

    def known(self, key: PartKey) -> Compared | None:
        """
        Give what was made before; returns at once.

        """
        return self._compared.get(key)

    def compared(
        self, reject: Reject, png: Callable[[], bytes | None], library: RecipeLibrary
    ) -> Compared | None:
        """
        Lay a reject beside the nearest good part; reads files, and may take seconds.

        Parameters
        ----------
        reject : Reject
            The one that somebody looks at.
        png : callable () -> bytes or None
            Gives its picture.
        library : RecipeLibrary
            Where its recipe lies.

        Returns
        -------
        Compared or None
            None when nothing was found in it, or its picture or recipe is not there any more.

        """
        # One at a time: whoever asks for the same one in the meantime gets it at once.
        with self._lock:
            known = self._compared.get(reject.key)
            if known is not None:
                return known
            region, scorer = _region_of(reject.part)
            content = png() if region is not None else None
            if region is None or content is None:
                return None
            images = self._images_of(reject, library)
            try:
                made = images and _made(images, decode_image(content), reject.part, region, scorer)
            except (InspectionError, cv2.error):
                # Torn by a loss of power, or from a camera that the recipe does not know.
                return None
            if made:
                self._compared[reject.key] = made
                while len(self._compared) > _COMPARED:
                    self._compared.popitem(last=False)
            return made or None

    def _images_of(self, reject: Reject, library: RecipeLibrary) -> GoodImages | None:
        decision = reject.part.decision
        if decision is None or not decision.recipe_name:
            return None
        name, version = decision.recipe_name, decision.recipe_version
        if (name, version) not in self._images:
            self._images[name, version] = _read(name, version, library)
            while len(self._images) > _RECIPES:
                self._images.popitem(last=False)
        self._images.move_to_end((name, version))
        return self._images[name, version]


def _read(name: str, version: int, library: RecipeLibrary) -> GoodImages | None:
    try:
        folder = library.folder_of(name)
        if summary_of(folder).version != version:
            folder = library.folder_of(name, version)
        recipe = read_recipe(folder)
        taught = recipe.teaching_images
        more = (image for _, image in taught.read()) if taught else ()
        return GoodImages(recipe.preprocessing, recipe.frame_format, recipe.references, more)
    except InspectionError:
        # Deleted or damaged since; the page shows the reject alone.
        return None


def _region_of(part: PartView) -> tuple[RegionView | None, str]:
    """
    Give the region that stands out most, and who found it.

    """
    explanation = part.decision.explanation if part.decision else None
    if explanation is not None and explanation.region is not None:
        return explanation.region, explanation.scorer
    # A reject of an older version tells only what the scorers found.
    found = [(region, score.scorer) for score in part.scores for region in score.regions]
    return max(found, key=lambda one: one[0].times_limit, default=(None, ''))


def _made(
    images: GoodImages,
    frame: NDArray[np.uint8],
    part: PartView,
    region: RegionView,
    scorer: str,
) -> Compared | None:
    box = region.x_min, region.y_min, region.x_max, region.y_max
    pose = next((score.pose for score in part.scores if score.scorer == scorer), None)
    patch = images.beside(frame, box, pose)
    if patch is None:
        return None
    left, top, _, _ = crop_box(box, (frame.shape[1], frame.shape[0]))
    inside = box[0] - left, box[1] - top, box[2] - left, box[3] - top
    return Compared(_jpeg(patch.found, inside), _jpeg(patch.good, inside), patch.contrast_levels)


def _jpeg(crop: NDArray[np.uint8], box: Box) -> bytes:
    """
    Give a crop with a thin box around the region, large enough to be seen.

    """
    factor = max(1, -(-_LEAST_SIDE_PX // max(crop.shape[:2])))
    size = factor * crop.shape[1], factor * crop.shape[0]
    image = cv2.resize(crop, size, interpolation=cv2.INTER_CUBIC)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    gap = max(_BOX_GAP_PX, 2 * factor)
    cv2.rectangle(
        image,
        (factor * box[0] - gap, factor * box[1] - gap),
        (factor * box[2] + gap, factor * box[3] + gap),
        _BOX_COLOUR,
        2,
        cv2.LINE_AA,
    )
    return bytes(cv2.imencode('.jpg', image, _QUALITY)[1].tobytes())
