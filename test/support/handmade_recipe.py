# SPDX-License-Identifier: Apache-2.0
"""
A small recipe made by hand, without teaching: two scorers, three references, a few kilobytes.

"""

from __future__ import annotations

from datetime import datetime, UTC

import cv2
import numpy as np

from anomaly_inspection.imaging.alignment import AlignmentSettings
from anomaly_inspection.imaging.frame_check import FrameFormat
from anomaly_inspection.imaging.preprocessing import PreprocessingSettings, Preprocessor
from anomaly_inspection.recipes.recipe import (
    MeasureLimit,
    measures_of,
    Provenance,
    Recipe,
    ScorerRecipe,
)
from anomaly_inspection.scoring.frame_scorer import RegionSettings
from anomaly_inspection.scoring.measure import BadSide
from anomaly_inspection.scoring.registry import scorer_class

WIDTH, HEIGHT = 64, 48
SCORERS = ('ssim', 'variation')
CREATED = datetime(2031, 12, 24, 18, 0, tzinfo=UTC)


def part_frame(seed: int) -> np.ndarray:
    """
    Draw a good part: a bright disc with a bore and a bar, and camera noise.

    """
    image = np.full((HEIGHT, WIDTH), 60, np.uint8)
    cv2.circle(image, (32, 24), 16, 170, -1, cv2.LINE_AA)
    cv2.circle(image, (32, 24), 6, 20, -1, cv2.LINE_AA)
    cv2.rectangle(image, (44, 20), (58, 28), 200, -1)
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def made_recipe() -> Recipe:
    """
    Make a small recipe by hand.

    """
    frame_format = FrameFormat(WIDTH, HEIGHT, 'mono8')
    settings = PreprocessingSettings(alignment=AlignmentSettings(kind='none'))
    frames = tuple(part_frame(seed) for seed in range(6))
    preprocessor = Preprocessor(settings, frame_format, frames[0])
    prepared = [preprocessor.prepare(frame) for frame in frames]
    scorers = {}
    for name in SCORERS:
        kind = scorer_class(name)
        limits = {}
        for spec in measures_of(name):
            is_high = spec.bad_side == BadSide.HIGH
            limits[spec.name] = MeasureLimit(40.0, 2.0) if is_high else MeasureLimit(0.4, 0.9)
        scorers[name] = ScorerRecipe(
            settings=dict(kind.default_settings),
            region=RegionSettings(limit=0.75, min_area_px=5),
            limits=limits,
            arrays=kind.fit(prepared, kind.default_settings).to_arrays(),
            good={spec.name: np.linspace(0.1, 0.9, 6) for spec in measures_of(name)},
        )
    return Recipe(
        name='pump_body-2',
        product='Pump body: Größe 2 # left',
        provenance=Provenance(
            taught_by='early shift',
            test_number='0815',
            source='line',
            image_count=6,
            left_out=('image 7: black',),
            promised_rate=0.39,
        ),
        frame_format=frame_format,
        preprocessing=settings,
        scorers=scorers,
        references=frames[:3],
        combination='any',
    )
