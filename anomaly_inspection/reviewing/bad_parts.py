# SPDX-License-Identifier: Apache-2.0
"""
Confirmed bad parts that every new version of a recipe must reject.

::

    <recipe>.review/must_reject/
      parts.txt          SHA-256 and name of each picture, one line each
      <SHA-256>.png      the pictures

The folder lies beside the recipe, so all versions share it, and a recipe that is taught anew is
held against it too.

"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import re
from typing import TYPE_CHECKING

from anomaly_inspection.capture.source import Frame
from anomaly_inspection.deciding.frame_judge import judge, Reason, Verdict
from anomaly_inspection.errors import FrameError, RecipeError, StateError
from anomaly_inspection.evaluation.recipe_judge import combination_of, RecipeJudge
from anomaly_inspection.imaging.image_decoding import decode_image
from anomaly_inspection.printable import printable
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.layout import MOST_BAD_PARTS, MUST_REJECT, MUST_REJECT_LIST
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.reviewing.accepted_limits import review_folder_of
from anomaly_inspection.reviewing.stored_part import Kind, StoredPart, Truth
from anomaly_inspection.state_file import read_small_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.progress import Progress
    from anomaly_inspection.recipes.recipe import Recipe

_LINE = re.compile(r'([0-9a-f]{64})  (\S[^\n]*)')
_LONGEST_NAME = 200
_BY_LIMITS = (Reason.WITHIN_LIMITS, Reason.LIMIT_EXCEEDED, Reason.UNKNOWN_CLASS)


@dataclass(frozen=True)
class BadPart:
    """
    A confirmed bad part.

    Parameters
    ----------
    digest : str
        SHA-256 of its picture file, 64 hexadecimal digits.
    name : str
        What people call it: part and session.

    """

    digest: str
    name: str


@dataclass(frozen=True)
class BadPartCheck:
    """
    How a recipe has judged the confirmed bad parts.

    Parameters
    ----------
    passed : tuple of str
        Names of those that it would pass.
    unjudged : tuple of str
        Those of a format that it does not accept; their reject proves nothing.
    total : int
        How many there are.

    """

    passed: tuple[str, ...]
    unjudged: tuple[str, ...]
    total: int

    @property
    def refusal(self) -> str:
        """
        Why the recipe may not be loaded, one sentence; '' = it may.

        """
        if not self.passed:
            return ''
        named = ', '.join(self.passed[:3])
        more = f' and {len(self.passed) - 3} more' if len(self.passed) > 3 else ''
        return (
            f'it would pass {len(self.passed)} of {self.total} parts that people have confirmed '
            f'as bad ({named}{more})'
        )


class BadParts:
    """
    The confirmed bad parts of a recipe on disk.

    Parameters
    ----------
    recipe : Path
        Folder of the recipe; that of an older version, '<recipe>.v3', has the same parts.

    """

    def __init__(self, recipe: Path) -> None:
        newest = recipe.with_name(re.sub(r'\.v[1-9][0-9]{0,8}$', '', recipe.name))
        self.folder = review_folder_of(newest) / MUST_REJECT

    def all(self) -> list[BadPart]:
        """
        Give all parts.

        Raises
        ------
        RecipeError
            When the list cannot be read or is not as this class writes it: then nobody knows what
            the recipe must reject.

        """
        path = self.folder / MUST_REJECT_LIST
        try:
            text = read_small_file(path)
        except (OSError, ValueError) as error:
            cause = getattr(error, 'strerror', None) or error
            raise RecipeError(f'{printable(path)} cannot be read: {cause}') from error
        lines = (text or '').splitlines()
        if len(lines) > MOST_BAD_PARTS:
            raise RecipeError(
                f'{printable(path)} names {len(lines)} parts; allowed: {MOST_BAD_PARTS}'
            )
        found = []
        for number, line in enumerate(lines, 1):
            match = _LINE.fullmatch(line)
            if match is None:
                raise RecipeError(
                    f'{printable(path)}: line {number} is {printable(line)[:100]!r}; allowed: the '
                    'SHA-256 of a file, two spaces and a name'
                )
            found.append(BadPart(match[1], match[2]))
        return found

    def add(self, parts: Iterable[tuple[str, bytes]]) -> int:
        """
        Add parts; one that is there already is left as it is.

        Parameters
        ----------
        parts : iterable of (str, bytes)
            Name and picture file of each.

        Returns
        -------
        int
            How many are new.

        Raises
        ------
        RecipeError
            When there would be too many.
        StateError
            When the disk refuses it; parts that were written before stay.

        """
        known = {part.digest: part for part in self.all()}
        before = len(known)
        try:
            for name, content in parts:
                digest = hashlib.sha256(content).hexdigest()
                if digest in known:
                    continue
                if len(known) == MOST_BAD_PARTS:
                    raise RecipeError(
                        f'{printable(self.folder)} holds {MOST_BAD_PARTS} parts, and no more are '
                        'allowed; take some out first'
                    )
                # The picture first: no line may name one that is not there.
                replace_file(self.folder / f'{digest}.png', content)
                shown = printable(name).strip()[:_LONGEST_NAME] or 'part'
                known[digest] = BadPart(digest, shown)
                self._write(known.values())
        except (OSError, ValueError) as error:
            cause = getattr(error, 'strerror', None) or str(error)
            raise StateError(f'cannot write {printable(self.folder)}: {cause}') from error
        return len(known) - before

    def remove(self, digest: str) -> BadPart:
        """
        Take a part out; `digest` may be the beginning of its SHA-256, at least 8 digits.

        Raises
        ------
        RecipeError
            When not exactly one part begins so.

        """
        parts = self.all()
        found = [part for part in parts if part.digest.startswith(digest)]
        if len(digest) < 8 or len(found) != 1:
            raise RecipeError(
                f'{len(found)} parts begin with {printable(digest)!r}; allowed: the first 8 or '
                'more digits of one of them'
            )
        self._write([part for part in parts if part is not found[0]])
        (self.folder / f'{found[0].digest}.png').unlink(missing_ok=True)
        return found[0]

    def contents(self) -> Iterator[tuple[BadPart, bytes]]:
        """
        Read the files of the pictures, one at a time.

        Raises
        ------
        RecipeError
            When a picture is missing or changed.

        """
        for part in self.all():
            path = self.folder / f'{part.digest}.png'
            try:
                content = path.read_bytes()
            except OSError as error:
                raise RecipeError(f'{printable(path)} cannot be read: {error.strerror}') from error
            if hashlib.sha256(content).hexdigest() != part.digest:
                raise RecipeError(
                    f'{printable(path)} is not the picture that {MUST_REJECT_LIST} names: it was '
                    'changed or damaged'
                )
            yield part, content

    def pictures(self) -> Iterator[tuple[BadPart, NDArray[np.uint8]]]:
        """
        Read the pictures, one at a time.

        Raises
        ------
        RecipeError
            When a picture is missing or changed, or is none.

        """
        for part, content in self.contents():
            try:
                yield part, decode_image(content)
            except FrameError as error:
                path = self.folder / f'{part.digest}.png'
                raise RecipeError(f'{printable(path)}: {error}') from error

    @staticmethod
    def list_of(parts: Iterable[BadPart]) -> str:
        """
        Give the list of parts as its file holds it.

        """
        return ''.join(f'{part.digest}  {part.name}\n' for part in parts)

    def _write(self, parts: Iterable[BadPart]) -> None:
        replace_file(self.folder / MUST_REJECT_LIST, self.list_of(parts))


@dataclass(frozen=True)
class MeasuredBadPart:
    """
    What a recipe measures of a confirmed bad part.

    Parameters
    ----------
    name : str
        What people call it.
    reason : str
        Name of the reason code of its verdict.
    measures : dict of str to dict of str to float
        By scorer and measure; empty when it cannot be measured, and is rejected for that.

    """

    name: str
    reason: str
    measures: dict[str, dict[str, float]]


def measured_bad_parts(
    recipe: Recipe, parts: BadParts, progress: Progress = no_progress
) -> list[MeasuredBadPart]:
    """
    Measure all confirmed bad parts by a recipe, whatever its limits.

    Raises
    ------
    RecipeError
        When the parts cannot be read.

    """
    total = len(parts.all())
    if not total:
        return []
    recipe_judge = RecipeJudge(recipe)
    measured = []
    for number, (part, image) in enumerate(parts.pictures(), 1):
        judgement, scores = recipe_judge.judge(Frame(image, 0, 0))
        is_measured = judgement.reason in _BY_LIMITS
        measured.append(
            MeasuredBadPart(
                part.name,
                judgement.reason.name,
                {score.scorer: dict(score.measures) for score in scores} if is_measured else {},
            )
        )
        progress(number, total, 'judging confirmed bad parts')
    return measured


def checked_by_limits(recipe: Recipe, measured: Iterable[MeasuredBadPart]) -> BadPartCheck:
    """
    Judge measured bad parts by the limits of a recipe.

    """
    table, combination = limit_table(recipe), combination_of(recipe)
    passed, unjudged, total = [], [], 0
    for part in measured:
        total += 1
        if part.reason == Reason.FRAME_INVALID.name:
            unjudged.append(part.name)
        elif part.measures and judge(part.measures, table, combination).verdict is Verdict.PASS:
            passed.append(part.name)
    return BadPartCheck(tuple(passed), tuple(unjudged), total)


def check_bad_parts(
    recipe: Recipe, parts: BadParts, progress: Progress = no_progress
) -> BadPartCheck:
    """
    Judge all confirmed bad parts by a recipe.

    Raises
    ------
    RecipeError
        When the parts cannot be read.

    """
    return checked_by_limits(recipe, measured_bad_parts(recipe, parts, progress))


def stored_bad_parts(parts: BadParts) -> list[StoredPart]:
    """
    Give confirmed bad parts as stored parts, still to be measured.

    """
    return [
        StoredPart(
            key=(part.name, 0),
            kind=Kind.KNOWN,
            is_rejected=True,
            reason='',
            measures={},
            recipe='',
            truth=Truth.BAD,
            picture=parts.folder / f'{part.digest}.png',
        )
        for part in parts.all()
    ]
