# SPDX-License-Identifier: Apache-2.0
"""
ROS parameters from one frozen dataclass per node.

"""

from __future__ import annotations

from dataclasses import Field, field, fields, replace
import math
from typing import Any, TYPE_CHECKING, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.parameter import Parameter

from anomaly_inspection.errors import InspectionError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rclpy.node import Node

T = TypeVar('T')

_TYPE_WORDS = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a text'}


def parameter(
    default: Any,
    description: str,
    *,
    unit: str = '',
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    check: Callable[[str], None] | None = None,
    read_only: bool = False,
) -> Any:
    """
    Declare one field of a node's parameter dataclass.

    Parameters
    ----------
    default : bool, int, float, str or tuple of str
        The default; its type is the parameter's type. An integer is accepted where a float is
        wanted.
    description : str
        One sentence: what the value means and what a larger one does.
    unit : str
        Unit of the value, '' for none.
    minimum, maximum : float or None
        Allowed range, both ends included; both or none.
    choices : tuple of str
        Allowed texts; empty = any.
    check : callable or None
        Called with each text that is not empty; raises InspectionError when it is not allowed.
    read_only : bool
        Refuse a change while the node runs.

    """
    metadata = {
        'description': description,
        'unit': unit,
        'minimum': minimum,
        'maximum': maximum,
        'choices': choices,
        'check': check,
        'read_only': read_only,
    }
    return field(default=default, metadata=metadata)


def declare_parameters(node: Node, defaults: type[T] | T, *, prefix: str = '') -> T:
    """
    Declare every field of a dataclass on the node and give the values that act.

    Parameters
    ----------
    node : Node
        Where they are declared.
    defaults : type or instance of the dataclass
        A type: with its own defaults.
    prefix : str
        Stands before the name of every field.

    Raises
    ------
    SettingError
        When a value from the command line or a parameter file is of the wrong type or out of
        range.

    """
    values = {}
    for item in fields(defaults):  # type: ignore[arg-type]
        name = prefix + item.name
        default = _ros_value(getattr(defaults, item.name))
        given = node.declare_parameter(
            name, default, ParameterDescriptor(dynamic_typing=True)
        ).value
        node.undeclare_parameter(name)
        try:
            values[item.name] = _checked(item, given)
        except SettingError as error:
            raise SettingError(f'{prefix}{error}') from None
        node.declare_parameter(
            name, _ros_value(values[item.name]), _descriptor(item), ignore_override=True
        )
    parameters_type = defaults if isinstance(defaults, type) else type(defaults)
    return parameters_type(**values)


def checked_parameters(
    parameters_type: type[T], changes: Iterable[Parameter[Any]]
) -> tuple[list[Parameter[Any]], SetParametersResult]:
    """
    Check changes against the dataclass; numbers become the declared type.

    Returns
    -------
    list of Parameter
        The changes, integers given for floats converted.
    SetParametersResult
        Unsuccessful with a reason that names the value and the allowed range.

    """
    known = {item.name: item for item in fields(parameters_type)}  # type: ignore[arg-type]
    converted = []
    for change in changes:
        item = known.get(change.name)
        if item is None:
            converted.append(change)
            continue
        if item.metadata['read_only']:
            reason = f'{change.name} is read-only: set it in the parameter file or at launch'
            return [], SetParametersResult(successful=False, reason=reason)
        try:
            value = _checked(item, change.value)
        except SettingError as error:
            return [], SetParametersResult(successful=False, reason=str(error))
        converted.append(Parameter(change.name, value=_ros_value(value)))
    return converted, SetParametersResult(successful=True)


def changed(parameters: T, changes: Iterable[Parameter[Any]]) -> T:
    """
    Give the dataclass with the accepted changes.

    """
    known = {item.name: item for item in fields(parameters)}  # type: ignore[arg-type]
    values = {
        change.name: _checked(known[change.name], change.value)
        for change in changes
        if change.name in known
    }
    return replace(parameters, **values)  # type: ignore[type-var]


def _ros_value(value: Any) -> Any:
    # rclpy cannot tell the type of an empty list: one empty text stands for it.
    return (list(value) or ['']) if isinstance(value, tuple) else value


def _checked(item: Field[Any], value: Any) -> Any:
    """
    Give the value as the field's type; raises SettingError.

    """
    allowed = allowed_values(item)
    kind = type(item.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is tuple:
        if value is None or isinstance(value, str):
            raise SettingError(f'{item.name} = {value!r} is refused: allowed is {allowed}')
        if not all(isinstance(entry, str) for entry in value):
            raise SettingError(f'{item.name} = {list(value)!r} is refused: allowed is {allowed}')
        entries = tuple(entry for entry in value if entry)
        _check_texts(item, entries)
        return entries
    if type(value) is not kind:
        raise SettingError(f'{item.name} = {value!r} is refused: allowed is {allowed}')
    minimum, maximum = item.metadata['minimum'], item.metadata['maximum']
    if kind is float and not math.isfinite(value):
        raise SettingError(f'{item.name} = {value!r} is refused: allowed is {allowed}')
    if minimum is not None and not minimum <= value <= maximum:
        raise SettingError(f'{item.name} = {value!r} is out of range: allowed is {allowed}')
    choices = item.metadata['choices']
    if choices and value not in choices:
        raise SettingError(f'{item.name} = {value!r} is refused: allowed is {allowed}')
    if kind is str and value:
        _check_texts(item, (value,))
    return value


def _check_texts(item: Field[Any], texts: tuple[str, ...]) -> None:
    if item.metadata['check'] is None:
        return
    for text in texts:
        try:
            item.metadata['check'](text)
        except InspectionError as error:
            raise SettingError(f'{item.name}: {error}') from error


def allowed_values(item: Field[Any]) -> str:
    metadata = item.metadata
    unit = f' {metadata["unit"]}' if metadata['unit'] else ''
    if metadata['choices']:
        return ', '.join(repr(choice) for choice in metadata['choices'])
    if isinstance(item.default, tuple):
        return 'a list of texts'
    words = _TYPE_WORDS[type(item.default)]
    if metadata['minimum'] is None:
        return words + unit
    return f'{words} from {metadata["minimum"]:g} to {metadata["maximum"]:g}{unit}'


def _descriptor(item: Field[Any]) -> ParameterDescriptor:
    metadata = item.metadata
    descriptor = ParameterDescriptor(
        description=metadata['description'],
        additional_constraints=allowed_values(item),
        read_only=metadata['read_only'],
    )
    if metadata['minimum'] is not None:
        ends = {'from_value': metadata['minimum'], 'to_value': metadata['maximum']}
        if isinstance(item.default, float):
            ends = {key: float(value) for key, value in ends.items()}
            descriptor.floating_point_range = [FloatingPointRange(**ends)]
        else:
            descriptor.integer_range = [IntegerRange(**ends)]
    return descriptor
