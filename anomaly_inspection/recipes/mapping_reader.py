# SPDX-License-Identifier: Apache-2.0
"""
Take values out of a mapping that people may have edited; every complaint names the file, the key
and the value.

"""

from __future__ import annotations

import math
import re
import sys
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class MappingReader:
    """
    Reads a mapping key by key.

    Parameters
    ----------
    file : str
        Where it stands, for messages.
    value : object
        What should be a mapping with text keys.
    prefix : str
        Keys above it, 'scorers.ssim.'; '' at the top.

    Raises
    ------
    RecipeError
        When it is not such a mapping. So do all methods when a value is missing or not allowed.

    """

    def __init__(self, file: str, value: object, prefix: str = '') -> None:
        self._file = file
        self._prefix = prefix
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            where = prefix.removesuffix('.') or 'the file'
            raise RecipeError(
                f'{file}: {where} is {shown(value)}; allowed: a mapping with text keys'
            )
        self._values: dict[str, Any] = value
        self._read: set[str] = set()

    def error(self, key: str, complaint: str) -> RecipeError:
        """
        Make the error for a key.

        """
        return RecipeError(f'{self._file}: {self._prefix}{key} {complaint}')

    def keys(self, allowed: Iterable[str]) -> tuple[str, ...]:
        """
        Give the keys, at least one, all of them allowed.

        """
        known = tuple(allowed)
        for key in self._values:
            if key not in known:
                raise self.error(key, f'is unknown; allowed: {", ".join(known)}')
        if not self._values:
            raise self.error('', f'is empty; allowed: {", ".join(known)}')
        return tuple(self._values)

    def has(self, key: str) -> bool:
        """
        Tell whether there is a key, for values that may be missing.

        """
        return key in self._values

    def mapping(self, key: str) -> MappingReader:
        """
        Give a reader of the mapping below a key.

        """
        return MappingReader(self._file, self._value(key), f'{self._prefix}{key}.')

    def optional_mapping(self, key: str) -> MappingReader | None:
        """
        Give a reader of the mapping below a key; None when the key is missing or null.

        """
        self._read.add(key)
        return None if self._values.get(key) is None else self.mapping(key)

    def plain_mapping(self, key: str) -> dict[str, Any]:
        """
        Give the mapping below a key, for another reader to check.

        """
        return dict(self.mapping(key)._values)

    def text(self, key: str, pattern: str = r'[^\n]*', allowed: str = 'one line of text') -> str:
        """
        Give a text that matches the whole pattern.

        """
        value = self._value(key)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise self.error(key, f'is {shown(value)}; allowed: {allowed}')
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """
        Give a list of texts; the default, if there is one, when the key is missing.

        """
        if default is not None and key not in self._values:
            return default
        value = self._value(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.error(key, f'is {shown(value)}; allowed: a list of texts')
        return tuple(value)

    def choice(self, key: str, allowed: Sequence[object]) -> object:
        """
        Give a value that must be one of some.

        """
        value = self._value(key)
        if not any(type(value) is type(item) and value == item for item in allowed):
            raise self.error(key, f'is {shown(value)}; allowed: {", ".join(map(repr, allowed))}')
        return value

    def integer(self, key: str, minimum: int, maximum: int, default: int | None = None) -> int:
        """
        Give a whole number within bounds; the default, if there is one, when the key is missing.

        """
        if default is not None and key not in self._values:
            self._read.add(key)
            return default
        value = self._value(key)
        if type(value) is not int or not minimum <= value <= maximum:
            raise self.error(
                key, f'is {shown(value)}; allowed: a whole number from {minimum} to {maximum}'
            )
        return value

    def number(self, key: str, minimum: float = -math.inf, maximum: float = math.inf) -> float:
        """
        Give a finite number within bounds.

        """
        value = self._value(key)
        if (
            type(value) not in (int, float)
            or not abs(value) <= sys.float_info.max
            or not minimum <= value <= maximum
        ):
            raise self.error(
                key, f'is {shown(value)}; allowed: a finite number from {minimum:g} to {maximum:g}'
            )
        return float(value)

    def truth(self, key: str, default: bool) -> bool:
        """
        Give true or false; the default when the key is missing.

        """
        self._read.add(key)
        value = self._values.get(key, default)
        if type(value) is not bool:
            raise self.error(key, f'is {shown(value)}; allowed: true or false')
        return value

    def finish(self) -> None:
        """
        Refuse keys that nobody has read.

        """
        for key in self._values:
            if key not in self._read:
                known = ', '.join(sorted(self._read))
                raise self.error(key, f'is unknown; allowed: {known}')

    def _value(self, key: str) -> Any:
        self._read.add(key)
        if key not in self._values:
            raise self.error(key, 'is missing')
        return self._values[key]
