# SPDX-License-Identifier: Apache-2.0
"""
What is known of the images in a folder: MVTec AD's layout and labels.csv.

"""

from __future__ import annotations

import csv
from dataclasses import dataclass
import os
from pathlib import Path
from typing import TYPE_CHECKING

from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.source import Truth
from anomaly_inspection.errors import FrameError, SourceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LABELS = 'labels.csv'
_MASKS = 'ground_truth'
_CLASS_COLUMNS = ('part_class', 'face')
_SPLITS = ('train', 'validation', 'test')
_YES_NO = {'': True, 'yes': True, 'no': False}
_UNKNOWN = float('nan')


@dataclass(frozen=True)
class _Label:
    defect: str
    part_present: bool
    diameter_px: float
    contrast_levels: float
    mask: Path | None
    part_class: str = ''


class FolderTruth:
    """
    The truth of the images in one folder.

    The kind of defect is the folder of the image in a tree laid out as MVTec AD's
    (`test/<defect>/*`, `train/good/*`, and beside it `ground_truth/<defect>/<name>_mask.png`). A
    labels.csv in the folder, in its parent or at the top of such a tree overrules the layout for
    the images it lists: columns file (relative to labels.csv), defect or label, and, where known,
    mask (relative to labels.csv), part_present (yes, no), part_class or face (which of several
    kinds of part it is), diameter_px and contrast_levels.

    Parameters
    ----------
    root : Path
        The folder, absolute.

    Raises
    ------
    SourceError
        When labels.csv cannot be read or contradicts itself; names file, line and value.

    """

    def __init__(self, root: Path) -> None:
        self._root = root
        dataset = _dataset_of(root / 'any')
        folders = (root, root.parent, *((dataset,) if dataset else ()))
        tables = [folder / _LABELS for folder in folders if (folder / _LABELS).is_file()]
        self._labels = _read_labels(tables[0]) if tables else {}

    def of(self, name: str, *, with_mask: bool = True) -> Truth | None:
        """
        Give what is known of the image of that name; None when nothing is.

        Loads its mask from disk unless `with_mask` is false.

        Raises
        ------
        SourceError
            When its mask exists and cannot be read.

        """
        path = self._root / name
        dataset = _dataset_of(path)
        label = self._labels.get(os.path.normpath(path))
        if label is None:
            if dataset is None:
                return None
            label = _Label(path.parent.name, True, _UNKNOWN, _UNKNOWN, None)
        mask = label.mask
        if not with_mask:
            mask = None
        elif mask is None and dataset is not None:
            usual = dataset / _MASKS / label.defect / f'{path.stem}_mask.png'
            mask = usual if usual.is_file() else None
        return Truth(
            defect=label.defect,
            part_present=label.part_present,
            diameter_px=label.diameter_px,
            contrast_levels=label.contrast_levels,
            mask=None if mask is None else _read_mask(mask),
            part_class=label.part_class,
        )


def _dataset_of(image: Path) -> Path | None:
    # A folder that happens to be called 'test' is no data set: something of the layout must stand
    # beside.
    split = image.parent.parent
    signs = (split / 'good', split.parent / 'train' / 'good', split.parent / _MASKS)
    if split.name in _SPLITS and any(sign.is_dir() for sign in signs):
        return split.parent
    return None


def _read_mask(path: Path) -> NDArray[np.bool_]:
    try:
        mask = read_image(path)
    except FrameError as error:
        raise SourceError(f'mask {path}: {error}') from error
    return (mask if mask.ndim == 2 else mask.max(axis=2)) > 0


def _read_labels(table: Path) -> dict[str, _Label]:
    try:
        with table.open(encoding='utf-8-sig', newline='') as lines:
            reader = csv.DictReader(lines, restval='')
            columns = reader.fieldnames or ()
            if 'file' not in columns or not {'defect', 'label'} & set(columns):
                raise SourceError(
                    f'{table} has the columns {", ".join(columns) or "(none)"}; '
                    'needed: file, and defect or label'
                )
            return {
                os.path.normpath(table.parent / row['file']): _label(row, table, reader.line_num)
                for row in reader
            }
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f'{table} cannot be read: {error}') from error


def _label(row: dict[str, str], table: Path, line: int) -> _Label:
    def refuse(column: str, allowed: str) -> SourceError:
        return SourceError(
            f'{table}, line {line}: {column} is {row[column]!r}; allowed: {allowed}'
        )

    def number(column: str) -> float:
        text = row.get(column, '')
        try:
            return float(text) if text else _UNKNOWN
        except ValueError:
            raise refuse(column, 'a number, or nothing') from None

    label = row.get('label', '')
    if label not in ('', 'good', 'defect'):
        raise refuse('label', 'good, defect')
    defect = row.get('defect', '') or label
    if not defect:
        raise SourceError(f'{table}, line {line}: neither defect nor label says what it is')
    if label and (label == 'good') != (defect == 'good'):
        raise refuse('label', f'what agrees with the defect {defect!r}')
    present = row.get('part_present', '')
    if present not in _YES_NO:
        raise refuse('part_present', 'yes, no')
    mask = row.get('mask', '')
    return _Label(
        defect=defect,
        part_present=_YES_NO[present],
        diameter_px=number('diameter_px'),
        contrast_levels=number('contrast_levels'),
        mask=table.parent / mask if mask else None,
        part_class=next((row[key] for key in _CLASS_COLUMNS if row.get(key)), ''),
    )
