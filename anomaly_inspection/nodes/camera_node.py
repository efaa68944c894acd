# SPDX-License-Identifier: Apache-2.0
"""
The camera node: frames from any source, and in free-run one part for each frame.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
import queue
import threading
import time
from typing import Any, ClassVar, TYPE_CHECKING
from urllib.parse import unquote

from ament_index_python.packages import get_package_share_path
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from anomaly_inspection.capture.calibration import read_calibration
from anomaly_inspection.capture.camera import CameraSettings
from anomaly_inspection.capture.open_source import open_source, UNDERSTOOD_SOURCES
from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.nodes.frequency import Frequency
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.inspection_node import (
    ERROR,
    InspectionNode,
    NodeParameters,
    steady_s,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.part_announcer import PartAnnouncer, PartFrame
from anomaly_inspection.nodes.qos import EVENT, IMAGE
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import OwnStamps, stamp_from_nanoseconds
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.capture.calibration import CameraCalibration
    from anomaly_inspection.capture.source import Frame, FrameSource

_FIRST_BACK_OFF_S = 0.5
_LONGEST_BACK_OFF_S = 10.0
_WAITING_TRIGGERS = 5


@dataclass(frozen=True)
class CameraParameters(NodeParameters):
    """
    Parameters of the camera node.

    """

    source: str = parameter(
        '',
        "Where frames come from: a camera's index or device path, an image folder, a video file, "
        "or 'line' for the simulated line ('line:parts=200,seed=2').",
        read_only=True,
    )
    mode: str = parameter(
        'free_run',
        "'free_run': every frame is a part. 'triggered': a frame, and a part, for each message on "
        "trigger or call of ~/capture. 'stream': frames only, a part_detector cuts them.",
        choices=('free_run', 'triggered', 'stream'),
        read_only=True,
    )
    rate_hz: float = parameter(
        5.0,
        'Frames per second from files and the simulated line; a real camera keeps its own pace.',
        unit='Hz',
        minimum=0.01,
        maximum=1000.0,
    )
    loop: bool = parameter(
        False,
        'At the end of a folder, a video or the simulated line, begin again; each image is then a '
        'new part. For demonstrations and load tests.',
    )
    frame_id: str = parameter(
        'camera_optical_frame',
        'Coordinate frame of the headers: an optical frame, z forward, x right, y down (REP 145).',
    )
    camera_info_url: str = parameter(
        '',
        'Calibration file for camera_info, as camera_calibration writes it: file:///PATH, '
        "package://PACKAGE/PATH or a path; '' = uncalibrated.",
        read_only=True,
    )
    width_px: int = parameter(
        0, "Width asked of the camera; 0 = the camera's own.", unit='px', minimum=0, maximum=16384
    )
    height_px: int = parameter(
        0, "Height asked of the camera; 0 = the camera's own.", unit='px', minimum=0, maximum=16384
    )
    fps: float = parameter(
        0.0,
        "Frame rate asked of the camera; 0 = the camera's own.",
        unit='Hz',
        minimum=0.0,
        maximum=1000.0,
    )
    pixel_format: str = parameter('', "FOURCC asked of the camera ('MJPG'); '' = its own.")
    exposure_is_automatic: bool = parameter(
        True, 'Leave the exposure to the camera; false sets exposure_s. Measuring wants false.'
    )
    exposure_s: float = parameter(
        0.01,
        'Exposure time; longer is brighter and blurs moving parts.',
        unit='s',
        minimum=0.0001,
        maximum=1.0,
    )
    gain_is_automatic: bool = parameter(True, 'Leave the gain to the camera; false sets gain.')
    gain: float = parameter(
        0.0, "Gain in the camera's own units; more is noisier.", minimum=0.0, maximum=10000.0
    )
    white_balance_is_automatic: bool = parameter(
        True, 'Leave the white balance to the camera; false sets white_balance_k.'
    )
    white_balance_k: float = parameter(
        4600.0, 'Colour temperature of the light.', unit='K', minimum=1000.0, maximum=20000.0
    )
    focus_is_automatic: bool = parameter(True, 'Leave the focus to the camera; false sets focus.')
    focus: float = parameter(
        0.0, "Focus position in the camera's own units.", minimum=0.0, maximum=10000.0
    )
    timeout_s: float = parameter(
        2.0,
        'Without a frame for this long the camera counts as lost and is opened again.',
        unit='s',
        minimum=0.1,
        maximum=60.0,
    )

    def camera_settings(self) -> CameraSettings:
        """
        Give what is asked of a real camera.

        """
        return CameraSettings(
            width_px=self.width_px or None,
            height_px=self.height_px or None,
            fps=self.fps or None,
            pixel_format=self.pixel_format or None,
            exposure_s=None if self.exposure_is_automatic else self.exposure_s,
            gain=None if self.gain_is_automatic else self.gain,
            white_balance_k=None if self.white_balance_is_automatic else self.white_balance_k,
            focus=None if self.focus_is_automatic else self.focus,
            timeout_s=self.timeout_s,
        )


class CameraNode(InspectionNode[CameraParameters]):
    """
    Publishes image_raw and camera_info; in free-run and triggered mode also part and part/image.

    A reader thread waits for the source, so nothing that a device does holds up the executor. A
    lost device is opened again with back-off. Files are not: a source of files that fails has
    ended, with a problem.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'source': ('source',),
        'frames': ('calibration', 'trigger', 'frequency frames'),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__('camera', CameraParameters, **options)
        self.has_ended = threading.Event()
        #: Set while the source is open: a frame that is asked for now is exposed now.
        self.is_reading = threading.Event()
        #: Why the source ended before its time; '' while it has not, or when all was given.
        self.end_problem = ''
        self._stop = threading.Event()
        # Ends a wait of the reader: it must stop, or its parameters have changed.
        self._wake = threading.Event()
        self._triggers: queue.Queue[int] = queue.Queue(_WAITING_TRIGGERS)
        self._reader: threading.Thread | None = None
        self._announcer: PartAnnouncer | None = None
        self._frames = 0
        self._stamps = OwnStamps()
        self._frequency = Frequency('frames')
        self.watch_frequency('frames', self._frequency)

    def configure(self) -> None:
        """
        Check the source's name and the camera settings, make the endpoints.

        """
        if not self.parameters.source:
            raise SettingError(
                "the camera has no source: give one as the launch argument 'source:=0' or as the "
                "camera's parameter 'source' in the parameter file; allowed: "
                f'{UNDERSTOOD_SOURCES}'
            )
        self._settings = self.parameters.camera_settings()
        self._source = open_source(self.parameters.source, camera_settings=self._settings)
        # A folder that is missing today will be missing tomorrow; a camera may be plugged in any
        # time.
        if not self._source.is_live:
            with self._source:
                pass
        self._calibration = _calibration(self.parameters.camera_info_url)
        self._image_raw = self.publish_on(Image, 'image_raw', IMAGE)
        self._camera_info = self.publish_on(CameraInfo, 'camera_info', IMAGE)
        if self.parameters.mode != 'stream':
            self._announcer = PartAnnouncer(self)
        if self.parameters.mode == 'triggered':
            self.listen(Empty, 'trigger', self._take_trigger, EVENT)
        self.serve(Trigger, '~/capture', lambda _: self._capture())

    def activate(self) -> None:
        """
        Begin a session and start the reader.

        """
        if self._announcer is not None:
            self._announcer.begin_session()
        self._stop.clear()
        self.has_ended.clear()
        self.is_reading.clear()
        self.end_problem = ''
        self._reader = threading.Thread(target=self._read_until_stopped, name='camera reader')
        self._reader.start()

    def deactivate(self) -> None:
        """
        Stop the reader and release the source.

        Blocks while a device opens or closes, at most timeout_s each.

        """
        self._stop.set()
        self._wake.set()
        if self._reader is not None:
            # A reader that waits for a frame waits no longer.
            self._source.close()
            self._reader.join()
            self._reader = None
        while not self._triggers.empty():
            self._triggers.get_nowait()
        self.clear('source')
        self._frequency.stop()

    def cleanup(self) -> None:
        """
        Let go of the part's publishers.

        """
        self._announcer = None

    def parameters_changed(self) -> None:
        """
        Have the reader look at once.

        Another rate acts on the next frame; with other settings the camera is opened again.

        """
        self._wake.set()

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give session, frames and parts.

        """
        values = {
            'source': self.parameters.source,
            'frames': self._frames,
            'source has ended': self.has_ended.is_set(),
        }
        return values | (self._announcer.figures() if self._announcer else {})

    @property
    def part_count(self) -> int:
        """
        How many parts this session has had.

        """
        return self._announcer.part_count if self._announcer else 0

    def listener_counts(self) -> tuple[int, int]:
        """
        Give the number of subscriptions to part and to part/image.

        """
        return self._announcer.listener_counts() if self._announcer else (0, 0)

    def _take_trigger(self, message: Empty) -> None:
        try:
            self._trigger()
        except InspectionError as error:
            self.report_event(
                'trigger', WARN, f'trigger refused: {error}', counted_as='triggers refused'
            )
        else:
            self.clear('trigger')

    def _capture(self) -> str:
        mode = self.parameters.mode
        if mode != 'triggered':
            raise InspectionError(f"the parameter mode is {mode!r}, allowed: 'triggered'")
        return self._trigger()

    def _trigger(self) -> str:
        try:
            self._triggers.put_nowait(time.monotonic_ns())
        except queue.Full:
            raise InspectionError(
                f'{_WAITING_TRIGGERS} triggers are waiting for a frame: '
                'the camera gives none, or it is triggered faster than it can read'
            ) from None
        return 'a frame will be taken'

    # The reader thread

    def _read_until_stopped(self) -> None:
        if self._announcer is not None:
            self._announcer.wait_for_listeners(self._stop)
        back_off_s = _FIRST_BACK_OFF_S
        while not (self._stop.is_set() or self.has_ended.is_set()):
            frames_before = self._frames
            try:
                self._renew_source()
                with self._source as source:
                    self._stream(source)
            except Exception as error:  # noqa: BLE001 - a thread's edge: the camera must come back
                self._frequency.stop()
                if self._stop.is_set():
                    return
                is_ours = isinstance(error, InspectionError)
                text = str(error) if is_ours else f'{self.parameters.source}: {error!r}'
                if not self._source.is_live:
                    # Opened again it would begin anew, and give its first images as new parts.
                    self._end(text)
                    return
                if self._frames > frames_before:
                    back_off_s = _FIRST_BACK_OFF_S
                self.report('source', ERROR, f'{text}; trying again in {back_off_s:g} s')
                self._wait(back_off_s)
                back_off_s = min(2 * back_off_s, _LONGEST_BACK_OFF_S)

    def _renew_source(self) -> None:
        """
        Make the source anew when other settings are asked of the camera.

        """
        settings = self.parameters.camera_settings()
        if settings != self._settings:
            self._source = open_source(self.parameters.source, camera_settings=settings)
            self._settings = settings

    def _stream(self, source: FrameSource) -> None:
        self.is_reading.set()
        due_s = steady_s()
        while not self._stop.is_set():
            if source.is_live and self.parameters.camera_settings() != self._settings:
                return
            earliest_ns = 0
            if self.parameters.mode == 'triggered':
                try:
                    earliest_ns = self._triggers.get(timeout=0.1)
                except queue.Empty:
                    continue
            frame = source.read()
            # A camera's newest frame may be older than the trigger: the part was not yet in place.
            while frame is not None and source.is_live and frame.steady_ns < earliest_ns:
                frame = source.read()
            if frame is None:
                if not self.parameters.loop:
                    self._end()
                return
            self.clear('source')
            if not source.is_live:
                due_s = self._wait_for_next(due_s)
                # A triggered frame is exposed at the trigger, however long it takes to draw it.
                now_ns = time.monotonic_ns()
                exposed_ns = earliest_ns or now_ns
                stamp_ns = time.time_ns() - (now_ns - exposed_ns)
                frame = replace(frame, stamp_ns=stamp_ns, steady_ns=exposed_ns)
            self._frequency.ask(*self._asked_frequency(source))
            if not self._stop.is_set():
                self._publish(frame)

    def _asked_frequency(self, source: FrameSource) -> tuple[float, str]:
        """
        Give how many frames per second the source owes, and which parameter asks for them.

        """
        if self.parameters.mode == 'triggered':
            return 0.0, ''
        if source.is_live:
            return self.parameters.fps, 'fps'
        return self.parameters.rate_hz, 'rate_hz'

    def _end(self, problem: str = '') -> None:
        """
        Tell that no further frame comes from a source of files.

        """
        self._frequency.stop()
        self.end_problem = problem
        if problem:
            self.report('source', ERROR, f'{problem}; {self._frames} frames were published')
        else:
            self.get_logger().info(f'{self.parameters.source} has ended: {self._frames} frames')
        self.has_ended.set()

    def _wait_for_next(self, last_s: float) -> float:
        """
        Keep the rate; gives when the frame was due, a second ago at most.

        """
        while True:
            due_s = max(last_s + 1.0 / self.parameters.rate_hz, steady_s() - 1.0)
            if self._stop.is_set() or steady_s() >= due_s:
                return due_s
            self._wait(due_s - steady_s())

    def _wait(self, duration_s: float) -> None:
        """
        Wait, but no longer than until the parameters change or the reader must stop.

        """
        self._wake.wait(duration_s)
        self._wake.clear()

    def _publish(self, frame: Frame) -> None:
        self._frames += 1
        self._frequency.tick()
        stamp_ns = self._stamps.own(frame.stamp_ns)
        if self._announcer is not None:
            part_frame = PartFrame(stamp_ns, frame.steady_ns, frame.name, frame.problem)
            self._announcer.announce([part_frame])
        if frame.image is None:
            self.get_logger().error(f'{printable(frame.name)}: {frame.problem}')
            return
        stamp = stamp_from_nanoseconds(stamp_ns)
        message = image_from_array(frame.image, stamp, self.parameters.frame_id)
        if self._announcer is not None:
            self._announcer.publish_image(message)
        if self._announcer is None or self._image_raw.get_subscription_count():
            self._image_raw.publish(message)
        self._camera_info.publish(self._info_of(message))

    def _info_of(self, message: Image) -> CameraInfo:
        """
        Give the calibration of a frame; without a K, which means uncalibrated, where none fits.

        """
        width, height = message.width, message.height
        calibration = self._calibration
        if calibration is not None and calibration.size != (width, height):
            self.report(
                'calibration',
                WARN,
                f'the calibration is for {calibration.width}x{calibration.height} pixels, the '
                f'frames have {width}x{height}: camera_info says uncalibrated',
            )
            calibration = None
        else:
            self.clear('calibration')
        info = CameraInfo(header=message.header, height=height, width=width)
        if calibration is not None:
            info.distortion_model = calibration.distortion_model
            info.d = list(calibration.distortion)
            info.k = calibration.camera_matrix
            info.r = calibration.rectification_matrix
            info.p = calibration.projection_matrix
        return info


def _calibration(url: str) -> CameraCalibration | None:
    if not url:
        return None
    if url.startswith('package://'):
        package, _, path = url.removeprefix('package://').partition('/')
        try:
            return read_calibration(get_package_share_path(package) / path)
        except LookupError as error:
            raise SettingError(f'camera_info_url = {url!r}: no package {package!r}') from error
    if '://' in url and not url.startswith('file:///'):
        raise SettingError(
            f'camera_info_url = {url!r} is refused: allowed is file:///PATH, '
            'package://PACKAGE/PATH or a path'
        )
    return read_calibration(Path(unquote(url.removeprefix('file://'))).expanduser())


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(CameraNode)
