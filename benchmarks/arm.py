# SPDX-License-Identifier: Apache-2.0
"""
Measure what an arm puts into its tray from a belt that wanders, creeps, stands and runs back, and
what it puts there when something breaks.

`python -m benchmarks.arm` runs the sorter and the simulated arm in processes of their own. The
belt brings parts as fast as the arm can just do; the encoder says where it is 100 times a second.
Camera and decider are played, so every verdict is right: what lies wrongly in the tray is the
fault of sorter or arm. 2,000 parts take about twelve minutes; each fault half a minute.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, ExitStack
from dataclasses import dataclass, field
import json
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import click
import numpy as np

from anomaly_inspection.capture.simulated_belt import SimulatedBelt, SimulatedBeltSettings
from anomaly_inspection.sorting.sort_record import Action, Cause, Outcome
from benchmarks.belt_tracking import Encoder
from benchmarks.gate_timing import Line, wait_for
from benchmarks.gate_timing_belt import BeltPart
from benchmarks.report import machine, ROOT

SPEED_MPS, DISTANCE_M = 0.5, 0.4
CLEARANCE_M = 0.06
# 9 cm from part to part at least: 3.8 parts a second on average, 2.3 of them good.
PITCH_M, SPREAD_M = 0.09, 0.04
GOOD_SHARE = 0.6
VERDICT_AFTER_S = (0.05, 0.2)
FAULT_AT, FAULT_S = 0.3, 4.0
SILENCE_S = 0.2
FAULTS = (
    'arm killed',
    'arm silent',
    'arm late',
    'arm lies',
    'arm takes the neighbour',
    'camera dead',
    'encoder cut',
    'sorter killed',
)
PAIRS = (
    ('arm killed', 'encoder cut'),
    ('arm silent', 'camera dead'),
    ('arm lies', 'encoder cut'),
    ('arm takes the neighbour', 'camera dead'),
    ('sorter killed', 'arm lies'),
    ('camera dead', 'encoder cut'),
)
_ARM_FAULTS = {
    'arm silent': 'silent',
    'arm late': 'late',
    'arm lies': 'lies',
    'arm takes the neighbour': 'neighbour',
}
_SORTER = {
    'gate': 'action',
    'belt': 'encoder',
    'gate_distance_m': DISTANCE_M,
    'belt_speed_m_per_s': SPEED_MPS,
    'encoder_silence_s': SILENCE_S,
    'pick_clearance_m': CLEARANCE_M,
    'pick_needs_pose': False,
    'state_folder': 'none',
}
_ARM = {
    'pick_distance_m': DISTANCE_M,
    'belt_speed_m_per_s': SPEED_MPS,
    'encoder_silence_s': SILENCE_S,
    'state_folder': 'none',
}


@dataclass
class Laid:
    """
    A part on the simulated belt; times since the start, seconds.

    """

    number: int
    place_m: float
    exposed_s: float
    decided_s: float
    is_good: bool


@dataclass
class ArmOutcome:
    """
    What came of a run.

    """

    faults: str
    parts: int
    good: int
    in_tray: int
    bad_in_tray: list[int]
    left_good: dict[str, int]
    failed: int
    not_seen: int
    # Said to be placed for certain, and not in the tray.
    believed: int
    recovered: bool
    minutes: float
    line_stops: list[str] = field(default_factory=list)


def lay(belt: SimulatedBelt, parts: int, seed: int) -> list[Laid]:
    """
    Lay parts on the belt, six in ten good.

    """
    random = np.random.default_rng(seed)
    place_m, laid = 0.3, []
    for number in range(1, parts + 1):
        exposed_s = belt.reaches_s(place_m)
        decided_s = exposed_s + random.uniform(*VERDICT_AFTER_S)
        is_good = bool(random.uniform() < GOOD_SHARE)
        laid.append(Laid(number, place_m, exposed_s, decided_s, is_good))
        place_m += PITCH_M + random.exponential(SPREAD_M)
    return laid


class Process:
    """
    A node in a process of its own, that can be killed and started again.

    """

    def __init__(self, node: str, namespace: str, parameters: dict[str, Any], log: Path) -> None:
        code = f'from anomaly_inspection.nodes.{node}_node import main; main()'
        self._command = [sys.executable, '-c', code, '--ros-args', '-r', f'__ns:={namespace}']
        for name, value in parameters.items():
            self._command += ['-p', f'{name}:={value}']
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open('a') as out:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=out, stderr=out)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()


class _Tray:
    """
    Lays the parts before the arm, breaks it, and hears what it puts where.

    """

    def __init__(self, context: Any, namespace: str) -> None:
        from rcl_interfaces.srv import SetParameters
        from rclpy.node import Node

        from anomaly_inspection.msg import SimulatedArmState, SimulatedPart
        from anomaly_inspection.nodes.qos import KEPT_EVENT
        from anomaly_inspection.nodes.spinning import NodeThread

        self.numbers: list[int] = []
        self._states = 0
        self._node = Node('tray', namespace=namespace, context=context)
        self._part = self._node.create_publisher(SimulatedPart, 'simulated_part', KEPT_EVENT)
        self._node.create_subscription(
            SimulatedArmState, 'simulated_arm_state', self._take, KEPT_EVENT
        )
        self._set = self._node.create_client(SetParameters, 'simulated_arm/set_parameters')
        self._thread = NodeThread([self._node], 'tray', context=context)
        self._thread.start()

    def _take(self, state: Any) -> None:
        self._states += 1
        if state.put == state.PUT_TRAY:
            self.numbers.append(state.put_number)

    def is_ready(self) -> bool:
        return bool(
            self._states and self._part.get_subscription_count() and self._set.service_is_ready()
        )

    def lay(self, part: Laid) -> None:
        from anomaly_inspection.msg import SimulatedPart

        self._part.publish(SimulatedPart(number=part.number, encoder_position=part.place_m))

    def break_arm(self, fault: str) -> None:
        from rcl_interfaces.srv import SetParameters
        from rclpy.parameter import Parameter

        parameter = Parameter('fault', value=fault).to_parameter_msg()
        self._set.call_async(SetParameters.Request(parameters=[parameter]))

    def close(self) -> None:
        self._thread.stop()
        self._node.destroy_node()


@contextmanager
def _closing(thing: Any, end: Callable[[], None]) -> Iterator[Any]:
    try:
        yield thing
    finally:
        end()


@dataclass
class _Cell:
    """
    All that a fault may break.

    """

    tray: _Tray
    encoder: Encoder
    arm: Process
    sorter: Process
    camera_sees: bool = True

    def break_(self, fault: str) -> None:
        if fault in _ARM_FAULTS:
            self.tray.break_arm(_ARM_FAULTS[fault])
        elif fault == 'arm killed':
            self.arm.kill()
        elif fault == 'sorter killed':
            self.sorter.kill()
        elif fault == 'encoder cut':
            self.encoder.is_silent = True
        else:
            self.camera_sees = False

    def mend(self, fault: str) -> None:
        if fault in _ARM_FAULTS:
            self.tray.break_arm('none')
        elif fault == 'arm killed':
            self.arm.start()
        elif fault == 'sorter killed':
            self.sorter.start()
        elif fault == 'encoder cut':
            self.encoder.is_silent = False
        else:
            self.camera_sees = True


def run(
    faults: Sequence[str], parts: int, seed: int, context: Any, folder: Path, run_number: int
) -> ArmOutcome:
    """
    Bring the parts past camera and arm; from the `FAULT_AT`th part on something is broken.

    """
    namespace, log = f'/arm_{run_number}', folder / f'{run_number}.log'
    belt = SimulatedBelt(SimulatedBeltSettings(SPEED_MPS, seed=seed))
    laid = lay(belt, parts, seed)
    ended = threading.Event()
    with ExitStack() as stack:
        # The arm listens, too, for its view.
        line = Line(context, namespace, listeners=2)
        stack.callback(line.close)
        tray = _Tray(context, namespace)
        stack.callback(tray.close)
        arm = Process('simulated_arm', namespace, _ARM | {'seed': seed}, log)
        stack.callback(arm.stop)
        wait_for(tray.is_ready, 'arm', log, 60)
        sorter = Process('sorter', namespace, _SORTER, log)
        stack.callback(sorter.stop)
        wait_for(line.is_ready, 'sorter', log, 60)
        start_s = time.monotonic() + 0.5
        encoder = Encoder(context, namespace, belt, start_s)
        stack.callback(encoder.close)
        cell = _Cell(tray, encoder, arm, sorter)
        operator = threading.Thread(target=line.attend, args=(ended,))
        operator.start()
        stack.callback(operator.join)
        stack.callback(ended.set)
        seen = _play(cell, line, laid, start_s, faults)
        _wait_for_events(line, len(seen))
        minutes = (time.monotonic() - start_s) / 60
    stops = [stop.reason for _, stop in line.line_stops if stop.active]
    return _outcome(faults, laid, seen, tray.numbers, line.events, stops, minutes)


def _play(
    cell: _Cell, line: Line, laid: Sequence[Laid], start_s: float, faults: Sequence[str]
) -> set[int]:
    """
    Announce parts and verdicts at their times; gives the parts that the camera has seen.

    """
    breaks_s = laid[round(FAULT_AT * len(laid))].exposed_s + 0.05
    steps = [(part.exposed_s, 0, part.number) for part in laid]
    steps += [(part.decided_s, 1, part.number) for part in laid]
    for number in range(len(faults)):
        # The second one comes while the first one lasts.
        steps += [(breaks_s + number, 2, number), (breaks_s + number + FAULT_S, 3, number)]
    seen: set[int] = set()
    for at_s, what, number in sorted(steps):
        time.sleep(max(0.0, start_s + at_s - time.monotonic()))
        if what >= 2:
            (cell.break_ if what == 2 else cell.mend)(faults[number])
            continue
        part = laid[number - 1]
        told = BeltPart(number, start_s + part.exposed_s, part.is_good, start_s + part.decided_s)
        if what == 0:
            cell.tray.lay(part)
            if cell.camera_sees:
                seen.add(number)
                line.expose(told)
        elif number in seen:
            line.decide(told)
    return seen


def _wait_for_events(line: Line, parts: int) -> None:
    # A sorter that was killed has taken the events of its parts along.
    end_s, last, since_s = time.monotonic() + 30, 0, time.monotonic()
    while len(line.events) < parts and time.monotonic() < end_s:
        if len(line.events) != last:
            last, since_s = len(line.events), time.monotonic()
        if time.monotonic() - since_s > 8:
            break
        time.sleep(0.05)
    time.sleep(1.0)


def _outcome(
    faults: Sequence[str],
    laid: Sequence[Laid],
    seen: set[int],
    tray: Sequence[int],
    events: Sequence[Any],
    stops: list[str],
    minutes: float,
) -> ArmOutcome:
    good = {part.number for part in laid if part.is_good}
    by_number = {event.part_id: event for event in events}
    left: Counter[str] = Counter()
    for number in sorted(good - set(tray)):
        if number not in seen:
            left['not seen'] += 1
        elif number not in by_number:
            left['sorter was dead'] += 1
        else:
            left[Cause(by_number[number].cause).name.lower()] += 1
    certain = {
        event.part_id
        for event in events
        if (event.action, event.outcome) == (Action.PASSED, Outcome.CONFIRMED)
    }
    return ArmOutcome(
        _name(faults),
        len(laid),
        len(good),
        len(set(tray)),
        sorted(set(tray) - good),
        dict(left),
        sum(event.outcome == Outcome.FAILED for event in events),
        len(laid) - len(seen),
        len(certain - set(tray)),
        any(number > 0.8 * len(laid) for number in tray),
        minutes,
        stops,
    )


def _name(faults: Sequence[str]) -> str:
    return ' + '.join(faults) or 'nothing'


def table(outcomes: Sequence[ArmOutcome]) -> str:
    """
    Write a Markdown table.

    """
    lines = [
        '| what is broken | parts | bad ones in the tray | good ones in the tray '
        '| good ones left on the belt | FAILED | line stops | picks again after resets |',
        '|---|--:|--:|--:|---|--:|--:|---|',
    ]
    for one in outcomes:
        left = ', '.join(
            f'{count} {cause.replace("_", " ")}' for cause, count in sorted(one.left_good.items())
        )
        lines.append(
            f'| {one.faults} | {one.parts} | {len(one.bad_in_tray)} of {one.parts - one.good} '
            f'| {one.in_tray - len(one.bad_in_tray)} of {one.good} | {left or "-"} '
            f'| {one.failed} | {len(one.line_stops)} | {"yes" if one.recovered else "no"} |'
        )
    return '\n'.join(lines)


@click.command()
@click.option('--parts', default=2000, show_default=True, help='With nothing broken; 0 = skip.')
@click.option('--fault-parts', default=80, show_default=True, help='For each fault; 0 = skip.')
@click.option('--only', help='Only this fault or pair, as the table names it.')
@click.option('--seed', default=1, show_default=True, help='Of belt and parts.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(parts: int, fault_parts: int, only: str | None, seed: int, report: Path) -> None:
    """
    Run the arm with nothing broken, then with each fault and pairs of them; print the table and
    write arm.json. Exit status 1 when a defective part lies in a tray.
    """
    from rclpy.context import Context

    before = machine()
    wanted: list[tuple[tuple[str, ...], int]] = [((), parts)] if parts else []
    if fault_parts:
        wanted += [((fault,), fault_parts) for fault in FAULTS]
        wanted += [(pair, fault_parts) for pair in PAIRS]
    if only is not None:
        names = [_name(faults) for faults, _ in wanted]
        if only not in names:
            raise click.BadParameter(f'{only!r}; allowed: {", ".join(names)}', param_hint='--only')
        wanted = [(faults, count) for faults, count in wanted if _name(faults) == only]
    outcomes = []
    context = Context()
    context.init()
    try:
        with tempfile.TemporaryDirectory() as name:
            for number, (faults, count) in enumerate(wanted):
                outcome = run(faults, count, seed + number, context, Path(name), number)
                outcomes.append(outcome)
                print(table([outcome]).splitlines()[-1], flush=True)
    finally:
        context.shutdown()
    print(table(outcomes))
    for one in outcomes:
        for reason in dict.fromkeys(one.line_stops):
            print(f'{one.faults}: {reason}')
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': before, 'seed': seed, 'runs': [vars(one) for one in outcomes]}
    (report / 'arm.json').write_text(json.dumps(content, indent=2) + '\n')
    if any(one.bad_in_tray for one in outcomes):
        raise click.ClickException('a defective part lies in a tray')


if __name__ == '__main__':
    main()
