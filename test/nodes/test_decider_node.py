# SPDX-License-Identifier: Apache-2.0
"""
The decider node over DDS: one decision a part, limits in one hand, recipe switch between two
parts.

"""

import math
import shutil

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from action_msgs.msg import GoalStatus
from rcl_interfaces.srv import DescribeParameters
from std_srvs.srv import Trigger

from anomaly_inspection.learning.cell_calibration import CalibrationState
from anomaly_inspection.msg import (
    Calibration,
    Decision,
    Explanation,
    Fault,
    Limit,
    LimitRange,
    LimitsInForce,
    RecipeInForce,
    RecipePrepared,
    Region,
    Thresholds,
)
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.recipe import MeasureLimit
from anomaly_inspection.srv import SetLimitRanges, SetLimits
from support.decider_bench import DeciderBench

pytestmark = pytest.mark.ros


@pytest.fixture
def make_bench(ros_context, taught_recipe):
    benches = []

    def make(recipe_folder=taught_recipe, **parameters):
        benches.append(DeciderBench(ros_context, recipe_folder, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench(deadline_s=5.0).bring_into_force()


def test_typical_scores_pass_and_a_limit_exceeded_rejects(bench):
    bench.line.part(1)
    bench.line.scores(1)
    bench.line.part(2)
    bench.line.scores(2, ssim__mse=1e6)
    passed, rejected = bench.decision(1), bench.decision(2)
    assert (passed.verdict, passed.reason) == (
        Decision.VERDICT_PASS,
        Decision.REASON_WITHIN_LIMITS,
    )
    assert passed.comparison.endswith('-> PASS')
    assert passed.anomaly_score == pytest.approx(0.0, abs=1e-6)
    assert passed.recipe_hash == bench.line.recipe.hash
    assert passed.header.frame_id == 'camera'
    assert 0 < passed.latency_s < 5
    assert (rejected.verdict, rejected.reason) == (
        Decision.VERDICT_REJECT,
        Decision.REASON_LIMIT_EXCEEDED,
    )
    assert rejected.worst_measure == 'ssim.mse'
    assert rejected.anomaly_score > 1


def test_a_decision_carries_each_measure_with_the_limit_that_it_was_judged_by(bench):
    bench.line.part(1)
    bench.line.scores(1, ssim__mse=1e6)
    bench.line.part(2, problem='000.png is truncated')
    in_force = {
        (limit.scorer, limit.measure): limit
        for limit in bench.line.heard[LimitsInForce][-1].limits
    }
    measures = {(one.scorer, one.measure): one for one in bench.decision(1).measures}
    assert set(measures) == set(in_force)
    for name, limit in in_force.items():
        judged = measures[name]
        assert (judged.limit, judged.unit, judged.bad_side) == (
            limit.value,
            limit.unit,
            limit.bad_side,
        )
        is_worst = name == ('ssim', 'mse')
        assert judged.value == (1e6 if is_worst else limit.typical)
        assert (judged.anomaly_score > 1) == is_worst
    assert bench.decision(2).measures == []


def test_a_reject_is_explained_in_words_and_numbers_and_a_passed_part_is_not(bench):
    region = Region(
        x_min=10,
        y_min=20,
        x_max=50,
        y_max=30,
        area_px=240,
        peak=7.0,
        reference_x_px=4.0,
        reference_y_px=3.0,
    )
    bench.line.part(1)
    bench.line.scores(1, regions=[region])
    bench.line.part(2)
    bench.line.scores(2, ssim__mse=1e6, regions=[region])
    bench.line.part(3, problem='000.png is truncated')
    passed, rejected, broken = (bench.decision(number).explanation for number in (1, 2, 3))
    assert passed == Explanation()
    good = bench.line.recipe.scorers['ssim'].good['mse']
    assert rejected.scorer == 'ssim'
    assert rejected.region == region
    assert rejected.times_region_limit == 3.5
    assert rejected.place == Explanation.PLACE_UPPER_LEFT
    assert (rejected.good_parts, rejected.good_parts_as_bad) == (len(good), 0)
    assert rejected.good_parts_worst == max(good)
    assert rejected.text.startswith('Difference of 40 x 10 px (240 px) in the upper left')
    assert f'No good part of {len(good)} at teaching came above' in rejected.text
    assert '000.png is truncated' in broken.text
    assert broken.scorer == ''


def test_who_starts_late_can_ask_for_the_decisions_that_it_has_missed(bench):
    for number in (1, 2, 3):
        bench.line.part(number)
        bench.line.scores(number)
        bench.decision(number)
    late, new_only = [], []
    bench.line.create_subscription(Decision, 'decision', late.append, KEPT_EVENT)
    bench.line.create_subscription(Decision, 'decision', new_only.append, EVENT)
    bench.wait(lambda: [decision.part_id for decision in late] == [1, 2, 3])
    bench.line.part(4)
    bench.line.scores(4)
    bench.wait(lambda: new_only)
    assert [decision.part_id for decision in new_only] == [4]


def test_the_class_of_the_part_is_said(bench):
    bench.line.part(1)
    bench.line.scores(1, part_class='face two')
    assert bench.decision(1).comparison.endswith(", class 'face two' -> PASS")


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_a_measure_that_is_no_number_rejects(bench, value):
    bench.line.part(1)
    bench.line.scores(1, variation__peak_z=value)
    decision = bench.decision(1)
    assert decision.reason == Decision.REASON_SCORE_INVALID
    assert 'variation.peak_z' in decision.comparison


def test_a_score_of_another_recipe_rejects(bench):
    from dataclasses import replace

    bench.line.part(1)
    bench.line.scores(1, recipe=replace(bench.line.recipe, hash='0' * 64))
    assert bench.decision(1).reason == Decision.REASON_RECIPE_MISMATCH


def test_a_frame_that_could_not_be_read_rejects_at_once(bench):
    bench.line.part(1, problem='000.png is truncated')
    decision = bench.decision(1)
    assert decision.reason == Decision.REASON_FRAME_INVALID
    assert '000.png is truncated' in decision.comparison


def test_parts_without_scores_time_out_and_again_and_again_are_a_fault(make_bench):
    bench = make_bench(deadline_s=0.05, timeouts_to_fault=2).bring_into_force()
    bench.line.part(1)
    assert bench.decision(1).reason == Decision.REASON_TIMEOUT
    assert 'ssim' in bench.decision(1).comparison
    assert bench.decision(1).header.frame_id == '', 'nobody has told it'
    assert not bench.line.heard[Fault][-1].active
    bench.line.part(2)
    bench.decision(2)
    bench.wait(lambda: bench.line.heard[Fault][-1].active)
    assert 'in a row' in bench.line.heard[Fault][-1].reason


def test_before_the_scorers_confirm_parts_are_rejected_as_not_ready(make_bench):
    bench = make_bench()
    bench.wait(lambda: bench.line.announced and bench.line.part_out.get_subscription_count())
    bench.line.part(1)
    assert bench.decision(1).reason == Decision.REASON_NOT_READY


def test_a_stopped_decider_rejects_what_is_undecided(bench):
    bench.line.part(1)
    bench.wait(lambda: bench.node._decider._pending)
    bench.node.trigger_deactivate()
    assert bench.decision(1).reason == Decision.REASON_NOT_READY


# Limits: ros2 param set, thresholds and set_limits move the same ones


def test_parameter_thresholds_and_service_move_the_same_limits(bench):
    typical = bench.limit('ssim', 'mse').typical
    assert bench.set_parameter('limits.ssim.mse', typical + 5.0).successful
    bench.wait(lambda: bench.limit('ssim', 'mse').value == typical + 5.0)
    limits = [Limit(scorer='ssim', measure='mse', value=typical + 6.0)]
    bench.line.thresholds_out.publish(Thresholds(source='test', limits=limits))
    bench.wait(lambda: bench.limit('ssim', 'mse').value == typical + 6.0)
    limits[0].value = typical + 7.0
    assert bench.call(SetLimits, 'decider/set_limits', limits=limits).success
    bench.wait(lambda: bench.limit('ssim', 'mse').value == typical + 7.0)
    assert bench.node.get_parameter('limits.ssim.mse').value == typical + 7.0
    assert bench.line.heard[LimitsInForce][-1].is_unsaved
    bench.line.part(1)
    bench.line.scores(1, ssim__mse=typical + 7.5)
    assert bench.decision(1).reason == Decision.REASON_LIMIT_EXCEEDED
    bench.line.part(2)
    bench.line.scores(2, ssim__mse=typical + 6.5)
    assert bench.decision(2).verdict == Decision.VERDICT_PASS


def test_undo_limits_puts_those_of_the_recipe_back(bench):
    before = bench.limit('ssim', 'mse').value
    assert bench.set_parameter('limits.ssim.mse', before + 5.0).successful
    bench.wait(lambda: bench.line.heard[LimitsInForce][-1].is_unsaved)
    undone = bench.call(Trigger, 'decider/undo_limits')
    assert undone.success, undone.message
    bench.wait(lambda: not bench.line.heard[LimitsInForce][-1].is_unsaved)
    assert bench.limit('ssim', 'mse').value == before
    assert bench.node.get_parameter('limits.ssim.mse').value == before
    bench.line.part(1)
    bench.line.scores(1, ssim__mse=before + 2.5)
    assert bench.decision(1).reason == Decision.REASON_LIMIT_EXCEEDED


def test_the_range_of_a_limit_is_told_as_it_is_checked(bench):
    names = [f'limits.{limit.name}' for limit in bench.node.limits.table]
    described = bench.call(DescribeParameters, 'decider/describe_parameters', names=names)
    ranges = [descriptor.floating_point_range[0] for descriptor in described.descriptors]
    assert [(told.from_value, told.to_value) for told in ranges] == [
        (limit.minimum, limit.maximum) for limit in bench.node.limits.table
    ]


def test_an_integer_is_taken_for_a_limit(bench):
    typical = bench.limit('ssim', 'mse').typical
    assert bench.set_parameter('limits.ssim.mse', int(typical) + 50).successful
    bench.wait(lambda: bench.limit('ssim', 'mse').value == int(typical) + 50)


@pytest.mark.parametrize('value', [math.nan, math.inf, -1.0, 0.0, 'high', True])
def test_a_refused_limit_names_the_range_and_changes_nothing(bench, value):
    before = bench.limit('ssim', 'mse').value
    result = bench.set_parameter('limits.ssim.mse', value)
    assert not result.successful
    assert 'ssim.mse' in result.reason
    assert 'above' in result.reason or 'a number is wanted' in result.reason
    assert bench.node.get_parameter('limits.ssim.mse').value == before


def test_a_limit_that_nothing_could_exceed_is_refused_with_the_range(bench):
    parameter = 'limits.variation.peak_z'
    (ends,) = bench.node.describe_parameter(parameter).floating_point_range
    assert (ends.from_value, ends.to_value) == (0.0, 1000.0)
    before = bench.node.get_parameter(parameter).value
    result = bench.set_parameter(parameter, 1e308)
    assert not result.successful
    assert '1000' in result.reason
    assert bench.node.get_parameter(parameter).value == before


def test_thresholds_are_taken_whole_or_not_at_all(bench):
    before = [entry.value for entry in bench.line.heard[LimitsInForce][-1].limits]
    typical = bench.limit('ssim', 'mse').typical
    good = Limit(scorer='ssim', measure='mse', value=typical + 9.0)
    for bad, words in (
        (Limit(scorer='ssim', measure='colour', value=1.0), 'ssim.colour'),
        (Limit(scorer='variation', measure='peak_z', value=math.nan), 'variation.peak_z'),
        (Limit(scorer='ssim', measure='mse', value=typical + 10.0), 'twice'),
    ):
        bench.line.thresholds_out.publish(Thresholds(source='pots', limits=[good, bad]))
        bench.wait(lambda words=words: words in (bench.node.problem('thresholds') or ''))
        response = bench.call(SetLimits, 'decider/set_limits', limits=[good, bad])
        assert not response.success
        assert words in response.message
    assert not bench.call(SetLimits, 'decider/set_limits', limits=[]).success
    assert [limit.value for limit in bench.node.limits.table] == before


def test_a_limit_in_the_parameter_file_wins_over_the_recipe(make_bench, taught_recipe):
    bench = make_bench(**{'limits.ssim.mse': 4000}).bring_into_force()
    bench.wait(lambda: bench.line.heard[LimitsInForce])
    assert bench.limit('ssim', 'mse').value == 4000.0


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('limits.ssim.mse', -5.0, 'ssim.mse'),
        ('limits.ssim.nonsense', 5.0, 'limits.ssim.nonsense'),
        ('limits.ssim.mse', 'high', 'a number is wanted'),
    ],
)
def test_a_bad_limit_in_the_parameter_file_keeps_the_node_down(make_bench, name, value, words):
    bench = make_bench(**{name: value})
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert words in bench.node.problem('lifecycle')
    assert not bench.node.is_active


# Recipes


@pytest.mark.parametrize('recipe', ['nowhere', '.'])
def test_with_a_recipe_that_is_none_the_node_stays_down_and_says_why(make_bench, tmp_path, recipe):
    bench = make_bench(recipe=str(tmp_path / recipe))
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert 'recipe' in bench.node.problem('lifecycle')
    assert not bench.node.is_active


def test_limits_are_saved_as_a_new_version_that_comes_into_force(
    make_bench, taught_recipe, tmp_path
):
    folder = tmp_path / 'small'
    shutil.copytree(taught_recipe, folder)
    bench = make_bench(folder, deadline_s=5.0).bring_into_force()
    version = bench.line.recipe.version
    assert bench.set_parameter('limits.ssim.mse', 4321.0).successful
    announced = len(bench.line.announced)
    client = bench.line.create_client(Trigger, 'decider/save_limits')
    bench.wait(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.line.confirm(bench.line.announced[-1].hash)
    bench.wait(future.done)
    assert future.result().success, future.result().message
    saved = read_recipe(folder)
    assert saved.version == version + 1
    assert saved.scorers['ssim'].limits['mse'].limit == 4321.0
    bench.wait(lambda: bench.line.heard[RecipeInForce][-1].hash == saved.hash)
    bench.wait(lambda: not bench.line.heard[LimitsInForce][-1].is_unsaved)


def set_range(bench, lowest, highest, measure='mse'):
    limit_range = LimitRange(scorer='ssim', measure=measure, lowest=lowest, highest=highest)
    announced = len(bench.line.announced)
    future = bench.call_async(SetLimitRanges, 'decider/set_limit_ranges', ranges=[limit_range])
    bench.wait(lambda: future.done() or len(bench.line.announced) > announced)
    if len(bench.line.announced) > announced:
        bench.line.confirm(bench.line.announced[-1].hash)
    bench.wait(future.done)
    return future.result()


def test_an_engineers_range_is_saved_with_the_limits_and_holds_everybody(own_recipe_bench):
    bench = own_recipe_bench
    typical = bench.limit('ssim', 'mse').typical
    assert not bench.limit('ssim', 'mse').is_narrowed
    bench.set_parameter('limits.ssim.mse', typical + 5.0)
    answer = set_range(bench, typical + 2.0, typical + 9.0)
    assert answer.success, answer.message
    bench.wait(lambda: bench.limit('ssim', 'mse').is_narrowed)
    told = bench.limit('ssim', 'mse')
    assert (told.value, told.lowest, told.highest) == (typical + 5, typical + 2, typical + 9)
    saved = read_recipe(bench.line.recipe.path)
    assert saved.version == bench.line.recipe.version + 1
    assert saved.scorers['ssim'].limits['mse'] == MeasureLimit(
        typical + 5, typical, typical + 2, typical + 9
    )
    (ends,) = bench.node.describe_parameter('limits.ssim.mse').floating_point_range
    assert (ends.from_value, ends.to_value) == (typical + 2, typical + 9)

    for value in (typical + 1.9, typical + 9.1):
        limits = [Limit(scorer='ssim', measure='mse', value=value)]
        refused = bench.call(SetLimits, 'decider/set_limits', limits=limits)
        assert not refused.success
        assert 'the range that an engineer has set' in refused.message
        assert not bench.set_parameter('limits.ssim.mse', value).successful
        bench.line.thresholds_out.publish(Thresholds(source='knobs', limits=limits))
        bench.wait(lambda: 'an engineer has set' in (bench.node.problem('thresholds') or ''))
    assert bench.limit('ssim', 'mse').value == typical + 5
    assert bench.set_parameter('limits.ssim.mse', typical + 9.0).successful


@pytest.mark.parametrize(
    ('lowest', 'highest', 'measure', 'words'),
    [
        (1e6, 2e6, 'mse', 'a range that holds the limit'),
        (9.0, 1.0, 'mse', 'a range that holds the limit'),
        (math.nan, 9.0, 'nothing', 'there is no measure ssim.nothing'),
    ],
)
def test_a_refused_range_changes_nothing(own_recipe_bench, lowest, highest, measure, words):
    bench = own_recipe_bench
    answer = set_range(bench, lowest, highest, measure)
    assert not answer.success
    assert words in answer.message
    assert read_recipe(bench.line.recipe.path).version == bench.line.recipe.version
    none = bench.call(SetLimitRanges, 'decider/set_limit_ranges', ranges=[])
    assert 'at least one' in none.message


def test_a_bad_recipe_leaves_the_old_one_in_force(bench, tmp_path):
    _, success, message = bench.load(tmp_path / 'nowhere').result()
    assert not success
    assert 'nowhere' in message
    bench.line.part(1)
    bench.line.scores(1)
    assert bench.decision(1).verdict == Decision.VERDICT_PASS


def test_a_recipe_that_a_scorer_cannot_prepare_leaves_the_old_one_in_force(
    bench, taught_recipe, tmp_path
):
    other = tmp_path / 'other'
    shutil.copytree(taught_recipe, other)
    text = (other / 'recipe.yaml').read_text()
    (other / 'recipe.yaml').write_text(text + '\n# another hash\n')
    announced = len(bench.line.announced)
    goal = bench.load(other)
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.line.part(1)
    bench.line.scores(1)
    assert bench.decision(1).verdict == Decision.VERDICT_PASS, 'the line goes on meanwhile'
    bench.line.confirm(bench.line.announced[-1].hash, 'no memory left')
    status, success, message = goal.result()
    assert (status, success) == (GoalStatus.STATUS_ABORTED, False)
    assert 'no memory left; the old recipe stays in force' in message
    bench.line.part(2)
    bench.line.scores(2)
    assert bench.decision(2).verdict == Decision.VERDICT_PASS


def test_a_switch_tells_whom_it_waits_for_and_can_be_cancelled(bench, taught_recipe, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(taught_recipe, other)
    (other / 'recipe.yaml').write_text((other / 'recipe.yaml').read_text() + '\n# another hash\n')
    announced = len(bench.line.announced)
    goal = bench.load(other)
    bench.wait(lambda: goal.feedback and list(goal.feedback[-1].missing) == ['ssim', 'variation'])
    new = bench.line.announced[announced].hash
    bench.line.prepared_out.publish(
        RecipePrepared(scorers=['ssim'], recipe_hash=new, is_ready=True)
    )
    bench.wait(lambda: list(goal.feedback[-1].missing) == ['variation'])
    assert goal.feedback[-1].detail == 'waiting for variation'
    assert 'still being prepared' in bench.call(Trigger, 'decider/save_limits').message
    assert goal.cancel()
    assert goal.result() == (
        GoalStatus.STATUS_CANCELED,
        False,
        'load_recipe: cancelled; the old recipe stays in force',
    )
    bench.wait(lambda: bench.line.announced[-1].hash == bench.line.recipe.hash)
    bench.line.confirm(new)
    bench.line.part(1)
    bench.line.scores(1)
    assert bench.decision(1).verdict == Decision.VERDICT_PASS


def test_a_decider_that_stops_gives_up_a_switch_and_a_saving(own_recipe_bench, taught_recipe):
    bench = own_recipe_bench
    goal = bench.load(taught_recipe)
    bench.wait(lambda: goal.feedback and goal.feedback[-1].missing)
    bench.node.trigger_deactivate()
    assert 'decider was stopped' in goal.result()[2]
    bench.node.trigger_activate()
    bench.bring_into_force()
    announced = len(bench.line.announced)
    saving = bench.call_async(Trigger, 'decider/save_limits')
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.node.trigger_deactivate()
    bench.wait(saving.done)
    assert 'the decider was stopped' in saving.result().message


# Calibration: the next parts are good

STATE = CalibrationState


class Calibrating:
    """
    A line of good parts whose mse lies about a tenth over what was taught.

    """

    def __init__(self, bench, parts=8):
        self.bench, self.line = bench, bench.line
        bench.wait(lambda: self.line.heard[LimitsInForce] and self.line.heard[Calibration])
        self.old = self.limits()
        self.goal = bench.calibrate(parts=parts)
        self.until(STATE.COLLECTING)

    def limits(self):
        message = self.line.heard[LimitsInForce][-1]
        return {f'{e.scorer}.{e.measure}': (e.value, e.typical) for e in message.limits}

    def mse(self, part_id):
        return self.bench.limit('ssim', 'mse').typical * (1.1 + 0.01 * (part_id % 3))

    def good_parts(self, *part_ids):
        for part_id in part_ids:
            self.line.part(part_id)
            self.line.scores(part_id, ssim__mse=self.mse(part_id))
            self.bench.decision(part_id)

    def until(self, state, words=''):
        def is_so():
            last = self.line.heard[Calibration][-1]
            return last.state == state and words in last.detail

        self.bench.wait(is_so)
        return self.line.heard[Calibration][-1]

    def call(self, name):
        return self.bench.call(Trigger, f'decider/{name}')


def test_the_limits_come_from_the_next_parts_and_change_between_two(bench):
    cell = Calibrating(bench)
    cell.good_parts(*range(1, 8))
    assert cell.until(STATE.COLLECTING, '7 of 8').parts == 7
    assert cell.limits() == cell.old
    limit = cell.old['ssim.mse'][0]
    bench.line.part(9)
    bench.wait(lambda: bench.node._decider._pending)
    cell.good_parts(8)
    said = cell.until(STATE.DONE)
    assert (said.parts, said.parts_wanted) == (8, 8)
    assert cell.goal.result() == (GoalStatus.STATUS_SUCCEEDED, True, said.detail)
    assert [told.parts for told in cell.goal.feedback][:8] == list(range(8))
    assert f'ssim.mse {limit:.4g} -> ' in said.detail
    assert said.promise
    assert said.detail.endswith(said.promise)
    assert '590 more good parts (598 in all)' in said.detail
    bench.wait(lambda: cell.limits() != cell.old)
    new, typical = cell.limits()['ssim.mse']
    assert typical == pytest.approx(1.11 * cell.old['ssim.mse'][1])
    assert typical < new < limit
    assert cell.limits()['ssim.largest_region'] == cell.old['ssim.largest_region']
    assert bench.node.get_parameter('limits.ssim.mse').value == new
    between = (new + limit) / 2
    bench.line.scores(9, ssim__mse=between)
    assert bench.decision(9).verdict == Decision.VERDICT_PASS, 'it came under the old limits'
    bench.line.part(10)
    bench.line.scores(10, ssim__mse=between)
    assert bench.decision(10).verdict == Decision.VERDICT_REJECT


def test_only_parts_that_came_after_the_call_and_were_measured_count(bench):
    bench.line.part(1)
    bench.wait(lambda: bench.node._decider._pending)
    cell = Calibrating(bench)
    bench.line.scores(1)
    bench.decision(1)
    bench.line.part(2, problem='2.png is truncated')
    bench.decision(2)
    assert cell.until(STATE.COLLECTING, 'not counted: 1 FRAME_INVALID').parts == 0
    bench.line.part(3)
    bench.line.scores(3, ssim__mse=1e4)
    assert bench.decision(3).verdict == Decision.VERDICT_REJECT
    assert cell.until(STATE.COLLECTING, '1 of 8').parts == 1, 'a rejected part may be a good one'


def test_a_result_outside_of_the_engineers_range_changes_nothing(own_recipe_bench):
    bench = own_recipe_bench
    limit = bench.limit('ssim', 'mse').value
    # The parts below would give a lower limit.
    assert set_range(bench, limit, math.nan).success
    bench.wait(lambda: bench.limit('ssim', 'mse').is_narrowed)
    bench.line.recipe = read_recipe(bench.line.recipe.path)
    cell = Calibrating(bench)
    cell.good_parts(*range(1, 9))
    said = cell.until(STATE.FAILED, 'the range that an engineer has set')
    assert said.promise == ''
    _, success, message = cell.goal.result()
    assert not success
    assert 'the limits have not changed' in message
    assert cell.limits() == cell.old


def test_undo_brings_exactly_the_old_limits_back_once(bench):
    assert not bench.call(Trigger, 'decider/undo_calibration').success
    origins = {e.origin for e in bench.line.heard[LimitsInForce][-1].limits}
    cell = Calibrating(bench)
    assert 'under way' in cell.call('undo_calibration').message
    cell.good_parts(*range(1, 9))
    cell.until(STATE.DONE)
    bench.wait(lambda: bench.line.heard[LimitsInForce][-1].is_unsaved)
    assert cell.call('undo_calibration').success
    cell.until(STATE.UNDONE)
    bench.wait(lambda: cell.limits() == cell.old)
    assert {e.origin for e in bench.line.heard[LimitsInForce][-1].limits} == origins
    assert bench.node.get_parameter('limits.ssim.mse').value == cell.old['ssim.mse'][0]
    refused = cell.call('undo_calibration')
    assert not refused.success
    assert 'no calibration to undo' in refused.message


def test_a_calibration_on_a_stalled_line_waits_is_seen_and_can_be_cancelled(bench):
    cell = Calibrating(bench, parts=50)
    assert bench.node.diagnostic_values()['calibration'] == (
        'collecting: 0 of 50 good parts collected'
    )
    assert 'under way' in bench.calibrate(parts=8).result()[2]
    assert 'under way' in cell.call('save_limits').message
    assert cell.goal.cancel()
    assert cell.goal.result() == (
        GoalStatus.STATUS_CANCELED,
        False,
        'calibrate: cancelled; 0 of 50 good parts collected; the limits have not changed',
    )
    cell.until(STATE.FAILED, 'cancelled')
    cell.good_parts(1)
    assert cell.limits() == cell.old
    Calibrating(bench)


@pytest.mark.parametrize(
    ('request_', 'says'),
    [
        ({'parts': 4}, '5 to 100000'),
        ({'parts': 100_001}, '5 to 100000'),
        ({'parts': 8, 'false_reject_rate': 0.5}, 'over 0 and below 0.5'),
        ({'parts': 8, 'false_reject_rate': -0.1}, 'over 0 and below 0.5'),
        ({'parts': 8, 'false_reject_rate': math.nan}, 'over 0 and below 0.5'),
    ],
)
def test_a_request_out_of_range_is_refused(bench, request_, says):
    status, success, message = bench.calibrate(**request_).result()
    assert (status, success) == (GoalStatus.STATUS_ABORTED, False)
    assert says in message
    assert bench.node.diagnostic_values()['calibration'] == 'none'


def test_before_a_recipe_is_in_force_nothing_is_calibrated(make_bench):
    bench = make_bench().wait_until_active()
    assert 'no recipe' in bench.calibrate(parts=8).result()[2]


def test_many_parts_unlike_the_others_fail_it(bench):
    cell = Calibrating(bench)
    for part_id in range(1, 9):
        bench.line.part(part_id)
        bench.line.scores(part_id, ssim__mse=1e4 if part_id in (3, 6) else cell.mse(part_id))
        bench.decision(part_id)
    said = cell.until(STATE.FAILED, '2 of 8')
    assert 'part 3: ssim.mse 1e+04' in said.detail
    assert cell.limits() == cell.old
    assert not cell.call('undo_calibration').success


def test_a_limit_set_by_hand_meanwhile_fails_it(bench):
    cell = Calibrating(bench)
    value, typical = cell.old['ssim.mse']
    assert bench.set_parameter('limits.ssim.mse', value).successful
    assert bench.node.calibration.run.is_collecting, 'nothing has changed'
    assert bench.set_parameter('limits.ssim.mse', typical + 5.0).successful
    cell.until(STATE.FAILED, 'ssim.mse was set by hand')
    bench.wait(lambda: cell.limits()['ssim.mse'][0] == typical + 5.0)


def test_a_decider_that_is_stopped_gives_it_up(bench):
    cell = Calibrating(bench)
    bench.node.trigger_deactivate()
    cell.until(STATE.FAILED, 'the decider was stopped')


def test_given_up_while_the_limits_are_derived_changes_nothing(bench, monkeypatch):
    import threading

    from anomaly_inspection.learning.cell_calibration import CellCalibration

    derive, may_go_on = CellCalibration.derived, threading.Event()

    def derive_later(run):
        may_go_on.wait(20.0)
        return derive(run)

    monkeypatch.setattr(CellCalibration, 'derived', derive_later)
    cell = Calibrating(bench)
    cell.good_parts(*range(1, 9))
    assert cell.goal.cancel()
    may_go_on.set()
    cell.good_parts(9)
    cell.until(STATE.FAILED, 'cancelled')
    assert cell.limits() == cell.old


@pytest.fixture
def own_recipe_bench(make_bench, taught_recipe, tmp_path):
    folder = tmp_path / 'small'
    shutil.copytree(taught_recipe, folder)
    return make_bench(folder, deadline_s=5.0).bring_into_force()


def save_limits(bench):
    announced = len(bench.line.announced)
    client = bench.line.create_client(Trigger, 'decider/save_limits')
    bench.wait(client.service_is_ready)
    future = client.call_async(Trigger.Request())
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.line.confirm(bench.line.announced[-1].hash)
    bench.wait(future.done)
    assert future.result().success, future.result().message


def test_saved_limits_keep_their_typical_values_and_drop_the_undo(own_recipe_bench):
    bench = own_recipe_bench
    cell = Calibrating(bench)
    cell.good_parts(*range(1, 9))
    cell.until(STATE.DONE)
    bench.wait(lambda: cell.limits() != cell.old)
    calibrated = cell.limits()
    save_limits(bench)
    saved = read_recipe(bench.line.recipe.path)
    assert saved.version == bench.line.recipe.version + 1
    assert {
        f'{name}.{measure}': (limit.limit, limit.typical)
        for name, scorer in saved.scorers.items()
        for measure, limit in scorer.limits.items()
    } == calibrated
    assert len(saved.scorers['ssim'].good['mse']) == 8
    assert 'on the running cell' in saved.provenance.source
    cell.until(Calibration().state)
    assert not cell.call('undo_calibration').success


def test_after_an_undo_the_limits_of_the_recipe_are_saved(own_recipe_bench):
    bench = own_recipe_bench
    cell = Calibrating(bench)
    cell.good_parts(*range(1, 9))
    cell.until(STATE.DONE)
    assert cell.call('undo_calibration').success
    save_limits(bench)
    saved = read_recipe(bench.line.recipe.path).scorers['ssim']
    assert (saved.limits['mse'].limit, saved.limits['mse'].typical) == cell.old['ssim.mse']
    assert len(saved.good['mse']) > 8


def test_a_recipe_that_comes_into_force_gives_it_up(bench, taught_recipe, tmp_path):
    cell = Calibrating(bench)
    other = tmp_path / 'other'
    shutil.copytree(taught_recipe, other)
    (other / 'recipe.yaml').write_text((other / 'recipe.yaml').read_text() + '\n# another hash\n')
    announced = len(bench.line.announced)
    goal = bench.load(other)
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.line.confirm(bench.line.announced[-1].hash)
    cell.until(STATE.FAILED, 'came into force')
    assert goal.result()[1]
    status, success, message = cell.goal.result()
    assert (status, success) == (GoalStatus.STATUS_ABORTED, False)
    assert 'came into force' in message
