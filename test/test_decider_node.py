# SPDX-License-Identifier: Apache-2.0
"""
The decider node over DDS: one decision a part, limits in one hand, recipe switch between two
parts.

"""

import math
import shutil
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from cell_bench import NodeBench
from rclpy.node import Node
from std_srvs.srv import Trigger

from anomaly_inspection.msg import (
    Decision,
    Fault,
    Limit,
    LimitsInForce,
    Measure,
    Part,
    RecipeInForce,
    RecipePrepared,
    Score,
    Thresholds,
)
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.srv import LoadRecipe, SetLimits
from anomaly_inspection.steady_clock import steady_clock_id

pytestmark = pytest.mark.ros


class Line(Node):
    """
    Plays camera and scorers to a real decider node.

    """

    def __init__(self, context, recipe_folder):
        super().__init__('line', context=context)
        self.recipe = read_recipe(recipe_folder)
        self.heard = {Decision: [], Fault: [], LimitsInForce: [], RecipeInForce: []}
        self.announced = []
        for message_type, topic, qos in (
            (Decision, 'decision', EVENT),
            (Fault, 'fault', LATCHED),
            (LimitsInForce, 'limits_in_force', LATCHED),
            (RecipeInForce, 'recipe_in_force', LATCHED),
        ):
            self.create_subscription(message_type, topic, self.heard[message_type].append, qos)
        self.create_subscription(RecipeInForce, 'recipe_prepare', self.announced.append, LATCHED)
        self.part_out = self.create_publisher(Part, 'part', EVENT)
        self.score_out = self.create_publisher(Score, 'score', EVENT)
        self.thresholds_out = self.create_publisher(Thresholds, 'thresholds', EVENT)
        self.prepared_out = self.create_publisher(RecipePrepared, 'recipe_prepared', LATCHED)

    def confirm(self, recipe_hash, error=''):
        self.prepared_out.publish(
            RecipePrepared(
                scorers=list(self.recipe.scorers),
                recipe_hash=recipe_hash,
                is_ready=not error,
                error=error,
            )
        )

    def part(self, part_id, *, age_s=0.0, problem=''):
        self.part_out.publish(
            Part(
                session_id='test',
                part_id=part_id,
                frame_stamps=[stamp_from_nanoseconds(part_id)],
                frame_names=[f'{part_id}'],
                frame_problems=[problem],
                is_complete=True,
                exposure_steady_ns=time.monotonic_ns() - int(1e9 * age_s),
                steady_clock_id=steady_clock_id(),
            )
        )

    def scores(self, part_id, *, recipe=None, part_class='', **measures):
        """
        Send typical scores of all scorers, but for the measures given as scorer__measure=value.

        """
        recipe = recipe or self.recipe
        for name, scorer in recipe.scorers.items():
            message = Score(
                session_id='test',
                part_id=part_id,
                scorer=name,
                status=Score.STATUS_OK,
                recipe_hash=recipe.hash,
                part_class=part_class if name == 'ssim' else '',
                measures=[
                    Measure(name=measure, value=measures.get(f'{name}__{measure}', limit.typical))
                    for measure, limit in scorer.limits.items()
                ],
            )
            message.header.stamp = stamp_from_nanoseconds(part_id)
            self.score_out.publish(message)


class Bench(NodeBench):
    """
    A decider and the line around it.

    """

    def __init__(self, context, recipe_folder, **parameters):
        self.line = Line(context, recipe_folder)
        super().__init__(DeciderNode, self.line, **{'recipe': str(recipe_folder), **parameters})

    def bring_into_force(self):
        self.wait(lambda: self.line.announced)
        self.line.confirm(self.line.announced[-1].hash)
        self.wait(lambda: self.node.is_ready)
        self.wait(lambda: self.line.part_out.get_subscription_count() > 0)
        self.wait(lambda: self.line.score_out.get_subscription_count() > 0)
        return self

    def decision(self, part_id):
        def found():
            return [d for d in self.line.heard[Decision] if d.part_id == part_id]

        self.wait(found)
        assert len(found()) == 1
        return found()[0]

    def limit(self, scorer, measure):
        message = self.line.heard[LimitsInForce][-1]
        return next(e for e in message.limits if (e.scorer, e.measure) == (scorer, measure))


@pytest.fixture
def make_bench(ros_context, taught_recipe):
    benches = []

    def make(recipe_folder=taught_recipe, **parameters):
        benches.append(Bench(ros_context, recipe_folder, **parameters))
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
    assert 0 < passed.latency_s < 5
    assert (rejected.verdict, rejected.reason) == (
        Decision.VERDICT_REJECT,
        Decision.REASON_LIMIT_EXCEEDED,
    )
    assert rejected.worst_measure == 'ssim.mse'
    assert rejected.anomaly_score > 1


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
    bench.wait(lambda: bench.node._decider.next_deadline())
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
    assert [limit.value for limit in bench.node._limits] == before


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


@pytest.mark.parametrize('recipe', ['', 'nowhere', '.'])
def test_without_a_recipe_the_node_stays_down_and_says_why(make_bench, tmp_path, recipe):
    bench = make_bench(recipe=recipe and str(tmp_path / recipe))
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


def test_a_bad_recipe_leaves_the_old_one_in_force(bench, tmp_path):
    response = bench.call(LoadRecipe, 'decider/load_recipe', path=str(tmp_path / 'nowhere'))
    assert not response.success
    assert 'nowhere' in response.message
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
    client = bench.line.create_client(LoadRecipe, 'decider/load_recipe')
    bench.wait(client.service_is_ready)
    announced = len(bench.line.announced)
    future = client.call_async(LoadRecipe.Request(path=str(other)))
    bench.wait(lambda: len(bench.line.announced) > announced)
    bench.line.part(1)
    bench.line.scores(1)
    assert bench.decision(1).verdict == Decision.VERDICT_PASS, 'the line goes on meanwhile'
    bench.line.confirm(bench.line.announced[-1].hash, 'no memory left')
    bench.wait(future.done)
    assert not future.result().success
    assert 'no memory left' in future.result().message
    bench.line.part(2)
    bench.line.scores(2)
    assert bench.decision(2).verdict == Decision.VERDICT_PASS
