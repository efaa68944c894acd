# SPDX-License-Identifier: Apache-2.0
"""
The agreement of synthetic with real defects: its figures, its choice, and which files it opens.

"""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from anomaly_inspection.capture.simulated_dataset import write_dataset
from anomaly_inspection.capture.simulated_line import SimulatedLineSettings
from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.learning.defect_kinds import KINDS
from benchmarks import defect_agreement
from benchmarks.defect_agreement_result import (
    agreement,
    chosen_by_others,
    compared,
    DefectScores,
)
from benchmarks.real_sets import DEV, share_of

LINE = SimulatedLineSettings.from_spec(
    'line:width_px=320,height_px=240,shift_px=0,rotation_deg=0,defect_rate=0.5,seed=3'
)


def test_the_same_order_agrees_fully_and_the_opposite_not_at_all() -> None:
    real = np.array([0.6, 0.7, 0.95])
    same, opposite = compared(real - 0.2, real), compared(-real, real)
    assert (same.concordance, same.spearman, same.regret) == pytest.approx((1.0, 1.0, 0.0))
    assert (opposite.concordance, opposite.spearman) == pytest.approx((0.0, -1.0))
    assert opposite.regret == pytest.approx(0.35)


def test_ties_are_broken_by_chance() -> None:
    found = compared(np.array([1.0, 1.0, 1.0]), np.array([0.5, 0.7, 0.9]))
    assert found.regret == pytest.approx(0.2)
    assert found.concordance == pytest.approx(0.5)
    assert found.spearman == 0.0


def test_a_pair_counts_by_its_difference() -> None:
    """
    The methods 0 and 1 hardly differ, so that confusing them costs little.

    """
    found = compared(np.array([0.9, 0.8, 0.1]), np.array([0.90, 0.91, 0.5]))
    assert found.concordance == pytest.approx(1.0 - 0.01 / (0.01 + 0.40 + 0.41))


def scores(name: str, told_by: str, misled_by: str) -> DefectScores:
    """
    Two methods: the second finds the real defects; only one kind of synthetic defect knows.

    """
    good = np.tile(np.linspace(0.0, 0.5, 6), (2, 1))
    seen, missed = np.full(8, 1.0), np.full(8, 0.25)
    damaged = {told_by: (missed, seen), misled_by: (seen, missed)}
    kinds = tuple(damaged)
    return DefectScores(
        name=name,
        methods=('one', 'other'),
        good=good,
        damaged=np.hstack([np.array(damaged[kind]) for kind in kinds]),
        test_good=good,
        test_defects=np.array([missed, seen]),
        kinds=np.repeat(kinds, 8),
        strengths=np.ones(16),
    )


def test_kinds_that_mislead_are_left_out() -> None:
    sets = [scores('a', 'scratch', 'stain'), scores('b', 'scratch', 'stain')]
    assert chosen_by_others(sets, ('scratch', 'stain')) == ('scratch',)
    assert agreement(sets[0], ('scratch',)).regret == 0.0
    assert agreement(sets[0], ('stain',)).regret > 0.4


def test_kinds_that_agree_equally_well_all_stay() -> None:
    one = scores('a', 'scratch', 'stain')
    kinds = np.repeat(('scratch', 'dent'), 4)
    same = DefectScores(**{**vars(one), 'damaged': one.damaged[:, :8], 'kinds': kinds})
    assert chosen_by_others([same], ('scratch', 'dent')) == ('scratch', 'dent')


def test_a_strength_takes_only_its_own_defects() -> None:
    one = scores('a', 'scratch', 'stain')
    ranked = DefectScores(**{**vars(one), 'strengths': np.arange(16.0)})
    weak = ranked.of_strength(0.0, 8.0)
    assert weak.kinds.tolist() == ['scratch'] * 8
    assert weak.damaged.shape == (2, 8)
    assert weak.aurocs(('stain',)).tolist() == [0.5, 0.5]


def test_scores_are_the_same_after_writing_and_reading(tmp_path) -> None:
    written = scores('a', 'scratch', 'stain')
    written.write(tmp_path / 'kept' / 'a.npz')
    read = DefectScores.read(tmp_path / 'kept' / 'a.npz')
    assert (read.name, read.methods) == (written.name, written.methods)
    for key in ('good', 'damaged', 'test_good', 'test_defects', 'kinds', 'strengths'):
        assert np.array_equal(getattr(read, key), getattr(written, key))


@pytest.fixture
def datasets(tmp_path):
    write_dataset(tmp_path / 'sets' / 'line', LINE, train_parts=24, test_parts=40)
    return tmp_path / 'sets'


@pytest.fixture(autouse=True)
def quick_methods(monkeypatch):
    """
    Choosing the preprocessing takes longest, and is not tested here.

    """
    monkeypatch.setattr(
        defect_agreement, 'choose_preprocessing', lambda *_: PreprocessingSettings()
    )
    monkeypatch.setattr(
        defect_agreement, 'CANDIDATES', (('variation', {'flatten_px': 0}), ('ssim', {}))
    )


def test_a_run_opens_no_image_outside_the_dev_third(datasets, tmp_path) -> None:
    destroyed = 0
    with (datasets / 'line' / 'labels.csv').open(newline='') as lines:
        for row in csv.DictReader(lines):
            path = datasets / 'line' / row['file']
            if row['file'].startswith('test/') and share_of(row['file']) != DEV:
                path.unlink()
                path.symlink_to('nowhere')
                destroyed += 1
    assert destroyed > 10
    folder = defect_agreement.measure(datasets=datasets, folder=tmp_path / 'out', defects_each=2)
    figures = json.loads((folder / 'defect_agreement.json').read_text())
    one = figures['sets']['line']
    assert one['methods'] == ['variation 0', 'ssim']
    assert set(one['by_kind']) == set(KINDS)
    assert list(one['by_strength']) == ['0 to 200', '200 to 600', '600 to 2000', '2000 to inf']
    assert all(0.0 <= value <= 1.0 for value in one['real_auroc'] + one['synthetic_auroc'])
    assert set(figures['kinds_chosen']) == {'line', 'by all sets'}
    assert (
        'How synthetic defects order the methods' in (folder / 'defect_agreement.md').read_text()
    )


def test_with_kept_scores_no_image_is_opened(datasets, tmp_path) -> None:
    options = {'datasets': datasets, 'folder': tmp_path / 'out', 'defects_each': 2}
    first = defect_agreement.measure(**options) / 'defect_agreement.json'
    before = json.loads(first.read_text())['sets']
    shutil.rmtree(datasets / 'line' / 'train')
    again = defect_agreement.measure(**options) / 'defect_agreement.json'
    assert json.loads(again.read_text())['sets'] == before
    with pytest.raises(SettingError, match=r'train/good/.* cannot be read'):
        defect_agreement.measure(**options, keep=False)


def test_a_folder_without_sets_is_named(tmp_path) -> None:
    with pytest.raises(SettingError, match='there is no set with a labels'):
        defect_agreement.measure(datasets=tmp_path)
