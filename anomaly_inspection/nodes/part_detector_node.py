# SPDX-License-Identifier: Apache-2.0
"""
The part detector node: cuts a stream of frames into parts, by photo eye, by service or by what the
frames show.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, UTC
import time
from typing import Any, TYPE_CHECKING
from uuid import uuid4

from rclpy.task import Future
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from anomaly_inspection.detecting.frame_choice import FrameChoice, Moment
from anomaly_inspection.detecting.passage import PassageTracker, StationTracker, Travel
from anomaly_inspection.detecting.photo_eye import PhotoEye
from anomaly_inspection.detecting.presence import PresenceDetector, PresenceSettings
from anomaly_inspection.errors import FrameError, InspectionError, SettingError
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.msg import Part
from anomaly_inspection.nodes.image_conversion import array_from_image
from anomaly_inspection.nodes.inspection_node import (
    ERROR,
    InspectionNode,
    NodeParameters,
    steady_s,
    WARN,
)
from anomaly_inspection.nodes.parameters import parameter
from anomaly_inspection.nodes.qos import EVENT, IMAGE
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.steady_clock import exposure_of_stamp, steady_clock_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.detecting.frame_choice import Choice
    from anomaly_inspection.detecting.passage import Held, Passage

_TICK_S = 0.02
_CHECK_S = 0.5
_WAITING_PARTS = 64
# Chatter of the photo eye is told for so long.
_CHATTER_TOLD_S = 10.0
# Frames this old when they come, and the detector does not keep up with the camera.
_LATE_FRAME_S = 0.3
# Frames that a scorer may still be matching by their stamp.
_REMEMBERED_STAMPS = 1000


@dataclass(frozen=True)
class PartDetectorParameters(NodeParameters):
    """
    Parameters of the part detector node.

    """

    trigger: str = parameter(
        'none',
        "What says that a part is there. 'none': nothing, the camera cuts parts itself and this "
        "node is idle. 'photo_eye': the beam on topic photo_eye. 'service': a call of ~/trigger. "
        "'presence': the image. With another than 'none' the camera's mode must be 'stream'.",
        choices=('none', 'photo_eye', 'service', 'presence'),
        read_only=True,
    )
    mode: str = parameter(
        'belt',
        "'belt': one frame of each part. 'station': the part is held before the camera and gives "
        "frames until it is removed; with trigger 'presence' alone.",
        choices=('belt', 'station'),
        read_only=True,
    )
    camera_timeout_s: float = parameter(
        2.0,
        'Without a frame for this long the camera counts as silent.',
        unit='s',
        minimum=0.1,
        maximum=60.0,
    )
    frame_timeout_s: float = parameter(
        0.2,
        'A frame further than this from the wanted moment does not show the part, which is then '
        "rejected. Shorter than the decider's deadline_s, longer than a frame takes to arrive.",
        unit='s',
        minimum=0.01,
        maximum=10.0,
        read_only=True,
    )
    stuck_after_s: float = parameter(
        10.0,
        'Photo eye or trigger column covered for longer than this is told as a warning.',
        unit='s',
        minimum=0.1,
        maximum=3600.0,
    )
    eye_distance_m: float = parameter(
        0.0,
        'From the photo eye to the middle of the picture along the belt; with belt_speed_m_per_s '
        'it delays the frame.',
        unit='m',
        minimum=0.0,
        maximum=100.0,
        read_only=True,
    )
    belt_speed_m_per_s: float = parameter(
        0.5, 'Speed of the belt.', unit='m/s', minimum=0.001, maximum=10.0, read_only=True
    )
    eye_delay_s: float = parameter(
        0.0,
        'Delay of the frame after the photo eye, in addition to that of eye_distance_m.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    part_interval_s: float = parameter(
        0.1,
        'Shortest time from one part to the next at the photo eye; earlier edges are chatter.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    region_of_interest: str = parameter(
        '',
        "Where parts are looked for, 'x,y,width,height' in pixels; '' = the whole frame. The belt "
        'alone: what moves beside it would be a part.',
        read_only=True,
    )
    trigger_x_px: int = parameter(
        0,
        'Column of the frame at which a part is wanted; 0 = the middle of region_of_interest.',
        unit='px',
        minimum=0,
        maximum=16384,
        read_only=True,
    )
    travel: str = parameter(
        'either',
        'Which way the belt runs in the picture; what crosses the column the other way, as a hand '
        'does or a part that is put back, is no part.',
        choices=('either', 'to_the_right', 'to_the_left'),
        read_only=True,
    )
    contrast_levels: float = parameter(
        16.0,
        'A part differs from the empty scene by more than this; lower sees fainter parts, and '
        'shadows.',
        unit='gray levels',
        minimum=2.0,
        maximum=200.0,
        read_only=True,
    )
    smallest_part_px: int = parameter(
        20,
        'What holds no square of this side is no part.',
        unit='px',
        minimum=1,
        maximum=4096,
        read_only=True,
    )
    smallest_gap_px: int = parameter(
        10,
        'A narrower empty stretch belongs to a part; a wider one parts two.',
        unit='px',
        minimum=1,
        maximum=4096,
        read_only=True,
    )
    camera_shift_px: int = parameter(
        4,
        'How far the picture may shift at once; larger blunts the edges of the scene.',
        unit='px',
        minimum=0,
        maximum=64,
        read_only=True,
    )
    patience_s: float = parameter(
        0.2,
        'A part for which no better frame has come for so long is published with the best so far: '
        "the belt stands. Shorter than the decider's deadline_s.",
        unit='s',
        minimum=0.01,
        maximum=10.0,
        read_only=True,
    )
    absorb_after_s: float = parameter(
        60.0,
        'A change that stands still for so long becomes part of the empty scene; longer than a '
        'part stands before the camera.',
        unit='s',
        minimum=1.0,
        maximum=86400.0,
        read_only=True,
    )
    learn_frames: int = parameter(
        20, 'Frames from which ~/learn_empty learns the empty scene.', minimum=2, maximum=500
    )
    station_interval_s: float = parameter(
        0.1,
        'Station mode: from one frame of the held part to the next.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
        read_only=True,
    )
    station_frames: int = parameter(
        5,
        "Station mode: frames taken of each part, the decider's station_frames or more.",
        minimum=1,
        maximum=100,
        read_only=True,
    )

    def eye_to_frame_s(self) -> float:
        """
        Give the time from the photo eye to the wanted exposure.

        """
        return self.eye_delay_s + self.eye_distance_m / self.belt_speed_m_per_s

    def presence_settings(self) -> PresenceSettings:
        """
        Give what counts as a part in view.

        """
        region = None
        if self.region_of_interest:
            try:
                x, y, width, height = (int(n) for n in self.region_of_interest.split(','))
            except ValueError:
                raise SettingError(
                    f'region_of_interest = {self.region_of_interest!r} is refused: four whole '
                    "numbers of pixels are wanted, 'x,y,width,height'"
                ) from None
            region = RegionOfInterest(x, y, width, height)
        return PresenceSettings(
            region_of_interest=region,
            trigger_x_px=self.trigger_x_px or None,
            contrast_levels=self.contrast_levels,
            smallest_part_px=self.smallest_part_px,
            smallest_gap_px=self.smallest_gap_px,
            camera_shift_px=self.camera_shift_px,
            absorb_after_s=self.absorb_after_s,
        )


@dataclass(frozen=True)
class _Frame:
    """
    A frame as it came, with a stamp of its own; without an image it stands for one that did not.

    """

    stamp_ns: int
    exposure_ns: int
    image: Image | None
    problem: str = ''


@dataclass
class _Learning:
    """
    Frames that ~/learn_empty collects.

    """

    wanted: int
    done: Future
    images: list[NDArray[np.uint8]] = field(default_factory=list)


class PartDetectorNode(InspectionNode[PartDetectorParameters]):
    """
    Takes image_raw and photo_eye; gives part and part/image, one frame of each part.

    A part whose frame is missing or broken is published with a frame problem, so that it is
    rejected.

    """

    def __init__(self, **options: Any) -> None:
        super().__init__('part_detector', PartDetectorParameters, **options)
        self._session_id = ''
        self._part_id = 0
        self._problem_parts = 0
        self._frames = 0
        self._last_frame_s = 0.0
        self._last_exposure_ns = 0
        self._stamps: deque[int] = deque(maxlen=_REMEMBERED_STAMPS)
        self._clock_id = steady_clock_id()
        self._eye: PhotoEye | None = None
        self._choice: FrameChoice[_Frame] | None = None
        self._detector: PresenceDetector | None = None
        self._passages: PassageTracker[_Frame] | None = None
        self._station: StationTracker[_Frame] | None = None
        self._learning: _Learning | None = None
        self._callers: dict[Moment, Future] = {}

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

    def configure(self) -> None:
        """
        Check the parameters, make the endpoints; services of other triggers refuse.

        """
        parameters = self.parameters
        if parameters.mode == 'station' and parameters.trigger not in ('none', 'presence'):
            raise SettingError(
                f"mode 'station' with trigger {parameters.trigger!r} is refused: a station sees "
                "when its part is removed with trigger 'presence' alone"
            )
        self._presence_settings = parameters.presence_settings()
        self.serve(Trigger, '~/trigger', self._trigger)
        self.serve(Trigger, '~/learn_empty', self._learn_empty)
        if self.is_idle:
            return
        self._part = self.publish_on(Part, 'part', EVENT)
        self._part_image = self.publish_on(Image, 'part/image', IMAGE)
        self.listen(Image, 'image_raw', self._take_image, IMAGE)
        if parameters.trigger == 'photo_eye':
            self.listen(Bool, 'photo_eye', self._take_photo_eye, EVENT)
        self.every(_TICK_S, self._tick)
        self.every(_CHECK_S, self._check)

    def activate(self) -> None:
        """
        Begin a session; what is known of the empty scene stays.

        """
        parameters = self.parameters
        self._session_id = f'{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid4().hex[:8]}'
        self._part_id = self._problem_parts = 0
        self._last_frame_s = steady_s()
        self._last_exposure_ns = 0
        if parameters.trigger == 'presence':
            self._detector = self._detector or PresenceDetector(self._presence_settings)
            if parameters.mode == 'station':
                self._station = StationTracker(
                    parameters.station_interval_s, parameters.station_frames
                )
            else:
                self._passages = PassageTracker(
                    parameters.patience_s, Travel[parameters.travel.upper()]
                )
        elif not self.is_idle:
            self._eye = PhotoEye(parameters.part_interval_s)
            self._choice = FrameChoice(parameters.frame_timeout_s, _WAITING_PARTS)

    def deactivate(self) -> None:
        """
        Publish the parts that are known and have no frame yet.

        """
        if self._choice is not None:
            self._publish_choices(self._choice.give_up('the part detector was stopped'))
        if self._passages is not None:
            self._publish_passages(self._passages.give_up())
        if self._station is not None:
            self._publish_held(self._station.give_up())
        self._end_learning(FrameError('the part detector was stopped'))
        self._eye = self._choice = self._passages = self._station = None
        for topic in ('camera', 'late', 'stamp', 'frame', 'eye', 'stuck', 'scene', 'publishers'):
            self.clear(topic)

    def cleanup(self) -> None:
        """
        Let go of the empty scene.

        """
        self._detector = None

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give session, frames and parts, and what is known of the empty scene.

        """
        if self.is_idle:
            return {'trigger': 'none: idle, the camera cuts the parts'}
        values: dict[str, object] = {
            'trigger': self.parameters.trigger,
            'session_id': self._session_id,
            'frames': self._frames,
            'parts': self._part_id,
            'parts without a frame': self._problem_parts,
        }
        if self.is_active:
            parts, images = self.listener_counts()
            values |= {'subscriptions to part': parts, 'subscriptions to part/image': images}
        if self._eye is not None and self.parameters.trigger == 'photo_eye':
            values['edges left out as chatter'] = self._eye.chatter_count
        if self._choice is not None:
            values['parts waiting for their frame'] = self._choice.waiting_count
        if self._passages is not None:
            values['crossings against the belt'] = self._passages.against_count
        scene = self._detector.scene if self._detector else None
        if scene is not None:
            values |= {
                'empty scene known for s': round(scene.known_s, 1),
                'brightness against the empty scene': round(scene.gain, 3),
                'cells absorbed into the empty scene': scene.absorbed_count,
            }
        return values

    @property
    def part_count(self) -> int:
        """
        How many parts this session has had.

        """
        return self._part_id

    def listener_counts(self) -> tuple[int, int]:
        """
        Give the number of subscriptions to part and to part/image.

        """
        return self._part.get_subscription_count(), self._part_image.get_subscription_count()

    # Frames

    def _take_image(self, message: Image) -> None:
        now_ns = time.monotonic_ns()
        stamp_ns = nanoseconds_from_stamp(message.header.stamp)
        exposure_ns, is_plausible = exposure_of_stamp(stamp_ns, time.time_ns(), now_ns)
        self._check_stamp(message, is_plausible)
        # A wall clock that is set back must not turn the order of the frames.
        exposure_ns = max(exposure_ns, self._last_exposure_ns + 1)
        self._last_exposure_ns = exposure_ns
        self._frames += 1
        self._last_frame_s = 1e-9 * now_ns
        self.clear('camera')
        if now_ns - exposure_ns > 1e9 * _LATE_FRAME_S:
            self.report(
                'late',
                WARN,
                f'frames come {_LATE_FRAME_S:g} s and more after their exposure: the detector '
                'does not keep up, or the camera does not',
            )
        else:
            self.clear('late')
        stamp_ns = self._own_stamp(stamp_ns)
        if self._choice is not None:
            frame = _Frame(stamp_ns, exposure_ns, message, self._frame_problem(message))
            self._publish_choices(self._choice.take(frame, 1e-9 * exposure_ns))
        else:
            self._look_at(_Frame(stamp_ns, exposure_ns, message))

    def _check_stamp(self, message: Image, is_plausible: bool) -> None:
        if is_plausible:
            self.clear('stamp')
            return
        stamp = message.header.stamp
        self.report(
            'stamp',
            WARN,
            f"frames are not stamped by this machine's clock ({stamp.sec} s): "
            'their arrival counts as their exposure',
        )

    def _frame_problem(self, message: Image) -> str:
        try:
            array_from_image(message)
        except FrameError as error:
            self.report('frame', WARN, str(error))
            return str(error)
        self.clear('frame')
        return ''

    def _look_at(self, frame: _Frame) -> None:
        """
        Look for a part in the frame.

        """
        assert self._detector is not None
        try:
            pixels = array_from_image(frame.image)
            sight = self._detector.see(pixels, 1e-9 * frame.exposure_ns)
        except InspectionError as error:
            self.report('frame', ERROR, f'no part can be seen: {error}')
            self._end_learning(error)
            return
        self.clear('frame')
        self._learn_from(pixels)
        if self._station is not None:
            self._publish_held(self._station.update(sight, frame))
        elif self._passages is not None:
            self._publish_passages(self._passages.update(sight, frame))

    # Triggers

    def _take_photo_eye(self, message: Bool) -> None:
        assert self._eye is not None
        assert self._choice is not None
        now = steady_s()
        if self._eye.begins_part(message.data, now):
            moment = Moment(now + self.parameters.eye_to_frame_s())
            self._publish_choices(self._choice.want(moment))

    def _check_trigger(self, wanted: str) -> None:
        trigger = self.parameters.trigger
        if trigger != wanted:
            raise InspectionError(f'the parameter trigger is {trigger!r}, allowed: {wanted!r}')

    async def _trigger(self, request: Any) -> str:
        self._check_trigger('service')
        assert self._choice is not None
        moment = Moment(steady_s(), is_earliest=True)
        done = self._callers[moment] = Future(executor=self.executor)
        self._publish_choices(self._choice.want(moment))
        part_id, problem = await done
        if problem:
            raise FrameError(f'part {part_id} is published without a frame: {problem}')
        return f'part {part_id}'

    async def _learn_empty(self, request: Any) -> str:
        self._check_trigger('presence')
        if self._learning is not None:
            raise InspectionError('the empty scene is being learned already')
        learning = _Learning(self.parameters.learn_frames, Future(executor=self.executor))
        self._learning = learning
        outcome = await learning.done
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    def _learn_from(self, pixels: NDArray[np.uint8]) -> None:
        assert self._detector is not None
        learning = self._learning
        if learning is None:
            return
        learning.images.append(pixels)
        if len(learning.images) < learning.wanted:
            return
        try:
            self._end_learning(self._detector.learn_empty(learning.images))
        except FrameError as error:
            self._end_learning(error)

    def _end_learning(self, outcome: str | Exception) -> None:
        if self._learning is not None:
            learning, self._learning = self._learning, None
            learning.done.set_result(outcome)

    def _tick(self) -> None:
        now = steady_s()
        if self._choice is not None:
            self._publish_choices(self._choice.tick(now))
        if self._passages is not None:
            self._publish_passages(self._passages.tick(now))

    # Watch

    def _check(self) -> None:
        """
        Tell what the detector cannot resolve by itself.

        """
        now, parameters = steady_s(), self.parameters
        if now - self._last_frame_s > parameters.camera_timeout_s:
            text = f'no frame on image_raw for {parameters.camera_timeout_s:g} s'
            self.report('camera', ERROR, f'{text}: no part can be seen')
            self._end_learning(FrameError(text))
        publishers = self.count_publishers('part')
        if publishers > 1:
            self.report(
                'publishers',
                ERROR,
                f"{publishers} nodes publish part: the camera's mode must be 'stream', or this "
                "node's trigger 'none'",
            )
        else:
            self.clear('publishers')
        if parameters.trigger == 'photo_eye':
            self._check_eye(now)
        elif parameters.trigger == 'presence':
            self._check_scene(now)

    def _check_eye(self, now: float) -> None:
        assert self._eye is not None
        chatter_s = self._eye.last_chatter_s
        if self.count_publishers('photo_eye') == 0:
            self.report('eye', ERROR, 'nobody publishes photo_eye: no part can be seen')
        elif chatter_s is not None and now - chatter_s < _CHATTER_TOLD_S:
            self.report(
                'eye',
                WARN,
                'the photo eye chatters: edges sooner than part_interval_s '
                f'{self.parameters.part_interval_s:g} s after a part are left out',
            )
        else:
            self.clear('eye')
        self._check_stuck(self._eye.covered_since_s, now, 'the photo eye')

    def _check_scene(self, now: float) -> None:
        tracker = self._station or self._passages
        if self._detector is None or tracker is None or self._detector.scene is None:
            return
        self._check_stuck(tracker.covered_since_s, now, 'the trigger column')
        if self._detector.scene.unmoved_s > self.parameters.stuck_after_s:
            self.report(
                'scene',
                WARN,
                'the scene has changed and stands still: after absorb_after_s '
                f'{self.parameters.absorb_after_s:g} s it counts as empty; ~/learn_empty does it '
                'at once',
            )
        else:
            self.clear('scene')

    def _check_stuck(self, since_s: float | None, now: float, what: str) -> None:
        if since_s is not None and now - since_s > self.parameters.stuck_after_s:
            self.report(
                'stuck',
                WARN,
                f'{what} has been covered for more than {self.parameters.stuck_after_s:g} s: '
                'no further part can be seen',
            )
        else:
            self.clear('stuck')

    # Parts

    def _publish_passages(self, passages: Sequence[Passage[_Frame]]) -> None:
        for passage in passages:
            self._publish_part(passage.frame)

    def _publish_choices(self, choices: Sequence[Choice[_Frame]]) -> None:
        for choice in choices:
            frame = choice.frame
            if frame is None:
                exposure_ns = int(1e9 * choice.moment.at_s)
                stamp_ns = time.time_ns() - (time.monotonic_ns() - exposure_ns)
                frame = _Frame(self._own_stamp(stamp_ns), exposure_ns, None, choice.problem)
            self._publish_part(frame)
            caller = self._callers.pop(choice.moment, None)
            if caller is not None:
                caller.set_result((self._part_id, frame.problem))

    def _publish_held(self, held: Held[_Frame] | None) -> None:
        if held is None:
            return
        if not held.is_complete:
            self._publish_image(held.frames[-1])
        is_new = len(held.frames) == 1 and not held.is_complete
        self._announce(held.frames, is_new=is_new, is_complete=held.is_complete)

    def _publish_part(self, frame: _Frame) -> None:
        self._announce((frame,), is_new=True, is_complete=True)
        self._publish_image(frame)

    def _announce(self, frames: Sequence[_Frame], *, is_new: bool, is_complete: bool) -> None:
        if is_new:
            self._part_id += 1
            self._problem_parts += bool(frames[0].problem)
        self._part.publish(
            Part(
                session_id=self._session_id,
                part_id=self._part_id,
                frame_stamps=[stamp_from_nanoseconds(frame.stamp_ns) for frame in frames],
                frame_names=[''] * len(frames),
                frame_problems=[frame.problem for frame in frames],
                is_complete=is_complete,
                exposure_steady_ns=frames[0].exposure_ns,
                steady_clock_id=self._clock_id,
                age_s=max(0.0, 1e-9 * (time.monotonic_ns() - frames[0].exposure_ns)),
            )
        )

    def _publish_image(self, frame: _Frame) -> None:
        if frame.image is not None and not frame.problem:
            frame.image.header.stamp = stamp_from_nanoseconds(frame.stamp_ns)
            self._part_image.publish(frame.image)

    def _own_stamp(self, stamp_ns: int) -> int:
        """
        Give a stamp that no other frame has: frames join their part by it.

        """
        while stamp_ns in self._stamps:
            stamp_ns += 1
        self._stamps.append(stamp_ns)
        return stamp_ns


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(PartDetectorNode)
