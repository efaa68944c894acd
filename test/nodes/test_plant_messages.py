# SPDX-License-Identifier: Apache-2.0
"""
What the plant hears of a decision, whatever the message holds.

"""

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.msg import Decision, Explanation, Region
from anomaly_inspection.nodes.plant_messages import plant_decision
from anomaly_inspection.plant.payloads import decision_payload, to_json
from support.mqtt_schema import check

pytestmark = pytest.mark.ros

# Of a decision without measures: the rest of the payload has fixed lengths.
MOST_BYTES = 8000
TEXTS = st.text(max_size=5000)
NUMBERS = st.integers(0, 2**32 - 1)
FLOATS = st.floats(width=32)
EXPLANATIONS = st.builds(
    Explanation,
    text=TEXTS,
    scorer=TEXTS,
    region=st.builds(
        Region,
        **dict.fromkeys(('x_min', 'y_min', 'x_max', 'y_max', 'area_px'), NUMBERS),
        **dict.fromkeys(('peak', 'reference_x_px', 'reference_y_px'), FLOATS),
    ),
    times_region_limit=FLOATS,
    other_regions=NUMBERS,
    place=st.integers(0, 255),
    good_parts=NUMBERS,
    good_parts_as_bad=NUMBERS,
    good_parts_worst=st.floats(),
)


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(EXPLANATIONS)
def test_an_explanation_is_as_the_schema_says_and_bounded(explanation):
    message = Decision(
        session_id='session',
        part_id=7,
        verdict=Decision.VERDICT_REJECT,
        anomaly_score=math.nan,
        explanation=explanation,
    )
    content = to_json(decision_payload(plant_decision(message, 10**18), 'f' * 12, 1))
    assert len(content) <= MOST_BYTES
    payload = json.loads(content)
    check('decision', payload)
    assert (payload['explanation'] is None) == (explanation.text == '')
    if payload['explanation']:
        assert (payload['explanation']['region'] is None) == (explanation.scorer == '')


def test_a_text_without_end_is_cut():
    explanation = Explanation(text='\N{GRINNING FACE}' * 10**6, scorer='s' * 10**6)
    message = Decision(
        session_id='session',
        part_id=7,
        verdict=Decision.VERDICT_REJECT,
        explanation=explanation,
    )
    payload = decision_payload(plant_decision(message, 10**18), 'f' * 12, 1)
    assert len(payload['explanation']['text']) == 1000
    assert len(payload['explanation']['region']['scorer']) == 64
    assert len(to_json(payload)) <= MOST_BYTES
    message.verdict = Decision.VERDICT_PASS
    assert plant_decision(message, 10**18).explanation is None
