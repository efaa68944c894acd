# SPDX-License-Identifier: Apache-2.0
"""
The template scorer: finding the like of a frame in a bank, and what differs from it.

"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
from anomaly_inspection.learning.teach import teach
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.scoring import template
from anomaly_inspection.scoring.template import TemplateScorer

SIZE = (72, 96)
ROOM = 16


def clipped(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def scene(kind, channels=()):
    shape = (SIZE[0] + 2 * ROOM, SIZE[1] + 2 * ROOM, *channels)
    rng = np.random.default_rng(kind)
    return clipped(cv2.GaussianBlur(rng.normal(128, 300, shape), (0, 0), 3))


def part(kind, seed=0, shift=(0, 0), levels=2.0, channels=()):
    """
    Give a part of a kind, moved by (x, y) px.

    """
    rows = slice(ROOM - shift[1], ROOM - shift[1] + SIZE[0])
    columns = slice(ROOM - shift[0], ROOM - shift[0] + SIZE[1])
    image = scene(kind, channels)[rows, columns]
    noise = np.random.default_rng(1000 + seed).normal(0, levels, image.shape)
    return clipped(image + noise)


def prepared(image, valid=None):
    valid = np.ones(image.shape[:2], np.bool_) if valid is None else valid
    return Prepared(image, valid, np.eye(2, 3), None)


def bank(kinds=12, each=1, settings=None, channels=()):
    images = [
        prepared(part(kind, 50 * kind + seed, channels=channels))
        for seed in range(each)
        for kind in range(kinds)
    ]
    return TemplateScorer.fit(images, settings or {})


def marked(image, x=50, y=30):
    image = image.copy()
    image[y : y + 5, x : x + 5] = np.where(image[y : y + 5, x : x + 5] < 128, 255, 0)
    return image


@pytest.mark.parametrize('channels', [(), (3,)])
@pytest.mark.parametrize('each', [1, 4])
def test_finds_the_right_one_of_many(each, channels):
    scorer = bank(each=each, channels=channels)
    assert scorer.to_arrays()['counts'].tolist() == [each] * 12
    for kind in (0, 5, 11):
        output = scorer.score(prepared(part(kind, 999, channels=channels)))
        assert output.measures['best_ncc'] > 0.98
        assert output.measures['peak_difference'] < 2
        assert set(output.measures) == {measure.name for measure in TemplateScorer.measures}
        assert all(type(value) is float for value in output.measures.values())
        assert output.anomaly_map.shape == SIZE
        assert output.anomaly_map.dtype == np.float32


def test_takes_the_best_and_not_the_first_that_is_alike():
    # Nine tenths of the one are the other: both correlate, one does so better.
    like = part(0).astype(np.float32)
    other = part(1).astype(np.float32)
    variants = [clipped(like), clipped(0.85 * like + 0.15 * other)]
    for order in (variants, variants[::-1]):
        scorer = TemplateScorer.fit([prepared(one) for one in order], {'same_ncc': 1.0})
        for one in variants:
            output = scorer.score(prepared(one))
            assert output.measures == {
                'best_ncc': pytest.approx(1, abs=1e-6),
                'peak_difference': 0.0,
            }


def test_variants_that_differ_in_fine_structure_alone_are_told_apart():
    rng = np.random.default_rng(0)
    variants = [clipped(part(0) + rng.normal(0, 25, SIZE)) for _ in range(5)]
    scorer = TemplateScorer.fit([prepared(one) for one in variants], {})
    assert scorer.to_arrays()['counts'].tolist() == [1] * 5
    for one in variants:
        frame = cv2.warpAffine(one, np.array([[1.0, 0, 1], [0, 1, 2]]), SIZE[::-1])
        assert scorer.score(prepared(frame)).measures['best_ncc'] > 0.99


def test_a_part_of_no_taught_class_is_nothing_like():
    scorer = bank(each=3)
    stranger = scorer.score(prepared(part(77))).measures
    assert stranger['best_ncc'] < 0.7
    assert stranger['peak_difference'] > 5
    flat = scorer.score(prepared(np.full(SIZE, 128, np.uint8))).measures
    assert flat['best_ncc'] < 0.1


@pytest.mark.parametrize('shift', [(0, 0), (2, -3)])
@pytest.mark.parametrize('each', [1, 6])
def test_a_defect_shows_where_it_is(each, shift):
    output = bank(each=each).score(prepared(marked(part(4, 99, shift))))
    assert output.measures['peak_difference'] > 8
    y, x = np.unravel_index(output.anomaly_map.argmax(), SIZE)
    assert 30 <= y < 35
    assert 50 <= x < 55
    elsewhere = output.anomaly_map.copy()
    elsewhere[24:41, 44:61] = 0
    assert elsewhere.max() < 2


@pytest.mark.parametrize('shift', [(3, 0), (0, -3), (-3, 3), (-2, -1)])
def test_a_shift_within_the_search_stays_quiet(shift):
    output = bank().score(prepared(part(2, 99, shift)))
    assert output.measures['best_ncc'] > 0.98
    assert output.measures['peak_difference'] < 2


def test_a_shift_beyond_the_search_does_not():
    far = prepared(part(2, 99, (10, 0)))
    assert bank().score(far).measures['best_ncc'] < 0.8
    assert bank().score(far).measures['peak_difference'] > 4
    # The search ends at an eighth of the smaller side.
    near = prepared(part(2, 99, (8, 0)))
    wide = bank(settings={'search_px': 20, 'candidates': 12}).score(near)
    assert wide.measures['best_ncc'] > 0.98


def test_what_the_shift_leaves_below_a_pixel_is_tolerated():
    move = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    moved = cv2.warpAffine(part(2), move, SIZE[::-1], borderMode=cv2.BORDER_REFLECT)
    strict, tolerant = (
        bank(settings={'edge_px': edge}).score(prepared(moved)).measures['peak_difference']
        for edge in (0, 1)
    )
    assert strict > 2 * tolerant
    assert tolerant < 2


def test_a_single_part_may_bend_and_still_shows_a_defect():
    bent = np.hstack([part(2, 1)[:, :48], part(2, 1, (1, 1))[:, 48:]])
    stiff, loose = (bank(settings={'bend_px': bend_px, 'edge_px': 0}) for bend_px in (0, 1))
    peak = 'peak_difference'
    good = loose.score(prepared(bent)).measures[peak]
    assert stiff.score(prepared(bent)).measures[peak] > 2 * good
    assert loose.score(prepared(marked(bent))).measures[peak] > 2 * good


def test_parts_of_a_class_are_moved_onto_each_other():
    shifts = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    images = [part(0, seed, shift) for seed, shift in enumerate(shifts)]
    arrays = TemplateScorer.fit([prepared(image) for image in images], {}).to_arrays()
    assert arrays['counts'].tolist() == [9]
    assert np.median(arrays['deviations'] / 2) == pytest.approx(2.0, abs=0.6)


def test_the_same_difference_counts_less_where_the_class_varies():
    images = [part(0, seed) for seed in range(20)]
    rng = np.random.default_rng(0)
    for image in images:
        image[:, 60:] = clipped(image[:, 60:] + rng.normal(0, 18))
    scorer = TemplateScorer.fit([prepared(image) for image in images], {'same_ncc': 0.6})
    assert scorer.to_arrays()['counts'].tolist() == [20]
    anomaly_map = scorer.score(prepared(clipped(part(0, 99) + 20.0))).anomaly_map
    assert anomaly_map[:, 4:56].mean() > 1.5 * anomaly_map[:, 64:92].mean()


def test_a_full_bank_keeps_those_that_stand_for_most():
    images = [prepared(part(kind, seed)) for kind in range(4) for seed in range(kind + 1)]
    arrays = TemplateScorer.fit(images, {'templates': 2}).to_arrays()
    assert arrays['counts'].tolist() == [4, 3]


def test_the_bank_has_an_end(monkeypatch):
    monkeypatch.setattr(template, '_MOST_VALUES', 5 * SIZE[0] * SIZE[1])
    assert len(bank(kinds=8).to_arrays()['means']) == 5


def test_pixels_outside_the_valid_area_do_not_matter():
    valid = np.ones(SIZE, np.bool_)
    valid[:, :20] = False
    image = part(5, 99, (1, 2))
    image[:, :20] = 255
    output = bank().score(prepared(image, valid))
    assert output.measures['best_ncc'] > 0.98
    assert output.measures['peak_difference'] < 2
    assert (output.anomaly_map[:, :20] == 0).all()
    other = image.copy()
    other[:, :20] = 0
    again = bank().score(prepared(other, valid))
    assert again.measures['peak_difference'] == output.measures['peak_difference']
    assert again.measures['best_ncc'] == output.measures['best_ncc']
    with pytest.raises(FrameError, match='no template covers half'):
        bank().score(prepared(image, np.zeros(SIZE, np.bool_)))


def test_what_no_taught_part_showed_is_not_judged():
    valid = np.ones(SIZE, np.bool_)
    valid[:12] = False
    images = [part(kind, seed) for kind in (0, 1) for seed in (3, 4)]
    for seed, image in enumerate(images):
        image[:12] = 80 * seed
    scorer = TemplateScorer.fit([prepared(image, valid) for image in images], {})
    assert scorer.to_arrays()['counts'].tolist() == [2, 2]
    for mean in scorer.to_arrays()['means']:
        np.testing.assert_allclose(mean[:12], mean[12:].mean(), atol=1)
    output = scorer.score(prepared(part(1, 99)))
    assert output.measures['best_ncc'] > 0.98
    assert output.measures['peak_difference'] < 2
    assert (output.anomaly_map[:12] == 0).all()


def test_scores_do_not_depend_on_the_frames_before():
    scorer = bank(each=2)
    first = scorer.score(prepared(part(3, 99)))
    kept = first.anomaly_map.copy()
    scorer.score(prepared(marked(part(3, 98))))
    np.testing.assert_array_equal(first.anomaly_map, kept)
    assert scorer.score(prepared(part(3, 99))).measures == first.measures


@pytest.mark.parametrize('channels', [(), (3,)])
def test_comes_back_the_same_from_its_arrays(channels):
    settings = {'search_px': 2, 'smooth_px': 3}
    scorer = bank(each=3, settings=settings, channels=channels)
    again = TemplateScorer.from_arrays(scorer.to_arrays(), settings)
    for frame in (part(7, 99, channels=channels), part(77, channels=channels)):
        one, two = (each.score(prepared(frame)) for each in (scorer, again))
        assert one.measures == two.measures
        np.testing.assert_array_equal(one.anomaly_map, two.anomaly_map)


@pytest.mark.parametrize(
    ('key', 'value', 'match'),
    [
        ('means', None, "lack 'means'"),
        ('deviations', None, "lack 'deviations'"),
        ('counts', None, "lack 'counts'"),
        ('means', np.zeros((3, *SIZE), np.float32), 'uint8'),
        ('means', np.zeros(SIZE, np.uint8), '3 or 4 dimensions'),
        ('means', np.zeros((0, *SIZE), np.uint8), 'shape'),
        ('means', np.zeros((3, *SIZE, 2), np.uint8), 'channels'),
        ('deviations', np.zeros((3, 72, 95), np.uint8), 'sizes disagree'),
        ('deviations', np.full((3, *SIZE), 255, np.uint8), 'no judged pixel'),
        ('counts', np.ones(2, np.int32), 'sizes disagree'),
        ('counts', np.array([1, 0, 1], np.int32), 'a count is 0'),
    ],
)
def test_broken_arrays_are_refused(key, value, match):
    arrays = bank(kinds=3).to_arrays()
    if value is None:
        del arrays[key]
    else:
        arrays[key] = value
    if match == 'channels':
        arrays['deviations'] = value
    with pytest.raises(RecipeError, match=match):
        TemplateScorer.from_arrays(arrays, {})


def test_wrong_settings_images_and_frames_are_refused():
    with pytest.raises(SettingError, match=r'search_px is 33; allowed: a whole number from 0'):
        bank(settings={'search_px': 33})
    with pytest.raises(SettingError, match="no setting 'classes'"):
        bank(settings={'classes': 3})
    with pytest.raises(FrameError, match='0 good images'):
        TemplateScorer.fit([], {})
    for image in (part(0)[:, 1:], part(0, channels=(3,)), part(0).astype(np.float32)):
        with pytest.raises(FrameError, match='96x72 uint8'):
            bank(kinds=1).score(prepared(image))


@pytest.mark.parametrize('size', [(1, 9), (2, 9), (9, 40)])
def test_small_images_are_compared_too(size):
    rng = np.random.default_rng(0)
    images = [prepared(rng.integers(0, 256, size, np.uint8)) for _ in range(4)]
    output = TemplateScorer.fit(images, {}).score(images[2])
    assert output.measures['best_ncc'] == pytest.approx(1.0)
    assert output.measures['peak_difference'] == 0.0


def test_a_recipe_is_taught_and_judges_by_it(tmp_path):
    frames = [part(kind, 50 * kind + seed) for kind in range(3) for seed in range(12)]
    plain = PreprocessingSettings.from_mapping({'alignment': {'kind': 'none'}, 'light': 'none'})
    taught = teach(frames, name='dice', scorers=('template',), preprocessing=plain)
    recipe = read_recipe(write_recipe(taught, tmp_path / 'dice').path)
    limits = recipe.scorers['template'].limits
    assert recipe.scorers['template'].arrays['counts'].tolist() == [12, 12, 12]
    scorer = recipe.frame_scorer()
    for kind in range(3):
        good = scorer.score(part(kind, 999))[0].measures
        bad = scorer.score(marked(part(kind, 999)))[0].measures
        assert good['best_ncc'] > limits['best_ncc'].limit
        assert good['peak_difference'] < limits['peak_difference'].limit
        assert bad['peak_difference'] > limits['peak_difference'].limit
    stranger = scorer.score(part(77))[0].measures
    assert stranger['best_ncc'] < limits['best_ncc'].limit


def test_limits_of_many_variants_come_from_those_that_have_their_like():
    plain = PreprocessingSettings.from_mapping({'alignment': {'kind': 'none'}, 'light': 'none'})
    single = [part(kind, kind) for kind in range(20, 36)]
    with pytest.raises(SettingError, match='0 of 16 good images have their like'):
        teach(single, name='boards', scorers=('template',), preprocessing=plain)
    pairs = [part(kind, 50 * kind + seed) for kind in range(8) for seed in range(2)]
    taught = teach([*single, *pairs], name='boards', scorers=('template',), preprocessing=plain)
    recipe = taught.scorers['template']
    assert sorted(recipe.arrays['counts'].tolist()) == [1] * 16 + [2] * 8
    assert len(recipe.good['best_ncc']) == 16
    assert recipe.limits['best_ncc'].limit > 0.9
    assert taught.provenance.left_out == ()
