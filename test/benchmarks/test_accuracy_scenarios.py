# SPDX-License-Identifier: Apache-2.0
"""
What the scenarios of the accuracy benchmark teach and test.

"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import pytest

from anomaly_inspection.capture.folder_truth import FolderTruth
from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.simulated_dataset import write_dataset
from anomaly_inspection.capture.simulated_line import SimulatedLineSettings
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.imaging.tolerance import Tolerance
from benchmarks import without_pretrained
from benchmarks.accuracy_result import Judged, Outcome, WITHOUT
from benchmarks.accuracy_scenarios import (
    BLUR_PX,
    COPIES,
    evenly,
    folder_to_teach,
    folder_to_test,
    LIGHT,
    moved,
    NOISE_LEVELS,
    SCENARIOS,
    SHIFT_SHARE,
    TURN_DEG,
)
from benchmarks.accuracy_tables import goals_of
from benchmarks.command_run import run_command
from benchmarks.simple_methods import SimpleMethods, small_gray, SSIM_BEST

LINE = SimulatedLineSettings.from_spec('line:width_px=320,height_px=240,defect_rate=0.5,seed=3')
BY_NAME = {one.name: one for one in SCENARIOS}


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp('datasets') / 'line'
    write_dataset(folder, LINE, train_parts=12, test_parts=24)
    return folder


def images(folder):
    return [read_image(path) for path in sorted(folder.iterdir())]


def spot():
    """
    Give an image with one bright rectangle, and its mask.

    """
    mask = np.zeros((120, 160), bool)
    mask[50:70, 70:100] = True
    return np.where(mask, 200, 40).astype(np.uint8), mask


# ------------------------------------------------------------------------------ what is taught


def test_the_product_reads_the_sets_own_folder_when_nothing_is_changed(dataset, tmp_path):
    assert folder_to_teach(dataset, 'all', None, tmp_path) == dataset / 'train' / 'good'
    assert not list(tmp_path.iterdir())


def test_one_part_is_one_image_as_a_camera_sees_it_again(dataset, tmp_path):
    copies = images(folder_to_teach(dataset, 'one_part', None, tmp_path))
    assert len(copies) == COPIES
    original = images(dataset / 'train' / 'good')[6].astype(int)
    others = [one.astype(int) for one in images(dataset / 'train' / 'good')]
    nearest_other = min(np.abs(one - original).mean() for one in others if (one != original).any())
    for place, copy in enumerate(copies):
        assert 0 < np.abs(copy - original).mean() < nearest_other
        assert all((copy != other).any() for other in copies[:place]), 'noise is drawn anew'


@pytest.mark.parametrize(('taught', 'most', 'count'), [('five_images', None, 5), ('all', 8, 8)])
def test_fewer_images_are_links_spread_over_the_set(dataset, tmp_path, taught, most, count):
    folder = folder_to_teach(dataset, taught, most, tmp_path)
    links = sorted(folder.iterdir())
    assert len(links) == count
    originals = sorted((dataset / 'train' / 'good').iterdir())
    assert (links[0].resolve(), links[-1].resolve()) == (originals[0], originals[-1])


def test_evenly_keeps_both_ends_and_repeats_nothing():
    names = [f'{number}' for number in range(100)]
    few = evenly(names, 7)
    assert (few[0], few[-1], len(set(few))) == ('0', '99', 7)
    assert evenly(names, None) == evenly(names, 100) == names


# ------------------------------------------------------------------------------ what is tested


@pytest.mark.parametrize('name', ['plain', 'moved'])
def test_the_truth_of_each_test_image_goes_along(dataset, tmp_path, name):
    folder = folder_to_test(dataset, 'dev', BY_NAME[name], None, tmp_path)
    before, after = FolderTruth(dataset / 'test'), FolderTruth(folder / 'test')
    written = [path for path in sorted(folder.glob('test/*/*')) if path.is_file()]
    assert written
    for path in written:
        file = path.relative_to(folder / 'test').as_posix()
        original = file.removesuffix('.png') if name == 'moved' else file
        known, told = before.of(original), after.of(file)
        assert told.defect == known.defect
        assert (told.mask is None) == (known.mask is None)
        assert told.mask is None or told.mask.shape == read_image(path).shape[:2]


def test_fewer_test_images_can_be_asked_for(dataset, tmp_path):
    folder = folder_to_test(dataset, 'dev', BY_NAME['plain'], 4, tmp_path)
    assert len(list(folder.glob('test/*/*'))) == 4


def test_a_moved_image_lies_elsewhere_within_its_reach_and_takes_its_mask_along():
    image, mask = spot()
    shifts, gains = [], []
    for number in range(40):
        seen, seen_mask = moved(image, mask, f'{number}.png')
        bright = seen > 120
        overlap = (bright & seen_mask).sum() / (bright | seen_mask).sum()
        assert overlap > 0.9
        rows, columns = np.nonzero(seen_mask)
        shifts.append(np.hypot(rows.mean() - 59.5, columns.mean() - 84.5))
        gains.append(np.median(seen[seen_mask]) / 200)
    # The spot lies 5 px beside the centre, so turning moves it by less than half a pixel.
    reach = SHIFT_SHARE * 120
    assert reach / 2 < max(shifts) < reach + 1
    assert 1 - LIGHT - 0.02 < min(gains) < 0.95
    assert 1.05 < max(gains) < 1 + LIGHT + 0.02


def test_no_image_is_moved_beyond_what_the_product_tolerates_by_default():
    tolerance = Tolerance()
    assert tolerance.shift_share >= SHIFT_SHARE
    assert tolerance.rotation_deg >= TURN_DEG
    assert tolerance.light_share >= LIGHT
    assert tolerance.defocus_px >= BLUR_PX
    assert tolerance.noise_levels >= NOISE_LEVELS


def test_a_region_of_interest_sets_how_far_an_image_is_moved():
    image, mask = spot()
    region = RegionOfInterest(70, 45, 40, 30)
    shifts = []
    for number in range(40):
        rows, columns = np.nonzero(moved(image, mask, f'{number}.png', region)[1])
        shifts.append(np.hypot(rows.mean() - 59.5, columns.mean() - 84.5))
    assert 0.3 < max(shifts) < SHIFT_SHARE * 30 + 1


def test_the_name_alone_decides_the_motion():
    image, mask = spot()
    first, again, other = (moved(image, mask, name)[0] for name in ('1.png', '1.png', '2.png'))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


# ------------------------------------------------------------------------- commands and baselines


def test_a_command_tells_how_it_failed():
    refused = run_command(['teach', 'nowhere', '--recipe', 'out/none'], time_limit_s=120)
    assert refused.status == 2
    assert refused.sentence.startswith('there is no folder')
    crashed = run_command(['--', '1/0'], module='timeit', time_limit_s=120)
    assert 'ZeroDivisionError' in crashed.sentence


def test_a_command_is_ended_when_its_time_is_up():
    endless = run_command(['-n1', '-r1', 'while True: pass'], module='timeit', time_limit_s=0.1)
    assert endless.is_too_long
    assert endless.status < 0


def test_without_the_extra_the_package_of_the_network_is_not_there(monkeypatch):
    seen = []

    def command():
        seen.append(importlib.util.find_spec(without_pretrained.PACKAGE))
        with pytest.raises(ImportError):
            importlib.import_module(without_pretrained.PACKAGE)

    # As if it were installed.
    package = ModuleType(without_pretrained.PACKAGE)
    monkeypatch.setitem(sys.modules, without_pretrained.PACKAGE, package)
    monkeypatch.setenv('XDG_CACHE_HOME', 'as before')
    monkeypatch.setattr('anomaly_inspection.cli.main', command)
    without_pretrained.main()
    assert seen == [None]


def test_simple_methods_know_what_they_have_seen():
    generator = np.random.default_rng(1)
    base = generator.integers(60, 200, (60, 80, 3)).astype(np.float64)
    good = [
        small_gray(
            np.clip(base + generator.normal(0, 4, base.shape), 0, 255).astype(np.uint8), None
        )
        for _ in range(30)
    ]
    assert good[0].shape == (256, 256)
    methods = SimpleMethods(good)
    seen, odd = methods.scores(good[0]), good[0].copy()
    odd[100:130, 100:130] = 255
    assert seen[SSIM_BEST] == pytest.approx(0, abs=1e-6), 'it is one of the references'
    for way, score in methods.scores(odd).items():
        assert score > seen[way]


def judged(rejected, total, promised):
    rows = [
        {'defect': 'good', 'verdict': 'REJECT' if place < rejected else 'PASS'}
        for place in range(total)
    ]
    outcome = Outcome('line', 'plain', WITHOUT, promised_rate=promised, shares={'dev': {}})
    return Judged(outcome, {'images': rows, 'interval': {}})


@pytest.mark.parametrize(
    ('rejected', 'total', 'promised', 'is_broken'),
    [(0, 10, 0.01, False), (1, 10, 0.01, False), (8, 10, 0.014, True), (8, 10, None, False)],
)
def test_a_promise_is_broken_when_chance_cannot_explain_it(rejected, total, promised, is_broken):
    assert judged(rejected, total, promised).breaks_promise is is_broken


def test_goals_are_missed_by_what_the_report_shows():
    outcomes = [
        Outcome(name, 'plain', WITHOUT, shares={'dev': judged(count, 20, None).figures})
        for name, count in (('calm', 1), ('nervous', 2))
    ] + [Outcome('odd', 'plain', WITHOUT, failed='teach: too odd')]
    goals = {one.what.partition(',')[0]: one for one in goals_of(outcomes, 'dev')}
    over = goals['sets with too many false rejects']
    assert (over.measured, over.is_met) == ('nervous', False)
    assert goals['false rejects of all sets'].measured.startswith('0.075')
    assert not goals['false rejects of all sets'].is_met
    untaught = goals['sets that cannot be taught or judged']
    assert (untaught.measured, untaught.is_met) == ('odd', False)
