# SPDX-License-Identifier: Apache-2.0
"""
Topics from the site to the cell.

"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.plant.topic_paths import check_topic_name, TopicPaths

PATHS = TopicPaths('Berlin', 'press shop', 'line_7', 'inspection')


def test_a_topic_names_the_levels_from_the_site_to_the_cell() -> None:
    assert PATHS.topic('decision') == 'Berlin/press shop/line_7/inspection/decision'
    assert PATHS.name_of('Berlin/press shop/line_7/inspection/command/x') == 'command/x'
    assert PATHS.name_of('Berlin/press shop/line_7/other/command/x') == ''


@pytest.mark.parametrize(
    'name', ['', 'a+b', '#', 'a/b', 'a\0b', '$SYS', ' a', 'a ', 'a\nb', 'x' * 65, '\ud800', '\x7f']
)
def test_a_name_that_mqtt_would_misread_is_refused_with_its_setting(name: str) -> None:
    with pytest.raises(SettingError, match=r'^area = '):
        TopicPaths('site', name, 'line', 'cell')


@settings(deadline=None)
@given(st.text(max_size=70))
def test_whatever_name_is_taken_makes_one_level_of_a_topic(name: str) -> None:
    try:
        check_topic_name('site', name)
    except SettingError:
        return
    topic = TopicPaths(name, 'a', 'l', 'c').topic('decision')
    assert topic.split('/') == [name, 'a', 'l', 'c', 'decision']
    assert not {'+', '#', '\0'} & set(topic)
    topic.encode()
