# SPDX-License-Identifier: Apache-2.0
"""
The decider node: the one owner of the limits and the one recipe switch.

"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
import math
from pathlib import Path
import time
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter
from rclpy.task import Future
from std_srvs.srv import Trigger

from anomaly_inspection.deciding.challenge import Challenge
from anomaly_inspection.deciding.decider import (
    Decider,
    DeciderSettings,
    PartSeen,
    ScoreReceived,
    StationSettings,
    Terms,
)
from anomaly_inspection.deciding.frame_judge import Combination, Reason, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.deciding.part_decision import KnownAs, PartDecision
from anomaly_inspection.errors import LimitError, RecipeError, SettingError
from anomaly_inspection.learning.cell_calibration import CellCalibration
from anomaly_inspection.learning.recipe_calibration import RecipeCalibration
from anomaly_inspection.msg import (
    Calibration,
    Decision,
    Fault,
    LimitInForce,
    LimitsInForce,
    Part,
    RecipeInForce,
    RecipePrepared,
    Score,
    Thresholds,
)
from anomaly_inspection.nodes.challenge_face import ChallengeFace, ChallengeParameters
from anomaly_inspection.nodes.inspection_node import ERROR, InspectionNode, steady_s, WARN
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, LATCHED, LATCHED_BY_MANY
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import MeasureLimit, Recipe
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.srv import Calibrate, LoadRecipe, SetLimits
from anomaly_inspection.steady_clock import exposure_on_this_clock

_TICK_S = 0.01
_SWITCH_TIMEOUT_S = 20.0
# After so long without another timeout the cause counts as gone: on a stopped belt no part comes
# to show it.
_FAULT_HOLD_S = 3.0
_LIMIT_PREFIX = 'limits.'


@dataclass(frozen=True)
class DeciderParameters(ChallengeParameters):
    """
    Parameters of the decider node; beside them one limits.<scorer>.<measure> for each measure of
    the recipe.

    """

    recipe: str = parameter(
        '',
        'Folder of the recipe to start with; ~/load_recipe switches to another one.',
        read_only=True,
    )
    mode: str = parameter(
        'belt',
        "'belt': every frame of a part must pass. 'station': the part is held before the camera "
        'and station_required_passes of station_frames frames must pass.',
        choices=('belt', 'station'),
        read_only=True,
    )
    deadline_s: float = parameter(
        0.5,
        'From the exposure to the decision at the latest; what is not decided by then is REJECT, '
        "TIMEOUT. Shorter than the sorter's travel time.",
        unit='s',
        minimum=0.005,
        maximum=60.0,
        read_only=True,
    )
    timeouts_to_fault: int = parameter(
        3, 'So many TIMEOUTs in a row stop the line.', minimum=1, maximum=1000, read_only=True
    )
    log_parts: bool = parameter(False, 'Write one line into the log for each part.')
    combination: str = parameter(
        'recipe',
        "'any': one measure beyond its limit rejects. 'all': only all of them together reject. "
        "'recipe': what the recipe says.",
        choices=('recipe', 'any', 'all'),
        read_only=True,
    )
    station_frames: int = parameter(
        5, 'Station mode: frames judged of each part.', minimum=1, maximum=100, read_only=True
    )
    station_required_passes: int = parameter(
        3,
        'Station mode: frames that must pass; not more than station_frames.',
        minimum=1,
        maximum=100,
        read_only=True,
    )


@dataclass
class _Switch:
    """
    A recipe on its way into force: announced, waiting for the scorers.

    """

    recipe: Recipe
    limits: LimitTable
    end_s: float
    done: Future | None = None
    ready: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _InForce:
    """
    Limits, and the calibration that their typical values come from; None = those of the recipe.

    """

    limits: LimitTable
    calibrated: RecipeCalibration | None


class DeciderNode(InspectionNode[DeciderParameters]):
    """
    Takes part, score and thresholds; gives exactly one decision for each part.

    """

    def __init__(self, **options: Any) -> None:
        self._recipe: Recipe | None = None
        self._limits: LimitTable | None = None
        self._switch: _Switch | None = None
        self._is_in_force = False
        self._last_timeout_s = 0.0
        self._fault_is_published = False
        self._decider: Decider | None = None
        self._challenge: Challenge | None = None
        self._calibration: CellCalibration | None = None
        self._calibration_start_s = 0.0
        self._calibrated: RecipeCalibration | None = None
        self._before_calibration: _InForce | None = None
        super().__init__('decider', DeciderParameters, **options)

    @property
    def is_ready(self) -> bool:
        """
        Whether a recipe is in force: loaded here and confirmed by every scorer it requires.

        """
        return self.is_active and self._is_in_force

    def configure(self) -> None:
        """
        Read the recipe, take the limits from parameter file and recipe, make the endpoints.

        """
        parameters = self.parameters
        if not parameters.recipe:
            raise SettingError("recipe = '' is refused: it must name the folder of a recipe")
        station = None
        if parameters.mode == 'station':
            station = StationSettings(
                parameters.station_frames, parameters.station_required_passes
            )
        self._challenge = Challenge(parameters.challenge_settings())
        self._decider = Decider(
            DeciderSettings(parameters.deadline_s, parameters.timeouts_to_fault, station),
            self._challenge,
        )
        self._recipe = read_recipe(Path(parameters.recipe))
        self._limits = self._with_parameter_file(limit_table(self._recipe))
        self._declare_limits(self._limits)
        self._decision = self.publish_on(Decision, 'decision', EVENT)
        self._limits_in_force = self.publish_on(LimitsInForce, 'limits_in_force', LATCHED)
        self._recipe_prepare = self.publish_on(RecipeInForce, 'recipe_prepare', LATCHED)
        self._recipe_in_force = self.publish_on(RecipeInForce, 'recipe_in_force', LATCHED)
        self._fault = self.publish_on(Fault, 'fault', LATCHED)
        self._calibration_out = self.publish_on(Calibration, 'calibration', LATCHED)
        self.listen(Part, 'part', self._take_part, EVENT)
        self.listen(Score, 'score', self._take_score, EVENT)
        self.listen(Thresholds, 'thresholds', self._take_thresholds, EVENT)
        self.listen(RecipePrepared, 'recipe_prepared', self._take_prepared, LATCHED_BY_MANY)
        self.serve(SetLimits, '~/set_limits', lambda request: self._set_limits(request.limits))
        self.serve(LoadRecipe, '~/load_recipe', self._load_recipe)
        self.serve(Trigger, '~/save_limits', self._save_limits)
        self.serve(Calibrate, '~/calibrate', self._calibrate)
        self.serve(Trigger, '~/cancel_calibration', self._cancel_calibration)
        self.serve(Trigger, '~/undo_calibration', self._undo_calibration)
        self._challenge_face = ChallengeFace(self, self._challenge, lambda: self.is_ready)
        self.every(_TICK_S, self._tick)

    def activate(self) -> None:
        """
        Announce the recipe; parts are rejected, NOT_READY, until every scorer has confirmed it.

        """
        assert self._recipe is not None
        assert self._limits is not None
        assert self._challenge is not None
        self._is_in_force = False
        self._publish_fault('', is_first=True)
        self._publish_calibration()
        self._challenge.activated(steady_s(), datetime.now())
        self._challenge_face.publish(is_first=True)
        self._announce(_Switch(self._recipe, self._limits, float('inf')))

    def deactivate(self) -> None:
        """
        Reject what is undecided.

        """
        assert self._decider is not None
        assert self._challenge is not None
        self._challenge.stopped()
        self._publish(self._decider.flush(steady_s()))
        self._challenge_face.publish()
        self._fail_calibration('the decider was stopped')
        self._switch = None
        self._is_in_force = False

    def cleanup(self) -> None:
        """
        Let go of recipe and limits.

        """
        if self._limits is not None:
            self._undeclare_limits(self._limits)
        self._recipe = self._limits = self._decider = self._challenge = None
        self.clear('challenge')
        self._calibration = self._calibrated = self._before_calibration = None

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the recipe and the counts.

        """
        if self._decider is None or self._recipe is None or self._challenge is None:
            return {}
        challenge = self._challenge.status(steady_s())
        counts = self._decider.counts
        return {
            'recipe': f'{self._recipe.name} v{self._recipe.version}',
            'recipe is in force': self._is_in_force,
            'calibration': 'none'
            if self._calibration is None
            else f'{self._calibration.state.name.lower()}: {self._calibration.detail}',
            'challenge': f'{challenge.state.name.lower()}: {challenge.detail}',
            'known good parts': counts.known[KnownAs.GOOD],
            'known bad parts': counts.known[KnownAs.BAD],
            'passed': counts.passed,
            **{
                f'rejected {reason.name}': number
                for reason, number in sorted(counts.rejected.items())
            },
            'scores after the decision': counts.scores_after_decision,
            'duplicate scores': counts.scores_duplicate,
            'unknown scores': counts.scores_unknown,
        }

    # Parts and scores

    def _take_part(self, message: Part) -> None:
        assert self._decider is not None
        now_ns = time.monotonic_ns()
        exposure_ns = exposure_on_this_clock(
            message.exposure_steady_ns, message.steady_clock_id, message.age_s, now_ns
        )
        part = PartSeen(
            key=(message.session_id, message.part_id),
            stamps_ns=tuple(nanoseconds_from_stamp(stamp) for stamp in message.frame_stamps),
            problems=tuple(message.frame_problems),
            is_complete=message.is_complete,
            exposure_s=1e-9 * exposure_ns,
        )
        self._publish(self._decider.part_seen(part, 1e-9 * now_ns))

    def _take_score(self, message: Score) -> None:
        assert self._decider is not None
        score = ScoreReceived(
            key=(message.session_id, message.part_id),
            stamp_ns=nanoseconds_from_stamp(message.header.stamp),
            scorer=message.scorer,
            status=message.status,
            detail=message.detail,
            recipe_hash=message.recipe_hash,
            measures={measure.name: measure.value for measure in message.measures},
            part_class=message.part_class,
        )
        self._publish(self._decider.score_received(score, steady_s()))

    def _tick(self) -> None:
        assert self._decider is not None
        assert self._challenge is not None
        now = steady_s()
        self._challenge.tick(now, datetime.now())
        self._publish(self._decider.tick(now))
        self._challenge_face.publish()
        if self._decider.fault_reason and now - self._last_timeout_s > _FAULT_HOLD_S:
            self._decider.reset_fault()
            self._publish_fault('')
        if self._switch is not None and now > self._switch.end_s:
            missing = set(self._switch.limits.scorers) - self._switch.ready
            self._fail_switch(
                f'{", ".join(sorted(missing))} did not confirm within {_SWITCH_TIMEOUT_S:g} s'
            )

    def _publish(self, decisions: list[PartDecision]) -> None:
        assert self._decider is not None
        for decision in decisions:
            judgement, terms = decision.judgement, decision.terms
            message = Decision(
                session_id=decision.key[0],
                part_id=decision.key[1],
                verdict=int(judgement.verdict),
                reason=int(judgement.reason),
                comparison=judgement.comparison,
                anomaly_score=judgement.anomaly_score,
                worst_measure=judgement.worst_measure,
                known_as=int(decision.known_as),
            )
            message.header.stamp = stamp_from_nanoseconds(decision.stamp_ns)
            if terms is not None:
                message.recipe_name = terms.recipe_name
                message.recipe_version = terms.recipe_version
                message.recipe_hash = terms.recipe_hash
            now = steady_s()
            message.latency_s = now - decision.exposure_s
            self._decision.publish(message)
            if self.parameters.log_parts:
                self.get_logger().info(_line_of(message))
            if decision.judged.reason is Reason.TIMEOUT:
                self._last_timeout_s = now
            self._collect(decision)
        if decisions:
            self._publish_fault(self._decider.fault_reason)

    def _publish_fault(self, reason: str, *, is_first: bool = False) -> None:
        if bool(reason) != self._fault_is_published or is_first:
            if reason:
                self.report('fault', ERROR, reason)
            else:
                self.clear('fault')
            message = Fault(active=bool(reason), reason=reason)
            message.header.stamp = self.get_clock().now().to_msg()
            self._fault.publish(message)
        self._fault_is_published = bool(reason)

    # Limits

    def is_own_parameter(self, name: str) -> bool:
        """
        Whether the parameter is a limit.

        """
        return name.startswith(_LIMIT_PREFIX)

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """
        Set parameters, limits among them, together or not at all.

        """
        if self._limits is None:
            return super().set_parameters_atomically(parameter_list)
        names = {_parameter_name(limit): (limit.scorer, limit.measure) for limit in self._limits}
        try:
            values = {
                names[change.name]: _number(change)
                for change in parameter_list
                if change.name in names
            }
            table = self._limits.changed(values, LimitOrigin.RUNTIME)
        except LimitError as error:
            self.get_logger().warning(f'limits refused: {error}')
            return SetParametersResult(successful=False, reason=str(error))
        converted = [
            Parameter(change.name, value=values[names[change.name]])
            if change.name in names
            else change
            for change in parameter_list
        ]
        result = super().set_parameters_atomically(converted)
        if result.successful and values:
            self._use_limits(table)
        return result

    def _take_thresholds(self, message: Thresholds) -> None:
        try:
            self._set_limits(message.limits)
        except LimitError as error:
            self.report('thresholds', WARN, f'thresholds of {message.source!r} refused: {error}')
        else:
            self.clear('thresholds')

    def _set_limits(self, limits: list[Any]) -> str:
        assert self._limits is not None
        if not limits:
            raise LimitError('no limit was given: at least one is needed')
        # The table refuses unknown measures; rclpy would only say that a parameter is not
        # declared.
        values = {(limit.scorer, limit.measure): limit.value for limit in limits}
        if len(values) < len(limits):
            raise LimitError('a measure was given twice: each may stand once')
        self._limits.changed(values, LimitOrigin.RUNTIME)
        result = self.set_parameters_atomically(
            [
                Parameter(f'{_LIMIT_PREFIX}{limit.scorer}.{limit.measure}', value=limit.value)
                for limit in limits
            ]
        )
        if not result.successful:
            raise LimitError(result.reason)
        return 'in force from the next part on: ' + ', '.join(
            f'{limit.scorer}.{limit.measure} {limit.value:g}' for limit in limits
        )

    def _use_limits(self, table: LimitTable) -> None:
        before = {limit.name: limit.value for limit in self._limits or ()}
        changed = [limit for limit in table if before.get(limit.name) != limit.value]
        self._limits = table
        for limit in changed:
            self.get_logger().info(
                f'limit {limit.name}: {before.get(limit.name):g} -> {limit.value:g} '
                '(lost at restart unless saved with ~/save_limits)'
            )
        if changed:
            names = ', '.join(limit.name for limit in changed)
            self._fail_calibration(f'{names} was set by hand meanwhile')
        if self._switch is not None and self._recipe is self._switch.recipe:
            self._switch.limits = table
        if self._is_in_force and self._decider is not None:
            self._decider.limits_changed(table)
            self._publish_limits()

    def _publish_limits(self) -> None:
        assert self._recipe is not None
        assert self._limits is not None
        message = LimitsInForce(
            recipe_name=self._recipe.name,
            recipe_version=self._recipe.version,
            recipe_hash=self._recipe.hash,
            limits=[
                LimitInForce(
                    scorer=limit.scorer,
                    measure=limit.measure,
                    value=limit.value,
                    unit=limit.unit,
                    bad_side=int(limit.bad_side),
                    typical=limit.typical,
                    origin=int(limit.origin),
                )
                for limit in self._limits
            ],
            combination=int(self._combination(self._recipe)),
            is_unsaved=self._limits_are_unsaved(),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._limits_in_force.publish(message)

    def _limits_are_unsaved(self) -> bool:
        return any(limit.origin is LimitOrigin.RUNTIME for limit in self._limits or ())

    def _with_parameter_file(self, table: LimitTable) -> LimitTable:
        """
        Give the limits of the starting recipe with those of the parameter file laid over them.

        """
        known = {_parameter_name(limit): (limit.scorer, limit.measure) for limit in table}
        given = {}
        for name, override in self._parameter_overrides.items():
            if not self.is_own_parameter(name):
                continue
            if name not in known:
                raise LimitError(f'parameter {name}: the recipe has {", ".join(known)}')
            given[known[name]] = _number(override)
        return table.changed(given, LimitOrigin.PARAMETER_FILE)

    def _declare_limits(self, table: LimitTable) -> None:
        for limit in table:
            is_high = limit.bad_side is BadSide.HIGH
            descriptor = ParameterDescriptor(
                description=f'Limit of {limit.name}: a part '
                f'{"above" if is_high else "below"} it is anomalous. A typical good part has '
                f'{limit.typical:g}.',
                additional_constraints=f'{"above" if is_high else "below"} {limit.typical:g}, '
                f'from {limit.minimum:g} to {limit.maximum:g}; unit {limit.unit}',
            )
            if max(abs(limit.minimum), abs(limit.maximum)) < float('inf'):
                ends = {'from_value': limit.minimum, 'to_value': limit.maximum}
                descriptor.floating_point_range = [FloatingPointRange(**ends)]
            self.declare_parameter(
                _parameter_name(limit), limit.value, descriptor, ignore_override=True
            )

    def _undeclare_limits(self, table: LimitTable) -> None:
        for limit in table:
            self.undeclare_parameter(_parameter_name(limit))

    def _exchange_limits(self, table: LimitTable) -> None:
        """
        Declare the limits anew: range and description of a parameter say its typical value.

        """
        assert self._limits is not None
        self._undeclare_limits(self._limits)
        self._limits = None
        self._declare_limits(table)
        self._limits = table

    # Calibration

    def _calibrate(self, request: Any) -> str:
        if not self._is_in_force or self._recipe is None:
            raise RecipeError('no recipe is in force yet; try again')
        self._check_not_calibrating()
        assert self._limits is not None
        run = CellCalibration(
            self._recipe,
            {
                (limit.scorer, limit.measure): MeasureLimit(limit.value, limit.typical)
                for limit in self._limits
            },
            self._combination(self._recipe).name.lower(),
            request.parts,
            request.false_reject_rate,
        )
        self._calibration, self._calibration_start_s = run, steady_s()
        self._publish_calibration()
        return (
            f'the next {run.parts_wanted} parts count as good; until the last of them the limits '
            'stay as they are'
        )

    def _cancel_calibration(self, request: Any) -> str:
        if self._calibration is None or not self._calibration.is_collecting:
            raise SettingError('no calibration is under way')
        self._fail_calibration('cancelled')
        return 'cancelled; the limits have not changed'

    def _undo_calibration(self, request: Any) -> str:
        self._check_not_calibrating()
        before = self._before_calibration
        if before is None or self._calibration is None:
            raise SettingError('there is no calibration to undo since the recipe came into force')
        self._before_calibration = None
        self._bring_limits_into_force(before)
        self._calibration.undo()
        self._publish_calibration()
        return 'the limits from before act from the next part on'

    def _check_not_calibrating(self) -> None:
        if self._calibration is not None and self._calibration.is_collecting:
            raise SettingError(
                f'a calibration is under way: {self._calibration.detail}; wait for its end or '
                'call ~/cancel_calibration'
            )

    def _collect(self, decision: PartDecision) -> None:
        run = self._calibration
        if run is None or not run.is_collecting:
            return
        # 'The next parts' are those that had not come when this was said.
        if decision.exposure_s < self._calibration_start_s:
            return
        if decision.known_as is not KnownAs.UNKNOWN:
            return
        name, reason = f'part {decision.key[1]}', decision.judged.reason.name
        is_complete = run.take(name, decision.measured, reason)
        self._publish_calibration()
        if is_complete:
            assert self.executor is not None
            self.executor.create_task(self._derive_limits, run)

    async def _derive_limits(self, run: CellCalibration) -> None:
        try:
            result = await self.in_background(run.derived)
            # It may have been given up meanwhile.
            if run.is_collecting:
                self._finish_calibration(run, result)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task
            text = self.describe(error)
            if run.is_collecting:
                self._fail_calibration(text)
            else:
                self.get_logger().error(f'the calibration ended with an error: {text}')

    def _finish_calibration(self, run: CellCalibration, result: RecipeCalibration) -> None:
        assert self._limits is not None
        before = _InForce(self._limits, self._calibrated)
        table = LimitTable(
            tuple(
                replace(
                    limit,
                    value=result.limits[limit.scorer, limit.measure].limit,
                    typical=result.limits[limit.scorer, limit.measure].typical,
                    origin=LimitOrigin.RUNTIME,
                )
                for limit in before.limits
            )
        )
        self._bring_limits_into_force(_InForce(table, result))
        self._before_calibration = before
        run.finish(result)
        self.get_logger().info(run.detail)
        self._publish_calibration()

    def _fail_calibration(self, reason: str) -> None:
        if self._calibration is not None and self._calibration.is_collecting:
            self._calibration.fail(reason)
            self.get_logger().warning(f'calibration given up: {self._calibration.detail}')
            self._publish_calibration()

    def _forget_calibration(self, recipe: Recipe) -> None:
        """
        Give up the calibration, or what could be undone: another recipe comes into force.

        """
        self._calibrated = self._before_calibration = None
        if self._calibration is not None and self._calibration.is_collecting:
            self._fail_calibration(f'recipe {recipe.name} v{recipe.version} came into force')
        else:
            self._calibration = None
            self._publish_calibration()

    def _bring_limits_into_force(self, in_force: _InForce) -> None:
        assert self._decider is not None
        self._exchange_limits(in_force.limits)
        self._calibrated = in_force.calibrated
        self._decider.limits_changed(in_force.limits)
        self._publish_limits()

    def _publish_calibration(self) -> None:
        message = Calibration()
        run = self._calibration
        if run is not None:
            message.state = int(run.state)
            message.parts = run.parts
            message.parts_wanted = run.parts_wanted
            message.detail = run.detail
        message.header.stamp = self.get_clock().now().to_msg()
        self._calibration_out.publish(message)

    # Recipes

    def _combination(self, recipe: Recipe) -> Combination:
        asked = self.parameters.combination
        word = recipe.combination if asked == 'recipe' else asked
        return Combination.ANY if word == 'any' else Combination.ALL

    async def _load_recipe(self, request: Any) -> str:
        if self._switch is not None:
            raise RecipeError(
                f'recipe {self._switch.recipe.name} is still being prepared; try again'
            )
        recipe = await self.in_background(lambda: read_recipe(Path(request.path)))
        return await self._switch_to(recipe)

    async def _save_limits(self, request: Any) -> str:
        assert self._recipe is not None
        assert self._limits is not None
        if self._switch is not None or not self._is_in_force or self._recipe.path is None:
            raise RecipeError('no recipe is in force, or another one is being prepared; try again')
        self._check_not_calibrating()
        values = {(limit.scorer, limit.measure): limit.value for limit in self._limits}
        recipe, path = self._recipe, self._recipe.path
        if self._calibrated is not None:
            recipe = self._calibrated.applied_to(recipe, 'parts on the running cell')
        recipe = recipe.with_limits(values)
        return await self._switch_to(await self.in_background(lambda: write_recipe(recipe, path)))

    async def _switch_to(self, recipe: Recipe) -> str:
        if self._switch is not None or not self.is_active:
            raise RecipeError('the decider was stopped, or another recipe came in between')
        done = Future(executor=self.executor)
        end_s = steady_s() + _SWITCH_TIMEOUT_S
        self._announce(_Switch(recipe, limit_table(recipe), end_s, done))
        error = await done
        if error:
            raise RecipeError(f'{recipe.path}: {error}; the old recipe stays in force')
        return f'{recipe.name} version {recipe.version} is in force from the next part on'

    def _announce(self, switch: _Switch) -> None:
        self._switch = switch
        self._recipe_prepare.publish(self._recipe_message(switch))

    def _recipe_message(self, switch: _Switch) -> RecipeInForce:
        message = RecipeInForce(
            name=switch.recipe.name,
            version=switch.recipe.version,
            hash=switch.recipe.hash,
            path=str(switch.recipe.path),
            scorers=list(switch.limits.scorers),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        return message

    def _take_prepared(self, message: RecipePrepared) -> None:
        switch = self._switch
        if switch is None or message.recipe_hash != switch.recipe.hash:
            return
        if not message.is_ready:
            self._fail_switch(message.error)
            return
        switch.ready.update(message.scorers)
        if switch.ready >= set(switch.limits.scorers):
            self._bring_into_force(switch)

    def _fail_switch(self, error: str) -> None:
        assert self._switch is not None
        if self._switch.done is None:
            # The recipe to start with: there is no old one to fall back to, so it goes on waiting.
            self.report('recipe', ERROR, f'no recipe is in force: {error}')
            return
        self._switch.done.set_result(error)
        self._switch = None
        # The latched announcement must not send a scorer that starts now after the failed recipe.
        assert self._recipe is not None
        assert self._limits is not None
        current = _Switch(self._recipe, self._limits, float('inf'))
        self._recipe_prepare.publish(self._recipe_message(current))

    def _bring_into_force(self, switch: _Switch) -> None:
        assert self._decider is not None
        recipe = switch.recipe
        self._switch = None
        if self._recipe is not recipe:
            assert self._limits is not None
            if self._limits_are_unsaved() and switch.recipe.name != self._recipe.name:
                self.get_logger().warning(
                    f'limits of {self._recipe.name} that were set at runtime are lost'
                )
            self._forget_calibration(recipe)
            self._recipe = recipe
            self._exchange_limits(switch.limits)
        self._decider.recipe_switched(
            Terms(
                recipe.name,
                recipe.version,
                recipe.hash,
                switch.limits,
                self._combination(recipe),
            )
        )
        self._is_in_force = True
        self._recipe_in_force.publish(self._recipe_message(switch))
        self._publish_limits()
        self.clear('recipe')
        self.get_logger().info(
            f'recipe {recipe.name} v{recipe.version} ({recipe.hash[:12]}) is in force'
        )
        if switch.done is not None:
            switch.done.set_result('')


def _parameter_name(limit: Limit) -> str:
    return f'{_LIMIT_PREFIX}{limit.scorer}.{limit.measure}'


def _line_of(decision: Decision) -> str:
    why = decision.comparison
    if math.isfinite(decision.anomaly_score):
        why = f'anomaly score {decision.anomaly_score:.2f} ({decision.worst_measure})'
    return (
        f'part {decision.part_id}: {Verdict(decision.verdict).name} '
        f'{Reason(decision.reason).name} after {1e3 * decision.latency_s:.0f} ms; {why}'
    )


def _number(change: Parameter[Any]) -> float:
    if isinstance(change.value, bool) or not isinstance(change.value, (int, float)):
        raise LimitError(f'{change.name} = {change.value!r} is refused: a number is wanted')
    return float(change.value)


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(DeciderNode)
