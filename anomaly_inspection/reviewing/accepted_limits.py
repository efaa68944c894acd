# SPDX-License-Identifier: Apache-2.0
"""
Which limits an engineer has accepted, when and why: a line of JSON each, in the folder beside the
recipe.

::

    <recipe>.review/
      accepted.jsonl     one line for each acceptance and each undo, oldest first
      must_reject/       see `bad_parts`

"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, UTC
import json
import math
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import REVIEW_SUFFIX
from anomaly_inspection.state_file import read_small_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LONGEST_REASON = 500
_NAME = 'accepted.jsonl'
_MOST_KEPT = 500


@dataclass(frozen=True)
class AcceptedLimits:
    """
    One acceptance, or its undo.

    Parameters
    ----------
    when : str
        ISO 8601, UTC.
    who, why : str
        Of the engineer.
    old, new : dict of str to float
        The limits before and after, by 'scorer.measure'.
    is_undo : bool
        Whether it took an acceptance back.

    """

    when: str
    who: str
    why: str
    old: dict[str, float]
    new: dict[str, float]
    is_undo: bool = False


def review_folder_of(recipe: Path) -> Path:
    """
    Give the folder beside a recipe in which its reviews are kept.

    """
    return recipe.with_name(recipe.name + REVIEW_SUFFIX)


def checked_reason(why: str) -> str:
    """
    Give a reason as it is recorded.

    Raises
    ------
    SettingError
        When there is none, or it is too long.

    """
    why = printable(why.strip())
    if not 1 <= len(why) <= LONGEST_REASON:
        raise SettingError(f'the reason has {len(why)} characters; allowed: 1 to {LONGEST_REASON}')
    return why


class AcceptanceLog:
    """
    Reads and writes the acceptances of one recipe; the caller sees to it that one thread does so.

    Parameters
    ----------
    recipe : Path
        Folder of the recipe.

    """

    def __init__(self, recipe: Path) -> None:
        self._path = review_folder_of(recipe) / _NAME

    def all(self) -> list[AcceptedLimits]:
        """
        Give all, the oldest first; a line that cannot be read is left out.

        Raises
        ------
        StateError
            When the file cannot be read.

        """
        try:
            text = read_small_file(self._path)
        except (OSError, ValueError) as error:
            raise StateError(f'cannot read {printable(self._path)}: {_cause(error)}') from error
        found = []
        for line in (text or '').splitlines():
            try:
                found.append(_entry(json.loads(line)))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
        return found

    def last(self) -> AcceptedLimits | None:
        """
        Give the acceptance that can be undone; None = there is none.

        """
        entries = self.all()
        return entries[-1] if entries and not entries[-1].is_undo else None

    def add(
        self,
        who: str,
        why: str,
        old: Mapping[str, float],
        new: Mapping[str, float],
        *,
        is_undo: bool = False,
        now: datetime | None = None,
    ) -> AcceptedLimits:
        """
        Note an acceptance; returns when the disk has it.

        Raises
        ------
        StateError
            When the file cannot be written.

        """
        when = (now or datetime.now(UTC)).isoformat(timespec='seconds')
        entry = AcceptedLimits(when, printable(who), why, dict(old), dict(new), is_undo)
        lines = [json.dumps(asdict(one)) + '\n' for one in [*self.all(), entry][-_MOST_KEPT:]]
        try:
            replace_file(self._path, ''.join(lines))
        except (OSError, ValueError) as error:
            raise StateError(f'cannot write {printable(self._path)}: {_cause(error)}') from error
        return entry


def check_can_be_undone(last: AcceptedLimits | None, now: Mapping[str, float]) -> dict[str, float]:
    """
    Give the limits that an undo puts back.

    Parameters
    ----------
    last : AcceptedLimits or None
        The last acceptance.
    now : mapping of str to float
        The limits that act now.

    Raises
    ------
    SettingError
        When there is nothing to undo, or somebody has moved a limit since.

    """
    if last is None:
        raise SettingError('there is no acceptance to take back')
    moved = [
        name
        for name, value in last.new.items()
        if name not in now or not math.isclose(now[name], value, rel_tol=1e-9)
    ]
    if moved:
        raise SettingError(
            f'{", ".join(moved)} was moved since the acceptance of {last.when}; set it by hand'
        )
    return dict(last.old)


def _entry(content: Any) -> AcceptedLimits:
    return AcceptedLimits(
        when=str(content['when']),
        who=printable(str(content['who'])),
        why=printable(str(content['why'])),
        old={str(name): float(value) for name, value in content['old'].items()},
        new={str(name): float(value) for name, value in content['new'].items()},
        is_undo=content['is_undo'] is True,
    )


def _cause(error: Exception) -> str:
    return getattr(error, 'strerror', None) or str(error)
