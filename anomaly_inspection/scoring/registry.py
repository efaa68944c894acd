# SPDX-License-Identifier: Apache-2.0
"""
All scorers, by name.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.scoring.autoencoder import AutoencoderScorer
from anomaly_inspection.scoring.deep_features import DeepFeaturesScorer
from anomaly_inspection.scoring.features import FeaturesScorer
from anomaly_inspection.scoring.openvino import OpenvinoScorer
from anomaly_inspection.scoring.patch_statistics import PatchStatisticsScorer
from anomaly_inspection.scoring.ssim import SsimScorer
from anomaly_inspection.scoring.template import TemplateScorer
from anomaly_inspection.scoring.variation import VariationScorer

if TYPE_CHECKING:
    from anomaly_inspection.scoring.scorer import Scorer

SCORERS: dict[str, type[Scorer]] = {
    scorer.name: scorer
    for scorer in (
        SsimScorer,
        VariationScorer,
        PatchStatisticsScorer,
        FeaturesScorer,
        DeepFeaturesScorer,
        TemplateScorer,
        AutoencoderScorer,
        OpenvinoScorer,
    )
}


def scorer_class(name: str) -> type[Scorer]:
    """
    Give the class of a scorer, or raise SettingError with the known names.

    """
    try:
        return SCORERS[name]
    except KeyError:
        raise SettingError(
            f'there is no scorer {name!r}; known: {", ".join(sorted(SCORERS))}'
        ) from None
