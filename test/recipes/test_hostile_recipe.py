# SPDX-License-Identifier: Apache-2.0
"""
A recipe folder is hostile until checked: whatever it holds, reading it ends soon, with one
sentence that names the file, and gives all memory back.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import io
import os
from pathlib import Path
import socket
import struct
from typing import Any
import zipfile
import zlib

import numpy as np
import pytest

from support.handmade_recipe import HEIGHT, WIDTH
from support.recipe_reader import Answer, RecipeReader

MOST_PEAK_MB, MOST_HELD_MB = 300.0, 60.0


@pytest.fixture(scope='module')
def reader(written: Path) -> Iterator[RecipeReader]:
    """
    A reader that has read a good recipe: what it needs is loaded.

    """
    reader = RecipeReader()
    try:
        assert reader.read(written).error == 'NoneType'
        yield reader
    finally:
        reader.close()


def refused(reader: RecipeReader, copy: Path, file: str, *says: str, **options: int) -> Answer:
    """
    Read a recipe that must be refused in one sentence, for a named file, within bounds.

    """
    answer = reader.read(copy, **options)
    assert answer.error == 'RecipeError', answer
    assert str(copy.resolve() / file) in answer.message
    for words in says:
        assert words in answer.message
    assert '\n' not in answer.message
    assert len(answer.message) < 500
    answer.message.encode()
    assert answer.peak_mb < MOST_PEAK_MB, answer
    assert answer.held_mb < MOST_HELD_MB, answer
    return answer


# ----------------------------------------------------------------------------------- kinds of file

KINDS: dict[str, Callable[[Path], Any]] = {
    'pipe': lambda path: os.mkfifo(path),
    'link to a device': lambda path: path.symlink_to('/dev/zero'),
    'link out of the folder': lambda path: path.symlink_to('/etc/hostname'),
    'link that goes round': lambda path: path.symlink_to(path.name),
    'socket': lambda path: bound_socket(path),
    'folder': lambda path: path.mkdir(),
}


def bound_socket(path: Path) -> None:
    # The name of a socket may be 100 bytes long at most.
    place = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(f'/proc/self/fd/{place}/{path.name}')
    finally:
        os.close(place)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    'file', ['recipe.yaml', 'statistics.npz', 'references/001.png', 'model/variation/model.bin']
)
def test_what_is_no_regular_file_is_refused(
    reader: RecipeReader, copy: Path, file: str, kind: str
) -> None:
    path = copy / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path)
    refused(reader, copy, file)


def test_a_folder_that_is_a_link_out_of_the_recipe_is_refused(
    reader: RecipeReader, copy: Path
) -> None:
    os.rename(copy / 'references', copy.with_name('elsewhere'))
    (copy / 'references').symlink_to(copy.with_name('elsewhere'))
    refused(reader, copy, 'references', 'link')


def test_the_recipe_folder_itself_may_be_a_link(reader: RecipeReader, copy: Path) -> None:
    copy.with_name('link').symlink_to(copy)
    assert reader.read(copy.with_name('link')).error == 'NoneType'


def test_a_pipe_in_place_of_the_folder_is_refused(reader: RecipeReader, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'pipe')
    refused(reader, tmp_path / 'pipe', '')


# ----------------------------------------------------------------------------------- strange files


@pytest.mark.parametrize(
    'stranger',
    [
        *('README.md', 'notes', 'recipe.yml', 'statistics.npz.bak', 'pictures/photo.png'),
        *('references/photo.png', 'references/deep/photo.png', 'model/model.xml'),
        *('model/variation/deep/model.xml', 'model/ssim/model.xml', 'model/template/photo.xml'),
        *('name-\udcff', 'references/\udcff.png', 'model/variation/\udcff.bin', 'two\nlines'),
    ],
)
def test_a_stranger_is_refused_by_name(reader: RecipeReader, copy: Path, stranger: str) -> None:
    (copy / stranger).parent.mkdir(parents=True, exist_ok=True)
    (copy / stranger).write_bytes(b'x')
    shown = stranger.replace('\udcff', '\ufffd').replace('\n', r'\n').split('/deep')[0]
    answer = reader.read(copy)
    assert answer.error == 'RecipeError', answer
    assert shown.split('/photo')[0] in answer.message
    answer.message.encode()
    assert '\n' not in answer.message


@pytest.mark.parametrize(
    'aside', ['.git/objects/00/blob', '.recipe.yaml.swp', 'recipe.yaml~', 'references/.DS_Store']
)
def test_hidden_files_and_backups_of_editors_are_no_part_of_the_recipe(
    reader: RecipeReader, copy: Path, aside: str
) -> None:
    (copy / aside).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(copy / aside)
    assert reader.read(copy).error == 'NoneType'


def test_too_many_files_are_refused(reader: RecipeReader, copy: Path) -> None:
    (copy / 'model' / 'variation').mkdir(parents=True)
    for index in range(1_100):
        (copy / 'model' / 'variation' / f'{index}.bin').write_bytes(b'')
    refused(reader, copy, '', 'files')


def test_a_tree_that_is_too_deep_is_refused(reader: RecipeReader, copy: Path) -> None:
    place = os.open(copy, os.O_RDONLY)
    for name in ['model', 'variation', *['d'] * 1100]:
        os.mkdir(name, dir_fd=place)
        deeper = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = deeper
    os.close(place)
    try:
        refused(reader, copy, 'model/variation/d')
    finally:
        remove_deep(copy / 'model' / 'variation' / 'd')


def remove_deep(top: Path) -> None:
    """
    Remove what shutil.rmtree, and with it pytest, cannot: it recurses.

    """
    for _ in range(1100):
        inner = top / 'd'
        if not inner.exists():
            break
        os.rename(inner, top.with_name('next'))
        os.rmdir(top)
        os.rename(top.with_name('next'), top)


# ----------------------------------------------------------------------------------------- budget


@pytest.mark.parametrize(
    'file', ['recipe.yaml', 'statistics.npz', 'references/001.png', 'model/variation/model.bin']
)
def test_a_sparse_file_of_a_terabyte_is_refused(
    reader: RecipeReader, copy: Path, file: str
) -> None:
    (copy / file).parent.mkdir(parents=True, exist_ok=True)
    with (copy / file).open('ab') as opened:
        opened.truncate(2**40)
    refused(reader, copy, file)


def test_the_budget_is_an_argument(reader: RecipeReader, copy: Path) -> None:
    refused(reader, copy, '', '100 kB', budget_bytes=100_000)


def test_files_that_are_too_large_only_together_are_refused(
    reader: RecipeReader, copy: Path
) -> None:
    (copy / 'model' / 'variation').mkdir(parents=True)
    for index in range(30):
        with (copy / 'model' / 'variation' / f'{index}.bin').open('wb') as file:
            file.truncate(10**6)
    refused(reader, copy, 'model/variation/', '20 MB', budget_bytes=20_000_000)


# -------------------------------------------------------------------------------------- statistics


def entry(
    archive: zipfile.ZipFile, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED
) -> None:
    archive.writestr(zipfile.ZipInfo(name), content, method)


def array_bytes(header: str, data: bytes = b'') -> bytes:
    """
    Give an .npy file with a header of one's own.

    """
    text = header.encode().ljust(118 - 1) + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text + data


def with_member(copy: Path, name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(copy / 'statistics.npz', 'a') as archive:
        entry(archive, name, content, method)


def zeros_member(copy: Path, name: str, size: int, header: str) -> None:
    """
    Add an array of zeros, compressed as it is written, so that it never lies in memory.

    """
    info = zipfile.ZipInfo(name)
    info.compress_type, info._compresslevel = zipfile.ZIP_DEFLATED, 1
    block = bytes(2**22)
    with (
        zipfile.ZipFile(copy / 'statistics.npz', 'a') as archive,
        archive.open(info, 'w', force_zip64=True) as member,
    ):
        member.write(array_bytes(header))
        for _ in range(size // len(block)):
            member.write(block)


def without_member(copy: Path, name: str) -> None:
    """
    Take an array out of the archive.

    """
    path = copy / 'statistics.npz'
    with zipfile.ZipFile(path) as archive:
        kept = {member: archive.read(member) for member in archive.namelist() if member != name}
    with zipfile.ZipFile(path, 'w') as archive:
        for member, content in kept.items():
            archive.writestr(member, content)


def patched(copy: Path, change: Callable[[bytearray], None]) -> None:
    """
    Change bytes of the archive.

    """
    data = bytearray((copy / 'statistics.npz').read_bytes())
    change(data)
    (copy / 'statistics.npz').write_bytes(data)


@pytest.mark.parametrize('name', ['variation/more', 'variation/mean'])
def test_half_a_gigabyte_of_zeros_in_a_small_file_is_refused(
    reader: RecipeReader, copy: Path, name: str
) -> None:
    without_member(copy, 'variation/mean.npy')
    size = 2**29
    shape = f'({size // 2**20}, {2**20})'
    zeros_member(
        copy, f'{name}.npy', size, f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}"
    )
    assert (copy / 'statistics.npz').stat().st_size < 10_000_000
    refused(reader, copy, 'statistics.npz')


def test_an_array_beyond_the_budget_is_refused(reader: RecipeReader, copy: Path) -> None:
    without_member(copy, 'variation/mean.npy')
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (64, 1048576)}"
    zeros_member(copy, 'variation/mean.npy', 2**26, header)
    says = ("array 'variation/mean' takes 67.1 MB of memory", 'of the 50 MB')
    refused(reader, copy, 'statistics.npz', *says, budget_bytes=50_000_000)


def test_an_array_within_the_budget_but_of_another_shape_gives_its_memory_back(
    reader: RecipeReader, copy: Path
) -> None:
    without_member(copy, 'variation/mean.npy')
    size = 2**26
    zeros_member(
        copy,
        'variation/mean.npy',
        size,
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1024, {size // 4096})}}",
    )
    refused(reader, copy, 'statistics.npz', 'variation/', 'sizes disagree')


def test_an_array_that_the_scorer_does_not_know_is_refused(
    reader: RecipeReader, copy: Path
) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    with_member(copy, 'variation/more.npy', file.getvalue())
    refused(reader, copy, 'statistics.npz', 'variation/more')


def declared_smaller(data: bytearray) -> None:
    """
    Let the directory say of the last member that it is small.

    """
    place = data.rfind(b'PK\x01\x02')
    data[place + 24 : place + 28] = struct.pack('<I', 200)


def test_a_member_larger_than_its_directory_says_is_refused(
    reader: RecipeReader, copy: Path
) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,), }"
    with_member(copy, 'variation/more.npy', array_bytes(header, bytes(2**25)))
    patched(copy, declared_smaller)
    refused(reader, copy, 'statistics.npz', 'variation/more')


HEADERS = {
    'object': "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    'huge shape': "{'descr': '<f8', 'fortran_order': False, 'shape': (4000000000, 400000000), }",
    'huge shape of nothing': "{'descr': '<f8', 'fortran_order': False, 'shape': (9**99, 0), }",
    'product beyond 64 bits': "{'descr': '<f8', 'fortran_order': False, 'shape': (2**62, 4), }",
    'negative shape': "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    'shape of texts': "{'descr': '<f8', 'fortran_order': False, 'shape': ('a',), }",
    'shape of truth': "{'descr': '<f8', 'fortran_order': False, 'shape': (True,), }",
    'no tuple': "{'descr': '<f8', 'fortran_order': False, 'shape': 1, }",
    'many dimensions': f"{{'descr': '|u1', 'fortran_order': False, 'shape': {(1,) * 33}}}",
    'complex': "{'descr': '<c16', 'fortran_order': False, 'shape': (1,), }",
    'structured': "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }",
    'long double': "{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }",
    'no type': "{'descr': 'quux', 'fortran_order': False, 'shape': (1,), }",
    'long text': "{'descr': '<U999999999', 'fortran_order': False, 'shape': (1,), }",
    'no mapping': '[1]',
    'key is missing': "{'descr': '<f8', 'shape': (1,), }",
    'call': '__import__("os").system("true")',
    'brackets': '[' * 110,
    'null byte': "{'descr': '\0'}",
    'not closed': "{'descr': '<f8",
    'indent': '  \n    {\n  1',
    'nothing': '',
}


@pytest.mark.parametrize('kind', HEADERS)
def test_an_array_with_a_bad_header_is_refused(
    reader: RecipeReader, copy: Path, kind: str
) -> None:
    with_member(copy, 'variation/more.npy', array_bytes(HEADERS[kind], bytes(16)))
    refused(reader, copy, 'statistics.npz', 'variation/more')


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\x93NUM',
        b'PK\x03\x04',
        b'\x93NUMPY\x01\x00\xff\xff',
        b'\x93NUMPY\x02\x00\xff\xff\xff\xff{',
        b'\x93NUMPY\x09\x09\x10\x00{}',
        b'\x93NUMPY\x03\x00\x10\x00\x00\x00' + b'{}'.ljust(15) + b'\n',
        array_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (8,), }", bytes(7)),
        array_bytes("{'descr': '|u1', 'fortran_order': False, 'shape': (8,), }", bytes(9)),
        b'bytes, not an array',
    ],
)
@pytest.mark.parametrize('name', ['variation/more.npy', 'variation/more'])
def test_a_member_that_is_no_array_is_refused(
    reader: RecipeReader, copy: Path, name: str, content: bytes
) -> None:
    with_member(copy, name, content)
    refused(reader, copy, 'statistics.npz', 'variation/more')


@pytest.mark.parametrize('method', [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(reader: RecipeReader, copy: Path, method: int) -> None:
    with_member(copy, 'variation/more.npy', bytes(9), method)
    refused(reader, copy, 'statistics.npz', 'variation/more', 'compress')


@pytest.mark.parametrize('method', [1, 9, 93, 99, 65535])
def test_a_compression_that_python_does_not_know_is_refused(
    reader: RecipeReader, copy: Path, method: int
) -> None:
    def change(data: bytearray) -> None:
        place = data.rfind(b'PK\x01\x02')
        data[place + 10 : place + 12] = struct.pack('<H', method)

    patched(copy, change)
    refused(reader, copy, 'statistics.npz', 'compress')


@pytest.mark.parametrize('bit', [0x1, 0x20, 0x40, 0x2000])
def test_an_encrypted_archive_is_refused(reader: RecipeReader, copy: Path, bit: int) -> None:
    def change(data: bytearray) -> None:
        place = data.find(b'PK\x01\x02')
        data[place + 8] |= bit & 0xFF
        data[place + 9] |= bit >> 8

    patched(copy, change)
    refused(reader, copy, 'statistics.npz', 'encrypted')


def test_an_array_that_stands_twice_is_refused(reader: RecipeReader, copy: Path) -> None:
    with zipfile.ZipFile(copy / 'statistics.npz') as archive:
        content = archive.read('variation/mean.npy')
    with pytest.warns(UserWarning, match='Duplicate name'):
        with_member(copy, 'variation/mean.npy', content)
    refused(reader, copy, 'statistics.npz', 'variation/mean', 'twice')


def test_an_archive_of_too_many_arrays_is_refused(reader: RecipeReader, copy: Path) -> None:
    with zipfile.ZipFile(copy / 'statistics.npz', 'a') as archive:
        for index in range(60_000):
            archive.writestr(f'variation/{index}.npy', b'')
    refused(reader, copy, 'statistics.npz', 'arrays')


@pytest.mark.parametrize('name', ['variation/\udcff.npy', 'bäd/more.npy', '../up.npy', '/a.npy'])
def test_a_member_of_a_strange_name_is_refused(
    reader: RecipeReader, copy: Path, name: str
) -> None:
    with_member(copy, name.replace('\udcff', 'Z'), b'x')
    patched(
        copy, lambda data: data.__setitem__(slice(None), data.replace(b'/Z.npy', b'/\xff.npy'))
    )
    refused(reader, copy, 'statistics.npz')


def test_an_npy_in_place_of_the_npz_is_refused(reader: RecipeReader, copy: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    (copy / 'statistics.npz').write_bytes(file.getvalue())
    refused(reader, copy, 'statistics.npz', '.npz')


def test_a_pickle_in_place_of_the_npz_is_refused(reader: RecipeReader, copy: Path) -> None:
    (copy / 'statistics.npz').write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    refused(reader, copy, 'statistics.npz', '.npz')


def test_an_archive_whose_directory_lies_is_refused(reader: RecipeReader, copy: Path) -> None:
    def change(data: bytearray) -> None:
        place = data.rfind(b'PK\x05\x06')
        data[place + 12 : place + 20] = b'\xff' * 8

    patched(copy, change)
    refused(reader, copy, 'statistics.npz')


# ------------------------------------------------------------------------------------------ images


def png(
    width: int, height: int, data: bytes = b'', kind: bytes = b'\x08\x00\x00\x00\x00'
) -> bytes:
    """
    Give a PNG whose header says what one likes.

    """

    def block(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack('>I', len(content))
            + name
            + content
            + struct.pack('>I', zlib.crc32(name + content))
        )

    header = struct.pack('>II', width, height) + kind
    return (
        b'\x89PNG\r\n\x1a\n' + block(b'IHDR', header) + block(b'IDAT', data) + block(b'IEND', b'')
    )


def zeros_packed(size: int) -> bytes:
    packer = zlib.compressobj(1)
    block = bytes(2**22)
    return b''.join(packer.compress(block) for _ in range(-(-size // len(block)))) + packer.flush()


def test_a_huge_reference_is_refused_before_it_is_decoded(
    reader: RecipeReader, copy: Path
) -> None:
    data = zeros_packed(20_001 * 20_000)
    assert len(data) < 2_000_000
    (copy / 'references' / '001.png').write_bytes(png(20_000, 20_000, data))
    refused(reader, copy, 'references/001.png', '20000 x 20000')


@pytest.mark.parametrize(
    ('width', 'height', 'kind'),
    [
        (WIDTH, 2**31 - 1, b'\x08\x00\x00\x00\x00'),
        (2**32 - 1, 2**32 - 1, b'\x08\x00\x00\x00\x00'),
        (0, HEIGHT, b'\x08\x00\x00\x00\x00'),
        (WIDTH, HEIGHT, b'\x07\x09\x00\x00\x00'),
        (WIDTH, HEIGHT, b'\x10\x06\x00\x00\x00'),
    ],
)
def test_a_reference_with_a_strange_header_is_refused(
    reader: RecipeReader, copy: Path, width: int, height: int, kind: bytes
) -> None:
    data = zlib.compress(bytes((WIDTH * 8 + 1) * HEIGHT))
    (copy / 'references' / '001.png').write_bytes(png(width, height, data, kind))
    refused(reader, copy, 'references/001.png')


# ------------------------------------------------------------------------------------------- YAML

TEXTS = {
    'brackets': '[' * 20_000,
    'braces': '{' * 20_000,
    'braces of one key': '{a: ' * 20_000,
    'dashes': '- ' * 20_000,
    'indented keys': '\n'.join(' ' * depth + 'a:' for depth in range(200)),
    'many keys': '\n'.join(f'key{index}: 1' for index in range(60_000)),
    'many keys in braces': '{' + ', '.join(f'key{index}: 1' for index in range(60_000)) + '}',
    'many values': '[' + '1,' * 200_000 + ']',
    'the same key': 'a: 1\n' * 60_000,
    'alias': 'a: &a [1]\nb: *a',
    'a billion laughs': '\n'.join(
        f'{letter}: &{letter} [{", ".join([f"*{above}"] * 9)}]'
        for above, letter in zip('0abcdefgh', 'abcdefghi', strict=True)
    ).replace('*0', '1'),
    'merge': 'a: &a {b: 1}\nc: {<<: *a}',
    'tag': 'name: !!python/object/apply:os.system ["true"]',
    'binary': 'name: !!binary x',
    'truth': 'name: !!bool maybe',
    'time': 'name: !!timestamp then',
    'set': 'name: !!set {a, b}',
    'long number': f'version: {"9" * 400}',
    'very long number': f'version: {"9" * 5000}',
    'hexadecimal': f'version: 0x{"f" * 4900}',
    'sexagesimal': f'version: {"1:" * 300_000}1',
    'long text': f'name: {"x" * 2_000_000}',
    'long comment': '#' * 5_000_000,
    'long line of spaces': ' ' * 5_000_000,
    'list as key': '[1]: 2',
    'mapping as key': '? {a: 1}\n: 2',
    'two documents': '--- 1\n--- 2',
    'percent': '%YAML 9.9\n---\na: 1',
    'control character': 'name: a\x01b',
    'tabs': '\t\t- a',
}


@pytest.mark.parametrize('kind', TEXTS)
def test_yaml_that_would_take_long_or_is_odd_is_refused(
    reader: RecipeReader, copy: Path, kind: str
) -> None:
    (copy / 'recipe.yaml').write_text(TEXTS[kind])
    refused(reader, copy, 'recipe.yaml')


@pytest.mark.parametrize(
    'data', [b'\xff\xfe\x00\x00', b'name: \xff', b'\x00' * 1000, b'a: \xed\xa0\x80']
)
def test_yaml_that_is_no_text_is_refused(reader: RecipeReader, copy: Path, data: bytes) -> None:
    (copy / 'recipe.yaml').write_bytes(data)
    refused(reader, copy, 'recipe.yaml')


NUMBERS = ('9' * 400, f'-{"9" * 400}', '0x' + 'f' * 900, '1e999', '.nan', '1:' * 30 + '1')
PLACES = (
    *('version: 1', 'width: 64', 'saturated_share: 0.98', 'min_area_px: 5', 'limit: 0.75'),
    *('image_count: 6', 'floor_levels: 5.0', 'pool_px: 7', 'limit: 40.0', 'typical: 0.9'),
    *('search_px: 24.0', 'format_version: 1'),
)


@pytest.mark.parametrize('number', NUMBERS, ids=lambda number: number[:8])
@pytest.mark.parametrize('place', PLACES)
def test_a_number_beyond_all_bounds_is_refused_wherever_it_stands(
    reader: RecipeReader, copy: Path, place: str, number: str
) -> None:
    text = (copy / 'recipe.yaml').read_text()
    key = place.partition(':')[0]
    assert place in text, text
    (copy / 'recipe.yaml').write_text(text.replace(place, f'{key}: {number}', 1))
    refused(reader, copy, 'recipe.yaml')
