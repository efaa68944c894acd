# SPDX-License-Identifier: Apache-2.0
"""
Measure how well a camera, and places on the belt, are known after `calibrate-camera`: rendered
pictures of boards before cameras whose truth is known, with distortion, noise, blur and a tilt.

`python -m benchmarks.camera_calibration` prints two tables. The first: errors of focal length and
optical centre, and of places on the belt in millimetres, in the middle and at the worst corner of
the picture; beside it what the homography through the four outermost corners of the board gives,
without a model of the distortion. The second: parts of the simulated line that lie on the belt,
seen by the camera with its distortion and its tilt, taught, found, and placed in millimetres by
what the calibration has found; against the truth. Five minutes.

"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cv2
import numpy as np
from std_msgs.msg import Header

from anomaly_inspection.capture.belt_fit import fit_belt
from anomaly_inspection.capture.belt_plane import BeltPlane
from anomaly_inspection.capture.board_pictures import find_boards
from anomaly_inspection.capture.calibration_board import CalibrationBoard
from anomaly_inspection.capture.camera_fit import fit_camera
from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.capture.source import Frame
from anomaly_inspection.evaluation.recipe_judge import RecipeJudge
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.nodes.pose_reporter import PoseReporter
from benchmarks.rendered_board import facing, RenderedCamera
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.capture.simulated_frame import PartPose

_BOARD = 'charuco:7x5:0.030:0.022'
_PICTURES = 16
_TILT = (0.10, -0.07, 0.2)
CAMERAS = {
    '640x480': (RenderedCamera(), _BOARD),
    '640x480, much noise': (RenderedCamera(noise_levels=8.0), _BOARD),
    '640x480, blurred': (RenderedCamera(blur_px=1.5), _BOARD),
    '640x480, wide lens': (
        RenderedCamera(focal_px=430.0, distortion=(-0.28, 0.09, 0.0005, -0.0008, -0.012)),
        _BOARD,
    ),
    '640x480, long lens': (
        RenderedCamera(focal_px=1600.0, distortion=(0.06, -0.3, 0.0003, 0.0002, 0.0)),
        _BOARD,
    ),
    '640x480, checkerboard': (RenderedCamera(), 'checkerboard:9x6:0.025'),
    '1280x960': (RenderedCamera(1280, 960, 1400.0), _BOARD),
    '1920x1200': (RenderedCamera(1920, 1200, 2400.0), _BOARD),
}


@dataclass
class Errors:
    """
    What a camera's calibration is off by.

    """

    camera: str
    field_mm: float
    rms_px: float
    focal_percent: float
    centre_px: float
    middle_mm: float
    corner_mm: float
    said_mm: float
    naive_middle_mm: float
    naive_corner_mm: float


def calibrated(
    camera: RenderedCamera, board: CalibrationBoard, seed: int
) -> tuple[BeltPlane, BeltPlane, Errors]:
    """
    Calibrate a camera and the belt before it; give truth, what was found, and the errors.

    """
    random = np.random.default_rng(seed)
    near = {'reach': 0.45, 'distance': 2.0} if board.kind == 'checkerboard' else {}
    pictures = {
        str(index): camera.picture(board, *pose, random)
        for index, pose in enumerate(camera.poses(board, _PICTURES, random, **near))
    }
    fit = fit_camera(find_boards(pictures.items(), board).views, camera.calibration.size)
    truth = _on_belt(camera, board)
    view = board.find(camera.picture(board, truth.rotation, truth.translation_m, random))
    belt = fit_belt(view, fit.calibration, without_some=fit.without_some)
    width, height = camera.calibration.size
    places = np.array(
        [
            ((width - 1) / 2, (height - 1) / 2),
            *((x, y) for x in (0.0, width - 1.0) for y in (0.0, height - 1.0)),
        ]
    )
    off_mm = 1000 * np.linalg.norm(belt.plane.to_belt(places) - truth.to_belt(places), axis=1)
    # What four corners give that somebody clicks.
    sums, apart = view.points_m[:, :2].sum(axis=1), view.points_m[:, 0] - view.points_m[:, 1]
    four = [int(index) for values in (sums, apart) for index in (values.argmin(), values.argmax())]
    naive, _ = cv2.findHomography(view.pixels[four], view.points_m[four, :2])
    laid = cv2.perspectiveTransform(places[None], naive)[0]
    naive_mm = 1000 * np.linalg.norm(laid - truth.to_belt(places), axis=1)
    found, true = fit.calibration.camera_matrix, camera.calibration.camera_matrix
    errors = Errors(
        '',
        1000 * truth.field_m()[0],
        fit.rms_px,
        100 * max(abs(found[index] / true[index] - 1) for index in (0, 4)),
        math.hypot(found[2] - true[2], found[5] - true[5]),
        float(off_mm[0]),
        float(off_mm[1:].max()),
        1000 * belt.spread_m,
        float(naive_mm[0]),
        float(naive_mm[1:].max()),
    )
    return truth, belt.plane, errors


def _on_belt(camera: RenderedCamera, board: CalibrationBoard) -> BeltPlane:
    """
    Lay the board on the belt so that it takes about half of the picture.

    """
    rotation = facing() @ np.asarray(cv2.Rodrigues(np.array(_TILT))[0])
    extent_m = np.ptp(board.points_m(), axis=0)[0] + 2 * board.square_m
    far_m = 1.7 * camera.focal_px * extent_m / camera.width
    place = np.array([0.0, 0.0, far_m]) - rotation @ board.points_m().mean(axis=0)
    return BeltPlane(camera.calibration, rotation, place)


def camera_errors(name: str, runs: int) -> Errors:
    """
    Give the median errors over several calibrations.

    """
    camera, text = CAMERAS[name]
    board = CalibrationBoard.from_text(text)
    rows = [asdict(calibrated(camera, board, seed)[2]) for seed in range(runs)]
    medians = {
        key: float(np.median([row[key] for row in rows])) for key in rows[0] if key != 'camera'
    }
    return Errors(camera=name, **medians)


def camera_table(rows: Sequence[Errors]) -> str:
    """
    Write a Markdown table.

    """
    lines = [
        '| camera | sees | reprojection | focal length | centre | belt, middle | belt, worst '
        'corner | standard deviation said | four corners, middle | worst corner |',
        '|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|',
    ]
    lines += [
        f'| {row.camera} | {row.field_mm:.0f} mm | {row.rms_px:.2f} px | '
        f'{row.focal_percent:.2f} % | {row.centre_px:.1f} px | {row.middle_mm:.2f} mm | '
        f'{row.corner_mm:.2f} mm | {row.said_mm:.2f} mm | {row.naive_middle_mm:.2f} mm | '
        f'{row.naive_corner_mm:.2f} mm |'
        for row in rows
    ]
    return '\n'.join(lines)


# ---------------------------------------------------------------------------- parts on the belt

_LINE = SimulatedLineSettings(seed=31, defect_rate=0.0)
PARTS = {
    'as taught': _LINE,
    'turned by up to 30 degrees': replace(_LINE, rotation_deg=30.0),
    'moved by up to 40 px': replace(_LINE, shift_px=40.0),
}
_TAUGHT = 20


@dataclass
class PartErrors:
    """
    What the places of parts on the belt are off by.

    """

    parts: str
    count: int
    unsure: int
    origin_mm: list[float]
    axis_deg: list[float]


class Table:
    """
    A belt with the simulated line drawn on it, seen by a camera.

    Parameters
    ----------
    truth : BeltPlane
        Where the belt truly is.
    line : SimulatedLineSettings
        What lies on it: its pictures take the middle of what the camera sees.

    """

    def __init__(self, truth: BeltPlane, line: SimulatedLineSettings) -> None:
        self._truth = truth
        width, height = truth.calibration.size
        pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        self.metres_per_px = 0.95 * truth.field_m()[0] / line.width_px
        middle = truth.to_belt(np.array([((width - 1) / 2, (height - 1) / 2)]))[0]
        self._corner_m = middle + self.metres_per_px * np.array(
            [-(line.width_px - 1) / 2, (line.height_px - 1) / 2]
        )
        places = truth.to_belt(pixels.reshape(-1, 2))
        drawn = (places - self._corner_m) * (1, -1) / self.metres_per_px
        self._drawn = drawn.astype(np.float32).reshape(height, width, 2)

    def seen(self, drawing: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """
        Give what the camera sees of a picture of the line.

        """
        columns, rows = self._drawn[..., 0], self._drawn[..., 1]
        picture = cv2.remap(
            drawing, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(picture, np.uint8)

    def place_m(self, x_px: float, y_px: float) -> NDArray[np.float64]:
        """
        Give where a place of the line's picture is on the belt.

        """
        return np.asarray(self._corner_m + self.metres_per_px * np.array([x_px, -y_px]))


def part_errors(name: str, truth: BeltPlane, found: BeltPlane, count: int) -> PartErrors:
    """
    Teach what the camera sees of the line, and place other parts by the calibration.

    """
    settings = PARTS[name]
    table = Table(truth, settings)
    taught = [render_part(settings, index) for index in range(_TAUGHT)]
    frames = [table.seen(part.image) for part in taught]
    tolerance = Tolerance(
        shift_px=1.5 * settings.shift_px, rotation_deg=1.2 * settings.rotation_deg
    )
    options = TeachOptions(scorers=('variation',), tolerance=tolerance)
    recipe = teach(frames, name='belt', options=options)
    reference = next(
        part.pose
        for part, frame in zip(taught, frames, strict=True)
        if np.array_equal(frame, recipe.references[0])
    )
    judge, reporter = RecipeJudge(recipe), PoseReporter(recipe, found)
    header = Header(frame_id=found.camera_frame)
    # Where on the part the origin is: as the true belt shows the reference.
    origin = reporter.frame
    here = np.array([(origin.x_px, origin.y_px)])
    along = (math.cos(origin.axis_rad), -math.sin(origin.axis_rad))
    start, ahead = truth.to_belt(np.concatenate((here, here + along)))
    axis_rad = math.atan2(*(ahead - start)[::-1])
    errors = PartErrors(name, count, 0, [], [])
    for index in range(1000, 1000 + count):
        part = render_part(settings, index)
        _, scores = judge.judge(Frame(table.seen(part.image), 0, 0))
        message = reporter.message(scores[0], header)
        if not message.is_sure:
            errors.unsure += 1
            continue
        place, turned_rad = _true_place(table, part.pose, reference, start)
        pose = message.belt_pose.pose
        off_m = math.hypot(pose.position.x - place[0], pose.position.y - place[1])
        errors.origin_mm.append(1000 * off_m)
        yaw_rad = 2 * math.atan2(pose.orientation.z, pose.orientation.w)
        off_rad = math.remainder(yaw_rad - axis_rad - turned_rad, 2 * math.pi)
        errors.axis_deg.append(abs(math.degrees(off_rad)))
    return errors


def _true_place(
    table: Table, pose: PartPose, reference: PartPose, origin_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """
    Give where the origin truly is on the belt, and how far the part is turned.

    """
    # The simulation counts clockwise.
    turned_rad = -math.radians(pose.angle_deg - reference.angle_deg)
    cosine, sine = math.cos(turned_rad), math.sin(turned_rad)
    away = origin_m - table.place_m(reference.x_px, reference.y_px)
    turn = np.array([[cosine, -sine], [sine, cosine]]) * pose.scale / reference.scale
    return table.place_m(pose.x_px, pose.y_px) + turn @ away, turned_rad


def part_table(rows: Sequence[PartErrors]) -> str:
    """
    Write a Markdown table.

    """
    lines = [
        '| parts | origin, median | p99 | axis, median | p99 | not sure |',
        '|---|--:|--:|--:|--:|--:|',
    ]
    for row in rows:
        figures = [
            *(f'{np.quantile(row.origin_mm, share):.2f} mm' for share in (0.5, 0.99)),
            *(f'{np.quantile(row.axis_deg, share):.2f} deg' for share in (0.5, 0.99)),
        ]
        lines.append(f'| {row.parts} | {" | ".join(figures)} | {row.unsure} of {row.count} |')
    return '\n'.join(lines)


@click.command()
@click.option('--runs', default=3, show_default=True, help='Calibrations of each camera.')
@click.option('--parts', default=100, show_default=True, help='Parts of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(runs: int, parts: int, report: Path) -> None:
    """
    Run all cases, print the tables and write camera_calibration.json.
    """
    before = machine()
    cameras = [camera_errors(name, runs) for name in CAMERAS]
    print(camera_table(cameras), end='\n\n')
    camera, text = CAMERAS['640x480']
    truth, found, _ = calibrated(camera, CalibrationBoard.from_text(text), 0)
    placed = [part_errors(name, truth, found, parts) for name in PARTS]
    print(part_table(placed))
    report.mkdir(parents=True, exist_ok=True)
    content = {
        'machine': before,
        'cameras': [asdict(row) for row in cameras],
        'parts': [asdict(row) for row in placed],
    }
    (report / 'camera_calibration.json').write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
