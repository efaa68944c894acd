# SPDX-License-Identifier: Apache-2.0
"""
Choose the settings of a scorer, where good parts tell that the defaults do not fit them.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.learning.preprocessing_choice import (
    ALIGNMENT_SAMPLE,
    CLEARLY_LOWER,
    FLATTEN_PX,
    flattened_parts,
    spread,
)
from anomaly_inspection.scoring.patch_features import surface_of
from anomaly_inspection.scoring.patch_statistics import smallest_stride_px
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.learning.part_preparation import GoodPart

_JUDGED_EVERY = 5
# Many references only of small images: each takes 13 bytes a value in memory, 100 MB in all.
_MANY_REFERENCES, _MOST_REFERENCE_VALUES = 40, 8_000_000


def choose_settings(scorer: str, parts: Sequence[GoodPart]) -> dict[str, Any]:
    """
    Give the defaults, but for what the good parts need.

    Shine and shadow that lie differently on every part hide a small mark: `flatten_px`. Without
    the local mean an edge keeps at least half of its height, so the variation must fall clearly
    below half. Noise, which the deviations are floored at, counts in both.

    """
    settings = dict(scorer_class(scorer).default_settings)
    if 'flatten_px' in settings:
        sample = [part.prepared for part in parts[:: math.ceil(len(parts) / ALIGNMENT_SAMPLE)]]
        floor = settings['floor_levels']
        if spread(flattened_parts(sample, FLATTEN_PX), floor) < 0.5 * CLEARLY_LOWER * spread(
            sample, floor
        ):
            settings['flatten_px'] = FLATTEN_PX
    if 'references' in settings and _needs_many_references(scorer, settings, parts):
        settings['references'] = _MANY_REFERENCES
    if 'surface' in settings:
        sample = [part.prepared for part in parts[:: math.ceil(len(parts) / ALIGNMENT_SAMPLE)]]
        settings['surface'] = surface_of(sample)
    if settings.get('stride_px'):
        shape = parts[0].prepared.image.shape
        settings['stride_px'] = smallest_stride_px(shape, settings['stride_px'])
    return settings


def _needs_many_references(
    scorer: str, settings: dict[str, Any], parts: Sequence[GoodPart]
) -> bool:
    """
    Tell whether good parts clearly find more alike ones among many references than among few.

    So it is where there are several kinds of good part. Parts that all lie on one reference are of
    one kind.

    """
    taught = [part.prepared for i, part in enumerate(parts) if i % _JUDGED_EVERY]
    if (
        taught[0].alignment is not None
        or len(taught) <= settings['references']
        or _MANY_REFERENCES * taught[0].image.size > _MOST_REFERENCE_VALUES
    ):
        return False
    few, many = (
        scorer_class(scorer).fit(taught, {**settings, 'references': count, 'tolerance': 'none'})
        for count in (settings['references'], _MANY_REFERENCES)
    )
    unlike_few, unlike_many = (
        np.median(
            [1 - one.score(part.prepared).measures['mean_ssim'] for part in parts[::_JUDGED_EVERY]]
        )
        for one in (few, many)
    )
    return bool(unlike_many < CLEARLY_LOWER * unlike_few)
