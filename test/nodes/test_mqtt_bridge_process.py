# SPDX-License-Identifier: Apache-2.0
"""
The MQTT bridge as a process that is killed, beside a broker that is killed, while parts run.

"""

import subprocess
import sys
import threading

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.cli.run import _mqtt_bridge
from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.spinning import NodeThread
from support.mosquitto import first_arrivals, Listener, restart
from support.mqtt_schema import check
from support.plant_cell import PlantCell
from support.processes import PARAMETER_FILE, Processes, wait_for
from support.small_recipe import SMALL_LINE

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


def run_command(recipe, mqtt):
    return subprocess.run(
        [
            *(sys.executable, '-m', 'anomaly_inspection.cli', 'run', f'--recipe={recipe}'),
            *(f'--source={SMALL_LINE},parts=5,seed=1', f'--mqtt={mqtt}'),
        ],
        cwd=PARAMETER_FILE.parents[1],
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_run_tells_the_broker_every_part_and_ends_well(taught_recipe, domain_id, broker):
    listener = Listener(broker.port).wait_until_listening()
    outcome = run_command(taught_recipe, f'127.0.0.1:{broker.port}')
    # On a busy machine the gate of the run may be late; the plant hears of every part.
    assert 'lost parts            0' in outcome.stdout, outcome.stdout + outcome.stderr
    assert listener.sequences == [1, 2, 3, 4, 5]
    for decision in listener.of('decision'):
        check('decision', decision)
        assert decision['measures']
    assert listener.of('recipe')[-1]['name'] == 'small'
    assert listener.of('state')[-1]['state'] == 'offline'
    listener.close()


@pytest.mark.parametrize('mqtt', ['', 'a b', 'host:0', 'host:65536', 'host:x', "a'b", '::1'])
def test_an_address_that_is_none_is_refused(mqtt):
    with pytest.raises(SettingError, match='is refused: allowed is HOST or HOST:PORT'):
        _mqtt_bridge(mqtt, PARAMETER_FILE)
