# SPDX-License-Identifier: Apache-2.0
"""
Calibrate a camera, and the plane of the belt before it.

"""

from __future__ import annotations

import json
import os
from pathlib import Path
import re
from typing import Any, TYPE_CHECKING

import click

from anomaly_inspection.cli.options import Number
from anomaly_inspection.cli.output import (
    check_results_writable,
    console,
    errors,
    escaped,
    progress_bar,
    without_nan,
    write_file,
)
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anomaly_inspection.capture.belt_fit import BeltFit
    from anomaly_inspection.capture.calibration import CameraCalibration
    from anomaly_inspection.capture.calibration_board import CalibrationBoard
    from anomaly_inspection.capture.camera_fit import CameraFit

CAMERA_FILE, BELT_FILE, BELT_PICTURE = 'camera.yaml', 'belt_plane.yaml', 'belt_plane.png'


def _board(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> CalibrationBoard | None:
    from anomaly_inspection.capture.calibration_board import CalibrationBoard

    if value is None:
        return None
    try:
        return CalibrationBoard.from_text(value)
    except SettingError as error:
        raise click.BadParameter(str(error)) from None


def _frame_name(context: click.Context, parameter: click.Parameter, value: str) -> str:
    from anomaly_inspection.capture.belt_plane import FRAME_ALLOWED, FRAME_PATTERN

    if re.fullmatch(FRAME_PATTERN, value) is None:
        raise click.BadParameter(f'{value!r} is refused; allowed: {FRAME_ALLOWED}')
    return value


@click.command(short_help='Calibrate a camera and the plane of the belt.')
@click.argument('images', type=click.Path(path_type=Path), required=False)
@click.option(
    '--board',
    required=True,
    callback=_board,
    metavar='BOARD',
    help='charuco:7x5:0.030:0.022 = 7 x 5 squares of 30 mm with markers of 22 mm (then, unless it '
    'is DICT_4X4_50, :DICTIONARY), or checkerboard:9x6:0.025 = 9 x 6 inner corners, squares of 25 '
    'mm. Measure the print: it is rarely to scale.',
)
@click.option(
    '--belt-image',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='One picture of the board lying flat on the belt; its origin and axes become those of '
    'the belt.',
)
@click.option(
    '--out',
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help=f'Folder to write {CAMERA_FILE}, {BELT_FILE} and {BELT_PICTURE} to.',
)
@click.option(
    '--camera-info',
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help='Take this calibration of the camera in the place of IMAGES, and find only the plane of '
    'the belt. For a camera that was moved while its focus stayed.',
)
@click.option(
    '--board-thickness-m',
    type=Number(0, 0.2),
    default=0.0,
    show_default=True,
    help='How high the print of the board lies above the belt, metres.',
)
@click.option(
    '--max-rms-px',
    type=Number(0.01, 5),
    default=0.5,
    show_default=True,
    help='Most reprojection error that is taken, pixels, root of the mean square.',
)
@click.option(
    '--camera-frame',
    callback=_frame_name,
    default='camera_optical_frame',
    show_default=True,
    help='tf2 name of the optical frame: frame_id of the camera node or driver.',
)
@click.option(
    '--belt-frame',
    callback=_frame_name,
    default='belt',
    show_default=True,
    help='tf2 name of the frame of the belt.',
)
@click.option(
    '--json',
    'json_file',
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write all figures to this file.',
)
def calibrate_camera(
    images: Path | None,
    board: CalibrationBoard,
    belt_image: Path | None,
    out: Path,
    camera_info: Path | None,
    json_file: Path | None,
    max_rms_px: float,
    **given: Any,
) -> None:
    """
    Calibrate a camera from IMAGES, a folder with pictures of a board, and find the plane of the
    belt.

    Take 15 to 30 pictures, at least 8: hold the board still, near enough to fill half of the
    picture, tilted by 20 to 45 degrees to all sides, and also in the corners of the picture.
    Focus, zoom and picture size must stay as they are in the cell.

    Exit status: 0 when the files are written, 2 when the calibration is refused; then nothing is
    written.
    """
    import cv2

    from anomaly_inspection.capture.belt_fit import fit_belt
    from anomaly_inspection.capture.belt_picture import belt_picture
    from anomaly_inspection.capture.belt_plane import belt_plane_text
    from anomaly_inspection.capture.board_pictures import find_board_on_belt
    from anomaly_inspection.capture.calibration import calibration_text, read_calibration

    _check_options(images, camera_info, belt_image, given)
    check_results_writable(files=(json_file,), folders=(out,))
    fit = _camera(images, board, max_rms_px) if images else None
    calibration = fit.calibration if fit else read_calibration(camera_info or Path())
    belt = None
    if belt_image is not None:
        view, picture = find_board_on_belt(belt_image, board, calibration.size)
        belt = fit_belt(
            view,
            calibration,
            without_some=fit.without_some if fit else (),
            thickness_m=given['board_thickness_m'],
            max_rms_px=max_rms_px,
            camera_frame=given['camera_frame'],
            belt_frame=given['belt_frame'],
        )
    files: dict[str, bytes] = {}
    if fit:
        _print_camera(fit)
        files[CAMERA_FILE] = calibration_text(calibration, given['camera_frame']).encode()
    if belt:
        _print_belt(belt)
        files[BELT_FILE] = belt_plane_text(belt.plane).encode()
        drawn = belt_picture(picture, belt.plane)
        files[BELT_PICTURE] = cv2.imencode('.png', drawn)[1].tobytes()
    for name, content in files.items():
        _put(out, name, content)
        console.print(f'written: {escaped(out / name)}', soft_wrap=True)
    if json_file:
        write_file(json_file, json.dumps(without_nan(_figures(fit, belt, board)), indent=2) + '\n')


def _check_options(
    images: Path | None,
    camera_info: Path | None,
    belt_image: Path | None,
    given: dict[str, Any],
) -> None:
    if (images is None) == (camera_info is None):
        raise SettingError('give IMAGES, a folder of pictures of the board, or else --camera-info')
    if camera_info and belt_image is None:
        raise SettingError('--camera-info needs --belt-image: there is nothing else to find')
    if given['camera_frame'] == given['belt_frame']:
        raise SettingError(
            f'--belt-frame {given["belt_frame"]} is refused; allowed: another name than that of '
            '--camera-frame'
        )


def _camera(images: Path, board: CalibrationBoard, max_rms_px: float) -> CameraFit:
    from anomaly_inspection.capture.board_pictures import find_boards
    from anomaly_inspection.capture.camera_fit import fit_camera
    from anomaly_inspection.capture.image_folder import ImageFolder

    with ImageFolder(images) as folder, progress_bar() as progress:
        found = find_boards(_pictures(folder), board, len(folder.names), progress)
    for name, why in found.left_out.items():
        errors.print(f'[yellow]left out:[/] {escaped(f"{name}: {why}")}', soft_wrap=True)
    fit = fit_camera(found.views, found.size, max_rms_px=max_rms_px, left_out=found.left_out)
    for name in fit.left_out.keys() - found.left_out.keys():
        errors.print(
            f'[yellow]left out:[/] {escaped(f"{name}: {fit.left_out[name]}")}', soft_wrap=True
        )
    return fit


def _pictures(folder: Any) -> Iterator[tuple[str, Any]]:
    while (frame := folder.read()) is not None:
        yield frame.name, FrameError(frame.problem) if frame.image is None else frame.image


def _print_camera(fit: CameraFit) -> None:
    camera = fit.calibration.camera_matrix
    k1, k2, p1, p2, k3 = fit.calibration.distortion
    off_px = fit.centre_spread_px
    lines = [
        f'camera: {len(fit.pictures)} pictures, {len(fit.left_out)} left out, {fit.corners} '
        f'corners, {fit.calibration.width}x{fit.calibration.height} px',
        f'  reprojection error  {fit.rms_px:.3f} px rms, {fit.largest_px:.2f} px at most',
        f'  focal lengths       {camera[0]:.1f} and {camera[4]:.1f} px, known to '
        f'{100 * fit.focal_spread:.2f} %',
        f'  optical centre      {camera[2]:.1f}, {camera[5]:.1f} px, known to {off_px:.1f} px',
        f'  distortion          k1 {k1:.4f}, k2 {k2:.4f}, p1 {p1:.5f}, p2 {p2:.5f}, k3 {k3:.4f}',
        f'  picture covered     {100 * fit.coverage:.0f} %',
        f'  tilt of the board   {fit.tilt_deg:.0f} degrees between pictures at most',
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _print_belt(belt: BeltFit) -> None:
    width_m, height_m = belt.plane.field_m()
    size = belt.plane.calibration.size
    x_m, y_m, z_m = belt.plane.place_in_belt_m()
    lines = [
        f'belt: {belt.corners} corners',
        f'  reprojection error  {belt.rms_px:.3f} px rms, {belt.largest_px:.2f} px at most',
        f'  the camera sees     {1000 * width_m:.1f} x {1000 * height_m:.1f} mm, '
        f'{1000 * width_m / size[0]:.3f} mm a pixel',
        f'  places are known    to {1000 * belt.spread_m:.2f} mm at the corners of the picture '
        '(standard deviation)',
        f'  the camera stands   at {x_m:.4f}, {y_m:.4f}, {z_m:.4f} m in the frame '
        f"'{belt.plane.belt_frame}'",
    ]
    for line in lines:
        console.print(line, soft_wrap=True)


def _figures(
    fit: CameraFit | None, belt: BeltFit | None, board: CalibrationBoard
) -> dict[str, Any]:
    figures: dict[str, Any] = {'board': board.text(), 'camera': None, 'belt': None}
    if fit:
        figures['camera'] = {
            **_camera_figures(fit.calibration),
            'pictures': list(fit.pictures),
            'left_out': dict(fit.left_out),
            'corners': fit.corners,
            'rms_px': fit.rms_px,
            'largest_px': fit.largest_px,
            'coverage': fit.coverage,
            'focal_spread': fit.focal_spread,
            'centre_spread_px': fit.centre_spread_px,
            'tilt_deg': fit.tilt_deg,
        }
    if belt:
        figures['belt'] = {
            'corners': belt.corners,
            'rms_px': belt.rms_px,
            'largest_px': belt.largest_px,
            'spread_m': belt.spread_m,
            'field_m': list(belt.plane.field_m()),
            'camera_place_m': list(belt.plane.place_in_belt_m()),
            'homography': belt.plane.homography().tolist(),
        }
    return figures


def _camera_figures(calibration: CameraCalibration) -> dict[str, Any]:
    return {
        'size': list(calibration.size),
        'camera_matrix': list(calibration.camera_matrix),
        'distortion': list(calibration.distortion),
    }


def _put(folder: Path, name: str, content: bytes) -> None:
    """
    Write a file so that no reader ever sees half of it.

    """
    draft = folder / f'.{name}.new'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
        os.replace(draft, folder / name)
    except OSError as error:
        raise SettingError(f'cannot write {printable(folder / name)}: {error.strerror}') from error
