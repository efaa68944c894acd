# SPDX-License-Identifier: Apache-2.0
"""
The accuracy benchmark: which files it opens, what it logs, keeps and writes.

"""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import shutil

from click.testing import CliRunner
import cv2
import pytest

from anomaly_inspection.capture.simulated_dataset import write_dataset
from anomaly_inspection.capture.simulated_line import SimulatedLineSettings
from anomaly_inspection.errors import InspectionError, SettingError
from benchmarks import accuracy, accuracy_run, run_log
from benchmarks.accuracy_result import Outcome, WITHOUT
from benchmarks.accuracy_run import Task
from benchmarks.accuracy_scenarios import folder_to_test, SCENARIOS
from benchmarks.real_sets import share_of
from benchmarks.simple_methods import SSIM_BEST, SSIM_MEAN, Z_MAP

# One teaching each; the other scenario differs from one_part in its folder alone.
SCENARIOS_RUN = ('plain', 'moved', 'one_part')
# A rule that changed would let final images into choices.
KNOWN_DEV = [f'test/good/{number:03d}.png' for number in (0, 3, 4, 5, 11)]
LINE = SimulatedLineSettings.from_spec(
    'line:width_px=320,height_px=240,shift_px=1,rotation_deg=0,defect_rate=0.5,seed=3'
)


@pytest.fixture(scope='module')
def simulated(tmp_path_factory):
    root = tmp_path_factory.mktemp('datasets')
    write_dataset(root / 'line', LINE, train_parts=12, test_parts=24)
    return root


@pytest.fixture(scope='module')
def without_final(simulated, tmp_path_factory):
    """
    The same sets, with a dangling link in the place of each final image and mask.

    """
    root = Path(shutil.copytree(simulated, tmp_path_factory.mktemp('without') / 'datasets'))
    dataset, destroyed = root / 'line', 0
    for name in names_of_tests(dataset):
        if share_of(name) == 'dev':
            continue
        mask = dataset / name.replace('test/', 'ground_truth/').replace('.png', '_mask.png')
        for path in (dataset / name, mask):
            if path.exists():
                path.unlink()
                path.symlink_to('nowhere')
                destroyed += 1
    assert destroyed > 12
    return root


@pytest.fixture(scope='module')
def dev_folder(without_final, tmp_path_factory):
    """
    The report of a run without --final.

    """
    folder = tmp_path_factory.mktemp('dev')
    log = folder / 'final_runs.jsonl'
    accuracy.measure(('line',), **options(without_final, folder, log, scenarios=SCENARIOS_RUN))
    return folder


@pytest.fixture
def log(tmp_path):
    return tmp_path / 'final_runs.jsonl'


def options(datasets, folder, log, **more):
    return {
        'scorers': ('variation',),
        'features': (WITHOUT,),
        'jobs': 1,
        'datasets': datasets,
        'folder': folder,
        'log': log,
        **more,
    }


def report(folder):
    return json.loads((folder / 'accuracy.json').read_text())


def names_of_tests(dataset):
    return [path.relative_to(dataset).as_posix() for path in sorted(dataset.glob('test/*/*.png'))]


# ------------------------------------------------------------------------------- the separation


def test_the_shares_are_thirds_that_only_the_name_tells():
    names = [f'test/good/{number:03d}.png' for number in range(3000)]
    dev = [name for name in names if share_of(name) == 'dev']
    assert len(dev) == pytest.approx(1000, abs=80)
    assert dev[:5] == KNOWN_DEV


def test_without_final_no_final_file_is_opened(dev_folder, without_final):
    names = names_of_tests(without_final / 'line')
    dev = [name for name in names if share_of(name) == 'dev']
    judged = {one['scenario']: one for one in report(dev_folder)['outcomes'] if not one['failed']}
    assert {'plain', 'moved'} <= set(judged)
    for outcome in judged.values():
        assert list(outcome['shares']) == ['dev']
        assert len(outcome['shares']['dev']['images']) == len(dev)
    assert not (dev_folder / 'final_runs.jsonl').exists()


@pytest.mark.parametrize('scenario', [one for one in SCENARIOS if one.moves])
def test_a_destroyed_final_image_is_missed_when_it_is_wanted(without_final, scenario, tmp_path):
    # So the test above can fail.
    with pytest.raises(InspectionError, match='missing'):
        folder_to_test(without_final / 'line', 'final', scenario, None, tmp_path)


# ------------------------------------------------------------------------------------ final runs


def test_a_final_run_judges_all_images_and_is_logged(simulated, dev_folder, tmp_path, log):
    accuracy.measure(
        ('line',), **options(simulated, tmp_path, log, scenarios=('plain',), final=True)
    )
    (found,) = report(tmp_path)['outcomes']
    (dev_alone,) = (one for one in report(dev_folder)['outcomes'] if one['scenario'] == 'plain')
    images = [found['shares'][share]['images'] for share in ('dev', 'final')]
    assert images[0] == dev_alone['shares']['dev']['images']
    assert sum(map(len, images)) == len(names_of_tests(simulated / 'line'))
    text = (tmp_path / 'accuracy.md').read_text()
    assert 'Plain, without pretrained features (dev)' in text
    assert 'Plain, without pretrained features (final)' in text
    (line,) = log.read_text().splitlines()
    record = json.loads(line)
    assert record['completed'] is True
    assert len(record['commit']) == 40
    assert isinstance(record['dirty'], bool)
    assert record['date'].endswith('+00:00')
    assert record['settings']['scorers'] == ['variation']
    for share in ('dev', 'final'):
        assert record['figures']['line/plain/without'][share]['image_auroc'][0] == pytest.approx(
            found['shares'][share]['image_auroc'], abs=1e-4
        )
    assert str(simulated) not in line


def test_a_final_run_that_fails_is_logged_too(simulated, tmp_path, log, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(accuracy, 'outcomes_by_task', interrupted)
    log.write_text('an older run\n')
    with pytest.raises(KeyboardInterrupt):
        accuracy.measure(('line',), **options(simulated, tmp_path, log, final=True))
    older, line = log.read_text().splitlines()
    record = json.loads(line)
    assert older == 'an older run'
    assert (record['completed'], record['figures']) == (False, {})


def test_a_final_run_that_cannot_be_logged_does_not_begin(simulated, tmp_path, log, monkeypatch):
    monkeypatch.setattr(
        accuracy, 'outcomes_by_task', lambda *arguments, **more: pytest.fail('it began')
    )
    with pytest.raises(SettingError, match=r'log .* cannot be written'):
        accuracy.measure(('line',), **options(simulated, tmp_path, tmp_path, final=True))
    monkeypatch.setattr(run_log, 'ROOT', tmp_path)
    with pytest.raises(SettingError, match='git fails'):
        accuracy.measure(('line',), **options(simulated, tmp_path, log, final=True))


# ------------------------------------------------------------------------------------- the report


def test_the_report_has_every_figure_with_its_goal(dev_folder):
    found, text = report(dev_folder), (dev_folder / 'accuracy.md').read_text()
    for title in (
        *('Goals (dev)', 'Plain, without', 'Moved, without', 'What the product chose'),
        *('Simple methods on the same images', 'Where the defects are'),
    ):
        assert f'## {title}' in text
    assert (dev_folder / 'accuracy.png').read_bytes().startswith(b'\x89PNG')
    plain = next(one for one in found['outcomes'] if one['scenario'] == 'plain')
    assert plain['taught_images'] == 12
    assert list(plain['scorers']) == ['variation']
    assert plain['teach_s'] > 0
    assert set(plain['simple']['dev']) == {SSIM_BEST, SSIM_MEAN, Z_MAP}
    # One set alone: over all sets is what it has itself.
    alone, all_sets = plain['shares']['dev'], found['all_sets']['without/plain/dev']
    at_limits = alone['at_limits']
    assert all_sets['image_auroc'] == pytest.approx(alone['image_auroc'])
    assert all_sets['false_reject_rate'][0] == pytest.approx(at_limits['false_reject_rate'])
    assert all_sets['balanced_accuracy'][0] == pytest.approx(at_limits['balanced_accuracy'])
    low, high = all_sets['balanced_accuracy'][1:]
    assert low <= all_sets['balanced_accuracy'][0] <= high


def test_what_cannot_be_taught_is_in_the_report_with_the_products_sentence(simulated, tmp_path):
    datasets = Path(shutil.copytree(simulated, tmp_path / 'datasets'))
    for path in sorted(datasets.glob('line/train/good/*'))[1:]:
        path.unlink()
    folder = tmp_path / 'out'
    accuracy.measure(
        ('line',), **options(datasets, folder, tmp_path / 'log', scenarios=('plain',))
    )
    (outcome,) = report(folder)['outcomes']
    assert outcome['failed'].startswith('teach: ')
    assert 'crashed' not in outcome['failed']
    assert outcome['failed'] in (folder / 'accuracy.md').read_text()
    (untaught,) = (one for one in report(folder)['goals'] if 'cannot be taught' in one['what'])
    assert (untaught['measured'], untaught['is_met']) == ('line', False)


def test_a_fault_of_the_benchmark_in_one_set_does_not_cost_the_others(
    simulated, dev_folder, tmp_path, monkeypatch, log
):
    shutil.copytree(simulated / 'line', tmp_path / 'datasets' / 'other')
    shutil.copytree(simulated / 'line', tmp_path / 'datasets' / 'line')

    def faulty(task):
        if task.name == 'line':
            raise ZeroDivisionError('by accident')
        return [Outcome(task.name, one, task.features, failed='known') for one in task.scenarios]

    monkeypatch.setattr(accuracy, 'outcomes_of', faulty)
    folder = tmp_path / 'out'
    accuracy.measure(
        ('line', 'other'),
        **options(tmp_path / 'datasets', folder, log, scenarios=('plain',)),
    )
    failed = {one['set_name']: one['failed'] for one in report(folder)['outcomes']}
    assert failed == {
        'line': 'the benchmark: ZeroDivisionError: by accident',
        'other': 'known',
    }


def test_sets_that_are_not_at_hand_are_named(simulated, tmp_path, log, monkeypatch):
    outcome = Outcome('line', 'plain', WITHOUT, failed='not tried')
    monkeypatch.setattr(
        accuracy, 'outcomes_by_task', lambda *arguments, **more: iter([(None, [outcome])])
    )
    accuracy.measure(('line', 'elsewhere'), **options(simulated, tmp_path, log))
    assert 'Missing in ../shared/datasets: elsewhere.' in (tmp_path / 'accuracy.md').read_text()
    with pytest.raises(SettingError, match='elsewhere'):
        accuracy.measure(('elsewhere',), **options(simulated, tmp_path, log))


def test_an_unknown_set_is_refused_by_name():
    result = CliRunner().invoke(accuracy.main, ['screws'])
    assert result.exit_code == 2
    assert 'no set screws' in result.output
    assert 'mvtec_bottle' in result.output


def test_one_part_leaves_out_sets_of_several_sizes(simulated, tmp_path, monkeypatch):
    for name in ('line', 'cropped'):
        shutil.copytree(simulated / 'line', tmp_path / 'datasets' / name)
    first = min((tmp_path / 'datasets' / 'cropped' / 'train' / 'good').iterdir())
    cv2.imwrite(str(first), cv2.imread(str(first))[:-1])
    monkeypatch.setattr(
        accuracy,
        'outcomes_of',
        lambda task: [Outcome(task.name, one, WITHOUT, failed='no') for one in task.scenarios],
    )
    folder = tmp_path / 'out'
    accuracy.measure(
        ('line', 'cropped'), **options(tmp_path / 'datasets', folder, tmp_path / 'log')
    )
    tried = {(one['set_name'], one['scenario']) for one in report(folder)['outcomes']}
    assert ('line', 'one_part') in tried
    assert ('cropped', 'one_part') not in tried
    assert ('cropped', 'five_images') in tried
    assert 'one_part leaves out cropped' in (folder / 'accuracy.md').read_text()


# -------------------------------------------------------------------------------------- going on


def test_a_resumed_run_measures_only_what_is_missing(
    dev_folder, without_final, tmp_path, monkeypatch
):
    folder = Path(shutil.copytree(dev_folder, tmp_path / 'dev'))
    before = report(folder)['outcomes']
    (folder / 'accuracy.json').unlink()
    (gone,) = (folder / 'outcomes').glob('*one_part*')
    gone.unlink()
    measured = []

    def outcomes_of(task):
        measured.append(task.scenarios)
        return [Outcome(task.name, one, task.features, failed='new') for one in task.scenarios]

    monkeypatch.setattr(accuracy, 'outcomes_of', outcomes_of)
    arguments = options(
        without_final, folder, tmp_path / 'log', scenarios=SCENARIOS_RUN, resume=True
    )
    accuracy.measure(('line',), **arguments)
    assert measured == [('one_part',)]
    after = report(folder)['outcomes']
    others = [one for one in before if one['scenario'] != 'one_part']
    assert [one for one in after if one['failed'] != 'new'] == others

    monkeypatch.setattr(accuracy, 'source_hash', lambda: 'of other sources')
    accuracy.measure(('line',), **arguments)
    assert len(measured) == 1 + 2


def test_a_command_that_takes_too_long_is_a_failure(simulated):
    task = Task(simulated / 'line', 'all', WITHOUT, ('plain', 'moved'), ('dev',))
    plain, moved = accuracy_run.outcomes_of(replace(task, time_limit_s=0.01))
    assert 'its time was up' in plain.failed
    assert (moved.scenario, moved.failed) == ('moved', plain.failed)
