# SPDX-License-Identifier: Apache-2.0
"""
Synthetic defects: what was asked for is what the finished image shows, on the part only.

"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.learning.part_mask import silhouette
from anomaly_inspection.learning.synthetic_defects import (
    KIND_NAMES,
    random_defect,
    synthetic_defect,
    TOLERANCE,
    VISIBLE_LEVELS,
)


def textured_part(seed: int, channels: int = 3, side: int = 160) -> NDArray[np.uint8]:
    """
    A disc of coarse and fine grain on an even background, lit from one side.

    """
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.normal(size=(12, 12)), (side, side), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:side, :side] - side / 2
    surface = 120 + 20 * coarse + 0.2 * x + rng.normal(0, 6, (side, side))
    image = np.where(np.hypot(x, y) < 0.4 * side, surface, 30 + rng.normal(0, 1, (side, side)))
    planes = image[..., None] * ((1.0,) if channels == 1 else (0.8, 1.0, 1.1))
    planes = np.clip(planes, 0, 255).astype(np.uint8)
    return planes[..., 0] if channels == 1 else planes


PARTS = {channels: [textured_part(seed, channels) for seed in range(4)] for channels in (1, 3)}


def changed_levels(good: NDArray[np.uint8], damaged: NDArray[np.uint8]) -> NDArray[np.float64]:
    levels = np.abs(damaged.astype(float) - good.astype(float))
    return levels if levels.ndim == 2 else levels.mean(axis=2)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('kind', KIND_NAMES)
@pytest.mark.parametrize(('size_px', 'contrast'), [(4, 40), (10, 12), (24, 30)])
def test_size_and_contrast_are_met(
    kind: str, channels: int, size_px: float, contrast: float
) -> None:
    good, *others = PARTS[channels]
    for seed in range(3):
        damaged, mask = synthetic_defect(
            good,
            others,
            np.random.default_rng(seed),
            kind=kind,
            size_px=size_px,
            contrast_levels=contrast,
        )
        levels = changed_levels(good, damaged)
        assert damaged.dtype == np.uint8
        assert damaged.shape == good.shape
        assert np.array_equal(mask, levels >= VISIBLE_LEVELS - 1e-3)
        diameter_px = math.sqrt(4 / math.pi * mask.sum())
        assert abs(math.log(diameter_px / size_px)) <= TOLERANCE
        assert abs(math.log(levels[mask].mean() / contrast)) <= TOLERANCE


@pytest.mark.parametrize('kind', KIND_NAMES)
def test_only_the_part_changes(kind: str) -> None:
    good, *others = PARTS[3]
    part = silhouette(good)
    assert part is not None
    for seed in range(8):
        damaged, _ = synthetic_defect(
            good,
            others,
            np.random.default_rng(seed),
            kind=kind,
            size_px=15,
            contrast_levels=30,
        )
        assert np.array_equal(damaged[~part], good[~part])


def test_silhouette_is_the_part() -> None:
    y, x = np.mgrid[:160, :160] - 80
    for good in (PARTS[1][0], PARTS[3][0]):
        part = silhouette(good)
        assert part is not None
        assert (part == (np.hypot(x, y) < 64)).mean() > 0.99


def test_texture_that_fills_the_image_has_no_silhouette() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert silhouette(noise) is None
    assert silhouette(np.full((64, 64), 90, np.uint8)) is None


def test_a_given_mask_holds() -> None:
    good, *others = PARTS[1]
    mask = np.zeros(good.shape, bool)
    mask[40:100, 60:110] = True
    damaged, changed = random_defect(good, others, np.random.default_rng(1), mask)
    assert changed.any()
    assert np.array_equal(damaged[~mask], good[~mask])


def test_the_same_seed_gives_the_same_defect_and_others_another() -> None:
    good, *others = PARTS[3]
    one, again, other = (
        random_defect(good, others, np.random.default_rng(seed))[0] for seed in (5, 5, 6)
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_random_defects_differ_in_size_strength_and_place() -> None:
    good, *others = PARTS[1]
    untouched = good.copy()
    rng = np.random.default_rng(0)
    diameters, contrasts, columns = [], [], []
    for _ in range(80):
        damaged, mask = random_defect(good, others, rng)
        assert mask.any()
        diameters.append(math.sqrt(4 / math.pi * mask.sum()))
        contrasts.append(changed_levels(good, damaged)[mask].mean())
        columns.append(np.nonzero(mask)[1].mean())
    assert np.array_equal(good, untouched)
    assert np.percentile(diameters, 90) > 5 * np.percentile(diameters, 10)
    assert np.percentile(contrasts, 90) > 3 * np.percentile(contrasts, 10)
    assert np.ptp(columns) > 80


def test_a_paste_brings_its_pattern_and_not_its_light() -> None:
    """
    Of a part in brighter light, what is pasted is as bright as the surface around it.

    """
    y, x = np.mgrid[:160, :160]
    dark = (60 + 25 * np.sin(x / 3)).astype(np.uint8)
    light = (150 + 25 * np.sin(y / 3)).astype(np.uint8)
    for seed in range(5):
        damaged, mask = synthetic_defect(
            *(dark, [light], np.random.default_rng(seed)),
            kind='paste',
            size_px=40,
            contrast_levels=15,
        )
        change = damaged.astype(float) - dark
        assert abs(change[mask].mean()) < 0.6 * np.abs(change[mask]).mean()


def test_one_part_alone_is_enough() -> None:
    damaged, mask = random_defect(PARTS[3][0], [], np.random.default_rng(3))
    assert mask.any()
    assert (damaged != PARTS[3][0]).any()


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'kind': 'hole'}, "'hole'; allowed: paste"),
        ({'size_px': 2}, 'size of the defect is 2 px; allowed: 3 to'),
        ({'size_px': 150}, 'size of the defect is 150 px; allowed: 3 to'),
        ({'size_px': math.nan}, 'size of the defect is nan px; allowed'),
        ({'contrast_levels': 3}, 'contrast of the defect is 3 levels; allowed: 6 to 120'),
        ({'others': [PARTS[3][1]]}, 'allowed: uint8 of shape'),
        ({'mask_of_part': np.zeros((160, 160), bool)}, 'nowhere to put a defect'),
        ({'mask_of_part': np.ones((4, 4), bool)}, r'bool of shape \(4, 4\); allowed: bool'),
    ],
)
def test_bad_input_is_refused_with_what_is_allowed(change: dict[str, object], words: str) -> None:
    given = {
        'others': PARTS[1][1:],
        'kind': 'stain',
        'size_px': 12,
        'contrast_levels': 30,
        'mask_of_part': None,
    } | change
    with pytest.raises(SettingError, match=words):
        synthetic_defect(PARTS[1][0], rng=np.random.default_rng(0), **given)  # type: ignore[arg-type]


def test_what_the_part_does_not_allow_is_said() -> None:
    even = np.full((96, 96), 100, np.uint8)
    with pytest.raises(SettingError, match='a paste of 12 px and 40 levels cannot be met'):
        synthetic_defect(
            even,
            [even],
            np.random.default_rng(0),
            kind='paste',
            size_px=12,
            contrast_levels=40,
        )
    assert random_defect(even, [even], np.random.default_rng(0))[1].any()
