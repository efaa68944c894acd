# SPDX-License-Identifier: Apache-2.0
"""
The output that is told over and over, where the computer loses time.

"""

from __future__ import annotations

from collections.abc import Iterator
import threading
import time

import pytest

from anomaly_inspection.errors import GateError
from anomaly_inspection.sorting.repeated_output import RepeatedOutput

MOST_LATE_S = 1.0


class Told:
    """
    Remembers what it is told; `held_up` holds up the next telling to rest.

    """

    def __init__(self) -> None:
        self.all: list[bool] = []
        self.held_up_s = 0.0
        self.breaks = False
        self.has_rested = threading.Event()

    def __call__(self, is_open: bool) -> None:
        if self.breaks:
            raise OSError('lost')
        if not is_open and self.all and self.all[-1]:
            time.sleep(self.held_up_s)
            self.has_rested.set()
        self.all.append(is_open)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def output(told: Told) -> Iterator[RepeatedOutput]:
    made = RepeatedOutput(told, period_s=0.02, most_late_s=MOST_LATE_S, name='the gate')
    made.start()
    yield made
    made.stop()


def test_told_to_rest_in_time_all_is_well(told: Told, output: RepeatedOutput) -> None:
    for _ in range(2):
        told.has_rested.clear()
        output.open(0.05, None)
        assert told.has_rested.wait(20)
    output.rest()


def test_told_to_rest_too_late_it_has_failed_until_it_is_started_anew(
    told: Told, output: RepeatedOutput
) -> None:
    told.held_up_s = MOST_LATE_S + 0.1
    output.open(0.05, None)
    assert told.has_rested.wait(20)
    with pytest.raises(GateError, match=r'the gate: brought to rest \d+\.\d+ s after its window'):
        output.say_again()
    assert told.all[-1] is False
    told.held_up_s = 0.0
    output.start()
    output.rest()


def test_a_gate_that_was_lost_in_its_window_is_told_to_rest_by_one_start(
    told: Told, output: RepeatedOutput
) -> None:
    told.breaks = True
    with pytest.raises(OSError, match='lost'):
        output.open(0.05, None)
    # Nothing happens at the end of the window of a gate that is lost: let it go by.
    time.sleep(0.05 + MOST_LATE_S)
    told.breaks = False
    output.start()
    output.say_again()


def test_rest_before_the_end_of_the_window_is_never_late(
    told: Told, output: RepeatedOutput
) -> None:
    output.open(50.0, None)
    told.held_up_s = MOST_LATE_S + 0.1
    output.rest()
    output.say_again()


def test_time_that_the_computer_lost_is_taken_off(told: Told, output: RepeatedOutput) -> None:
    with pytest.raises(GateError, match=r'delayed the command by \d+\.\d+ s: not opened'):
        output.open(2.0, time.monotonic() - 2.0)
    assert True not in told.all
    output.open(50.0, time.monotonic() - 49.9)
    assert told.has_rested.wait(20)
