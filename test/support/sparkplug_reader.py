# SPDX-License-Identifier: Apache-2.0
"""
Reads Sparkplug B payloads by the wire format of Protocol Buffers alone.

Independent of the class that writes them: the numbers are those of the specification 3.0.

"""

from __future__ import annotations

from collections.abc import Iterator
import struct
from typing import Any

_TEXT, _INTEGER, _DOUBLE, _BOOLEAN = 15, 11, 13, 14


def read(payload: bytes) -> dict[str, Any]:
    """
    Give `seq` (None when there is none) and the values of the metrics by their names.

    """
    seq, metrics = None, {}
    for number, value in _fields(payload):
        if number == 3:
            seq = value
        elif number == 2:
            name, metric = _metric(value)
            metrics[name] = metric
    return {'seq': seq, 'metrics': metrics}


def command(name: str, value: bool) -> bytes:
    """
    Give the payload of a command that sets one boolean metric.

    """
    metric = bytes([1 << 3 | 2, len(name)]) + name.encode() + bytes([_BOOLEAN << 3, value])
    return bytes([2 << 3 | 2, len(metric)]) + metric


def _metric(payload: bytes) -> tuple[str, Any]:
    name, found, is_null = '', None, False
    for number, value in _fields(payload):
        if number == 1:
            name = value.decode()
        elif number == 7:
            is_null = bool(value)
        elif number == _TEXT:
            found = value.decode()
        elif number == _DOUBLE:
            found = struct.unpack('<d', value)[0]
        elif number in (_INTEGER, _BOOLEAN):
            found = bool(value) if number == _BOOLEAN else value
    assert (found is None) == is_null
    return name, found


def _fields(payload: bytes) -> Iterator[tuple[int, Any]]:
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = payload[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(payload):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = 8 if key & 7 == 1 else varint()
            yield key >> 3, payload[place : place + size]
            place += size
