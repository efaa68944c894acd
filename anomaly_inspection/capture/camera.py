# SPDX-License-Identifier: Apache-2.0
"""
A V4L2 camera (USB cameras and others) as a frame source.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
import math
import os
from pathlib import Path
import threading
import time
from typing import Any, ClassVar, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.source import Frame, FrameSource
from anomaly_inspection.errors import FrameError, SettingError, SourceError
from anomaly_inspection.imaging.image_decoding import decode_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXPOSURE_UNIT_S = 1e-4
# Formats that OpenCV hands over better as they come: see Camera.
_TAKEN_RAW = ('MJPG', 'JPEG', 'GREY')


def _within(minimum: float, maximum: float, default: float | None = None) -> Any:
    return field(default=default, metadata={'range': (minimum, maximum)})


@dataclass(frozen=True)
class CameraSettings:
    """
    What is asked of a camera; None leaves it as it is, automatics included.

    OpenCV opens at 640x480 and 30 Hz. A control that another program, or an earlier run, has set
    stays so in the camera until that is unplugged: None does not switch an automatic on again.

    Parameters
    ----------
    width_px, height_px : int, 1..16384
        Size of the frames; both or neither.
    fps : float, 1..1000
        Frames per second; the camera's exposure may make it slower. OpenCV passes on whole
        numbers.
    pixel_format : str
        FOURCC, four characters: 'YUYV', 'MJPG', 'GREY'.
    exposure_s : float, 0.0001..10
        Exposure time, seconds; set in steps of 0.0001 s. Switches automatic exposure off.
    gain : float, 0..65535
        In the camera's own units. Switches automatic exposure off too, since that governs the
        gain: without `exposure_s` the exposure stays where it is.
    white_balance_k : float, 1000..20000
        Colour temperature, kelvin. Switches automatic white balance off.
    focus : float, 0..65535
        In the camera's own units. Switches automatic focus off.
    timeout_s : float, 0.1..60
        The longest wait for the device to open, for a frame and for the device's release, each.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    width_px: int | None = _within(1, 16384)
    height_px: int | None = _within(1, 16384)
    fps: float | None = _within(1, 1000)
    pixel_format: str | None = None
    exposure_s: float | None = _within(_EXPOSURE_UNIT_S, 10)
    gain: float | None = _within(0, 65535)
    white_balance_k: float | None = _within(1000, 20000)
    focus: float | None = _within(0, 65535)
    timeout_s: float = _within(0.1, 60, default=2.0)

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if 'range' not in setting.metadata or (value is None and setting.default is None):
                continue
            minimum, maximum = setting.metadata['range']
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (is_number and minimum <= value <= maximum):
                raise SettingError(
                    f'{setting.name} is {value!r}; allowed: {minimum:g} to {maximum:g}'
                )
        if (self.width_px is None) != (self.height_px is None):
            raise SettingError(
                f'width_px is {self.width_px} and height_px is {self.height_px}; '
                'allowed: both or neither'
            )
        code = self.pixel_format
        if code is not None and not (len(code) == 4 and code.isascii() and code.isprintable()):
            raise SettingError(
                f"pixel_format is {code!r}; allowed: four characters, such as 'YUYV' or 'MJPG'"
            )


def _v4l2_capture(device: int | str) -> cv2.VideoCapture:
    return cv2.VideoCapture(device, cv2.CAP_V4L2)


class Camera(FrameSource):
    """
    A camera behind V4L2, through OpenCV.

    A thread of its own does all that touches the device and grabs without pause, so the driver's
    buffers never hold old frames and nothing that the device does holds up the caller for longer
    than `timeout_s`. The stamps are taken when a frame arrives from the driver: exposure, read-out
    and USB transfer lie before (their time is the camera's). A caller that needs a frame exposed
    after some event compares `steady_ns` and reads again.

    After a failure `read` keeps raising; `open` starts anew. Reconnecting is the caller's.

    MJPG is decoded here and not in OpenCV, whose V4L2 back-end gives out the frame before once
    more when a JPEG is broken. GREY comes as (H, W), all else as BGR.

    Not seen on hardware: all of it is tested with a fake in OpenCV's place. Property numbers,
    value ranges and the failure on unplugging follow OpenCV's V4L2 source and the V4L2 documents.
    OpenCV itself may wait up to 10 s for a frame: until that returns, `open` after `close`
    refuses.

    Parameters
    ----------
    device : int or str
        Index, or path such as '/dev/video0' or '/dev/v4l/by-id/...', which stays the same in
        another socket.
    settings : CameraSettings, optional
        What is asked of the camera.
    new_capture : callable, optional
        Makes the cv2.VideoCapture of a device.

    """

    is_live: ClassVar[bool] = True

    def __init__(
        self,
        device: int | str,
        settings: CameraSettings | None = None,
        *,
        new_capture: Callable[[int | str], cv2.VideoCapture] = _v4l2_capture,
    ) -> None:
        self._device = device
        self._settings = settings or CameraSettings()
        self._new_capture = new_capture
        self._grabber: _Grabber | None = None

    def open(self) -> None:
        """
        Open the device, apply the settings and read them back; blocks for at most `timeout_s`.

        Raises
        ------
        SourceError
            When the device cannot be opened in time, or has ignored a setting: says which, wanted
            and got.

        """
        self.close()
        if self._grabber is not None and self._grabber.is_alive():
            raise SourceError(
                f'camera {self._device} is still held by an earlier call that has not returned'
            )
        grabber = _Grabber(self._device, self._settings, self._new_capture)
        # Started first: `close` in another thread may join it as soon as it is known.
        grabber.start()
        self._grabber = grabber
        try:
            grabber.wait_until_open()
        except SourceError:
            # Not waited for: a device that hangs has had its time.
            grabber.ask_to_stop()
            raise

    def read(self) -> Frame:
        """
        Give the newest frame; blocks, at most `timeout_s`, until one is newer than the last given.

        Raises
        ------
        SourceError
            When none came in time, the device has failed or been unplugged, or is closed, also
            while waiting.

        """
        if self._grabber is None:
            raise SourceError(f'camera {self._device} is not open')
        return self._grabber.newest_frame()

    def close(self) -> None:
        """
        Release the device; blocks until its thread has ended, at most `timeout_s`.

        """
        if self._grabber is not None:
            self._grabber.ask_to_stop()
            self._grabber.join(self._settings.timeout_s)


class _Grabber(threading.Thread):
    """
    The thread of one opened device: the only one that touches it.

    """

    def __init__(
        self,
        device: int | str,
        settings: CameraSettings,
        new_capture: Callable[[int | str], cv2.VideoCapture],
    ) -> None:
        super().__init__(name=f'camera {device}', daemon=True)
        self._device = device
        self._settings = settings
        self._new_capture = new_capture
        self._changed = threading.Condition()
        self._is_open = False
        self._must_stop = False
        self._frame: Frame | None = None
        self._failure = ''

    def run(self) -> None:
        failure = ''
        capture = None
        try:
            capture = self._new_capture(self._device)
            if not capture.isOpened():
                raise SourceError(f'cannot be opened: {_why_it_does_not_open(self._device)}')
            _apply(self._settings, capture)
            with self._changed:
                self._is_open = True
                self._changed.notify_all()
            while not self._must_stop:
                self._grab(capture)
        except SourceError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - a thread's edge: whoever waits must hear of it
            failure = f'has failed: {error!r}'
        finally:
            if capture is not None:
                capture.release()
        # Only now, so that whoever hears of it finds the device free.
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _grab(self, capture: cv2.VideoCapture) -> None:
        if not capture.grab():
            raise SourceError('gives no more frames: unplugged, or its stream has failed')
        stamp_ns, steady_ns = time.time_ns(), time.monotonic_ns()
        image, problem = None, ''
        try:
            image = _retrieve(capture)
        except (FrameError, cv2.error) as error:
            problem = str(error)
        with self._changed:
            self._frame = Frame(image, stamp_ns, steady_ns, problem=problem)
            self._changed.notify_all()

    def wait_until_open(self) -> None:
        with self._changed:
            self._wait_for(lambda: self._is_open, 'has not opened')

    def newest_frame(self) -> Frame:
        with self._changed:
            self._wait_for(lambda: self._frame is not None, 'gave no frame')
            frame, self._frame = self._frame, None
        assert frame is not None
        return frame

    def _wait_for(self, happened: Callable[[], bool], what_did_not: str) -> None:
        self._changed.wait_for(
            lambda: happened() or self._failure or self._must_stop, self._settings.timeout_s
        )
        if self._must_stop:
            raise SourceError(f'camera {self._device} is closed')
        if happened():
            return
        raise SourceError(
            f'camera {self._device} '
            + (self._failure or f'{what_did_not} within {self._settings.timeout_s:g} s')
        )

    def ask_to_stop(self) -> None:
        with self._changed:
            self._must_stop = True
            self._changed.notify_all()


def _retrieve(capture: cv2.VideoCapture) -> NDArray[np.uint8]:
    has_image, image = capture.retrieve()
    if not has_image or image is None or image.size == 0:
        raise FrameError('the camera gave a frame that cannot be decoded')
    if 1 in image.shape[:2]:
        return decode_image(image.tobytes())
    if image.dtype != np.uint8 or image.shape[2:] not in ((), (3,)):
        raise FrameError(
            f'the camera gave {image.dtype} pixels of shape {image.shape}; '
            'allowed: 8 bits, gray or BGR'
        )
    return np.asarray(image, dtype=np.uint8)


@dataclass(frozen=True)
class _Automatic:
    property_id: int
    manual: int


# The automatics of V4L2 and the value that means manual, as OpenCV passes it on.
_EXPOSURE = _Automatic(cv2.CAP_PROP_AUTO_EXPOSURE, 1)
_WHITE_BALANCE = _Automatic(cv2.CAP_PROP_AUTO_WB, 0)
_FOCUS = _Automatic(cv2.CAP_PROP_AUTOFOCUS, 0)


@dataclass(frozen=True)
class _Control:
    setting: str
    property_id: int
    automatic: _Automatic | None = None
    unit: float = 1.0
    tolerance: float = 0.01


# In the order in which they are set: another format or size makes the driver choose the rest anew.
_CONTROLS = (
    _Control('width_px', cv2.CAP_PROP_FRAME_WIDTH, tolerance=0.0),
    _Control('height_px', cv2.CAP_PROP_FRAME_HEIGHT, tolerance=0.0),
    _Control('fps', cv2.CAP_PROP_FPS),
    _Control('exposure_s', cv2.CAP_PROP_EXPOSURE, _EXPOSURE, unit=_EXPOSURE_UNIT_S),
    _Control('gain', cv2.CAP_PROP_GAIN, _EXPOSURE),
    _Control('white_balance_k', cv2.CAP_PROP_WB_TEMPERATURE, _WHITE_BALANCE),
    _Control('focus', cv2.CAP_PROP_FOCUS, _FOCUS),
)


def _apply(settings: CameraSettings, capture: cv2.VideoCapture) -> None:
    asked = [
        (control, value)
        for control in _CONTROLS
        if (value := getattr(settings, control.setting)) is not None
    ]
    if settings.pixel_format is not None:
        code = int.from_bytes(settings.pixel_format.encode('ascii'), 'little')
        capture.set(cv2.CAP_PROP_FOURCC, code)
    exists = {}
    for control, value in asked:
        automatic = control.automatic
        if automatic is not None:
            exists[automatic] = capture.set(automatic.property_id, automatic.manual)
        capture.set(control.property_id, round(value / control.unit))

    # Read back after all is set, since one setting may undo another.
    ignored = []
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    pixel_format = code.to_bytes(4, 'little').decode('ascii', 'replace')
    if settings.pixel_format not in (None, pixel_format):
        ignored.append(f'pixel_format: wanted {settings.pixel_format!r}, got {pixel_format!r}')
    for control, value in asked:
        automatic = control.automatic
        if automatic is not None:
            mode = capture.get(automatic.property_id)
            # A camera without that automatic refuses the switch and reads -1 (before OpenCV 4: 0).
            if mode != automatic.manual and (exists[automatic] or mode not in (-1, 0)):
                ignored.append(
                    f'{control.setting}: its automatic stays on '
                    f'(wanted {automatic.manual}, got {mode:g})'
                )
        got = capture.get(control.property_id)
        wanted = round(value / control.unit)
        if not math.isclose(got, wanted, rel_tol=control.tolerance):
            ignored.append(
                f'{control.setting}: wanted {value:g}, got '
                + (f'{got * control.unit:g}' if got >= 0 else 'nothing: it has no such control')
            )
    if ignored:
        raise SourceError(f'has ignored settings: {"; ".join(ignored)}')
    if pixel_format in _TAKEN_RAW:
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)


def _why_it_does_not_open(device: int | str) -> str:
    path = Path(f'/dev/video{device}' if isinstance(device, int) else device)
    if not path.exists():
        present = ', '.join(sorted(str(other) for other in Path('/dev').glob('video*')))
        return f'there is no {path}; present: {present or "no camera"}'
    if not os.access(path, os.R_OK | os.W_OK):
        return f"no permission for {path}: join the group that owns it (mostly 'video')"
    return f'{path} is in use by another program, or gives no video (such as a metadata device)'
