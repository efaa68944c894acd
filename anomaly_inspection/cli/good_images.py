# SPDX-License-Identifier: Apache-2.0
"""
Good images from a folder, for the commands that learn from them.

"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TYPE_CHECKING

from anomaly_inspection.cli.output import errors, escaped
from anomaly_inspection.errors import FrameError, SettingError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.capture.image_folder import ImageFolder

# What a folder of good parts never holds, but a data set with parts of all kinds does.
_FOLDERS_OF_A_DATASET = ('train', 'test', 'validation', 'ground_truth')


def good_images(folder: Path) -> Iterator[tuple[str, Any]]:
    """
    Give the images of a folder of good parts with their names.

    Raises
    ------
    SettingError
        When the folder holds parts that are not good, or an image that cannot be read.

    """
    for name, image in offered_images(folder):
        if isinstance(image, FrameError):
            raise SettingError(f'{printable(folder / name)}: {image}')
        yield name, image


def offered_images(folder: Path) -> Iterator[tuple[str, Any]]:
    """
    Give the images of a folder of good parts with their names, one at a time.

    An image that cannot be read comes as the FrameError that says why.

    Raises
    ------
    SettingError
        When the folder holds parts that are not good.

    """
    from anomaly_inspection.capture.image_folder import ImageFolder

    _refuse_dataset(folder)
    with ImageFolder(folder) as images:
        _refuse_defective(folder, images)
        while (frame := images.read()) is not None:
            yield frame.name, FrameError(frame.problem) if frame.image is None else frame.image


def _refuse_dataset(folder: Path) -> None:
    good = folder / 'train' / 'good'
    inside = [name for name in _FOLDERS_OF_A_DATASET if (folder / name).is_dir()]
    if good.is_dir():
        raise SettingError(
            f'{printable(folder)} is a data set, not a folder of good parts; '
            f'did you mean {printable(good)}?'
        )
    if inside:
        raise SettingError(
            f'{printable(folder)} holds a folder {inside[0]!r}, so it is a data set; '
            'give the folder of its good parts'
        )


def _refuse_defective(folder: Path, images: ImageFolder) -> None:
    """
    Refuse images that their folder or labels.csv call defective.

    """
    defective = []
    for name in images.names:
        truth = images.truth(name, with_mask=False)
        if truth is not None and not (truth.is_good and truth.part_present):
            defective.append(name)
    if defective:
        raise SettingError(
            f'{len(defective)} of the {len(images.names)} images in {printable(folder)} are not '
            'good by the name of their folder or by labels.csv, '
            f'the first is {printable(defective[0])}; give a folder of good parts only'
        )


def print_left_out(left_out: Iterable[str]) -> None:
    for name in left_out:
        errors.print(f'[yellow]left out:[/] {escaped(name)}', soft_wrap=True)
