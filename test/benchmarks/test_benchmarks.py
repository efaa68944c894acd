# SPDX-License-Identifier: Apache-2.0
"""
The benchmarks still run and still write what they promise; how fast they are is no test.

"""

import json

import pytest

pytest.importorskip('skimage', reason='the baseline is scikit-image')

from benchmarks import detection, scoring


def figures(folder, name):
    assert (folder / f'{name}.svg').read_text().startswith('<svg')
    assert f'# {name.capitalize()}' in (folder / f'{name}.md').read_text()
    return json.loads((folder / f'{name}.json').read_text())


def test_detection_is_deterministic_and_finds_more_than_plain_ssim(tmp_path):
    runs = []
    for run in ('first', 'second'):
        folder = tmp_path / run
        assert detection.measure(6, taught=8, processes=1, folder=folder) == folder
        runs.append(figures(folder, 'detection')['ways'])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {'ssim', 'variation', 'combined', 'plain SSIM'}
    for way in ('ssim', 'variation'):
        assert runs[0]['combined']['found'][0] >= runs[0][way]['found'][0]
    assert runs[0]['combined']['found'][0] > runs[0]['plain SSIM']['found'][0]


def test_scoring_compares_equal_maps(tmp_path):
    folder = scoring.measure(3, sizes=((640, 480),), folder=tmp_path)
    found = figures(folder, 'scoring')
    assert found['ssim_maps'][0]['largest_difference'] < scoring.LARGEST_DIFFERENCE
    assert {row['way'] for row in found['alignments']} >= {'ours', 'ECC, quarter size'}
    assert all(row['time']['p50'] > 0 for row in found['whole_frames'])


def test_scoring_refuses_to_compare_maps_that_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, 'LARGEST_DIFFERENCE', 1e-12)
    with pytest.raises(AssertionError, match='SSIM maps differ by'):
        scoring.measure(3, sizes=((320, 240),), folder=tmp_path)
