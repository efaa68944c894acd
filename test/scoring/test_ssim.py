# SPDX-License-Identifier: Apache-2.0
"""
SSIM: the maths against scikit-image and its invariants; the scorer on top of it.

"""

from __future__ import annotations

from itertools import pairwise

import cv2
from hypothesis import given, settings, strategies
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.preprocessing import Prepared
from anomaly_inspection.scoring import one_pass
from anomaly_inspection.scoring.ssim import (
    SsimReference,
    SsimScorer,
    WINDOW_PX,
)

pytestmark = pytest.mark.usefixtures('in_one_pass_and_by_numpy')

SIZE = (60, 80)


def similarity_map(one, two, **options):
    return SsimReference.of(one, **options).similarity_map(SsimReference.of(two, **options))


def clipped(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def texture(seed, shape=SIZE, spread=60.0):
    rng = np.random.default_rng(seed)
    return clipped(cv2.GaussianBlur(rng.normal(128, 8 * spread, shape), (0, 0), 4))


def noisy(image, levels, seed=0):
    return clipped(image + np.random.default_rng(seed).normal(0, levels, image.shape))


def prepared(image, valid=None):
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def hard_pairs():
    rng = np.random.default_rng(1)
    soft = texture(2)
    colour = texture(3, (*SIZE, 3))
    return {
        'real-like': (soft, noisy(soft, 3)),
        'white noise': tuple(rng.integers(0, 256, (2, *SIZE), np.uint8)),
        'flat, bright, quiet': tuple(noisy(np.full(SIZE, 253), 1, seed) for seed in (1, 2)),
        'flat, bright, noisy': tuple(noisy(np.full(SIZE, 240), 6, seed) for seed in (1, 2)),
        'saturated': (np.full(SIZE, 255, np.uint8), noisy(np.full(SIZE, 255), 2)),
        'black': (np.zeros(SIZE, np.uint8), noisy(np.zeros(SIZE), 2)),
        'bright against dark': (noisy(np.full(SIZE, 250), 3), noisy(np.full(SIZE, 3), 3)),
        'binary': tuple(rng.integers(0, 2, (2, *SIZE)).astype(np.uint8) * 255),
        'inverse': (soft, 255 - soft),
        'colour': (colour, noisy(colour, 5)),
        'colour, bright': tuple(noisy(np.full((*SIZE, 3), 250), 4, seed) for seed in (1, 2)),
    }


@pytest.mark.parametrize('window', ['uniform', 'gaussian'])
@pytest.mark.parametrize('case', hard_pairs())
def test_equals_scikit_image(case, window):
    one, two = hard_pairs()[case]
    options = {'uniform': {'win_size': 7}, 'gaussian': {'gaussian_weights': True, 'sigma': 1.5}}
    mean, expected = structural_similarity(
        one,
        two,
        data_range=255,
        full=True,
        channel_axis=2 if one.ndim == 3 else None,
        **options[window],
    )
    if one.ndim == 3:
        expected = expected.mean(axis=2)
    actual = similarity_map(one, two, window=window)
    assert actual.dtype == np.float32
    assert actual.shape == one.shape[:2]
    assert np.abs(actual - expected).max() < 6e-5
    half = WINDOW_PX[window] // 2
    assert actual[half:-half, half:-half].mean() == pytest.approx(mean, abs=1e-5)


def test_other_constants_equal_scikit_image():
    one, two = texture(4), texture(5)
    expected = structural_similarity(one, two, data_range=255, K1=0.05, K2=0.1, full=True)[1]
    actual = similarity_map(one, two, k1=0.05, k2=0.1)
    assert np.abs(actual - expected).max() < 6e-5


images = strategies.builds(
    lambda seed, low, high: np.random.default_rng(seed).integers(
        low, max(low, high) + 1, (12, 15), np.uint8
    ),
    strategies.integers(0, 2**32 - 1),
    strategies.integers(0, 255),
    strategies.integers(0, 255),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(images, images, strategies.sampled_from(['uniform', 'gaussian']))
def test_is_symmetric_bounded_and_finite(one, two, window):
    forth = similarity_map(one, two, window=window)
    np.testing.assert_allclose(forth, similarity_map(two, one, window=window), rtol=0, atol=1e-6)
    assert np.isfinite(forth).all()
    assert np.abs(forth).max() <= 1 + 1e-5


@settings(max_examples=30, deadline=None, derandomize=True)
@given(images, strategies.sampled_from(['uniform', 'gaussian']))
def test_identity_gives_exactly_one(image, window):
    assert (similarity_map(image, image, window=window) == 1).all()


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    strategies.integers(0, 2**32 - 1),
    strategies.integers(7, 40),
    strategies.integers(7, 75),
    strategies.sampled_from([(), (1,), (3,), (4,)]),
    strategies.sampled_from([(0, 256), (250, 256), (0, 2), (90, 110)]),
)
def test_both_ways_find_the_same_whatever_the_size(seed, height, width, channels, levels):
    shape = (2, height, width, *channels)
    one, two = np.random.default_rng(seed).integers(*levels, shape, np.uint8)
    found = similarity_map(one, two, k1=0.02, k2=0.05)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_pass, '_library', None)
        expected = similarity_map(one, two, k1=0.02, k2=0.05)
    assert found.shape == expected.shape == (height, width)
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-5)


def test_images_that_are_views_of_larger_ones_are_compared_as_they_look():
    one, two = texture(8), texture(9)
    views = one[5:50:2, 3:70], two[5:50:2, 3:70]
    copies = [np.ascontiguousarray(view) for view in views]
    assert (similarity_map(*views) == similarity_map(*copies)).all()


def test_more_noise_gives_less():
    image = texture(6)
    means = [similarity_map(image, noisy(image, level)).mean() for level in range(6)]
    assert means[0] == 1
    assert all(after < before for before, after in pairwise(means))


def test_brightness_and_gain_cost_less_than_a_lost_structure():
    image = texture(7, spread=15)
    shuffled = np.random.default_rng(0).permutation(image.ravel()).reshape(image.shape)
    brighter = similarity_map(image, clipped(image + 10.0)).mean()
    stronger = similarity_map(image, clipped((image - 128.0) * 1.2 + 128)).mean()
    lost = similarity_map(image, shuffled).mean()
    assert 1 > brighter > 0.9
    assert 1 > stronger > 0.9
    assert lost < 0.5


@pytest.mark.parametrize(
    'other',
    [
        texture(1, (60, 81)),
        texture(1, (61, 80)),
        texture(1, (60, 80, 3)),
        texture(1).astype(np.uint16),
        texture(1).astype(np.float32),
        np.zeros((60, 0), np.uint8),
    ],
    ids=['wider', 'higher', 'colour', 'uint16', 'float', 'empty'],
)
def test_a_mismatch_is_an_error_never_a_score(other):
    with pytest.raises(FrameError, match=r'is needed|must be alike'):
        similarity_map(texture(1), other)
    scorer = SsimScorer.fit([prepared(texture(1))], {})
    with pytest.raises(FrameError, match='80x60 uint8'):
        scorer.score(prepared(other))


def test_moments_of_other_windows_do_not_mix():
    with pytest.raises(FrameError, match=r'uniform.*gaussian'):
        SsimReference.of(texture(1)).similarity_map(
            SsimReference.of(texture(1), window='gaussian')
        )


def good_parts(count=12, shape=SIZE, levels=3.0):
    return [prepared(noisy(texture(10, shape), levels, seed)) for seed in range(count)]


@pytest.mark.parametrize('shape', [SIZE, (*SIZE, 3)])
def test_measures_are_those_of_scikit_image_and_numpy(shape):
    good, part = texture(11, shape), noisy(texture(11, shape), 5)
    output = SsimScorer.fit([prepared(good)], {'tolerance': 'none'}).score(prepared(part))
    channel_axis = 2 if len(shape) == 3 else None
    expected = structural_similarity(good, part, data_range=255, channel_axis=channel_axis)
    assert output.measures['mean_ssim'] == pytest.approx(expected, abs=1e-5)
    squares = np.square(good.astype(float) - part)
    assert output.measures['mse'] == pytest.approx(squares.mean(), rel=1e-9)
    assert set(output.measures) == {measure.name for measure in SsimScorer.measures}


def test_plain_map_is_one_minus_ssim_clipped_and_zero_near_the_border():
    good = texture(12)
    part = 255 - good
    plain = SsimScorer.fit([prepared(good)], {'tolerance': 'none'}).score(prepared(part))
    ssim = similarity_map(part, good)
    inner = np.s_[3:-3, 3:-3]
    np.testing.assert_allclose(plain.anomaly_map[inner], np.clip(1 - ssim, 0, 2)[inner], atol=1e-6)
    assert plain.anomaly_map.max() > 1
    outside = np.ones(SIZE, np.bool_)
    outside[inner] = False
    assert (plain.anomaly_map[outside] == 0).all()


def test_the_identical_part_is_perfect():
    output = SsimScorer.fit([prepared(texture(1))], {}).score(prepared(texture(1)))
    assert output.measures == {'mean_ssim': 1.0, 'lowest_ssim': 1.0, 'mse': 0.0}
    assert not output.anomaly_map.any()


def test_a_defect_shows_where_it_is_and_noise_does_not():
    scorer = SsimScorer.fit(good_parts(), {})
    part = noisy(texture(10), 3, seed=99)
    good = scorer.score(prepared(part))
    part[20:28, 30:38] = 255 - part[20:28, 30:38]
    bad = scorer.score(prepared(part))
    assert good.measures['lowest_ssim'] > 0.8
    assert bad.measures['lowest_ssim'] < 0.6
    y, x = np.unravel_index(bad.anomaly_map.argmax(), SIZE)
    assert 16 <= y < 32
    assert 26 <= x < 42


def test_tolerance_hides_what_good_parts_do_too():
    def part(seed):
        image = texture(13)
        image[30:42, 40:52] = np.random.default_rng(seed).integers(0, 256, (12, 12))
        return prepared(image)

    lowest = {
        tolerance: SsimScorer.fit([part(seed) for seed in range(8)], {'tolerance': tolerance})
        .score(part(50))
        .measures['lowest_ssim']
        for tolerance in ('none', 'good_parts')
    }
    assert lowest['none'] < 0.4
    assert lowest['good_parts'] > lowest['none'] + 0.4


def test_the_best_reference_is_found_among_many():
    kinds = [texture(seed) for seed in range(100, 120)]
    scorer = SsimScorer.fit([prepared(kind) for kind in kinds], {'references': 20})
    assert len(scorer.to_arrays()['references']) == 20
    for kind in kinds:
        assert scorer.score(prepared(kind)).measures['mse'] == 0


def test_references_cover_the_kinds_and_leave_the_odd_part_out():
    kinds = [
        prepared(noisy(texture(seed), 2, number)) for seed in (1, 2, 3) for number in range(6)
    ]
    odd = prepared(texture(4))
    references = SsimScorer.fit([odd, *kinds], {'references': 3}).to_arrays()['references']
    for seed in (1, 2, 3):
        distances = [np.abs(texture(seed).astype(float) - image).mean() for image in references]
        assert min(distances) < 5


def test_pixels_outside_the_valid_area_do_not_matter():
    scorer = SsimScorer.fit(good_parts(), {})
    part = noisy(texture(10), 3, seed=98)
    valid = np.ones(SIZE, np.bool_)
    valid[:, :15] = False
    spoilt = part.copy()
    spoilt[:, :15] = 0
    output = scorer.score(prepared(spoilt, valid))
    whole = scorer.score(prepared(part))
    assert (output.anomaly_map[~valid] == 0).all()
    assert output.measures['mean_ssim'] == pytest.approx(whole.measures['mean_ssim'], abs=0.02)
    assert output.measures['mse'] == pytest.approx(whole.measures['mse'], rel=0.2)
    with pytest.raises(FrameError, match='no SSIM window'):
        scorer.score(prepared(part, np.zeros(SIZE, np.bool_)))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(strategies.integers(0, 2**32 - 1), strategies.sampled_from([0, 1, 128, 254, 255, None]))
def test_no_nan_leaves_the_scorer(seed, level):
    rng = np.random.default_rng(seed)
    part = (
        rng.integers(0, 256, SIZE, np.uint8) if level is None else np.full(SIZE, level, np.uint8)
    )
    valid = rng.random(SIZE) < 0.999
    valid[:10, :10] = True
    output = SsimScorer.fit([prepared(texture(1)), prepared(part)], {}).score(
        prepared(part, valid)
    )
    assert np.isfinite(list(output.measures.values())).all()
    assert np.isfinite(output.anomaly_map).all()
    assert output.anomaly_map.min() >= 0
    assert output.anomaly_map.max() <= 2
    assert all(type(value) is float for value in output.measures.values())


def test_scores_do_not_depend_on_the_frames_before():
    scorer = SsimScorer.fit(good_parts(), {})
    part, other = prepared(noisy(texture(10), 4, 55)), prepared(texture(60))
    first = scorer.score(part)
    kept = first.anomaly_map.copy()
    scorer.score(other)
    again = scorer.score(part)
    assert again.measures == first.measures
    np.testing.assert_array_equal(first.anomaly_map, kept)
    np.testing.assert_array_equal(again.anomaly_map, kept)


def test_comes_back_the_same_from_its_arrays():
    scorer = SsimScorer.fit(good_parts(shape=(*SIZE, 3)), {'references': 4, 'k2': 0.1})
    again = SsimScorer.from_arrays(scorer.to_arrays(), {'references': 4, 'k2': 0.1})
    part = prepared(noisy(texture(10, (*SIZE, 3)), 6, 77))
    assert again.score(part).measures == scorer.score(part).measures


@pytest.mark.parametrize(
    ('key', 'value', 'match'),
    [
        ('references', None, "lack 'references'"),
        ('references', np.zeros((2, 60, 80), np.float32), 'uint8'),
        ('references', np.zeros((2, 5, 5), np.uint8), 'sizes disagree'),
        ('reference_valid', np.ones((1, 60, 80), np.bool_), 'sizes disagree'),
        ('tolerated', np.full(SIZE, np.nan, np.float32), 'finite'),
        ('tolerated', np.zeros((60, 79), np.float32), 'sizes disagree'),
    ],
)
def test_broken_arrays_are_refused(key, value, match):
    arrays = SsimScorer.fit(good_parts(2), {}).to_arrays()
    if value is None:
        del arrays[key]
    else:
        arrays[key] = value
    with pytest.raises(RecipeError, match=match):
        SsimScorer.from_arrays(arrays, {})


@pytest.mark.parametrize(
    ('given_settings', 'match'),
    [
        ({'windows': 'uniform'}, r"no setting 'windows'; known: .*window"),
        ({'window': 'round'}, r"ssim\.window is 'round'; allowed: uniform, gaussian"),
        ({'references': 0}, 'references is 0; allowed: a whole number from 1 to 100'),
        ({'references': 2.5}, 'a whole number'),
        ({'references': True}, 'references is True'),
        ({'k2': float('nan')}, 'k2 is nan'),
        ({'k2': '0.1'}, "k2 is '0.1'"),
    ],
)
def test_wrong_settings_are_refused_with_the_allowed_range(given_settings, match):
    with pytest.raises(SettingError, match=match):
        SsimScorer.fit(good_parts(2), given_settings)


def test_unfit_teaching_images_are_refused():
    with pytest.raises(FrameError, match='0 good images; at least 1'):
        SsimScorer.fit([], {})
    with pytest.raises(FrameError, match='80x61 uint8'):
        SsimScorer.fit([prepared(texture(1)), prepared(texture(1, (61, 80)))], {})
    with pytest.raises(FrameError, match='at least 7x7'):
        SsimScorer.fit([prepared(np.zeros((6, 80), np.uint8))], {})
