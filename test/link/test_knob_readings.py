# SPDX-License-Identifier: Apache-2.0
"""
The newest reading of each potentiometer: what counts, and how old it is.

"""

from __future__ import annotations

import pytest

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.knob_readings import age_s, KnobReading, KnobReadings
from anomaly_inspection.link.legacy import LegacyReading
from anomaly_inspection.link.protocol import (
    LARGEST_RAW,
    LARGEST_SMOOTHED,
    Reading,
    Readings,
    UPTIMES,
)


def line(channel: int, share: float, presses: int = 0, uptime_ms: int = 1000) -> Readings:
    raw, smoothed = round(share * LARGEST_RAW), round(share * LARGEST_SMOOTHED)
    return Readings(uptime_ms, presses, False, (Reading(channel, raw, smoothed),))


def test_channels_of_several_lines_stand_side_by_side_until_the_connection_changes() -> None:
    readings = KnobReadings({})
    readings.take(line(34, 0.0), 1.0, connection=1)
    readings.take(line(39, 1.0, presses=2), 2.0, connection=1)
    assert readings.state is not None
    assert {n: r.smoothed for n, r in readings.state.readings.items()} == {34: 0.0, 39: 1.0}
    assert (readings.state.received_s, readings.state.presses) == (2.0, 2)
    readings.take(line(34, 1.0), 3.0, connection=2)
    assert list(readings.state.readings) == [34]


def test_a_line_of_the_old_system_counts_from_the_second_that_agrees_and_keeps_the_presses() -> (
    None
):
    readings = KnobReadings({34: 4095.0})
    readings.take(line(39, 0.5, presses=3), 1.0, connection=1)
    readings.take_legacy(LegacyReading(34, 2000.0), 2.0, connection=1)
    assert readings.state is not None
    assert 34 not in readings.state.readings
    readings.take_legacy(LegacyReading(34, 2001.0), 3.0, connection=1)
    assert readings.state.readings[34] == KnobReading(2001 / 4095, 2001 / 4095, 3.0, None)
    assert readings.state.presses == 3


def unknown_clock(now_s: float) -> float:
    raise LinkError('unknown')


@pytest.mark.parametrize(
    ('uptime_ms', 'clock', 'expected_s'),
    [
        (None, unknown_clock, 0.5),
        (1000, unknown_clock, 0.5),
        (1000, lambda _: 1800.0, 0.8),
        # Never younger than the time since the line arrived.
        (1000, lambda _: 1100.0, 0.5),
        (UPTIMES - 300, lambda _: 500.0, 0.8),
    ],
)
def test_the_age_is_that_of_the_reading_not_of_the_line(
    uptime_ms: int | None, clock: object, expected_s: float
) -> None:
    reading = KnobReading(0.5, 0.5, 10.0, uptime_ms)
    assert age_s(reading, 10.5, clock) == pytest.approx(expected_s)  # type: ignore[arg-type]
