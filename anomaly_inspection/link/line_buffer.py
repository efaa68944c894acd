# SPDX-License-Identifier: Apache-2.0
"""
Cut a stream of bytes into lines.

"""

from __future__ import annotations

from anomaly_inspection.link.protocol import LONGEST_LINE


class LineBuffer:
    """
    Cuts bytes into lines at line feeds, and drops a line that is too long.

    It holds one line at most, so a flood of bytes costs no memory.

    Attributes
    ----------
    overlong : int
        Lines dropped because they were longer than `LONGEST_LINE`.

    """

    def __init__(self) -> None:
        self.overlong = 0
        self._held = bytearray()
        self._is_dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """
        Take bytes and give the lines that they complete, without line feeds and empty lines.

        """
        lines = []
        *ends, rest = data.split(b'\n')
        for end in ends:
            self._hold(end)
            if self._held:
                lines.append(bytes(self._held))
            self.clear()
        self._hold(rest)
        return lines

    def clear(self) -> None:
        """
        Forget the incomplete line.

        """
        self._held.clear()
        self._is_dropping = False

    def _hold(self, data: bytes) -> None:
        if self._is_dropping:
            return
        self._held += data[: LONGEST_LINE + 1]
        if len(self._held) > LONGEST_LINE:
            self.overlong += 1
            self._is_dropping = True
            self._held.clear()
