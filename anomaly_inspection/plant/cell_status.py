# SPDX-License-Identifier: Apache-2.0
"""
The state of the cell in one word, and its health, as the plant hears them.

"""

from __future__ import annotations

from dataclasses import dataclass
import math
from typing import Any

_LEVELS = ('ok', 'warn', 'error', 'stale')


@dataclass(frozen=True)
class CellStatus:
    """
    What the state of the cell follows from.

    Parameters
    ----------
    recipe : str
        Name of the recipe in force; '' = none is.
    stop_reason : str or None
        Why the line is stopped; None = it is not.
    block_reason : str or None
        Why a challenge blocks production; None = none does.
    decider : str
        Name of the node that decides.
    is_decider_heard : bool
        Whether it has said anything in the last seconds.
    since_part_s : float
        Time since the last decision, seconds; infinite = there was none.
    idle_after_s : float
        Without a part for so long, the cell is idle.

    """

    recipe: str = ''
    stop_reason: str | None = None
    block_reason: str | None = None
    decider: str = 'decider'
    is_decider_heard: bool = False
    since_part_s: float = math.inf
    idle_after_s: float = 10.0

    def payload(self) -> dict[str, Any]:
        """
        Give the payload of the topic `cell`, without format and timestamp.

        """
        state, reason = self._state()
        return {'state': state, 'reason': reason}

    def _state(self) -> tuple[str, str]:
        if not self.is_decider_heard:
            return 'unknown', f'the {self.decider} says nothing'
        if self.stop_reason is not None:
            return 'stopped', self.stop_reason
        if not self.recipe:
            return 'no_recipe', 'no recipe is in force: every part is rejected'
        if self.block_reason is not None:
            return 'blocked', self.block_reason
        if self.since_part_s > self.idle_after_s:
            return 'idle', f'no part for more than {self.idle_after_s:g} s'
        return 'running', ''


class Health:
    """
    The diagnostics of the nodes, the newest of each concern.

    Parameters
    ----------
    stale_after_s : float
        A node that says nothing for so long is stale.
    forgotten_after_s : float
        A node that says nothing for so long was taken out of the cell.

    """

    def __init__(self, stale_after_s: float = 5.0, forgotten_after_s: float = 600.0) -> None:
        self._stale_after_s = stale_after_s
        self._forgotten_after_s = forgotten_after_s
        self._found: dict[tuple[str, str], tuple[str, str, float]] = {}

    def take(self, node: str, concern: str, level: str, message: str, now_s: float) -> None:
        """
        Note a status.

        Parameters
        ----------
        node, concern : str
            Whose it is; '' = the node as a whole.
        level : str
            'ok', 'warn', 'error' or 'stale'.
        message : str
            One sentence.
        now_s : float
            Steady clock, seconds.

        """
        self._found[node, concern] = level, message, now_s

    def is_heard(self, node: str, now_s: float) -> bool:
        """
        Whether a node has said anything lately.

        """
        return now_s - self._last_heard_s(node) <= self._stale_after_s

    def payload(self, now_s: float) -> dict[str, Any]:
        """
        Give the payload of the topic `health`, without format and timestamp.

        """
        for key, (_, _, heard_s) in list(self._found.items()):
            if now_s - heard_s > self._forgotten_after_s:
                del self._found[key]
        problems: list[dict[str, str]] = []
        silent = {node for node, _ in self._found if not self.is_heard(node, now_s)}
        for node in sorted(silent):
            problems.append(_problem(node, '', 'stale', 'says nothing any more'))
        for (node, concern), (level, message, heard_s) in sorted(self._found.items()):
            is_new = now_s - heard_s <= self._stale_after_s
            if is_new and level != 'ok':
                problems.append(_problem(node, concern, level, message))
        worst = max((problem['level'] for problem in problems), key=_LEVELS.index, default='ok')
        return {'level': worst, 'problems': problems}

    def _last_heard_s(self, node: str) -> float:
        heard = (heard_s for (name, _), (_, _, heard_s) in self._found.items() if name == node)
        return max(heard, default=-math.inf)


def _problem(node: str, concern: str, level: str, message: str) -> dict[str, str]:
    return {'node': node, 'concern': concern, 'level': level, 'message': message}
