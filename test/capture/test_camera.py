# SPDX-License-Identifier: Apache-2.0
"""
The camera against a fake in the place of cv2.VideoCapture.

"""

from __future__ import annotations

from collections import defaultdict
import queue
import re
import threading
import time

import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.camera import Camera, CameraSettings
from anomaly_inspection.errors import SettingError, SourceError

PATIENCE_S = 20.0
# Long enough for a thread to start on a busy machine.
SHORT_S = 0.5
AUTOMATIC_EXPOSURE, MANUAL_EXPOSURE = 3, 1


def picture(level: int) -> np.ndarray:
    return np.full((6, 8, 3), level, np.uint8)


class FakeCapture:
    """
    A V4L2 camera as OpenCV shows it: `grab` blocks until the test hands in a frame or an end.

    """

    def __init__(self, *, opens: bool = True, ignores: tuple[int, ...] = (), **frozen: float):
        self.opens = opens
        self.ignores = ignores
        self.calls: list[tuple[int, float]] = []
        self.properties = defaultdict(
            lambda: -1.0,
            {
                cv2.CAP_PROP_FOURCC: int.from_bytes(b'YUYV', 'little'),
                cv2.CAP_PROP_AUTO_EXPOSURE: AUTOMATIC_EXPOSURE,
                cv2.CAP_PROP_AUTO_WB: 1,
                cv2.CAP_PROP_AUTOFOCUS: 1,
                cv2.CAP_PROP_EXPOSURE: 156,
                cv2.CAP_PROP_FRAME_WIDTH: 640,
                cv2.CAP_PROP_FRAME_HEIGHT: 480,
            },
        )
        self.frames: queue.Queue = queue.Queue()
        self.waits = threading.Semaphore(0)
        self.released = threading.Event()
        self.threads: set[int] = set()
        self.grabbed = None

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opens

    def set(self, property_id: int, value: float) -> bool:
        self.calls.append((property_id, value))
        if property_id in self.ignores:
            return False
        self.properties[property_id] = value
        return True

    def get(self, property_id: int) -> float:
        return self.properties[property_id]

    def grab(self) -> bool:
        self.threads.add(threading.get_ident())
        self.waits.release()
        self.grabbed = self.frames.get(timeout=3 * PATIENCE_S)
        return self.grabbed is not None

    def retrieve(self):
        if isinstance(self.grabbed, Exception):
            raise self.grabbed
        return self.grabbed is not False, self.grabbed if self.grabbed is not False else None

    def release(self) -> None:
        self.threads.add(threading.get_ident())
        self.released.set()

    def unplug(self) -> None:
        self.frames.put(None)

    def wait_until_drained(self, frames: int) -> None:
        for _ in range(frames + 1):
            assert self.waits.acquire(timeout=PATIENCE_S)


@pytest.fixture
def connect():
    cameras = []

    def make(*captures: FakeCapture, settings: CameraSettings | None = None) -> Camera:
        waiting = iter(captures)
        camera = Camera(0, settings, new_capture=lambda _: next(waiting))
        cameras.append((camera, captures))
        return camera

    yield make
    for camera, captures in cameras:
        for capture in captures:
            capture.unplug()
        camera.close()


def test_frames_come_in_order_with_increasing_stamps(connect):
    capture = FakeCapture()
    camera = connect(capture)
    before_ns = time.monotonic_ns()
    camera.open()
    frames = []
    for level in (10, 20, 30):
        capture.frames.put(picture(level))
        frames.append(camera.read())
    assert [frame.image[0, 0, 0] for frame in frames] == [10, 20, 30]
    steady = [before_ns, *(frame.steady_ns for frame in frames), time.monotonic_ns()]
    assert steady == sorted(steady)
    assert abs(frames[0].stamp_ns - time.time_ns()) < 1e9 * PATIENCE_S
    assert camera.is_live
    assert {frame.name for frame in frames} == {''}


def test_the_newest_frame_is_given_and_older_ones_are_dropped(connect):
    capture = FakeCapture()
    camera = connect(capture)
    camera.open()
    for level in (10, 20, 30):
        capture.frames.put(picture(level))
    capture.wait_until_drained(3)
    assert camera.read().image[0, 0, 0] == 30


def test_a_frame_is_given_only_once(connect):
    capture = FakeCapture()
    camera = connect(capture, settings=CameraSettings(timeout_s=SHORT_S))
    camera.open()
    capture.frames.put(picture(10))
    capture.wait_until_drained(1)
    camera.read()
    with pytest.raises(SourceError, match=r'gave no frame within 0\.5 s'):
        camera.read()


def test_a_slow_camera_times_out_and_goes_on(connect):
    capture = FakeCapture()
    camera = connect(capture, settings=CameraSettings(timeout_s=SHORT_S))
    camera.open()
    with pytest.raises(SourceError, match=r'camera 0 gave no frame within 0\.5 s'):
        camera.read()
    capture.frames.put(picture(7))
    capture.wait_until_drained(1)
    assert camera.read().image[0, 0, 0] == 7


def test_unplugging_is_an_error_and_the_camera_opens_again(connect):
    first, second = FakeCapture(), FakeCapture()
    camera = connect(first, second)
    camera.open()
    first.unplug()
    for _ in range(2):
        with pytest.raises(SourceError, match='camera 0 gives no more frames: unplugged'):
            camera.read()
    assert first.released.is_set()
    camera.open()
    second.frames.put(picture(9))
    assert camera.read().image[0, 0, 0] == 9


def test_a_frame_taken_before_the_unplugging_is_not_lost(connect):
    capture = FakeCapture()
    camera = connect(capture)
    camera.open()
    capture.frames.put(picture(5))
    capture.unplug()
    assert capture.released.wait(PATIENCE_S)
    assert camera.read().image[0, 0, 0] == 5
    with pytest.raises(SourceError, match='unplugged'):
        camera.read()


def test_close_while_reading_ends_the_read(connect):
    capture = FakeCapture()
    camera = connect(capture, settings=CameraSettings(timeout_s=3 * PATIENCE_S))
    camera.open()
    errors: queue.Queue = queue.Queue()

    def read() -> None:
        try:
            camera.read()
        except SourceError as error:
            errors.put(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    closer = threading.Thread(target=camera.close)
    closer.start()
    assert 'camera 0 is closed' in errors.get(timeout=PATIENCE_S)
    capture.frames.put(picture(2))
    closer.join(PATIENCE_S)
    reader.join(PATIENCE_S)
    assert capture.released.is_set()
    assert not closer.is_alive()
    camera.close()


def test_one_thread_alone_touches_the_device_and_ends_on_close(connect):
    capture = FakeCapture()
    camera = connect(capture)
    camera.open()
    capture.frames.put(picture(1))
    camera.read()
    capture.frames.put(picture(1))
    camera.close()
    assert capture.released.is_set()
    assert len(capture.threads) == 1
    assert threading.get_ident() not in capture.threads
    assert not any(thread.name == 'camera 0' for thread in threading.enumerate())
    with pytest.raises(SourceError, match='closed'):
        camera.read()


def test_a_driver_that_hangs_holds_up_neither_close_nor_the_next_open(connect):
    hanging, healthy = FakeCapture(), FakeCapture()
    camera = connect(hanging, healthy, settings=CameraSettings(timeout_s=SHORT_S))
    camera.open()
    camera.close()
    assert not hanging.released.is_set()
    with pytest.raises(SourceError, match='still held'):
        camera.open()
    hanging.unplug()
    assert hanging.released.wait(PATIENCE_S)
    camera.close()
    camera.open()
    healthy.frames.put(picture(3))
    healthy.wait_until_drained(1)
    assert camera.read().image[0, 0, 0] == 3


def test_an_open_that_hangs_times_out_and_releases_the_device_later():
    may_go_on = threading.Event()
    capture = FakeCapture()

    def slow_capture(_):
        may_go_on.wait(PATIENCE_S)
        return capture

    camera = Camera(0, CameraSettings(timeout_s=SHORT_S), new_capture=slow_capture)
    with pytest.raises(SourceError, match=r'camera 0 has not opened within 0\.5 s'):
        camera.open()
    may_go_on.set()
    assert capture.released.wait(PATIENCE_S)


@pytest.mark.parametrize(
    ('device', 'text'),
    [(991, 'there is no /dev/video991; present: '), ('/dev/null', '/dev/null is in use')],
)
def test_a_device_that_does_not_open_says_why(device, text):
    capture = FakeCapture(opens=False)
    camera = Camera(device, new_capture=lambda _: capture)
    with pytest.raises(SourceError, match=f'camera {device} cannot be opened: {text}'):
        camera.open()
    assert capture.released.wait(PATIENCE_S)


def test_a_missing_camera_is_an_error_with_the_real_opencv():
    with pytest.raises(SourceError, match='cannot be opened: there is no /dev/video991'):
        Camera(991, CameraSettings(timeout_s=PATIENCE_S)).open()


def test_an_unexpected_error_in_the_device_reaches_the_reader():
    def broken_capture(_):
        raise RuntimeError('no such back-end')

    with pytest.raises(SourceError, match='no such back-end'):
        Camera(0, new_capture=broken_capture).open()


def test_reading_a_camera_that_was_never_opened_is_refused():
    with pytest.raises(SourceError, match='not open'):
        Camera(0).read()
    Camera(0).close()


@pytest.mark.parametrize(
    ('given', 'text'),
    [
        (False, 'cannot be decoded'),
        (cv2.error('bad buffer'), 'bad buffer'),
        (np.zeros((6, 8, 3), np.uint16), 'uint16 pixels'),
        (np.zeros((6, 8, 2), np.uint8), r'shape \(6, 8, 2\)'),
    ],
)
def test_a_bad_frame_is_a_problem_and_the_next_one_comes(connect, given, text):
    capture = FakeCapture()
    camera = connect(capture)
    camera.open()
    capture.frames.put(given)
    frame = camera.read()
    assert frame.image is None
    assert re.search(text, frame.problem)
    capture.frames.put(picture(4))
    assert camera.read().image[0, 0, 0] == 4


def test_compressed_frames_are_decoded_and_a_truncated_one_is_a_problem(connect):
    capture = FakeCapture()
    camera = connect(capture, settings=CameraSettings(pixel_format='MJPG'))
    camera.open()
    assert (cv2.CAP_PROP_CONVERT_RGB, 0) in capture.calls
    jpeg = cv2.imencode('.jpg', np.full((48, 64, 3), 90, np.uint8))[1].reshape(1, -1)
    capture.frames.put(jpeg)
    assert camera.read().image.shape == (48, 64, 3)
    capture.frames.put(jpeg[:, :-40])
    frame = camera.read()
    assert frame.image is None
    assert 'truncated' in frame.problem


def test_gray_frames_keep_one_channel(connect):
    capture = FakeCapture()
    camera = connect(capture, settings=CameraSettings(pixel_format='GREY'))
    camera.open()
    capture.frames.put(np.full((6, 8), 3, np.uint8))
    assert camera.read().image.shape == (6, 8)
    assert (cv2.CAP_PROP_CONVERT_RGB, 0) in capture.calls


def test_nothing_asked_is_nothing_set(connect):
    capture = FakeCapture()
    connect(capture).open()
    assert capture.calls == []


def test_settings_are_set_with_their_automatics_off_first(connect):
    capture = FakeCapture()
    settings = CameraSettings(
        width_px=800, height_px=600, fps=30, pixel_format='UYVY', exposure_s=0.005, gain=12,
        white_balance_k=4600, focus=30,
    )  # fmt: skip
    connect(capture, settings=settings).open()
    assert capture.calls == [
        (cv2.CAP_PROP_FOURCC, int.from_bytes(b'UYVY', 'little')),
        (cv2.CAP_PROP_FRAME_WIDTH, 800),
        (cv2.CAP_PROP_FRAME_HEIGHT, 600),
        (cv2.CAP_PROP_FPS, 30),
        (cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL_EXPOSURE),
        (cv2.CAP_PROP_EXPOSURE, 50),
        (cv2.CAP_PROP_AUTO_EXPOSURE, MANUAL_EXPOSURE),
        (cv2.CAP_PROP_GAIN, 12),
        (cv2.CAP_PROP_AUTO_WB, 0),
        (cv2.CAP_PROP_WB_TEMPERATURE, 4600),
        (cv2.CAP_PROP_AUTOFOCUS, 0),
        (cv2.CAP_PROP_FOCUS, 30),
    ]


@pytest.mark.parametrize(
    ('settings', 'ignored', 'text'),
    [
        ({'exposure_s': 0.005}, cv2.CAP_PROP_EXPOSURE, r'exposure_s: wanted 0\.005, got 0\.0156'),
        ({'exposure_s': 0.0156}, cv2.CAP_PROP_AUTO_EXPOSURE, r'stays on \(wanted 1, got 3\)'),
        ({'gain': 5}, cv2.CAP_PROP_GAIN, 'gain: wanted 5, got nothing'),
        ({'focus': 5}, cv2.CAP_PROP_AUTOFOCUS, 'focus: its automatic stays on'),
        ({'white_balance_k': 4000}, cv2.CAP_PROP_AUTO_WB, 'white_balance_k: its automatic'),
        ({'width_px': 641, 'height_px': 480}, cv2.CAP_PROP_FRAME_WIDTH, 'wanted 641, got 640'),
        ({'pixel_format': 'MJPG'}, cv2.CAP_PROP_FOURCC, "wanted 'MJPG', got 'YUYV'"),
    ],
)
def test_an_ignored_setting_is_an_error_with_wanted_and_got(connect, settings, ignored, text):
    capture = FakeCapture(ignores=(ignored,))
    camera = connect(capture, settings=CameraSettings(**settings))
    with pytest.raises(SourceError, match=f'camera 0 has ignored settings: .*{text}'):
        camera.open()
    assert capture.released.wait(PATIENCE_S)


@pytest.mark.parametrize('mode', [0, AUTOMATIC_EXPOSURE])
def test_an_accepted_switch_that_does_not_act_is_noticed(connect, mode):
    class Liar(FakeCapture):
        def get(self, property_id: int) -> float:
            if property_id == cv2.CAP_PROP_AUTO_EXPOSURE:
                return mode
            return super().get(property_id)

    with pytest.raises(SourceError, match='exposure_s: its automatic stays on'):
        connect(Liar(), settings=CameraSettings(exposure_s=0.01)).open()


def test_a_camera_without_an_automatic_needs_none(connect):
    capture = FakeCapture(ignores=(cv2.CAP_PROP_AUTOFOCUS,))
    capture.properties[cv2.CAP_PROP_AUTOFOCUS] = -1.0
    connect(capture, settings=CameraSettings(focus=30)).open()


def test_a_frame_rate_as_the_driver_rounds_it_is_accepted(connect):
    class Television(FakeCapture):
        def get(self, property_id: int) -> float:
            return 29.97 if property_id == cv2.CAP_PROP_FPS else super().get(property_id)

    connect(Television(), settings=CameraSettings(fps=30)).open()


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'width_px': 640}, 'both or neither'),
        ({'width_px': 0, 'height_px': 480}, 'width_px is 0; allowed: 1 to 16384'),
        ({'fps': 0.5}, r'fps is 0\.5; allowed: 1 to 1000'),
        ({'exposure_s': 0.00001}, r'exposure_s is 1e-05; allowed: 0\.0001 to 10'),
        ({'gain': float('nan')}, 'gain is nan'),
        ({'focus': -1}, 'focus is -1; allowed: 0 to 65535'),
        ({'white_balance_k': 'warm'}, "white_balance_k is 'warm'; allowed: 1000 to 20000"),
        ({'timeout_s': None}, r'timeout_s is None; allowed: 0\.1 to 60'),
        ({'timeout_s': True}, 'timeout_s is True'),
        ({'pixel_format': 'MJPEG'}, "pixel_format is 'MJPEG'; allowed: four characters"),
    ],
)
def test_settings_out_of_range_are_refused(settings, text):
    with pytest.raises(SettingError, match=text):
        CameraSettings(**settings)
