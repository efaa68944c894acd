# SPDX-License-Identifier: Apache-2.0
"""
Regions found against defects marked, by examples computed by hand and by what must always hold.

"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.evaluation.region_figures import (
    box_ious,
    check_iou,
    found_mask,
    match_regions,
    region_figures,
)

SIZE = (40, 60)


def mask(*boxes):
    """
    Give a mask with filled half-open boxes (x_min, y_min, x_max, y_max).

    """
    made = np.zeros(SIZE, bool)
    for x_min, y_min, x_max, y_max in boxes:
        made[y_min:y_max, x_min:x_max] = True
    return made


def random_mask(generator):
    made = mask()
    for _ in range(generator.integers(0, 7)):
        x, y = generator.integers(0, 50), generator.integers(0, 30)
        width, height = generator.integers(2, 10, 2)
        made |= mask((x, y, x + width, y + height))
    return made


def same(one, other):
    return (
        one.box_ious == pytest.approx(other.box_ious)
        and one.mask_ious == pytest.approx(other.mask_ious)
        and one.union_iou == pytest.approx(other.union_iou, nan_ok=True)
    )


# -------------------------------------------------------------------------------------- matching


def test_boxes_are_half_open():
    boxes = np.array([[0, 0, 10, 10]])
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 5, 5]])
    # Half of each is shared: 50 of 150. Boxes that touch share nothing. 25 of 100.
    assert box_ious(boxes, others)[0] == pytest.approx([1, 1 / 3, 0, 1 / 4])


def test_an_example_by_hand():
    # One defect is met exactly, one by 8x10 of its 10x10 px and 2x10 px beside it, one not at all;
    # one region lies where there is nothing.
    true = mask((0, 0, 10, 10), (20, 0, 30, 10), (40, 20, 50, 30))
    found = mask((0, 0, 10, 10), (22, 0, 32, 10), (0, 30, 4, 34))
    match = match_regions(true, found)
    assert (match.true_count, match.found_count) == (3, 3)
    assert sorted(match.box_ious) == pytest.approx([80 / 120, 1])
    assert sorted(match.mask_ious) == pytest.approx([80 / 120, 1])
    assert match.union_iou == pytest.approx(180 / (100 + 120 + 100 + 16))
    figures = region_figures([match])
    for agreement in (figures.box, figures.mask):
        assert agreement.precision.value == agreement.recall.value == pytest.approx(2 / 3)
        assert agreement.f1.value == pytest.approx(2 / 3)
        assert agreement.mean_iou.value == agreement.median_iou.value == pytest.approx(5 / 6)


def test_boxes_and_pixels_see_a_slanting_region_differently():
    # A diagonal has the box of the square around it, and a tenth of its pixels.
    diagonal, square = mask(), mask((0, 0, 10, 10))
    diagonal[np.arange(10), np.arange(10)] = True
    match = match_regions(square, diagonal)
    assert (match.true_count, match.found_count) == (1, 1)
    assert match.box_ious == pytest.approx([1])
    assert match.mask_ious.size == 0
    assert match.union_iou == pytest.approx(0.1)


def test_the_least_iou_of_a_match_is_itself_one():
    true, found = mask((0, 0, 10, 10)), mask((5, 0, 15, 10))
    assert match_regions(true, found, 1 / 3).box_ious.size == 1
    assert match_regions(true, found, 1 / 3 + 1e-9).box_ious.size == 0


def test_each_region_meets_one_defect_only():
    halves = mask((0, 0, 10, 10), (11, 0, 21, 10))
    whole = mask((0, 0, 21, 10))
    for true, found in ((halves, whole), (whole, halves)):
        assert match_regions(true, found).box_ious == pytest.approx([100 / 210])


def test_as_many_pairs_as_can_be_are_matched():
    # The wide region fits the wide defect best (16 of 25), but is the only one to fit the narrow
    # defect (4 of 21): the narrow region (3 of 20) is left for the wide one.
    true = mask((0, 0, 20, 10), (21, 0, 25, 10))
    found = mask((4, 0, 25, 10), (0, 0, 3, 10))
    assert sorted(match_regions(true, found, 0.1).box_ious) == pytest.approx([3 / 20, 4 / 21])
    assert match_regions(true, found, 0.2).box_ious == pytest.approx([16 / 25])


@pytest.mark.parametrize('seed', range(20))
def test_the_matching_is_the_best_of_all(seed):
    generator = np.random.default_rng(seed)
    true, found = random_mask(generator), random_mask(generator)
    match = match_regions(true, found, 0.1)
    count = max(match.true_count, match.found_count)
    ious = np.zeros((count, count))
    regions = [_boxes(true), _boxes(found)]
    ious[: match.true_count, : match.found_count] = box_ious(*regions)
    best = max(
        (sum(pairs >= 0.1), pairs[pairs >= 0.1].sum())
        for order in permutations(range(count))
        for pairs in [ious[np.arange(count), list(order)]]
    )
    assert (match.box_ious.size, match.box_ious.sum()) == pytest.approx(best)


def _boxes(one):
    from scipy import ndimage

    slices = ndimage.find_objects(ndimage.label(one, np.ones((3, 3)))[0])
    return np.array([[x.start, y.start, x.stop, y.stop] for y, x in slices], int).reshape(-1, 4)


@pytest.mark.parametrize('seed', range(20))
def test_what_always_holds(seed):
    generator = np.random.default_rng(seed)
    true, found = random_mask(generator), random_mask(generator)
    match, swapped = match_regions(true, found), match_regions(found, true)
    assert same(match, swapped)
    assert (match.true_count, match.found_count) == (swapped.found_count, swapped.true_count)
    for axis in (0, 1):
        assert same(match, match_regions(np.flip(true, axis), np.flip(found, axis)))
    alike = match_regions(true, true)
    assert alike.box_ious == pytest.approx(np.ones(alike.true_count))
    assert alike.mask_ious == pytest.approx(np.ones(alike.true_count))
    assert match.box_ious.size <= min(match.true_count, match.found_count)
    assert np.all((match.box_ious >= 0.33) & (match.box_ious <= 1))


def test_corners_that_touch_make_one_region():
    assert match_regions(mask((0, 0, 5, 5), (5, 5, 9, 9)), mask()).true_count == 1


@pytest.mark.parametrize('at_least', [0.0, -0.1, 1.01, float('nan')])
def test_an_iou_that_says_nothing_is_refused(at_least):
    with pytest.raises(SettingError, match='over 0 and up to 1'):
        check_iou(at_least)


def test_small_regions_are_not_found():
    anomaly_map = np.where(mask((0, 0, 2, 2), (10, 10, 13, 13)), 1.5, 1.0).astype(np.float32)
    assert np.array_equal(found_mask(anomaly_map, 1.0, 5), mask((10, 10, 13, 13)))
    assert np.array_equal(found_mask(anomaly_map, 1.0, 4), mask((0, 0, 2, 2), (10, 10, 13, 13)))
    assert not found_mask(anomaly_map, 1.5, 1).any()


# --------------------------------------------------------------------------------------- figures


def test_nothing_found_is_no_error():
    figures = region_figures(
        [match_regions(mask((0, 0, 9, 9)), mask()), match_regions(*2 * [mask()])]
    )
    assert figures.box.precision is None
    assert figures.box.recall.value == figures.box.f1.value == 0
    assert figures.box.mean_iou is None
    assert figures.union_mask.mean_iou.value == 0


def test_without_defects_there_are_no_figures():
    assert region_figures([]) is None
    assert region_figures([match_regions(mask(), mask((0, 0, 5, 5)))]) is None


def test_what_is_found_in_good_images_is_false():
    defect = match_regions(mask((0, 0, 10, 10)), mask((0, 0, 10, 10)))
    good = match_regions(mask(), mask((0, 0, 5, 5), (20, 20, 25, 25), (40, 0, 45, 5)))
    alone, both = region_figures([defect]), region_figures([defect, good])
    assert alone.box.precision.value == alone.box.f1.value == 1
    assert both.box.recall.value == 1
    assert both.box.precision.value == pytest.approx(1 / 4)
    assert both.box.f1.value == pytest.approx(2 / 5)
    # Only images with a defect have an IoU of all that was found.
    assert both.union_mask == alone.union_mask


def test_means_and_medians_differ_and_the_order_of_images_does_not_count():
    generator = np.random.default_rng(3)
    matches = [
        match_regions(random_mask(generator), random_mask(generator), 0.01) for _ in range(30)
    ]
    pairs = np.concatenate([one.mask_ious for one in matches])
    figures = region_figures(matches)
    assert figures.mask.mean_iou.value == pytest.approx(pairs.mean())
    assert figures.mask.median_iou.value == pytest.approx(np.median(pairs))
    assert figures.mask.mean_iou.value != pytest.approx(figures.mask.median_iou.value)
    turned = region_figures(matches[::-1])
    for one, other in zip(figures, turned, strict=True):
        assert [each.value for each in one] == pytest.approx([each.value for each in other])


def test_intervals_are_those_of_the_images_drawn():
    generator = np.random.default_rng(4)
    matches = [
        match_regions(random_mask(generator), random_mask(generator), 0.1) for _ in range(40)
    ]
    figures = region_figures(matches)
    for estimate in (*figures.box, *figures.mask, figures.union_mask.mean_iou):
        assert 0 <= estimate.low < estimate.value < estimate.high <= 1
    # Every image alike: whatever is drawn, the figures are the same.
    alike = [match_regions(mask((0, 0, 10, 10)), mask((1, 0, 10, 10)))] * 9
    for estimate in region_figures(alike).mask:
        assert estimate.low == pytest.approx(estimate.value)
        assert estimate.high == pytest.approx(estimate.value)
