# SPDX-License-Identifier: Apache-2.0
"""
What a person has marked on the part: its origin and axis, and where a gripper may take it.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.image_decoding import LARGEST_SIDE_PX
from anomaly_inspection.printable import shown
from anomaly_inspection.setting_check import check_keys, check_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MOST_GRASPS = 16
HIGHEST_M = 2.0
MOST_EDGE_SHIFT_PX = 50.0
_MOST_DEG = 360.0
# People read them in recipe.yaml.
_DIGITS = 6


@dataclass(frozen=True)
class Grasp:
    """
    A place where a gripper may take the part.

    Parameters
    ----------
    x_px, y_px : float
        Middle between the jaws, pixels of the picture (pixel centres at integers).
    axis_deg : float
        Direction along which the jaws close, degrees, positive = counter-clockwise as seen in the
        picture; 0 = to the right; -360 to 360.
    width_px : float or None
        Width of the part between the jaws, pixels, above 0; None = not given.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    x_px: float
    y_px: float
    axis_deg: float
    width_px: float | None = None

    def __post_init__(self) -> None:
        check_number('grasp x_px', self.x_px, 0.0, LARGEST_SIDE_PX)
        check_number('grasp y_px', self.y_px, 0.0, LARGEST_SIDE_PX)
        check_number('grasp axis_deg', self.axis_deg, -_MOST_DEG, _MOST_DEG)
        if self.width_px is not None:
            check_number('grasp width_px', self.width_px, 0.1, LARGEST_SIDE_PX)

    def carried(self, to_other: NDArray[np.float64]) -> Grasp:
        """
        Give the grasp in another picture of the part; see `PartMarks.carried`.

        """
        scale = math.sqrt(abs(float(np.linalg.det(to_other[:, :2]))))
        return Grasp(
            *_placed(self.x_px, self.y_px, to_other),
            _turned(self.axis_deg, to_other),
            None if self.width_px is None else round(self.width_px * scale, _DIGITS),
        )


@dataclass(frozen=True)
class PartMarks:
    """
    What a person has marked on the part in a picture; what is None is left to the silhouette.

    Parameters
    ----------
    origin_px : (float, float) or None
        The part's origin, pixels of the picture (pixel centres at integers).
    axis_deg : float or None
        Direction of its axis, degrees, as in `Grasp`.
    grasps : tuple of Grasp
        At most 16, the best first.
    height_m : float
        Height of the marks above the belt, metres, 0 to 2.
    edge_shift_px : (float, float)
        By how much light and shadow shift all edges of the part, to the right and down, pixels of
        any picture of this camera, -50 to 50; see `part_pose.without_edge_shift`.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    origin_px: tuple[float, float] | None = None
    axis_deg: float | None = None
    grasps: tuple[Grasp, ...] = ()
    height_m: float = 0.0
    edge_shift_px: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        for name, value in zip(('x_px', 'y_px'), self.origin_px or (), strict=False):
            check_number(f'origin {name}', value, 0.0, LARGEST_SIDE_PX)
        if self.axis_deg is not None:
            check_number('axis_deg', self.axis_deg, -_MOST_DEG, _MOST_DEG)
        if len(self.grasps) > MOST_GRASPS:
            raise SettingError(f'{len(self.grasps)} grasps; allowed: 0 to {MOST_GRASPS}')
        check_number('height_m', self.height_m, 0.0, HIGHEST_M)
        for name, value in zip('xy', self.edge_shift_px, strict=True):
            check_number(f'edge_shift_px {name}', value, -MOST_EDGE_SHIFT_PX, MOST_EDGE_SHIFT_PX)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> PartMarks:
        """
        Read what `to_mapping` gives.

        Raises
        ------
        SettingError
            Names the key, the value and what is allowed.

        """
        keys = ('origin_px', 'axis_deg', 'grasps', 'height_m', 'edge_shift_px')
        check_keys('marks', mapping, keys)
        origin, grasps = _pair(mapping, 'origin_px'), mapping.get('grasps', [])
        if not isinstance(grasps, list) or not all(isinstance(one, dict) for one in grasps):
            raise SettingError(f'grasps is {shown(grasps)}; allowed: a list of mappings')
        for one in grasps:
            check_keys('grasps', one, ('x_px', 'y_px', 'axis_deg', 'width_px'))
            for key in ('x_px', 'y_px', 'axis_deg'):
                if key not in one:
                    raise SettingError(f'grasps: {key} is missing')
        return cls(
            origin,
            mapping.get('axis_deg'),
            tuple(Grasp(**one) for one in grasps),
            mapping.get('height_m', 0.0),
            _pair(mapping, 'edge_shift_px') or (0.0, 0.0),
        )

    def to_mapping(self) -> dict[str, Any]:
        """
        Give what YAML can hold; what is not marked is left out.

        """
        mapping: dict[str, Any] = {}
        if self.origin_px is not None:
            mapping['origin_px'] = list(self.origin_px)
        if self.axis_deg is not None:
            mapping['axis_deg'] = self.axis_deg
        if self.grasps:
            mapping['grasps'] = [
                {key: value for key, value in vars(grasp).items() if value is not None}
                for grasp in self.grasps
            ]
        mapping['height_m'] = self.height_m
        if any(self.edge_shift_px):
            mapping['edge_shift_px'] = list(self.edge_shift_px)
        return mapping

    def check_within(self, width: int, height: int) -> None:
        """
        Refuse marks that lie outside of their picture.

        Raises
        ------
        SettingError
            Names the mark and the size of the picture.

        """
        places = [('origin', *self.origin_px)] if self.origin_px else []
        places += [('grasp', grasp.x_px, grasp.y_px) for grasp in self.grasps]
        for name, x_px, y_px in places:
            if not (x_px <= width - 1 and y_px <= height - 1):
                raise SettingError(
                    f'{name} {x_px:g},{y_px:g} px lies outside of the picture; allowed: 0,0 to '
                    f'{width - 1},{height - 1} px'
                )

    def carried(self, to_other: NDArray[np.float64]) -> PartMarks:
        """
        Give the marks in another picture of the part.

        Parameters
        ----------
        to_other : ndarray of float64, (2, 3)
            Affine map from pixels of this picture to pixels of the other.

        Raises
        ------
        SettingError
            When they lie outside of what a picture can hold.

        """
        origin = self.origin_px
        return replace(
            self,
            origin_px=None if origin is None else _placed(*origin, to_other),
            axis_deg=None if self.axis_deg is None else _turned(self.axis_deg, to_other),
            grasps=tuple(grasp.carried(to_other) for grasp in self.grasps),
        )


def _pair(mapping: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    value = mapping.get(key)
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2):
        raise SettingError(f'{key} is {shown(value)}; allowed: two numbers, x and y')
    return value[0], value[1]


def _placed(x_px: float, y_px: float, to_other: NDArray[np.float64]) -> tuple[float, float]:
    x, y = to_other @ (x_px, y_px, 1.0)
    return round(float(x), _DIGITS), round(float(y), _DIGITS)


def _turned(axis_deg: float, to_other: NDArray[np.float64]) -> float:
    # y points down.
    axis_rad = math.radians(axis_deg)
    x, y = to_other[:, :2] @ (math.cos(axis_rad), -math.sin(axis_rad))
    return round(math.degrees(math.atan2(-y, x)), _DIGITS)
