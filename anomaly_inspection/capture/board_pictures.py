# SPDX-License-Identifier: Apache-2.0
"""
The pictures of a calibration board that were taken with one camera.

"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.printable import printable
from anomaly_inspection.progress import no_progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from anomaly_inspection.capture.calibration_board import BoardView, CalibrationBoard
    from anomaly_inspection.progress import Progress


@dataclass(frozen=True)
class BoardPictures:
    """
    Where the board is in each picture.

    Parameters
    ----------
    views : mapping of str to BoardView
        By the name of the picture.
    left_out : mapping of str to str
        Pictures without the board, with the reason.
    size : (int, int)
        Width and height of all pictures, px.

    """

    views: Mapping[str, BoardView]
    left_out: Mapping[str, str]
    size: tuple[int, int]


def find_boards(
    pictures: Iterable[tuple[str, NDArray[np.uint8] | FrameError]],
    board: CalibrationBoard,
    count: int = 0,
    progress: Progress = no_progress,
) -> BoardPictures:
    """
    Find the board in all pictures.

    Parameters
    ----------
    pictures : iterable of (str, ndarray of uint8 or FrameError)
        Name and picture, or why it could not be read.
    board : CalibrationBoard
        What to look for.
    count : int
        How many pictures there are, for the progress.
    progress : callable (done, total, what)
        Called after each picture.

    Raises
    ------
    SettingError
        When the pictures are not of one size.

    """
    views, left_out = {}, {}
    first, size = '', (0, 0)
    for done, (name, picture) in enumerate(pictures, start=1):
        progress(done, count, 'looking for the board')
        if isinstance(picture, FrameError):
            left_out[name] = str(picture)
            continue
        this = (picture.shape[1], picture.shape[0])
        if not first:
            first, size = name, this
        elif this != size:
            raise SettingError(
                f'{name} has {this[0]}x{this[1]} px, {first} {size[0]}x{size[1]}; allowed: '
                'pictures of one size, that of the frames in the cell'
            )
        try:
            views[name] = board.find(picture)
        except FrameError as error:
            left_out[name] = str(error)
    return BoardPictures(views, left_out, size)


def find_board_on_belt(
    path: Path, board: CalibrationBoard, size: tuple[int, int]
) -> tuple[BoardView, NDArray[np.uint8]]:
    """
    Find the board in the picture that shows it on the belt; give both.

    Raises
    ------
    SettingError
        When the picture cannot be read, is of another size than the calibration, or does not show
        the whole board, or when the board does not say which way is up.

    """
    shown = printable(path)
    if not board.shows_which_way:
        raise SettingError(
            f'board {board.text()} looks the same when it is turned by half a turn, so it gives '
            'the belt no direction; allowed: an odd and an even number of inner corners, or a '
            'ChArUco board'
        )
    try:
        picture = read_image(path)
        this = (picture.shape[1], picture.shape[0])
        if this != size:
            raise SettingError(
                f'{shown} has {this[0]}x{this[1]} px; allowed: {size[0]}x{size[1]} px, as in the '
                'calibration of the camera'
            )
        return board.find(picture, is_whole=True), picture
    except FrameError as error:
        raise SettingError(f'{shown}: {error}') from error
