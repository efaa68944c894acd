# SPDX-License-Identifier: Apache-2.0
"""
A camera's calibration from the YAML file that ROS' camera_calibration writes.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TYPE_CHECKING

import yaml

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

# A calibration file has about 1 kB.
_MOST_BYTES = 65_536
_LARGEST_SIDE_PX = 65_536
_LARGEST_NUMBER = 1e12
# How many coefficients each model has.
_DISTORTION = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (8, 12, 14),
    'equidistant': (4,),
    'fisheye': (4,),
}


@dataclass(frozen=True)
class CameraCalibration:
    """
    What sensor_msgs/CameraInfo says of a calibrated camera; matrices row by row.

    Parameters
    ----------
    width, height : int
        Size of the frames it was made with, pixels.
    distortion_model : str
        'plumb_bob', 'rational_polynomial', 'equidistant' or 'fisheye'.
    distortion : tuple of float
        Its coefficients.
    camera_matrix : tuple of 9 float
        K, pixels.
    rectification_matrix : tuple of 9 float
        R.
    projection_matrix : tuple of 12 float
        P, pixels.

    """

    width: int
    height: int
    distortion_model: str
    distortion: tuple[float, ...]
    camera_matrix: tuple[float, ...]
    rectification_matrix: tuple[float, ...]
    projection_matrix: tuple[float, ...]

    @property
    def size(self) -> tuple[int, int]:
        """
        Width and height, pixels.

        """
        return self.width, self.height


def read_calibration(path: Path) -> CameraCalibration:
    """
    Read a calibration file.

    Parameters
    ----------
    path : Path
        A YAML file with image_width, image_height, camera_matrix, distortion_model,
        distortion_coefficients, rectification_matrix and projection_matrix.

    Raises
    ------
    SettingError
        When the file cannot be read or a value is missing or wrong; names the file and the key.

    """
    shown = printable(path)
    # Opening a pipe or a device of that name would wait for ever.
    if not path.is_file():
        raise SettingError(f'there is no calibration file {shown}')
    try:
        with path.open('rb') as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise SettingError(f'{shown} has more than {_MOST_BYTES} bytes: no calibration file')
        content = yaml.safe_load(data.decode())
    except OSError as error:
        raise SettingError(f'{shown} cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        first = str(error).partition('\n')[0]
        raise SettingError(f'{shown} is no YAML file: {first}') from error
    if not isinstance(content, dict):
        raise SettingError(f'{shown} is no calibration file: allowed is a YAML mapping')
    return _Reader(shown, content).calibration()


@dataclass
class _Reader:
    path: str
    content: dict[Any, Any]

    def calibration(self) -> CameraCalibration:
        model = self._value('distortion_model')
        if not isinstance(model, str) or model not in _DISTORTION:
            raise self._refusal('distortion_model', model, ', '.join(_DISTORTION))
        distortion = self._numbers('distortion_coefficients', _DISTORTION[model])
        return CameraCalibration(
            width=self._side('image_width'),
            height=self._side('image_height'),
            distortion_model=model,
            distortion=distortion,
            camera_matrix=self._numbers('camera_matrix', (9,)),
            rectification_matrix=self._numbers('rectification_matrix', (9,)),
            projection_matrix=self._numbers('projection_matrix', (12,)),
        )

    def _value(self, key: str) -> Any:
        if key not in self.content:
            raise SettingError(f'{self.path}: {key} is missing')
        return self.content[key]

    def _refusal(self, key: str, value: object, allowed: str) -> SettingError:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f'{shown[:57]}...'
        return SettingError(f'{self.path}: {key} = {shown} is refused: allowed is {allowed}')

    def _side(self, key: str) -> int:
        value = self._value(key)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not (is_whole and 1 <= value <= _LARGEST_SIDE_PX):
            raise self._refusal(key, value, f'an integer from 1 to {_LARGEST_SIDE_PX} px')
        return int(value)

    def _numbers(self, key: str, lengths: tuple[int, ...]) -> tuple[float, ...]:
        matrix = self._value(key)
        if not isinstance(matrix, dict) or not isinstance(matrix.get('data'), list):
            raise self._refusal(key, matrix, 'rows, cols and data, a list of numbers')
        numbers = matrix['data']
        if len(numbers) not in lengths:
            wanted = ' or '.join(map(str, lengths))
            raise self._refusal(f'{key}.data', numbers, f'{wanted} numbers, not {len(numbers)}')
        for number in numbers:
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            # NaN fails the comparison as well.
            if not is_number or not abs(number) <= _LARGEST_NUMBER:
                raise self._refusal(f'{key}.data', number, 'finite numbers')
        return tuple(float(number) for number in numbers)
