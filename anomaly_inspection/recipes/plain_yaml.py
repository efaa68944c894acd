# SPDX-License-Identifier: Apache-2.0
"""
YAML of plain values, from a file that may be hostile.

"""

from __future__ import annotations

from typing import Any, TYPE_CHECKING

import yaml

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

# The longest recipe.yaml names some thousand images that were left out.
LONGEST_BYTES = 2**20
LONGEST_VALUE = 10_000
LONGEST_NUMBER = 100
MOST_VALUES = 50_000
DEEPEST = 20

_NUMBERS = ('tag:yaml.org,2002:int', 'tag:yaml.org,2002:float')

# The same in C is a dozen times as fast; not every build has it.
_Loader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


def plain_yaml(content: bytes) -> object:
    """
    Read YAML of mappings, lists and single values.

    Size, depth and number of values are counted on the stream of events, before anything is built
    from them.

    Raises
    ------
    RecipeError
        When it is not UTF-8, no YAML, larger, deeper or longer than allowed, or holds a key twice,
        a key that is no single value, an alias or a tag; names line and cause.

    """
    if len(content) > LONGEST_BYTES:
        raise RecipeError(f'it is {len(content)} bytes long; allowed: {LONGEST_BYTES}')
    try:
        text = content.decode()
        _check_events(yaml.parse(text, _Loader))
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _check_nodes(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        place = f'line {error.problem_mark.line + 1}: ' if error.problem_mark else ''
        raise RecipeError(f'{place}it is no readable YAML: {error.problem}') from error
    except yaml.YAMLError as error:
        raise RecipeError(f'it is no readable YAML: {" ".join(str(error).split())}') from error
    except ValueError as error:
        raise RecipeError(f'it is no readable YAML: {error}') from error


def _check_events(events: Iterator[yaml.Event]) -> None:
    depth = 0
    for count, event in enumerate(events):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        complaint = _complaint(event, depth, count)
        if complaint:
            line = f'line {event.start_mark.line + 1}: ' if event.start_mark else ''
            raise RecipeError(f'{line}{complaint}')


def _complaint(event: yaml.Event, depth: int, count: int) -> str:
    if isinstance(event, yaml.AliasEvent):
        return 'it holds an alias (*name); allowed: plain values'
    if isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent) and event.tag:
        return f'it holds a tag ({shown(event.tag)}); allowed: plain values'
    if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST_VALUE:
        return f'a value has {len(event.value)} characters; allowed: {LONGEST_VALUE}'
    if depth > DEEPEST:
        return f'it is nested deeper than {DEEPEST} levels'
    return f'it holds more than {MOST_VALUES} values' if count > MOST_VALUES else ''


def _check_nodes(node: yaml.Node | None) -> None:
    """
    Refuse what YAML takes silently: of two lines with the same key the last would count, and a
    number may have any length.

    """
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > LONGEST_NUMBER:
            raise RecipeError(
                f'line {node.start_mark.line + 1}: a number has {len(node.value)} digits; '
                f'allowed: {LONGEST_NUMBER}'
            )
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            line = f'line {key.start_mark.line + 1}'
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(f'{line}: a key is a list or a mapping; allowed: a text')
            if key.value in seen:
                raise RecipeError(f'{line}: key {shown(key.value)} stands there twice')
            seen.add(key.value)
            _check_nodes(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_nodes(value)
