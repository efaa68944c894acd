# SPDX-License-Identifier: Apache-2.0
"""
Choose the settings of a scorer where the good parts need other ones than the defaults.

"""

from __future__ import annotations

import math
from typing import Any, TYPE_CHECKING

import numpy as np

from anomaly_inspection.learning.backbones import (
    is_packaged_backbone_installed,
    keep_packaged_backbone,
    LAYER_STRIDES,
)
from anomaly_inspection.learning.part_preparation import are_few_different
from anomaly_inspection.learning.preprocessing_choice import (
    ALIGNMENT_SAMPLE,
    CLEARLY_LOWER,
    FLATTEN_PX,
    flattened_parts,
    spread,
)
from anomaly_inspection.learning.surface_check import are_surfaces
from anomaly_inspection.scoring.patch_features import surface_of, texture_of
from anomaly_inspection.scoring.patch_statistics import smallest_stride_px
from anomaly_inspection.scoring.registry import scorer_class

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anomaly_inspection.learning.part_preparation import GoodPart

_JUDGED_EVERY = 5
# Many references are kept of small images only: each takes 13 bytes a value, 100 MB in all.
_MANY_REFERENCES, _MOST_REFERENCE_VALUES = 40, 8_000_000


def choose_settings(scorer: str, parts: Sequence[GoodPart]) -> dict[str, Any]:
    """
    Give the defaults, with changes where the good parts need them.

    `flatten_px` subtracts the local mean, for shine and shadow that lie differently on every part
    and hide a small mark. Without the local mean an edge keeps at least half of its height, so the
    variation must fall clearly below half. Both variations include the noise floor.

    """
    settings = dict(scorer_class(scorer).default_settings)
    is_seen_once = are_few_different(parts)
    if is_seen_once and 'statistics' in settings:
        # What all copies have at one place is then no more than chance: only statistics that are
        # pooled over all places hold for the next part.
        settings['statistics'] = 'pooled'
    if scorer in LAYER_STRIDES and is_packaged_backbone_installed():
        settings['backbone'] = keep_packaged_backbone(scorer)
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
        is_surface = (
            is_seen_once
            and sample[0].alignment is None
            and are_surfaces([prepared.image for prepared in sample])
        )
        settings['surface'] = texture_of(sample) if is_surface else surface_of(sample)
    if settings.get('stride_px'):
        shape = parts[0].prepared.image.shape
        settings['stride_px'] = smallest_stride_px(shape, settings['stride_px'])
    return settings


def _needs_many_references(
    scorer: str, settings: dict[str, Any], parts: Sequence[GoodPart]
) -> bool:
    """
    Tell whether good parts are clearly more like one of many references than one of a few.

    They are where there are several kinds of good part. Parts that are all aligned to one
    reference are of one kind.

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
