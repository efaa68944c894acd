# SPDX-License-Identifier: Apache-2.0
"""
A record on its way into the database: a dict of plain values, and a line of JSON in the queue.

"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from anomaly_inspection.printable import printable

#: Longest text in a record, characters.
LONGEST_TEXT = 1000
Record = dict[str, Any]


def record(
    table: str, *, cell: str, source: str, sequence: int, time_us: int, **columns: object
) -> Record:
    """
    Make a record.

    Parameters
    ----------
    table : str
        Name of its table.
    cell : str
        Which cell it is about.
    source : str
        What published it: one run of a node, and what.
    sequence : int
        Makes it unique within its source.
    time_us : int
        When it happened, microseconds since 1970, UTC.
    **columns
        The rest; texts are shortened and made printable, lists and dicts become JSON.

    """
    return {
        'table': table,
        'cell': _text(cell),
        'source': _text(source),
        'sequence': _signed(sequence),
        'time_us': time_us,
        **{name: _plain(value) for name, value in columns.items()},
    }


def event(kind: str, what: str, *, who: str = '', data: object = '', **of_record: Any) -> Record:
    """
    Make a record of an event; its source is the one of its kind.

    """
    of_record['source'] = f'{kind} {of_record.get("source", "")}'.strip()
    return record('events', **of_record, kind=kind, what=what, who=who, data=data)


def line_of(content: Record) -> bytes:
    """
    Give a record as a line of JSON.

    """
    return json.dumps(content, separators=(',', ':'), allow_nan=False).encode()


def record_of(line: bytes) -> Record:
    """
    Read a line of JSON; raises ValueError when it holds no record.

    """
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError('a line of the queue holds no record')
    return content


def sequence_of_text(text: bytes) -> int:
    """
    Give a sequence number that hardly any other text has.

    """
    return int.from_bytes(hashlib.sha256(text).digest()[:8], 'big') >> 1


def number(value: float) -> float | None:
    """
    Give a number with the digits that a measure has; None for what is not finite.

    """
    return float(f'{value:.7g}') if math.isfinite(value) else None


def _plain(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return _signed(value)
    if isinstance(value, str):
        return _text(value)
    # ASCII: no control character and no surrogate gets through.
    return json.dumps(value, separators=(',', ':'), default=str)


def _text(value: str) -> str:
    text = printable(value)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + '…'


def _signed(value: int) -> int:
    """
    Fold a number of 64 bits without a sign into those that databases know.

    """
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
