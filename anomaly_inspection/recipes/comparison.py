# SPDX-License-Identifier: Apache-2.0
"""
In what two recipes differ, by their recipe.yaml alone: for people who choose between them.

Both may be broken or hostile. Whatever is of the wrong kind is compared as a text, and neither
texts nor the list of differences get long.

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import printable
from anomaly_inspection.recipes.layout import YAML
from anomaly_inspection.recipes.plain_yaml import LONGEST_BYTES, plain_yaml

MOST_DIFFERENCES = 100
_LONGEST_TEXT = 300
# They always differ, stand in the headings, or follow from another value.
_NOT_COMPARED = {'name', 'version', 'created', 'format_version', 'preprocessing_fingerprint'}
# Compared by a number: the names say nothing.
_COUNTED = {'references', 'left_out'}
# Their values make sense only together.
_WHOLE = {'region', 'region_of_interest', 'accepted_sizes'}


@dataclass(frozen=True)
class LimitValues:
    """
    One limit of one recipe.

    Parameters
    ----------
    limit, typical : float
        In the unit of the measure; NaN = not given.
    is_judged : bool
        Whether it plays a part in the verdict.

    """

    limit: float
    typical: float
    is_judged: bool = True


@dataclass(frozen=True)
class LimitDifference:
    """
    A limit that is not the same in both.

    Parameters
    ----------
    name : str
        'scorer.measure'.
    old, new : LimitValues or None
        None = that recipe has no such limit.
    unit : str
        '1' for a pure number.
    high_is_bad : bool
        Whether values above the limit are anomalous, or values below.

    """

    name: str
    old: LimitValues | None
    new: LimitValues | None
    unit: str = '1'
    high_is_bad: bool = True

    @property
    def is_stricter(self) -> bool | None:
        """
        Whether the new limit lets less through; None = both let through the same, or one is not.

        """
        if self.old is None or self.new is None:
            return None
        step = self.new.limit - self.old.limit
        if not step or math.isnan(step):
            return None
        return (step < 0) == self.high_is_bad


@dataclass(frozen=True)
class Difference:
    """
    Another value that is not the same in both.

    Parameters
    ----------
    key : str
        Where it stands: 'preprocessing.alignment.kind'.
    old, new : str
        As people read it; '' = not given.

    """

    key: str
    old: str
    new: str


@dataclass(frozen=True)
class Comparison:
    """
    In what two recipes differ.

    Parameters
    ----------
    limits : tuple of LimitDifference
        In the order of the recipes.
    others : tuple of Difference
        The first `MOST_DIFFERENCES`.
    same_limits : int
        So many limits are the same.

    """

    limits: tuple[LimitDifference, ...]
    others: tuple[Difference, ...]
    same_limits: int


def recipe_values(folder: Path) -> Mapping[str, Any]:
    """
    Read what `compare` needs of a recipe.

    Raises
    ------
    RecipeError
        When its recipe.yaml cannot be read.

    """
    try:
        with (folder / YAML).open('rb') as file:
            return _mapping(plain_yaml(file.read(LONGEST_BYTES + 1)))
    except OSError as error:
        raise RecipeError(f'{YAML} of {printable(folder)}: {error.strerror or error}') from error
    except RecipeError as error:
        raise RecipeError(f'{YAML} of {printable(folder)}: {error}') from error


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """
    Compare two recipes.

    Parameters
    ----------
    old, new : mapping
        As `recipe_values` gives them.

    """
    old_limits, new_limits = _limits(old), _limits(new)
    limits = tuple(
        _limit_difference(name, old_limits.get(name), new_limits.get(name))
        for name in dict.fromkeys([*old_limits, *new_limits])
        if _values_of(old_limits.get(name)) != _values_of(new_limits.get(name))
    )
    old_texts, new_texts = dict(_texts(old)), dict(_texts(new))
    others = [
        Difference(key, old_texts.get(key, ''), new_texts.get(key, ''))
        for key in dict.fromkeys([*old_texts, *new_texts])
        if old_texts.get(key, '') != new_texts.get(key, '')
    ]
    n_all = len(old_limits.keys() | new_limits.keys())
    return Comparison(limits, tuple(others[:MOST_DIFFERENCES]), n_all - len(limits))


def _limits(values: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        f'{_text(scorer)}.{_text(measure)}': _mapping(limit)
        for scorer, part in _mapping(values.get('scorers')).items()
        for measure, limit in _mapping(_mapping(part).get('measures')).items()
    }


def _limit_difference(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> LimitDifference:
    either = new or old or {}
    return LimitDifference(
        name,
        _values_of(old),
        _values_of(new),
        unit=_text(either.get('unit', '1')),
        high_is_bad=either.get('bad_side') != 'low',
    )


def _values_of(limit: Mapping[str, Any] | None) -> LimitValues | None:
    if limit is None:
        return None
    return LimitValues(
        _number(limit.get('limit')),
        _number(limit.get('typical')),
        limit.get('judged') is not False,
    )


def _texts(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """
    Give all values but limits, by the dotted key of their place.

    """
    for key, value in values.items():
        if key in _NOT_COMPARED:
            continue
        if key == 'scorers':
            yield 'scorers', ', '.join(map(_text, _mapping(value)))
            for name, part in _mapping(value).items():
                inner = {one: two for one, two in _mapping(part).items() if one != 'measures'}
                yield from _flat(f'scorers.{_text(name)}', inner)
        else:
            yield from _flat(_text(key), value)


def _flat(key: str, value: object) -> Iterator[tuple[str, str]]:
    name = key.rpartition('.')[2]
    if isinstance(value, dict) and name not in _WHOLE:
        for inner, one in value.items():
            yield from _flat(f'{key}.{_text(inner)}', one)
    elif isinstance(value, list) and name in _COUNTED:
        yield key, str(len(value))
    else:
        yield key, _line(value)[:_LONGEST_TEXT]


def _line(value: object) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{_text(name)} {_line(one)}' for name, one in value.items())
    if isinstance(value, list):
        return '; '.join(map(_line, value))
    return '' if value is None else _text(value)


def _mapping(value: object) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, float):
        return f'{value:g}'
    if isinstance(value, bool):
        return str(value).lower()
    return printable(str(value))[:_LONGEST_TEXT]


def _number(value: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 else math.nan  # type: ignore[arg-type]
