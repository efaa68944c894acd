# SPDX-License-Identifier: Apache-2.0
"""
The steady clock across processes: whose it is, and when a part or a frame was exposed on ours.

"""

from __future__ import annotations

from functools import cache
from pathlib import Path

# A clock read by another core may be this far ahead.
_LONGEST_LEAD_NS = 1_000_000
_LONGEST_AGE_NS = 60_000_000_000
_LONGEST_FRAME_AGE_NS = 10_000_000_000


@cache
def steady_clock_id() -> str:
    """
    Name the kernel whose CLOCK_MONOTONIC this process reads: its boot id, '' when unreadable.

    """
    try:
        return Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()
    except (OSError, UnicodeDecodeError):
        return ''


def exposure_on_this_clock(
    exposure_steady_ns: int, clock_id: str, age_s: float, received_ns: int
) -> int:
    """
    Say when a part was exposed, on this machine's steady clock.

    Parameters
    ----------
    exposure_steady_ns : int
        The exposure on the publisher's steady clock, nanoseconds.
    clock_id : str
        Which clock that is, '' = unknown.
    age_s : float
        From the exposure to the publication, seconds. One that is not within 0..60 counts as 0.
    received_ns : int
        When the message arrived, own CLOCK_MONOTONIC, nanoseconds.

    Returns
    -------
    int
        Own CLOCK_MONOTONIC, nanoseconds: `exposure_steady_ns` itself when both clocks are one and
        it lies at most 1 ms after and 60 s before `received_ns`; else `received_ns` less the age,
        which is late by the time the message travelled.

    """
    is_plausible = -_LONGEST_LEAD_NS <= received_ns - exposure_steady_ns <= _LONGEST_AGE_NS
    if clock_id and clock_id == steady_clock_id() and is_plausible:
        return exposure_steady_ns
    # NaN fails the comparison as well.
    age_ns = round(age_s * 1e9) if 0 <= age_s <= _LONGEST_AGE_NS / 1e9 else 0
    return received_ns - age_ns


def exposure_of_stamp(stamp_ns: int, wall_now_ns: int, steady_now_ns: int) -> tuple[int, bool]:
    """
    Say when a frame was exposed, on this machine's steady clock.

    Parameters
    ----------
    stamp_ns : int
        Exposure on the wall clock, nanoseconds since the epoch.
    wall_now_ns, steady_now_ns : int
        When the frame arrived, on both clocks of this machine, nanoseconds.

    Returns
    -------
    int
        CLOCK_MONOTONIC, nanoseconds, never after the arrival.
    bool
        False when the stamp cannot be of this wall clock: it lies more than 1 ms after or 10 s
        before the arrival. Then the exposure is given as the arrival, which is late by the time
        that the frame travelled.

    """
    age_ns = wall_now_ns - stamp_ns
    is_plausible = -_LONGEST_LEAD_NS <= age_ns <= _LONGEST_FRAME_AGE_NS
    return steady_now_ns - (max(0, age_ns) if is_plausible else 0), is_plausible
