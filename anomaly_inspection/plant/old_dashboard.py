# SPDX-License-Identifier: Apache-2.0
"""
The topics of the dashboard of an earlier system, for sites that still have one.

They are plain texts at QoS 0, one topic a number, and they count from the start of the shift or of
the bridge, whichever is later.

"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from anomaly_inspection.plant.topic_paths import check_topic_name

if TYPE_CHECKING:
    from anomaly_inspection.plant.plant_decision import PlantDecision

Messages = list[tuple[str, bytes]]

#: Topics of the pictures.
INPUT, LOSS, DEFECT = 'input_image', 'loss_image', 'defect_image'
_MINUTE_S = 60.0


class OldDashboard:
    """
    Makes the messages of each part, and of each end of a shift.

    Parameters
    ----------
    prefix : str
        First level of the topics; the old system's was 'AiVision_Defects'.
    shift_began_at : callable
        Gives, for seconds since 1970, when the shift of that moment began, by the clock of the
        plant.

    Raises
    ------
    SettingError
        When the prefix is refused.

    """

    def __init__(self, prefix: str, shift_began_at: Callable[[float], datetime]) -> None:
        self._prefix = check_topic_name('old_dashboard', prefix)
        self._shift_began_at = shift_began_at
        self._shift: datetime | None = None
        self._total = self._rejected = 0
        self._moments_s: deque[float] = deque()

    def part(self, decision: PlantDecision, now_s: float) -> Messages:
        """
        Give the messages of a production part; none for a known part of a challenge.

        Parameters
        ----------
        decision : PlantDecision
            What was decided.
        now_s : float
            Seconds since 1970.

        """
        messages = self.tick(now_s)
        if decision.known_as:
            return messages
        self._total += 1
        self._rejected += not decision.has_passed
        self._moments_s.append(now_s)
        while now_s - self._moments_s[0] >= _MINUTE_S:
            self._moments_s.popleft()
        messages.append(self._message('result', 'OK' if decision.has_passed else 'NOK'))
        messages += self._counters('')
        # The old system's number was a float.
        messages.append(self._message('parts_minute', f'{float(len(self._moments_s))}'))
        return messages

    def tick(self, now_s: float) -> Messages:
        """
        Give the totals of a shift that has ended, also when no part comes; then count anew.

        """
        began = self._shift_began_at(now_s)
        ended, self._shift = self._shift, began
        if ended is None or ended == began:
            return []
        messages = self._counters(f'_shift_{ended.hour}')
        self._total = self._rejected = 0
        return messages

    def picture(self, topic: str, png: bytes) -> Messages:
        """
        Give the message of a picture: PNG in base64.

        """
        return [(f'{self._prefix}/{topic}', base64.b64encode(png))]

    def _counters(self, ending: str) -> Messages:
        share = 100 * self._rejected / self._total if self._total else 0.0
        return [
            self._message(f'defect_percentage{ending}', f'{share:.1f}'),
            self._message(f'total{ending}', f'{self._total}'),
            self._message(f'ok_parts{ending}', f'{self._total - self._rejected}'),
            self._message(f'defect_parts{ending}', f'{self._rejected}'),
        ]

    def _message(self, name: str, text: str) -> tuple[str, bytes]:
        return f'{self._prefix}/{name}', text.encode()
