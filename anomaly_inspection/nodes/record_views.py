# SPDX-License-Identifier: Apache-2.0
"""
From messages to records.

"""

from __future__ import annotations

import base64
from typing import Any, TYPE_CHECKING

from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import (
    Calibration,
    Challenge,
    ChallengeEvent,
    Decision,
    DriftCause,
    DriftState,
    LineStop,
    Measure,
    Score,
    SortEvent,
)
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.printable import printable
from anomaly_inspection.records.record import event, LONGEST_TEXT, number, Record, record
from anomaly_inspection.sorting.stop_cause import StopCause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anomaly_inspection.msg import (
        Explanation,
        Fault,
        JudgedMeasure,
        LimitsInForce,
        Part,
        PartIdentity,
        RecipeInForce,
        Thresholds,
    )
    from anomaly_inspection.records.identity import Identity

_KNOWN_AS = {Decision.KNOWN_AS_GOOD: 'good', Decision.KNOWN_AS_BAD: 'bad'}
_MOST_REGIONS = 8
_MOST_CAUSES, _LARGEST_DRIFT_PICTURE = 16, 100_000


def _names(message_type: type, prefix: str) -> dict[int, str]:
    return {
        getattr(message_type, name): name.removeprefix(prefix)
        for name in dir(type(message_type))
        if name.startswith(prefix)
    }


_ACTIONS, _OUTCOMES, _CAUSES = (
    _names(SortEvent, prefix) for prefix in ('ACTION_', 'OUTCOME_', 'CAUSE_')
)
_CALIBRATIONS = _names(Calibration, 'STATE_')
_CHALLENGES = _names(Challenge, 'STATE_')
_CHALLENGE_KINDS = _names(ChallengeEvent, 'KIND_')
_STATUSES = _names(Score, 'STATUS_')
_DRIFT_STATES = _names(DriftState, 'STATE_')
_DRIFT_CAUSES = _names(DriftCause, 'CAUSE_')


def part_record(
    message: Decision,
    part: Part | None,
    scores: Iterable[Score],
    *,
    cell: str,
    time_us: int,
    identity: Identity,
    has_details: bool,
) -> Record:
    """
    Make the record of a decided part.

    """
    scores = list(scores)
    has_passed = message.verdict == Decision.VERDICT_PASS
    known_reason = message.reason in set(Reason)
    return record(
        'parts',
        cell=cell,
        source=message.session_id,
        sequence=message.part_id,
        time_us=time_us,
        exposure_us=nanoseconds_from_stamp(message.header.stamp) // 1000,
        verdict='PASS' if has_passed else 'REJECT',
        reason=Reason(message.reason).name if known_reason else 'UNKNOWN',
        known_as=_KNOWN_AS.get(message.known_as, ''),
        anomaly_score=number(message.anomaly_score),
        worst_measure=message.worst_measure,
        comparison=message.comparison,
        recipe=message.recipe_name,
        recipe_version=message.recipe_version,
        recipe_hash=message.recipe_hash[:16],
        latency_s=number(message.latency_s),
        order_name=identity.order_name,
        lot=identity.lot,
        serial=identity.serial,
        measures={_name(each): number(each.value) for each in message.measures}
        # A part that could not be judged, as after a time-out, may have been measured.
        or _measures(scores),
        limits={_name(each): number(each.limit) for each in message.measures},
        details=_details(message, part, scores) if has_details else '',
    )


def _name(measure: JudgedMeasure) -> str:
    return f'{measure.scorer}.{measure.measure}'


def _measures(scores: list[Score]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for score in scores:
        for measure in score.measures:
            name, value = f'{score.scorer}.{measure.name}', number(measure.value)
            before = found.get(name, value)
            if before is None or value is None:
                found[name] = None
            elif measure.bad_side == Measure.BAD_SIDE_LOW:
                found[name] = min(before, value)
            else:
                found[name] = max(before, value)
    return found


def _details(message: Decision, part: Part | None, scores: list[Score]) -> dict[str, Any]:
    return {
        **_explained(message.explanation),
        'frames': [
            {'name': name, 'problem': problem}
            for name, problem in zip(part.frame_names, part.frame_problems, strict=False)
        ]
        if part
        else [],
        'scores': [
            {
                'scorer': score.scorer,
                'status': _STATUSES.get(score.status, 'UNKNOWN'),
                'detail': score.detail,
                'class': score.part_class,
                # x_min, y_min, x_max, y_max, area in pixels, peak in units of the limit.
                'regions': [
                    [
                        *(region.x_min, region.y_min, region.x_max, region.y_max),
                        region.area_px,
                        number(region.peak / (score.region_limit or 1.0)),
                    ]
                    for region in score.regions[:_MOST_REGIONS]
                ],
                # x and y in pixels, angle in radians, scale, confidence.
                'alignment': [
                    number(value)
                    for value in (
                        *(score.alignment_x_px, score.alignment_y_px),
                        *(score.alignment_angle_rad, score.alignment_scale),
                        score.alignment_confidence,
                    )
                ],
            }
            for score in scores
        ],
    }


def _explained(message: Explanation) -> dict[str, Any]:
    if not message.text:
        return {}
    explained: dict[str, Any] = {'text': printable(message.text)[:LONGEST_TEXT]}
    if message.scorer:
        region = message.region
        explained['scorer'] = message.scorer
        explained['region'] = [region.x_min, region.y_min, region.x_max, region.y_max]
    return {'explanation': explained}


def sort_record(message: SortEvent, *, cell: str, time_us: int, of_part: dict[str, Any]) -> Record:
    """
    Make the record of what the gate did; `of_part` says what to count it under.

    """
    return record(
        'sort_events',
        cell=cell,
        source=message.session_id,
        sequence=message.part_id,
        time_us=time_us,
        action=_ACTIONS.get(message.action, 'UNKNOWN'),
        outcome=_OUTCOMES.get(message.outcome, 'UNKNOWN'),
        cause=_CAUSES.get(message.cause, 'UNKNOWN'),
        detail=message.detail,
        firing_error_s=number(message.firing_error_s),
        **of_part,
    )


def limits_of(message: LimitsInForce) -> dict[str, float | None]:
    """
    Give the limits in force by their names.

    """
    return {f'{each.scorer}.{each.measure}': number(each.value) for each in message.limits}


def limits_event(message: LimitsInForce, cell: str) -> Record:
    """
    Make the record of limits that came into force.

    """
    limits = limits_of(message)
    listed = ', '.join(f'{name} {value}' for name, value in limits.items())
    return event(
        'limits',
        f'limits of {message.recipe_name} version {message.recipe_version}: {listed}',
        **_stamped(message, cell),
        data={
            'limits': limits,
            'recipe': message.recipe_name,
            'recipe_version': message.recipe_version,
            'is_unsaved': message.is_unsaved,
        },
    )


def thresholds_event(message: Thresholds, cell: str, time_us: int) -> Record:
    """
    Make the record of limits that somebody asked for on the topic `thresholds`.

    """
    limits = {f'{each.scorer}.{each.measure}': number(each.value) for each in message.limits}
    listed = ', '.join(f'{name} {value}' for name, value in limits.items())
    return event(
        'thresholds',
        f'asked for limits: {listed}',
        who=message.source,
        cell=cell,
        source=message.source,
        sequence=nanoseconds_from_stamp(message.header.stamp) or time_us,
        time_us=time_us,
        data={'limits': limits},
    )


def recipe_event(message: RecipeInForce, cell: str) -> Record:
    """
    Make the record of a recipe that came into force.

    """
    return event(
        'recipe',
        f'recipe {message.name} version {message.version} is in force'
        if message.name
        else 'no recipe is in force',
        **_stamped(message, cell),
        data={'recipe': message.name, 'recipe_version': message.version, 'hash': message.hash},
    )


def line_stop_event(message: LineStop, cell: str) -> Record:
    """
    Make the record of a line that was stopped, or may run again.

    """
    return event(
        'line_stop',
        message.reason if message.active else 'the line may run',
        **_stamped(message, cell),
        data={
            'active': message.active,
            'cause': StopCause.of(message.cause).word if message.active else None,
        },
    )


def drift_event(message: DriftState, cell: str) -> Record:
    """
    Make the record of a false-reject promise that became void, or holds again.

    """
    state = _DRIFT_STATES.get(message.state, 'UNKNOWN').lower()
    # Of the picture as much as the page of a report can show.
    picture = bytes(message.picture)
    if len(picture) > _LARGEST_DRIFT_PICTURE:
        picture = b''
    return event(
        'drift',
        f'the false-reject promise of {message.recipe_name or "no recipe"} is {message.detail}'
        if state in ('valid', 'void')
        else message.detail,
        **_stamped(message, cell),
        data={
            'state': state,
            'since_us': nanoseconds_from_stamp(message.since) // 1000,
            'causes': [
                {
                    'cause': _DRIFT_CAUSES.get(cause.cause, 'UNKNOWN').lower(),
                    'condition': cause.condition,
                    'change': number(cause.change),
                    'unit': cause.unit,
                }
                for cause in message.causes[:_MOST_CAUSES]
            ],
            'parts': message.parts,
            'recipe': message.recipe_name,
            'recipe_version': message.recipe_version,
            'picture': base64.b64encode(picture).decode(),
        },
    )


def fault_event(message: Fault, cell: str) -> Record:
    """
    Make the record of a fault of the decider, or of its end.

    """
    return event(
        'fault',
        message.reason if message.active else 'no fault',
        **_stamped(message, cell),
        data={'active': message.active},
    )


def calibration_event(message: Calibration, cell: str, view: str = '') -> Record:
    """
    Make the record of a calibration, with several views in one of them.

    """
    state = _CALIBRATIONS.get(message.state, 'UNKNOWN').lower()
    return event(
        'calibration',
        _of_view(view, f'calibration {state}: {message.detail}'),
        **_stamped(message, cell),
        source=view,
        data={'state': state, 'parts': message.parts, 'promise': message.promise},
    )


def challenge_event(message: ChallengeEvent, cell: str, time_us: int, view: str = '') -> Record:
    """
    Make the record of one result of a challenge, with several views in one of them.

    """
    kind = _CHALLENGE_KINDS.get(message.kind, 'UNKNOWN').lower()
    known = {}
    if message.kind == ChallengeEvent.KIND_PART:
        known = {
            'known_part': message.known_part,
            'session': message.session_id,
            'part': message.part_id,
            'came_out_right': message.came_out_right,
        }
    return event(
        'challenge',
        _of_view(view, f'challenge {kind}: {message.detail}'),
        cell=cell,
        source=view,
        sequence=nanoseconds_from_stamp(message.header.stamp) or time_us,
        time_us=time_us,
        data={'result': kind, **known},
    )


def identity_event(message: PartIdentity, identity: Identity, cell: str, time_us: int) -> Record:
    """
    Make the record of an order, lot or serial number that somebody told.

    """
    return event(
        'identity',
        f'order {identity.order_name or "-"}, lot {identity.lot or "-"}, '
        f'serial number {identity.serial or "-"}',
        who=message.source,
        cell=cell,
        source=message.source,
        sequence=nanoseconds_from_stamp(message.header.stamp) or time_us,
        time_us=time_us,
        data={
            'order': identity.order_name,
            'lot': identity.lot,
            'serial': identity.serial,
            'session': message.session_id,
            'part': message.part_id,
        },
    )


def challenge_state_event(message: Challenge, cell: str, view: str = '') -> Record:
    """
    Make the record of how the challenge stands now, with several views in one of them.

    """
    state = _CHALLENGES.get(message.state, 'UNKNOWN').lower()
    return event(
        'challenge_state',
        _of_view(view, message.detail or f'challenge {state}'),
        **_stamped(message, cell),
        source=view,
        data={'state': state, 'production_is_blocked': message.production_is_blocked},
    )


def _of_view(view: str, what: str) -> str:
    return f'{view}: {what}' if view else what


def _stamped(message: Any, cell: str) -> dict[str, Any]:
    """
    Name a latched message by its stamp: it comes again whenever a recorder starts.

    """
    stamp_ns = nanoseconds_from_stamp(message.header.stamp)
    return {'cell': cell, 'sequence': stamp_ns, 'time_us': stamp_ns // 1000}
