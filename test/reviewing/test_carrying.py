# SPDX-License-Identifier: Apache-2.0
"""
A recipe that is brought to another cell still must reject its bad parts there.

"""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
import stat
import zipfile

from click.testing import CliRunner
import cv2
import pytest

from anomaly_inspection.cli import main
from anomaly_inspection.errors import RecipeError
from anomaly_inspection.recipes.archive import import_archive
from anomaly_inspection.recipes.folder import write_recipe
from anomaly_inspection.recipes.layout import MOST_BAD_PARTS
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.reviewing.accepted_limits import AcceptanceLog
from anomaly_inspection.reviewing.bad_parts import BadParts, check_bad_parts
from anomaly_inspection.reviewing.carrying import (
    check_can_be_carried,
    export_recipe,
    import_recipe,
)
from support.reviewed_parts import DEEP, spotted, strict_recipe

NAME = 'pump_body-2'
BESIDE = f'{NAME}.review/must_reject'


def png(seed: int) -> bytes:
    return cv2.imencode('.png', spotted(seed, DEEP))[1].tobytes()


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """
    A recipe with two parts that it must reject, and an accepted limit.

    """
    recipe = strict_recipe(tmp_path / 'here' / NAME)
    assert recipe.path is not None
    BadParts(recipe.path).add([('part 1 of session a', png(1)), ('<script> ü', png(2))])
    AcceptanceLog(recipe.path).add('anna', 'lot 7', {'ssim.mse': 1.0}, {'ssim.mse': 2.0})
    return recipe


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / 'there').mkdir()
    return tmp_path / 'there'


def pack(folder: Path | None) -> bytes:
    assert folder is not None
    file = BytesIO()
    export_recipe(folder, file)
    return file.getvalue()


def entries_of(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], *links: str) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for name in links:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, '/etc/passwd')
    return file.getvalue()


def all_pass(recipe: Recipe) -> Recipe:
    """
    Give the recipe with limits that let everything pass.

    """
    loose = {
        (limit.scorer, limit.measure): limit.most if limit.value > limit.typical else limit.least
        for limit in limit_table(recipe)
    }
    return recipe.with_limits(loose)


def test_the_parts_come_along_and_hold_every_later_version(recipe: Recipe, library: Path) -> None:
    packed = pack(recipe.path)
    imported = import_recipe(BytesIO(packed), library)
    assert imported.summary.endswith('with 2 parts that it must reject')
    assert sorted(path.name for path in library.iterdir()) == [NAME, f'{NAME}.review']
    path = library / NAME
    assert [part.name for part in BadParts(path).all()] == ['part 1 of session a', '<script> ü']
    check = check_bad_parts(all_pass(imported.recipe), BadParts(path))
    assert 'would pass 2 of 2' in check.refusal
    # Who accepted limits here has no say there.
    assert AcceptanceLog(path).all() == []
    assert pack(path) == packed


def test_an_older_version_carries_them_too(recipe: Recipe, library: Path) -> None:
    assert recipe.path is not None
    write_recipe(all_pass(recipe), recipe.path)
    older = recipe.path.with_name(f'{NAME}.v1')
    imported = import_recipe(BytesIO(pack(older)), library)
    assert (imported.recipe.version, imported.n_must_reject) == (1, 2)
    assert len(BadParts(library / NAME).all()) == 2


def test_an_archive_without_such_parts_is_taken_as_before(tmp_path: Path, library: Path) -> None:
    plain = strict_recipe(tmp_path / 'plain' / NAME)
    packed = pack(plain.path)
    assert not any('.review' in name for name in entries_of(packed))
    imported = import_recipe(BytesIO(packed), library)
    assert imported.n_must_reject == 0
    assert [path.name for path in library.iterdir()] == [NAME]


def test_parts_that_the_library_has_under_this_name_stay(recipe: Recipe, library: Path) -> None:
    BadParts(library / NAME).add([('of a recipe that was deleted', png(3)), ('same', png(1))])
    import_recipe(BytesIO(pack(recipe.path)), library)
    names = [part.name for part in BadParts(library / NAME).all()]
    assert names == ['of a recipe that was deleted', 'same', '<script> ü']


def test_a_recipe_with_a_new_name_has_the_parts_under_it(recipe: Recipe, library: Path) -> None:
    other = all_pass(recipe)
    write_recipe(other, library / NAME)
    imported = import_recipe(BytesIO(pack(recipe.path)), library)
    assert imported.recipe.name == f'{NAME}-2'
    assert len(BadParts(library / f'{NAME}-2').all()) == 2
    assert BadParts(library / NAME).all() == []


def test_who_does_not_know_of_such_parts_refuses_the_archive(
    recipe: Recipe, library: Path
) -> None:
    with pytest.raises(RecipeError, match='parts to be rejected come with it'):
        import_archive(BytesIO(pack(recipe.path)), library)
    assert list(library.iterdir()) == []


def damaged(case: str, entries: dict[str, bytes]) -> bytes:
    listed = f'{BESIDE}/parts.txt'
    first = next(name for name in entries if name.startswith(BESIDE) and name.endswith('.png'))
    if case == 'changed':
        entries[first] = png(99)
    elif case == 'missing':
        del entries[first]
    elif case == 'no picture':
        # Its SHA-256 is right.
        digest = hashlib.sha256(b'nothing').hexdigest()
        entries[f'{BESIDE}/{digest}.png'] = b'nothing'
        entries[listed] = f'{digest}  part\n'.encode()
    elif case == 'list':
        entries[listed] = b'../../etc/passwd  part\n'
    elif case == 'no list':
        entries[listed] = b'\xff\xfe'
    elif case == 'other file':
        entries[f'{NAME}.review/accepted.jsonl'] = b'{}'
    elif case == 'deep':
        entries[f'{BESIDE}/more/{"0" * 64}.png'] = b'x'
    elif case == 'many':
        entries |= {f'{BESIDE}/{n:064x}.png': b'x' for n in range(MOST_BAD_PARTS + 1)}
    elif case == 'many lines':
        entries[listed] = b''.join(b'%064x  part\n' % n for n in range(MOST_BAD_PARTS + 1))
    elif case == 'link':
        return zipped(entries, f'{BESIDE}/{"1" * 64}.png')
    elif case == 'third folder':
        entries['other/recipe.yaml'] = b'x'
    return zipped(entries)


@pytest.mark.parametrize(
    ('case', 'words'),
    [
        ('changed', 'changed or damaged'),
        ('missing', 'cannot be read'),
        ('no picture', 'must reject'),
        ('list', 'two spaces and a name'),
        ('no list', 'cannot be read'),
        ('other file', 'not allowed beside a recipe'),
        ('deep', 'not allowed beside a recipe'),
        ('many', f'allowed: {MOST_BAD_PARTS}'),
        ('many lines', f'allowed: {MOST_BAD_PARTS}'),
        ('link', 'is a link'),
        ('third folder', 'must hold one recipe folder'),
    ],
)
def test_a_damaged_or_hostile_archive_changes_nothing(
    recipe: Recipe, library: Path, case: str, words: str
) -> None:
    content = damaged(case, entries_of(pack(recipe.path)))
    with pytest.raises(RecipeError, match=words) as error:
        import_recipe(BytesIO(content), library)
    assert '.import.' not in str(error.value)
    assert '\n' not in str(error.value)
    assert list(library.iterdir()) == []
    assert not list(library.parent.rglob('passwd'))


def test_a_recipe_whose_bad_part_is_gone_is_not_packed(recipe: Recipe, tmp_path: Path) -> None:
    assert recipe.path is not None
    check_can_be_carried(recipe.path)
    next(BadParts(recipe.path).folder.glob('*.png')).unlink()
    for refuses in (check_can_be_carried, lambda path: export_recipe(path, BytesIO())):
        with pytest.raises(RecipeError, match='cannot be read'):
            refuses(recipe.path)
    answer = CliRunner().invoke(
        main, ['recipe', 'export', str(recipe.path), str(tmp_path / 'pump.zip')]
    )
    assert answer.exit_code == 2
    assert 'cannot be read' in answer.stderr
    assert not (tmp_path / 'pump.zip').exists()


def test_the_command_carries_them(recipe: Recipe, tmp_path: Path, library: Path) -> None:
    archive = tmp_path / 'pump.zip'
    for arguments in (['export', recipe.path, archive], ['import', archive, library]):
        answer = CliRunner().invoke(main, ['recipe', *map(str, arguments)])
        assert answer.exit_code == 0, answer.output
    assert 'with 2 parts that it must reject' in answer.output.replace('\n', ' ')
    assert len(BadParts(library / NAME).all()) == 2
