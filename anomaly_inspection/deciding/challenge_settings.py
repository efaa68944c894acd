# SPDX-License-Identifier: Apache-2.0
"""
The settings of a challenge: which parts are known, and when they must be shown.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.deciding.part_decision import KnownAs
from anomaly_inspection.deciding.shift_changes import ShiftChanges
from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_range

# How the text of a known part begins.
KNOWN_AS = {'good': KnownAs.GOOD, 'bad': KnownAs.BAD}


@dataclass(frozen=True)
class ChallengeSettings:
    """
    Which parts are known, and when they must be shown.

    Parameters
    ----------
    parts : tuple of str
        The known parts in their order, each 'good ...' or 'bad ...', at least one of each; empty =
        no challenges.
    at_start : bool
        Whether one is due at each start, and whenever another recipe comes into force; without
        grace.
    shift_changes : tuple of str
        Local times at which one becomes due, 'HH:MM', 00:00 to 23:59.
    every_min : float
        One becomes due so long after the last was passed, minutes; 0 = never.
    grace_min : float
        From the time one becomes due until production is blocked, minutes, 0 or more.
    timeout_min : float
        A challenge that is under way for so long has failed, minutes, above 0.

    """

    parts: tuple[str, ...] = ()
    at_start: bool = True
    shift_changes: tuple[str, ...] = ()
    every_min: float = 0.0
    grace_min: float = 0.0
    timeout_min: float = 10.0

    def __post_init__(self) -> None:
        kinds = set()
        for part in self.parts:
            kind, _, name = part.partition(' ')
            if kind not in KNOWN_AS or not name.strip():
                raise SettingError(
                    f'challenge part {part!r} is refused: it must begin with '
                    "'good ' or 'bad ' and then name the part"
                )
            kinds.add(kind)
        if len(kinds) == 1:
            missing = 'bad' if 'good' in kinds else 'good'
            raise SettingError(
                f'challenge parts {list(self.parts)} are refused: at least one good and one bad '
                f'part must be known, a {missing} one is missing'
            )
        ShiftChanges(self.shift_changes)
        for name in ('every_min', 'grace_min'):
            check_range(name, getattr(self, name), 0, unit='min')
        check_range('timeout_min', self.timeout_min, 0, unit='min', is_open=True)
