# SPDX-License-Identifier: Apache-2.0
"""
What the sorter remembers beyond its process: a stop of the line, and counts.

"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
import math
from typing import Any

from anomaly_inspection.errors import StateError
from anomaly_inspection.sorting.stop_cause import StopCause


@dataclass(frozen=True)
class SorterMemory:
    """
    The line and the counts, as a successor of this process takes them up.

    Parameters
    ----------
    stop_reason : str
        Why the line must stand; '' = it may run.
    stop_since_s : float
        Since when, steady clock of this boot, seconds; NaN when it may run.
    parts_sorted : int
        Parts since the last fresh start.
    restarts : int
        How often the process was started again since the last fresh start.
    stop_cause : StopCause
        The reason as a code.

    """

    stop_reason: str = ''
    stop_since_s: float = math.nan
    parts_sorted: int = 0
    restarts: int = 0
    stop_cause: StopCause = StopCause.UNKNOWN

    def to_dict(self) -> dict[str, Any]:
        """
        Give what a state file holds.

        """
        since_s = None if math.isnan(self.stop_since_s) else self.stop_since_s
        return {
            **asdict(self),
            'stop_since_s': since_s,
            'stop_cause': int(self.stop_cause),
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> SorterMemory:
        """
        Read what a state file holds.

        Raises
        ------
        StateError
            When something is missing, or of another type.

        """
        try:
            memory = cls(**content)
            since_s = math.nan if memory.stop_since_s is None else float(memory.stop_since_s)
            whole = (memory.parts_sorted, memory.restarts)
            if not isinstance(memory.stop_reason, str) or {type(n) for n in whole} != {int}:
                raise TypeError(content)
            # The reason makes the stop; without an instant it began now.
            return replace(memory, stop_since_s=since_s, stop_cause=StopCause(memory.stop_cause))
        except (TypeError, ValueError) as error:
            raise StateError(f'the state of the sorter cannot be read: {error}') from error
