# SPDX-License-Identifier: Apache-2.0
"""
Counts, line stops and OEE, and the report that shows them.

"""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any
import zoneinfo

import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.records.counts import buckets, count_lines, names_counted
from anomaly_inspection.records.period import moment_us, Period
from anomaly_inspection.records.picture_store import Picture, PictureBounds, PictureStore
from anomaly_inspection.records.record import event, Record
from anomaly_inspection.records.report import report_page, ReportSettings
from anomaly_inspection.records.report_data import gather, PChart, slice_minutes
from anomaly_inspection.records.store import RecordStore
from support.record_examples import MORNING_US, part, reject, SECOND_US, sorted_part

HOUR = Period(MORNING_US, MORNING_US + 3600 * SECOND_US)


def line_stop(second: int, *, active: bool, reason: str = 'jam') -> Record:
    return event(
        'line_stop',
        reason if active else 'the line may run',
        cell='cell',
        sequence=second,
        time_us=MORNING_US + second * SECOND_US,
        data={'active': active},
    )


def test_good_rejected_challenge_and_unsorted_parts_are_counted_apart(engine: Any) -> None:
    RecordStore(engine).write(
        [
            *(part(number) for number in range(1, 91)),
            *(reject(number) for number in range(91, 98)),
            *(reject(number, reason='TIMEOUT') for number in range(98, 101)),
            part(101, known_as='good'),
            reject(102, known_as='bad', reason='CHALLENGE_PART'),
            part(103, known_as='bad'),
            sorted_part(1),
            sorted_part(2, outcome='FAILED', cause='GATE_FAILED'),
            sorted_part(3, action='REJECTED', cause='LATE_DECISION'),
        ]
    )
    with engine.connect() as connection:
        found = count_lines(connection, HOUR)
    assert (found.good, found.rejected, found.parts) == (90, 10, 100)
    assert found.by_reason == {'LIMIT_EXCEEDED': 7, 'TIMEOUT': 3}
    assert (found.known_right, found.known_wrong) == (2, 1)
    assert found.unsorted == 2
    assert found.quality == 0.9


def test_line_stops_are_cut_to_the_period_and_give_availability(engine: Any) -> None:
    RecordStore(engine).write(
        [
            *(part(number) for number in range(1, 101)),
            line_stop(-600, active=True, reason='began before'),
            line_stop(360, active=False),
            line_stop(1000, active=True),
            # The reason changes while it stands: one stop.
            line_stop(1060, active=True, reason='jam and dust'),
            line_stop(1090, active=False),
            line_stop(3330, active=True, reason='goes on'),
        ]
    )
    with engine.connect() as connection:
        found = count_lines(connection, HOUR)
    assert [(stop.reason, stop.length_s) for stop in found.stops] == [
        ('began before', 360.0),
        ('jam', 90.0),
        ('goes on', 270.0),
    ]
    assert [stop.began_before for stop in found.stops] == [True, False, False]
    assert [stop.lasts for stop in found.stops] == [False, False, True]
    assert found.availability == pytest.approx(0.8)
    # 100 parts in 2880 s that could have been 144.
    assert found.performance(0.05) == pytest.approx(100 / 144)
    assert found.oee(0.05) == pytest.approx(0.8 * 100 / 144 * 1.0)
    assert math.isnan(found.oee(math.nan))


def test_counts_by_lot_add_up_to_the_whole(engine: Any) -> None:
    lots = ('A', 'B', '', "'; DROP TABLE parts; --")
    RecordStore(engine).write([part(number, lot=lots[number % 4]) for number in range(1, 42)])
    with engine.connect() as connection:
        names = names_counted(connection, 'lot', HOUR)
        found = {
            name: count_lines(connection, HOUR, exactly={'lot': name}).parts for name in names
        }
        whole = count_lines(connection, HOUR).parts
    assert set(names) == set(lots)
    assert sum(found.values()) == whole == 41


def test_slices_of_time_hold_every_part_once(engine: Any) -> None:
    RecordStore(engine).write([part(number) for number in range(3600)])
    with engine.connect() as connection:
        slices = buckets(connection, HOUR, 10)
    assert [each.parts for each in slices] == [600] * 6
    assert slices[1].since_us == MORNING_US + 600 * SECOND_US


@pytest.mark.parametrize(
    ('text', 'zone', 'expected'),
    [
        ('2026-11-29T06:00:00Z', 'Europe/Berlin', MORNING_US),
        ('2026-11-29 07:00', 'Europe/Berlin', MORNING_US),
        ('2026-11-29 11:30', 'Asia/Kolkata', MORNING_US),
        ('08:00', 'Europe/Berlin', MORNING_US + 3600 * SECOND_US),
        ('30min', 'Europe/Berlin', MORNING_US + 1800 * SECOND_US),
        ('today', 'UTC', MORNING_US - 6 * 3600 * SECOND_US),
    ],
)
def test_times_are_read_by_the_clock_of_the_plant(text: str, zone: str, expected: int) -> None:
    now_us = MORNING_US + 3600 * SECOND_US
    assert moment_us(text, zoneinfo.ZoneInfo(zone), now_us) == expected


@pytest.mark.parametrize('text', ['', 'noon', '25:00', '2026-13-01', '99999999d', '-1h', '9' * 50])
def test_other_times_are_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(SettingError, match='allowed are'):
        moment_us(text, None, MORNING_US)


def test_a_p_chart_marks_what_chance_does_not_explain() -> None:
    from anomaly_inspection.records.counts import Bucket

    chart = PChart.of([Bucket(i, 98, 2) for i in range(20)] + [Bucket(20, 88, 12)])
    assert [point.is_out for point in chart.points] == [False] * 20 + [True]
    centre = 52 / 2100
    assert chart.centre == pytest.approx(centre)
    assert chart.points[0].upper == pytest.approx(
        centre + 3 * math.sqrt(centre * (1 - centre) / 100)
    )
    assert chart.points[0].lower == 0.0
    assert PChart.of([]).points == ()


@pytest.mark.parametrize('hours', [0.01, 1, 8, 24, 24 * 7, 24 * 365])
def test_every_period_has_a_readable_number_of_slices(hours: float) -> None:
    period = Period(MORNING_US, MORNING_US + round(hours * 3600) * SECOND_US)
    n = period.length_s / 60 / slice_minutes(period)
    assert n <= 53
    assert n >= 5 or hours < 0.1


def page_of(engine: Any, folder: Path) -> str:
    settings = ReportSettings('Shift report', '', zoneinfo.ZoneInfo('UTC'), math.nan, MORNING_US)
    with engine.connect() as connection:
        return report_page(gather(connection, HOUR), settings, folder)


def test_a_report_escapes_whatever_comes_from_outside(engine: Any, tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>{{ 7 * 7 }}" onload="x'
    RecordStore(engine).write(
        [
            *(part(number, recipe=evil, lot=evil) for number in range(1, 20)),
            reject(20, reason=evil, lot=evil, serial=evil, comparison=evil),
            event('limit_change', evil, who=evil, cell='cell', sequence=1, time_us=MORNING_US + 1),
            line_stop(10, active=True, reason=evil),
        ]
    )
    page = page_of(engine, tmp_path)
    assert '<script' not in page
    assert 'alert(1)' in page
    assert '{{ 7 * 7 }}' in page
    assert 'onload="x' not in page
    # It loads nothing from elsewhere.
    assert 'http://' not in page.replace('http://www.w3.org/', '')
    assert "default-src 'none'" in page


def drift(number: int, state: str, **data: Any) -> Record:
    return event(
        'drift',
        f'the false-reject promise of pump is {state} <b>',
        cell='cell',
        sequence=number,
        time_us=MORNING_US + number * SECOND_US,
        data={'state': state, **data},
    )


def test_a_report_shows_drift_with_its_picture(engine: Any, tmp_path: Path) -> None:
    jpeg = base64.b64encode(b'\xff\xd8\xff picture').decode()
    RecordStore(engine).write(
        [
            drift(-20, 'valid'),
            drift(5, 'void', picture=jpeg),
            drift(6, 'void', picture='no picture"'),
            drift(7, 'valid'),
        ]
    )

    page = page_of(engine, tmp_path)

    assert page.count('the false-reject promise of pump is void &lt;b&gt;') == 2
    assert page.count('the false-reject promise of pump is valid') == 1
    assert page.count('<img class="drift"') == 1
    assert jpeg in page


def test_a_drift_that_lasts_from_the_shift_before_is_in_the_report(
    engine: Any, tmp_path: Path
) -> None:
    RecordStore(engine).write([drift(-20, 'valid'), drift(-10, 'void')])
    assert 'is void' in page_of(engine, tmp_path)

    RecordStore(engine).write([drift(-5, 'valid')])
    assert 'Drift' not in page_of(engine, tmp_path)


def test_a_report_without_a_single_part_says_so(engine: Any, tmp_path: Path) -> None:
    page = page_of(engine, tmp_path)
    assert 'No production part was decided in this time.' in page
    assert 'The line was never stopped.' in page


def test_a_report_shows_the_worst_reject_beside_the_nearest_good_part(
    engine: Any, tmp_path: Path
) -> None:
    evil = '<script>alert(1)</script>'
    explanation = {'text': f'Difference of 20 x 20 px {evil}', 'region': [30, 20, 50, 40]}
    made: list[Record] = []
    bounds = PictureBounds(10**9, 0, {})
    store = PictureStore(tmp_path, 'cell', bounds, recorded=made.append)
    for shows, pixels in (
        ('frame', np.full((120, 160, 3), 90, np.uint8)),
        ('good', np.full((96, 96, 3), 100, np.uint8)),
    ):
        picture = Picture(
            'session', 3, 'reject', shows, MORNING_US, 0, lambda pixels=pixels: pixels
        )
        store.put(picture)
    store.close()
    RecordStore(engine).write(
        [*made, part(2), reject(3, details={'explanation': explanation}), reject(4, details='')]
    )
    page = page_of(engine, tmp_path)
    assert page.count('the nearest good part') == 1
    # The frame, what was found in it, and the good part.
    assert page.count('data:image/jpeg;base64,') == 3
    assert 'Difference of 20 x 20 px &lt;script&gt;' in page
    # A reject of an older version has only its comparison.
    assert page.count('ssim.mean_ssim 0.934') == 1
