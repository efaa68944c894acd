# SPDX-License-Identifier: Apache-2.0
"""
What comes down the simulated line: its settings, and how they are read from a command line.

"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

from anomaly_inspection.capture.simulated_defects import DEFECT_KINDS
from anomaly_inspection.capture.simulated_part import PART_RADIUS, PART_WIDTH
from anomaly_inspection.errors import SettingError

DESIGN_WIDTH_PX, DESIGN_HEIGHT_PX = 640, 480
DESIGN_SCALE = 1.06
SMALLEST_PART_WIDTH_PX = 200.0
SIZE_TOLERANCE = 0.003


def _within(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={'low': low, 'high': high})


@dataclass(frozen=True)
class SimulatedLineSettings:
    """
    What comes down the simulated line.

    Parameters
    ----------
    seed : int
        Another seed gives other parts of the same product. 0..2147483647.
    width_px, height_px : int
        Frame size, pixels. 320..2448 and 240..2048. The part grows with it: about 310 px wide at
        640x480, never below 200 px.
    parts : int or None
        How many parts come; None = endless. At least 1.
    defect_rate : float
        Share of defective parts, 0..1.
    shift_px : float
        How far a part lies from the middle of the frame at most, along x and along y, pixels; 0 to
        what keeps it inside.
    rotation_deg : float
        How far a part is turned at most, either way, degrees. 0..180.
    light : float
        How far the brightness of a frame is from nominal at most, relative. 0..0.5; a slope of a
        quarter of it across the frame comes on top.
    noise_levels : float
        Deviation of the camera's noise, gray levels. 0..20.
    part_variation : float
        How much good parts differ in tool marks, casting grain and size (tolerance +-0.3 % at 1),
        relative. 0..3.
    background_variation : float
        How much the belt differs from frame to frame, relative. 0 = the same piece of belt every
        time. 0..3.
    diameter_px : tuple of float
        Smallest and largest defect: diameter of the circle of its area, pixels, drawn
        log-uniformly. 3..80.
    contrast_levels : tuple of float
        Weakest and strongest defect: mean absolute gray-level difference over its area, drawn
        log-uniformly. 8..100.
    kinds : tuple of str
        Kinds of defect that occur, from `DEFECT_KINDS`. A missing bore is as large and strong as a
        bore is, whatever the ranges say.

    Raises
    ------
    SettingError
        When a value is not allowed; names it and what is allowed.

    """

    seed: int = _within(1, 0, 2**31 - 1)
    width_px: int = _within(640, 320, 2448)
    height_px: int = _within(480, 240, 2048)
    parts: int | None = _within(None, 1, 2**31 - 1)
    defect_rate: float = _within(0.3, 0.0, 1.0)
    shift_px: float = field(default=12.0)
    rotation_deg: float = _within(6.0, 0.0, 180.0)
    light: float = _within(0.15, 0.0, 0.5)
    noise_levels: float = _within(2.0, 0.0, 20.0)
    part_variation: float = _within(1.0, 0.0, 3.0)
    background_variation: float = _within(1.0, 0.0, 3.0)
    diameter_px: tuple[float, float] = _within((12.0, 40.0), 3.0, 80.0)
    contrast_levels: tuple[float, float] = _within((30.0, 80.0), 8.0, 100.0)
    kinds: tuple[str, ...] = DEFECT_KINDS

    def __post_init__(self) -> None:
        for each in fields(self):
            if 'low' in each.metadata:
                _check(each.name, getattr(self, each.name), **each.metadata)
        _check('shift_px', self.shift_px, 0.0, self.room_px)
        if not self.kinds or any(kind not in DEFECT_KINDS for kind in self.kinds):
            raise SettingError(
                f'kinds = {"+".join(self.kinds) or "nothing"}: '
                f'allowed are one or more of {", ".join(DEFECT_KINDS)}'
            )

    @property
    def scale(self) -> float:
        """
        Frame pixels per design pixel of the part.

        """
        fitting = min(self.width_px / DESIGN_WIDTH_PX, self.height_px / DESIGN_HEIGHT_PX)
        return max(DESIGN_SCALE * fitting, SMALLEST_PART_WIDTH_PX / PART_WIDTH)

    @property
    def room_px(self) -> float:
        """
        How far the part can be shifted without leaving the frame, whole pixels.

        """
        reach = PART_RADIUS * self.scale * (1.0 + SIZE_TOLERANCE * self.part_variation)
        return float(int(min(self.width_px, self.height_px) / 2 - reach))

    @classmethod
    def from_spec(cls, spec: str) -> SimulatedLineSettings:
        """
        Read settings from a command line.

        Parameters
        ----------
        spec : str
            'line', or 'line:' and settings:
            'line:parts=200,kinds=scratch+stain,diameter_px=3..40'.

        Raises
        ------
        SettingError
            For an unknown key or a bad value; names key, value and what is allowed.

        """
        head, _, rest = spec.partition(':')
        if head != 'line':
            raise SettingError(f'{spec!r} is not a simulated line: it begins with "line"')
        values: dict[str, Any] = {}
        for item in filter(None, rest.split(',')):
            key, _, text = item.partition('=')
            if key not in _READERS:
                raise SettingError(
                    f'unknown key {key!r} in {spec!r}: known are {", ".join(_READERS)}'
                )
            if key in values:
                raise SettingError(f'{key} is given twice in {spec!r}')
            try:
                values[key] = _READERS[key](text)
            except ValueError:
                wanted = _WANTED[_READERS[key]]
                raise SettingError(f'{key} = {text!r}: {wanted} is allowed') from None
        return cls(**values)


def _check(name: str, value: Any, low: float, high: float) -> None:
    allowed = f'{low} to {high} is allowed'
    if name == 'parts':
        if value is None:
            return
        allowed = '1 or more, or none for an endless line, is allowed'
    is_range = name in ('diameter_px', 'contrast_levels')
    numbers = value if is_range and isinstance(value, tuple) else (value,)
    whole = name in ('seed', 'width_px', 'height_px', 'parts')
    for number in numbers:
        right_type = isinstance(number, int if whole else int | float)
        if not right_type or isinstance(number, bool) or not isfinite(number):
            kind = 'a whole number' if whole else 'a finite number'
            raise SettingError(f'{name} = {value!r} is not {kind}: {allowed}')
        if not low <= number <= high:
            raise SettingError(f'{name} = {value!r} is out of range: {allowed}')
    if is_range and (len(numbers) != 2 or numbers[0] > numbers[1]):
        raise SettingError(f'{name} = {value!r} is not (smallest, largest): {allowed}')


def _read_parts(text: str) -> int | None:
    return None if text == 'none' else int(text)


def _read_range(text: str) -> tuple[float, float]:
    low, dots, high = text.partition('..')
    return float(low), float(high if dots else low)


def _read_kinds(text: str) -> tuple[str, ...]:
    return tuple(text.split('+'))


_READERS: dict[str, Any] = {
    'seed': int,
    'width_px': int,
    'height_px': int,
    'parts': _read_parts,
    'defect_rate': float,
    'shift_px': float,
    'rotation_deg': float,
    'light': float,
    'noise_levels': float,
    'part_variation': float,
    'background_variation': float,
    'diameter_px': _read_range,
    'contrast_levels': _read_range,
    'kinds': _read_kinds,
}
_WANTED = {
    int: 'a whole number',
    float: 'a number',
    _read_parts: 'a whole number or none',
    _read_range: 'a range like 12..40 or one number',
}
