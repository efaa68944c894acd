# SPDX-License-Identifier: Apache-2.0
"""
Measure how exactly the gates fire on a simulated belt, and what passes when something breaks.

Parts lie on the belt a little unevenly, and their verdicts come after a varying time. The sorter
runs in a process of its own, over real topics. The gate itself reports when it moved: the
firmware's twin, the Modbus server, the actuator on a topic. The simulated gate is part of the
sorter, so the sorter reports for it. All clocks are CLOCK_MONOTONIC.

"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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

from benchmarks.gate_sides import BreakableSide, gate_side
from benchmarks.gate_timing_belt import (
    belt,
    BeltPart,
    DEAD_TIME_S,
    FAULT_AT_PART,
    SPEED_M_PER_S,
    TRAVEL_S,
    WINDOW_S,
)
from benchmarks.gate_timing_result import check, Observed, openings, percentiles
from benchmarks.gate_timing_tables import publish_figures
from benchmarks.report import machine, ROOT

RATES_PER_MINUTE = (120, 600)
STALLED, CUT, KILLED = 'scorer stalls 1 s', 'cable cut 2 s', 'server killed 2 s'
FAULT_S = 2.0


class Line:
    """
    Plays camera and decider for a sorter in a process of its own.

    Parameters
    ----------
    listeners : int
        How many nodes listen to parts and decisions: the sorter, and others beside it.

    """

    def __init__(self, context: Any, namespace: str, listeners: int = 1) -> None:
        from rclpy.node import Node
        from std_srvs.srv import Trigger

        from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
        from anomaly_inspection.nodes.qos import EVENT, LATCHED
        from anomaly_inspection.nodes.spinning import NodeThread

        self.events: list[Any] = []
        self.line_stops: list[tuple[float, Any]] = []
        self.refused_resets: list[str] = []
        self._listeners = listeners
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
            and self._part.get_subscription_count() == self._listeners
            and self._decision.get_subscription_count() == self._listeners
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
        late = percentiles(observed.late_ms)
        print(gate, per_minute, fault or 'sound', f'wrong {observed.wrong}', late, flush=True)
        return observed

    try:
        with busy_processes(busy), ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(one, runs))
    finally:
        context.try_shutdown()


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
    publish_figures(observed, beside, before)


if __name__ == '__main__':
    main()
