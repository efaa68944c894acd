# SPDX-License-Identifier: Apache-2.0
"""
Decisions reach a real broker at least once and in order, whatever fails.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
from pathlib import Path
from typing import Any

import pytest

from support.mosquitto import first_arrivals, Listener, Mosquitto, restart
from support.mqtt_schema import check
from support.plant_bench import decision, PATHS, PlantBench, wait_for
from support.tcp_proxy import TcpProxy


@pytest.fixture
def bench(tmp_path: Path, proxy: TcpProxy) -> Iterator[PlantBench]:
    bench = PlantBench(tmp_path, proxy.port)
    yield bench
    bench.close()


def test_each_decision_comes_with_its_number_and_as_the_schema_says(
    bench: PlantBench, listener: Listener
) -> None:
    delivery = bench.start()
    for part_id in range(1, 31):
        delivery.give_decision(decision(part_id))
    delivery.give_decision(
        decision(
            31, reason='TIMEOUT', has_passed=False, measures=(), anomaly_score=float('nan'),
            worst_measure='', exposed_ns=0, recipe_name='',
        )
    )  # fmt: skip
    wait_for(lambda: len(listener.of('decision')) == 31)
    assert listener.sequences == list(range(1, 32))
    for payload in listener.of('decision'):
        check('decision', payload)
    assert [payload['part']['id'] for payload in listener.of('decision')] == list(range(1, 32))
    assert {payload['quality'] for payload in listener.of('decision')} == {'good', 'bad'}
    assert all(payload['anomaly_score'] is not None for payload in listener.of('decision')[:30])
    assert listener.of('decision')[30]['anomaly_score'] is None
    assert listener.of('decision')[0]['timestamp'] == '2026-11-30T00:53:20.020Z'


def test_a_part_that_is_told_twice_comes_once(bench: PlantBench, listener: Listener) -> None:
    delivery = bench.start()
    for part_id in (1, 2, 1, 2, 3):
        delivery.give_decision(decision(part_id))
    wait_for(lambda: listener.of('counts') and listener.of('counts')[-1]['total'] == 3)
    bench.close()
    delivery = bench.start()
    for part_id in (1, 2, 3, 4):
        delivery.give_decision(decision(part_id))
    wait_for(lambda: len(listener.sequences) >= 4 and listener.of('counts')[-1]['total'] == 4)
    assert listener.sequences == [1, 2, 3, 4]


def test_a_broker_that_is_killed_again_and_again_misses_nothing(
    bench: PlantBench, broker: Mosquitto, proxy: TcpProxy, listener: Listener
) -> None:
    delivery = bench.start()
    for turn in range(4):
        for part_id in range(50 * turn + 1, 50 * turn + 51):
            delivery.give_decision(decision(part_id))
            if part_id == 50 * turn + 25:
                restart(broker, proxy, listener)
    wait_for(lambda: set(listener.sequences) == set(range(1, 201)))
    assert first_arrivals(listener.sequences) == list(range(1, 201))
    assert any('wait on disk' in problem for concern, problem in bench.told if concern == 'broker')
    assert bench.problems['broker'] == ''


def test_what_waits_on_disk_is_delivered_by_the_next_process(
    bench: PlantBench, proxy: TcpProxy, listener: Listener
) -> None:
    proxy.cut()
    delivery = bench.start()
    for part_id in range(1, 301):
        delivery.give_decision(decision(part_id))
    wait_for(lambda: delivery.figures.last_sequence == 300)
    bench.close()
    assert listener.sequences == []
    proxy.open()
    delivery = bench.start()
    delivery.give_decision(decision(301))
    wait_for(lambda: len(listener.sequences) >= 301)
    assert listener.sequences == list(range(1, 302))
    streams = {payload['stream'] for payload in listener.of('decision')}
    assert len(streams) == 1
    wait_for(lambda: delivery.figures.waiting == 0)
    wait_for(lambda: listener.of('counts')[-1]['total'] == 301)


def test_a_network_that_stands_still_is_given_up_and_nothing_is_missed(
    bench: PlantBench, proxy: TcpProxy, listener: Listener
) -> None:
    delivery = bench.start(confirm_timeout_s=1.0)
    delivery.give_decision(decision(1))
    wait_for(lambda: listener.sequences)
    proxy.stall()
    for part_id in range(2, 51):
        delivery.give_decision(decision(part_id))
    wait_for(lambda: 'has confirmed nothing' in bench.problems.get('broker', ''))
    proxy.open()
    wait_for(lambda: set(listener.sequences) == set(range(1, 51)))
    assert first_arrivals(listener.sequences) == list(range(1, 51))
    wait_for(lambda: delivery.figures.waiting == 0)


def test_a_full_store_drops_the_oldest_and_says_which(
    bench: PlantBench, proxy: TcpProxy, listener: Listener
) -> None:
    proxy.cut()
    delivery = bench.start(store_bytes=100_000)
    for part_id in range(1, 501):
        delivery.give_decision(decision(part_id))
    wait_for(lambda: delivery.figures.last_sequence == 500)
    lost = delivery.figures.lost
    assert 0 < lost < 500
    proxy.open()
    wait_for(lambda: listener.sequences and listener.sequences[-1] == 500)
    assert listener.sequences == list(range(lost + 1, 501))
    (told,) = listener.of('lost')
    check('lost', told)
    assert (told['count'], told['first_sequence'], told['last_sequence']) == (lost, 1, lost)
    topics = [topic.rpartition('/')[2] for topic, _, _ in listener.messages]
    assert topics.index('lost') < topics.index('decision')
    assert f'{lost:,} decisions are lost' in bench.problems['loss']
    wait_for(lambda: delivery.figures.waiting == 0)
    bench.close()
    # Told once, also to the next process.
    bench.start(store_bytes=100_000).give_decision(decision(501))
    wait_for(lambda: listener.sequences[-1] == 501)
    assert len(listener.of('lost')) == 1


def test_a_removed_store_begins_another_stream(
    bench: PlantBench, listener: Listener, tmp_path: Path
) -> None:
    bench.start().give_decision(decision(1))
    wait_for(lambda: listener.sequences == [1])
    bench.close()
    import shutil

    shutil.rmtree(tmp_path / 'store' / 'queue')
    bench.start().give_decision(decision(2))
    wait_for(lambda: listener.sequences == [1, 1])
    streams = [payload['stream'] for payload in listener.of('decision')]
    assert streams[0] != streams[1]


def test_retained_states_tell_a_late_reader_how_it_stands(
    bench: PlantBench, broker: Mosquitto, listener: Listener
) -> None:
    delivery = bench.start(commands=('reset_line',))
    delivery.give_state('cell', {'state': 'running', 'reason': ''})
    delivery.give_state('cell', {'state': 'running', 'reason': ''})
    delivery.give_decision(decision(1))
    delivery.give_decision(decision(2, known_as='bad'))
    wait_for(lambda: listener.of('counts') and listener.of('counts')[-1]['challenge_parts'] == 1)
    late = Listener(broker.port).wait_until_listening()
    wait_for(lambda: late.of('state') and late.of('cell') and late.of('counts'))
    assert all(is_retained for _, _, is_retained in late.messages)
    for name in ('state', 'cell', 'counts'):
        check(name, late.of(name)[-1])
    assert late.of('state')[-1]['state'] == 'online'
    assert late.of('state')[-1]['commands'] == ['reset_line']
    assert late.of('counts')[-1]['total'] == 1
    assert late.of('decision') == []
    # The same state is published once.
    assert len(listener.of('cell')) == 1
    late.close()


def test_offline_is_said_at_the_end_and_by_the_will(
    bench: PlantBench, proxy: TcpProxy, listener: Listener
) -> None:
    bench.start()
    wait_for(lambda: listener.of('state'))
    proxy.cut()
    wait_for(lambda: listener.of('state')[-1]['state'] == 'offline')
    check('state', listener.of('state')[-1])
    assert listener.of('state')[-1]['timestamp'] is None
    proxy.open()
    wait_for(lambda: listener.of('state')[-1]['state'] == 'online')
    bench.close()
    assert listener.of('state')[-1]['state'] == 'offline'
    assert listener.of('state')[-1]['timestamp'] is not None


class _Noted(dict[str, str]):
    """
    Notes every sentence about the store.

    """

    def __init__(self, told: list[str]) -> None:
        super().__init__()
        self._told = told

    def __setitem__(self, concern: str, problem: str) -> None:
        super().__setitem__(concern, problem)
        if concern == 'store' and problem:
            self._told.append(problem)


def test_a_disk_that_takes_nothing_holds_decisions_in_memory(
    bench: PlantBench, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomaly_inspection.disk_queue import DiskQueue
    from anomaly_inspection.errors import StateError

    append: Callable[..., Any] = DiskQueue.append
    is_full = True

    def appended(queue: DiskQueue, content: bytes) -> int:
        if is_full:
            raise StateError('cannot write: no space left on device')
        return int(append(queue, content))

    monkeypatch.setattr(DiskQueue, 'append', appended)
    delivery = bench.start()
    told: list[str] = []
    monkeypatch.setattr(bench, 'problems', _Noted(told))
    for part_id in range(1, 31):
        delivery.give_decision(decision(part_id))
    wait_for(lambda: '10 or more decisions wait in memory' in bench.problems.get('store', ''))
    # Each other sentence is a line in the log.
    assert len(set(told)) <= 3
    is_full = False
    wait_for(lambda: listener.sequences == [*range(1, 31)])
    assert bench.problems['store'] == ''


def test_commands_come_only_from_their_own_topics(bench: PlantBench, listener: Listener) -> None:
    bench.start(commands=('reset_line',))
    wait_for(lambda: listener.of('state'))
    for topic in ('command/load_recipe', 'command', 'command/reset_line/x', 'decision'):
        listener.publish(PATHS.topic(topic), json.dumps({'id': 'a'}))
    listener.publish(PATHS.topic('command/reset_line'), b'\xff')
    wait_for(lambda: bench.commands)
    assert bench.commands == [('reset_line', b'\xff', False)]
