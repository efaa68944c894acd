# SPDX-License-Identifier: Apache-2.0
"""
The camera node over DDS: parts and frames that join, triggers, and sources that fail.

"""

from collections import deque
import os
import threading
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from anomaly_inspection.capture.source import Frame, FrameSource
from anomaly_inspection.errors import SourceError
from anomaly_inspection.msg import Part
from anomaly_inspection.nodes import camera_node, frequency, part_announcer
from anomaly_inspection.nodes.camera_node import CameraNode
from anomaly_inspection.nodes.image_conversion import array_from_image
from anomaly_inspection.nodes.qos import EVENT, IMAGE
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS
PIXELS = np.full((4, 6), 77, np.uint8)


class Bench(NodeBench):
    """
    A camera node and somebody who hears all of it.

    """

    def __init__(self, context, **parameters):
        peer = Peer(context)
        self.parts = peer.hear(Part, 'part', EVENT)
        self.part_images = peer.hear(Image, 'part/image', IMAGE)
        self.images = peer.hear(Image, 'image_raw', IMAGE)
        self.infos = peer.hear(CameraInfo, 'camera_info', IMAGE)
        self.diagnostics = peer.hear(DiagnosticArray, '/diagnostics', 10)
        super().__init__(CameraNode, peer, **parameters)

    def level(self, name):
        statuses = self.diagnostics[-1].status if self.diagnostics else ()
        return next((status.level for status in statuses if status.name == name), None)


class FakeDevice:
    """
    A camera that gives what a test puts into it, behind the node's `open_source`.

    """

    def __init__(self):
        self.frames = deque()
        self.news = threading.Condition()
        self.asked = []
        self.opens = 0
        self.is_unplugged = False
        self.has_waited = threading.Event()

    def open_source(self, spec, *, camera_settings):
        self.asked.append(camera_settings)
        return FakeCamera(self)

    def give(self, *, age_s=0.0, stamp_ns=None):
        steady_ns = time.monotonic_ns() - int(1e9 * age_s)
        self.put(Frame(PIXELS, stamp_ns or time.time_ns(), steady_ns))

    def put(self, frame_or_error):
        with self.news:
            self.frames.append(frame_or_error)
            self.news.notify_all()


class FakeCamera(FrameSource):
    is_live = True

    def __init__(self, device):
        self._device = device
        self._is_open = False

    def open(self):
        if self._device.is_unplugged:
            raise SourceError('camera 0 cannot be opened')
        self._is_open = True
        self._device.opens += 1

    def read(self):
        self._device.has_waited.set()
        with self._device.news:
            self._device.news.wait_for(lambda: self._device.frames or not self._is_open)
            if not self._is_open:
                raise SourceError('camera 0 is closed')
            frame = self._device.frames.popleft()
        if isinstance(frame, Exception):
            raise frame
        return frame

    def close(self):
        with self._device.news:
            self._is_open = False
            self._device.news.notify_all()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """
    Nobody but the bench listens here: the first part need not wait for more.

    """
    monkeypatch.setattr(part_announcer, '_LISTENERS_SETTLE_S', 0.05)
    monkeypatch.setattr(camera_node, '_FIRST_BACK_OFF_S', 0.05)


@pytest.fixture
def device(monkeypatch):
    device = FakeDevice()
    monkeypatch.setattr(camera_node, 'open_source', device.open_source)
    return device


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(**parameters):
        benches.append(Bench(ros_context, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def folder(tmp_path):
    """
    Five images, each of a level of its own, and an unreadable one in the third place.

    """
    for level in (10, 20, 40, 50):
        cv2.imwrite(str(tmp_path / f'{level}.png'), np.full((20, 30, 3), level, np.uint8))
    (tmp_path / '30.png').write_bytes(b'this is no picture')
    return tmp_path


def stamps_of(images):
    return [nanoseconds_from_stamp(image.header.stamp) for image in images]


# Free-run


def test_every_frame_is_a_part_and_joins_it_by_its_stamp(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=20.0, frame_id='belt')
    bench.wait(lambda: len(bench.parts) == 5 and len(bench.part_images) == 4)
    bench.wait(bench.node.has_ended.is_set)
    assert [part.part_id for part in bench.parts] == [1, 2, 3, 4, 5]
    assert [part.frame_names for part in bench.parts] == [
        [f'{level}.png'] for level in (10, 20, 30, 40, 50)
    ]
    assert len({part.session_id for part in bench.parts}) == 1
    assert bench.parts[0].session_id
    stamps = [nanoseconds_from_stamp(part.frame_stamps[0]) for part in bench.parts]
    assert stamps == sorted(set(stamps))
    levels = dict(zip(stamps, (10, 20, 30, 40, 50), strict=True))
    for image in bench.part_images:
        pixels = array_from_image(image)
        assert pixels.shape == (20, 30, 3)
        assert np.all(pixels == levels[nanoseconds_from_stamp(image.header.stamp)])
        assert image.header.frame_id == 'belt'
    now_ns = time.monotonic_ns()
    for part in bench.parts:
        assert part.is_complete
        assert part.steady_clock_id == steady_clock_id()
        assert 0 < now_ns - part.exposure_steady_ns < 60e9
        assert part.age_s < 1
    bench.wait(lambda: len(bench.images) == 4 and len(bench.infos) == 4)
    assert stamps_of(bench.images) == stamps_of(bench.infos) == stamps_of(bench.part_images)
    assert (bench.infos[0].width, bench.infos[0].height) == (30, 20)


def test_an_unreadable_image_is_a_part_without_an_image(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=20.0)
    bench.wait(lambda: len(bench.parts) == 5 and len(bench.part_images) == 4)
    problems = {part.frame_names[0]: part.frame_problems[0] for part in bench.parts}
    assert 'not a PNG' in problems.pop('30.png')
    assert set(problems.values()) == {''}
    unreadable = nanoseconds_from_stamp(bench.parts[2].frame_stamps[0])
    assert unreadable not in stamps_of(bench.part_images)


def test_each_activation_is_a_session_of_its_own(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=50.0)
    bench.wait(lambda: len(bench.parts) == 5)
    bench.node.trigger_deactivate()
    bench.node.trigger_activate()
    bench.wait(lambda: len(bench.parts) == 10)
    assert [part.part_id for part in bench.parts] == [1, 2, 3, 4, 5] * 2
    assert [part.frame_names for part in bench.parts[5:]] == [
        part.frame_names for part in bench.parts[:5]
    ]
    assert len({part.session_id for part in bench.parts}) == 2


def test_frames_of_one_stamp_are_told_apart(make_bench, device):
    bench = make_bench(source='0')
    for _ in range(4):
        device.give(stamp_ns=1_000)
    bench.wait(lambda: len(bench.parts) == 4 and len(bench.part_images) == 4)
    stamps = [nanoseconds_from_stamp(part.frame_stamps[0]) for part in bench.parts]
    assert len(set(stamps)) == 4
    assert stamps_of(bench.part_images) == stamps


def test_another_rate_acts_at_once(make_bench, folder, monkeypatch):
    bench = make_bench(source=str(folder), rate_hz=0.01, autostart=False)
    waits = []
    wait = bench.node._wait
    monkeypatch.setattr(bench.node, '_wait', lambda s: (waits.append(s), wait(s)))
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    bench.wait(lambda: waits)
    assert waits[0] > 90, 'it waits for the second frame'
    assert bench.set_parameter('rate_hz', 50).successful
    bench.wait(lambda: len(bench.parts) == 5)


@pytest.mark.parametrize('mode', ['free_run', 'stream'])
def test_deactivating_ends_the_wait_for_the_next_frame(make_bench, folder, mode):
    bench = make_bench(source=str(folder), rate_hz=0.01, mode=mode)
    bench.wait(lambda: bench.node.is_active)
    began_s = time.monotonic()
    bench.node.trigger_deactivate()
    assert time.monotonic() - began_s < 20, 'not the 100 s between two frames'
    assert bench.parts == []


# Triggered, stream


def test_a_trigger_takes_a_frame_by_topic_and_by_service(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=50.0, mode='triggered')
    trigger = bench.peer.create_publisher(Empty, 'trigger', EVENT)
    bench.wait(lambda: trigger.get_subscription_count() == 1)
    bench.wait_until_active()
    trigger.publish(Empty())
    bench.wait(lambda: len(bench.part_images) == 1)
    answer = bench.call(Trigger, 'camera/capture')
    assert (answer.success, answer.message) == (True, 'a frame will be taken')
    bench.wait(lambda: len(bench.part_images) == 2)
    assert [part.frame_names for part in bench.parts] == [['10.png'], ['20.png']]
    assert bench.node.part_count == 2


def test_a_triggered_file_is_exposed_at_its_trigger_however_late_it_is_shown(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=2.0, mode='triggered').wait_until_active()
    for _ in range(2):
        assert bench.call(Trigger, 'camera/capture').success
    after_ns = time.monotonic_ns()
    bench.wait(lambda: len(bench.part_images) == 2)
    assert [part.exposure_steady_ns <= after_ns for part in bench.parts] == [True, True]
    assert bench.parts[1].age_s > 0
    assert len({image.header.stamp.nanosec for image in bench.part_images}) == 2


def test_capture_says_so_when_the_camera_is_not_triggered(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=0.01).wait_until_active()
    refused = bench.call(Trigger, 'camera/capture')
    assert not refused.success
    assert refused.message.endswith("the parameter mode is 'free_run', allowed: 'triggered'")


def test_too_many_triggers_are_refused_with_words(make_bench, device):
    bench = make_bench(source='0', mode='triggered').wait_until_active()
    # The first is waiting for its frame, five more wait in line.
    assert bench.call(Trigger, 'camera/capture').success
    assert device.has_waited.wait(20)
    for _ in range(5):
        assert bench.call(Trigger, 'camera/capture').success
    refused = bench.call(Trigger, 'camera/capture')
    assert not refused.success
    assert '5 triggers are waiting for a frame' in refused.message
    trigger = bench.peer.create_publisher(Empty, 'trigger', EVENT)
    bench.wait(lambda: trigger.get_subscription_count() == 1)
    trigger.publish(Empty())
    bench.wait(lambda: bench.node.problem('trigger'))
    assert '5 triggers are waiting for a frame' in bench.node.problem('trigger')
    for _ in range(6):
        device.give()
    bench.wait(lambda: len(bench.parts) == 6)
    trigger.publish(Empty())
    bench.wait(lambda: not bench.node.problem('trigger'))


def test_a_frame_from_before_the_trigger_is_not_taken_for_it(make_bench, device):
    bench = make_bench(source='0', mode='triggered').wait_until_active()
    device.give(age_s=1.0, stamp_ns=1)
    device.give(age_s=0.5, stamp_ns=2)
    assert bench.call(Trigger, 'camera/capture').success
    device.give(stamp_ns=3)
    bench.wait(lambda: bench.part_images)
    assert stamps_of(bench.part_images) == [3]
    assert bench.node.part_count == 1


def test_a_stream_has_frames_and_no_parts(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=5.0, mode='stream')
    bench.wait(bench.node.has_ended.is_set)
    bench.wait(lambda: bench.images and bench.infos)
    assert bench.peer.count_publishers('part') == bench.peer.count_publishers('part/image') == 0
    assert bench.parts == bench.part_images == []


def test_a_camera_that_is_far_slower_than_asked_for_is_told(make_bench, device, monkeypatch):
    monkeypatch.setattr(frequency, '_WINDOW_S', 1.0)
    bench = make_bench(source='0', fps=1000.0)
    device.give()
    bench.wait(lambda: bench.level('/camera: frames') == DiagnosticStatus.WARN)
    assert 'than fps 1000 Hz asks for' in bench.node.problem('frequency frames')
    assert bench.level('/camera: source') == bench.level('/camera') == DiagnosticStatus.OK
    [frames] = [s for s in bench.diagnostics[-1].status if s.name == '/camera: frames']
    assert [value.key for value in frames.values] == [
        'frames per second',
        'frames per second asked for',
    ]
    bench.node.trigger_deactivate()
    bench.wait(lambda: bench.level('/camera: frames') == DiagnosticStatus.OK)


# Sources that are not there, or fail


@pytest.mark.parametrize(
    ('kind', 'words'), [('missing', 'does not exist'), ('empty', 'no images')]
)
def test_a_folder_that_is_not_there_keeps_the_node_down_until_it_is(
    make_bench, folder, tmp_path, kind, words
):
    place = tmp_path / 'frames'
    if kind == 'empty':
        place.mkdir()
    bench = make_bench(source=str(place), rate_hz=50.0)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    assert str(place) in bench.node.problem('lifecycle')
    assert words in bench.node.problem('lifecycle')
    assert not bench.node.is_active
    bench.wait(lambda: bench.level('/camera') == DiagnosticStatus.ERROR)
    place.mkdir(exist_ok=True)
    (folder / '10.png').rename(place / '10.png')
    assert bench.node.trigger_configure() == SUCCESS
    assert bench.node.trigger_activate() == SUCCESS
    bench.wait(lambda: bench.part_images)
    bench.wait(lambda: bench.level('/camera') == DiagnosticStatus.OK)


def test_a_camera_that_fails_is_opened_again_until_it_is_back(make_bench, device, monkeypatch):
    waits = []
    monkeypatch.setattr(camera_node, '_LONGEST_BACK_OFF_S', 0.2)
    bench = make_bench(source='0')
    wait = bench.node._wait
    monkeypatch.setattr(bench.node, '_wait', lambda s: (waits.append(s), wait(s)))
    device.give()
    bench.wait(lambda: len(bench.parts) == 1)
    device.is_unplugged = True
    device.put(SourceError('camera 0 gives no more frames'))
    bench.wait(lambda: len(waits) >= 4)
    assert waits[:4] == [0.05, 0.1, 0.2, 0.2]
    assert 'camera 0 cannot be opened; trying again in' in bench.node.problem('source')
    bench.wait(lambda: bench.level('/camera: source') == DiagnosticStatus.ERROR)
    device.is_unplugged = False
    bench.wait(lambda: device.opens == 2)
    device.give()
    bench.wait(lambda: len(bench.parts) == 2)
    assert [part.part_id for part in bench.parts] == [1, 2]
    assert len({part.session_id for part in bench.parts}) == 1
    bench.wait(lambda: not bench.node.problem('source'))
    bench.wait(lambda: bench.level('/camera: source') == DiagnosticStatus.OK)


def test_an_error_that_nobody_foresaw_does_not_end_the_reader(make_bench, device):
    bench = make_bench(source='0')
    device.put(RuntimeError('what is this'))
    bench.wait(lambda: 'what is this' in (bench.node.problem('source') or ''))
    bench.wait(lambda: device.opens == 2)
    device.give()
    bench.wait(lambda: bench.parts)


def test_other_camera_settings_open_the_camera_again_and_stay(make_bench, device):
    bench = make_bench(source='0').wait_until_active()
    bench.wait(lambda: device.opens == 1)
    assert bench.set_parameter('exposure_is_automatic', False).successful
    assert bench.set_parameter('exposure_s', 0.005).successful
    assert bench.set_parameter('rate_hz', 20.0).successful
    device.give()
    bench.wait(lambda: device.opens == 2)
    assert device.asked[-1].exposure_s == 0.005
    bench.node.trigger_deactivate()
    assert bench.set_parameter('exposure_s', 0.004).successful
    bench.node.trigger_activate()
    bench.wait(lambda: device.opens == 3)
    assert device.asked[-1].exposure_s == 0.004
    assert len(device.asked) == 3, 'another rate is no reason to open it again'


def test_settings_that_contradict_each_other_are_said_and_can_be_mended(make_bench, device):
    bench = make_bench(source='0').wait_until_active()
    bench.wait(lambda: device.opens == 1)
    assert bench.set_parameter('width_px', 640).successful
    device.give()
    bench.wait(lambda: 'both or neither' in (bench.node.problem('source') or ''))
    assert bench.set_parameter('height_px', 480).successful
    bench.wait(lambda: device.opens == 2)
    assert (device.asked[-1].width_px, device.asked[-1].height_px) == (640, 480)


def test_deactivating_wakes_a_reader_that_waits_for_a_frame(make_bench, device):
    bench = make_bench(source='0')
    assert device.has_waited.wait(20)
    closer = threading.Thread(target=bench.node.trigger_deactivate, daemon=True)
    closer.start()
    closer.join(20)
    assert not closer.is_alive(), 'the camera never gave a frame, and never will'
    assert not bench.node.is_active
    assert bench.node.problem('source') is None, 'closed on purpose'
    assert bench.parts == []


def test_a_live_camera_that_is_not_there_yet_is_no_reason_to_stay_down(make_bench, device):
    device.is_unplugged = True
    bench = make_bench(source='0').wait_until_active()
    bench.wait(lambda: bench.node.problem('source'))
    device.is_unplugged = False
    device.give()
    bench.wait(lambda: bench.parts)


# Files are not opened again like a lost camera


def test_a_file_name_that_is_not_utf_8_is_one_invalid_part_and_the_folder_goes_on(
    make_bench, folder
):
    (folder / '10.png').rename(folder / os.fsdecode(b'15_\xff.png'))
    bench = make_bench(source=str(folder), rate_hz=50.0)
    bench.wait(bench.node.has_ended.is_set)
    bench.wait(lambda: len(bench.parts) == 5 and len(bench.part_images) == 3)
    assert [part.part_id for part in bench.parts] == [1, 2, 3, 4, 5]
    assert bench.parts[0].frame_names == ['15_\N{REPLACEMENT CHARACTER}.png']
    assert bench.parts[0].frame_problems == ['its name is not UTF-8; rename the file']
    assert bench.node.end_problem == ''


@pytest.fixture
def truncated_video(tmp_path):
    """
    A video whose header announces 40 frames and whose file ends after some of them.

    """
    whole, cut = tmp_path / 'whole.avi', tmp_path / 'cut.avi'
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*'MJPG'), 25, (64, 48))
    for level in range(40):
        writer.write(np.full((48, 64, 3), 3 * level, np.uint8))
    writer.release()
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    return cut


def test_a_truncated_video_ends_with_a_sentence_and_is_not_begun_again(
    make_bench, truncated_video
):
    bench = make_bench(source=str(truncated_video), rate_hz=200.0)
    bench.wait(bench.node.has_ended.is_set)
    assert 'cut.avi is damaged: it ends after' in bench.node.end_problem
    assert bench.node.end_problem in bench.node.problem('source')
    bench.wait(lambda: len(bench.parts) == bench.node.part_count)
    names = [part.frame_names[0] for part in bench.parts]
    assert names == [f'cut.avi/{number:06d}' for number in range(len(names))]
    assert 0 < len(names) < 40


def test_a_folder_that_vanishes_under_way_ends_with_a_sentence(make_bench, folder, monkeypatch):
    def read(source):
        raise OSError('the disk is gone')

    bench = make_bench(source=str(folder), rate_hz=50.0, autostart=False)
    monkeypatch.setattr('anomaly_inspection.capture.image_folder.ImageFolder.read', read)
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    bench.wait(bench.node.has_ended.is_set)
    assert 'the disk is gone' in bench.node.end_problem
    assert bench.parts == []


def test_a_folder_that_loops_begins_again_with_new_parts(make_bench, folder):
    bench = make_bench(source=str(folder), rate_hz=100.0, loop=True)
    bench.wait(lambda: len(bench.parts) >= 12)
    assert [part.part_id for part in bench.parts[:12]] == list(range(1, 13))
    names = ['10.png', '20.png', '30.png', '40.png', '50.png']
    assert [part.frame_names[0] for part in bench.parts[:10]] == 2 * names
    assert len({part.session_id for part in bench.parts}) == 1
    assert not bench.node.has_ended.is_set()
    assert bench.set_parameter('loop', False).successful
    bench.wait(bench.node.has_ended.is_set)


# Calibration

CALIBRATION = """image_width: {width}
image_height: 20
distortion_model: plumb_bob
camera_matrix: {{rows: 3, cols: 3, data: [60, 0, 15, 0, 61, 10, 0, 0, 1]}}
distortion_coefficients: {{rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}}
rectification_matrix: {{rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}}
projection_matrix: {{rows: 3, cols: 4, data: [60, 0, 15, 0, 0, 61, 10, 0, 0, 0, 1, 0]}}
"""


@pytest.fixture
def calibration_file(tmp_path):
    def write(width=30):
        path = tmp_path / 'with space' / 'camera.yaml'
        path.parent.mkdir(exist_ok=True)
        path.write_text(CALIBRATION.format(width=width))
        return path

    return write


@pytest.mark.parametrize('is_url', [True, False])
def test_camera_info_carries_the_calibration_and_an_optical_frame(
    make_bench, folder, calibration_file, is_url
):
    path = calibration_file()
    url = path.as_uri() if is_url else str(path)
    bench = make_bench(source=str(folder), rate_hz=50.0, camera_info_url=url)
    bench.wait(lambda: bench.infos and bench.images)
    info = bench.infos[0]
    assert (info.width, info.height, info.distortion_model) == (30, 20, 'plumb_bob')
    assert list(info.k) == [60, 0, 15, 0, 61, 10, 0, 0, 1]
    assert list(info.p) == [60, 0, 15, 0, 0, 61, 10, 0, 0, 0, 1, 0]
    assert list(info.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert list(info.d) == [0.1, 0, 0, 0, 0]
    assert info.header == bench.images[0].header
    assert info.header.frame_id == 'camera_optical_frame'


def test_a_calibration_for_another_size_is_told_and_not_published(
    make_bench, folder, calibration_file
):
    path = calibration_file(width=640)
    bench = make_bench(source=str(folder), rate_hz=50.0, camera_info_url=str(path))
    bench.wait(lambda: bench.infos)
    assert list(bench.infos[0].k) == [0] * 9, 'which means uncalibrated'
    assert '640x20 pixels, the frames have 30x20' in bench.node.problem('calibration')


@pytest.mark.parametrize(
    ('url', 'words'),
    [
        ('http://host/camera.yaml', 'allowed is file:///PATH'),
        ('package://no_such_package/camera.yaml', "no package 'no_such_package'"),
        ('package://anomaly_inspection/none.yaml', 'there is no calibration file'),
        ('file:///no/such/file.yaml', 'there is no calibration file /no/such/file.yaml'),
    ],
)
def test_a_calibration_that_is_not_there_keeps_the_camera_down(make_bench, folder, url, words):
    bench = make_bench(source=str(folder), camera_info_url=url)
    bench.wait(lambda: words in (bench.node.problem('lifecycle') or ''))
    assert not bench.node.is_active
