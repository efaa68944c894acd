# SPDX-License-Identifier: Apache-2.0
"""
The recipes of several views: which belong together, and what is refused.

"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
import shutil

import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.view_set import (
    check_view_name,
    is_view_set,
    read_view_set,
    write_view_set,
)
from support.drawn_plate import plate


@pytest.fixture(scope='module')
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Recipes of two views; do not change them.

    """
    folder = tmp_path_factory.mktemp('recipes') / 'part'
    for name, first in (('top', 0), ('left', 50)):
        frames = [plate(seed) for seed in range(first, first + 8)]
        options = TeachOptions(scorers=['variation'])
        write_recipe(teach(frames, name=name, options=options), folder / name)
    write_view_set(folder, ('top', 'left'))
    return folder


@pytest.fixture
def part(taught: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(taught, tmp_path / 'part'))


def test_recipes_that_were_taught_for_their_views_belong_together(part: Path) -> None:
    assert is_view_set(part)
    found = read_view_set(part)
    assert (found.name, list(found.taught)) == ('part', ['top', 'left'])
    for view in found.taught:
        found.check(view, part / view)


def test_other_limits_do_not_change_which_view_a_recipe_is_of(part: Path) -> None:
    recipe = read_recipe(part / 'left')
    scorer = recipe.scorers['variation']
    wider = {name: replace(limit, limit=limit.limit + 1) for name, limit in scorer.limits.items()}
    changed = replace(recipe, scorers={'variation': replace(scorer, limits=wider)})
    written = write_recipe(changed, part / 'left')
    assert written.hash != recipe.hash
    read_view_set(part).check('left', part / 'left')


def test_recipes_that_are_mixed_up_are_refused_with_both_names(part: Path) -> None:
    (part / 'left').rename(part / 'other')
    shutil.copytree(part / 'top', part / 'left')
    with pytest.raises(RecipeError, match='view left has the recipe of view top in force'):
        read_view_set(part)


def test_a_recipe_that_was_taught_anew_is_refused_until_teach_says_it_belongs(part: Path) -> None:
    shutil.rmtree(part / 'left')
    frames = [plate(seed) for seed in range(90, 98)]
    options = TeachOptions(scorers=['variation'])
    write_recipe(teach(frames, name='left', options=options), part / 'left')
    with pytest.raises(RecipeError, match='view left has another recipe in force'):
        read_view_set(part)
    write_view_set(part, ('top', 'left'))
    read_view_set(part)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('', 'allowed are the keys format_version and views'),
        (
            'format_version: 1\nview: {}\n',
            "holds ['format_version', 'view']; allowed are the keys",
        ),
        ('- top\n', "holds ['top']; allowed are the keys"),
        ('format_version: 2\nviews: {}\n', 'format_version = 2; allowed: 1'),
        ('format_version: 1\nviews: {}\n', 'views = 0 of them; allowed: 1 to 4 names'),
        ('format_version: 1\nviews: [top]\n', "views = ['top']; allowed: 1 to 4 names"),
        ('format_version: 1\nviews: {../top: x}\n', "view '../top' is refused"),
        ('format_version: 1\nviews: {top: 12}\n', 'view top = 12; allowed: 64 hexadecimal'),
        ('format_version: [\n', 'no readable YAML'),
        ('{a: &x 1, b: *x}\n', 'alias'),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(part: Path, content: str, words: str) -> None:
    (part / 'views.yaml').write_text(content)
    with pytest.raises(RecipeError) as refused:
        read_view_set(part)
    assert 'views.yaml' in str(refused.value)
    assert words in str(refused.value)


def test_a_view_whose_recipe_is_gone_is_refused(part: Path) -> None:
    shutil.rmtree(part / 'left')
    with pytest.raises(RecipeError, match='left'):
        read_view_set(part)
    with pytest.raises(RecipeError, match='holds no recipes of several views'):
        read_view_set(part / 'top')


@pytest.mark.parametrize('name', ['', 'Top', '1st', 'a/b', 'a.b', 'a' * 31, 'oben links'])
def test_names_that_cannot_be_part_of_a_topic_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match='allowed: a small letter'):
        check_view_name(name)
