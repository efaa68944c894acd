# SPDX-License-Identifier: Apache-2.0
"""
Confirmed bad parts that a recipe must reject, and limits that an engineer accepts and takes back.

"""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import LimitError, RecipeError, SettingError
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.layout import MOST_BAD_PARTS
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.recipes.removal import kept_versions
from anomaly_inspection.reviewing.acceptance import accept_limits, undo_acceptance
from anomaly_inspection.reviewing.accepted_limits import AcceptanceLog, review_folder_of
from anomaly_inspection.reviewing.bad_parts import BadParts, check_bad_parts
from anomaly_inspection.reviewing.check_process import check_apart
from support.reviewed_parts import spotted, strict_recipe

SCRIPT = '<script>window.hacked=1</script>\n../../etc/passwd\x1b[31m'


def png(image: np.ndarray) -> bytes:
    return cv2.imencode('.png', image)[1].tobytes()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return strict_recipe(tmp_path / 'recipes' / 'pump')


def limits_of(recipe: Recipe) -> dict[str, float]:
    return {limit.name: limit.value for limit in limit_table(recipe)}


def loose(recipe: Recipe) -> dict[str, float]:
    """
    Give limits that nearly everything keeps.

    """
    return {
        limit.name: 1e4 if limit.value > limit.typical else limit.minimum
        for limit in limit_table(recipe)
    } | {
        limit.name: limit.maximum
        for limit in limit_table(recipe)
        if limit.value > limit.typical and limit.maximum < 1e4
    }


def test_parts_are_kept_beside_the_recipe_and_every_version_has_them(recipe: Recipe) -> None:
    assert recipe.path is not None
    parts = BadParts(recipe.path)
    assert parts.all() == []
    content = png(spotted(1, 60))
    assert parts.add([('part 7', content), (SCRIPT, png(spotted(2, 60)))]) == 2
    assert parts.add([('again', content)]) == 0
    write_recipe(recipe, recipe.path)
    assert len(BadParts(recipe.path).all()) == 2
    (older,) = kept_versions(recipe.path).values()
    assert BadParts(older).all() == parts.all()
    # A name is one line of text, and never a path.
    assert len((parts.folder / 'parts.txt').read_text().splitlines()) == 2
    assert sorted(path.suffix for path in parts.folder.iterdir()) == ['.png', '.png', '.txt']
    # The recipe reads as before: nothing of this lies in its folder.
    assert read_recipe(recipe.path).version == 2


def test_a_recipe_that_would_pass_a_bad_part_says_how_many(recipe: Recipe) -> None:
    assert recipe.path is not None
    parts = BadParts(recipe.path)
    parts.add([(f'part {number}', png(spotted(number, 60))) for number in range(3)])
    assert check_bad_parts(recipe, parts).refusal == ''
    keyed = {tuple(name.split('.')): value for name, value in loose(recipe).items()}
    check = check_bad_parts(recipe.with_limits(keyed), parts)
    assert len(check.passed) == check.total == 3
    assert 'it would pass 3 of 3 parts' in check.refusal


def test_the_process_of_its_own_finds_the_same(recipe: Recipe) -> None:
    assert recipe.path is not None
    assert check_apart(recipe).total == 0
    parts = BadParts(recipe.path)
    parts.add([(f'part {number}', png(spotted(number, 60))) for number in range(3)])
    assert check_apart(recipe) == check_bad_parts(recipe, parts)
    keyed = {tuple(name.split('.')): value for name, value in loose(recipe).items()}
    changed = recipe.with_limits(keyed)
    assert check_apart(changed, recipe.path) == check_bad_parts(changed, parts)
    assert check_apart(changed, recipe.path).refusal
    with pytest.raises(RecipeError, match='could not be judged within'):
        check_apart(recipe, timeout_s=0.01)
    (parts.folder / f'{parts.all()[0].digest}.png').write_bytes(b'damaged')
    with pytest.raises(RecipeError, match='was changed or damaged'):
        check_apart(recipe)


def test_a_part_of_another_format_proves_nothing(recipe: Recipe) -> None:
    assert recipe.path is not None
    parts = BadParts(recipe.path)
    parts.add([('small', png(np.zeros((10, 10), np.uint8)))])
    check = check_bad_parts(recipe, parts)
    assert (check.passed, check.unjudged) == ((), ('small',))


@pytest.mark.parametrize('damage', ['gone', 'changed', 'line', 'pipe', 'bytes'])
def test_parts_that_cannot_be_read_are_an_error_and_not_an_empty_set(
    recipe: Recipe, damage: str
) -> None:
    assert recipe.path is not None
    parts = BadParts(recipe.path)
    parts.add([('part 1', png(spotted(1, 60)))])
    (picture,) = parts.folder.glob('*.png')
    listed = parts.folder / 'parts.txt'
    if damage == 'gone':
        picture.unlink()
    elif damage == 'changed':
        picture.write_bytes(png(spotted(1, 0)))
    elif damage == 'line':
        listed.write_text('../../etc/passwd  part 1\n')
    elif damage == 'bytes':
        listed.write_bytes(b'\xff\xfe')
    else:
        listed.unlink()
        # Nobody writes into it: it must not hang.
        os.mkfifo(listed)
    with pytest.raises(RecipeError):
        check_bad_parts(recipe, parts)


def test_no_more_parts_are_kept_than_a_load_can_wait_for(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipe.path is not None
    monkeypatch.setattr('anomaly_inspection.reviewing.bad_parts.MOST_BAD_PARTS', 2)
    parts = BadParts(recipe.path)
    assert MOST_BAD_PARTS > 2
    with pytest.raises(RecipeError, match='holds 2 parts'):
        parts.add([(f'part {number}', png(spotted(number, 60))) for number in range(3)])
    assert len(parts.all()) == 2


def test_a_part_is_taken_out_by_its_hash(recipe: Recipe) -> None:
    assert recipe.path is not None
    parts = BadParts(recipe.path)
    parts.add([(f'part {number}', png(spotted(number, 60))) for number in range(2)])
    first, second = parts.all()
    for refused in ('', first.digest[:7], '../../../etc', 'f' * 64):
        with pytest.raises(RecipeError, match='allowed'):
            parts.remove(refused)
    assert parts.remove(first.digest[:8]) == first
    assert parts.all() == [second]


def test_accepted_limits_are_written_noted_and_taken_back(recipe: Recipe) -> None:
    assert recipe.path is not None
    before = limits_of(recipe)
    name = next(iter(before))
    new = {name: before[name] * 0.99 if before[name] < 1 else before[name] * 1.01}
    with pytest.raises(SettingError, match='allowed: 1 to 500'):
        accept_limits(recipe, recipe.path, new, who='anna', why=' \n ')
    assert read_recipe(recipe.path).version == 1
    written = accept_limits(recipe, recipe.path, new, who='anna', why=SCRIPT)
    assert limits_of(read_recipe(recipe.path)) == {**before, **new}
    (entry,) = AcceptanceLog(recipe.path).all()
    assert (entry.who, entry.old, entry.new) == ('anna', {name: before[name]}, new)
    assert '\n' not in entry.why

    undone, values = undo_acceptance(written, recipe.path, who='bert', why='too loose')
    assert values == {name: before[name]}
    assert undone.version == 3
    assert limits_of(read_recipe(recipe.path)) == before
    with pytest.raises(SettingError, match='no acceptance to take back'):
        undo_acceptance(undone, recipe.path, who='bert', why='again')


def test_an_undo_never_overwrites_what_somebody_has_set_since(recipe: Recipe) -> None:
    assert recipe.path is not None
    name, value = next(iter(limits_of(recipe).items()))
    shift = 0.99 if value < 1 else 1.01
    written = accept_limits(recipe, recipe.path, {name: value * shift}, who='anna', why='shiny')
    key = tuple(name.split('.'))
    moved = write_recipe(written.with_limits({key: value * shift**2}), recipe.path)
    with pytest.raises(SettingError, match=f'{name} was moved since'):
        undo_acceptance(moved, recipe.path, who='anna', why='no')


def test_a_limit_outside_of_the_engineers_range_is_refused(recipe: Recipe) -> None:
    assert recipe.path is not None
    limit = next(one for one in limit_table(recipe) if one.value > one.typical)
    key = (limit.scorer, limit.measure)
    ranged = recipe.with_ranges({key: (None, limit.value)})
    with pytest.raises(LimitError, match='the range that an engineer has set'):
        accept_limits(
            ranged, recipe.path, {limit.name: limit.value * 1.1}, who='anna', why='shiny'
        )
    assert AcceptanceLog(recipe.path).all() == []


def test_limits_that_would_pass_a_bad_part_are_refused(recipe: Recipe) -> None:
    assert recipe.path is not None
    BadParts(recipe.path).add([('part 7', png(spotted(1, 60)))])
    with pytest.raises(RecipeError, match=r'would pass 1 of 1 parts .*part 7'):
        accept_limits(recipe, recipe.path, loose(recipe), who='anna', why='shiny')
    assert read_recipe(recipe.path).version == 1
    assert AcceptanceLog(recipe.path).all() == []


def test_a_damaged_line_of_the_log_hides_no_other(recipe: Recipe) -> None:
    assert recipe.path is not None
    log = AcceptanceLog(recipe.path)
    log.add('anna', 'one', {'a.b': 1.0}, {'a.b': 2.0})
    path = review_folder_of(recipe.path) / 'accepted.jsonl'
    path.write_text(path.read_text() + '{"when": 1}\n[' + '[' * 100_000 + '\n{"who"')
    log.add('bert', 'two', {'a.b': 2.0}, {'a.b': 3.0})
    assert [entry.who for entry in log.all()] == ['anna', 'bert']
    assert [json.loads(line)['who'] for line in path.read_text().splitlines()] == ['anna', 'bert']
