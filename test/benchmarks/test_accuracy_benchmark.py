# SPDX-License-Identifier: Apache-2.0
"""
The accuracy benchmark: which files it opens, what it logs, what it writes.

"""

from __future__ import annotations

import json
from pathlib import Path
import shutil

from click.testing import CliRunner
import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.simulated_dataset import write_dataset
from anomaly_inspection.capture.simulated_line import SimulatedLineSettings
from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.learning.teach import TeachOptions
from benchmarks import accuracy, run_log
from benchmarks.accuracy import Product, share_of
from benchmarks.simple_methods import SimpleMethods, small_gray, SSIM_BEST, SSIM_MEAN, Z_MAP

PRODUCTS = (Product('line', 0.9, 0.8, f1_goal=0.9),)
# A rule that changed would let final images into choices.
KNOWN_DEV = [f'test/good/{number:03d}.png' for number in (0, 3, 4, 5, 11)]
LINE = SimulatedLineSettings.from_spec(
    'line:width_px=320,height_px=240,shift_px=2,rotation_deg=0,defect_rate=0.5,seed=3'
)


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    root = tmp_path_factory.mktemp('datasets')
    write_dataset(root / 'line', LINE, train_parts=8, test_parts=24)
    return root


@pytest.fixture(autouse=True)
def quick_teaching(monkeypatch):
    """
    Choosing the alignment takes longest, and is not tested here.

    """
    monkeypatch.setattr(
        accuracy,
        'TeachOptions',
        lambda **options: TeachOptions(
            **{**options, 'preprocessing': PreprocessingSettings(), 'region_of_interest': None}
        ),
    )


@pytest.fixture
def datasets(simulated, tmp_path):
    return Path(shutil.copytree(simulated, tmp_path / 'datasets'))


@pytest.fixture
def log(tmp_path):
    return tmp_path / 'final_runs.jsonl'


def run(datasets, folder, log, **options):
    accuracy.measure(
        PRODUCTS, scorers=('variation',), datasets=datasets, folder=folder, log=log, **options
    )
    return json.loads((folder / 'accuracy.json').read_text())


def without_times(tree):
    if isinstance(tree, dict):
        left_out = ('teach_s', 'ms_per_image', 'machine')
        return {key: without_times(value) for key, value in tree.items() if key not in left_out}
    return tree


def names_of_tests(dataset):
    return [path.relative_to(dataset).as_posix() for path in sorted(dataset.glob('test/*/*.png'))]


def destroy_final(dataset):
    """
    Put a dangling link in the place of each final image and mask: who opens one, fails.

    """
    destroyed = 0
    for name in names_of_tests(dataset):
        if share_of(name) == 'dev':
            continue
        mask = dataset / name.replace('test/', 'ground_truth/').replace('.png', '_mask.png')
        for path in (dataset / name, mask):
            if path.exists():
                path.unlink()
                path.symlink_to('nowhere')
                destroyed += 1
    return destroyed


def vary_sizes(dataset):
    for place, path in enumerate(sorted(dataset.glob('train/good/*.png'))):
        cv2.imwrite(str(path), cv2.imread(str(path))[: 240 - place % 2])


# ------------------------------------------------------------------------------- the separation


def test_the_shares_are_thirds_that_only_the_name_tells():
    names = [f'test/good/{number:03d}.png' for number in range(3000)]
    dev = [name for name in names if share_of(name) == 'dev']
    assert len(dev) == pytest.approx(1000, abs=80)
    assert dev[:5] == KNOWN_DEV


@pytest.mark.parametrize('sizes_vary', [False, True])
def test_without_final_no_final_file_is_opened(datasets, tmp_path, log, sizes_vary):
    if sizes_vary:
        vary_sizes(datasets / 'line')
    before = run(datasets, tmp_path / 'before', log)
    assert destroy_final(datasets / 'line') > 12
    after = run(datasets, tmp_path / 'after', log)
    assert without_times(after) == without_times(before)
    names = names_of_tests(datasets / 'line')
    dev = [name for name in names if share_of(name) == 'dev']
    figures = after['sets']['line']
    assert figures['resized'] is sizes_vary
    assert figures['dev']['n_good'] + figures['dev']['n_defect'] == len(dev)
    assert 'final' not in figures
    assert not log.exists()
    # The same with the final third wanted does not go through: the test can fail.
    with pytest.raises(InspectionError, match='the file is missing'):
        run(datasets, tmp_path / 'final', log, final=True)


# ------------------------------------------------------------------------------------- final runs


def test_a_final_run_judges_all_images_and_is_logged(datasets, tmp_path, log):
    dev_alone = run(datasets, tmp_path / 'dev', log)['sets']['line']
    found = run(datasets, tmp_path / 'final', log, final=True)['sets']['line']
    assert without_times(found['dev']) == without_times(dev_alone['dev'])
    names = names_of_tests(datasets / 'line')
    counts = [found[share][key] for share in ('dev', 'final') for key in ('n_good', 'n_defect')]
    assert sum(counts) == len(names)
    text = (tmp_path / 'final' / 'accuracy.md').read_text()
    assert 'AUROC, dev' in text
    assert 'AUROC, final' in text
    (line,) = log.read_text().splitlines()
    record = json.loads(line)
    assert record['completed'] is True
    assert len(record['commit']) == 40
    assert isinstance(record['dirty'], bool)
    assert record['date'].endswith('+00:00')
    assert record['settings']['scorers'] == ['variation']
    for share in ('dev', 'final'):
        assert record['figures']['line'][share]['image_auroc'][0] == pytest.approx(
            found[share]['image_auroc'], abs=1e-4
        )
    assert str(datasets) not in line


def test_a_final_run_that_fails_is_logged_too(datasets, tmp_path, log, monkeypatch):
    def fail(*arguments):
        raise SettingError('half-way')

    monkeypatch.setattr(accuracy, 'result_of', fail)
    log.write_text('an older run\n')
    with pytest.raises(SettingError, match='half-way'):
        run(datasets, tmp_path / 'final', log, final=True)
    older, line = log.read_text().splitlines()
    record = json.loads(line)
    assert older == 'an older run'
    assert (record['completed'], record['figures']) == (False, {})


def test_a_final_run_that_cannot_be_logged_does_not_begin(datasets, tmp_path, log, monkeypatch):
    monkeypatch.setattr(accuracy, 'result_of', lambda *arguments: pytest.fail('it began'))
    with pytest.raises(SettingError, match=r'log .* cannot be written'):
        run(datasets, tmp_path / 'final', tmp_path, final=True)
    monkeypatch.setattr(run_log, 'ROOT', tmp_path)
    with pytest.raises(SettingError, match='git fails'):
        run(datasets, tmp_path / 'final', log, final=True)


# --------------------------------------------------------------------------------------- figures


def test_the_report_has_every_figure_with_its_goal(datasets, tmp_path, log):
    found = run(datasets, tmp_path / 'out', log)
    text = (tmp_path / 'out' / 'accuracy.md').read_text()
    for title in (
        *('Image AUROC', 'Simple methods on the same images', 'At the limits chosen from good'),
        *('F1, the defective parts', 'Where the defects are', 'What it took'),
    ):
        assert f'## {title}' in text
    assert (tmp_path / 'out' / 'accuracy.svg').read_text().startswith('<svg')
    dev = found['sets']['line']['dev']
    assert set(dev['simple_methods']) == {SSIM_BEST, SSIM_MEAN, Z_MAP}
    # One set alone: pooled over all sets is what it has itself.
    pooled = found['all_sets']['dev']
    assert pooled['false_reject_rate'][0] == pytest.approx(dev['at_limits']['false_reject_rate'])
    assert pooled['balanced_accuracy'][0] == pytest.approx(dev['at_limits']['balanced_accuracy'])
    low, high = pooled['balanced_accuracy'][1:]
    assert low <= pooled['balanced_accuracy'][0] <= high


def test_sets_that_are_not_at_hand_are_named(datasets, tmp_path, log):
    more = (*PRODUCTS, Product('elsewhere', 0.9, 0.8))
    folder = tmp_path / 'out'
    accuracy.measure(more, scorers=('variation',), datasets=datasets, folder=folder, log=log)
    assert 'Missing in ../shared/datasets: elsewhere.' in (folder / 'accuracy.md').read_text()
    with pytest.raises(SettingError, match='elsewhere'):
        accuracy.measure(more[1:], datasets=datasets, folder=folder, log=log)


def test_an_unknown_set_is_refused_by_name():
    result = CliRunner().invoke(accuracy.main, ['screws'])
    assert result.exit_code == 2
    assert 'no set screws' in result.output
    assert 'mvtec_bottle' in result.output


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
