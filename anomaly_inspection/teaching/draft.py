# SPDX-License-Identifier: Apache-2.0
"""
A draft: a recipe that was taught in a session and is not in force, with what is known about it.

::

    <session>/draft/
      recipe/<name>/       a recipe folder
      report.json          what `DraftReport` holds
      missed.png, seen.png examples of the self-test, where there are any

"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
import json
import math
import os
from pathlib import Path
import secrets
import shutil
from typing import Any, TYPE_CHECKING

import cv2

from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.evaluation.frame_time import measure_frame_time
from anomaly_inspection.evaluation.recipe_faults import limits_note
from anomaly_inspection.evaluation.self_test_report import examples_picture
from anomaly_inspection.learning.carried_marks import with_marks_of
from anomaly_inspection.learning.recipe_calibration import false_rejects_of
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.carried_ranges import with_ranges_of
from anomaly_inspection.recipes.folder import check_place, read_recipe, write_recipe
from anomaly_inspection.teaching.after_teaching import promise
from anomaly_inspection.teaching.session import UNFINISHED

if TYPE_CHECKING:
    from anomaly_inspection.evaluation.self_test_result import SelfTest
    from anomaly_inspection.learning.image_quality import ImageQuality
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.teaching.session import TeachingSession

REPORT, RECIPE = 'report.json', 'recipe'
MISSED_PICTURE, SEEN_PICTURE = 'missed.png', 'seen.png'
_MOST_REPORT_BYTES = 4_000_000


@dataclass(frozen=True)
class DraftReport:
    """
    What is known about a draft. See RecipeDraft.msg for the meaning of each value.

    Lists of sentences are tuples; None stands for what cannot be told.

    """

    recipe_name: str
    product: str
    hash: str
    image_count: int
    distinct_count: int
    left_out: tuple[str, ...]
    # (topic, sentence, is_problem)
    findings: tuple[tuple[str, str, bool], ...]
    scorers: tuple[str, ...]
    choice: tuple[str, ...]
    false_rejects: float | None
    false_rejects_low: float | None
    false_rejects_high: float | None
    false_rejects_asked: float
    promise: str
    frame_time_ms: float
    most_parts_per_s: float
    sizes_px: tuple[float, ...]
    contrasts_levels: tuple[float, ...]
    # By contrast, then by size.
    seen: tuple[float | None, ...]
    tried: tuple[int, ...]
    seen_in_all: float | None
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    missed_picture: str
    seen_picture: str


@dataclass(frozen=True)
class Draft:
    """
    A draft on disk.

    Parameters
    ----------
    folder : Path
        Folder of the recipe.
    report : DraftReport
        What is known about it.

    """

    folder: Path
    report: DraftReport


def write_report(
    recipe: Recipe, quality: ImageQuality, result: SelfTest, folder: Path
) -> DraftReport:
    """
    Put down what is known about a recipe that has just been taught; folder is that of the draft.

    """
    pictures = {}
    for name, is_seen in ((MISSED_PICTURE, False), (SEEN_PICTURE, True)):
        picture = examples_picture(result, is_seen=is_seen)
        if picture is not None:
            (folder / name).write_bytes(cv2.imencode('.png', picture)[1].tobytes())
        pictures[name] = '' if picture is None else name
    report = _report(recipe, quality, result, pictures)
    text = json.dumps(asdict(report), indent=1, allow_nan=False)
    (folder / REPORT).write_text(text, encoding='utf-8')
    return report


def _report(
    recipe: Recipe, quality: ImageQuality, result: SelfTest, pictures: dict[str, str]
) -> DraftReport:
    provenance = recipe.provenance
    false_rejects = false_rejects_of(recipe)
    low, high = (None, None) if false_rejects is None else false_rejects.interval
    time = measure_frame_time(recipe)
    grid = [(size, contrast) for contrast in result.contrasts for size in result.sizes_px]
    tried = Counter((defect.size_px, defect.contrast_levels) for defect in result.defects)
    shares = [result.seen(*cell) for cell in grid]
    in_all = result.seen_in_all()
    notes = (limits_note(recipe), result.weakness(), *result.notes)
    return DraftReport(
        recipe_name=recipe.name,
        product=recipe.product,
        hash=recipe.hash,
        image_count=provenance.image_count,
        distinct_count=quality.distinct_count,
        left_out=provenance.left_out,
        findings=tuple((one.topic, one.sentence, one.is_problem) for one in quality.findings),
        scorers=tuple(recipe.scorers),
        choice=provenance.choice,
        false_rejects=None if false_rejects is None else false_rejects.rate,
        false_rejects_low=low,
        false_rejects_high=high,
        false_rejects_asked=provenance.false_reject_rate,
        promise=promise(recipe, provenance.false_reject_rate),
        frame_time_ms=1e3 * time.typical_s,
        most_parts_per_s=time.most_parts_per_s,
        sizes_px=result.sizes_px,
        contrasts_levels=result.contrasts,
        seen=tuple(None if share is None else share.value for share in shares),
        tried=tuple(tried[cell] for cell in grid),
        seen_in_all=None if in_all is None else in_all.value,
        faults=tuple(result.faults()),
        notes=tuple(dict.fromkeys(note for note in notes if note)),
        missed_picture=pictures[MISSED_PICTURE],
        seen_picture=pictures[SEEN_PICTURE],
    )


def draft_of(session: TeachingSession) -> Draft | None:
    """
    Give the draft of a session; None when it has none that can be read.

    """
    try:
        with (session.draft_folder / REPORT).open('rb') as file:
            values: dict[str, Any] = json.loads(file.read(_MOST_REPORT_BYTES))
        values = {key: _tuples(value) for key, value in values.items()}
        report = DraftReport(**values)
        folder = session.draft_folder / RECIPE / report.recipe_name
        return Draft(folder, report) if folder.is_dir() else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def put_in_place(session: TeachingSession, work: Path) -> None:
    """
    Make a finished folder the draft of the session; an older draft gives way.

    """
    old = session.folder / f'{UNFINISHED}{secrets.token_hex(4)}'
    try:
        if session.draft_folder.exists():
            os.rename(session.draft_folder, old)
        os.rename(work, session.draft_folder)
    except OSError as error:
        raise SettingError(
            f'the draft cannot be put into {printable(session.folder)}: {error.strerror}'
        ) from error
    finally:
        shutil.rmtree(old, ignore_errors=True)


def discard(session: TeachingSession) -> None:
    """
    Delete the draft of a session; its images stay.

    Raises
    ------
    SettingError
        When there is none, or it cannot be deleted.

    """
    doomed = session.folder / f'{UNFINISHED}{secrets.token_hex(4)}'
    try:
        os.rename(session.draft_folder, doomed)
        shutil.rmtree(doomed)
    except FileNotFoundError:
        raise SettingError(f'session {session.name} has no draft') from None
    except OSError as error:
        raise SettingError(
            f'the draft of session {session.name} cannot be deleted: {error.strerror}'
        ) from error


def install(draft: Draft, library: Path, budget_bytes: int) -> tuple[Recipe, tuple[str, ...]]:
    """
    Write the draft into the library of recipes, over a recipe of its name as the next version.

    The ranges that an engineer has set for limits stay (see `with_ranges_of`), and so do the marks
    on the part (see `with_marks_of`).

    Returns
    -------
    recipe : Recipe
        As it is in the library now.
    notes : tuple of str
        One sentence for each range that could not stay as it was.

    Raises
    ------
    RecipeError
        When it is not what was taught, or cannot be written; the library is as it was.
    SettingError
        When the marks on the part cannot be carried over; the library is as it was.

    """
    recipe = read_recipe(draft.folder, budget_bytes=budget_bytes)
    if recipe.hash != draft.report.hash:
        raise RecipeError(
            f'the draft in {printable(draft.folder)} is not what was taught: it has changed since'
        )
    place = library / recipe.name
    older = check_place(place, budget_bytes=budget_bytes)
    recipe, notes = with_ranges_of(older, with_marks_of(older, recipe))
    return write_recipe(recipe, place, budget_bytes=budget_bytes), notes


def number_or_nan(value: float | None) -> float:
    """
    Give NaN for what cannot be told.

    """
    return math.nan if value is None else value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
