# SPDX-License-Identifier: Apache-2.0
"""
Checks of single settings; every refusal names the key, the value and what is allowed.

"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def check_range(
    name: str,
    value: float,
    minimum: float,
    maximum: float = math.inf,
    unit: str = '',
    *,
    is_open: bool = False,
) -> None:
    """
    Refuse a number that is not finite or out of range.

    Parameters
    ----------
    name : str
        What the number is, for the message.
    value : float
        The number.
    minimum, maximum : float
        Both ends are allowed; an infinite maximum stands for none.
    unit : str
        Unit of all three, for the message.
    is_open : bool
        Whether the minimum itself is not allowed.

    """
    is_above = minimum < value if is_open else minimum <= value
    if is_above and value <= maximum and math.isfinite(value):
        return
    of_unit = f' {unit}' if unit else ''
    allowed = f'above {minimum:g}{of_unit}' if is_open else f'{minimum:g}'
    if maximum < math.inf:
        allowed += f'{", up" if is_open else ""} to {maximum:g}{of_unit}'
    else:
        allowed += '' if is_open else f' or more{of_unit}'
    if maximum == math.inf and (is_open or not math.isfinite(value)):
        allowed += ', finite'
    raise SettingError(f'{name} {value:g}{of_unit}, allowed: {allowed}')


def check_number(key: str, value: object, minimum: float, maximum: float) -> None:
    """
    Refuse a value that is not a finite number from minimum to maximum.

    """
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        # Not math.isfinite, which cannot take integers of hundreds of digits.
        or not abs(value) <= sys.float_info.max
        or not minimum <= value <= maximum
    ):
        raise SettingError(
            f'{key} is {shown(value)}; allowed: a number from {minimum} to {maximum}'
        )


def check_integer(key: str, value: object, minimum: int, maximum: int) -> None:
    """
    Refuse a value that is not an integer from minimum to maximum.

    """
    if isinstance(value, bool) or not isinstance(value, int) or not minimum <= value <= maximum:
        raise SettingError(
            f'{key} is {shown(value)}; allowed: an integer from {minimum} to {maximum}'
        )


def check_choice(key: str, value: object, choices: Collection[str]) -> None:
    """
    Refuse a value that is not one of the choices.

    """
    if not isinstance(value, str) or value not in choices:
        raise SettingError(f'{key} is {shown(value)}; allowed: {", ".join(choices)}')


def check_keys(key: str, mapping: Mapping[str, object], known: Collection[str]) -> None:
    """
    Refuse a mapping with keys other than the known ones.

    """
    unknown = [name for name in mapping if name not in known]
    if unknown:
        raise SettingError(f'{key} has unknown key {unknown[0]!r}; allowed: {", ".join(known)}')
