# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the calibration on the running cell: action, undo and state.

"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rclpy.task import Future
from std_srvs.srv import Trigger

from anomaly_inspection.action import Calibrate
from anomaly_inspection.deciding.limits import LimitOrigin, LimitTable
from anomaly_inspection.deciding.part_decision import KnownAs, PartDecision
from anomaly_inspection.errors import LimitError, RecipeError, SettingError
from anomaly_inspection.learning.cell_calibration import CellCalibration
from anomaly_inspection.msg import Calibration
from anomaly_inspection.nodes.action_server import GoalEndedError
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.limits_face import UsedLimits
from anomaly_inspection.nodes.qos import LATCHED
from anomaly_inspection.recipes.recipe import MeasureLimit

if TYPE_CHECKING:
    from typing import Any

    from anomaly_inspection.learning.recipe_calibration import RecipeCalibration
    from anomaly_inspection.nodes.action_server import Goal
    from anomaly_inspection.nodes.decider_node import DeciderNode


class CalibrationFace:
    """
    Offers the calibration on the decider node, and publishes how far it is.

    """

    def __init__(self, node: DeciderNode) -> None:
        self._node = node
        self._run: CellCalibration | None = None
        self._goal: Goal | None = None
        self._start_s = 0.0
        # Done when the parts are collected, or when it is given up: then with the reason.
        self._collected: Future[str] = Future()
        self._before: UsedLimits | None = None
        self._out = node.publish_on(Calibration, 'calibration', LATCHED)
        node.serve_action(Calibrate, '~/calibrate', self._calibrate)
        node.serve(Trigger, '~/undo_calibration', self._undo)

    @property
    def run(self) -> CellCalibration | None:
        """
        The calibration under way, or the last one since the recipe came into force.

        """
        return self._run

    @property
    def summary(self) -> str:
        """
        How it stands, for diagnostics.

        """
        if self._run is None:
            return 'none'
        return f'{self._run.state.name.lower()}: {self._run.detail}'

    def check_idle(self) -> None:
        """
        Raise SettingError when one is under way.

        """
        if self._run is not None and self._run.is_collecting:
            raise SettingError(
                f'a calibration is under way: {self._run.detail}; wait for its end or cancel it'
            )

    def decided(self, decision: PartDecision) -> None:
        """
        Take what a decided part measures, while parts are collected.

        """
        run = self._run
        if run is None or not run.is_collecting:
            return
        # 'The next parts' are those that had not come when this was said.
        if decision.exposure_s < self._start_s or decision.known_as is not KnownAs.UNKNOWN:
            return
        name, reason = f'part {decision.key[1]}', decision.judged.reason.name
        is_complete = run.take(name, decision.measured, reason)
        self.publish()
        if is_complete:
            self._collected.set_result('')

    def give_up(self, reason: str) -> None:
        """
        Give up the calibration under way, if there is one; the limits stay as they are.

        """
        if self._run is not None and self._run.is_collecting:
            self._run.fail(reason)
            self.publish()
            if not self._collected.done():
                self._collected.set_result(reason)

    def forget(self, why: str) -> None:
        """
        Give up the calibration, or what could be undone: another recipe comes into force.

        """
        self._before = None
        if self._run is not None and self._run.is_collecting:
            self.give_up(why)
        else:
            self._run = None
            self.publish()

    def publish(self) -> None:
        """
        Publish how far it is, and tell the client of the goal under way.

        """
        message = Calibration()
        run = self._run
        if run is not None:
            message.state = int(run.state)
            message.parts = run.parts
            message.parts_wanted = run.parts_wanted
            message.detail = run.detail
            message.promise = run.promise
            if self._goal is not None and run.is_collecting:
                self._goal.tell(parts=run.parts, parts_wanted=run.parts_wanted, detail=run.detail)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._out.publish(message)

    async def _calibrate(self, goal: Goal) -> str:
        node, request = self._node, goal.request
        if not node.is_ready:
            raise RecipeError('no recipe is in force yet; try again')
        run = CellCalibration(
            node.recipe,
            {
                (limit.scorer, limit.measure): MeasureLimit(limit.value, limit.typical)
                for limit in node.limits.table
            },
            node.combination(node.recipe).name.lower(),
            request.parts,
            request.false_reject_rate,
        )
        self._run, self._goal, self._start_s = run, goal, steady_s()
        self._collected = Future(executor=node.executor)
        self.publish()
        try:
            await goal.wait(self._collected)
            if run.is_collecting:
                result = await goal.wait(node.in_background(run.derived))
        except GoalEndedError as end:
            self.give_up(str(end))
            raise GoalEndedError(f'{run.detail}; the limits have not changed') from None
        except Exception as error:
            self.give_up(node.describe(error))
            raise
        finally:
            self._goal = None
        # It may have been given up while the limits were derived.
        if not run.is_collecting:
            raise SettingError(f'{run.detail}; the limits have not changed')
        try:
            self._finish(run, result)
        except LimitError as error:
            # E.g. a limit outside of the range that an engineer has set.
            self.give_up(str(error))
            raise SettingError(f'{run.detail}; the limits have not changed') from error
        return run.detail

    def _finish(self, run: CellCalibration, result: RecipeCalibration) -> None:
        before = self._node.limits.used
        table = LimitTable(
            tuple(
                replace(
                    limit,
                    value=result.limits[limit.scorer, limit.measure].limit,
                    typical=result.limits[limit.scorer, limit.measure].typical,
                    origin=LimitOrigin.RUNTIME,
                )
                for limit in before.table
            )
        )
        self._node.use_limits(UsedLimits(table, result))
        self._before = before
        run.finish(result)
        self._node.get_logger().info(run.detail)
        self.publish()

    def _undo(self, request: Any) -> str:
        self.check_idle()
        before, run = self._before, self._run
        if before is None or run is None:
            raise SettingError('there is no calibration to undo since the recipe came into force')
        self._before = None
        self._node.use_limits(before)
        run.undo()
        self.publish()
        return 'the limits from before act from the next part on'
