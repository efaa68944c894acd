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
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.learning import scorer_choice
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.part_preparation import preprocessor_of
from anomaly_inspection.learning.scorer_choice import choose_scorers, ScorerChoice
from anomaly_inspection.learning.scorer_fit import fit_scorers
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe

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
    monkeypatch.setattr(scorer_choice, '_DEFECTS', 60)


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
    good = [image for _, image in ALIKE[:6]]
    fitted = fit_scorers(GoodImages.checked(ALIKE), UNALIGNED, {'variation': {}}, 0.005)
    preprocessor = preprocessor_of(fitted.recipe('x'))
    damaged = scorer_choice._damaged(preprocessor, good, good, 30)
    for place, image in enumerate(damaged):
        change = cv2.absdiff(image, good[place % 6])
        mask = change >= 4
        assert change[mask].mean() * np.sqrt(4 / np.pi * mask.sum()) >= 200


def test_every_candidate_is_reported_and_none_is_clearly_better_than_the_chosen() -> None:
    choice = choice_of(ALIKE)
    told = [reason for reason in choice.reasons if 'AUROC' in reason and 'joins' not in reason]
    assert len(told) == len(scorer_choice.CANDIDATES)
    aurocs = [float(reason.partition('AUROC ')[2].partition(',')[0]) for reason in told]
    chosen = choice.reasons[len(told)].removeprefix('chosen: ')
    of_chosen = next(
        auroc for auroc, reason in zip(aurocs, told, strict=True) if reason.startswith(chosen)
    )
    assert of_chosen >= max(aurocs) - 0.021


def test_the_same_parts_give_the_same_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('variation', {}), ('template', {})))
    first, second = (choice_of(ALIKE) for _ in range(2))
    assert first.settings == second.settings


def test_what_takes_longer_than_the_budget_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('template', {}), ('variation', {})))
    times_ms = {'variation': 4.0, 'template': 40.0}
    monkeypatch.setattr(
        scorer_choice, '_scoring_ms', lambda recipe, *_: times_ms[next(iter(recipe.scorers))]
    )
    choice = choice_of(ALIKE, 20)
    assert tuple(choice.settings) == ('variation',)
    assert any('over the 20 ms allowed' in reason for reason in choice.reasons)
    with pytest.raises(SettingError, match=r'budget of 2 ms a frame; the fastest takes 4\.0 ms'):
        choice_of(ALIKE, 2)


def test_a_scorer_that_these_parts_cannot_be_taught_with_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', (('variation', {}), ('template', {})))

    def fit_but_template(images: Any, preprocessing: Any, settings: Any, rate: Any) -> Any:
        if 'template' in settings:
            raise SettingError('no two are alike')
        return fit_scorers(images, preprocessing, settings, rate)

    monkeypatch.setattr(scorer_choice, 'fit_scorers', fit_but_template)
    choice = choice_of(ALIKE)
    assert tuple(choice.settings) == ('variation',)
    assert choice.reasons[0] == 'template cannot be taught on these parts: no two are alike'


def trial(seen: int, of: int = 100, first: int = 0, **change: Any) -> scorer_choice._Trial:
    damaged = np.zeros(of)
    damaged[first : first + seen] = 2.0
    good = change.pop('good', np.full(20, 0.5))
    return scorer_choice._Trial({'x': {}}, good, damaged + np.linspace(0, 0.1, of), 1.0, **change)


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
def test_a_second_scorer_joins_only_when_both_see_clearly_more(
    both: scorer_choice._Trial, joins: bool
) -> None:
    assert scorer_choice._sees_clearly_more(both, trial(60)) is joins


def test_teach_takes_auto_and_the_recipe_keeps_the_reasons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    candidates = (('variation', {'flatten_px': 7}), ('patch_statistics', {'statistics': 'pooled'}))
    monkeypatch.setattr(scorer_choice, 'CANDIDATES', candidates)
    recipe = teach(
        ALIKE,
        name='x',
        options=TeachOptions(scorers='auto', preprocessing=UNALIGNED, speed_budget_ms=1000),
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
        ({'images': ALIKE[:11]}, '11 good images; needed to choose scorers: at least 12'),
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


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--setting', 'variation'], 'allowed: scorer.key=value'),
        (['--setting', 'variation.flatten_px'], 'allowed: scorer.key=value'),
        (['--setting', 'variation.colour=1'], "variation has no setting 'colour'; known: edge_px"),
        (['--setting', 'variation.edge_px=9'], 'variation.edge_px is 9; allowed: a whole number'),
        (['--setting', 'variation.edge_px=x'], "variation.edge_px is 'x'; allowed: a whole"),
        (['--setting', 'variation.trim=nan'], 'variation.trim is nan; allowed: a number'),
        (['--setting', 'template.search_px=2'], "'template', which is not taught; allowed: ssim"),
        (['--setting', 'ssim.k1=0.1', '--setting', 'ssim.k1=0.2'], 'ssim.k1 is given twice'),
        (['--scorer', 'auto', '--scorer', 'ssim'], 'give auto alone'),
        (['--scorer', 'auto', '--setting', 'ssim.k1=0.1'], "scorer 'auto' chooses them"),
    ],
)
def test_the_command_refuses_bad_settings(tmp_path: Path, options: list[str], words: str) -> None:
    done = taught_by_command(tmp_path, *options)
    assert done.exit_code == 2
    assert words in ' '.join(done.output.split())
    assert not (tmp_path / 'recipe').exists()
