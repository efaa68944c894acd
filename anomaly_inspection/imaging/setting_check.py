# SPDX-License-Identifier: Apache-2.0
"""
Checks of single settings; every refusal names the key, the value and what is allowed.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def check_number(key: str, value: object, minimum: float, maximum: float) -> None:
    """
    Refuse a value that is not a finite number from minimum to maximum.

    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not math.isfinite(value)
        or not minimum <= value <= maximum
    ):
        raise SettingError(f'{key} is {value!r}; allowed: a number from {minimum} to {maximum}')


def check_integer(key: str, value: object, minimum: int, maximum: int) -> None:
    """
    Refuse a value that is not an integer from minimum to maximum.

    """
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise SettingError(f'{key} is {value!r}; allowed: an integer from {minimum} to {maximum}')


def check_choice(key: str, value: object, choices: Collection[str]) -> None:
    """
    Refuse a value that is not one of the choices.

    """
    if not isinstance(value, str) or value not in choices:
        raise SettingError(f'{key} is {value!r}; allowed: {", ".join(choices)}')


def check_keys(key: str, mapping: Mapping[str, object], known: Collection[str]) -> None:
    """
    Refuse a mapping with keys other than the known ones.

    """
    unknown = [name for name in mapping if name not in known]
    if unknown:
        raise SettingError(f'{key} has unknown key {unknown[0]!r}; allowed: {", ".join(known)}')
