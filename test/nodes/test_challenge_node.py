# SPDX-License-Identifier: Apache-2.0
"""
Challenges of a real decider node over DDS: services, decisions, state and events.

"""

from datetime import datetime, timedelta
import shutil

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticStatus

from anomaly_inspection.action import RunChallenge
from anomaly_inspection.msg import Challenge, ChallengeEvent, Decision, Fault
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from support.decider_bench import DeciderBench

pytestmark = pytest.mark.ros

PARTS = ['good gold sample', 'bad scratch 2 mm']
PASS, REJECT = Decision.VERDICT_PASS, Decision.VERDICT_REJECT


class ChallengeBench(DeciderBench):
    """
    A decider with challenges, and a line with good and bad parts.

    """

    def __init__(self, context, recipe_folder, **parameters):
        chosen = {'deadline_s': 5.0, 'challenge_parts': PARTS, **parameters}
        super().__init__(context, recipe_folder, **chosen)
        self.states, self.events = [], []
        self.line.create_subscription(Challenge, 'challenge', self.states.append, LATCHED)
        self.line.create_subscription(ChallengeEvent, 'challenge_event', self.events.append, EVENT)
        self.parts = 0

    def bring_into_force(self):
        super().bring_into_force()
        self.wait(
            lambda: self.states and self.node._challenge_face._event.get_subscription_count()
        )
        return self

    def part(self, *, is_good=True, is_late=False):
        """
        Send a part with its scores, and give the decision.

        """
        self.parts += 1
        self.line.part(self.parts)
        if not is_late:
            self.line.scores(self.parts, **({} if is_good else {'ssim__mse': 1e6}))
        return self.decision(self.parts)

    def challenge(self):
        return self.send_goal(RunChallenge, 'decider/run_challenge')

    def start(self):
        """
        Begin a challenge, and wait until the next part is the first known one.

        """
        goal = self.challenge()
        self.wait(lambda: goal.feedback)
        return goal

    def refused(self):
        """
        Try to begin a challenge; give why it is refused.

        """
        status, success, message = self.challenge().result()
        assert (status, success) == (GoalStatus.STATUS_ABORTED, False)
        return message

    def pass_challenge(self):
        goal = self.start()
        self.part()
        self.part(is_good=False)
        assert goal.result()[1]
        return self.until(Challenge.STATE_PASSED)

    def until(self, state, words=''):
        self.wait(lambda: self.states[-1].state == state and words in self.states[-1].detail)
        return self.states[-1]

    def until_event(self, kind, words=''):
        def found():
            return [event for event in self.events if event.kind == kind and words in event.detail]

        self.wait(found)
        return found()[-1]

    def level(self):
        reported = self.node._problems.get('challenge')
        return reported[0] if reported else DiagnosticStatus.OK


@pytest.fixture
def make_bench(ros_context, taught_recipe):
    benches = []

    def make(recipe_folder=taught_recipe, **parameters):
        benches.append(ChallengeBench(ros_context, recipe_folder, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench().bring_into_force()


def reason(decision):
    return decision.verdict, decision.reason, decision.known_as


BLOCKED = (REJECT, Decision.REASON_CHALLENGE_DUE, Decision.KNOWN_AS_UNKNOWN)
PASSED = (PASS, Decision.REASON_WITHIN_LIMITS, Decision.KNOWN_AS_UNKNOWN)
KNOWN_GOOD = (PASS, Decision.REASON_WITHIN_LIMITS, Decision.KNOWN_AS_GOOD)
KNOWN_BAD = (REJECT, Decision.REASON_CHALLENGE_PART, Decision.KNOWN_AS_BAD)


def test_from_blocked_at_start_over_a_passed_challenge_to_production(bench):
    due = bench.until(Challenge.STATE_DUE, 'the decider was started; production is blocked: start')
    assert list(due.parts) == PARTS
    assert (due.next_due.sec, due.parts_done) == (0, 0)
    assert bench.level() == DiagnosticStatus.ERROR
    blocked = bench.part()
    assert reason(blocked) == BLOCKED
    assert blocked.comparison.endswith('-> PASS; a challenge is due -> REJECT')
    assert blocked.anomaly_score == pytest.approx(0.0, abs=1e-6)
    bench.line.part(100)
    bench.wait(lambda: bench.node._decider._pending)
    goal = bench.start()
    bench.line.scores(100)
    assert reason(bench.decision(100)) == BLOCKED, 'it was on its way'
    bench.until(Challenge.STATE_RUNNING, 'put on part 1 of 2: good gold sample')
    assert 'under way' in bench.refused()
    assert reason(bench.part()) == KNOWN_GOOD
    assert bench.until(Challenge.STATE_RUNNING, 'part 2 of 2: bad scratch 2 mm').parts_done == 1
    bad = bench.part(is_good=False)
    assert reason(bad) == KNOWN_BAD
    assert 'ssim.mse' in bad.comparison
    assert bad.comparison.endswith('-> REJECT; known bad scratch 2 mm -> REJECT')
    bench.until(Challenge.STATE_PASSED, '2 known parts came out right')
    assert goal.result() == (
        GoalStatus.STATUS_SUCCEEDED,
        True,
        '2 known parts came out right; production runs',
    )
    told = [(told.parts_done, told.parts, told.detail) for told in goal.feedback]
    assert told == [
        (done, 2, f'put on part {done + 1} of 2: {part}; production is blocked until it is passed')
        for done, part in enumerate(PARTS)
    ]
    bench.wait(lambda: bench.level() == DiagnosticStatus.OK)
    assert reason(bench.part()) == PASSED
    bench.until_event(ChallengeEvent.KIND_PASSED)
    # Whether the first event, DUE at the start, was heard is a question of who was up first.
    good, bad, passed = [event for event in bench.events if event.kind != event.KIND_DUE]
    assert [good.kind, bad.kind, passed.kind] == [good.KIND_PART, bad.KIND_PART, bad.KIND_PASSED]
    assert [good.known_part, bad.known_part] == PARTS
    assert (bad.session_id, bad.part_id, bad.came_out_right) == ('test', 3, True)
    values = bench.node.diagnostic_values()
    assert (values['known good parts'], values['known bad parts']) == (1, 1)
    assert (values['passed'], values['rejected CHALLENGE_DUE']) == (1, 2)
    assert values['challenge'].startswith('passed: ')


def test_a_known_bad_part_that_looks_good_fails_it_and_still_does_not_pass(bench):
    bench.pass_challenge()
    goal = bench.start()
    bench.part()
    missed = bench.part()
    assert reason(missed) == KNOWN_BAD
    state = bench.until(Challenge.STATE_FAILED, 'bad scratch 2 mm came out wrong, WITHIN_LIMITS')
    assert state.production_is_blocked
    assert bench.level() == DiagnosticStatus.ERROR
    failed = bench.until_event(ChallengeEvent.KIND_FAILED)
    assert 'came out wrong' in failed.detail
    assert goal.result() == (GoalStatus.STATUS_ABORTED, False, f'run_challenge: {failed.detail}')
    assert reason(bench.part()) == BLOCKED
    goal = bench.start()
    assert goal.cancel()
    bench.until(Challenge.STATE_FAILED, 'given up, cancelled')
    status, success, message = goal.result()
    assert (status, success) == (GoalStatus.STATUS_CANCELED, False)
    assert message == 'run_challenge: given up, cancelled; production is blocked'
    assert reason(bench.part()) == BLOCKED
    bench.pass_challenge()
    assert reason(bench.part()) == PASSED


def test_a_known_part_that_times_out_fails_it_and_dead_scorers_still_stop_the_line(make_bench):
    bench = make_bench(deadline_s=0.3, timeouts_to_fault=2).bring_into_force()
    assert reason(bench.part(is_late=True)) == BLOCKED
    bench.wait(lambda: bench.node._last_timeout_s > 0)
    bench.start()
    timed_out = bench.part(is_late=True)
    assert (timed_out.reason, timed_out.known_as) == (
        Decision.REASON_TIMEOUT,
        Decision.KNOWN_AS_GOOD,
    )
    bench.until(Challenge.STATE_FAILED, 'TIMEOUT')
    bench.wait(lambda: bench.line.heard[Fault][-1].active)


def test_with_grace_a_challenge_that_is_due_warns_first(make_bench):
    bench = make_bench(
        challenge_at_start=False, challenge_every_min=0.001, challenge_grace_min=60.0
    ).bring_into_force()
    state = bench.until(Challenge.STATE_DUE, 'production is blocked 60 min later')
    assert not state.production_is_blocked
    assert bench.level() == DiagnosticStatus.WARN
    assert reason(bench.part()) == PASSED


def test_a_challenge_that_takes_too_long_has_failed(make_bench):
    bench = make_bench(challenge_at_start=False, challenge_timeout_min=0.01).bring_into_force()
    bench.start()
    bench.until(Challenge.STATE_FAILED, 'not ended within 0.01 min')
    assert reason(bench.part()) == BLOCKED


def test_the_next_shift_change_is_told_by_the_wall_clock(make_bench):
    moment = datetime.now() + timedelta(minutes=90)
    bench = make_bench(
        challenge_at_start=False, challenge_shift_changes=[f'{moment:%H:%M}']
    ).bring_into_force()
    told = datetime.fromtimestamp(bench.until(Challenge.STATE_PASSED, 'none was due').next_due.sec)
    assert told == moment.replace(second=0, microsecond=0)


def test_without_known_parts_there_is_no_challenge(make_bench):
    bench = make_bench(challenge_parts=['']).bring_into_force()
    state = bench.until(Challenge.STATE_OFF)
    assert list(state.parts) == []
    assert 'challenge_parts' in bench.refused()
    assert reason(bench.part()) == PASSED


@pytest.mark.parametrize(
    ('parameters', 'says'),
    [
        ({'challenge_parts': ['good gold sample']}, 'a bad one is missing'),
        ({'challenge_parts': ['gold sample', 'bad scratch']}, "'gold sample' is refused"),
        ({'challenge_shift_changes': ['06:00', '25:00']}, "'25:00' is refused: allowed is"),
    ],
)
def test_a_refused_parameter_keeps_the_node_down_and_says_why(make_bench, parameters, says):
    bench = make_bench(**parameters)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert says in bench.node.problem('lifecycle')
    assert not bench.node.is_active


def test_parameters_cannot_be_set_while_the_node_runs(bench):
    result = bench.set_parameter('challenge_every_min', 5.0)
    assert not result.successful
    assert 'read-only' in result.reason


def test_before_a_recipe_is_in_force_none_is_started(make_bench):
    bench = make_bench().wait_until_active()
    assert 'no recipe is in force' in bench.refused()


def test_other_limits_give_up_the_one_under_way(bench):
    typical = bench.limit('ssim', 'mse').typical
    bench.pass_challenge()
    goal = bench.start()
    assert bench.set_parameter('limits.ssim.mse', typical + 50.0).successful
    assert 'the limits were changed' in goal.result()[2]
    bench.until(Challenge.STATE_PASSED, 'limits or recipe have changed since')
    assert bench.level() == DiagnosticStatus.WARN
    given_up = bench.until_event(ChallengeEvent.KIND_FAILED)
    assert given_up.detail == (
        'given up, the limits were changed; it was not due, production goes on'
    )
    assert reason(bench.part()) == PASSED


def test_another_recipe_makes_a_challenge_due(bench, taught_recipe, tmp_path):
    bench.pass_challenge()
    other = tmp_path / 'other'
    shutil.copytree(taught_recipe, other)
    (other / 'recipe.yaml').write_text((other / 'recipe.yaml').read_text() + '\n# another hash\n')
    announced = len(bench.line.announced)
    bench.load(other)
    bench.wait(lambda: len(bench.line.announced) > announced)
    assert reason(bench.part()) == PASSED, 'the old one is still in force'
    bench.line.confirm(bench.line.announced[-1].hash)
    bench.until(Challenge.STATE_DUE, 'another recipe came into force')
    due = bench.until_event(ChallengeEvent.KIND_DUE, 'another recipe')
    assert due.detail == 'due, another recipe came into force'


def test_a_decider_that_was_stopped_wants_one_again(bench):
    bench.pass_challenge()
    goal = bench.start()
    bench.node.trigger_deactivate()
    given_up = bench.until_event(ChallengeEvent.KIND_FAILED)
    assert 'decider was stopped' in given_up.detail
    assert 'decider was stopped' in goal.result()[2]
    announced = len(bench.line.announced)
    bench.node.trigger_activate()
    bench.until(Challenge.STATE_DUE, 'the decider was started')
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.line.confirm(bench.line.announced[-1].hash)
    bench.wait(lambda: bench.node.is_ready)
    assert reason(bench.part()) == BLOCKED


def test_a_calibration_takes_blocked_parts_but_never_known_ones(bench):
    goal = bench.calibrate(parts=8)
    bench.wait(lambda: goal.feedback)
    assert reason(bench.part()) == BLOCKED
    bench.wait(lambda: bench.node.calibration.run.parts == 1)
    bench.pass_challenge()
    assert reason(bench.part()) == PASSED
    bench.wait(lambda: bench.node.calibration.run.parts == 2)


def test_in_a_station_a_known_part_may_come_frame_by_frame(make_bench):
    from anomaly_inspection.msg import Measure, Part, Score
    from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds

    bench = make_bench(mode='station', station_frames=2, station_required_passes=2)
    bench.bring_into_force()
    bench.start()
    for part_id, mse in ((1, None), (2, 1e6)):
        for frames in (1, 2):
            stamps = [stamp_from_nanoseconds(10 * part_id + n) for n in range(frames)]
            message = Part(session_id='test', part_id=part_id, frame_stamps=stamps)
            message.frame_names = message.frame_problems = [''] * frames
            message.is_complete = frames == 2
            bench.line.part_out.publish(message)
        for n in range(2):
            for name, scorer in bench.line.recipe.scorers.items():
                score = Score(session_id='test', part_id=part_id, scorer=name, status=1)
                score.recipe_hash = bench.line.recipe.hash
                score.measures = [
                    Measure(name=m, value=mse if mse and m == 'mse' else limit.typical)
                    for m, limit in scorer.limits.items()
                ]
                score.header.stamp = stamp_from_nanoseconds(10 * part_id + n)
                bench.line.score_out.publish(score)
        bench.decision(part_id)
    assert reason(bench.decision(1)) == KNOWN_GOOD
    assert reason(bench.decision(2)) == KNOWN_BAD
    bench.until(Challenge.STATE_PASSED)
