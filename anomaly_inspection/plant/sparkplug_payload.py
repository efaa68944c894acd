# SPDX-License-Identifier: Apache-2.0
"""
Payloads of Sparkplug B: Google Protocol Buffers with the fields that an edge node needs.

Names and numbers of the fields are those of the Eclipse Sparkplug specification 3.0, section 6.4.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
import functools
from typing import Any

_PACKAGE = 'anomaly_inspection.sparkplug'


class DataType(IntEnum):
    """
    Types of a metric.

    """

    INT64 = 4
    UINT64 = 8
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13


_FIELD_OF = {
    DataType.INT64: 'long_value',
    DataType.UINT64: 'long_value',
    DataType.DOUBLE: 'double_value',
    DataType.BOOLEAN: 'boolean_value',
    DataType.STRING: 'string_value',
    DataType.DATE_TIME: 'long_value',
}


@dataclass(frozen=True)
class Metric:
    """
    One value with its name.

    Parameters
    ----------
    name : str
        Levels are divided by '/'.
    type : DataType
        Of the value.
    value : bool, int, float, str or None
        None = not known. DATE_TIME: milliseconds since 1970. Integers are not negative.

    """

    name: str
    type: DataType
    value: bool | int | float | str | None = None


def encoded(metrics: Sequence[Metric], moment_ms: int, sequence: int | None) -> bytes:
    """
    Give the payload of a message.

    Parameters
    ----------
    metrics : sequence of Metric
        Its values.
    moment_ms : int
        When they were so, milliseconds since 1970.
    sequence : int or None
        Number of the message, 0 to 255; None for a death, which has none.

    """
    payload = _payload_class()(timestamp=moment_ms)
    if sequence is not None:
        payload.seq = sequence
    for metric in metrics:
        entry = payload.metrics.add(
            name=metric.name, timestamp=moment_ms, datatype=int(metric.type)
        )
        if metric.value is None:
            entry.is_null = True
        else:
            setattr(entry, _FIELD_OF[metric.type], metric.value)
    return bytes(payload.SerializeToString())


def asks_for_rebirth(payload: bytes, name: str) -> bool:
    """
    Tell whether a command sets the metric of a name to true; never raises.

    """
    from google.protobuf.message import DecodeError

    try:
        command = _payload_class().FromString(payload)
    except DecodeError:
        return False
    return any(metric.name == name and metric.boolean_value for metric in command.metrics)


@functools.cache
def _payload_class() -> Any:
    """
    Make the class of the messages: what a compiler would make of a .proto file.

    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    metric = descriptor_pb2.DescriptorProto(name='Metric')
    for name, number, kind in (
        ('name', 1, field.TYPE_STRING),
        ('timestamp', 3, field.TYPE_UINT64),
        ('datatype', 4, field.TYPE_UINT32),
        ('is_null', 7, field.TYPE_BOOL),
        ('long_value', 11, field.TYPE_UINT64),
        ('double_value', 13, field.TYPE_DOUBLE),
        ('boolean_value', 14, field.TYPE_BOOL),
        ('string_value', 15, field.TYPE_STRING),
    ):
        # Optional in the sense of proto2: a value of 0 is sent.
        metric.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    payload = descriptor_pb2.DescriptorProto(name='Payload')
    payload.field.add(
        name='timestamp', number=1, type=field.TYPE_UINT64, label=field.LABEL_OPTIONAL
    )
    payload.field.add(
        name='metrics',
        number=2,
        type=field.TYPE_MESSAGE,
        type_name=f'.{_PACKAGE}.Metric',
        label=field.LABEL_REPEATED,
    )
    payload.field.add(name='seq', number=3, type=field.TYPE_UINT64, label=field.LABEL_OPTIONAL)
    file = descriptor_pb2.FileDescriptorProto(
        name='anomaly_inspection/sparkplug.proto', package=_PACKAGE, syntax='proto2'
    )
    file.message_type.extend([metric, payload])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f'{_PACKAGE}.Payload'))
