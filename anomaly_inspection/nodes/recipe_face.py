# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the recipe switch: announce, collect the answers, bring into force.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

from rclpy.task import Future
from std_srvs.srv import Trigger

from anomaly_inspection.action import LoadRecipe
from anomaly_inspection.deciding.recipe_switch import RecipeSwitch, SwitchState
from anomaly_inspection.errors import LimitError, RecipeError, SettingError
from anomaly_inspection.msg import RecipeInForce, RecipePrepared
from anomaly_inspection.nodes.action_server import GoalEndedError, GoalRefusedError
from anomaly_inspection.nodes.inspection_node import ERROR, steady_s
from anomaly_inspection.nodes.limits_face import UsedLimits
from anomaly_inspection.nodes.qos import LATCHED, LATCHED_BY_MANY
from anomaly_inspection.nodes.recipe_reading import read_within_budget
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.reviewing.check_process import check_apart
from anomaly_inspection.srv import SetLimitRanges

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeVar

    from anomaly_inspection.nodes.action_server import Goal
    from anomaly_inspection.nodes.decider_node import DeciderNode
    from anomaly_inspection.recipes.recipe import Recipe

    T = TypeVar('T')

_TIMEOUT_S = 20.0
NO_RECIPE = 'no recipe is in force, and every part is rejected: teach a product, or load a recipe'


@dataclass
class _Announced:
    """
    A recipe that was announced to the scorers, and what becomes of it.

    """

    recipe: Recipe
    switch: RecipeSwitch
    # Done at its end, with why it failed, or ''; None for the first recipe.
    done: Future[str] | None = None
    goal: Goal | None = None


class RecipeFace:
    """
    Offers the recipe switch on the decider node; the one place that announces recipes.

    """

    def __init__(self, node: DeciderNode) -> None:
        self._node = node
        self._announced: _Announced | None = None
        self._prepare = node.publish_on(RecipeInForce, 'recipe_prepare', LATCHED)
        self._in_force = node.publish_on(RecipeInForce, 'recipe_in_force', LATCHED)
        node.listen(RecipePrepared, 'recipe_prepared', self._take_answer, LATCHED_BY_MANY)
        node.serve_action(LoadRecipe, '~/load_recipe', self._load)
        node.serve(Trigger, '~/save_limits', self._save_limits)
        node.serve(SetLimitRanges, '~/set_limit_ranges', self._set_limit_ranges)
        node.serve(Trigger, '~/undo_limits', self._undo_limits)
        node.serve(Trigger, '~/confirm_recipe', self._confirm)

    def announce_first(self) -> None:
        """
        Announce the node's recipe, if it has one; it comes into force when every scorer has
        confirmed it.

        """
        if self._node.has_recipe:
            self._announce(self._node.recipe)
        else:
            # Latched: it replaces what a switch that failed has left.
            self._prepare.publish(RecipeInForce())
            self._node.report('recipe', ERROR, NO_RECIPE)

    def tick(self, now: float) -> None:
        """
        See whether the scorers have taken too long.

        """
        if self._announced is not None:
            self._announced.switch.tick(now, self._node.count_publishers('recipe_prepared'))
            self._see_how_it_stands()

    def stop(self) -> None:
        """
        Give up the switch under way: the decider stops.

        """
        announced, self._announced = self._announced, None
        if announced is not None and announced.done is not None:
            announced.done.set_result('the decider was stopped')

    async def _load(self, goal: Goal) -> str:
        self._check_free()
        path = goal.request.path
        if not path:
            raise RecipeError("path = '' is refused: it must name the folder of a recipe")
        goal.tell(detail=f'reading {path}')
        parameters = self._node.parameters
        recipe = await goal.wait(
            self._node.in_background(lambda: read_within_budget(path, parameters))
        )
        await self._check_bad_parts(recipe, goal)
        return await self._switch_to(recipe, goal.wait, goal)

    async def _check_bad_parts(self, recipe: Recipe, goal: Goal) -> None:
        """
        Refuse a recipe that would pass parts which people have confirmed as bad.

        """
        node, why = self._node, printable(goal.request.override_reason.strip())
        goal.tell(detail='judging the parts that people have confirmed as bad')
        try:
            check = await goal.wait(node.in_background(lambda: check_apart(recipe)))
            problem, n_passed = check.refusal, len(check.passed)
        except RecipeError as error:
            problem, n_passed = str(error), 1
        if not problem:
            return
        named = f'{recipe.name} version {recipe.version}'
        if not why:
            raise GoalRefusedError(
                f'{named} is refused: {problem}; {self._still}. An engineer may load it all the '
                'same with a reason (override_reason)',
                bad_parts_passed=n_passed,
            )
        node.get_logger().warning(f'{named} is loaded although {problem}: {why[:500]}')

    def _confirm(self, request: Any) -> str:
        if not self._node.unconfirmed:
            raise SettingError('no recipe waits for a confirmation')
        recipe = self._node.recipe
        self._node.confirm()
        self._node.get_logger().warning(
            f'somebody confirmed recipe {recipe.name} v{recipe.version} ({recipe.hash[:12]})'
        )
        if self._announced is not None:
            self._see_how_it_stands()
        return (
            f'{recipe.name} version {recipe.version} comes into force when its scorers are ready'
        )

    def _undo_limits(self, request: Any) -> str:
        self._check_free()
        node = self._node
        if not node.is_ready:
            raise RecipeError('no recipe is in force yet; try again')
        recipe = node.recipe
        node.calibration.forget('the limits of the recipe were put back')
        node.use_limits(UsedLimits(limit_table(recipe)))
        return (
            f'the limits of {recipe.name} version {recipe.version} are in force from the next '
            'part on'
        )

    async def _save_limits(self, request: Any) -> str:
        return await self._save(lambda recipe: recipe)

    async def _set_limit_ranges(self, request: Any) -> str:
        if not request.ranges:
            raise LimitError('no range was given: at least one is needed')
        ranges = {
            (one.scorer, one.measure): (_end(one.lowest), _end(one.highest))
            for one in request.ranges
        }
        if len(ranges) < len(request.ranges):
            raise LimitError('a measure was given twice: each may stand once')
        return await self._save(lambda recipe: recipe.with_ranges(ranges))

    async def _save(self, change: Callable[[Recipe], Recipe]) -> str:
        """
        Write the limits in force, and what else shall change, as the recipe's next version.

        """
        self._check_free()
        node = self._node
        if not node.is_ready or node.recipe.path is None:
            raise RecipeError('no recipe is in force yet; try again')
        recipe, used, path = node.recipe, node.limits.used, node.recipe.path
        node.calibration.check_idle()
        if used.calibrated is None and used.typical_differs_from(limit_table(recipe)):
            raise SettingError(
                'the limits come from a calibration before the decider was restarted, and what '
                'it measured is lost: calibrate again, then save'
            )
        if used.calibrated is not None:
            recipe = used.calibrated.applied_to(recipe, 'parts on the running cell')
        values = {(limit.scorer, limit.measure): limit.value for limit in used.table}
        changed = change(recipe.with_limits(values))
        check = await node.in_background(lambda: check_apart(changed, path))
        if check.refusal:
            raise RecipeError(f'not saved: with these limits {check.refusal}')
        self._check_free()
        budget_bytes = node.parameters.recipe_budget_bytes
        written = await node.in_background(
            lambda: write_recipe(changed, path, budget_bytes=budget_bytes)
        )

        def wait(future: Awaitable[T]) -> Awaitable[T]:
            return future

        return await self._switch_to(written, wait)

    async def _switch_to(
        self, recipe: Recipe, wait: Callable[[Any], Awaitable[Any]], goal: Goal | None = None
    ) -> str:
        self._check_free()
        done: Future[str] = Future(executor=self._node.executor)
        self._announce(recipe, done, goal)
        try:
            error = await wait(done)
        except GoalEndedError as end:
            self._give_up()
            raise GoalEndedError(f'{end}; {self._still}') from None
        if error:
            raise RecipeError(f'{recipe.path}: {error}; {self._still}')
        return f'{recipe.name} version {recipe.version} is in force from the next part on'

    @property
    def _still(self) -> str:
        has_one = self._node.has_recipe
        return 'the old recipe stays in force' if has_one else 'still no recipe is in force'

    def _check_free(self) -> None:
        # The first recipe may wait for ever, e.g. for a scorer that does not have it.
        if self._announced is not None and self._announced.done is not None:
            name = self._announced.recipe.name
            raise RecipeError(f'recipe {name} is still being prepared; try again')
        if not self._node.is_active:
            raise RecipeError('the decider was stopped')

    def _announce(
        self, recipe: Recipe, done: Future[str] | None = None, goal: Goal | None = None
    ) -> None:
        switch = RecipeSwitch(
            recipe.hash,
            _scorers(recipe),
            now=steady_s(),
            timeout_s=_TIMEOUT_S,
            is_first=done is None,
        )
        self._announced = _Announced(recipe, switch, done, goal)
        self._prepare.publish(self._message(recipe))
        self._tell()

    def _take_answer(self, message: RecipePrepared) -> None:
        if self._announced is None:
            return
        self._announced.switch.answered(
            message.recipe_hash,
            list(message.scorers),
            is_ready=message.is_ready,
            error=message.error,
        )
        self._tell()
        self._see_how_it_stands()

    def _tell(self) -> None:
        """
        Tell the client of the goal under way whom the switch waits for.

        """
        announced = self._announced
        if announced is not None and announced.goal is not None:
            ready, missing = announced.switch.ready, announced.switch.missing
            detail = f'waiting for {", ".join(missing)}' if missing else 'every scorer is ready'
            announced.goal.tell(detail=detail, ready=ready, missing=missing)

    def _see_how_it_stands(self) -> None:
        announced = self._announced
        assert announced is not None
        state, reason = announced.switch.state, announced.switch.reason
        if state is SwitchState.READY:
            if announced.done is None and self._node.unconfirmed:
                return
            self._announced = None
            self._node.bring_into_force(announced.recipe)
            self._in_force.publish(self._message(announced.recipe))
            self._node.clear('recipe')
            if announced.done is not None:
                announced.done.set_result('')
        elif state is SwitchState.FAILED:
            self._give_up()
            assert announced.done is not None
            announced.done.set_result(reason)
        elif reason:
            self._node.report('recipe', ERROR, f'no recipe is in force: {reason}')

    def _give_up(self) -> None:
        # The latched announcement must not send a scorer that starts now after the failed recipe;
        # and those that have prepared it let go of it.
        self._announced = None
        if self._node.is_ready:
            self._prepare.publish(self._message(self._node.recipe))
        else:
            self.announce_first()

    def _message(self, recipe: Recipe) -> RecipeInForce:
        message = RecipeInForce(
            name=recipe.name,
            version=recipe.version,
            hash=recipe.hash,
            path=str(recipe.path),
            scorers=_scorers(recipe),
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        return message


def _end(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _scorers(recipe: Recipe) -> list[str]:
    """
    Give the scorers whose scores a verdict needs: those with a measure that is judged.

    """
    return list(limit_table(recipe).scorers)
