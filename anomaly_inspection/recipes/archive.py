# SPDX-License-Identifier: Apache-2.0
"""
A recipe as one file, to carry it to another cell: a zip archive of its folder, and of the parts
beside it that it must reject. `reviewing.carrying` knows these; here they are files.

An archive that comes from elsewhere is hostile until checked: its directory says names, kinds and
sizes, which are checked before anything is unpacked; no more is unpacked than it says; and what
was unpacked is read like every recipe before it is renamed into place.

"""

from __future__ import annotations

from dataclasses import dataclass
import os
from pathlib import Path
import re
import secrets
import shutil
import stat
import time
from typing import BinaryIO, TYPE_CHECKING
import zipfile

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.recipes.budget import DEFAULT_BUDGET_BYTES, size_text
from anomaly_inspection.recipes.layout import (
    MOST_BAD_PARTS,
    MOST_TEACHING_IMAGES,
    MUST_REJECT,
    MUST_REJECT_LIST,
    REVIEW_SUFFIX,
    YAML,
)
from anomaly_inspection.recipes.reading import read_recipe
from anomaly_inspection.recipes.recipe_files import check_is_part, MOST_FILES, open_files
from anomaly_inspection.recipes.removal import kept_versions
from anomaly_inspection.recipes.zip_directory import check_directory_size, ENCRYPTED, END_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anomaly_inspection.recipes.recipe import Recipe

#: Largest archive that is written and taken.
LARGEST_ARCHIVE_BYTES = 10**9
SUFFIX = '.zip'

# Files of the recipe, folders, and the hidden files that some packers add for each of them.
_MOST_ENTRIES = 2 * (MOST_FILES + MOST_TEACHING_IMAGES + MOST_BAD_PARTS)
# A recipe hardly shrinks: images and fitted numbers are most of it.
_UNPACKED_BYTES, _UNPACKED_TIMES = 64 * 10**6, 20
_LONGEST_NAME = 300
_DRAFT = '.import.'
_REMAINS_S = 24 * 3600.0
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK_BYTES = 2**20
_MOST_COPIES = 1000
_BESIDE = re.compile(rf'{MUST_REJECT}/({re.escape(MUST_REJECT_LIST)}|[0-9a-f]{{64}}\.png)')
_TEXTS = ('.yaml', '.txt', '.xml')
# Finder's own notes.
_FOREIGN_FOLDER = '__MACOSX'


@dataclass(frozen=True)
class ImportedRecipe:
    """
    What came of an archive.

    Parameters
    ----------
    recipe : Recipe
        As it lies in the library now.
    name_before : str
        Its name in the archive.
    n_must_reject : int
        How many confirmed bad parts came with it.

    """

    recipe: Recipe
    name_before: str
    n_must_reject: int = 0

    @property
    def summary(self) -> str:
        """
        One sentence for people.

        """
        recipe = self.recipe
        added = f'{recipe.name} version {recipe.version} is in the library now'
        if self.n_must_reject:
            added += f', with {self.n_must_reject} parts that it must reject'
        if recipe.name == self.name_before:
            return added
        return f'{added}; it has a new name, because there is another recipe {self.name_before}'


def archive_size(folder: Path) -> int:
    """
    Give the bytes of all files of a recipe.

    Raises
    ------
    RecipeError
        When the folder cannot be an archive: it holds what is no part of a recipe, or too much.

    """
    size = 0
    for _, descriptor in open_files(folder):
        size += os.fstat(descriptor).st_size
    if size > LARGEST_ARCHIVE_BYTES:
        raise RecipeError(
            f'{printable(folder)} takes {size_text(size)}; an archive may have '
            f'{size_text(LARGEST_ARCHIVE_BYTES)}: copy the folder instead'
        )
    return size


def write_archive(folder: Path, file: BinaryIO, beside: Iterable[tuple[str, bytes]] = ()) -> None:
    """
    Write all files of a recipe into an archive; the same files always give the same bytes.

    Parameters
    ----------
    folder : Path
        The recipe folder. It may be replaced meanwhile: the archive is of the one that was there.
    file : binary file
        Open for writing, and seekable.
    beside : iterable of (str, bytes)
        Files of the folder '<name>.review' beside it, which go with it: path and content.

    Raises
    ------
    RecipeError
        When the folder or a file cannot be read, or is no part of a recipe; or the archive cannot
        be written.

    """
    size = archive_size(folder)
    top = folder.name
    try:
        with zipfile.ZipFile(file, 'w') as archive:
            for path, descriptor in open_files(folder):
                entry = zipfile.ZipInfo(f'{top}/{path}')
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                if path.endswith(_TEXTS):
                    entry.compress_type = zipfile.ZIP_DEFLATED
                # Told beforehand, so that a file of 2 GB needs no other format.
                entry.file_size = os.fstat(descriptor).st_size
                with (
                    open(descriptor, 'rb', closefd=False) as source,
                    archive.open(entry, 'w') as target,
                ):
                    shutil.copyfileobj(source, target, _CHUNK_BYTES)
            for path, content in beside:
                size += len(content)
                if size > LARGEST_ARCHIVE_BYTES:
                    raise RecipeError(
                        f'{printable(folder)} takes more than '
                        f'{size_text(LARGEST_ARCHIVE_BYTES)} with the parts that it must reject; '
                        'copy the folders instead'
                    )
                entry = zipfile.ZipInfo(f'{top}{REVIEW_SUFFIX}/{path}')
                entry.external_attr = (stat.S_IFREG | 0o644) << 16
                archive.writestr(entry, content)
    except OSError as error:
        raise RecipeError(f'cannot write the archive: {error.strerror or error}') from error


def import_archive(
    file: BinaryIO,
    library: Path,
    *,
    budget_bytes: int = DEFAULT_BUDGET_BYTES,
    take_beside: Callable[[Path, Path], int] | None = None,
) -> ImportedRecipe:
    """
    Put the recipe of an archive into a library; nothing that is there is changed.

    Where the library has another recipe of its name, it gets a new one, 'pump-2'. Its version
    stays what it was.

    Parameters
    ----------
    file : binary file
        The archive, open for reading, and seekable.
    library : Path
        The folder that holds recipes.
    budget_bytes : int
        What the recipe may take of memory; see `read_recipe`.
    take_beside : callable (Path, Path) -> int, optional
        Takes the confirmed bad parts that came with it, before the recipe is there: called with
        an unpacked folder that has them beside it, and with the folder of the recipe to be.
        Raises RecipeError when they are not good, else says how many there are. None = an archive
        that holds some is refused.

    Raises
    ------
    RecipeError
        When the file is no archive of one good recipe, or cannot be unpacked; or the library has
        the very same recipe. The library is as before.

    """
    draft = library / f'{_DRAFT}{secrets.token_hex(4)}'
    try:
        _clear_remains(library)
        has_beside = _unpack(file, library, draft)
        recipe = _read(draft, budget_bytes)
        name = _free_name(library, recipe)
        before = recipe.name
        if name != before:
            _rename(draft, name)
            recipe = _read(draft, budget_bytes)
        n_beside = 0
        if has_beside:
            if take_beside is None:
                raise RecipeError('the archive is refused: parts to be rejected come with it')
            # Before the recipe is there: nobody shall load it without them.
            n_beside = take_beside(draft, library / name)
        os.rename(draft, library / name)
        _sync(library)
    except OSError as error:
        raise RecipeError(f'cannot unpack the archive: {error.strerror or error}') from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(_beside(draft), ignore_errors=True)
    return ImportedRecipe(recipe.at(library / name), before, n_beside)


def _beside(folder: Path) -> Path:
    return folder.with_name(folder.name + REVIEW_SUFFIX)


def _clear_remains(library: Path) -> None:
    """
    Delete what imports have left whose process was killed.

    """
    for path in library.glob(f'{_DRAFT}*'):
        # Another import may be under way.
        if time.time() - path.lstat().st_mtime > _REMAINS_S:
            shutil.rmtree(path, ignore_errors=True)


def _unpack(file: BinaryIO, library: Path, draft: Path) -> bool:
    """
    Unpack the recipe to `draft`, and say whether something was unpacked beside it.

    """
    size = file.seek(0, os.SEEK_END)
    if size > LARGEST_ARCHIVE_BYTES:
        raise RecipeError(
            f'the archive has {size_text(size)}; allowed: {size_text(LARGEST_ARCHIVE_BYTES)}'
        )
    file.seek(max(0, size - END_BYTES))
    try:
        check_directory_size(file.read(), _MOST_ENTRIES, 'zip archive', 'files')
        archive = zipfile.ZipFile(file)
    except RecipeError as error:
        raise RecipeError(f'the archive is refused: {error}') from error
    # zipfile has no error of its own for most of what can be wrong.
    except Exception as error:
        raise RecipeError(f'the archive is refused: it is no zip archive ({error})') from error
    with archive:
        members, beside = _members(archive)
        unpacked = sum(each.file_size for each in (*members.values(), *beside.values()))
        if unpacked > _UNPACKED_BYTES + _UNPACKED_TIMES * size:
            raise RecipeError(
                f'the archive is refused: its {size_text(size)} would unpack to '
                f'{size_text(unpacked)}; allowed: {size_text(_UNPACKED_BYTES)} and '
                f'{_UNPACKED_TIMES} times as much as it is packed'
            )
        free = shutil.disk_usage(library).free
        if unpacked > free:
            raise RecipeError(
                f'the recipe takes {size_text(unpacked)} on the disk; {size_text(free)} are free'
            )
        draft.mkdir(mode=0o755)
        for folder, wanted in ((draft, members), (_beside(draft), beside)):
            for path, member in wanted.items():
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _unpack_file(archive, member, target)
    return bool(beside)


_Members = dict[str, zipfile.ZipInfo]


def _members(archive: zipfile.ZipFile) -> tuple[_Members, _Members]:
    """
    Check all entries; give those of the recipe's files by their path in the recipe folder, and
    those beside it by their path in the folder beside it.

    """
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        parts = _checked_parts(member)
        _check_kind(member)
        is_foreign = parts[0] == _FOREIGN_FOLDER or any(part.startswith('.') for part in parts)
        if is_foreign or member.is_dir():
            continue
        path = '/'.join(parts)
        if path in found:
            raise _refusal(member, 'is there twice; allowed: once')
        found[path] = member
    beside = _take_beside(found)
    tops = {path.partition('/')[0] for path in found}
    # Packed with its folder, or the files alone.
    inner = f'{tops.pop()}/' if YAML not in found and len(tops) == 1 else ''
    if f'{inner}{YAML}' not in found:
        names = ', '.join(sorted(found))[:100] or 'nothing'
        raise RecipeError(
            f'the archive is refused: it must hold one recipe folder with its {YAML}; it holds: '
            f'{names}'
        )
    members = {path.removeprefix(inner): member for path, member in found.items()}
    for path in members:
        check_is_part(Path(inner), path)
    n_files = sum(1 for path in members if not path.startswith('images/'))
    if n_files > MOST_FILES:
        raise RecipeError(f'the archive holds {n_files} files; allowed: {MOST_FILES}')
    return members, beside


def _take_beside(found: _Members) -> _Members:
    """
    Take out the entries of the one folder that lies beside the recipe and goes with it.

    """
    tops = {path.partition('/')[0] for path in found}
    top = next((top for top in tops if f'{top}{REVIEW_SUFFIX}' in tops), None)
    if top is None or len(tops) != 2:
        return {}
    inner = f'{top}{REVIEW_SUFFIX}/'
    beside = {
        path.removeprefix(inner): found.pop(path) for path in list(found) if path.startswith(inner)
    }
    for path, member in beside.items():
        if not _BESIDE.fullmatch(path):
            raise _refusal(
                member,
                f'is not allowed beside a recipe; allowed: {MUST_REJECT}/{MUST_REJECT_LIST} and '
                f'pictures {MUST_REJECT}/SHA-256.png',
            )
    if len(beside) > MOST_BAD_PARTS + 1:
        raise RecipeError(
            f'the archive holds {len(beside) - 1} parts to be rejected; allowed: {MOST_BAD_PARTS}'
        )
    return beside


def _checked_parts(member: zipfile.ZipInfo) -> list[str]:
    # zipfile cuts a name at a zero byte; what was meant is the whole of it.
    name = member.orig_filename
    parts = name.removesuffix('/').split('/')
    if (
        name != member.filename
        or name != printable(name)
        or '\\' in name
        or len(name) > _LONGEST_NAME
        or {'', '.', '..'} & set(parts)
    ):
        raise _refusal(
            member,
            "is not allowed as a name; allowed: paths inside of the folder, without '..' and '\\'",
        )
    return parts


def _check_kind(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    wanted = stat.S_IFDIR if member.is_dir() else stat.S_IFREG
    if kind not in (0, wanted):
        what = 'a link' if kind == stat.S_IFLNK else 'a special file'
        raise _refusal(member, f'is {what}; allowed: regular files and folders')
    if member.flag_bits & ENCRYPTED:
        raise _refusal(member, 'is encrypted; allowed: plain files')
    if member.compress_type not in _COMPRESSIONS:
        raise _refusal(
            member,
            f'is compressed by method {member.compress_type}; allowed: {_COMPRESSIONS[0]} '
            f'(stored) and {_COMPRESSIONS[1]} (deflated)',
        )


def _unpack_file(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    size = 0
    with target.open('xb') as file:
        for chunk in _chunks(archive, member):
            size += len(chunk)
            if size > member.file_size:
                break
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if size != member.file_size:
        raise _refusal(member, f'has not the {member.file_size} bytes that the archive says')


def _chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as source:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk
    # zipfile has no error of its own for most of what can be wrong.
    except Exception as error:
        raise _refusal(member, f'is damaged: {error}') from error


def _refusal(member: zipfile.ZipInfo, why: str) -> RecipeError:
    return RecipeError(f'the archive is refused: {shown(member.orig_filename)} {why}')


def _read(draft: Path, budget_bytes: int) -> Recipe:
    try:
        return read_recipe(draft, budget_bytes=budget_bytes)
    except RecipeError as error:
        # The folder has a name of its own only while it is looked at.
        message = str(error).replace(f'{os.path.realpath(draft)}/', '')
        raise RecipeError(f'the recipe in the archive is refused: {message}') from error


def _free_name(library: Path, recipe: Recipe) -> str:
    """
    Give a name that no recipe of the library has; raises when it has the very same recipe.

    """
    names = [recipe.name, *(f'{recipe.name}-{number}' for number in range(2, _MOST_COPIES))]
    for name in names:
        folder = library / name
        if not os.path.lexists(folder) and not kept_versions(folder):
            return name
        if name == recipe.name and _hash_at(folder) == recipe.hash:
            raise RecipeError(
                f'the library has {recipe.name} version {recipe.version} already, with the very '
                'same files'
            )
    raise RecipeError(f'the library has {_MOST_COPIES} recipes {recipe.name}; delete some')


def _hash_at(folder: Path) -> str:
    try:
        return read_recipe(folder).hash
    except RecipeError:
        return ''


def _rename(draft: Path, name: str) -> None:
    """
    Give a recipe another name; all else in its recipe.yaml stays as it is.

    """
    path = draft / YAML
    text, count = re.subn(r'(?m)^name:.*$', f'name: {name}', path.read_text(encoding='utf-8'))
    if count != 1:
        raise RecipeError(f"the name in the archive's {YAML} cannot be changed; change it there")
    path.write_text(text, encoding='utf-8')


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
