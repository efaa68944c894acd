# SPDX-License-Identifier: Apache-2.0
"""
How the scene looks while no part is in it, and where a frame differs from that.

The look is learned from the frames themselves and follows slow change. Three things keep a change
of the light or a moved camera from being taken for a part:

- *Exposure*: one gain for each channel, the median over what was empty, is divided out.
- *Shift*: a value counts as changed when it lies outside the range of the neighbouring cells.
- *Time*: a look that stands still for longer than the old one was known, at most `absorb_after_s`,
  takes its place. When the old look comes back after all, what had stood there was a part on a
  stopped belt: then the change is taken back, so that it leaves no ghost.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    # Channels first: NumPy compares a pixel's channels many times faster so.
    Cells = NDArray[np.float32]
    Mask = NDArray[np.bool_]

# How fast the look of empty places follows drift.
_FOLLOW_S = 3.0
# A look must have stood this long before it may take the place of one that was hardly known.
_SETTLE_S = 0.4
# A look from before is forgotten when the one that took its place is known so many times longer.
_FORGOTTEN_TIMES = 10
# Longer gaps between frames count as this: what was not seen has not stood still.
_LONGEST_STEP_S = 0.5
# While another look hides the one that may take over, its time runs back at this rate.
_HIDDEN_COSTS = 0.5
# Share of the absorbed cells that must look as before for the change to be taken back.
_RETURNED_SHARE = 0.1
# Another gain is believed at once when it makes so many times more lit cells look as they did.
_TIMES_BETTER = 3
_GAIN_RANGE = (0.2, 5.0)
# What is as bright as this may be brighter still.
_WHITE_LEVEL = 250
# The gain is found from every so many cells, down and across.
_GAIN_STEP = 2
# Darker cells say little of the gain; where there are few others, there is none to follow.
_LIT_LEVEL = 40.0
_LIT_SHARE = 0.05
# Share of changed cells up to which frames count as still.
MOVED_SHARE = 0.01


@dataclass(frozen=True)
class SceneChange:
    """
    Where one frame differs from the empty scene.

    Parameters
    ----------
    mask : ndarray of bool, (h, w)
        True where it does, by cell.
    has_returned : bool
        What had been absorbed has left: in this frame the scene from before is valid again.

    """

    mask: Mask
    has_returned: bool


class EmptyScene:
    """
    The learned look of every cell of a grid.

    Parameters
    ----------
    first : ndarray of float32, (channels, h, w)
        The first frame, gray levels 0..255, taken for the empty scene until more is known.
    contrast_levels : float
        A cell has changed when a channel differs by more than this, or where the cell is used to
        vary, by more than four times its mean deviation; gray levels 0..255.
    shift_cells : int
        How far the picture may shift at once, cells, 0 or more.
    absorb_after_s : float
        A change that stands still for so long becomes part of the empty scene, above 0.

    """

    def __init__(
        self, first: Cells, *, contrast_levels: float, shift_cells: int, absorb_after_s: float
    ) -> None:
        self._contrast = contrast_levels
        side = 2 * shift_cells + 1
        self._neighbourhood = np.ones((side, side), np.uint8)
        self._absorb_after_s = absorb_after_s
        self.absorbed_count = 0
        self._start(first)

    @property
    def gain(self) -> float:
        """
        Brightness of the last frame against the learned scene, mean over the channels; 1 = alike.

        """
        return float(self._gain.mean())

    @property
    def known_s(self) -> float:
        """
        For how long the scene has been seen as it was learned: median over the cells, seconds, at
        most `absorb_after_s`.

        """
        return float(np.median(self._known_s))

    @property
    def unmoved_s(self) -> float:
        """
        For how long a change has stood still that covers a hundredth of the cells, seconds.

        """
        return float(np.quantile(self._still_s, 1 - MOVED_SHARE))

    def learn(self, frames: Sequence[Cells]) -> float:
        """
        Learn the scene anew from frames in which nothing moves.

        Parameters
        ----------
        frames : sequence of ndarray of float32, (channels, h, w)
            At least two, of one shape, gray levels 0..255.

        Returns
        -------
        float
            What an empty cell varies by, mean absolute deviation, gray levels.

        Raises
        ------
        FrameError
            When more than 1 % of the cells varied by more than `contrast_levels`; the old scene
            stays.

        """
        stack = np.stack(frames)
        levels = stack.mean(axis=(2, 3), keepdims=True)
        stack *= levels.mean(axis=0) / np.maximum(levels, 1.0)
        look = np.median(stack, axis=0)
        deviations = np.abs(stack - look).max(axis=1)
        moved = float((deviations.max(axis=0) > self._contrast).mean())
        if moved > MOVED_SHARE:
            raise FrameError(
                f'{moved:.1%} of the region changed by more than {self._contrast:g} gray levels '
                f'within {len(frames)} frames, allowed: {MOVED_SHARE:.0%}. '
                'Learn while nothing moves and no part is in view'
            )
        self._start(look)
        self._deviation[:] = deviations.mean(axis=0)
        self._known_s[:] = self._absorb_after_s
        return float(self._deviation.mean())

    def compare(self, cells: Cells, step_s: float) -> SceneChange:
        """
        Say where a frame differs; follow the exposure, and absorb what has stood still for long.

        Parameters
        ----------
        cells : ndarray of float32, (channels, h, w)
            The frame, gray levels 0..255.
        step_s : float
            Since the frame before, seconds.

        """
        step_s = min(max(step_s, 0.0), _LONGEST_STEP_S)
        self._follow_exposure(cells)
        self._normal = cells / self._gain
        mask = self._changed()
        has_returned = self._take_back(mask)
        if has_returned:
            mask = self._changed()
        self._empty = ~mask
        self._absorb(step_s)
        return SceneChange(mask, has_returned)

    def follow(self, occupied: Mask, step_s: float) -> None:
        """
        Let the look follow the frame that was last compared, where the scene is empty.

        Parameters
        ----------
        occupied : ndarray of bool, (w,)
            Columns in which a part may be: they stay as they are. What differs in others is how
            the empty scene varies.
        step_s : float
            Since the frame before, seconds.

        """
        step_s = min(max(step_s, 0.0), _LONGEST_STEP_S)
        rate = np.where(occupied, 0, 1 - np.exp(-step_s / _FOLLOW_S)).astype(np.float32)
        difference = self._normal - self._look
        self._look += rate * difference
        self._deviation += rate * (_largest(difference) - self._deviation)

    def _start(self, look: Cells) -> None:
        shape = look.shape[1:]
        self._look: Cells = look.astype(np.float32)
        self._normal = self._look
        self._deviation: Cells = np.zeros(shape, np.float32)
        self._gain: Cells = np.ones((look.shape[0], 1, 1), np.float32)
        self._empty = np.ones(shape, bool)
        self._known_s: Cells = np.zeros(shape, np.float32)
        # The look that may take over, and for how long it has stood still.
        self._candidate = self._look.copy()
        self._still_s: Cells = np.zeros(shape, np.float32)
        # The look before the last absorption and how long it was known, where there was one.
        self._before = self._look.copy()
        self._before_s: Cells = np.zeros(shape, np.float32)
        self._absorbed = np.zeros(shape, bool)

    def _follow_exposure(self, cells: Cells) -> None:
        """
        Find the gain of each channel from the lit cells that look as they did, but for the gain.

        """
        cells, look = (values[:, ::_GAIN_STEP, ::_GAIN_STEP] for values in (cells, self._look))
        lit = (look.min(axis=0) > _LIT_LEVEL) & (cells.max(axis=0) < _WHITE_LEVEL)
        lit_count = np.count_nonzero(lit)
        if lit_count < _LIT_SHARE * lit.size:
            return
        frame, look = cells[:, lit], look[:, lit]
        was_empty = self._empty[::_GAIN_STEP, ::_GAIN_STEP][lit]
        fits = self._fits(frame, look, self._gain[..., 0])
        if np.count_nonzero(fits) < lit_count / (1 + _TIMES_BETTER):
            ratios = frame / look
            stepped = [np.median(ratios, axis=1, keepdims=True)]
            if was_empty.any():
                stepped.append(np.median(ratios[:, was_empty], axis=1, keepdims=True))
            tried = max((self._fits(frame, look, gain) for gain in stepped), key=np.count_nonzero)
            # A large part that comes all at once makes another gain fit better, too.
            if np.count_nonzero(tried) >= _TIMES_BETTER * np.count_nonzero(fits):
                fits = tried
        if fits.any():
            gain = np.median(frame[:, fits] / look[:, fits], axis=1)
            self._gain[:, 0, 0] = np.clip(gain, *_GAIN_RANGE)

    def _fits(self, frame: Cells, look: Cells, gain: Cells) -> Mask:
        """
        Say which cells look as they did under the gain.

        """
        fits: Mask = _largest(frame - look * gain) <= self._contrast * max(1.0, float(gain.max()))
        return fits

    def _changed(self) -> Mask:
        """
        Compare the frame with the look of each cell and its neighbours.

        """
        outside = np.zeros(self._deviation.shape, np.float32)
        for normal, look, gain in zip(self._normal, self._look, self._gain.flat, strict=True):
            # Brighter than white cannot be seen.
            low = np.minimum(cv2.erode(look, self._neighbourhood), _WHITE_LEVEL / gain)
            np.maximum(outside, low - normal, out=outside)
            np.maximum(outside, normal - cv2.dilate(look, self._neighbourhood), out=outside)
        changed: Mask = outside > self._tolerance()
        return changed

    def _tolerance(self) -> Cells:
        return np.maximum(np.float32(self._contrast), 4 * self._deviation)

    def _take_back(self, mask: Mask) -> bool:
        """
        Bring the scene from before the last absorption back where it shows again.

        """
        self._absorbed &= _FORGOTTEN_TIMES * self._before_s >= self._known_s
        absorbed = np.count_nonzero(self._absorbed)
        if not absorbed:
            return False
        fits = _largest(self._normal - self._before) <= self._contrast
        returned = np.count_nonzero(self._absorbed & mask & fits)
        if returned < max(2, _RETURNED_SHARE * absorbed):
            return False
        np.copyto(self._look, self._before, where=self._absorbed)
        np.copyto(self._known_s, self._before_s, where=self._absorbed)
        self._absorbed[:] = False
        return True

    def _absorb(self, step_s: float) -> None:
        """
        Let what has stood still longer than the scene was known take its place.

        Each cell is compared with its own look alone: beside a cell that has changed already the
        neighbours' would let everything pass.

        """
        differs = _largest(self._normal - self._look) > self._tolerance()
        self._known_s += np.where(differs, np.float32(0), np.float32(step_s))
        np.minimum(self._known_s, self._absorb_after_s, out=self._known_s)
        stands = differs & (_largest(self._normal - self._candidate) <= self._contrast)
        # Parts that pass over a changed place hide it, but are no reason to begin anew; the scene
        # as it was is.
        gained_s = np.where(stands, np.float32(step_s), np.float32(-_HIDDEN_COSTS * step_s))
        self._still_s = np.where(differs, self._still_s + gained_s, np.float32(0))
        begins = differs & (self._still_s < 0)
        np.copyto(self._candidate, self._normal, where=begins)
        self._still_s[begins] = 0
        ripe = stands & (self._still_s >= np.maximum(self._known_s, _SETTLE_S))
        if not ripe.any():
            return
        was_known = ripe & (self._known_s >= _SETTLE_S)
        fresh = was_known & ~self._absorbed
        np.copyto(self._before, self._look, where=fresh)
        np.copyto(self._before_s, self._known_s, where=fresh)
        self._absorbed |= was_known
        np.copyto(self._look, self._candidate, where=ripe)
        self._known_s[ripe] = self._still_s[ripe]
        self._deviation[ripe] = 0
        self._still_s[ripe] = 0
        self.absorbed_count += int(np.count_nonzero(ripe))


def _largest(differences: Cells) -> Cells:
    """
    Give the largest difference over the channels, without its sign.

    """
    largest: Cells = np.abs(differences).max(axis=0)
    return largest
