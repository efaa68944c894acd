# SPDX-License-Identifier: Apache-2.0
"""
Steady clock: the exact exposure on one machine, the age across machines.

"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from anomaly_inspection import steady_clock
from anomaly_inspection.steady_clock import (
    exposure_of_stamp,
    exposure_on_this_clock,
    steady_clock_id,
)

RECEIVED_NS = 5_000_000_000_000
OURS = 'a-clock-of-ours'


@pytest.fixture(autouse=True)
def _own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_clock, 'steady_clock_id', lambda: OURS)


@pytest.mark.parametrize('lead_ns', [1_000_000, 0, -1, -7_123_457, -60_000_000_000])
def test_exact_number_on_the_same_clock(lead_ns: int) -> None:
    exposure_ns = RECEIVED_NS + lead_ns
    assert exposure_on_this_clock(exposure_ns, OURS, 0.5, RECEIVED_NS) == exposure_ns


@pytest.mark.parametrize('lead_ns', [1_000_001, -60_000_000_001, 2**62, -(2**62)])
def test_implausible_number_is_not_believed(lead_ns: int) -> None:
    exposure_ns = exposure_on_this_clock(RECEIVED_NS + lead_ns, OURS, 0.5, RECEIVED_NS)
    assert exposure_ns == RECEIVED_NS - 500_000_000


@pytest.mark.parametrize('clock_id', ['', 'of-another-machine'])
def test_age_counts_on_another_clock(clock_id: str) -> None:
    exposure_ns = exposure_on_this_clock(RECEIVED_NS - 1, clock_id, 0.002, RECEIVED_NS)
    assert exposure_ns == RECEIVED_NS - 2_000_000


def test_unknown_clock_is_never_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_clock, 'steady_clock_id', lambda: '')
    assert exposure_on_this_clock(RECEIVED_NS - 1, '', 0.0, RECEIVED_NS) == RECEIVED_NS


@pytest.mark.parametrize('age_s', [math.nan, math.inf, -0.1, 60.1])
def test_impossible_age_counts_as_none(age_s: float) -> None:
    assert exposure_on_this_clock(0, '', age_s, RECEIVED_NS) == RECEIVED_NS


def test_clock_is_named_by_the_kernel() -> None:
    steady_clock_id.cache_clear()
    boot_id = Path('/proc/sys/kernel/random/boot_id')
    expected = boot_id.read_text(encoding='ascii').strip() if boot_id.exists() else ''
    assert steady_clock_id() == expected


def test_unreadable_clock_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError('no')

    monkeypatch.setattr(Path, 'read_text', refuse)
    steady_clock_id.cache_clear()
    assert steady_clock_id() == ''
    steady_clock_id.cache_clear()


WALL_NS = 1_800_000_000_000_000_000


@pytest.mark.parametrize(
    ('age_ns', 'taken_ns', 'is_plausible'),
    [
        (0, 0, True),
        (25_000_000, 25_000_000, True),
        (10_000_000_000, 10_000_000_000, True),
        (-1_000_000, 0, True),
        (-1_000_001, 0, False),
        (10_000_000_001, 0, False),
        (WALL_NS, 0, False),
    ],
)
def test_a_stamp_of_the_wall_clock_becomes_an_exposure_of_the_steady_clock(
    age_ns: int, taken_ns: int, is_plausible: bool
) -> None:
    assert exposure_of_stamp(WALL_NS - age_ns, WALL_NS, RECEIVED_NS) == (
        RECEIVED_NS - taken_ns,
        is_plausible,
    )
