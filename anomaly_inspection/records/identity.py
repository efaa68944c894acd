# SPDX-License-Identifier: Apache-2.0
"""
Order, lot and serial number of parts, as somebody tells them.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable, shown

#: Longest order, lot or serial number, characters.
LONGEST_NAME = 100
_REMEMBERED_PARTS = 1000


@dataclass(frozen=True)
class Identity:
    """
    What a part is called outside the cell; '' = nobody said.

    Parameters
    ----------
    order_name, lot, serial : str
        Plain text of at most 100 characters.

    """

    order_name: str = ''
    lot: str = ''
    serial: str = ''


def checked_name(what: str, text: str) -> str:
    """
    Refuse a text that cannot be an order, lot or serial number.

    Raises
    ------
    SettingError
        When it is too long or holds characters that do not print.

    """
    text = text.strip()
    if len(text) > LONGEST_NAME:
        raise SettingError(f'{what} has {len(text)} characters; allowed: up to {LONGEST_NAME}')
    if printable(text) != text:
        raise SettingError(f'{what} {shown(text)} holds characters that do not print')
    return text


class Identities:
    """
    Remembers what was told until the parts come.

    Parameters
    ----------
    order_name, lot : str
        What held when the process before this one ended.

    """

    def __init__(self, order_name: str = '', lot: str = '') -> None:
        self.current = Identity(order_name, lot)
        self._next_serial = ''
        self._told: OrderedDict[tuple[str, int], Identity] = OrderedDict()
        self._parts: OrderedDict[tuple[str, int], Identity] = OrderedDict()

    def tell(
        self,
        order_name: str,
        lot: str,
        serial: str,
        key: tuple[str, int] = ('', 0),
        *,
        only_this_part: bool = False,
    ) -> Identity:
        """
        Take what somebody tells, all of it or nothing.

        Parameters
        ----------
        order_name, lot : str
            Of all parts from now on.
        serial : str
            Of one part.
        key : tuple of str and int
            Session and number of that part; ('', 0) = the next one.
        only_this_part : bool
            Order and lot too are those of the part with that key, '' = as it is known already.

        Returns
        -------
        Identity
            As it was taken.

        Raises
        ------
        SettingError
            When one of the texts is refused, or no part is named where one must be.

        """
        taken = Identity(
            checked_name('the order', order_name),
            checked_name('the lot', lot),
            checked_name('the serial number', serial),
        )
        if only_this_part:
            if key == ('', 0):
                raise SettingError('only_this_part without session_id and part_id of the part')
            self._tell_of(key, taken)
            return taken
        self.current = replace(taken, serial='')
        if not taken.serial:
            return taken
        if key == ('', 0):
            self._next_serial = taken.serial
        else:
            self._tell_of(key, Identity(serial=taken.serial))
        return taken

    def announce(self, key: tuple[str, int]) -> None:
        """
        A part has come: what holds now is its identity.

        """
        if key in self._parts:
            return
        told = self._told.pop(key, Identity())
        if not told.serial:
            told = replace(told, serial=self._next_serial)
            self._next_serial = ''
        self._parts[key] = _completed(told, self.current)
        _shorten(self._parts)

    def _tell_of(self, key: tuple[str, int], told: Identity) -> None:
        of_parts = self._parts if key in self._parts else self._told
        of_parts[key] = _completed(told, of_parts.get(key, Identity()))
        _shorten(of_parts)

    def of(self, key: tuple[str, int]) -> Identity:
        """
        Give the identity of a part; of one that was never announced, that of now.

        """
        return self._parts.get(key, self.current)


def _completed(told: Identity, known: Identity) -> Identity:
    return Identity(
        told.order_name or known.order_name, told.lot or known.lot, told.serial or known.serial
    )


def _shorten(remembered: OrderedDict[tuple[str, int], Any]) -> None:
    while len(remembered) > _REMEMBERED_PARTS:
        remembered.popitem(last=False)
