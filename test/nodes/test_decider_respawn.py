# SPDX-License-Identifier: Apache-2.0
"""
A decider that takes another one's place: what was in force comes back, or production is blocked.

"""

import json
import os
from pathlib import Path
import shutil

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from std_srvs.srv import Trigger

from anomaly_inspection.action import RunChallenge
from anomaly_inspection.deciding.challenge import ChallengeState
from anomaly_inspection.deciding.limits import LimitOrigin
from anomaly_inspection.msg import Decision, Fault, LimitsInForce, RecipeInForce
from anomaly_inspection.recipes.folder import read_recipe
from support.decider_bench import DeciderBench

pytestmark = pytest.mark.ros


@pytest.fixture
def make_bench(ros_context, taught_recipe):
    """
    Start a decider; the one before it ends first, as when it has died.

    """
    benches = []

    def make(recipe_folder=taught_recipe, **parameters):
        if benches:
            benches.pop().close()
        benches.append(DeciderBench(ros_context, recipe_folder, deadline_s=5.0, **parameters))
        return benches[-1]

    yield make
    benches.pop().close()


@pytest.fixture
def other_recipe(taught_recipe, tmp_path):
    return with_another_hash(shutil.copytree(taught_recipe, tmp_path / 'other'))


def with_another_hash(folder):
    file = Path(folder) / 'recipe.yaml'
    file.write_text(file.read_text() + '\n# another hash\n')
    return Path(folder)


def switched_to(bench, folder):
    """
    Switch to another recipe, and move a limit of it.

    """
    goal = bench.load(folder)
    bench.wait(lambda: goal.feedback and goal.feedback[-1].missing)
    bench.line.confirm(read_recipe(folder).hash)
    assert goal.result()[1]
    moved = bench.limit('ssim', 'mse').typical + 12.5
    assert bench.set_parameter('limits.ssim.mse', moved).successful
    return moved


def state_file():
    (path,) = Path(os.environ['ROS_HOME']).rglob('decider.json')
    return path


def blocked(bench, *words):
    """
    See that production is blocked, and that everybody says why.

    """
    bench.wait(lambda: bench.line.announced and bench.line.heard[Fault])
    bench.line.confirm(bench.line.announced[-1].hash)
    bench.wait(lambda: bench.node._recipes._announced.switch.state.value == 'ready')
    bench.wait(lambda: bench.line.part_out.get_subscription_count())
    bench.line.part(1)
    decision = bench.decision(1)
    assert (decision.verdict, decision.reason) == (
        Decision.VERDICT_REJECT,
        Decision.REASON_NOT_READY,
    )
    fault = bench.line.heard[Fault][-1]
    assert fault.active
    for words_ in words:
        for text in (decision.comparison, fault.reason, bench.node.problem('fault')):
            assert words_ in text
    assert not bench.line.heard[RecipeInForce]


def production_runs(bench, part_id=2):
    bench.wait(lambda: bench.node.is_ready)
    bench.wait(lambda: not bench.line.heard[Fault][-1].active)
    bench.wait(lambda: bench.line.score_out.get_subscription_count())
    bench.line.part(part_id)
    bench.line.scores(part_id, recipe=bench.node.recipe)
    assert bench.decision(part_id).verdict == Decision.VERDICT_PASS
    assert bench.node.problem('fault') is None


def test_recipe_and_limits_in_force_come_back(make_bench, other_recipe):
    bench = make_bench().bring_into_force()
    moved = switched_to(bench, other_recipe)
    again = make_bench().bring_into_force()
    assert again.line.heard[RecipeInForce][-1].hash == read_recipe(other_recipe).hash
    limit = again.limit('ssim', 'mse')
    assert (limit.value, limit.origin) == (moved, LimitOrigin.RUNTIME)
    assert again.line.heard[LimitsInForce][-1].is_unsaved
    assert again.node.get_parameter('limits.ssim.mse').value == moved
    assert not again.line.heard[Fault][-1].active
    production_runs(again)


def test_a_fresh_start_begins_with_what_launch_says(make_bench, other_recipe, capfd):
    bench = make_bench().bring_into_force()
    switched_to(bench, other_recipe)
    bench.node._state_keeper.close()
    whole = json.loads(state_file().read_text())
    whole['writer']['parent'] = [1, 1]
    # Another parent: as if another launch had started the one before.
    bench.node.state.write = lambda content: None
    state_file().write_text(json.dumps(whole))
    again = make_bench().bring_into_force()
    assert again.line.heard[RecipeInForce][-1].hash == again.line.recipe.hash
    production_runs(again)
    said = capfd.readouterr().err
    assert 'fresh start with small v1' in said
    assert read_recipe(other_recipe).hash[:12] in said


def test_other_launch_parameters_make_a_fresh_start(make_bench, other_recipe, taught_recipe):
    bench = make_bench().bring_into_force()
    switched_to(bench, other_recipe)
    again = make_bench(**{'limits.ssim.mse': 4000.0}).bring_into_force()
    assert again.line.heard[RecipeInForce][-1].hash == read_recipe(taught_recipe).hash
    assert again.limit('ssim', 'mse').value == 4000.0
    assert again.set_parameter('limits.ssim.mse', 4100.0).successful
    third = make_bench(**{'limits.ssim.mse': 4000.0}).bring_into_force()
    assert third.limit('ssim', 'mse').value == 4100.0


def test_a_recipe_that_is_gone_blocks_production_until_somebody_confirms(make_bench, other_recipe):
    switched_to(make_bench().bring_into_force(), other_recipe)
    shutil.rmtree(other_recipe)
    for _ in range(2):
        # It dies once more before anybody has seen it.
        bench = make_bench()
        blocked(bench, 'production is blocked', str(other_recipe), '~/confirm_recipe')
    answer = bench.call(Trigger, 'decider/confirm_recipe')
    assert answer.success, answer.message
    production_runs(bench)
    assert bench.line.heard[RecipeInForce][-1].hash == bench.line.recipe.hash
    assert 'no recipe waits' in bench.call(Trigger, 'decider/confirm_recipe').message
    production_runs(make_bench().bring_into_force())


def test_a_recipe_that_was_changed_blocks_production_until_one_is_loaded(
    make_bench, other_recipe, taught_recipe
):
    switched_to(make_bench().bring_into_force(), other_recipe)
    with_another_hash(other_recipe)
    bench = make_bench()
    blocked(bench, 'now holds small v1', read_recipe(other_recipe).hash[:12])
    refused = bench.load(other_recipe / 'nowhere').result()
    assert not refused[1]
    assert bench.node.unconfirmed
    goal = bench.load(taught_recipe)
    bench.wait(lambda: goal.feedback and goal.feedback[-1].missing)
    bench.line.confirm(bench.line.recipe.hash)
    assert goal.result()[1]
    production_runs(bench)


@pytest.mark.parametrize(
    ('broken', 'says'),
    [
        ('{"format', 'cannot read the state'),
        (None, 'not whole'),
    ],
)
def test_a_state_that_cannot_be_read_blocks_production(make_bench, broken, says):
    bench = make_bench().bring_into_force()
    bench.node._state_keeper.close()
    if broken is None:
        whole = json.loads(state_file().read_text())
        del whole['content']['limits']
        broken = json.dumps(whole)
    bench.node.state.write = lambda content: None
    state_file().write_text(broken)
    again = make_bench()
    blocked(again, says, 'decider.json')
    assert again.call(Trigger, 'decider/confirm_recipe').success
    production_runs(again)


def test_a_stop_and_a_new_configuration_do_not_confirm(make_bench, other_recipe):
    switched_to(make_bench().bring_into_force(), other_recipe)
    shutil.rmtree(other_recipe)
    bench = make_bench()
    blocked(bench, str(other_recipe))
    for transition in ('deactivate', 'cleanup', 'configure', 'activate'):
        getattr(bench.node, f'trigger_{transition}')()
    assert bench.node.unconfirmed


def test_a_failed_challenge_is_still_failed(make_bench):
    parameters = {
        'challenge_parts': ['good gold sample', 'bad scratch 2 mm'],
        'challenge_at_start': False,
    }
    bench = make_bench(**parameters).bring_into_force()
    goal = bench.send_goal(RunChallenge, 'decider/run_challenge')
    bench.wait(lambda: goal.feedback)
    bench.line.part(1)
    bench.line.scores(1, ssim__mse=1e6)
    assert not goal.result()[1]
    again = make_bench(**parameters).bring_into_force()
    assert again.node._challenge.status(0.0).state is ChallengeState.FAILED
    again.line.part(2)
    again.line.scores(2)
    assert again.decision(2).reason == Decision.REASON_CHALLENGE_DUE


def test_limits_of_a_calibration_come_back_but_cannot_be_saved(
    make_bench, taught_recipe, tmp_path
):
    folder = shutil.copytree(taught_recipe, tmp_path / 'small')
    bench = make_bench(folder).bring_into_force()
    goal = bench.calibrate(parts=8)
    bench.wait(lambda: goal.feedback)
    for part_id in range(1, 9):
        bench.line.part(part_id)
        mse = bench.limit('ssim', 'mse').typical * (1.1 + 0.01 * (part_id % 3))
        bench.line.scores(part_id, ssim__mse=mse)
        bench.decision(part_id)
    assert goal.result()[1]
    bench.wait(lambda: bench.line.heard[LimitsInForce][-1].is_unsaved)
    limit = bench.limit('ssim', 'mse')
    again = make_bench(folder).bring_into_force()
    found = again.limit('ssim', 'mse')
    assert (found.value, found.typical) == (limit.value, limit.typical)
    refused = again.call(Trigger, 'decider/save_limits')
    assert not refused.success
    assert 'calibrate again, then save' in refused.message
