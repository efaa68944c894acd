# SPDX-License-Identifier: Apache-2.0
"""
Score a frame: one preprocessing, all scorers, regions; every failure becomes a status.

"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
import math
from typing import TYPE_CHECKING

import numpy as np

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.image_decoding import MOST_PIXELS
from anomaly_inspection.imaging.preprocessing import map_to_frame
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.region import find_regions
from anomaly_inspection.scoring.scorer import RunsNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anomaly_inspection.imaging.alignment import Alignment
    from anomaly_inspection.imaging.preprocessing import Prepared, Preprocessor
    from anomaly_inspection.imaging.tolerance import Tolerance
    from anomaly_inspection.scoring.region import Region
    from anomaly_inspection.scoring.scorer import Scorer

REGION_MEASURES = (
    MeasureSpec(
        'largest_region',
        'px',
        BadSide.HIGH,
        'Area of the largest region over the region limit, in frame pixels; 0 when there is none.',
        largest_limit=MOST_PIXELS,
        is_area=True,
    ),
)

# Models from elsewhere give maps on scales of their own.
LARGEST_REGION_LIMIT = 1e9


class ScoreStatus(IntEnum):
    """
    Whether a frame could be scored; the values are those of Score.msg.

    """

    UNKNOWN = 0
    OK = 1
    FRAME_INVALID = 2
    NOT_ALIGNED = 3
    SCORER_FAILED = 4


@dataclass(frozen=True)
class RegionSettings:
    """
    What makes a region.

    Parameters
    ----------
    limit : float
        Map value above which a pixel belongs to a region, unit of the map; -1e9 to 1e9.
    min_area_px : int
        Smaller regions do not count, frame pixels, >= 1.

    """

    limit: float
    min_area_px: int

    def __post_init__(self) -> None:
        """
        Refuse values that no map can be judged by.

        """
        if not abs(self.limit) <= LARGEST_REGION_LIMIT:
            raise SettingError(
                f'region limit is {self.limit:g}; allowed: {-LARGEST_REGION_LIMIT:g} to '
                f'{LARGEST_REGION_LIMIT:g}'
            )
        if self.min_area_px < 1:
            raise SettingError(f'region min_area_px is {self.min_area_px}; allowed: 1 and more')


@dataclass(frozen=True, eq=False)
class ScorerResult:
    """
    What one scorer found in one frame.

    Parameters
    ----------
    scorer : str
        Its name.
    status : ScoreStatus
        Unless OK, there are no measures and no regions.
    detail : str
        One sentence with the numbers when the status is not OK; else how far the part lies beyond
        the tolerance, '' when it does not.
    measures : dict of str to float
        One value for each of `FrameScorer.measures(scorer)`.
    part_class : str
        The taught class that the part looks most like; '' for scorers that know no classes.
    regions : tuple of Region
        In frame pixels, sorted by peak, highest first.
    alignment : Alignment or None
        How the part lay; None when not aligned or not asked for.
    region_limit : float
        Map value above which a pixel belongs to a region, unit of the map.
    prepared_map : ndarray of float32, (h, w), or None
        The anomaly map in prepared pixels; see `map_in_frame`.
    to_frame : ndarray of float64, (2, 3), or None
        From prepared pixels to frame pixels.
    frame_size : (int, int)
        Width and height of the frame, px.

    """

    scorer: str
    status: ScoreStatus
    detail: str
    region_limit: float
    measures: dict[str, float] = field(default_factory=dict)
    part_class: str = ''
    regions: tuple[Region, ...] = ()
    alignment: Alignment | None = None
    prepared_map: NDArray[np.float32] | None = None
    to_frame: NDArray[np.float64] | None = None
    frame_size: tuple[int, int] = (0, 0)

    def map_in_frame(self) -> NDArray[np.float32] | None:
        """
        Give the anomaly map in the pixels of the frame; 0 where nothing was judged.

        Returns
        -------
        ndarray of float32, (H, W), or None
            None unless the status is OK. Computed at each call: only who shows it pays for it.

        """
        if self.prepared_map is None or self.to_frame is None:
            return None
        return map_to_frame(self.prepared_map, self.to_frame, self.frame_size)

    def places_on_reference(
        self, regions: Sequence[Region], corner: tuple[int, int]
    ) -> list[tuple[float, float]]:
        """
        Say where regions lie on the part as it was taught.

        Parameters
        ----------
        regions : sequence of Region
            In frame pixels.
        corner : (int, int)
            Left upper pixel of the region of interest.

        Returns
        -------
        list of (float, float)
            Middle of each box, x and y in pixels of the reference; NaN when there is no map.

        """
        if not regions:
            return []
        if self.to_frame is None:
            return [(math.nan, math.nan)] * len(regions)
        middles = np.array(
            [
                [(region.x_min + region.x_max - 1) / 2, (region.y_min + region.y_max - 1) / 2]
                for region in regions
            ]
        )
        turn, shift = self.to_frame[:, :2], self.to_frame[:, 2]
        places = np.linalg.solve(turn, (middles - shift).T).T + corner
        return [(float(x_px), float(y_px)) for x_px, y_px in places]


class FrameScorer:
    """
    All scorers of a recipe on one preprocessing. Several threads may score frames at once.

    Parameters
    ----------
    preprocessor : Preprocessor
        Runs once for each frame.
    scorers : mapping of str to (Scorer, RegionSettings)
        By name, in the order of the scores.
    tolerance : Tolerance, optional
        How far parts may lie; a part that lies beyond it is scored, with a word about it.

    """

    def __init__(
        self,
        preprocessor: Preprocessor,
        scorers: Mapping[str, tuple[Scorer, RegionSettings]],
        tolerance: Tolerance | None = None,
    ) -> None:
        if not scorers:
            raise SettingError('a frame scorer needs at least one scorer')
        self._preprocessor = preprocessor
        self._scorers = dict(scorers)
        self._tolerance = tolerance

    @property
    def scorer_names(self) -> tuple[str, ...]:
        """
        Give the names of the scorers, in the order of the scores.

        """
        return tuple(self._scorers)

    def measures(self, scorer_name: str) -> tuple[MeasureSpec, ...]:
        """
        Give all measures that a scorer reports: its own and those of its regions.

        """
        if scorer_name not in self._scorers:
            raise SettingError(
                f'there is no scorer {scorer_name!r} here; there are: {", ".join(self._scorers)}'
            )
        return self._scorers[scorer_name][0].measures + REGION_MEASURES

    def allow_threads(self, count: int) -> None:
        """
        Prepare for so many threads that score at once; without this they wait for each other in
        scorers that run a network.

        """
        for scorer, _ in self._scorers.values():
            if isinstance(scorer, RunsNetwork):
                scorer.allow_threads(count)

    def score(self, image: NDArray[np.uint8]) -> list[ScorerResult]:
        """
        Score one frame with every scorer.

        Parameters
        ----------
        image : ndarray of uint8
            A frame as the camera gives it.

        Returns
        -------
        list of ScorerResult
            One for each scorer, always. Nothing is raised: a frame that cannot be judged, or a
            scorer that fails, says so in its status.

        """
        try:
            ways = self._preprocessor.prepare_ways(image)
        except Exception as error:  # noqa: BLE001  whatever fails here must reject the part
            status, detail = _failure(error)
            return [
                ScorerResult(name, status, detail, regions.limit)
                for name, (_, regions) in self._scorers.items()
            ]
        scores = [
            [self._score_with(name, prepared, image) for name in self._scorers]
            for prepared in ways
        ]
        return min(scores, key=self._badness)

    def _badness(self, scores: Sequence[ScorerResult]) -> float:
        """
        Tell how bad a part looks by the first measure of the first scorer.

        """
        first = scores[0]
        if first.status is not ScoreStatus.OK:
            return math.inf
        spec = self._scorers[first.scorer][0].measures[0]
        value = first.measures[spec.name]
        return value if spec.bad_side is BadSide.HIGH else -value

    def _score_with(self, name: str, prepared: Prepared, image: NDArray[np.uint8]) -> ScorerResult:
        scorer, settings = self._scorers[name]
        frame_size = (image.shape[1], image.shape[0])
        try:
            output = scorer.score(prepared)
            expected = {measure.name for measure in scorer.measures}
            if set(output.measures) != expected:
                raise ValueError(f'measures are {sorted(output.measures)}, not {sorted(expected)}')
            regions = find_regions(
                output.anomaly_map,
                settings.limit,
                settings.min_area_px,
                prepared.to_frame,
                frame_size,
            )
        except Exception as error:  # noqa: BLE001  one scorer's bug must not take the others down
            status, detail = _failure(error)
            return ScorerResult(name, status, detail, settings.limit, alignment=prepared.alignment)
        largest = max((region.area_px for region in regions), default=0)
        return ScorerResult(
            scorer=name,
            status=ScoreStatus.OK,
            detail=self._excess(prepared),
            region_limit=settings.limit,
            measures={**output.measures, 'largest_region': float(largest)},
            part_class=output.part_class,
            regions=regions,
            alignment=prepared.alignment,
            prepared_map=output.anomaly_map,
            to_frame=prepared.to_frame,
            frame_size=frame_size,
        )

    def _excess(self, prepared: Prepared) -> str:
        alignment = prepared.alignment
        if alignment is None:
            return ''
        if not alignment.is_found:
            how = 'as it lies' if alignment.is_still else 'where it seems to lie'
            return f'part not found, confidence {alignment.confidence:.2f}; judged {how}'
        return '' if self._tolerance is None else self._tolerance.excess(alignment)


def combined_map(scores: Sequence[ScorerResult]) -> NDArray[np.float32] | None:
    """
    Give the highest of the scorers' maps, each in units of its region limit, in frame pixels.

    Returns
    -------
    ndarray of float32, (H, W), or None
        Above 1 where some scorer's map exceeds its region limit; None when none has a map.

    """
    maps = [
        frame_map / np.float32(score.region_limit)
        for score in scores
        if (frame_map := score.map_in_frame()) is not None
    ]
    return np.maximum.reduce(maps) if maps else None


def _failure(error: Exception) -> tuple[ScoreStatus, str]:
    """
    Give the status and the sentence for an error.

    """
    if isinstance(error, FrameError):
        return ScoreStatus.FRAME_INVALID, str(error)
    if isinstance(error, AlignmentError):
        return ScoreStatus.NOT_ALIGNED, str(error)
    return ScoreStatus.SCORER_FAILED, f'{type(error).__name__}: {error}'
