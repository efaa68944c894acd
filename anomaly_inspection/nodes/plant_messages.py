# SPDX-License-Identifier: Apache-2.0
"""
From messages to what the plant hears.

"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from anomaly_inspection.deciding.explanation import Place
from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import Challenge, Decision, LineStop, Measure, RecipeInForce
from anomaly_inspection.nodes.diagnosed_node import diagnosed
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.plant.cell_status import Health
from anomaly_inspection.plant.payloads import utc_text
from anomaly_inspection.plant.plant_decision import (
    LONGEST_EXPLANATION,
    PlantDecision,
    PlantExplanation,
    PlantMeasure,
    PlantRegion,
)
from anomaly_inspection.printable import printable
from anomaly_inspection.sorting.stop_cause import StopCause

_KNOWN_AS = {Decision.KNOWN_AS_GOOD: 'good', Decision.KNOWN_AS_BAD: 'bad'}
_LEVELS = {
    DiagnosticStatus.OK: 'ok',
    DiagnosticStatus.WARN: 'warn',
    DiagnosticStatus.ERROR: 'error',
    DiagnosticStatus.STALE: 'stale',
}
_LONGEST_SCORER = 64
# A camera's clock that is further off than this does not tell when a part was decided.
_MOST_CLOCK_ERROR_NS = 24 * 3_600_000_000_000


def plant_decision(message: Decision, now_ns: int) -> PlantDecision:
    """
    Convert a decision that is heard at `now_ns`, nanoseconds since 1970.

    One that is caught up after a restart was made earlier: exposure and latency tell when.

    """
    exposed_ns = nanoseconds_from_stamp(message.header.stamp)
    decided_ns = exposed_ns + int(1e9 * message.latency_s)
    if not exposed_ns or abs(decided_ns - now_ns) > _MOST_CLOCK_ERROR_NS:
        decided_ns = now_ns
    is_known = message.reason in set(Reason)
    return PlantDecision(
        session_id=message.session_id,
        part_id=message.part_id,
        has_passed=message.verdict == Decision.VERDICT_PASS,
        reason=Reason(message.reason).name if is_known else 'UNKNOWN',
        exposed_ns=exposed_ns,
        decided_ns=decided_ns,
        comparison=message.comparison,
        anomaly_score=message.anomaly_score,
        worst_measure=message.worst_measure,
        measures=tuple(
            PlantMeasure(
                name=f'{measure.scorer}.{measure.measure}',
                value=measure.value,
                limit=measure.limit,
                unit=measure.unit,
                high_is_bad=measure.bad_side != Measure.BAD_SIDE_LOW,
                anomaly_score=measure.anomaly_score,
            )
            for measure in message.measures
        ),
        recipe_name=message.recipe_name,
        recipe_version=message.recipe_version,
        recipe_hash=message.recipe_hash,
        latency_s=message.latency_s,
        known_as=_KNOWN_AS.get(message.known_as, ''),
        explanation=_explanation(message),
    )


def _explanation(decision: Decision) -> PlantExplanation | None:
    message = decision.explanation
    if decision.verdict == Decision.VERDICT_PASS or not message.text:
        return None
    region = message.region
    found = PlantRegion(
        scorer=printable(message.scorer)[:_LONGEST_SCORER],
        box=(region.x_min, region.y_min, region.x_max, region.y_max),
        area_px=region.area_px,
        times_region_limit=message.times_region_limit,
        place=Place(message.place).name.lower() if message.place in set(Place) else '',
        reference_px=(region.reference_x_px, region.reference_y_px),
    )
    return PlantExplanation(
        text=printable(message.text)[:LONGEST_EXPLANATION],
        region=found if message.scorer else None,
        other_regions=message.other_regions if message.scorer else 0,
        good_parts=message.good_parts,
        good_parts_as_bad=message.good_parts_as_bad,
        good_parts_worst=message.good_parts_worst,
    )


def recipe_state(message: RecipeInForce) -> dict[str, Any]:
    """
    Give the payload of the topic `recipe`; the path on this machine is nobody else's business.

    """
    return {
        'name': message.name,
        'version': message.version,
        'hash': message.hash,
        'scorers': list(message.scorers),
        'since': utc_text(nanoseconds_from_stamp(message.header.stamp)),
    }


def line_stop_state(message: LineStop) -> dict[str, Any]:
    """
    Give the payload of the topic `line_stop`.

    """
    since = utc_text(nanoseconds_from_stamp(message.since)) if message.active else None
    return {
        'active': bool(message.active),
        'reason': message.reason,
        'cause': StopCause.of(message.cause).word if message.active else None,
        'since': since,
    }


def block_reason(message: Challenge) -> str | None:
    """
    Say why a challenge blocks production; None = it does not.

    """
    return message.detail if message.production_is_blocked else None


def note_health(
    health: Health,
    message: DiagnosticArray,
    namespace: str,
    now_s: float,
    views: Sequence[str] = (),
) -> None:
    """
    Note the statuses of the nodes of a cell and its views; those of other cells are left out.

    """
    for status in message.status:
        if found := diagnosed(status.name, namespace, views):
            level = _LEVELS.get(status.level, 'error')
            health.take(*found, level, status.message, now_s)
