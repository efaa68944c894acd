# SPDX-License-Identifier: Apache-2.0
"""
statistics.npz: arrays by name, from a file that may be hostile.

"""

from __future__ import annotations

import io
import math
import struct
from typing import Any, TYPE_CHECKING
import zipfile

import numpy as np

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.recipes.budget import size_text
from anomaly_inspection.recipes.zip_directory import check_directory_size, ENCRYPTED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from anomaly_inspection.recipes.budget import Budget

MOST_ARRAYS = 500

# We pack nothing. Arrays of measurements hardly shrink; those that are all zeros take seconds.
_UNPACKED_BYTES, _UNPACKED_TIMES = 64 * 10**6, 50

_SUFFIX = '.npy'
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LONGEST_HEADER = 10_000
_MOST_DIMENSIONS = 8


def statistics_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """
    Give the content of statistics.npz.

    """
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def read_statistics(
    content: bytes, known: Collection[str], budget: Budget
) -> dict[str, NDArray[Any]]:
    """
    Read all arrays.

    What the archive's directory and each array's header say is checked before anything is
    unpacked; no more is unpacked than they say.

    Parameters
    ----------
    content : bytes
        Of the file.
    known : collection of str
        The arrays that there may be.
    budget : Budget
        Takes the size of each array.

    Raises
    ------
    RecipeError
        When it is no .npz archive of such arrays of numbers or texts, or takes more than the
        budget; names the array.

    """
    check_directory_size(content, MOST_ARRAYS, '.npz archive', 'arrays')
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise RecipeError(f'it is truncated or no .npz archive: {error}') from error
    arrays: dict[str, NDArray[Any]] = {}
    with archive:
        members = archive.infolist()
        for member in members:
            key = member.filename.removesuffix(_SUFFIX)
            _check_member(member, key, known)
            if key in arrays:
                raise RecipeError(f'array {key!r} stands there twice')
            arrays[key] = np.empty(0)
        unpacked = sum(member.file_size for member in members)
        if unpacked > _UNPACKED_BYTES + _UNPACKED_TIMES * len(content):
            raise RecipeError(
                f'its {size_text(len(content))} would unpack to {size_text(unpacked)}; allowed: '
                f'{size_text(_UNPACKED_BYTES)} and {_UNPACKED_TIMES} times as much as it is packed'
            )
        for member in members:
            key = member.filename.removesuffix(_SUFFIX)
            budget.take(f'array {key!r}', member.file_size)
            try:
                arrays[key] = _array(archive, member)
            except RecipeError as error:
                raise RecipeError(f'array {key!r} {error}') from error
            # NumPy and zipfile have no error of their own for most of what can be wrong.
            except Exception as error:
                raise RecipeError(f'array {key!r} is damaged: {error}') from error
    return arrays


def _check_member(member: zipfile.ZipInfo, key: str, known: Collection[str]) -> None:
    if not member.filename.endswith(_SUFFIX):
        raise RecipeError(f'{key!r} is no array; allowed: <name>{_SUFFIX}')
    if member.flag_bits & ENCRYPTED:
        raise RecipeError(f'array {key!r} is encrypted; allowed: plain arrays')
    if member.compress_type not in _COMPRESSIONS:
        raise RecipeError(
            f'array {key!r} is compressed by method {member.compress_type}; '
            f'allowed: {_COMPRESSIONS[0]} (stored) and {_COMPRESSIONS[1]} (deflated)'
        )
    if key not in known:
        raise RecipeError(f'array {key!r} belongs to no scorer and no measure of the recipe')


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        _check_header(file, member.file_size)
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise RecipeError('is followed by more data')
    array = np.asarray(array)
    if array.dtype.kind == 'f' and not np.isfinite(array).all():
        raise RecipeError('holds values that are not finite')
    return array


def _check_header(file: Any, size: int) -> None:
    """
    Refuse an array whose header is odd or tells of another amount of data than there is.

    """
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        header = np.lib.format.read_array_header_1_0(file, max_header_size=_LONGEST_HEADER)
    elif version == (2, 0):
        header = np.lib.format.read_array_header_2_0(file, max_header_size=_LONGEST_HEADER)
    else:
        raise RecipeError(f'has format {version}; allowed: (1, 0) and (2, 0)')
    shape, _, kind = header
    if not (kind.kind in 'bui' or kind.kind in 'fU') or kind.hasobject or kind.fields:
        raise RecipeError(f'is of type {kind}; allowed: numbers, truth values and texts')
    if kind.kind == 'f' and kind.itemsize > 8:
        raise RecipeError(f'is of type {kind}; allowed: floating-point numbers of 8 bytes at most')
    if len(shape) > _MOST_DIMENSIONS or not all(
        type(length) is int and 0 <= length < 2**31 for length in shape
    ):
        raise RecipeError(
            f'has the shape {shape!s:.100}; allowed: {_MOST_DIMENSIONS} dimensions at most'
        )
    wanted = math.prod(shape) * kind.itemsize
    if file.tell() + wanted != size:
        raise RecipeError(
            f'should have {wanted} bytes by its shape {shape}; it has {size - file.tell()}'
        )
