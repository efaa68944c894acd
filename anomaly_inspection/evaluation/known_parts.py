# SPDX-License-Identifier: Apache-2.0
"""
Known good and known bad parts: images in folders that say what they are.

::

    known/good/*          parts that must pass
    known/<defect>/*      parts that must be rejected

A data set in MVTec AD's layout (`test/good`, `test/<defect>`) and a labels.csv are read as well.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import hashlib
import math
from pathlib import Path
import time
from typing import TYPE_CHECKING

from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import Verdict
from anomaly_inspection.errors import SourceError
from anomaly_inspection.evaluation.evaluate import test_folder
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.progress import no_progress

if TYPE_CHECKING:
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

GOOD = 'good'
_NO_PART = 'no_part'


@dataclass(frozen=True)
class KnownPart:
    """
    One known part and its verdict.

    Parameters
    ----------
    name : str
        Path relative to the folder.
    sha256 : str
        Of its file.
    kind : str
        'good', or what is wrong with it.
    verdict, reason : str
        As the decider gives them at the limits of the recipe.
    anomaly_score : float
        NaN = not measured.
    comparison : str
        The grounds written out.
    time_s : float
        From the image to the judgement.

    """

    name: str
    sha256: str
    kind: str
    verdict: str
    reason: str
    anomaly_score: float
    comparison: str
    time_s: float

    @property
    def is_escape(self) -> bool:
        """
        Whether a bad part has passed.

        """
        return self.kind != GOOD and self.verdict == Verdict.PASS.name

    @property
    def is_false_reject(self) -> bool:
        """
        Whether a good part was rejected.

        """
        return self.kind == GOOD and self.verdict != Verdict.PASS.name


def judge_known_parts(
    recipe: Recipe, folder: Path, progress: Progress = no_progress
) -> list[KnownPart]:
    """
    Judge every known part by a recipe, as the cell does.

    Parameters
    ----------
    recipe : Recipe
        What to judge by.
    folder : Path
        Holds the known parts.
    progress : callable (done, total, what), optional
        Called after every part.

    Raises
    ------
    SourceError
        When there is no image, nothing is known of one, or one cannot be read.

    """
    folder = known_folder(folder)
    judge = RecipeJudge(recipe)
    # What the first use sets up must not count as time of the first part.
    judge.judge(Frame(recipe.references[0], 0, 0))
    parts = []
    with ImageFolder(folder) as source:
        kind_of = _kinds(source, folder)
        while (frame := source.read()) is not None:
            if (kind := kind_of(frame.name)) == _NO_PART:
                continue
            content = _content(folder / frame.name)
            started_s = time.perf_counter()
            judgement, _ = judge.judge(frame)
            parts.append(
                KnownPart(
                    name=frame.name,
                    sha256=hashlib.sha256(content).hexdigest(),
                    kind=kind,
                    verdict=judgement.verdict.name,
                    reason=judgement.reason.name,
                    anomaly_score=judgement.anomaly_score,
                    comparison=judgement.comparison,
                    time_s=math.nan if frame.image is None else time.perf_counter() - started_s,
                )
            )
            progress(len(parts), len(source.names), 'judging known parts')
    if not parts:
        raise SourceError(f'{printable(folder)} holds no known parts')
    return parts


def known_folder(folder: Path) -> Path:
    """
    Give the folder of the images: `folder/test` of a data set, or the folder itself.

    """
    return folder.absolute() if (folder / GOOD).is_dir() else test_folder(folder)


def _kinds(source: ImageFolder, folder: Path) -> Callable[[str], str]:
    def kind_of(name: str) -> str:
        truth = source.truth(name, with_mask=False)
        if truth is not None:
            return truth.defect if truth.part_present else _NO_PART
        parents = Path(name).parts[:-1]
        if not parents:
            raise SourceError(
                f'nothing is known of {printable(folder / name)}: put it into a folder that says '
                f'what it is, {shown(GOOD)} for good parts and the kind of defect for bad ones'
            )
        return parents[0]

    for name in source.names:
        kind_of(name)
    return kind_of


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError(f'cannot read {printable(path)}: {error.strerror}') from error
