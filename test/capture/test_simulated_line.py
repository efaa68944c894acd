# SPDX-License-Identifier: Apache-2.0
"""
The simulated line: pictures that repeat exactly, and a truth that is what the pictures show.

"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from anomaly_inspection.capture.simulated_defects import VISIBLE_LEVELS
from anomaly_inspection.capture.simulated_frame import Renderer
from anomaly_inspection.capture.simulated_line import (
    DEFECT_KINDS,
    render_part,
    SimulatedLine,
    SimulatedLineSettings,
)
from anomaly_inspection.capture.simulated_part import BOLT_ANGLES_DEG, BOLT_CIRCLE_RADIUS
from anomaly_inspection.errors import SettingError, SourceError

LINE = SimulatedLineSettings(seed=4)
STILL = replace(LINE, shift_px=0.0, rotation_deg=0.0, light=0.0)


def gray(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float64) @ (0.114, 0.587, 0.299)


def rotation(angle_deg: float) -> np.ndarray:
    angle = np.radians(angle_deg)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


# ----------------------------------------------------------------------------------- pictures


def test_a_part_does_not_depend_on_what_was_rendered_before_it() -> None:
    first = render_part(LINE, 7)
    for index in (3, 0, 12):
        render_part(LINE, index)
    render_part(replace(LINE, seed=5), 7)
    again = render_part(LINE, 7)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.truth.mask, again.truth.mask)
    assert (first.truth, first.pose) == (again.truth, again.pose)


@pytest.mark.parametrize('other', [(replace(LINE, seed=5), 7), (LINE, 8)])
def test_another_seed_or_index_gives_another_part(
    other: tuple[SimulatedLineSettings, int],
) -> None:
    assert render_part(*other).pose != render_part(LINE, 7).pose
    assert np.any(render_part(*other).image != render_part(LINE, 7).image)


@pytest.mark.parametrize('size', [(320, 240), (640, 480), (480, 640), (2448, 2048)])
def test_the_part_is_large_and_whole_at_every_frame_size(size: tuple[int, int]) -> None:
    settings = SimulatedLineSettings(
        width_px=size[0], height_px=size[1], defect_rate=0.0, noise_levels=0.0, rotation_deg=180.0
    )
    image = render_part(settings, 1).image
    assert image.shape == (size[1], size[0], 3)
    assert image.dtype == np.uint8
    # The belt is greenish, the part is gray: saturation tells them apart.
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(int)
    metal = (np.ptp(small, axis=2) <= 6) & (small.max(axis=2) > 75)
    rows, columns = np.nonzero(
        cv2.morphologyEx(metal.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
    )
    assert 2 * max(np.ptp(rows), np.ptp(columns)) >= 180
    assert rows.min() > 0
    assert columns.min() > 0
    assert rows.max() < small.shape[0] - 1
    assert columns.max() < small.shape[1] - 1


def test_the_pose_says_how_the_part_lies() -> None:
    moved = replace(
        LINE, defect_rate=0.0, shift_px=40.0, rotation_deg=180.0, light=0.0, part_variation=3.0
    )
    bores = BOLT_CIRCLE_RADIUS * np.array(
        [np.cos(np.radians(BOLT_ANGLES_DEG)), np.sin(np.radians(BOLT_ANGLES_DEG))]
    )
    for index in range(5):
        part = render_part(moved, index)
        places = moved.scale * part.pose.scale * rotation(part.pose.angle_deg) @ bores
        for x, y in zip(places[0] + part.pose.x_px, places[1] + part.pose.y_px, strict=True):
            left, top = round(x) - 11, round(y) - 11
            rows, columns = np.nonzero(gray(part.image)[top : top + 23, left : left + 23] < 50)
            assert rows.size > 100
            assert columns.mean() + left == pytest.approx(x, abs=1.0)
            assert rows.mean() + top == pytest.approx(y, abs=1.0)


def test_no_turn_looks_like_another() -> None:
    still = replace(STILL, defect_rate=0.0)
    square = gray(render_part(still, 0).image)[70:410, 150:490].astype(np.float32)
    disc = np.hypot(*np.mgrid[-169.5:170, -169.5:170]) < 160

    def likeness(angle_deg: float) -> float:
        turn = cv2.getRotationMatrix2D((169.5, 169.5), angle_deg, 1.0)
        turned = cv2.warpAffine(square, turn, (340, 340))
        return float(np.corrcoef(turned[disc], square[disc])[0, 1])

    assert likeness(1.0) > 0.9
    assert max(likeness(angle) for angle in range(20, 341, 5)) < 0.8


def test_poses_and_light_keep_to_their_ranges_and_use_them() -> None:
    settings = replace(LINE, shift_px=30.0, rotation_deg=90.0, defect_rate=0.0)
    parts = [render_part(settings, index) for index in range(30)]
    x = np.array([part.pose.x_px for part in parts]) - 319.5
    angle = np.array([part.pose.angle_deg for part in parts])
    scale = np.array([part.pose.scale for part in parts])
    assert -30.0 <= x.min() < -20.0
    assert 20.0 < x.max() <= 30.0
    assert -90.0 <= angle.min() < -60.0
    assert 60.0 < angle.max() <= 90.0
    assert 0.0015 < np.abs(scale - 1.0).max() <= 0.003
    levels = np.array([part.image.mean() for part in parts])
    assert 0.15 < levels.std() * np.sqrt(12) / levels.mean() < 0.45


def test_noise_has_the_deviation_asked_for_and_differs_from_frame_to_frame() -> None:
    clean = replace(STILL, defect_rate=0.0, noise_levels=0.0, background_variation=0.0)
    corner = (slice(0, 60), slice(0, 200))

    def noise(index: int) -> np.ndarray:
        noisy = render_part(replace(clean, noise_levels=5.0), index).image[corner].astype(float)
        return (noisy - render_part(clean, index).image[corner]).ravel()

    first, second = noise(0), noise(1)
    assert first.std() == pytest.approx(5.0, rel=0.05)
    assert abs(first.mean()) < 0.2
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05


def test_good_parts_differ_mildly() -> None:
    still = replace(STILL, noise_levels=0.0)
    parts = np.stack(
        [gray(render_part(still, index, with_defect=False).image) for index in range(12)]
    )
    deviation = parts.std(axis=0)[120:360, 200:440]
    assert 0.7 < np.median(deviation) < 6.0


def test_without_variation_parts_are_alike() -> None:
    alike = replace(
        STILL, defect_rate=0.0, noise_levels=0.0, part_variation=0.0, background_variation=0.0
    )
    first, second = (render_part(alike, index).image[100:380, 180:480] for index in (0, 1))
    np.testing.assert_array_equal(first, second)


# ------------------------------------------------------------------------------------ defects


@pytest.mark.parametrize('kind', DEFECT_KINDS)
def test_a_defect_changes_its_mask_and_nothing_else(kind: str) -> None:
    settings = replace(LINE, defect_rate=1.0, kinds=(kind,), rotation_deg=180.0)
    for index in range(4):
        part = render_part(settings, index)
        good = render_part(settings, index, with_defect=False)
        assert part.truth.defect == kind
        assert not part.truth.is_good
        assert good.truth.is_good
        assert good.pose == part.pose
        assert part.truth.mask is not None
        assert good.truth.mask is not None
        assert not good.truth.mask.any()
        np.testing.assert_array_equal(part.image[~part.truth.mask], good.image[~part.truth.mask])


@pytest.mark.parametrize('kind', DEFECT_KINDS)
def test_the_truth_is_what_the_picture_shows(kind: str) -> None:
    settings = replace(LINE, defect_rate=1.0, kinds=(kind,), noise_levels=0.0)
    for index in range(4):
        part = render_part(settings, index)
        good = render_part(settings, index, with_defect=False)
        mask = part.truth.mask
        assert mask is not None
        change = np.abs(gray(part.image) - gray(good.image))
        # Whole levels: a change may be half a level more or less than it was.
        assert change[mask].min() >= VISIBLE_LEVELS - 1.0
        assert part.truth.contrast_levels == pytest.approx(change[mask].mean(), abs=0.3)
        assert part.truth.diameter_px == pytest.approx(np.sqrt(4 * mask.sum() / np.pi))
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2


@pytest.mark.parametrize('kind', [kind for kind in DEFECT_KINDS if kind != 'missing_bore'])
@pytest.mark.parametrize(('diameter', 'contrast'), [(12.0, 30.0), (12.0, 80.0), (40.0, 45.0)])
def test_a_defect_is_as_large_and_strong_as_asked(
    kind: str, diameter: float, contrast: float
) -> None:
    settings = replace(
        LINE,
        defect_rate=1.0,
        kinds=(kind,),
        diameter_px=(diameter, diameter),
        contrast_levels=(contrast, contrast),
    )
    for index in range(6):
        truth = render_part(settings, index).truth
        assert truth.diameter_px == pytest.approx(diameter, rel=0.15)
        assert truth.contrast_levels == pytest.approx(contrast, rel=0.15)


def test_weak_and_tiny_defects_exist() -> None:
    settings = replace(LINE, defect_rate=1.0, diameter_px=(3.0, 6.0), contrast_levels=(8.0, 20.0))
    for index in range(20):
        truth = render_part(settings, index).truth
        assert truth.mask is not None
        assert truth.mask.any()
        if truth.defect != 'missing_bore':
            assert truth.diameter_px < 10.0
            assert truth.contrast_levels < 30.0


@pytest.mark.parametrize('kind', DEFECT_KINDS)
def test_a_defect_lies_on_the_part(kind: str) -> None:
    settings = replace(LINE, defect_rate=1.0, kinds=(kind,), shift_px=40.0)
    for index in range(6):
        part = render_part(settings, index)
        rows, columns = np.nonzero(part.truth.mask)
        away = np.hypot(columns - part.pose.x_px, rows - part.pose.y_px)
        assert away.min() < 175.0
        if kind not in ('burr', 'wire'):
            assert away.max() < 175.0


def test_sizes_and_strengths_spread_over_their_ranges() -> None:
    settings = replace(LINE, defect_rate=1.0, kinds=('stain', 'blowhole'))
    truths = [render_part(settings, index).truth for index in range(30)]
    diameters = np.array([truth.diameter_px for truth in truths])
    contrasts = np.array([truth.contrast_levels for truth in truths])
    assert diameters.min() < 16.0
    assert diameters.max() > 30.0
    assert contrasts.min() < 40.0
    assert contrasts.max() > 60.0
    # Log-uniform: the middle is the geometric mean, 21.9 px.
    assert 17.0 < np.median(diameters) < 28.0


def test_the_defect_rate_and_the_kinds_are_kept() -> None:
    kinds = ('scratch', 'burr')
    settings = replace(LINE, width_px=320, height_px=240, defect_rate=0.3, kinds=kinds)
    found = [render_part(settings, index).truth.defect for index in range(150)]
    assert set(found) == {'good', *kinds}
    assert 0.18 < sum(defect != 'good' for defect in found) / 150 < 0.42


# ------------------------------------------------------------------------------------- source


def test_the_line_gives_its_parts_in_order_and_then_ends() -> None:
    settings = replace(LINE, parts=3)
    with SimulatedLine(settings) as line:
        assert not line.is_live
        for index in range(3):
            frame = line.read()
            assert frame is not None
            assert frame.name == f'line_4/{index:06d}'
            assert frame.problem == ''
            assert frame.image is not None
            np.testing.assert_array_equal(frame.image, render_part(settings, index).image)
            assert line.truth(frame.name) == render_part(settings, index).truth
        assert line.read() is None
        assert line.read() is None
        line.open()
        again = line.read()
        assert again is not None
        assert again.name == 'line_4/000000'


def test_the_truth_without_its_mask_takes_no_second_rendering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = replace(LINE, seed=77, parts=3, defect_rate=1.0)
    line, other = SimulatedLine(settings), SimulatedLine(settings)
    with line:
        names = [frame.name for frame in (line.read(), line.read()) if frame is not None]
    whole = [line.truth(name) for name in names]
    rendered = []
    render = Renderer.render
    monkeypatch.setattr(
        Renderer, 'render', lambda self, *what: rendered.append(what) or render(self, *what)
    )
    known = [other.truth(name, with_mask=False) for name in names]
    assert known == whole
    assert [truth.mask for truth in known if truth is not None] == [None, None]
    assert rendered == []
    assert other.truth('line_77/000002', with_mask=False) == line.truth('line_77/000002')
    assert rendered


@pytest.mark.parametrize(
    'name', ['', 'line_5/000001', 'line_4/000003', 'line_4/1', 'line_4/-00001', '000001.png']
)
def test_the_truth_of_any_other_frame_is_unknown(name: str) -> None:
    assert SimulatedLine(replace(LINE, parts=3)).truth(name) is None


def test_a_closed_line_cannot_be_read() -> None:
    line = SimulatedLine(LINE)
    with pytest.raises(SourceError, match='open'):
        line.read()
    with line:
        assert line.read() is not None
    line.close()
    with pytest.raises(SourceError, match='open'):
        line.read()


# ----------------------------------------------------------------------------------- settings


def test_settings_are_read_from_a_spec() -> None:
    assert SimulatedLineSettings.from_spec('line') == SimulatedLineSettings()
    spec = (
        'line:parts=200,seed=2,defect_rate=0.3,rotation_deg=180,kinds=scratch+stain,'
        'diameter_px=3..40,contrast_levels=50'
    )
    assert SimulatedLineSettings.from_spec(spec) == SimulatedLineSettings(
        parts=200,
        seed=2,
        defect_rate=0.3,
        rotation_deg=180.0,
        kinds=('scratch', 'stain'),
        diameter_px=(3.0, 40.0),
        contrast_levels=(50.0, 50.0),
    )
    assert SimulatedLineSettings.from_spec('line:parts=none').parts is None


@pytest.mark.parametrize(
    ('spec', 'named'),
    [
        ('camera', ["'camera'", 'line']),
        ('line:sped=3', ["'sped'", 'known are seed', 'kinds']),
        ('line:seed', ['seed', "''", 'whole number']),
        ('line:seed=two', ['seed', "'two'", 'whole number']),
        ('line:seed=1,seed=2', ['seed', 'twice']),
        ('line:parts=0', ['parts', '0', '1 or more']),
        ('line:parts=many', ['parts', "'many'", 'none']),
        ('line:defect_rate=1.5', ['defect_rate', '1.5', '0.0 to 1.0']),
        ('line:defect_rate=nan', ['defect_rate', 'nan', '0.0 to 1.0']),
        ('line:rotation_deg=181', ['rotation_deg', '181', '0.0 to 180.0']),
        ('line:width_px=100', ['width_px', '100', '320 to 2448']),
        ('line:shift_px=200', ['shift_px', '200', '0.0 to 7']),
        ('line:diameter_px=2..40', ['diameter_px', '2.0', '3.0 to 80.0']),
        ('line:diameter_px=40..12', ['diameter_px', '40.0', 'smallest, largest']),
        ('line:contrast_levels=8..x', ['contrast_levels', "'8..x'", '12..40']),
        ('line:kinds=scratch+rust', ['kinds', 'scratch+rust', 'missing_bore']),
        ('line:kinds=', ['kinds', 'nothing', 'missing_bore']),
    ],
)
def test_a_bad_spec_is_refused_with_key_value_and_what_is_allowed(
    spec: str, named: list[str]
) -> None:
    with pytest.raises(SettingError) as refusal:
        SimulatedLineSettings.from_spec(spec)
    for words in named:
        assert words in str(refusal.value)


@pytest.mark.parametrize(
    'wrong',
    [
        {'seed': 1.5},
        {'seed': True},
        {'parts': 'all'},
        {'light': '0.1'},
        {'diameter_px': 12.0},
        {'diameter_px': (12.0, float('inf'))},
        {'kinds': ()},
    ],
)
def test_settings_of_the_wrong_type_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingError, match=next(iter(wrong))):
        SimulatedLineSettings(**wrong)  # type: ignore[arg-type]


def test_a_negative_index_is_refused() -> None:
    with pytest.raises(SettingError, match='-1'):
        render_part(LINE, -1)
