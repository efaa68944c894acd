# SPDX-License-Identifier: Apache-2.0
"""
Picture files stay within their bounds and leave their rows; exports open elsewhere.

"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_inspection.records.export import export_csv, export_parquet
from anomaly_inspection.records.mcap_export import export_mcap
from anomaly_inspection.records.picture_store import (
    Picture,
    picture_path,
    PictureBounds,
    PictureStore,
)
from anomaly_inspection.records.queries import newest_parts, PartFilter, pictures_of, whole_part
from anomaly_inspection.records.record import event, Record
from anomaly_inspection.records.store import RecordStore
from support.record_examples import MORNING_US, part, reject, SECOND_US, sorted_part, wait_until

DAY_US = 86_400 * SECOND_US


def opened(folder: Path, made: list[Record], **bounds: Any) -> PictureStore:
    given = {'most_bytes': 10**9, 'least_free_bytes': 0, 'keep_days': {}, **bounds}
    return PictureStore(folder, 'cell', PictureBounds(**given), recorded=made.append)


def put(store: PictureStore, number: int, kind: str, time_us: int = MORNING_US) -> None:
    pixels = np.random.default_rng(number).integers(0, 255, (50, 100), np.uint8)
    store.put(Picture('s', number, kind, 'frame', time_us, pixels.nbytes, lambda: pixels))
    # The store takes sixteen at a time.
    wait_until(lambda: not store._waiting)


def test_within_the_quota_rejects_stay_longest_and_every_file_that_goes_is_noted(
    tmp_path: Path,
) -> None:
    made: list[Record] = []
    store = opened(tmp_path, made, most_bytes=45_000)
    for number in range(1, 5):
        put(store, number, 'reject')
    for number in range(5, 9):
        put(store, number, 'sample')
    for number in range(9, 15):
        put(store, number, 'reject')
    store.close()
    left = {path.name for path in tmp_path.rglob('*.png')}
    assert store.n_bytes <= 45_000
    assert sum(path.stat().st_size for path in tmp_path.rglob('*.png')) == store.n_bytes
    gone = [each['path'] for each in made if each['table'] == 'picture_removals']
    written = [each['path'] for each in made if each['table'] == 'pictures']
    assert len(written) == 14
    assert {Path(path).name for path in set(written) - set(gone)} == left
    assert all(path.startswith('sample/') for path in gone[:4])
    assert not list(tmp_path.glob('sample/*/*'))


def test_old_pictures_go_by_the_age_of_their_kind_and_a_new_store_finds_what_is_there(
    tmp_path: Path,
) -> None:
    made: list[Record] = []
    store = opened(tmp_path, made)
    for days in range(5):
        put(store, 10 + days, 'reject', MORNING_US - days * DAY_US)
        put(store, 20 + days, 'sample', MORNING_US - days * DAY_US)
    store.close()
    store = opened(tmp_path, made, keep_days={'reject': 0.0, 'sample': 2.0, 'near': 1.0})
    store.close()
    assert store.n_bytes == sum(path.stat().st_size for path in tmp_path.rglob('*.png'))
    assert store.clean(MORNING_US) == 2
    assert len(list(tmp_path.glob('reject/*/*'))) == 5
    assert len(list(tmp_path.glob('sample/*/*'))) == 3


@pytest.mark.parametrize(
    'path', ['../../etc/passwd', '/etc/passwd', 'reject/2026-11-29/../x.png', 'reject', '']
)
def test_a_row_that_names_a_file_elsewhere_is_not_followed(tmp_path: Path, path: str) -> None:
    assert picture_path(tmp_path, path) is None


def test_a_part_is_shown_with_all_that_belongs_to_it(engine: Any, tmp_path: Path) -> None:
    made: list[Record] = []
    pictures = opened(tmp_path, made)
    pictures.put(
        Picture('session', 2, 'reject', 'frame', MORNING_US, 9, lambda: np.zeros((9, 9), np.uint8))
    )
    pictures.close()
    review = {'subject': 'part 2 of session', 'new': 'good'}
    RecordStore(engine).write(
        [
            *(part(number) for number in (1, 3)),
            reject(2, lot='L'),
            sorted_part(2, action='REJECTED'),
            *made,
            event(
                'review', 'review a reject', who='anna', data=review,
                cell='cell', sequence=1, time_us=MORNING_US + 9 * SECOND_US,
            ),
        ]
    )  # fmt: skip
    with engine.connect() as connection:
        row = whole_part(connection, 2)
        assert [each['action'] for each in row['sort_events']] == ['REJECTED']
        assert [each['gone'] for each in row['pictures']] == ['']
        assert [each['who'] for each in row['reviews']] == ['anna']
        found = newest_parts(connection, PartFilter(lot='L', verdict='REJECT'), 10)
        assert [each['sequence'] for each in found] == [2]
        span = PartFilter(MORNING_US + 2 * SECOND_US, MORNING_US + 3 * SECOND_US)
        assert [each['sequence'] for each in newest_parts(connection, span, 10)] == [2]
        assert [each['sequence'] for each in newest_parts(connection, PartFilter(), 2)] == [3, 2]


def test_a_picture_that_was_deleted_says_why(engine: Any, tmp_path: Path) -> None:
    made: list[Record] = []
    store = opened(tmp_path, made)
    put(store, 1, 'near', MORNING_US - 9 * DAY_US)
    store.make_room(1, 'the disk was full')
    store.close()
    RecordStore(engine).write(made)
    with engine.connect() as connection:
        assert [row['gone'] for row in pictures_of(connection, [('s', 1)])] == [
            'the disk was full'
        ]


def test_csv_holds_every_part_and_no_formula(engine: Any, tmp_path: Path) -> None:
    RecordStore(engine).write(
        [part(1, lot='=HYPERLINK("http://x")'), part(2, lot='a,"b"'), part(3, lot='Straße')]
    )
    with engine.connect() as connection:
        assert export_csv(connection, PartFilter(), tmp_path / 'x.csv') == 3
    with (tmp_path / 'x.csv').open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    assert [row['lot'] for row in rows] == ['\'=HYPERLINK("http://x")', 'a,"b"', 'Straße']
    assert [float(row['ssim.mean_ssim']) for row in rows] == [0.934] * 3
    assert [float(row['ssim.mean_ssim limit']) for row in rows] == [0.9] * 3


def test_parquet_holds_every_part_with_its_types(engine: Any, tmp_path: Path) -> None:
    parquet = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed')
    RecordStore(engine).write([part(1), reject(2, anomaly_score=None), part(3)])
    with engine.connect() as connection:
        assert export_parquet(connection, PartFilter(), tmp_path / 'x.parquet') == 3
    table = parquet.read_table(tmp_path / 'x.parquet').to_pydict()
    assert table['part'] == [1, 2, 3]
    assert table['anomaly_score'] == [0.25, None, 0.25]
    assert table['ssim.mean_ssim'] == [0.934] * 3
    assert round(table['time'][0].timestamp() * 1e6) == MORNING_US + SECOND_US


def test_mcap_opens_with_a_foreign_reader(engine: Any, tmp_path: Path) -> None:
    reader = pytest.importorskip('mcap_ros2.reader', reason='mcap-ros2-support is not installed')
    made: list[Record] = []
    store = opened(tmp_path / 'pictures', made)
    store.put(
        Picture('session', 2, 'reject', 'map', MORNING_US, 9, lambda: np.zeros((9, 9), np.uint8))
    )
    store.close()
    RecordStore(engine).write(
        [part(1), reject(2), *made, event('recipe', 'x', cell='cell', sequence=1, time_us=2)]
    )
    with engine.connect() as connection:
        n = export_mcap(connection, PartFilter(), tmp_path / 'x.mcap', tmp_path / 'pictures')
    found = list(reader.read_ros2_messages(str(tmp_path / 'x.mcap')))
    assert n == len(found) == 4
    by_topic = {message.channel.topic: message.ros_msg for message in found}
    assert set(by_topic) == {'/cell/part_record', '/cell/event_record', '/cell/map'}
    assert by_topic['/cell/part_record'].measures[0].limit == 0.9
    assert bytes(by_topic['/cell/map'].data).startswith(b'\x89PNG')
