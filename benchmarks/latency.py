# SPDX-License-Identifier: Apache-2.0
"""
Measure the time from exposure to decision, and how exactly the gate fires.

The cell inspects images of the simulated line at 30 frames a second, once in one process and once
with every node in a process of its own. For comparison, `naive_node` (scikit-image in the image
callback, default middleware) sees the same frames. Then the scorer is frozen for five seconds
while the line goes on: every part must be rejected on time.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
import math
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import click
import cv2
import numpy as np
import yaml

from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.learning.teach import teach
from anomaly_inspection.recipes.folder import write_recipe
from benchmarks.charts import share_curves
from benchmarks.naive_node import LATENCY
from benchmarks.report import machine, publish, ROOT, Table

RATE_HZ = 30.0
SIZES = ((640, 480), (1280, 960))
COLOURS = ('mono', 'colour')
TAUGHT_PARTS, DISTINCT_PARTS = 20, 60
DEADLINE_S, TRAVEL_S = 0.5, 0.8
HANG_S = 5.0
# Caches, memory pools and DDS discovery settle in the first second, so it is counted but not
# timed.
SETTLING_PARTS = 30
# A decision by time-out may come this much after the deadline and still be in time for any gate.
ON_TIME_S = 0.05
# Domains of `in_cell.sh`; the tests use those below.
DOMAINS = range(81, 101)

CELL = {
    '/**/camera': {'mode': 'free_run', 'rate_hz': RATE_HZ},
    '/**/scorer': {'max_age_s': 1.0},
    '/**/decider': {'mode': 'belt', 'deadline_s': DEADLINE_S, 'timeouts_to_fault': 1000},
    '/**/sorter': {
        'gate': 'simulated',
        'gate_distance_m': 0.5 * TRAVEL_S,
        'belt_speed_m_per_s': 0.5,
        # Together less than the 33 ms between two parts.
        'window_s': 0.016,
        'dead_time_s': 0.01,
    },
}
ONE_PROCESS, PROCESSES, NAIVE = 'one process', 'separate processes', 'naive'
HANGING = 'scorer hangs 5 s'


@dataclass(frozen=True)
class Product:
    """
    The product under inspection: a taught recipe, and a folder of frames that it has not seen.

    Parameters
    ----------
    name : str
        Size and colour.
    recipe, frames : Path
        Folders.
    reference : Path
        One good part, for the naive way.

    """

    name: str
    recipe: Path
    frames: Path
    reference: Path


@dataclass
class Observed:
    """
    The observations of one run.

    Parameters
    ----------
    way : str
        How it ran.
    product : str
        What it inspected.
    parts : int
        How many the camera announced.
    lost : int
        Number of parts that were not judged by their frame.
    latency_s : list of float
        From exposure to decision, frames that were judged.
    firing_error_s : list of float
        How late the gate acted, parts that passed.
    not_followed : int
        Parts without a confirmed movement of the gate as decided.
    gate_reasons : Counter of str
        The sorter's reasons for these.
    timeout_error_s : list of float
        How long after the deadline a decision by time-out came.

    """

    way: str
    product: str
    parts: int = 0
    lost: int = 0
    latency_s: list[float] = field(default_factory=list)
    firing_error_s: list[float] = field(default_factory=list)
    not_followed: int = 0
    gate_reasons: Counter[str] = field(default_factory=Counter)
    timeout_error_s: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """
        Summarise.

        """
        return {
            'product': self.product,
            'way': self.way,
            'parts': self.parts,
            'lost': self.lost,
            'latency_ms': _percentiles_ms(self.latency_s),
            'firing_error_ms': _percentiles_ms(map(abs, self.firing_error_s)),
            'gate_not_followed': self.not_followed,
            'gate_reasons': dict(self.gate_reasons),
            'timeouts': len(self.timeout_error_s),
            'timeout_error_ms': _percentiles_ms(self.timeout_error_s),
            'timeouts_late': sum(error > ON_TIME_S for error in self.timeout_error_s),
        }


def _without_numbers(sentence: str) -> str:
    # The session id differs in every run.
    return re.sub(r'-?\d[\d.]*', 'N', re.sub(r' of \d+T\d+Z-\w+', '', sentence))


def _percentiles_ms(values_s: Any) -> dict[str, float]:
    values = [1e3 * value for value in values_s if math.isfinite(value)]
    return {
        f'p{percent}': float(np.percentile(values, percent)) if values else math.nan
        for percent in (50, 99)
    }


def make_product(folder: Path, size: tuple[int, int], colour: str, frames: int) -> Product:
    """
    Teach a recipe and write the frames to inspect.

    """
    line = SimulatedLineSettings(seed=31, defect_rate=0.0, width_px=size[0], height_px=size[1])

    def render(settings: SimulatedLineSettings, index: int) -> Any:
        image = render_part(settings, index).image
        return image if colour == 'colour' else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)

    name = f'{size[0]}x{size[1]} {colour}'
    folder = folder / name.replace(' ', '_')
    write_recipe(
        teach([render(line, index) for index in range(TAUGHT_PARTS)], name='latency'),
        folder / 'recipe',
    )
    distinct, repeated = folder / 'distinct', folder / 'frames'
    distinct.mkdir()
    repeated.mkdir()
    # Other parts of the same product, some of them defective.
    unseen = SimulatedLineSettings(seed=32, defect_rate=0.2, width_px=size[0], height_px=size[1])
    for index in range(DISTINCT_PARTS):
        cv2.imwrite(str(distinct / f'{index}.bmp'), render(unseen, index))
    for index in range(frames):
        os.link(distinct / f'{index % DISTINCT_PARTS}.bmp', repeated / f'{index:06d}.bmp')
    reference = folder / 'reference.bmp'
    cv2.imwrite(str(reference), render(line, 0))
    return Product(name, folder / 'recipe', repeated, reference)


def _parameter_file(folder: Path) -> Path:
    path = folder / 'cell.yaml'
    path.write_text(
        yaml.safe_dump({node: {'ros__parameters': values} for node, values in CELL.items()})
    )
    return path


def in_one_process(product: Product, parameter_file: Path) -> Observed:
    """
    Run the whole cell in this process.

    """
    from anomaly_inspection.capture.image_folder import ImageFolder
    from anomaly_inspection.nodes.cell_run import run_cell

    with ImageFolder(product.frames) as source:
        result = run_cell(
            product.recipe,
            source,
            str(product.frames),
            rate_hz=RATE_HZ,
            parameter_file=parameter_file,
            interrupted=threading.Event(),
            part_done=lambda record: None,
        )
    records = result.records
    timed = records[SETTLING_PARTS:]
    not_followed = [
        record for record in records if not (record.has_gate_followed and record.gate_is_confirmed)
    ]
    return Observed(
        ONE_PROCESS,
        product.name,
        parts=len(records),
        lost=sum(record.reason in ('', 'TIMEOUT', 'NOT_READY') for record in records),
        latency_s=[r.latency_s for r in timed if r.reason not in ('', 'TIMEOUT', 'NOT_READY')],
        firing_error_s=[r.firing_error_s for r in timed if r.has_passed_gate],
        not_followed=len(not_followed),
        gate_reasons=Counter(_without_numbers(record.sort_detail) for record in not_followed),
    )


class Processes:
    """
    Runs processes that end with the block, whatever happens in it.

    """

    def __init__(self, folder: Path, parameter_file: Path, *, profile: bool) -> None:
        self._folder = folder
        self._parameter_file = parameter_file
        self._environment = dict(os.environ)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        if not profile:
            for name in ('FASTDDS', 'FASTRTPS'):
                self._environment.pop(f'{name}_DEFAULT_PROFILES_FILE', None)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
        for process in self.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str, **parameters: object) -> None:
        """
        Start a node of the cell.

        """
        arguments = ['--ros-args', '--params-file', str(self._parameter_file)]
        for key, value in parameters.items():
            arguments += ['-p', f'{key}:={value}']
        code = f'from anomaly_inspection.nodes.{name}_node import main; main()'
        self.run(name, [sys.executable, '-c', code, *arguments])

    def run(self, name: str, command: list[str]) -> None:
        """
        Start any command.

        """
        with (self._folder / f'{name}.log').open('a') as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=self._environment
            )

    def log(self, name: str) -> str:
        """
        Give the output of a process.

        """
        return (self._folder / f'{name}.log').read_text()

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        """
        Wait, but not for ever, and not for a process that has ended.

        """
        end_s = time.monotonic() + timeout_s
        while not condition():
            for name, process in self.running.items():
                if process.poll() not in (None, 0):
                    raise RuntimeError(f'{name} has ended: {self.log(name)[-2000:]}')
            if time.monotonic() > end_s:
                logs = {name: self.log(name)[-500:] for name in self.running}
                raise RuntimeError(f'{what} did not come within {timeout_s:g} s; {logs}')
            time.sleep(0.02)


class _Listener:
    """
    Keeps what the processes publish about every part.

    """

    def __init__(self) -> None:
        self.parts: list[tuple[str, int]] = []
        self.decisions: dict[tuple[str, int], Any] = {}
        self.sort_events: dict[tuple[str, int], Any] = {}
        self.line_stops: list[Any] = []


@contextmanager
def _listening() -> Iterator[_Listener]:
    from rclpy.context import Context
    from rclpy.node import Node

    from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
    from anomaly_inspection.nodes.qos import EVENT, LATCHED
    from anomaly_inspection.nodes.spinning import NodeThread

    listener = _Listener()
    context = Context()
    context.init(args=[])
    node = Node('latency_benchmark', context=context)

    def key(message: Any) -> tuple[str, int]:
        return message.session_id, message.part_id

    for kind, topic, quality, take in (
        (Part, 'part', EVENT, lambda m: listener.parts.append(key(m))),
        (Decision, 'decision', EVENT, lambda m: listener.decisions.__setitem__(key(m), m)),
        (SortEvent, 'sort_event', EVENT, lambda m: listener.sort_events.__setitem__(key(m), m)),
        (LineStop, 'line_stop', LATCHED, listener.line_stops.append),
    ):
        node.create_subscription(kind, topic, take, quality)
    thread = NodeThread([node], 'latency listener', context=context)
    thread.start()
    try:
        yield listener
    finally:
        thread.stop()
        node.destroy_node()
        context.try_shutdown()


def _ended(processes: Processes) -> Callable[[], bool]:
    return lambda: 'has ended' in processes.log('camera')


def _run_time_s(product: Product) -> float:
    return len(list(product.frames.iterdir())) / RATE_HZ


def in_separate_processes(
    product: Product, parameter_file: Path, *, hangs: bool = False
) -> Observed:
    """
    Run every node in a process of its own. `hangs` freezes the scorer in the middle of the run.

    """
    from anomaly_inspection.msg import Decision, SortEvent

    with (
        tempfile.TemporaryDirectory() as logs,
        _listening() as heard,
        Processes(Path(logs), parameter_file, profile=True) as processes,
    ):
        processes.start('sorter')
        processes.start('scorer', recipe=product.recipe)
        processes.start('decider', recipe=product.recipe)
        processes.wait(lambda: heard.line_stops, 'the sorter')
        processes.wait(lambda: 'is in force' in processes.log('decider'), 'the recipe')
        processes.start('camera', source=product.frames)
        if hangs:
            processes.wait(lambda: len(heard.decisions) >= 3 * SETTLING_PARTS, 'decisions')
            processes.running['scorer'].send_signal(signal.SIGSTOP)
            time.sleep(HANG_S)
            processes.running['scorer'].send_signal(signal.SIGCONT)
        processes.wait(_ended(processes), 'the last frame', _run_time_s(product) + 40.0)
        # Lost frames never come, so this wait may time out.
        end_s = time.monotonic() + TRAVEL_S + 3.0
        while len(heard.sort_events) < len(heard.parts) and time.monotonic() < end_s:
            time.sleep(0.05)
    unjudged = (Decision.REASON_TIMEOUT, Decision.REASON_NOT_READY)
    decided = [heard.decisions.get(part) for part in heard.parts]
    observed = Observed(HANGING if hangs else PROCESSES, product.name, parts=len(heard.parts))
    observed.lost = sum(one is None or one.reason in unjudged for one in decided)
    for place, (part, decision) in enumerate(zip(heard.parts, decided, strict=True)):
        event = heard.sort_events.get(part)
        is_pass = decision is not None and decision.verdict == Decision.VERDICT_PASS
        if (
            event is None
            or (event.action == SortEvent.ACTION_PASSED) != is_pass
            or event.outcome != SortEvent.OUTCOME_CONFIRMED
        ):
            observed.not_followed += 1
            detail = event.detail if event else 'no sort event came'
            observed.gate_reasons[_without_numbers(detail)] += 1
        if decision is not None and decision.reason == Decision.REASON_TIMEOUT:
            observed.timeout_error_s.append(decision.latency_s - DEADLINE_S)
        if place < SETTLING_PARTS:
            continue
        if decision is not None and decision.reason not in unjudged:
            observed.latency_s.append(decision.latency_s)
        if event is not None and event.action == SortEvent.ACTION_PASSED:
            observed.firing_error_s.append(event.firing_error_s)
    return observed


def naively(product: Product, parameter_file: Path) -> Observed:
    """
    Run the same camera with the naive node, over the middleware's default transport.

    """
    with (
        tempfile.TemporaryDirectory() as logs,
        _listening() as heard,
        Processes(Path(logs), parameter_file, profile=False) as processes,
    ):
        command = [sys.executable, '-m', 'benchmarks.naive_node', str(product.reference)]
        processes.run('naive', command)
        processes.start('camera', source=product.frames)
        processes.wait(_ended(processes), 'the last frame', _run_time_s(product) + 40.0)
        # At most ten frames wait for the node in its queue.
        time.sleep(3.0)
        lines = [line.split() for line in processes.log('naive').splitlines()]
    latency_s = [float(line[1]) for line in lines if line[:1] == [LATENCY]]
    return Observed(
        NAIVE,
        product.name,
        parts=len(heard.parts),
        lost=len(heard.parts) - len(latency_s),
        latency_s=latency_s[SETTLING_PARTS:],
    )


def measure(seconds: float, *, sizes: tuple[tuple[int, int], ...] = SIZES) -> Path:
    """
    Run all ways one after another.

    Parameters
    ----------
    seconds : float
        How long each runs.
    sizes : tuple of (int, int)
        Width and height of the frames.

    Returns
    -------
    Path
        The folder of the report.

    """
    before = machine()
    frames = round(seconds * RATE_HZ)
    domains = iter(np.roll(DOMAINS, -(os.getpid() % len(DOMAINS))).tolist())
    observed: list[Observed] = []
    own_domain = os.environ.get('ROS_DOMAIN_ID')
    scratch = Path(tempfile.mkdtemp(prefix='latency_'))
    try:
        parameter_file = _parameter_file(scratch)
        products = [
            make_product(scratch, size, colour, frames) for size in sizes for colour in COLOURS
        ]
        runs: list[tuple[Callable[[Product, Path], Observed], Product]] = [
            (way, product)
            for product in products
            for way in (in_one_process, in_separate_processes, naively)
        ]
        long_frames = frames + round((HANG_S + 3) * RATE_HZ)
        hanging = make_product(scratch / 'hang', sizes[0], COLOURS[0], long_frames)
        runs.append((lambda p, file: in_separate_processes(p, file, hangs=True), hanging))
        for way, product in runs:
            os.environ['ROS_DOMAIN_ID'] = str(next(domains))
            observed.append(way(product, parameter_file))
            row = observed[-1].row()
            print(row['product'], row['way'], row['latency_ms'], f'lost {row["lost"]}', flush=True)
    finally:
        shutil.rmtree(scratch)
        if own_domain is not None:
            os.environ['ROS_DOMAIN_ID'] = own_domain
    return _publish(observed, seconds, before)


def _publish(observed: list[Observed], seconds: float, before: dict[str, Any]) -> Path:
    rows = [one.row() for one in observed]
    steady = [row for row in rows if row['way'] != HANGING]
    sorted_rows = [row for row in rows if row['way'] != NAIVE]
    tables = [
        Table(
            f'Exposure to decision at {RATE_HZ:g} frames a second',
            ('frames', 'way', 'parts', 'lost', 'p50 / ms', 'p99 / ms'),
            [
                (
                    row['product'],
                    row['way'],
                    row['parts'],
                    row['lost'],
                    row['latency_ms']['p50'],
                    row['latency_ms']['p99'],
                )
                for row in steady
            ],
            'Lost: announced by the camera and not judged by its frame. Naive: SSIM of '
            'scikit-image to one picture in the image callback, no alignment, default transport, '
            'to the end of the callback; the others align, score twice, find regions, decide.',
        ),
        Table(
            'The gate',
            (
                'frames',
                'way',
                'parts',
                'firing error p50 / ms',
                'p99 / ms',
                'not as decided',
                'because',
            ),
            [
                (
                    row['product'],
                    row['way'],
                    row['parts'],
                    row['firing_error_ms']['p50'],
                    row['firing_error_ms']['p99'],
                    row['gate_not_followed'],
                    '; '.join(f'{count}: {why}' for why, count in row['gate_reasons'].items()),
                )
                for row in sorted_rows
            ],
            'Separate processes: the sorter has its own. Firing error: of parts that passed. Not '
            'as decided: the gate did not confirm that it had followed the decision, or there was '
            'none; a gate that is told too late rejects.',
        ),
        Table(
            f'The scorer frozen for {HANG_S:g} s (SIGSTOP, the line goes on)',
            ('frames', 'REJECT by time-out', 'after the deadline p50 / ms', 'p99 / ms', 'late'),
            [
                (
                    row['product'],
                    row['timeouts'],
                    row['timeout_error_ms']['p50'],
                    row['timeout_error_ms']['p99'],
                    row['timeouts_late'],
                )
                for row in rows
                if row['way'] == HANGING
            ],
            f'Deadline {DEADLINE_S:g} s after the exposure, the gate {TRAVEL_S:g} s after it; '
            f'late: more than {1e3 * ON_TIME_S:g} ms after the deadline.',
        ),
    ]
    panels: dict[str, dict[str, list[float]]] = {}
    for one in observed:
        if one.way != HANGING:
            panels.setdefault(one.product, {})[one.way] = [1e3 * s for s in one.latency_s]
    return publish(
        'latency',
        f'{seconds:g} s of each way in turn, {TAUGHT_PARTS} parts taught, a fifth of the parts '
        f'defective. The first {SETTLING_PARTS} parts are counted but not timed.',
        tables,
        plot=share_curves(
            'Share of frames by time from exposure to decision',
            panels,
            axis_title='ms, logarithmic',
            low=3.0,
            high=3000.0,
        ),
        figures={'seconds': seconds, 'rate_hz': RATE_HZ, 'rows': rows},
        before=before,
    )


@click.command()
@click.option(
    '--seconds',
    type=click.FloatRange(4.0),
    default=10.0,
    show_default=True,
    help='Duration of each run.',
)
def main(seconds: float) -> None:
    """
    Measure the time from exposure to decision, and the gate, beside the naive way.
    """
    measure(seconds)


if __name__ == '__main__':
    main()
