# SPDX-License-Identifier: Apache-2.0
"""
The deep features scorer: it judges the part as it lies, and says where in the aligned part.

"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.imaging.preprocessing import Picture, Prepared
from anomaly_inspection.scoring.deep_features import DeepFeaturesScorer
from anomaly_inspection.scoring.features import FeaturesScorer
from support.small_backbone import keep_small_backbone

SIZE = (96, 128)
# The aligned image is the picture moved by so many pixels to the right.
MOVED_PX = 32


def picture(seed: int, mark_at: tuple[int, int] | None = None) -> np.ndarray:
    rng = np.random.default_rng(1000 + seed)
    image = np.full(SIZE, 60, np.uint8)
    cv2.circle(image, (64, 48), 36, 170, -1, cv2.LINE_AA)
    if mark_at:
        x, y = mark_at
        image[y - 5 : y + 5, x - 5 : x + 5] = np.indices((10, 10)).sum(axis=0) % 4 // 2 * 200
    return np.clip(image + rng.normal(0, 3, SIZE), 0, 255).astype(np.uint8)


def lying(image: np.ndarray) -> Prepared:
    """
    Give a part whose aligned image is blank: what is judged can come from the picture alone.

    """
    from_prepared = np.array([[1.0, 0.0, -MOVED_PX], [0.0, 1.0, 0.0]])
    blank = np.zeros(SIZE, np.uint8)
    return Prepared(
        blank,
        np.ones(SIZE, np.bool_),
        np.eye(2, 3),
        None,
        unaligned=Picture(image, from_prepared),
    )


@pytest.fixture(scope='module')
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    backbone = keep_small_backbone(tmp_path_factory.mktemp('backbone'), DeepFeaturesScorer.name)
    return {'backbone': backbone, 'side_px': 128, 'dimensions': 16}


@pytest.fixture(scope='module', params=('position', 'pooled'))
def settings(given: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**given, 'statistics': request.param}


@pytest.fixture(scope='module')
def fitted(settings: dict[str, Any]) -> DeepFeaturesScorer:
    return DeepFeaturesScorer.fit([lying(picture(seed)) for seed in range(16)], settings)


def test_it_sees_the_part_as_it_lies_and_the_map_is_that_of_the_aligned_part(
    fitted: DeepFeaturesScorer,
) -> None:
    good = [fitted.score(lying(picture(seed))) for seed in range(100, 105)]
    image = picture(100, mark_at=(40, 48))
    bad = fitted.score(lying(image))
    for measure, value in bad.measures.items():
        assert value > max(output.measures[measure] for output in good)
    still = replace(lying(image), unaligned=Picture(image, np.eye(2, 3)))
    np.testing.assert_allclose(
        bad.anomaly_map[:, MOVED_PX:], fitted.score(still).anomaly_map[:, :-MOVED_PX], atol=1e-5
    )
    assert bad.anomaly_map.shape == SIZE


def test_the_aligned_image_does_not_count(fitted: DeepFeaturesScorer) -> None:
    part = lying(picture(100))
    changed = replace(part, image=np.full(SIZE, 255, np.uint8))
    assert fitted.score(changed).measures == fitted.score(part).measures


def test_what_is_not_judged_is_zero_in_the_map(fitted: DeepFeaturesScorer) -> None:
    valid = np.ones(SIZE, np.bool_)
    valid[:, :50] = False
    output = fitted.score(replace(lying(picture(100, mark_at=(40, 48))), valid=valid))
    assert (output.anomaly_map[:, :50] == 0).all()
    assert (output.anomaly_map[:, 50:] > 0).all()


def test_without_another_picture_the_image_is_as_it_lies(given: dict[str, Any]) -> None:
    def plain(image: np.ndarray) -> Prepared:
        return Prepared(image, np.ones(SIZE, np.bool_), np.eye(2, 3), None)

    scorer = DeepFeaturesScorer.fit([plain(picture(seed)) for seed in range(8)], given)
    still = replace(plain(picture(100)), unaligned=Picture(picture(100), np.eye(2, 3)))
    assert scorer.score(plain(picture(100))).measures == scorer.score(still).measures


def test_comes_back_the_same_from_its_arrays(
    fitted: DeepFeaturesScorer, settings: dict[str, Any]
) -> None:
    again = DeepFeaturesScorer.from_arrays(fitted.to_arrays(), settings)
    part = lying(picture(100, mark_at=(40, 48)))
    assert again.score(part).measures == fitted.score(part).measures


def test_the_data_of_features_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    A network whose layers are not deep has another grid for the same size of input.

    """
    backbone = keep_small_backbone(tmp_path_factory.mktemp('backbone'))
    given = {'backbone': backbone, 'side_px': 128, 'dimensions': 16, 'statistics': 'position'}
    parts = [lying(picture(seed)) for seed in range(8)]
    arrays = FeaturesScorer.fit(parts, given).to_arrays()
    with pytest.raises(RecipeError):
        DeepFeaturesScorer.from_arrays(arrays, {**given, 'side_px': 64})
