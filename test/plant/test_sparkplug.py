# SPDX-License-Identifier: Apache-2.0
"""
The cell as an edge node of Sparkplug B, at a real broker.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip('google.protobuf', reason='protobuf is not installed')

from anomaly_inspection.errors import SettingError
from anomaly_inspection.plant.broker_settings import BrokerSettings
from anomaly_inspection.plant.sparkplug import REBIRTH, SparkplugNode
from anomaly_inspection.plant.sparkplug_payload import DataType, Metric
from anomaly_inspection.plant.topic_paths import EdgeTopics
from support.mosquitto import Listener
from support.plant_bench import wait_for
from support.sparkplug_reader import command, read
from support.tcp_proxy import TcpProxy

TOPICS = EdgeTopics('Berlin', 'cell 7')
METRICS = (
    Metric('State', DataType.STRING),
    Metric('Passed', DataType.UINT64),
    Metric('Score', DataType.DOUBLE),
)


@pytest.fixture
def start(proxy: TcpProxy) -> Iterator[Callable[[], SparkplugNode]]:
    nodes = []

    def start() -> SparkplugNode:
        broker = BrokerSettings(host='127.0.0.1', port=proxy.port, client_id='cell')
        nodes.append(SparkplugNode(broker, TOPICS, METRICS, 0.2, lambda problem: None))
        nodes[-1].start()
        return nodes[-1]

    yield start
    for node in nodes:
        node.close()


def heard(listener: Listener, *kinds: str) -> list[tuple[str, Any]]:
    """
    Give kind and content of the messages, in the order in which they came.

    """
    messages = [
        (topic.split('/')[2], payload)
        for topic, payload, _ in list(listener.messages)
        if topic.startswith('spBv1.0/Berlin/') and topic.endswith('/cell 7')
    ]
    return [(kind, read(payload)) for kind, payload in messages if kind in kinds]


def test_a_birth_names_all_metrics_and_data_follow_in_order(
    start: Callable[[], SparkplugNode], listener: Listener
) -> None:
    node = start()
    node.give({'Passed': 0, 'Score': 0.25})
    wait_for(lambda: heard(listener, 'NDATA', 'NBIRTH'))
    for number in range(1, 301):
        node.give({'Passed': number})
    wait_for(
        lambda: any(one['metrics'].get('Passed') == 300 for _, one in heard(listener, 'NDATA'))
    )
    messages = heard(listener, 'NBIRTH', 'NDATA')
    kind, birth = messages[0]
    assert kind == 'NBIRTH'
    assert birth['metrics'].keys() == {'bdSeq', REBIRTH, 'State', 'Passed', 'Score'}
    assert birth['metrics']['bdSeq'] == 0
    assert birth['metrics'][REBIRTH] is False
    assert birth['metrics']['State'] is None
    # From 255 it goes on at 0.
    assert [content['seq'] for _, content in messages] == [n % 256 for n in range(len(messages))]
    assert len(messages) > 300


def test_only_what_changes_is_sent_but_of_each_part_all(
    start: Callable[[], SparkplugNode], listener: Listener
) -> None:
    node = start()
    wait_for(lambda: heard(listener, 'NBIRTH'))
    node.give({'State': 'running', 'Passed': 1})
    node.give({'State': 'running', 'Passed': 1})
    node.give({'State': 'running', 'Passed': 2})
    node.give({'State': 'running', 'Score': None}, always=True)
    wait_for(lambda: len(heard(listener, 'NDATA')) >= 3)
    assert [content['metrics'] for _, content in heard(listener, 'NDATA')] == [
        {'State': 'running', 'Passed': 1},
        {'Passed': 2},
        {'State': 'running', 'Score': None},
    ]


def test_a_lost_connection_is_a_death_and_the_next_birth_knows_what_came_meanwhile(
    start: Callable[[], SparkplugNode], listener: Listener, proxy: TcpProxy
) -> None:
    node = start()
    wait_for(lambda: heard(listener, 'NBIRTH'))
    proxy.cut()
    wait_for(lambda: heard(listener, 'NDEATH'))
    node.give({'Passed': 7})
    proxy.open()
    wait_for(lambda: len(heard(listener, 'NBIRTH')) == 2)
    kinds = [(kind, content['metrics']['bdSeq'])
             for kind, content in heard(listener, 'NBIRTH', 'NDEATH')]  # fmt: skip
    # A death says by its number which birth it ends; attempts that failed are counted.
    assert kinds[:2] == [('NBIRTH', 0), ('NDEATH', 0)]
    assert kinds[-1][0] == 'NBIRTH'
    assert kinds[-1][1] > 0
    assert heard(listener, 'NBIRTH')[-1][1]['metrics']['Passed'] == 7
    assert heard(listener, 'NDEATH')[0][1]['seq'] is None
    assert not any(retained for topic, _, retained in listener.messages if 'spBv' in topic)


def test_a_polite_end_is_a_death_too(
    start: Callable[[], SparkplugNode], listener: Listener
) -> None:
    node = start()
    wait_for(lambda: heard(listener, 'NBIRTH'))
    node.close()
    wait_for(lambda: heard(listener, 'NDEATH'))
    assert heard(listener, 'NDEATH')[0][1]['metrics'] == {'bdSeq': 0}


def test_a_host_that_came_late_asks_for_a_birth_and_nonsense_is_ignored(
    start: Callable[[], SparkplugNode], listener: Listener
) -> None:
    node = start()
    node.give({'Passed': 5})
    wait_for(lambda: heard(listener, 'NBIRTH'))
    topic = TOPICS.topic('NCMD')
    commands = 0

    def is_born_again() -> bool:
        nonlocal commands
        # The subscription follows the connection: the first command may come before it.
        listener.publish(topic, command(REBIRTH, True))
        commands += 1
        return len(heard(listener, 'NBIRTH')) > 1

    wait_for(is_born_again)
    for payload in (b'', b'\xff\xff', command(REBIRTH, False), command('Reset', True)):
        listener.publish(topic, payload)
    node.give({'State': 'idle'})
    wait_for(lambda: any('State' in one['metrics'] for _, one in heard(listener, 'NDATA')))
    assert heard(listener, 'NBIRTH')[-1][1]['metrics']['Passed'] == 5
    assert heard(listener, 'NBIRTH')[-1][1]['seq'] == 0
    assert len(heard(listener, 'NBIRTH')) <= 1 + commands


@pytest.mark.parametrize('name', ['', 'a/b', 'a+', '#', ' a', 'a' * 65])
def test_names_that_are_no_level_of_a_topic_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match='sparkplug_group'):
        EdgeTopics(name, 'node')
    with pytest.raises(SettingError, match='sparkplug_node'):
        EdgeTopics('group', name)
