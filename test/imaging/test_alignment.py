# SPDX-License-Identifier: Apache-2.0
"""
The alignment: how near it comes, what it refuses, what it must not be misled by.

"""

from __future__ import annotations

from dataclasses import replace
import math

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.errors import AlignmentError, SettingError
from anomaly_inspection.imaging.alignment import Aligner, Alignment, AlignmentSettings
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

WIDTH, HEIGHT = 400, 320
WHOLE = RegionOfInterest(0, 0, WIDTH, HEIGHT)
NARROW = AlignmentSettings(kind='rigid', search_px=20, search_deg=10)


def belt(seed: int) -> NDArray[np.float32]:
    """
    A woven belt, another piece of it for each seed.

    """
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 1.5)
    return np.asarray(70 + 6 * grain / grain.std(), np.float32)


def flange(
    *,
    x: float = 0,
    y: float = 0,
    deg: float = 0,
    scale: float = 1,
    seed: int = 0,
    bores: bool = True,
) -> NDArray[np.float32]:
    """
    A flange with an ear and three unlike bores, turned counter-clockwise and shifted, on a belt.

    Drawn by its own geometry at four times the size: no warp of an image makes its truth.

    """
    times = 4
    image = cv2.resize(belt(seed), None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    middle = complex((WIDTH - 1) / 2 + x, (HEIGHT - 1) / 2 + y)
    turn = scale * np.exp(-1j * math.radians(deg))

    def place(point: complex) -> tuple[int, int]:
        z = (middle + turn * point + complex(0.5, 0.5)) * times * 16 - complex(8, 8)
        return round(z.real), round(z.imag)

    def disc(point: complex, radius: float, level: float) -> None:
        size = round(radius * scale * times * 16)
        cv2.circle(image, place(point), size, level, -1, cv2.LINE_AA, shift=4)

    ear = [40 + 50j, 130 + 35j, 130 + 75j, 30 + 90j]
    outline = np.array([place(point) for point in ear], np.int32)
    cv2.fillPoly(image, [outline], 165, cv2.LINE_AA, shift=4)
    disc(0, 90, 180)
    disc(0, 80, 150)
    disc(0, 35, 60)
    disc(55j, 11, 40)
    disc(-50 - 20j, 8, 215)
    disc(30 - 45j, 14, 45)
    return np.asarray(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.float32)


def camera(
    scene: NDArray[np.float32], *, light: float = 1, noise: float = 2, seed: int = 5
) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    exposed = scene * light + rng.normal(0, noise, scene.shape)
    return np.clip(np.rint(exposed), 0, 255).astype(np.uint8)


def error_px(alignment: Alignment, x: float, y: float, deg: float, scale: float = 1) -> float:
    """
    Root mean square distance, over the part, from where its points are.

    """
    true = Alignment(x, y, math.radians(deg), scale, 1).to_frame(WHOLE)
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rim = np.array([(WIDTH - 1) / 2 + 90 * np.cos(angles), (HEIGHT - 1) / 2 + 90 * np.sin(angles)])
    points = np.vstack([rim, np.ones(12)])
    missed = (alignment.to_frame(WHOLE) - true) @ points
    return float(np.sqrt(np.mean(np.sum(missed**2, axis=0))))


@pytest.fixture(scope='module')
def reference() -> NDArray[np.uint8]:
    return camera(flange(), seed=1)


@pytest.fixture(scope='module')
def aligner(reference: NDArray[np.uint8]) -> Aligner:
    return Aligner(NARROW, reference, WHOLE)


def test_the_reference_lies_on_itself(aligner: Aligner, reference: NDArray[np.uint8]) -> None:
    alignment = aligner.align(reference)
    assert error_px(alignment, 0, 0, 0) < 0.02
    assert alignment.confidence > 0.8


@pytest.mark.parametrize('case', range(12))
def test_a_moved_part_is_found_to_a_fraction_of_a_pixel(aligner: Aligner, case: int) -> None:
    rng = np.random.default_rng(case)
    x, y, deg = *rng.uniform(-18, 18, 2), rng.uniform(-9, 9)
    light = rng.uniform(0.75, 1.25)
    frame = camera(flange(x=x, y=y, deg=deg, seed=100 + case), light=light, noise=4, seed=case)
    alignment = aligner.align(frame)
    assert error_px(alignment, x, y, deg) < 0.3
    assert alignment.confidence > 0.5


def test_angle_is_positive_counter_clockwise_and_shift_in_frame_pixels(aligner: Aligner) -> None:
    alignment = aligner.align(camera(flange(x=7, y=-5, deg=6, seed=3)))
    assert alignment.x_px == pytest.approx(7, abs=0.2)
    assert alignment.y_px == pytest.approx(-5, abs=0.2)
    assert math.degrees(alignment.angle_rad) == pytest.approx(6, abs=0.15)
    assert alignment.scale == pytest.approx(1)


@pytest.mark.parametrize('deg', [-179, -120, -45, 33, 90, 178])
def test_any_angle_is_found_when_the_search_allows_it(
    reference: NDArray[np.uint8], deg: float
) -> None:
    settings = AlignmentSettings(search_px=20, search_deg=180)
    frame = camera(flange(x=6, y=-9, deg=deg, seed=4), light=0.9)
    assert error_px(Aligner(settings, reference, WHOLE).align(frame), 6, -9, deg) < 0.4


def test_large_frames_lose_nothing_to_the_reduced_levels() -> None:
    def large(scene: NDArray[np.float32]) -> NDArray[np.uint8]:
        return camera(cv2.resize(scene, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))

    whole = RegionOfInterest(0, 0, 3 * WIDTH, 3 * HEIGHT)
    settings = AlignmentSettings(search_px=40, search_deg=180)
    aligner = Aligner(settings, large(flange()), whole)
    alignment = aligner.align(large(flange(x=5, y=-7, deg=172, seed=4)))
    assert (alignment.x_px, alignment.y_px) == pytest.approx((15, -21), abs=0.6)


@pytest.mark.parametrize('scale', [0.95, 1.04])
def test_similarity_finds_the_scale(reference: NDArray[np.uint8], scale: float) -> None:
    settings = AlignmentSettings('similarity', search_px=20, search_deg=10, search_scale=0.06)
    frame = camera(flange(x=-8, y=4, deg=3, scale=scale, seed=4))
    alignment = Aligner(settings, reference, WHOLE).align(frame)
    assert error_px(alignment, -8, 4, 3, scale) < 0.4
    assert alignment.scale == pytest.approx(scale, abs=0.003)


def test_translation_only_shifts(reference: NDArray[np.uint8]) -> None:
    settings = AlignmentSettings('translation', search_px=40)
    alignment = Aligner(settings, reference, WHOLE).align(camera(flange(x=-33, y=21.4, seed=4)))
    assert (alignment.angle_rad, alignment.scale) == pytest.approx((0, 1))
    assert error_px(alignment, -33, 21.4, 0) < 0.3


def test_a_large_defect_does_not_move_the_part(aligner: Aligner) -> None:
    scene = flange(x=9, y=-6, deg=5, seed=8)
    # A tenth of the part's area.
    cv2.ellipse(scene, (250, 110), (42, 20), 30, 0, 360, 15.0, -1)
    assert error_px(aligner.align(camera(scene)), 9, -6, 5) < 0.4


def test_uneven_light_does_not_move_the_part(aligner: Aligner) -> None:
    slope = np.linspace(0.7, 1.3, WIDTH, dtype=np.float32)
    frame = camera(flange(x=9, y=-6, deg=5, seed=8) * slope)
    assert error_px(aligner.align(frame), 9, -6, 5) < 0.4


def test_a_round_part_keeps_its_place() -> None:
    round_part = camera(ring(0, 0, 0), seed=1)
    aligner = Aligner(NARROW, round_part, WHOLE)
    for case in range(4):
        x, y = np.random.default_rng(case).uniform(-15, 15, 2)
        alignment = aligner.align(camera(ring(x, y, 50 + case), seed=case))
        assert math.hypot(alignment.x_px - x, alignment.y_px - y) < 0.3


def ring(x: float, y: float, seed: int) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(columns - (WIDTH - 1) / 2 - x, rows - (HEIGHT - 1) / 2 - y)
    inside = np.clip(100.5 - radius, 0, 1) - np.clip(40.5 - radius, 0, 1)
    return np.asarray(belt(seed) * (1 - inside) + 170 * inside, np.float32)


@pytest.mark.parametrize('seed', range(6))
def test_an_empty_belt_is_refused(aligner: Aligner, seed: int) -> None:
    with pytest.raises(AlignmentError):
        aligner.align(camera(belt(200 + seed), seed=seed))


def test_another_part_is_refused_with_the_numbers(aligner: Aligner) -> None:
    scene = belt(9)
    cv2.rectangle(scene, (120, 90), (300, 230), 170.0, -1)
    cv2.line(scene, (130, 100), (290, 220), 60.0, 9)
    with pytest.raises(AlignmentError, match=r'confidence 0\.\d\d, wanted at least 0\.35'):
        aligner.align(camera(scene))


@pytest.mark.parametrize(
    ('x', 'y', 'deg'), [(45, 0, 0), (0, -60, 0), (30, 30, 0), (5, 5, 40), (0, 0, 170)]
)
def test_a_part_beyond_the_search_range_is_refused(
    aligner: Aligner, x: float, y: float, deg: float
) -> None:
    with pytest.raises(AlignmentError):
        aligner.align(camera(flange(x=x, y=y, deg=deg, seed=12)))


def test_what_is_accepted_is_right(reference: NDArray[np.uint8]) -> None:
    """
    Whatever comes, in range or not: an alignment is near the truth, or it is refused.

    """
    aligner = Aligner(NARROW, reference, WHOLE)
    accepted = 0
    for case in range(30):
        rng = np.random.default_rng(1000 + case)
        x, y, deg = *rng.uniform(-40, 40, 2), rng.uniform(-25, 25)
        frame = camera(
            flange(x=x, y=y, deg=deg, seed=case), light=rng.uniform(0.75, 1.25), noise=4
        )
        try:
            alignment = aligner.align(frame)
        except AlignmentError:
            assert max(abs(x), abs(y)) > 19.5 or abs(deg) > 9.5
            continue
        accepted += 1
        assert error_px(alignment, x, y, deg) < 0.5
    assert accepted >= 3


def test_a_region_takes_its_surroundings_from_the_frame(reference: NDArray[np.uint8]) -> None:
    region = RegionOfInterest(100, 60, 220, 210)
    aligner = Aligner(NARROW, reference, region)
    alignment = aligner.align(camera(flange(x=12, y=-9, deg=7, seed=6)))
    true = Alignment(12, -9, math.radians(7), 1, 1).to_frame(WHOLE)
    corner = alignment.to_frame(region) @ [110, 105, 1]
    assert corner == pytest.approx(true @ [210, 165, 1], abs=0.3)


def test_edges_that_good_parts_do_not_share_are_not_aligned_on() -> None:
    def printed(x: float, seed: int) -> NDArray[np.uint8]:
        scene = ring(x, 0, seed)
        rng = np.random.default_rng(seed)
        for _ in range(14):
            row, column = rng.integers(100, 220), rng.integers(140 + int(x), 260 + int(x))
            cv2.rectangle(scene, (column, row), (column + 14, row + 5), 30.0, -1)
        return camera(scene, seed=seed)

    others = [printed(0, 20 + seed) for seed in range(6)]
    frame = printed(8, 60)
    with pytest.raises(AlignmentError):
        Aligner(NARROW, printed(0, 1), WHOLE).align(frame)
    taught = Aligner(NARROW, printed(0, 1), WHOLE, others).align(frame)
    assert taught.confidence > 0.5
    assert math.hypot(taught.x_px - 8, taught.y_px) < 0.3


def test_a_part_that_is_not_found_may_be_judged_as_it_lies(reference: NDArray[np.uint8]) -> None:
    aligner = Aligner(replace(NARROW, if_not_found='as_it_lies'), reference, WHOLE)
    found = aligner.align(camera(flange(x=12, y=-9, deg=7, seed=6)))
    assert found.is_found
    assert error_px(found, 12, -9, 7) < 0.5
    lost = aligner.align(camera(belt(9)))
    assert not lost.is_found
    assert (lost.x_px, lost.y_px, lost.angle_rad, lost.scale) == (0.0, 0.0, 0.0, 1.0)
    assert lost.confidence < NARROW.min_confidence


def test_an_unsure_pose_is_given_beside_the_part_as_it_lies(
    reference: NDArray[np.uint8],
) -> None:
    unsure = replace(NARROW, if_not_found='as_it_lies', min_confidence=0.999)
    aligner = Aligner(unsure, reference, WHOLE)
    still, likely = aligner.poses(camera(flange(x=12, y=-9, deg=7, seed=6)))
    assert still.is_still
    assert error_px(likely, 12, -9, 7) < 0.5
    assert not still.is_found
    assert not likely.is_found
    sure = Aligner(replace(unsure, min_confidence=0.35), reference, WHOLE)
    assert len(sure.poses(camera(flange(x=12, y=-9, deg=7, seed=6)))) == 1


def test_a_pose_beyond_the_search_range_is_not_given(reference: NDArray[np.uint8]) -> None:
    aligner = Aligner(replace(NARROW, if_not_found='as_it_lies'), reference, WHOLE)
    poses = aligner.poses(camera(flange(x=-45, seed=4)))
    assert all(pose.is_still or abs(pose.x_px) <= NARROW.search_px + 2 for pose in poses)
    assert poses[0].is_still


def test_settings_of_older_recipes_keep_their_mapping() -> None:
    # The fingerprint of a trained model is made of it.
    assert 'if_not_found' not in NARROW.to_mapping()
    lenient = replace(NARROW, if_not_found='as_it_lies')
    assert AlignmentSettings.from_mapping(lenient.to_mapping()) == lenient


def test_fine_lines_that_vanish_in_the_coarse_levels_are_refused() -> None:
    def lined(seed: int) -> NDArray[np.uint8]:
        scene = np.full((HEIGHT, WIDTH), 120, np.float32)
        scene[100:220:2, 120:280] = 132
        return camera(scene, noise=0.5, seed=seed)

    settings = AlignmentSettings(kind='translation', search_px=8, min_confidence=0)
    others = [lined(seed) for seed in range(6, 10)]
    with pytest.raises(AlignmentError, match='part'):
        Aligner(settings, lined(5), WHOLE, others).align(lined(11))


def test_a_reference_without_edges_is_refused() -> None:
    flat = camera(np.full((HEIGHT, WIDTH), 120, np.float32))
    with pytest.raises(AlignmentError, match='edge pixels'):
        Aligner(NARROW, flat, WHOLE)


@pytest.mark.parametrize('size', [(16, 16), (40, 24), (2000, 40)])
def test_odd_sizes_do_no_harm(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (size[1], size[0]), dtype=np.uint8)
    try:
        aligner = Aligner(NARROW, image, RegionOfInterest(0, 0, *size))
    except AlignmentError:
        return
    assert aligner.align(image).confidence > 0.5


def strip(length: int, deg: float = 0, x: float = 0) -> NDArray[np.uint8]:
    """
    A bar with marks along it, on a belt in which it may be turned and shifted.

    """
    rng = np.random.default_rng(0)
    bar = np.full((length, length), 90, np.float32)
    top = length // 2 - 20
    bar[top : top + 40, 20 : length - 20] = 160
    for place in rng.integers(40, length - 40, length // 40):
        cv2.circle(bar, (int(place), top + int(rng.integers(8, 32))), 5, 60, -1, cv2.LINE_AA)
    middle = (length - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), deg, 1.0)
    turn[0, 2] += x
    return camera(cv2.warpAffine(bar, turn, (length, length), borderValue=(90,)))


@pytest.mark.parametrize('deg', [-140, 4, 90])
def test_a_long_strip_is_found_in_any_turn(deg: float) -> None:
    length = 1200
    region = RegionOfInterest(0, length // 2 - 30, length, 60)
    settings = AlignmentSettings('similarity', search_px=40, search_deg=180, search_scale=0.2)
    alignment = Aligner(settings, strip(length), region).align(strip(length, deg, 12))
    assert math.degrees(alignment.angle_rad) == pytest.approx(deg, abs=0.1)
    assert alignment.x_px == pytest.approx(12, abs=0.6)
    assert alignment.scale == pytest.approx(1, abs=0.003)


def test_a_search_that_would_take_too_much_memory_is_refused() -> None:
    image = np.zeros((64, 16384), np.uint8)
    image[20:40, 100:16000:50] = 200
    settings = AlignmentSettings('rigid', search_px=800, search_deg=180)
    with pytest.raises(AlignmentError, match=r'take [\d,]+ MB; allowed: 512 MB: search less far'):
        Aligner(settings, image, RegionOfInterest(0, 0, 16384, 64))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('kind', 'affine'),
        ('kind', None),
        ('search_px', -1),
        ('search_px', float('nan')),
        ('search_deg', 181),
        ('search_deg', '10'),
        ('search_scale', 0.5),
        ('min_confidence', 1.1),
        ('min_confidence', True),
        ('if_not_found', 'pass'),
        ('serach_px', 4),
    ],
)
def test_settings_out_of_range_are_refused_by_name(key: str, value: object) -> None:
    with pytest.raises(SettingError, match=rf'(?s){key}.*allowed'):
        AlignmentSettings.from_mapping({key: value})


def test_to_frame_turns_about_the_middle_of_the_region() -> None:
    region = RegionOfInterest(10, 20, 101, 51)
    matrix = Alignment(3, 4, math.pi / 2, 1, 1).to_frame(region)
    assert matrix @ [50, 25, 1] == pytest.approx([63, 49])
    # Counter-clockwise as seen: what was to the right is now above.
    assert matrix @ [60, 25, 1] == pytest.approx([63, 39])


def test_the_outline_encloses_the_part_and_little_of_the_belt(
    reference: NDArray[np.uint8],
) -> None:
    region = RegionOfInterest(30, 20, 360, 260)
    others = [camera(flange(seed=seed), seed=seed) for seed in range(10, 14)]
    outline = Aligner(NARROW, reference, region, others).outline
    low, high = np.array([-90, -90]), np.array([130, 90])
    middle = np.array([(WIDTH - 1) / 2 - 30, (HEIGHT - 1) / 2 - 20])
    assert outline.min(axis=0) == pytest.approx(middle + low, abs=10)
    assert outline.max(axis=0) == pytest.approx(middle + high, abs=10)
