# SPDX-License-Identifier: Apache-2.0
"""
The report on teaching images says what is wrong with them, and nothing is wrong with good ones.

"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.capture.simulated_frame import render_part
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import Prepared, PreprocessingSettings
from anomaly_inspection.learning.cross_validation import folds_of
from anomaly_inspection.learning.image_quality import image_quality, ImageQuality
from anomaly_inspection.learning.part_preparation import GoodPart
from anomaly_inspection.learning.recipe_calibration import false_rejects_of
from anomaly_inspection.learning.teach import teach, TeachOptions

Image = NDArray[np.uint8]

LINE = SimulatedLineSettings(
    width_px=320, height_px=240, shift_px=4.0, rotation_deg=2.0, light=0.05, defect_rate=0.0
)


def parts(count: int, line: SimulatedLineSettings = LINE) -> list[Image]:
    return [render_part(line, index, with_defect=False).image for index in range(count)]


@pytest.fixture(scope='module')
def good() -> list[Image]:
    return parts(36)


def judged(frames: list[Image]) -> ImageQuality:
    return image_quality([(f'{index}.png', frame) for index, frame in enumerate(frames)])


def problems(quality: ImageQuality) -> dict[str, str]:
    return {found.topic: found.sentence for found in quality.findings if found.is_problem}


def noisy(frame: Image, seed: int, levels: float = 2.0, gain: float = 1.0) -> Image:
    noise = np.random.default_rng(seed).normal(0, levels, frame.shape)
    return np.clip(gain * frame.astype(float) + noise, 0, 255).astype(np.uint8)


def test_nothing_is_wrong_with_the_images_of_a_good_line(good: list[Image]) -> None:
    quality = judged(good)
    assert problems(quality) == {}
    assert (quality.image_count, quality.distinct_count) == (36, 36)
    assert len(set(quality.groups.values())) == 36
    assert quality.can_promise
    assert quality.sentences[0] == '36 images, 36 of them different.'
    assert len(quality.sentences) == 5


def test_copies_of_three_parts_count_as_three(good: list[Image]) -> None:
    frames = [
        noisy(good[number % 3], number, gain=1 + 0.02 * (number % 5)) for number in range(70)
    ]
    quality = judged(frames)
    assert quality.distinct_count == 3
    assert not quality.can_promise
    assert problems(quality)['parts'] == (
        '70 images, but only 3 different ones: put the part down anew each time, and take '
        'several parts.'
    )
    assert [quality.groups[f'{number}.png'] for number in (0, 1, 2, 3, 69)] == [0, 1, 2, 0, 0]


def test_one_part_that_nobody_moved(good: list[Image]) -> None:
    quality = judged([noisy(good[0], number) for number in range(70)])
    assert quality.distinct_count == 1
    assert 'only 1 different one:' in problems(quality)['parts']
    assert 'the part hardly moved' in problems(quality)['position']


def test_copies_survive_compression_and_a_camera_of_many_pixels(good: list[Image]) -> None:
    large = cv2.resize(good[0], (1280, 960), interpolation=cv2.INTER_CUBIC)
    frames = []
    for seed in range(8):
        _, data = cv2.imencode('.jpg', noisy(large, seed), [cv2.IMWRITE_JPEG_QUALITY, 85])
        frames.append(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
    assert judged(frames).distinct_count == 1


def test_pieces_of_one_cloth_are_no_copies() -> None:
    rng = np.random.default_rng(1)
    cloth = cv2.GaussianBlur(rng.normal(0, 60, (400, 2000)), (0, 0), 1.0)
    cloth = np.clip(128 + cloth, 0, 255).astype(np.uint8)
    frames = [cloth[100:228, place : place + 128].copy() for place in range(0, 1800, 150)]
    assert judged(frames).distinct_count == len(frames)
    assert judged([noisy(frames[0], seed) for seed in range(8)]).distinct_count == 1


def test_a_recorded_sequence_stays_together(good: list[Image]) -> None:
    frames = []
    for frame in good[:8]:
        for step in range(5):
            move = np.array([[1.0, 0.0, 1.5 * step], [0.0, 1.0, 0.0]])
            moved = cv2.warpAffine(frame, move, (320, 240), borderMode=cv2.BORDER_REFLECT)
            frames.append(noisy(moved, len(frames)))
    groups = judged(frames).groups
    for start in range(0, 40, 5):
        assert len({groups[f'{start + step}.png'] for step in range(5)}) == 1
    assert len(set(groups.values())) == 8


def test_two_products_in_one_folder(good: list[Image]) -> None:
    other = [np.ascontiguousarray(frame[:, ::-1]) for frame in good[24:]]
    quality = judged(good[:24] + other)
    assert '2 kinds of part (24, 12 images; 24.png' in problems(quality)['kinds']
    named = [(f'{index}', frame) for index, frame in enumerate(good[:24] + other)]
    assert 'kinds' not in problems(image_quality(named, has_classes=True))


def test_a_blurred_third(good: list[Image]) -> None:
    frames = [
        cv2.GaussianBlur(frame, (0, 0), 2.5) if index % 3 == 0 else frame
        for index, frame in enumerate(good)
    ]
    sentence = problems(judged(frames))['focus']
    assert sentence.startswith('12 of 36 images are blurred')
    assert 'Check focus, vibration and exposure time' in sentence


@pytest.mark.parametrize('side', ['left', 'all'])
def test_a_lamp_that_was_off_for_some_images(good: list[Image], side: str) -> None:
    across = np.linspace(0.35, 1.0, 320) if side == 'left' else np.full(320, 0.5)
    frames = [
        np.clip(frame * across[:, None], 0, 255).astype(np.uint8) if index % 4 == 0 else frame
        for index, frame in enumerate(good)
    ]
    sentence = problems(judged(frames))['light']
    assert '9 of 36 images are lit differently' in sentence
    assert 'Is a lamp off' in sentence
    assert ('darker on one side' in sentence) == (side == 'left')


def test_white_that_hides_defects(good: list[Image]) -> None:
    frames = [np.clip(frame.astype(int) * 2, 0, 255).astype(np.uint8) for frame in good[:10]]
    assert 'Shorten the exposure' in problems(judged(frames))['saturation']


def test_a_single_image_and_blank_ones_are_no_fault_of_the_report() -> None:
    blank = np.full((40, 60), 90, np.uint8)
    assert judged([blank]).distinct_count == 1
    assert judged([blank.copy() for _ in range(9)]).distinct_count == 1
    assert judged([np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)]).sentences


def part(name: str, group: int | None, part_class: str = '') -> GoodPart:
    blank = np.zeros((16, 16), np.uint8)
    prepared = Prepared(blank, blank == 0, np.eye(2, 3), None, part_class=part_class)
    return GoodPart(name, prepared, group=group)


def test_copies_share_a_fold_and_classes_are_spread() -> None:
    parts = [part(f'{i}', i // 3, 'long' if i < 45 else 'short') for i in range(90)]
    for folds in (folds_of(parts), folds_of(parts, 3)):
        for start in range(0, 90, 3):
            assert len(set(folds[start : start + 3])) == 1
        assert set(folds[:45]) == set(folds[45:]) == set(folds)
    assert len(set(folds_of(parts))) == 10
    assert len(set(folds_of(parts[:30]))) == 10
    assert len(set(folds_of(parts[:9]))) == 9, 'three groups are too few to divide'
    assert len(set(folds_of([part(f'{i}', None) for i in range(8)]))) == 8


STILL = PreprocessingSettings(alignment=AlignmentSettings('none'))


def test_the_promise_counts_parts_and_not_images(good: list[Image]) -> None:
    options = TeachOptions(scorers=['variation'], preprocessing=STILL)
    copies = [noisy(good[number % 3], number) for number in range(24)]
    recipe = teach(copies, name='part', options=options)
    assert recipe.provenance.independent_count == 3
    assert recipe.provenance.promised_rate == 1.0
    assert any('only 3 different ones' in text for text in recipe.provenance.images)
    promise = false_rejects_of(recipe)
    assert promise is not None
    assert promise.promise(0.005).startswith('No false-reject rate can be promised')
    many = teach(good, name='part', options=options)
    assert many.provenance.independent_count == 36
    assert 0.07 < many.provenance.promised_rate < 0.09


def test_a_part_is_measured_without_its_copies(good: list[Image]) -> None:
    """
    What a scorer measures in a part whose copies it was fitted to says nothing of new parts.

    """
    options = TeachOptions(scorers=['variation'], preprocessing=STILL)
    frames = [noisy(good[number % 6], number) for number in range(30)]
    named = [(f'{index}', frame) for index, frame in enumerate(frames)]
    blind = replace(image_quality(named), groups={})
    held_out, seen = (
        teach(named, name='part', options=options, quality=quality)
        for quality in (image_quality(named), blind)
    )
    honest, flattered = (
        float(np.median(recipe.scorers['variation'].good['peak_z'])) for recipe in (held_out, seen)
    )
    assert honest > 1.5 * flattered
