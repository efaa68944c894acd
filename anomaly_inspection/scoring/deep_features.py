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

from typing import Any, ClassVar, TYPE_CHECKING

from anomaly_inspection.scoring.feature_network import AS_IT_LIES
from anomaly_inspection.scoring.features import FeaturesScorer
from anomaly_inspection.scoring.scorer import Setting

if TYPE_CHECKING:
    from collections.abc import Mapping

DEEP_BACKBONE = 'efficientnet_lite0_deep'


class DeepFeaturesScorer(FeaturesScorer):
    """
    As `FeaturesScorer`, with a deep layer, and for the part as it lies in the frame.

    A part is not aligned for it, so it holds where the alignment is wrong.

    """

    name: ClassVar[str] = 'deep_features'
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

    @classmethod
    def _sees(cls, settings: Mapping[str, Any]) -> str:
        return AS_IT_LIES
