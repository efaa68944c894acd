# SPDX-License-Identifier: Apache-2.0
"""
The benchmark of the autoencoders runs, opens no test image it may not, and compares equal outputs.

"""

import json

import pytest

pytest.importorskip('tensorflow', reason='networks need it, the extra [train]')

from benchmarks import autoencoders
from benchmarks.real_sets import share_of


@pytest.fixture
def small_line(monkeypatch):
    monkeypatch.setattr(autoencoders, '_LINE_PARTS', 24)
    monkeypatch.setattr(autoencoders, '_REPEATS', 3)


def test_a_net_is_trained_judged_on_the_dev_third_and_timed(small_line, tmp_path, monkeypatch):
    judged = []
    evaluate = autoencoders.evaluate_dataset

    def seen(recipe, dataset, *, names):
        evaluation = evaluate(recipe, dataset, names=names)
        judged.extend(image.name for image in evaluation.images)
        assert [*recipe.scorers] == ['autoencoder']
        return evaluation

    monkeypatch.setattr(autoencoders, 'evaluate_dataset', seen)
    folder = autoencoders.measure(
        ['tutorial_260'], epochs=1, datasets=tmp_path / 'none', folder=tmp_path / 'report'
    )
    assert judged
    assert {share_of(f'test/{name}') for name in judged} == {'dev'}
    found = json.loads((folder / 'autoencoders.json').read_text())
    assert found['set'] == 'the simulated line'
    net = found['nets']['tutorial_260']
    assert net['largest_difference'] < autoencoders.LARGEST_DIFFERENCE
    assert all(time_ms > 0 for time_ms in net['ms_per_image'].values())
    assert 0 <= net['dev']['image_auroc'] <= 1
    assert 'final' not in net
    assert 'tutorial_260' in (folder / 'autoencoders.md').read_text()


def test_the_patch_net_makes_as_many_steps_as_the_others():
    import numpy as np

    good = [('a', np.zeros((90, 120, 3), np.uint8))]
    whole = autoencoders.settings_of('my_cae', 40, good)
    patches = autoencoders.settings_of('grid_patch', 40, good)
    assert (whole.patch_px, whole.epochs) == (0, 40)
    # 90 / 4 px: four rows of six.
    assert (patches.patch_px, patches.epochs) == (23, 2)
