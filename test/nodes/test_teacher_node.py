# SPDX-License-Identifier: Apache-2.0
"""
The teacher node over DDS: from parts of the line to a recipe in force, and every way out.

"""

import itertools
import os
import shutil
import signal
import threading
import time

from action_msgs.msg import GoalStatus
import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.action import ActionServer
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from anomaly_inspection.action import AcceptDraft, LoadRecipe, RecordParts, Teach
from anomaly_inspection.msg import Decision, Part, ShadowVerdict, TeacherState
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.nodes.teacher_node import TeacherNode
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.srv import AddTeachingImage, DeleteTeachingImages, TeachingCommand
from anomaly_inspection.steady_clock import steady_clock_id
from anomaly_inspection.teaching import session as session_module
from anomaly_inspection.teaching import trial as trial_module
from anomaly_inspection.teaching.draft import put_in_place
from anomaly_inspection.teaching.session import TeachingFolder
from anomaly_inspection.teaching.teach_process import TeachProcess
from support.cell_bench import NodeBench, Peer
from support.teaching import good_parts, NOW, QUICK, recorded_session

pytestmark = [pytest.mark.ros, pytest.mark.timeout(240)]

# Teaching runs behind everything else on the machine: other tests may hold it up for long.
SLOW_S = 60.0
TEACH_FIELDS = {'scorers': ['ssim'], 'false_reject_rate': 0.005, 'taught_by': 'Ada'}


class Line(Peer):
    """
    Plays camera and decider.

    """

    def __init__(self, context):
        super().__init__(context)
        self.states = self.hear(TeacherState, 'teacher/state', LATCHED)
        self.shadows = self.hear(ShadowVerdict, 'teacher/shadow', EVENT)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.image_out = self.create_publisher(Image, 'part/image', IMAGE)
        self.decision_out = self.create_publisher(Decision, 'decision', EVENT)
        self.numbers = itertools.count(1)
        self.loaded = []
        self.load_answer = (True, 'recipe is in force')
        self.decider = None
        self.is_stuck = False
        self.stuck = Future()

    def serve_decider(self):
        self.decider = ActionServer(self, LoadRecipe, 'decider/load_recipe', self._load)

    async def _load(self, handle):
        self.loaded.append(handle.request.path)
        if self.is_stuck:
            await self.stuck
        success, message = self.load_answer
        handle.succeed()
        return LoadRecipe.Result(success=success, message=message)

    def destroy_node(self):
        if self.decider is not None:
            self.decider.destroy()
        super().destroy_node()

    def part(self, pixels, *, is_complete=True, part_id=0):
        """
        Send a part with its image; give its number.

        """
        number = part_id or next(self.numbers)
        stamp = stamp_from_nanoseconds(number)
        self.part_out.publish(
            Part(
                session_id='line',
                part_id=number,
                frame_stamps=[stamp],
                frame_names=[''],
                frame_problems=[''],
                is_complete=is_complete,
                exposure_steady_ns=time.monotonic_ns(),
                steady_clock_id=steady_clock_id(),
            )
        )
        self.image_out.publish(image_from_array(pixels, stamp, 'camera'))
        return number

    def decide(self, number, *, is_pass):
        self.decision_out.publish(
            Decision(
                session_id='line',
                part_id=number,
                verdict=Decision.VERDICT_PASS if is_pass else Decision.VERDICT_REJECT,
                anomaly_score=0.5,
                recipe_name='old',
                recipe_version=7,
            )
        )


class Bench(NodeBench):
    def __init__(self, context, tmp_path, **parameters):
        self.line = Line(context)
        self.folder = TeachingFolder(tmp_path / 'teaching')
        self.library = tmp_path / 'library'
        super().__init__(
            TeacherNode,
            self.line,
            folder=str(self.folder.path),
            library=str(self.library),
            **parameters,
        )
        self.wait_until_active()
        self.wait(lambda: self.line.states)

    @property
    def state(self):
        return self.line.states[-1]

    @property
    def sessions(self):
        return {one.name: one for one in self.state.sessions}

    def command(self, name, session):
        answer = self.call(TeachingCommand, f'teacher/{name}', session=session)
        return answer.success, answer.message

    def record(self, **fields):
        goal = self.send_goal(RecordParts, 'teacher/record', **fields)
        self.wait(lambda: self.state.activity == TeacherState.ACTIVITY_RECORDING)
        for publisher in (self.line.part_out, self.line.image_out):
            self.wait(lambda p=publisher: p.get_subscription_count())
        return goal

    def start_trial(self, session):
        success, message = self.command('start_trial', session)
        assert success, message
        for publisher in (self.line.part_out, self.line.image_out, self.line.decision_out):
            self.wait(lambda p=publisher: p.get_subscription_count())

    def send_one_by_one(self, goal, parts):
        for count, part in enumerate(parts, start=1):
            self.line.part(part)
            self.wait(lambda c=count: goal.feedback and goal.feedback[-1].parts >= c)


@pytest.fixture
def bench(ros_context, tmp_path):
    bench = Bench(ros_context, tmp_path)
    yield bench
    bench.close()


@pytest.fixture(scope='module')
def taught_folder(tmp_path_factory):
    """
    A teaching folder with one session and its draft; do not change it.

    """
    folder = tmp_path_factory.mktemp('teaching')
    session = recorded_session(folder)
    put_in_place(session, TeachProcess(session, QUICK, lambda *_: None).wait())
    return folder


@pytest.fixture
def taught_bench(ros_context, tmp_path, taught_folder):
    shutil.copytree(taught_folder, tmp_path / 'teaching')
    bench = Bench(ros_context, tmp_path)
    yield bench
    bench.close()


def only_session(bench):
    (session,) = bench.folder.sessions()
    return session


# Recording


def test_the_next_parts_of_the_line_become_a_session(bench):
    goal = bench.record(product='Pump 3', parts=4)
    parts = good_parts(4)
    bench.send_one_by_one(goal, parts[:3])
    assert [one.hint_code for one in goal.feedback if one.image] == [''] * 3
    bench.line.part(parts[3])
    status, success, message = goal.result()
    assert (status, success) == (GoalStatus.STATUS_SUCCEEDED, True)
    assert message.startswith('4 parts recorded')
    session = only_session(bench)
    assert session.product == 'Pump 3'
    for name, part in zip(session.image_names(), parts, strict=True):
        assert np.array_equal(session.read_image(name), part)
    bench.wait(lambda: bench.sessions and bench.sessions[session.name].images == 4)
    bench.wait(lambda: bench.state.activity == TeacherState.ACTIVITY_IDLE)


def test_who_listens_to_nothing_costs_the_line_nothing(bench):
    assert bench.line.image_out.get_subscription_count() == 0
    goal = bench.record(product='pump')
    goal.cancel()
    goal.result()
    bench.wait(lambda: bench.line.image_out.get_subscription_count() == 0)


def test_a_cancelled_recording_keeps_what_it_has_and_goes_on_later(bench):
    goal = bench.record(product='pump')
    bench.send_one_by_one(goal, good_parts(2))
    assert goal.cancel()
    status, success, message = goal.result()
    assert (status, success) == (GoalStatus.STATUS_CANCELED, False)
    assert '2 parts recorded' in message
    session = only_session(bench)
    goal = bench.record(session=session.name, parts=1)
    bench.line.part(good_parts(1, seed=9)[0])
    assert goal.result()[1]
    assert len(session.image_names()) == 3


def test_hints_name_what_is_wrong_with_a_part(bench):
    goal = bench.record(product='pump')
    parts = good_parts(5)
    blurred = cv2.GaussianBlur(parts[4], (0, 0), 4.0)
    bench.send_one_by_one(goal, [*parts[:4], parts[1], blurred])
    codes = {one.image: one.hint_code for one in goal.feedback}
    assert [codes[f'{number:06d}.png'] for number in range(1, 7)] == [*4 * [''], 'copy', 'focus']
    assert 'Put the part down anew' in next(
        one.hint for one in goal.feedback if one.hint_code == 'copy'
    )
    bench.wait(lambda: bench.state.hint_code == 'focus')


def test_a_part_that_is_held_is_recorded_once(bench):
    goal = bench.record(product='pump', parts=2)
    parts = good_parts(2)
    number = bench.line.part(parts[0], is_complete=False)
    bench.wait(lambda: goal.feedback and goal.feedback[-1].parts == 1)
    message = Part(
        session_id='line',
        part_id=number,
        frame_stamps=[stamp_from_nanoseconds(number), stamp_from_nanoseconds(900)],
        frame_names=['', ''],
        frame_problems=['', ''],
        is_complete=True,
    )
    bench.line.part_out.publish(message)
    bench.line.image_out.publish(image_from_array(parts[0], stamp_from_nanoseconds(900), 'camera'))
    bench.line.part(parts[1])
    assert goal.result()[1]
    session = only_session(bench)
    assert np.array_equal(session.read_image('000002.png'), parts[1])


def test_a_line_that_stands_still_is_said_in_words(ros_context, tmp_path):
    bench = Bench(ros_context, tmp_path, silence_s=1.0)
    try:
        goal = bench.record(product='pump')
        bench.wait(lambda: goal.feedback and goal.feedback[-1].hint_code == 'silence')
        assert 'does the line run' in goal.feedback[-1].hint
        bench.line.destroy_publisher(bench.line.image_out)
        bench.wait(lambda: 'nobody sends part/image' in goal.feedback[-1].hint)
        bench.line.image_out = bench.line.create_publisher(Image, 'part/image', IMAGE)
        bench.wait(lambda: bench.line.image_out.get_subscription_count())
        bench.line.part(good_parts(1)[0])
        bench.wait(lambda: goal.feedback[-1].parts == 1)
        assert goal.feedback[-1].hint_code == ''
    finally:
        bench.close()


@pytest.mark.parametrize(
    ('fields', 'why'),
    [
        ({}, 'give one of them'),
        ({'product': 'pump', 'session': 'x'}, 'give one of them'),
        ({'session': '../../etc'}, 'no teaching session'),
        ({'product': 'x' * 100}, 'allowed: 1 to 80'),
        ({'product': 'pump', 'parts': 2001}, 'parts is 2001; allowed: 1 to 2000'),
    ],
)
def test_a_recording_that_cannot_be_is_refused(bench, fields, why):
    _, success, message = bench.send_goal(RecordParts, 'teacher/record', **fields).result()
    assert not success
    assert why in message
    assert bench.folder.sessions() == []


def test_a_folder_that_cannot_be_written_is_named(ros_context, tmp_path):
    (tmp_path / 'teaching').write_text('a file')
    bench = Bench(ros_context, tmp_path)
    try:
        _, success, message = bench.send_goal(
            RecordParts, 'teacher/record', product='pump'
        ).result()
        assert not success
        assert f'cannot begin a teaching session in {tmp_path / "teaching"}' in message
    finally:
        bench.close()


def test_a_disk_that_fills_up_ends_the_recording_and_costs_no_image(bench, monkeypatch):
    goal = bench.record(product='pump')
    bench.send_one_by_one(goal, good_parts(2))

    def full(path, content):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(session_module, '_write', full)
    bench.line.part(good_parts(3)[2])
    _, success, message = goal.result()
    assert not success
    assert 'No space left on device; the 2 images recorded so far are safe' in message
    assert len(only_session(bench).image_names()) == 2


# Images


def test_images_are_added_and_deleted(bench):
    session = bench.folder.begin('pump', NOW)
    parts = good_parts(2)
    for number, part in enumerate(parts):
        content = cv2.imencode('.png', part)[1].tobytes()
        answer = bench.call(
            AddTeachingImage,
            'teacher/add_image',
            session=session.name,
            file_name=f'{number}.png',
            content=content,
        )
        assert answer.success, answer.message
    answer = bench.call(
        AddTeachingImage,
        'teacher/add_image',
        session=session.name,
        file_name='again.png',
        content=content,
    )
    assert answer.message.startswith('000003.png added. Too alike')
    answer = bench.call(
        AddTeachingImage,
        'teacher/add_image',
        session=session.name,
        file_name='<script>.png',
        content=b'<script>',
    )
    assert not answer.success
    assert 'not a PNG, JPEG, BMP or TIFF' in answer.message
    for images, is_deleted in ((['000003.png', 'x'], False), (['000003.png'], True)):
        answer = bench.call(
            DeleteTeachingImages, 'teacher/delete_images', session=session.name, images=images
        )
        assert answer.success is is_deleted, answer.message
    bench.wait(lambda: session.name in bench.sessions and bench.sessions[session.name].images == 2)
    assert bench.command('delete_session', session.name)[0]
    bench.wait(lambda: not bench.sessions)
    assert bench.folder.sessions() == []


def test_a_file_begins_a_session_for_its_product(bench):
    content = cv2.imencode('.png', good_parts(1)[0])[1].tobytes()

    def add(content=content, **target):
        return bench.call(
            AddTeachingImage, 'teacher/add_image', file_name='a.png', content=content, **target
        )

    begun = add(product='Pumpe 3')
    assert begun.success, begun.message
    assert begun.session.startswith('pumpe_3_')
    assert add(session=begun.session).session == begun.session
    bench.wait(lambda: [one.images for one in bench.sessions.values()] == [2])
    # What is refused begins nothing.
    for target, why in (
        ({'product': 'x', 'content': b'<script>'}, 'not a PNG, JPEG, BMP or TIFF'),
        ({'product': 'a\nb'}, 'product is'),
        ({}, 'give one of them'),
        ({'product': 'x', 'session': begun.session}, 'give one of them'),
        ({'session': 'none'}, 'no teaching session'),
    ):
        refused = add(**target)
        assert not refused.success
        assert why in refused.message
    assert [one.name for one in bench.folder.sessions()] == [begun.session]


def test_files_that_come_at_the_same_time_are_all_added(bench):
    session = bench.folder.begin('pump', NOW)
    contents = [cv2.imencode('.png', part)[1].tobytes() for part in good_parts(8)]
    futures = [
        bench.call_async(
            AddTeachingImage,
            'teacher/add_image',
            session=session.name,
            file_name=f'{number}.png',
            content=content,
        )
        for number, content in enumerate(contents)
    ]
    bench.wait(lambda: all(future.done() for future in futures))
    assert [future.result().message for future in futures if not future.result().success] == []
    assert len(session.image_names()) == len(contents)


def test_a_session_is_left_alone_while_it_is_recorded(bench):
    goal = bench.record(product='pump')
    session = only_session(bench).name
    for name in ('delete_session', 'discard'):
        success, message = bench.command(name, session)
        assert not success
        assert 'is recording' in message
    _, success, message = bench.send_goal(Teach, 'teacher/teach', session=session).result()
    assert not success
    assert 'is recording' in message
    goal.cancel()
    goal.result()


# Teaching


def test_a_session_becomes_a_draft_and_nothing_is_in_force(bench):
    session = recorded_session(bench.folder.path)
    bench.line.serve_decider()
    goal = bench.send_goal(Teach, 'teacher/teach', session=session.name, **TEACH_FIELDS)
    bench.wait(lambda: bench.state.activity == TeacherState.ACTIVITY_TEACHING)
    status, success, message = goal.result()
    assert (status, success) == (GoalStatus.STATUS_SUCCEEDED, True), message
    assert message.startswith('taught pump_3 on 12 images with ssim')
    details = {one.detail for one in goal.feedback}
    assert 'judging synthetic defects' in details
    bench.wait(lambda: bench.sessions[session.name].draft)
    (draft,) = bench.sessions[session.name].draft
    assert (draft.recipe_name, draft.product, draft.image_count) == ('pump_3', 'Pump 3', 12)
    assert len(draft.seen) == len(draft.sizes_px) * len(draft.contrasts_levels)
    assert {one.topic for one in draft.findings} >= {'parts', 'position', 'light'}
    assert draft.promise
    assert read_recipe(draft.path).hash == draft.hash
    assert bench.line.loaded == []
    assert not bench.library.exists()


def test_too_few_images_are_refused_at_once(bench):
    session = recorded_session(bench.folder.path, count=4)
    _, success, message = bench.send_goal(Teach, 'teacher/teach', session=session.name).result()
    assert not success
    assert 'has 4 images; teaching needs at least 5' in message


def test_a_cancelled_teaching_leaves_nothing_behind(bench):
    session = recorded_session(bench.folder.path)
    before = sorted(os.listdir(session.folder))
    goal = bench.send_goal(Teach, 'teacher/teach', session=session.name)
    bench.wait(lambda: goal.feedback, SLOW_S)
    assert goal.cancel()
    status, _, message = goal.result()
    assert status == GoalStatus.STATUS_CANCELED
    assert 'nothing was taught' in message
    assert sorted(os.listdir(session.folder)) == before
    bench.wait(lambda: bench.state.activity == TeacherState.ACTIVITY_IDLE)


def test_a_killed_teaching_process_is_said_in_words(bench, monkeypatch):
    from anomaly_inspection.nodes import teaching_face

    started = []

    class Watched(teaching_face.TeachProcess):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self.process_id)

    monkeypatch.setattr(teaching_face, 'TeachProcess', Watched)
    session = recorded_session(bench.folder.path)
    goal = bench.send_goal(Teach, 'teacher/teach', session=session.name)
    bench.wait(lambda: goal.feedback, SLOW_S)
    os.kill(started[0], signal.SIGKILL)
    _, success, message = goal.result()
    assert not success
    assert 'was killed' in message


# Trial run


def test_a_draft_on_trial_judges_each_part_beside_the_recipe_in_force(taught_bench):
    bench = taught_bench
    session = only_session(bench).name
    bench.start_trial(session)
    good = good_parts(2)
    bad = good[1].copy()
    cv2.circle(bad, (160, 120), 25, (0, 0, 0), -1)
    for count, (part, is_pass) in enumerate(
        [(good[0], True), (bad, True), (good[1], False)], start=1
    ):
        number = bench.line.part(part)
        bench.line.decide(number, is_pass=is_pass)
        bench.wait(lambda c=count: len(bench.line.shadows) == c)
    verdicts = [(one.verdict, one.verdict_in_force) for one in bench.line.shadows]
    assert verdicts == [
        (Decision.VERDICT_PASS, Decision.VERDICT_PASS),
        (Decision.VERDICT_REJECT, Decision.VERDICT_PASS),
        (Decision.VERDICT_PASS, Decision.VERDICT_REJECT),
    ]
    shadow = bench.line.shadows[1]
    assert (shadow.session, shadow.part_id, shadow.recipe_version) == (session, 2, 7)
    assert shadow.reason == Decision.REASON_LIMIT_EXCEEDED
    assert shadow.anomaly_score > 1.0
    assert shadow.worst_measure.startswith('ssim.')
    bench.wait(lambda: bench.state.trial_parts == 3)
    state = bench.state
    assert (state.trial_session, state.trial_draft_rejects) == (session, 1)
    assert (state.trial_rejects_in_force, state.trial_differ) == (1, 2)
    answer = bench.call(Trigger, 'teacher/stop_trial')
    assert '3 parts judged by both' in answer.message
    bench.wait(lambda: bench.line.image_out.get_subscription_count() == 0)
    assert not bench.call(Trigger, 'teacher/stop_trial').success


def test_the_verdict_in_force_may_come_before_that_of_the_draft(taught_bench):
    bench = taught_bench
    bench.start_trial(only_session(bench).name)
    number = next(bench.line.numbers)
    bench.line.decide(number, is_pass=True)
    bench.wait(lambda: bench.node.trial._trial.parts)
    bench.line.part(good_parts(1)[0], part_id=number)
    bench.wait(lambda: len(bench.line.shadows) == 1)


def test_a_draft_slower_than_the_line_drops_parts_and_says_so(taught_bench, monkeypatch):
    bench = taught_bench
    go_on = threading.Event()
    judge = trial_module.RecipeJudge.judge

    def slow(self, frame):
        assert go_on.wait(20.0)
        return judge(self, frame)

    monkeypatch.setattr(trial_module.RecipeJudge, 'judge', slow)
    bench.start_trial(only_session(bench).name)
    part = good_parts(1)[0]
    trial = bench.node.trial._trial
    numbers = []
    for count in range(1, trial_module.WAITING_FRAMES + 4):
        numbers.append(bench.line.part(part))
        # One after the other: a burst of images may lose some on its way.
        bench.wait(lambda c=count: trial.counts.dropped + len(trial.parts) == c)
    bench.wait(lambda: bench.state.trial_dropped == 2)
    for number in numbers:
        bench.line.decide(number, is_pass=True)
    assert 'Inspection is not affected' in bench.node._problems['trial'][1]
    go_on.set()
    bench.wait(lambda: len(bench.line.shadows) >= trial_module.WAITING_FRAMES)


def test_an_unreadable_image_is_a_reject_of_the_draft(taught_bench):
    bench = taught_bench
    bench.start_trial(only_session(bench).name)
    number = bench.line.part(np.zeros((10, 10, 3), np.uint8))
    bench.line.decide(number, is_pass=False)
    bench.wait(lambda: bench.line.shadows)
    assert bench.line.shadows[0].reason == Decision.REASON_FRAME_INVALID


# Accept and discard


def test_an_accepted_draft_is_a_new_version_in_the_library_and_in_force(taught_bench):
    bench = taught_bench
    session = only_session(bench)
    bench.line.serve_decider()
    bench.wait(bench.node._teaching._load.server_is_ready)
    bench.start_trial(session.name)
    _, success, message = bench.send_goal(
        AcceptDraft, 'teacher/accept', session=session.name
    ).result()
    assert success, message
    assert bench.line.loaded == [str(bench.library / 'pump_3')]
    recipe = read_recipe(bench.library / 'pump_3')
    assert (recipe.product, recipe.version) == ('Pump 3', 1)
    assert message == f'recipe is in force. It is in {bench.library / "pump_3"}'
    bench.wait(lambda: not bench.sessions[session.name].draft)
    bench.wait(lambda: not bench.state.trial_session)
    assert len(session.image_names()) == 12


def test_the_answer_says_which_range_of_a_limit_could_not_stay(taught_bench):
    """
    The engineer's range in the library does not hold the limit of the draft.

    """
    bench = taught_bench
    session = only_session(bench)
    older = read_recipe(session.draft_folder / 'recipe' / 'pump_3')
    key = next((s, m) for s, part in older.scorers.items() for m in part.limits)
    limit = older.scorers[key[0]].limits[key[1]]
    moved = older.with_limits({key: 2.0 * limit.limit - limit.typical})
    end = moved.scorers[key[0]].limits[key[1]].limit
    bench.library.mkdir(parents=True, exist_ok=True)
    write_recipe(moved.with_ranges({key: (end, end)}), bench.library / 'pump_3')
    bench.line.serve_decider()
    bench.wait(bench.node._teaching._load.server_is_ready)
    _, success, message = bench.send_goal(
        AcceptDraft, 'teacher/accept', session=session.name
    ).result()
    assert success, message
    assert f'the range of {".".join(key)}, {end:g} to {end:g}, is now' in message


def test_a_recipe_that_the_decider_refuses_stays_a_draft_and_the_message_says_both(taught_bench):
    bench = taught_bench
    session = only_session(bench).name
    bench.line.serve_decider()
    bench.line.load_answer = (False, 'refused: takes too much memory')
    bench.wait(bench.node._teaching._load.server_is_ready)
    _, success, message = bench.send_goal(AcceptDraft, 'teacher/accept', session=session).result()
    assert not success
    assert 'pump_3 is version 1 now, but it is not in force: refused: takes too much' in message
    assert bench.sessions[session].draft


def test_without_a_decider_nothing_is_installed(taught_bench):
    bench = taught_bench
    session = only_session(bench).name
    _, success, message = bench.send_goal(AcceptDraft, 'teacher/accept', session=session).result()
    assert not success
    assert 'no decider answers' in message
    assert not bench.library.exists()


def test_a_decider_that_dies_while_it_loads_ends_the_wait(taught_bench, monkeypatch):
    bench = taught_bench
    session = only_session(bench).name
    bench.line.serve_decider()
    client = bench.node._teaching._load
    bench.wait(client.server_is_ready)
    bench.line.is_stuck = True
    goal = bench.send_goal(AcceptDraft, 'teacher/accept', session=session)
    bench.wait(lambda: bench.line.loaded)
    monkeypatch.setattr(client, 'server_is_ready', lambda: False)
    _, success, message = goal.result()
    bench.line.stuck.set_result(None)
    assert not success
    assert 'does not answer any more' in message
    assert 'pump_3 is version 1 now' in message


def test_a_discarded_draft_ends_its_trial_and_leaves_the_images(taught_bench):
    bench = taught_bench
    session = only_session(bench)
    bench.start_trial(session.name)
    assert bench.command('discard', session.name)[0]
    bench.wait(lambda: not bench.sessions[session.name].draft)
    bench.wait(lambda: not bench.state.trial_session)
    assert len(session.image_names()) == 12
    assert not bench.command('discard', session.name)[0]
    assert not bench.command('start_trial', session.name)[0]


# A dead node


def test_a_killed_teacher_loses_no_image_and_offers_the_session_again(
    watcher, processes, ros_context, tmp_path
):
    folder = tmp_path / 'teaching'
    processes.start('teacher', folder=folder)
    line = Line(ros_context)
    bench = LineBench(line)
    try:
        bench.action_client(RecordParts, 'teacher/record')
        bench.until_known('teacher')
        goal = bench.send_goal(RecordParts, 'teacher/record', product='pump')
        for publisher in (line.part_out, line.image_out):
            bench.wait(lambda p=publisher: p.get_subscription_count())
        for count, part in enumerate(good_parts(4), start=1):
            line.part(part)
            bench.wait(lambda c=count: goal.feedback and goal.feedback[-1].parts == c)
        processes.kill()
        line.states.clear()
        processes.start('teacher', folder=folder)
        bench.wait(lambda: line.states and line.states[-1].sessions)
        (session,) = line.states[-1].sessions
        assert (session.product, session.images) == ('pump', 4)
        assert line.states[-1].activity == TeacherState.ACTIVITY_IDLE
    finally:
        bench.close()


class LineBench(NodeBench):
    """
    The line alone; the teacher is a process.

    """

    def __init__(self, line):
        self.peer = self.node = line
        self.node._problems = {}
        self.threads = [NodeThread([line], 'line', context=line.context)]
        self.action_clients, self.others = {}, []
        self.threads[0].start()

    def close(self):
        self.threads[0].stop()
        for client in self.action_clients.values():
            client.destroy()
        self.peer.destroy_node()
