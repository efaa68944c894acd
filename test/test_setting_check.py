# SPDX-License-Identifier: Apache-2.0
"""
Range checks: what is refused, and that the sentence names the value and the range.

"""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_integer, check_number, check_range


@pytest.mark.parametrize(
    ('value', 'options', 'says'),
    [
        (0, {'minimum': 1}, 'parts 0, allowed: 1 or more'),
        (math.nan, {'minimum': 1}, 'parts nan, allowed: 1 or more, finite'),
        (math.inf, {'minimum': 1, 'unit': 'min'}, 'parts inf min, allowed: 1 or more min, finite'),
        (
            0.0,
            {'minimum': 0, 'unit': 's', 'is_open': True},
            'parts 0 s, allowed: above 0 s, finite',
        ),
        (7, {'minimum': 1, 'maximum': 5}, 'parts 7, allowed: 1 to 5'),
        (math.nan, {'minimum': 1, 'maximum': 5, 'unit': 's'}, 'parts nan s, allowed: 1 to 5 s'),
        (0, {'minimum': 0, 'maximum': 5, 'is_open': True}, 'parts 0, allowed: above 0, up to 5'),
    ],
)
def test_a_number_out_of_range_is_refused(value: float, options: Any, says: str) -> None:
    with pytest.raises(SettingError, match=f'^{re.escape(says)}$'):
        check_range('parts', value, **options)


def test_both_ends_are_allowed() -> None:
    check_range('parts', 1, 1, 5)
    check_range('parts', 5, 1, 5)
    check_range('parts', 5, 1, 5, is_open=True)
    check_range('parts', 1e300, 1)


VALUES = (10**400, -(10**400), 16**5000, math.inf, math.nan, True, '1')


@pytest.mark.parametrize('value', VALUES, ids=type)
def test_what_is_no_number_in_range_is_refused_in_a_short_sentence(value: object) -> None:
    for check in (check_number, check_integer):
        with pytest.raises(SettingError, match=r'^parts is .{1,60}; allowed: a') as caught:
            check('parts', value, 0, 9)
        assert len(str(caught.value)) < 120
