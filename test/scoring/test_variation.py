# SPDX-License-Identifier: Apache-2.0
"""
The variation scorer: what it learns from good parts and what it says of others.

"""

from __future__ import annotations

import cv2
from hypothesis import given, settings, strategies
import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.preprocessing import Prepared
from anomaly_inspection.scoring import one_pass, variation
from anomaly_inspection.scoring.variation import VariationScorer

pytestmark = pytest.mark.usefixtures('in_one_pass_and_by_numpy')

SIZE = (60, 80)
RAW = {'smooth_px': 1, 'edge_px': 0, 'trim': 0.0}


def clipped(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def good_image(seed, shape=SIZE, levels=4.0):
    base = cv2.GaussianBlur(np.random.default_rng(5).normal(128, 300, shape), (0, 0), 5)
    return clipped(base + np.random.default_rng(1000 + seed).normal(0, levels, shape))


def prepared(image, valid=None):
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def good_parts(count=24, shape=SIZE):
    return [prepared(good_image(seed, shape)) for seed in range(count)]


@pytest.mark.parametrize('shape', [SIZE, (*SIZE, 3)])
def test_is_the_z_of_the_definition(shape):
    parts = good_parts(10, shape)
    stack = np.stack([part.image for part in parts]).astype(float)
    part = good_image(99, shape)
    spread = np.sqrt(stack.var(axis=0, ddof=1) + 6.0**2)
    expected = np.abs(part - stack.mean(axis=0)) / spread
    if len(shape) == 3:
        expected = expected.max(axis=2)
    output = VariationScorer.fit(parts, {**RAW, 'floor_levels': 6}).score(prepared(part))
    np.testing.assert_allclose(output.anomaly_map, expected, atol=1e-4)
    assert output.measures['peak_z'] == pytest.approx(expected.max(), abs=1e-4)
    assert output.measures['mean_z'] == pytest.approx(expected.mean(), abs=1e-4)
    assert set(output.measures) == {measure.name for measure in VariationScorer.measures}


@pytest.mark.parametrize('shape', [(9, 7), (33, 61), (33, 61, 3)])
def test_both_ways_find_exactly_the_same(shape, monkeypatch):
    scorer = VariationScorer.fit(good_parts(10, shape), {})
    valid = np.random.default_rng(1).random(shape[:2]) > 0.2
    frames = [prepared(good_image(seed, shape, 40.0), valid) for seed in range(5)]
    found = [scorer.score(frame) for frame in frames]
    monkeypatch.setattr(one_pass, '_library', None)
    for frame, output in zip(frames, found, strict=True):
        expected = scorer.score(frame)
        assert output.measures == expected.measures
        assert (output.anomaly_map == expected.anomaly_map).all()


def test_the_mean_of_the_good_parts_scores_zero():
    part = prepared(np.full(SIZE, 90, np.uint8))
    output = VariationScorer.fit([part] * 6, {}).score(part)
    assert output.measures == {'peak_z': 0.0, 'mean_z': 0.0}


def test_a_defect_shows_where_it_is():
    scorer = VariationScorer.fit(good_parts(), {})
    image = good_image(99)
    good = scorer.score(prepared(image))
    image[20:24, 30:34] = clipped(image[20:24, 30:34] + 40.0)
    bad = scorer.score(prepared(image))
    assert good.measures['peak_z'] < 2.5
    assert bad.measures['peak_z'] > 4
    y, x = np.unravel_index(bad.anomaly_map.argmax(), SIZE)
    assert 20 <= y < 24
    assert 30 <= x < 34


def test_the_same_difference_counts_less_where_good_parts_vary():
    rng = np.random.default_rng(0)
    images = [good_image(seed) for seed in range(20)]
    for image in images:
        image[:, 40:] = clipped(image[:, 40:] + rng.normal(0, 40))
    scorer = VariationScorer.fit([prepared(image) for image in images], {})
    part = clipped(np.mean(images, axis=0) + 30)
    anomaly_map = scorer.score(prepared(part)).anomaly_map
    assert anomaly_map[:, :38].mean() > 3 * anomaly_map[:, 42:].mean()


def test_some_odd_taught_parts_do_not_blind_it():
    images = [good_image(seed) for seed in range(24)]
    images[3][30:40, 30:40] = 255
    images[7][30:40, 30:40] = 0
    images[9][30:40, 30:40] = 255
    part = good_image(99)
    part[30:40, 30:40] = clipped(part[30:40, 30:40] + 60.0)
    peaks = {
        trim: VariationScorer.fit([prepared(image) for image in images], {'trim': trim})
        .score(prepared(part))
        .measures['peak_z']
        for trim in (0.0, 0.1)
    }
    assert peaks[0.0] < 3
    assert peaks[0.1] > 6


@pytest.mark.parametrize(('count', 'trim'), [(24, 0.05), (60, 0.1), (40, 0.25)])
def test_trimming_keeps_the_scale_of_the_deviation(count, trim):
    arrays = VariationScorer.fit(good_parts(count), {'trim': trim}).to_arrays()
    assert arrays['deviation'].mean() == pytest.approx(4.0, rel=0.12)


def test_flattened_shine_does_not_count_and_a_mark_does():
    down = np.linspace(-1, 1, SIZE[0])[:, None]

    def shone(seed):
        return clipped(good_image(seed, levels=1.0) * 0.6 + 60 * down * np.sin(seed))

    parts = [prepared(shone(seed)) for seed in range(24)]
    marked = shone(50)
    marked[30:34, 40:44] -= 12
    for flatten_px, stands_out in ((0, False), (7, True)):
        scorer = VariationScorer.fit(parts, {'flatten_px': flatten_px})
        good = max(scorer.score(prepared(shone(seed))).measures['peak_z'] for seed in (51, 52, 53))
        output = scorer.score(prepared(marked))
        assert (output.measures['peak_z'] > 2 * good) == stands_out
    assert output.anomaly_map[28:36, 38:46].max() == output.measures['peak_z']
    again = VariationScorer.from_arrays(scorer.to_arrays(), {'flatten_px': 7})
    assert again.score(prepared(marked)).measures == output.measures


def test_flattening_sees_no_light_but_every_edge():
    step = np.full(SIZE, 60, np.uint8)
    step[:, 40:] = 100
    flat = variation.flattened(step, 7).astype(int)
    assert (flat[:, 10:30] == 128).all()
    assert np.abs(flat[:, 38:42] - 128).max() >= 17
    assert np.array_equal(variation.flattened(step + 50, 7), flat)


def test_leftovers_of_the_alignment_at_edges_are_tolerated():
    def part(shift):
        image = np.full(SIZE, 60, np.uint8)
        image[:, 40 + shift :] = 200
        return prepared(image)

    taught = [part(shift) for shift in (0, 0, 0, 0, 1, 1, 1, 1)]
    strict, tolerant = (
        VariationScorer.fit(taught, {'edge_px': edge}).score(part(-1)).measures['peak_z']
        for edge in (0, 1)
    )
    assert strict > 5 * tolerant


def test_pixels_outside_the_valid_area_do_not_matter():
    valid = np.ones(SIZE, np.bool_)
    valid[:, :10] = False
    taught = [
        prepared(np.where(valid, part.image, 0).astype(np.uint8), valid) if number % 3 else part
        for number, part in enumerate(good_parts())
    ]
    scorer = VariationScorer.fit(taught, {})
    assert not scorer.to_arrays()['judged'][:, :10].any()
    image = good_image(99)
    image[:, :10] = 0
    output = scorer.score(prepared(image))
    assert (output.anomaly_map[:, :10] == 0).all()
    assert output.measures['peak_z'] < 2.5
    image[:5] = 255
    valid = np.ones(SIZE, np.bool_)
    valid[:5] = False
    assert scorer.score(prepared(image, valid)).measures['peak_z'] < 2.5
    with pytest.raises(FrameError, match='no judged pixel'):
        scorer.score(prepared(image, np.zeros(SIZE, np.bool_)))


def test_a_few_parts_that_miss_a_border_do_not_bias_it():
    valid = np.ones(SIZE, np.bool_)
    valid[:, :10] = False
    parts = good_parts(30)
    holed = [
        prepared(np.where(valid, part.image, 0).astype(np.uint8), valid) if number < 10 else part
        for number, part in enumerate(parts)
    ]
    whole = VariationScorer.fit(parts[10:], {'trim': 0.0}).to_arrays()
    arrays = VariationScorer.fit(holed, {'trim': 0.0}).to_arrays()
    assert arrays['judged'].all()
    border = np.s_[:, :10]
    np.testing.assert_allclose(arrays['mean'][border], whole['mean'][border], atol=0.5)
    np.testing.assert_allclose(arrays['deviation'][border], whole['deviation'][border], rtol=0.05)


@pytest.mark.parametrize('shape', [SIZE, (*SIZE, 3)])
def test_fitting_in_pieces_gives_the_same(shape, monkeypatch):
    whole = VariationScorer.fit(good_parts(12, shape), {}).to_arrays()
    monkeypatch.setattr(variation, '_CHUNK_VALUES', 12 * 80 * 7)
    pieces = VariationScorer.fit(good_parts(12, shape), {}).to_arrays()
    for key, array in whole.items():
        np.testing.assert_array_equal(array, pieces[key])


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    strategies.integers(0, 2**32 - 1),
    strategies.integers(2, 8),
    strategies.sampled_from([SIZE, (*SIZE, 3)]),
)
def test_no_nan_leaves_the_scorer(seed, count, shape):
    rng = np.random.default_rng(seed)
    taught = []
    for _ in range(count):
        valid = rng.random(SIZE) < rng.uniform(0.6, 1)
        taught.append(prepared(rng.integers(0, 256, shape, np.uint8), valid))
    part = prepared(rng.integers(0, 256, shape, np.uint8), rng.random(SIZE) < 0.9)
    output = VariationScorer.fit(taught, {'floor_levels': 0.5}).score(part)
    assert np.isfinite(list(output.measures.values())).all()
    assert np.isfinite(output.anomaly_map).all()
    assert output.anomaly_map.min() >= 0
    assert (output.anomaly_map[~part.valid] == 0).all()
    assert all(type(value) is float for value in output.measures.values())


def test_scores_do_not_depend_on_the_frames_before():
    scorer = VariationScorer.fit(good_parts(), {})
    first = scorer.score(prepared(good_image(99)))
    kept = first.anomaly_map.copy()
    scorer.score(prepared(good_image(98)))
    np.testing.assert_array_equal(first.anomaly_map, kept)
    assert scorer.score(prepared(good_image(99))).measures == first.measures


def test_comes_back_the_same_from_its_arrays():
    scorer = VariationScorer.fit(good_parts(), {'smooth_px': 5})
    again = VariationScorer.from_arrays(scorer.to_arrays(), {'smooth_px': 5})
    part = prepared(good_image(99))
    assert again.score(part).measures == scorer.score(part).measures


@pytest.mark.parametrize(
    ('key', 'value', 'match'),
    [
        ('mean', None, "lack 'mean'"),
        ('mean', np.zeros(SIZE, np.uint8), 'float32'),
        ('mean', np.full(SIZE, np.inf, np.float32), 'finite'),
        ('deviation', np.full(SIZE, -1, np.float32), 'negative'),
        ('deviation', np.zeros((60, 79), np.float32), 'sizes disagree'),
        ('judged', np.ones((59, 80), np.bool_), 'sizes disagree'),
    ],
)
def test_broken_arrays_are_refused(key, value, match):
    arrays = VariationScorer.fit(good_parts(3), {}).to_arrays()
    if value is None:
        del arrays[key]
    else:
        arrays[key] = value
    with pytest.raises(RecipeError, match=match):
        VariationScorer.from_arrays(arrays, {})


def test_wrong_settings_images_and_frames_are_refused():
    with pytest.raises(SettingError, match=r'floor_levels is 0; allowed: a number from 0\.5'):
        VariationScorer.fit(good_parts(3), {'floor_levels': 0})
    with pytest.raises(SettingError, match="no setting 'floor'"):
        VariationScorer.fit(good_parts(3), {'floor': 3})
    with pytest.raises(FrameError, match='1 good images; at least 2'):
        VariationScorer.fit(good_parts(1), {})
    scorer = VariationScorer.fit(good_parts(3), {})
    for shape in ((60, 81), (61, 80), (60, 80, 3)):
        with pytest.raises(FrameError, match='80x60 uint8'):
            scorer.score(prepared(good_image(1, shape)))
    with pytest.raises(FrameError, match='float32'):
        scorer.score(prepared(good_image(1).astype(np.float32)))
