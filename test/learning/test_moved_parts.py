# SPDX-License-Identifier: Apache-2.0
"""
Parts that were taught without moving them, then put down a few pixels away.

"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
import math
from pathlib import Path

import cv2
from learning.test_teach import rejects
import numpy as np
import pytest

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.errors import RecipeError
from anomaly_inspection.imaging import coarse_search
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning.moved_copies import Motion
from anomaly_inspection.learning.part_preparation import (
    alignment_confidences,
    images_to_fit,
    prepare_parts,
)
from anomaly_inspection.learning.preprocessing_choice import choose_preprocessing
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import Recipe

SIZE = 'width_px=320,height_px=240'
# Within the tolerance of the defaults: 3 % of 240 px, and 5 degrees.
MOVED = 'shift_px=7,rotation_deg=5'


def line_frames(count: int, spec: str) -> list[tuple[str, np.ndarray]]:
    with open_source(f'line:{SIZE},{spec},parts={count}') as line:
        return [(f'part {index}', line.read().image) for index in range(count)]


def share_rejected(recipe: Recipe, frames: list[tuple[str, np.ndarray]]) -> float:
    scorer = recipe.frame_scorer()
    return float(np.mean([rejects(recipe, scorer, frame) for _, frame in frames]))


@pytest.fixture(scope='module')
def still_recipe() -> Recipe:
    """
    Give a recipe of a part of the simulated line that never moved while it was taught.

    With a hundred parts its limits hold, whatever the processor; with two dozen they reject more
    or fewer good parts by chance.

    """
    return teach(
        line_frames(100, 'shift_px=0,rotation_deg=0,defect_rate=0,seed=1'),
        name='still',
        options=TeachOptions(scorers=['ssim', 'variation']),
    )


def test_good_parts_that_are_moved_pass_although_the_taught_ones_lay_still(
    still_recipe: Recipe,
) -> None:
    # The same parts in the same light, so that only motion makes a difference.
    still, moved = (
        line_frames(100, f'{motion},defect_rate=0,seed=2')
        for motion in ('shift_px=0,rotation_deg=0', MOVED)
    )
    share = share_rejected(still_recipe, moved)
    assert share <= 0.08
    assert share <= share_rejected(still_recipe, still) + 0.04


def test_defects_on_moved_parts_are_still_seen(still_recipe: Recipe) -> None:
    bad = line_frames(
        24, f'{MOVED},defect_rate=1,diameter_px=14..18,contrast_levels=60..90,seed=3'
    )
    assert share_rejected(still_recipe, bad) >= 0.8


def test_only_features_are_fitted_to_the_moved_copies() -> None:
    frames = line_frames(8, 'shift_px=0,rotation_deg=0,defect_rate=0,seed=1')
    frame_format = FrameFormat(320, 240, 'bgr8')
    images = [frame for _, frame in frames]
    preprocessor = Preprocessor(PreprocessingSettings(), frame_format, images[0], images[1:])
    parts, _ = prepare_parts(frames, preprocessor, None, no_progress, Tolerance())
    assert len(images_to_fit('variation', parts)) == 8
    assert len(images_to_fit('features', parts)) == 16


def bar(number: int, turn_deg: float, x: float, y: float) -> np.ndarray:
    """
    A bar with a head at one end, turned clockwise, its middle moved out of that of the image.

    """
    image = np.full((480, 640), 40, np.uint8)
    middle = np.array([320.0 + x, 240.0 + y])
    turn = math.radians(turn_deg)
    half = 180 * np.array([math.cos(turn), math.sin(turn)])
    end, head = (
        tuple(int(16 * value) for value in place) for place in (middle - half, middle + half)
    )
    cv2.line(image, end, head, 190, 14, cv2.LINE_AA, 4)
    cv2.circle(image, head, 18 * 16, 220, -1, cv2.LINE_AA, 4)
    noise = np.random.default_rng(number).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def strips(farthest_px: int) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    long = cv2.GaussianBlur(rng.normal(0, 60, (60, 1200)), (0, 0), 4) * 8 + 120
    named = []
    for number, left in enumerate(rng.integers(100, 100 + farthest_px, 12).tolist()):
        noisy = long[:, left : left + 1000] + rng.normal(0, 2, (60, 1000))
        named.append((f'strip {number}', np.clip(noisy, 0, 255).astype(np.uint8)))
    return named


def test_a_wider_search_that_takes_too_much_memory_leaves_the_narrow_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Near by, 200 kB are enough to look for the strip; farther away they are not.
    monkeypatch.setattr(coarse_search, '_MOST_TEMPLATE_BYTES', 200_000)
    chosen = choose_preprocessing(strips(5), FrameFormat(1000, 60, 'mono8'), None, no_progress)
    assert chosen.alignment.search_px <= 50


def test_a_strip_is_looked_for_farther_along_it_than_it_is_wide() -> None:
    named = strips(35)
    chosen = choose_preprocessing(named, FrameFormat(1000, 60, 'mono8'), None, no_progress)
    assert chosen.alignment.kind != 'none'
    assert chosen.alignment.search_px >= 50


def test_parts_beside_the_border_are_found_less_surely_and_are_not_left_out_for_that() -> None:
    poses = [(283.0, 14, 0)] * 12 + [(30.0, 10, 5), (184.0, 15, -12), (249.4, 20, -14)]
    named = [(f'bar {number}', bar(number, *pose)) for number, pose in enumerate(poses)]
    settings = PreprocessingSettings(alignment=AlignmentSettings('rigid', 96.0, 180.0))
    preprocessor = Preprocessor(settings, FrameFormat(640, 480, 'mono8'), named[0][1])
    parts, outlying = prepare_parts(named, preprocessor, None, no_progress)
    confidences = alignment_confidences(parts)
    assert 0.5 < confidences.min() < 0.9 < np.median(confidences)
    assert not outlying


def test_a_recipe_that_is_taught_anew_with_its_own_tolerance_does_not_widen_it() -> None:
    frames = line_frames(10, 'shift_px=4,rotation_deg=2,defect_rate=0,seed=5')
    options = TeachOptions(scorers=['variation'])
    once = teach(frames, name='once', options=options).tolerance
    assert once is not None
    again = teach(frames, name='again', options=replace(options, tolerance=once)).tolerance
    assert again == once


def test_a_recipe_states_its_tolerance_and_keeps_it(still_recipe: Recipe, tmp_path: Path) -> None:
    tolerance = still_recipe.tolerance
    assert tolerance is not None
    assert tolerance.shift_px is not None
    assert 7.2 <= tolerance.shift_px < 10.0
    assert 5.0 <= tolerance.rotation_deg < 7.0
    folder = write_recipe(still_recipe, tmp_path / 'still').path
    assert read_recipe(folder).tolerance == tolerance
    # Recipes of older versions state none.
    text = (folder / 'recipe.yaml').read_text()
    start, end = text.index('tolerance:\n'), text.index('# any: one measure')
    (folder / 'recipe.yaml').write_text(text[:start] + text[end:])
    assert read_recipe(folder).tolerance is None


def test_a_part_that_lies_beyond_what_was_taught_is_scored_with_a_word_about_it(
    still_recipe: Recipe,
) -> None:
    (_, frame), *_ = line_frames(1, 'shift_px=0,rotation_deg=0,defect_rate=0,seed=4')
    scorer = still_recipe.frame_scorer()
    middle = complex(160.0, 120.0)
    far = Motion(x_px=14.0).apply(frame, middle, np.random.default_rng(1))
    assert still_recipe.tolerance is not None
    taught_for = f'{still_recipe.tolerance.shift_px:.0f}'
    assert {score.detail for score in scorer.score(far)} == {
        f'moved 14 px, taught for {taught_for}'
    }
    assert {score.detail for score in scorer.score(frame)} == {''}


@pytest.mark.parametrize(
    ('change', 'complaint'),
    [
        (lambda text: text.replace('  light_share: 0.1\n', '  light_share: 7\n'), 'light_share'),
        (lambda text: text.replace('  light_share', '  lamp'), "unknown key 'lamp'"),
    ],
)
def test_a_tolerance_that_is_not_allowed_is_refused(
    still_recipe: Recipe, tmp_path: Path, change: Callable[[str], str], complaint: str
) -> None:
    folder = write_recipe(still_recipe, tmp_path / 'still').path
    path = folder / 'recipe.yaml'
    path.write_text(change(path.read_text()))
    with pytest.raises(RecipeError, match=complaint):
        read_recipe(folder)
