# SPDX-License-Identifier: Apache-2.0
"""
Measure the time from exposure to decision, and how exactly the gate fires.

The cell inspects images of the simulated line at 30 frames a second: in one process, in one beside
a process that keeps a core busy, and with every node in a process of its own. For comparison,
`naive_node` (scikit-image in the image callback, default middleware) sees the same frames. Then
the scorer is frozen for five seconds while the line goes on: every part must be rejected on time.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from benchmarks.cell_processes import listening, Processes
from benchmarks.latency_result import (
    BUSY,
    DEADLINE_S,
    HANG_S,
    HANGING,
    NAIVE,
    Observed,
    ONE_PROCESS,
    PROCESSES,
    RATE_HZ,
    SETTLING_PARTS,
    TAUGHT_PARTS,
    TRAVEL_S,
)
from benchmarks.latency_tables import publish_figures
from benchmarks.naive_node import LATENCY
from benchmarks.report import machine

SIZES = ((640, 480), (1280, 960))
COLOURS = ('mono', 'colour')
DISTINCT_PARTS = 60
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


def _without_numbers(sentence: str) -> str:
    # The session id differs in every run.
    return re.sub(r'-?\d[\d.]*', 'N', re.sub(r' of \d+T\d+Z-\w+', '', sentence))


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
        teach(
            [render(line, index) for index in range(TAUGHT_PARTS)],
            name='latency',
            options=TeachOptions(scorers=('ssim', 'variation')),
        ),
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


def beside_a_busy_process(product: Product, parameter_file: Path) -> Observed:
    """
    Run the whole cell in this process while another one keeps a core busy.

    """
    busy = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try:
        return replace(in_one_process(product, parameter_file), way=BUSY)
    finally:
        busy.kill()
        busy.wait()


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
        listening() as heard,
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
        listening() as heard,
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
            for way in (in_one_process, beside_a_busy_process, in_separate_processes, naively)
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
    return publish_figures(observed, seconds, before)


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
