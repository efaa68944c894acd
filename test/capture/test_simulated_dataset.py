# SPDX-License-Identifier: Apache-2.0
"""
Data sets of the simulated line: what is written is what was rendered, and all of it is labelled.

"""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.simulated_dataset import write_dataset
from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.errors import SettingError

LINE = SimulatedLineSettings(seed=9, width_px=320, height_px=240, defect_rate=0.5)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp('simulated') / 'line'
    write_dataset(folder, LINE, train_parts=5, test_parts=12, pitch_s=0.25)
    return folder


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline='') as lines:
        return list(csv.DictReader(lines))


def test_every_image_is_labelled_and_every_label_has_its_image(dataset: Path) -> None:
    labels = rows(dataset / 'labels.csv')
    listed = {row['file'] for row in labels} | {row['mask'] for row in labels if row['mask']}
    there = {path.relative_to(dataset).as_posix() for path in dataset.rglob('*.png')}
    assert listed == there
    assert len(labels) == 17
    assert {row['part_present'] for row in labels} == {'yes'}


def test_training_parts_are_good_and_are_no_test_parts(dataset: Path) -> None:
    labels = rows(dataset / 'labels.csv')
    train = [row for row in labels if row['split'] == 'train']
    test = [row for row in labels if row['split'] == 'test']
    assert (len(train), len(test)) == (5, 12)
    assert {row['label'] for row in train} == {'good'}
    assert {row['label'] for row in test} == {'good', 'defect'}
    poses = {(row['x_px'], row['y_px']) for row in labels}
    assert len(poses) == 17


def test_files_and_labels_are_those_of_the_line(dataset: Path) -> None:
    for row in rows(dataset / 'labels.csv'):
        split, defect, name = row['file'].split('/')
        part = render_part(LINE, int(Path(name).stem), with_defect=split == 'test')
        assert (row['split'], row['defect']) == (split, defect) == (split, part.truth.defect)
        image = cv2.imread(str(dataset / row['file']), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(image, part.image)
        assert float(row['x_px']) == pytest.approx(part.pose.x_px, abs=0.001)
        assert float(row['y_px']) == pytest.approx(part.pose.y_px, abs=0.001)
        assert float(row['angle_deg']) == pytest.approx(part.pose.angle_deg, abs=0.001)
        if row['label'] == 'good':
            assert (row['mask'], row['diameter_px'], row['contrast_levels']) == ('', '', '')
            continue
        stem = Path(name).stem
        assert row['mask'] == f'ground_truth/{defect}/{stem}_mask.png'
        mask = cv2.imread(str(dataset / row['mask']), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask == 255, part.truth.mask)
        assert set(np.unique(mask)) == {0, 255}
        assert float(row['diameter_px']) == pytest.approx(part.truth.diameter_px, abs=0.01)
        assert float(row['contrast_levels']) == pytest.approx(part.truth.contrast_levels, abs=0.01)


def test_events_are_the_test_parts_in_order_at_the_pitch(dataset: Path) -> None:
    events = rows(dataset / 'events.csv')
    assert [int(row['part']) for row in events] == list(range(12))
    assert [float(row['exposure_s']) for row in events] == [0.25 * part for part in range(12)]
    labels = {row['file']: row['label'] for row in rows(dataset / 'labels.csv')}
    assert all(labels[row['file']] == row['label'] for row in events)


def test_progress_counts_up_to_all_parts(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write_dataset(
        tmp_path / 'new' / 'deeper',
        LINE,
        train_parts=1,
        test_parts=2,
        progress=lambda done, total, what: calls.append((done, total)),
    )
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ('wrong', 'named'),
    [
        ({'train_parts': -1}, 'train_parts = -1'),
        ({'test_parts': -2}, 'test_parts = -2'),
        ({'train_parts': 0, 'test_parts': 0}, 'at least one'),
        ({'pitch_s': 0.0}, 'pitch_s = 0.0'),
        ({'pitch_s': float('nan')}, 'pitch_s = nan'),
    ],
)
def test_numbers_out_of_range_are_refused(
    tmp_path: Path, wrong: dict[str, float], named: str
) -> None:
    with pytest.raises(SettingError, match=named):
        write_dataset(tmp_path, LINE, **{'train_parts': 1, 'test_parts': 1, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('mine')
    with pytest.raises(SettingError, match='not empty'):
        write_dataset(tmp_path, LINE, train_parts=1, test_parts=1)
    assert [path.name for path in tmp_path.iterdir()] == ['notes.txt']
    with pytest.raises(SettingError, match='is a file'):
        write_dataset(tmp_path / 'notes.txt', LINE, train_parts=1, test_parts=1)
    with pytest.raises(SettingError, match='cannot be written'):
        write_dataset(tmp_path / 'notes.txt' / 'below', LINE, train_parts=1, test_parts=1)
