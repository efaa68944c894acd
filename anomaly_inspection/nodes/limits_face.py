# SPDX-License-Identifier: Apache-2.0
"""
The ROS face of the limits: one parameter a limit, declared anew for each recipe, and the topics
and the service that move and tell them.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.parameter import Parameter

from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.errors import LimitError
from anomaly_inspection.msg import LimitInForce, LimitsInForce, Thresholds
from anomaly_inspection.nodes.inspection_node import WARN
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.srv import SetLimits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly_inspection.deciding.frame_judge import Combination
    from anomaly_inspection.learning.recipe_calibration import RecipeCalibration
    from anomaly_inspection.nodes.inspection_node import InspectionNode
    from anomaly_inspection.recipes.recipe import Recipe

LIMIT_PREFIX = 'limits.'


@dataclass(frozen=True)
class UsedLimits:
    """
    Limits, and the calibration that their typical values come from; None = those of the recipe.

    """

    table: LimitTable
    calibrated: RecipeCalibration | None = None

    @property
    def are_unsaved(self) -> bool:
        """
        Whether a limit differs from the recipe on disk.

        """
        return any(limit.origin is LimitOrigin.RUNTIME for limit in self.table)

    def typical_differs_from(self, table: LimitTable) -> bool:
        """
        Whether typical values are others than in the table of the recipe.

        """
        typical = {limit.name: limit.typical for limit in table}
        return any(limit.typical != typical[limit.name] for limit in self.table)


class LimitsFace:
    """
    Holds the limits of the decider node as parameters, takes changes, and publishes them.

    Parameters
    ----------
    node : InspectionNode
        The decider node.

    """

    def __init__(self, node: InspectionNode[Any]) -> None:
        self._node = node
        self._used: UsedLimits | None = None
        self._in_force = node.publish_on(LimitsInForce, 'limits_in_force', LATCHED)
        node.listen(Thresholds, 'thresholds', self._take_thresholds, EVENT)
        node.serve(SetLimits, '~/set_limits', lambda request: self._set(list(request.limits)))

    @property
    def used(self) -> UsedLimits:
        """
        The limits that parts are judged by once their recipe is in force.

        Raises
        ------
        LimitError
            When there is no recipe.

        """
        if self._used is None:
            raise LimitError('no recipe is in force yet, so there are no limits')
        return self._used

    @property
    def table(self) -> LimitTable:
        """
        Their table.

        """
        return self.used.table

    def with_parameter_file(self, table: LimitTable) -> LimitTable:
        """
        Give the limits of the starting recipe with those of the parameter file laid over them.

        Raises
        ------
        LimitError
            When the recipe has no such measure, or a value is refused.

        """
        known = {parameter_name(limit): (limit.scorer, limit.measure) for limit in table}
        given = {}
        for name, override in self._node._parameter_overrides.items():
            if not is_limit(name):
                continue
            if name not in known:
                raise LimitError(f'parameter {name}: the recipe has {", ".join(known)}')
            given[known[name]] = _number(override)
        return table.changed(given, LimitOrigin.PARAMETER_FILE)

    def exchange(self, used: UsedLimits) -> None:
        """
        Use other limits; their parameters are declared anew, because ranges and descriptions say
        the typical value.

        """
        self.let_go()
        for limit in used.table:
            self._declare(limit)
        self._used = used

    def let_go(self) -> None:
        """
        Use no limits; their parameters are gone.

        """
        used, self._used = self._used, None
        for limit in used.table if used else ():
            self._node.undeclare_parameter(parameter_name(limit))

    def change(self, table: LimitTable) -> list[Limit]:
        """
        Use other values that the parameters have already; gives the limits that changed.

        """
        before = {limit.name: limit.value for limit in self.table}
        changed = [limit for limit in table if before[limit.name] != limit.value]
        self._used = UsedLimits(table, self.used.calibrated)
        for limit in changed:
            self._node.get_logger().info(
                f'limit {limit.name}: {before[limit.name]:g} -> {limit.value:g} '
                '(~/save_limits writes it into the recipe)'
            )
        return changed

    def asked(self, changes: Iterable[Parameter[Any]]) -> dict[str, float]:
        """
        Give those of the changes that are limits, by parameter.

        Raises
        ------
        LimitError
            When one is no number.

        """
        if self._used is None:
            return {}
        names = {parameter_name(limit) for limit in self.table}
        return {change.name: _number(change) for change in changes if change.name in names}

    def changed(self, asked: dict[str, float]) -> LimitTable:
        """
        Give the table with limits changed, by parameter; raises LimitError.

        """
        names = {parameter_name(limit): (limit.scorer, limit.measure) for limit in self.table}
        values = {names[name]: value for name, value in asked.items()}
        return self.table.changed(values, LimitOrigin.RUNTIME)

    def publish(self, recipe: Recipe, combination: Combination) -> None:
        """
        Publish the limits in force.

        """
        message = LimitsInForce(
            recipe_name=recipe.name,
            recipe_version=recipe.version,
            recipe_hash=recipe.hash,
            limits=[
                LimitInForce(
                    scorer=limit.scorer,
                    measure=limit.measure,
                    value=limit.value,
                    unit=limit.unit,
                    bad_side=int(limit.bad_side),
                    typical=limit.typical,
                    origin=int(limit.origin),
                    lowest=float(limit.least),
                    highest=float(limit.most),
                    is_narrowed=limit.is_narrowed,
                )
                for limit in self.table
            ],
            combination=int(combination),
            is_unsaved=self.used.are_unsaved,
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._in_force.publish(message)

    def _take_thresholds(self, message: Thresholds) -> None:
        try:
            self._set(list(message.limits))
        except LimitError as error:
            self._node.report_event(
                'thresholds',
                WARN,
                f'thresholds of {message.source!r} refused: {error}',
                counted_as='thresholds refused',
            )
        else:
            self._node.clear('thresholds')

    def _set(self, limits: list[Any]) -> str:
        if not limits:
            raise LimitError('no limit was given: at least one is needed')
        asked = {f'{LIMIT_PREFIX}{limit.scorer}.{limit.measure}': limit.value for limit in limits}
        if len(asked) < len(limits):
            raise LimitError('a measure was given twice: each may stand once')
        # The table refuses unknown measures; rclpy would only say that a parameter is not
        # declared.
        self.table.changed(
            {(limit.scorer, limit.measure): limit.value for limit in limits}, LimitOrigin.RUNTIME
        )
        result = self._node.set_parameters_atomically(
            [Parameter(name, value=value) for name, value in asked.items()]
        )
        if not result.successful:
            raise LimitError(result.reason)
        return 'in force from the next part on: ' + ', '.join(
            f'{limit.scorer}.{limit.measure} {limit.value:g}' for limit in limits
        )

    def _declare(self, limit: Limit) -> None:
        side = 'above' if limit.bad_side is BadSide.HIGH else 'below'
        descriptor = ParameterDescriptor(
            description=f'Limit of {limit.name}: a part {side} it is anomalous. A typical good '
            f'part has {limit.typical:g}.',
            additional_constraints=f'{side} {limit.typical:g}, '
            f'from {limit.least:g} to {limit.most:g}; unit {limit.unit}',
            floating_point_range=[
                # A whole number would go over the wire as 0.
                FloatingPointRange(from_value=float(limit.least), to_value=float(limit.most))
            ],
        )
        self._node.declare_parameter(
            parameter_name(limit), limit.value, descriptor, ignore_override=True
        )


def is_limit(name: str) -> bool:
    """
    Whether the parameter of that name is a limit.

    """
    return name.startswith(LIMIT_PREFIX)


def parameter_name(limit: Limit) -> str:
    """
    Name the parameter of a limit.

    """
    return f'{LIMIT_PREFIX}{limit.scorer}.{limit.measure}'


def _number(change: Parameter[Any]) -> float:
    if isinstance(change.value, bool) or not isinstance(change.value, (int, float)):
        raise LimitError(f'{change.name} = {change.value!r} is refused: a number is wanted')
    return float(change.value)
