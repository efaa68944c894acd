# SPDX-License-Identifier: Apache-2.0
"""
Deep features: whether a part as a whole looks like the good ones, to a pretrained network.

`features` compares each place of the aligned part with the same place of the good parts, by layers
that see some 50 pixels around it. Here one of the last layers of the same network looks at the
part as it lies. It knows things rather than edges: that a piece is missing, or another kind of
part lies there. Deep layers serve best for such differences (Rippel et al., 2021,
doi:10.1109/ICPR48806.2021.9412109), and do not see small marks.

"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, TYPE_CHECKING

from anomaly_inspection.scoring.feature_network import AS_IT_LIES
from anomaly_inspection.scoring.features import FeaturesScorer
from anomaly_inspection.scoring.measure import BadSide, MeasureSpec
from anomaly_inspection.scoring.scorer import ScorerOutput, Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anomaly_inspection.imaging.preprocessing import Prepared

DEEP_BACKBONE = 'efficientnet_lite0_deep'

# As that of `features`: measured on 15 products, 60 good parts of each: .04 to .12, mean .07.
_USUAL_SPREAD = 0.07


class DeepFeaturesScorer(FeaturesScorer):
    """
    As `FeaturesScorer`, with a deep layer, and for the part as it lies in the frame.

    A part is not aligned for it, so it holds where the alignment is wrong.

    """

    name: ClassVar[str] = 'deep_features'
    measures: ClassVar[tuple[MeasureSpec, ...]] = (
        MeasureSpec(
            'overall_distance',
            '1',
            BadSide.HIGH,
            'Distance of the part as a whole from the good parts; about 1 is typical.',
            usual_spread=_USUAL_SPREAD,
        ),
    )
    settings: ClassVar[Mapping[str, Setting]] = {
        'backbone': Setting(DEEP_BACKBONE),
        'statistics': Setting('position', choices=('position', 'pooled')),
        'kinds': Setting(16, 1, 64),
        'rank': Setting(32, 1, 64),
        'side_px': Setting(192, 64, 256),
        'dimensions': Setting(128, 4, 256),
        'prior_images': Setting(5.0, 0.0, 1000.0),
        'floor': Setting(0.1, 0.0001, 1.0),
        'neighbours': Setting(1, 0, 2),
    }
    default_settings: ClassVar[Mapping[str, Any]] = {
        key: setting.default for key, setting in settings.items()
    }

    def score(self, prepared: Prepared) -> ScorerOutput:
        """
        Score one prepared frame; see `Scorer.score`.

        """
        output = super().score(prepared)
        # Cells are so large that the worst hundredth of the area is little more than the peak.
        overall = output.measures['worst_mean_distance']
        return replace(output, measures={'overall_distance': overall})

    @classmethod
    def _sees(cls, settings: Mapping[str, Any]) -> str:
        return AS_IT_LIES
