# SPDX-License-Identifier: Apache-2.0
"""
What a node says where its packages are missing.

"""

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.needed_packages import check_needed


def test_all_missing_packages_are_named_with_what_installs_them():
    needed = {'json': 'json', 'no_such_a': 'such-a', 'no_such_b': 'such-b'}
    with pytest.raises(SettingError) as refused:
        check_needed('bridge', needed, 'plant', ', or apt install python3-such')
    assert str(refused.value) == (
        'the bridge needs such-a and such-b, which this Python does not have: pip install '
        "'anomaly_inspection[plant]', or apt install python3-such"
    )


def test_where_nothing_is_missing_nothing_is_said():
    check_needed('bridge', {'json': 'json'}, 'plant')
