# SPDX-License-Identifier: Apache-2.0
"""
Alignment: where the part of a frame lies against the reference, and how sure that is.

First a coarse search, then a fine one. The coarse search (`coarse_search.py`) correlates the
directions of the reference's edges, turned through the search range, with those of the frame at a
low resolution. The fine search (`edge_model.py`) refines the pose level by level on the edge
pixels of the reference: what does not follow the motion of the part (a defect, a glint, the belt)
loses its weight.

A pose is a pair of complex numbers (turn, shift): the point z of the part, counted from the middle
of the region of interest, lies at turn * z + shift in the frame. So |turn| is the scale, and
arg(turn) is the angle, clockwise as seen in the image.

"""

from __future__ import annotations

import cmath
from dataclasses import asdict, dataclass, fields, replace
import math
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import AlignmentError
from anomaly_inspection.imaging.coarse_search import Candidate, CoarseSearch
from anomaly_inspection.imaging.edge_images import band_pass, rotated_half_sides, shrunk
from anomaly_inspection.imaging.edge_model import EdgeModel, FEWEST_POINTS, Pose
from anomaly_inspection.setting_check import check_choice, check_keys, check_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

# Unknowns of the motion, in the order of the Jacobian: shift x, shift y, angle, logarithm of the
# scale.
UNKNOWNS = {'none': 0, 'translation': 2, 'rigid': 3, 'similarity': 4}

_IF_NOT_FOUND = ('reject', 'as_it_lies')
# Longest side of the region of interest at the finest and at the coarsest level, about.
_FINE_SIDE_PX, _COARSE_SIDE_PX = 320, 48
# Its other side there at least. A strip is made narrower, down to the second, rather than longer
# than _LONGEST_STRIP_PX: turns and area of the coarse search grow with its length.
_COARSE_WIDTH_PX, _NARROWEST_STRIP_PX, _LONGEST_STRIP_PX = 12, 6, 64
# Candidates whose scores differ by less look the same; the least turned one is taken.
_TIE = 0.03
# A reference with less angle information is round (bottles and impellers lie below 0.012, a flange
# with three small bores above 0.04): its angle means little, and must not lose the part.
_ROUND_INFORMATION = 0.02
# Edges that good parts do not share (prints, glints, the belt) are not used.
_STABLE_COSINE, _FOUND_AGREEMENT, _FEWEST_FOUND = 0.3, 0.15, 3
_SHARE_OUTSIDE = 0.01
# How far the alignment's own error may take it beyond the search range.
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
    if_not_found : str
        What happens to a part that is not found, not surely enough, or outside of the search
        range: 'reject', or 'as_it_lies': the scorers judge it where it lies, and also at the pose
        that the alignment takes for the likeliest; see `Aligner.poses`.

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
    if_not_found: str = 'reject'

    def __post_init__(self) -> None:
        check_choice('alignment.kind', self.kind, UNKNOWNS)
        check_number('alignment.search_px', self.search_px, 0, 4096)
        check_number('alignment.search_deg', self.search_deg, 0, 180)
        check_number('alignment.search_scale', self.search_scale, 0, 0.3)
        check_number('alignment.min_confidence', self.min_confidence, 0, 1)
        check_choice('alignment.if_not_found', self.if_not_found, _IF_NOT_FOUND)

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

        The usual `if_not_found` is left out: models that were trained before it came keep their
        fingerprint.

        """
        mapping = asdict(self)
        if self.if_not_found == 'reject':
            del mapping['if_not_found']
        return mapping


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
    is_found : bool
        False for a part that was not found surely, and is judged nevertheless.

    """

    x_px: float
    y_px: float
    angle_rad: float
    scale: float
    confidence: float
    is_found: bool = True

    @property
    def is_still(self) -> bool:
        """
        Tell whether the part lies as the reference does.

        """
        return (self.x_px, self.y_px, self.angle_rad, self.scale) == (0.0, 0.0, 0.0, 1.0)

    def to_frame(self, region: RegionOfInterest) -> NDArray[np.float64]:
        """
        Give the (2, 3) map from pixels of the aligned region of interest to pixels of the frame.

        """
        turn = cmath.rect(self.scale, -self.angle_rad)
        origin = complex(region.x, region.y)
        shift = region.center + complex(self.x_px, self.y_px) + turn * (origin - region.center)
        return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def _coarse_factor(long_side: float, short_side: int) -> int:
    """
    Give by how much the coarsest level is smaller than the finest one.

    """
    strip = min(short_side // _NARROWEST_STRIP_PX, round(long_side / _LONGEST_STRIP_PX))
    usual = round(long_side / _COARSE_SIDE_PX)
    return max(1, min(usual, max(short_side // _COARSE_WIDTH_PX, strip)))


class _Found(NamedTuple):
    pose: Pose
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
        When the reference has too few edges to be aligned on, or the search is so wide, for so
        long a region, that it would take too much memory.

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
        coarse = _coarse_factor(long_side / fine, short_side // fine)
        middle = round(math.sqrt(coarse))
        self._fine_factor = fine
        self._window = self._search_window(reference.shape, region)
        self._factors = sorted({coarse, middle, 1}, reverse=True)
        pyramid = self._pyramid(reference)
        self._middle_px = np.array([region.width - 1, region.height - 1], np.float32) / 2
        middle_of_part = region.center - complex(self._window[1].start, self._window[0].start)
        self._models = [
            EdgeModel(image, fine * factor, middle_of_part, region, self._unknowns)
            for image, factor in zip(pyramid, self._factors, strict=True)
        ]
        if not self._models[-1].is_usable:
            raise AlignmentError(
                f'the reference has fewer than {FEWEST_POINTS} edge pixels to be aligned on'
            )
        self._coarse = CoarseSearch(
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
        Give the convex hull of the edges that the alignment uses, (n, 2), x and y in the region.

        The outermost few in every direction do not count, because some of them may be of the belt.

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
            When the part is not found, not surely enough, or outside of the search range, and the
            settings reject it then; says the numbers.

        """
        return self.poses(frame)[0]

    def poses(self, frame: NDArray[np.uint8]) -> tuple[Alignment, ...]:
        """
        Find the part, and say in which ways it may lie.

        Returns
        -------
        tuple of Alignment
            What `align` gives. For a part that is not found, and judged nevertheless, also its
            likeliest pose when that lies within the search range.

        Raises
        ------
        AlignmentError
            As `align`.

        """
        pose, agreement, least, _ = self._find(frame)
        confidence = min(agreement, least)
        angle = -cmath.phase(pose.turn)
        x_px, y_px = pose.shift.real, pose.shift.imag
        alignment = Alignment(x_px, y_px, angle, abs(pose.turn), confidence)
        excess = self._excess(alignment)
        settings = self._settings
        is_sure = confidence >= settings.min_confidence
        if is_sure and not excess:
            return (alignment,)
        if settings.if_not_found == 'reject':
            raise AlignmentError(
                excess
                if is_sure
                else f'part not found: confidence {confidence:.2f}, '
                f'wanted at least {settings.min_confidence:.2f}'
            )
        still = Alignment(0.0, 0.0, 0.0, 1.0, confidence, is_found=False)
        return (still,) if excess else (still, replace(alignment, is_found=False))

    def _find(self, frame: NDArray[np.uint8]) -> _Found:
        pyramid = self._pyramid(frame)
        bands = [band_pass(level) for level in pyramid]
        levels = list(zip(self._models, bands, strict=True))
        below = [level for level in levels[:-1] if level[0].is_usable] or levels[-1:]
        # The candidates compete below the finest level: that is cheap, and shows enough.
        found = []
        for _, start in self._coarse.candidates(pyramid[0]):
            pose = start
            for model, band in below:
                pose = model.refine(band, pose)
            model, band = below[-1]
            found.append(Candidate(model.agreement(band, pose), pose))
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
            pose = fine.refine(band, Pose(held, pose.shift), unknowns=2)
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

    def _excess(self, alignment: Alignment) -> str:
        """
        Say how a pose lies outside of the search range; '' when it does not.

        """
        settings = self._settings
        if (
            max(abs(alignment.x_px), abs(alignment.y_px)) <= settings.search_px + _SLACK_PX
            and abs(alignment.angle_rad) <= self._search_rad + _SLACK_RAD
            and abs(alignment.scale - 1) <= self._search_scale + _SLACK_SCALE
        ):
            return ''
        return (
            f'part lies outside of the search range: shifted by {alignment.x_px:.1f}, '
            f'{alignment.y_px:.1f} px, turned by {math.degrees(alignment.angle_rad):.1f} degrees, '
            f'scale {alignment.scale:.3f}; allowed: {settings.search_px} px, '
            f'{math.degrees(self._search_rad):.1f} degrees, 1 +- {self._search_scale}'
        )

    def _search_window(
        self, shape: tuple[int, ...], region: RegionOfInterest
    ) -> tuple[slice, slice]:
        half_width, half_height = rotated_half_sides(
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
        fine = shrunk(frame[self._window], self._fine_factor).astype(np.float32)
        return [shrunk(fine, factor) for factor in self._factors]
