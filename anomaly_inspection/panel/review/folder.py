# SPDX-License-Identifier: Apache-2.0
"""
The files of a review set.

::

    <review folder>/
      parts/<session>_<number>.json     what was measured, and what a person said
      images/<session>_<number>.png     of rejects that nobody has judged, or not surely
      judged/<recipe>/test/good/*.png   rejects that were good: `evaluate` reads judged/<recipe>,
      judged/<recipe>/test/defect/*.png `teach --add` reads judged/<recipe>/test/good

The JSON file says where the picture belongs; a picture that a crash has left elsewhere is moved.

"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
import os
from pathlib import Path
import re
import shutil
import time
from typing import TYPE_CHECKING

from anomaly_inspection.errors import StateError
from anomaly_inspection.panel.review.reject import (
    file_stem,
    Reject,
    reject_from_json,
    reject_to_json,
    ReviewVerdict,
)
from anomaly_inspection.printable import printable, shown
from anomaly_inspection.recipes.recipe import NAME_PATTERN
from anomaly_inspection.state_file import read_small_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Below this much free space nothing is kept: the cell needs the rest for its state and logs.
LEAST_FREE_BYTES = 200 * 10**6
_PARTS, _IMAGES, _JUDGED = 'parts', 'images', 'judged'
_NO_RECIPE = 'no_recipe'
_MISSING = 'the picture is missing'
# What a crash has left half written may be deleted when it is older than this.
_LEFTOVER_S = 3600.0


@dataclass(frozen=True)
class KeptReject:
    """
    A reject that the disk has.

    Parameters
    ----------
    reject : Reject
        What its file holds.
    n_bytes : int
        Size of its picture; 0 = there is none.

    """

    reject: Reject
    n_bytes: int


class ReviewFolder:
    """
    Reads and writes the files of one review set; the caller sees to it that one thread does so.

    Parameters
    ----------
    path : Path
        The folder; made when it is needed.

    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, reject: Reject, png: bytes) -> KeptReject:
        """
        Write a new reject with its picture; b'' = it has none.

        Raises
        ------
        StateError
            When the disk is too full or refuses it; then nothing of it is there.

        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = shutil.disk_usage(self.path).free
            if free < LEAST_FREE_BYTES:
                raise StateError(
                    f'the disk of {printable(self.path)} has {free / 1e6:.0f} MB left, '
                    f'{LEAST_FREE_BYTES / 1e6:.0f} MB must stay free'
                )
            # The picture first: no part may point to one that is not there.
            if png:
                replace_file(self._place(reject), png, waits_for_disk=False)
            replace_file(self._part_path(reject), reject_to_json(reject), waits_for_disk=False)
        except (OSError, ValueError) as error:
            with suppress(OSError):
                self._place(reject).unlink()
            raise self._cannot_write(error) from error
        return KeptReject(reject, len(png))

    def change(self, reject: Reject) -> None:
        """
        Write what a person has said; returns when the disk has it.

        Raises
        ------
        StateError
            When the disk refuses it; then the files are as they were.

        """
        try:
            replace_file(self._part_path(reject), reject_to_json(reject))
        except (OSError, ValueError) as error:
            raise self._cannot_write(error) from error
        # The disk has the verdict. A picture that cannot be moved now is moved at a restart.
        with suppress(OSError):
            self._put_in_place(reject)

    def forget(self, reject: Reject) -> None:
        """
        Delete a reject; what cannot be deleted stays.

        """
        # The part first: a picture without one is found and deleted at the next start.
        for path in (self._part_path(reject), *self._places(reject)):
            with suppress(OSError):
                path.unlink()

    def png_of(self, reject: Reject) -> bytes | None:
        """
        Read the picture of a reject; None = there is none.

        """
        if reject.image_problem:
            return None
        for place in self._places(reject):
            with suppress(OSError):
                return place.read_bytes()
        return None

    def picture_of(self, reject: Reject) -> Path | None:
        """
        Give the file of the picture of a reject; None = there is none.

        """
        if reject.image_problem:
            return None
        return next((path for path in self._places(reject) if path.is_file()), None)

    def read(self, *, moves_pictures: bool = True) -> tuple[list[KeptReject], list[str]]:
        """
        Read all rejects, and name the files that cannot be read, each with the reason.

        Pictures that a crash has left elsewhere are moved, unless only somebody else may do so.

        """
        found, strange = [], []
        for path in sorted((self.path / _PARTS).glob('*.json')):
            try:
                found.append(self._read(path, moves_pictures=moves_pictures))
            except (OSError, ValueError) as error:
                strange.append(f'{printable(path.name)} ({cause_of(error)})')
        return found, strange

    def tidy(self) -> None:
        """
        Delete what a crash has left half written, and pictures whose part was forgotten.

        """
        for path in self._leftovers():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_S:
                    path.unlink()

    def _leftovers(self) -> Iterator[Path]:
        yield from (self.path / _PARTS).glob('.*.json-*')
        yield from self.path.rglob('.*.png-*')
        for path in (self.path / _IMAGES).glob('*.png'):
            if not (self.path / _PARTS / f'{path.stem}.json').exists():
                yield path

    def _read(self, path: Path, *, moves_pictures: bool) -> KeptReject:
        text = read_small_file(path)
        if text is None:
            raise ValueError('it is gone')
        reject = reject_from_json(text)
        if path.stem != file_stem(reject.key):
            raise ValueError(f'it is about part {reject.key[1]} of {shown(reject.key[0])}')
        if reject.image_problem:
            return KeptReject(reject, 0)
        if moves_pictures:
            with suppress(OSError):
                self._put_in_place(reject)
        for place in self._places(reject):
            with suppress(OSError):
                return KeptReject(reject, place.stat().st_size)
        return KeptReject(replace(reject, image_problem=_MISSING), 0)

    def _cannot_write(self, error: Exception) -> StateError:
        return StateError(f'cannot write {printable(self.path)}: {cause_of(error)}')

    # Places

    def _part_path(self, reject: Reject) -> Path:
        return self.path / _PARTS / f'{file_stem(reject.key)}.json'

    def _place(self, reject: Reject) -> Path:
        """
        Where the picture belongs.

        """
        name = f'{file_stem(reject.key)}.png'
        if reject.verdict in (None, ReviewVerdict.UNSURE):
            return self.path / _IMAGES / name
        return self._split(reject) / str(reject.verdict) / name

    def _split(self, reject: Reject) -> Path:
        is_plain = re.fullmatch(NAME_PATTERN, reject.recipe) is not None
        return self.path / _JUDGED / (reject.recipe if is_plain else _NO_RECIPE) / 'test'

    def _places(self, reject: Reject) -> list[Path]:
        """
        Where the picture may be, the likeliest place first.

        """
        verdicts = (reject.verdict, None, ReviewVerdict.GOOD, ReviewVerdict.DEFECT)
        return [self._place(replace(reject, verdict=verdict)) for verdict in verdicts]

    def _put_in_place(self, reject: Reject) -> None:
        place = self._place(reject)
        found = next((path for path in self._places(reject) if path.is_file()), place)
        if found == place:
            return
        if place.parent.parent == self._split(reject):
            # `evaluate` knows the layout by these two.
            for verdict in (ReviewVerdict.GOOD, ReviewVerdict.DEFECT):
                (self._split(reject) / verdict).mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(found, place)


def cause_of(error: Exception) -> str:
    """
    Give the reason without the number and the path.

    """
    return getattr(error, 'strerror', None) or str(error)
