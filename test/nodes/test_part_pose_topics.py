# SPDX-License-Identifier: Apache-2.0
"""
Where parts lie, over DDS: in pixels, on the belt in metres, with what a person has marked.

"""

from dataclasses import replace
import math

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from geometry_msgs.msg import PoseStamped
from rclpy.lifecycle import TransitionCallbackReturn
from std_msgs.msg import Header

from anomaly_inspection.capture.belt_plane import belt_plane_text, BeltPlane
from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.imaging.part_marks import Grasp, PartMarks
from anomaly_inspection.msg import PartPose
from anomaly_inspection.nodes import pose_face
from anomaly_inspection.nodes.pose_face import belt_transform
from anomaly_inspection.nodes.pose_reporter import PoseReporter
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from benchmarks.rendered_board import facing, RenderedCamera
from support.scorer_bench import Bench
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

LINE = SimulatedLineSettings.from_spec(f'{SMALL_LINE},defect_rate=0,seed=1')
CAMERA = RenderedCamera(LINE.width_px, LINE.height_px, 340.0)
# The camera stands 0.3 m above the belt, and looks at it a little from the side.
PLANE = BeltPlane(
    CAMERA.calibration,
    facing() @ cv2.Rodrigues(np.array([0.05, -0.08, 0.3]))[0],
    np.array([0.02, 0.01, 0.3]),
    'camera',
)
HEIGHT_M = 0.012
# On the reference, pixels.
MARKS = PartMarks((150.0, 100.0), 30.0, (Grasp(170.0, 140.0, -60.0, 40.0),), HEIGHT_M)


@pytest.fixture(scope='module')
def recipe(taught_recipe):
    return read_recipe(taught_recipe)


@pytest.fixture(scope='module')
def marked(recipe, tmp_path_factory):
    """
    The same recipe with marks, on disk.

    """
    folder = tmp_path_factory.mktemp('marked') / recipe.name
    return write_recipe(replace(recipe, marks=MARKS), folder).at(folder)


@pytest.fixture(scope='module')
def reference_pose(recipe):
    """
    How the part truly lies in the reference of the recipe.

    """
    parts = (render_part(LINE, index) for index in range(12))
    return next(part.pose for part in parts if np.array_equal(part.image, recipe.references[0]))


@pytest.fixture(scope='module')
def good():
    return render_part(LINE, 0).image


@pytest.fixture
def plane_file(tmp_path):
    file = tmp_path / 'belt_plane.yaml'
    file.write_text(belt_plane_text(PLANE))
    return file


@pytest.fixture
def make_bench(ros_context, taught_recipe):
    benches = []

    def make(**parameters):
        benches.append(Bench(ros_context, **{'recipe': str(taught_recipe), **parameters}))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench().ready()


def heard_by(bench, message_type=PartPose, topic='part_pose'):
    heard = bench.line.hear(message_type, topic, EVENT)
    bench.wait(lambda: bench.node.count_subscribers(topic) == 1)
    bench.wait(lambda: bench.node._pose_face.is_heard)
    return heard


def carried(x_px, y_px, pose, reference):
    """
    Give where a place of the reference truly is in the frame of another part.

    """
    turn_rad = math.radians(pose.angle_deg - reference.angle_deg)
    scale = pose.scale / reference.scale
    away = complex(x_px - reference.x_px, y_px - reference.y_px)
    # y points down: the simulation counts clockwise, as a complex number then does.
    place = complex(pose.x_px, pose.y_px) + scale * away * complex(
        math.cos(turn_rad), math.sin(turn_rad)
    )
    return place.real, place.imag


def yaw_rad(pose):
    assert (pose.orientation.x, pose.orientation.y) == (0.0, 0.0)
    return 2 * math.atan2(pose.orientation.z, pose.orientation.w)


def numbers_of(pose):
    place, turn = pose.position, pose.orientation
    return [place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w]


# In pixels


def test_the_pose_of_each_part_is_published_once_and_is_where_the_part_is(bench, recipe, good):
    poses = bench.line.hear(PartPose, 'part_pose', EVENT)
    bench.wait(lambda: bench.node._pose_face.is_heard)
    moved = np.roll(good, (2, 3), axis=(0, 1))
    for part_id, pixels in ((1, good), (2, moved), (3, np.zeros_like(good))):
        bench.scored_with(part_id, pixels)
    bench.wait(lambda: len(poses) >= 3)
    first, second, lost = poses
    # Two scorers, one pose a frame.
    assert [pose.part_id for pose in poses] == [1, 2, 3]
    assert first.is_sure
    assert second.is_sure
    assert (second.x_px - first.x_px, second.y_px - first.y_px) == pytest.approx((3, 2), abs=0.2)
    # The pump body is round, but for its ports.
    middle = good.shape[1] / 2, good.shape[0] / 2
    assert (first.x_px, first.y_px) == pytest.approx(middle, abs=8)
    assert (first.session_id, first.recipe_hash) == ('test', recipe.hash)
    assert nanoseconds_from_stamp(first.header.stamp) == 1
    assert not lost.is_sure
    assert np.isnan([lost.x_px, lost.y_px, lost.angle_rad, lost.scale, lost.confidence]).all()
    assert 'black' in lost.detail


def test_a_part_that_is_not_found_surely_has_a_pose_that_says_so(recipe, good):
    scores = recipe.frame_scorer().score(good)
    unsure = replace(scores[0].alignment, is_found=False, confidence=0.2)
    message = PoseReporter(recipe).message(replace(scores[0], alignment=unsure), Header())
    assert not message.is_sure
    assert 'confidence 0.20, needed: ' in message.detail
    assert message.x_px > 0


# On the belt


def test_parts_have_their_place_on_the_belt_in_metres(
    make_bench, marked, reference_pose, plane_file
):
    bench = make_bench(recipe=str(marked.path), belt_plane=str(plane_file)).ready()
    poses = heard_by(bench)
    plain = heard_by(bench, PoseStamped, 'belt_pose')
    parts = {index: render_part(LINE, index) for index in range(20, 24)}
    for index, part in parts.items():
        bench.scored_with(index, part.image)
    bench.wait(lambda: len(poses) == 4 and len(plain) == 4)
    for message, part in zip(poses, parts.values(), strict=True):
        assert message.is_sure
        assert message.is_on_belt
        assert message.origin == PartPose.ORIGIN_MARKED
        assert message.belt_pose.header.frame_id == 'belt'
        assert message.belt_pose.header.stamp == message.header.stamp
        # Half a pixel is 0.45 mm.
        origin = carried(*MARKS.origin_px, part.pose, reference_pose)
        x_m, y_m = PLANE.to_belt(np.array([origin]), HEIGHT_M)[0]
        place = message.belt_pose.pose.position
        assert (place.x, place.y, place.z) == pytest.approx((x_m, y_m, HEIGHT_M), abs=0.0004)
        # A second place along the axis tells its direction, and so do the ends of the grasp.
        along = math.radians(30.0)
        ahead = carried(
            MARKS.origin_px[0] + 20 * math.cos(along),
            MARKS.origin_px[1] - 20 * math.sin(along),
            part.pose,
            reference_pose,
        )
        step = PLANE.to_belt(np.array([ahead]), HEIGHT_M)[0] - (x_m, y_m)
        off = math.remainder(
            yaw_rad(message.belt_pose.pose) - math.atan2(step[1], step[0]), 2 * math.pi
        )
        assert math.degrees(off) == pytest.approx(0.0, abs=0.6)
        (grasp,) = message.grasps
        where = carried(170.0, 140.0, part.pose, reference_pose)
        assert (grasp.x_px, grasp.y_px) == pytest.approx(where, abs=0.5)
        x_m, y_m = PLANE.to_belt(np.array([where]), HEIGHT_M)[0]
        place = grasp.belt_pose.position
        assert (place.x, place.y, place.z) == pytest.approx((x_m, y_m, HEIGHT_M), abs=0.0004)
        # 0.3 m away, 340 px: 40 px are 34 mm.
        assert grasp.width_m == pytest.approx(40 * (0.3 - HEIGHT_M) / 340, rel=0.05)
        assert grasp.width_px == pytest.approx(40 * message.scale)
    assert [pose.pose for pose in plain] == [message.belt_pose.pose for message in poses]


def test_without_a_belt_plane_there_are_no_metres_and_the_pose_is_sure(bench, good):
    poses = heard_by(bench)
    bench.scored_with(1, good)
    bench.wait(lambda: poses)
    assert poses[0].is_sure
    assert not poses[0].is_on_belt
    assert np.isnan(numbers_of(poses[0].belt_pose.pose)).all()
    assert poses[0].grasps == []


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'calibration': replace(CAMERA.calibration, width=640)}, '320x240 px, belt_plane is for'),
        ({'camera_frame': 'other_optical_frame'}, "'camera', belt_plane of 'other_optical_frame'"),
    ],
)
def test_frames_that_the_belt_plane_is_not_for_have_no_metres_and_are_not_sure(
    make_bench, marked, good, plane_file, change, says
):
    plane_file.write_text(belt_plane_text(replace(PLANE, **change)))
    bench = make_bench(recipe=str(marked.path), belt_plane=str(plane_file)).ready()
    poses = heard_by(bench)
    plain = heard_by(bench, PoseStamped, 'belt_pose')
    bench.scored_with(1, good)
    bench.wait(lambda: poses)
    assert not poses[0].is_sure
    assert not poses[0].is_on_belt
    assert says in poses[0].detail
    assert says in bench.node.problem('belt plane')
    assert np.isnan(numbers_of(poses[0].belt_pose.pose)).all()
    assert np.isnan(numbers_of(poses[0].grasps[0].belt_pose)).all()
    assert math.isnan(poses[0].grasps[0].width_m)
    assert poses[0].x_px > 0
    assert plain == []


def test_an_unsure_pose_and_one_above_the_horizon_are_not_sure_on_the_belt(recipe, good):
    (score, *_) = recipe.frame_scorer().score(good)
    header = Header(frame_id='camera')
    unsure = replace(score, alignment=replace(score.alignment, is_found=False, confidence=0.2))
    message = PoseReporter(recipe, PLANE).message(unsure, header)
    assert (message.is_sure, message.is_on_belt) == (False, True)
    along = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    flat = replace(PLANE, rotation=along, translation_m=np.array([0.0, 0.02, 0.0]))
    up = replace(flat, rotation=along @ cv2.Rodrigues(np.array([-1.0, 0.0, 0.0]))[0])
    message = PoseReporter(recipe, up).message(score, header)
    assert (message.is_sure, message.is_on_belt) == (False, False)
    assert 'the camera does not see the belt there' in message.detail


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (None, 'there is no calibration file'),
        ('image_width: 640', 'format_version is missing'),
        ('- 1', 'allowed is a YAML mapping'),
    ],
)
def test_a_belt_plane_that_cannot_be_read_is_refused_at_configure(
    make_bench, tmp_path, content, says
):
    file = tmp_path / 'wrong.yaml'
    if content is not None:
        file.write_text(content)
    bench = make_bench(belt_plane=str(file), autostart=False)
    assert bench.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert says in bench.node.problem('lifecycle')
    assert str(file) in bench.node.problem('lifecycle')


# tf2


def test_the_transform_says_where_the_camera_stands_in_the_frame_of_the_belt():
    message = belt_transform(PLANE)
    assert (message.header.frame_id, message.child_frame_id) == ('belt', 'camera')
    turn, place = message.transform.rotation, message.transform.translation
    # A place on the belt, by the transform into the camera and then into the picture.
    vector = np.array([turn.x, turn.y, turn.z])
    angle_rad = 2 * math.atan2(np.linalg.norm(vector), turn.w)
    rotation = cv2.Rodrigues(angle_rad * vector / np.linalg.norm(vector))[0]
    seen = rotation.T @ (np.array([0.03, -0.02, 0.01]) - (place.x, place.y, place.z))
    pixels, _ = cv2.projectPoints(
        seen[None],
        np.zeros(3),
        np.zeros(3),
        np.array(CAMERA.calibration.camera_matrix).reshape(3, 3),
        np.array(CAMERA.calibration.distortion),
    )
    assert pixels.ravel() == pytest.approx(
        PLANE.to_pixels(np.array([(0.03, -0.02)]), 0.01).ravel(), abs=1e-6
    )


def test_tf2_is_told_where_its_messages_are_installed(make_bench, plane_file):
    messages = pytest.importorskip('tf2_msgs.msg', reason='needs tf2_msgs')
    bench = make_bench(belt_plane=str(plane_file)).ready()
    told = bench.line.hear(messages.TFMessage, '/tf_static', LATCHED)
    bench.wait(lambda: told)
    assert told[0].transforms[0].transform == belt_transform(PLANE).transform
    assert told[0].transforms[0].header.frame_id == 'belt'


@pytest.mark.parametrize('publishes_tf', [True, False])
def test_without_the_messages_of_tf2_poses_are_published_all_the_same(
    make_bench, plane_file, good, monkeypatch, publishes_tf
):
    monkeypatch.setattr(pose_face, 'TFMessage', None)
    bench = make_bench(belt_plane=str(plane_file), publishes_tf=publishes_tf).ready()
    assert bench.line.count_publishers('/tf_static') == 0
    poses = heard_by(bench)
    bench.line.part(1)
    bench.line.image(1, good)
    bench.wait(lambda: poses)
    assert poses[0].is_on_belt
