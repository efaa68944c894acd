# SPDX-License-Identifier: Apache-2.0
"""
The simulated belt: how it moves, and that it is the same each time.

"""

import numpy as np
import pytest

from anomaly_inspection.capture.simulated_belt import SimulatedBelt, SimulatedBeltSettings
from anomaly_inspection.errors import SettingError

TIMES = np.arange(0.0, 60.0, 0.01)


def positions(**settings):
    belt = SimulatedBelt(SimulatedBeltSettings(**settings))
    return np.array([belt.position_at(float(at)) for at in TIMES])


def test_the_same_seed_moves_in_the_same_way_and_another_does_not():
    assert np.array_equal(positions(seed=3), positions(seed=3))
    assert not np.array_equal(positions(seed=3), positions(seed=4))


def test_it_wanders_stands_creeps_and_runs_back_within_its_acceleration():
    speeds = np.diff(positions()) / 0.01
    assert 0.5 < speeds.max() <= 0.65 + 1e-9
    assert speeds.min() < -0.05
    assert (np.abs(speeds) < 1e-6).any()
    assert np.abs(np.diff(speeds)).max() <= 3.0 * 0.01 + 1e-9


def test_without_stops_it_only_wanders():
    speeds = np.diff(positions(stops=False, wander=0.2)) / 0.01
    assert speeds.min() >= 0.4 - 1e-9
    assert speeds.max() <= 0.6 + 1e-9


def test_it_reaches_a_position_first_when_it_says():
    belt = SimulatedBelt()
    moved = positions()
    for position_m in (0.1, 3.0, 7.77):
        at_s = belt.reaches_s(position_m)
        assert belt.position_at(at_s) == pytest.approx(position_m, abs=1e-6)
        assert moved[at_s - 0.01 > TIMES].max() < position_m


def test_what_is_forgotten_changes_nothing_after_it():
    belt = SimulatedBelt()
    found = []
    for at in TIMES:
        found.append(belt.position_at(float(at)))
        belt.forget_before(float(at) - 1.0)
    assert np.allclose(found, positions())
    assert len(belt._positions) < 1100


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('speed_mps', 0.0, 'belt speed 0 m/s, allowed: above 0 m/s, up to 10 m/s'),
        ('wander', 1.0, 'wander 1, allowed: 0 to 0.9'),
        ('acceleration_mps2', -1.0, 'acceleration -1 m/s2, allowed'),
    ],
)
def test_settings_out_of_range_are_refused(name, value, words):
    with pytest.raises(SettingError, match=words):
        SimulatedBeltSettings(**{name: value})
