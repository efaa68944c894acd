# SPDX-License-Identifier: Apache-2.0
"""
What a decider must not forget when its process dies: recipe, limits and challenge.

"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
import math
from typing import Any

from anomaly_inspection.deciding.challenge_memory import ChallengeMemory
from anomaly_inspection.deciding.limits import LimitOrigin, LimitTable
from anomaly_inspection.errors import LimitError, StateError


@dataclass(frozen=True)
class KeptLimit:
    """
    The value of one limit, and the typical value of its measure.

    """

    value: float
    typical: float
    origin: LimitOrigin


@dataclass(frozen=True)
class DeciderState:
    """
    What was in force.

    Parameters
    ----------
    recipe_path : str
        Its folder, absolute.
    recipe_name, recipe_version, recipe_hash : str, int, str
        Which one it was.
    limits : dict of str to KeptLimit
        By 'scorer.measure'.
    challenge : ChallengeMemory
        How the challenge stood.
    launched_with : dict of str to str
        The parameters that chose recipe and limits at the start, as texts. When they have changed
        since, somebody wants something else than what was in force.

    """

    recipe_path: str
    recipe_name: str
    recipe_version: int
    recipe_hash: str
    limits: dict[str, KeptLimit]
    challenge: ChallengeMemory
    launched_with: dict[str, str]

    @property
    def recipe_text(self) -> str:
        """
        The recipe, for people.

        """
        return f'{self.recipe_name} v{self.recipe_version} ({self.recipe_hash[:12]})'

    @classmethod
    def limits_of(cls, table: LimitTable) -> dict[str, KeptLimit]:
        """
        Give the limits of a table as they are kept.

        """
        return {limit.name: KeptLimit(limit.value, limit.typical, limit.origin) for limit in table}

    def applied_to(self, table: LimitTable) -> LimitTable:
        """
        Give the limits of the recipe as they were in force.

        Raises
        ------
        StateError
            When they are not those of the recipe, or one cannot be in force.

        """
        if {limit.name for limit in table} != set(self.limits):
            raise StateError(
                f'the limits of the state are {", ".join(sorted(self.limits))}; '
                f'those of the recipe {", ".join(sorted(limit.name for limit in table))}'
            )
        try:
            return LimitTable(
                tuple(replace(limit, **vars(self.limits[limit.name])) for limit in table)
            )
        except LimitError as error:
            raise StateError(f'a limit of the state cannot be in force: {error}') from error

    def to_content(self) -> dict[str, Any]:
        """
        Give it as JSON can hold it.

        """
        return asdict(self) | {'challenge': self.challenge.to_content()}

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> DeciderState:
        """
        Make it again from `to_content`.

        Raises
        ------
        StateError
            When something is missing or of another kind.

        """
        try:
            texts = [content[key] for key in ('recipe_path', 'recipe_name', 'recipe_hash')]
            if not all(isinstance(text, str) and text for text in texts):
                raise TypeError('recipe path, name and hash must be texts')
            limits = {
                str(name): KeptLimit(
                    _number(kept['value']), _number(kept['typical']), LimitOrigin(kept['origin'])
                )
                for name, kept in content['limits'].items()
            }
            launched_with = dict(content['launched_with'])
            path, name, recipe_hash = texts
            return cls(
                path,
                name,
                int(content['recipe_version']),
                recipe_hash,
                limits,
                ChallengeMemory.from_content(content['challenge']),
                launched_with,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StateError(f'the state of the decider is not whole: {error!r}') from error


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f'{value!r} is no finite number')
    return float(value)
