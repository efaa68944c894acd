# SPDX-License-Identifier: Apache-2.0
"""
The part detector node: cuts a stream of frames into parts, by photo eye, by service, by what the
frames show, or frame by frame.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import time
from typing import Any, ClassVar, TYPE_CHECKING

from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from anomaly_inspection.action import LearnEmpty
from anomaly_inspection.detecting.frame_choice import Moment
from anomaly_inspection.detecting.part_cutter import (
    BeltCutter,
    EveryFrameCutter,
    MomentCutter,
    StationCutter,
)
from anomaly_inspection.detecting.passage import PassageTracker, StationTracker, Travel
from anomaly_inspection.detecting.photo_eye import PhotoEye
from anomaly_inspection.detecting.presence import PresenceDetector
from anomaly_inspection.detecting.requested_station import RequestedStationCutter
from anomaly_inspection.errors import FrameError, InspectionError, SettingError
from anomaly_inspection.nodes.frequency import Frequency
from anomaly_inspection.nodes.image_stream import ImageStream
from anomaly_inspection.nodes.inspection_node import ERROR, InspectionNode, steady_s, WARN
from anomaly_inspection.nodes.part_announcer import PartAnnouncer, PartFrame
from anomaly_inspection.nodes.part_detector_parameters import PartDetectorParameters
from anomaly_inspection.nodes.qos import EVENT
from anomaly_inspection.nodes.received_frame import ReceivedFrame
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, OwnStamps
from anomaly_inspection.steady_clock import exposure_of_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.detecting.part_cutter import Cut, PartCutter
    from anomaly_inspection.nodes.action_server import Goal

_TICK_S = 0.02
_CHECK_S = 0.5
# When frames are this old on arrival, the detector does not keep up with the camera.
_LATE_FRAME_S = 0.3
_FEWEST_LEARN_FRAMES, _MOST_LEARN_FRAMES = 2, 500
_PROBLEMS = (
    *('camera', 'late', 'stamp', 'frame', 'eye', 'chatter', 'stuck', 'scene', 'publishers'),
)


@dataclass
class _Learning:
    """
    Frames that a goal of ~/learn_empty collects.

    """

    news: Future
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    error: Exception | None = None

    def tell(self) -> None:
        if not self.news.done():
            self.news.set_result(None)


class PartDetectorNode(InspectionNode[PartDetectorParameters]):
    """
    Takes image_raw and photo_eye; gives part and part/image, one frame of each part.

    A part whose frame is missing or broken is published with a frame problem, so that it is
    rejected.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'images': ('camera', 'late', 'stamp', 'frame', 'lost *', 'frequency images'),
        'parts': ('eye', 'chatter', 'stuck', 'scene', 'publishers'),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__('part_detector', PartDetectorParameters, **options)
        self._frames = 0
        self._last_frame_s = 0.0
        self._last_exposure_ns = 0
        self._stamps = OwnStamps()
        self._announcer: PartAnnouncer | None = None
        self._stream: ImageStream | None = None
        self._cutter: PartCutter[ReceivedFrame] | None = None
        self._detector: PresenceDetector | None = None
        self._learning: _Learning | None = None
        self._callers: dict[Moment, Future] = {}
        self._frequency = Frequency('frames')
        self.watch_frequency('images', self._frequency)

    @property
    def is_idle(self) -> bool:
        """
        Whether the camera cuts the parts.

        """
        return self.parameters.trigger == 'none'

    @property
    def longest_wait_s(self) -> float:
        """
        From the last frame, or the last edge of a photo eye, to its part at the latest, seconds.

        """
        parameters = self.parameters
        return max(parameters.patience_s, parameters.frame_timeout_s + parameters.eye_to_frame_s())

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

    @property
    def image_topic(self) -> str:
        """
        The topic that frames come from, with all remappings.

        """
        raw = 'image_raw'
        if self.parameters.image_transport == 'raw':
            return self.resolve_topic_name(raw)
        compressed = f'{raw}/compressed'
        resolved = self.resolve_topic_name(compressed)
        if resolved != self.resolve_topic_name(compressed, only_expand=True):
            return resolved
        # As image_transport does: who remaps image_raw means its compressed images as well.
        return f'{self.resolve_topic_name(raw)}/compressed'

    def configure(self) -> None:
        """
        Check the parameters, make the endpoints; services of other triggers refuse.

        """
        parameters = self.parameters
        if parameters.mode == 'station' and parameters.trigger in ('photo_eye', 'every_frame'):
            raise SettingError(
                f"mode 'station' with trigger {parameters.trigger!r} is refused: a station sees "
                "when its part is there with trigger 'presence', or is told with 'service'"
            )
        self._presence_settings = parameters.presence_settings()
        self._conversion = parameters.frame_conversion()
        self.serve(Trigger, '~/trigger', self._trigger)
        self.serve_action(LearnEmpty, '~/learn_empty', self._learn_empty)
        if self.is_idle:
            return
        self._announcer = PartAnnouncer(self)
        message_type = Image if parameters.image_transport == 'raw' else CompressedImage
        self._stream = ImageStream(self, message_type, self.image_topic, self._take_image)
        if parameters.trigger == 'photo_eye':
            self.listen(Bool, 'photo_eye', self._take_photo_eye, EVENT)
        self.every(_TICK_S, self._tick)
        self.every(_CHECK_S, self._check)

    def activate(self) -> None:
        """
        Begin a session; what is known of the empty scene stays.

        """
        self._last_frame_s = steady_s()
        self._last_exposure_ns = 0
        if self._announcer is not None:
            self._announcer.begin_session()
            self._cutter = self._new_cutter()

    def _new_cutter(self) -> PartCutter[ReceivedFrame]:
        parameters = self.parameters
        if parameters.trigger == 'every_frame':
            return EveryFrameCutter()
        if parameters.trigger == 'service':
            if parameters.mode == 'station':
                return RequestedStationCutter(
                    *(parameters.frame_timeout_s, parameters.station_interval_s),
                    parameters.station_frames,
                )
            return MomentCutter(parameters.frame_timeout_s)
        if parameters.trigger == 'photo_eye':
            eye = PhotoEye(parameters.part_interval_s)
            return MomentCutter(parameters.frame_timeout_s, eye, parameters.eye_to_frame_s())
        detector = self._detector = self._detector or PresenceDetector(self._presence_settings)
        if parameters.mode == 'station':
            return StationCutter(
                detector, StationTracker(parameters.station_interval_s, parameters.station_frames)
            )
        travel = Travel[parameters.travel.upper()]
        return BeltCutter(detector, PassageTracker(parameters.patience_s, travel))

    def deactivate(self) -> None:
        """
        Publish the parts that are known and have no frame yet.

        """
        if self._cutter is not None:
            self._publish(self._cutter.give_up('the part detector was stopped'))
            self._cutter = None
        for topic in _PROBLEMS:
            self.clear(topic)

    def cleanup(self) -> None:
        """
        Let go of the empty scene.

        """
        self._detector = self._announcer = self._stream = None

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give session, frames and parts, and what is known of the empty scene.

        """
        if self.is_idle:
            return {'trigger': 'none: idle, the camera cuts the parts'}
        values: dict[str, object] = {'trigger': self.parameters.trigger, 'frames': self._frames}
        if self._stream is not None:
            values |= {
                'frames from': self._stream.topic,
                'frames lost on the way': self._stream.lost_count,
            }
        if self.is_active and self._announcer is not None:
            values |= self._announcer.figures()
        if self._cutter is not None:
            values |= self._cutter.figures()
        return values

    # Frames

    def _take_image(self, message: Image | CompressedImage) -> None:
        assert self._cutter is not None
        now_ns = time.monotonic_ns()
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        exposure_ns, is_plausible = exposure_of_stamp(stamp_ns, time.time_ns(), now_ns)
        self._tell(
            'stamp',
            not is_plausible,
            f"frames are not stamped by this machine's clock ({message.header.stamp.sec} s): "
            'their arrival counts as their exposure',
        )
        # A wall clock that is set back must not turn the order of the frames.
        exposure_ns = max(exposure_ns, self._last_exposure_ns + 1)
        self._last_exposure_ns = exposure_ns
        self._frames += 1
        self._frequency.tick()
        self._last_frame_s = 1e-9 * now_ns
        self.clear('camera')
        self._tell(
            'late',
            now_ns - exposure_ns > 1e9 * _LATE_FRAME_S,
            f'frames come {_LATE_FRAME_S:g} s and more after their exposure: the detector does '
            'not keep up, or the camera does not',
        )
        frame = ReceivedFrame(message, self._stamps.own(stamp_ns), exposure_ns, self._conversion)
        if self._cutter.needs_pixels:
            self._look_at(frame)
        else:
            self._publish(self._cutter.take(frame, 1e-9 * exposure_ns))

    def _look_at(self, frame: ReceivedFrame) -> None:
        """
        Look for a part in the frame.

        """
        assert self._cutter is not None
        try:
            cuts = self._cutter.take(frame, 1e-9 * frame.exposure_ns, frame.pixels)
        except InspectionError as error:
            self.report('frame', ERROR, f'no part can be seen: {error}')
            self._end_learning(error)
            return
        self.clear('frame')
        if self._learning is not None:
            self._learning.images.append(frame.pixels)
            self._learning.tell()
        self._publish(cuts)

    # Triggers

    def _take_photo_eye(self, message: Bool) -> None:
        assert isinstance(self._cutter, MomentCutter)
        self._publish(self._cutter.take_eye(message.data, steady_s()))

    def _check_trigger(self, wanted: str) -> None:
        trigger = self.parameters.trigger
        if trigger != wanted:
            raise InspectionError(f'the parameter trigger is {trigger!r}, allowed: {wanted!r}')

    async def _trigger(self, request: Any) -> str:
        self._check_trigger('service')
        assert isinstance(self._cutter, MomentCutter | RequestedStationCutter)
        moment = Moment(steady_s(), is_earliest=True)
        done = self._callers[moment] = Future(executor=self.executor)
        self._publish(self._cutter.want(moment))
        part_id, problem = await done
        if problem:
            raise FrameError(f'part {part_id} is published without a frame: {problem}')
        return f'part {part_id}'

    async def _learn_empty(self, goal: Goal) -> str:
        self._check_trigger('presence')
        wanted = goal.request.frames or self.parameters.learn_frames
        if not _FEWEST_LEARN_FRAMES <= wanted <= _MOST_LEARN_FRAMES:
            raise SettingError(
                f'frames = {wanted} is out of range: allowed is an integer from '
                f'{_FEWEST_LEARN_FRAMES} to {_MOST_LEARN_FRAMES}, or 0 for learn_frames'
            )
        assert self._detector is not None
        learning = self._learning = _Learning(Future(executor=self.executor))
        try:
            while len(learning.images) < wanted:
                await goal.wait(learning.news)
                if learning.error is not None:
                    raise learning.error
                learning.news = Future(executor=self.executor)
                goal.tell(frames=min(wanted, len(learning.images)), frames_wanted=wanted)
        finally:
            self._learning = None
        return self._detector.learn_empty(learning.images[:wanted])

    def _end_learning(self, error: Exception) -> None:
        if self._learning is not None:
            self._learning.error = error
            self._learning.tell()

    def _tick(self) -> None:
        assert self._cutter is not None
        self._publish(self._cutter.tick(steady_s()))

    # Watch

    def _check(self) -> None:
        """
        Tell what the detector cannot resolve by itself.

        """
        assert self._cutter is not None
        assert self._stream is not None
        now = steady_s()
        self._stream.check()
        silence = self._silence(now)
        if silence:
            self.report('camera', ERROR, f'{silence}: no part can be seen')
            self._end_learning(FrameError(silence))
        publishers = self.count_publishers('part')
        self._tell(
            'publishers',
            publishers > 1,
            f"{publishers} nodes publish part: the camera's mode must be 'stream', or this "
            "node's trigger 'none'",
            level=ERROR,
        )
        if self.parameters.trigger == 'photo_eye':
            self._tell(
                'eye',
                self.count_publishers('photo_eye') == 0,
                'nobody publishes photo_eye: no part can be seen',
                level=ERROR,
            )
        for topic, text in self._cutter.warnings(now, self.parameters.stuck_after_s).items():
            self._tell(topic, bool(text), text)

    def _silence(self, now: float) -> str:
        """
        Say why no frame comes; '' when frames come, or when none need come.

        """
        timeout_s = self.parameters.camera_timeout_s
        if now - self._last_frame_s <= timeout_s:
            return ''
        text = f'no frame on {self.image_topic} for {timeout_s:g} s'
        publishers = self.get_publishers_info_by_topic(self.image_topic)
        if not publishers:
            return f'{text}, nobody publishes it: start the camera, or remap image_raw'
        if self.parameters.trigger == 'every_frame':
            # No part, no trigger, no frame.
            self.clear('camera')
            return ''
        # rclpy gives a name in capitals to a node that has just died.
        names = {one.node_name for one in publishers if not one.node_name.isupper()}
        who = ', '.join(sorted(names)) or 'a node that is gone'
        return f'{text}, though {who} publishes it: stopped, frozen, or waiting for a trigger'

    def _tell(self, topic: str, is_so: bool, text: str, *, level: bytes = WARN) -> None:
        if is_so:
            self.report(topic, level, text)
        else:
            self.clear(topic)

    # Parts

    def _publish(self, cuts: Sequence[Cut[ReceivedFrame]]) -> None:
        for cut in cuts:
            problem = self._publish_cut(cut)
            caller = self._callers.pop(cut.moment, None) if cut.moment else None
            if caller is not None:
                caller.set_result((self.part_count, problem))

    def _publish_cut(self, cut: Cut[ReceivedFrame]) -> str:
        """
        Publish a part, and the image of its last frame; gives what is wrong with that.

        """
        assert self._announcer is not None
        if not cut.frames:
            assert cut.moment is not None
            self._announcer.announce([self._missing_frame(cut.moment, cut.problem)])
            return cut.problem
        image, problem = None, ''
        if cut.is_new or not cut.is_complete:
            try:
                image = cut.frames[-1].image()
            except FrameError as error:
                problem = str(error)
            self._tell('frame', bool(problem), problem)
        frames = [PartFrame(frame.stamp_ns, frame.exposure_ns) for frame in cut.frames]
        if problem:
            last = cut.frames[-1]
            frames[-1] = PartFrame(last.stamp_ns, last.exposure_ns, problem=problem)
        self._announcer.announce(frames, is_new=cut.is_new, is_complete=cut.is_complete)
        if image is not None:
            self._announcer.publish_image(image)
        return problem

    def _missing_frame(self, moment: Moment, problem: str) -> PartFrame:
        exposure_ns = int(1e9 * moment.at_s)
        stamp_ns = time.time_ns() - (time.monotonic_ns() - exposure_ns)
        return PartFrame(self._stamps.own(stamp_ns), exposure_ns, problem=problem)


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(PartDetectorNode)
