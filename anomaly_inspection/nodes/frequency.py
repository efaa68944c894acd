# SPDX-License-Identifier: Apache-2.0
"""
How often something happens, and whether that is far less than asked; as diagnostic_updater's
FrequencyStatus, on the steady clock.

"""

from __future__ import annotations

from collections import deque
import threading

_WINDOW_S = 5.0
# So many must have been due in the window, or one that is late would count as far too few.
_FEWEST_DUE = 5
_FAR_BELOW = 0.75


class Frequency:
    """
    Counts ticks from any thread and measures their rate over the last seconds.

    Parameters
    ----------
    noun : str
        What is counted, in the plural: 'frames'.

    """

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._lock = threading.Lock()
        self._count = 0
        self._asked_hz = 0.0
        self._asked_by = ''
        self._looks: deque[tuple[float, int]] = deque()

    def tick(self) -> None:
        """
        Count one.

        """
        with self._lock:
            self._count += 1

    def ask(self, asked_hz: float, asked_by: str) -> None:
        """
        Measure against a rate; another one than before begins anew.

        Parameters
        ----------
        asked_hz : float
            How often it should happen, Hz; 0 = nobody knows.
        asked_by : str
            What asks for it: 'rate_hz'.

        """
        with self._lock:
            if (asked_hz, asked_by) != (self._asked_hz, self._asked_by):
                self._looks.clear()
                self._asked_hz, self._asked_by = asked_hz, asked_by

    def stop(self) -> None:
        """
        Ask for nothing, and forget what was measured.

        """
        with self._lock:
            self._looks.clear()
            self._asked_hz, self._asked_by = 0.0, ''

    def look(self, now_s: float) -> tuple[str, dict[str, object]]:
        """
        Measure; to be called about once a second.

        Parameters
        ----------
        now_s : float
            Steady time, seconds.

        Returns
        -------
        problem : str
            That it happens far too seldom; '' when all is well or it is too early to tell. The
            words do not change while that lasts.
        values : dict
            The measured rate, and the rate that is asked for.

        """
        with self._lock:
            window_s = _WINDOW_S
            if self._asked_hz:
                window_s = max(window_s, _FEWEST_DUE / self._asked_hz)
            self._looks.append((now_s, self._count))
            # The oldest look that is kept is at least one window old.
            while len(self._looks) > 1 and now_s - self._looks[1][0] >= window_s:
                self._looks.popleft()
            began_s, counted = self._looks[0]
            passed_s = now_s - began_s
            if passed_s <= 0.0:
                return '', {}
            rate_hz = (self._count - counted) / passed_s
            values: dict[str, object] = {f'{self._noun} per second': f'{rate_hz:.2f}'}
            if not self._asked_hz:
                return '', values
            values[f'{self._noun} per second asked for'] = f'{self._asked_hz:g}'
            if passed_s < window_s or rate_hz >= _FAR_BELOW * self._asked_hz:
                return '', values
            return (
                f'{self._noun} come far more slowly than {self._asked_by} '
                f'{self._asked_hz:g} Hz asks for'
            ), values
