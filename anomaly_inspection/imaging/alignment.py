# SPDX-License-Identifier: Apache-2.0
"""
Alignment: where the part of a frame lies against the reference, and how sure that is.

Coarse, then fine. The coarse search correlates the directions of the reference's edges, turned
through the search range, with those of the frame at a low resolution: directions do not depend on
the light. The fine search is inverse compositional Gauss-Newton (Baker and Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd) with Tukey's weights, level by level, on the edge pixels of
the band-passed reference: what does not follow the motion of the part (a defect, a glint, the
belt)
loses its weight. All that depends on the reference alone is computed once.

A pose is a pair of complex numbers (turn, shift): the point z of the part, counted from the middle
of the region of interest, lies at turn * z + shift in the frame, so that |turn| is the scale and
arg(turn) the angle, clockwise as seen in the image.

"""

from __future__ import annotations

import cmath
from dataclasses import asdict, dataclass, fields
import math
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError
from anomaly_inspection.setting_check import check_choice, check_keys, check_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

# Unknowns of the motion, in the order of the Jacobian: shift x, shift y, angle, logarithm of the
# scale.
UNKNOWNS = {'none': 0, 'translation': 2, 'rigid': 3, 'similarity': 4}

# Longest side of the region of interest at the finest and at the coarsest level, about.
_FINE_SIDE_PX, _COARSE_SIDE_PX = 320, 48
# Noise of a camera makes gradients up to about this at every level; edges are stronger, in levels
# a pixel.
_NOISE_GRADIENT = 2.0
# Edge pixels weaker than this share of the strongest ones are left out.
_EDGE_SHARE = 0.15
_FEWEST_POINTS, _MOST_POINTS = 64, 2048
# How many of them a median is taken of.
_MEDIAN_POINTS = 512
# cv2.remap takes no list of points longer than 32767, so they stand in rows of this length.
_ROW = 64
# Stands for what the frame does not show; no band-passed value comes near.
_OUTSIDE, _SHOWN = 1e6, 1e3
# Gauss-Newton steps at one level: 2 to 4 are usual.
_ROUNDS = 6
# A step below this share of a level's pixel is the last one.
_STILL_PX = 0.02
_MOST_CANDIDATES = 8
# Candidates whose scores differ by less look the same; the least turned one is taken.
_TIE = 0.03
# With less angle information (below 0.012 for bottles and impellers, above 0.04 for a flange with
# three small bores) a reference is round: its angle means little, and must not lose the part.
_ROUND_INFORMATION = 0.02
# Share of the edges that the frame must show; what is hidden beyond that counts as missing.
_SHARE_SHOWN = 0.7
# Edges that good parts do not share (prints, glints, the belt) are no edges to align on.
_STABLE_COSINE, _FOUND_AGREEMENT, _FEWEST_FOUND = 0.3, 0.15, 3
_SHARE_OUTSIDE = 0.01
# What an alignment may stray beyond the search range by its own error.
_SLACK_PX, _SLACK_RAD, _SLACK_SCALE = 0.5, math.radians(0.5), 0.005


@dataclass(frozen=True)
class AlignmentSettings:
    """
    How a part may lie against the reference.

    Parameters
    ----------
    kind : str
        'none', 'translation', 'rigid' (translation and rotation) or 'similarity' (and scale).
    search_px : float
        The part is shifted by at most this, pixels along x and along y, 0 to 4096.
    search_deg : float
        The part is turned by at most this to either side, degrees, 0 to 180.
    search_scale : float
        The part is larger or smaller by at most this share, 0 to 0.3.
    min_confidence : float
        An alignment less sure than this is refused, 0 to 1.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    kind: str = 'rigid'
    search_px: float = 24.0
    search_deg: float = 10.0
    search_scale: float = 0.05
    min_confidence: float = 0.35

    def __post_init__(self) -> None:
        check_choice('alignment.kind', self.kind, UNKNOWNS)
        check_number('alignment.search_px', self.search_px, 0, 4096)
        check_number('alignment.search_deg', self.search_deg, 0, 180)
        check_number('alignment.search_scale', self.search_scale, 0, 0.3)
        check_number('alignment.min_confidence', self.min_confidence, 0, 1)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AlignmentSettings:
        """
        Make the settings from a mapping; what is left out keeps its default.

        """
        check_keys('alignment', mapping, [field.name for field in fields(cls)])
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """
        Give the mapping that `from_mapping` reads.

        """
        return asdict(self)


@dataclass(frozen=True)
class Alignment:
    """
    How the part of a frame lies against the reference.

    Parameters
    ----------
    x_px, y_px : float
        Shift of the middle of the region of interest, frame pixels.
    angle_rad : float
        Turn about the middle of the region of interest, positive = counter-clockwise as seen in
        the image.
    scale : float
        Size of the part over that of the reference's.
    confidence : float
        0 to 1: the share of the reference's edges that the frame shows at their places, in their
        directions; the lowest of that of all edges and of those that tell x, y, angle and scale.

    """

    x_px: float
    y_px: float
    angle_rad: float
    scale: float
    confidence: float

    def to_frame(self, region: RegionOfInterest) -> NDArray[np.float64]:
        """
        Give the (2, 3) map from pixels of the aligned region of interest to pixels of the frame.

        """
        turn = cmath.rect(self.scale, -self.angle_rad)
        origin = complex(region.x, region.y)
        shift = region.center + complex(self.x_px, self.y_px) + turn * (origin - region.center)
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


class _Pose(NamedTuple):
    turn: complex
    shift: complex


class _Candidate(NamedTuple):
    score: float
    pose: _Pose


class _Found(NamedTuple):
    pose: _Pose
    agreement: float
    least_agreement: float
    bands: list[NDArray[np.float32]]


class Aligner:
    """
    Finds the part of a frame against one reference.

    Parameters
    ----------
    settings : AlignmentSettings
        Kind other than 'none'.
    reference : ndarray of uint8, (H, W)
        Gray frame of the reference part.
    region : RegionOfInterest
        The part, inside the frame.
    good_frames : sequence of ndarray of uint8, (H, W)
        Gray frames of other good parts: with three or more that are found, only edges that they
        share are aligned on.

    Raises
    ------
    AlignmentError
        When the reference has too few edges to be aligned on.

    """

    def __init__(
        self,
        settings: AlignmentSettings,
        reference: NDArray[np.uint8],
        region: RegionOfInterest,
        good_frames: Sequence[NDArray[np.uint8]] = (),
    ) -> None:
        self._settings = settings
        self._unknowns = UNKNOWNS[settings.kind]
        self._search_rad = math.radians(settings.search_deg) if self._unknowns >= 3 else 0.0
        self._search_scale = settings.search_scale if self._unknowns == 4 else 0.0
        long_side = max(region.width, region.height)
        short_side = min(region.width, region.height)
        fine = max(1, min(round(long_side / _FINE_SIDE_PX), short_side // 64))
        coarse = max(1, min(round(long_side / fine / _COARSE_SIDE_PX), short_side // fine // 12))
        middle = round(math.sqrt(coarse))
        self._fine_factor = fine
        self._window = self._search_window(reference.shape, region)
        self._factors = sorted({coarse, middle, 1}, reverse=True)
        pyramid = self._pyramid(reference)
        self._middle_px = np.array([region.width - 1, region.height - 1], np.float32) / 2
        middle_of_part = region.center - complex(self._window[1].start, self._window[0].start)
        self._models = [
            _Model(image, fine * factor, middle_of_part, region, self._unknowns)
            for image, factor in zip(pyramid, self._factors, strict=True)
        ]
        if not self._models[-1].is_usable:
            raise AlignmentError(
                f'the reference has fewer than {_FEWEST_POINTS} edge pixels to be aligned on'
            )
        self._coarse = _CoarseSearch(
            pyramid[0],
            fine * self._factors[0],
            middle_of_part,
            region,
            settings.search_px,
            self._search_rad,
            self._search_scale,
        )
        self._tell_round()
        self._keep_stable(good_frames)

    @property
    def outline(self) -> NDArray[np.float32]:
        """
        Give the convex hull of the edges that are aligned on, (n, 2), x and y in the region.

        The outermost few in every direction do not count: some edges of the belt are among them.

        """
        places = self._models[-1].places_px
        angles = np.arange(16, dtype=np.float32) * np.float32(math.pi / 8)
        reach = places @ np.array([np.cos(angles), np.sin(angles)])
        inner = (reach <= np.quantile(reach, 1 - _SHARE_OUTSIDE, axis=0)).all(axis=1)
        hull = cv2.convexHull(places[inner] + self._middle_px)
        return np.asarray(hull[:, 0], np.float32)

    def align(self, frame: NDArray[np.uint8]) -> Alignment:
        """
        Find the part.

        Parameters
        ----------
        frame : ndarray of uint8, (H, W)
            Gray frame of the reference's size.

        Raises
        ------
        AlignmentError
            When the part is not found, not surely enough, or outside of the search range; says the
            numbers.

        """
        pose, agreement, least, _ = self._find(frame)
        confidence = min(agreement, least)
        angle = -cmath.phase(pose.turn)
        x_px, y_px = pose.shift.real, pose.shift.imag
        alignment = Alignment(x_px, y_px, angle, abs(pose.turn), confidence)
        self._check(alignment)
        return alignment

    def _find(self, frame: NDArray[np.uint8]) -> _Found:
        pyramid = self._pyramid(frame)
        bands = [_band_pass(level) for level in pyramid]
        levels = list(zip(self._models, bands, strict=True))
        below = [level for level in levels[:-1] if level[0].is_usable] or levels[-1:]
        # The candidates compete below the finest level: that is cheap, and shows enough.
        found = []
        for _, start in self._coarse.candidates(pyramid[0]):
            pose = start
            for model, band in below:
                pose = model.refine(band, pose)
            model, band = below[-1]
            found.append(_Candidate(model.agreement(band, pose), pose))
        enough = max(candidate.score for candidate in found) - _TIE
        pose = min(
            (candidate.pose for candidate in found if candidate.score >= enough),
            key=lambda pose: abs(cmath.phase(pose.turn)),
        )
        fine, band = levels[-1]
        pose = fine.refine(band, pose)
        angle = cmath.phase(pose.turn)
        if self._is_round and abs(angle) > self._search_rad:
            held = cmath.rect(abs(pose.turn), math.copysign(self._search_rad, angle))
            pose = fine.refine(band, _Pose(held, pose.shift), unknowns=2)
        # Below the finest level the grain of the belt tells nothing.
        judge, seen = below[-1]
        least = judge.least_agreement(seen, pose, self._telling)
        return _Found(pose, fine.agreement(band, pose), least, bands)

    def _tell_round(self) -> None:
        judge = [model for model in self._models[:-1] if model.is_usable] or self._models
        turns = self._unknowns >= 3
        self._is_round = turns and judge[-1].angle_information < _ROUND_INFORMATION
        untold = {2} if self._is_round else set()
        self._telling = [unknown for unknown in range(self._unknowns) if unknown not in untold]

    def _keep_stable(self, good_frames: Sequence[NDArray[np.uint8]]) -> None:
        cosines: list[list[NDArray[np.float32]]] = [[] for _ in self._models]
        for frame in good_frames:
            found = self._find(frame)
            if found.agreement >= _FOUND_AGREEMENT:
                for model, band, collected in zip(self._models, found.bands, cosines, strict=True):
                    if not model.is_usable:
                        continue
                    collected.append(np.nan_to_num(model.cosines(band, found.pose), nan=1.0))
        for model, collected in zip(self._models, cosines, strict=True):
            if len(collected) >= _FEWEST_FOUND:
                model.keep(np.mean(collected, axis=0) >= _STABLE_COSINE)
        self._tell_round()

    def _check(self, alignment: Alignment) -> None:
        settings = self._settings
        if alignment.confidence < settings.min_confidence:
            raise AlignmentError(
                f'part not found: confidence {alignment.confidence:.2f}, '
                f'wanted at least {settings.min_confidence:.2f}'
            )
        if (
            max(abs(alignment.x_px), abs(alignment.y_px)) > settings.search_px + _SLACK_PX
            or abs(alignment.angle_rad) > self._search_rad + _SLACK_RAD
            or abs(alignment.scale - 1) > self._search_scale + _SLACK_SCALE
        ):
            raise AlignmentError(
                f'part lies outside of the search range: shifted by {alignment.x_px:.1f}, '
                f'{alignment.y_px:.1f} px, '
                f'turned by {math.degrees(alignment.angle_rad):.1f} degrees, '
                f'scale {alignment.scale:.3f}; allowed: {settings.search_px} px, '
                f'{math.degrees(self._search_rad):.1f} degrees, 1 +- {self._search_scale}'
            )

    def _search_window(
        self, shape: tuple[int, ...], region: RegionOfInterest
    ) -> tuple[slice, slice]:
        half_width, half_height = _turned_half_sides(
            region.width / 2, region.height / 2, self._search_rad
        )
        reach = self._settings.search_px + 10 * self._fine_factor
        grown = 1 + self._search_scale
        left = max(0, math.floor(region.center.real - half_width * grown - reach))
        top = max(0, math.floor(region.center.imag - half_height * grown - reach))
        right = min(shape[1], math.ceil(region.center.real + half_width * grown + reach) + 1)
        bottom = min(shape[0], math.ceil(region.center.imag + half_height * grown + reach) + 1)
        return slice(top, bottom), slice(left, right)

    def _pyramid(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        fine = _shrink(frame[self._window], self._fine_factor).astype(np.float32)
        return [_shrink(fine, factor) for factor in self._factors]


class _Model:
    """
    The edge pixels of the reference at one level, ready for Gauss-Newton.

    """

    def __init__(
        self,
        image: NDArray[np.float32],
        factor: int,
        middle: complex,
        region: RegionOfInterest,
        unknowns: int,
    ) -> None:
        self._factor = factor
        self._middle = _level_position(middle, factor)
        band = _band_pass(image)
        slope_x, slope_y = _gradients(band)
        magnitude = np.hypot(slope_x, slope_y)
        inside = _region_mask(
            image.shape, self._middle, region, factor, _band_radius(image.shape) + 1
        )
        rows, columns = _edge_pixels(magnitude, inside)
        points = ((columns + 1j * rows) - self._middle) * factor
        self._points = points.astype(np.complex64)
        self._values = band[rows, columns]
        # Per frame pixel, so that the shift comes out in frame pixels at every level.
        gradient_x = slope_x[rows, columns] / factor
        gradient_y = slope_y[rows, columns] / factor
        # Angle and scale are counted in pixels at this radius, which keeps the normal equations
        # well conditioned.
        self._radius = max(region.width, region.height) / 2
        x, y = points.real / self._radius, points.imag / self._radius
        along_turn, along_scale = gradient_y * x - gradient_x * y, gradient_x * x + gradient_y * y
        jacobian = np.array([gradient_x, gradient_y, along_turn, along_scale], np.float32)
        self._jacobian = jacobian[:unknowns]
        self._information = _information(self._jacobian)
        size = np.hypot(gradient_x, gradient_y)
        self._direction = ((gradient_x + 1j * gradient_y) / size).astype(np.complex64)

    @property
    def is_usable(self) -> bool:
        """
        Whether there are enough edge pixels at this level.

        """
        return len(self._values) >= _FEWEST_POINTS

    @property
    def places_px(self) -> NDArray[np.float32]:
        """
        Where the edge pixels are, (n, 2), x and y from the middle of the region.

        """
        return np.column_stack([self._points.real, self._points.imag])

    def refine(
        self, band: NDArray[np.float32], pose: _Pose, *, unknowns: int | None = None
    ) -> _Pose:
        """
        Move the pose to where the frame fits best; by its first unknowns only, if so told.

        """
        jacobian = self._jacobian[:unknowns]
        for _ in range(_ROUNDS):
            sampled = self._sample(band, pose, 0)
            shown = sampled < _SHOWN
            if np.count_nonzero(shown) < _FEWEST_POINTS:
                break
            some = np.flatnonzero(shown)
            some = some[:: max(1, len(some) // _MEDIAN_POINTS)]
            frame_level = np.median(np.abs(sampled[some]))
            reference_level = np.median(np.abs(self._values[some]))
            gain = float(np.clip(frame_level / reference_level, 0.25, 4.0))
            residual = sampled / gain - self._values
            # Half a level keeps a perfect fit from dividing by zero.
            spread = 1.4826 * float(np.median(np.abs(residual[some]))) + 0.5
            weight = np.square(np.maximum(0, 1 - np.square(residual / (4.685 * spread))))
            weighted = jacobian * weight
            hessian = (weighted @ jacobian.T).astype(np.float64)
            # Along what the edges do not show (a straight edge, a round part) nothing moves.
            hessian.flat[:: len(hessian) + 1] += 1e-4 * np.trace(hessian) / len(hessian) + 1e-9
            step = np.zeros(4)
            step[: len(hessian)] = np.linalg.solve(hessian, weighted @ residual)
            step = np.clip(step, -2 * self._factor, 2 * self._factor)
            inverse = cmath.exp(-complex(step[3], step[2]) / self._radius)
            turn = pose.turn * inverse
            pose = _Pose(turn, pose.shift - turn * complex(step[0], step[1]))
            if np.abs(step).max() < _STILL_PX * self._factor:
                break
        return pose

    def cosines(self, band: NDArray[np.float32], pose: _Pose) -> NDArray[np.float32]:
        """
        Give the cosine between reference's and frame's gradient at each edge pixel.

        NaN where the frame does not show it.

        """
        step = self._factor
        across = self._sample(band, pose, step) - self._sample(band, pose, -step)
        down = self._sample(band, pose, 1j * step) - self._sample(band, pose, -1j * step)
        along = across * self._direction.real + down * self._direction.imag
        size = np.hypot(across, down) + _NOISE_GRADIENT
        size[size > _SHOWN] = np.nan
        return np.asarray(along / size, np.float32)

    def agreement(self, band: NDArray[np.float32], pose: _Pose) -> float:
        """
        Give the mean cosine over the edge pixels the frame shows, 0 to 1.

        Up to 30 % may lie outside of the frame; more count as missing.

        """
        return _mean_shown(self.cosines(band, pose), np.float32(1 / len(self._values)))

    def least_agreement(
        self, band: NDArray[np.float32], pose: _Pose, unknowns: Collection[int]
    ) -> float:
        """
        Give the lowest agreement, 0 to 1, of the edges that tell one of these unknowns.

        A flange turned by 40 degrees agrees with itself at all its circles; its bores tell.

        """
        cosines = self.cosines(band, pose)
        return min(_mean_shown(cosines, self._information[unknown]) for unknown in unknowns)

    @property
    def angle_information(self) -> float:
        """
        How much of the angle the edges tell, beside what they tell of the shift; 0 = a circle.

        """
        hessian = (self._jacobian @ self._jacobian.T).astype(np.float64)
        shift, mixed = hessian[:2, :2], hessian[2, :2]
        own = hessian[2, 2] - mixed @ np.linalg.lstsq(shift, mixed, rcond=None)[0]
        return float(own / max(np.sqrt(shift[0, 0] * shift[1, 1]), 1e-6))

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """
        Drop all edge pixels but the chosen ones; does nothing when too few would be left.

        """
        kept = np.flatnonzero(chosen)
        kept = kept[: len(kept) // _ROW * _ROW]
        if len(kept) < max(_FEWEST_POINTS, 0.2 * len(chosen)):
            return
        self._points, self._values = self._points[kept], self._values[kept]
        self._direction, self._jacobian = self._direction[kept], self._jacobian[:, kept]
        self._information = _information(self._jacobian)

    def _sample(
        self, band: NDArray[np.float32], pose: _Pose, offset: complex
    ) -> NDArray[np.float32]:
        turn = pose.turn / self._factor
        shift = self._middle + pose.shift / self._factor + turn * offset
        where = np.complex64(turn) * self._points + np.complex64(shift)
        sampled = cv2.remap(
            band,
            where.real.reshape(-1, _ROW),
            where.imag.reshape(-1, _ROW),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=_OUTSIDE,
        )
        return np.asarray(sampled, np.float32).reshape(-1)


class _CoarseSearch:
    """
    The reference's edge directions, turned through the search range, at the coarsest level.

    """

    def __init__(
        self,
        image: NDArray[np.float32],
        factor: int,
        middle: complex,
        region: RegionOfInterest,
        search_px: float,
        search_rad: float,
        search_scale: float,
    ) -> None:
        self._factor = factor
        self._middle = _level_position(middle, factor)
        half_width, half_height = _turned_half_sides(
            region.width / 2 / factor, region.height / 2 / factor, search_rad
        )
        self._half = (
            math.ceil(half_width * (1 + search_scale)),
            math.ceil(half_height * (1 + search_scale)),
        )
        self._reach = math.ceil(search_px / factor) + 1
        rim = math.hypot(region.width, region.height) / 2 / factor
        # The rim of the part moves by at most 1.5 pixels from one turn to the next.
        self._turns = [
            cmath.rect(scale, angle)
            for scale in _steps(search_scale, 3.0 / rim) + 1
            for angle in _steps(search_rad, 3.0 / rim)
        ]
        self._templates = [self._template(image, region, turn) for turn in self._turns]

    def candidates(self, image: NDArray[np.float32]) -> list[_Candidate]:
        """
        Give the poses that are better than their neighbours in angle, best first, at most eight.

        """
        field = _directions(image)
        half_width, half_height = self._half
        reach = self._reach
        left = math.floor(self._middle.real + 0.5) - half_width - reach
        top = math.floor(self._middle.imag + 0.5) - half_height - reach
        width = 2 * (half_width + reach) + 1
        height = 2 * (half_height + reach) + 1
        field = _cut(field, left, top, width, height)
        found = []
        for turn, template in zip(self._turns, self._templates, strict=True):
            scores = cv2.matchTemplate(field, template, cv2.TM_CCORR)
            _, score, _, (x, y) = cv2.minMaxLoc(scores)
            place = complex(x + half_width + left, y + half_height + top)
            shift = (place - self._middle) * self._factor
            found.append(_Candidate(score, _Pose(turn, shift)))
        best = max(candidate.score for candidate in found)
        limit = best - 0.2 * abs(best)
        peaks = [
            candidate
            for index, candidate in enumerate(found)
            if candidate.score >= limit
            and candidate.score >= max(item.score for item in found[max(0, index - 1) : index + 2])
        ]
        return sorted(peaks, key=lambda candidate: -candidate.score)[:_MOST_CANDIDATES]

    def _template(
        self, image: NDArray[np.float32], region: RegionOfInterest, turn: complex
    ) -> NDArray[np.float32]:
        half_width, half_height = self._half
        size = 2 * half_width + 1, 2 * half_height + 1
        back = 1 / turn
        shift = self._middle - back * complex(half_width, half_height)
        matrix = np.array(
            [[back.real, -back.imag, shift.real], [back.imag, back.real, shift.imag]]
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        turned = np.asarray(
            cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE),
            np.float32,
        )
        mask = _region_mask(image.shape, self._middle, region, self._factor, 2).astype(np.float32)
        turned_mask = cv2.warpAffine(mask, matrix, size, flags=flags)
        field = _directions(turned) * (np.asarray(turned_mask)[..., None] > 0.5)
        weight = float(np.hypot(field[..., 0], field[..., 1]).sum())
        return np.asarray(field / max(weight, 1e-6), np.float32)


def _shrink(image: NDArray[Any], factor: int) -> NDArray[Any]:
    if factor == 1:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: height * factor, : width * factor]
    return cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)


def _band_radius(shape: tuple[int, ...]) -> int:
    return min(7, max(3, min(shape) // 10))


def _band_pass(image: NDArray[np.float32]) -> NDArray[np.float32]:
    border = _band_radius(image.shape)
    smooth = cv2.GaussianBlur(image, (5, 5), 1.0)
    mean = cv2.boxFilter(smooth, -1, (2 * border + 1, 2 * border + 1))
    band = np.asarray(cv2.subtract(smooth, mean), np.float32)
    # Beside the border of the frame the average is made up, and does not move with the part.
    band[:border] = band[-border:] = band[:, :border] = band[:, -border:] = _OUTSIDE
    return band


def _gradients(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    across = cv2.Sobel(image, cv2.CV_32F, 1, 0, ksize=1, scale=0.5)
    down = cv2.Sobel(image, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def _directions(image: NDArray[np.float32]) -> NDArray[np.float32]:
    smooth = np.asarray(cv2.GaussianBlur(image, (5, 5), 1.0), np.float32)
    field = np.dstack(_gradients(smooth))
    size = np.hypot(field[..., 0], field[..., 1]) + _NOISE_GRADIENT
    return np.asarray(field / size[..., None], np.float32)


def _level_position(position: complex, factor: int) -> complex:
    middle_of_pixel = (factor - 1) / 2
    return (position - complex(middle_of_pixel, middle_of_pixel)) / factor


def _region_mask(
    shape: tuple[int, ...], middle: complex, region: RegionOfInterest, factor: int, border: int
) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    inside = (np.abs(columns - middle.real) <= region.width / 2 / factor) & (
        np.abs(rows - middle.imag) <= region.height / 2 / factor
    )
    inside[:border] = inside[-border:] = inside[:, :border] = inside[:, -border:] = False
    return inside


def _edge_pixels(
    magnitude: NDArray[np.float32], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    strongest = float(np.percentile(magnitude[inside], 99.5)) if inside.any() else 0.0
    limit = max(_NOISE_GRADIENT, _EDGE_SHARE * strongest)
    rows, columns = np.nonzero(inside & (magnitude >= limit))
    count = min(len(rows), _MOST_POINTS) // _ROW * _ROW
    chosen = np.linspace(0, len(rows) - 1, count).astype(np.intp)
    return rows[chosen], columns[chosen]


def _information(jacobian: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Give how much each edge pixel tells of each unknown, beside the unknowns before; sums of 1.

    """
    if jacobian.shape[1] < _FEWEST_POINTS:
        return np.zeros_like(jacobian)
    return np.asarray(np.square(np.linalg.qr(jacobian.T)[0].T), np.float32)


def _mean_shown(cosines: NDArray[np.float32], weight: Any) -> float:
    shown = np.isfinite(cosines)
    share = float(np.sum(weight * shown))
    total = float(np.sum(weight * np.where(shown, cosines, 0)))
    return max(0.0, total / max(share, _SHARE_SHOWN))


def _turned_half_sides(half_width: float, half_height: float, angle: float) -> tuple[float, float]:
    angles = np.linspace(0, angle, 32)
    cos, sin = np.abs(np.cos(angles)), np.abs(np.sin(angles))
    return (
        float((cos * half_width + sin * half_height).max()),
        float((sin * half_width + cos * half_height).max()),
    )


def _steps(reach: float, step: float) -> NDArray[np.float64]:
    count = math.ceil(reach / step)
    return np.linspace(-reach, reach, 2 * count + 1)


def _cut(
    field: NDArray[np.float32], left: int, top: int, width: int, height: int
) -> NDArray[np.float32]:
    rows, columns = field.shape[:2]
    before_x, before_y = max(0, -left), max(0, -top)
    after_x, after_y = max(0, left + width - columns), max(0, top + height - rows)
    if before_x or before_y or after_x or after_y:
        border = before_y, after_y, before_x, after_x
        field = np.asarray(cv2.copyMakeBorder(field, *border, cv2.BORDER_CONSTANT), np.float32)
        left, top = left + before_x, top + before_y
    return field[top : top + height, left : left + width]
