# SPDX-License-Identifier: Apache-2.0
"""
A recipe goes through an archive unchanged; a hostile archive changes nothing and fills nothing.

"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
import os
from pathlib import Path
import shutil
import stat
import struct
import zipfile

import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.recipes import archive as archive_module
from anomaly_inspection.recipes.archive import import_archive, write_archive
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from anomaly_inspection.recipes.recipe import Recipe
from anomaly_inspection.recipes.removal import delete_recipe, kept_versions
from support.handmade_recipe import CREATED

NAME = 'pump_body-2'


@pytest.fixture(scope='module')
def packed(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """
    Give the archive of a good recipe that keeps an image and holds a file of a model.

    """
    folder = tmp_path_factory.mktemp('packed') / NAME
    write_recipe(recipe, folder, CREATED, images=[('a.png', b'one'), ('b.png', b'two')])
    return pack(folder)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    (tmp_path / 'library').mkdir()
    return tmp_path / 'library'


def pack(folder: Path) -> bytes:
    file = BytesIO()
    write_archive(folder, file)
    return file.getvalue()


def entries_of(packed: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], *more: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        for entry, content in more:
            archive.writestr(entry, content)
    return file.getvalue()


def refused(content: bytes, library: Path, *says: str) -> None:
    """
    Import an archive that must be refused, in one sentence, and leave nothing behind.

    """
    outside = set(library.parent.rglob('*'))
    with pytest.raises(RecipeError) as error:
        import_archive(BytesIO(content), library)
    for words in says:
        assert words in str(error.value)
    assert '\n' not in str(error.value)
    assert '.import.' not in str(error.value)
    assert len(str(error.value)) < 700
    assert set(library.parent.rglob('*')) == outside


# --------------------------------------------------------------------------------- there and back


def test_a_recipe_comes_out_as_it_went_in(packed: bytes, library: Path) -> None:
    imported = import_archive(BytesIO(packed), library)
    assert [path.name for path in library.iterdir()] == [NAME]
    recipe = imported.recipe
    assert (recipe.path, recipe.version, recipe.name) == (library / NAME, 1, NAME)
    assert imported.summary == f'{NAME} version 1 is in the library now'
    assert read_recipe(library / NAME).hash == recipe.hash
    # The same files give the same archive, on whatever day.
    assert pack(library / NAME) == packed
    assert (library / NAME / 'images' / '000001.png').read_bytes() == b'two'


@pytest.mark.parametrize('top', ['', 'any name: it is not used/'])
def test_an_archive_that_was_packed_by_hand_is_taken(
    packed: bytes, library: Path, top: str
) -> None:
    entries = {
        name.replace(f'{NAME}/', top): content for name, content in entries_of(packed).items()
    }
    hidden = {f'{top}.DS_Store': b'x', f'__MACOSX/{top}._recipe.yaml': b'x', f'{top}images/': b''}
    assert import_archive(BytesIO(zipped(entries | hidden)), library).recipe.name == NAME
    assert not list((library / NAME).glob('.*'))


def test_another_recipe_of_the_same_name_stays_and_the_new_one_gets_another(
    packed: bytes, recipe: Recipe, library: Path
) -> None:
    write_recipe(recipe, library / NAME)
    write_recipe(recipe, library / NAME)
    before = read_recipe(library / NAME).hash
    # An older version of a recipe that was deleted by hand would become one of ours.
    shutil.copytree(library / NAME, library / f'{NAME}-2.v7')
    imported = import_archive(BytesIO(packed), library)
    assert imported.recipe.name == f'{NAME}-3'
    assert imported.summary == (
        f'{NAME}-3 version 1 is in the library now; it has a new name, because there is another '
        f'recipe {NAME}'
    )
    read = read_recipe(library / f'{NAME}-3')
    assert (read.name, read.version, read.created) == (f'{NAME}-3', 1, '2031-12-24T18:00:00Z')
    assert read_recipe(library / NAME).hash == before


def test_the_very_same_recipe_is_not_imported_twice(packed: bytes, library: Path) -> None:
    import_archive(BytesIO(packed), library)
    refused(packed, library, f'has {NAME} version 1 already')


def test_what_a_killed_import_has_left_goes_with_a_later_one(packed: bytes, library: Path) -> None:
    old, new = library / '.import.01234567', library / '.import.89abcdef'
    for folder in (old, new):
        (folder / 'references').mkdir(parents=True)
    os.utime(old, (1e9, 1e9))
    import_archive(BytesIO(packed), library)
    assert {path.name for path in library.iterdir()} == {NAME, new.name}


def test_a_folder_that_is_no_recipe_is_not_packed(written: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'pump'
    shutil.copytree(written, folder)
    (folder / 'references' / '001.png').unlink()
    (folder / 'references' / '001.png').symlink_to('/etc/hostname')
    with pytest.raises(RecipeError, match='is a link'):
        pack(folder)


def test_what_is_too_large_is_not_packed(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, 'LARGEST_ARCHIVE_BYTES', 1000)
    with pytest.raises(RecipeError, match='an archive may have 1 kB'):
        pack(written)


# -------------------------------------------------------------------------------------- no archive


@pytest.mark.parametrize('content', [b'', b'PK', b'x' * 100_000, b'PK\x05\x06' + bytes(18)])
def test_what_is_no_archive_is_refused(library: Path, content: bytes) -> None:
    refused(content, library, 'the archive is refused')


def test_every_truncated_archive_is_refused(packed: bytes, library: Path) -> None:
    for share in range(1, 20):
        refused(packed[: len(packed) * share // 20], library, 'the archive is refused')


def test_a_damaged_archive_is_refused_or_gives_the_recipe(packed: bytes, library: Path) -> None:
    for place in range(0, len(packed), len(packed) // 60):
        damaged = bytearray(packed)
        damaged[place] ^= 0xFF
        try:
            imported = import_archive(BytesIO(bytes(damaged)), library)
        except RecipeError:
            assert list(library.iterdir()) == []
        else:
            # Times and attributes do not matter.
            assert pack(library / NAME) == packed
            shutil.rmtree(imported.recipe.path)


def test_a_directory_of_a_million_entries_is_refused_before_it_is_read(
    packed: bytes, library: Path
) -> None:
    end = packed.rindex(b'PK\x05\x06')
    many = packed[:end] + struct.pack(
        '<4s4H2LH', b'PK\x05\x06', 0, 0, 60_000, 60_000, 500_000, 0, 0
    )
    refused(many, library, 'names 60000 files')


# ---------------------------------------------------------------------------------------- entries


@pytest.mark.parametrize(
    'name',
    [
        *('/etc/evil', '../evil', f'{NAME}/../../evil', f'{NAME}/references/../../../evil'),
        *(f'{NAME}/references/..', f'{NAME}//recipe.yaml', f'{NAME}/./recipe.yaml'),
        *('..\\evil', f'{NAME}\\..\\..\\evil', 'C:\\evil', '\\\\host\\share\\evil'),
        *(f'{NAME}/references/a\nb.png', f'{NAME}/{"x" * 400}', '..', '/', '.'),
    ],
)
def test_no_name_leads_out_of_the_folder(packed: bytes, library: Path, name: str) -> None:
    refused(zipped({**entries_of(packed), name: b'evil'}), library, 'is not allowed as a name')


def test_a_name_with_a_zero_byte_is_refused(packed: bytes, library: Path) -> None:
    stranger = f'{NAME}/references/000.pngXevil'.encode()
    content = zipped({**entries_of(packed), stranger.decode(): b'evil'})
    refused(content.replace(stranger, stranger.replace(b'X', b'\0')), library)


@pytest.mark.parametrize(
    'name',
    ['readme.txt', 'model/x/a/b.bin', 'references/a/b.png', 'recipe.yaml/x', 'images/x.png'],
)
def test_what_is_no_part_of_a_recipe_is_refused(packed: bytes, library: Path, name: str) -> None:
    refused(zipped({**entries_of(packed), f'{NAME}/{name}': b''}), library)


@pytest.mark.parametrize('second', ['recipe.yaml', 'references/000.png'])
def test_a_name_that_is_there_twice_is_refused(packed: bytes, library: Path, second: str) -> None:
    more = (zipfile.ZipInfo(f'{NAME}/{second}'), b'other')
    with pytest.warns(UserWarning, match='Duplicate name'):
        content = zipped(entries_of(packed), more)
    refused(content, library, 'is there twice')


def test_two_recipes_in_one_archive_are_refused(packed: bytes, library: Path) -> None:
    other = {name.replace(NAME, 'other'): text for name, text in entries_of(packed).items()}
    refused(zipped(entries_of(packed) | other), library, 'must hold one recipe folder')


@pytest.mark.parametrize(
    'kind', [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK, stat.S_IFDIR]
)
def test_a_link_or_special_file_is_refused(packed: bytes, library: Path, kind: int) -> None:
    entries = entries_of(packed)
    content = entries.pop(f'{NAME}/references/001.png')
    entry = zipfile.ZipInfo(f'{NAME}/references/001.png')
    entry.external_attr = (kind | 0o777) << 16
    target = b'/etc/passwd' if kind == stat.S_IFLNK else content
    word = 'is a link' if kind == stat.S_IFLNK else 'is a special file'
    refused(zipped(entries, (entry, target)), library, word)


def patched(packed: bytes, place: int, value: int) -> bytes:
    """
    Change a 16-bit number in every entry of the directory.

    """
    content, start = bytearray(packed), 0
    while (start := packed.find(b'PK\x01\x02', start)) >= 0:
        struct.pack_into('<H', content, start + place, value)
        start += 4
    return bytes(content)


@pytest.mark.parametrize(
    ('place', 'value', 'word'),
    [(8, 1, 'is encrypted'), (10, 12, 'is compressed by method 12'), (10, 99, 'method 99')],
)
def test_an_encrypted_or_strangely_packed_file_is_refused(
    packed: bytes, library: Path, place: int, value: int, word: str
) -> None:
    refused(patched(packed, place, value), library, word)


# ------------------------------------------------------------------------------------------ sizes


def bomb(size: int) -> bytes:
    file = BytesIO()
    with (
        zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open(f'{NAME}/statistics.npz', 'w') as target,
    ):
        for _ in range(size // 2**20):
            target.write(bytes(2**20))
    with zipfile.ZipFile(file, 'a') as archive:
        archive.writestr(f'{NAME}/recipe.yaml', b'')
    return file.getvalue()


def test_a_bomb_is_refused_before_it_is_unpacked(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, '_unpack_file', lambda *_: pytest.fail('was unpacked'))
    refused(bomb(200 * 2**20), library, 'would unpack to 210 MB')


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_is_unpacked(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(bomb(200 * 2**20))
    for mark, place in ((b'PK\x01\x02', 24), (b'PK\x03\x04', 22)):
        struct.pack_into('<L', content, content.index(mark) + place, 1000)
    written: list[int] = []
    real = archive_module._chunks

    def chunks(*arguments: object) -> object:
        for chunk in real(*arguments):  # type: ignore[arg-type]
            written.append(len(chunk))
            yield chunk

    monkeypatch.setattr(archive_module, '_chunks', chunks)
    refused(bytes(content), library, 'statistics.npz')
    assert sum(written) <= 1000


def test_an_unpacker_that_gives_more_than_was_told_is_stopped(
    packed: bytes, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, '_chunks', lambda *_: iter([b'x' * 2**20] * 1000))
    refused(packed, library, 'bytes that the archive says')


def test_a_full_disk_is_said_before(
    packed: bytes, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(library)._replace(free=10)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage)
    refused(packed, library, '10 bytes are free')


def test_too_many_files_are_refused(packed: bytes, library: Path) -> None:
    many = {f'{NAME}/model/ssim/m{number}.bin': b'' for number in range(1001)}
    refused(zipped(entries_of(packed) | many), library, 'files; allowed: 1000')


# ----------------------------------------------------------------------------- what lies inside


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        (lambda text: b'name: [', 'recipe.yaml'),
        (lambda text: text.replace(b'version: 1', b'version: !!python/object:os.system x'), 'tag'),
        (lambda text: text.replace(NAME.encode(), b'../../evil'), 'name'),
        (lambda text: text.replace(b'width: 64', b'width: 65'), '000.png'),
    ],
)
def test_a_bad_recipe_in_a_good_archive_is_refused(
    packed: bytes, library: Path, change: Callable[[bytes], bytes], word: str
) -> None:
    entries = entries_of(packed)
    entries[f'{NAME}/recipe.yaml'] = change(entries[f'{NAME}/recipe.yaml'])
    refused(zipped(entries), library, 'the recipe in the archive is refused', word)


def test_a_pickle_is_never_read(packed: bytes, library: Path, tmp_path: Path) -> None:
    touched = tmp_path / 'evil'

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (touched,)

    import numpy as np

    file = BytesIO()
    np.savez(file, **{'ssim/references': np.array([Evil()], dtype=object)})  # type: ignore[arg-type]
    entries = entries_of(packed)
    entries[f'{NAME}/statistics.npz'] = file.getvalue()
    refused(zipped(entries), library, 'statistics.npz')
    assert not touched.exists()


def test_a_library_that_is_not_there_is_said(packed: bytes, library: Path) -> None:
    refused(packed, library / 'nowhere', 'No such file or directory')


# ------------------------------------------------------------------------------------------ delete


def test_a_recipe_is_deleted_with_its_versions_alone(recipe: Recipe, library: Path) -> None:
    for _ in range(3):
        write_recipe(recipe, library / 'pump')
    write_recipe(recipe, library / 'pump-2')
    (library / 'pump.v9').symlink_to(library / 'pump-2')
    assert set(kept_versions(library / 'pump')) == {1, 2}
    assert delete_recipe(library / 'pump') == 3
    assert {path.name for path in library.iterdir()} == {'pump-2', 'pump.v9'}
    with pytest.raises(RecipeError, match='cannot delete'):
        delete_recipe(library / 'pump')
    read_recipe(library / 'pump-2')


def test_a_link_is_deleted_and_not_what_it_leads_to(recipe: Recipe, library: Path) -> None:
    write_recipe(recipe, library / 'pump')
    (library / 'link').symlink_to(library / 'pump')
    assert delete_recipe(library / 'link') == 1
    read_recipe(library / 'pump')
