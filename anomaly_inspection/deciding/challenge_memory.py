# SPDX-License-Identifier: Apache-2.0
"""
What of a challenge must outlive the decider's process.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class ChallengeMemory:
    """
    How a challenge stood; steady times are of one boot of the machine.

    Parameters
    ----------
    is_due, why_due, failure, has_passed, has_other_terms : bool, str, str, bool, bool
        How it stood.
    was_under_way : bool
        Whether a challenge was under way.
    next_due_s, blocked_from_s : float or None
        Steady clock, seconds; None = never.
    last_shift_change : datetime or None
        The latest that a challenge was asked for.

    """

    is_due: bool = False
    why_due: str = ''
    failure: str = ''
    has_passed: bool = False
    has_other_terms: bool = False
    was_under_way: bool = False
    next_due_s: float | None = None
    blocked_from_s: float | None = None
    last_shift_change: datetime | None = None

    def to_content(self) -> dict[str, Any]:
        """
        Give it as JSON can hold it.

        """
        shift = self.last_shift_change
        return vars(self) | {'last_shift_change': shift.isoformat() if shift else None}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> ChallengeMemory:
        """
        Make it again; raises KeyError, TypeError or ValueError where it is not whole.

        """
        shift = content['last_shift_change']
        memory = cls(
            **{
                **{item.name: content[item.name] for item in fields(cls)},
                'last_shift_change': None if shift is None else datetime.fromisoformat(shift),
            }
        )
        for name in ('is_due', 'has_passed', 'has_other_terms', 'was_under_way'):
            _check(name, content[name], bool)
        for name in ('why_due', 'failure'):
            _check(name, content[name], str)
        for name in ('next_due_s', 'blocked_from_s'):
            _check(name, content[name], (int, float, type(None)))
        return memory


def _check(name: str, value: object, kind: type | tuple[type, ...]) -> None:
    if not isinstance(value, kind):
        raise TypeError(f'{name} is {value!r}')
