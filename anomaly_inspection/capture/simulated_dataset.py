# SPDX-License-Identifier: Apache-2.0
"""
A labelled data set of the simulated line on disk, in the layout of MVTec AD.

"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from anomaly_inspection.capture.simulated_frame import render_part, SimulatedPart
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.errors import SettingError
from anomaly_inspection.progress import no_progress, Progress

LABEL_COLUMNS = (
    'file',
    'split',
    'label',
    'defect',
    'mask',
    'diameter_px',
    'contrast_levels',
    'x_px',
    'y_px',
    'angle_deg',
    'part_present',
)
EVENT_COLUMNS = ('part', 'exposure_s', 'file', 'label')


def write_dataset(
    directory: Path,
    settings: SimulatedLineSettings,
    *,
    train_parts: int,
    test_parts: int,
    pitch_s: float = 0.5,
    progress: Progress = no_progress,
) -> None:
    """
    Write parts of a simulated line with all that is known of them.

    The folder then holds train/good, test/good, test/<defect>, ground_truth/<defect>/*_mask.png,
    labels.csv (every image) and events.csv (the test parts in the order in which they pass the
    camera). The line's first parts are those of train/, all good; the test parts come after them.

    Parameters
    ----------
    directory : Path
        Where to; made when it does not exist.
    settings : SimulatedLineSettings
        The line; its `parts` does not matter here.
    train_parts, test_parts : int
        How many parts, 0 or more and not both 0.
    pitch_s : float
        Time from one part to the next on the belt, seconds; above 0.
    progress : callable (done, total, what), optional
        Called after each part.

    Raises
    ------
    SettingError
        When a number is not allowed, the folder is not empty or cannot be written.

    """
    _check(directory, train_parts, test_parts, pitch_s)
    total = train_parts + test_parts
    labels: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for index in range(total):
            in_training = index < train_parts
            part = render_part(settings, index, with_defect=not in_training)
            label = _label('train' if in_training else 'test', f'{index:06d}', part)
            _write_png(directory / label['file'], part.image)
            if label['mask'] and part.truth.mask is not None:
                _write_png(directory / label['mask'], part.truth.mask.astype(np.uint8) * 255)
            labels.append(label)
            if not in_training:
                place = index - train_parts
                events.append(
                    {
                        'part': place,
                        'exposure_s': f'{place * pitch_s:.3f}',
                        'file': label['file'],
                        'label': label['label'],
                    }
                )
            progress(index + 1, total, 'rendering')
        _write_table(directory / 'events.csv', EVENT_COLUMNS, events)
        _write_table(directory / 'labels.csv', LABEL_COLUMNS, labels)
    except OSError as error:
        raise SettingError(f'{directory} cannot be written: {error}') from error


def _check(directory: Path, train_parts: int, test_parts: int, pitch_s: float) -> None:
    for name, count in (('train_parts', train_parts), ('test_parts', test_parts)):
        if count < 0:
            raise SettingError(f'{name} = {count} is out of range: 0 or more is allowed')
    if train_parts + test_parts == 0:
        raise SettingError('train_parts and test_parts are both 0: at least one part is needed')
    if not 0.0 < pitch_s < float('inf'):
        raise SettingError(f'pitch_s = {pitch_s} is out of range: above 0 s is allowed')
    if directory.exists() and not directory.is_dir():
        raise SettingError(f'{directory} is a file: a new or empty folder is allowed')
    if directory.is_dir() and any(directory.iterdir()):
        raise SettingError(f'{directory} is not empty: a new or empty folder is allowed')


def _label(split: str, stem: str, part: SimulatedPart) -> dict[str, Any]:
    truth = part.truth
    label = {
        'file': f'{split}/{truth.defect}/{stem}.png',
        'split': split,
        'label': 'good' if truth.is_good else 'defect',
        'defect': truth.defect,
        'mask': '',
        'diameter_px': '',
        'contrast_levels': '',
        'x_px': f'{part.pose.x_px:.3f}',
        'y_px': f'{part.pose.y_px:.3f}',
        'angle_deg': f'{part.pose.angle_deg:.4f}',
        'part_present': 'yes',
    }
    if not truth.is_good:
        label['mask'] = f'ground_truth/{truth.defect}/{stem}_mask.png'
        label['diameter_px'] = f'{truth.diameter_px:.2f}'
        label['contrast_levels'] = f'{truth.contrast_levels:.2f}'
    return label


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written by Python, which says what went wrong; OpenCV would only say that something did.
    _, png = cv2.imencode('.png', image)
    path.write_bytes(png.tobytes())


def _write_table(path: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    with path.open('w', encoding='utf-8', newline='') as lines:
        table = csv.DictWriter(lines, columns, lineterminator='\n')
        table.writeheader()
        table.writerows(rows)
