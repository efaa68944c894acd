# SPDX-License-Identifier: Apache-2.0
"""
Brings decisions, states and answers to the broker; one thread does all of it.

Decisions go through the store: at least once and in order. A batch is sent, and when the broker
has confirmed all of it, it is acknowledged and the next one follows. States are retained: the
newest of each topic is sent, all of them after every connection. Answers and other short-lived
messages are sent while there is a connection, and dropped when there is none.

"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
import math
import queue
import threading
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import StateError
from anomaly_inspection.plant.broker_session import (
    BrokerSession,
    Confirmed,
    Connected,
    Disconnected,
    Received,
    SessionEvent,
    Will,
)
from anomaly_inspection.plant.payloads import lost_payload, PAYLOAD_FORMAT, to_json, utc_text
from anomaly_inspection.plant.plant_decision import PlantDecision

if TYPE_CHECKING:
    from anomaly_inspection.plant.broker_settings import BrokerSettings
    from anomaly_inspection.plant.decision_store import DecisionStore
    from anomaly_inspection.plant.part_counts import PartCounts
    from anomaly_inspection.plant.topic_paths import TopicPaths

ONLINE, OFFLINE = 'online', 'offline'
_BATCH = 100
# So many decisions wait in memory while the disk takes none.
_MOST_IN_MEMORY = 10_000
_MOST_SHORT_LIVED = 100
_TICK_S = 0.5
_COUNTS_EVERY_S = 1.0
_CONNECT_TIMEOUT_S = 12.0
_FIRST_RETRY_S = 0.5
_GOODBYE_S = 2.0


@dataclass(frozen=True)
class DeliverySettings:
    """
    How the delivery behaves.

    Parameters
    ----------
    most_retry_s : float
        Longest wait between two attempts to connect; the first ones come sooner.
    confirm_timeout_s : float
        A broker that confirms nothing for so long is given up, and connected anew.
    commands : tuple of str
        Commands that are listened for.

    """

    most_retry_s: float = 30.0
    confirm_timeout_s: float = 20.0
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeliveryFigures:
    """
    What diagnostics show.

    """

    is_connected: bool
    waiting: int
    delivered: int
    lost: int
    last_sequence: int


@dataclass(frozen=True)
class _Close:
    pass


@dataclass(frozen=True)
class _State:
    name: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class _ShortLived:
    topic: str
    payload: bytes
    qos: int


class Delivery:
    """
    The thread between the cell and the broker.

    Parameters
    ----------
    broker : BrokerSettings
        How to reach the broker.
    paths : TopicPaths
        Topics of the cell.
    store : DecisionStore
        Used by this thread alone from now on, and closed by it.
    settings : DeliverySettings
        How it behaves.
    take_command : callable
        Called with the command, the payload and whether it was retained; must return at once.
    tell : callable
        Called with a concern ('broker', 'store', 'loss') and a sentence; '' = all is well again.
    stored : callable
        Called with each decision that was taken for the first time.

    """

    def __init__(
        self,
        broker: BrokerSettings,
        paths: TopicPaths,
        store: DecisionStore,
        settings: DeliverySettings,
        *,
        take_command: Callable[[str, bytes, bool], None],
        tell: Callable[[str, str], None],
        stored: Callable[[PlantDecision], None] = lambda decision: None,
    ) -> None:
        self._broker, self._paths, self._store = broker, paths, store
        self._settings = settings
        self._take_command, self._tell, self._stored = take_command, tell, stored
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._session: BrokerSession | None = None
        self._is_connected = False
        self._began_s = 0.0
        self._retry_s = _FIRST_RETRY_S
        self._connect_at_s = 0.0
        self._unstored: deque[PlantDecision] = deque()
        self._dropped_in_memory = 0
        self._states: dict[str, dict[str, Any]] = {}
        self._unsent_states: set[str] = set()
        self._short_lived: deque[_ShortLived] = deque(maxlen=_MOST_SHORT_LIVED)
        # What the broker has not confirmed: by message id the number of the decision; and the
        # numbers of the whole batch.
        self._under_way: dict[int, int] = {}
        self._batch: list[int] = []
        self._batch_lost: tuple[int, int] | None = None
        self._confirmed_s = 0.0
        self._counts_due_s = 0.0
        self._are_counts_new = True
        self._delivered = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name='mqtt delivery', daemon=True)

    def start(self) -> None:
        """
        Begin.

        """
        self._thread.start()

    def close(self) -> None:
        """
        Say goodbye to the broker and close the store; blocks for a few seconds at most.

        """
        self._inbox.put(_Close())
        self._thread.join()

    def give_decision(self, decision: PlantDecision) -> None:
        """
        Have a decision delivered; returns at once.

        """
        self._inbox.put(decision)

    def give_state(self, name: str, payload: dict[str, Any]) -> None:
        """
        Have a retained state published, when it differs from the last one; returns at once.

        Parameters
        ----------
        name : str
            Its topic below the cell.
        payload : dict
            Without format and timestamp, which are added.

        """
        self._inbox.put(_State(name, payload))

    def give_message(self, topic: str, payload: bytes, *, qos: int = 1) -> None:
        """
        Have a message published now or never; returns at once.

        """
        self._inbox.put(_ShortLived(topic, payload, qos))

    @property
    def figures(self) -> DeliveryFigures:
        """
        How it stands.

        """
        return DeliveryFigures(
            self._is_connected,
            self._store.waiting + len(self._unstored),
            self._delivered,
            self._store.lost + self._dropped_in_memory,
            self._store.last_sequence,
        )

    @property
    def counts(self) -> PartCounts:
        """
        The totals that never reset; for `stored`, on the thread that calls it.

        """
        return self._store.counts

    # The thread

    def _run(self) -> None:
        while not self._is_closing:
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - the edge of this thread: it must go on
                self._drop_connection(f'the delivery failed: {error!r}')
        self._say_goodbye()
        self._put_into_store()
        self._store.close()

    def _work(self) -> None:
        for event in self._next_events():
            self._take(event)
        self._put_into_store()
        self._look_after_connection()
        self._send()

    def _next_events(self) -> list[Any]:
        events = []
        try:
            events.append(self._inbox.get(timeout=_TICK_S))
            while len(events) < _BATCH:
                events.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return events

    def _take(self, event: Any) -> None:
        if isinstance(event, PlantDecision):
            self._unstored.append(event)
        elif isinstance(event, _State):
            if self._states.get(event.name) != event.payload:
                self._states[event.name] = event.payload
                self._unsent_states.add(event.name)
        elif isinstance(event, _ShortLived):
            if self._is_connected:
                self._short_lived.append(event)
        elif isinstance(event, _Close):
            self._is_closing = True
        else:
            session, news = event
            if session is self._session:
                self._take_news(news)

    # Decisions into the store

    def _put_into_store(self) -> None:
        has_new = False
        while self._unstored:
            try:
                if self._store.add(self._unstored[0]):
                    has_new = True
                    self._are_counts_new = True
                    self._stored(self._unstored[0])
            except StateError as error:
                self._keep_in_memory(str(error))
                return
            self._unstored.popleft()
        if not has_new:
            return
        try:
            self._store.sync()
        except StateError as error:
            self._tell('store', str(error))
            return
        self._tell('store', self._store.problem)

    def _keep_in_memory(self, problem: str) -> None:
        while len(self._unstored) > _MOST_IN_MEMORY:
            self._unstored.popleft()
            self._dropped_in_memory += 1
        dropped = f', {_at_least(self._dropped_in_memory)} are lost'
        self._tell(
            'store',
            f'{problem}; {_at_least(len(self._unstored))} decisions wait in memory'
            f'{dropped if self._dropped_in_memory else ""}',
        )

    # The connection

    def _take_news(self, news: SessionEvent) -> None:
        if isinstance(news, Connected):
            self._connected()
        elif isinstance(news, Disconnected):
            self._drop_connection(news.reason)
        elif isinstance(news, Confirmed):
            self._confirmed(news.message_id)
        else:
            self._received(news)

    def _look_after_connection(self) -> None:
        now = time.monotonic()
        if self._session is None:
            if now >= self._connect_at_s:
                self._began_s = now
                self._session = BrokerSession(self._broker, self._will(), self._put)
            return
        if not self._is_connected:
            if now - self._began_s > _CONNECT_TIMEOUT_S:
                self._drop_connection(f'{self._broker.address} does not answer')
            return
        silence_s = now - self._confirmed_s
        if self._session.has_died:
            self._drop_connection(f'the connection to {self._broker.address} broke down')
        elif self._under_way and silence_s > self._settings.confirm_timeout_s:
            self._drop_connection(
                f'{self._broker.address} has confirmed nothing for {silence_s:.0f} s'
            )

    def _put(self, session: BrokerSession, news: SessionEvent) -> None:
        self._inbox.put((session, news))

    def _connected(self) -> None:
        assert self._session is not None
        self._is_connected = True
        self._retry_s = _FIRST_RETRY_S
        self._tell('broker', '')
        self._session.subscribe(
            [self._paths.topic(f'command/{name}') for name in self._settings.commands]
        )
        self._publish_state('state', self._own_state(ONLINE))
        self._unsent_states = set(self._states)
        self._are_counts_new = True

    def _drop_connection(self, reason: str) -> None:
        if self._session is not None:
            self._session.close(is_polite=False)
        self._session = None
        self._acknowledge_confirmed()
        self._under_way.clear()
        self._batch = []
        self._batch_lost = None
        self._short_lived.clear()
        self._is_connected = False
        self._connect_at_s = time.monotonic() + self._retry_s
        self._retry_s = min(2 * self._retry_s, self._settings.most_retry_s)
        self._tell('broker', f'{reason}; decisions wait on disk')

    def _own_state(self, state: str) -> dict[str, Any]:
        return {'state': state, 'commands': list(self._settings.commands)}

    def _will(self) -> Will:
        # Nobody knows now when it will be published.
        payload = {'format': PAYLOAD_FORMAT, 'timestamp': None, **self._own_state(OFFLINE)}
        return Will(self._paths.topic('state'), to_json(payload))

    def _received(self, message: Received) -> None:
        command = self._paths.name_of(message.topic).removeprefix('command/')
        if command in self._settings.commands:
            self._take_command(command, message.payload, message.is_retained)

    def _say_goodbye(self) -> None:
        session = self._session
        if session is None:
            return
        end_s = time.monotonic() + _GOODBYE_S
        while self._is_connected and self._store.waiting and time.monotonic() < end_s:
            self._work()
        if self._is_connected:
            offline = self._publish_state('state', self._own_state(OFFLINE))
            while self._is_connected and time.monotonic() < end_s:
                for event in self._next_events():
                    if event == (session, Confirmed(offline)):
                        end_s = -math.inf
                    self._take(event)
            self._acknowledge_confirmed()
        session.close(is_polite=True)

    # Sending

    def _send(self) -> None:
        if not self._is_connected:
            return
        assert self._session is not None
        for name in sorted(self._unsent_states):
            self._publish_state(name, self._states[name])
        self._unsent_states.clear()
        while self._short_lived:
            message = self._short_lived.popleft()
            self._session.publish(message.topic, message.payload, qos=message.qos, retain=False)
        now = time.monotonic()
        if self._are_counts_new and now >= self._counts_due_s:
            self._counts_due_s, self._are_counts_new = now + _COUNTS_EVERY_S, False
            self._session.publish(
                self._paths.topic('counts'),
                to_json(self._store.counts.payload(time.time_ns())),
                qos=1,
                retain=True,
            )
        if not self._under_way:
            self._send_batch()

    def _send_batch(self) -> None:
        assert self._session is not None
        if not self._store.waiting:
            return
        try:
            batch = self._store.batch(_BATCH)
        except StateError as error:
            self._tell('store', str(error))
            return
        if not batch:
            return
        self._confirmed_s = time.monotonic()
        lost = self._store.untold_lost(batch[0].sequence)
        if lost is not None:
            payload = lost_payload(
                self._store.stream,
                lost.count,
                lost.first_sequence,
                lost.last_sequence,
                time.time_ns(),
            )
            message_id = self._session.publish(
                self._paths.topic('lost'), to_json(payload), qos=1, retain=False
            )
            # Before the batch: its number acknowledges nothing.
            self._under_way[message_id] = 0
            self._batch_lost = message_id, lost.count
            self._tell(
                'loss',
                f'{lost.count:,} decisions are lost for the plant, because the store was full: '
                f'numbers {lost.first_sequence} to {lost.last_sequence}',
            )
        for decision in batch:
            message_id = self._session.publish(
                self._paths.topic('decision'), decision.payload, qos=1, retain=False
            )
            self._under_way[message_id] = decision.sequence
        self._batch = [decision.sequence for decision in batch]

    def _confirmed(self, message_id: int) -> None:
        sequence = self._under_way.pop(message_id, None)
        if sequence is None:
            return
        self._confirmed_s = time.monotonic()
        if self._batch_lost is not None and self._batch_lost[0] == message_id:
            self._store.lost_is_told(self._batch_lost[1])
            self._batch_lost = None
        self._delivered += sequence > 0
        if not self._under_way:
            self._acknowledge_confirmed()

    def _acknowledge_confirmed(self) -> None:
        """
        Forget the decisions before the first one that is not confirmed.

        """
        outstanding = set(self._under_way.values())
        confirmed = 0
        for sequence in self._batch:
            if sequence in outstanding:
                break
            confirmed = sequence
        if not confirmed:
            return
        try:
            self._store.acknowledge(confirmed)
        except StateError as error:
            self._tell('store', str(error))

    def _publish_state(self, name: str, payload: dict[str, Any]) -> int:
        assert self._session is not None
        whole = {'format': PAYLOAD_FORMAT, 'timestamp': utc_text(time.time_ns()), **payload}
        return self._session.publish(self._paths.topic(name), to_json(whole), qos=1, retain=True)


def _at_least(count: int) -> str:
    """
    Give a count in words that seldom change: each change is a line in the log.

    """
    return f'{10 ** (len(str(count)) - 1):,} or more'
