# SPDX-License-Identifier: Apache-2.0
"""
From frame to prepared image: frame check, region of interest, light, filters, geometry, settings.

"""

from __future__ import annotations

from dataclasses import replace
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.errors import AlignmentError, FrameError, SettingError
from anomaly_inspection.imaging.alignment import Alignment, AlignmentSettings
from anomaly_inspection.imaging.filters import Bilateral, filter_from_mapping, Gauss, Median
from anomaly_inspection.imaging.frame_check import (
    check_frame,
    format_problem,
    FrameFormat,
    saturation,
)
from anomaly_inspection.imaging.light import Light, LightMeter
from anomaly_inspection.imaging.preprocessing import (
    map_to_frame,
    PreprocessingSettings,
    Preprocessor,
)
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest

WIDTH, HEIGHT = 320, 240
MONO = FrameFormat(WIDTH, HEIGHT, 'mono8')
COLOUR = FrameFormat(WIDTH, HEIGHT, 'bgr8')
UNALIGNED = AlignmentSettings(kind='none')
SPOTS = [(118.0, 92.0), (201.0, 88.0), (186.0, 151.0), (130.0, 140.0)]


def part(alignment: Alignment | None = None, levels: float = 60) -> NDArray[np.float32]:
    """
    A plate with four dark Gaussian spots, drawn at the exact places a pose puts them.

    """
    pose = (alignment or Alignment(0, 0, 0, 1, 1)).to_frame(RegionOfInterest.whole(MONO))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x, y = np.linalg.inv(np.vstack([pose, [0, 0, 1]]))[:2] @ np.vstack(
        [columns.ravel(), rows.ravel(), np.ones(rows.size)]
    )

    def soft(distance: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-distance))

    plate = soft(x - 90) * soft(230 - x) * soft(y - 60) * soft(180 - y)
    scene = 50 + 110 * plate
    for spot_x, spot_y in SPOTS:
        scene -= levels * np.exp(-((x - spot_x) ** 2 + (y - spot_y) ** 2) / (2 * 4.0**2))
    return np.asarray(scene.reshape(HEIGHT, WIDTH), np.float32)


def shot(scene: NDArray[np.float32], seed: int = 0, noise: float = 1.5) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    noisy = scene + rng.normal(0, noise, scene.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def spot_place(image: NDArray[np.uint8], x: float, y: float) -> tuple[float, float]:
    """
    The centre of gravity of the dark spot near (x, y).

    """
    left, top = round(x) - 12, round(y) - 12
    patch = image[top : top + 25, left : left + 25].astype(np.float64)
    weight = np.maximum(np.median(patch) - 8 - patch, 0)
    rows, columns = np.mgrid[:25, :25]
    total = weight.sum()
    return float((weight * columns).sum() / total + left), float(
        (weight * rows).sum() / total + top
    )


def settings(**changes: Any) -> PreprocessingSettings:
    return PreprocessingSettings(
        **{'light': 'none', 'alignment': AlignmentSettings(search_px=20), **changes}
    )


# The frame.


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (
            np.full((HEIGHT, WIDTH - 1), 99, np.uint8),
            '319 x 240 px, the recipe wants 320 x 240 px$',
        ),
        (
            np.full((HEIGHT, WIDTH, 3), 99, np.uint8),
            '320 x 240 px colour, the recipe wants 320 x 240 px gray$',
        ),
        (np.full((HEIGHT, WIDTH), 99, np.uint16), 'uint16, wanted uint8'),
        (np.full((HEIGHT, WIDTH), 99, np.float32), 'float32, wanted uint8'),
        (np.full(HEIGHT * WIDTH, 99, np.uint8), 'shape'),
        (np.zeros((0, 0), np.uint8), '0 x 0 px'),
        (None, 'NoneType'),
        (np.zeros((HEIGHT, WIDTH), np.uint8), 'black: 0.00%'),
        (np.full((HEIGHT, WIDTH), 255, np.uint8), 'saturated: 100.00%'),
    ],
)
def test_a_frame_that_cannot_be_judged_is_refused_with_the_numbers(image: Any, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        check_frame(image, MONO)


@pytest.mark.parametrize(
    ('shape', 'is_of_another_format'),
    [((HEIGHT, WIDTH - 1), True), ((HEIGHT, WIDTH, 4), True), ((HEIGHT, WIDTH), False)],
)
def test_a_frame_of_another_format_is_told_from_other_faults(
    shape: tuple[int, ...], is_of_another_format: bool
) -> None:
    with pytest.raises(FrameError) as refused:
        check_frame(np.zeros(shape, np.uint8), MONO)
    sentence = str(refused.value)
    found = format_problem(f'ssim: {sentence} -> REJECT')
    assert found == (sentence if is_of_another_format else None)


def test_dark_noise_and_hot_pixels_are_still_black() -> None:
    dark = np.random.default_rng(0).integers(0, 5, (HEIGHT, WIDTH), dtype=np.uint8)
    dark[40, 40] = 255
    with pytest.raises(FrameError, match='black'):
        check_frame(dark, MONO)


def test_a_bright_background_and_a_dark_scene_are_judged() -> None:
    bright = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    bright[100:140, 100:160] = 30
    check_frame(bright, COLOUR)
    dim = np.zeros((HEIGHT, WIDTH), np.uint8)
    dim[100:120, 100:120] = 20
    check_frame(dim, MONO)


def test_how_bright_is_too_bright_can_be_set() -> None:
    bright = np.full((HEIGHT, WIDTH), 255, np.uint8)
    bright[100:124, 100:130] = 30
    assert saturation(bright) == pytest.approx(0.99, abs=0.002)
    with pytest.raises(FrameError, match=r'saturated: 99\.\d+%.*wanted less than 98\.00%'):
        check_frame(bright, MONO)
    check_frame(bright, replace(MONO, saturated_share=0.995))
    with pytest.raises(FrameError, match='saturated: 100'):
        check_frame(np.full_like(bright, 255), replace(MONO, saturated_share=1.0))
    with pytest.raises(SettingError, match=r'saturated_share is 0\.4.*0\.5 to 1'):
        replace(MONO, saturated_share=0.4)


@pytest.mark.parametrize(('shift_px', 'ways'), [(12.0, 2), (55.0, 2), (76.0, 1)])
def test_a_pose_that_is_a_guess_may_not_hide_the_part(shift_px: float, ways: int) -> None:
    """
    The plate reaches from 60 to 180 px of 240. What lies around it may leave the frame.

    """
    unsure = AlignmentSettings(
        'translation', search_px=80, min_confidence=0.999, if_not_found='as_it_lies'
    )
    preprocessor = Preprocessor(settings(alignment=unsure), MONO, shot(part()))
    moved = shot(part(Alignment(0.0, shift_px, 0.0, 1.0, 1.0)), 3)
    prepared = preprocessor.prepare_ways(moved)
    assert len(prepared) == ways
    assert all(one.valid[60:180, 90:230].mean() >= 0.9 for one in prepared)
    assert prepared[0].alignment is not None
    assert prepared[0].alignment.is_still


def test_a_frame_need_not_be_contiguous() -> None:
    wide = np.zeros((HEIGHT, 2 * WIDTH), np.uint8)
    wide[:, ::2] = shot(part())
    preprocessor = Preprocessor(settings(), MONO, shot(part()))
    assert not wide[:, ::2].flags.c_contiguous
    assert np.array_equal(
        preprocessor.prepare(wide[:, ::2]).image, preprocessor.prepare(shot(part())).image
    )


@pytest.mark.parametrize(
    ('width', 'height', 'encoding', 'words'),
    [
        (0, 240, 'mono8', 'width is 0.*16 to 16384'),
        (320, 2.5, 'mono8', 'height is 2.5'),
        (320, 240, 'rgb8', "encoding is 'rgb8'.*mono8, bgr8"),
    ],
)
def test_frame_format_names_what_it_refuses(
    width: Any, height: Any, encoding: str, words: str
) -> None:
    with pytest.raises(SettingError, match=words):
        FrameFormat(width, height, encoding)


# The region of interest.


def test_the_region_is_cut_out_and_maps_back() -> None:
    region = RegionOfInterest(80, 50, 160, 140)
    frame = shot(part())
    prepared = Preprocessor(
        settings(region_of_interest=region, alignment=UNALIGNED), MONO, frame
    ).prepare(frame)
    assert np.array_equal(prepared.image, frame[50:190, 80:240])
    assert prepared.alignment is None
    assert prepared.valid.all()
    assert prepared.to_frame @ [3, 4, 1] == pytest.approx([83, 54])


def test_a_region_beyond_the_frame_is_refused() -> None:
    beyond = settings(region_of_interest=RegionOfInterest(200, 0, 121, 240))
    with pytest.raises(SettingError, match=r'x 321.*within the frame of 320 x 240'):
        Preprocessor(beyond, MONO, shot(part()))


# Geometry.


@pytest.mark.parametrize('region', [None, RegionOfInterest(80, 50, 170, 145)])
def test_features_land_where_to_frame_says(region: RegionOfInterest | None) -> None:
    pose = Alignment(6.4, -8.7, math.radians(7), 1, 1)
    frame = shot(part(pose))
    prepared = Preprocessor(settings(region_of_interest=region), MONO, shot(part(), 1)).prepare(
        frame
    )
    left, top = (region.x, region.y) if region else (0, 0)
    for x, y in SPOTS:
        laid = spot_place(prepared.image, x - left, y - top)
        assert laid == pytest.approx((x - left, y - top), abs=0.15)
        in_frame = prepared.to_frame @ [*laid, 1]
        assert spot_place(frame, *in_frame) == pytest.approx(tuple(in_frame), abs=0.15)


@pytest.mark.parametrize('region', [None, RegionOfInterest(30, 20, 260, 200)])
def test_the_part_as_it_lies_is_given_and_where_the_aligned_one_is_in_it(
    region: RegionOfInterest | None,
) -> None:
    frame = shot(part(Alignment(6.4, -8.7, math.radians(7), 1, 1)))
    preprocessor = Preprocessor(settings(region_of_interest=region), MONO, shot(part(), 1))
    prepared = preprocessor.prepare(frame)
    picture = prepared.as_it_lies
    seen = region or RegionOfInterest(0, 0, WIDTH, HEIGHT)
    assert picture.image.size <= 1.01 * 256**2
    scale_x, scale_y = np.divide(picture.image.shape[::-1], (seen.width, seen.height))
    left, top = (seen.x, seen.y) if region else (0, 0)
    for x, y in SPOTS:
        laid = spot_place(prepared.image, x - left, y - top)
        in_frame = prepared.to_frame @ [*laid, 1]
        in_picture = picture.from_prepared @ [*laid, 1]
        assert (in_picture[0] + 0.5) / scale_x == pytest.approx(in_frame[0] - left + 0.5)
        assert (in_picture[1] + 0.5) / scale_y == pytest.approx(in_frame[1] - top + 0.5)
        assert spot_place(picture.image, *in_picture) == pytest.approx(in_picture, abs=0.3)


def test_a_picture_that_is_not_aligned_or_not_wanted_is_the_image_itself() -> None:
    reference = shot(part(), 1)
    still = Preprocessor(settings(alignment=AlignmentSettings(kind='none')), MONO, reference)
    unwanted = Preprocessor(settings(), MONO, reference, gives_unaligned=False)
    for preprocessor in (still, unwanted):
        prepared = preprocessor.prepare(reference)
        assert prepared.as_it_lies.image is prepared.as_seen
        assert (prepared.as_it_lies.from_prepared == np.eye(2, 3)).all()


def test_the_aligned_frame_looks_like_the_reference() -> None:
    reference = shot(part(), 1)
    preprocessor = Preprocessor(settings(), MONO, reference)
    prepared = preprocessor.prepare(shot(part(Alignment(-9.3, 5.5, math.radians(-6), 1, 1))))
    apart = np.abs(prepared.image.astype(np.float32) - reference)[prepared.valid]
    assert apart.mean() < 2.5
    assert np.percentile(apart, 99.9) < 12


def test_valid_marks_what_the_frame_does_not_show() -> None:
    reference = shot(part(), 1)
    preprocessor = Preprocessor(settings(), MONO, reference)
    assert preprocessor.prepare(reference).valid.all()
    prepared = preprocessor.prepare(shot(part(Alignment(12, 0, 0, 1, 1))))
    assert not prepared.valid[:, -11:].any()
    assert prepared.valid[:, :-13].all()
    filtered = Preprocessor(settings(filters=(Median(5), Gauss(1.0))), MONO, reference)
    with_filters = filtered.prepare(shot(part(Alignment(12, 0, 0, 1, 1)))).valid
    # Filters run on the frame itself, before there is any border that was brought in.
    assert not with_filters[:, -11:].any()
    assert with_filters[:, :-13].all()


def test_a_region_inside_the_frame_stays_valid_when_the_part_moves() -> None:
    region = RegionOfInterest(80, 50, 160, 140)
    preprocessor = Preprocessor(settings(region_of_interest=region), MONO, shot(part(), 1))
    assert preprocessor.prepare(shot(part(Alignment(12, -9, 0.1, 1, 1)))).valid.all()


def test_map_to_frame_lays_the_map_where_the_part_is() -> None:
    region = RegionOfInterest(80, 50, 160, 140)
    pose = Alignment(10, -7, math.radians(8), 1, 1)
    to_frame = pose.to_frame(region)
    anomaly_map = np.zeros((140, 160), np.float32)
    anomaly_map[70:75, 120:125] = 1
    laid = map_to_frame(anomaly_map, to_frame, (WIDTH, HEIGHT))
    assert laid.shape == (HEIGHT, WIDTH)
    assert laid.dtype == np.float32
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    center = ((laid * columns).sum() / laid.sum(), (laid * rows).sum() / laid.sum())
    assert center == pytest.approx(tuple(to_frame @ [122, 72, 1]), abs=0.1)
    corner = to_frame @ [-3, 70, 1]
    assert (
        map_to_frame(np.ones((140, 160), np.float32), to_frame, (WIDTH, HEIGHT))[
            round(corner[1]), round(corner[0])
        ]
        == 0
    )


def test_a_part_that_is_not_there_is_not_aligned() -> None:
    preprocessor = Preprocessor(settings(), MONO, shot(part(), 1))
    with pytest.raises(AlignmentError, match='confidence'):
        preprocessor.prepare(shot(np.full((HEIGHT, WIDTH), 70, np.float32), noise=6))


def test_the_reference_itself_is_neither_moved_nor_lit_otherwise() -> None:
    reference = shot(part(), 1)
    full = settings(light='gain_offset', filters=(Gauss(1.0),))
    prepared = Preprocessor(full, MONO, reference).prepare(reference)
    assert np.abs(prepared.image.astype(int) - Gauss(1.0).apply(reference)).max() <= 1
    assert prepared.to_frame == pytest.approx(np.eye(2, 3), abs=0.02)


def test_colour_is_kept_or_made_gray() -> None:
    frame = np.dstack([shot(part(), seed) for seed in range(3)])
    kept = Preprocessor(settings(colour='bgr', alignment=UNALIGNED), COLOUR, frame).prepare(frame)
    assert np.array_equal(kept.image, frame)
    gray = Preprocessor(settings(alignment=UNALIGNED), COLOUR, frame).prepare(frame)
    assert np.array_equal(gray.image, cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    moved = np.dstack([shot(part(Alignment(9, 4, 0.05, 1, 1)), seed) for seed in range(3)])
    aligned = Preprocessor(settings(colour='bgr'), COLOUR, frame).prepare(moved)
    assert aligned.image.shape == frame.shape
    assert aligned.alignment is not None
    assert aligned.alignment.x_px == pytest.approx(9, abs=0.2)


def test_colour_of_a_mono_camera_is_refused() -> None:
    with pytest.raises(SettingError, match=r'bgr.*mono8'):
        Preprocessor(settings(colour='bgr'), MONO, shot(part()))


def test_preparing_leaves_the_frame_and_the_past_alone() -> None:
    preprocessor = Preprocessor(settings(light='gain'), MONO, shot(part(), 1))
    frame = shot(part(Alignment(5, 5, 0.05, 1, 1)), 2)
    before = frame.copy()
    first = preprocessor.prepare(frame)
    kept = first.image.copy()
    preprocessor.prepare(shot(part(Alignment(-5, 3, -0.05, 1, 1)) * 0.8, 3))
    assert np.array_equal(frame, before)
    assert np.array_equal(first.image, kept)
    assert np.array_equal(preprocessor.prepare(frame).image, kept)


# Light.


@pytest.mark.parametrize('gain', [0.75, 0.9, 1.25])
def test_gain_is_measured_and_removed(gain: float) -> None:
    reference = shot(part(), 1)
    preprocessor = Preprocessor(settings(light='gain', alignment=UNALIGNED), MONO, reference)
    prepared = preprocessor.prepare(shot(part() * gain))
    assert prepared.light.gain == pytest.approx(gain, abs=0.01)
    assert prepared.light.offset == 0
    apart = prepared.image.astype(float) - reference
    assert abs(apart.mean()) < 0.5
    assert prepared.as_seen.mean() == pytest.approx(reference.mean() * gain, rel=0.02)
    unchanged = preprocessor.prepare(reference)
    assert unchanged.as_seen.mean() == pytest.approx(reference.mean(), rel=0.005)


def test_gain_and_offset_are_measured_together() -> None:
    meter = LightMeter('gain_offset', shot(part(), 1))
    light = meter.measure(shot(part() * 1.15 - 20), np.ones((HEIGHT, WIDTH), np.bool_))
    assert light.gain == pytest.approx(1.15, abs=0.015)
    assert light.offset == pytest.approx(-20, abs=1.5)


@pytest.mark.parametrize('light', ['gain', 'gain_offset'])
@pytest.mark.parametrize('alignment', [UNALIGNED, AlignmentSettings()])
def test_a_large_dark_defect_is_not_evened_out(light: str, alignment: AlignmentSettings) -> None:
    reference = shot(part(), 1)
    preprocessor = Preprocessor(settings(light=light, alignment=alignment), MONO, reference)
    stained = part()
    # Over 40 % of the plate.
    stained[70:170, 100:160] -= 60
    prepared = preprocessor.prepare(shot(stained * 1.1))
    apart = prepared.image.astype(float) - reference
    assert apart[80:160, 105:155].mean() < -55
    assert abs(apart[80:160, 175:220].mean()) < 2.5


@pytest.mark.parametrize('belt', [0.85, 1.15])
@pytest.mark.parametrize('region', [None, RegionOfInterest(60, 30, 240, 190)])
def test_a_belt_of_another_brightness_is_not_light(
    belt: float, region: RegionOfInterest | None
) -> None:
    preprocessor = Preprocessor(
        settings(light='gain', region_of_interest=region), MONO, shot(part(), 1)
    )
    scene = part(Alignment(7, -4, 0.05, 1, 1))
    scene = np.where(scene < 60, belt * scene, scene)
    light = preprocessor.prepare(shot(1.1 * scene)).light
    assert light.gain == pytest.approx(1.1, abs=0.01)


def test_clipped_pixels_do_not_count_as_light() -> None:
    scene = part()
    scene[:, :80] = 252
    meter = LightMeter('gain', shot(scene, 1))
    light = meter.measure(shot(scene * 1.25), np.ones((HEIGHT, WIDTH), np.bool_))
    assert light.gain == pytest.approx(1.25, abs=0.015)


def test_a_lamp_that_fails_is_not_evened_out() -> None:
    meter = LightMeter('gain', shot(part(), 1))
    light = meter.measure(shot(part() * 0.2), np.ones((HEIGHT, WIDTH), np.bool_))
    assert light.gain == 0.5


def test_light_none_changes_nothing() -> None:
    frame = shot(part() * 0.8)
    prepared = Preprocessor(settings(alignment=UNALIGNED), MONO, shot(part())).prepare(frame)
    assert prepared.light == Light()
    assert np.array_equal(prepared.image, frame)


# Filters.


def test_filters_do_what_they_are_for() -> None:
    noisy = shot(np.full((HEIGHT, WIDTH), 120, np.float32), noise=8)
    assert Gauss(1.5).apply(noisy).std() < 0.25 * noisy.std()
    specks = np.full((HEIGHT, WIDTH), 120, np.uint8)
    specks[::9, ::9] = 255
    assert (Median(3).apply(specks) == 120).all()
    edge = np.full((HEIGHT, WIDTH), 50, np.float32)
    edge[:, 160:] = 180
    smooth = Bilateral(7, 40.0, 3.0).apply(shot(edge, noise=5))
    assert smooth[:, 100:150].std() < 2.5
    assert int(smooth[120, 161]) - int(smooth[120, 158]) > 110


def test_filters_are_applied_in_order() -> None:
    frame = shot(part(), noise=9)
    both = settings(filters=(Median(5), Gauss(2.0)), alignment=UNALIGNED)
    wanted = Gauss(2.0).apply(Median(5).apply(frame))
    assert np.array_equal(Preprocessor(both, MONO, frame).prepare(frame).image, wanted)
    assert not np.array_equal(Median(5).apply(Gauss(2.0).apply(frame)), wanted)


# Settings.

FULL = {
    'region_of_interest': {'x': 10, 'y': 20, 'width': 100, 'height': 50},
    'colour': 'bgr',
    'light': 'gain',
    'filters': [
        {'kind': 'gauss', 'sigma_px': 1.5},
        {'kind': 'median', 'size_px': 5},
        {'kind': 'bilateral', 'diameter_px': 7, 'sigma_color': 30.0, 'sigma_space': 2.0},
    ],
    'alignment': {
        'kind': 'similarity',
        'search_px': 12.0,
        'search_deg': 180.0,
        'search_scale': 0.1,
        'min_confidence': 0.4,
    },
}


@pytest.mark.parametrize('mapping', [FULL, {}])
def test_settings_survive_the_way_through_a_mapping(mapping: dict[str, Any]) -> None:
    made = PreprocessingSettings.from_mapping(mapping)
    again = PreprocessingSettings.from_mapping(made.to_mapping())
    assert again == made
    assert again.fingerprint() == made.fingerprint()
    if mapping:
        assert made.to_mapping() == mapping


def test_the_fingerprint_tells_every_setting() -> None:
    base = PreprocessingSettings.from_mapping(FULL)
    others = [
        {**FULL, 'region_of_interest': {**FULL['region_of_interest'], 'x': 11}},
        {**FULL, 'region_of_interest': None},
        {**FULL, 'colour': 'gray'},
        {**FULL, 'light': 'none'},
        {**FULL, 'filters': FULL['filters'][::-1]},
        {**FULL, 'alignment': {**FULL['alignment'], 'search_px': 13.0}},
    ]
    prints = {PreprocessingSettings.from_mapping(other).fingerprint() for other in others}
    assert len(prints | {base.fingerprint()}) == len(others) + 1
    assert len(base.fingerprint()) == 64


def test_numbers_that_are_equal_have_one_fingerprint() -> None:
    whole = PreprocessingSettings.from_mapping({'alignment': {'search_px': 24}})
    assert whole.fingerprint() == PreprocessingSettings().fingerprint()


@pytest.mark.parametrize(
    ('mapping', 'words'),
    [
        ({'colors': 'gray'}, "unknown key 'colors'.*region_of_interest"),
        ({'colour': 'rgb'}, "colour is 'rgb'.*gray, bgr"),
        ({'light': 3}, 'light is 3.*none, gain, gain_offset'),
        ({'filters': 'gauss'}, "filters is 'gauss'.*list"),
        ({'filters': ['gauss']}, 'filters holds'),
        ({'filters': [{'kind': 'sobel'}]}, "filters.kind is 'sobel'.*gauss, median, bilateral"),
        ({'filters': [{'kind': 'gauss', 'size': 3}]}, "filters.gauss has unknown key 'size'"),
        ({'filters': [{'kind': 'median', 'size_px': 4}]}, 'size_px is 4.*odd'),
        ({'filters': [{'kind': 'gauss', 'sigma_px': 99}]}, 'sigma_px is 99.*0.3 to 10'),
        ({'filters': [{'kind': 'median'}] * 9}, '9 filters.*at most 8'),
        ({'alignment': 'rigid'}, "alignment is 'rigid'.*mapping"),
        ({'alignment': {'search_deg': 200}}, 'alignment.search_deg is 200.*0 to 180'),
        ({'region_of_interest': [1, 2, 3, 4]}, 'region_of_interest is'),
        ({'region_of_interest': {'x': 1}}, "region_of_interest lacks 'y'"),
        (
            {'region_of_interest': {'x': 0, 'y': 0, 'width': 4, 'height': 99}},
            'width is 4.*16 to 16384',
        ),
        (
            {'region_of_interest': {'x': -1, 'y': 0, 'width': 99, 'height': 99}},
            'x is -1.*0 to 16384',
        ),
    ],
)
def test_wrong_settings_are_refused_by_name(mapping: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        PreprocessingSettings.from_mapping(mapping)


def test_a_filter_takes_its_defaults() -> None:
    assert filter_from_mapping({'kind': 'bilateral'}) == Bilateral()
