# SPDX-License-Identifier: Apache-2.0
"""
The sets of real images: where they are, which region is judged, which images choices may use.

"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from benchmarks.report import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

DATASETS = ROOT.parent / 'shared' / 'datasets'
#: The sets on which the first methods were chosen, and those that came later.
FIRST_SETS = ('mvtec_bottle', 'bottle_line', 'casting', 'dice', 'magnetic_tile', 'deeppcb')
LATER_SETS = (
    'loco_juice_bottle',
    'visa_macaroni1',
    'coffee_capsules',
    'bottle_caps',
    'elpv_poly',
    'paper_reflected',
    'paper_fibres',
    'screws_missing',
    'robot_cubes',
    'toy_aliens',
)
SETS = (*FIRST_SETS, *LATER_SETS)
# Three bottles are in view; the middle one is judged.
REGIONS = {'bottle_line': RegionOfInterest(112, 4, 132, 280)}
DEV, FINAL = 'dev', 'final'


def share_of(name: str) -> str:
    """
    Give the share of a test image, by its path relative to the root of its set.

    Choices may be made by the third that is `DEV`; the other two thirds are `FINAL`.

    """
    return FINAL if int(sha256(name.encode()).hexdigest(), 16) % 3 else DEV


def frames_of(folder: Path) -> list[tuple[str, NDArray[np.uint8]]]:
    """
    Read all images of a folder, with their names.

    Raises
    ------
    SettingError
        When one of them cannot be read.

    """
    frames = []
    with ImageFolder(folder) as source:
        while (frame := source.read()) is not None:
            if frame.image is None:
                raise SettingError(f'{folder / frame.name}: {frame.problem}')
            frames.append((frame.name, frame.image))
    return frames
