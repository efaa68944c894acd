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
from anomaly_inspection.learning.defect_kinds import KINDS
from anomaly_inspection.learning.part_mask import silhouette
from anomaly_inspection.learning.synthetic_defects import (
    FRINGE_PX,
    KIND_NAMES,
    random_defect,
    synthetic_defect,
    TOLERANCE,
    VISIBLE_LEVELS,
)


def textured_part(seed: int, channels: int = 3, side: int = 160) -> NDArray[np.uint8]:
    """
    A disc of coarse and fine grain with bores, on an even background, lit from one side.

    """
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.normal(size=(12, 12)), (side, side), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:side, :side] - side / 2
    surface = 120 + 20 * coarse + 0.2 * x + rng.normal(0, 6, (side, side))
    for turn in range(6):
        column, row = 0.25 * side * math.cos(turn), 0.25 * side * math.sin(turn)
        surface[np.hypot(x - column, y - row) < 0.04 * side] -= 60
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
    met = 0
    for seed in range(10):
        try:
            damaged, mask = synthetic_defect(
                good,
                others,
                np.random.default_rng(seed),
                kind=kind,
                size_px=size_px,
                contrast_levels=contrast,
            )
        except SettingError:
            # Not every piece of a part has this size and contrast.
            if not KINDS[kind].is_structural:
                raise
            continue
        met += 1
        levels = changed_levels(good, damaged)
        assert damaged.dtype == np.uint8
        assert damaged.shape == good.shape
        assert np.array_equal(mask, levels >= VISIBLE_LEVELS - 1e-3)
        diameter_px = math.sqrt(4 / math.pi * mask.sum())
        assert abs(math.log(diameter_px / size_px)) <= TOLERANCE
        assert abs(math.log(levels[mask].mean() / contrast)) <= TOLERANCE
    assert met


@pytest.mark.parametrize('kind', KIND_NAMES)
def test_a_defect_lies_on_the_part(kind: str) -> None:
    """
    A piece takes the blurred edge of the part with it; only what is moved leaves the part.

    """
    good, *others = PARTS[3]
    part = silhouette(good)
    assert part is not None
    reach_px = 0.0
    if KINDS[kind].is_structural:
        reach_px = max(FRINGE_PX, KINDS[kind].leaves_part_by * 15)
    outwards = cv2.distanceTransform((~part).astype(np.uint8), cv2.DIST_L2, 3)
    for seed in range(8):
        damaged, mask = synthetic_defect(
            good,
            others,
            np.random.default_rng(seed),
            kind=kind,
            size_px=15,
            contrast_levels=30,
        )
        assert np.array_equal(damaged[outwards > reach_px], good[outwards > reach_px])
        assert (mask & part).any()


def spread_of_kinds(kind: str, channels: int) -> list[tuple[float, float]]:
    good, *others = PARTS[channels]
    found = []
    for seed in range(12):
        damaged, mask = random_defect(good, others, np.random.default_rng(seed), kinds=[kind])
        diameter_px = math.sqrt(4 / math.pi * mask.sum())
        found.append((diameter_px, float(changed_levels(good, damaged)[mask].mean())))
    return found


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('kind', KIND_NAMES)
def test_each_kind_comes_in_many_sizes(kind: str, channels: int) -> None:
    found = spread_of_kinds(kind, channels)
    sizes = [size for size, _ in found]
    assert max(sizes) > 2.5 * min(sizes)
    assert min(level for _, level in found) >= VISIBLE_LEVELS


@pytest.mark.parametrize('kind', KIND_NAMES)
@pytest.mark.parametrize(('height', 'width'), [(64, 64), (64, 200), (700, 500)])
def test_any_size_of_image_will_do(kind: str, height: int, width: int) -> None:
    parts = [cv2.resize(part, (width, height)) for part in PARTS[3]]
    for seed in range(3):
        damaged, mask = random_defect(
            parts[0], parts[1:], np.random.default_rng(seed), kinds=[kind]
        )
        assert damaged.shape == (height, width, 3)
        assert mask.shape == (height, width)
        assert mask.any()


def plate_with_pin() -> NDArray[np.uint8]:
    """
    A bright pin of 20 x 30 px in the middle of a plate, with a little noise.

    """
    image = np.full((120, 120), 90.0)
    image[45:75, 50:70] = 200.0
    noisy = cv2.GaussianBlur(image, (0, 0), 0.7) + np.random.default_rng(0).normal(
        0, 2, (120, 120)
    )
    return np.clip(noisy, 0, 255).astype(np.uint8)


def test_a_missing_piece_is_the_whole_pin_and_shows_the_plate() -> None:
    """
    Its outline is the pin's own, and what is left looks like the plate around it, noise and all.

    """
    plate, whole = plate_with_pin(), 0
    anywhere = np.ones(plate.shape, bool)
    for seed in range(40):
        damaged, mask = random_defect(
            plate, [], np.random.default_rng(seed), anywhere, kinds=['missing piece']
        )
        if mask[45:75, 50:70].mean() < 0.9:
            continue
        whole += 1
        left = damaged[48:72, 53:67].astype(float)
        assert abs(left.mean() - 90) < 6
        assert 1 < left.std() < 6
        assert mask.sum() < 1.6 * 20 * 30
    assert whole


def test_a_displaced_pin_is_elsewhere_and_as_large_as_before() -> None:
    plate, moved = plate_with_pin(), 0
    anywhere = np.ones(plate.shape, bool)
    for seed in range(60):
        damaged, mask = random_defect(
            plate, [], np.random.default_rng(seed), anywhere, kinds=['displaced piece']
        )
        rows, columns = np.nonzero(damaged > 150)
        way_px = math.hypot(rows.mean() - 59.5, columns.mean() - 59.5)
        if not 0.9 < rows.size / 600 < 1.1 or way_px < 3:
            continue
        moved += 1
        assert damaged[mask].max() > 150
        assert np.median(damaged) == pytest.approx(90, abs=2)
    assert moved


def test_a_turned_piece_keeps_its_own_levels() -> None:
    """
    Half of a round mark is bright: turned, it still is half of it.

    """
    image = np.full((101, 101), 60, np.uint8)
    image[30:71, 30:51] = 180
    for seed in range(8):
        damaged, mask = random_defect(
            image, [], np.random.default_rng(seed), kinds=['turned piece']
        )
        assert mask.any()
        assert damaged.min() >= 60
        assert damaged.max() <= 180


def test_a_wrong_colour_keeps_the_light() -> None:
    good, *others = PARTS[3]
    for seed in range(6):
        damaged, mask = synthetic_defect(
            good,
            others,
            np.random.default_rng(seed),
            kind='wrong colour',
            size_px=20,
            contrast_levels=15,
        )
        gray = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[mask] for image in (good, damaged)]
        light = abs(float(gray[1].mean()) - float(gray[0].mean()))
        assert light < 0.6 * changed_levels(good, damaged)[mask].mean()


def test_a_wrong_piece_lies_in_the_light_of_its_part() -> None:
    """
    Of a part in brighter light, what is put in is not brighter for that alone.

    """
    y, x = np.mgrid[:160, :160]
    dark = (60 + 25 * np.sin(x / 3)).astype(np.uint8)
    light = (190 + 25 * np.sin(y / 3)).astype(np.uint8)
    for seed in range(5):
        damaged, mask = random_defect(
            dark, [light], np.random.default_rng(seed), kinds=['wrong piece']
        )
        assert abs(damaged[mask].mean() - dark[mask].mean()) < 25


def test_only_the_kinds_asked_for_are_drawn() -> None:
    good, *others = PARTS[1]
    for seed in range(10):
        one = random_defect(good, others, np.random.default_rng(seed), kinds=['stain', 'dirt'])
        with pytest.raises(SettingError, match="kind of defect is 'hole'; allowed: scratch"):
            random_defect(good, others, np.random.default_rng(seed), kinds=['hole'])
        assert one[1].any()
    with pytest.raises(SettingError, match='no kind of defect is given; allowed: scratch'):
        random_defect(good, others, np.random.default_rng(0), kinds=[])


def test_an_even_part_has_no_piece_to_miss() -> None:
    even = np.full((96, 96), 100, np.uint8)
    with pytest.raises(SettingError, match='no place for a defect of the kinds missing piece'):
        random_defect(even, [even], np.random.default_rng(0), kinds=['missing piece'])


def test_silhouette_is_the_part() -> None:
    y, x = np.mgrid[:160, :160] - 80
    for good in (PARTS[1][0], PARTS[3][0]):
        part = silhouette(good)
        assert part is not None
        assert (part == (np.hypot(x, y) < 64)).mean() > 0.99


def test_silhouette_is_found_where_light_falls_off() -> None:
    """
    The light on the background falls off by 80 levels from one side to the other.

    """
    y, x = np.mgrid[:160, :160] - 80
    disc = np.hypot(x, y) < 50
    image = np.clip(np.where(disc, 30, 160 + 0.5 * x), 0, 255).astype(np.uint8)
    part = silhouette(image)
    assert part is not None
    assert (part == disc).mean() > 0.98


def test_all_parts_in_view_belong_to_the_silhouette() -> None:
    """
    Four parts, one of them half dark; a speck of dust is none.

    """
    image = np.full((160, 160), 230, np.uint8)
    for centre in ((40, 40), (120, 40), (40, 120), (120, 120)):
        cv2.circle(image, centre, 20, 120, -1)
    cv2.ellipse(image, (40, 40), (20, 20), 0, 0, 180, 40, -1)
    image[78:81, 78:81] = 100
    part = silhouette(image)
    assert part is not None
    assert not part[75:85, 75:85].any()
    assert all(part[row, column] for row in (40, 120) for column in (40, 120))
    assert part[50, 40]
    assert part[30, 40]


def test_texture_that_fills_the_image_has_no_silhouette() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    assert silhouette(noise) is None
    assert silhouette(np.full((64, 64), 90, np.uint8)) is None


@pytest.mark.parametrize('kind', [kind for kind in KIND_NAMES if not KINDS[kind].is_structural])
def test_a_given_mask_holds(kind: str) -> None:
    good, *others = PARTS[1]
    mask = np.zeros(good.shape, bool)
    mask[40:100, 60:110] = True
    damaged, changed = random_defect(good, others, np.random.default_rng(1), mask, kinds=[kind])
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


def test_a_foreign_pattern_brings_its_pattern_and_not_its_light() -> None:
    """
    Of a part in brighter light, what is pasted is as bright as the surface around it.

    """
    y, x = np.mgrid[:160, :160]
    dark = (60 + 25 * np.sin(x / 3)).astype(np.uint8)
    light = (150 + 25 * np.sin(y / 3)).astype(np.uint8)
    for seed in range(5):
        damaged, mask = synthetic_defect(
            dark,
            [light],
            np.random.default_rng(seed),
            kind='foreign pattern',
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
        ({'kind': 'hole'}, "'hole'; allowed: scratch"),
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
    with pytest.raises(
        SettingError, match='a foreign pattern of 12 px and 40 levels cannot be met'
    ):
        synthetic_defect(
            even,
            [even],
            np.random.default_rng(0),
            kind='foreign pattern',
            size_px=12,
            contrast_levels=40,
        )
    assert random_defect(even, [even], np.random.default_rng(0))[1].any()
