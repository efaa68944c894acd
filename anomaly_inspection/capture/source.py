# SPDX-License-Identifier: Apache-2.0
"""
What a frame source is: the protocol that cameras, folders, videos and the simulated line share.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Self, TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frame:
    """
    One image of a part, with the time of its exposure.

    Parameters
    ----------
    image : ndarray of uint8, (H, W) gray or (H, W, 3) BGR, or None
        The pixels; None when the frame could not be read, then `problem` says why.
    stamp_ns : int
        Exposure time, camera's clock, nanoseconds since the epoch.
    steady_ns : int
        The same instant on CLOCK_MONOTONIC, nanoseconds.
    name : str
        Where it came from: file name relative to the source, 'line_7/000012', or '' for a live
        camera.
    problem : str
        What was wrong with it, one sentence; '' when nothing was.

    """

    image: NDArray[np.uint8] | None
    stamp_ns: int
    steady_ns: int
    name: str = ''
    problem: str = ''


@dataclass(frozen=True)
class Truth:
    """
    What is known of a frame beforehand, for demos, tests and evaluation.

    Parameters
    ----------
    defect : str
        Kind of defect, 'good' when there is none.
    part_present : bool
        False for an empty place: neither pass nor reject is right.
    diameter_px : float
        Diameter of the circle of the defect's area, pixels; NaN = unknown.
    contrast_levels : float
        Mean absolute difference the defect makes over its area, gray levels 0..255; NaN = unknown.
    mask : ndarray of bool, (H, W), or None
        Where the defect is; None = unknown.
    part_class : str
        Which of several kinds of part it is, such as the face of a die; '' = unknown.

    """

    defect: str = 'good'
    part_present: bool = True
    diameter_px: float = float('nan')
    contrast_levels: float = float('nan')
    mask: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)
    part_class: str = ''

    @property
    def is_good(self) -> bool:
        """
        Whether the part has no defect.

        """
        return self.defect == 'good'


class FrameSource(ABC):
    """
    A device or file that gives frames one after another; a context manager.

    Attributes
    ----------
    is_live : bool
        True when frames come at the device's own pace and carry the device's exposure time; False
        when `read` gives the next one at once (files, simulation): whoever paces them stamps them
        at their release.

    """

    is_live: ClassVar[bool] = False

    @abstractmethod
    def open(self) -> None:
        """
        Open the device or folder; blocks until it is ready or raises.

        Raises
        ------
        SourceError
            When it cannot be opened; says what was tried.

        """

    @abstractmethod
    def read(self) -> Frame | None:
        """
        Give the next frame; blocks until there is one.

        A frame that exists but cannot be decoded is returned with `image=None` and a `problem`: it
        stands for a real part.

        Returns
        -------
        Frame or None
            None when the source has ended for good.

        Raises
        ------
        SourceError
            When the device has failed (the caller may close and open again).

        """

    @abstractmethod
    def close(self) -> None:
        """
        Release the device; may be called twice and from another thread than the one that reads.

        A `read` that waits then raises SourceError at once.

        """

    def truth(self, name: str, *, with_mask: bool = True) -> Truth | None:
        """
        Give what is known of the frame of that name; None when nothing is.

        Without the mask this is quick and takes little memory.

        """
        return None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
