# SPDX-License-Identifier: Apache-2.0
"""
The patch statistics scorer: what it learns from good parts and what it says of others.

"""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.preprocessing import Prepared
from anomaly_inspection.scoring import one_pass, patch_distance, patch_gaussians
from anomaly_inspection.scoring.patch_features import patch_features, surface_of, SURFACES
from anomaly_inspection.scoring.patch_statistics import PatchStatisticsScorer, smallest_stride_px

SIZE = (96, 128)
POSITION = {'statistics': 'position'}
POOLED = {'statistics': 'pooled'}


def clipped(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def part_image(seed, shift_px=0, colour=False):
    """Draw a printed disc under a camera's noise; the light differs a little."""
    rng = np.random.default_rng(1000 + seed)
    base = np.full((*SIZE, 3), 60, np.uint8)
    cv2.circle(base, (64 + shift_px, 48), 36, (90, 150, 180), -1, cv2.LINE_AA)
    cv2.rectangle(base, (50 + shift_px, 40), (58 + shift_px, 56), (40, 40, 40), -1)
    cv2.circle(base, (78 + shift_px, 48), 6, (30, 30, 200), -1, cv2.LINE_AA)
    image = base if colour else cv2.cvtColor(base, cv2.COLOR_BGR2GRAY)
    image = cv2.GaussianBlur(image, (0, 0), 1)
    noise = cv2.GaussianBlur(rng.normal(0, 6, image.shape), (0, 0), 1)
    return clipped(image * (1 + rng.normal(0, 0.01)) + noise)


def texture_image(seed, sigma=2.0):
    """Draw a cloudy texture that lies anywhere."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, SIZE), (0, 0), sigma)
    return clipped(120 + 20 * noise / noise.std())


def streaks_image(seed):
    """Draw a brushed surface: streaks of many strengths down the image, anywhere."""
    rng = np.random.default_rng(seed)
    lines = rng.gamma(0.7, 12.0, SIZE[1]) * rng.choice([-1, 1], SIZE[1])
    noise = rng.normal(0, 3, SIZE)
    return clipped(110 + cv2.GaussianBlur(lines + noise, (0, 0), sigmaX=1, sigmaY=3))


def prepared(image, valid=None):
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def good_parts(count=30, **kwargs):
    return [prepared(part_image(seed, **kwargs)) for seed in range(count)]


def good_peak(scorer, draw, seeds=range(100, 108)):
    return max(scorer.score(prepared(draw(seed))).measures['peak_distance'] for seed in seeds)


@pytest.fixture(scope='module')
def fitted():
    return PatchStatisticsScorer.fit(good_parts(), {})


def test_good_parts_lie_at_about_one(fitted):
    for seed in range(100, 105):
        output = fitted.score(prepared(part_image(seed)))
        assert 0.3 < output.anomaly_map.mean() < 1.2
        assert 0.5 < output.measures['worst_mean_distance'] < 2
        assert output.measures['peak_distance'] < 4
        assert output.anomaly_map.dtype == np.float32
        assert output.anomaly_map.shape == SIZE
        assert set(output.measures) == {spec.name for spec in fitted.measures}


def test_a_small_stain_shows_where_it_is(fitted):
    image = part_image(100)
    image[60:65, 70:75] = clipped(image[60:65, 70:75] - 25.0)
    output = fitted.score(prepared(image))
    assert output.measures['peak_distance'] > 2 * good_peak(fitted, part_image)
    y, x = np.unravel_index(output.anomaly_map.argmax(), SIZE)
    assert 56 <= y < 69
    assert 66 <= x < 79


def test_the_worst_hundredth_of_the_judged_area_is_averaged(fitted):
    valid = np.ones(SIZE, np.bool_)
    valid[:40] = False
    output = fitted.score(prepared(part_image(100), valid))
    values = np.sort(output.anomaly_map[40:].ravel())
    assert output.measures['worst_mean_distance'] == pytest.approx(
        values[-math.ceil(0.01 * values.size) :].mean(), rel=1e-3
    )
    assert output.measures['peak_distance'] == values[-1]


def test_a_missing_mark_shows(fitted):
    image = part_image(100)
    image[38:59, 48:61] = image[60:81, 58:71]
    output = fitted.score(prepared(image))
    assert output.measures['peak_distance'] > 3 * good_peak(fitted, part_image)
    y, x = np.unravel_index(output.anomaly_map.argmax(), SIZE)
    assert 34 <= y < 63
    assert 44 <= x < 65


def test_a_wrong_texture_shows_where_the_gray_level_is_right():
    taught = [prepared(texture_image(seed)) for seed in range(20)]
    for settings in (POSITION, POOLED):
        scorer = PatchStatisticsScorer.fit(taught, settings)
        image = texture_image(100)
        image[30:60, 40:70] = texture_image(101, sigma=0.8)[30:60, 40:70]
        output = scorer.score(prepared(image))
        assert output.measures['peak_distance'] > 1.5 * good_peak(scorer, texture_image)
        y, x = np.unravel_index(output.anomaly_map.argmax(), SIZE)
        assert 28 <= y < 62
        assert 38 <= x < 72


TEXTURE = {'surface': 'texture'}


def exposed(image, gain, shade=0.0):
    """Give the image at another exposure, darker to the right by a share."""
    return clipped(image * gain * np.linspace(1, 1 - shade, image.shape[1]))


def test_a_texture_is_judged_whatever_its_exposure_and_shading():
    taught = [
        prepared(exposed(texture_image(seed), 0.5 + 0.05 * (seed % 10))) for seed in range(20)
    ]
    scratched = texture_image(100)
    cv2.line(scratched, (40, 30), (70, 60), 60, 2, cv2.LINE_AA)
    ratios = {}
    for name, settings in (('picture', {}), ('texture', TEXTURE)):
        scorer = PatchStatisticsScorer.fit(taught, settings)
        good = [
            scorer.score(prepared(exposed(texture_image(seed), gain, shade))).measures
            for seed, gain, shade in ((101, 0.4, 0), (102, 1.1, 0), (103, 0.9, 0.5))
        ]
        bad = scorer.score(prepared(exposed(scratched, 0.6))).measures
        ratios[name] = bad['peak_distance'] / max(one['peak_distance'] for one in good)
    assert ratios['texture'] > 1.5
    assert ratios['texture'] > 1.4 * ratios['picture']


def test_colour_of_a_texture_counts_its_gray_level_does_not():
    rng = np.random.default_rng(0)
    taught = [
        prepared(clipped(np.dstack([texture_image(seed)] * 3) * rng.uniform(0.7, 1.2)))
        for seed in range(20)
    ]
    scorer = PatchStatisticsScorer.fit(taught, TEXTURE)
    assert scorer.to_arrays()['mean'].shape[-1] == 18
    image = np.dstack([texture_image(100)] * 3)
    good = scorer.score(prepared(image)).measures['peak_distance']
    image[40:60, 40:60, 2] += 25
    bad = scorer.score(prepared(image))
    assert bad.measures['peak_distance'] > 3 * good
    y, x = np.unravel_index(bad.anomaly_map.argmax(), SIZE)
    assert 34 <= y < 66
    assert 34 <= x < 66


def test_pooled_patches_of_several_kinds_are_judged_by_their_own_kind():
    def tiled(seed, odd=False):
        """Draw fine and coarse tiles in any order; an odd one is in between."""
        order = np.random.default_rng(seed).permutation([0.7, 0.7, 3.0, 3.0, 0.7, 3.0])
        image = np.zeros(SIZE, np.uint8)
        for place, sigma in enumerate(order):
            rows = slice(48 * (place // 3), 48 * (place // 3) + 48)
            columns = slice(43 * (place % 3), 43 * (place % 3) + 43)
            drawn = texture_image(1000 + 9 * seed + place, 1.5 if odd and place == 4 else sigma)
            image[rows, columns] = drawn[rows, columns]
        return prepared(image)

    taught = [tiled(seed) for seed in range(20)]
    scorers = {
        kinds: PatchStatisticsScorer.fit(taught, {**POOLED, 'kinds': kinds}) for kinds in (1, 16)
    }
    contrast = {}
    for kinds, scorer in scorers.items():
        good = np.mean([scorer.score(tiled(seed)).anomaly_map.mean() for seed in range(50, 56)])
        place = np.s_[56:88, 50:80]
        odd = np.mean(
            [
                scorer.score(tiled(seed, odd=True)).anomaly_map[place].mean()
                for seed in range(60, 66)
            ]
        )
        contrast[kinds] = odd / good
    assert scorers[16].to_arrays()['mean'].shape[:2] == (1, 16)
    assert contrast[16] > 1.05 * contrast[1]


def test_a_texture_is_what_has_no_picture_in_common():
    assert surface_of([prepared(texture_image(seed)) for seed in range(12)]) == 'texture'
    assert surface_of(good_parts(12)) == 'picture'
    streaks = [streaks_image(seed) for seed in range(12)]
    assert surface_of([prepared(image) for image in streaks]) == 'streaks_down'
    assert surface_of([prepared(image.T.copy()) for image in streaks]) == 'streaks_across'
    # Several kinds of part are several pictures.
    kinds = [prepared(texture_image(seed % 3)) for seed in range(12)]
    assert surface_of(kinds) == 'picture'
    assert surface_of(kinds[:1]) == 'picture'
    assert surface_of([prepared(np.full(SIZE, 90, np.uint8))] * 4) == 'picture'


@pytest.mark.parametrize('runs', ['down', 'across'])
def test_a_whole_streak_belongs_to_a_texture_of_streaks_a_piece_of_one_does_not(runs):
    def drawn(image):
        return prepared(image if runs == 'down' else image.T.copy())

    def with_streak(rows):
        image = streaks_image(100).astype(float)
        image[rows, 60:63] += 60
        return drawn(clipped(image))

    taught = [drawn(streaks_image(seed)) for seed in range(30)]
    whole, piece = {}, {}
    for surface in ('texture', f'streaks_{runs}'):
        scorer = PatchStatisticsScorer.fit(taught, {'surface': surface})
        good = good_peak(scorer, lambda seed: drawn(streaks_image(seed)).image)
        whole[surface], piece[surface] = (
            scorer.score(with_streak(rows)).measures['peak_distance'] / good
            for rows in (slice(None), slice(40, 56))
        )
    assert whole[f'streaks_{runs}'] < 0.8 * whole['texture']
    assert whole[f'streaks_{runs}'] < 1.5
    assert piece[f'streaks_{runs}'] > 3


def test_another_colour_of_the_same_gray_shows_in_colour_frames_only():
    peaks = {}
    for colour in (True, False):
        scorer = PatchStatisticsScorer.fit(good_parts(20, colour=colour), {})
        image = part_image(100, colour=True).astype(float)
        # Weights of the gray level: 0.114, 0.587, 0.299.
        image[60:72, 60:72] += np.array([0.0, -20.0, 20 * 0.587 / 0.299])
        image = clipped(image)
        shown = image if colour else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        peaks[colour] = scorer.score(prepared(shown)).measures['peak_distance']
    assert peaks[True] > 4 * peaks[False]


def test_a_part_moved_by_one_pixel_stays_quiet():
    stained = part_image(100)
    stained[60:65, 70:75] = clipped(stained[60:65, 70:75] - 25.0)
    peaks = {}
    for tolerance_px in (0, 1):
        # The taught parts all lie at one place: nothing in them says what a shift looks like.
        scorer = PatchStatisticsScorer.fit(good_parts(), {'tolerance_px': tolerance_px})
        good = good_peak(scorer, part_image)
        peaks[tolerance_px] = [
            scorer.score(prepared(part_image(100, shift_px))).measures['peak_distance'] / good
            for shift_px in (-1, 1)
        ]
        assert scorer.score(prepared(stained)).measures['peak_distance'] > 2 * good
    assert min(peaks[0]) > 3
    assert max(peaks[1]) < 1.5


def test_what_lies_outside_the_valid_area_does_not_matter():
    valid = np.ones(SIZE, np.bool_)
    valid[:, :10] = False
    taught = [
        prepared(np.where(valid, part.image, 0).astype(np.uint8), valid) if number % 3 else part
        for number, part in enumerate(good_parts())
    ]
    scorer = PatchStatisticsScorer.fit(taught, {})
    assert not scorer.to_arrays()['judged'][:, :10].any()
    image = part_image(100)
    image[:, :10] = 0
    output = scorer.score(prepared(image))
    assert (output.anomaly_map[:, :10] == 0).all()
    assert output.measures['peak_distance'] < 4
    hidden = np.ones(SIZE, np.bool_)
    hidden[:6] = False
    first = scorer.score(prepared(image, hidden))
    image[:6] = 255
    again = scorer.score(prepared(image, hidden))
    assert again.measures == first.measures
    assert first.measures['peak_distance'] < 4
    assert (first.anomaly_map[:6] == 0).all()
    with pytest.raises(FrameError, match='no judged pixel'):
        scorer.score(prepared(image, np.zeros(SIZE, np.bool_)))


def test_a_few_parts_that_miss_a_border_do_not_bias_it():
    valid = np.ones(SIZE, np.bool_)
    valid[:, :12] = False
    parts = good_parts()
    holed = [
        prepared(np.where(valid, part.image, 0).astype(np.uint8), valid) if number < 10 else part
        for number, part in enumerate(parts)
    ]
    whole = PatchStatisticsScorer.fit(parts[10:], {'neighbours': 0})
    scorer = PatchStatisticsScorer.fit(holed, {'neighbours': 0})
    border = np.s_[:, :8]
    for seed in range(100, 104):
        expected, found = (
            one.score(prepared(part_image(seed))).anomaly_map[border] for one in (whole, scorer)
        )
        assert found.mean() == pytest.approx(expected.mean(), rel=0.15)


@pytest.mark.parametrize('settings', [POSITION, POOLED])
def test_is_the_mahalanobis_distance_of_the_definition(settings):
    parts = good_parts(12)
    chosen = {**settings, 'neighbours': 0, 'tolerance_px': 0, 'prior_images': 0, 'kinds': 1}
    scorer = PatchStatisticsScorer.fit(parts, chosen)
    features = np.stack(
        [patch_features(part.image, 4, 'picture') for part in parts],
        dtype=np.float64,
    )
    count = features.shape[-1]
    place = (12, 16)
    samples = features.reshape(-1, count) if settings == POOLED else features[:, 12, 16]
    if settings == POOLED:
        scale = features.reshape(-1, count).std(axis=0, ddof=1)
    else:
        scale = np.sqrt(features.var(axis=0, ddof=1).mean(axis=(0, 1)))
    scale = np.maximum(scale, 0.5)
    covariance = np.cov(samples / scale, rowvar=False) + 0.01 * np.eye(count)
    image = part_image(100)
    patches = patch_features(image, 4, 'picture')
    found = scorer._distance.of(patches)[place]
    apart = (patches[place] - samples.mean(axis=0)) / scale
    expected = np.sqrt(apart @ np.linalg.solve(covariance, apart) / count)
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_nearest_position_is_the_one_the_patch_came_from():
    rng = np.random.default_rng(3)
    shape = (96, 128)
    pattern = cv2.GaussianBlur(rng.normal(120, 300, shape), (0, 0), 4)
    parts = [prepared(clipped(pattern + rng.normal(0, 2, shape))) for _ in range(20)]
    strict, tolerant = (
        PatchStatisticsScorer.fit(
            parts, {'stride_px': 8, 'tolerance_px': 0, 'neighbours': neighbours}
        )
        for neighbours in (0, 1)
    )
    for shift in ((8, 0), (-8, 0), (0, 8), (0, -8), (8, -8)):
        moved = prepared(clipped(np.roll(pattern, shift, axis=(0, 1)) + rng.normal(0, 2, shape)))
        apart, near = (
            scorer.score(moved).anomaly_map[32:64, 40:88].mean() for scorer in (strict, tolerant)
        )
        assert near < 2
        assert apart > 5


def test_identical_images_give_finite_distances_of_zero():
    part = prepared(np.full(SIZE, 90, np.uint8))
    scorer = PatchStatisticsScorer.fit([part] * 6, {})
    assert scorer.score(part).measures == {'peak_distance': 0.0, 'worst_mean_distance': 0.0}
    other = scorer.score(prepared(np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)))
    # Teaching holds maps in half precision.
    assert np.isfinite(other.anomaly_map.astype(np.float16)).all()
    assert other.measures['peak_distance'] > 100


@pytest.mark.parametrize('shape', [(17, 23), (16, 300), (64, 65, 3)])
@pytest.mark.parametrize('stride_px', [2, 5, 32])
def test_odd_sizes_and_strides_work(shape, stride_px):
    rng = np.random.default_rng(0)
    parts = [prepared(rng.integers(0, 256, shape, np.uint8)) for _ in range(5)]
    for settings in (POSITION, POOLED, TEXTURE, {'surface': 'streaks_across'}):
        scorer = PatchStatisticsScorer.fit(parts, {**settings, 'stride_px': stride_px})
        output = scorer.score(parts[0])
        assert output.anomaly_map.shape == shape[:2]
        assert np.isfinite(output.anomaly_map).all()


@pytest.mark.skipif(not one_pass.is_built(), reason='the C++ functions are not built')
@pytest.mark.parametrize('surface', SURFACES)
@pytest.mark.parametrize('shape', [(16, 16), (37, 50, 3), (120, 161), (241, 323, 3)])
def test_both_ways_find_the_same_features(shape, surface, monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    strides = (2, 3, 4, 32)
    in_one_pass = [patch_features(image, stride, surface) for stride in strides]
    monkeypatch.setattr(one_pass, '_library', None)
    for stride, found in zip(strides, in_one_pass, strict=True):
        wanted = patch_features(image, stride, surface)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize('settings', [POSITION, POOLED])
def test_fitting_and_scoring_in_pieces_gives_the_same(settings, monkeypatch):
    part = prepared(part_image(100))
    whole = PatchStatisticsScorer.fit(good_parts(9), settings).score(part).anomaly_map
    for module in (patch_gaussians, patch_distance):
        monkeypatch.setattr(module, '_CHUNK_VALUES', 40_000)
    pieces = PatchStatisticsScorer.fit(good_parts(9), settings).score(part).anomaly_map
    np.testing.assert_allclose(pieces, whole, rtol=1e-3)


@pytest.mark.parametrize(
    'settings',
    [
        POSITION,
        POOLED,
        TEXTURE,
        {'surface': 'streaks_down', **POOLED},
        {'stride_px': 8, 'neighbours': 2},
    ],
)
def test_comes_back_the_same_from_its_arrays(settings):
    scorer = PatchStatisticsScorer.fit(good_parts(10), settings)
    again = PatchStatisticsScorer.from_arrays(scorer.to_arrays(), settings)
    part = prepared(part_image(100))
    first = scorer.score(part)
    kept = first.anomaly_map.copy()
    assert again.score(part).measures == first.measures
    scorer.score(prepared(part_image(101)))
    np.testing.assert_array_equal(first.anomaly_map, kept)
    refitted = PatchStatisticsScorer.fit(good_parts(10), settings).to_arrays()
    for key, array in scorer.to_arrays().items():
        np.testing.assert_array_equal(array, refitted[key])


@pytest.mark.parametrize(
    ('key', 'change', 'match'),
    [
        ('mean', None, "lack 'mean'"),
        ('judged', None, "lack 'judged'"),
        ('mean', lambda array: array.astype(np.float64), 'float32'),
        ('mean', lambda array: array * np.inf, 'finite'),
        ('mean', lambda array: array[1:], 'sizes disagree'),
        ('whitening', lambda array: array[..., 1:], 'sizes disagree'),
        ('whitening', lambda array: array[:1, :1], 'sizes disagree'),
        ('whitening', lambda array: -array, 'must be positive'),
        ('whitening', lambda array: array.astype(np.float16), 'float32'),
        ('typical', lambda array: array[:, :64], 'sizes disagree'),
        ('typical', lambda array: np.dstack([array, array]), 'gray or BGR'),
        ('typical', lambda array: np.dstack([array] * 3), 'sizes disagree'),
        ('judged', lambda array: array[:-1], 'sizes disagree'),
        ('judged', lambda array: array.astype(np.uint8), 'bool'),
    ],
)
def test_broken_arrays_are_refused(fitted, key, change, match):
    arrays = fitted.to_arrays()
    if change is None:
        del arrays[key]
    else:
        arrays[key] = change(arrays[key])
    with pytest.raises(RecipeError, match=match):
        PatchStatisticsScorer.from_arrays(arrays, {})


@pytest.mark.parametrize('settings', [POOLED, TEXTURE, {'stride_px': 8}])
def test_arrays_of_other_settings_are_refused(fitted, settings):
    with pytest.raises(RecipeError, match='sizes disagree'):
        PatchStatisticsScorer.from_arrays(fitted.to_arrays(), settings)


def test_wrong_settings_images_and_frames_are_refused(fitted):
    with pytest.raises(SettingError, match='allowed: position, pooled'):
        PatchStatisticsScorer.fit(good_parts(5), {'statistics': 'both'})
    with pytest.raises(SettingError, match=r'stride_px is 1; allowed: a whole number from 2'):
        PatchStatisticsScorer.fit(good_parts(5), {'stride_px': 1})
    with pytest.raises(SettingError, match="no setting 'stride'"):
        PatchStatisticsScorer.fit(good_parts(5), {'stride': 3})
    with pytest.raises(FrameError, match='3 good images; at least 4'):
        PatchStatisticsScorer.fit(good_parts(3), {})
    blind = [prepared(part_image(seed), np.zeros(SIZE, np.bool_)) for seed in range(5)]
    with pytest.raises(FrameError, match='no pixel is valid'):
        PatchStatisticsScorer.fit(blind, {})
    for shape in ((96, 127), (95, 128), (96, 128, 3)):
        with pytest.raises(FrameError, match='128x96 uint8'):
            fitted.score(prepared(np.full(shape, 90, np.uint8)))


def test_what_does_not_fit_in_memory_is_refused_with_the_stride_that_does():
    shape = (2048, 2448, 3)
    parts = [prepared(np.full(shape, 90, np.uint8))] * 4
    fits = smallest_stride_px(shape, 4)
    assert fits > 4
    with pytest.raises(SettingError, match=f'2448x2048 .*MB.* stride_px {fits} and more'):
        PatchStatisticsScorer.fit(parts, {})
    assert smallest_stride_px((480, 640, 3), 4) == 4
