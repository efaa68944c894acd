# SPDX-License-Identifier: Apache-2.0
"""
Parameters of the sorter node.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.nodes.belt_face import BeltParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.recipes.view_set import check_view_name
from anomaly_inspection.sorting.tracker_settings import TrackerSettings


@dataclass(frozen=True)
class SorterParameters(BeltParameters):
    """
    Parameters of the sorter node.

    """

    gate_rests_in: str = parameter(
        'reject',
        "Where parts go when the gate is left alone. 'pass' only where the mechanics allow "
        'nothing else: then the gate sorts out whatever has no fresh PASS, the belt must obey '
        'line_run, and the line begins stopped until ~/reset.',
        choices=('reject', 'pass'),
        read_only=True,
    )
    window_s: float = parameter(
        0.12,
        'How long the gate stands open for a part, centred on its arrival; shorter than the time '
        'between two parts.',
        unit='s',
        minimum=0.005,
        maximum=10.0,
        read_only=True,
    )
    actuation_s: float = parameter(
        0.0,
        'From the command to the movement of the gate; the command is given so much earlier.',
        unit='s',
        minimum=0.0,
        maximum=1.0,
        read_only=True,
    )
    dead_time_s: float = parameter(
        0.02,
        'From the end of a window until the gate rests for sure; at least actuation_s. Parts '
        'closer than window_s and dead_time_s together are both rejected.',
        unit='s',
        minimum=0.005,
        maximum=10.0,
        read_only=True,
    )
    undecided_to_stop: int = parameter(
        3,
        'So many parts in a row without a decision stop the line, because the decider is gone or '
        'hangs; 0 = never. They are rejected in any case.',
        unit='parts',
        minimum=0,
        maximum=10000,
        read_only=True,
    )
    leading_view: str = parameter(
        '',
        'In a cell with several views the leading one: its parts are also taken from the view '
        'itself, so that a view_joiner that is gone stops the line (undecided_to_stop). Empty: '
        'the cell has one camera.',
        check=check_view_name,
        read_only=True,
    )

    def tracker_settings(self) -> TrackerSettings:
        """
        Give belt and gate in time.

        """
        return TrackerSettings(
            travel_time_s=self.gate_distance_m / self.belt_speed_m_per_s,
            window_s=self.window_s,
            actuation_s=self.actuation_s,
            dead_time_s=self.dead_time_s,
            gate_rests_in_pass=self.gate_rests_in == 'pass',
            undecided_to_stop=self.undecided_to_stop,
        )
