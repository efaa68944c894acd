# SPDX-License-Identifier: Apache-2.0
"""
Rejects beside the nearest good part, by a real recipe in a library.

"""

from __future__ import annotations

from pathlib import Path
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip('pydantic', reason='NiceGUI is not installed: pip install .[panel]')

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    ExplanationView,
    PartView,
    RegionView,
    ScoreView,
)
from anomaly_inspection.panel.recipes.library import RecipeLibrary
from anomaly_inspection.panel.review.good_parts import GoodParts
from anomaly_inspection.panel.review.reject import Reject, reject_from_json, reject_to_json
from support.small_recipe import SMALL_LINE

BOX = (150, 110, 170, 130)


@pytest.fixture(scope='module')
def frame():
    with open_source(f'{SMALL_LINE},defect_rate=0,parts=1,seed=77') as line:
        image = line.read().image
    image = image.copy()
    image[BOX[1] : BOX[3], BOX[0] : BOX[2]] //= 3
    return image


@pytest.fixture
def library(taught_recipe: Path, tmp_path: Path) -> RecipeLibrary:
    shutil.copytree(taught_recipe, tmp_path / 'small')
    return RecipeLibrary(tmp_path)


def png_of(image):
    return cv2.imencode('.png', image)[1].tobytes()


def reject(number: int = 1, recipe: str = 'small', version: int = 1, has_region: bool = True):
    region = RegionView(*BOX, 400, 5.0)
    explanation = ExplanationView('x', 'ssim', region) if has_region else ExplanationView('x')
    decision = DecisionView(
        *(False, 'LIMIT_EXCEEDED'),
        recipe_name=recipe,
        recipe_version=version,
        explanation=explanation,
    )
    scores = (ScoreView('ssim', pose=(0.0, 0.0, 0.0, 1.0)),)
    return Reject(PartView(('s', number), decision=decision, scores=scores), 1.0)


def test_a_reject_is_laid_beside_a_good_part_once(library, frame):
    parts, read = GoodParts(), []

    def png():
        read.append(1)
        return png_of(frame)

    assert parts.known(('s', 1)) is None
    made = parts.compared(reject(), png, library)
    assert made is not None
    found, good = (
        cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        for jpeg in (made.found, made.good)
    )
    assert found.shape == good.shape
    assert made.contrast_levels < -20
    assert parts.compared(reject(), png, library) is made is parts.known(('s', 1))
    assert len(read) == 1


@pytest.mark.parametrize(
    'given',
    [
        {'recipe': 'gone'},
        {'recipe': '../small'},
        {'recipe': ''},
        {'version': 7},
        {'has_region': False},
    ],
)
def test_what_is_not_there_is_not_compared(library, frame, given):
    assert GoodParts().compared(reject(**given), lambda: png_of(frame), library) is None


@pytest.mark.parametrize('content', [None, b'', b'no picture'])
def test_a_picture_that_is_gone_or_torn_is_not_compared(library, content):
    assert GoodParts().compared(reject(), lambda: content, library) is None


def test_the_explanation_outlives_the_panel():
    kept = reject()
    assert reject_from_json(reject_to_json(kept).decode()).part.scores == kept.part.scores
    read = reject_from_json(reject_to_json(kept).decode()).part.decision
    assert read is not None
    assert read.explanation.region == kept.part.decision.explanation.region
