# SPDX-License-Identifier: Apache-2.0
"""
The MQTT bridge as a process that is killed, beside a broker that is killed, while parts run.

"""

import threading

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.nodes.spinning import NodeThread
from support.mosquitto import first_arrivals, restart
from support.plant_cell import PlantCell
from support.processes import Processes, wait_for

pytestmark = pytest.mark.ros

_PERIOD_S = 0.02


class RunningCell:
    """
    A cell that decides on 50 parts a second until it is told to stop.

    """

    def __init__(self, context):
        self.cell = PlantCell(context)
        self.thread = NodeThread([self.cell], 'cell', context=context)
        self.thread.start()
        self.decided = 0
        self._stop = threading.Event()
        self._decisions = threading.Thread(target=self._decide)

    def start(self):
        self._decisions.start()

    def _decide(self):
        while not self._stop.wait(_PERIOD_S):
            self.decided += 1
            self.cell.decide(self.decided)

    def stop(self):
        self._stop.set()
        if self._decisions.ident is not None:
            self._decisions.join()

    def close(self):
        self.stop()
        self.thread.stop()
        for action in self.cell.actions:
            action.destroy()
        self.cell.destroy_node()


@pytest.fixture
def cell(ros_context):
    cell = RunningCell(ros_context)
    yield cell
    cell.close()


@pytest.fixture
def processes(tmp_path, domain_id):
    running = Processes('', tmp_path)
    yield running
    running.close()


def start_bridge(processes, port):
    processes.start('mqtt_bridge', port=port, longest_retry_s=0.2)


def kill_bridge(processes):
    processes.running['mqtt_bridge'].kill()
    processes.running['mqtt_bridge'].wait()


def after(cell, parts, processes):
    """
    Wait until so many more parts were decided.

    """
    wanted = cell.decided + parts
    wait_for(lambda: cell.decided >= wanted, processes)


def test_broker_and_bridge_killed_in_turn_and_together_miss_no_decision(
    cell, processes, broker, proxy, listener
):
    start_bridge(processes, proxy.port)
    cell.start()
    wait_for(lambda: listener.sequences, processes)
    # The bridge alone: decisions come meanwhile that it catches up from the decider.
    for _ in range(2):
        kill_bridge(processes)
        after(cell, 20, processes)
        start_bridge(processes, proxy.port)
        wait_for(lambda: listener.of('state')[-1]['state'] == 'online', processes)
        after(cell, 20, processes)
    # The broker alone.
    for _ in range(2):
        restart(broker, proxy, listener)
        after(cell, 20, processes)
    # Both, the bridge while the broker is away and decisions wait on its disk.
    proxy.cut()
    after(cell, 50, processes)
    kill_bridge(processes)
    restart(broker, proxy, listener)
    after(cell, 20, processes)
    start_bridge(processes, proxy.port)
    after(cell, 20, processes)
    cell.stop()
    parts = range(1, cell.decided + 1)
    wait_for(lambda: len(set(listener.sequences)) == len(parts), processes)
    decisions = {decision['sequence']: decision for decision in listener.of('decision')}
    assert first_arrivals(listener.sequences) == list(parts)
    assert [decisions[sequence]['part']['id'] for sequence in parts] == list(parts)
    assert len({decision['stream'] for decision in decisions.values()}) == 1
    wait_for(lambda: listener.of('counts')[-1]['total'] == len(parts), processes)


def test_a_bridge_that_is_told_to_end_says_goodbye(processes, cell, broker, listener):
    start_bridge(processes, broker.port)
    wait_for(lambda: listener.of('state'), processes)
    processes.running['mqtt_bridge'].terminate()
    assert processes.running['mqtt_bridge'].wait(20) == 0
    assert listener.of('state')[-1]['state'] == 'offline'
    assert listener.of('state')[-1]['timestamp'] is not None
