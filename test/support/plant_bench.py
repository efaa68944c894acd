# SPDX-License-Identifier: Apache-2.0
"""
A delivery to a real broker through a network that can fail, without ROS.

"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import time
from typing import Any

from anomaly_inspection.plant.broker_settings import BrokerSettings
from anomaly_inspection.plant.decision_store import DecisionStore
from anomaly_inspection.plant.delivery import Delivery, DeliverySettings
from anomaly_inspection.plant.plant_decision import PlantDecision, PlantMeasure
from anomaly_inspection.plant.topic_paths import TopicPaths

PATHS = TopicPaths('site', 'area', 'line', 'cell')


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """
    Wait until a condition holds; the test fails when it never does.

    """
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, 'did not come true'
        time.sleep(0.01)


def decision(part_id: int, **changes: Any) -> PlantDecision:
    """
    Make a decision.

    """
    values: dict[str, Any] = {
        'session_id': 'session',
        'part_id': part_id,
        'has_passed': part_id % 3 > 0,
        'reason': 'WITHIN_LIMITS' if part_id % 3 else 'LIMIT_EXCEEDED',
        'exposed_ns': 1_796_000_000_000_000_000 + part_id,
        'decided_ns': 1_796_000_000_020_000_000 + part_id,
        'comparison': 'ssim.mse 41.2 <= 60.0 -> PASS',
        'anomaly_score': 0.4,
        'worst_measure': 'ssim.mse',
        'measures': (PlantMeasure('ssim.mse', 41.2, 60.0, 'gray_level^2', True, 0.4),),
        'recipe_name': 'pump',
        'recipe_version': 3,
        'recipe_hash': 'f' * 64,
        'latency_s': 0.02,
    }
    return PlantDecision(**(values | changes))


class PlantBench:
    """
    Deliveries one after the other, on the same store.

    Parameters
    ----------
    folder : Path
        For the store.
    port : int
        Of the broker, or of the proxy before it.

    """

    def __init__(self, folder: Path, port: int, **broker: Any) -> None:
        self.folder = folder / 'store'
        self.broker = BrokerSettings(
            **{'host': '127.0.0.1', 'port': port, 'client_id': 'bridge'} | broker
        )
        self.commands: list[tuple[str, bytes, bool]] = []
        self.problems: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []
        self.delivery: Delivery | None = None

    def start(
        self,
        *,
        store_bytes: int = 10_000_000,
        commands: tuple[str, ...] = (),
        confirm_timeout_s: float = 20.0,
    ) -> Delivery:
        """
        Start a delivery.

        """
        store = DecisionStore(self.folder, most_bytes=store_bytes, now_ns=time.time_ns())
        self.delivery = Delivery(
            self.broker,
            PATHS,
            store,
            DeliverySettings(0.2, confirm_timeout_s, commands),
            take_command=lambda *command: self.commands.append(command),
            tell=self._tell,
        )
        self.delivery.start()
        return self.delivery

    def close(self) -> None:
        """
        End it.

        """
        if self.delivery is not None:
            self.delivery.close()
            self.delivery = None

    def _tell(self, concern: str, problem: str) -> None:
        self.problems[concern] = problem
        self.told.append((concern, problem))
