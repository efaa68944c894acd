# SPDX-License-Identifier: Apache-2.0
"""
The daily times at which the shift changes, by the local wall clock.

"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
import re

from anomaly_inspection.errors import SettingError


class ShiftChanges:
    """
    The shift changes before and after a moment.

    Parameters
    ----------
    texts : iterable of str
        Local times, 'HH:MM', 00:00 to 23:59.

    Raises
    ------
    SettingError
        When a text is no such time.

    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._times = sorted({_time_of_day(text) for text in texts})

    def latest(self, local: datetime) -> datetime | None:
        """
        Give the latest change until `local`, that moment included; None = there are no changes.

        """
        moments = self._moments(local, (-1, 0))
        return max((moment for moment in moments if moment <= local), default=None)

    def next(self, local: datetime) -> datetime | None:
        """
        Give the first change after `local`; None = there are no changes.

        """
        moments = self._moments(local, (0, 1))
        return min((moment for moment in moments if moment > local), default=None)

    def _moments(self, local: datetime, days: tuple[int, ...]) -> list[datetime]:
        return [
            datetime.combine(local.date() + timedelta(days=day), shift)
            for day in days
            for shift in self._times
        ]


def _time_of_day(text: str) -> time:
    match = re.fullmatch(r'(\d\d):(\d\d)', text, re.ASCII)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise SettingError(
            f"shift change {text!r} is refused: allowed is 'HH:MM', local time, 00:00 to 23:59"
        )
    return time(int(match[1]), int(match[2]))
