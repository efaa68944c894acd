# SPDX-License-Identifier: Apache-2.0
"""
A belt without an encoder: it always moves at its usual speed.

"""

from __future__ import annotations


class EvenBelt:
    """
    Answers as `EncoderBelt` does, for a belt that never changes its speed.

    Its position is 0 m at 0 s of the steady clock; only differences mean something.

    Parameters
    ----------
    speed_mps : float
        Metres/second, above 0.

    """

    def __init__(self, speed_mps: float) -> None:
        self._speed_mps = speed_mps

    def speed_mps(self) -> float:
        """
        Give the speed, metres/second.

        """
        return self._speed_mps

    def is_settled(self, at_s: float) -> bool:
        """
        Tell whether the position at a time is known for good: always.

        """
        return True

    def position_at(self, at_s: float) -> float:
        """
        Give the position at a time, metres.

        """
        return self._speed_mps * at_s

    def reaches_s(self, position_m: float) -> float:
        """
        Give when the belt is at a position, seconds.

        """
        return position_m / self._speed_mps
