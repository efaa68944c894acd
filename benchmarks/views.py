# SPDX-License-Identifier: Apache-2.0
"""
Measure what several views of a part cost: latency and processor for 1, 2 and 4 views, and for a
cell with one camera and no joiner beside them.

`python -m benchmarks.views` starts real nodes, each a process of its own: camera, scorer and
decider for each view, view_joiner, sorter. All cameras are triggered together. Latency: from the
exposure in the leading view to the arrival of the decision here; of parts that pass, where
join_within_s holds it back. Processor: of all these processes together.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import tempfile
import time
from typing import Any

import click
import numpy as np

from benchmarks.cell_processes import Processes
from benchmarks.panel_process import cpu_s, own_memory_mb
from benchmarks.report import machine, ROOT

_PARAMETERS = ROOT / 'config' / 'two_views.yaml'
_NAMES = ('top', 'left', 'right', 'back')
_CELL = '/inspection'


@dataclass
class Figures:
    """
    What came of a run.

    """

    cell: str
    views: int
    parts: int
    passed: int
    missing: int
    p50_ms: float
    p99_ms: float
    cpu_percent: float
    joiner_cpu_percent: float
    memory_mb: float


def source(place: int, size: str) -> str:
    """
    Give the line of a view: its own pictures, all good.

    """
    width, _, height = size.partition('x')
    return (
        f'line:width_px={width},height_px={height},shift_px=3,rotation_deg=2,defect_rate=0,'
        f'seed={place + 1}'
    )


def taught(folder: Path, place: int, size: str) -> Path:
    """
    Teach the recipe of a view on good parts of its line.

    """
    from anomaly_inspection.capture.open_source import open_source
    from anomaly_inspection.learning.teach import teach, TeachOptions
    from anomaly_inspection.recipes.folder import write_recipe

    with open_source(source(place, size) + ',parts=20') as line:
        frames = [line.read().image for _ in range(20)]
    options = TeachOptions(scorers=('ssim', 'variation'), false_reject_rate=0.005)
    write_recipe(teach(frames, name=folder.name, options=options), folder)
    return folder


class Watch:
    """
    Triggers the cameras and hears the decisions.

    """

    def __init__(self) -> None:
        import rclpy
        from std_msgs.msg import Empty

        from anomaly_inspection.msg import Decision, Part
        from anomaly_inspection.nodes.qos import EVENT
        from anomaly_inspection.nodes.spinning import NodeThread

        self._message = Empty
        self._exposures: dict[Any, int] = {}
        self.latencies_s: list[float] = []
        self.decisions: list[Any] = []
        self.node = rclpy.create_node('views_benchmark', namespace=_CELL)
        self._trigger = self.node.create_publisher(Empty, 'trigger', EVENT)
        self.node.create_subscription(Part, 'part', self._take_part, EVENT)
        self.node.create_subscription(Decision, 'decision', self._take_decision, EVENT)
        self._thread = NodeThread([self.node], 'views benchmark')
        self._thread.start()

    def _take_part(self, message: Any) -> None:
        key = (message.session_id, message.part_id)
        self._exposures.setdefault(key, message.exposure_steady_ns)

    def _take_decision(self, message: Any) -> None:
        now_ns = time.monotonic_ns()
        exposed_ns = self._exposures.get((message.session_id, message.part_id))
        self.decisions.append(message)
        if exposed_ns is not None and message.verdict == message.VERDICT_PASS:
            self.latencies_s.append(1e-9 * (now_ns - exposed_ns))

    @property
    def cameras(self) -> int:
        """
        How many cameras hear the trigger.

        """
        return int(self._trigger.get_subscription_count())

    def trigger(self) -> None:
        """
        Let a part come.

        """
        self._trigger.publish(self._message())

    def close(self) -> None:
        """
        Leave the network.

        """
        self._thread.stop()
        self.node.destroy_node()


def run(
    views: int, recipes: Sequence[Path], folder: Path, *, parts: int, rate_hz: float, size: str
) -> Figures:
    """
    Run a cell; 0 views = one camera without a joiner.

    """
    watch = Watch()
    names = _NAMES[:views] or ('',)
    with Processes(folder, _PARAMETERS, profile=True) as processes:
        _start(processes, names, recipes, size)
        try:
            processes.wait(lambda: watch.cameras == len(names), 'the cameras', 90.0)
            _warm_up(watch, rate_hz)
            before = len(watch.decisions)
            watch.latencies_s.clear()
            pids = {name: one.pid for name, one in processes.running.items()}
            began = {name: cpu_s(pid) for name, pid in pids.items()}
            began_s = time.monotonic()
            _run_parts(watch, parts, rate_hz)
            passed_s = time.monotonic() - began_s
            used = {
                name: 100 * (cpu_s(pid) - began[name]) / passed_s for name, pid in pids.items()
            }
            memory = sum(own_memory_mb(pid) for pid in pids.values())
        finally:
            watch.close()
    decided = watch.decisions[before:]
    latencies_ms = 1000 * np.array(watch.latencies_s or [np.nan])
    return Figures(
        cell=f'{views} views' if views > 1 else '1 view' if views else 'one camera, no joiner',
        views=views,
        parts=len(decided),
        passed=sum(one.verdict == one.VERDICT_PASS for one in decided),
        missing=sum(one.reason == one.REASON_VIEW_MISSING for one in decided),
        p50_ms=float(np.quantile(latencies_ms, 0.5)),
        p99_ms=float(np.quantile(latencies_ms, 0.99)),
        cpu_percent=sum(used.values()),
        joiner_cpu_percent=used.get('view_joiner', 0.0),
        memory_mb=memory,
    )


def _start(processes: Processes, names: Sequence[str], recipes: Sequence[Path], size: str) -> None:
    import sys

    def start(name: str, view: str, *parameters: str) -> None:
        place = f'{_CELL}/{view}'.rstrip('/')
        code = f'from anomaly_inspection.nodes.{name}_node import main; main()'
        arguments = ['--ros-args', '-r', f'__ns:={place}', '-r', f'trigger:={_CELL}/trigger']
        arguments += ['--params-file', str(_PARAMETERS), '-p', 'state_folder:=none']
        for parameter in parameters:
            arguments += ['-p', parameter]
        label = f'{view}_{name}' if view else name
        processes.run(label, [sys.executable, '-c', code, *arguments])

    if names[0]:
        start('view_joiner', '', f'views:=[{",".join(names)}]')
    start('sorter', '', *([f'leading_view:={names[0]}'] if names[0] else []))
    for place, view in enumerate(names):
        start('scorer', view)
        start('decider', view, f'recipe:={recipes[place]}')
        label = f'{view}_decider' if view else 'decider'
        processes.wait(
            lambda label=label: 'is in force' in processes.log(label), 'the recipe', 90.0
        )
        start('camera', view, f"source:='{source(place, size)}'", 'rate_hz:=100.0')


def _warm_up(watch: Watch, rate_hz: float) -> None:
    """
    Let parts come until all cameras are ready: they wait until nobody new listens.

    """
    end_s = time.monotonic() + 90.0
    while time.monotonic() < end_s:
        _run_parts(watch, 10, rate_hz)
        last = watch.decisions[-8:]
        if len(last) == 8 and not any(one.reason == one.REASON_VIEW_MISSING for one in last):
            return
    raise RuntimeError('parts were missing in a view for 90 s')


def _run_parts(watch: Watch, parts: int, rate_hz: float) -> None:
    due_s = time.monotonic()
    for _ in range(parts):
        watch.trigger()
        due_s += 1 / rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
    time.sleep(1.0)


def table(found: Sequence[Figures]) -> str:
    """
    Write a Markdown table.

    """
    lines = [
        '| cell | parts | passed | view missing | latency p50 | p99 | processor, all processes '
        '| of it the joiner | memory |',
        '|---|--:|--:|--:|--:|--:|--:|--:|--:|',
    ]
    for one in found:
        lines.append(
            f'| {one.cell} | {one.parts} | {one.passed} | {one.missing} | {one.p50_ms:.0f} ms '
            f'| {one.p99_ms:.0f} ms | {one.cpu_percent:.0f} % | {one.joiner_cpu_percent:.1f} % '
            f'| {one.memory_mb:.0f} MB |'
        )
    return '\n'.join(lines)


@click.command()
@click.option('--parts', default=120, show_default=True, help='In each run.')
@click.option('--rate-hz', default=4.0, show_default=True, help='Parts a second.')
@click.option('--size', default='640x480', show_default=True, help='Of the pictures.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, rate_hz: float, size: str, report: Path) -> None:
    """
    Run all cells, print the table and write views.json.
    """
    import rclpy

    before = machine()
    rclpy.init()
    found = []
    try:
        with tempfile.TemporaryDirectory() as name:
            recipes = [taught(Path(name, view), place, size) for place, view in enumerate(_NAMES)]
            for views in (0, 1, 2, 4):
                logs = Path(name, f'logs_{views}')
                logs.mkdir()
                found.append(run(views, recipes, logs, parts=parts, rate_hz=rate_hz, size=size))
                print(table(found[-1:]).splitlines()[-1], flush=True)
    finally:
        rclpy.try_shutdown()
    print(table(found))
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': before, 'rate_hz': rate_hz, 'size': size}
    content['cells'] = [asdict(one) for one in found]
    (report / 'views.json').write_text(json.dumps(content, indent=2) + '\n')


if __name__ == '__main__':
    main()
