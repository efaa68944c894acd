# SPDX-License-Identifier: Apache-2.0
"""
The cell as an edge node of Sparkplug B, after the Eclipse Sparkplug specification 3.0.

It says by a birth which metrics it has, by data what changes, and by a death, which the broker
publishes for it as well, that nothing is known any more. What changes while there is no
connection is in the next birth; single decisions of that time are in the topic `decision` only.

"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import queue
import threading
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.plant.broker_session import (
    BrokerSession,
    Confirmed,
    Connected,
    Disconnected,
    Received,
    Will,
)
from anomaly_inspection.plant.sparkplug_payload import asks_for_rebirth, DataType, encoded, Metric

if TYPE_CHECKING:
    from anomaly_inspection.plant.broker_settings import BrokerSettings
    from anomaly_inspection.plant.topic_paths import EdgeTopics

REBIRTH = 'Node Control/Rebirth'
_BIRTH_SEQUENCE = 'bdSeq'
_MOST_MESSAGES = 256
_TICK_S = 0.5
_CONNECT_TIMEOUT_S = 12.0
_FIRST_RETRY_S = 0.5
_GOODBYE_S = 2.0


@dataclass(frozen=True)
class _Close:
    pass


class SparkplugNode:
    """
    The thread between the metrics of the cell and the broker.

    Parameters
    ----------
    broker : BrokerSettings
        How to reach the broker.
    topics : EdgeTopics
        Where the cell stands.
    metrics : sequence of Metric
        All that the cell has; only the values of these change later.
    most_retry_s : float
        Longest wait between two attempts to connect.
    tell : callable
        Called with a sentence when there is a problem; '' = all is well again.

    """

    def __init__(
        self,
        broker: BrokerSettings,
        topics: EdgeTopics,
        metrics: Sequence[Metric],
        most_retry_s: float,
        tell: Callable[[str], None],
    ) -> None:
        self._broker = replace(broker, client_id=f'{broker.client_id}-sparkplug')
        self._topics = topics
        self._metrics = {metric.name: metric for metric in metrics}
        self._most_retry_s = most_retry_s
        self._tell = tell
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._session: BrokerSession | None = None
        self._is_connected = False
        # Counts connections; the death of one says which birth it ends.
        self._births = -1
        self._sequence = 0
        self._retry_s, self._began_s, self._connect_at_s = _FIRST_RETRY_S, 0.0, 0.0
        self._is_closing = False
        self._goodbye: int | None = None
        self._thread = threading.Thread(target=self._run, name='sparkplug', daemon=True)

    def start(self) -> None:
        """
        Begin.

        """
        self._thread.start()

    def give(self, values: dict[str, Any], *, always: bool = False) -> None:
        """
        Have values published; returns at once.

        Parameters
        ----------
        values : dict
            By the name of the metric; None = not known.
        always : bool
            Whether values that have not changed are published as well.

        """
        self._inbox.put((values, always))

    def close(self) -> None:
        """
        Say goodbye; blocks for a few seconds at most.

        """
        self._inbox.put(_Close())
        self._thread.join()

    # The thread

    def _run(self) -> None:
        while not self._is_closing:
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: it must go on
                self._drop_connection(f'Sparkplug failed: {error!r}')
        self._say_goodbye()

    def _work(self) -> None:
        try:
            event = self._inbox.get(timeout=_TICK_S)
        except queue.Empty:
            event = None
        if isinstance(event, _Close):
            self._is_closing = True
        elif event is not None and isinstance(event[0], BrokerSession):
            if event[0] is self._session:
                self._take_news(event[1])
        elif event is not None:
            self._take_values(*event)
        self._look_after_connection()

    def _take_values(self, values: dict[str, Any], always: bool) -> None:
        new = [
            replace(self._metrics[name], value=value)
            for name, value in values.items()
            if always or self._metrics[name].value != value
        ]
        self._metrics |= {metric.name: metric for metric in new}
        if new and self._is_connected:
            self._publish('NDATA', new)

    def _take_news(self, news: Any) -> None:
        if isinstance(news, Connected):
            assert self._session is not None
            self._is_connected = True
            self._retry_s = _FIRST_RETRY_S
            self._tell('')
            self._session.subscribe([self._topics.topic('NCMD')])
            self._be_born()
        elif isinstance(news, Disconnected):
            self._drop_connection(news.reason)
        elif isinstance(news, Received):
            # An old command that the broker kept must not be obeyed.
            if not news.is_retained and asks_for_rebirth(news.payload, REBIRTH):
                self._be_born()
        elif isinstance(news, Confirmed) and news.message_id == self._goodbye:
            self._goodbye = None

    def _look_after_connection(self) -> None:
        now = time.monotonic()
        if self._session is None:
            if now >= self._connect_at_s and not self._is_closing:
                self._began_s = now
                self._births += 1
                will = Will(self._topics.topic('NDEATH'), self._death(), is_kept=False)
                self._session = BrokerSession(
                    self._broker, will, lambda session, news: self._inbox.put((session, news))
                )
        elif not self._is_connected:
            if now - self._began_s > _CONNECT_TIMEOUT_S:
                self._drop_connection(f'{self._broker.address} does not answer')
        elif self._session.has_died:
            self._drop_connection(f'the connection to {self._broker.address} broke down')

    def _drop_connection(self, reason: str) -> None:
        if self._session is not None:
            self._session.close(is_polite=False)
        self._session = None
        self._is_connected = False
        self._connect_at_s = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, self._most_retry_s)
        self._tell(f'{reason}; Sparkplug has no metrics of this cell')

    def _birth_number(self) -> Metric:
        return Metric(_BIRTH_SEQUENCE, DataType.UINT64, self._births % _MOST_MESSAGES)

    def _death(self) -> bytes:
        return encoded([self._birth_number()], _now_ms(), None)

    def _be_born(self) -> None:
        self._sequence = 0
        rebirth = Metric(REBIRTH, DataType.BOOLEAN, False)
        self._publish('NBIRTH', [self._birth_number(), rebirth, *self._metrics.values()])

    def _publish(self, kind: str, metrics: Sequence[Metric]) -> None:
        assert self._session is not None
        payload = encoded(metrics, _now_ms(), self._sequence)
        self._session.publish(self._topics.topic(kind), payload, qos=0, retain=False)
        self._sequence = (self._sequence + 1) % _MOST_MESSAGES

    def _say_goodbye(self) -> None:
        session = self._session
        if session is None:
            return
        if self._is_connected:
            # A polite end keeps the broker from publishing the death.
            self._goodbye = session.publish(
                self._topics.topic('NDEATH'), self._death(), qos=1, retain=False
            )
            end_s = time.monotonic() + _GOODBYE_S
            while self._goodbye is not None and self._is_connected and time.monotonic() < end_s:
                self._work()
        session.close(is_polite=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
