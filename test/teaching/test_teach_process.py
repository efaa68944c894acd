# SPDX-License-Identifier: Apache-2.0
"""
Teaching in a process of its own: a draft with all its figures, or nothing at all.

"""

from dataclasses import replace
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from anomaly_inspection.errors import RecipeError, SettingError
from anomaly_inspection.imaging.part_marks import Grasp, PartMarks
from anomaly_inspection.learning.training_settings import TrainingSettings
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.teaching import autoencoder_training
from anomaly_inspection.teaching.draft import discard, draft_of, install, put_in_place
from anomaly_inspection.teaching.session import TeachingFolder
from anomaly_inspection.teaching.teach_job import run_teach_job, TeachJob
from anomaly_inspection.teaching.teach_process import TeachProcess
from support.teaching import QUICK, recorded_session

BUDGET_BYTES = 10**9


class Progress:
    """
    What a process says of its progress.

    """

    def __init__(self):
        self.said = []
        self.has_begun = threading.Event()

    def __call__(self, done, total, what):
        self.said.append((done, total, what))
        self.has_begun.set()


@pytest.fixture(scope='module')
def taught(tmp_path_factory):
    """
    A session with its draft, and the progress of teaching it; do not change it, copy it.

    One of its 13 images is damaged.

    """
    session = recorded_session(tmp_path_factory.mktemp('teaching'), count=13)
    path = session.image_path('000003.png')
    path.write_bytes(path.read_bytes()[:200])
    progress = Progress()
    process = TeachProcess(session, QUICK, progress)
    put_in_place(session, process.wait())
    return session, progress


@pytest.fixture
def session(taught, tmp_path):
    """
    A copy of the taught session.

    """
    shutil.copytree(taught[0].folder, tmp_path / taught[0].name)
    return TeachingFolder(tmp_path).open(taught[0].name)


def wait_for_the_kill(process, ended):
    with pytest.raises(SettingError) as refused:
        process.wait()
    ended.append(str(refused.value))


def leftovers(session):
    return [name for name in os.listdir(session.folder) if name.startswith('.')]


def test_a_draft_is_a_recipe_with_all_its_figures(taught):
    session, progress = taught
    draft = draft_of(session)
    recipe = read_recipe(draft.folder)
    report = draft.report
    assert (recipe.name, recipe.product) == ('pump_3', 'Pump 3')
    assert recipe.provenance.taught_by == 'Ada'
    assert session.name in recipe.provenance.source
    assert len(recipe.teaching_images.entries) == report.image_count == 12
    assert [text[:12] for text in report.left_out] == ['000003.png: ']
    assert report.hash == recipe.hash
    assert report.scorers == ('ssim',)
    assert {topic for topic, _, _ in report.findings} >= {'parts', 'position', 'light', 'focus'}
    assert 'false-reject' in report.promise
    assert report.frame_time_ms > 0.0
    assert report.most_parts_per_s == pytest.approx(1e3 / report.frame_time_ms)
    assert (
        len(report.seen)
        == len(report.tried)
        == len(report.sizes_px) * len(report.contrasts_levels)
    )
    assert sum(report.tried) > 0
    assert 0.0 <= report.seen_in_all <= 1.0
    for name in filter(None, (report.missed_picture, report.seen_picture)):
        assert (session.draft_folder / name).is_file()
    assert {what for _, _, what in progress.said} >= {
        'reading the images',
        'judging synthetic defects',
    }
    assert leftovers(session) == []


@pytest.mark.parametrize(
    ('setting', 'value', 'why'),
    [
        ('false_reject_rate', 0.7, '0.7'),
        ('false_reject_rate', math.nan, 'nan'),
        ('tolerance', 'shift=much', 'much'),
        ('scorers', ('magic',), 'magic'),
        ('recipe_name', '../evil', 'evil'),
        ('region', (300, 200, 400, 400), 'x 700, y 600; allowed: within the frame of 320 x 240'),
        ('speed_budget_ms', -1.0, '-1'),
        ('session', '../evil', 'evil'),
    ],
)
def test_a_setting_out_of_range_is_refused_in_words_and_nothing_is_left(
    session, setting, value, why
):
    job = TeachJob(
        **QUICK
        | {'folder': str(session.folder.parent), 'session': session.name}
        | {'work': str(session.folder / 'work'), setting: value}
    )
    with pytest.raises(SettingError, match=why):
        run_teach_job(job)
    assert not (session.folder / 'work').exists()


def test_a_refusal_in_the_process_is_heard_here(session):
    process = TeachProcess(session, QUICK | {'scorers': ['magic']}, Progress())
    with pytest.raises(SettingError, match='magic'):
        process.wait()
    assert leftovers(session) == []
    assert draft_of(session) is not None


def test_a_cancelled_teaching_leaves_the_older_draft_and_nothing_else(session):
    before = draft_of(session)
    progress = Progress()
    process = TeachProcess(session, QUICK, progress)
    ended = []
    waiting = threading.Thread(target=wait_for_the_kill, args=(process, ended))
    waiting.start()
    assert progress.has_begun.wait(60.0)
    process.kill()
    waiting.join()
    assert 'was killed' in ended[0]
    assert leftovers(session) == []
    assert draft_of(session) == before
    with pytest.raises(ProcessLookupError):
        os.kill(process.process_id, 0)


def test_the_process_lets_inspection_go_first(session):
    progress = Progress()
    process = TeachProcess(session, QUICK, progress)
    waiting = threading.Thread(target=wait_for_the_kill, args=(process, []))
    waiting.start()
    assert progress.has_begun.wait(60.0)
    assert os.getpriority(os.PRIO_PROCESS, process.process_id) >= 15
    # Of the same session, or the kernel's groups would give it as much as all others together.
    assert os.getsid(process.process_id) == os.getsid(0)
    process.kill()
    waiting.join()


def test_teaching_ends_when_whoever_started_it_is_killed(session):
    program = (
        'from pathlib import Path\n'
        'from anomaly_inspection.teaching.session import TeachingFolder\n'
        'from anomaly_inspection.teaching.teach_process import TeachProcess\n'
        'from support.teaching import QUICK\n'
        f'session = TeachingFolder(Path({str(session.folder.parent)!r})).open({session.name!r})\n'
        'process = TeachProcess(session, QUICK, lambda *_: None)\n'
        'print(process.process_id, flush=True)\n'
        'process.wait()\n'
    )
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, '-c', program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': path},
    ) as parent:
        child_id = int(parent.stdout.readline())
        # Of a process that is not our child, this waits for its end.
        descriptor = os.pidfd_open(child_id)
        parent.send_signal(signal.SIGKILL)
    ended, _, _ = select.select([descriptor], [], [], 60.0)
    os.close(descriptor)
    assert ended
    # What it left is removed at the next start.
    TeachingFolder(session.folder.parent).tidy()
    assert leftovers(session) == []
    assert len(session.image_names()) == 13


def test_an_accepted_draft_is_the_next_version_and_the_old_one_is_kept(session, tmp_path):
    library = tmp_path / 'library'
    first, _ = install(draft_of(session), library, BUDGET_BYTES)
    second, notes = install(draft_of(session), library, BUDGET_BYTES)
    assert notes == ()
    assert (first.version, second.version) == (1, 2)
    assert read_recipe(library / 'pump_3').hash == second.hash
    assert read_recipe(library / 'pump_3.v1').hash == first.hash
    assert len(second.teaching_images.entries) == 12


def test_an_accepted_draft_keeps_the_ranges_that_an_engineer_has_set(session, tmp_path):
    library = tmp_path / 'library'
    first, _ = install(draft_of(session), library, BUDGET_BYTES)
    key = next((s, m) for s, part in first.scorers.items() for m in part.limits)
    limit = first.scorers[key[0]].limits[key[1]].limit
    moved = first.with_limits({key: limit})
    write_recipe(moved.with_ranges({key: (limit, None)}), library / 'pump_3')
    third, notes = install(draft_of(session), library, BUDGET_BYTES)
    assert third.version == 3
    assert third.scorers[key[0]].limits[key[1]].lowest == limit
    assert notes == ()


def test_an_accepted_draft_keeps_the_marks_on_the_part(session, tmp_path):
    library = tmp_path / 'library'
    first, _ = install(draft_of(session), library, BUDGET_BYTES)
    marks = PartMarks((100.0, 90.0), 20.0, (Grasp(110.0, 95.0, 0.0, 30.0),), 0.01)
    write_recipe(replace(first, marks=marks), library / 'pump_3')
    third, _ = install(draft_of(session), library, BUDGET_BYTES)
    assert third.version == 3
    assert third.marks.origin_px == pytest.approx(marks.origin_px, abs=0.1)
    assert third.marks.axis_deg == pytest.approx(20.0, abs=0.1)
    assert (len(third.marks.grasps), third.marks.height_m) == (1, 0.01)
    assert len(third.teaching_images.entries) == 12


def test_a_draft_that_was_changed_is_not_installed(session, tmp_path):
    draft = draft_of(session)
    path = draft.folder / 'recipe.yaml'
    path.write_text(path.read_text().replace('Ada', 'Eve'))
    with pytest.raises(RecipeError, match='not what was taught'):
        install(draft, tmp_path / 'library', BUDGET_BYTES)
    assert not (tmp_path / 'library').exists()


@pytest.mark.parametrize('text', ['', '[]', '{}', '{"recipe_name": "x"}', '{"evil": 1}', 'NaN'])
def test_a_damaged_report_is_no_draft(session, text):
    (session.draft_folder / 'report.json').write_text(text)
    assert draft_of(session) is None


def test_a_discarded_draft_is_gone_and_the_images_stay(session):
    discard(session)
    assert draft_of(session) is None
    assert len(session.image_names()) == 13
    assert leftovers(session) == []
    with pytest.raises(SettingError, match='has no draft'):
        discard(session)


def test_an_autoencoder_is_trained_on_request_and_leaves_nothing_else_behind(
    tmp_path, monkeypatch
):
    pytest.importorskip('tensorflow')
    settings = TrainingSettings(architecture='tutorial_260', input_px=32, epochs=2)
    monkeypatch.setattr(autoencoder_training, 'TRAINING', settings)
    session = recorded_session(tmp_path, count=22)
    work = session.folder / 'work'
    progress = Progress()
    scorers = ('ssim', 'autoencoder')
    job = {**QUICK, 'scorers': scorers, 'folder': str(tmp_path), 'session': session.name}
    report = run_teach_job(TeachJob(**job, work=str(work)), progress)
    assert set(report.scorers) == set(scorers)
    recipe = read_recipe(work / 'recipe' / report.recipe_name)
    assert set(recipe.scorers) == set(scorers)
    assert recipe.provenance.taught_by == 'Ada'
    passes = [(done, total) for done, total, what in progress.said if 'autoencoder, held' in what]
    assert passes == [(1, 2), (2, 2)]
    assert not list(work.glob('training_*'))


def test_without_the_packages_of_a_training_the_job_says_so_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(autoencoder_training, '_NEEDED', ('tensorflow_that_is_not_there',))
    session = recorded_session(tmp_path, count=6)
    progress = Progress()
    job = {**QUICK, 'scorers': ('autoencoder',), 'folder': str(tmp_path)}
    with pytest.raises(SettingError, match=r'needs tensorflow_that.*pip install .*\[train\]'):
        run_teach_job(TeachJob(**job, session=session.name, work=str(tmp_path / 'w')), progress)
    assert progress.said == []
