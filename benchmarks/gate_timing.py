# SPDX-License-Identifier: Apache-2.0
"""
Measure how exactly the gates fire on a simulated belt, and what passes when something breaks.

Parts lie on the belt a little unevenly, and their verdicts come after a varying time. The sorter
runs in a process of its own, over real topics. The gate itself reports when it moved: the
firmware's twin, the Modbus server, the actuator on a topic. The simulated gate is part of the
sorter, so the sorter reports for it. All clocks are CLOCK_MONOTONIC.

"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
import math
from pathlib import Path
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import click
import numpy as np

from benchmarks.charts import share_curves
from benchmarks.plc import PlcProcess
from benchmarks.report import machine, publish, ROOT, Table
from firmware.twin.device_twin import DeviceTwin

# Together less than the 100 ms between two of 600 parts a minute, minus their unevenness.
WINDOW_S, DEAD_TIME_S = 0.045, 0.04
TRAVEL_S, SPEED_M_PER_S = 0.4, 1.0
UNEVENNESS_S = 0.005
VERDICT_AFTER_S = (0.02, 0.25)
STALL_S = 1.0
RATES_PER_MINUTE = (120, 600)
GOAL_MS = 10.0
STALLED, CUT, KILLED = 'scorer stalls 1 s', 'cable cut 2 s', 'server killed 2 s'
FAULT_S = 2.0
FAULT_AT_PART = 0.4


@dataclass
class BeltPart:
    """
    One part of the simulated belt.

    Parameters
    ----------
    number : int
        Its part_id.
    exposed_s : float
        Steady clock, seconds.
    passes : bool or None
        Its verdict; None = none ever comes.
    decided_s : float
        When that comes, steady clock, seconds.

    """

    number: int
    exposed_s: float
    passes: bool | None
    decided_s: float

    @property
    def arrival_s(self) -> float:
        return self.exposed_s + TRAVEL_S

    @property
    def fire_s(self) -> float:
        return self.arrival_s - WINDOW_S / 2

    @property
    def has_fresh_pass(self) -> bool:
        return self.passes is True and self.decided_s < self.fire_s


def belt(parts: int, per_minute: float, *, stalls: bool, seed: int) -> list[BeltPart]:
    """
    Lay parts on a belt that starts at 0: seven in ten good, one in fifty without a verdict.

    """
    random = np.random.default_rng(seed)
    pitch_s = 60.0 / per_minute
    stall_from_s = parts * pitch_s * FAULT_AT_PART
    laid = []
    for number in range(parts):
        exposed_s = number * pitch_s + random.uniform(-UNEVENNESS_S, UNEVENNESS_S)
        decided_s = exposed_s + random.uniform(*VERDICT_AFTER_S)
        passes = None if random.uniform() < 0.02 else bool(random.uniform() < 0.7)
        if stalls and stall_from_s <= decided_s < stall_from_s + STALL_S:
            decided_s += STALL_S
        laid.append(BeltPart(number, exposed_s, passes, decided_s))
    return laid


class GateSide(ABC):
    """
    A gate, seen from outside the sorter.

    """

    def __init__(self) -> None:
        self.moved: list[tuple[float, bool]] = []

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """
        Give the sorter's parameters for it.

        """

    def movements(self) -> list[tuple[float, bool]]:
        """
        Give the times when it moved, and whether it opened.

        """
        return self.moved


class BreakableSide(GateSide):
    """
    A gate whose connection can break.

    """

    @abstractmethod
    def break_down(self) -> None:
        """
        Let the connection break.

        """

    @abstractmethod
    def mend(self) -> None:
        """
        Mend it.

        """


class SimulatedSide(GateSide):
    """
    The gate in the sorter's memory.

    """

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'simulated'}


class SerialSide(BreakableSide):
    """
    The firmware's twin at a serial port.

    """

    def __init__(self, twin: DeviceTwin) -> None:
        super().__init__()
        self._twin = twin

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'serial', 'gate_port': self._twin.usb}

    def break_down(self) -> None:
        self._twin.tell('cut usb')

    def mend(self) -> None:
        self._twin.tell('plug usb')

    def movements(self) -> list[tuple[float, bool]]:
        while not self._twin.movements.empty():
            movement = self._twin.movements.get()
            self.moved.append((movement.time_s, movement.is_open))
        return self.moved


class ModbusSide(BreakableSide):
    """
    A PLC that times the window.

    """

    def __init__(self, plc: PlcProcess) -> None:
        super().__init__()
        self._plc = plc

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'modbus', 'modbus_host': '127.0.0.1', 'modbus_port': self._plc.port}

    def break_down(self) -> None:
        self._plc.kill()
        # Its outputs fall when it dies.
        self._plc.movements.put((time.monotonic(), False))

    def mend(self) -> None:
        self._plc.start()

    def movements(self) -> list[tuple[float, bool]]:
        while not self._plc.movements.empty():
            self.moved.append(self._plc.movements.get())
        return self.moved


class TopicSide(GateSide):
    """
    An actuator that listens to a topic and answers.

    """

    def __init__(self, context: Any, namespace: str) -> None:
        super().__init__()
        from rclpy.node import Node
        from std_msgs.msg import Bool

        from anomaly_inspection.nodes.qos import NEWEST
        from anomaly_inspection.nodes.spinning import NodeThread

        self._node = Node('actuator', namespace=namespace, context=context)
        self._state = self._node.create_publisher(Bool, 'gate_state', NEWEST)
        self._node.create_subscription(Bool, 'gate', self._take, NEWEST)
        self._is_open = False
        self._thread = NodeThread([self._node], 'actuator', context=context)
        self._thread.start()

    def parameters(self) -> dict[str, Any]:
        return {'gate': 'topic'}

    def close(self) -> None:
        """
        Take the actuator off the network.

        """
        self._thread.stop()
        self._node.destroy_node()

    def _take(self, told: Any) -> None:
        if told.data != self._is_open:
            self._is_open = told.data
            self.moved.append((time.monotonic(), told.data))
        self._state.publish(told)


@contextmanager
def gate_side(gate: str, context: Any, namespace: str) -> Iterator[GateSide]:
    """
    Set up the gate of that name, and take it down afterwards.

    """
    if gate == 'serial':
        # Running for a while, as a real device is.
        with (
            tempfile.TemporaryDirectory() as folder,
            DeviceTwin(Path(folder), uptime_ms=100_000) as twin,
        ):
            yield SerialSide(twin)
    elif gate == 'modbus':
        with PlcProcess() as plc:
            yield ModbusSide(plc)
    elif gate == 'topic':
        side = TopicSide(context, namespace)
        try:
            yield side
        finally:
            side.close()
    else:
        yield SimulatedSide()


class Line:
    """
    Plays camera and decider for a sorter in a process of its own.

    """

    def __init__(self, context: Any, namespace: str) -> None:
        from rclpy.node import Node
        from std_srvs.srv import Trigger

        from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
        from anomaly_inspection.nodes.qos import EVENT, LATCHED
        from anomaly_inspection.nodes.spinning import NodeThread

        self.events: list[Any] = []
        self.line_stops: list[tuple[float, Any]] = []
        self.refused_resets: list[str] = []
        self._node = Node('line', namespace=namespace, context=context)
        self._part = self._node.create_publisher(Part, 'part', EVENT)
        self._decision = self._node.create_publisher(Decision, 'decision', EVENT)
        self._node.create_subscription(SortEvent, 'sort_event', self.events.append, EVENT)
        self._node.create_subscription(
            LineStop,
            'line_stop',
            lambda stop: self.line_stops.append((time.monotonic(), stop)),
            LATCHED,
        )
        self._reset = self._node.create_client(Trigger, 'sorter/reset')
        self._thread = NodeThread([self._node], 'line', context=context)
        self._thread.start()

    def is_ready(self) -> bool:
        """
        Tell whether the sorter is there and hears everything.

        """
        return (
            bool(self.line_stops)
            and self._part.get_subscription_count() == 1
            and self._decision.get_subscription_count() == 1
            and self._node.count_publishers(f'{self._node.get_namespace()}/sort_event') == 1
            and self._reset.service_is_ready()
        )

    def expose(self, part: BeltPart) -> None:
        """
        Announce a part.

        """
        from anomaly_inspection.msg import Part
        from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
        from anomaly_inspection.steady_clock import steady_clock_id

        exposed_ns = round(1e9 * part.exposed_s)
        self._part.publish(
            Part(
                session_id='belt',
                part_id=part.number,
                frame_stamps=[stamp_from_nanoseconds(exposed_ns)],
                frame_names=[''],
                frame_problems=[''],
                is_complete=True,
                exposure_steady_ns=exposed_ns,
                steady_clock_id=steady_clock_id(),
            )
        )

    def decide(self, part: BeltPart) -> None:
        """
        Publish the verdict on a part.

        """
        from anomaly_inspection.msg import Decision

        verdict = Decision.VERDICT_PASS if part.passes else Decision.VERDICT_REJECT
        self._decision.publish(Decision(session_id='belt', part_id=part.number, verdict=verdict))

    @property
    def must_stand(self) -> bool:
        """
        Tell whether the line is stopped now.

        """
        return bool(self.line_stops[-1][1].active)

    def attend(self, ended: threading.Event) -> None:
        """
        Ask for a reset whenever the line is stopped, as an operator does.

        """
        from std_srvs.srv import Trigger

        while not ended.wait(0.2):
            if self.must_stand:
                answer = self._reset.call_async(Trigger.Request())
                while not answer.done() and not ended.wait(0.01):
                    pass
                if answer.done() and not answer.result().success:
                    self.refused_resets.append(answer.result().message)

    def close(self) -> None:
        """
        Leave the network.

        """
        self._thread.stop()
        self._node.destroy_node()


@dataclass
class Observed:
    """
    The observations of one run.

    Parameters
    ----------
    gate, fault : str
        Which gate; what broke, '' = nothing.
    per_minute : int
        Parts a minute.
    parts, fresh_passes : int
        On the belt; of them with a PASS in time.
    wrong : int
        Parts without a fresh PASS whose window found the gate open, and openings for no part.
    missed : int
        Parts with a fresh PASS that did not pass.
    without_event, with_two_events : int
        Of the sorter's.
    late_ms : list of float
        Delay of each opening after its planned time.
    outcomes : Counter of str
        Causes and outcomes of the sort events.
    stop_after_s : float
        From the fault to the line stop, seconds; NaN when there was none.
    stop_reasons : list of str
        Why the line stopped.
    runs_again : bool
        Whether the line ran at the end.
    refused_resets : int
        How often the reset was refused before it was granted.
    passed_after_reset : int
        Parts that passed after it.

    """

    gate: str
    fault: str
    per_minute: int
    parts: int
    fresh_passes: int = 0
    wrong: int = 0
    missed: int = 0
    without_event: int = 0
    with_two_events: int = 0
    late_ms: list[float] = field(default_factory=list)
    # The largest delay of this program itself; more than a window means that the machine stood
    # still.
    belt_late_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    stop_after_s: float = math.nan
    stop_reasons: list[str] = field(default_factory=list)
    runs_again: bool = False
    refused_resets: int = 0
    passed_after_reset: int = 0


def openings(movements: list[tuple[float, bool]]) -> list[tuple[float, float]]:
    """
    Give the times between which the gate was open.

    """
    spans: list[tuple[float, float]] = []
    begin_s: float | None = None
    for time_s, is_open in movements:
        if is_open and begin_s is None:
            begin_s = time_s
        elif not is_open and begin_s is not None:
            spans.append((begin_s, time_s))
            begin_s = None
    return [*spans, (begin_s, math.inf)] if begin_s is not None else spans


def check(observed: Observed, parts: list[BeltPart], spans: list[tuple[float, float]]) -> None:
    """
    Compare what the gate did with what it should have done.

    """
    for_nobody = set(spans)
    for part in parts:
        begin_s, end_s = part.arrival_s - WINDOW_S / 2, part.arrival_s + WINDOW_S / 2
        met = [span for span in spans if span[0] < end_s and span[1] > begin_s]
        for_nobody -= set(met)
        if not part.has_fresh_pass:
            observed.wrong += bool(met)
            continue
        observed.fresh_passes += 1
        # Open when the part arrives, and commanded no later than the tracker allows.
        is_let_pass = any(
            span[0] <= begin_s + WINDOW_S / 4 + 0.01 and span[1] > part.arrival_s for span in met
        )
        observed.missed += not is_let_pass
        if is_let_pass:
            observed.late_ms.append(1e3 * (met[0][0] - part.fire_s))
    observed.wrong += len(for_nobody)


@contextmanager
def sorter_process(
    namespace: str, parameters: dict[str, Any], log: Path, prefix: str = ''
) -> Iterator[None]:
    """
    Run a sorter in a process of its own, started by the command `prefix`.

    """
    belt_parameters = {
        'gate_distance_m': TRAVEL_S * SPEED_M_PER_S,
        'belt_speed_m_per_s': SPEED_M_PER_S,
        'window_s': WINDOW_S,
        'dead_time_s': DEAD_TIME_S,
        'gate_timeout_s': DEAD_TIME_S,
    }
    code = 'from anomaly_inspection.nodes.sorter_node import main; main()'
    command = [
        *shlex.split(prefix),
        sys.executable,
        '-c',
        code,
        '--ros-args',
        '-r',
        f'__ns:={namespace}',
    ]
    for name, value in {**belt_parameters, **parameters}.items():
        command += ['-p', f'{name}:={value}']
    with log.open('w') as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_for(condition: Callable[[], object], what: str, log: Path, timeout_s: float) -> None:
    """
    Wait until a condition holds; exit with the sorter's log when it never does.

    """
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise click.ClickException(f'no {what} within {timeout_s:g} s: {log.read_text()}')
        time.sleep(0.02)


def run(
    context: Any,
    gate: str,
    per_minute: int,
    parts: int,
    *,
    fault: str = '',
    seed: int = 1,
    sorter_prefix: str = '',
) -> Observed:
    """
    Let parts go by one gate.

    Parameters
    ----------
    context : rclpy Context
        Of the line's node.
    gate : str
        The sorter's parameter of that name.
    per_minute : int
        Parts a minute.
    parts : int
        How many.
    fault : str
        What breaks after two fifths of the parts: STALLED, CUT or KILLED; '' = nothing.
    seed : int
        Of the belt's unevenness and the verdicts.
    sorter_prefix : str
        Command that starts the sorter, such as 'chrt -f 50'.

    """
    observed = Observed(gate, fault, per_minute, parts)
    namespace = f'/{gate}_{per_minute}_{fault.split()[0] if fault else "sound"}'
    laid = belt(parts, per_minute, stalls=fault == STALLED, seed=seed)
    ended = threading.Event()
    operator, mend = threading.Thread(), threading.Thread()
    with (
        tempfile.TemporaryDirectory() as folder,
        gate_side(gate, context, namespace) as side,
        sorter_process(namespace, side.parameters(), Path(folder, 'log'), sorter_prefix),
    ):
        line = Line(context, namespace)
        try:
            wait_for(line.is_ready, 'sorter', Path(folder, 'log'), 60.0)
            start_s = time.monotonic() + 0.5
            for part in laid:
                part.exposed_s += start_s
                part.decided_s += start_s
            deeds: list[tuple[float, Callable[[], object]]] = []
            for part in laid:
                deeds.append((part.exposed_s, lambda part=part: line.expose(part)))
                if part.passes is not None:
                    deeds.append((part.decided_s, lambda part=part: line.decide(part)))
            broken_s = start_s + parts * 60.0 / per_minute * FAULT_AT_PART
            operator = threading.Thread(target=line.attend, args=(ended,))
            if fault in (CUT, KILLED):
                assert isinstance(side, BreakableSide)
                deeds.append((broken_s, side.break_down))
                # A server takes a second to start, so this is not done in the line's thread.
                mend = threading.Thread(target=side.mend)
                deeds.append((broken_s + FAULT_S, mend.start))
            operator.start()
            for due_s, deed in sorted(deeds, key=lambda deed: deed[0]):
                time.sleep(max(0.0, due_s - time.monotonic()))
                observed.belt_late_s = max(observed.belt_late_s, time.monotonic() - due_s)
                deed()
            end_s = time.monotonic() + TRAVEL_S + 10.0
            while time.monotonic() < end_s and (len(line.events) < parts or line.must_stand):
                time.sleep(0.05)
        finally:
            ended.set()
            for thread in (operator, mend):
                if thread.ident is not None:
                    thread.join()
            line.close()
        count = Counter(event.part_id for event in line.events)
        observed.without_event = sum(count[part.number] == 0 for part in laid)
        observed.with_two_events = sum(count[part.number] > 1 for part in laid)
        observed.refused_resets = len(line.refused_resets)
        _take_events(observed, line, laid, broken_s if fault else math.inf)
        moved = side.movements()
        if gate == 'simulated':
            moved = _as_the_sorter_says(line.events, laid)
    check(observed, laid, openings(moved))
    return observed


def _take_events(observed: Observed, line: Line, laid: list[BeltPart], broken_s: float) -> None:
    from anomaly_inspection.msg import SortEvent

    causes = {
        getattr(SortEvent, name): name.removeprefix('CAUSE_').lower()
        for name in dir(SortEvent)
        if name.startswith('CAUSE_')
    }
    stops = [(time_s, stop) for time_s, stop in line.line_stops if stop.active]
    runs_again = [time_s for time_s, stop in line.line_stops if not stop.active]
    observed.stop_reasons = [stop.reason for _, stop in stops]
    observed.runs_again = not line.must_stand
    after = [time_s - broken_s for time_s, _ in stops if time_s >= broken_s]
    observed.stop_after_s = min(after, default=math.nan)
    exposed_s = {part.number: part.exposed_s for part in laid}
    for event in line.events:
        failed = event.outcome == SortEvent.OUTCOME_FAILED
        passed = event.action == SortEvent.ACTION_PASSED
        words = ('passed' if passed else 'rejected', causes[event.cause], 'failed' * failed)
        observed.outcomes[' '.join(words).strip()] += 1
        if stops and runs_again and exposed_s[event.part_id] > runs_again[-1] and passed:
            observed.passed_after_reset += 1


def _as_the_sorter_says(events: list[Any], laid: list[BeltPart]) -> list[tuple[float, bool]]:
    from anomaly_inspection.msg import SortEvent

    plan = {part.number: part for part in laid}
    movements = []
    for event in events:
        if event.action == SortEvent.ACTION_PASSED:
            part = plan[event.part_id]
            movements.append((part.fire_s + event.firing_error_s, True))
            movements.append((part.arrival_s + WINDOW_S / 2, False))
    return sorted(movements)


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """
    Keep the cores busy with this many processes of ordinary priority.

    """
    ordinary = [
        sys.executable,
        '-c',
        'import os\nos.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))\nwhile True: pass',
    ]
    processes = [subprocess.Popen(ordinary) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(
    runs: list[tuple[str, int, int, str]],
    *,
    at_once: int,
    busy: int = 0,
    sorter_prefix: str = '',
) -> list[Observed]:
    """
    Run several lines, each with a sorter process and a gate of its own, side by side.

    Parameters
    ----------
    runs : list of (gate, parts a minute, parts, fault)
        What `run` takes.
    at_once : int
        Number of lines side by side.
    busy : int
        Processes that burn time beside them.
    sorter_prefix : str
        As in `run`.

    """
    from rclpy.context import Context

    context = Context()
    context.init(args=[])

    def one(what: tuple[str, int, int, str]) -> Observed:
        gate, per_minute, parts, fault = what
        observed = run(context, gate, per_minute, parts, fault=fault, sorter_prefix=sorter_prefix)
        late = _percentiles(observed.late_ms)
        print(gate, per_minute, fault or 'sound', f'wrong {observed.wrong}', late, flush=True)
        return observed

    try:
        with busy_processes(busy), ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(one, runs))
    finally:
        context.try_shutdown()


def _percentiles(values: list[float]) -> dict[str, float]:
    if not values:
        return dict.fromkeys(('p50', 'p99', 'max'), math.nan)
    size = np.abs(values)
    return {
        'p50': float(np.percentile(size, 50)),
        'p99': float(np.percentile(size, 99)),
        'max': float(size.max()),
    }


def _row(one: Observed) -> dict[str, Any]:
    return {
        'gate': one.gate,
        'parts_per_minute': one.per_minute,
        'fault': one.fault,
        'parts': one.parts,
        'fresh_passes': one.fresh_passes,
        'wrong': one.wrong,
        'missed': one.missed,
        'without_event': one.without_event,
        'with_two_events': one.with_two_events,
        'belt_late_ms': 1e3 * one.belt_late_s,
        'firing_late_ms': _percentiles(one.late_ms),
        'outcomes': dict(one.outcomes),
        'stop_after_s': one.stop_after_s,
        'stop_reasons': one.stop_reasons,
        'runs_again': one.runs_again,
        'refused_resets': one.refused_resets,
        'passed_after_reset': one.passed_after_reset,
    }


def _publish(observed: list[Observed], beside: str, before: dict[str, Any]) -> Path:
    rows = [_row(one) for one in observed]
    timing = Table(
        'Firing',
        (
            *('gate', 'parts/min', 'parts', 'fresh PASS', 'wrong', 'missed', 'no event'),
            *('two events', 'line stops', 'belt late / ms', 'p50 / ms', 'p99 / ms', 'max / ms'),
        ),
        [
            (
                *(row['gate'], row['parts_per_minute'], row['parts'], row['fresh_passes']),
                *(row['wrong'], row['missed'], row['without_event'], row['with_two_events']),
                len(row['stop_reasons']),
                row['belt_late_ms'],
                *row['firing_late_ms'].values(),
            )
            for row in rows
            if not row['fault']
        ],
        'Wrong: the gate was open for a part without a fresh PASS, or for no part. Missed: a '
        'part with one that the gate did not let pass. Milliseconds: from the planned time to the '
        f'movement of the gate, as the gate says; goal: p99 at most {GOAL_MS:g}. Line stops: the '
        'gate did not answer in time; reset after 0.2 s, and what is on the belt is missed. '
        'Belt late: the simulated belt and camera, at most; where that comes near the window, the '
        'machine stood still, simulated gates and all.',
    )
    faults = Table(
        'Faults',
        (
            *('gate', 'fault', 'parts', 'wrong', 'good sorted out', 'no event', 'two events'),
            *('line stop after / s', 'refused resets', 'passed after reset'),
        ),
        [
            (
                *(row['gate'], row['fault'], row['parts'], row['wrong'], row['missed']),
                *(row['without_event'], row['with_two_events'], row['stop_after_s']),
                *(row['refused_resets'], row['passed_after_reset']),
            )
            for row in rows
            if row['fault']
        ],
        'The belt runs on; what breaks is mended after 2 s; ~/reset is called every 0.2 s while '
        'the line is stopped. Good sorted out: parts with a fresh PASS that the gate could not be '
        'opened for.',
    )
    panels: dict[str, dict[str, list[float]]] = {}
    for one in observed:
        if not one.fault:
            panel = panels.setdefault(f'{one.per_minute} parts a minute', {})
            panel[one.gate] = one.late_ms
    return publish(
        'gate_timing',
        f'The gate of a simulated belt: window {1e3 * WINDOW_S:g} ms, dead time and time-out '
        f'{1e3 * DEAD_TIME_S:g} ms, travel {TRAVEL_S:g} s, parts uneven by '
        f'+-{1e3 * UNEVENNESS_S:g} ms, verdicts {1e3 * VERDICT_AFTER_S[0]:g} to '
        f'{1e3 * VERDICT_AFTER_S[1]:g} ms after the exposure; the sorter in a process of its own, '
        f'{beside}.',
        [table for table in (timing, faults) if table.rows],
        plot=share_curves(
            'Share of openings by time after the planned one',
            panels or {'no run without a fault': {}},
            axis_title='ms',
            low=0.0,
            high=2 * GOAL_MS,
            goal=GOAL_MS,
        ),
        figures={'beside': beside, 'rows': rows},
        before=before,
    )


@click.command()
@click.option('--parts', default=200, show_default=True, help='Number of parts of each line.')
@click.option(
    '--rate', 'rates', type=int, multiple=True, default=RATES_PER_MINUTE, show_default=True
)
@click.option(
    '--gate',
    'gates',
    multiple=True,
    default=('simulated', 'serial', 'modbus', 'topic'),
    show_default=True,
)
@click.option(
    '--fault-parts',
    default=200,
    show_default=True,
    help='Number of parts of each fault run; 0: no fault runs.',
)
@click.option('--at-once', default=4, show_default=True, help='Lines side by side.')
@click.option('--busy', default=0, show_default=True, help='Number of busy processes beside them.')
@click.option('--sorter-prefix', default='', help="Command that starts the sorter: 'chrt -f 50'.")
def main(
    parts: int,
    rates: tuple[int, ...],
    gates: tuple[str, ...],
    fault_parts: int,
    at_once: int,
    busy: int,
    sorter_prefix: str,
) -> None:
    """
    Measure when the gates fire, then break them.

    On a busy machine, run this under `chrt -f 50` itself, as belt and gates are outside the
    computer, and give the sorter 'chrt -o 0', or nothing to have it first as well.

    """
    before = machine()
    runs = [(gate, rate, parts, '') for rate in rates for gate in gates]
    if fault_parts:
        runs += [(gate, rates[-1], fault_parts, STALLED) for gate in gates]
        broken = {'serial': CUT, 'modbus': KILLED}
        runs += [(g, rates[-1], fault_parts, broken[g]) for g in gates if g in broken]
    observed = measure(runs, at_once=at_once, busy=busy, sorter_prefix=sorter_prefix)
    beside = f'{at_once} lines side by side'
    if busy:
        beside += f' and {busy} busy processes, the sorter started by {sorter_prefix!r}'
    _publish(observed, beside, before)


if __name__ == '__main__':
    main()
