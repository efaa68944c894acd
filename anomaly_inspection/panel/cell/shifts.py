# SPDX-License-Identifier: Apache-2.0
"""
Shifts by the clock on the wall of the plant, whatever the clock of the computer or of a browser.

"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
import re
import zoneinfo

from anomaly_inspection.errors import SettingError


@dataclass(frozen=True)
class Shift:
    """
    One shift of one day.

    Parameters
    ----------
    name : str
        As the site calls it; '' = it has no name.
    began_s : float
        Seconds since 1970.

    """

    name: str
    began_s: float


class ShiftTable:
    """
    Tells the shift of a moment.

    Parameters
    ----------
    texts : iterable of str
        'HH:MM NAME' in local time; empty = a shift is a day. The name may be missing.
    time_zone : str
        'Europe/Berlin'; '' = that of the computer.

    Raises
    ------
    SettingError
        When a text is no such time, two shifts begin together, or there is no such time zone.

    """

    def __init__(self, texts: Iterable[str] = (), time_zone: str = '') -> None:
        self._shifts: dict[time, str] = {}
        for text in texts:
            began, name = _parsed(text)
            if began in self._shifts:
                raise SettingError(f'shift {text!r} is refused: another shift begins then')
            self._shifts[began] = name
        if not self._shifts:
            self._shifts[time(0)] = ''
        self._zone = _zone(time_zone)

    def shift_at(self, moment_s: float) -> Shift:
        """
        Give the shift of a moment, in seconds since 1970.

        A time that daylight saving skips is taken as the moment when the clock is put forward.

        """
        today = self.local(moment_s).date()
        began = (
            Shift(name, self._instant(datetime.combine(today + timedelta(days=day), clock)))
            for day in (-1, 0)
            for clock, name in self._shifts.items()
        )
        past = [shift for shift in began if shift.began_s <= moment_s]
        return max(past, key=lambda shift: shift.began_s)

    def local(self, moment_s: float) -> datetime:
        """
        Give a moment by the clock of the plant.

        """
        return datetime.fromtimestamp(moment_s, self._zone)

    def _instant(self, local: datetime) -> float:
        # Without a zone, Python takes that of the computer.
        return local.replace(tzinfo=self._zone).timestamp()


def _parsed(text: str) -> tuple[time, str]:
    match = re.fullmatch(r'(\d\d):(\d\d)(?: +(\S.{0,30}))?', text.strip(), re.ASCII | re.DOTALL)
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise SettingError(
            f"shift {text!r} is refused: allowed is 'HH:MM NAME', local time, 00:00 to 23:59, the "
            'name up to 31 characters'
        )
    return time(int(match[1]), int(match[2])), match[3] or ''


def _zone(name: str) -> tzinfo | None:
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingError(
            f"time_zone = {name!r} is refused: allowed is a name such as 'Europe/Berlin', or '' "
            'for that of the computer'
        ) from error
