# SPDX-License-Identifier: Apache-2.0
"""
The settings of the pick tracker.

"""

from __future__ import annotations

from dataclasses import dataclass

from anomaly_inspection.errors import SettingError
from anomaly_inspection.setting_check import check_range


@dataclass(frozen=True)
class PickSettings:
    """
    Where an arm picks, and how long it may take.

    Parameters
    ----------
    distance_m : float
        From the camera to the pick line along the belt, metres.
    speed_mps : float
        The usual speed of the belt, metres/second.
    zone_from_m, zone_to_m : float
        Where the gripper may close, metres behind the pick line; below 0 = before it.
    clearance_m : float
        A part is picked only when both neighbours are at least so far away, metres.
    tolerance_m : float
        The gripper may close so far from where the part is, metres; less than half the clearance.
    lead_s : float
        The arm hears of a part at least so long before it is at the pick line, seconds.
    answer_s : float
        The arm takes or refuses an order within this, seconds.
    place_s : float
        From the grip to the result at the latest, seconds.
    valid_s : float
        An order lapses after this, seconds.
    needs_pose : bool
        Whether a part is picked only when its pose is sure.
    parts : int
        The most parts that are tracked or remembered at once, at least 1.
    early_decisions : int
        The most decisions that may wait for their part (topics are not ordered), at least 1.
    early_decision_age_s : float
        How long such decisions wait, seconds, above 0.
    undecided_to_stop : int
        So many parts in a row without a decision stop the line; 0 = never.
    decider_start_s : float
        Until the first decision comes, the parts in a row must also span this long, seconds.

    """

    distance_m: float
    speed_mps: float
    zone_from_m: float = -0.2
    zone_to_m: float = 0.3
    clearance_m: float = 0.06
    tolerance_m: float = 0.01
    lead_s: float = 0.3
    answer_s: float = 0.5
    place_s: float = 2.0
    valid_s: float = 30.0
    needs_pose: bool = True
    parts: int = 512
    early_decisions: int = 256
    early_decision_age_s: float = 5.0
    undecided_to_stop: int = 0
    decider_start_s: float = 10.0

    def __post_init__(self) -> None:
        check_range('belt speed', self.speed_mps, 0.0, 10.0, 'm/s', is_open=True)
        ranges = {
            'distance_m': (0.001, 100.0, 'm'),
            'zone_to_m': (0.0, 10.0, 'm'),
            'clearance_m': (0.0, 10.0, 'm'),
            'tolerance_m': (0.0001, 1.0, 'm'),
            'lead_s': (0.0, 60.0, 's'),
            'answer_s': (0.01, 60.0, 's'),
            'place_s': (0.01, 600.0, 's'),
            'valid_s': (0.1, 3600.0, 's'),
            'early_decision_age_s': (0.001, 3600.0, 's'),
            'decider_start_s': (0.0, 3600.0, 's'),
        }
        for name, (least, most, unit) in ranges.items():
            check_range(name, getattr(self, name), least, most, unit)
        # A gripper before the camera would take parts that nobody has judged.
        check_range('zone_from_m', self.zone_from_m, -self.distance_m, self.zone_to_m, 'm')
        for name, least in (('parts', 1), ('early_decisions', 1), ('undecided_to_stop', 0)):
            check_range(name, getattr(self, name), least)
        if 2 * self.tolerance_m >= self.clearance_m:
            raise SettingError(
                f'pick tolerance {self.tolerance_m:g} m, allowed: less than half the clearance, '
                f'{self.clearance_m / 2:g} m: a grip must belong to one part'
            )
        travel_s = (self.distance_m + self.zone_to_m) / self.speed_mps
        if self.valid_s < travel_s:
            raise SettingError(
                f'an order lapses after {self.valid_s:g} s, allowed: at least {travel_s:.1f} s, '
                'from the camera to the end of the pick zone at the usual speed'
            )
