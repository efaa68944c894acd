# SPDX-License-Identifier: Apache-2.0
"""
The inspector over DDS, with a cell that is played: the right part, all of its answer, and REJECT
with a reason whenever something is wrong.

"""

import math

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from action_msgs.msg import GoalStatus

from anomaly_inspection.action import Inspect
from anomaly_inspection.msg import Decision, Fault, LineStop, RecipeInForce
from support.inspector_bench import InspectorBench, SESSION

pytestmark = pytest.mark.ros

SUCCEEDED, ABORTED, CANCELED = (
    GoalStatus.STATUS_SUCCEEDED,
    GoalStatus.STATUS_ABORTED,
    GoalStatus.STATUS_CANCELED,
)
REJECT = Decision.VERDICT_REJECT
Stage, Result = Inspect.Feedback, Inspect.Result


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(**parameters):
        benches.append(InspectorBench(ros_context, **{'deadline_s': 30.0, **parameters}).ready())
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


def no_verdict(goal, outcome, status=ABORTED):
    """
    Wait for the end of a goal that must have got no verdict; give its message.

    """
    answer = goal.answer()
    result = answer.result
    assert (answer.status, result.success) == (status, False)
    assert (result.verdict, result.outcome) == (Result.VERDICT_REJECT, outcome), result.message
    assert 'PASS' not in result.comparison
    return result.message


def passes(goal):
    answer = goal.answer()
    assert (answer.status, answer.result.success) == (SUCCEEDED, True), answer.result.message
    assert answer.result.verdict == Result.VERDICT_PASS
    return answer.result


def test_a_result_that_nobody_filled_in_is_a_reject():
    assert Inspect.Result().verdict == Result.VERDICT_REJECT


def test_a_good_part_passes_with_all_that_is_known_of_it(bench):
    goal = bench.ask()
    bench.announce(4, frames=2, is_complete=False)
    bench.until_stage(goal, Stage.STAGE_FRAME_TAKEN)
    bench.score(4)
    bench.until_stage(goal, Stage.STAGE_SCORED)
    bench.announce(4, frames=3)
    bench.wait(lambda: goal.feedback[-1].all_frames_taken)
    bench.decide(4)
    result = passes(goal)
    assert result.message == 'part 4: PASS: 4 <= 6'
    assert (result.session_id, result.part_id) == (SESSION, 4)
    assert (result.reason, result.comparison) == (Decision.REASON_WITHIN_LIMITS, '4 <= 6 -> PASS')
    assert [(m.scorer, m.measure, m.value, m.limit) for m in result.measures] == [
        ('ssim', 'mse', 4.0, 6.0)
    ]
    assert (result.anomaly_score, result.worst_measure) == (0.5, 'ssim.mse')
    assert (result.alignment_x_px, result.alignment_y_px) == (1.5, -2.5)
    assert (result.alignment_angle_rad, result.alignment_scale) == (0.1, 1.0)
    assert [(region.x_min, region.y_max) for region in result.regions] == [(10, 40)]
    assert (result.recipe_name, result.recipe_version, result.recipe_hash) == ('pump', 3, 'ab')
    assert 0.0 < result.age_s <= result.latency_s < 30.0
    course = [(f.stage, f.part_id, f.frames, f.all_frames_taken) for f in goal.feedback]
    assert course == [
        (Stage.STAGE_WAITING, 0, 0, False),
        (Stage.STAGE_FRAME_TAKEN, 4, 2, False),
        (Stage.STAGE_SCORED, 4, 2, False),
        (Stage.STAGE_FRAME_TAKEN, 4, 3, True),
    ]


def test_a_bad_part_is_a_reject_that_was_judged(bench):
    goal = bench.ask()
    bench.judge(verdict=REJECT, reason=Decision.REASON_LIMIT_EXCEEDED, text='8 > 6')
    answer = goal.answer()
    assert (answer.status, answer.result.success) == (SUCCEEDED, True)
    assert (answer.result.verdict, answer.result.reason) == (REJECT, 2)
    assert answer.result.message == 'part 1: REJECT: 8 > 6'
    assert answer.result.explanation.text == 'a scratch'


def test_the_verdict_of_an_older_part_is_never_the_answer(bench):
    bench.judge(1)
    goal = bench.ask()
    # Announced late, exposed before the goal: the part that was in place a moment ago.
    bench.announce(2, age_s=5.0)
    bench.score(2)
    bench.decide(2)
    bench.decide(1)
    bench.announce(3)
    bench.score(3)
    bench.decide(3, verdict=REJECT, reason=Decision.REASON_LIMIT_EXCEEDED)
    result = goal.answer().result
    assert (result.part_id, result.verdict) == (3, REJECT)


def test_a_part_counts_only_after_the_time_to_settle(make_bench):
    bench = make_bench(settle_s=1.0)
    goal = bench.ask()
    bench.judge(1)
    bench.wait(lambda: bench.node._asked.inspection.request.earliest_s < _now())
    bench.judge(2)
    assert passes(goal).part_id == 2


def _now():
    from anomaly_inspection.nodes.inspection_node import steady_s

    return steady_s()


def test_a_decision_that_comes_before_its_part_and_score_counts(bench):
    goal = bench.ask()
    bench.decide(1)
    bench.wait(lambda: bench.node._asked.inspection._decisions)
    bench.score(1)
    bench.announce(1)
    assert passes(goal).part_id == 1


def test_nothing_comes_and_the_deadline_says_what_is_missing(make_bench):
    bench = make_bench(deadline_s=0.3)
    says = no_verdict(bench.ask(), Result.OUTCOME_NO_PART)
    assert says.endswith('exposed after the goal and announced within 0.3 s of the goal')
    goal = bench.ask(deadline_s=1.0)
    bench.announce(2)
    assert 'no score and no decision came' in no_verdict(goal, Result.OUTCOME_LATE)


def test_a_pass_after_the_deadline_is_not_the_answer(make_bench):
    bench = make_bench()
    goal = bench.ask(deadline_s=0.5)
    bench.announce(1)
    bench.score(1)
    assert 'within 0.5 s of the goal' in no_verdict(goal, Result.OUTCOME_LATE)
    bench.decide(1)
    second = bench.ask()
    bench.judge(2)
    assert passes(second).part_id == 2
    assert goal.answer().result.verdict == REJECT, 'also when it is asked for again'


def test_a_cancelled_goal_is_a_reject_and_the_next_one_runs(bench):
    goal = bench.ask()
    bench.announce(1)
    bench.until_stage(goal, Stage.STAGE_FRAME_TAKEN)
    assert goal.cancel()
    bench.score(1)
    bench.decide(1)
    assert no_verdict(goal, Result.OUTCOME_CANCELLED, CANCELED) == 'inspect: cancelled'
    goal = bench.ask()
    bench.judge(2)
    assert passes(goal).part_id == 2


def test_a_pass_that_is_ready_when_the_goal_is_cancelled_is_a_reject(bench, monkeypatch):
    goal = bench.ask()
    # The decision has come, the goal is not resumed yet, and the cancel is accepted in between.
    from anomaly_inspection.nodes.action_server import Goal

    monkeypatch.setattr(Goal, 'is_cancel_requested', property(lambda self: True))
    bench.judge(1)
    no_verdict(goal, Result.OUTCOME_CANCELLED)


def test_a_newer_goal_takes_the_place_of_the_one_under_way(bench):
    first = bench.ask(serial='S1')
    bench.announce(1, is_complete=False)
    bench.until_stage(first, Stage.STAGE_FRAME_TAKEN)
    second = bench.ask(serial='S2')
    assert 'a newer goal has taken the place' in no_verdict(first, Result.OUTCOME_PREEMPTED)
    # The part of the first goal was exposed before the second.
    bench.score(1)
    bench.decide(1)
    bench.judge(2)
    assert passes(second).part_id == 2
    bench.wait(lambda: len(bench.identities) == 2)
    told = [(one.serial, one.part_id) for one in bench.identities]
    assert told == [('S1', 1), ('S2', 2)]


def test_a_newer_goal_that_is_refused_ends_the_older_one_too(bench):
    first = bench.ask()
    second = bench.ask(deadline_s=-1.0)
    no_verdict(second, Result.OUTCOME_REFUSED)
    no_verdict(first, Result.OUTCOME_PREEMPTED)


@pytest.mark.parametrize(
    ('fields', 'says'),
    [
        ({'deadline_s': -1.0}, 'deadline_s -1 s, allowed: 0.01 to 60 s'),
        ({'deadline_s': 61.0}, 'deadline_s 61 s, allowed: 0.01 to 60 s'),
        ({'deadline_s': math.nan}, 'deadline_s nan s, allowed: 0.01 to 60 s'),
        ({'serial': 'x' * 101}, 'the serial number has 101 characters; allowed: up to 100'),
        ({'serial': 'a\x07b'}, "the serial number 'a\\x07b' holds characters that do not print"),
        ({'order': 'line\nbreak'}, "the order 'line\\nbreak' holds characters"),
        ({'expected_class': 'x' * 101}, 'expected_class has 101 characters'),
        ({'expected_class': 'cap'}, "expected_class 'cap': no recipe is in force"),
    ],
)
def test_a_goal_that_cannot_be_is_refused_in_words(bench, fields, says):
    goal = bench.ask(**fields)
    assert says in no_verdict(goal, Result.OUTCOME_REFUSED)
    assert not bench.identities


def test_a_class_is_expected_only_of_a_recipe_that_tells_classes(bench):
    bench.recipe_out.publish(RecipeInForce(name='pump', scorers=['ssim']))
    bench.wait(lambda: bench.node._classifiers is not None)
    refused = no_verdict(bench.ask(expected_class='cap'), Result.OUTCOME_REFUSED)
    assert "no scorer of the recipe in force tells classes; allowed: ''" in refused
    bench.recipe_out.publish(RecipeInForce(name='pump', scorers=['ssim', 'template']))
    bench.wait(lambda: bench.node._classifiers)
    for part_id, expected in ((1, 'cap'), (2, 'nut')):
        goal = bench.ask(expected_class=expected)
        bench.announce(part_id)
        bench.score(part_id, part_class='cap')
        bench.decide(part_id, scorer='template')
        answer = goal.answer()
        assert (answer.status, answer.result.part_class) == (SUCCEEDED, 'cap')
        if expected == 'cap':
            assert answer.result.verdict == Result.VERDICT_PASS
    assert (answer.result.verdict, answer.result.outcome) == (REJECT, Result.OUTCOME_WRONG_CLASS)
    assert answer.result.comparison == (
        "4 <= 6; the part looks most like 'cap', expected is 'nut' -> REJECT"
    )


def test_serial_number_and_order_go_to_the_records_with_the_key_of_the_part(bench):
    goal = bench.ask(serial=' S 17 ', order='A 4')
    bench.judge(5)
    passes(goal)
    bench.wait(lambda: bench.identities)
    (identity,) = bench.identities
    assert (identity.serial, identity.order, identity.lot) == ('S 17', 'A 4', '')
    assert (identity.session_id, identity.part_id) == (SESSION, 5)
    assert (identity.only_this_part, identity.source) == (True, 'inspect')


@pytest.mark.parametrize('kind', [LineStop, Fault])
def test_a_stopped_line_is_a_reject_at_once_and_until_it_runs_again(bench, kind):
    output = bench.stop_out if kind is LineStop else bench.fault_out
    goal = bench.ask()
    bench.announce(1)
    bench.until_stage(goal, Stage.STAGE_FRAME_TAKEN)
    output.publish(kind(active=True, reason='no gate'))
    assert 'no gate' in no_verdict(goal, Result.OUTCOME_LINE_STOPPED)
    assert 'no gate' in no_verdict(bench.ask(), Result.OUTCOME_LINE_STOPPED)
    output.publish(kind(active=False))
    bench.wait(lambda: not bench.node._stopped_because)
    goal = bench.ask()
    bench.judge(2)
    passes(goal)


@pytest.mark.parametrize('reason', ['FRAME_INVALID', 'TIMEOUT', 'NOT_READY', 'CHALLENGE_DUE'])
def test_a_part_that_could_not_be_judged_is_aborted_with_the_deciders_reason(bench, reason):
    code = getattr(Decision, f'REASON_{reason}')
    goal = bench.ask()
    bench.judge(verdict=REJECT, reason=code, text='why not')
    assert no_verdict(goal, Result.OUTCOME_NOT_JUDGED) == 'inspect: no verdict: why not'
    assert goal.answer().result.reason == code


@pytest.mark.parametrize(
    ('lost', 'says'),
    [('decision', 'the decider is not running'), ('part', 'neither camera nor part_detector')],
)
def test_a_lost_node_is_a_reject_at_once(bench, lost, says):
    goal = bench.ask()
    output = bench.decision_out if lost == 'decision' else bench.part_out
    bench.peer.executor.create_task(bench.peer.destroy_publisher, output)
    assert says in no_verdict(goal, Result.OUTCOME_NODE_LOST)
    assert says in no_verdict(bench.ask(), Result.OUTCOME_NODE_LOST)
    bench.wait(lambda: says in (bench.node.problem('cell') or ''))


@pytest.mark.parametrize(
    ('asks', 'service'),
    [('camera', 'camera/capture'), ('part_detector', 'part_detector/trigger')],
)
def test_it_asks_for_a_frame_and_says_when_it_gets_none(make_bench, asks, service):
    bench = make_bench(captures=service, asks=asks)
    bench.wait(bench.node._frame_client.service_is_ready)
    goal = bench.ask()
    bench.wait(lambda: len(bench.calls) == 1)
    bench.judge(1)
    passes(goal)
    bench.refusal = 'the lens cap is on'
    refused = no_verdict(bench.ask(), Result.OUTCOME_NO_PART)
    assert 'no frame was taken: the lens cap is on' in refused
    assert len(bench.calls) == 2


def test_it_asks_for_a_frame_only_after_the_time_to_settle(make_bench):
    bench = make_bench(captures='camera/capture', asks='camera', settle_s=0.5)
    bench.wait(bench.node._frame_client.service_is_ready)
    goal = bench.ask()
    earliest_s = bench.node._asked.inspection.request.earliest_s
    bench.wait(lambda: bench.calls)
    assert bench.calls[0] >= earliest_s
    bench.judge(1)
    passes(goal)
    assert len(bench.calls) == 1


def test_nobody_to_ask_for_a_frame_is_a_reject_at_once(make_bench):
    bench = make_bench(asks='camera')
    says = no_verdict(bench.ask(), Result.OUTCOME_NODE_LOST)
    assert 'nobody offers /camera/capture: the camera is not running' in says


def test_a_goal_ends_with_its_node_and_an_inactive_one_refuses(bench):
    goal = bench.ask()
    bench.node.executor.create_task(bench.node.trigger_deactivate)
    assert 'the inspector was stopped' in no_verdict(goal, Result.OUTCOME_STOPPED)
    goal = bench.ask()
    assert 'inspector is not active' in no_verdict(goal, Result.OUTCOME_UNKNOWN)
    bench.node.executor.create_task(bench.node.trigger_activate)
    bench.wait(lambda: bench.node.is_active)
    goal = bench.ask()
    bench.judge(2)
    passes(goal)


def test_a_goal_under_way_gets_its_result_when_the_process_ends(bench):
    goal = bench.ask()
    answer = goal.handle.get_result_async()
    # There and back: by then the inspector knows that somebody waits for the result.
    bench.set_parameter('settle_s', 0.1)
    bench.threads[0].stop()
    bench.wait(answer.done)
    assert answer.result().result.outcome == Result.OUTCOME_STOPPED


def test_deadlines_that_do_not_fit_together_are_refused_at_start(ros_context):
    bench = InspectorBench(ros_context, deadline_s=5.0, longest_deadline_s=1.0)
    try:
        bench.wait(lambda: bench.node.problem('lifecycle'))
        assert 'deadline_s 5 s, allowed: 0.01 to 1 s' in bench.node.problem('lifecycle')
    finally:
        bench.close()
