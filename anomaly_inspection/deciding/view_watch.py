# SPDX-License-Identifier: Apache-2.0
"""
Notice that a view of several is gone or has a fault, for which the line must stop.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math

# On a stopped belt no part comes to show that the cause is gone; as in the decider.
_HOLD_S = 3.0
# A camera that has just started waits until nobody new listens, and parts may come already.
_START_S = 10.0


@dataclass(frozen=True)
class ViewFault:
    """
    Why the line must stop.

    Parameters
    ----------
    view : str
        Which view it is.
    reason : str
        One sentence that names it.
    is_missing : bool
        Whether the view gives nothing; otherwise it reports a fault itself.
    cause : int
        What the view reported, as in Fault.msg; 0 when it is missing.

    """

    view: str
    reason: str
    is_missing: bool
    cause: int = 0


@dataclass
class _State:
    missed: int = 0
    last_missed_s: float = -math.inf
    is_missing: bool = False
    was_heard: bool = False
    first_missed_s: float = math.inf
    gone: str = ''
    gone_since_s: float = math.inf
    was_there: bool = False
    reported: ViewFault | None = None


class ViewWatch:
    """
    Counts parts without a verdict of a view, and hears what the views report.

    Parameters
    ----------
    views : sequence of str
        Their names.
    missing_to_fault : int
        So many parts in a row without a verdict of a view are a fault.
    gone_to_fault_s : float
        So long a view may have nobody who publishes, seconds: a node that is started again takes
        less.

    """

    def __init__(
        self, views: Sequence[str], missing_to_fault: int, gone_to_fault_s: float
    ) -> None:
        self._states = {view: _State() for view in views}
        self._missing_to_fault = missing_to_fault
        self._gone_to_fault_s = gone_to_fault_s

    def part_decided(self, missing: Sequence[str], heard: Sequence[str], now: float) -> None:
        """
        Take note which views gave no verdict on a part, and which did.

        A view that has given none yet has ten seconds to start.

        """
        for view in heard:
            state = self._states[view]
            state.missed, state.is_missing, state.was_heard = 0, False, True
        for view in missing:
            state = self._states[view]
            state.missed += 1
            state.last_missed_s = now
            state.first_missed_s = min(state.first_missed_s, now)
            may_start = not state.was_heard and now - state.first_missed_s < _START_S
            if state.missed >= self._missing_to_fault and not may_start:
                state.is_missing = True

    def publishers_counted(self, view: str, nobody: str, now: float) -> None:
        """
        Take note of what nobody publishes in a view, such as 'part'; '' = all is there.

        Before a view has been complete once nothing is missed: it may still start.

        """
        state = self._states[view]
        state.gone = nobody
        if not nobody:
            state.was_there = True
            state.gone_since_s = math.inf
        elif state.was_there:
            state.gone_since_s = min(state.gone_since_s, now)

    def fault_reported(self, view: str, is_active: bool, reason: str, cause: int) -> None:
        """
        Take the fault that the decider of a view reports.

        """
        fault = ViewFault(view, f'view {view}: {reason}', False, cause)
        self._states[view].reported = fault if is_active else None

    def is_there(self, view: str) -> bool:
        """
        Whether everything that a view must publish has a publisher.

        """
        state = self._states[view]
        return state.was_there and not state.gone

    def fault(self, now: float) -> ViewFault | None:
        """
        Give the fault of the first view that has one; None when all is well.

        """
        for view, state in self._states.items():
            if state.is_missing and not state.gone and now - state.last_missed_s > _HOLD_S:
                state.missed, state.is_missing = 0, False
            if now - state.gone_since_s >= self._gone_to_fault_s:
                return ViewFault(view, f'view {view}: nobody publishes {state.gone}', True)
            if state.is_missing:
                parts = f'{state.missed} parts in a row' if state.missed > 1 else 'a part'
                return ViewFault(view, f'view {view} gave no verdict on {parts}', True)
            if state.reported is not None:
                return state.reported
        return None
