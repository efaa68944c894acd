# SPDX-License-Identifier: Apache-2.0
"""
Images that would make a recipe too large are refused before the work, with what to do.

"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.region_of_interest import RegionOfInterest
from anomaly_inspection.learning import teach as teaching
from anomaly_inspection.learning.good_images import GoodImages
from anomaly_inspection.learning.recipe_size import check_recipe_size
from anomaly_inspection.learning.reference_choice import choose_references, reference_count
from anomaly_inspection.learning.teach import teach

BOTH = {'ssim': {}, 'variation': {}}
COLOUR_12_MP = FrameFormat(4000, 3000, 'bgr8')


def test_a_large_colour_camera_is_taught_at_a_smaller_scale() -> None:
    frame = np.full((3000, 4000, 3), 90, np.uint8)
    good = GoodImages.checked((f'{number}.png', frame) for number in range(6))
    width, height = good.frame_format.width, good.frame_format.height
    assert 2000 < width < 3000
    assert width / height == pytest.approx(4 / 3, abs=0.01)
    assert good.frame_format.accepts(frame.shape)
    assert any('4000 x 3000 px' in note for note in good.notes)
    check_recipe_size(good.frame_format, 'bgr', None, BOTH, 30, 20)


def test_teach_refuses_a_size_that_is_too_large_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(teaching, 'choose_preprocessing', lambda *_, **__: pytest.fail('work'))
    frame = np.full((300, 400, 3), 90, np.uint8)
    frame[:150, :, 0] = 200
    good = replace(GoodImages.checked([frame] * 30), frame_format=COLOUR_12_MP)
    with pytest.raises(SettingError) as refused:
        teach(good, name='large')
    said = str(refused.value)
    for words in ('4000 x 3000 px (colour)', 'GB', '--roi', 'smaller images'):
        assert words in said
    assert 'another scorer' not in said, 'no scorer would do'


def test_a_region_of_interest_makes_a_large_camera_small_enough() -> None:
    region = RegionOfInterest(1000, 1000, 1200, 1000)
    check_recipe_size(COLOUR_12_MP, 'bgr', region, BOTH, 30, 20)


def test_a_region_of_interest_is_not_proposed_where_it_does_not_help() -> None:
    huge = FrameFormat(12000, 12000, 'bgr8')
    with pytest.raises(SettingError) as refused:
        check_recipe_size(huge, 'bgr', None, {}, 30, 20)
    assert '--roi' not in str(refused.value)
    assert 'smaller images' in str(refused.value)


def test_another_scorer_is_proposed_where_it_helps() -> None:
    check_recipe_size(FrameFormat(4000, 3500, 'mono8'), 'gray', None, {'variation': {}}, 100, 20)
    many = {'ssim': {'references': 100}}
    with pytest.raises(SettingError, match='choose another scorer than ssim'):
        check_recipe_size(FrameFormat(4000, 3500, 'mono8'), 'gray', None, many, 100, 20)


def test_a_five_megapixel_colour_camera_is_taught() -> None:
    check_recipe_size(FrameFormat(2448, 2048, 'bgr8'), 'bgr', None, BOTH, 100, 20)


@pytest.mark.parametrize('parts', [8, 20, 21, 39, 100])
def test_references_are_counted_as_they_are_chosen(parts: int) -> None:
    frames: list[tuple[str, NDArray[np.uint8]]] = [
        (f'{number}', np.full((16, 16), number, np.uint8)) for number in range(parts)
    ]
    assert reference_count(parts) == len(choose_references(frames))
