# SPDX-License-Identifier: Apache-2.0
"""
The board that a camera is calibrated with, and where its corners are in a picture.

"""

from __future__ import annotations

from dataclasses import dataclass
import re
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.printable import shown
from anomaly_inspection.setting_check import check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHARUCO, CHECKERBOARD = 'charuco', 'checkerboard'
DEFAULT_DICTIONARY = 'DICT_4X4_50'
# Fewer corners of a board tell too little about how it lies.
FEWEST_CORNERS = 8
_MOST_SIDE = 60
# Of a square: how far a lens may move a corner from where it would be without distortion.
_MOST_BENT = 0.3
_LONGEST_SQUARE_M = 1.0
_NUMBER = r'([0-9]*\.?[0-9]+)'
_PATTERN = re.compile(
    rf'(?:(charuco):([0-9]+)x([0-9]+):{_NUMBER}:{_NUMBER}(?::(\w+))?'
    rf'|(checkerboard):([0-9]+)x([0-9]+):{_NUMBER})',
    re.ASCII,
)
_ALLOWED = (
    "'charuco:7x5:0.030:0.022' (squares in a row and in a column, side of a square and of a "
    "marker in metres, then, unless it is DICT_4X4_50, ':' and the dictionary) or "
    "'checkerboard:9x6:0.025' (inner corners in a row and in a column, side of a square in metres)"
)


@dataclass(frozen=True)
class BoardView:
    """
    The corners of a board in one picture.

    Parameters
    ----------
    points_m : ndarray of float64, (n, 3)
        On the board, metres: x to the right along a row, y up, z towards the viewer. The origin is
        the lowest corner on the left of those between the squares.
    pixels : ndarray of float64, (n, 2)
        In the picture, pixel centres at integers.

    """

    points_m: NDArray[np.float64]
    pixels: NDArray[np.float64]


@dataclass(frozen=True)
class CalibrationBoard:
    """
    A ChArUco board or a checkerboard.

    Parameters
    ----------
    kind : 'charuco' or 'checkerboard'
        Which of them.
    columns, rows : int
        Corners between squares in a row and in a column.
    square_m : float
        Side of a square, metres.
    marker_m : float
        Side of a marker, metres; 0 for a checkerboard.
    dictionary : str
        Of the markers, as OpenCV names it; '' for a checkerboard.

    """

    kind: str
    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ''

    @classmethod
    def from_text(cls, text: str) -> CalibrationBoard:
        """
        Read 'charuco:7x5:0.030:0.022', with a dictionary behind it, or 'checkerboard:9x6:0.025'.

        Raises
        ------
        SettingError
            Names what is refused, and what is allowed.

        """
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise SettingError(f'board {shown(text)} is refused; allowed: {_ALLOWED}')
        is_charuco = found[1] == CHARUCO
        across, down = (int(found[2 if is_charuco else 8]), int(found[3 if is_charuco else 9]))
        square_m = float(found[4 if is_charuco else 10])
        fewest, what = (3, 'squares') if is_charuco else (3, 'inner corners')
        for number in (across, down):
            check_range(f'board {shown(text)}: {what}', number, fewest, _MOST_SIDE)
        check_range(f'board {shown(text)}: square', square_m, 0.0005, _LONGEST_SQUARE_M, 'm')
        if not is_charuco:
            return cls(CHECKERBOARD, across, down, square_m)
        marker_m = float(found[5])
        if not 0.2 * square_m <= marker_m <= 0.95 * square_m:
            raise SettingError(
                f'board {shown(text)}: marker {marker_m:g} m, allowed: {0.2 * square_m:g} to '
                f'{0.95 * square_m:g} m, which is 20 % to 95 % of a square'
            )
        board = cls(
            CHARUCO, across - 1, down - 1, square_m, marker_m, found[6] or DEFAULT_DICTIONARY
        )
        board._check_dictionary(across * down // 2)
        return board

    def text(self) -> str:
        """
        Say what it is, as `from_text` reads it.

        """
        if self.kind == CHECKERBOARD:
            return f'{CHECKERBOARD}:{self.columns}x{self.rows}:{self.square_m:g}'
        return (
            f'{CHARUCO}:{self.columns + 1}x{self.rows + 1}:{self.square_m:g}:{self.marker_m:g}:'
            f'{self.dictionary}'
        )

    @property
    def shows_which_way(self) -> bool:
        """
        Whether the board looks different when it is turned by half a turn.

        """
        return self.kind == CHARUCO or (self.columns + self.rows) % 2 == 1

    def points_m(self) -> NDArray[np.float64]:
        """
        Give all its corners row by row, beginning on the left at the top; see `BoardView`.

        Returns
        -------
        ndarray of float64, (columns * rows, 3)

        """
        row, column = np.divmod(np.arange(self.columns * self.rows), self.columns)
        points = np.stack((column, self.rows - 1 - row, np.zeros_like(row)), axis=1)
        return np.asarray(self.square_m * points, np.float64)

    def find(self, image: NDArray[np.uint8], *, is_whole: bool = False) -> BoardView:
        """
        Find the board in a picture.

        Parameters
        ----------
        image : ndarray of uint8, (h, w) or (h, w, 3)
            Gray or BGR.
        is_whole : bool
            Refuse a picture that shows a part of the board, or another board with some of the same
            markers: its origin might be elsewhere.

        Raises
        ------
        FrameError
            When the board is not there, or too little of it; says what was seen.

        """
        is_gray = image.ndim == 2
        gray = image if is_gray else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
        if self.kind == CHECKERBOARD:
            return self._found_checkerboard(gray)
        corners, ids, markers = self._charuco_corners(gray)
        if len(ids) < FEWEST_CORNERS:
            seen = f'{len(markers)} markers' if len(markers) else 'no marker'
            raise FrameError(
                f'{seen} of {self.dictionary} and {len(ids)} corners of the board found; allowed: '
                f'{FEWEST_CORNERS} corners or more. Is it {self.text()}?'
            )
        lines = sorted((len(set(ids % self.columns)), len(set(ids // self.columns))))
        if lines[0] < 2 or lines[1] < 3:
            raise FrameError('the corners found lie in one line; allowed: 2 rows or more')
        view = BoardView(self.points_m()[ids], corners)
        if not self._is_flat(view):
            raise FrameError(
                f'the markers found lie otherwise than on the board. Is it {self.text()}?'
            )
        if is_whole:
            self._check_whole(ids, markers)
        return view

    def _check_whole(self, ids: NDArray[np.int64], markers: NDArray[np.int64]) -> None:
        on_board = (self.columns + 1) * (self.rows + 1) // 2
        if len(markers) and markers.max() >= on_board:
            raise FrameError(
                f'marker {markers.max()} is seen; allowed: 0 to {on_board - 1}, those of the '
                f'board. Is it {self.text()}?'
            )
        sides = {
            'left column': ids % self.columns == 0,
            'right column': ids % self.columns == self.columns - 1,
            'upper row': ids < self.columns,
            'lower row': ids >= self.columns * (self.rows - 1),
        }
        for name, is_there in sides.items():
            if not is_there.any():
                raise FrameError(
                    f'no corner of the {name} of the board is seen; allowed: the whole board. Is '
                    f'it {self.text()}?'
                )

    def _is_flat(self, view: BoardView) -> bool:
        """
        Tell whether the corners lie as those of a flat board, but for what a lens distorts.

        """
        on_board = view.points_m[:, :2] / self.square_m
        to_picture, _ = cv2.findHomography(on_board, view.pixels)
        if to_picture is None:
            return False
        laid = cv2.perspectiveTransform(on_board[None], to_picture)[0]
        extent = np.ptp(view.pixels, axis=0).max() / np.ptp(on_board, axis=0).max()
        return bool(np.abs(laid - view.pixels).max() < _MOST_BENT * extent)

    def _found_checkerboard(self, gray: NDArray[np.uint8]) -> BoardView:
        flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY
        is_found, corners = cv2.findChessboardCornersSB(
            gray, (self.columns, self.rows), flags=flags
        )
        if not is_found:
            raise FrameError(
                f'no checkerboard with {self.columns} x {self.rows} inner corners found; all of '
                'them must be in the picture'
            )
        pixels = np.asarray(corners, np.float64).reshape(-1, 2)
        grid = pixels.reshape(self.rows, self.columns, 2)
        across, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
        if across[0] * down[1] - across[1] * down[0] < 0:
            # Counted against the way that a board is read; y points down.
            pixels = grid[:, ::-1].reshape(-1, 2)
        if self.shows_which_way and not self._begins_dark(gray, pixels):
            pixels = pixels[::-1]
        return BoardView(self.points_m(), np.ascontiguousarray(pixels))

    def _begins_dark(self, gray: NDArray[np.uint8], pixels: NDArray[np.float64]) -> bool:
        """
        Tell whether the square before the first corner is darker than that behind the last.

        """
        on_board = self.points_m()[:, :2] / self.square_m
        to_picture, _ = cv2.findHomography(on_board, pixels)
        first, last = (-0.5, self.rows - 0.5), (self.columns - 0.5, -0.5)
        middles = cv2.perspectiveTransform(np.array([[first, last]]), to_picture)[0]
        levels = [
            float(cv2.getRectSubPix(gray, (3, 3), tuple(map(float, place))).mean())
            for place in middles
        ]
        return levels[0] < levels[1]

    def _charuco_corners(
        self, gray: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """
        Give corners, their numbers row by row from the top, and the numbers of the markers.

        """
        aruco: Any = _aruco()
        size = (self.columns + 1, self.rows + 1)
        if hasattr(aruco, 'CharucoDetector'):
            board = aruco.CharucoBoard(size, self.square_m, self.marker_m, self._dictionary())
            corners, ids, _, markers = aruco.CharucoDetector(board).detectBoard(gray)
            if ids is None and markers is not None and self.rows % 2:
                # Boards with an even number of rows began with a white square until OpenCV 4.6.
                board.setLegacyPattern(True)
                corners, ids, _, markers = aruco.CharucoDetector(board).detectBoard(gray)
        else:
            # OpenCV 4.6, which Ubuntu 24.04 has.
            board = aruco.CharucoBoard_create(
                *size, self.square_m, self.marker_m, self._dictionary()
            )
            places, markers, _ = aruco.detectMarkers(gray, self._dictionary())
            corners = ids = None
            if markers is not None and len(markers):
                _, corners, ids = aruco.interpolateCornersCharuco(places, markers, gray, board)
            if ids is not None:
                # There they come half a pixel off.
                steps = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 0.001)
                corners = cv2.cornerSubPix(gray, corners, (4, 4), (-1, -1), steps)
        seen = np.asarray([] if markers is None else markers, np.int64).ravel()
        if ids is None or corners is None:
            return np.empty((0, 2)), np.empty(0, np.int64), seen
        return (
            np.asarray(corners, np.float64).reshape(-1, 2),
            np.asarray(ids, np.int64).ravel(),
            seen,
        )

    def _dictionary(self) -> Any:
        return _aruco().getPredefinedDictionary(getattr(_aruco(), self.dictionary))

    def _check_dictionary(self, markers: int) -> None:
        aruco = _aruco()
        known = sorted({name for name in dir(aruco) if re.fullmatch('DICT_[A-Z0-9_]+', name)})
        if self.dictionary not in known:
            raise SettingError(
                f'board: dictionary {shown(self.dictionary)} is refused; allowed: '
                f'{", ".join(known)}'
            )
        count = len(self._dictionary().bytesList)
        if count < markers:
            raise SettingError(
                f'board: {self.dictionary} has {count} markers, the board needs {markers}: '
                'allowed is a dictionary with as many'
            )


def _aruco() -> Any:
    if not hasattr(cv2, 'aruco'):
        raise SettingError(
            f'OpenCV {cv2.__version__} as installed here has no ArUco markers: take a '
            'checkerboard, or OpenCV 4.7 or newer'
        )
    return cv2.aruco
