# SPDX-License-Identifier: Apache-2.0
"""
The panel of a cell with several views: a picture of each, with the joined verdict.

"""

import functools
import io

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionServer
from sensor_msgs.msg import CompressedImage

from anomaly_inspection.action import RunChallenge
from anomaly_inspection.msg import Calibration, Challenge, Decision, Part
from anomaly_inspection.nodes.panel_node import PanelNode
from anomaly_inspection.nodes.panel_views import health_views
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.cell.views import CalibrationView, joined_calibration
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

# Both cameras stamp the frames of a part alike, as a hardware trigger makes them.
STAMP = stamp_from_nanoseconds(5_000)


class Panel(PanelNode):
    """
    The panel without its web server, as if somebody looked.

    """

    def activate(self):
        self._start_watching()

    def deactivate(self):
        self._stop_watching()

    def _look_around(self):
        pass


@pytest.fixture
def bench(ros_context):
    peer = Peer(ros_context)
    peer.out = {
        topic: peer.create_publisher(message_type, topic, EVENT)
        for message_type, topic in (
            (Part, 'part'),
            (Decision, 'decision'),
            *((CompressedImage, f'{v}/overlay/part/compressed') for v in ('top', 'left')),
        )
    }
    bench = NodeBench(Panel, peer, views=['top', 'left'], review_mb=0).wait_until_active()
    bench.wait(lambda: all(one.get_subscription_count() == 1 for one in peer.out.values()))
    yield bench
    bench.close()


def test_pictures_of_both_views_wait_for_the_joined_verdict(bench):
    out, frames = bench.peer.out, bench.node.parts.frames
    key = {'session_id': 'test', 'part_id': 7}
    for views, is_complete in ((['top'], False), (['top', 'left'], True)):
        out['part'].publish(
            Part(
                frame_stamps=[STAMP] * len(views),
                frame_names=[''] * len(views),
                frame_problems=[''] * len(views),
                frame_views=views,
                is_complete=is_complete,
                **key,
            )
        )
    bench.wait(lambda: ('left', 5_000) in bench.node._keys_by_stamp)
    for view in ('top', 'left'):
        message = CompressedImage(data=view.encode())
        message.header.stamp = STAMP
        out[f'{view}/overlay/part/compressed'].publish(message)
    bench.wait(lambda: len(bench.node._undecided) == 2)
    assert frames.newest('left')[1] is None
    out['decision'].publish(
        Decision(verdict=Decision.VERDICT_REJECT, reason=Decision.REASON_LIMIT_EXCEEDED, **key)
    )
    bench.wait(lambda: frames.newest('top')[1] and frames.newest('left')[1])
    for view in ('top', 'left'):
        frame = frames.newest(view)[1]
        assert (frame.jpeg, frame.key, frame.has_passed) == (view.encode(), ('test', 7), False)
    assert frames.jpeg_of(('test', 7)) == b'top'


def test_the_nodes_of_the_views_stand_under_health_and_those_of_other_cells_do_not():
    names = ('sorter', 'left/camera: source', 'teacher/helper')
    message = DiagnosticArray(
        status=[
            DiagnosticStatus(name=f'/inspection/{name}', level=DiagnosticStatus.ERROR)
            for name in names
        ]
    )
    found = health_views(message, '/inspection', 1.0, ('top', 'left'))
    assert [(view.node, view.concern) for view in found] == [
        ('sorter', ''),
        ('left/camera', 'source'),
    ]


def test_calibrations_of_the_views_are_shown_as_one(bench):
    state = bench.node.parts.state
    out = {
        view: bench.peer.create_publisher(Calibration, f'{view}/calibration', LATCHED)
        for view in ('top', 'left')
    }

    def shown(view, **fields):
        seen = state.picture().calibration
        out[view].publish(Calibration(parts_wanted=20, **fields))
        bench.wait(lambda: state.picture().calibration != seen)
        return state.picture().calibration

    first = shown('top', state=Calibration.STATE_COLLECTING, parts=7, detail='so far; 1 is bad')
    assert (first.parts, first.parts_wanted, first.detail) == (7, 20, 'so far; 1 is bad')
    assert shown('left', state=Calibration.STATE_COLLECTING, parts=5).parts == 5
    last = shown('left', state=Calibration.STATE_DONE, parts=20, detail='new limits')
    assert (last.is_under_way, last.parts) == (True, 7)
    done = shown('top', state=Calibration.STATE_DONE, parts=20, detail='others', promise='1 %')
    assert (done.state, done.detail) == ('done', 'top: others; left: new limits')
    assert done.promise == 'top: 1 %'
    failed = shown('left', state=Calibration.STATE_FAILED, parts=3, detail='parts are unlike')
    assert failed.state == 'failed'
    assert failed.detail == 'left: parts are unlike; top: others'


def test_what_the_decider_says_when_no_calibration_was_begun_is_kept():
    said = CalibrationView(detail='there is no recipe yet')
    assert joined_calibration({'': said}) == said
    assert joined_calibration({}) == CalibrationView()


def test_recipes_are_not_switched_deleted_or_brought_on_the_page(bench, tmp_path):
    commands = bench.node.parts.commands
    folder = tmp_path / 'left'
    folder.mkdir()
    for answer in (
        commands.load_recipe(str(folder)),
        commands.roll_back(str(folder), 1),
        commands.delete_recipe(str(folder)),
        commands.import_recipe(io.BytesIO(b''), str(tmp_path)),
    ):
        assert (answer.success, answer.code) == (False, 'recipe_at_launch')
        assert 'teach --view' in answer.message
    assert folder.is_dir()


def test_a_challenge_runs_in_the_view_that_is_named(bench):
    commands, state = bench.node.parts.commands, bench.node.parts.state
    for view in ('', 'front'):
        for answer in (commands.run_challenge(view), commands.cancel_challenge(view)):
            assert (answer.success, answer.code) == (False, 'challenge_of_a_view')
            assert answer.message == (
                f'view {view!r}: refused; a challenge runs in one view, allowed: top, left'
            )
    silent = 'left: the left/decider is not running'
    assert commands.run_challenge('left').message == silent
    begun = []

    def run(goal):
        begun.append('left')
        goal.abort()
        return RunChallenge.Result(success=False, message='no challenge parts are configured')

    server = ActionServer(bench.peer, RunChallenge, 'left/decider/run_challenge', run)
    bench.wait(lambda: commands.run_challenge('left').message != silent)
    assert commands.run_challenge('left').message == 'left: no challenge parts are configured'
    assert begun
    server.destroy()
    out = bench.peer.create_publisher(Challenge, 'left/challenge', LATCHED)
    parts = ['good gold sample', 'bad scratch']
    out.publish(Challenge(state=Challenge.STATE_DUE, parts=parts, production_is_blocked=True))
    bench.wait(lambda: 'left' in state.picture().challenges)
    assert state.picture().challenges['left'].is_blocked
    assert state.picture().challenges['left'].parts == tuple(parts)


@pytest.mark.parametrize(
    'names', [['ssim.mse'], ['front/ssim.mse'], ['top/ssim.mse', 'left/ssim.mse'], []]
)
def test_limits_that_are_not_of_one_view_are_refused(bench, names):
    answer = bench.node.parts.commands.set_limits(dict.fromkeys(names, 1.0))
    assert (answer.success, answer.code) == (False, 'limits_of_one_view')
    assert 'top/, left/' in answer.message
    assert all(name in answer.message for name in names)
    ranges = bench.node.parts.commands.set_limit_ranges(dict.fromkeys(names, (None, 1.0)))
    assert ranges.code == 'limits_of_one_view'


def test_a_view_without_a_decider_is_named(bench):
    commands = bench.node.parts.commands
    answer = commands.set_limits({'left/ssim.mse': 1.0})
    assert (answer.success, answer.code) == (False, 'not_running')
    assert answer.message == 'left: left/decider is not running'
    assert answer.values == {'node': 'left/decider'}
    assert commands.save_limits().message.startswith('top: top/decider is not running; left: ')
    assert commands.calibrate(20, 0.0).message == 'top: the top/decider is not running'


@pytest.mark.parametrize('left_begins', [True, False])
def test_a_calibration_that_ends_at_once_has_begun_and_one_refused_begins_in_no_view(
    bench, monkeypatch, left_begins
):
    answers = {
        'top': Answer(True, 'limits from 5 parts are in force'),
        'left': Answer(left_begins, '' if left_begins else 'a goal is under way already'),
    }
    asked, cancelled = [], []

    def begin(view, goal):
        asked.append(view)
        return answers[view]

    for view, decider in bench.node.parts.commands._deciders._deciders.items():
        monkeypatch.setattr(decider.calibration, 'begin', functools.partial(begin, view))
        monkeypatch.setattr(
            decider.calibration, 'cancel', functools.partial(cancelled.append, view)
        )
    answer = bench.node.parts.commands.calibrate(5, 0.0)
    assert asked == ['top', 'left']
    if left_begins:
        assert answer == Answer(True, 'top: limits from 5 parts are in force')
        assert cancelled == []
    else:
        assert answer == Answer(False, 'left: a goal is under way already')
        assert cancelled == ['top']
