# SPDX-License-Identifier: Apache-2.0
"""
A connection to the broker leaves nothing open when it has ended.

"""

import gc
import os
import threading
import weakref

import pytest

from anomaly_inspection.plant.broker_session import BrokerSession, Connected, Will
from anomaly_inspection.plant.broker_settings import BrokerSettings

pytest.importorskip('paho.mqtt.client', reason='paho-mqtt is not installed')


def sockets():
    """
    Give the sockets that this process has open.

    """
    found = []
    for number in os.listdir('/proc/self/fd'):
        try:
            found.append(os.readlink(f'/proc/self/fd/{number}'))
        except FileNotFoundError:
            continue
    return {name for name in found if name.startswith('socket:')}


@pytest.mark.parametrize('is_polite', [True, False])
def test_a_closed_session_has_no_open_sockets_before_any_collection(broker, is_polite):
    before, connected = sockets(), threading.Event()

    def tell(session, event):
        if isinstance(event, Connected):
            connected.set()

    session = BrokerSession(
        BrokerSettings(host='127.0.0.1', port=broker.port), Will('gone', b''), tell
    )
    assert connected.wait(10.0)
    assert sockets() - before
    gone = weakref.ref(session)
    gc.disable()
    try:
        session.close(is_polite=is_polite)
        del session
        assert gone() is None
        assert sockets() <= before
    finally:
        gc.enable()
