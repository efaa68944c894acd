# SPDX-License-Identifier: Apache-2.0
"""
The end of a zip archive, looked at before `zipfile` reads the directory that it names.

"""

from __future__ import annotations

import struct

from anomaly_inspection.errors import RecipeError

#: So much of the end of a file is enough to find it.
END_BYTES = 22 + 0xFFFF + 20
# Encrypted, patched, strongly encrypted, directory encrypted.
ENCRYPTED = 0x1 | 0x20 | 0x40 | 0x2000

_END = struct.Struct('<4s4H2LH')
_END_MARK, _LARGE_END_MARK = b'PK\x05\x06', b'PK\x06\x07'
_LONGEST_ENTRY = 500


def check_directory_size(end: bytes, most_entries: int, kind: str, entries: str) -> None:
    """
    Refuse an archive whose directory is too large: `zipfile` would read millions of entries.

    Parameters
    ----------
    end : bytes
        The last `END_BYTES` of the file or more of it.
    most_entries : int
        So many entries are allowed.
    kind, entries : str
        What the archive and its entries are called: '.npz archive', 'arrays'.

    Raises
    ------
    RecipeError
        When it has more entries, or is no such archive.

    """
    place = end.rfind(_END_MARK, -(_END.size + 0xFFFF))
    if place < 0 or place + _END.size > len(end):
        raise RecipeError(f'it is truncated or no {kind}: its end is missing')
    *_, count, size, _, _ = _END.unpack_from(end, place)
    if count > most_entries or size > _LONGEST_ENTRY * most_entries:
        raise RecipeError(f'it names {count} {entries}; allowed: {most_entries}')
    if end[max(place - 20, 0) : place].startswith(_LARGE_END_MARK):
        raise RecipeError(f'it is an archive of more than 4 GB or 65535 {entries}; allowed: less')
