# SPDX-License-Identifier: Apache-2.0
"""
Measure when the gates ur_io, gpio and gripper open and close, against servers that behave.

The servers take no longer than messages need; the robot's controller and the mechanics come on
top. Needs ur_msgs and control_msgs. All clocks are CLOCK_MONOTONIC.

"""

from __future__ import annotations

import json
from pathlib import Path
import tempfile
import threading
import time
from typing import Any

import click

from benchmarks.gate_timing import Line, sorter_process, wait_for
from benchmarks.gate_timing_belt import belt, BeltPart, TRAVEL_S
from benchmarks.gate_timing_result import openings, percentiles
from benchmarks.report import machine, plain, RESULTS, Table

WINDOW_S, DEAD_TIME_S = 0.15, 0.15
GATES = ('ur_io', 'gpio', 'gripper')


def run(context: Any, gate: str, per_minute: int, parts: int) -> dict[str, Any]:
    """
    Let parts go by one gate, and compare the plan with what the gate did.

    """
    from benchmarks.robot_servers import GpioServer, GripperServer, UrServer

    server_type = {'ur_io': UrServer, 'gpio': GpioServer, 'gripper': GripperServer}[gate]
    namespace = f'/robot_{gate}'
    times = {'window_s': WINDOW_S, 'dead_time_s': DEAD_TIME_S, 'gate_timeout_s': DEAD_TIME_S}
    laid = belt(parts, per_minute, stalls=False, seed=1)
    server = server_type(context, namespace)
    ended = threading.Event()
    line = Line(context, namespace)
    operator = threading.Thread(target=line.attend, args=(ended,))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, 'log')
        with sorter_process(namespace, {**server_type.parameters, **times}, log):
            wait_for(line.is_ready, 'sorter', log, 60.0)
            operator.start()
            _expose(line, laid)
            end_s = time.monotonic() + 10.0
            while time.monotonic() < end_s and len(line.events) < parts:
                time.sleep(0.05)
            ended.set()
            operator.join()
    stops = [stop.reason for _, stop in line.line_stops if stop.active]
    line.close()
    server.close()
    return {'gate': gate, **_compared(laid, openings(server.moved)), 'stops': stops}


def _expose(line: Line, laid: list[BeltPart]) -> None:
    start_s = time.monotonic() + 0.5
    deeds = []
    for part in laid:
        part.exposed_s += start_s
        part.decided_s += start_s
        deeds.append((part.exposed_s, line.expose, part))
        if part.passes is not None:
            deeds.append((part.decided_s, line.decide, part))
    for due_s, deed, part in sorted(deeds, key=lambda deed: deed[0]):
        time.sleep(max(0.0, due_s - time.monotonic()))
        deed(part)


def _compared(laid: list[BeltPart], spans: list[tuple[float, float]]) -> dict[str, Any]:
    open_late_ms, close_late_ms = [], []
    good = wrong = passed = 0
    for part in laid:
        arrival_s = part.exposed_s + TRAVEL_S
        begin_s, end_s = arrival_s - WINDOW_S / 2, arrival_s + WINDOW_S / 2
        met = [span for span in spans if span[0] < end_s and span[1] > begin_s]
        has_fresh_pass = part.passes is True and part.decided_s < begin_s
        good += has_fresh_pass
        if not has_fresh_pass:
            wrong += bool(met)
        elif met and met[0][0] < arrival_s < met[0][1]:
            passed += 1
            open_late_ms.append(1e3 * (met[0][0] - begin_s))
            close_late_ms.append(1e3 * (met[0][1] - end_s))
    return {
        'good': good,
        'passed': passed,
        'bad': len(laid) - good,
        'wrong': wrong,
        'open': percentiles(open_late_ms),
        'close': percentiles(close_late_ms),
    }


@click.command()
@click.option('--parts', default=200, show_default=True, help='Number of parts of each gate.')
@click.option('--rate', default=120, show_default=True, help='Parts a minute.')
def main(parts: int, rate: int) -> None:
    """
    Measure the three gates, one after the other.

    """
    from rclpy.context import Context

    before = machine()
    context = Context()
    context.init(args=[])
    try:
        results = [run(context, gate, rate, parts) for gate in GATES]
    finally:
        context.try_shutdown()
    rows = []
    for one in results:
        shares = [one[way][which] for way in ('open', 'close') for which in ('p50', 'p99', 'max')]
        through = (f'{one["wrong"]} of {one["bad"]}', f'{one["passed"]} of {one["good"]}')
        rows.append((one['gate'], *through, *shares, len(one['stops'])))
        for reason in dict.fromkeys(one['stops']):
            print(f'{one["gate"]}: {reason}')
    columns = (
        *('gate', 'bad through the open gate', 'good through it'),
        *('open late p50, ms', 'p99', 'largest', 'closed late p50, ms', 'p99', 'largest'),
        'line stops',
    )
    table = Table(
        f'Gates of robots, {rate} parts a minute, window and dead time {WINDOW_S:g} s',
        columns,
        rows,
    )
    print(table.markdown())
    folder = RESULTS / 'robot_gates'
    folder.mkdir(parents=True, exist_ok=True)
    content = {'machine': before, 'parts a minute': rate, 'gates': results}
    (folder / 'robot_gates.json').write_text(json.dumps(plain(content), indent=2) + '\n')


if __name__ == '__main__':
    main()
