# SPDX-License-Identifier: Apache-2.0
"""
A frame source from its name, as people write it in parameters and on the command line.

"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_inspection.capture.camera import Camera, CameraSettings
from anomaly_inspection.capture.image_file import IMAGE_SUFFIXES
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.capture.simulated_line import SimulatedLine, SimulatedLineSettings
from anomaly_inspection.capture.video_file import VIDEO_SUFFIXES, VideoFile
from anomaly_inspection.errors import SourceError

if TYPE_CHECKING:
    from anomaly_inspection.capture.source import FrameSource

#: What `open_source` takes, in words.
UNDERSTOOD_SOURCES = (
    "a camera's index (0) or device (/dev/video0), a folder of images, "
    f'a video file (*{", *".join(VIDEO_SUFFIXES)}), '
    "or the simulated line (line, or 'line:parts=200,seed=2')"
)


def open_source(spec: str, *, camera_settings: CameraSettings | None = None) -> FrameSource:
    """
    Choose the source that `spec` names; its `open` is left to the caller.

    Parameters
    ----------
    spec : str
        '0' or '/dev/video0' for a camera, a folder of images, a video file, 'line' or
        'line:parts=200,seed=2' for the simulated line. './0' is a folder called 0.
    camera_settings : CameraSettings, optional
        What is asked of a camera; other sources have no use for it.

    Raises
    ------
    SourceError
        When it is none of these, or does not exist; says what is understood.
    SettingError
        When a setting of the simulated line is out of range.

    """
    if spec == 'line' or spec.startswith('line:'):
        return SimulatedLine(SimulatedLineSettings.from_spec(spec))
    if spec.isascii() and spec.isdigit():
        return Camera(int(spec), camera_settings)
    if spec.startswith('/dev/'):
        return Camera(spec, camera_settings)
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return ImageFolder(path)
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoFile(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        what = 'is one image, not a folder of them'
    elif path.is_file():
        what = 'is neither a folder nor a video file'
    else:
        what = 'does not exist'
    raise SourceError(f'source {spec!r} {what}; understood: {UNDERSTOOD_SOURCES}')
