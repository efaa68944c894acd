# SPDX-License-Identifier: Apache-2.0
"""
The drift watch on the simulated line: each cause alone, pairs, and no change at all.

"""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from anomaly_inspection.drift.causes import CauseKind
from anomaly_inspection.drift.picture import DriftPicture
from anomaly_inspection.drift.reference import DriftReference
from anomaly_inspection.drift.watch import DriftStatus, DriftWatch
from support.drift_line import (
    AS_TAUGHT,
    BELT,
    DARK_BATCH,
    DIRT,
    FOCUS,
    LAMP,
    SHIFTED,
    TaughtLine,
    TURNED,
)

CAUSES = {
    'lamp': (LAMP, CauseKind.LIGHT, 'light -'),
    'focus': (FOCUS, CauseKind.FOCUS, 'sharpness -'),
    'dirt': (DIRT, CauseKind.DIRT, 'one place of the picture'),
    'turned camera': (TURNED, CauseKind.CAMERA, 'counter-clockwise'),
    'shifted camera': (SHIFTED, CauseKind.CAMERA, 'further right'),
    'belt': (BELT, CauseKind.BELT, 'around the part'),
    'dark batch': (DARK_BATCH, CauseKind.PARTS, 'brightness of the part -'),
}
PAIRS = {
    'lamp and dirt': (
        replace(LAMP, dirt_share=DIRT.dirt_share, dirt_diameter_px=DIRT.dirt_diameter_px),
        {CauseKind.LIGHT, CauseKind.DIRT},
    ),
    'lamp and turned camera': (
        replace(LAMP, turned_deg=TURNED.turned_deg),
        {CauseKind.LIGHT, CauseKind.CAMERA},
    ),
    'belt and focus': (
        replace(BELT, defocus_px=FOCUS.defocus_px),
        {CauseKind.BELT, CauseKind.FOCUS},
    ),
}


@pytest.fixture(scope='module')
def line():
    return TaughtLine()


@pytest.mark.parametrize('cause', CAUSES)
def test_each_cause_alone_is_named(line, cause):
    change, kind, words = CAUSES[cause]
    watch = DriftWatch(line.reference)

    parts = line.feed(watch, change, until_alarm=True)

    assert [each.kind for each in watch.verdict.causes] == [kind]
    assert words in watch.verdict.causes[0].text
    assert parts <= 60
    # More parts change nothing about the name.
    line.feed(watch, change, parts=25, first=1100)
    assert {each.kind for each in watch.verdict.causes} == {kind}


@pytest.mark.parametrize('pair', PAIRS)
def test_two_causes_are_both_named(line, pair):
    change, kinds = PAIRS[pair]
    watch = DriftWatch(line.reference)

    line.feed(watch, change, parts=60)

    assert {each.kind for each in watch.verdict.causes} == kinds


def test_a_line_that_is_as_taught_gives_no_alarm_and_a_change_is_dated(line):
    watch = DriftWatch(line.reference)
    line.feed(watch, parts=100, first=1000)
    assert watch.verdict == watch.verdict.__class__(DriftStatus.VALID, (), 100)

    line.feed(watch, LAMP, first=1100, until_alarm=True)

    assert watch.verdict.status is DriftStatus.VOID
    assert watch.verdict.since_s == pytest.approx(1100, abs=6)
    assert watch.verdict.causes[0].change == pytest.approx(-8.0, abs=3.0)


def test_the_promise_holds_again_when_the_lamp_was_replaced(line):
    watch = DriftWatch(line.reference)
    line.feed(watch, LAMP, parts=50)
    assert watch.verdict.status is DriftStatus.VOID

    line.feed(watch, parts=90, first=2000)

    assert watch.verdict.status is DriftStatus.VALID


def test_measures_that_rise_alone_are_the_parts(line):
    rng = np.random.default_rng(1)
    good = {'ssim.mean_ssim': rng.normal(0.95, 0.01, 40), 'ssim.mse': rng.normal(40, 4, 40)}
    reference = DriftReference(
        line.reference.conditions,
        DriftReference.of_arrays(
            {'light': rng.normal(0, 0.02, 40)}, good, frozenset({'ssim.mean_ssim'}), 40
        ).measures,
        frozenset({'ssim.mean_ssim'}),
        line.reference.cells,
        40,
    )
    watch = DriftWatch(reference)
    for at in range(80):
        measures = {
            'ssim.mean_ssim': rng.normal(0.92, 0.01),
            'ssim.mse': rng.normal(40, 4),
            'unknown.measure': 1.0,
        }
        watch.feed(line.taught[at % 40], measures, has_passed=True, now_s=at)

    assert [cause.kind for cause in watch.verdict.causes] == [CauseKind.PARTS]
    assert 'ssim.mean_ssim -0.0' in watch.verdict.causes[0].text
    # Parts that look better than the taught ones change nothing.
    watch = DriftWatch(reference)
    for at in range(80):
        measures = {'ssim.mean_ssim': 0.99, 'ssim.mse': 20.0}
        watch.feed(line.taught[at % 40], measures, has_passed=True, now_s=at)
    assert watch.verdict.status is DriftStatus.VALID


def test_a_recipe_without_reference_is_watched_from_its_first_good_parts_on(line):
    watch = DriftWatch(None, learned_parts=40)
    assert watch.verdict.status is DriftStatus.UNKNOWN
    line.feed(watch, parts=39, first=3000)
    assert watch.verdict.status is DriftStatus.LEARNING
    assert watch.verdict.parts == 39
    line.feed(watch, parts=1, first=3039)
    assert watch.verdict.status is DriftStatus.VALID
    assert watch.reference.is_learned_on_line

    line.feed(watch, FOCUS, until_alarm=True)

    assert [each.kind for each in watch.verdict.causes] == [CauseKind.FOCUS]


def test_single_rejects_tell_nothing_and_a_line_that_rejects_everything_does(line):
    watch = DriftWatch(line.reference)
    for at in range(60):
        # Every second part is bad.
        change = TURNED if at % 2 else AS_TAUGHT
        watch.feed(line.conditions(at, change), {}, has_passed=not at % 2, now_s=at)
    assert watch.verdict.status is DriftStatus.VALID

    for at in range(90):
        watch.feed(line.conditions(at, TURNED), {}, has_passed=False, now_s=100 + at)
    assert watch.verdict.causes[0].kind is CauseKind.CAMERA


def test_the_picture_shows_what_changed_beside_what_was_taught(line):
    picture = DriftPicture(line.meter, line.references)
    assert picture.jpeg(as_it_lies=True) == b''
    for index in range(12):
        frame = line.frame(index, DIRT)
        picture.add(frame, line.alignment_of(frame))

    watch = DriftWatch(line.reference)
    line.feed(watch, DIRT, until_alarm=True)

    content = picture.jpeg(as_it_lies=True, cells=watch.moved_cells['image_cells'])
    sheet = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)

    assert len(content) < 100_000
    assert sheet.shape == (240 + 22, 2 * 320 + 6, 3)
    # Orange is nowhere but in the mark, which is on the right.
    orange = (sheet[:, :, 2].astype(int) - sheet[:, :, 0] > 100).nonzero()
    assert orange[0].size > 20
    assert orange[1].min() > 320
    # The spot is at 42 % from the left and 55 % from the top.
    x, y = np.median(orange[1]) - 326, np.median(orange[0]) - 22
    assert abs(x - 0.42 * 320) < 15
    assert abs(y - 0.55 * 240) < 15
