# SPDX-License-Identifier: Apache-2.0
"""
Several threads score with one and the same scorer: what they find is what one thread finds.

"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.recipes.folder import read_recipe
from support.scorer_recipes import good_frames, SIZES, write_recipe_of
from support.small_recipe import SMALL_LINE

THREADS = 4


def found(scorer, frame):
    """
    Give all that a frame scorer finds, so that it can be compared exactly.

    """
    return [
        (
            score.scorer,
            score.status,
            score.detail,
            score.measures,
            score.regions,
            score.alignment,
            None if score.prepared_map is None else score.prepared_map.tobytes(),
        )
        for score in scorer.score(frame)
    ]


def check_threads(recipe, frames):
    expected = [found(recipe.frame_scorer(), frame) for frame in frames]
    shared = recipe.frame_scorer()
    shared.allow_threads(THREADS)
    with ThreadPoolExecutor(THREADS) as threads:
        on_threads = list(threads.map(lambda frame: found(shared, frame), frames * 3))
    assert on_threads == expected * 3


@pytest.mark.parametrize('name', SIZES)
def test_every_scorer_finds_the_same_on_several_threads(name, tmp_path, monkeypatch):
    if name in ('features', 'deep_features', 'autoencoder', 'openvino'):
        pytest.importorskip('openvino', reason='networks need OpenVINO')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    frames = good_frames(name, 12)
    for index, frame in enumerate(frames):
        frame[5 : 8 + index, 6:14] = 20 * index
    check_threads(read_recipe(write_recipe_of(name, tmp_path / name)), frames)


def test_aligned_frames_are_the_same_on_several_threads(taught_recipe):
    with open_source(f'{SMALL_LINE},defect_rate=0.5,seed=5,parts=8') as line:
        frames = [line.read().image for _ in range(8)]
    frames.append(np.full_like(frames[0], 90))
    check_threads(read_recipe(taught_recipe), frames)
