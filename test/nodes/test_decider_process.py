# SPDX-License-Identifier: Apache-2.0
"""
Decider and scorer as processes: the product is changed, and the decider is killed.

"""

import os
from pathlib import Path
import shutil
import signal

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.parameter import Parameter

from anomaly_inspection.action import LoadRecipe
from anomaly_inspection.msg import LimitsInForce, RecipeInForce
from anomaly_inspection.nodes.qos import LATCHED
from anomaly_inspection.recipes.folder import read_recipe
from support.processes import answer, Processes, wait_for
from support.scorer_recipes import write_recipe_of

pytestmark = pytest.mark.ros


class DeciderProcess:
    """
    A decider and a scorer as processes, and what the watcher hears of the decider.

    """

    def __init__(self, processes, watcher):
        self.processes, self.watcher = processes, watcher
        self.recipes = watcher.hear(RecipeInForce, 'recipe_in_force', LATCHED)
        self.limits = watcher.hear(LimitsInForce, 'limits_in_force', LATCHED)
        clients = []
        # On the watcher's own thread: rclpy lets an executor use a client that is half made.
        watcher.executor.create_task(
            lambda: clients.append(ActionClient(watcher, LoadRecipe, 'decider/load_recipe'))
        )
        processes.start('scorer')
        processes.start('decider')
        watcher.wait(lambda: self.recipes)
        wait_for(lambda: clients and clients[0].server_is_ready(), processes)
        self.client = clients[0]
        processes.until_known(watcher, 'decider')

    def load(self, folder):
        sent = self.client.send_goal_async(LoadRecipe.Goal(path=str(folder)))
        wait_for(sent.done, self.processes)
        ended = sent.result().get_result_async()
        wait_for(ended.done, self.processes)
        result = ended.result().result
        assert result.success, result.message
        self.until_in_force(folder)

    def until_in_force(self, folder):
        recipe_hash = read_recipe(folder).hash
        self.watcher.wait(lambda: self.recipes[-1].hash == recipe_hash)

    def limit(self, measure):
        return next(limit for limit in self.limits[-1].limits if limit.measure == measure)


def test_the_product_is_changed_and_changed_back(watcher, domain_id, tmp_path):
    recipes = {
        scorer: write_recipe_of(scorer, tmp_path / scorer)
        for scorer in ('variation', 'patch_statistics', 'ssim')
    }
    processes = Processes(recipes['variation'], tmp_path)
    try:
        cell = DeciderProcess(processes, watcher)
        for scorer in ('patch_statistics', 'variation', 'ssim', 'variation'):
            cell.load(recipes[scorer])
            assert list(cell.recipes[-1].scorers) == [scorer]
    finally:
        processes.close()


def test_a_killed_decider_comes_back_with_the_recipe_and_limits_in_force(
    processes, watcher, taught_recipe, tmp_path
):
    other = shutil.copytree(taught_recipe, tmp_path / 'other')
    (other / 'recipe.yaml').write_text((other / 'recipe.yaml').read_text() + '\n# another hash\n')
    cell = DeciderProcess(processes, watcher)
    cell.load(other)
    client = watcher.create_client(SetParameters, 'decider/set_parameters')
    processes.until_known(watcher, 'decider')
    moved = cell.limit('mse').typical + 12.5
    request = SetParameters.Request(
        parameters=[Parameter('limits.ssim.mse', value=moved).to_parameter_msg()]
    )
    assert answer(client, request).results[0].successful
    watcher.wait(lambda: cell.limit('mse').value == moved)

    def is_on_disk():
        files = Path(os.environ['ROS_HOME']).rglob('decider.json')
        return any(str(moved) in file.read_text() for file in files)

    wait_for(is_on_disk, processes)
    heard = len(cell.recipes)
    processes.signal('decider', signal.SIGKILL)
    processes.running['decider'].wait()
    processes.start('decider')
    watcher.wait(lambda: len(cell.recipes) > heard)
    cell.until_in_force(other)
    watcher.wait(lambda: len(cell.limits) > heard and cell.limit('mse').value == moved)
    assert 'restarted: small v1' in processes.log('decider')
