# SPDX-License-Identifier: Apache-2.0
"""
The benchmark of part detection: how it counts, and that every part of the recorded belts is seen.

"""

import json

import pytest

from benchmarks import part_detection
from benchmarks.part_detection import Tally, Window


def test_a_chosen_frame_counts_for_the_part_that_covers_the_column_in_it():
    windows = [Window(10, 20, True), Window(30, 32, False), Window(40, 50, True)]
    tally = Tally.of(windows, [10, 16, 31, 35])
    assert (tally.parts, tally.counted, tally.missed, tally.double, tally.elsewhere) == (
        *(2, 1, 1, 1, 2),
    )
    assert tally.from_middle == (5.0,)
    assert Tally.of(windows, [20, 40]).double == 0


def test_every_part_of_the_recorded_belts_is_seen_once(dataset, tmp_path, monkeypatch):
    dataset('line_clips')
    monkeypatch.delitem(part_detection.WAYS, part_detection.USUAL)
    part_detection.measure(tmp_path)
    clips = json.loads((tmp_path / 'part_detection.json').read_text())['clips']
    for name, parts in (('bolt', 1), ('delta_belt', 3), ('rice_bags', 16)):
        for way in (part_detection.OURS, part_detection.OURS_TOLD):
            found = clips[f'{name}, {way}']
            assert (found['counted'], found['missed'], found['double']) == (parts, 0, 0)
            assert found['elsewhere'] == ((name, way) == ('delta_belt', part_detection.OURS))
        assert (tmp_path / f'{name}.png').is_file()


def test_without_the_recorded_belts_it_says_so(tmp_path, monkeypatch):
    runner = pytest.importorskip('click.testing').CliRunner()
    monkeypatch.setattr(part_detection, 'DATASETS', tmp_path)
    result = runner.invoke(part_detection.main)
    assert result.exit_code == 0
    assert 'are missing' in result.output
