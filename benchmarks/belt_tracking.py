# SPDX-License-Identifier: Apache-2.0
"""
Measure where the gate opens on a belt that wanders, creeps, stands and runs back: with an encoder,
and beside it as if the belt moved at a constant speed.

`python -m benchmarks.belt_tracking` runs the sorter in a process of its own with a gate on a
topic. The simulated belt brings parts to camera and gate; the encoder says where it is 100 times a
second. Firing error: how far the part is from the place where its window should begin when the
gate opens, millimetres of belt, with all delays of messages. 2,000 parts take about ten minutes a
way.

"""

from __future__ import annotations

from dataclasses import dataclass, field
import json
from pathlib import Path
import tempfile
import threading
import time
from typing import Any, TYPE_CHECKING

import click
import numpy as np

from anomaly_inspection.capture.simulated_belt import SimulatedBelt, SimulatedBeltSettings
from benchmarks.gate_sides import gate_side
from benchmarks.gate_timing import Line, sorter_process, wait_for
from benchmarks.gate_timing_belt import BeltPart
from benchmarks.report import machine

if TYPE_CHECKING:
    from collections.abc import Sequence

SPEED_MPS, DISTANCE_M = 0.5, 0.4
WINDOW_S, DEAD_TIME_S = 0.1, 0.03
TOP_MPS = 1.5 * SPEED_MPS
CLOSEST_M = WINDOW_S * SPEED_MPS + DEAD_TIME_S * TOP_MPS
WAYS = ('encoder', 'constant_speed')
_VERDICT_AFTER_S = (0.05, 0.2)
_ENCODER_EVERY_S = 0.01


@dataclass
class Laid:
    """
    A part on the simulated belt; times since the start, seconds.

    """

    number: int
    place_m: float
    exposed_s: float
    decided_s: float
    passes: bool
    at_gate_s: float


@dataclass
class Outcome:
    """
    What came of a run.

    """

    way: str
    parts: int
    bad_through_open_gate: int
    good_through_open_gate: int
    good: int
    line_stops: list[str]
    firing_errors_mm: list[float] = field(default_factory=list)

    def error_mm(self, quantile: float) -> float:
        """
        Give a quantile of the firing error, without its sign.

        """
        errors = np.abs(self.firing_errors_mm)
        return float(np.quantile(errors, quantile)) if errors.size else float('nan')


def lay(belt: SimulatedBelt, parts: int, seed: int) -> list[Laid]:
    """
    Lay parts on the belt, six in ten good, as close as the gate can tell apart and further.

    """
    random = np.random.default_rng(seed)
    place_m, laid = 0.2, []
    for number in range(parts):
        exposed_s = belt.reaches_s(place_m)
        laid.append(
            Laid(
                number,
                place_m,
                exposed_s,
                exposed_s + random.uniform(*_VERDICT_AFTER_S),
                bool(random.uniform() < 0.6),
                belt.reaches_s(place_m + DISTANCE_M),
            )
        )
        place_m += CLOSEST_M + 0.005 + random.exponential(0.04)
    return laid


class Encoder:
    """
    Publishes where the belt is, unless it `is_silent`.

    """

    def __init__(self, context: Any, namespace: str, belt: SimulatedBelt, start_s: float) -> None:
        from rclpy.node import Node

        from anomaly_inspection.msg import BeltEncoder
        from anomaly_inspection.nodes.qos import SENSOR

        self._message = BeltEncoder
        self._node = Node('encoder', namespace=namespace, context=context)
        self._publisher = self._node.create_publisher(BeltEncoder, 'encoder', SENSOR)
        self._belt, self._start_s = belt, start_s
        self.is_silent = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._speak)
        self._thread.start()

    def position_at(self, at_s: float) -> float:
        with self._lock:
            return self._belt.position_at(at_s)

    def _speak(self) -> None:
        while not self._ended.wait(_ENCODER_EVERY_S):
            message = self._message()
            message.header.stamp = self._node.get_clock().now().to_msg()
            message.position = self.position_at(time.monotonic() - self._start_s)
            if not self.is_silent:
                self._publisher.publish(message)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._node.destroy_node()


def run(way: str, parts: int, seed: int, context: Any, folder: Path) -> Outcome:
    """
    Bring the parts past camera and gate, with the sorter tracking them in one way.

    """
    namespace, log = f'/{way}', folder / f'{way}.log'
    belt = SimulatedBelt(SimulatedBeltSettings(SPEED_MPS, seed=seed))
    laid = lay(belt, parts, seed)
    parameters = {
        'belt': way,
        'gate_distance_m': DISTANCE_M,
        'belt_speed_m_per_s': SPEED_MPS,
        'window_s': WINDOW_S,
        'dead_time_s': DEAD_TIME_S,
        'gate_timeout_s': DEAD_TIME_S,
    }
    line = Line(context, namespace)
    ended = threading.Event()
    with gate_side('topic', context, namespace) as side:
        with sorter_process(namespace, parameters | side.parameters(), log):
            wait_for(line.is_ready, 'sorter', log, 60)
            start_s = time.monotonic() + 0.5
            encoder = Encoder(context, namespace, belt, start_s)
            operator = threading.Thread(target=line.attend, args=(ended,))
            operator.start()
            try:
                _play(line, laid, start_s)
                wait_for(lambda: len(line.events) >= parts, 'last event', log, 30)
            finally:
                ended.set()
                operator.join()
                encoder.close()
                line.close()
        movements = [(when_s - start_s, is_open) for when_s, is_open in side.movements()]
    stops = [stop.reason for _, stop in line.line_stops if stop.active]
    return _outcome(way, belt, laid, movements, stops)


def _play(line: Line, laid: Sequence[Laid], start_s: float) -> None:
    """
    Announce parts and verdicts at their times.

    """
    steps = sorted(
        [(part.exposed_s, 0, part.number) for part in laid]
        + [(part.decided_s, 1, part.number) for part in laid]
    )
    for at_s, is_verdict, number in steps:
        time.sleep(max(0.0, start_s + at_s - time.monotonic()))
        part = laid[number]
        told = BeltPart(number, start_s + part.exposed_s, part.passes, start_s + part.decided_s)
        if is_verdict:
            line.decide(told)
        else:
            line.expose(told)


def _outcome(
    way: str,
    belt: SimulatedBelt,
    laid: Sequence[Laid],
    movements: Sequence[tuple[float, bool]],
    stops: list[str],
) -> Outcome:
    """
    Say what went through the open gate, and where it opened.

    """

    def is_open(at_s: float) -> bool:
        return [False, *(opened for when_s, opened in movements if when_s <= at_s)][-1]

    through = [part for part in laid if is_open(part.at_gate_s)]
    begins_m = np.array([p.place_m + DISTANCE_M - WINDOW_S * SPEED_MPS / 2 for p in laid])
    errors_mm = []
    for when_s, opened in movements:
        if opened:
            off_m = belt.position_at(when_s) - begins_m
            errors_mm.append(1e3 * float(off_m[np.argmin(np.abs(off_m))]))
    return Outcome(
        way,
        len(laid),
        sum(not part.passes for part in through),
        sum(part.passes for part in through),
        sum(part.passes for part in laid),
        stops,
        errors_mm,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """
    Write a Markdown table.

    """
    lines = [
        '| the sorter goes by | parts | bad ones through the open gate | good ones through it '
        '| firing error p50 | p99 | largest | line stops |',
        '|---|--:|--:|--:|--:|--:|--:|--:|',
    ]
    for one in outcomes:
        errors = ' | '.join(f'{one.error_mm(q):.1f} mm' for q in (0.5, 0.99, 1.0))
        lines.append(
            f'| {one.way} | {one.parts} | {one.bad_through_open_gate} of {one.parts - one.good} '
            f'| {one.good_through_open_gate} of {one.good} | {errors} | {len(one.line_stops)} |'
        )
    return '\n'.join(lines)


@click.command()
@click.option('--parts', default=2000, show_default=True)
@click.option('--seed', default=1, show_default=True, help='Of belt and parts.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, seed: int, report: Path) -> None:
    """
    Run both ways on the same belt, print the table and write belt_tracking.json.
    """
    from rclpy.context import Context

    before = machine()
    context = Context()
    context.init()
    try:
        with tempfile.TemporaryDirectory() as name:
            outcomes = [run(way, parts, seed, context, Path(name)) for way in WAYS]
    finally:
        context.shutdown()
    print(table(outcomes))
    for one in outcomes:
        for reason in dict.fromkeys(one.line_stops):
            print(f'{one.way}: {reason}')
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': before, 'seed': seed, 'ways': [vars(one) for one in outcomes]}
    (report / 'belt_tracking.json').write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
