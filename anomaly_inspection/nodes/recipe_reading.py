# SPDX-License-Identifier: Apache-2.0
"""
Recipes as the nodes read them: within a budget of memory that a parameter sets.

"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_inspection.nodes.inspection_node import NodeParameters
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.recipes.folder import DEFAULT_BUDGET_MB, read_recipe

if TYPE_CHECKING:
    from anomaly_inspection.recipes.recipe import Recipe

_BYTES_PER_MB = 10**6


@dataclass(frozen=True)
class RecipeParameters(NodeParameters):
    """
    Parameters of every node that reads recipes.

    """

    recipe_budget_mb: int = parameter(
        DEFAULT_BUDGET_MB,
        'Memory that a recipe may take, including the work on one frame. A recipe that takes more '
        'is refused. Large frames need more.',
        unit='MB',
        minimum=1,
        maximum=100_000,
        read_only=True,
    )

    @property
    def recipe_budget_bytes(self) -> int:
        """
        Give the budget in bytes.

        """
        return self.recipe_budget_mb * _BYTES_PER_MB


def read_within_budget(path: str, parameters: RecipeParameters) -> Recipe:
    """
    Read a recipe; refuse it when it takes more memory than the node's parameter allows.

    Raises
    ------
    RecipeError
        When it cannot be read; over budget, it names the budget and the parameter.

    """
    return read_recipe(
        Path(path),
        budget_bytes=parameters.recipe_budget_bytes,
        budget_name='the parameter recipe_budget_mb',
    )
