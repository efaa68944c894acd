# SPDX-License-Identifier: Apache-2.0
"""
Broker, database, disk, recorder and MQTT bridge fail while parts run, each alone and in pairs.

`python -m benchmarks.plant_faults` runs the simulated line at 10 parts/s once for each fault and
each pair. In every run they are away for six seconds one after the other, overlapping, and then
for six seconds together. Afterwards each decision must be in the database once, and have arrived
at the broker at least once, first arrivals in order. It needs mosquitto, PostgreSQL, and the right
to mount a file system of 20 MB.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, ExitStack, suppress
from dataclasses import dataclass, field
from itertools import combinations
import json
import os
from pathlib import Path
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import click

from benchmarks.panel_process import prepare, run_command
from benchmarks.report import machine, ROOT

sys.path.append(str(ROOT / 'test'))

from support.mosquitto import first_arrivals, Listener, Mosquitto
from support.postgres import PostgresServer
from support.tcp_proxy import TcpProxy

RATE_HZ = 10
AWAY_PARTS = 60
FAULTS = ('broker', 'database', 'disk', 'recorder', 'bridge')
_NODE = 'from anomaly_inspection.nodes.{}_node import main; main()'
_NODE_OF = {'recorder': 'recorder', 'bridge': 'mqtt_bridge'}
_SETTLE_S = 120.0
_LATENCY = re.compile(r'exposure to decision +p50 ([\d.]+) ms, p99 ([\d.]+)')


@click.command()
@click.argument('cases', nargs=-1)
@click.option('--parts', default=2000, show_default=True, help='Parts of each run.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(cases: tuple[str, ...], parts: int, report: Path) -> None:
    """
    Run CASES, such as `broker` or `broker+disk`, and print the table; by default all.

    """
    all_cases = ['none', *FAULTS, *('+'.join(pair) for pair in combinations(FAULTS, 2))]
    if strangers := sorted({*cases} - {*all_cases}):
        raise click.UsageError(f'{strangers[0]} is no case; allowed: {", ".join(all_cases)}')
    # The nodes of other runs on this machine must not hear this cell.
    os.environ['ROS_DOMAIN_ID'] = str(random.randint(1, 100))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    runs = []
    with tempfile.TemporaryDirectory() as name:
        recipe, config = prepare(Path(name))
        for case in cases or all_cases:
            result = {'case': case, **_run(case, recipe, config, parts)}
            runs.append(result)
            print(json.dumps(result), flush=True)
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'rate_hz': RATE_HZ, 'parts': parts, 'runs': runs}
    (report / 'plant_faults.json').write_text(json.dumps(content, indent=2) + '\n')
    _print_table(runs)


def _print_table(runs: list[dict[str, Any]]) -> None:
    columns = (
        'decided',
        'in database',
        'twice',
        'arrived',
        'again',
        'in order',
        'p50 ms',
        'p99 ms',
    )
    print('\n' + f'{"away":<20}' + ''.join(f'{column:>12}' for column in columns))
    for run in runs:
        print(f'{run["case"]:<20}' + ''.join(f'{run[column]!s:>12}' for column in columns))


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', str(folder)]
    if subprocess.run(mount, check=False).returncode:
        raise click.ClickException('a file system of 20 MB cannot be mounted: run it as root')
    try:
        yield folder
    finally:
        subprocess.run(['umount', '--lazy', folder], check=True)


@dataclass
class _Plant:
    """
    What can fail beside the cell.

    """

    folder: Path
    disk: Path
    config: Path
    broker: Mosquitto
    proxy: TcpProxy
    listener: Listener
    postgres: PostgresServer
    database: str
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def options(self, node: str) -> dict[str, object]:
        """
        Give the parameters of a node.

        """
        if node == 'recorder':
            return {
                'folder': self.disk / 'records',
                'database': self.database,
                'least_free_mb': 0,
                'pictures_mb': 10,
                'queue_mb': 5,
                'state_folder': 'none',
            }
        return {
            'port': self.proxy.port,
            'store_folder': self.disk / 'mqtt',
            'longest_retry_s': 1.0,
            'state_folder': 'none',
        }

    def start(self, node: str) -> None:
        """
        Start the recorder or the bridge.

        """
        command = [sys.executable, '-c', _NODE.format(_NODE_OF[node]), '--ros-args']
        command += ['-r', '__ns:=/inspection', '--params-file', str(self.config)]
        for key, value in self.options(node).items():
            command += ['-p', f'{key}:={value}']
        with (self.folder / f'{node}.log').open('ab') as log:
            self.nodes[node] = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)

    def take_away(self, fault: str) -> None:
        """
        Let something fail.

        """
        if fault == 'broker':
            self.proxy.cut()
            # The broker gives what it has confirmed to the listener before it dies: a broker that
            # keeps nothing on disk would lose it, which is not what is measured.
            marker = f'marker/{len(self.listener.messages)}'
            self.listener.publish(marker, b'')
            _wait(lambda: any(one[0] == marker for one in list(self.listener.messages)), 30.0)
            self.broker.kill()
            self.listener.forget_subscription()
        elif fault == 'database':
            self.postgres.kill()
        elif fault == 'disk':
            with suppress(OSError), (self.disk / 'full').open('wb', buffering=0) as full:
                while full.write(bytes(4096)):
                    pass
        else:
            self.nodes[fault].kill()
            self.nodes[fault].wait()

    def bring_back(self, fault: str) -> None:
        """
        Let it work again.

        """
        if fault == 'broker':
            self.broker.start()
            self.listener.wait_until_listening()
            self.proxy.open()
        elif fault == 'database':
            self.postgres.start()
        elif fault == 'disk':
            (self.disk / 'full').unlink()
        else:
            self.start(fault)

    def recorded(self) -> list[int]:
        """
        Give the number of each part in the database, as often as it is there.

        """
        import sqlalchemy

        url = self.database.replace('postgresql:', 'postgresql+psycopg:')
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text('SELECT sequence FROM parts')).all()
        engine.dispose()
        return [row[0] for row in rows]


@contextmanager
def _plant(config: Path) -> Iterator[_Plant]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = stack.enter_context(_small_disk(folder / 'disk'))
        broker = Mosquitto(folder).start()
        stack.callback(broker.close)
        proxy = TcpProxy(broker.port)
        listener = Listener(broker.port).wait_until_listening()
        stack.callback(listener.close)
        postgres = PostgresServer()
        stack.callback(postgres.close)
        url = postgres.new_database('records')
        plant = _Plant(folder, disk, config, broker, proxy, listener, postgres, url)
        try:
            for node in ('recorder', 'bridge'):
                plant.start(node)
            _wait(lambda: 'records go to' in (folder / 'recorder.log').read_text(), 60.0)
            yield plant
        finally:
            for process in plant.nodes.values():
                process.kill()
                process.wait()


def _schedule(faults: list[str], parts: int) -> list[tuple[int, str, str]]:
    """
    Give after how many parts what happens to which fault.

    """
    events = []
    for place, fault in enumerate(faults):
        # First overlapping, then in the other order, and at last at once.
        for start in (parts * 15 // 100 + place * 30, parts * 45 // 100 + (1 - place) * 30):
            events += [(start, 'away', fault), (start + AWAY_PARTS, 'back', fault)]
        start = parts * 75 // 100
        events += [(start, 'away', fault), (start + AWAY_PARTS, 'back', fault)]
    return sorted(events, key=lambda event: event[0])


def _run(case: str, recipe: Path, config: Path, parts: int) -> dict[str, Any]:
    """
    Run the line once; say what became of the decisions.

    """
    faults = [] if case == 'none' else case.split('+')
    events = _schedule(faults, parts)
    figures: dict[str, Any] = {'p50 ms': None, 'p99 ms': None}
    decided = 0
    with _plant(config) as plant:
        command = run_command(recipe, config, parts, RATE_HZ)
        hands = threading.Thread(target=lambda: None)
        hands.start()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as cell:
            assert cell.stdout is not None
            for text in cell.stdout:
                if re.match(r' +\d+ line_', text):
                    decided += 1
                    while events and events[0][0] <= decided:
                        _, what, fault = events.pop(0)
                        hands.join()
                        act = plant.take_away if what == 'away' else plant.bring_back
                        hands = threading.Thread(target=act, args=(fault,))
                        hands.start()
                elif match := _LATENCY.search(text):
                    figures |= {'p50 ms': float(match[1]), 'p99 ms': float(match[2])}
        hands.join()
        with suppress(TimeoutError):
            _wait(lambda: len(set(plant.recorded())) >= decided, _SETTLE_S)
            _wait(lambda: len(set(plant.listener.sequences)) >= decided, _SETTLE_S)
        recorded, arrived = plant.recorded(), plant.listener.sequences
        logs = {node: (plant.folder / f'{node}.log').read_text()[-2000:] for node in plant.nodes}
    first = first_arrivals(arrived)
    whole = len(set(recorded)) == len(first) == decided
    return {
        'decided': decided,
        'in database': len(set(recorded)),
        'twice': len(recorded) - len(set(recorded)),
        'arrived': len(first),
        'again': len(arrived) - len(first),
        'in order': first == sorted(first),
        **figures,
        **({} if whole else {'logs': logs}),
    }


def _wait(condition: Callable[[], object], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.2)


if __name__ == '__main__':
    main()
