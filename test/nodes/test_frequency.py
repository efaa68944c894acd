# SPDX-License-Identifier: Apache-2.0
"""
How often something happens, against what was asked; the test gives the time.

"""

import pytest

from anomaly_inspection.nodes.frequency import Frequency


def looks(frequency, rate_hz, seconds, start_s=100.0):
    """
    Tick at a rate and look once a second; give the last look.

    """
    told = frequency.look(start_s)
    ticks = 0
    for second in range(1, seconds + 1):
        while ticks < round(second * rate_hz):
            frequency.tick()
            ticks += 1
        told = frequency.look(start_s + second)
    return told


@pytest.mark.parametrize(('rate_hz', 'is_told'), [(20.0, False), (16.0, False), (14.0, True)])
def test_far_below_what_is_asked_for_is_told(rate_hz, is_told):
    frequency = Frequency('frames')
    frequency.ask(20.0, 'rate_hz')
    problem, values = looks(frequency, rate_hz, 10)
    assert bool(problem) == is_told
    assert values == {
        'frames per second': f'{rate_hz:.2f}',
        'frames per second asked for': '20',
    }
    if is_told:
        assert problem == 'frames come far more slowly than rate_hz 20 Hz asks for'


def test_a_stop_is_told_within_the_window_and_its_end_as_well():
    frequency = Frequency('frames')
    frequency.ask(20.0, 'rate_hz')
    assert not looks(frequency, 20.0, 10)[0]
    assert looks(frequency, 0.0, 5, start_s=111.0)[0]
    assert not looks(frequency, 20.0, 6, start_s=117.0)[0]


def test_nothing_is_told_before_the_window_is_full():
    frequency = Frequency('frames')
    frequency.ask(20.0, 'rate_hz')
    assert not looks(frequency, 0.0, 4)[0]
    frequency.ask(10.0, 'rate_hz')
    assert not looks(frequency, 0.0, 4, start_s=105.0)[0]
    frequency.stop()
    frequency.ask(10.0, 'rate_hz')
    assert not looks(frequency, 0.0, 4, start_s=110.0)[0]
    frequency.ask(10.0, 'rate_hz')
    assert looks(frequency, 0.0, 2, start_s=115.0)[0], 'the same rate: nothing begins anew'


def test_a_slow_rate_is_measured_over_a_longer_time():
    frequency = Frequency('frames')
    frequency.ask(0.1, 'rate_hz')
    assert not looks(frequency, 0.0, 49)[0]
    frequency.stop()
    frequency.ask(0.1, 'rate_hz')
    assert not looks(frequency, 0.1, 100)[0]


def test_where_nobody_asks_for_a_rate_it_is_measured_only():
    frequency = Frequency('frames')
    assert looks(frequency, 0.0, 20) == ('', {'frames per second': '0.00'})
