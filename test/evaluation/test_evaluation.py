# SPDX-License-Identifier: Apache-2.0
"""
The figures of an evaluation against scikit-learn, SciPy and plain loops over all pixels.

"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import binomtest
from sklearn.metrics import (
    auc,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    roc_auc_score,
    roc_curve,
)

from anomaly_inspection.evaluation.figures import (
    auroc_difference,
    balanced_accuracy,
    bootstrap_counts,
    f1,
    proportion,
    ranking,
    ranking_in_draws,
)
from anomaly_inspection.evaluation.pixel_figures import map_histograms, pixel_figures


def labelled_scores(seed=0, n_good=30, n_defect=50, ties=True):
    generator = np.random.default_rng(seed)
    is_defect = generator.permutation(np.arange(n_good + n_defect) < n_defect)
    scores = generator.normal(size=is_defect.size) + is_defect
    return is_defect, np.round(scores, 1) if ties else scores


# ------------------------------------------------------------------------------------ intervals


@pytest.mark.parametrize(('count', 'total'), [(0, 12), (12, 12), (3, 12), (1, 1), (230, 300)])
def test_proportions_have_the_exact_interval(count, total):
    found = proportion(count, total)
    exact = binomtest(count, total).proportion_ci(method='exact')
    assert found == pytest.approx((count / total, exact.low, exact.high))


def test_a_proportion_of_nothing_is_undefined():
    assert proportion(0, 0) is None


def test_every_draw_keeps_the_number_of_each_class():
    is_defect, _ = labelled_scores()
    counts = bootstrap_counts(is_defect)
    assert (counts[:, is_defect].sum(axis=1) == 50).all()
    assert (counts[:, ~is_defect].sum(axis=1) == 30).all()
    assert np.array_equal(counts, bootstrap_counts(is_defect))
    assert not np.array_equal(counts[0], counts[1])


def test_intervals_hold_the_figure_and_narrow_with_more_images():
    few, many = (
        ranking(*labelled_scores(n_good=20 * n, n_defect=20 * n, ties=False)) for n in (1, 25)
    )
    for small, large in zip(few, many, strict=True):
        assert small.low <= small.value <= small.high
        assert large.high - large.low < 0.5 * (small.high - small.low)


# -------------------------------------------------------------------------------------- ranking


@pytest.mark.parametrize('ties', [True, False])
def test_draws_are_counted_as_scikit_learn_counts_them(ties):
    is_defect, scores = labelled_scores(ties=ties)
    counts = bootstrap_counts(is_defect)[:20]
    found = np.array(ranking_in_draws(is_defect, scores, counts)).T
    for row, count in zip(found, counts, strict=True):
        labels, drawn = np.repeat(is_defect, count), np.repeat(scores, count)
        best_f1 = max(f1_score(labels, drawn >= limit) for limit in np.unique(drawn))
        expected = (
            roc_auc_score(labels, drawn),
            average_precision_score(labels, drawn),
            best_f1,
        )
        assert row == pytest.approx(expected)


def test_the_figure_itself_is_that_of_each_image_once():
    is_defect, scores = labelled_scores()
    found = ranking(is_defect, scores)
    once = ranking_in_draws(is_defect, scores, np.ones((1, scores.size), np.int32))
    assert [one.value for one in found] == pytest.approx([float(one[0]) for one in once])


def test_only_the_order_of_scores_counts():
    is_defect, scores = labelled_scores()
    assert ranking(is_defect, np.exp(3 * scores)) == ranking(is_defect, scores)


def test_what_could_not_be_measured_ranks_above_everything():
    is_defect = np.array([False, False, True, True])
    assert ranking(is_defect, np.array([0.1, 0.2, 0.3, np.inf])).image_auroc.value == 1.0
    assert ranking(is_defect, np.array([0.1, np.inf, 5.0, 9.0])).image_auroc.value == 0.5


@pytest.mark.parametrize('is_defect', [[True, True], [False, False], []])
def test_one_class_alone_has_no_ranking(is_defect):
    labels = np.array(is_defect, bool)
    assert ranking(labels, np.zeros(labels.size)) is None
    assert balanced_accuracy(labels, np.zeros(labels.size, bool)) is None


def test_balanced_accuracy_is_that_of_scikit_learn():
    is_defect, scores = labelled_scores()
    found = balanced_accuracy(is_defect, scores > 0.7)
    assert found.value == pytest.approx(balanced_accuracy_score(is_defect, scores > 0.7))
    assert found.low < found.value < found.high


def test_f1_is_that_of_scikit_learn():
    is_defect, scores = labelled_scores()
    found = f1(is_defect, scores > 0.7)
    assert found.value == pytest.approx(f1_score(is_defect, scores > 0.7))
    assert found.low < found.value < found.high
    assert f1(is_defect, np.zeros(is_defect.size, bool)) == (0, 0, 0)
    assert f1(np.ones(3, bool), np.ones(3, bool)) is None


def test_the_difference_of_two_aurocs_is_paired():
    is_defect, scores = labelled_scores(ties=False)
    noise = np.random.default_rng(5).normal(size=scores.size)
    other = scores + 0.2 * noise
    found = auroc_difference(is_defect, scores, other)
    expected = roc_auc_score(is_defect, other) - roc_auc_score(is_defect, scores)
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    # Much the same scores: drawn apart, the difference would be as wide as both together.
    alone = ranking(is_defect, scores).image_auroc
    assert found.high - found.low < 0.5 * (alone.high - alone.low)
    swapped = auroc_difference(is_defect, other, scores)
    assert swapped == pytest.approx((-found.value, -found.high, -found.low))
    assert auroc_difference(is_defect, scores, np.exp(scores)) == (0, 0, 0)
    assert auroc_difference(np.ones(3, bool), np.zeros(3), np.zeros(3)) is None


def test_a_better_score_is_told_from_a_guess():
    is_defect, scores = labelled_scores(n_good=100, n_defect=100, ties=False)
    guess = np.random.default_rng(6).normal(size=scores.size)
    assert auroc_difference(is_defect, guess, scores).low > 0


# --------------------------------------------------------------------------------------- pixels


def maps_and_masks(seed=0, count=6, size=(40, 48)):
    generator = np.random.default_rng(seed)
    maps, masks = [], []
    for index in range(count):
        mask = np.zeros(size, bool)
        if index % 3:
            mask[5 : 9 + index, 6:12] = True
            mask[28:31, 30 : 33 + 2 * index] = True
            # Touches the other by a corner only: still one region.
            mask[31:34, 33 + 2 * index : 36 + 2 * index] = True
        noise = ndimage.gaussian_filter(generator.normal(size=size), 1.5)
        maps.append((np.exp(2 * noise) + 0.5 * mask * generator.random(size)).astype(np.float32))
        masks.append(mask)
    return maps, masks


def by_all_pixels(maps, masks):
    """
    Pixel AUROC by scikit-learn; AUPRO as written in the paper, one threshold after another.

    """
    labels = np.concatenate([mask.ravel() for mask in masks])
    values = np.concatenate([one.ravel() for one in maps])
    regions = []
    for one, mask in zip(maps, masks, strict=True):
        numbers, count = ndimage.label(mask, np.ones((3, 3)))
        regions += [one[numbers == number] for number in range(1, count + 1)]
    background = values[~labels]
    curve = [(0.0, 0.0)]
    for limit in np.unique(values)[::-1]:
        overlap = np.mean([(region >= limit).mean() for region in regions])
        curve.append(((background >= limit).mean(), overlap))
    x, y = np.array(curve).T
    fine = np.append(x[x < 0.3], 0.3)
    return roc_auc_score(labels, values), auc(fine, np.interp(fine, x, y)) / 0.3


def values_of(maps, masks):
    found = pixel_figures(
        [map_histograms(one, mask) for one, mask in zip(maps, masks, strict=True)]
    )
    return found.pixel_auroc.value, found.aupro.value


@pytest.mark.parametrize('seed', range(3))
def test_pixel_figures_are_those_of_all_pixels_sorted(seed):
    maps, masks = maps_and_masks(seed)
    assert values_of(maps, masks) == pytest.approx(by_all_pixels(maps, masks), abs=1e-3)


def test_values_that_the_histograms_can_tell_apart_give_the_exact_figures():
    maps, masks = maps_and_masks()
    coarse = [np.exp2(np.round(4 * np.log2(one)) / 4 - 3).astype(np.float32) for one in maps]
    labels = np.concatenate([mask.ravel() for mask in masks])
    values = np.concatenate([one.ravel() for one in coarse])
    assert len(roc_curve(labels, values, drop_intermediate=False)[0]) > 10
    assert values_of(coarse, masks)[0] == pytest.approx(roc_auc_score(labels, values), abs=1e-9)


def test_pixel_intervals_hold_the_figure():
    found = pixel_figures(list(map(map_histograms, *maps_and_masks(count=12))))
    for one in found:
        assert one.low < one.value < one.high


def test_a_perfect_map_gives_one_and_its_opposite_zero():
    _, masks = maps_and_masks()
    maps = [mask.astype(np.float32) for mask in masks]
    assert values_of(maps, masks) == pytest.approx((1.0, 1.0))
    assert values_of([-one for one in maps], masks) == pytest.approx((0.0, 0.0))


def test_a_map_that_shows_nothing_is_a_guess():
    maps, masks = maps_and_masks()
    # Half of what a guess finds up to a false-positive rate of 0.3.
    assert values_of([0 * one for one in maps], masks) == pytest.approx((0.5, 0.15))


def test_small_defects_count_as_much_as_large_ones_in_aupro_alone():
    mask = np.zeros((60, 60), bool)
    mask[5:35, 5:35] = True
    mask[50:52, 50:52] = True
    finds_large = np.zeros((60, 60), np.float32)
    finds_large[5:35, 5:35] = 1
    auroc, aupro = values_of([finds_large], [mask])
    assert auroc > 0.99
    assert 0.5 < aupro < 0.6


def test_without_masks_or_without_background_there_are_no_pixel_figures():
    flat = np.ones((4, 4), np.float32)
    assert pixel_figures([]) is None
    assert pixel_figures([map_histograms(flat, flat < 0)]) is None
    assert pixel_figures([map_histograms(flat, np.ones((4, 4), bool))]) is None
