# SPDX-License-Identifier: Apache-2.0
"""
Times as people write them, in the time zone of the plant.

"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
import re
import zoneinfo

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import shown

_AGO = re.compile(r'(\d{1,6}) ?(min|h|d)')
_UNITS = {'min': 60, 'h': 3600, 'd': 86400}


@dataclass(frozen=True)
class Period:
    """
    From one moment to another.

    Parameters
    ----------
    since_us, until_us : int
        Microseconds since 1970, UTC; the end does not belong to it.

    """

    since_us: int
    until_us: int

    @property
    def length_s(self) -> float:
        """
        How long it is, seconds.

        """
        return (self.until_us - self.since_us) / 1e6


def zone_of(name: str) -> tzinfo | None:
    """
    Give a time zone by its name; None = that of the computer.

    Raises
    ------
    SettingError
        When there is none of that name.

    """
    if not name:
        return None
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingError(
            f"time zone {shown(name)} is refused: allowed is a name such as 'Europe/Berlin'"
        ) from error


def moment_us(text: str, zone: tzinfo | None, now_us: int) -> int:
    """
    Read a moment.

    Parameters
    ----------
    text : str
        '2026-11-29', '2026-11-29 14:00', '2026-11-29T14:00:00+01:00', '14:00' (today), '8h',
        '30min' or '7d' (ago), 'today', 'yesterday' or 'now'.
    zone : tzinfo or None
        The zone of what does not name one; None = that of the computer.
    now_us : int
        Now, microseconds since 1970.

    Raises
    ------
    SettingError
        When it is none of these.

    """
    text = text.strip()
    now = datetime.fromtimestamp(now_us / 1e6, zone)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {'now': now, 'today': today, 'yesterday': today - timedelta(days=1)}
    if text in words:
        return _us(words[text])
    if ago := _AGO.fullmatch(text):
        return now_us - int(ago[1]) * _UNITS[ago[2]] * 1_000_000
    if clock := re.fullmatch(r'([01]\d|2[0-3]):([0-5]\d)', text):
        return _us(today.replace(hour=int(clock[1]), minute=int(clock[2])))
    try:
        moment = datetime.fromisoformat(text)
        return _us(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError, OSError) as error:
        raise SettingError(
            f"time {shown(text)} is refused: allowed are '2026-11-29', '2026-11-29 14:00', "
            "'2026-11-29T14:00:00+01:00', '14:00', '8h', '30min', '7d', 'today' and 'yesterday'"
        ) from error


def local_text(time_us: int, zone: tzinfo | None, form: str = '%Y-%m-%d %H:%M:%S') -> str:
    """
    Write a moment by the clock of the plant.

    """
    # A moment of the computer's own clock names its zone only after `astimezone`.
    return datetime.fromtimestamp(time_us / 1e6, zone).astimezone(zone).strftime(form)


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6)
