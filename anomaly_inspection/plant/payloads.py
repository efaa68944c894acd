# SPDX-License-Identifier: Apache-2.0
"""
Payloads as plain JSON; config/mqtt_payloads.schema.json describes each of them.

"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, UTC
import json
import math
from typing import Any, TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly_inspection.plant.plant_decision import (
        PlantDecision,
        PlantExplanation,
        PlantMeasure,
        PlantRegion,
    )

#: Format of the payloads; within one, fields are added, and none is renamed or dropped.
PAYLOAD_FORMAT = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_text(moment_ns: int) -> str:
    """
    Give a moment as ISO 8601 in UTC: '2026-11-29T13:47:00.123Z'.

    """
    moment = _EPOCH + timedelta(microseconds=moment_ns // 1000)
    return f'{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z'


def to_json(payload: Mapping[str, Any]) -> bytes:
    """
    Give a payload as compact UTF-8; a text that is no valid Unicode is mended.

    """
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    return text.encode(errors='replace')


def decision_payload(decision: PlantDecision, stream: str, sequence: int) -> dict[str, Any]:
    """
    Give the payload of a decision.

    Parameters
    ----------
    decision : PlantDecision
        The decision.
    stream : str
        Names the run of sequence numbers.
    sequence : int
        Number of the decision in the stream, from 1.

    """
    return {
        'format': PAYLOAD_FORMAT,
        'stream': stream,
        'sequence': sequence,
        'timestamp': utc_text(decision.decided_ns),
        'exposed': utc_text(decision.exposed_ns) if decision.exposed_ns else None,
        'quality': decision.quality.value,
        'verdict': decision.verdict,
        'reason': decision.reason,
        'comparison': decision.comparison,
        'anomaly_score': _number(decision.anomaly_score),
        'worst_measure': decision.worst_measure or None,
        'measures': [_measure(measure) for measure in decision.measures],
        'recipe': {
            'name': decision.recipe_name,
            'version': decision.recipe_version,
            'hash': decision.recipe_hash,
        }
        if decision.recipe_name
        else None,
        'part': {'session': decision.session_id, 'id': decision.part_id},
        'known_as': decision.known_as or None,
        'order': decision.order or None,
        'lot': decision.lot or None,
        'serial_number': decision.serial_number or None,
        'latency_s': _number(decision.latency_s),
        'explanation': _explanation(decision.explanation) if decision.explanation else None,
    }


def lost_payload(
    stream: str, count: int, first_sequence: int, last_sequence: int, moment_ns: int
) -> dict[str, Any]:
    """
    Say which decisions no message will bring.

    """
    return {
        'format': PAYLOAD_FORMAT,
        'stream': stream,
        'timestamp': utc_text(moment_ns),
        'count': count,
        'first_sequence': first_sequence,
        'last_sequence': last_sequence,
    }


def _measure(measure: PlantMeasure) -> dict[str, Any]:
    return {
        'name': measure.name,
        'value': _number(measure.value),
        'limit': _number(measure.limit),
        'unit': measure.unit,
        'bad_side': 'high' if measure.high_is_bad else 'low',
        'anomaly_score': _number(measure.anomaly_score),
    }


def _explanation(explanation: PlantExplanation) -> dict[str, Any]:
    region = explanation.region
    return {
        'text': explanation.text,
        'region': _region(region) if region else None,
        'other_regions': explanation.other_regions,
        'good_parts': {
            'count': explanation.good_parts,
            'as_bad': explanation.good_parts_as_bad,
            'worst': _number(explanation.good_parts_worst),
        }
        if explanation.good_parts
        else None,
    }


def _region(region: PlantRegion) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = region.box
    x_px, y_px = map(_number, region.reference_px)
    return {
        'scorer': region.scorer,
        'x_min': x_min,
        'y_min': y_min,
        'x_max': x_max,
        'y_max': y_max,
        'area_px': region.area_px,
        'times_region_limit': _number(region.times_region_limit),
        'place': region.place or None,
        'reference_x_px': x_px,
        'reference_y_px': y_px,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
