# SPDX-License-Identifier: Apache-2.0
"""
Whatever a folder of good images holds can be taught; what is unfit is left out and named.

"""

from __future__ import annotations

from collections.abc import Iterator
import itertools
from pathlib import Path
import re
import weakref

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.errors import FrameError, RecipeError, SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.recipe_calibration import recalibrate
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.learning.trial_parts import TrialParts
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.scoring.frame_scorer import ScoreStatus

Image = NDArray[np.uint8]

STILL = PreprocessingSettings(light='none', alignment=AlignmentSettings('none'))
VARIATION = TeachOptions(scorers=['variation'], preprocessing=STILL)


def board(
    seed: int, width: int = 120, height: int = 96, *, ground: int = 90, hole: int = 40
) -> Image:
    """
    Draw a board that fills the frame, with two holes at the same shares of its sides.

    """
    frame = np.full((height, width), ground, np.uint8)
    for across, down in ((0.25, 0.3), (0.7, 0.6)):
        cv2.circle(frame, (round(across * width), round(down * height)), 9, hole, -1, cv2.LINE_AA)
    noise = np.random.default_rng(seed).normal(0, 2, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


def boards(count: int) -> list[tuple[str, Image]]:
    return [(f'good {seed}', board(seed)) for seed in range(count)]


def coloured(frame: Image) -> Image:
    return np.dstack([frame // 2, frame, frame])


def left_out(recipe: Recipe) -> list[str]:
    return [entry.split(':')[0] for entry in recipe.provenance.left_out]


def test_cutouts_of_many_heights_are_scaled_and_so_are_frames_in_the_cell(tmp_path: Path) -> None:
    frames = [board(seed, height=90 + seed) for seed in range(12)]
    taught = teach(frames, name='board', options=VARIATION)
    recipe = read_recipe(write_recipe(taught, tmp_path / 'board').path)
    assert (recipe.frame_format.width, recipe.frame_format.height) == (120, 95)
    assert any('120 x 90 px to 120 x 101 px' in note for note in recipe.provenance.images)
    for height in (88, 95, 103):
        good, bad = board(77, height=height), board(77, height=height)
        cv2.circle(bad, (90, height // 4), 6, 200, -1)
        assert score(recipe, good)['peak_z'] < 0.5 * score(recipe, bad)['peak_z']
        (region, *_) = recipe.frame_scorer().score(bad)[0].regions
        assert region.x_min <= 90 < region.x_max
        assert region.y_min <= height // 4 < region.y_max
    (result,) = recipe.frame_scorer().score(board(1, height=200))
    assert result.status is ScoreStatus.FRAME_INVALID
    assert '120 x 200 px, the recipe wants 120 x 79 px to 120 x 112 px' in result.detail


def score(recipe: Recipe, frame: Image) -> dict[str, float]:
    (result,) = recipe.frame_scorer().score(frame)
    assert result.status is ScoreStatus.OK, result.detail
    return result.measures


def test_a_wanted_size_is_taken_and_the_region_of_interest_follows() -> None:
    options = TeachOptions(
        scorers=['variation'], size=(60, 48), region_of_interest=RegionOfInterest(40, 32, 80, 64)
    )
    recipe = teach(boards(8), name='board', options=options)
    assert recipe.frame_format.shape == (48, 60)
    assert recipe.preprocessing.region_of_interest == RegionOfInterest(20, 16, 40, 32)
    assert score(recipe, board(50))
    (other,) = recipe.frame_scorer().score(board(50, width=119))
    assert other.status is ScoreStatus.FRAME_INVALID


def test_cutouts_of_other_proportions_are_stretched_and_that_is_said() -> None:
    frames = [*boards(8), *((f'tall {seed}', board(seed, 60, 96)) for seed in range(4))]
    good = GoodImages.checked(frames)
    assert {frame.shape for _, frame in good.named} == {(96, 120)}
    hole = np.median([frame[20:36, 20:40] for _, frame in good.named], axis=0)
    assert np.abs(dict(good.named)['tall 1'][20:36, 20:40] - hole).mean() < 10
    assert any('differ by up to 100 %, so parts are stretched' in note for note in good.notes)


@pytest.mark.parametrize(
    ('odd', 'says'),
    [
        (board(0, width=121), '121 x 96 px, the others are 120 x 96 px'),
        (np.zeros((96, 120), np.uint8), 'black'),
        (np.full((96, 120), 255, np.uint8), 'saturated'),
        (board(0).astype(np.uint16), 'uint16'),
        (np.zeros((96, 120, 2), np.uint8), r'\(96, 120, 2\)'),
        (board(0)[:8, :8], '8 x 8 px; allowed: 16'),
        (FrameError('the file is truncated'), 'truncated'),
    ],
)
def test_one_unfit_image_is_left_out_and_named(odd: Image | FrameError, says: str) -> None:
    recipe = teach([*boards(8), ('odd one', odd)], name='board', options=VARIATION)
    assert left_out(recipe) == ['odd one']
    assert recipe.provenance.image_count == 8
    assert not recipe.frame_format.accepts((96, 121))
    assert re.search(says, recipe.provenance.left_out[0])


def test_files_that_cannot_be_read_are_named_and_do_not_count_as_unlike_the_others() -> None:
    broken = [(f'broken {n}', FrameError('it is empty (0 bytes)')) for n in range(4)]
    recipe = teach([*broken, *boards(8)], name='board', options=VARIATION)
    assert left_out(recipe) == [name for name, _ in broken]
    assert recipe.provenance.image_count == 8
    # The one part that a tenth of the images may be is still to be had.
    black = ('black', np.zeros((96, 120), np.uint8))
    recipe = teach([*broken, *boards(8), black], name='board', options=VARIATION)
    assert left_out(recipe) == [*(name for name, _ in broken), 'black']
    with pytest.raises(SettingError, match='2 of 10 good images are unlike the others'):
        GoodImages.checked([*broken, *boards(8), black, ('dark', black[1])])
    with pytest.raises(SettingError, match=r'9 of 17 good images cannot be read; .* most half'):
        GoodImages.checked([*boards(8), *((f'b {n}', broken[0][1]) for n in range(9))])


def test_a_gray_image_among_coloured_ones_is_left_out() -> None:
    frames = [(name, coloured(frame)) for name, frame in boards(10)]
    recipe = teach([*frames, ('gray', board(3))], name='board', options=VARIATION)
    assert left_out(recipe) == ['gray']
    assert recipe.frame_format.encoding == 'bgr8'


def test_a_mixture_of_gray_and_colour_is_judged_in_gray(tmp_path: Path) -> None:
    frames = [
        frame if place % 2 else coloured(frame) for place, (_, frame) in enumerate(boards(10))
    ]
    taught = teach(frames, name='board', options=VARIATION)
    recipe = read_recipe(write_recipe(taught, tmp_path / 'board').path)
    assert recipe.frame_format.encoding == 'mono8'
    assert any('5 of 10 images are gray' in note for note in recipe.provenance.images)
    assert score(recipe, coloured(board(50)))
    assert score(recipe, board(50))


def test_bright_boards_can_be_taught_and_damaged() -> None:
    """
    Synthetic defects and folds of the images must not make a bright frame count as saturated.

    """
    frames = []
    for seed in range(12):
        frame = np.full((96, 96), 255, np.uint8)
        frame[40:48, 40:52] = np.random.default_rng(seed).integers(0, 60, (8, 12))
        frames.append(frame)
    assert all((frame == 255).mean() > 0.985 for frame in frames)
    recipe = teach(frames, name='board', options=VARIATION)
    assert recipe.provenance.left_out == ()
    good = GoodImages.checked(frames)
    few = good.subset(good.named[:6])
    assert few.frame_format == good.frame_format
    trial = TrialParts.of(few, STILL, None, no_progress)
    assert len(trial.damaged) >= 6
    assert {one is None for _, one in trial.damaged} == {True, False}, 'some are white all over'


def test_dark_parts_can_be_taught() -> None:
    frames = [board(seed, ground=5, hole=14) for seed in range(8)]
    recipe = teach(frames, name='board', options=VARIATION)
    assert recipe.provenance.left_out == ()
    assert score(recipe, board(50, ground=5, hole=14))


def test_five_images_are_enough_and_four_are_not() -> None:
    recipe = teach(boards(5), name='board', options=VARIATION)
    assert recipe.provenance.image_count == 5
    assert score(recipe, board(50))
    with pytest.raises(SettingError, match='4 good images; needed: at least 5; odd: torn'):
        teach([*boards(4), ('odd', FrameError('torn'))], name='board', options=VARIATION)


def test_many_images_are_thinned_out_evenly_as_they_are_read() -> None:
    live: list[weakref.ref[Image]] = []
    most = 0

    def source() -> Iterator[tuple[str, Image]]:
        nonlocal most
        for number in range(2000):
            frame = np.full((32, 32), 50 + number % 100, np.uint8)
            live.append(weakref.ref(frame))
            most = max(most, sum(one() is not None for one in live))
            yield f'{number}', frame

    good = GoodImages.checked(source(), budget_bytes=200 * 11 * 32 * 32)
    numbers = [int(name) for name, _ in good.named]
    assert 100 <= len(numbers) <= 200
    assert {second - first for first, second in itertools.pairwise(numbers)} == {16}
    assert most <= 203
    assert '2,000 images take too much memory: an even choice of 125' in good.notes[0]


def test_large_images_are_scaled_only_where_memory_asks_for_it() -> None:
    frames = [board(seed, 320, 256) for seed in range(8)]
    budget = 30 * 11 * 160 * 128
    scaled = GoodImages.checked(frames, budget_bytes=budget)
    assert scaled.frame_format.shape == (128, 160)
    assert scaled.frame_format.accepts((256, 320))
    assert not scaled.frame_format.accepts((256, 321))
    assert any('--roi' in note for note in scaled.notes)
    region = RegionOfInterest(0, 0, 80, 64)
    full = GoodImages.checked(frames, budget_bytes=30 * 11 * 320 * 256 // 2, region=region)
    assert full.frame_format.shape == (256, 320)
    assert full.notes == ()


def test_a_recipe_takes_good_images_as_the_cell_would() -> None:
    frames = [board(seed, height=90 + seed) for seed in range(12)]
    recipe = teach(frames, name='board', options=VARIATION)
    more = [(f'{seed}', board(100 + seed, height=89 + seed)) for seed in range(12)]
    assert recalibrate(recipe, more).limits
    with pytest.raises(FrameError, match='the recipe'):
        recalibrate(recipe, [(name, frame[:40]) for name, frame in more])


@pytest.mark.parametrize(
    ('line', 'says'),
    [
        ('min_width: 120', 'min_width: 8'),
        ('min_width: 120', 'min_width: 130'),
        ('min_width: 120', 'depth: 120'),
        ('accepts_colour: false', 'accepts_colour: perhaps'),
    ],
)
def test_sizes_that_no_frame_has_are_refused(tmp_path: Path, line: str, says: str) -> None:
    frames = [board(seed, height=90 + seed) for seed in range(8)]
    folder = tmp_path / 'board'
    write_recipe(teach(frames, name='board', options=VARIATION), folder)
    text = (folder / 'recipe.yaml').read_text()
    assert line in text
    (folder / 'recipe.yaml').write_text(text.replace(line, says))
    with pytest.raises(RecipeError, match=r'frame\.'):
        read_recipe(folder)


def test_a_recipe_of_before_refuses_other_sizes(tmp_path: Path) -> None:
    taught = teach(boards(8), name='board', options=VARIATION)
    folder = tmp_path / 'board'
    write_recipe(taught, folder)
    lines = (folder / 'recipe.yaml').read_text().splitlines(keepends=True)
    old = [line for line in lines if 'accept' not in line or line.startswith('#')]
    assert len(old) == len(lines) - 2
    (folder / 'recipe.yaml').write_text(''.join(old))
    recipe = read_recipe(folder)
    assert recipe.frame_format == taught.frame_format
    assert not recipe.frame_format.accepts((97, 120))
