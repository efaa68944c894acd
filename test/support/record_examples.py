# SPDX-License-Identifier: Apache-2.0
"""
Records as a recorder makes them.

"""

from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any

from anomaly_inspection.records.record import Record, record

#: 29 November 2026, 06:00 UTC.
MORNING_US = 1_795_932_000_000_000
SECOND_US = 1_000_000


def part(number: int, *, session: str = 'session', cell: str = 'cell', **changes: Any) -> Record:
    """
    Make the record of a passed part, one a second from the morning on.

    """
    columns: dict[str, Any] = {
        'time_us': MORNING_US + number * SECOND_US,
        'exposure_us': MORNING_US + number * SECOND_US - 40_000,
        'verdict': 'PASS',
        'reason': 'WITHIN_LIMITS',
        'known_as': '',
        'anomaly_score': 0.25,
        'worst_measure': 'ssim.mean_ssim',
        'comparison': 'ssim.mean_ssim 0.934 >= 0.900 -> PASS',
        'recipe': 'pump',
        'recipe_version': 3,
        'recipe_hash': '0123456789abcdef',
        'latency_s': 0.04,
        'order_name': '',
        'lot': '',
        'serial': '',
        'measures': {'ssim.mean_ssim': 0.934},
        'limits': {'ssim.mean_ssim': 0.9},
        'details': '',
        **changes,
    }
    return record('parts', cell=cell, source=session, sequence=number, **columns)


def reject(number: int, *, reason: str = 'LIMIT_EXCEEDED', **changes: Any) -> Record:
    """
    Make the record of a rejected part.

    """
    given = {'anomaly_score': 1.5, 'verdict': 'REJECT', 'reason': reason, **changes}
    return part(number, **given)


def sorted_part(number: int, *, session: str = 'session', **changes: Any) -> Record:
    """
    Make the record of what the gate did with a part.

    """
    columns: dict[str, Any] = {
        'time_us': MORNING_US + number * SECOND_US + 500_000,
        'action': 'PASSED',
        'outcome': 'CONFIRMED',
        'cause': 'DECISION',
        'detail': '',
        'firing_error_s': 0.001,
        **changes,
    }
    return record('sort_events', cell='cell', source=session, sequence=number, **columns)


def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """
    Wait for what another thread does.

    """
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, 'did not come true'
        time.sleep(0.01)
