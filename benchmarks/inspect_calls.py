# SPDX-License-Identifier: Apache-2.0
"""
Ask for the verdict on the part in place at random times, and hold every answer to the truth.

`python -m benchmarks.inspect_calls` runs part detector, scorer, decider and inspector in processes
of their own, with a camera driver that runs free over a place where good and bad parts of the
simulated line are exchanged at random times, often just before a goal. Goals are cancelled,
preempted, asked for with deadlines that are too short, and the scorer is frozen under some.

"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import json
import os
from pathlib import Path
import random
import signal
import statistics
import tempfile
import threading
import time
from typing import Any

import click

from anomaly_inspection.capture.simulated_frame import render_part
from anomaly_inspection.capture.simulated_settings import SimulatedLineSettings
from anomaly_inspection.deciding.inspection import Outcome
from anomaly_inspection.learning.teach import teach, TeachOptions
from anomaly_inspection.recipes.folder import write_recipe
from benchmarks.cell_processes import Processes
from benchmarks.report import machine, RESULTS, ROOT

TAUGHT_PARTS = 20
PICTURES = 8
FRAME_S = 0.05
STATION_PASSES = 2
MODES = ('station', 'belt')
DEADLINE_S = 1.5
FROZEN_DEADLINE_S = 0.4
# The way of goal and result between two processes of a busy machine.
TRANSPORT_S = 0.5
# How often which kind of call comes.
KINDS = {'plain': 0.6, 'cancelled': 0.12, 'preempted': 0.12, 'hurried': 0.08, 'frozen': 0.08}


@dataclass
class Call:
    """
    One goal, and what came of it; times are CLOCK_MONOTONIC, seconds.

    """

    number: int
    kind: str
    deadline_s: float
    sent_s: float = 0.0
    answered_s: float = 0.0
    status: int = 0
    verdict: int = 0
    outcome: int = 0
    was_cancelled: bool = False
    part: tuple[str, int] | None = None
    latency_s: float = 0.0
    message: str = ''
    wrong: str = ''
    handle: Any = field(default=None, repr=False)
    ended: threading.Event = field(default_factory=threading.Event, repr=False)


@dataclass(frozen=True)
class Exposure:
    """
    What a frame shows.

    """

    at_s: float
    is_good: bool


class Place:
    """
    A driver that runs free over the place where the part lies, and remembers what it has shown.

    """

    def __init__(self, node: Any, pictures: list[tuple[bool, Any]]) -> None:
        from sensor_msgs.msg import Image

        self._pictures = pictures
        self._in_place = pictures[0]
        self._images = node.create_publisher(Image, 'image_raw', 5)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='driver')
        #: By stamp in nanoseconds.
        self.shown: dict[int, Exposure] = {}

    def __enter__(self) -> Place:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def exchange(self, rng: random.Random) -> None:
        """
        Put another part in place.

        """
        self._in_place = rng.choice(self._pictures)

    def _run(self) -> None:
        from anomaly_inspection.nodes.image_conversion import image_from_array
        from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds

        while not self._stop.wait(FRAME_S):
            is_good, pixels = self._in_place
            stamp_ns, now_s = time.time_ns(), time.monotonic()
            message = image_from_array(pixels, stamp_from_nanoseconds(stamp_ns), 'camera')
            self.shown[stamp_ns] = Exposure(now_s, is_good)
            self._images.publish(message)


class Client:
    """
    Sends goals, and keeps what it hears of parts.

    """

    def __init__(self, node: Any) -> None:
        from rclpy.action import ActionClient

        from anomaly_inspection.action import Inspect
        from anomaly_inspection.msg import Part
        from anomaly_inspection.nodes.qos import EVENT
        from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp

        self._goal_type = Inspect.Goal
        self.action = ActionClient(node, Inspect, 'inspect')
        #: Stamps of the frames of each part, by key.
        self.stamps: dict[tuple[str, int], list[int]] = {}

        def take(part: Any) -> None:
            stamps = [nanoseconds_from_stamp(stamp) for stamp in part.frame_stamps]
            self.stamps[part.session_id, part.part_id] = stamps

        node.create_subscription(Part, 'part', take, EVENT)

    def send(self, call: Call) -> None:
        """
        Send a goal, and wait until it has been accepted.

        """
        accepted = threading.Event()

        def take_result(future: Any) -> None:
            answer = future.result()
            call.answered_s = time.monotonic()
            result = answer.result
            call.status, call.verdict, call.outcome = answer.status, result.verdict, result.outcome
            call.message, call.latency_s = result.message, result.latency_s
            call.part = (result.session_id, result.part_id) if result.part_id else None
            call.ended.set()

        def take_handle(future: Any) -> None:
            call.handle = future.result()
            call.handle.get_result_async().add_done_callback(take_result)
            accepted.set()

        call.sent_s = time.monotonic()
        goal = self._goal_type(deadline_s=call.deadline_s, serial=f'{call.number}')
        self.action.send_goal_async(goal).add_done_callback(take_handle)
        accepted.wait(10.0)

    def cancel(self, call: Call) -> None:
        """
        Cancel a goal; remember whether that was granted.

        """
        done = threading.Event()
        future = call.handle.cancel_goal_async()
        future.add_done_callback(lambda _: done.set())
        if done.wait(10.0):
            call.was_cancelled = bool(future.result().goals_canceling)


def problem_of(call: Call, exposures: list[Exposure], required: int) -> str:
    """
    Say what is wrong with the answer to a call; '' = nothing.

    Parameters
    ----------
    call : Call
        A call that has ended, or was waited for long enough.
    exposures : list of Exposure
        What the frames of its part show; empty when there is no part.
    required : int
        How many of them must show a good part: the next part may come before the last frame.

    """
    if not call.ended.is_set():
        return 'no answer'
    if call.answered_s - call.sent_s > call.deadline_s + TRANSPORT_S:
        return f'answered {call.answered_s - call.sent_s:.3f} s after the goal'
    if call.verdict not in (1, 2):
        return f'verdict {call.verdict}'
    has_passed = call.verdict == 1
    if any(exposure.at_s < call.sent_s for exposure in exposures):
        return 'a frame from before the goal'
    if not has_passed:
        is_judged_good = call.outcome == 1 and exposures and all(e.is_good for e in exposures)
        return 'a good part was rejected' if is_judged_good else ''
    if call.was_cancelled:
        return 'PASS after it was cancelled'
    if call.kind == 'frozen':
        return 'PASS with a frozen scorer'
    if call.status != 4 or call.outcome != 1:
        return f'PASS with status {call.status} and outcome {call.outcome}'
    if call.latency_s >= call.deadline_s:
        return f'PASS {call.latency_s:.3f} s after the goal'
    if not exposures:
        return 'PASS without a part'
    good = sum(exposure.is_good for exposure in exposures)
    return '' if good >= required else 'a bad part has passed'


def figures(calls: list[Call], outcomes: dict[int, str]) -> dict[str, Any]:
    """
    Count answers by kind of call, and give the times of those that were judged.

    """
    judged_ms = sorted(
        1e3 * (call.answered_s - call.sent_s)
        for call in calls
        if call.outcome == 1 and call.kind == 'plain'
    )
    over_ms = sorted(1e3 * (call.answered_s - call.sent_s - call.deadline_s) for call in calls)
    answers: dict[str, Counter[str]] = {}
    for call in calls:
        verdict = 'PASS' if call.verdict == 1 else 'REJECT'
        name = f'{verdict} {outcomes.get(call.outcome, "no answer")}'
        answers.setdefault(call.kind, Counter())[name] += 1
    return {
        'calls': len(calls),
        'wrong': [
            {'call': call.number, 'kind': call.kind, 'why': call.wrong, 'message': call.message}
            for call in calls
            if call.wrong
        ],
        'answers': {kind: dict(sorted(counts.items())) for kind, counts in answers.items()},
        'judged_plain': len(judged_ms),
        'p50_ms': statistics.median(judged_ms) if judged_ms else None,
        'p99_ms': judged_ms[int(0.99 * (len(judged_ms) - 1))] if judged_ms else None,
        'longest_ms': judged_ms[-1] if judged_ms else None,
        # Of all calls, as the client sees it: with the way of goal and result.
        'longest_after_deadline_ms': max(0.0, over_ms[-1]) if over_ms else None,
    }


def _product(folder: Path) -> tuple[Path, list[tuple[bool, Any]]]:
    line = SimulatedLineSettings(seed=41, defect_rate=0.0)
    taught = [render_part(line, index).image for index in range(TAUGHT_PARTS)]
    options = TeachOptions(scorers=('ssim', 'variation'), false_reject_rate=0.005)
    write_recipe(teach(taught, name='inspect', options=options), folder / 'recipe')
    bad = SimulatedLineSettings(seed=42, defect_rate=1.0, kinds=('missing_bore',))
    pictures = [(True, image) for image in taught[:PICTURES]]
    pictures += [(False, render_part(bad, index).image) for index in range(PICTURES)]
    return folder / 'recipe', pictures


def _start(processes: Processes, recipe: Path, mode: str) -> None:
    processes.start('scorer', recipe=recipe, max_age_s=5.0)
    processes.start(
        *('decider',),
        recipe=recipe,
        mode=mode,
        deadline_s=1.2,
        station_frames=3,
        station_required_passes=STATION_PASSES,
        state_folder='none',
    )
    processes.start(
        *('part_detector',),
        trigger='service',
        mode=mode,
        station_frames=3,
        station_interval_s=0.0,
        frame_timeout_s=0.5,
    )
    processes.start('inspector', asks='part_detector', deadline_s=DEADLINE_S)


def _run_call(
    client: Client, processes: Processes, place: Place, call: Call, rng: random.Random
) -> list[Call]:
    """
    Send one goal, and do to it what its kind says; gives the goals that were sent.

    """
    calls = [call]
    if rng.random() < 0.7:
        place.exchange(rng)
        time.sleep(rng.uniform(0.0, 0.06))
    if call.kind == 'frozen':
        processes.running['scorer'].send_signal(signal.SIGSTOP)
    client.send(call)
    if call.kind == 'cancelled':
        time.sleep(rng.uniform(0.0, 0.25))
        client.cancel(call)
    elif call.kind == 'preempted':
        time.sleep(rng.uniform(0.0, 0.25))
        place.exchange(rng)
        newer = Call(call.number, 'newer', DEADLINE_S)
        client.send(newer)
        calls.append(newer)
    for sent in calls:
        sent.ended.wait(sent.deadline_s + 5.0)
    if call.kind == 'frozen':
        processes.running['scorer'].send_signal(signal.SIGCONT)
    return calls


def _new_call(number: int, rng: random.Random) -> Call:
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    deadline_s = DEADLINE_S
    if kind == 'hurried':
        deadline_s = rng.uniform(0.02, 0.3)
    elif kind == 'frozen':
        deadline_s = FROZEN_DEADLINE_S
    return Call(number, kind, deadline_s)


def _inspect(folder: Path, mode: str, number: int, seed: int) -> dict[str, Any]:
    from rclpy.context import Context
    from rclpy.node import Node

    from anomaly_inspection.nodes.spinning import NodeThread

    recipe, pictures = _product(folder)
    rng = random.Random(seed)
    context = Context()
    context.init(args=[])
    node = Node('robot', context=context)
    client = Client(node)
    thread = NodeThread([node], 'robot', context=context)
    thread.start()
    calls: list[Call] = []
    config = ROOT / 'config' / 'cell.yaml'
    with Processes(folder, config, profile=True) as processes, Place(node, pictures) as place:
        _start(processes, recipe, mode)
        processes.wait(client.action.server_is_ready, 'the inspector')
        processes.wait(lambda: 'is in force' in processes.log('decider'), 'the recipe')
        time.sleep(3.0)
        for index in range(number):
            time.sleep(rng.uniform(0.0, 0.25))
            calls += _run_call(client, processes, place, _new_call(index + 1, rng), rng)
        for call in calls:
            stamps = client.stamps.get(call.part, []) if call.part else []
            exposures = [place.shown[stamp] for stamp in stamps if stamp in place.shown]
            call.wrong = problem_of(call, exposures, STATION_PASSES if mode == 'station' else 1)
    thread.stop()
    client.action.destroy()
    node.destroy_node()
    context.try_shutdown()
    names = {outcome.value: outcome.name for outcome in Outcome}
    return figures(calls, names)


@click.command()
@click.option('--calls', default=500, show_default=True, help='Goals, but for those that preempt.')
@click.option('--seed', default=1, show_default=True)
@click.option(
    '--mode', type=click.Choice(['station', 'belt']), default='station', show_default=True
)
@click.option('--report', type=click.Path(path_type=Path), default=RESULTS)
def main(calls: int, seed: int, mode: str, report: Path) -> None:
    """
    Run the calls, print the figures and write them as JSON.

    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(81 + os.getpid() % 20))
    with tempfile.TemporaryDirectory() as name:
        os.environ['ROS_HOME'] = str(Path(name) / 'ros')
        found = _inspect(Path(name), mode, calls, seed)
    content = {'machine': machine(), 'mode': mode, 'seed': seed, **found}
    report.mkdir(parents=True, exist_ok=True)
    (report / f'inspect_calls_{mode}.json').write_text(json.dumps(content, indent=2) + '\n')
    print(json.dumps(found, indent=2))
    if found['wrong']:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
