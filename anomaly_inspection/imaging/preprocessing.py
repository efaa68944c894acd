# SPDX-License-Identifier: Apache-2.0
"""
From a camera frame to the image that scorers see: the same way for teaching and scoring.

"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
import hashlib
import json
import math
from typing import Any, NamedTuple, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.alignment import Aligner, Alignment, AlignmentSettings
from anomaly_inspection.imaging.colour_highlight import ColourHighlight
from anomaly_inspection.imaging.filters import Filter, filter_from_mapping, filter_to_mapping
from anomaly_inspection.imaging.frame_check import check_frame
from anomaly_inspection.imaging.frame_fit import fit_frame
from anomaly_inspection.imaging.light import AS_TAUGHT, Light, LightMeter, LIGHTS
from anomaly_inspection.imaging.net_input import resized, then_resized
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.setting_check import check_choice, check_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anomaly_inspection.imaging.frame_check import FrameFormat

COLOURS = ('gray', 'bgr')

# Fraction bits of the corners given to OpenCV.
_OUTLINE_BITS = 8
# Of a part that is judged at a pose that is a guess.
_LEAST_SHOWN = 0.9
# Side of the square whose area an unaligned picture has at most: it is for those who look at the
# part as a whole.
_UNALIGNED_SIDE_PX = 256


class Picture(NamedTuple):
    """
    A picture of the region of interest that is not aligned.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) gray or (h, w, 3) BGR
        May be smaller than the prepared image.
    from_prepared : ndarray of float64, (2, 3)
        Affine map from prepared pixel coordinates to those of this image.

    """

    image: NDArray[np.uint8]
    from_prepared: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prepared:
    """
    A frame made ready for scoring, in the coordinates of the recipe's reference.

    Parameters
    ----------
    image : ndarray of uint8, (h, w) gray or (h, w, 3) BGR
        Region of interest, filtered, aligned, light-normalised.
    valid : ndarray of bool, (h, w)
        False where the aligned image has no pixels of the frame (border brought in by the
        alignment).
    to_frame : ndarray of float64, (2, 3)
        Affine map from prepared pixel coordinates (x, y) to frame pixel coordinates (pixel centres
        at integers).
    alignment : Alignment or None
        How the part lay; None when the recipe asks for no alignment.
    light : Light
        How the light differed from the reference's, and was brought back.
    part_class : str
        Of a good part to teach with, the class it was given; '' when none, and in scoring.
    unlit : ndarray of uint8, or None
        The image before its light was brought back; None when nothing was to be brought back.
    unaligned : Picture or None
        See `as_it_lies`; None when it is `as_seen`.

    """

    image: NDArray[np.uint8]
    valid: NDArray[np.bool_]
    to_frame: NDArray[np.float64]
    alignment: Alignment | None
    light: Light = AS_TAUGHT
    part_class: str = ''
    unlit: NDArray[np.uint8] | None = None
    unaligned: Picture | None = None

    @property
    def as_seen(self) -> NDArray[np.uint8]:
        """
        Give the image in the light that the camera saw.

        """
        return self.image if self.unlit is None else self.unlit

    @property
    def as_it_lies(self) -> Picture:
        """
        The region of interest in the light of the camera, filtered, and not aligned.

        """
        return self.unaligned or Picture(self.as_seen, np.eye(2, 3))


@dataclass(frozen=True)
class PreprocessingSettings:
    """
    What is done to every frame of a recipe before it is scored.

    Parameters
    ----------
    region_of_interest : RegionOfInterest or None
        What is inspected; None = the whole frame.
    colour : str
        'gray' or 'bgr'.
    light : str
        'none', 'gain' or 'gain_offset'; see `LightMeter`.
    filters : tuple of Filter
        Applied in order, at most eight.
    alignment : AlignmentSettings
        How the part may lie.

    Raises
    ------
    SettingError
        When a value is out of range.

    """

    region_of_interest: RegionOfInterest | None = None
    colour: str = 'gray'
    light: str = 'gain'
    filters: tuple[Filter, ...] = ()
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)

    def __post_init__(self) -> None:
        check_choice('colour', self.colour, COLOURS)
        check_choice('light', self.light, LIGHTS)
        if len(self.filters) > 8:
            raise SettingError(f'filters holds {len(self.filters)} filters; allowed: at most 8')

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> PreprocessingSettings:
        """
        Make the settings from a mapping, as a recipe holds it; what is left out keeps its default.

        Raises
        ------
        SettingError
            Unknown key, or a value out of range; names key, value and what is allowed.

        """
        _check_mapping('preprocessing', mapping)
        check_keys('preprocessing', mapping, [item.name for item in fields(cls)])
        values = dict(mapping)
        region = mapping.get('region_of_interest')
        if region is not None:
            _check_mapping('region_of_interest', region)
            names = [item.name for item in fields(RegionOfInterest)]
            check_keys('region_of_interest', region, names)
            missing = [name for name in names if name not in region]
            if missing:
                raise SettingError(
                    f'region_of_interest lacks {missing[0]!r}; it needs {", ".join(names)}'
                )
            values['region_of_interest'] = RegionOfInterest(**region)
        if 'filters' in mapping:
            if not isinstance(mapping['filters'], (list, tuple)):
                raise SettingError(
                    f'filters is {mapping["filters"]!r}; allowed: a list of filters'
                )
            values['filters'] = tuple(filter_from_mapping(item) for item in mapping['filters'])
        if 'alignment' in mapping:
            _check_mapping('alignment', mapping['alignment'])
            values['alignment'] = AlignmentSettings.from_mapping(mapping['alignment'])
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """
        Give the mapping of plain values that `from_mapping` reads.

        """
        region = self.region_of_interest
        return {
            'region_of_interest': None if region is None else asdict(region),
            'colour': self.colour,
            'light': self.light,
            'filters': [filter_to_mapping(item) for item in self.filters],
            'alignment': self.alignment.to_mapping(),
        }

    def fingerprint(self) -> str:
        """
        Give the SHA-256 of the settings, 64 hex digits, the same in every process.

        """
        text = json.dumps(_plain(self.to_mapping()), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class Preprocessor:
    """
    Prepares the frames of one recipe. Several threads may prepare frames at once.

    Parameters
    ----------
    settings : PreprocessingSettings
        What is done.
    frame_format : FrameFormat
        What every frame must be, or is scaled to.
    reference : ndarray of uint8
        Frame of a good part, of the shape of the format: what frames are aligned to, and the light
        they are brought to.
    good_frames : sequence of ndarray of uint8
        Frames of other good parts; see `Aligner`. The same ones must be given wherever the recipe
        is used.
    gives_unaligned : bool
        Give `Prepared.as_it_lies` as well. False saves its time where no scorer looks at it.

    Raises
    ------
    SettingError
        When the settings do not fit the frame format.
    FrameError
        When the reference cannot be judged.
    AlignmentError
        When the reference has too few edges to be aligned on.

    """

    def __init__(
        self,
        settings: PreprocessingSettings,
        frame_format: FrameFormat,
        reference: NDArray[np.uint8],
        good_frames: Sequence[NDArray[np.uint8]] = (),
        *,
        gives_unaligned: bool = True,
    ) -> None:
        if settings.colour == 'bgr' and frame_format.encoding == 'mono8':
            raise SettingError('colour is bgr, but frames are mono8; allowed: gray')
        self._highlights = any(isinstance(item, ColourHighlight) for item in settings.filters)
        if self._highlights and frame_format.encoding == 'mono8':
            raise SettingError(
                f'filters holds {ColourHighlight.kind}, but frames are mono8, which have no '
                'colours; allowed: bgr8'
            )
        self._region = settings.region_of_interest or RegionOfInterest.whole(frame_format)
        self._region.check_inside(frame_format)
        check_frame(reference, frame_format)
        self._settings = settings
        self._format = frame_format
        self._reach_px = sum(item.radius_px for item in settings.filters) + 2
        # Linear takes a third of the time, but smooths fine texture by a different amount at every
        # sub-pixel shift. A smoothing filter leaves no such texture.
        is_smooth = any(item.radius_px > 0 for item in settings.filters)
        self._interpolation = cv2.INTER_LINEAR if is_smooth else cv2.INTER_CUBIC
        right, bottom = self._region.width - 1, self._region.height - 1
        self._corners = np.array([[0, right, 0, right], [0, 0, bottom, bottom], [1, 1, 1, 1]])
        self._all_valid = np.ones((self._region.height, self._region.width), np.bool_)
        self._all_valid.flags.writeable = False
        self._still = Alignment(0.0, 0.0, 0.0, 1.0, 1.0)
        self._gives_unaligned = gives_unaligned and settings.alignment.kind != 'none'
        self._aligner = None
        if settings.alignment.kind != 'none':
            for frame in good_frames:
                check_frame(frame, frame_format)
            self._aligner = Aligner(
                settings.alignment,
                _gray(reference),
                self._region,
                [_gray(frame) for frame in good_frames],
            )
        image, _, _ = self._lay(self._scored(reference, _gray(reference)), self._still)
        self._part = self._outlined()
        self._light_meter = LightMeter(settings.light, image, self._part)

    @property
    def settings(self) -> PreprocessingSettings:
        """
        What is done to every frame.

        """
        return self._settings

    @property
    def frame_format(self) -> FrameFormat:
        """
        What every frame must be.

        """
        return self._format

    @property
    def part_outline(self) -> NDArray[np.float32] | None:
        """
        Where the part is in the region of interest, as corners (n, 2); None without alignment.

        """
        return None if self._aligner is None else self._aligner.outline

    def prepare(self, image: NDArray[np.uint8]) -> Prepared:
        """
        Prepare one frame.

        Parameters
        ----------
        image : ndarray of uint8, (H, W) or (H, W, 3)
            The frame as the camera gives it.

        Raises
        ------
        FrameError
            When the frame cannot be judged.
        AlignmentError
            When the part is not surely found within the search range.

        """
        return next(self._ways(image))

    def prepare_ways(self, image: NDArray[np.uint8]) -> list[Prepared]:
        """
        Prepare one frame in each way that its part may lie.

        Returns
        -------
        list of Prepared
            First what `prepare` gives. A part that was not surely found, and is judged
            nevertheless, may have a second one, at its likeliest pose; but not where that pose
            has more than a tenth of the part outside of the frame, which would hide defects.

        Raises
        ------
        FrameError, AlignmentError
            As `prepare`.

        """
        return list(self._ways(image))

    def _ways(self, image: NDArray[np.uint8]) -> Iterator[Prepared]:
        check_frame(image, self._format)
        fitted, to_original = fit_frame(image, self._format)
        gray = _gray(fitted)
        alignments = (None,) if self._aligner is None else self._aligner.poses(gray)
        scored = self._scored(fitted, gray)
        unaligned = self._unaligned(scored) if self._gives_unaligned else None
        for alignment in alignments:
            prepared, valid, to_frame = self._lay(scored, alignment or self._still)
            picture = None
            if unaligned is not None:
                picture = Picture(unaligned, self._into_unaligned(to_frame, unaligned))
            is_guess = alignment is not None and not (alignment.is_found or alignment.is_still)
            if is_guess and self._shown(valid) < _LEAST_SHOWN:
                continue
            if fitted.shape[:2] != image.shape[:2]:
                to_frame = to_original @ np.vstack([to_frame, [0.0, 0.0, 1.0]])
            light = self._light_meter.measure(prepared, valid)
            yield Prepared(
                light.remove(prepared),
                valid,
                to_frame,
                alignment,
                light,
                unlit=None if light == AS_TAUGHT else prepared,
                unaligned=picture,
            )

    def _unaligned(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        laid, _, _ = self._lay(image, self._still)
        height, width = laid.shape[:2]
        scale = min(1.0, _UNALIGNED_SIDE_PX / math.sqrt(height * width))
        size_px = max(1, round(scale * width)), max(1, round(scale * height))
        return np.asarray(resized(laid, size_px), np.uint8)

    def _into_unaligned(
        self, to_frame: NDArray[np.float64], unaligned: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        """
        Give the affine map from prepared pixels to those of the unaligned picture.

        """
        region = self._region
        into_region = to_frame - [[0.0, 0.0, region.x], [0.0, 0.0, region.y]]
        height, width = unaligned.shape[:2]
        return then_resized(into_region, (region.width, region.height), (width, height))

    def _shown(self, valid: NDArray[np.bool_]) -> float:
        """
        Give the share of the part that lies inside of the frame.

        """
        return float((valid if self._part is None else valid[self._part]).mean())

    def _outlined(self) -> NDArray[np.bool_] | None:
        """
        Tell where the part is: inside of the edges that the alignment uses.

        """
        if self._aligner is None:
            return None
        inside = np.zeros(self._all_valid.shape, np.uint8)
        cv2.fillConvexPoly(inside, np.rint(self._aligner.outline).astype(np.int32), 1)
        return inside.view(np.bool_)

    def _scored(self, image: NDArray[np.uint8], gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image if self._settings.colour == 'bgr' or self._highlights else gray

    def _lay(
        self, image: NDArray[np.uint8], alignment: Alignment
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]:
        to_frame = alignment.to_frame(self._region)
        left, top, right, bottom = self._reached(to_frame)
        seen = np.ascontiguousarray(image[top:bottom, left:right])
        # Before the part is rotated: noise belongs to the camera's pixels.
        for image_filter in self._settings.filters:
            seen = image_filter.apply(seen)
        if self._settings.colour == 'gray':
            seen = _gray(seen)
        region = self._region
        if alignment is self._still:
            rows = slice(region.y - top, region.y - top + region.height)
            columns = slice(region.x - left, region.x - left + region.width)
            return np.ascontiguousarray(seen[rows, columns]), self._all_valid, to_frame
        laid = cv2.warpAffine(
            seen,
            to_frame - [[0, 0, left], [0, 0, top]],
            (region.width, region.height),
            flags=self._interpolation | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(laid, np.uint8), self._valid(to_frame), to_frame

    def _reached(self, to_frame: NDArray[np.float64]) -> tuple[int, int, int, int]:
        """
        Give left, top, right, bottom (half-open) of the pixels that filters and warp read.

        """
        corners = to_frame @ self._corners
        low = np.floor(corners.min(axis=1)).astype(int) - self._reach_px
        high = np.ceil(corners.max(axis=1)).astype(int) + self._reach_px + 1
        size = self._format.width, self._format.height
        left, top = (int(value) for value in np.clip(low, 0, np.subtract(size, 1)))
        right, bottom = (int(value) for value in np.clip(high, (left + 1, top + 1), size))
        return left, top, right, bottom

    def _valid(self, to_frame: NDArray[np.float64]) -> NDArray[np.bool_]:
        last = np.array([[self._format.width - 1], [self._format.height - 1]])
        reached = to_frame @ self._corners
        if ((reached >= -0.5) & (reached <= last + 0.5)).all():
            return self._all_valid
        # The outline of the warped frame takes a tenth of the time of warping a mask.
        outline = np.vstack([np.array([[0, 1, 1, 0], [0, 0, 1, 1]]) * last, np.ones(4)])
        laid = np.asarray(cv2.invertAffineTransform(to_frame), np.float64) @ outline
        corners = np.rint(laid.T * 2**_OUTLINE_BITS).astype(np.int32)
        seen = np.zeros(self._all_valid.shape, np.uint8)
        cv2.fillConvexPoly(seen, corners, (1,), shift=_OUTLINE_BITS)
        return seen.view(np.bool_)


def map_to_frame(
    anomaly_map: NDArray[np.float32], to_frame: NDArray[np.float64], frame_size: tuple[int, int]
) -> NDArray[np.float32]:
    """
    Bring a map from prepared coordinates to the pixels of the frame; 0 where it does not reach.

    Parameters
    ----------
    anomaly_map : ndarray of float32, (h, w)
        In the coordinates of the reference.
    to_frame : ndarray of float64, (2, 3)
        As in `Prepared`.
    frame_size : tuple of int
        Width and height of the frame.

    """
    return np.asarray(cv2.warpAffine(anomaly_map, to_frame, frame_size), np.float32)


def _gray(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.ndim == 2:
        return np.ascontiguousarray(image)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _check_mapping(key: str, value: object) -> None:
    if not isinstance(value, Mapping):
        raise SettingError(f'{key} is {value!r}; allowed: a mapping')


def _plain(value: Any) -> Any:
    """
    Make numbers that compare equal (1 and 1.0) the same text.

    """
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
