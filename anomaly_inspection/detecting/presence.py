# SPDX-License-Identifier: Apache-2.0
"""
Whether a part is in view, and where along the belt: the stretch of columns that differs from the
empty scene.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.detecting.empty_scene import EmptyScene
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.setting_check import check_integer, check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.detecting.empty_scene import Cells, Mask

# Columns of the grid that frames are brought down to: noise averages out, and it is fast.
_MOST_COLUMNS = 160
# Share of the energy of the edges that must agree on a movement.
_LEAST_AGREEMENT = 0.3


@dataclass(frozen=True)
class PresenceSettings:
    """
    What counts as a part in view.

    Parameters
    ----------
    region_of_interest : RegionOfInterest or None
        Where parts are looked for; None = the whole frame. Belt alone: what moves beside it would
        be taken for a part.
    trigger_x_px : int or None
        Column of the frame at which a part is wanted, inside the region; None = its middle.
    contrast_levels : float
        A part differs from the empty scene by more than this, gray levels, 2 to 200.
    smallest_part_px : int
        What holds no square of this side is no part; 1 to 4096.
    smallest_gap_px : int
        A narrower empty stretch is a part's own; 1 to 4096.
    camera_shift_px : int
        How far the picture may shift at once, 0 to 64. Parts stand out less beside edges of the
        scene the larger it is.
    absorb_after_s : float
        A change that stands still for so long becomes part of the empty scene, 1 to 86400.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    region_of_interest: RegionOfInterest | None = None
    trigger_x_px: int | None = None
    contrast_levels: float = 16.0
    smallest_part_px: int = 20
    smallest_gap_px: int = 10
    camera_shift_px: int = 4
    absorb_after_s: float = 60.0

    def __post_init__(self) -> None:
        if self.trigger_x_px is not None:
            check_integer('trigger_x_px', self.trigger_x_px, 0, 16384)
        check_number('contrast_levels', self.contrast_levels, 2.0, 200.0)
        check_integer('smallest_part_px', self.smallest_part_px, 1, 4096)
        check_integer('smallest_gap_px', self.smallest_gap_px, 1, 4096)
        check_integer('camera_shift_px', self.camera_shift_px, 0, 64)
        check_number('absorb_after_s', self.absorb_after_s, 1.0, 86400.0)


@dataclass(frozen=True)
class Stretch:
    """
    Columns of the frame: start_px <= x < end_px.

    Parameters
    ----------
    start_px, end_px : int
        First column, and the one behind the last.
    is_cut : bool
        It reaches the edge of the region: more of it may lie outside.

    """

    start_px: int
    end_px: int
    is_cut: bool = False

    @property
    def center_px(self) -> float:
        """
        Its middle.

        """
        return (self.start_px + self.end_px) / 2

    def moved(self, shift_px: float) -> Stretch:
        """
        Give it further along.

        """
        shift = round(shift_px)
        return Stretch(self.start_px + shift, self.end_px + shift, self.is_cut)

    def overlaps(self, other: Stretch) -> bool:
        """
        Whether half of the shorter one lies in the other.

        """
        shared = min(self.end_px, other.end_px) - max(self.start_px, other.start_px)
        shorter = min(self.end_px - self.start_px, other.end_px - other.start_px)
        return 2 * shared >= shorter


@dataclass(frozen=True)
class Sight:
    """
    What one frame shows.

    Parameters
    ----------
    exposure_s : float
        When it was exposed, steady clock, seconds.
    trigger_x_px : int
        The trigger column.
    stretches : tuple of Stretch
        All that differs from the empty scene, from left to right.
    motion_px : float
        How far things have moved since the frame before, to the right positive; 0 when unknown.
    has_returned : bool
        What had been taken for the empty scene has left it again: the part in view is an old one.

    """

    exposure_s: float
    trigger_x_px: int
    stretches: tuple[Stretch, ...]
    motion_px: float = 0.0
    has_returned: bool = False

    @property
    def covering(self) -> Stretch | None:
        """
        The stretch over the trigger column; None when the column is empty.

        """
        for stretch in self.stretches:
            if stretch.start_px <= self.trigger_x_px < stretch.end_px:
                return stretch
        return None


@dataclass(frozen=True)
class _Grid:
    """
    The cells that the region of a frame is brought down to.

    """

    frame_format: FrameFormat
    region: RegionOfInterest
    trigger_x_px: int
    cell_px: int

    @classmethod
    def of(cls, image: NDArray[np.uint8], settings: PresenceSettings) -> _Grid:
        """
        Lay the grid over frames like this one; raises SettingError where the region leaves it.

        """
        height, width = image.shape[:2]
        frame_format = FrameFormat(width, height, 'mono8' if image.ndim == 2 else 'bgr8')
        region = settings.region_of_interest or RegionOfInterest.whole(frame_format)
        region.check_inside(frame_format)
        column = settings.trigger_x_px
        if column is None:
            column = region.x + region.width // 2
        if not region.x <= column < region.x + region.width:
            raise SettingError(
                f'trigger_x_px {column} is not in the region of interest; '
                f'allowed: {region.x} to {region.x + region.width - 1}'
            )
        return cls(frame_format, region, column, -(-region.width // _MOST_COLUMNS))

    @property
    def columns(self) -> int:
        """
        How many cells lie side by side.

        """
        return self.region.width // self.cell_px

    def in_cells(self, length_px: int) -> int:
        """
        Give a length in cells, at least 1.

        """
        return max(1, round(length_px / self.cell_px))

    def cells(self, image: NDArray[np.uint8]) -> Cells:
        """
        Bring the region of a frame down; raises FrameError for a frame of another format.

        """
        if image.shape != self.frame_format.shape:
            raise FrameError(
                f'frame is of shape {image.shape}, '
                f'wanted {self.frame_format.shape} as the first one'
            )
        region, cell = self.region, self.cell_px
        width, height = self.columns, region.height // cell
        crop = image[region.y : region.y + height * cell, region.x : region.x + width * cell]
        cells = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
        channels_first = cells.reshape(height, width, -1).transpose(2, 0, 1)
        return np.ascontiguousarray(channels_first, dtype=np.float32)


class PresenceDetector:
    """
    Looks for parts in frame after frame; not thread-safe.

    It works from the first frame on, which it takes for the empty scene until it knows better;
    `learn_empty` says it for sure.

    """

    def __init__(self, settings: PresenceSettings) -> None:
        self._settings = settings
        self._grid: _Grid | None = None
        self._scene: EmptyScene | None = None
        self._exposure_s = 0.0
        self._heights: NDArray[np.intp] | None = None
        self._motion = 0

    @property
    def scene(self) -> EmptyScene | None:
        """
        The empty scene as it is known; None before the first frame.

        """
        return self._scene

    @property
    def absorb_after_s(self) -> float:
        """
        After how long a change that stands still becomes part of the empty scene, seconds.

        """
        return self._settings.absorb_after_s

    def see(self, image: NDArray[np.uint8], exposure_s: float) -> Sight:
        """
        Say what a frame shows.

        Parameters
        ----------
        image : ndarray of uint8, (H, W) gray or (H, W, 3) BGR
            The frame; every frame has the format of the first.
        exposure_s : float
            When it was exposed, steady clock, seconds, not before the frame that was seen last.

        Raises
        ------
        FrameError
            When its format is another one than the first frame's.
        SettingError
            When region or trigger column do not lie in the frame.

        """
        grid, scene, cells = self._taken_in(image)
        step_s, self._exposure_s = exposure_s - self._exposure_s, exposure_s
        change = scene.compare(cells, step_s)
        heights = np.count_nonzero(self._parts_alone(change.mask, grid), axis=0)
        stretches = _stretches(heights, grid.in_cells(self._settings.smallest_gap_px))
        if self._heights is not None:
            self._motion = _motion(self._heights, heights, self._motion)
        self._heights = heights
        scene.follow(self._occupied(stretches, grid), step_s)
        left, cell = grid.region.x, grid.cell_px
        return Sight(
            exposure_s=exposure_s,
            trigger_x_px=grid.trigger_x_px,
            stretches=tuple(
                Stretch(left + cell * start, left + cell * end, start == 0 or end == grid.columns)
                for start, end in stretches
            ),
            motion_px=float(cell * self._motion),
            has_returned=change.has_returned,
        )

    def learn_empty(self, images: Sequence[NDArray[np.uint8]]) -> str:
        """
        Learn the empty scene from frames without a part, instead of what was known of it.

        Parameters
        ----------
        images : sequence of ndarray of uint8
            At least two frames.

        Returns
        -------
        str
            One sentence with the numbers.

        Raises
        ------
        FrameError
            When something moves in them, or they are not of one format; what was known stays.

        """
        if len(images) < 2:
            raise FrameError(f'{len(images)} frames to learn from, allowed: 2 or more')
        taken_in = [self._taken_in(image) for image in images]
        scene = taken_in[0][1]
        noise = scene.learn([cells for _, _, cells in taken_in])
        return f'the empty scene is learned from {len(images)} frames, noise {noise:.1f} levels'

    def _taken_in(self, image: NDArray[np.uint8]) -> tuple[_Grid, EmptyScene, Cells]:
        """
        Bring a frame down to the grid, which is laid by the first one.

        """
        grid = self._grid or _Grid.of(image, self._settings)
        cells = grid.cells(image)
        scene = self._scene or EmptyScene(
            cells,
            contrast_levels=self._settings.contrast_levels,
            shift_cells=-(-self._settings.camera_shift_px // grid.cell_px),
            absorb_after_s=self._settings.absorb_after_s,
        )
        self._grid, self._scene = grid, scene
        return grid, scene, cells

    def _parts_alone(self, mask: Mask, grid: _Grid) -> NDArray[np.uint8]:
        """
        Close what is narrower along the belt than a gap, leave out what is smaller than a part.

        """
        gap = grid.in_cells(self._settings.smallest_gap_px)
        side = grid.in_cells(self._settings.smallest_part_px)
        changed = mask.astype(np.uint8)
        closed = cv2.morphologyEx(changed, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
        opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
        return np.asarray(opened, np.uint8)

    def _occupied(self, stretches: Sequence[tuple[int, int]], grid: _Grid) -> Mask:
        """
        Mark the columns of parts, and as many around them as a part may reach faintly.

        """
        occupied = np.zeros(grid.columns, bool)
        around = max(2, grid.in_cells(self._settings.smallest_gap_px))
        for start, end in stretches:
            occupied[max(0, start - around) : end + around] = True
        return occupied


def _stretches(heights: NDArray[np.intp], gap: int) -> list[tuple[int, int]]:
    """
    Find the stretches of covered columns, cells, half-open; joins those closer than the gap.

    """
    edges = np.flatnonzero(np.diff(heights > 0, prepend=False, append=False)).tolist()
    joined: list[tuple[int, int]] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _motion(before: NDArray[np.intp], now: NDArray[np.intp], expected: int) -> int:
    """
    Say how far the profile has moved, columns: the shift at which its rises and falls agree best.

    Rises and falls, not the profile itself: a part that is still entering has one edge in view,
    and that one moves. Of several shifts that agree alike, as with parts of one pitch, the one
    nearest to `expected` is taken.

    """
    was, are = np.diff(before).astype(float), np.diff(now).astype(float)
    energy = np.sqrt((was @ was) * (are @ are))
    if energy == 0:
        return 0
    shifts = np.arange(1 - was.size, was.size)
    agreement = np.correlate(are, was, 'full') * (1 - 0.3 * np.abs(shifts - expected) / was.size)
    best = int(np.argmax(agreement))
    return int(shifts[best]) if agreement[best] >= _LEAST_AGREEMENT * energy else 0
