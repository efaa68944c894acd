# SPDX-License-Identifier: Apache-2.0
"""
The decider node: the one owner of the limits and the one recipe switch.

"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
import math
import time
from typing import Any, ClassVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter

from anomaly_inspection.deciding.challenge import Challenge
from anomaly_inspection.deciding.decider import (
    Decider,
    DeciderSettings,
    PartSeen,
    ScoreReceived,
    StationSettings,
    Terms,
)
from anomaly_inspection.deciding.decider_state import DeciderState
from anomaly_inspection.deciding.frame_judge import Combination, Reason, Verdict
from anomaly_inspection.deciding.part_decision import KnownAs, PartDecision
from anomaly_inspection.errors import LimitError, RecipeError
from anomaly_inspection.msg import Decision, Fault, JudgedMeasure, Part, Score
from anomaly_inspection.nodes.calibration_face import CalibrationFace
from anomaly_inspection.nodes.challenge_face import ChallengeFace, ChallengeParameters
from anomaly_inspection.nodes.decider_start import decider_start, launched_with
from anomaly_inspection.nodes.explanation_message import explanation_message, found_regions
from anomaly_inspection.nodes.inspection_node import ERROR, InspectionNode, steady_s
from anomaly_inspection.nodes.limits_face import is_limit, LimitsFace, UsedLimits
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, KEPT_EVENT, LATCHED
from anomaly_inspection.nodes.recipe_face import NO_RECIPE, RecipeFace
from anomaly_inspection.nodes.recipe_reading import RecipeParameters
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.recipes.limit_table import known_good, limit_table
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.state_file import FoundState
from anomaly_inspection.steady_clock import exposure_on_this_clock

_TICK_S = 0.01
# After so long without another timeout the cause counts as gone: on a stopped belt no part comes
# to show it.
_FAULT_HOLD_S = 3.0


@dataclass(frozen=True)
class DeciderParameters(ChallengeParameters, RecipeParameters):
    """
    Parameters of the decider node; beside them one limits.<scorer>.<measure> for each measure of
    the recipe.

    """

    recipe: str = parameter(
        '',
        'Folder of the recipe to start with; the action ~/load_recipe switches to another one. '
        'Empty: every part is rejected until one is loaded.',
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


class DeciderNode(InspectionNode[DeciderParameters]):
    """
    Takes part, score and thresholds; gives exactly one decision for each part.

    Limits, calibration, challenge and recipe switch have files of their own, `<concept>_face.py`.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'recipe': ('recipe',),
        'limits': ('thresholds',),
        'challenge': ('challenge',),
        'fault': ('fault',),
        'memory': ('state',),
    }

    # Made in `configure`, before anything can call back.
    limits: LimitsFace
    calibration: CalibrationFace
    _challenge: Challenge
    _challenge_face: ChallengeFace
    _recipes: RecipeFace
    _decider: Decider

    def __init__(self, **options: Any) -> None:
        self._recipe: Recipe | None = None
        self._is_in_force = False
        self._unconfirmed = ''
        self._last_timeout_s = 0.0
        self._published_fault = ''
        super().__init__('decider', DeciderParameters, **options)
        # Until a recipe is in force; then what was found is done with.
        self._found = self.state.found

    @property
    def is_ready(self) -> bool:
        """
        Whether a recipe is in force: loaded here and confirmed by every scorer it requires.

        """
        return self.is_active and self._is_in_force

    @property
    def recipe(self) -> Recipe:
        """
        The recipe in force, or the one to start with.

        Raises
        ------
        RecipeError
            When there is none.

        """
        if self._recipe is None:
            raise RecipeError(NO_RECIPE)
        return self._recipe

    @property
    def has_recipe(self) -> bool:
        """
        Whether there is a recipe, be it in force or still being prepared by the scorers.

        """
        return self._recipe is not None

    @property
    def unconfirmed(self) -> str:
        """
        Why somebody must confirm the recipe before it comes into force; '' = nobody need.

        """
        return self._unconfirmed

    def configure(self) -> None:
        """
        Find the recipe and limits to start with, make the endpoints.

        """
        parameters = self.parameters
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
        self._decision = self.publish_on(Decision, 'decision', KEPT_EVENT)
        self._fault = self.publish_on(Fault, 'fault', LATCHED)
        self.limits = LimitsFace(self)
        start = decider_start(self, self._found)
        self._recipe = start.recipe
        if start.used is not None:
            self.limits.exchange(start.used)
        if start.challenge is not None:
            self._challenge.restore(start.challenge)
        self._unconfirmed = ''
        if start.recipe is not None and start.unconfirmed:
            self._unconfirmed = (
                f'production is blocked: {start.unconfirmed}. {start.recipe.name} '
                f'v{start.recipe.version} comes into force when somebody calls ~/confirm_recipe, '
                'another recipe with ~/load_recipe'
            )
            self._decider.not_ready_because = self._unconfirmed
        self.calibration = CalibrationFace(self)
        self._challenge_face = ChallengeFace(self, self._challenge)
        self._recipes = RecipeFace(self)
        self.listen(Part, 'part', self._take_part, EVENT)
        self.listen(Score, 'score', self._take_score, EVENT)
        self.every(_TICK_S, self._tick)

    def activate(self) -> None:
        """
        Announce the recipe; parts are rejected, NOT_READY, until every scorer has confirmed it.

        """
        self._is_in_force = False
        self._publish_fault(is_first=True)
        self.calibration.publish()
        self._challenge.activated(steady_s(), datetime.now())
        self._challenge_face.publish(is_first=True)
        self._recipes.announce_first()

    def deactivate(self) -> None:
        """
        Reject what is undecided.

        """
        self._challenge.stopped()
        self._publish(self._decider.flush(steady_s()))
        self._challenge_face.publish()
        self._recipes.stop()
        self._is_in_force = False

    def cleanup(self) -> None:
        """
        Let go of recipe and limits.

        """
        if self._recipe is not None:
            self.limits.let_go()
        self._recipe = None
        self.clear('challenge')

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give the recipe and the counts.

        """
        recipe = self._recipe
        if recipe is None and not self.is_active:
            return {}
        challenge = self._challenge.status(steady_s())
        counts = self._decider.counts
        return {
            'recipe': f'{recipe.name} v{recipe.version}' if recipe else 'none',
            'recipe is in force': self._is_in_force,
            'calibration': self.calibration.summary,
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
        score = ScoreReceived(
            key=(message.session_id, message.part_id),
            stamp_ns=nanoseconds_from_stamp(message.header.stamp),
            scorer=message.scorer,
            status=message.status,
            detail=message.detail,
            recipe_hash=message.recipe_hash,
            measures={measure.name: measure.value for measure in message.measures},
            part_class=message.part_class,
            frame_id=message.header.frame_id,
            regions=found_regions(message),
        )
        self._publish(self._decider.score_received(score, steady_s()))

    def _tick(self) -> None:
        now = steady_s()
        self._challenge.tick(now, datetime.now())
        self._publish(self._decider.tick(now))
        self._challenge_face.publish()
        if self._decider.fault_reason and now - self._last_timeout_s > _FAULT_HOLD_S:
            self._decider.reset_fault()
            self._publish_fault()
        self._recipes.tick(now)

    def _publish(self, decisions: list[PartDecision]) -> None:
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
                explanation=explanation_message(decision),
            )
            message.header.stamp = stamp_from_nanoseconds(decision.stamp_ns)
            message.header.frame_id = decision.frame_id
            if terms is not None:
                message.recipe_name = terms.recipe_name
                message.recipe_version = terms.recipe_version
                message.recipe_hash = terms.recipe_hash
                message.measures = _judged_measures(decision, terms)
            now = steady_s()
            message.latency_s = now - decision.exposure_s
            self._decision.publish(message)
            if self.parameters.log_parts:
                self.get_logger().info(_line_of(message))
            if decision.judged.reason is Reason.TIMEOUT:
                self._last_timeout_s = now
            self.calibration.decided(decision)
        if decisions:
            self._publish_fault()

    def _publish_fault(self, *, is_first: bool = False) -> None:
        reason = self._unconfirmed or self._decider.fault_reason
        # While it lasts its words may change with every part: the first ones stand.
        if bool(reason) != bool(self._published_fault) or is_first:
            if reason:
                self.report('fault', ERROR, reason)
            else:
                self.clear('fault')
            cause = Fault.CAUSE_UNCONFIRMED if self._unconfirmed else Fault.CAUSE_NO_SCORES
            message = Fault(
                active=bool(reason),
                reason=reason,
                cause=cause if reason else Fault.CAUSE_UNKNOWN,
            )
            message.header.stamp = self.get_clock().now().to_msg()
            self._fault.publish(message)
            self._published_fault = reason

    # Limits

    def is_own_parameter(self, name: str) -> bool:
        """
        Whether the parameter is a limit.

        """
        return is_limit(name)

    def set_parameters_atomically(
        self, parameter_list: list[Parameter[Any]]
    ) -> SetParametersResult:
        """
        Set parameters, limits among them, together or not at all.

        """
        if self._recipe is None:
            return super().set_parameters_atomically(parameter_list)
        try:
            asked = self.limits.asked(parameter_list)
            table = self.limits.changed(asked)
        except LimitError as error:
            self.get_logger().warning(f'limits refused: {error}')
            return SetParametersResult(successful=False, reason=str(error))
        converted = [
            Parameter(change.name, value=asked[change.name]) if change.name in asked else change
            for change in parameter_list
        ]
        result = super().set_parameters_atomically(converted)
        if result.successful and asked:
            changed = self.limits.change(table)
            if changed:
                names = ', '.join(limit.name for limit in changed)
                self.calibration.give_up(f'{names} was set by hand meanwhile')
            self._judge_by_limits()
        return result

    def use_limits(self, used: UsedLimits) -> None:
        """
        Judge by other limits from the next part on, with other typical values if need be.

        """
        self.limits.exchange(used)
        self._judge_by_limits()

    def _judge_by_limits(self) -> None:
        if self._is_in_force:
            self._decider.limits_changed(self.limits.table)
            self.limits.publish(self.recipe, self.combination(self.recipe))
            self.remember()

    # Recipes

    def combination(self, recipe: Recipe) -> Combination:
        """
        How the limits of a recipe are combined here.

        """
        asked = self.parameters.combination
        word = recipe.combination if asked == 'recipe' else asked
        return Combination.ANY if word == 'any' else Combination.ALL

    def bring_into_force(self, recipe: Recipe) -> None:
        """
        Judge by a recipe that every scorer has confirmed, from the next part on.

        """
        if recipe is not self._recipe:
            before = self._recipe
            if before and self.limits.used.are_unsaved and recipe.name != before.name:
                self.get_logger().warning(
                    f'limits of {before.name} that were set at runtime are lost'
                )
            self.calibration.forget(f'recipe {recipe.name} v{recipe.version} came into force')
            self._recipe = recipe
            self.limits.exchange(UsedLimits(limit_table(recipe)))
        terms = Terms(
            recipe.name,
            recipe.version,
            recipe.hash,
            self.limits.table,
            self.combination(recipe),
            known_good(recipe),
        )
        self._decider.recipe_switched(terms)
        self._is_in_force = True
        self._found = FoundState()
        self.confirm()
        self.remember()
        self.limits.publish(recipe, terms.combination)
        self.get_logger().info(
            f'recipe {recipe.name} v{recipe.version} ({recipe.hash[:12]}) is in force'
        )

    def confirm(self) -> None:
        """
        Let the recipe come into force, though it is not what was in force before a restart.

        """
        if self._unconfirmed:
            self._unconfirmed = ''
            self._decider.not_ready_because = 'no recipe is in force'
            self._publish_fault()

    def remember(self) -> None:
        """
        Keep what is in force for a decider that takes this one's place.

        """
        if not self._is_in_force or self.recipe.path is None:
            return
        state = DeciderState(
            str(self.recipe.path.absolute()),
            self.recipe.name,
            self.recipe.version,
            self.recipe.hash,
            DeciderState.limits_of(self.limits.table),
            self._challenge.memory(),
            launched_with(self),
        )
        self.keep_state(state.to_content())


def _judged_measures(decision: PartDecision, terms: Terms) -> list[JudgedMeasure]:
    return [
        JudgedMeasure(
            scorer=limit.scorer,
            measure=limit.measure,
            value=value,
            limit=limit.value,
            unit=limit.unit,
            bad_side=int(limit.bad_side),
            anomaly_score=limit.anomaly_score(value),
        )
        for limit in terms.limits
        if (value := decision.measured.get((limit.scorer, limit.measure))) is not None
    ]


def _line_of(decision: Decision) -> str:
    why = decision.comparison
    if math.isfinite(decision.anomaly_score):
        why = f'anomaly score {decision.anomaly_score:.2f} ({decision.worst_measure})'
    return (
        f'part {decision.part_id}: {Verdict(decision.verdict).name} '
        f'{Reason(decision.reason).name} after {1e3 * decision.latency_s:.0f} ms; {why}'
    )


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(DeciderNode)
