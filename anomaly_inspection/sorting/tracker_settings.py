# SPDX-License-Identifier: Apache-2.0
"""
The timing of belt and gate that the part tracker works with.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.setting_check import check_range

# Allows for the computer's own delays: a gate read back sooner after closing may still be moving.
_SHORTEST_DEAD_TIME_S = 0.005


def travel_time_s(distance_m: float, belt_speed_mps: float) -> float:
    """
    Give the travel time of a part from the camera to the gate, seconds.

    """
    check_range('travel distance', distance_m, 0, unit='m', is_open=True)
    check_range('belt speed', belt_speed_mps, 0, unit='m/s', is_open=True)
    return distance_m / belt_speed_mps


@dataclass(frozen=True)
class TrackerSettings:
    """
    The timing of belt and gate.

    Parameters
    ----------
    travel_time_s : float
        From the exposure of a part to its arrival at the gate, seconds; long enough to fire after
        the exposure.
    window_s : float
        How long the gate stays open for a part, centred on its arrival, seconds, above 0. The
        command may come up to a quarter of it late; beyond that the part is rejected.
    actuation_s : float
        The gate's longest delay from a command to the movement, seconds.
    dead_time_s : float
        Time from the end of a window until the gate certainly rests, seconds; at least
        `actuation_s` and 5 ms.
    gate_rests_in_pass : bool
        Whether the gate at rest lets parts pass, and the open gate sorts them out.
    parts : int
        The most parts that are tracked or remembered at once, at least 1.
    early_decisions : int
        The most decisions that may wait for their part (topics are not ordered), at least 1.
    early_decision_age_s : float
        How long such decisions wait, seconds, above 0.
    undecided_to_stop : int
        So many parts in a row without a decision stop the line; 0 = never.
    decider_start_s : float
        Until the first decision comes, the parts in a row must also span this long, seconds: the
        decider may still be starting.

    """

    travel_time_s: float
    window_s: float
    actuation_s: float = 0.0
    dead_time_s: float = 0.02
    gate_rests_in_pass: bool = False
    parts: int = 512
    early_decisions: int = 256
    early_decision_age_s: float = 5.0
    undecided_to_stop: int = 0
    decider_start_s: float = 10.0

    def __post_init__(self) -> None:
        ranges_s = {
            'window_s': (0.001, 60.0),
            'actuation_s': (0.0, 60.0),
            'dead_time_s': (max(self.actuation_s, _SHORTEST_DEAD_TIME_S), 60.0),
            'travel_time_s': (self.window_s / 2 + self.actuation_s, 3600.0),
            'early_decision_age_s': (0.001, 3600.0),
            'decider_start_s': (0.0, 3600.0),
        }
        for name, (shortest_s, longest_s) in ranges_s.items():
            check_range(name, getattr(self, name), shortest_s, longest_s, 's')
        for name, least in (('parts', 1), ('early_decisions', 1), ('undecided_to_stop', 0)):
            check_range(name, getattr(self, name), least)

    @property
    def closest_s(self) -> float:
        """
        The shortest time between two arrivals that the gate can tell apart, seconds.

        """
        return self.window_s + self.dead_time_s
