# SPDX-License-Identifier: Apache-2.0
"""
From pictures of a board to the calibration of a camera, or to the reason why they do not do.

The model is that of OpenCV and of ROS' `plumb_bob`: focal lengths, centre, two radial and two
tangential coefficients; a third radial one where the pictures show it beyond doubt. The method is
that of Zhang, "A flexible new technique for camera calibration", doi:10.1109/34.888718.

"""

from __future__ import annotations

from dataclasses import dataclass, replace
import math
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.calibration import CameraCalibration
from anomaly_inspection.capture.camera_rays import is_one_to_one
from anomaly_inspection.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.capture.calibration_board import BoardView

FEWEST_PICTURES = 8
#: Root of the mean square of the distance between corners seen and corners computed, pixels.
DEFAULT_MAX_RMS_PX = 0.5
_GRID = (6, 6)
_LEAST_COVERAGE = 0.6
# Standard deviation of the focal lengths over the focal lengths, and of the centre over the
# picture's width.
_MOST_FOCAL_SPREAD = 0.005
_MOST_CENTRE_SPREAD = 0.01
_LEAST_TILT_DEG = 10.0
# A picture so many times worse than the others was blurred, moved, or holds a bent board.
_OUTLIER = 3.0
_LEAST_OUTLIER_PX = 0.3
_MOST_OUTLIERS = 0.25
_THIRD_IS_SURE = 5.0
_GROUPS = 12


@dataclass(frozen=True)
class CameraFit:
    """
    The calibration of a camera, and how good it is.

    Parameters
    ----------
    calibration : CameraCalibration
        What was found.
    pictures : tuple of str
        Those that it rests on.
    left_out : mapping of str to str
        The others, with the reason.
    corners : int
        So many corners in all.
    rms_px, largest_px : float
        Distance between corners seen and corners computed: root of the mean square, and the
        largest.
    coverage : float
        Share of the cells of a 6 x 6 grid over the picture in which corners were seen, 0 to 1.
    focal_spread : float
        Standard deviation of the worse focal length over its value.
    centre_spread_px : float
        Standard deviation of the centre's worse coordinate.
    tilt_deg : float
        Largest angle between the board's faces in two pictures.
    without_some : tuple of CameraCalibration
        The same, each without a group of the pictures: how far they differ tells how well all that
        follows is known (the jackknife).

    """

    calibration: CameraCalibration
    pictures: tuple[str, ...]
    left_out: Mapping[str, str]
    corners: int
    rms_px: float
    largest_px: float
    coverage: float
    focal_spread: float
    centre_spread_px: float
    tilt_deg: float
    without_some: tuple[CameraCalibration, ...] = ()


def fit_camera(
    views: Mapping[str, BoardView],
    size: tuple[int, int],
    *,
    max_rms_px: float = DEFAULT_MAX_RMS_PX,
    left_out: Mapping[str, str] | None = None,
) -> CameraFit:
    """
    Calibrate a camera.

    Parameters
    ----------
    views : mapping of str to BoardView
        The board in each picture, by the picture's name.
    size : (int, int)
        Width and height of the pictures, px.
    max_rms_px : float
        Most reprojection error that is taken, px.
    left_out : mapping of str to str, optional
        Pictures that could not be used, with the reason.

    Raises
    ------
    SettingError
        When the pictures do not determine the camera; names the value, what is allowed, and what
        to do.

    """
    refused = dict(left_out or {})
    _check_count(views, refused)
    fit = _fit(views, size)
    outliers = _outliers(fit.errors_px)
    if outliers and len(views) - len(outliers) >= FEWEST_PICTURES:
        names = list(views)
        for index in outliers:
            refused[names[index]] = (
                f'its corners lie {fit.errors_px[index]:.2f} px off, those of the other pictures '
                f'{np.median(fit.errors_px):.2f} px: blurred, or the board was bent or moved'
            )
        views = {name: view for name, view in views.items() if name not in refused}
        fit = _fit(views, size)
    found = _described(fit, views, size, refused)
    _check(found, max_rms_px)
    return replace(found, without_some=_without_some(views, size, fit.flags))


def _without_some(
    views: Mapping[str, BoardView], size: tuple[int, int], flags: int
) -> tuple[CameraCalibration, ...]:
    groups = min(_GROUPS, len(views))
    return tuple(
        _calibration(
            _fit_with(
                {
                    name: view
                    for at, (name, view) in enumerate(views.items())
                    if at % groups != out
                },
                size,
                flags,
            ),
            size,
        )
        for out in range(groups)
    )


def _check_count(views: Mapping[str, BoardView], refused: Mapping[str, str]) -> None:
    if len(views) >= FEWEST_PICTURES:
        return
    reasons = [f'{name}: {why}' for name, why in refused.items()]
    more = f'; the first left out is {reasons[0]}' if reasons else ''
    raise SettingError(
        f'the board was found in {len(views)} of {len(views) + len(refused)} pictures; allowed: '
        f'{FEWEST_PICTURES} or more{more}'
    )


@dataclass(frozen=True)
class _Fit:
    camera: NDArray[np.float64]
    distortion: NDArray[np.float64]
    spreads: NDArray[np.float64]
    turns: Sequence[Any]
    errors_px: NDArray[np.float64]
    largest_px: float
    rms_px: float
    flags: int


def _fit(views: Mapping[str, BoardView], size: tuple[int, int]) -> _Fit:
    plain = _fit_with(views, size, cv2.CALIB_FIX_K3)
    full = _fit_with(views, size, 0)
    third, spread = full.distortion[4], full.spreads[8]
    is_sure = math.isfinite(third) and 0 < spread * _THIRD_IS_SURE < abs(third)
    return full if is_sure and full.rms_px < plain.rms_px else plain


def _fit_with(views: Mapping[str, BoardView], size: tuple[int, int], flags: int) -> _Fit:
    points = [view.points_m.astype(np.float32) for view in views.values()]
    pixels = [view.pixels.astype(np.float32) for view in views.values()]
    try:
        rms_px, camera, distortion, turns, shifts, spreads, _, errors_px = (
            cv2.calibrateCameraExtended(
                points,
                pixels,
                size,
                np.eye(3),
                np.zeros(5),
                flags=flags,
            )
        )
    except cv2.error as error:
        raise SettingError(
            f'the pictures do not determine the camera ({error.err}): tilt the board by 20 to 45 '
            'degrees, in several directions'
        ) from error
    largest_px = 0.0
    for seen, where, turn, shift in zip(pixels, points, turns, shifts, strict=True):
        computed = cv2.projectPoints(where, turn, shift, camera, distortion)[0].reshape(-1, 2)
        largest_px = max(largest_px, float(np.linalg.norm(seen - computed, axis=1).max()))
    return _Fit(
        np.asarray(camera, np.float64),
        np.asarray(distortion, np.float64).ravel(),
        np.asarray(spreads, np.float64).ravel(),
        turns,
        np.asarray(errors_px, np.float64).ravel(),
        largest_px,
        float(rms_px),
        flags,
    )


def _outliers(errors_px: NDArray[np.float64]) -> list[int]:
    """
    Give the pictures that are far worse than the others, where they are few.

    """
    most_px = max(_OUTLIER * float(np.median(errors_px)), _LEAST_OUTLIER_PX)
    found = [int(index) for index in np.flatnonzero(errors_px > most_px)]
    return found if len(found) <= _MOST_OUTLIERS * len(errors_px) else []


def _described(
    fit: _Fit, views: Mapping[str, BoardView], size: tuple[int, int], refused: Mapping[str, str]
) -> CameraFit:
    camera, spreads = fit.camera, fit.spreads
    return CameraFit(
        _calibration(fit, size),
        tuple(views),
        refused,
        sum(len(view.pixels) for view in views.values()),
        fit.rms_px,
        fit.largest_px,
        coverage([view.pixels for view in views.values()], size),
        float(max(spreads[0] / camera[0, 0], spreads[1] / camera[1, 1], key=abs)),
        float(max(spreads[2:4])),
        _tilt_deg(fit.turns),
    )


def _calibration(fit: _Fit, size: tuple[int, int]) -> CameraCalibration:
    return CameraCalibration(
        *size,
        'plumb_bob',
        tuple(map(float, fit.distortion[:5])),
        tuple(map(float, fit.camera.ravel())),
        tuple(map(float, np.eye(3).ravel())),
        # Of one camera: no rectification, and the picture without distortion keeps its scale.
        tuple(map(float, np.hstack((fit.camera, np.zeros((3, 1)))).ravel())),
    )


def coverage(pixels: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> float:
    """
    Give the share of the picture's cells in which there are corners, 0 to 1.

    Parameters
    ----------
    pixels : sequence of ndarray of float64, (n, 2)
        Corners, of each picture.
    size : (int, int)
        Width and height of the pictures, px.

    """
    cells = np.floor(np.concatenate(pixels) / size * _GRID).astype(int)
    return len(set(map(tuple, cells.tolist()))) / math.prod(_GRID)


def _tilt_deg(turns: Sequence[Any]) -> float:
    normals = np.array([cv2.Rodrigues(np.asarray(turn))[0][:, 2] for turn in turns])
    return float(np.degrees(np.arccos(np.clip(normals @ normals.T, -1.0, 1.0))).max())


def _check(found: CameraFit, max_rms_px: float) -> None:
    """
    Refuse a calibration that cannot be relied on.

    """
    width = found.calibration.width
    tilt = 'Tilt the board by 20 to 45 degrees, in several directions'
    if not found.rms_px <= max_rms_px:
        raise SettingError(
            f'reprojection error {found.rms_px:.2f} px; allowed: 0 to {max_rms_px:g} px. Is the '
            'board flat and as described, is the picture sharp, and were focus and zoom fixed?'
        )
    if found.coverage < _LEAST_COVERAGE:
        raise SettingError(
            f'corners in {100 * found.coverage:.0f} % of the picture; allowed: '
            f'{100 * _LEAST_COVERAGE:.0f} % to 100 %. Hold the board into its corners and along '
            'its edges as well'
        )
    if not found.tilt_deg >= _LEAST_TILT_DEG:
        raise SettingError(
            f'the board is tilted by {found.tilt_deg:.1f} degrees between pictures at most; '
            f'allowed: {_LEAST_TILT_DEG:g} or more, because parallel views do not tell the focal '
            f'length. {tilt}'
        )
    if not abs(found.focal_spread) <= _MOST_FOCAL_SPREAD:
        raise SettingError(
            f'the focal length is known to {100 * abs(found.focal_spread):.2g} %; allowed: '
            f'{100 * _MOST_FOCAL_SPREAD:g} % or better. {tilt}, and take more pictures'
        )
    if not found.centre_spread_px <= _MOST_CENTRE_SPREAD * width:
        raise SettingError(
            f"the picture's optical centre is known to {found.centre_spread_px:.1f} px; allowed: "
            f'{_MOST_CENTRE_SPREAD * width:.1f} px or better. {tilt}, and take more pictures'
        )
    if not is_one_to_one(found.calibration):
        raise SettingError(
            'the distortion found is not one to one over the whole picture: two directions would '
            'be seen at one place. Take more pictures with the board in the corners; for a '
            'fisheye lens, calibrate with another program'
        )
