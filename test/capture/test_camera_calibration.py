# SPDX-License-Identifier: Apache-2.0
"""
The calibration of a camera and of the belt's plane, by rendered pictures with a known truth.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from anomaly_inspection.capture.belt_fit import fit_belt
from anomaly_inspection.capture.belt_picture import belt_picture
from anomaly_inspection.capture.belt_plane import (
    belt_plane_text,
    BeltPlane,
    quaternion_of,
    read_belt_plane,
)
from anomaly_inspection.capture.board_pictures import find_board_on_belt, find_boards
from anomaly_inspection.capture.calibration import calibration_text, read_calibration
from anomaly_inspection.capture.calibration_board import BoardView, CalibrationBoard
from anomaly_inspection.capture.camera_fit import CameraFit, fit_camera
from anomaly_inspection.capture.camera_rays import directions
from anomaly_inspection.errors import FrameError, SettingError
from support.calibrated_camera import BOARD, CAMERA, on_belt, pictures

CHARUCO = CalibrationBoard.from_text(BOARD)
CHECKERBOARD = CalibrationBoard.from_text('checkerboard:9x6:0.025')
TRUTH = CAMERA.calibration
SIZE = TRUTH.size
CORNERS = np.array([(0.0, 0.0), (479.0, 0.0), (0.0, 359.0), (479.0, 359.0), (240.0, 180.0)])

Views = dict[str, BoardView]


def views_of(board: CalibrationBoard, count: int = 10, **how: float) -> Views:
    return dict(find_boards(pictures(board, count, **how).items(), board).views)


def true_pixels(view: BoardView, rotation: np.ndarray, translation_m: np.ndarray) -> np.ndarray:
    plane = BeltPlane(TRUTH, rotation, translation_m)
    return plane.to_pixels(view.points_m[:, :2])


@pytest.fixture(scope='module')
def views() -> Views:
    return views_of(CHARUCO)


@pytest.fixture(scope='module')
def fit(views: Views) -> CameraFit:
    return fit_camera(views, SIZE)


# --------------------------------------------------------------------------------------- boards


@pytest.mark.parametrize(
    'text',
    [
        *('charuco:7x5:0.03:0.022:DICT_4X4_50', 'charuco:12x9:0.06:0.045:DICT_5X5_100'),
        'checkerboard:9x6:0.025',
    ],
)
def test_a_board_is_written_as_it_is_read(text: str) -> None:
    assert CalibrationBoard.from_text(text).text() == text


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('', 'checkerboard:9x6:0.025'),
        ('circles:7x5:0.03', 'checkerboard:9x6:0.025'),
        ('charuco:7x5:0.03', 'charuco:7x5:0.030:0.022'),
        ('charuco:7x5:-0.03:0.02', 'charuco:7x5:0.030:0.022'),
        ('charuco:7x5:nan:0.02', 'charuco:7x5:0.030:0.022'),
        ('charuco:2x5:0.03:0.02', 'allowed: 3 to 60'),
        ('charuco:7x500:0.03:0.02', 'allowed: 3 to 60'),
        ('charuco:7x5:30:22', 'allowed: 0.0005 to 1 m'),
        ('checkerboard:9x6:25', 'allowed: 0.0005 to 1 m'),
        ('charuco:7x5:0.03:0.03', 'allowed: 0.006 to 0.0285 m'),
        ('charuco:7x5:0.03:0.02:DICT_9X9_50', 'DICT_4X4_50'),
        ('charuco:40x30:0.03:0.02:DICT_4X4_50', 'has 50 markers, the board needs 600'),
        ('checkerboard:9x6:0.025:DICT_4X4_50', 'checkerboard:9x6:0.025'),
    ],
)
def test_what_is_no_board_is_refused_with_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(SettingError, match='(?s)' + says.replace('(', r'\(')):
        CalibrationBoard.from_text(text)


@pytest.mark.parametrize('turn_deg', [0.0, 75.0, 180.0, 250.0])
@pytest.mark.parametrize('text', [BOARD, 'charuco:8x6:0.025:0.018', 'checkerboard:9x6:0.02'])
def test_corners_are_found_where_they_are_however_the_board_lies(
    text: str, turn_deg: float
) -> None:
    board = CalibrationBoard.from_text(text)
    picture, *pose = on_belt(board, turn_deg)
    view = board.find(picture)
    # A marker that is not read costs its corners.
    assert len(view.pixels) >= 0.8 * board.columns * board.rows
    assert np.abs(view.pixels - true_pixels(view, *pose)).max() < 0.4


@pytest.mark.skipif(
    not hasattr(cv2.aruco, 'CharucoDetector'), reason='OpenCV 4.6 draws boards in one way alone'
)
@pytest.mark.parametrize('squares', [(8, 6), (7, 5), (6, 8)])
def test_boards_as_opencv_drew_them_before_4_6_are_found(squares: tuple[int, int]) -> None:
    words = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    drawn = cv2.aruco.CharucoBoard(squares, 0.03, 0.022, words)
    drawn.setLegacyPattern(True)
    picture = drawn.generateImage((squares[0] * 60, squares[1] * 60))
    board = CalibrationBoard.from_text(f'charuco:{squares[0]}x{squares[1]}:0.03:0.022')
    view = board.find(np.pad(picture, 60, constant_values=255))
    expected = np.stack(
        (view.points_m[:, 0] / 0.03 + 1, board.rows - view.points_m[:, 1] / 0.03), axis=1
    )
    assert len(view.pixels) == board.columns * board.rows
    assert view.pixels == pytest.approx(60 + 60 * expected - 0.5, abs=0.2)


def test_a_picture_without_the_board_says_what_is_seen_in_it() -> None:
    empty = np.full((360, 480), 90, np.uint8)
    for board in (CHARUCO, CHECKERBOARD):
        with pytest.raises(FrameError, match=r'no marker of DICT_4X4_50|no checkerboard'):
            board.find(empty)
    # Another dictionary, and another number of squares.
    picture, *_ = on_belt(CHARUCO)
    with pytest.raises(FrameError, match='no marker of DICT_7X7_50'):
        replace(CHARUCO, dictionary='DICT_7X7_50').find(picture)
    with pytest.raises(FrameError, match=r'is it|Is it'):
        CalibrationBoard.from_text('charuco:5x9:0.030:0.022').find(picture)


# --------------------------------------------------------------------------------------- camera


@pytest.mark.parametrize('board', [CHARUCO, CHECKERBOARD], ids=['charuco', 'checkerboard'])
def test_the_camera_is_found(board: CalibrationBoard, fit: CameraFit) -> None:
    if board is CHECKERBOARD:
        fit = fit_camera(views_of(board, 14, reach=0.45, distance=2.0), SIZE)
    found, true = fit.calibration.camera_matrix, TRUTH.camera_matrix
    assert (found[0], found[4]) == pytest.approx((true[0], true[4]), rel=0.006)
    assert (found[2], found[5]) == pytest.approx((true[2], true[5]), abs=3.0)
    # What counts: where the camera looks.
    off = directions(fit.calibration, CORNERS) - directions(TRUTH, CORNERS)
    assert np.abs(off - off.mean(axis=0)).max() * true[0] < 1.5
    assert 0 < fit.rms_px < 0.2
    assert fit.rms_px < fit.largest_px < 1.0
    assert (fit.calibration.size, fit.left_out) == (SIZE, {})


def test_the_directions_are_the_inverse_of_the_picture() -> None:
    wide = replace(
        TRUTH,
        distortion_model='rational_polynomial',
        distortion=(0.2, 0.05, 0.0004, -0.0003, 0.01, 0.5, 0.1, 0.02),
    )
    for calibration in (TRUTH, wide):
        plane = BeltPlane(calibration, np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 0.4]))
        for height_m in (0.0, 0.05):
            again = plane.to_pixels(plane.to_belt(CORNERS, height_m), height_m)
            assert again == pytest.approx(CORNERS, abs=1e-3)


def test_a_blurred_picture_is_left_out_and_the_reason_is_given(views: Views) -> None:
    shaken = dict(views)
    random = np.random.default_rng(3)
    bad = shaken['04.png']
    shaken['04.png'] = replace(bad, pixels=bad.pixels + random.normal(0, 3, bad.pixels.shape))
    fit = fit_camera(shaken, SIZE, left_out={'x.png': 'no board'})
    assert list(fit.left_out) == ['x.png', '04.png']
    assert 'blurred' in fit.left_out['04.png']
    assert fit.rms_px < 0.2


@pytest.mark.parametrize(
    ('how', 'says'),
    [
        ({'tilt_deg': 0.0}, 'allowed: 10 or more, because parallel views'),
        ({'tilt_deg': 8.0}, 'the focal length is known to .* allowed: 0.5 % or better'),
        ({'reach': 0.1, 'distance': 2.5}, 'corners in .* allowed: 60 % to 100 %'),
        ({'count': 7}, 'found in 7 of 7 pictures; allowed: 8 or more'),
    ],
)
def test_pictures_that_do_not_determine_the_camera_are_refused(
    how: dict[str, float], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        fit_camera(views_of(CHARUCO, **how), SIZE)


def test_a_large_reprojection_error_is_refused(views: Views) -> None:
    random = np.random.default_rng(3)
    noisy = {
        name: replace(view, pixels=view.pixels + random.normal(0, 1.0, view.pixels.shape))
        for name, view in views.items()
    }
    with pytest.raises(SettingError, match=r'reprojection error 1.* allowed: 0 to 0.5 px'):
        fit_camera(noisy, SIZE)


def test_pictures_of_two_sizes_are_refused_with_both() -> None:
    two = {'a.png': np.zeros((360, 480), np.uint8), 'b.png': np.zeros((480, 640), np.uint8)}
    with pytest.raises(SettingError, match=r'b\.png has 640x480 px, a.png 480x360'):
        find_boards(two.items(), CHARUCO)


def test_the_calibration_is_written_as_ros_reads_it(fit: CameraFit, tmp_path: Path) -> None:
    file = tmp_path / 'camera.yaml'
    file.write_text(calibration_text(fit.calibration, 'camera'))
    assert read_calibration(file) == fit.calibration
    content = yaml.safe_load(file.read_text())
    assert content['camera_name'] == 'camera'
    assert (content['projection_matrix']['rows'], content['projection_matrix']['cols']) == (3, 4)


# ----------------------------------------------------------------------------------------- belt


@pytest.mark.parametrize('board', [CHARUCO, CHECKERBOARD], ids=['charuco', 'checkerboard'])
@pytest.mark.parametrize('turn_deg', [0.0, 130.0])
def test_metres_on_the_belt_are_right_all_over_the_picture(
    board: CalibrationBoard, turn_deg: float, fit: CameraFit
) -> None:
    picture, *pose = on_belt(board, turn_deg, far_m=0.42)
    belt = fit_belt(board.find(picture), fit.calibration, without_some=fit.without_some)
    truth = BeltPlane(TRUTH, *pose)
    width_m, _ = truth.field_m()
    # Half a pixel is 0.4 mm.
    assert width_m == pytest.approx(0.41, abs=0.01)
    for height_m in (0.0, 0.02):
        off = belt.plane.to_belt(CORNERS, height_m) - truth.to_belt(CORNERS, height_m)
        assert np.linalg.norm(off, axis=1).max() < 0.0008
    assert belt.plane.place_in_belt_m() == pytest.approx(truth.place_in_belt_m(), abs=0.004)
    assert 0.0001 < belt.spread_m < 0.001


def test_few_pictures_of_the_board_make_places_less_known(views: Views, fit: CameraFit) -> None:
    view = CHARUCO.find(on_belt(CHARUCO)[0])
    by_board_alone = fit_belt(view, fit.calibration).spread_m
    with_the_camera = fit_belt(view, fit.calibration, without_some=fit.without_some).spread_m
    assert len(fit.without_some) == len(views)
    assert with_the_camera > 1.2 * by_board_alone


def test_a_thick_board_puts_the_belt_below_its_print(fit: CameraFit) -> None:
    view = CHARUCO.find(on_belt(CHARUCO)[0])
    flat = fit_belt(view, fit.calibration).plane
    thick = fit_belt(view, fit.calibration, thickness_m=0.005).plane
    assert thick.to_belt(CORNERS, 0.005) == pytest.approx(flat.to_belt(CORNERS), abs=1e-9)
    assert thick.place_in_belt_m()[2] == pytest.approx(flat.place_in_belt_m()[2] + 0.005)


def test_the_homography_does_the_same_on_pixels_without_distortion(fit: CameraFit) -> None:
    plane = fit_belt(CHARUCO.find(on_belt(CHARUCO)[0]), fit.calibration).plane
    camera = np.array(fit.calibration.camera_matrix).reshape(3, 3)
    seen = directions(fit.calibration, CORNERS)
    straight = seen @ camera[:2, :2].T + camera[:2, 2]
    for height_m in (0.0, 0.03):
        by_homography = cv2.perspectiveTransform(straight[None], plane.homography(height_m))[0]
        assert by_homography == pytest.approx(plane.to_belt(CORNERS, height_m), abs=1e-9)


def test_places_above_the_horizon_are_not_on_the_belt() -> None:
    # The camera looks along the belt.
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    plane = BeltPlane(TRUTH, rotation, np.array([0.0, 0.3, 0.0]))
    places = plane.to_belt(np.array([(240.0, 10.0), (240.0, 350.0)]))
    assert np.isnan(places[0]).all()
    assert places[1, 1] > 0


def test_another_focus_or_a_bent_board_is_refused(fit: CameraFit) -> None:
    view = CHARUCO.find(on_belt(CHARUCO)[0])
    bent = replace(view, pixels=view.pixels + [2.0, 0.0] * (np.arange(24) % 2)[:, None])
    with pytest.raises(SettingError, match=r'reprojection error .* allowed: 0 to 0.5 px'):
        fit_belt(bent, fit.calibration)


def test_a_board_too_small_in_the_picture_is_refused(fit: CameraFit) -> None:
    view = CHARUCO.find(on_belt(CHARUCO)[0])
    few = view.points_m[:, 0] < 0.07
    shaken = view.pixels[few] + np.random.default_rng(2).normal(0, 2.0, (few.sum(), 2))
    with pytest.raises(SettingError, match=r'places on the belt are known to .* or better'):
        fit_belt(BoardView(view.points_m[few], shaken), fit.calibration, max_rms_px=9.0)


def test_a_board_without_a_direction_is_refused_for_the_belt(tmp_path: Path) -> None:
    board = CalibrationBoard.from_text('checkerboard:7x5:0.025')
    with pytest.raises(SettingError, match='looks the same when it is turned by half a turn'):
        find_board_on_belt(tmp_path / 'x.png', board, SIZE)


@pytest.mark.parametrize(
    ('squares', 'says'),
    [('7x6', 'no corner of the lower row'), ('7x4', 'marker 1[4-7] is seen; allowed: 0 to 13')],
)
def test_a_board_of_another_length_is_refused_for_the_belt(
    tmp_path: Path, squares: str, says: str
) -> None:
    file = tmp_path / 'belt.png'
    cv2.imwrite(str(file), on_belt(CHARUCO, 20.0)[0])
    assert len(find_board_on_belt(file, CHARUCO, SIZE)[0].pixels) == 24
    board = CalibrationBoard.from_text(f'charuco:{squares}:0.030:0.022')
    with pytest.raises(SettingError, match=says):
        find_board_on_belt(file, board, SIZE)


def test_a_picture_of_the_belt_of_another_size_is_refused(tmp_path: Path) -> None:
    file = tmp_path / 'belt.png'
    cv2.imwrite(str(file), np.zeros((100, 100), np.uint8))
    with pytest.raises(SettingError, match='has 100x100 px; allowed: 480x360 px'):
        find_board_on_belt(file, CHARUCO, SIZE)


@pytest.mark.parametrize('seed', range(20))
def test_a_quaternion_turns_as_its_matrix_does(seed: int) -> None:
    turn = np.random.default_rng(seed).normal(size=3)
    rotation = cv2.Rodrigues(turn * (np.pi / np.linalg.norm(turn) if seed == 0 else 1.0))[0]
    x, y, z, w = quaternion_of(rotation)
    assert x * x + y * y + z * z + w * w == pytest.approx(1.0)
    again = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    assert again == pytest.approx(rotation, abs=1e-9)


@pytest.mark.parametrize('colour', [False, True])
def test_the_picture_of_the_belt_shows_its_axes_where_they_are(colour: bool) -> None:
    picture, *pose = on_belt(CHARUCO, 20.0)
    plane = BeltPlane(TRUTH, *pose)
    shown = np.dstack(3 * [picture]) if colour else picture
    drawn = belt_picture(shown, plane)
    assert drawn.shape == (360, 480, 3)
    for place, channel in (((0.04, 0.0), 2), ((0.0, 0.04), 1)):
        x, y = np.rint(plane.to_pixels(np.array([place]))[0]).astype(int)
        assert drawn[y, x].argmax() == channel
        assert drawn[y, x, channel] > 150
    # What was given stays as it was.
    assert np.array_equal(shown[..., 0] if colour else shown, picture)


def test_the_picture_of_a_belt_up_to_the_horizon_is_drawn() -> None:
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    plane = BeltPlane(TRUTH, rotation, np.array([0.0, 0.3, 0.0]))
    assert belt_picture(np.zeros((360, 480), np.uint8), plane).shape == (360, 480, 3)


# ----------------------------------------------------------------------------------------- file


@pytest.fixture(scope='module')
def plane() -> BeltPlane:
    _, *pose = on_belt(CHARUCO)
    return BeltPlane(TRUTH, *pose, 'left_optical_frame', 'belt_2')


def test_the_file_of_the_belt_comes_back_as_it_was(plane: BeltPlane, tmp_path: Path) -> None:
    file = tmp_path / 'belt_plane.yaml'
    file.write_text(belt_plane_text(plane))
    again = read_belt_plane(file)
    assert again.to_belt(CORNERS) == pytest.approx(plane.to_belt(CORNERS), abs=1e-12)
    assert (again.camera_frame, again.belt_frame) == ('left_optical_frame', 'belt_2')
    assert again.calibration == plane.calibration


@pytest.mark.parametrize(
    ('key', 'value', 'says'),
    [
        ('format_version', 2, 'format_version = 2 is refused: allowed is 1'),
        ('rotation', {'data': [1, 0, 0, 0, 2, 0, 0, 0, 1]}, 'allowed is a rotation matrix'),
        ('rotation', {'data': [1, 0, 0, 0, 1, 0, 0, 0, -1]}, 'allowed is a rotation matrix'),
        ('rotation', {'data': [1, 0, 0]}, '9 numbers, not 3'),
        ('translation_m', {'data': [0, 0, 1000]}, 'allowed is -100 to 100 m'),
        ('translation_m', {'data': [0, 0, -1]}, 'allowed is a camera that is above the belt'),
        ('translation_m', {'data': [0, 0, float('nan')]}, 'finite numbers'),
        ('homography', {'data': [1, 0, 0, 0, 1, 0, 0, 0, 1]}, 'changed by hand'),
        ('camera_frame', '/camera', 'allowed is letters'),
        ('belt_frame', 7, 'allowed is letters'),
        ('belt_frame', 'left_optical_frame', 'another name'),
        ('distortion_model', 'equidistant', 'plumb_bob or rational_polynomial|4 numbers'),
        ('distortion_coefficients', {'data': [-5, 0, 0, 0, 0]}, 'not one to one'),
        ('camera_matrix', {'data': [0, 0, 0, 0, 0, 0, 0, 0, 0]}, 'camera_matrix'),
        ('image_width', 0, 'allowed is an integer from 1'),
    ],
)
def test_a_hostile_file_of_the_belt_is_refused_with_the_key(
    plane: BeltPlane, tmp_path: Path, key: str, value: object, says: str
) -> None:
    file = tmp_path / 'belt_plane.yaml'
    content = yaml.safe_load(belt_plane_text(plane))
    content[key] = value
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingError, match=says) as refusal:
        read_belt_plane(file)
    assert str(file) in str(refusal.value)
    del content[key]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingError, match=f'{key} is missing'):
        read_belt_plane(file)
