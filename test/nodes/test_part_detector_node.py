# SPDX-License-Identifier: Apache-2.0
"""
The part detector over DDS: one part for each trigger, frames that join, and failures that reject.

"""

import threading
import time

import cv2
import numpy as np
import pytest

from support.drawn_belt import DrawnBelt, DrawnPart, HEIGHT, WIDTH

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from action_msgs.msg import GoalStatus
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from anomaly_inspection.action import LearnEmpty
from anomaly_inspection.msg import Decision, Part, RecipeInForce
from anomaly_inspection.nodes.camera_node import CameraNode
from anomaly_inspection.nodes.decider_node import DeciderNode
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.part_detector_node import PartDetectorNode
from anomaly_inspection.nodes.qos import EVENT, IMAGE, LATCHED
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp, stamp_from_nanoseconds
from anomaly_inspection.steady_clock import steady_clock_id
from support.cell_bench import NodeBench, Peer

pytestmark = pytest.mark.ros

MIDDLE = WIDTH // 2
EMPTY = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
PRESENT = cv2.rectangle(EMPTY.copy(), (MIDDLE - 40, 60), (MIDDLE + 40, 180), (200, 190, 210), -1)


class Bench(NodeBench):
    """
    A part detector, its camera and its photo eye, and somebody who hears it.

    """

    def __init__(self, context, **parameters):
        peer = Peer(context)
        self.parts = peer.hear(Part, 'part', EVENT)
        self.images = peer.hear(Image, 'part/image', IMAGE)
        self.diagnostics = peer.hear(DiagnosticArray, '/diagnostics', 10)
        self.image_raw = peer.create_publisher(Image, 'image_raw', IMAGE)
        self.photo_eye = peer.create_publisher(Bool, 'photo_eye', EVENT)
        self.stamps = []
        super().__init__(PartDetectorNode, peer, **parameters)

    def ready(self):
        self.wait_until_active()
        self.wait(lambda: self.image_raw.get_subscription_count() == 1)
        self.wait(lambda: self.node.listener_counts() == (1, 1))
        if self.node.parameters.trigger == 'photo_eye':
            self.wait(lambda: self.photo_eye.get_subscription_count() == 1)
        return self

    def send(self, pixels=EMPTY, *, age_s=0.0, truncated=False):
        """
        Send a frame and wait until the detector has it; gives its stamp.

        """
        stamp_ns = time.time_ns() - int(1e9 * age_s)
        message = image_from_array(pixels, stamp_from_nanoseconds(stamp_ns), 'belt')
        if truncated:
            message.data = message.data[:-1]
        frames = self.node._frames
        self.image_raw.publish(message)
        self.wait(lambda: self.node._frames > frames)
        return stamp_ns

    def eye(self, *signals):
        for signal in signals:
            self.photo_eye.publish(Bool(data=signal))

    def stamp_of(self, number):
        self.wait(lambda: len(self.parts) > number)
        return nanoseconds_from_stamp(self.parts[number].frame_stamps[0])

    def problem_says(self, topic, words):
        self.wait(lambda: words in (self.node.problem(topic) or ''))

    def level(self, concern):
        name = f'/part_detector: {concern}'
        levels = [s.level for d in self.diagnostics for s in d.status if s.name == name]
        return levels[-1] if levels else None


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(**parameters):
        benches.append(Bench(ros_context, **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


# Photo eye


def test_an_edge_gives_the_frame_nearest_to_it(make_bench):
    bench = make_bench(trigger='photo_eye', part_interval_s=0.0, frame_timeout_s=5.0).ready()
    bench.send(age_s=0.5)
    bench.eye(False, True)
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    wanted_ns = bench.send(PRESENT)
    assert bench.stamp_of(0) == wanted_ns
    part = bench.parts[0]
    assert (part.part_id, part.is_complete, list(part.frame_problems)) == (1, True, [''])
    assert part.session_id
    assert part.steady_clock_id == steady_clock_id()
    assert 0 <= time.monotonic_ns() - part.exposure_steady_ns < 20e9
    bench.wait(lambda: bench.images)
    assert nanoseconds_from_stamp(bench.images[0].header.stamp) == wanted_ns
    assert bench.images[0].header.frame_id == 'belt'
    assert bytes(bench.images[0].data) == PRESENT.tobytes()


def test_the_frame_is_delayed_by_distance_and_speed(make_bench):
    bench = make_bench(
        trigger='photo_eye',
        eye_distance_m=0.05,
        belt_speed_m_per_s=0.1,
        eye_delay_s=0.1,
        frame_timeout_s=5.0,
    ).ready()
    before_ns = time.monotonic_ns()
    bench.eye(False, True)
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    stamps = []
    while not bench.parts:
        stamps.append(bench.send())
    chosen_s = 1e-9 * (bench.parts[0].exposure_steady_ns - before_ns)
    assert bench.stamp_of(0) in stamps
    # The frame before the wanted moment or the one behind, whatever the load of the machine.
    others_s = [1e-9 * (s - bench.stamp_of(0)) + chosen_s for s in stamps]
    assert abs(chosen_s - 0.6) <= min(abs(other_s - 0.6) for other_s in others_s) + 0.1


def test_a_part_whose_frame_does_not_come_is_published_to_be_rejected(make_bench):
    bench = make_bench(trigger='photo_eye', frame_timeout_s=0.2).ready()
    bench.eye(False, True)
    bench.wait(lambda: bench.parts)
    (problem,) = bench.parts[0].frame_problems
    assert problem == 'no frame within 0.2 s of the part: there is none'
    assert bench.parts[0].is_complete
    assert abs(time.time_ns() - bench.stamp_of(0)) < 20e9
    assert bench.images == []


def test_a_part_whose_frame_is_broken_is_published_to_be_rejected(make_bench):
    bench = make_bench(trigger='photo_eye', part_interval_s=0.0, frame_timeout_s=5.0).ready()
    bench.eye(False, True)
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    bench.send(truncated=True)
    bench.wait(lambda: bench.parts)
    assert 'truncated' in bench.parts[0].frame_problems[0]
    bench.problem_says('frame', 'truncated')
    assert bench.images == []
    bench.eye(False, True)
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    bench.send()
    bench.wait(lambda: bench.node.problem('frame') is None and bench.images)


def test_chatter_is_one_part_and_a_stuck_eye_is_told(make_bench):
    bench = make_bench(
        trigger='photo_eye', part_interval_s=30.0, frame_timeout_s=0.1, stuck_after_s=0.1
    ).ready()
    bench.eye(False, *[True, False] * 4, True)
    bench.problem_says('chatter', 'chatters')
    bench.problem_says('stuck', 'photo eye has been covered')
    bench.wait(lambda: bench.level('parts') == DiagnosticStatus.WARN)
    assert len(bench.parts) == bench.node.part_count == 1
    bench.eye(False)
    bench.wait(lambda: bench.node.problem('stuck') is None)


def test_a_photo_eye_that_nobody_publishes_is_told(make_bench):
    bench = make_bench(trigger='photo_eye').ready()
    bench.peer.destroy_publisher(bench.photo_eye)
    bench.problem_says('eye', 'nobody publishes photo_eye')


def test_stopping_rejects_the_parts_that_wait_and_starts_a_new_session(make_bench):
    bench = make_bench(trigger='photo_eye', eye_delay_s=60.0).ready()
    bench.eye(False, True)
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    bench.node.trigger_deactivate()
    bench.wait(lambda: bench.parts)
    assert bench.parts[0].frame_problems == ['the part detector was stopped']
    assert bench.parts[0].age_s == 0
    bench.node.trigger_activate()
    bench.eye(False, True)
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    bench.node.trigger_deactivate()
    bench.wait(lambda: len(bench.parts) == 2)
    assert [part.part_id for part in bench.parts] == [1, 1]
    assert len({part.session_id for part in bench.parts}) == 2


# Service


def test_the_service_takes_the_next_frame_and_answers_with_the_part(make_bench):
    bench = make_bench(trigger='service', frame_timeout_s=5.0).ready()
    bench.send()
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(bench.call(Trigger, 'part_detector/trigger'))
    )
    caller.start()
    bench.wait(lambda: bench.node._cutter.waiting_count == 1)
    wanted_ns = bench.send(PRESENT)
    caller.join()
    assert (answers[0].success, answers[0].message) == (True, 'part 1')
    assert bench.stamp_of(0) == wanted_ns


def test_the_service_says_when_no_frame_came_and_the_part_is_rejected(make_bench):
    bench = make_bench(trigger='service', frame_timeout_s=0.2).ready()
    bench.send()
    answer = bench.call(Trigger, 'part_detector/trigger')
    assert not answer.success
    assert 'part 1 is published without a frame: no frame within 0.2 s' in answer.message
    bench.wait(lambda: bench.parts)
    assert bench.parts[0].frame_problems[0]


@pytest.mark.parametrize(
    ('trigger', 'name', 'allowed'),
    [
        ('none', 'trigger', 'service'),
        ('presence', 'trigger', 'service'),
        ('every_frame', 'trigger', 'service'),
        ('photo_eye', 'learn_empty', 'presence'),
        ('service', 'learn_empty', 'presence'),
    ],
)
def test_a_service_or_action_of_another_trigger_says_so(make_bench, trigger, name, allowed):
    bench = make_bench(trigger=trigger)
    bench.wait(lambda: bench.node.is_active)
    if name == 'trigger':
        answer = bench.call(Trigger, 'part_detector/trigger')
        success, message = answer.success, answer.message
    else:
        goal = bench.send_goal(LearnEmpty, 'part_detector/learn_empty')
        _, success, message = goal.result()
    assert not success
    assert message.endswith(f"the parameter trigger is '{trigger}', allowed: '{allowed}'")


# Presence


def test_presence_gives_one_part_for_each_that_passes(make_bench):
    bench = make_bench(trigger='presence').ready()
    parts = [DrawnPart(MIDDLE - 20 * (12 + 8 * n)) for n in range(3)]
    belt = DrawnBelt(parts, 20.0, marks=True)
    stamps = [bench.send(belt.frame()) for _ in range(40)]
    bench.wait(lambda: len(bench.parts) == len(bench.images) == 3)
    chosen = [stamps.index(bench.stamp_of(n)) for n in range(3)]
    assert chosen == [12, 20, 28]
    assert [part.part_id for part in bench.parts] == [1, 2, 3]
    assert all(part.is_complete for part in bench.parts)
    assert bench.node.part_count == 3


def test_a_part_on_a_stopped_belt_comes_after_patience_and_once(make_bench):
    bench = make_bench(trigger='presence', stuck_after_s=0.3, patience_s=0.1).ready()
    for _ in range(3):
        bench.send()
    bench.send(np.roll(PRESENT, 30, axis=1))
    # No further frame is needed.
    bench.wait(lambda: bench.parts)
    bench.problem_says('stuck', 'trigger column has been covered')
    for _ in range(3):
        bench.send(np.roll(PRESENT, 30, axis=1))
    bench.send()
    bench.wait(lambda: bench.node.problem('stuck') is None)
    assert len(bench.parts) == 1


def test_a_silent_camera_and_frames_of_another_size_are_told(make_bench):
    bench = make_bench(trigger='presence', camera_timeout_s=0.2).ready()
    bench.problem_says('camera', 'no frame on /image_raw for 0.2 s, though peer publishes it')
    bench.wait(lambda: bench.level('images') == DiagnosticStatus.ERROR)
    bench.send()
    bench.send(EMPTY[:100])
    bench.problem_says('frame', 'wanted (240, 320, 3)')
    bench.send()
    bench.wait(lambda: bench.node.problem('frame') is None)
    assert bench.parts == []


def test_a_stamp_of_another_clock_is_told_and_the_arrival_counts(make_bench):
    bench = make_bench(trigger='presence', patience_s=0.05).ready()
    bench.send(age_s=1e6)
    bench.problem_says('stamp', 'their arrival counts')
    bench.send(PRESENT, age_s=1e6)
    bench.wait(lambda: bench.parts)
    assert bench.parts[0].age_s < 10


def test_frames_of_one_stamp_are_told_apart(make_bench):
    bench = make_bench(trigger='photo_eye', part_interval_s=0.0, frame_timeout_s=1.0).ready()
    message = None
    for number in (1, 2):
        bench.eye(False, True)
        bench.wait(lambda: bench.node._cutter.waiting_count == 1)
        message = message or image_from_array(
            EMPTY, stamp_from_nanoseconds(time.time_ns()), 'belt'
        )
        bench.image_raw.publish(message)
        bench.wait(lambda number=number: len(bench.images) == len(bench.parts) == number)
    stamps = [nanoseconds_from_stamp(image.header.stamp) for image in bench.images]
    assert stamps[1] == stamps[0] + 1
    assert stamps == [bench.stamp_of(0), bench.stamp_of(1)]


def learn(bench, *frames, wanted=0):
    """
    Send a goal and the frames that it collects; gives the goal.

    """
    goal = bench.send_goal(LearnEmpty, 'part_detector/learn_empty', frames=wanted)
    bench.wait(lambda: bench.node._learning is not None)
    for frame in frames:
        bench.send(frame)
    return goal


def test_learn_empty_learns_tells_its_progress_refuses_and_gives_up(make_bench):
    bench = make_bench(trigger='presence', learn_frames=3, camera_timeout_s=0.5).ready()
    # Taken for the empty scene: it was there in the first frame.
    bench.send(PRESENT)
    status, success, message = learn(bench, EMPTY, PRESENT, EMPTY).result()
    assert (status, success) == (GoalStatus.STATUS_ABORTED, False)
    assert 'Learn while nothing moves' in message
    goal = learn(bench, EMPTY, EMPTY, EMPTY, EMPTY, wanted=4)
    assert goal.result() == (
        GoalStatus.STATUS_SUCCEEDED,
        True,
        'the empty scene is learned from 4 frames, noise 0.0 levels',
    )
    assert bench.node._detector.scene.known_s == 60
    bench.wait(lambda: [told.frames for told in goal.feedback][-1:] == [4])
    assert {told.frames_wanted for told in goal.feedback} == {4}
    _, success, message = learn(bench, EMPTY).result()
    assert not success
    assert 'no frame on /image_raw' in message
    many = bench.send_goal(LearnEmpty, 'part_detector/learn_empty', frames=501)
    assert many.result()[2].endswith(
        'frames = 501 is out of range: allowed is an integer from 2 to 500, or 0 for learn_frames'
    )


def test_learn_empty_can_be_cancelled_and_what_was_known_stays(make_bench):
    bench = make_bench(trigger='presence', camera_timeout_s=60.0).ready()
    bench.send(EMPTY)
    goal = learn(bench, PRESENT)
    assert goal.cancel()
    assert goal.result()[:2] == (GoalStatus.STATUS_CANCELED, False)
    bench.wait(lambda: bench.node._learning is None)
    # It still differs from the scene.
    bench.wait(lambda: len(bench.parts) == 1)
    assert bench.node._detector.scene.known_s < 60


# Every frame is a part: a camera that hardware triggers


def test_every_frame_is_a_part_a_broken_one_too(make_bench):
    bench = make_bench(trigger='every_frame', camera_timeout_s=0.2).ready()
    stamps = [bench.send(PRESENT), bench.send(truncated=True), bench.send(EMPTY)]
    bench.wait(lambda: len(bench.parts) == 3 and len(bench.images) == 2)
    assert [part.part_id for part in bench.parts] == [1, 2, 3]
    assert [bench.stamp_of(number) for number in range(3)] == stamps
    problems = [part.frame_problems[0] for part in bench.parts]
    assert problems[0] == problems[2] == ''
    assert 'truncated' in problems[1]
    assert all(part.is_complete for part in bench.parts)
    # No part, no trigger, no frame: silence is no fault while the camera is there.
    now = time.monotonic()
    bench.wait(lambda: time.monotonic() > now + 1.0)
    assert bench.node.problem('camera') is None
    bench.peer.destroy_publisher(bench.image_raw)
    bench.problem_says('camera', 'nobody publishes it')
    bench.wait(lambda: bench.level('images') == DiagnosticStatus.ERROR)


# Foreign cameras


@pytest.mark.parametrize(
    ('remapping', 'topic'),
    [
        ('', '/image_raw/compressed'),
        ('image_raw:=/driver/image', '/driver/image/compressed'),
        ('image_raw/compressed:=/driver/jpeg', '/driver/jpeg'),
    ],
)
def test_compressed_frames_come_from_the_topic_that_image_transport_would_take(
    ros_context, remapping, topic
):
    node = PartDetectorNode(
        context=ros_context,
        cli_args=['--ros-args', '-r', remapping] if remapping else None,
        parameter_overrides=[
            Parameter('image_transport', value='compressed'),
            Parameter('autostart', value=False),
        ],
    )
    try:
        assert node.image_topic == topic
    finally:
        node.destroy_node()


# Idle, and settings that contradict each other


def test_without_a_trigger_it_is_idle_and_says_so(make_bench):
    bench = make_bench().wait_until_active()
    assert bench.node.count_publishers('part') == 0
    assert bench.node.count_subscribers('image_raw') == 0
    assert 'idle' in bench.node.diagnostic_values()['trigger']
    bench.wait(lambda: bench.level('images') == DiagnosticStatus.OK)


def test_two_that_cut_parts_are_told(make_bench):
    bench = make_bench(trigger='presence').ready()
    bench.peer.create_publisher(Part, 'part', EVENT)
    bench.problem_says('publishers', '2 nodes publish part')


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'mode': 'station', 'trigger': 'every_frame'}, "with trigger 'presence', or is told"),
        ({'trigger': 'presence', 'region_of_interest': '1,2,x'}, "'1,2,x' is refused"),
        ({'trigger': 'presence', 'region_of_interest': '0,0,5,5'}, 'region_of_interest.width'),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(make_bench, parameters, words):
    bench = make_bench(**parameters)
    bench.problem_says('lifecycle', words)
    assert not bench.node.is_active


def test_a_region_outside_the_frame_is_told(make_bench):
    bench = make_bench(trigger='presence', region_of_interest='0,0,640,100').ready()
    bench.send()
    bench.problem_says('frame', 'reaches to x 640')


# Station mode, end to end


@pytest.fixture
def held_parts(tmp_path, taught_recipe):
    """
    A folder: an empty place, a taught part held there, the empty place again, twice.

    """
    from anomaly_inspection.capture.open_source import open_source
    from support.small_recipe import SMALL_LINE

    with open_source(f'{SMALL_LINE},defect_rate=0,parts=2,seed=9') as line:
        parts = [line.read().image for _ in range(2)]
    empty = np.full_like(parts[0], 60)
    frames = [*[empty] * 8, *[parts[0]] * 8, *[empty] * 8, *[parts[1]] * 8, *[empty] * 20]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / f'{number:03d}.png'), frame)
    return tmp_path


def test_camera_part_detector_and_decider_judge_held_parts(ros_context, taught_recipe, held_parts):
    peer = Peer(ros_context)
    parts = peer.hear(Part, 'part', EVENT)
    decisions = peer.hear(Decision, 'decision', EVENT)
    in_force = peer.hear(RecipeInForce, 'recipe_in_force', LATCHED)

    def node(node_type, **parameters):
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        return node_type(context=ros_context, parameter_overrides=overrides)

    decider = node(
        DeciderNode,
        recipe=str(taught_recipe),
        mode='station',
        deadline_s=30.0,
        station_frames=4,
        station_required_passes=3,
    )
    scorer = node(ScorerNode, recipe=str(taught_recipe), max_age_s=30.0)
    detector = node(
        PartDetectorNode,
        trigger='presence',
        mode='station',
        station_interval_s=0.0,
        station_frames=4,
    )
    camera = node(CameraNode, source=str(held_parts), mode='stream', rate_hz=10.0, autostart=False)
    nodes = [decider, scorer, detector, camera]
    threads = [NodeThread([each], each.get_name(), context=ros_context) for each in [*nodes, peer]]
    for thread in threads:
        thread.start()

    def wait(condition):
        end_s = time.monotonic() + 40
        while not condition():
            assert time.monotonic() < end_s, 'did not come true'
            camera.has_ended.wait(0.02)

    try:
        wait(lambda: in_force and detector.is_active)
        wait(lambda: peer.count_subscribers('image_raw') == 1)
        camera.trigger_configure()
        camera.trigger_activate()
        wait(lambda: len(decisions) == 2 and sum(part.is_complete for part in parts) == 2)
    finally:
        for thread in threads:
            thread.stop()
        for each in nodes:
            each.shut_down()
            each.destroy_node()
        peer.destroy_node()
    assert [decision.part_id for decision in decisions] == [1, 2]
    assert [decision.verdict for decision in decisions] == [Decision.VERDICT_PASS] * 2
    assert all('3 required' in decision.comparison for decision in decisions)
    for part_id in (1, 2):
        course = [part for part in parts if part.part_id == part_id]
        assert [len(part.frame_stamps) for part in course] == [1, 2, 3, 4, 4]
        assert [part.is_complete for part in course] == [False] * 4 + [True]
        assert len({part.exposure_steady_ns for part in course}) == 1
