# SPDX-License-Identifier: Apache-2.0
"""
The inspector in real cells: our camera and a foreign one, one frame and n of m, belt and place;
frozen and killed nodes; and the example of docs/robot.md.

"""

import os
import re
import signal
import subprocess
import sys

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from action_msgs.msg import GoalStatus

from anomaly_inspection.action import Inspect
from anomaly_inspection.msg import Decision, Part
from anomaly_inspection.nodes.camera_node import CameraNode
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.nodes.scorer_node import ScorerNode
from support.cell_bench import NodeBench, Peer
from support.inspect_cell import good_and_bad, InspectCell
from support.paths import ROOT
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

Result = Inspect.Result
PASS, REJECT = Result.VERDICT_PASS, Result.VERDICT_REJECT
SUCCEEDED, ABORTED = GoalStatus.STATUS_SUCCEEDED, GoalStatus.STATUS_ABORTED


@pytest.fixture(scope='module')
def pictures():
    return good_and_bad()


@pytest.fixture
def make_cell(ros_context, taught_recipe):
    cells = []

    def make(pixels=None, *, asks='nobody', mode='belt', scorer=True, deadline_s=30.0):
        cell = InspectCell(ros_context, pixels, asks=asks)
        cells.append(cell)
        recipe = str(taught_recipe)
        cell.decider = cell.add(
            DeciderNode,
            recipe=recipe,
            mode=mode,
            deadline_s=deadline_s,
            station_frames=3,
            station_required_passes=2,
            state_folder='none',
        )
        if scorer:
            cell.scorer = cell.add(ScorerNode, recipe=recipe, max_age_s=30.0)
        return cell

    yield make
    for cell in cells:
        cell.close()


def ask(cell, **fields):
    return cell.send_goal(Inspect, 'inspect', **fields)


def judged(goal):
    """
    Wait for the answer on a part that was judged.

    """
    answer = goal.answer()
    assert (answer.status, answer.result.success) == (SUCCEEDED, True), answer.result.message
    return answer.result


@pytest.mark.parametrize('mode', ['belt', 'station'])
def test_the_part_in_place_is_judged_by_frames_after_the_goal(make_cell, pictures, mode):
    good, bad = pictures
    cell = make_cell(good, asks='part_detector', mode=mode)
    cell.add(
        PartDetectorNode,
        trigger='service',
        mode=mode,
        station_frames=3,
        station_interval_s=0.0,
        frame_timeout_s=5.0,
    )
    cell.ready()
    for pixels, verdict in ((good, PASS), (bad, REJECT), (good, PASS)):
        # Exchanged a moment ago: frames of the part before are still on their way.
        cell.driver.pixels = pixels
        goal = ask(cell)
        result = judged(goal)
        assert result.verdict == verdict, result.message
        course = [f.frames for f in goal.feedback if f.stage == Inspect.Feedback.STAGE_FRAME_TAKEN]
        assert course[:1] == [1]
    keys = [(decision.session_id, decision.part_id) for decision in cell.decisions]
    assert (result.session_id, result.part_id) == keys[-1]
    assert len(keys) == 3, 'one part for each goal'
    if mode == 'station':
        # Two passes decide, and the next goal then ends the part.
        complete = [part for part in cell.parts if part.is_complete]
        assert {len(part.frame_stamps) for part in complete[:2]} <= {2, 3}
    assert not abs(result.alignment_x_px) > 50


def test_our_camera_takes_a_frame_for_each_goal(make_cell):
    cell = make_cell(asks='camera')
    source = f'{SMALL_LINE},defect_rate=0.5,kinds=missing_bore,parts=6,seed=4'
    cell.add(CameraNode, source=source, mode='triggered', rate_hz=1000.0)
    cell.ready()
    answers = [judged(ask(cell)) for _ in range(4)]
    by_part = {decision.part_id: decision.verdict for decision in cell.decisions}
    assert [answer.part_id for answer in answers] == [1, 2, 3, 4]
    assert [answer.verdict for answer in answers] == [by_part[n] for n in (1, 2, 3, 4)]
    assert len(cell.parts) == 4


def test_on_a_belt_the_next_part_after_the_goal_is_the_one(make_cell):
    cell = make_cell()
    source = f'{SMALL_LINE},defect_rate=0.5,kinds=missing_bore,parts=20,seed=4'
    cell.add(CameraNode, source=source, mode='free_run', rate_hz=5.0, loop=True)
    cell.ready()
    for _ in range(4):
        before = max((part.part_id for part in cell.parts), default=0)
        result = judged(ask(cell))
        cell.wait(lambda part_id=result.part_id: part_id in {d.part_id for d in cell.decisions})
        by_part = {decision.part_id: decision.verdict for decision in cell.decisions}
        assert result.part_id > before
        assert result.verdict == by_part[result.part_id]


def test_a_newer_goal_ends_the_older_one_and_takes_frames_of_its_own(make_cell, pictures):
    good, bad = pictures
    cell = make_cell(good, asks='part_detector', mode='station')
    cell.add(
        PartDetectorNode,
        trigger='service',
        mode='station',
        station_frames=3,
        station_interval_s=0.5,
        frame_timeout_s=5.0,
    )
    cell.ready()
    first = ask(cell)
    cell.wait(lambda: any(f.frames == 1 for f in first.feedback))
    cell.driver.pixels = bad
    second = ask(cell)
    answer = first.answer()
    assert (answer.status, answer.result.outcome) == (ABORTED, Result.OUTCOME_PREEMPTED)
    assert answer.result.verdict == REJECT
    assert judged(second).verdict == REJECT
    assert judged(second).part_id == 2
    by_part = {decision.part_id: decision for decision in cell.decisions}
    assert by_part[1].reason == Decision.REASON_TOO_FEW_FRAMES_PASSED


def test_without_a_frame_the_goal_says_so(make_cell, pictures):
    cell = make_cell(pictures[0], asks='part_detector')
    cell.add(PartDetectorNode, trigger='service', frame_timeout_s=0.3)
    cell.ready()
    cell.driver.stop()
    answer = ask(cell).answer()
    assert (answer.status, answer.result.verdict) == (ABORTED, REJECT)
    assert 'no frame within 0.3 s' in answer.result.message


def test_a_frozen_and_a_killed_scorer_is_a_reject_in_time(make_cell, pictures, processes):
    cell = make_cell(pictures[0], asks='part_detector', scorer=False, deadline_s=60.0)
    cell.add(PartDetectorNode, trigger='service', frame_timeout_s=5.0)
    processes.start('scorer', max_age_s=30.0)
    cell.ready()
    cell.until_known('scorer')
    assert judged(ask(cell)).verdict == PASS
    processes.signal('scorer', signal.SIGSTOP)
    answer = ask(cell, deadline_s=1.5).answer()
    assert (answer.status, answer.result.outcome) == (ABORTED, Result.OUTCOME_LATE)
    assert answer.result.verdict == REJECT
    assert 'no score and no decision came' in answer.result.message
    processes.signal('scorer', signal.SIGCONT)
    # The late score may make the part of the old goal good: the goal has its answer.
    cell.wait(lambda: len(cell.decisions) == 2, 40.0)
    assert answer.result.verdict == REJECT
    assert judged(ask(cell)).verdict == PASS
    processes.signal('scorer', signal.SIGKILL)
    answer = ask(cell, deadline_s=1.5).answer()
    assert (answer.status, answer.result.verdict) == (ABORTED, REJECT)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_ends_answers_its_goal_first(ros_context, processes, number):
    peer = Peer(ros_context)
    peer.create_publisher(Part, 'part', EVENT)
    bench = NodeBench(DeciderNode, peer, state_folder='none')
    try:
        bench.wait_until_active()
        processes.start('inspector', deadline_s=30.0)
        bench.action_client(Inspect, 'inspect')
        bench.until_known('inspector')
        goal = bench.send_goal(Inspect, 'inspect')
        answer = goal.handle.get_result_async()
        bench.wait(lambda: goal.feedback)
        # There and back: by then the inspector knows that somebody waits for the result.
        bench.until_known('inspector')
        processes.signal('inspector', number)
        bench.wait(answer.done)
        assert answer.result().status == ABORTED
        assert answer.result().result.outcome == Result.OUTCOME_STOPPED
        assert processes.running['inspector'].wait(20) == 0
    finally:
        bench.close()


def example():
    """
    Give the program of docs/robot.md that asks for verdicts; another one follows.

    """
    page = (ROOT / 'docs' / 'robot.md').read_text(encoding='utf-8')
    program, *_ = re.findall(r'```python\n(.*?)```', page, re.DOTALL)
    return program


@pytest.mark.parametrize('picture', [0, 1])
def test_the_example_of_the_documents_sorts_parts_into_trays(
    make_cell, pictures, tmp_path, picture
):
    program = tmp_path / 'robot.py'
    program.write_text(example().replace('deadline_s=2.0', 'deadline_s=25.0'))
    cell = make_cell(pictures[picture], asks='part_detector')
    cell.add(PartDetectorNode, trigger='service', frame_timeout_s=5.0)
    cell.ready()
    command = [sys.executable, program, '--ros-args', '-r', '__ns:=/']
    robot = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    said, _ = robot.communicate(timeout=60)
    tray = 'reject tray' if picture else 'good tray'
    assert robot.returncode == 0
    first, second = said.splitlines()
    assert second.startswith(f'A 2: {tray}: part '), said
    # Where discovery has not gone both ways, the first goal finds nobody.
    assert first.startswith(f'A 1: {tray}: part ') or first == 'A 1: reject tray: no answer', said


def test_the_example_puts_parts_of_a_cell_that_is_not_there_into_the_reject_tray(
    domain_id, tmp_path
):
    program = tmp_path / 'robot.py'
    program.write_text(example().replace('deadline_s=2.0', 'deadline_s=0.5'))
    robot = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=True
    )
    assert robot.stdout.splitlines() == [f'A {n}: reject tray: no answer' for n in (1, 2)]


def test_the_example_is_short():
    assert len([line for line in example().splitlines() if line.strip()]) <= 40
