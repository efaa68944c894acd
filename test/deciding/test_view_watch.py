# SPDX-License-Identifier: Apache-2.0
"""
A view that is gone, silent or at fault stops the line; one that is back lets it run again.

"""

from __future__ import annotations

from anomaly_inspection.deciding.view_watch import ViewWatch


def watch() -> ViewWatch:
    one = ViewWatch(('top', 'left'), missing_to_fault=3, gone_to_fault_s=5.0)
    one.part_decided([], ['top', 'left'], 0.0)
    return one


def test_parts_in_a_row_without_a_verdict_of_a_view_are_a_fault_with_its_name() -> None:
    one = watch()
    for now in (1.0, 2.0):
        one.part_decided(['left'], ['top'], now)
    assert one.fault(2.0) is None
    one.part_decided([], ['top', 'left'], 2.5)
    for now in (3.0, 4.0, 5.0):
        one.part_decided(['left'], ['top'], now)
    fault = one.fault(5.0)
    assert fault is not None
    assert fault.is_missing
    assert fault.reason == 'view left gave no verdict on 3 parts in a row'


def test_the_fault_ends_with_the_next_verdict_or_when_no_part_comes_any_more() -> None:
    one = watch()
    for now in (1.0, 2.0, 3.0):
        one.part_decided(['left'], ['top'], now)
    assert one.fault(5.9) is not None
    one.part_decided([], ['top', 'left'], 5.9)
    assert one.fault(5.9) is None
    for now in (6.0, 7.0, 8.0):
        one.part_decided(['left'], ['top'], now)
    assert one.fault(11.0) is not None
    assert one.fault(11.1) is None
    # It counts from the beginning again.
    one.part_decided(['left'], ['top'], 12.0)
    assert one.fault(12.0) is None


def test_while_nobody_publishes_the_fault_does_not_end_by_itself() -> None:
    one = watch()
    one.publishers_counted('left', '', 0.5)
    for now in (1.0, 2.0, 3.0):
        one.part_decided(['left'], ['top'], now)
    one.publishers_counted('left', 'part', 3.5)
    assert one.fault(99.0) is not None
    one.publishers_counted('left', '', 99.0)
    assert one.fault(99.0) is None


def test_a_view_that_is_gone_is_a_fault_after_a_while_and_not_before_it_was_there() -> None:
    one = watch()
    one.publishers_counted('left', 'part and decision', 1.0)
    assert one.fault(50.0) is None
    assert not one.is_there('left')
    one.publishers_counted('left', '', 51.0)
    one.publishers_counted('left', 'part', 52.0)
    one.publishers_counted('left', 'part', 56.0)
    assert one.fault(56.9) is None
    fault = one.fault(57.0)
    assert fault is not None
    assert fault.reason == 'view left: nobody publishes part'
    one.publishers_counted('left', '', 58.0)
    assert one.fault(58.0) is None
    assert one.is_there('left')


def test_what_a_decider_reports_is_passed_on_with_the_view() -> None:
    one = watch()
    one.fault_reported('top', True, '3 parts had no score', 1)
    fault = one.fault(1.0)
    assert fault is not None
    assert (fault.reason, fault.cause, fault.is_missing) == (
        *('view top: 3 parts had no score', 1, False),
    )
    one.fault_reported('top', False, '', 0)
    assert one.fault(1.0) is None


def test_a_view_that_has_given_nothing_yet_may_still_start() -> None:
    one = ViewWatch(('top', 'left'), missing_to_fault=3, gone_to_fault_s=5.0)
    for now in range(1, 11):
        one.part_decided(['left'], ['top'], float(now))
        assert one.fault(float(now)) is None
    one.part_decided(['left'], ['top'], 11.0)
    assert one.fault(11.0) is not None
