# SPDX-License-Identifier: Apache-2.0
"""
What was learned on the line and kept: found again, bound to its recipe, never trusted blindly.

"""

import os

import numpy as np
import pytest

from anomaly_inspection.drift.learned import LearnedFolder, LearnedParts
from anomaly_inspection.drift.watch import DriftStatus, DriftWatch
from anomaly_inspection.errors import StateError
from support.drift_line import FOCUS, TaughtLine

HASH, OTHER = 'a' * 64, 'b' * 64
MEASURES = ('ssim.mse', 'ssim.mean_ssim')


@pytest.fixture(scope='module')
def line():
    return TaughtLine()


@pytest.fixture(scope='module')
def learned(line):
    rng = np.random.default_rng(1)
    return LearnedParts.of(
        [
            (conditions, {'ssim.mse': rng.normal(40, 4), 'ssim.mean_ssim': rng.normal(0.9, 0.01)})
            for conditions in line.taught
        ]
    )


@pytest.fixture
def folder(tmp_path):
    return LearnedFolder(tmp_path / 'learned')


def test_what_was_learned_is_found_again_and_watches_as_before(line, learned, folder):
    folder.keep(HASH, learned)

    found = LearnedFolder(folder._path).find(HASH, MEASURES)

    assert found.count == 40
    assert found.arrays.keys() == learned.arrays.keys()
    for name, values in learned.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], values)
    assert found.measures.keys() == set(MEASURES)
    reference = found.reference(frozenset({'ssim.mean_ssim'}))
    assert reference.is_learned_on_line
    watch = DriftWatch(reference)
    assert watch.verdict.status is DriftStatus.UNKNOWN
    line.feed(watch, FOCUS, until_alarm=True)
    assert watch.verdict.status is DriftStatus.VOID
    # Nothing is left beside the file.
    assert os.listdir(folder._path) == [f'{HASH}.npz']


def test_nothing_is_found_where_nothing_was_kept(learned, folder, tmp_path):
    assert folder.find(HASH, MEASURES) is None
    LearnedFolder(None).keep(HASH, learned)
    assert LearnedFolder(None).find(HASH, MEASURES) is None
    folder.keep(HASH, learned)
    assert folder.find(OTHER, MEASURES) is None


def test_the_file_of_another_recipe_is_refused(learned, folder):
    folder.keep(HASH, learned)
    (folder._path / f'{HASH}.npz').rename(folder._path / f'{OTHER}.npz')

    with pytest.raises(StateError, match=f'{OTHER}.npz is left aside: it belongs to the recipe'):
        folder.find(OTHER, MEASURES)


@pytest.mark.parametrize(
    ('spoil', 'said'),
    [
        (lambda content: b'', 'truncated'),
        (lambda content: content[: len(content) // 2], 'truncated'),
        (lambda content: b'nonsense' * 100, 'npz'),
        (lambda content: content + b'x' * 5_000_000, 'at most'),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(learned, folder, spoil, said):
    folder.keep(HASH, learned)
    path = folder._path / f'{HASH}.npz'
    path.write_bytes(spoil(path.read_bytes()))

    with pytest.raises(StateError, match='is left aside') as raised:
        folder.find(HASH, MEASURES)

    assert said in str(raised.value)
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
    'change',
    [
        {'light': np.zeros(7)},
        {'light': np.zeros((40, 2))},
        {'sharpness': np.full(40, np.nan)},
        {'sharpness': np.zeros(40, np.float32)},
        {'image_cells': np.zeros((2, 3, 3))},
        {'something': np.zeros(40)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(learned, folder, change):
    wrong = LearnedParts({**learned.arrays, **change}, learned.measures, 40)
    folder.keep(HASH, wrong)

    with pytest.raises(StateError, match='array'):
        folder.find(HASH, MEASURES)


def test_a_folder_in_place_of_the_file_is_refused(learned, folder):
    (folder._path / f'{HASH}.npz').mkdir(parents=True)

    with pytest.raises(StateError, match='is left aside'):
        folder.find(HASH, MEASURES)
    with pytest.raises(StateError, match='cannot write'):
        folder.keep(HASH, learned)


def test_the_oldest_files_go(learned, folder):
    for number in range(103):
        folder.keep(f'{number:064}', learned)
        os.utime(folder._path / f'{number:064}.npz', (number, number))

    assert len(os.listdir(folder._path)) <= 101
    assert folder.find(f'{0:064}', MEASURES) is None
    assert folder.find(f'{102:064}', MEASURES) is not None
