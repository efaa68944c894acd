# SPDX-License-Identifier: Apache-2.0
"""
From messages to what the pages of the panel show.

"""

from __future__ import annotations

from collections.abc import Sequence
import math
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from anomaly_inspection.deciding.explanation import Place
from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import (
    Calibration,
    Challenge,
    Decision,
    DriftCause,
    DriftState,
    Explanation,
    LimitInForce,
    LimitsInForce,
    LineStop,
    Measure,
    RecipeInForce,
    Region,
    Score,
    SortEvent,
)
from anomaly_inspection.nodes.diagnosed_node import diagnosed
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    ExplanationView,
    LimitView,
    MeasureView,
    RegionView,
    ScoreView,
    SortView,
)
from anomaly_inspection.panel.cell.views import (
    CalibrationView,
    ChallengeView,
    DriftCauseView,
    DriftView,
    HealthView,
    LineStopView,
    RecipeView,
)
from anomaly_inspection.panel.recipes.library import summary_of

_KNOWN_AS = {Decision.KNOWN_AS_GOOD: 'good', Decision.KNOWN_AS_BAD: 'bad'}
_CALIBRATIONS = {
    Calibration.STATE_COLLECTING: 'collecting',
    Calibration.STATE_DONE: 'done',
    Calibration.STATE_FAILED: 'failed',
    Calibration.STATE_UNDONE: 'undone',
}
_CHALLENGES = {
    Challenge.STATE_OFF: 'off',
    Challenge.STATE_PASSED: 'passed',
    Challenge.STATE_DUE: 'due',
    Challenge.STATE_RUNNING: 'running',
    Challenge.STATE_FAILED: 'failed',
}
_CAUSES = {
    LineStop.CAUSE_GATE: 'gate',
    LineStop.CAUSE_PART_MISSED: 'part_missed',
    LineStop.CAUSE_NO_SCORES: 'no_scores',
    LineStop.CAUSE_UNCONFIRMED: 'unconfirmed',
    LineStop.CAUSE_BELT_UNKNOWN: 'belt_unknown',
    LineStop.CAUSE_STATE_UNKNOWN: 'state_unknown',
    LineStop.CAUSE_INTERNAL: 'internal',
    LineStop.CAUSE_ENCODER: 'encoder',
    LineStop.CAUSE_VIEW_MISSING: 'view_missing',
}
_DRIFT_STATES = {
    DriftState.STATE_LEARNING: 'learning',
    DriftState.STATE_VALID: 'valid',
    DriftState.STATE_VOID: 'void',
}
_DRIFT_CAUSES = {
    DriftCause.CAUSE_LIGHT: 'light',
    DriftCause.CAUSE_FOCUS: 'focus',
    DriftCause.CAUSE_DIRT: 'dirt',
    DriftCause.CAUSE_CAMERA: 'camera',
    DriftCause.CAUSE_BELT: 'belt',
    DriftCause.CAUSE_PARTS: 'parts',
}
_LEVELS = {
    DiagnosticStatus.OK: 'ok',
    DiagnosticStatus.WARN: 'warn',
    DiagnosticStatus.ERROR: 'error',
    DiagnosticStatus.STALE: 'stale',
}


def score_view(message: Score) -> ScoreView:
    """
    Convert what one scorer found.

    """
    return ScoreView(
        scorer=message.scorer,
        is_ok=message.status == Score.STATUS_OK,
        detail=message.detail,
        measures=tuple(
            MeasureView(f'{message.scorer}.{measure.name}', measure.value, measure.unit)
            for measure in message.measures
        ),
        regions=tuple(
            _region_view(region, region.peak / (message.region_limit or 1.0))
            for region in message.regions
        ),
        part_class=message.part_class,
        pose=_pose(message),
    )


def _region_view(region: Region, times_limit: float) -> RegionView:
    return RegionView(
        *(region.x_min, region.y_min, region.x_max, region.y_max, region.area_px), times_limit
    )


def _pose(message: Score) -> tuple[float, float, float, float] | None:
    pose = (
        *(message.alignment_x_px, message.alignment_y_px),
        *(message.alignment_angle_rad, message.alignment_scale),
    )
    return pose if all(map(math.isfinite, pose)) else None


def _explanation_view(message: Explanation) -> ExplanationView:
    has_region = bool(message.scorer)
    is_known = message.place in set(Place)
    region = message.region
    return ExplanationView(
        text=message.text,
        scorer=message.scorer,
        region=_region_view(region, message.times_region_limit) if has_region else None,
        other_regions=message.other_regions if has_region else 0,
        place=Place(message.place).name.lower() if is_known and has_region else '',
        reference_px=(region.reference_x_px, region.reference_y_px),
        good_parts=message.good_parts,
        good_parts_as_bad=message.good_parts_as_bad,
        good_parts_worst=message.good_parts_worst,
    )


def decision_view(message: Decision) -> DecisionView:
    """
    Convert a verdict.

    """
    is_known = message.reason in set(Reason)
    return DecisionView(
        has_passed=message.verdict == Decision.VERDICT_PASS,
        reason=Reason(message.reason).name if is_known else 'UNKNOWN',
        comparison=message.comparison,
        anomaly_score=message.anomaly_score,
        worst_measure=message.worst_measure,
        recipe_name=message.recipe_name,
        recipe_version=message.recipe_version,
        latency_s=message.latency_s,
        known_as=_KNOWN_AS.get(message.known_as, ''),
        explanation=_explanation_view(message.explanation),
    )


def sort_view(message: SortEvent) -> SortView:
    """
    Convert what the gate did.

    """
    return SortView(
        has_passed=message.action == SortEvent.ACTION_PASSED,
        is_confirmed=message.outcome == SortEvent.OUTCOME_CONFIRMED,
        detail=message.detail,
    )


def limit_views(message: LimitsInForce) -> tuple[LimitView, ...]:
    """
    Convert the limits in force.

    """
    return tuple(
        LimitView(
            name=f'{limit.scorer}.{limit.measure}',
            value=limit.value,
            typical=limit.typical,
            unit=limit.unit,
            high_is_bad=limit.bad_side != Measure.BAD_SIDE_LOW,
            is_from_recipe=limit.origin == LimitInForce.ORIGIN_RECIPE,
            lowest=limit.lowest,
            highest=limit.highest,
            is_narrowed=limit.is_narrowed,
        )
        for limit in message.limits
    )


def calibration_view(message: Calibration) -> CalibrationView:
    """
    Convert how far a calibration is.

    """
    return CalibrationView(
        _CALIBRATIONS.get(message.state, ''),
        message.parts,
        message.parts_wanted,
        message.detail,
        message.promise,
    )


def challenge_view(message: Challenge) -> ChallengeView:
    """
    Convert how the challenge stands.

    """
    due_ns = nanoseconds_from_stamp(message.next_due)
    return ChallengeView(
        _CHALLENGES.get(message.state, ''),
        message.detail,
        message.production_is_blocked,
        tuple(message.parts),
        message.parts_done,
        due_ns / 1e9 if due_ns else float('nan'),
    )


def recipe_view(message: RecipeInForce) -> RecipeView:
    """
    Convert the recipe in force.

    """
    # Its frames are the only ones that it judges; no message says their size.
    summary = summary_of(Path(message.path))
    frame_px = (summary.width_px, summary.height_px)
    return RecipeView(message.name, message.version, message.path, message.hash, frame_px)


def line_stop_view(message: LineStop) -> LineStopView:
    """
    Convert the state of the line.

    """
    since_s = nanoseconds_from_stamp(message.since) / 1e9 if message.active else float('nan')
    cause = _CAUSES.get(message.cause, '') if message.active else ''
    return LineStopView(message.active, message.reason, since_s, cause)


def drift_view(message: DriftState) -> DriftView:
    """
    Convert whether the line still shows what was taught.

    """
    state = _DRIFT_STATES.get(message.state, '')
    since_s = nanoseconds_from_stamp(message.since) / 1e9 if state == 'void' else float('nan')
    causes = tuple(
        DriftCauseView(
            _DRIFT_CAUSES.get(cause.cause, 'unknown'), cause.condition, cause.change, cause.unit
        )
        for cause in message.causes
    )
    return DriftView(state, since_s, causes)


def health_views(
    message: DiagnosticArray, namespace: str, now_s: float, views: Sequence[str] = ()
) -> list[HealthView]:
    """
    Convert the statuses of the nodes of a namespace and of the views in it; those of other cells
    are left out.

    """
    return [
        HealthView(*found, _LEVELS.get(status.level, 'error'), status.message, now_s)
        for status in message.status
        if (found := diagnosed(status.name, namespace, views))
    ]
