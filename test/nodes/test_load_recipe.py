# SPDX-License-Identifier: Apache-2.0
"""
Switching the product with real scorer nodes: from any recipe to any other, and every refusal.

"""

import itertools
import shutil
import time

import cv2
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from anomaly_inspection.action import LoadRecipe
from anomaly_inspection.msg import Decision, Limit, Part, Thresholds
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.qos import EVENT, IMAGE
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.reviewing.bad_parts import BadParts
from anomaly_inspection.srv import SetLimits
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer
from support.scorer_recipes import good_frames, SIZES, write_recipe_of

pytestmark = pytest.mark.ros


@pytest.fixture(scope='session')
def recipes(tmp_path_factory):
    """
    Folders of a recipe of each scorer.

    """
    folder = tmp_path_factory.mktemp('recipes')
    return {scorer: write_recipe_of(scorer, folder / scorer) for scorer in SIZES}


class SwitchBench(NodeBench):
    """
    A decider, scorer nodes as given, and a peer that plays the camera.

    """

    def __init__(self, context, recipe, scorer_nodes=((),), *, decider_mb=2150, scorer_mb=2150):
        self.line = Peer(context)
        self.decisions = self.line.hear(Decision, 'decision', EVENT)
        self.part_out = self.line.create_publisher(Part, 'part', EVENT)
        self.image_out = self.line.create_publisher(Image, 'part/image', IMAGE)
        self.parts = 0
        super().__init__(
            DeciderNode,
            self.line,
            recipe=str(recipe),
            deadline_s=20.0,
            recipe_budget_mb=decider_mb,
        )
        self.scorer_mb = scorer_mb
        for number, names in enumerate(scorer_nodes):
            self.start_scorer(f'scorer_{number}', recipe, names)
        self.wait(lambda: self.node.is_ready if recipe else self.node.problem('recipe'))
        for publisher, listeners in (
            (self.part_out, 1 + len(scorer_nodes)),
            (self.image_out, len(scorer_nodes)),
        ):
            self.wait(lambda p=publisher, n=listeners: p.get_subscription_count() == n)

    def start_scorer(self, name, recipe, names=()):
        parameters = {
            'recipe': str(recipe),
            'scorers': list(names) or [''],
            'max_age_s': 60.0,
            'recipe_budget_mb': self.scorer_mb,
        }
        scorer = ScorerNode(
            context=self.line.context,
            cli_args=['--ros-args', '-r', f'__node:={name}'],
            parameter_overrides=[Parameter(key, value=v) for key, v in parameters.items()],
        )
        thread = NodeThread([scorer], name, context=self.line.context)
        self.others.append((thread, scorer))
        thread.start()

    def load(self, path):
        """
        Switch to another recipe; give (whether it is in force, what was said).

        """
        _, success, message = self.switch(path).result()
        return success, message

    def switch(self, path, **fields):
        return self.send_goal(LoadRecipe, 'decider/load_recipe', path=str(path), **fields)

    def decision(self, pixels):
        """
        Let a part come, and give its decision.

        """
        self.parts += 1
        stamp = stamp_from_nanoseconds(self.parts)
        self.image_out.publish(image_from_array(pixels, stamp, 'camera'))
        self.part_out.publish(
            Part(
                session_id='test',
                part_id=self.parts,
                frame_stamps=[stamp],
                frame_names=[''],
                frame_problems=[''],
                is_complete=True,
                exposure_steady_ns=time.monotonic_ns(),
                steady_clock_id=steady_clock_id(),
            )
        )
        self.wait(lambda: self.decisions and self.decisions[-1].part_id == self.parts)
        return self.decisions[-1]


@pytest.fixture(scope='module')
def cell(shared_ros_context, recipes):
    """
    A decider and a scorer node that runs whatever the recipe holds, shared by all pairs.

    """
    bench = SwitchBench(shared_ros_context, recipes['variation'])
    yield bench
    bench.close()


@pytest.mark.parametrize(('before', 'after'), list(itertools.permutations(SIZES, 2)))
def test_from_any_recipe_to_any_other(cell, recipes, before, after):
    for scorer in (before, after):
        recipe = read_recipe(recipes[scorer])
        success, message = cell.load(recipes[scorer])
        assert success, message
        decision = cell.decision(good_frames(scorer)[0])
        assert decision.recipe_hash == recipe.hash
        assert decision.reason in (
            Decision.REASON_WITHIN_LIMITS,
            Decision.REASON_LIMIT_EXCEEDED,
        ), decision.comparison
        assert f'{scorer}.' in decision.comparison
    wrong_size = cell.decision(good_frames(before)[0])
    assert wrong_size.reason == Decision.REASON_FRAME_INVALID
    width, height = SIZES[before]
    assert f'{width} x {height}' in wrong_size.comparison


@pytest.fixture
def make_cell(ros_context):
    benches = []

    def make(*arguments, **budgets):
        benches.append(SwitchBench(ros_context, *arguments, **budgets))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def test_named_scorers_that_the_new_recipe_lacks_refuse_it_at_once_and_say_so(make_cell, recipes):
    cell = make_cell(recipes['ssim'], [('ssim',)])
    began_s = time.monotonic()
    success, message = cell.load(recipes['variation'])
    assert not success
    assert time.monotonic() - began_s < 10.0, 'not the time-out of the switch'
    for words in ('scorer_0', 'ssim', "recipe variation has no scorer 'ssim'", 'variation'):
        assert words in message
    _, scorer = cell.others[0]
    assert 'has no scorer' in scorer.problem('recipe')
    assert cell.decision(good_frames('ssim')[0]).reason == Decision.REASON_WITHIN_LIMITS


def test_a_required_scorer_that_no_node_runs_refuses_it_without_the_time_out(
    make_cell, recipes, taught_recipe
):
    cell = make_cell(recipes['ssim'], [('ssim',)])
    success, message = cell.load(taught_recipe)
    assert not success
    assert 'variation is needed, and none of the scorer nodes runs it (1 found)' in message
    assert cell.decision(good_frames('ssim')[0]).reason == Decision.REASON_WITHIN_LIMITS


@pytest.mark.parametrize('small', ['decider_mb', 'scorer_mb'])
def test_a_recipe_over_the_budget_of_a_node_is_refused_and_the_old_one_stays_in_force(
    make_cell, recipes, taught_recipe, small
):
    cell = make_cell(recipes['ssim'], **{small: 1})
    success, message = cell.load(taught_recipe)
    assert not success
    for words in ('of the 1 MB that a recipe may take', 'raise the parameter recipe_budget_mb'):
        assert words in message
    decision = cell.decision(good_frames('ssim')[0])
    assert decision.recipe_hash == read_recipe(recipes['ssim']).hash
    assert decision.reason == Decision.REASON_WITHIN_LIMITS


def test_scorer_nodes_that_answer_at_the_same_time_are_all_heard(
    make_cell, taught_recipe, tmp_path
):
    other = tmp_path / 'other'
    shutil.copytree(taught_recipe, other)
    (other / 'recipe.yaml').write_text((other / 'recipe.yaml').read_text() + '\n# another hash\n')
    cell = make_cell(taught_recipe, [('ssim',), ('variation',)])
    for recipe in (other, taught_recipe, other):
        success, message = cell.load(recipe)
        assert success, message


def test_without_a_recipe_every_part_is_rejected_until_the_first_one_is_loaded(
    make_cell, recipes, tmp_path
):
    cell = make_cell('')
    assert 'no recipe is in force' in cell.node.problem('recipe')
    frame = good_frames('ssim')[0]
    decision = cell.decision(frame)
    assert (decision.verdict, decision.reason) == (
        Decision.VERDICT_REJECT,
        Decision.REASON_NOT_READY,
    )
    assert 'no recipe is in force' in decision.comparison

    # What needs a recipe is refused in words; nothing breaks.
    limits = [Limit(scorer='ssim', measure='mse', value=1.0)]
    for service_type, service, fields in (
        (Trigger, 'save_limits', {}),
        (Trigger, 'undo_limits', {}),
        (Trigger, 'undo_calibration', {}),
        (SetLimits, 'set_limits', {'limits': limits}),
    ):
        answer = cell.call(service_type, f'decider/{service}', **fields)
        assert not answer.success
        assert 'recipe' in answer.message, service
    thresholds = cell.line.create_publisher(Thresholds, 'thresholds', EVENT)
    cell.wait(lambda: thresholds.get_subscription_count() == 1)
    thresholds.publish(Thresholds(limits=limits))
    cell.wait(lambda: 'no recipe is in force' in (cell.node.problem('thresholds') or ''))

    # A recipe that is none changes nothing; a scorer that starts now does not go after it.
    success, message = cell.load(tmp_path)
    assert not success
    assert 'no recipe' in cell.node.problem('recipe')
    assert cell.decision(frame).reason == Decision.REASON_NOT_READY

    success, message = cell.load(recipes['ssim'])
    assert success, message
    assert cell.node.problem('recipe') is None
    decision = cell.decision(frame)
    assert (decision.verdict, decision.reason) == (
        Decision.VERDICT_PASS,
        Decision.REASON_WITHIN_LIMITS,
    )


def test_a_first_recipe_that_a_scorer_refuses_leaves_none_in_force(make_cell, recipes):
    cell = make_cell('', [('ssim',)])
    success, message = cell.load(recipes['variation'])
    assert not success
    assert message.endswith('still no recipe is in force')
    assert not cell.node.is_ready
    success, message = cell.load(recipes['ssim'])
    assert success, message
    assert cell.node.is_ready


def test_a_recipe_that_passes_confirmed_bad_parts_needs_a_reason(make_cell, recipes, tmp_path):
    cell = make_cell(recipes['ssim'])
    folder = shutil.copytree(recipes['variation'], tmp_path / 'variation')
    # To this recipe they look good, whatever a person has said.
    bad = [
        (f'part {number}', cv2.imencode('.png', frame)[1].tobytes())
        for number, frame in enumerate(good_frames('variation')[:2])
    ]
    BadParts(folder).add(bad)
    result = cell.switch(folder).answer().result
    assert not result.success
    assert result.bad_parts_passed == 2
    for words in ('it would pass 2 of 2 parts', 'the old recipe stays in force', 'part 0'):
        assert words in result.message
    assert cell.decision(good_frames('ssim')[0]).reason == Decision.REASON_WITHIN_LIMITS

    # What cannot be judged is refused as well: nobody knows.
    (BadParts(folder).folder / 'parts.txt').write_text('nonsense')
    result = cell.switch(folder, override_reason=' ').answer().result
    assert not result.success
    assert 'line 1 is' in result.message

    result = cell.switch(folder, override_reason='they were good after all').answer().result
    assert result.success, result.message
    decision = cell.decision(good_frames('variation')[0])
    assert decision.recipe_hash == read_recipe(folder).hash


def test_limits_that_pass_confirmed_bad_parts_are_not_saved(make_cell, recipes, tmp_path):
    folder = shutil.copytree(recipes['variation'], tmp_path / 'variation')
    cell = make_cell(folder)
    png = cv2.imencode('.png', good_frames('variation')[0])[1].tobytes()
    BadParts(folder).add([('part 7', png)])
    answer = cell.call(Trigger, 'decider/save_limits')
    assert not answer.success
    assert 'with these limits it would pass 1 of 1 parts' in answer.message
    assert read_recipe(folder).version == 1
    assert cell.decision(good_frames('variation')[0]).reason == Decision.REASON_WITHIN_LIMITS
