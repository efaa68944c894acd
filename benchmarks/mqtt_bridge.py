# SPDX-License-Identifier: Apache-2.0
"""
Measure what the MQTT bridge costs: the time from exposure to decision without it, with it, and
with it while the broker is away; and the processor time and memory of its process.

`python -m benchmarks.mqtt_bridge` runs the simulated line at 10 parts/s, the cases in turn,
several times over, so that a machine that becomes busy makes all of them slower. It needs
mosquitto, a broker.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import shutil
import socket
import subprocess
import tempfile
import time

import click

from benchmarks.cost_beside import Case, compare
from benchmarks.panel_process import free_port, prepare

CHILD = 'mqtt_bridge_node'


@click.command()
@click.option('--parts', default=200, show_default=True, help='Parts of each run.')
@click.option('--rounds', default=3, show_default=True, help='Runs of each case.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, rounds: int, report: Path) -> None:
    """
    Run all cases and print the table.

    """
    with tempfile.TemporaryDirectory() as name, _broker(Path(name)) as port:
        folder = Path(name)
        # The decisions of a broker that is away must not stay on this machine.
        os.environ['ROS_HOME'] = str(folder / 'ros')
        cases = (
            Case('without the bridge'),
            Case('with the bridge', lambda: ('--mqtt', f'127.0.0.1:{port}'), CHILD),
            Case('broker away', lambda: ('--mqtt', f'127.0.0.1:{free_port()}'), CHILD),
        )
        recipe, config = prepare(folder)
        path = report / 'mqtt_bridge.json'
        compare(cases, recipe, config, parts=parts, rounds=rounds, report=path)


@contextmanager
def _broker(folder: Path) -> Iterator[int]:
    program = shutil.which('mosquitto', path=f'{os.environ["PATH"]}:/usr/sbin')
    if program is None:
        raise click.ClickException('mosquitto, an MQTT broker, is not installed')
    port = free_port()
    config = folder / 'mosquitto.conf'
    config.write_text(f'listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\n')
    with subprocess.Popen([program, '-c', str(config)]) as process:
        try:
            _wait_for_port(port)
            yield port
        finally:
            process.terminate()


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + 10.0
    while True:
        try:
            socket.create_connection(('127.0.0.1', port), 1.0).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


if __name__ == '__main__':
    main()
