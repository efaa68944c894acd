# SPDX-License-Identifier: Apache-2.0
"""
How long it takes from the turn of a knob to the limit in force.

The device twin (the firmware's own logic, with noise and 115200 baud) is behind a pseudo terminal.
Threshold bridge and decider run in processes of their own, with `follow` on. A knob is turned at
once by a tenth of its travel or more, and the benchmark notes when the decider publishes the
limit.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import random
import tempfile
import time
from typing import Any

import click

from anomaly_inspection.capture.simulated_line import render_part, SimulatedLineSettings
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from benchmarks.cell_processes import Processes
from benchmarks.charts import share_curves
from benchmarks.report import machine, publish, Table, Timing
from firmware.twin.device_twin import DeviceTwin

TAUGHT_PARTS = 12
NOISE_COUNTS = 20
SCORER, MEASURE = 'variation', 'peak_z'
LOW, HIGH = 100.0, 200.0
#: A value has arrived when it stays within this share of the knob's travel of its final value.
ARRIVED = 0.01
SMALLEST_TURN = 0.1
SETTLING_S = 0.35
GOAL_MS = 150.0
CHANNEL = 34
KNOB, LIMIT = 'knob read', 'limit in force'


class _Panel:
    """
    Keeps the knob's positions and the limits, each as a share of the knob's travel, with their
    times.

    """

    def __init__(self) -> None:
        self.came: dict[str, list[tuple[float, float]]] = {KNOB: [], LIMIT: []}

    def take_potentiometers(self, message: Any) -> None:
        now_s = time.monotonic()
        for reading in message.readings:
            if reading.channel == CHANNEL:
                self.came[KNOB].append((now_s, reading.smoothed))

    def take_limits(self, message: Any) -> None:
        now_s = time.monotonic()
        for limit in message.limits:
            if (limit.scorer, limit.measure) == (SCORER, MEASURE):
                self.came[LIMIT].append((now_s, (limit.value - LOW) / (HIGH - LOW)))

    def arrival_s(self, what: str, since_s: float) -> float:
        """
        Give the time of the value from which on all values are at the final one.

        """
        came = [(time_s, value) for time_s, value in self.came[what] if time_s > since_s]
        settled = came[-1][1]
        arrived_s = came[-1][0]
        for time_s, value in reversed(came):
            if abs(value - settled) > ARRIVED:
                break
            arrived_s = time_s
        return arrived_s


@contextmanager
def _watching() -> Iterator[_Panel]:
    from rclpy.context import Context
    from rclpy.node import Node

    from anomaly_inspection.msg import (
        LimitsInForce,
        Potentiometers,
        RecipeInForce,
        RecipePrepared,
    )
    from anomaly_inspection.nodes.qos import EVENT, LATCHED
    from anomaly_inspection.nodes.spinning import NodeThread

    panel = _Panel()
    context = Context()
    context.init(args=[])
    node = Node('knob_benchmark', context=context)
    prepared = node.create_publisher(RecipePrepared, 'recipe_prepared', LATCHED)

    def confirm(message: Any) -> None:
        # As the scorers would do.
        prepared.publish(
            RecipePrepared(scorers=message.scorers, recipe_hash=message.hash, is_ready=True)
        )

    node.create_subscription(RecipeInForce, 'recipe_prepare', confirm, LATCHED)
    node.create_subscription(Potentiometers, 'potentiometers', panel.take_potentiometers, EVENT)
    node.create_subscription(LimitsInForce, 'limits_in_force', panel.take_limits, LATCHED)
    thread = NodeThread([node], 'knob benchmark', context=context)
    thread.start()
    try:
        yield panel
    finally:
        thread.stop()
        node.destroy_node()
        context.try_shutdown()


def _taught_recipe(folder: Path) -> Path:
    line = SimulatedLineSettings(seed=1, defect_rate=0.0, width_px=320, height_px=240)
    frames = [render_part(line, index).image for index in range(TAUGHT_PARTS)]
    write_recipe(
        teach(frames, name='knob', options=TeachOptions(scorers=('ssim', 'variation'))),
        folder / 'recipe',
    )
    return folder / 'recipe'


def measure(steps: int, *, folder: Path | None = None) -> Path:
    """
    Turn the knob this many times and publish how long it took.

    """
    before = machine()
    rng = random.Random(1)
    taken_ms: dict[str, list[float]] = {KNOB: [], LIMIT: []}
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        recipe = _taught_recipe(scratch)
        parameters = scratch / 'parameters.yaml'
        parameters.write_text('{}')
        with (
            DeviceTwin(scratch) as twin,
            _watching() as panel,
            Processes(scratch, parameters, profile=True) as processes,
        ):
            twin.tell(f'noise {NOISE_COUNTS}')
            processes.start('decider', recipe=recipe)
            processes.start(
                'threshold_bridge',
                port=twin.bluetooth,
                follow=True,
                **{
                    'channels': f"['{CHANNEL}']",
                    f'channel_{CHANNEL}.measure': f'{SCORER}.{MEASURE}',
                    f'channel_{CHANNEL}.low': LOW,
                    f'channel_{CHANNEL}.high': HIGH,
                },
            )
            for what, came in panel.came.items():
                processes.wait(lambda came=came: came, what)
            position = 0.5
            # The first turns wake the knob and let everything settle.
            for step in range(-3, steps):
                position = _turned(position, rng)
                began_s = twin.tell(f'knob {CHANNEL} {position:.4f}')
                time.sleep(SETTLING_S + rng.uniform(0.0, 0.02))
                if step < 0:
                    continue
                for what, times in taken_ms.items():
                    times.append(1e3 * (panel.arrival_s(what, began_s) - began_s))
    rows = [(what, len(times), *_row(times)) for what, times in taken_ms.items()]
    table = Table(
        'From the turn of a knob',
        ('until', 'turns', 'p50 / ms', 'p99 / ms', 'longest / ms'),
        rows,
        f'Arrived: stays within {100 * ARRIVED:g} % of the travel of its final value. Goal: limit '
        f'in force p99 at most {GOAL_MS:g} ms.',
    )
    return publish(
        'knob_to_limit',
        f'{steps} turns at once by a tenth of the travel or more, conversions with noise of sigma '
        f'{NOISE_COUNTS} of 4096, 115200 baud; bridge and decider in processes of their own.',
        [table],
        plot=share_curves(
            'Share of turns by time',
            {'follow on': taken_ms},
            axis_title='ms, logarithmic',
            low=5.0,
            high=500.0,
        ),
        figures={
            'steps': steps,
            'goal_p99_ms': GOAL_MS,
            'arrived_ms': {what: Timing.of(times) for what, times in taken_ms.items()},
        },
        before=before,
        folder=folder,
    )


def _turned(position: float, rng: random.Random) -> float:
    while True:
        turned = rng.uniform(0.03, 0.97)
        if abs(turned - position) >= SMALLEST_TURN:
            return turned


def _row(times_ms: list[float]) -> tuple[float, float, float]:
    timing = Timing.of(times_ms)
    return timing.p50, timing.p99, max(times_ms)


@click.command()
@click.option('--steps', type=click.IntRange(2), default=250, show_default=True)
def main(steps: int) -> None:
    """
    Measure the time from the turn of a knob to the limit in force.
    """
    measure(steps)


if __name__ == '__main__':
    main()
