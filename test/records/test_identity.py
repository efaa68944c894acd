# SPDX-License-Identifier: Apache-2.0
"""
Order, lot and serial number: of all parts from now on, and of one part alone.

"""

from __future__ import annotations

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.records.identity import Identities, Identity

ONE, TWO, THREE = (('session', number) for number in (1, 2, 3))


@pytest.mark.parametrize('is_announced_first', [True, False])
def test_what_is_told_of_one_part_alone_changes_no_other(is_announced_first: bool) -> None:
    identities = Identities('A', 'L')
    if is_announced_first:
        identities.announce(ONE)
    identities.tell('B', '', 'S1', ONE, only_this_part=True)
    identities.announce(ONE)
    identities.announce(TWO)
    assert identities.of(ONE) == Identity('B', 'L', 'S1')
    assert identities.of(TWO) == identities.current == Identity('A', 'L', '')


def test_what_is_not_told_stays_as_it_is_known() -> None:
    identities = Identities('A', 'L')
    identities.tell('A', 'L', 'S1', ONE)
    identities.tell('B', '', '', ONE, only_this_part=True)
    identities.announce(ONE)
    assert identities.of(ONE) == Identity('B', 'L', 'S1')
    identities.tell('', '', 'S2', ONE, only_this_part=True)
    assert identities.of(ONE) == Identity('B', 'L', 'S2')


def test_the_next_serial_number_waits_for_a_part_that_has_none_of_its_own() -> None:
    identities = Identities()
    identities.tell('A', '', 'NEXT')
    identities.tell('', '', 'S1', ONE, only_this_part=True)
    identities.tell('B', '', '', TWO, only_this_part=True)
    for key in (ONE, TWO, THREE):
        identities.announce(key)
    assert [identities.of(key).serial for key in (ONE, TWO, THREE)] == ['S1', 'NEXT', '']
    assert identities.of(TWO).order_name == 'B'


def test_one_part_alone_must_be_named() -> None:
    identities = Identities('A', 'L')
    with pytest.raises(SettingError, match='without session_id and part_id'):
        identities.tell('B', '', 'S1', only_this_part=True)
    assert identities.current == Identity('A', 'L')
