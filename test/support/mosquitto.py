# SPDX-License-Identifier: Apache-2.0
"""
A real MQTT broker on a free port, and a client that hears what comes.

"""

from __future__ import annotations

from contextlib import closing
import json
from pathlib import Path
import shutil
import socket
import subprocess
import threading
import time
from typing import Any, TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.tcp_proxy import TcpProxy

_START_TIMEOUT_S = 20.0


def find_mosquitto() -> str:
    """
    Give the program; the test is skipped where there is none.

    """
    found = shutil.which('mosquitto') or shutil.which(
        'mosquitto', path='/usr/sbin:/usr/local/sbin'
    )
    if found is None:
        pytest.skip('mosquitto, an MQTT broker, is not installed: apt install mosquitto')
    pytest.importorskip('paho.mqtt.client', reason='paho-mqtt is not installed')
    return found


def free_port() -> int:
    """
    Give a TCP port that is free now.

    """
    with closing(socket.socket()) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """
    A broker that can be killed and started anew on the same port.

    Parameters
    ----------
    folder : Path
        For its configuration.
    extra : str
        More lines of its configuration.

    """

    def __init__(self, folder: Path, extra: str = 'allow_anonymous true') -> None:
        self._program = find_mosquitto()
        self.port = free_port()
        self._config = folder / 'mosquitto.conf'
        self._config.write_text(
            f'listener {self.port} 127.0.0.1\nuser root\npersistence false\n{extra}\n'
        )
        self._log = open(folder / 'mosquitto.log', 'wb')  # noqa: SIM115 - lives with the process
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        """
        Start it, and wait until it answers.

        """
        self._process = subprocess.Popen(
            [self._program, '-c', str(self._config)], stdout=self._log, stderr=self._log
        )
        end = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1.0).close()
            except OSError:
                assert self._process.poll() is None, Path(self._log.name).read_text()
                assert time.monotonic() < end, 'mosquitto does not answer'
                time.sleep(0.02)
            else:
                return self

    def kill(self) -> None:
        """
        Kill it.

        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """
        Kill it and let go of its log.

        """
        self.kill()
        self._log.close()


class Listener:
    """
    A client that keeps every message, and connects again by itself.

    Parameters
    ----------
    port : int
        Of the broker.
    topics : str
        What it subscribes to.
    setup : callable
        Called with paho's client before it connects.

    """

    def __init__(self, port: int, topics: str = '#', setup: Any = lambda client: None) -> None:
        import paho.mqtt.client as mqtt

        options: dict[str, Any] = {'client_id': f'listener_{id(self)}', 'clean_session': False}
        if hasattr(mqtt, 'CallbackAPIVersion'):
            options['callback_api_version'] = mqtt.CallbackAPIVersion.VERSION2
        #: (topic, payload as bytes, is retained) in the order in which they came.
        self.messages: list[tuple[str, bytes, bool]] = []
        self._subscribed = threading.Event()
        self.client = mqtt.Client(**options)
        self.client.reconnect_delay_set(0.05, 0.2)
        self.client.on_connect = lambda client, *_: client.subscribe(topics, 1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._take
        setup(self.client)
        self.client.connect_async('127.0.0.1', port, 30)
        self.client.loop_start()

    def wait_until_listening(self) -> Listener:
        """
        Wait until the broker has taken the subscription.

        """
        assert self._subscribed.wait(_START_TIMEOUT_S)
        return self

    def forget_subscription(self) -> None:
        """
        Make `wait_until_listening` wait for the next subscription.

        """
        self._subscribed.clear()

    def _take(self, client: Any, _: Any, message: Any) -> None:
        self.messages.append((message.topic, bytes(message.payload), bool(message.retain)))

    def of(self, ending: str) -> list[dict[str, Any]]:
        """
        Give the payloads of a topic, named by its end.

        """
        return [
            json.loads(payload)
            for topic, payload, _ in list(self.messages)
            if topic.endswith(f'/{ending}') and payload
        ]

    @property
    def sequences(self) -> list[int]:
        """
        The numbers of the decisions, in the order in which they came.

        """
        return [decision['sequence'] for decision in self.of('decision')]

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """
        Send a message, and wait until the broker has it.

        """
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10.0)

    def close(self) -> None:
        """
        Say goodbye.

        """
        self.client.disconnect()
        self.client.loop_stop()
        # paho closes its last sockets when the client is gone: nothing may hold on to it.
        self.client.on_message = self.client.on_subscribe = None


def first_arrivals(sequences: list[int]) -> list[int]:
    """
    Give each number once, in the order in which it came first.

    """
    return list(dict.fromkeys(sequences))


def restart(broker: Mosquitto, proxy: TcpProxy, listener: Listener) -> None:
    """
    Kill the broker and start it anew; the listener is there before the bridge.

    The bridge sees a connection that breaks at any moment, and a broker that is away. What the
    broker has confirmed reaches the listener before it dies, so that a test can count.

    """
    proxy.cut()
    marker = f'marker/{len(listener.messages)}'
    listener.publish(marker, b'')
    end = time.monotonic() + _START_TIMEOUT_S
    while not any(topic == marker for topic, _, _ in list(listener.messages)):
        assert time.monotonic() < end, 'the broker does not forward'
        time.sleep(0.01)
    broker.kill()
    listener.forget_subscription()
    broker.start()
    listener.wait_until_listening()
    proxy.open()
