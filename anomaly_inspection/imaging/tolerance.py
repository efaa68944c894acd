# SPDX-License-Identifier: Apache-2.0
"""
The tolerance: how far a good part may lie, turn and be lit differently from the taught ones.

"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
import math
import re
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import shown
from anomaly_inspection.setting_check import check_keys, check_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.imaging.alignment import Alignment

FIXED = 'fixed'
_ANY = 'any'
_MOST_SHIFT_SHARE = 0.3
_NUMBER = r'\d+(?:\.\d*)?|\.\d+'
# Key, unit, field and factor of what `Tolerance.from_text` reads; the first unit is the default.
_WORDS = {
    ('shift', 'px'): ('shift_px', 1.0),
    ('shift', '%'): ('shift_share', 0.01),
    ('rotation', 'deg'): ('rotation_deg', 1.0),
    ('light', '%'): ('light_share', 0.01),
    ('defocus', 'px'): ('defocus_px', 1.0),
    ('noise', 'levels'): ('noise_levels', 1.0),
}
_RANGES = {
    'shift_px': (0.0, 2048.0),
    'shift_share': (0.0, _MOST_SHIFT_SHARE),
    'rotation_deg': (0.0, 180.0),
    'light_share': (0.0, 0.5),
    'defocus_px': (0.0, 5.0),
    'noise_levels': (0.0, 20.0),
}
# Below this much, a part that lies beyond the taught range may do so by the alignment's own error.
_SLACK_PX, _SLACK_DEG = 1.0, 1.0


@dataclass(frozen=True)
class Tolerance:
    """
    How far a good part may differ from the taught ones in place, turn, light and focus.

    The defaults are for a part that is put down by hand or stops against a fixture: 3 % of the
    short side is 14 px of 480, 5 degrees is a part that does not quite touch its stop, and 10 % is
    what lamps lose by age and warmth. Defocus and noise are hardly visible; without them the
    limits would rest on pictures that are sharper and calmer than those of another day.

    Parameters
    ----------
    shift_px : float, optional
        Shift along x and along y, pixels, 0 to 2048. None = `shift_share` of the short side.
    shift_share : float
        Shift as a share of the short side of the region of interest, 0 to 0.3; used where
        `shift_px` is None.
    rotation_deg : float
        Turn to either side, degrees, 0 to 180; 180 = any orientation.
    light_share : float
        Brighter or darker by this share, 0 to 0.5.
    defocus_px : float
        Sigma of the Gaussian blur that comes on top, pixels, 0 to 5.
    noise_levels : float
        Sigma of the noise that comes on top, gray levels, 0 to 20.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    shift_px: float | None = None
    shift_share: float = 0.03
    rotation_deg: float = 5.0
    light_share: float = 0.1
    defocus_px: float = 0.5
    noise_levels: float = 1.0

    def __post_init__(self) -> None:
        for name, (minimum, maximum) in _RANGES.items():
            value = getattr(self, name)
            if name != 'shift_px' or value is not None:
                check_number(f'tolerance.{name}', value, minimum, maximum)

    @classmethod
    def from_text(cls, text: str) -> Tolerance:
        """
        Read 'shift=12px,rotation=any,light=15%'; what is left out keeps its default.

        'fixed' stands for 'shift=0,rotation=0' and may come with others: 'fixed,light=20%'.

        Raises
        ------
        SettingError
            When the text is none; names the value and what is allowed.

        """
        values: dict[str, float] = {}
        for item in text.split(','):
            for name, value in _read_item(item.strip()).items():
                if name in values or {name, *values} >= {'shift_px', 'shift_share'}:
                    key = name.partition('_')[0]
                    raise SettingError(f'tolerance {shown(text)} gives {key} twice; allowed: once')
                values[name] = value
        return cls(**values)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Tolerance:
        """
        Make the tolerance from a mapping; what is left out keeps its default.

        """
        check_keys('tolerance', mapping, [field.name for field in fields(cls)])
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """
        Give the mapping that `from_mapping` reads.

        """
        mapping = asdict(self)
        del mapping['shift_share' if self.shift_px is not None else 'shift_px']
        return mapping

    @property
    def is_fixed(self) -> bool:
        """
        Whether the part neither shifts nor turns.

        """
        shift = self.shift_share if self.shift_px is None else self.shift_px
        return self.rotation_deg == 0.0 and shift == 0.0

    @property
    def turns_freely(self) -> bool:
        """
        Whether the part may lie in any orientation.

        """
        return self.rotation_deg >= 180.0

    def in_pixels(self, short_side_px: int) -> Tolerance:
        """
        Give the same tolerance with its shift in pixels.

        Parameters
        ----------
        short_side_px : int
            Short side of the region of interest.

        """
        if self.shift_px is not None:
            return self
        return replace(self, shift_px=round(self.shift_share * short_side_px, 1))

    def widened(self, shift_px: float, rotation_deg: float) -> Tolerance:
        """
        Give a tolerance that also holds parts that lie so far; the shift must be in pixels.

        """
        assert self.shift_px is not None
        return replace(
            self,
            shift_px=max(self.shift_px, math.ceil(10 * shift_px) / 10),
            rotation_deg=max(self.rotation_deg, min(180.0, math.ceil(10 * rotation_deg) / 10)),
        )

    def excess(self, alignment: Alignment) -> str:
        """
        Say by how much a part lies beyond the tolerance, 'moved 14 px, taught for 10'.

        '' when the part lies within, or the tolerance has no shift in pixels.

        """
        if self.shift_px is None:
            return ''
        shift_px = max(abs(alignment.x_px), abs(alignment.y_px))
        turn_deg = abs(math.degrees(alignment.angle_rad))
        found = []
        if shift_px > self.shift_px + _SLACK_PX:
            found.append(f'moved {shift_px:.0f} px, taught for {self.shift_px:.0f}')
        if turn_deg > self.rotation_deg + _SLACK_DEG:
            found.append(f'turned {turn_deg:.0f} degrees, taught for {self.rotation_deg:.0f}')
        return '; '.join(found)

    def __str__(self) -> str:
        shift = (
            f'{100 * self.shift_share:g} % of the short side'
            if self.shift_px is None
            else f'{self.shift_px:g} px'
        )
        turn = 'any orientation' if self.turns_freely else f'{self.rotation_deg:g} degrees'
        return f'{shift}, {turn}, {100 * self.light_share:g} % light'


def _read_item(item: str) -> dict[str, float]:
    if item == FIXED:
        return {'shift_px': 0.0, 'rotation_deg': 0.0}
    key, _, value = item.partition('=')
    units = [unit for word, unit in _WORDS if word == key]
    if key == 'rotation' and value == _ANY:
        return {'rotation_deg': 180.0}
    match = re.fullmatch(rf'({_NUMBER})\s*(\D*)', value)
    if not units or match is None or (match[2] or units[0]) not in units:
        raise SettingError(
            f'tolerance {shown(item)} cannot be read; allowed: fixed, or any of {_allowed()}, '
            "such as 'shift=12px,rotation=any,light=15%'"
        )
    unit = match[2] or units[0]
    name, factor = _WORDS[key, unit]
    minimum, maximum = _RANGES[name]
    number = factor * float(match[1])
    if not minimum <= number <= maximum:
        raise SettingError(
            f'tolerance {shown(item)} is out of range; allowed: {key}={minimum / factor:g} to '
            f'{maximum / factor:g}{unit}'
        )
    return {name: number}


def _allowed() -> str:
    words: dict[str, list[str]] = {}
    for key, unit in _WORDS:
        words.setdefault(key, []).append(f'N{unit}')
    words['rotation'].append(_ANY)
    return ', '.join(f'{key}={" or ".join(units)}' for key, units in words.items())
