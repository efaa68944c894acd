# SPDX-License-Identifier: Apache-2.0
"""
What the accuracy benchmark teaches and what it tests: one folder of good images and one of test
images for each scenario.

The folders are made of a real set. Images that a scenario does not change are links to the files
of the set, so that the product reads them as they are.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import csv
from dataclasses import dataclass
from hashlib import sha256
import math
from pathlib import Path
from typing import Any, TYPE_CHECKING

import cv2
import numpy as np

from anomaly_inspection.capture.folder_truth import FolderTruth
from anomaly_inspection.capture.image_file import read_image
from anomaly_inspection.capture.image_folder import ImageFolder
from anomaly_inspection.errors import SourceError
from anomaly_inspection.imaging.image_header import image_header
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from benchmarks.real_sets import REGIONS, share_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALL, ONE_PART, FIVE_IMAGES = 'all', 'one_part', 'five_images'
COPIES, FEW = 8, 5
#: A camera that looks at a part that lies still: vibration, noise and a flickering lamp.
STILL_SHIFT_PX, STILL_NOISE_LEVELS, STILL_LIGHT = 0.3, 1.5, 0.01
#: Motion of the scenario `moved`, within the product's default tolerance: shift as a share of the
#: short side of the region of interest, turn, light as a share, blur and noise. Each image draws
#: its own motion, up to these. This is not the product's own code: a fault in that would not show.
SHIFT_SHARE, TURN_DEG, LIGHT, BLUR_PX, NOISE_LEVELS = 0.03, 5.0, 0.10, 0.5, 1.0
#: Most test images of a set and share, except in the scenario `plain`.
MOST_TESTS = 120


@dataclass(frozen=True)
class Scenario:
    """
    What is taught and what is tested.

    Parameters
    ----------
    name : str
        For the tables.
    taught : str
        `ALL` good images, `ONE_PART` taken eight times, or `FIVE_IMAGES`.
    moves : bool
        Whether the test images are moved, turned and lit otherwise.
    what : str
        One phrase for the report.

    """

    name: str
    taught: str
    moves: bool
    what: str

    @property
    def most_tests(self) -> int | None:
        """
        How many test images are judged at most; None = all.

        """
        return None if self.name == 'plain' else MOST_TESTS


SCENARIOS = (
    Scenario('plain', ALL, False, 'all good images, test images as they are'),
    Scenario(
        'moved',
        ALL,
        True,
        f'the same recipe; test images moved by up to {SHIFT_SHARE:.0%} of the short side '
        'of the region of interest, turned '
        f'by up to {TURN_DEG:g} degrees, lit by up to {LIGHT:.0%} otherwise, slightly blurred and '
        'noisy; beyond its border the picture goes on as its mirror image',
    ),
    Scenario(
        'one_part',
        ONE_PART,
        False,
        f'one good image, {COPIES} times, as a camera sees a part that lies still '
        f'(up to {STILL_SHIFT_PX:g} px, noise of {STILL_NOISE_LEVELS:g} levels)',
    ),
    Scenario('five_images', FIVE_IMAGES, False, f'{FEW} good images, spread evenly over the set'),
)
SCENARIO_NAMES = tuple(one.name for one in SCENARIOS)


def has_one_size(dataset: Path) -> bool:
    """
    Tell whether all good images of a set have one size, as a camera gives them.

    Where they have not, `ONE_PART` means nothing: a recipe of one size refuses all other sizes.

    """
    good = dataset / 'train' / 'good'
    headers = (image_header((good / name).read_bytes()) for name in _names(good))
    return len({(header.width, header.height) for header in headers}) == 1


def folder_to_teach(dataset: Path, taught: str, most: int | None, scratch: Path) -> Path:
    """
    Give the folder to teach from.

    Parameters
    ----------
    dataset : Path
        The set.
    taught : str
        `ALL`, `ONE_PART` or `FIVE_IMAGES`.
    most : int, optional
        Take at most so many images, spread evenly.
    scratch : Path
        An empty folder for what has to be written.

    Raises
    ------
    SourceError, FrameError
        When there are no good images, or the one to copy cannot be read.

    """
    good = dataset.absolute() / 'train' / 'good'
    if taught == ALL and most is None:
        return good
    names = _names(good)
    if taught == ONE_PART:
        name = names[len(names) // 2]
        _write_still(read_image(good / name), name, scratch)
        return scratch
    count = FEW if taught == FIVE_IMAGES else most
    for name in evenly(names, count):
        _link(good / name, scratch / name)
    return scratch


def folder_to_test(
    dataset: Path, share: str, scenario: Scenario, most: int | None, scratch: Path
) -> Path:
    """
    Write a data set whose test images are those of one share; no other image is opened.

    Parameters
    ----------
    dataset : Path
        The set.
    share : str
        `DEV` or `FINAL`.
    scenario : Scenario
        Says whether to move them, and how many to take at most.
    most : int, optional
        A smaller number at most, for a quick look.
    scratch : Path
        An empty folder.

    Returns
    -------
    Path
        `scratch`, with `test/` and `labels.csv`.

    Raises
    ------
    SourceError, FrameError
        When the set has no test images of the share, or one of them cannot be read.

    """
    tests = dataset.absolute() / 'test'
    names = _names(tests, lambda name: share_of(f'test/{name}') == share)
    limits = [one for one in (most, scenario.most_tests) if one is not None]
    truths = FolderTruth(tests)
    rows = [('file', 'defect', 'part_present', 'mask', 'part_class')]
    for name in evenly(names, min(limits, default=None)):
        truth = truths.of(name)
        if truth is None:
            raise SourceError(f'nothing is known of {tests / name}')
        mask = truth.mask
        file = f'test/{name}'
        if scenario.moves:
            file = f'{file}.png'
            image, mask = moved(read_image(tests / name), mask, name, REGIONS.get(dataset.name))
            _write(scratch / file, image)
        else:
            _link(tests / name, scratch / file)
        mask_file = ''
        if mask is not None:
            mask_file = f'ground_truth/{name}.png'
            _write(scratch / mask_file, mask.astype(np.uint8) * 255)
        is_there = 'yes' if truth.part_present else 'no'
        rows.append((file, truth.defect, is_there, mask_file, truth.part_class))
    with (scratch / 'labels.csv').open('w', encoding='utf-8', newline='') as table:
        csv.writer(table).writerows(rows)
    return scratch


def moved(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    name: str,
    region: RegionOfInterest | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
    """
    Move, turn and light an image, and its mask with it; the name alone decides how.

    Parameters
    ----------
    image : ndarray of uint8, (height, width) or (height, width, 3)
        As the camera gives it.
    mask : ndarray of bool, (height, width), optional
        Where its defects are.
    name : str
        Of the image.
    region : RegionOfInterest, optional
        It is turned about the middle of this region, and its short side counts; None = the whole
        image.

    """
    rng = _rng(name)
    height, width = image.shape[:2]
    region = region or RegionOfInterest(0, 0, width, height)
    reach = SHIFT_SHARE * min(region.width, region.height) * math.sqrt(rng.uniform())
    towards = rng.uniform(0.0, 2 * math.pi)
    turn = rng.uniform(-TURN_DEG, TURN_DEG)
    matrix = cv2.getRotationMatrix2D((region.center.real, region.center.imag), turn, 1.0)
    matrix[:, 2] += reach * math.cos(towards), reach * math.sin(towards)
    seen: Any = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    blur_px = rng.uniform(0.0, BLUR_PX)
    seen = cv2.GaussianBlur(seen, (0, 0), max(blur_px, 0.01))
    seen = _lit(seen, 1.0 + rng.uniform(-LIGHT, LIGHT), NOISE_LEVELS, rng)
    if mask is None:
        return seen, None
    seen_mask = cv2.warpAffine(
        mask.astype(np.uint8),
        matrix,
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return seen, seen_mask > 0


def evenly(names: Sequence[str], most: int | None) -> list[str]:
    """
    Take at most so many names, spread evenly from the first to the last.

    """
    if most is None or len(names) <= most:
        return list(names)
    return [names[place] for place in np.linspace(0, len(names) - 1, most).round().astype(int)]


def _write_still(image: NDArray[np.uint8], name: str, folder: Path) -> None:
    rng = _rng(name)
    height, width = image.shape[:2]
    for copy in range(COPIES):
        right, down = rng.uniform(-STILL_SHIFT_PX, STILL_SHIFT_PX, 2)
        seen: Any = cv2.warpAffine(
            image,
            np.array([[1.0, 0.0, right], [0.0, 1.0, down]]),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        gain = 1.0 + rng.uniform(-STILL_LIGHT, STILL_LIGHT)
        _write(folder / f'{copy}.png', _lit(seen, gain, STILL_NOISE_LEVELS, rng))


def _lit(
    image: NDArray[np.uint8], gain: float, noise_levels: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    levels = gain * image + rng.normal(0.0, noise_levels, image.shape)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def _names(folder: Path, wanted: Callable[[str], bool] | None = None) -> tuple[str, ...]:
    with ImageFolder(folder, wanted=wanted) as source:
        return source.names


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(int(sha256(name.encode()).hexdigest()[:16], 16))


def _link(target: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
