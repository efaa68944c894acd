# SPDX-License-Identifier: Apache-2.0
"""
What a node that reports to the plant has heard of its cell: recipe, line stop, challenge, health.

"""

from __future__ import annotations

from collections.abc import Sequence
import math
from typing import Any, TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray

from anomaly_inspection.msg import Challenge, LineStop, RecipeInForce
from anomaly_inspection.nodes import plant_messages
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.plant.cell_status import CellStatus, Health

if TYPE_CHECKING:
    from anomaly_inspection.nodes.inspection_node import InspectionNode


class HeardCell:
    """
    Keeps the newest that was heard.

    Parameters
    ----------
    namespace : str
        Of the cell.
    views : sequence of str
        Names of the views, whose nodes are in namespaces below; empty = one camera.

    """

    def __init__(self, namespace: str, views: Sequence[str] = ()) -> None:
        self._namespace, self._views = namespace, tuple(views)
        self.recipe: RecipeInForce | None = None
        self.line_stop: LineStop | None = None
        self._health = Health()
        # By view.
        self._blocks: dict[str, str | None] = {}
        self._last_part_s = -math.inf

    def listen(self, node: InspectionNode[Any]) -> None:
        """
        Have a node take challenges and diagnostics.

        """
        node.listen_in_views(self._views, Challenge, 'challenge', self._take_challenge, LATCHED)
        node.listen(DiagnosticArray, '/diagnostics', self._take_diagnostics, EVENT)

    def take_part(self) -> None:
        """
        Note that a part was decided just now.

        """
        self._last_part_s = steady_s()

    def status(self) -> CellStatus:
        """
        Give what the state of the cell follows from.

        """
        now = steady_s()
        is_stopped = self.line_stop is not None and self.line_stop.active
        # One verdict on what several views see comes from the joiner.
        decider = 'view_joiner' if self._views else 'decider'
        return CellStatus(
            recipe=self.recipe.name if self.recipe else '',
            stop_reason=self.line_stop.reason if is_stopped and self.line_stop else None,
            block_reason=next((why for why in self._blocks.values() if why is not None), None),
            decider=decider,
            is_decider_heard=self._health.is_heard(decider, now),
            since_part_s=now - self._last_part_s,
        )

    def health(self) -> dict[str, Any]:
        """
        Give the payload of the health of the nodes.

        """
        return self._health.payload(steady_s())

    def _take_challenge(self, view: str, message: Challenge) -> None:
        reason = plant_messages.block_reason(message)
        self._blocks[view] = f'{view}: {reason}' if view and reason else reason

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        plant_messages.note_health(self._health, message, self._namespace, steady_s(), self._views)
