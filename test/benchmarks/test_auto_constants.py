# SPDX-License-Identifier: Apache-2.0
"""
Constants of auto that are fixed without the set they are used on.

"""

from __future__ import annotations

import json

import pytest

from anomaly_inspection.errors import SettingError
from benchmarks import auto_constants
from benchmarks.accuracy_result import Outcome, WITHOUT
from benchmarks.auto_constants import chosen, Constants, constants_without, SHIPPED


def test_the_first_is_taken_unless_a_later_one_is_clearly_better():
    constants = Constants(('a', 'b', 'c'), 0.02)
    assert chosen({'a': 0.90, 'b': 0.915, 'c': 0.91}, constants) == 'a'
    assert chosen({'a': 0.90, 'b': 0.93, 'c': 0.94}, constants) == 'b'
    assert chosen({'a': 0.90, 'b': 0.93, 'c': 0.96}, constants) == 'c'
    assert chosen({'c': 0.5, 'b': 0.4}, constants) == 'c', 'a was not tried to the end'


def test_the_set_that_is_left_out_has_no_say():
    synthetic = {name: {'a': 0.90, 'b': 0.92} for name in ('one', 'two', 'odd')}
    real = {
        'one': {'a': 0.99, 'b': 0.80},
        'two': {'a': 0.98, 'b': 0.85},
        'odd': {'a': 0.10, 'b': 0.97},
    }
    without = constants_without('odd', synthetic, real)
    assert without.order == ('a', 'b')
    # Synthetic defects mislead by 0.02 on both other sets, so the margin must be larger.
    assert without.margin > 0.02
    assert chosen(synthetic['odd'], without) == 'a'
    with_it = constants_without('one', synthetic, real)
    assert with_it.order == ('b', 'a')


def test_what_is_chosen_with_and_without_a_set_is_reported(tmp_path, monkeypatch):
    for name in ('mvtec_bottle', 'dice', 'casting'):
        (tmp_path / name).mkdir()
    first, second = SHIPPED.order[:2]
    reasons = [
        f'{one}: sees 80 % at its limits, AUROC {auroc}, 3.1 ms a frame'
        for one, auroc in ((first, '0.967'), (second, '1.000'))
    ]
    reasons.append(f'chosen: {second}')

    def outcomes_of(task):
        auroc = 0.9 if task.label == first else 0.8
        estimates = {'image_auroc': auroc, 'interval': {'image_auroc': [0.7, 1.0]}, 'images': []}
        failed = '' if task.label in ('auto', first, second) else 'cannot be taught'
        shares = {'dev': estimates}
        return [Outcome(task.name, 'plain', task.features, failed, choice=reasons, shares=shares)]

    monkeypatch.setattr('benchmarks.accuracy.outcomes_of', outcomes_of)
    folder = tmp_path / 'out'
    auto_constants.measure(
        ('mvtec_bottle', 'dice', 'casting'), features=WITHOUT, datasets=tmp_path, folder=folder
    )
    found = json.loads((folder / 'auto_constants.json').read_text())
    assert found['synthetic']['dice'] == {first: 0.967, second: 1.0}
    # Auto has followed the synthetic defects; the other two sets teach it not to.
    choices = found['choices']['dice']
    assert choices['as shipped']['candidate'] == second
    assert choices['fixed without the set']['candidate'] == first
    assert choices['best candidate'] == {'candidate': first, 'auroc': 0.9, 'margin': None}
    assert (folder / 'auto_constants.svg').read_text().startswith('<svg')


def test_one_set_alone_is_refused(tmp_path):
    with pytest.raises(SettingError, match='needed: 2'):
        auto_constants.measure(('dice',), features=WITHOUT, datasets=tmp_path, folder=tmp_path)
