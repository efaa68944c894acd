# SPDX-License-Identifier: Apache-2.0
"""
What a decider starts with: what was in force when its predecessor died, or what launch says.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.deciding.decider_state import DeciderState
from anomaly_inspection.errors import InspectionError, StateError
from anomaly_inspection.nodes.limits_face import is_limit, UsedLimits
from anomaly_inspection.nodes.recipe_reading import read_within_budget
from anomaly_inspection.recipes.limit_table import limit_table

if TYPE_CHECKING:
    from anomaly_inspection.deciding.challenge_memory import ChallengeMemory
    from anomaly_inspection.nodes.decider_node import DeciderNode
    from anomaly_inspection.recipes.recipe import Recipe
    from anomaly_inspection.state_file import FoundState


@dataclass(frozen=True)
class DeciderStart:
    """
    What a decider starts with.

    Parameters
    ----------
    recipe : Recipe or None
        To be prepared by the scorers; None = every part is rejected until somebody loads one.
    used : UsedLimits or None
        Its limits; None = there is no recipe.
    challenge : ChallengeMemory or None
        How the challenge stood when the predecessor died; None = there was none.
    unconfirmed : str
        Why somebody must confirm this recipe before a part can pass; '' = nobody need.

    """

    recipe: Recipe | None
    used: UsedLimits | None
    challenge: ChallengeMemory | None = None
    unconfirmed: str = ''


def decider_start(node: DeciderNode, found: FoundState) -> DeciderStart:
    """
    Find out what a decider starts with, and write into the log what was found.

    Parameters
    ----------
    node : DeciderNode
        Its parameters and its limits are made already.
    found : FoundState
        What the predecessor has left.

    Raises
    ------
    InspectionError
        When the recipe to start with cannot be read.

    """
    if found.problem:
        return _as_launched(node, unconfirmed=found.problem)
    if found.content is None:
        return _as_launched(node)
    try:
        state = DeciderState.from_content(found.content)
    except StateError as error:
        problem = f'{node.state.name}: {error}'
        if found.is_respawn:
            return _as_launched(node, unconfirmed=problem)
        node.get_logger().warning(f'fresh start; {problem}')
        return _as_launched(node)
    if not found.is_respawn or state.launched_with != launched_with(node):
        start = _as_launched(node)
        if start.recipe is None or start.recipe.hash != state.recipe_hash:
            name = _text(start.recipe) if start.recipe else 'no recipe'
            node.get_logger().warning(
                f'fresh start with {name}; '
                f'the last run of this node ended with {state.recipe_text}'
            )
        return start
    try:
        recipe = read_within_budget(state.recipe_path, node.parameters)
    except InspectionError as error:
        lost = f'{state.recipe_text} was in force and cannot be read: {error}'
        return _as_launched(node, state.challenge, lost)
    try:
        if recipe.hash != state.recipe_hash:
            raise StateError(
                f'{state.recipe_text} was in force; {state.recipe_path} now holds {_text(recipe)}'
            )
        used = UsedLimits(state.applied_to(limit_table(recipe)))
    except StateError as error:
        used = UsedLimits(limit_table(recipe))
        return DeciderStart(recipe, used, state.challenge, str(error))
    node.get_logger().info(f'restarted: {state.recipe_text} and its limits are taken up again')
    return DeciderStart(recipe, used, state.challenge)


def launched_with(node: DeciderNode) -> dict[str, str]:
    """
    Give the parameters that chose recipe and limits at the start, as texts.

    """
    overrides = node._parameter_overrides
    return {'recipe': node.parameters.recipe} | {
        name: repr(overrides[name].value) for name in sorted(overrides) if is_limit(name)
    }


def _as_launched(
    node: DeciderNode, challenge: ChallengeMemory | None = None, unconfirmed: str = ''
) -> DeciderStart:
    path = node.parameters.recipe
    if not path:
        if unconfirmed:
            node.get_logger().error(unconfirmed)
        # Nothing to confirm: whoever loads a recipe knows what comes into force.
        return DeciderStart(None, None, challenge)
    recipe = read_within_budget(path, node.parameters)
    used = UsedLimits(node.limits.with_parameter_file(limit_table(recipe)))
    return DeciderStart(recipe, used, challenge, unconfirmed)


def _text(recipe: Recipe) -> str:
    return f'{recipe.name} v{recipe.version} ({recipe.hash[:12]})'
