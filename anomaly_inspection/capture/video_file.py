# SPDX-License-Identifier: Apache-2.0
"""
A video file as a frame source.

"""

from __future__ import annotations

import os
from pathlib import Path
import threading
import time

import cv2
import numpy as np

from anomaly_inspection.capture.source import Frame, FrameSource
from anomaly_inspection.errors import SourceError

VIDEO_SUFFIXES = (
    '.avi', '.m2ts', '.m4v', '.mjpeg', '.mjpg', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ogv',
    '.ts', '.webm', '.wmv',
)  # fmt: skip


class VideoFile(FrameSource):
    """
    The frames of any video that OpenCV can decode.

    Names are '<file>/<frame>', the frame counted from 000000. The time of a frame is that of its
    `read`: a recording says nothing of the clocks of today.

    Parameters
    ----------
    path : str or Path
        The video file.

    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(os.path.abspath(Path(path).expanduser()))
        self._capture: cv2.VideoCapture | None = None
        self._frames_read = 0
        self._in_use = threading.Lock()

    def open(self) -> None:
        """
        Open the video and begin at its first frame.

        Raises
        ------
        SourceError
            When the file is missing or is no video that can be decoded.

        """
        self.close()
        if not self.path.is_file():
            raise SourceError(f'there is no video file {self.path}')
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise SourceError(
                f'{self.path} ({self.path.stat().st_size} bytes) cannot be opened: '
                'it is damaged, or its format is unknown to OpenCV'
            )
        self._capture = capture
        self._frames_read = 0

    def read(self) -> Frame | None:
        """
        Give the next frame; returns as soon as it is decoded.

        Raises
        ------
        SourceError
            When the video is not open, or ends clearly before the number of frames that its header
            announces.

        """
        with self._in_use:
            if self._capture is None:
                raise SourceError(f'video {self.path} is not open')
            has_image, image = self._capture.read()
            announced = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        if not has_image:
            # Some containers only estimate the number, hence the 5 %.
            if self._frames_read == 0 or self._frames_read < 0.95 * announced - 1:
                raise SourceError(
                    f'{self.path} is damaged: it ends after {self._frames_read} '
                    f'of about {announced:.0f} frames'
                )
            return None
        name = f'{self.path.name}/{self._frames_read:06d}'
        self._frames_read += 1
        pixels = np.asarray(image, dtype=np.uint8)
        return Frame(pixels, time.time_ns(), time.monotonic_ns(), name)

    def close(self) -> None:
        """
        Release the file; waits for a `read` in progress.

        """
        with self._in_use:
            if self._capture is not None:
                self._capture.release()
            self._capture = None
