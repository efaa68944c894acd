# SPDX-License-Identifier: Apache-2.0
"""
Scorers chosen by synthetic defects: the choice fits the product, keeps to the budget and is said.

"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner
import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.imaging.tolerance import Tolerance
from anomaly_inspection.learning import scorer_choice, setting_choice, threads, trial_parts
from anomaly_inspection.learning.backbones import is_packaged_backbone_installed
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.scorer_choice import choose_scorers, ScorerChoice
from anomaly_inspection.learning.scorer_cost import counted_ms
from anomaly_inspection.learning.scorer_trial import Measured, settings_text, Trial, try_scorer
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.progress import no_progress
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.scoring.registry import scorer_class
from anomaly_inspection.scoring.template import TemplateScorer
from anomaly_inspection.scoring.variation import VariationScorer
from support.small_backbone import keep_small_backbone

Named = tuple[str, NDArray[np.uint8]]

UNALIGNED = PreprocessingSettings(alignment=AlignmentSettings('none'))


def face(kind: int, seed: int) -> NDArray[np.uint8]:
    """
    One of four faces with as many holes, as different as the faces of a die.

    """
    image = np.full((80, 80), 150, np.uint8)
    cv2.rectangle(image, (8, 8), (71, 71), 190, -1)
    for hole in range(kind + 1):
        centre = (22 + 18 * (hole % 3), 24 + 26 * (hole // 3) + 5 * kind)
        cv2.circle(image, centre, 7, 40, -1, cv2.LINE_AA)
    noisy = image + np.random.default_rng(seed).normal(0.0, 3.0, image.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


FACES = [(f'face {seed}', face(seed % 4, seed)) for seed in range(48)]
ALIKE = [(f'part {seed}', face(1, seed)) for seed in range(24)]


@pytest.fixture(autouse=True)
def few_defects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_parts, '_MOST_PARTS', 30)


def choice_of(parts: Sequence[Named], budget_ms: float = 1000.0) -> ScorerChoice:
    return choose_scorers(GoodImages.checked(parts), UNALIGNED, 0.005, budget_ms=budget_ms)


@pytest.mark.parametrize(('parts', 'best'), [(FACES, 'template'), (ALIKE, 'variation')])
def test_a_later_candidate_is_taken_only_where_it_is_clearly_better(
    monkeypatch: pytest.MonkeyPatch, parts: Any, best: str
) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('variation', {}), ('template', {})))
    choice = choice_of(parts)
    assert next(iter(choice.settings)) == best
    assert f'chosen: {best}' in choice.reasons


def test_no_defect_is_too_weak_to_tell_anything() -> None:
    frame = ALIKE[0][1]
    everywhere = np.ones(frame.shape, bool)
    others = [image for _, image in ALIKE[1:9]]
    for seed in range(30):
        rng = np.random.default_rng(seed)
        change = cv2.absdiff(trial_parts.clear_defect(frame, others, rng, everywhere), frame)
        mask = change >= 4
        assert change[mask].mean() * np.sqrt(4 / np.pi * mask.sum()) >= 200


def test_every_candidate_is_reported_and_none_is_clearly_better_than_the_chosen() -> None:
    choice = choice_of(ALIKE)
    text = '\n'.join(choice.reasons)
    for scorer, settings in scorer_choice.CANDIDATES:
        is_missing = scorer == 'features' and not is_packaged_backbone_installed()
        said = 'features: not tried' if is_missing else settings_text({scorer: settings})
        assert said in text
    reached = {
        reason.partition(': ')[0]: float(reason.partition('AUROC ')[2].partition(',')[0])
        for reason in choice.reasons
        if ' at its limits, AUROC' in reason and 'joins' not in reason
    }
    (chosen,) = (reason for reason in choice.reasons if reason.startswith('chosen: '))
    assert reached[chosen.removeprefix('chosen: ')] >= max(reached.values()) - 0.021


def test_each_part_is_judged_by_a_scorer_that_was_fitted_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitted_to: dict[VariationScorer, set[int]] = {}
    judged = []
    fit, score = VariationScorer.fit.__func__, VariationScorer.score

    def watched_fit(cls: Any, images: Any, settings: Any) -> VariationScorer:
        scorer = fit(cls, images, settings)
        fitted_to[scorer] = {id(image) for image in images}
        return scorer

    def watched_score(scorer: VariationScorer, image: Any) -> Any:
        judged.append(id(image))
        assert id(image) not in fitted_to[scorer]
        return score(scorer, image)

    monkeypatch.setattr(VariationScorer, 'fit', classmethod(watched_fit))
    monkeypatch.setattr(VariationScorer, 'score', watched_score)
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('variation', {'flatten_px': 0}),))
    choice_of(ALIKE)
    assert len(judged) == len(set(judged)) == 24 + 30


def test_a_scorer_must_stand_the_motion_that_the_recipe_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    candidates = (('variation', {}), ('patch_statistics', {'statistics': 'position'}))
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', candidates)
    images = GoodImages.checked(ALIKE)
    still = choose_scorers(images, UNALIGNED, 0.005)
    assert next(iter(still.settings)) == 'variation'
    motion = Tolerance(shift_px=2.0, rotation_deg=0.0)
    moved = choose_scorers(images, UNALIGNED, 0.005, tolerance=motion)
    assert next(iter(moved.settings)) == 'patch_statistics'


def test_threads_and_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [one for one in scorer_choice.CANDIDATES if one[1].get('statistics') == 'pooled']
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', tuple(some))
    first = choice_of(ALIKE)
    monkeypatch.setattr(threads, '_MOST_THREADS', 1)
    assert choice_of(ALIKE) == first


def test_what_costs_more_than_the_budget_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('template', {}), ('variation', {})))
    costs_ms = {'variation': 4.0, 'template': 40.0}
    monkeypatch.setattr(scorer_choice, 'counted_ms', lambda scorer, *_: costs_ms[scorer])
    choice = choice_of(ALIKE, 20)
    assert tuple(choice.settings) == ('variation',)
    assert 'template: about 40 ms a frame, over the 20 ms allowed' in choice.reasons
    with pytest.raises(SettingError, match=r'budget of 2 ms a frame \(template: about 40 ms'):
        choice_of(ALIKE, 2)


def test_every_candidate_has_a_cost_that_grows_with_the_image() -> None:
    for scorer, given in scorer_choice.CANDIDATES:
        settings = scorer_class(scorer).default_settings | dict(given)
        small, large, colour = (
            counted_ms(scorer, settings, shape)
            for shape in ((240, 320), (480, 640), (480, 640, 3))
        )
        assert 0 < small < large < colour


def test_a_scorer_that_these_parts_cannot_be_taught_with_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('variation', {}), ('template', {})))

    def refuse(images: Any, settings: Any) -> Any:
        raise SettingError('no two are alike')

    monkeypatch.setattr(TemplateScorer, 'fit', refuse)
    choice = choice_of(ALIKE)
    assert tuple(choice.settings) == ('variation',)
    assert 'template is left out: no two are alike' in choice.reasons
    monkeypatch.setattr(VariationScorer, 'fit', refuse)
    with pytest.raises(SettingError, match='no scorer can be taught on these parts'):
        choice_of(ALIKE)


def test_parts_without_their_like_are_not_damaged_to_try_a_scorer_of_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('variation', {}), ('template', {})))
    tried = []

    def watched(parts: Any, fold: int, scorer: str, settings: Any) -> Any:
        tried.append(scorer)
        return try_scorer(parts, fold, scorer, settings)

    monkeypatch.setattr(scorer_choice, 'try_scorer', watched)
    noise = [
        (f'{seed}', np.random.default_rng(seed).integers(60, 200, (80, 80), np.uint8))
        for seed in range(10)
    ]
    choice = choice_of(noise)
    assert set(tried) == {'variation'}
    assert any(
        reason.startswith('template is left out: 0 of 10 good parts have their like')
        for reason in choice.reasons
    )
    # Nothing can be seen in noise, and that must be said.
    assert choice.reasons[-1].startswith(scorer_choice.NEARLY_BLIND)
    assert 'AUROC 0.' in choice.reasons[-1]
    assert not any(
        reason.startswith(scorer_choice.NEARLY_BLIND) for reason in choice_of(ALIKE).reasons
    )


@pytest.mark.parametrize('count', [5, 8])
def test_few_parts_give_a_choice(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', scorer_choice.CANDIDATES[1:5])
    parts = trial_parts.TrialParts.of(few(count), UNALIGNED, None, no_progress)
    assert parts.folds == 5
    assert set(choose_scorers(few(count), UNALIGNED, 0.005).settings)


@pytest.mark.parametrize(('count', 'best'), [(8, 'features'), (24, 'variation')])
def test_synthetic_defects_on_few_parts_do_not_replace_features(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int, best: str
) -> None:
    given = {'backbone': keep_small_backbone(tmp_path), 'side_px': 64, 'dimensions': 16}
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('features', given), ('variation', {})))
    monkeypatch.setattr(scorer_choice, 'is_packaged_backbone_installed', lambda: True)

    def blind_features(parts: Any, fold: int, scorer: str, settings: Any) -> Any:
        good, damaged = try_scorer(parts, fold, scorer, settings)
        if scorer == 'features':
            damaged = {key: np.median(good[key]) + 0 * values for key, values in damaged.items()}
        return good, damaged

    monkeypatch.setattr(scorer_choice, 'try_scorer', blind_features)
    assert next(iter(choose_scorers(few(count), UNALIGNED, 0.005).settings)) == best


@pytest.mark.parametrize(
    ('count', 'harm', 'budget_ms', 'reason'),
    [
        (24, False, 1000.0, 'joins it: together sees'),
        (24, True, 1000.0, 'does not join it: together sees'),
        (24, False, 1.0, 'ms a frame, over the 1 ms allowed'),
        (12, False, 1000.0, 'not tried, as the images show fewer than 20 different parts'),
    ],
    ids=['harmless', 'harmful', 'too slow', 'few parts'],
)
def test_deep_features_join_features_unless_something_is_lost(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    count: int,
    harm: bool,
    budget_ms: float,
    reason: str,
) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('features', {'statistics': 'position'}),))
    for module in (scorer_choice, setting_choice):
        monkeypatch.setattr(module, 'is_packaged_backbone_installed', lambda: True)
    monkeypatch.setattr(
        setting_choice,
        'keep_packaged_backbone',
        lambda scorer: keep_small_backbone(tmp_path, scorer),
    )
    monkeypatch.setattr(
        scorer_choice, 'counted_ms', lambda scorer, *_: 0.9 if scorer == 'features' else 0.2
    )

    def drawn(parts: Any, fold: int, scorer: str, settings: Any) -> Any:
        good, damaged = try_scorer(parts, fold, scorer, settings)
        least, most = (1.05, 1.15) if scorer == 'features' else (1.0, 1.001)
        damaged = {key: np.linspace(least, most, value.size) for key, value in damaged.items()}
        most = 1.1 if scorer == 'features' or harm else most
        good = {key: np.linspace(1.0, most, value.size) for key, value in good.items()}
        if scorer == 'deep_features':
            # What features find usual is strange to it.
            good = {key: value[::-1] for key, value in good.items()}
        return good, damaged

    monkeypatch.setattr(scorer_choice, 'try_scorer', drawn)
    choice = choose_scorers(few(count), UNALIGNED, 0.005, budget_ms=budget_ms)
    assert ('deep_features' in choice.settings) is (reason == 'joins it: together sees')
    assert next(iter(choice.settings)) == 'features'
    assert any('deep_features' in one and reason in one for one in choice.reasons)


def few(count: int) -> GoodImages:
    frames = ALIKE[:count]
    return GoodImages(frames, FrameFormat(80, 80, 'mono8'), {})


def test_a_candidate_far_behind_is_not_tried_on_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = (('variation', {'flatten_px': 0}), ('ssim', {}))
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', candidates)
    tried = []

    def noise(parts: Any, fold: int, scorer: str, settings: Any) -> Any:
        tried.append((scorer, fold))
        good, damaged = try_scorer(parts, fold, scorer, settings)
        return (
            good,
            {key: np.median(good[key]) + 0 * values for key, values in damaged.items()}
            if scorer == 'ssim'
            else damaged,
        )

    monkeypatch.setattr(scorer_choice, 'try_scorer', noise)
    parts = [(f'part {seed}', face(1, seed)) for seed in range(36)]
    choice = choice_of(parts)
    assert sorted(tried) == [('ssim', 0), ('variation', 0), ('variation', 1), ('variation', 2)]
    assert any('ssim is left out: on the first of the parts' in one for one in choice.reasons)


def trial(seen: int, of: int = 100, first: int = 0, **change: Any) -> Trial:
    damaged = np.zeros(of)
    damaged[first : first + seen] = 2.0
    good = change.pop('good', np.full(20, 0.5))
    return Trial(Measured({'x': {}}, {}, {}, 1.0), good, damaged + np.linspace(0, 0.1, of))


@pytest.mark.parametrize(
    ('both', 'joins'),
    [
        (trial(70), True),
        (trial(62), False),
        (trial(60, first=20), False),
        (trial(70, good=np.r_[np.full(19, 0.5), 1.5]), False),
    ],
    ids=['clearly more', 'two more', 'as many others', 'more false rejects'],
)
def test_a_second_scorer_joins_only_when_both_see_clearly_more(both: Trial, joins: bool) -> None:
    assert scorer_choice._sees_clearly_more(both, trial(60)) is joins


def test_teach_takes_auto_and_the_recipe_keeps_the_reasons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    candidates = (('variation', {'flatten_px': 7}), ('patch_statistics', {'statistics': 'pooled'}))
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', candidates)
    recipe = teach(
        ALIKE,
        name='x',
        options=TeachOptions(preprocessing=UNALIGNED),
    )
    settings = dict(candidates)
    for scorer, part in recipe.scorers.items():
        assert part.settings.items() >= settings[scorer].items()
    assert recipe.provenance.image_count == len(ALIKE)
    assert any(reason.startswith('chosen: ') for reason in recipe.provenance.choice)
    write_recipe(recipe, tmp_path / 'x')
    assert read_recipe(tmp_path / 'x').provenance.choice == recipe.provenance.choice


@pytest.mark.parametrize(
    ('given', 'words'),
    [
        ({'speed_budget_ms': 0.0}, 'speed budget is 0.0 ms a frame; allowed: over 0'),
        ({'speed_budget_ms': float('nan')}, 'speed budget is nan ms'),
        ({'scorer_settings': {'ssim': {}}}, "scorer 'auto' chooses them"),
    ],
)
def test_auto_refuses_what_it_cannot_do(given: dict[str, Any], words: str) -> None:
    options = {'scorers': 'auto', 'preprocessing': UNALIGNED} | given
    images = options.pop('images', ALIKE)
    with pytest.raises(SettingError, match=words):
        teach(images, name='x', options=TeachOptions(**options))


# Settings


def test_a_setting_that_is_given_stays() -> None:
    given = {'patch_statistics': {'statistics': 'pooled', 'stride_px': 8}}
    recipe = teach(
        ALIKE,
        name='x',
        options=TeachOptions(
            scorers=['patch_statistics'], scorer_settings=given, preprocessing=UNALIGNED
        ),
    )
    settings = recipe.scorers['patch_statistics'].settings
    assert (settings['statistics'], settings['stride_px']) == ('pooled', 8)
    assert settings['neighbours'] == 1


def taught_by_command(folder: Path, *options: str) -> Any:
    (folder / 'good').mkdir()
    for name, image in ALIKE[:8]:
        cv2.imwrite(str(folder / 'good' / f'{name}.png'), image)
    return CliRunner().invoke(
        main, ['teach', str(folder / 'good'), '--recipe', str(folder / 'recipe'), *options]
    )


def test_the_command_takes_settings(tmp_path: Path) -> None:
    scorers = ['--scorer', 'variation', '--scorer', 'patch_statistics']
    settings = ['variation.floor_levels=3', 'patch_statistics.statistics=pooled']
    options = [text for setting in settings for text in ('--setting', setting)]
    done = taught_by_command(tmp_path, *scorers, *options)
    assert done.exit_code == 0, done.output
    recipe = read_recipe(tmp_path / 'recipe')
    assert recipe.scorers['variation'].settings['floor_levels'] == 3.0
    assert recipe.scorers['patch_statistics'].settings['statistics'] == 'pooled'


VARIATION = '--scorer variation --setting variation.'


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ('--setting variation', 'allowed: scorer.key=value'),
        ('--setting variation.flatten_px', 'allowed: scorer.key=value'),
        (f'{VARIATION}colour=1', "variation has no setting 'colour'; known: edge_px"),
        (f'{VARIATION}edge_px=9', 'variation.edge_px is 9; allowed: a whole number'),
        (f'{VARIATION}edge_px=x', "variation.edge_px is 'x'; allowed: a whole"),
        (f'{VARIATION}trim=nan', 'variation.trim is nan; allowed: a number'),
        (
            '--scorer ssim --setting template.search_px=2',
            "'template', which is not taught; allowed: ssim",
        ),
        ('--setting ssim.k1=0.1 --setting ssim.k1=0.2', 'ssim.k1 is given twice'),
        ('--scorer auto --scorer ssim', 'give auto alone'),
        ('--setting ssim.k1=0.1', "scorer 'auto' chooses them"),
    ],
)
def test_the_command_refuses_bad_settings(tmp_path: Path, options: str, words: str) -> None:
    done = taught_by_command(tmp_path, *options.split())
    assert done.exit_code == 2
    assert words in ' '.join(done.output.split())
    assert not (tmp_path / 'recipe').exists()
