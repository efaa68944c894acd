# SPDX-License-Identifier: Apache-2.0
"""
Which stored measures a recipe would measure again just so, and the others measured anew.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.errors import InspectionError
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.removal import kept_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.reviewing.stored_part import StoredPart


def measuring_fingerprint(recipe: Recipe) -> str:
    """
    Give a hash over all that decides what a recipe measures; limits have no part in it.

    """
    digest = hashlib.sha256()

    def take(*values: object) -> None:
        for value in values:
            text = repr(value).encode(errors='surrogatepass')
            digest.update(len(text).to_bytes(8, 'big') + text)

    take(recipe.frame_format, recipe.preprocessing.fingerprint(), recipe.tolerance)
    arrays = [('reference', frame) for frame in recipe.references]
    for name, scorer in sorted(recipe.scorers.items()):
        take(name, sorted(scorer.settings.items()), scorer.region)
        arrays += [(f'{name}/{key}', array) for key, array in sorted(scorer.arrays.items())]
    for key, array in arrays:
        take(key, array.dtype.str, array.shape)
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def comparable_versions(recipe: Recipe) -> set[int]:
    """
    Give the versions of a recipe that measure as it does: only their limits may differ.

    Reads the versions that are kept beside it. One that cannot be read is not comparable.

    """
    found = {recipe.version}
    if recipe.path is None:
        return found
    own = measuring_fingerprint(recipe)
    for version, folder in kept_versions(recipe.path).items():
        try:
            if measuring_fingerprint(read_recipe(folder)) == own:
                found.add(version)
        except InspectionError:
            continue
    return found


@dataclass(frozen=True)
class Gathered:
    """
    Parts with the measures of one recipe.

    Parameters
    ----------
    stored : tuple of StoredPart
        Measured by this recipe, or by a version that differs in its limits alone.
    rescored : tuple of StoredPart
        Measured anew from their stored frames. Their `is_rejected` stays what the cell decided.
    lost : tuple of StoredPart
        Another recipe has measured them, and their frames are gone or cannot be judged.

    """

    stored: tuple[StoredPart, ...]
    rescored: tuple[StoredPart, ...] = ()
    lost: tuple[StoredPart, ...] = ()

    @property
    def parts(self) -> tuple[StoredPart, ...]:
        """
        All that can be judged.

        """
        return self.stored + self.rescored

    def sentences(self) -> tuple[str, ...]:
        """
        Say what had to be measured anew, and what could not be.

        """
        said = []
        if self.rescored:
            said.append(
                f'{len(self.rescored)} parts were measured by another recipe or version; they are '
                'measured anew from their stored frames.'
            )
        if self.lost:
            said.append(
                f'{len(self.lost)} parts were measured by another recipe or version, and their '
                'frames are not kept or cannot be judged; they are left out.'
            )
        return tuple(said)


def gather(
    recipe: Recipe,
    parts: Iterable[StoredPart],
    *,
    versions: set[int] | None = None,
    progress: Progress = no_progress,
) -> Gathered:
    """
    Give parts the measures of a recipe.

    Parameters
    ----------
    recipe : Recipe
        The recipe.
    parts : iterable of StoredPart
        Of whatever recipe.
    versions : set of int, optional
        Versions that measure alike; found by reading those kept on disk by default.
    progress : callable (done, total, what), optional
        Called after every frame.

    """
    versions = comparable_versions(recipe) if versions is None else versions
    stored: list[StoredPart] = []
    others: list[StoredPart] = []
    for part in parts:
        is_alike = part.recipe == recipe.name and part.recipe_version in versions
        (stored if is_alike else others).append(part)
    rescored, lost = measured_anew(recipe, others, progress)
    return Gathered(tuple(stored), tuple(rescored), tuple(lost))


def measured_anew(
    recipe: Recipe, parts: Sequence[StoredPart], progress: Progress = no_progress
) -> tuple[list[StoredPart], list[StoredPart]]:
    """
    Measure parts from their stored frames.

    Returns
    -------
    measured, lost : list of StoredPart
        Those that could be measured, with their new measures; and those without a frame.

    """
    measured: list[StoredPart] = []
    lost: list[StoredPart] = []
    with_frame = [(part, part.picture) for part in parts if part.picture is not None]
    lost += [part for part in parts if part.picture is None]
    if not with_frame:
        return measured, lost
    judge = RecipeJudge(recipe)
    for number, (part, picture) in enumerate(with_frame, 1):
        found = _measured(judge, part, picture)
        (lost if found is None else measured).append(found or part)
        progress(number, len(with_frame), 'measuring stored frames')
    return measured, lost


def _measured(judge: RecipeJudge, part: StoredPart, picture: Path) -> StoredPart | None:
    try:
        image = read_image(picture)
    except (InspectionError, OSError):
        return None
    judgement, scores = judge.judge(Frame(image, 0, 0))
    measures = {
        f'{score.scorer}.{name}': value
        for score in scores
        for name, value in score.measures.items()
    }
    return replace(
        part,
        measures=measures,
        # What it was judged by then says nothing about these measures.
        limits={},
        reason=judgement.reason.name,
    )
