# SPDX-License-Identifier: Apache-2.0
"""
One recipe on its way into force: announced, waiting for the scorers.

"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# By then every scorer node that is there has been found.
_FOUND_AFTER_S = 1.0


class SwitchState(Enum):
    """
    How far a switch is.

    """

    PREPARING = 'preparing'
    READY = 'ready'
    FAILED = 'failed'


class RecipeSwitch:
    """
    Collects the answers of the scorers to the announcement of a recipe.

    It ends once: READY when every required scorer has confirmed, FAILED when one refuses, when all
    scorer nodes have answered and none of them runs a required scorer, or when the time is over.
    The first recipe has no old one to go back to: it never fails, says in `reason`
    what is wrong, and goes on waiting for scorers that come later.

    Parameters
    ----------
    recipe_hash : str
        Of the recipe that was announced.
    scorers : iterable of str
        The scorers whose scores a verdict needs.
    now : float
        When it was announced, seconds, steady clock.
    timeout_s : float
        How long the scorers may take, seconds.
    is_first : bool
        Whether no recipe has been in force before.

    """

    def __init__(
        self,
        recipe_hash: str,
        scorers: Iterable[str],
        *,
        now: float,
        timeout_s: float,
        is_first: bool = False,
    ) -> None:
        self.state = SwitchState.PREPARING
        #: Why it failed, or what the first recipe waits for; '' = nothing is wrong.
        self.reason = ''
        self._hash = recipe_hash
        self._scorers = tuple(scorers)
        self._ready: set[str] = set()
        self._answers: set[tuple[str, ...]] = set()
        self._began_s = now
        self._timeout_s = timeout_s
        self._end_s = now + timeout_s
        self._is_first = is_first

    @property
    def ready(self) -> list[str]:
        """
        Give the required scorers that have confirmed, in the recipe's order.

        """
        return [scorer for scorer in self._scorers if scorer in self._ready]

    @property
    def missing(self) -> list[str]:
        """
        Give the required scorers that have not confirmed, in the recipe's order.

        """
        return [scorer for scorer in self._scorers if scorer not in self._ready]

    def answered(
        self, recipe_hash: str, scorers: Sequence[str], *, is_ready: bool, error: str = ''
    ) -> None:
        """
        Take the answer of a scorer node; answers about other recipes do not count.

        Parameters
        ----------
        recipe_hash : str
            What it answers about.
        scorers : sequence of str
            Names of the scorers that run there.
        is_ready : bool
            Whether it can score with the recipe.
        error : str
            Why not, one sentence.

        """
        if recipe_hash != self._hash or self.state is not SwitchState.PREPARING:
            return
        self._answers.add(tuple(scorers))
        if is_ready:
            self._ready.update(scorers)
            if not self.missing:
                self.state, self.reason = SwitchState.READY, ''
        else:
            self._ready.difference_update(scorers)
            self._fail(error or 'a scorer node refused it and gave no reason')

    def tick(self, now: float, scorer_nodes: int) -> None:
        """
        See whether waiting longer makes no sense.

        Parameters
        ----------
        now : float
            Seconds, steady clock.
        scorer_nodes : int
            How many scorer nodes there are, 0 or more.

        """
        if self.state is not SwitchState.PREPARING or self.reason:
            return
        missing = ', '.join(self.missing)
        if now >= self._end_s:
            self._fail(
                f'{missing} did not confirm within {self._timeout_s:g} s: '
                'does a scorer node run it?'
            )
        elif self._is_first or now < self._began_s + _FOUND_AFTER_S:
            return
        elif scorer_nodes == 0:
            self._fail('no scorer node is there')
        elif len(self._answers) >= scorer_nodes:
            self._fail(
                f'{missing} is needed, and none of the scorer nodes runs it ({scorer_nodes} found)'
            )

    def _fail(self, reason: str) -> None:
        self.reason = reason
        if not self._is_first:
            self.state = SwitchState.FAILED
