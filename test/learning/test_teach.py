# SPDX-License-Identifier: Apache-2.0
"""
Teach: good parts in, a recipe out that tells good from bad and says what was left out.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning import scorer_fit
from anomaly_inspection.learning.outliers import FEWEST_PARTS
from anomaly_inspection.learning.reference_choice import MOST_REFERENCES
from anomaly_inspection.learning.teach import DEFAULT_FALSE_REJECT_RATE, teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import checked_limit, measures_of, Provenance, Recipe
from anomaly_inspection.scoring import patch_statistics
from anomaly_inspection.scoring.frame_scorer import FrameScorer, ScoreStatus
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.scoring.ssim import SsimScorer
from anomaly_inspection.scoring.variation import VariationScorer
from support.paths import DATASETS

WIDTH, HEIGHT = 160, 120
# These tests are about teaching, not about the choice of scorers, which takes longer.
NAMED = TeachOptions(scorers=('ssim', 'variation'))


def part_frame(
    seed: int,
    *,
    shift_px: float = 0.0,
    turn_deg: float = 0.0,
    scale: float = 0.0,
    shine: float = 0.0,
    light: float = 0.05,
    stain: bool = False,
    is_colour: bool = False,
) -> np.ndarray:
    """
    Draw a part with bores, ports and a cut edge; where it lies, light and noise follow the seed.

    """
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH), 70, np.uint8)
    cv2.rectangle(image, (40, 34), (118, 88), 165, -1)
    cv2.circle(image, (60, 60), 13, 40, -1, cv2.LINE_AA)
    cv2.circle(image, (98, 52), 7, 225, -1, cv2.LINE_AA)
    cv2.line(image, (84, 72), (112, 84), 90, 3, cv2.LINE_AA)
    cv2.rectangle(image, (118, 50), (134, 66), 120, -1)
    if stain:
        cv2.circle(image, (80, 45), 6, 105, -1, cv2.LINE_AA)
    x, y, angle = rng.uniform(-1, 1, 3) * (shift_px, shift_px, turn_deg)
    size = 1 + scale * np.cos(seed)
    matrix = cv2.getRotationMatrix2D((80, 60), angle, size)
    matrix[:, 2] += x, y
    laid = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderValue=70)
    if shine:
        # Broad reflections that lie elsewhere on every part.
        across, down = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        waves = np.sin(across / 15 + 7 * seed) + np.sin(down / 12 + 3 * seed)
        laid = np.clip(laid + shine * waves, 0, 255)
    lit = laid * (1 + light * rng.uniform(-1, 1)) + rng.normal(0, 1.5, laid.shape)
    gray = np.clip(lit, 0, 255).astype(np.uint8)
    if not is_colour:
        return gray
    tint = np.where(laid > 140, 0.5, 1.0)
    return np.dstack([(gray * tint).astype(np.uint8), gray, gray])


def good_frames(count: int, **how: float) -> list[tuple[str, np.ndarray]]:
    return [(f'good {seed}', part_frame(seed, **how)) for seed in range(count)]


def rejected(recipe: Recipe, frame: np.ndarray) -> bool:
    return rejects(recipe, recipe.frame_scorer(), frame)


def rejects(recipe: Recipe, scorer: FrameScorer, frame: np.ndarray) -> bool:
    """
    Judge a frame as the decider does with 'any'.

    """
    for score in scorer.score(frame):
        if score.status != ScoreStatus.OK:
            return True
        for spec in measures_of(score.scorer):
            sign = 1 if spec.bad_side == BadSide.HIGH else -1
            limit = recipe.scorers[score.scorer].limits[spec.name].limit
            if sign * score.measures[spec.name] > sign * limit:
                return True
    return False


@pytest.fixture(scope='module')
def moving() -> Recipe:
    """
    Give a recipe of parts that are shifted and turned.

    """
    return teach(
        good_frames(30, shift_px=5.0, turn_deg=5.0),
        name='block',
        product='Block',
        options=NAMED,
        provenance=Provenance(taught_by='night shift'),
    )


def test_a_taught_recipe_passes_good_parts_and_rejects_bad_ones(moving: Recipe) -> None:
    pose = {'shift_px': 5.0, 'turn_deg': 5.0}
    scorer = moving.frame_scorer()
    good = [part_frame(seed, **pose) for seed in range(100, 140)]
    bad = [part_frame(seed, stain=True, **pose) for seed in range(100, 120)]
    assert sum(rejects(moving, scorer, frame) for frame in good) <= 1
    assert all(rejects(moving, scorer, frame) for frame in bad)


def alignment_of(frames: list[tuple[str, np.ndarray]], tolerance: str) -> str:
    options = TeachOptions(scorers=['variation'], tolerance=Tolerance.from_text(tolerance))
    return teach(frames, name='block', options=options).preprocessing.alignment.kind


def test_the_simplest_alignment_that_helps_is_chosen(moving: Recipe) -> None:
    assert moving.preprocessing.alignment.kind == 'rigid'
    assert alignment_of(good_frames(10), 'fixed') == 'none'
    assert alignment_of(good_frames(12, shift_px=5.0), 'fixed') == 'translation'


def test_the_alignment_follows_the_tolerance_where_the_taught_parts_lie_still() -> None:
    assert alignment_of(good_frames(10), 'shift=5px,rotation=0') == 'translation'
    assert alignment_of(good_frames(10), 'shift=5px,rotation=5deg') == 'rigid'


def test_a_texture_without_a_position_is_not_aligned() -> None:
    def cloth(seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(0.0, 60.0, (HEIGHT, WIDTH))
        return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) * 3 + 128, 0, 255).astype(np.uint8)

    assert alignment_of([(f'{seed}', cloth(seed)) for seed in range(20)], 'shift=5px') == 'none'


def test_parts_of_unlike_size_are_brought_to_one() -> None:
    recipe = teach(
        good_frames(16, shift_px=4.0, turn_deg=4.0, scale=0.1), name='block', options=NAMED
    )
    assert recipe.preprocessing.alignment.kind == 'similarity'
    assert not rejected(recipe, part_frame(300, shift_px=4.0, turn_deg=4.0, scale=0.1))


def test_shine_is_left_out_only_where_it_varies() -> None:
    frames = good_frames(24, shine=30.0, light=0.0)
    fixed = TeachOptions(scorers=['variation'], tolerance=Tolerance.from_text('fixed,light=0'))
    recipe = teach(frames, name='block', options=fixed)
    assert recipe.scorers['variation'].settings['flatten_px'] == 7
    assert rejected(recipe, part_frame(200, shine=30.0, light=0.0, stain=True))
    assert not rejected(recipe, part_frame(200, shine=30.0, light=0.0))
    dull = teach(good_frames(24), name='block', options=fixed)
    assert dull.scorers['variation'].settings['flatten_px'] == 0


def test_many_references_are_kept_only_for_many_kinds_of_part() -> None:
    def kinds(count: int) -> list[tuple[str, np.ndarray]]:
        frames = good_frames(60)
        for index, (_, frame) in enumerate(frames):
            place = 8 * (index % count)
            frame[4:30, place : place + 12] = 200
        return frames

    alone = TeachOptions(
        scorers=['ssim'],
        preprocessing=PreprocessingSettings(alignment=AlignmentSettings('none')),
    )
    assert (
        teach(kinds(1), name='block', options=alone).scorers['ssim'].settings['references'] == 10
    )
    assert (
        teach(kinds(18), name='block', options=alone).scorers['ssim'].settings['references'] == 40
    )


def test_patch_statistics_are_taught_and_fit_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pose = {'shift_px': 5.0, 'turn_deg': 5.0}
    monkeypatch.setattr(patch_statistics, 'MOST_MATRIX_BYTES', 1_000_000)
    taught = teach(
        good_frames(30, **pose), name='block', options=TeachOptions(scorers=['patch_statistics'])
    )
    recipe = read_recipe(write_recipe(taught, tmp_path / 'block').path)
    assert recipe.scorers['patch_statistics'].settings['stride_px'] > 4
    scorer = recipe.frame_scorer()
    good = [part_frame(seed, **pose) for seed in range(100, 140)]
    bad = [part_frame(seed, stain=True, **pose) for seed in range(100, 120)]
    assert sum(rejects(recipe, scorer, frame) for frame in good) <= 1
    assert all(rejects(recipe, scorer, frame) for frame in bad)


def test_the_search_range_leaves_room_beyond_the_taught_parts() -> None:
    frames = good_frames(12, shift_px=7.0)
    recipe = teach(frames, name='block', options=NAMED)
    scorer = recipe.frame_scorer()
    poses = [scorer.score(frame)[0].alignment for _, frame in frames]
    farthest = max(max(abs(pose.x_px), abs(pose.y_px)) for pose in poses if pose)
    assert farthest > 6.0
    assert recipe.preprocessing.alignment.search_px >= 1.4 * farthest


def test_the_light_is_evened_out_only_where_it_varies() -> None:
    dim = [(f'{seed}', part_frame(seed, light=0.2)) for seed in range(10)]
    steady = [(f'{seed}', part_frame(seed, light=0.0)) for seed in range(10)]
    lit = TeachOptions(scorers=['variation'], tolerance=Tolerance(light_share=0.0))
    assert teach(dim, name='block', options=lit).preprocessing.light == 'gain'
    assert teach(steady, name='block', options=lit).preprocessing.light == 'none'
    # Lamps age, also where the taught parts do not show it.
    assert teach(steady, name='block', options=NAMED).preprocessing.light == 'gain'


def test_the_alignment_must_be_as_sure_as_in_good_parts(moving: Recipe) -> None:
    assert 0.3 < moving.preprocessing.alignment.min_confidence < 0.95
    empty = np.random.default_rng(1).normal(70, 2, (HEIGHT, WIDTH)).astype(np.uint8)
    scores = moving.frame_scorer().score(empty)
    assert {score.status for score in scores} == {ScoreStatus.NOT_ALIGNED}


def test_colour_is_chosen_by_content() -> None:
    coloured = [part_frame(seed, is_colour=True) for seed in range(8)]
    assert teach(coloured, name='block', options=NAMED).preprocessing.colour == 'bgr'
    gray = [np.dstack([part_frame(seed)] * 3) for seed in range(8)]
    recipe = teach(gray, name='block', options=NAMED)
    assert recipe.preprocessing.colour == 'gray'
    assert recipe.frame_format.encoding == 'bgr8'


def test_a_taught_recipe_is_whole(moving: Recipe, tmp_path: Path) -> None:
    """
    Every measure has its limit and held-out values, and the recipe reads back from disk.

    """
    for name, part in moving.scorers.items():
        assert part.limits.keys() == part.good.keys() == {spec.name for spec in measures_of(name)}
        for spec in measures_of(name):
            checked_limit(name, spec, part.limits[spec.name])
            good, limit = part.good[spec.name], part.limits[spec.name]
            assert good.shape == (30,)
            assert limit.typical == pytest.approx(np.median(good), rel=1e-4)
            sign = 1 if spec.bad_side == BadSide.HIGH else -1
            assert (sign * good > sign * limit.limit).sum() <= 1
    assert 1 <= len(moving.references) <= MOST_REFERENCES
    assert write_recipe(moving, tmp_path / 'block').hash == read_recipe(tmp_path / 'block').hash


def test_the_provenance_says_how_it_was_taught(moving: Recipe) -> None:
    provenance = moving.provenance
    assert (provenance.taught_by, provenance.image_count) == ('night shift', 30)
    assert provenance.left_out == ()
    assert provenance.false_reject_rate == DEFAULT_FALSE_REJECT_RATE
    assert provenance.promised_rate == pytest.approx(0.095, abs=0.004)
    assert (moving.version, moving.hash, moving.path) == (0, '', None)


@pytest.mark.parametrize(('count', 'folds'), [(10, 10), (25, 10)])
def test_no_part_is_measured_by_a_scorer_that_has_seen_it(
    count: int, folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted_to: dict[int, set[int]] = {}
    fits = []
    fit, score = VariationScorer.fit.__func__, VariationScorer.score

    def watched_fit(cls, images, settings):  # type: ignore[no-untyped-def]
        scorer = fit(cls, images, settings)
        fitted_to[id(scorer)] = {id(image) for image in images}
        fits.append(scorer)
        return scorer

    def watched_score(self, prepared):  # type: ignore[no-untyped-def]
        assert id(prepared) not in fitted_to[id(self)]
        return score(self, prepared)

    monkeypatch.setattr(VariationScorer, 'fit', classmethod(watched_fit))
    monkeypatch.setattr(VariationScorer, 'score', watched_score)
    teach(good_frames(count), name='block', options=TeachOptions(scorers=['variation']))
    assert len(fits) == folds + 1
    assert sorted(map(len, fitted_to.values()))[-1] == count


def test_a_smaller_rate_gives_wider_limits() -> None:
    """
    And the rate is shared out: one scorer alone gets tighter limits than the same beside another.

    """
    frames = good_frames(12)
    tight, wide = (
        teach(frames, name='block', options=replace(NAMED, false_reject_rate=rate)).scorers
        for rate in (0.05, 0.001)
    )
    alone = teach(
        frames, name='block', options=TeachOptions(scorers=['variation'], false_reject_rate=0.001)
    ).scorers
    for name, part in tight.items():
        for spec in measures_of(name):
            sign = 1 if spec.bad_side == BadSide.HIGH else -1
            assert sign * part.limits[spec.name].limit <= sign * wide[name].limits[spec.name].limit
    mean_z = [one['variation'].limits['mean_z'].limit for one in (tight, alone, wide)]
    assert mean_z[0] < mean_z[1] < mean_z[2]


def test_good_parts_are_prepared_as_the_recipe_will_prepare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []

    class Watched(Preprocessor):
        def __init__(self, settings, frame_format, reference, good_frames=()):  # type: ignore[no-untyped-def]
            made.append((reference, *good_frames))
            super().__init__(settings, frame_format, reference, good_frames)

    monkeypatch.setattr(scorer_fit, 'Preprocessor', Watched)
    recipe = teach(good_frames(9), name='block', options=NAMED)
    assert len(made[-1]) == len(recipe.references) == 9
    assert all(one is other for one, other in zip(made[-1], recipe.references, strict=True))


STRANGERS = {
    'empty belt': np.random.default_rng(5).normal(70, 2, (HEIGHT, WIDTH)).astype(np.uint8),
    'black': np.zeros((HEIGHT, WIDTH), np.uint8),
    'another part': np.ascontiguousarray(part_frame(3)[:, ::-1]),
    'a bad part': part_frame(4, stain=True),
}


@pytest.mark.parametrize('pose', [{}, {'shift_px': 5.0, 'turn_deg': 5.0}], ids=['still', 'moving'])
@pytest.mark.parametrize('stranger', STRANGERS)
def test_a_stranger_among_good_parts_is_left_out_and_named(
    stranger: str, pose: dict[str, float]
) -> None:
    frames = good_frames(20, **pose)
    frames.insert(7, (stranger, STRANGERS[stranger]))
    tolerance = Tolerance() if pose else Tolerance.from_text('fixed')
    recipe = teach(frames, name='block', options=replace(NAMED, tolerance=tolerance))
    assert recipe.preprocessing.alignment.kind == ('rigid' if pose else 'none')
    assert [entry.split(':')[0] for entry in recipe.provenance.left_out] == [stranger]
    assert recipe.provenance.image_count == 20
    assert not any((frame == STRANGERS[stranger]).all() for frame in recipe.references)
    assert rejected(recipe, STRANGERS[stranger])


def nearly_white(seed: int) -> np.ndarray:
    frame = np.full((96, 96), 255, np.uint8)
    frame[40:50, 40 : 52 + seed % 3] = np.random.default_rng(seed).integers(0, 30, (10, 1))
    return frame


def test_frames_as_bright_as_several_good_ones_are_no_fault(tmp_path: Path) -> None:
    plain = PreprocessingSettings.from_mapping({'alignment': {'kind': 'none'}, 'light': 'none'})
    frames = [(f'bright {seed}', nearly_white(seed)) for seed in range(12)]
    white = ('white', np.full((96, 96), 255, np.uint8))
    options = replace(NAMED, preprocessing=plain, tolerance=Tolerance.from_text('fixed'))
    recipe = teach([*frames, white], name='board', options=options)
    assert [entry.split(':')[0] for entry in recipe.provenance.left_out] == ['white']
    assert 0.985 < recipe.frame_format.saturated_share < 1
    assert not rejected(recipe, nearly_white(99))
    assert rejected(recipe, white[1])
    written = read_recipe(write_recipe(recipe, tmp_path / 'board').path)
    assert written.frame_format == recipe.frame_format


def test_one_glaring_frame_among_good_ones_is_still_left_out() -> None:
    glaring = np.full_like(good_frames(1)[0][1], 255)
    glaring[:9, :9] = 0
    recipe = teach([*good_frames(20), ('glaring', glaring)], name='block', options=NAMED)
    assert [entry.split(':')[0] for entry in recipe.provenance.left_out] == ['glaring']
    assert recipe.frame_format.saturated_share == 0.98


def test_too_many_strangers_are_refused_by_name() -> None:
    frames = [*good_frames(16), ('black 1', STRANGERS['black']), ('black 2', STRANGERS['black'])]
    with pytest.raises(SettingError, match=r'2 of 18 good images.*black 1.*black 2'):
        teach(frames, name='block', options=NAMED)


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(SettingError, match=rf'{FEWEST_PARTS - 1} good images.*{FEWEST_PARTS}'):
        teach(good_frames(FEWEST_PARTS - 1), name='block', options=NAMED)
    with pytest.raises(SettingError, match='0 good images'):
        teach([], name='block', options=NAMED)


@pytest.mark.parametrize(
    ('scorers', 'says'),
    [([], 'one or more'), (['ssim', 'ssim'], 'each once'), (['magic'], 'ssim, .*variation')],
)
def test_bad_scorers_are_refused(scorers: Sequence[str], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        teach(good_frames(8), name='block', options=TeachOptions(scorers=scorers))


@pytest.mark.parametrize('rate', [0.0, -1.0, 0.5, float('nan')])
def test_a_bad_rate_is_refused_before_any_work(rate: float) -> None:
    def steps(done: int, total: int, what: str) -> None:
        pytest.fail(f'{what} was begun')

    with pytest.raises(SettingError, match=r'over 0 and below 0\.5'):
        teach(
            good_frames(8),
            name='block',
            progress=steps,
            options=replace(NAMED, false_reject_rate=rate),
        )


def test_a_name_that_no_recipe_can_have_is_refused() -> None:
    with pytest.raises(SettingError, match='lower-case'):
        teach(good_frames(8), name='Pump Body', options=NAMED)


def test_two_frames_of_one_name_are_refused() -> None:
    with pytest.raises(SettingError, match="'good 1'"):
        teach([*good_frames(8), good_frames(2)[1]], name='block', options=NAMED)


def test_a_region_of_interest_is_kept() -> None:
    region = RegionOfInterest(24, 16, 120, 90)
    recipe = teach(good_frames(9), name='block', options=replace(NAMED, region_of_interest=region))
    assert recipe.preprocessing.region_of_interest == region
    corner = part_frame(200)
    corner[:10, :10] = 255
    assert not rejected(recipe, corner)
    with pytest.raises(SettingError, match='inside preprocessing'):
        teach(
            good_frames(8),
            name='block',
            options=TeachOptions(preprocessing=PreprocessingSettings(), region_of_interest=region),
        )


def test_given_preprocessing_is_taken_as_it_is() -> None:
    given = PreprocessingSettings(
        light='none', alignment=AlignmentSettings('translation', search_px=9, min_confidence=0.2)
    )
    assert (
        teach(
            good_frames(8), name='block', options=replace(NAMED, preprocessing=given)
        ).preprocessing
        == given
    )


def test_progress_counts_up_to_its_total() -> None:
    steps: dict[str, list[tuple[int, int]]] = {}
    teach(
        good_frames(9),
        name='block',
        progress=lambda done, total, what: steps.setdefault(what, []).append((done, total)),
    )
    assert len(steps) >= 4
    for counted in steps.values():
        totals = {total for _, total in counted}
        assert len(totals) == 1
        assert [done for done, _ in counted] == list(range(1, totals.pop() + 1))


def test_teaching_again_gives_the_same_recipe() -> None:
    frames = good_frames(9, shift_px=4.0)
    first, second = (teach(frames, name='block', options=NAMED) for _ in range(2))
    assert first.preprocessing == second.preprocessing
    for name, part in first.scorers.items():
        assert part.limits == second.scorers[name].limits
        assert part.region == second.scorers[name].region


def test_images_need_no_names() -> None:
    frames = [frame for _, frame in good_frames(9)]
    frames[3] = STRANGERS['empty belt']
    recipe = teach(iter(frames), name='block', options=TeachOptions(scorers=['ssim']))
    assert recipe.provenance.left_out[0].startswith('image 3: ')
    assert tuple(recipe.scorers) == (SsimScorer.name,)


def test_real_parts_are_taught() -> None:
    folder = DATASETS / 'dice' / 'train' / 'good'
    if not folder.is_dir():
        pytest.skip(f'{folder} is not there')
    files = sorted(folder.glob('five_*'))[:30]
    frames = [(file.name, cv2.imread(str(file), cv2.IMREAD_UNCHANGED)) for file in files]
    recipe = teach(frames[:24], name='five', options=NAMED)
    assert not any(rejected(recipe, frame) for _, frame in frames[24:])
    scribbled = frames[24][1].copy()
    cv2.line(scribbled, (40, 60), (90, 64), 30, 3)
    assert rejected(recipe, scribbled)
