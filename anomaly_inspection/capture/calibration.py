# SPDX-License-Identifier: Apache-2.0
"""
A camera's calibration in the YAML file that ROS' camera_calibration writes.

"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any, TYPE_CHECKING

import yaml

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
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


def calibration_text(calibration: CameraCalibration, camera_name: str) -> str:
    """
    Write a calibration as camera_calibration does, so that any ROS driver reads it.

    Parameters
    ----------
    calibration : CameraCalibration
        What to write.
    camera_name : str
        Some drivers compare it with their own.

    """
    return ''.join(
        (
            f'image_width: {calibration.width}\n',
            f'image_height: {calibration.height}\n',
            f'camera_name: {camera_name}\n',
            matrix_text('camera_matrix', 3, calibration.camera_matrix),
            f'distortion_model: {calibration.distortion_model}\n',
            matrix_text('distortion_coefficients', 1, calibration.distortion),
            matrix_text('rectification_matrix', 3, calibration.rectification_matrix),
            matrix_text('projection_matrix', 3, calibration.projection_matrix),
        )
    )


def matrix_text(key: str, rows: int, numbers: Sequence[float]) -> str:
    """
    Write a matrix, row by row.

    """
    data = ', '.join(repr(float(number)) for number in numbers)
    return f'{key}:\n  rows: {rows}\n  cols: {len(numbers) // rows}\n  data: [{data}]\n'


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
    return CalibrationReader(path).calibration()


class CalibrationReader:
    """
    Reads a YAML mapping with numbers and matrices; every complaint names the file and the key.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    SettingError
        When there is no such file or it is no YAML mapping. So do all methods when a value is
        missing or not allowed.

    """

    def __init__(self, path: Path) -> None:
        self._path = printable(path)
        # Opening a pipe or a device of that name would wait for ever.
        if not path.is_file():
            raise SettingError(f'there is no calibration file {self._path}')
        try:
            with path.open('rb') as file:
                data = file.read(_MOST_BYTES + 1)
            if len(data) > _MOST_BYTES:
                raise SettingError(
                    f'{self._path} has more than {_MOST_BYTES} bytes: no calibration file'
                )
            content = yaml.safe_load(data.decode())
        except OSError as error:
            raise SettingError(f'{self._path} cannot be read: {error.strerror}') from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            first = str(error).partition('\n')[0]
            raise SettingError(f'{self._path} is no YAML file: {first}') from error
        if not isinstance(content, dict):
            raise SettingError(f'{self._path} is no calibration file: allowed is a YAML mapping')
        self._content: dict[Any, Any] = content

    def calibration(self) -> CameraCalibration:
        """
        Give the calibration of the camera.

        """
        model = self.value('distortion_model')
        if not isinstance(model, str) or model not in _DISTORTION:
            raise self.refusal('distortion_model', model, ', '.join(_DISTORTION))
        distortion = self.numbers('distortion_coefficients', _DISTORTION[model])
        return CameraCalibration(
            width=self._side('image_width'),
            height=self._side('image_height'),
            distortion_model=model,
            distortion=distortion,
            camera_matrix=self.numbers('camera_matrix', (9,)),
            rectification_matrix=self.numbers('rectification_matrix', (9,)),
            projection_matrix=self.numbers('projection_matrix', (12,)),
        )

    def value(self, key: str) -> Any:
        """
        Give what stands under a key.

        """
        if key not in self._content:
            raise SettingError(f'{self._path}: {key} is missing')
        return self._content[key]

    def text(self, key: str, pattern: str, allowed: str) -> str:
        """
        Give a text that matches the whole pattern.

        """
        value = self.value(key)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise self.refusal(key, value, allowed)
        return value

    def named(self, complaint: str) -> str:
        """
        Put the name of the file before a complaint.

        """
        return f'{self._path}: {complaint}'

    def refusal(self, key: str, value: object, allowed: str) -> SettingError:
        """
        Make the error for a value.

        """
        shown = repr(value)
        shown = shown if len(shown) <= 60 else f'{shown[:57]}...'
        return SettingError(f'{self._path}: {key} = {shown} is refused: allowed is {allowed}')

    def _side(self, key: str) -> int:
        value = self.value(key)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if not (is_whole and 1 <= value <= _LARGEST_SIDE_PX):
            raise self.refusal(key, value, f'an integer from 1 to {_LARGEST_SIDE_PX} px')
        return int(value)

    def numbers(self, key: str, lengths: tuple[int, ...]) -> tuple[float, ...]:
        """
        Give the numbers of a matrix, row by row; there must be one of so many.

        """
        matrix = self.value(key)
        if not isinstance(matrix, dict) or not isinstance(matrix.get('data'), list):
            raise self.refusal(key, matrix, 'rows, cols and data, a list of numbers')
        numbers = matrix['data']
        if len(numbers) not in lengths:
            wanted = ' or '.join(map(str, lengths))
            raise self.refusal(f'{key}.data', numbers, f'{wanted} numbers, not {len(numbers)}')
        for number in numbers:
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            # NaN fails the comparison as well.
            if not is_number or not abs(number) <= _LARGEST_NUMBER:
                raise self.refusal(f'{key}.data', number, 'finite numbers')
        return tuple(float(number) for number in numbers)
