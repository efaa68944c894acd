# SPDX-License-Identifier: Apache-2.0
"""
What is wrong with an image of a good part, said while the part still lies there.

`image_quality.py` looks at all images together when they are taught. Here each image is compared
with those before it, by the same measures, in some ten milliseconds.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.imaging.frame_check import BLACK_LEVEL, BLACK_SHARE, saturation
from anomaly_inspection.learning.image_quality import (
    BLURRED_PX,
    BLURRED_TIMES,
    edge_width,
    light_plane,
    STEADY_LIGHT,
    UNUSUAL_LIGHT,
)
from anomaly_inspection.learning.near_copies import are_near_copies, Looks

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Earlier images that a new one is compared with; about 0.2 MB of memory each.
_REMEMBERED = 200
# So many images show what is usual.
_FEWEST_TO_COMPARE = 3
# Earlier images, the nearest by their blocks, that might be copies of a new one.
_CANDIDATES = 3
_MOST_SATURATED = 0.25
# Above the usual share, in a scene that is bright as it is.
_MORE_SATURATED = 0.05
# How much wider edges are in one direction than in the other when the part moved.
_MOVED_TIMES = 1.5


@dataclass(frozen=True)
class PartHint:
    """
    What is wrong with an image.

    Parameters
    ----------
    code : str
        'dark', 'bright', 'size', 'copy', 'moved', 'focus' or 'light'; '' = nothing is wrong.
    sentence : str
        What it is and what to do; '' = nothing is wrong.

    """

    code: str = ''
    sentence: str = ''


@dataclass(frozen=True, eq=False)
class _Seen:
    small: NDArray[np.float32]
    blocks: NDArray[np.float32]
    light: NDArray[np.float64]
    across_px: float
    down_px: float
    any_px: float
    saturated: float


class PartHints:
    """
    Compares each image with those before it. Give it one thread.

    """

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque(maxlen=_REMEMBERED)
        self._shape: tuple[int, ...] = ()

    def take(self, frame: NDArray[np.uint8]) -> PartHint:
        """
        Say what is wrong with an image, the worst first; the next ones are compared with it too.

        Parameters
        ----------
        frame : ndarray of uint8, (H, W) or (H, W, 3)
            Of a good part, as the camera gives it.

        """
        if self._shape and frame.shape != self._shape:
            return PartHint(
                'size',
                f'The image is {_format(frame.shape)}, the first one was {_format(self._shape)}: '
                'do not change the camera while you record.',
            )
        self._shape = frame.shape
        if np.count_nonzero(frame >= BLACK_LEVEL) <= BLACK_SHARE * frame.size:
            return PartHint('dark', 'The image is black: is the light on, or the lens covered?')
        looks = Looks.of([frame])
        small = looks.small[0]
        across, down, widest = (
            looks.reduction * edge_width(small, way) for way in ('across', 'down', 'any')
        )
        seen = _Seen(
            small, looks.blocks[0], light_plane(small), across, down, widest, saturation(frame)
        )
        hint = self._bright(seen) or self._copy(seen)
        if hint is None and len(self._seen) >= _FEWEST_TO_COMPARE:
            hint = self._moved(seen, looks.reduction) or self._focus(seen, looks.reduction)
            hint = hint or self._light(seen)
        self._seen.append(seen)
        return hint or PartHint()

    def _bright(self, seen: _Seen) -> PartHint | None:
        usual = float(np.median([one.saturated for one in self._seen])) if self._seen else 1.0
        share = seen.saturated
        if share <= usual + _MORE_SATURATED and (
            share <= _MOST_SATURATED
            # A white background is the same in every image: a hint that never ends would hide all
            # others.
            or len(self._seen) >= _FEWEST_TO_COMPARE
        ):
            return None
        return PartHint(
            'bright',
            f'{100 * share:.0f} % of the image is white, nothing can be seen there: too bright. '
            'Shorten the exposure, or dim the light, unless it is only the background.',
        )

    def _copy(self, seen: _Seen) -> PartHint | None:
        if not self._seen:
            return None
        rows = np.array([one.blocks for one in self._seen])
        distances = np.square(rows - seen.blocks).mean(axis=1)
        for place in np.argsort(distances)[:_CANDIDATES]:
            if are_near_copies(self._seen[int(place)].small, seen.small):
                return PartHint(
                    'copy',
                    'Too alike: an earlier image shows the same part in the same place. Put the '
                    'part down anew, or take another one.',
                )
        return None

    def _moved(self, seen: _Seen, reduction: float) -> PartHint | None:
        """
        Find edges that are blurred in one direction alone: the part moved during the exposure.

        """
        usual = [
            float(np.median([getattr(one, way) for one in self._seen]))
            for way in ('across_px', 'down_px')
        ]
        wider = [
            width > max(_MOVED_TIMES * sharp, math.hypot(sharp, BLURRED_PX * reduction))
            for width, sharp in zip((seen.across_px, seen.down_px), usual, strict=True)
        ]
        if wider[0] == wider[1]:
            return None
        width, sharp = (seen.across_px, usual[0]) if wider[0] else (seen.down_px, usual[1])
        return PartHint(
            'moved',
            f'The part moved: its edges are blurred {"across" if wider[0] else "down"} the image, '
            f'{width:.1f} px wide instead of {sharp:.1f} px. Let it come to rest, or shorten the '
            'exposure.',
        )

    def _focus(self, seen: _Seen, reduction: float) -> PartHint | None:
        sharp = float(np.median([one.any_px for one in self._seen]))
        widest = max(BLURRED_TIMES * sharp, math.hypot(sharp, BLURRED_PX * reduction))
        if seen.any_px <= widest:
            return None
        return PartHint(
            'focus',
            f'Out of focus: its edges are {seen.any_px:.1f} px wide, those of the others '
            f'{sharp:.1f} px. Check lens, distance and vibration, then delete this image.',
        )

    def _light(self, seen: _Seen) -> PartHint | None:
        lights = np.array([one.light for one in self._seen])
        middle = np.median(lights, axis=0)
        usual = float(np.median(np.abs(lights - middle).sum(axis=1)))
        change = seen.light - middle
        if float(np.abs(change).sum()) <= max(math.log1p(STEADY_LIGHT), UNUSUAL_LIGHT * usual):
            return None
        brighter = math.expm1(float(change[0]))
        how = f'{100 * abs(brighter):.0f} % {"brighter" if brighter > 0 else "darker"}'
        if float(np.abs(change[1:]).max()) > abs(float(change[0])):
            how = 'darker on one side'
        return PartHint(
            'light',
            f'The light has changed: {how} than before. Is a lamp off, or does somebody stand in '
            'the light?',
        )


def _format(shape: tuple[int, ...]) -> str:
    return f'{shape[1]} x {shape[0]} px {"in colour" if len(shape) == 3 else "in gray"}'
