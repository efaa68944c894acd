# SPDX-License-Identifier: Apache-2.0
"""
What the MQTT bridge says for Sparkplug B: the metrics of the cell.

"""

from __future__ import annotations

from collections.abc import Callable
import math
from typing import TYPE_CHECKING

from anomaly_inspection.plant.sparkplug import SparkplugNode
from anomaly_inspection.plant.sparkplug_payload import DataType, Metric

if TYPE_CHECKING:
    from anomaly_inspection.msg import RecipeInForce
    from anomaly_inspection.plant.broker_settings import BrokerSettings
    from anomaly_inspection.plant.cell_status import CellStatus
    from anomaly_inspection.plant.part_counts import PartCounts
    from anomaly_inspection.plant.plant_decision import PlantDecision
    from anomaly_inspection.plant.topic_paths import EdgeTopics

_METRICS = (
    Metric('Cell/State', DataType.STRING),
    Metric('Cell/Reason', DataType.STRING),
    Metric('Recipe/Name', DataType.STRING),
    Metric('Recipe/Version', DataType.UINT64),
    Metric('Parts/Passed', DataType.UINT64),
    Metric('Parts/Rejected', DataType.UINT64),
    Metric('Parts/Challenge', DataType.UINT64),
    Metric('Last Part/Sequence', DataType.UINT64),
    Metric('Last Part/Decided', DataType.DATE_TIME),
    Metric('Last Part/Verdict', DataType.STRING),
    Metric('Last Part/Reason', DataType.STRING),
    Metric('Last Part/Quality', DataType.STRING),
    Metric('Last Part/Anomaly Score', DataType.DOUBLE),
    Metric('Last Part/Order', DataType.STRING),
    Metric('Last Part/Lot', DataType.STRING),
    Metric('Last Part/Serial Number', DataType.STRING),
)


class SparkplugFace:
    """
    Turns what the bridge hears into metrics.

    Parameters
    ----------
    topics : EdgeTopics
        Group and edge node.
    broker : BrokerSettings
        How to reach the broker.
    most_retry_s : float
        Longest wait between two attempts to connect.
    tell : callable
        Called with a sentence when there is a problem; '' = all is well again.

    """

    def __init__(
        self,
        topics: EdgeTopics,
        broker: BrokerSettings,
        most_retry_s: float,
        tell: Callable[[str], None],
    ) -> None:
        self._node = SparkplugNode(broker, topics, _METRICS, most_retry_s, tell)
        self._node.start()

    def close(self) -> None:
        """
        Say goodbye.

        """
        self._node.close()

    def take_decision(self, decision: PlantDecision, sequence: int, counts: PartCounts) -> None:
        """
        Publish a part.

        """
        score = decision.anomaly_score
        values = {
            'Parts/Passed': counts.passed,
            'Parts/Rejected': counts.rejected,
            'Parts/Challenge': counts.challenge_parts,
            'Last Part/Sequence': sequence,
            'Last Part/Decided': decision.decided_ns // 1_000_000,
            'Last Part/Verdict': decision.verdict,
            'Last Part/Reason': decision.reason,
            'Last Part/Quality': decision.quality.value,
            'Last Part/Anomaly Score': score if math.isfinite(score) else None,
            'Last Part/Order': decision.order or None,
            'Last Part/Lot': decision.lot or None,
            'Last Part/Serial Number': decision.serial_number or None,
        }
        self._node.give(values, always=True)

    def take_recipe(self, recipe: RecipeInForce) -> None:
        """
        Publish the recipe in force.

        """
        name = recipe.name or None
        self._node.give(
            {'Recipe/Name': name, 'Recipe/Version': int(recipe.version) if name else None}
        )

    def take_status(self, status: CellStatus) -> None:
        """
        Publish how the cell is.

        """
        payload = status.payload()
        self._node.give({'Cell/State': payload['state'], 'Cell/Reason': payload['reason']})
