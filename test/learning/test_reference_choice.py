# SPDX-License-Identifier: Apache-2.0
"""
Parts that lie anywhere within the search range of one of them, but not of each of them.

"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings
from anomaly_inspection.learning.reference_choice import best_reference, choose_references
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.scoring.frame_scorer import ScoreStatus

SIDE = 192
FORMAT = FrameFormat(SIDE, SIDE, 'mono8')
# Half of the parts lie at one end, so that the most central picture is one of these.
PLACES_PX = (-34, -34, -34, -34, -34, -34, -16, -4, 0, 10, 26, 33)


def part_at(x_px: float, seed: int) -> NDArray[np.uint8]:
    scene = np.full((SIDE, SIDE), 60.0, np.float32)
    center = round(SIDE / 2 + x_px), SIDE // 2
    cv2.circle(scene, center, 40, 170.0, -1)
    cv2.rectangle(scene, (center[0] - 22, 80), (center[0] - 6, 112), 90.0, -1)
    cv2.line(scene, (center[0] + 4, 76), (center[0] + 20, 118), 220.0, 4)
    rng = np.random.default_rng(seed)
    noisy = cv2.GaussianBlur(scene, (0, 0), 0.8) + rng.normal(0.0, 2.0, scene.shape)
    return np.asarray(noisy.clip(0, 255), np.uint8)


@pytest.fixture(scope='module')
def named() -> list[tuple[str, NDArray[np.uint8]]]:
    return [(f'part {n} at {x}', part_at(x, n)) for n, x in enumerate(PLACES_PX)]


def settings(kind: str, search_px: float) -> PreprocessingSettings:
    return PreprocessingSettings(alignment=AlignmentSettings(kind, search_px))


def test_a_part_in_the_middle_becomes_the_reference_where_others_lose_parts(
    named: list[tuple[str, NDArray[np.uint8]]],
) -> None:
    best = best_reference(named, FORMAT, settings('translation', 38.0))
    place = next(place for place, (name, _) in enumerate(named) if name == best)
    assert min(PLACES_PX) + 38 >= PLACES_PX[place] >= max(PLACES_PX) - 38
    assert choose_references(named, best)[0] is named[place][1]


def test_the_most_central_part_stays_the_reference_where_it_finds_all(
    named: list[tuple[str, NDArray[np.uint8]]],
) -> None:
    assert best_reference(named, FORMAT, settings('translation', 80.0)) == ''
    assert best_reference(named, FORMAT, settings('none', 80.0)) == ''


def test_images_without_a_common_part_keep_the_most_central_one() -> None:
    rng = np.random.default_rng(0)
    noise = [(f'piece {n}', rng.integers(0, 255, (SIDE, SIDE)).astype(np.uint8)) for n in range(8)]
    assert best_reference(noise, FORMAT, settings('rigid', 20.0)) == ''


def test_parts_that_lie_far_apart_are_aligned_whichever_looks_most_central(
    named: list[tuple[str, NDArray[np.uint8]]],
) -> None:
    recipe = teach(named, name='far', options=TeachOptions(scorers=['variation']))
    assert recipe.preprocessing.alignment.kind != 'none'
    scorer = recipe.frame_scorer()
    again = [next(iter(scorer.score(part_at(x, 50 + n)))) for n, x in enumerate(PLACES_PX)]
    assert {score.status for score in again} == {ScoreStatus.OK}
