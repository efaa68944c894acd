# SPDX-License-Identifier: Apache-2.0
"""
The metadata of an exported anomaly model, and where exports keep it.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    import openvino

METADATA = 'metadata.json'

_CHOICES: dict[str, tuple[object, ...]] = {
    'layout': ('nchw', 'nhwc'),
    'colour': ('rgb', 'bgr'),
    'value_max': (1, 255),
}
_TEXTS = ('map_output', 'score_output')
_NUMBERS = ('mean', 'std')
# Of what anomalib writes, those that scale; the others in its files change nothing here.
_SCALING = (
    *('image_threshold', 'pixel_threshold', 'min', 'max'),
    *('pred_scores.min', 'pred_scores.max', 'anomaly_maps.min', 'anomaly_maps.max'),
)
_UNUSED = (
    *('task', 'pred_boxes.min', 'pred_boxes.max', 'box_scores.min', 'box_scores.max'),
    *('image_mean', 'image_std', 'pixel_mean', 'pixel_std'),
)


@dataclass(frozen=True)
class Scale:
    """
    The scale that anomalib puts a raw value on: (value - threshold) / span + 0.5.

    """

    threshold: float = 0.5
    span: float = 1.0

    def of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Put raw values on the scale; nothing is cut off.

        """
        if self == Scale():
            return values
        return np.asarray((values - self.threshold) / self.span + 0.5, np.float32)


@dataclass(frozen=True)
class Metadata:
    """
    What scoring must know about an exported model beside its graph.

    All but the scales are keys of the JSON file as well.

    Parameters
    ----------
    layout : 'nchw', 'nhwc' or ''
        '' = told by where the 1 or 3 channels stand.
    colour : 'rgb' or 'bgr'
        Order of three channels.
    value_max : 1 or 255
        What white is, before `mean` and `std`.
    mean, std : tuple of float
        Subtracted, and divided by; one for all channels, or one each.
    map_output, score_output : str
        Names of the outputs; '' = told by anomalib's names, or by their shapes.
    map_scale, score_scale : Scale
        From the thresholds and ranges that anomalib writes.

    """

    layout: str = ''
    colour: str = 'rgb'
    value_max: int = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    map_output: str = ''
    score_output: str = ''
    map_scale: Scale = Scale()
    score_scale: Scale = Scale()


def read_metadata(network: openvino.Model, content: bytes) -> Metadata:
    """
    Read the metadata in a model's rt_info; its JSON file overrides them.

    Parameters
    ----------
    network : openvino.Model
    content : bytes
        Of the file; empty when there is none.

    Raises
    ------
    RecipeError
        When a key is unknown or a value not allowed; names both.

    """
    given = _from_model(network) | _from_file(content)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key in _CHOICES:
            if isinstance(value, bool) or value not in _CHOICES[key]:
                raise _error(key, value, ' or '.join(map(repr, _CHOICES[key])))
            values[key] = value
        elif key in _TEXTS:
            if not isinstance(value, str):
                raise _error(key, value, 'the name of an output')
            values[key] = value
        elif key in _NUMBERS:
            values[key] = _numbers(key, value)
        elif key in _SCALING:
            _numbers(key, value)
        elif key not in _UNUSED:
            known = ', '.join((*_CHOICES, *_TEXTS, *_NUMBERS, 'transform', *_SCALING))
            raise RecipeError(f'{METADATA}: {key} is unknown; allowed: {known}')
    return Metadata(
        **values,
        map_scale=_scale(given, 'pixel_threshold', 'anomaly_maps.'),
        score_scale=_scale(given, 'image_threshold', 'pred_scores.'),
    )


def _from_file(content: bytes) -> dict[str, Any]:
    if not content:
        return {}
    try:
        given = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f'{METADATA} is not readable JSON: {error}') from error
    if not isinstance(given, dict):
        raise RecipeError(f'{METADATA} holds {given!r}; allowed: a mapping')
    if 'transform' in given:
        given |= _from_transform(given.pop('transform'))
    return given


def _from_transform(transform: Any) -> dict[str, Any]:
    """
    Take the normalisation out of a serialised albumentations pipeline, as anomalib 0.x wrote it.

    """
    try:
        steps = transform['transform']['transforms']
        found = [step for step in steps if step['__class_fullname__'].endswith('Normalize')]
        return {key: found[0][key] for key in _NUMBERS} if found else {}
    except (TypeError, KeyError, AttributeError) as error:
        raise _error('transform', transform, 'a serialised albumentations pipeline') from error


def _from_model(network: openvino.Model) -> dict[str, Any]:
    """
    Translate the rt_info of OpenVINO Model API, which anomalib 0.x wrote as well.

    """
    found = {
        key: str(network.get_rt_info(['model_info', key]).astype(str))
        for key in (
            *('mean_values', 'scale_values', 'reverse_input_channels', 'embedded_processing'),
            *('image_threshold', 'pixel_threshold', 'normalization_scale'),
        )
        if network.has_rt_info(['model_info', key])
    }
    given: dict[str, Any] = {}
    if network.inputs[0].get_element_type().is_integral():
        given['value_max'] = 255
    if not _is_true(found.get('embedded_processing', '')):
        for key, own in (('mean_values', 'mean'), ('scale_values', 'std')):
            if key in found:
                given |= {own: found[key].replace(',', ' ').split(), 'value_max': 255}
    if 'reverse_input_channels' in found:
        given['colour'] = 'rgb' if _is_true(found['reverse_input_channels']) else 'bgr'
    given |= {key: found[key] for key in ('image_threshold', 'pixel_threshold') if key in found}
    if 'normalization_scale' in found:
        given |= {'min': 0.0, 'max': found['normalization_scale']}
    return given


def _is_true(text: str) -> bool:
    return text.lower() in ('true', 'yes', '1')


def _scale(given: Mapping[str, Any], threshold: str, prefix: str) -> Scale:
    for low, high in ((f'{prefix}min', f'{prefix}max'), ('min', 'max')):
        if {threshold, low, high} <= given.keys():
            span = _numbers(high, given[high])[0] - _numbers(low, given[low])[0]
            if span <= 0:
                raise _error(high, given[high], f'over {low}, which is {given[low]}')
            return Scale(_numbers(threshold, given[threshold])[0], span)
    return Scale()


def _numbers(key: str, value: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(one) for one in np.ravel(value))
    except (TypeError, ValueError):
        numbers = ()
    is_many = key in _NUMBERS
    is_finite = all(math.isfinite(one) for one in numbers)
    if (
        len(numbers) not in ((1, 3) if is_many else (1,))
        or not is_finite
        or (key == 'std' and min(numbers) <= 0)
    ):
        allowed = 'a finite number' + ', or three' * is_many + ', over 0' * (key == 'std')
        raise _error(key, value, allowed)
    return numbers


def _error(key: str, value: object, allowed: str) -> RecipeError:
    return RecipeError(f'{METADATA}: {key} is {value!r}; allowed: {allowed}')
