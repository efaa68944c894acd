# SPDX-License-Identifier: Apache-2.0
"""
Scoring a frame: one preprocessing, all scorers; what goes wrong becomes a status.

"""

from __future__ import annotations

import re

import numpy as np
import pytest

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.alignment import Alignment
from anomaly_inspection.imaging.preprocessing import Prepared
from anomaly_inspection.scoring.frame_scorer import FrameScorer, RegionSettings, ScoreStatus
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.registry import scorer_class, SCORERS
from anomaly_inspection.scoring.scorer import ScorerOutput
from support.paths import ROOT

ALIGNMENT = Alignment(x_px=3.0, y_px=-2.0, angle_rad=0.0, scale=1.0, confidence=0.9)
SETTINGS = RegionSettings(limit=1.0, min_area_px=3)


class ShiftingPreprocessor:
    """
    Cuts a 40x30 region out of the frame at (20, 10) and counts its calls.

    """

    def __init__(self, error=None):
        self.calls = 0
        self.error = error

    def prepare_ways(self, image):
        self.calls += 1
        if self.error is not None:
            raise self.error
        region = np.ascontiguousarray(image[10:40, 20:60])
        to_frame = np.array([[1.0, 0, 20], [0, 1, 10]])
        return [Prepared(region, np.ones(region.shape, np.bool_), to_frame, ALIGNMENT)]


class BrightnessScorer:
    """
    Says how bright the image is; the map is the image itself.

    """

    name = 'brightness'
    measures = (MeasureSpec('mean_level', 'gray_level', BadSide.HIGH, 'Mean gray level.'),)

    def score(self, prepared):
        return ScorerOutput(
            {'mean_level': float(prepared.image.mean())}, prepared.image.astype(np.float32)
        )


class BrokenScorer(BrightnessScorer):
    """
    Does what it is told instead of scoring.

    """

    name = 'broken'

    def __init__(self, misdeed):
        self.misdeed = misdeed

    def score(self, prepared):
        return self.misdeed(prepared)


def raising(error):
    def misdeed(_):
        raise error

    return misdeed


def frame_with_spot():
    frame = np.zeros((60, 80), np.uint8)
    frame[15:17, 30:34] = 9
    frame[30, 50] = 200
    return frame


def test_scores_measures_regions_and_alignment():
    scorer = FrameScorer(ShiftingPreprocessor(), {'brightness': (BrightnessScorer(), SETTINGS)})
    (score,) = scorer.score(frame_with_spot())
    assert score.scorer == 'brightness'
    assert score.status is ScoreStatus.OK
    assert score.detail == ''
    assert score.alignment is ALIGNMENT
    assert score.region_limit == 1.0
    (region,) = score.regions
    assert (region.x_min, region.y_min, region.x_max, region.y_max) == (30, 15, 34, 17)
    assert score.measures == {
        'mean_level': pytest.approx((8 * 9 + 200) / 1200),
        'largest_region': 8.0,
    }


def test_no_region_is_zero_not_nothing():
    scorer = FrameScorer(ShiftingPreprocessor(), {'brightness': (BrightnessScorer(), SETTINGS)})
    (score,) = scorer.score(np.zeros((60, 80), np.uint8))
    assert score.regions == ()
    assert score.measures['largest_region'] == 0.0


def test_the_largest_region_is_not_the_one_of_the_highest_peak():
    frame = frame_with_spot()
    frame[30, 45:51] = 200
    scorer = FrameScorer(ShiftingPreprocessor(), {'brightness': (BrightnessScorer(), SETTINGS)})
    (score,) = scorer.score(frame)
    assert [region.area_px for region in score.regions] == [6, 8]
    assert score.measures['largest_region'] == 8.0


def test_every_measure_of_a_score_is_declared():
    scorer = FrameScorer(ShiftingPreprocessor(), {'brightness': (BrightnessScorer(), SETTINGS)})
    (score,) = scorer.score(frame_with_spot())
    declared = [measure.name for measure in scorer.measures('brightness')]
    assert list(score.measures) == declared == ['mean_level', 'largest_region']
    with pytest.raises(SettingError, match="no scorer 'ssim' here; there are: brightness"):
        scorer.measures('ssim')


def test_the_map_lies_in_the_pixels_of_the_frame():
    frame = frame_with_spot()
    scorer = FrameScorer(ShiftingPreprocessor(), {'brightness': (BrightnessScorer(), SETTINGS)})
    (score,) = scorer.score(frame)
    in_frame = score.map_in_frame()
    assert in_frame.dtype == np.float32
    np.testing.assert_allclose(in_frame, frame)


def test_one_preprocessing_for_all_scorers():
    preprocessor = ShiftingPreprocessor()
    scorer = FrameScorer(
        preprocessor,
        {name: (BrightnessScorer(), SETTINGS) for name in ('one', 'two', 'three')},
    )
    assert [score.scorer for score in scorer.score(frame_with_spot())] == ['one', 'two', 'three']
    assert preprocessor.calls == 1


@pytest.mark.parametrize(
    ('error', 'status', 'detail'),
    [
        (FrameError('the frame is black'), ScoreStatus.FRAME_INVALID, 'the frame is black'),
        (AlignmentError('0.2 sure'), ScoreStatus.NOT_ALIGNED, '0.2 sure'),
        (IndexError('4'), ScoreStatus.SCORER_FAILED, 'IndexError: 4'),
    ],
)
def test_a_frame_that_cannot_be_prepared_is_a_status_of_every_scorer(error, status, detail):
    scorer = FrameScorer(
        ShiftingPreprocessor(error),
        {name: (BrightnessScorer(), SETTINGS) for name in ('one', 'two')},
    )
    scores = scorer.score(frame_with_spot())
    assert [score.scorer for score in scores] == ['one', 'two']
    for score in scores:
        assert (score.status, score.detail) == (status, detail)
        assert score.measures == {}
        assert score.regions == ()
        assert score.alignment is None
        assert score.map_in_frame() is None


@pytest.mark.parametrize(
    ('misdeed', 'status', 'detail'),
    [
        (raising(FrameError('40x30, not 41x30')), ScoreStatus.FRAME_INVALID, '40x30, not 41x30'),
        (raising(ZeroDivisionError('x')), ScoreStatus.SCORER_FAILED, 'ZeroDivisionError: x'),
        (lambda _: None, ScoreStatus.SCORER_FAILED, 'AttributeError'),
        (
            lambda prepared: ScorerOutput({'mean_level': 1.0}, prepared.image * np.float32('nan')),
            ScoreStatus.SCORER_FAILED,
            'NaN',
        ),
        (
            lambda prepared: ScorerOutput({'other': 1.0}, prepared.image.astype(np.float32)),
            ScoreStatus.SCORER_FAILED,
            "['other'], not ['mean_level']",
        ),
    ],
    ids=['frame error', 'exception', 'no output', 'NaN map', 'other measures'],
)
def test_a_scorer_that_fails_takes_no_other_down(misdeed, status, detail):
    scorer = FrameScorer(
        ShiftingPreprocessor(),
        {
            'broken': (BrokenScorer(misdeed), SETTINGS),
            'brightness': (BrightnessScorer(), SETTINGS),
        },
    )
    broken, fine = scorer.score(frame_with_spot())
    assert broken.status is status
    assert detail in broken.detail
    assert broken.measures == {}
    assert broken.regions == ()
    assert broken.map_in_frame() is None
    assert fine.status is ScoreStatus.OK


@pytest.mark.parametrize('limit', [float('nan'), float('inf')])
def test_region_settings_without_sense_are_refused(limit):
    with pytest.raises(SettingError, match='region limit'):
        RegionSettings(limit, 3)
    with pytest.raises(SettingError, match='min_area_px is 0; allowed: 1 and more'):
        RegionSettings(1.0, 0)


def test_no_scorers_are_refused():
    with pytest.raises(SettingError, match='at least one'):
        FrameScorer(ShiftingPreprocessor(), {})


def test_statuses_have_the_values_of_the_message():
    message = (ROOT / 'msg' / 'Score.msg').read_text()
    constants = re.findall(r'uint8 STATUS_(\w+)=(\d+)', message)
    assert {status.name: status.value for status in ScoreStatus} == {
        name: int(value) for name, value in constants
    }


@pytest.mark.parametrize('name', ['ssim', 'variation'])
def test_registered_scorers_score_through_the_frame_scorer(name):
    rng = np.random.default_rng(0)
    preprocessor = ShiftingPreprocessor()
    base = rng.integers(60, 190, (60, 80)).astype(np.float64)

    def frame():
        return np.clip(base + rng.normal(0, 2, base.shape), 0, 255).astype(np.uint8)

    scorer = scorer_class(name)
    assert SCORERS[name] is scorer
    fitted = scorer.fit([preprocessor.prepare_ways(frame())[0] for _ in range(8)], {})
    again = scorer.from_arrays(fitted.to_arrays(), scorer.default_settings)
    bad = frame()
    bad[20:28, 40:48] = 255
    (score,) = FrameScorer(preprocessor, {name: (again, RegionSettings(0.5, 3))}).score(bad)
    assert score.status is ScoreStatus.OK
    names = [measure.name for measure in scorer.measures]
    assert list(score.measures) == [*names, 'largest_region']
    worst = score.regions[0]
    assert worst.x_min <= 44 < worst.x_max
    assert worst.y_min <= 24 < worst.y_max
    for measure in scorer.measures:
        assert measure.minimum <= score.measures[measure.name] <= measure.maximum


def test_an_unknown_scorer_is_refused_with_the_known_names():
    known = (
        "no scorer 'sim'; known: autoencoder, deep_features, features, openvino, "
        'patch_statistics, ssim, template'
    )
    with pytest.raises(SettingError, match=known):
        scorer_class('sim')
