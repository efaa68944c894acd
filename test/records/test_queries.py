# SPDX-License-Identifier: Apache-2.0
"""
Queries that the counts of the minutes and an index shorten find what a search of all rows finds.

"""

from __future__ import annotations

from dataclasses import replace
import itertools
import random
from typing import Any

import pytest
import sqlalchemy as sa

from anomaly_inspection.records.queries import newest_parts, PartFilter, worst_parts
from anomaly_inspection.records.record import Record
from anomaly_inspection.records.store import RecordStore
from support.record_examples import MORNING_US, part, reject, SECOND_US


def some_parts() -> list[Record]:
    """
    Parts of an hour and a half with stretches of several recipes, orders, lots and cells.

    """
    rng = random.Random(5)
    made = []
    for number in range(1, 400):
        second = 13 * number
        common = {
            'time_us': MORNING_US + second * SECOND_US + rng.randrange(SECOND_US),
            'recipe': 'rare' if number in (3, 200, 201, 390) else f'pump{second // 1500}',
            'order_name': f'A {second // 900}',
            'lot': f'L-{second // 600}',
            'known_as': 'bad' if number % 41 == 0 else '',
            'cell': 'east' if number % 3 else 'west',
            'session': 'east' if number % 3 else 'west',
        }
        if number % 5 == 0:
            score = None if number % 25 == 0 else round(rng.uniform(1, 9), 3)
            made.append(reject(number, anomaly_score=score, **common))
        else:
            made.append(part(number, **common))
    return made


FILTERS = [
    PartFilter(),
    *(PartFilter(recipe=name) for name in ('rare', 'pump1', 'none')),
    *(PartFilter(recipe='rare', verdict=verdict) for verdict in ('PASS', 'REJECT')),
    PartFilter(order_name='A 2', cell='west'),
    PartFilter(cell='east', known=True),
    PartFilter(known=False, verdict='REJECT'),
    PartFilter(lot='L-3', known=False),
    PartFilter(lot='none'),
    PartFilter(recipe='pump2', reason='LIMIT_EXCEEDED'),
]
# The ends lie within minutes, and on the edge of one.
TIMES = [
    (None, None),
    (MORNING_US + 1111 * SECOND_US, MORNING_US + 2777 * SECOND_US),
    (None, MORNING_US + 2640 * SECOND_US),
    (MORNING_US + 4990 * SECOND_US, None),
]


@pytest.fixture
def filled(engine: Any) -> Any:
    RecordStore(engine).write(some_parts())
    with engine.connect() as connection:
        yield connection


def matching(wanted: PartFilter) -> list[Record]:
    names = ('verdict', 'reason', 'recipe', 'order_name', 'lot', 'cell')
    return [
        each
        for each in some_parts()
        if all(not getattr(wanted, name) or each[name] == getattr(wanted, name) for name in names)
        and (wanted.known is None or bool(each['known_as']) == wanted.known)
        and (wanted.since_us is None or each['time_us'] >= wanted.since_us)
        and (wanted.until_us is None or each['time_us'] < wanted.until_us)
    ]


def test_the_newest_parts_of_every_filter_are_found(filled: Any) -> None:
    for given, (since_us, until_us) in itertools.product(FILTERS, TIMES):
        wanted = replace(given, since_us=since_us, until_us=until_us)
        expected = sorted(matching(wanted), key=lambda each: -each['time_us'])
        for most in (1, 3, 50, 1000):
            found = newest_parts(filled, wanted, most)
            assert [row['sequence'] for row in found] == [
                each['sequence'] for each in expected[:most]
            ], (wanted, most)


def test_the_worst_rejects_of_every_filter_are_found_those_not_measured_last(filled: Any) -> None:
    for given, (since_us, until_us) in itertools.product(FILTERS, TIMES):
        wanted = replace(given, since_us=since_us, until_us=until_us)
        rejects = [
            each
            for each in matching(wanted)
            if each['verdict'] == 'REJECT' and not each['known_as']
        ]
        rejects.sort(
            key=lambda each: (
                each['anomaly_score'] is None,
                -(each['anomaly_score'] or 0),
                -each['time_us'],
            )
        )
        for most in (1, 6, 1000):
            found = worst_parts(filled, wanted, most)
            assert [row['sequence'] for row in found] == [
                each['sequence'] for each in rejects[:most]
            ], (wanted, most)


def test_the_worst_rejects_are_found_by_their_index(engine: Any) -> None:
    if engine.dialect.name != 'sqlite':
        pytest.skip('a planner with statistics takes what costs least, here the whole table')
    asked = []
    sa.event.listen(
        engine, 'before_cursor_execute', lambda *given: asked.append((given[2], given[3]))
    )
    with engine.connect() as connection:
        worst_parts(connection, PartFilter(since_us=MORNING_US, until_us=MORNING_US + 1), 6)
        statement, values = asked[0]
        plan = connection.exec_driver_sql(f'EXPLAIN QUERY PLAN {statement}', values).all()
    words = ' '.join(str(row[3]) for row in plan)
    assert 'ix_parts_worst' in words
    assert 'TEMP B-TREE' not in words
