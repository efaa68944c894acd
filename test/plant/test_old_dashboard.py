# SPDX-License-Identifier: Apache-2.0
"""
The topics of the dashboard of the earlier system.

"""

from __future__ import annotations

import base64
from datetime import datetime, UTC

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.plant.old_dashboard import OldDashboard
from support.plant_bench import decision

SIX = datetime(2026, 11, 29, 6, tzinfo=UTC).timestamp()


def shift_began_at(moment_s: float) -> datetime:
    moment = datetime.fromtimestamp(moment_s, UTC)
    hour = 14 if 14 <= moment.hour < 22 else 6 if 6 <= moment.hour < 14 else 22
    return moment.replace(hour=hour, minute=0, second=0, microsecond=0)


def texts(messages: list[tuple[str, bytes]]) -> dict[str, str]:
    return {topic: payload.decode() for topic, payload in messages}


@pytest.fixture
def dashboard() -> OldDashboard:
    return OldDashboard('AiVision_Defects', shift_began_at)


def test_a_part_has_the_topics_and_texts_of_the_old_system(dashboard: OldDashboard) -> None:
    dashboard.part(decision(1), SIX)
    dashboard.part(decision(2, known_as='bad'), SIX + 1)
    assert texts(dashboard.part(decision(3), SIX + 2)) == {
        'AiVision_Defects/result': 'NOK',
        'AiVision_Defects/defect_percentage': '50.0',
        'AiVision_Defects/total': '2',
        'AiVision_Defects/ok_parts': '1',
        'AiVision_Defects/defect_parts': '1',
        'AiVision_Defects/parts_minute': '2.0',
    }
    assert texts(dashboard.part(decision(4), SIX + 61.5))['AiVision_Defects/parts_minute'] == '2.0'


def test_every_shift_is_summed_up_at_its_end_also_the_one_before_six(
    dashboard: OldDashboard,
) -> None:
    dashboard.part(decision(1), SIX - 10)
    assert dashboard.tick(SIX - 1) == []
    assert texts(dashboard.tick(SIX)) == {
        'AiVision_Defects/defect_percentage_shift_22': '0.0',
        'AiVision_Defects/total_shift_22': '1',
        'AiVision_Defects/ok_parts_shift_22': '1',
        'AiVision_Defects/defect_parts_shift_22': '0',
    }
    assert dashboard.tick(SIX + 1) == []
    assert texts(dashboard.part(decision(2), SIX + 2))['AiVision_Defects/total'] == '1'
    assert 'AiVision_Defects/total_shift_6' in texts(dashboard.tick(SIX + 8 * 3600))


def test_a_picture_is_png_in_base64(dashboard: OldDashboard) -> None:
    ((topic, payload),) = dashboard.picture('input_image', b'\x89PNG')
    assert topic == 'AiVision_Defects/input_image'
    assert base64.b64decode(payload) == b'\x89PNG'


def test_a_prefix_that_mqtt_would_misread_is_refused() -> None:
    with pytest.raises(SettingError, match="old_dashboard = 'a/b' is refused"):
        OldDashboard('a/b', shift_began_at)
