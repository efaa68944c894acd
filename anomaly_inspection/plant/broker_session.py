# SPDX-License-Identifier: Apache-2.0
"""
One connection to the broker, from its beginning to its end; the face of paho-mqtt, 2 and 1.6.

A new connection gets a new paho client. paho would send what is under way again by itself, in an
order that depends on its threads; here the sender alone knows what comes next.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import socket
import threading
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import BrokerError, InspectionError
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.plant.broker_settings import BrokerSettings

_CONNECT_TIMEOUT_S = 5.0
# As MQTT 3.1.1 numbers them, and as paho 2 does.
_REFUSALS = {
    1: 'it does not speak MQTT 3.1.1',
    2: 'it refuses the client id',
    3: 'it is not available',
    4: 'user name or password is wrong',
    # mosquitto says so for a wrong password as well.
    5: 'user name or password is wrong, or this client is not authorised',
    132: 'it does not speak MQTT 3.1.1',
    133: 'it refuses the client id',
    134: 'user name or password is wrong',
    135: 'user name or password is wrong, or this client is not authorised',
    136: 'it is not available',
}


@dataclass(frozen=True)
class Connected:
    """
    The broker has accepted the connection.

    """


@dataclass(frozen=True)
class Disconnected:
    """
    The connection has ended, or could not be made.

    """

    reason: str


@dataclass(frozen=True)
class Confirmed:
    """
    The broker has a message.

    """

    message_id: int


@dataclass(frozen=True)
class Received:
    """
    A message came.

    """

    topic: str
    payload: bytes
    is_retained: bool


SessionEvent = Connected | Disconnected | Confirmed | Received


@dataclass(frozen=True)
class Will:
    """
    What the broker publishes when it loses this client.

    """

    topic: str
    payload: bytes
    #: Whether the broker keeps it for clients that come later.
    is_kept: bool = True


class BrokerSession:
    """
    Connects at once, on a thread of its own; every event is told from some thread.

    Parameters
    ----------
    settings : BrokerSettings
        How to reach the broker; its files are read anew.
    will : Will
        The last will.
    tell : callable
        Called with this session and each event; must return at once. `Disconnected` is the last.

    """

    def __init__(
        self,
        settings: BrokerSettings,
        will: Will,
        tell: Callable[[BrokerSession, SessionEvent], None],
    ) -> None:
        self._settings = settings
        self._will = will
        self._tell = tell
        self._client: Any = None
        self._is_closed = threading.Event()
        self._has_ended = False
        self._lock = threading.Lock()
        threading.Thread(target=self._connect, name='mqtt connect', daemon=True).start()

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> int:
        """
        Send a message; gives the id that `Confirmed` will name. Only while connected.

        """
        return int(self._client.publish(topic, payload, qos=qos, retain=retain).mid)

    def subscribe(self, topics: list[str]) -> None:
        """
        Ask for messages.

        """
        if topics:
            self._client.subscribe([(topic, 1) for topic in topics])

    def close(self, *, is_polite: bool) -> None:
        """
        End the connection; tells nothing more.

        Parameters
        ----------
        is_polite : bool
            Whether to say goodbye: then the broker does not publish the will.

        """
        with self._lock:
            self._is_closed.set()
            client, self._client = self._client, None
        if client is None:
            return
        if is_polite:
            client.disconnect()
        elif (connection := client.socket()) is not None:
            # A goodbye could wait for a network that stands still.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        client.loop_stop()
        _let_go(client)

    @property
    def has_died(self) -> bool:
        """
        Whether paho's thread has ended without a word, as it does when a broker talks nonsense.

        """
        thread = getattr(self._client, '_thread', None)
        return thread is not None and not thread.is_alive()

    def _connect(self) -> None:
        try:
            client = self._made_client()
            client.connect(
                self._settings.host, self._settings.port_used, self._settings.keep_alive_s
            )
        except InspectionError as error:
            self._end(str(error))
            return
        except (OSError, ValueError) as error:
            # A failing handshake of TLS and a name that nobody knows are such as well.
            cause = getattr(error, 'verify_message', '') or getattr(error, 'strerror', '') or error
            self._end(f'cannot connect to {self._settings.address}: {cause}')
            return
        with self._lock:
            if not self._is_closed.is_set():
                self._client = client
                client.loop_start()
                return
        client.disconnect()
        _let_go(client)

    def _made_client(self) -> Any:
        try:
            import paho.mqtt.client as mqtt
        except ImportError as error:
            raise BrokerError(f'paho-mqtt is not installed: {error}') from error
        options: dict[str, Any] = {
            'client_id': self._settings.client_id,
            'clean_session': True,
            'protocol': mqtt.MQTTv311,
            'reconnect_on_failure': False,
        }
        if hasattr(mqtt, 'CallbackAPIVersion'):
            options['callback_api_version'] = mqtt.CallbackAPIVersion.VERSION2
        client = mqtt.Client(**options)
        # In 1.6 there is no public name for it.
        client._connect_timeout = _CONNECT_TIMEOUT_S
        # The sender has a window of its own; paho must not hold anything back.
        client.max_inflight_messages_set(65535)
        will = self._will
        client.will_set(will.topic, will.payload, qos=1, retain=will.is_kept)
        context = self._settings.tls_context()
        if context is not None:
            client.tls_set_context(context)
        credentials = self._settings.credentials()
        if credentials is not None:
            client.username_pw_set(credentials.user, credentials.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    # paho's callbacks, on its thread; the two versions differ in how many arguments follow

    def _on_connect(self, client: Any, _: Any, flags: Any, reason: Any, *rest: Any) -> None:
        code = int(getattr(reason, 'value', reason))
        if code == 0:
            self._say(Connected())
            return
        refusal = _REFUSALS.get(code, f'reason {code}')
        self._end(f'{self._settings.address} refuses the connection: {refusal}')

    def _on_disconnect(self, client: Any, _: Any, *rest: Any) -> None:
        self._end(f'the connection to {self._settings.address} is lost')

    def _on_publish(self, client: Any, _: Any, message_id: int, *rest: Any) -> None:
        self._say(Confirmed(message_id))

    def _on_message(self, client: Any, _: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._say(Received(topic, bytes(message.payload), bool(message.retain)))

    def _end(self, reason: str) -> None:
        with self._lock:
            if self._has_ended:
                return
            self._has_ended = True
        self._say(Disconnected(printable(reason)))

    def _say(self, event: SessionEvent) -> None:
        if not self._is_closed.is_set():
            self._tell(self, event)


def _let_go(client: Any) -> None:
    # paho closes its last sockets when the client is gone: nothing may hold on to it, not even
    # the client itself by way of its callbacks.
    client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
