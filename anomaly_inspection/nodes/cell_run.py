# SPDX-License-Identifier: Apache-2.0
"""
Run the cell in one process on a source, watch every part from the camera to the gate, and sum up.

"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
import os
from pathlib import Path
import threading
from typing import Any, TYPE_CHECKING

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.evaluation.run_summary import PartRecord
from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
from anomaly_inspection.nodes.cell import Cell, NAMESPACE
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.parameter_file import check_parameter_file, NODE_NAMES
from anomaly_inspection.state_file import NO_FOLDER

if TYPE_CHECKING:
    from anomaly_inspection.capture.source import FrameSource

_START_TIMEOUT_S = 30.0
# Beyond deadline and travel time: what a busy machine may need to deliver the last messages.
_LAST_PART_TIMEOUT_S = 10.0
_KNOWN_AS = {Decision.KNOWN_AS_GOOD: 'good', Decision.KNOWN_AS_BAD: 'bad'}


@dataclass
class _Watched:
    part: Part | None = None
    decision: Decision | None = None
    sort_event: SortEvent | None = None


class _ObserverNode(Node):
    """
    Listens to what the cell says of every part, like any outsider would.

    """

    def __init__(self, context: Context, overlays: Path | None) -> None:
        super().__init__('run_observer', context=context)
        self.parts: OrderedDict[tuple[str, int], _Watched] = OrderedDict()
        self.sorted_out = threading.Condition()
        self.complete: list[tuple[str, int]] = []
        self.line_stop_reasons: list[str] = []
        self.overlays: list[Path] = []
        self._overlay_folder = overlays
        self._names: dict[int, tuple[str, str]] = {}
        self.create_subscription(Part, 'part', self._take_part, EVENT)
        self.create_subscription(Decision, 'decision', self._take_decision, EVENT)
        self.create_subscription(SortEvent, 'sort_event', self._take_sort_event, EVENT)
        self.create_subscription(LineStop, 'line_stop', self._take_line_stop, LATCHED)
        if overlays is not None:
            overlays.mkdir(parents=True, exist_ok=True)
            self.create_subscription(
                CompressedImage, 'overlay/compressed', self._take_overlay, EVENT
            )

    def _watched(self, message: Any) -> _Watched:
        return self.parts.setdefault((message.session_id, message.part_id), _Watched())

    def _take_part(self, message: Part) -> None:
        self._watched(message).part = message

    def _take_decision(self, message: Decision) -> None:
        watched = self._watched(message)
        watched.decision = message
        if watched.part is not None:
            stamp_ns = nanoseconds_from_stamp(watched.part.frame_stamps[0])
            verdict = Verdict(message.verdict).name
            self._names[stamp_ns] = (watched.part.frame_names[0], verdict)

    def _take_sort_event(self, message: SortEvent) -> None:
        with self.sorted_out:
            self._watched(message).sort_event = message
            self.complete.append((message.session_id, message.part_id))
            self.sorted_out.notify_all()

    def _take_line_stop(self, message: LineStop) -> None:
        if message.active:
            self.line_stop_reasons.append(message.reason)

    def _take_overlay(self, message: CompressedImage) -> None:
        assert self._overlay_folder is not None
        name, verdict = self._names.get(
            nanoseconds_from_stamp(message.header.stamp), ('unknown', 'UNKNOWN')
        )
        flat_name = Path(name).with_suffix('').as_posix().replace('/', '_')
        path = self._overlay_folder / f'{flat_name}_{verdict}.jpg'
        path.write_bytes(bytes(message.data))
        self.overlays.append(path)


@dataclass
class RunResult:
    """
    What came of a run.

    Parameters
    ----------
    records : list of PartRecord
        One for each part that was announced, in their order.
    line_stop_reasons : list of str
        Why the line was stopped, if it was.
    duration_s : float
        From the first part to the last sort event.
    overlays : list of Path
        Pictures written.
    source_problem : str
        Why the source ended before its time; '' when it did not.

    """

    records: list[PartRecord] = field(default_factory=list)
    line_stop_reasons: list[str] = field(default_factory=list)
    duration_s: float = 0.0
    overlays: list[Path] = field(default_factory=list)
    source_problem: str = ''


def run_cell(
    recipe: Path,
    source: FrameSource,
    source_name: str,
    *,
    rate_hz: float,
    parameter_file: Path,
    overlays: Path | None = None,
    most_parts: int | None = None,
    interrupted: threading.Event,
    part_done: Callable[[PartRecord], None],
) -> RunResult:
    """
    Run the cell until the source has ended and every part has been sorted.

    Parameters
    ----------
    recipe : Path
        Folder of the recipe.
    source : FrameSource
        Asked for the truth of each frame only; the camera node opens its own.
    source_name : str
        What the camera node opens.
    rate_hz : float
        Parts per second from files and the simulated line.
    parameter_file : Path
        Parameters of all nodes.
    overlays : Path or None
        Folder for the overlay of every part; None = draw none.
    most_parts : int or None
        Stop after so many parts; None = at the end of the source.
    interrupted : threading.Event
        Ends the run early; parts under way are still awaited.
    part_done : callable
        Called with each part's record when it has been sorted.

    Raises
    ------
    InspectionError
        When the parameter file is refused, or a node does not start; says which and why.

    """
    # Before rclpy is initialised: a demo on a laptop must never fire a neighbour's gate.
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    check_parameter_file(parameter_file)
    context = Context()
    rclpy.init(
        args=[
            *('--ros-args', '-r', f'__ns:=/{NAMESPACE}'),
            *('--params-file', str(parameter_file)),
        ],
        context=context,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    recipe_override = Parameter('recipe', value=str(recipe.resolve()))
    # A run begins with what it is given, whatever the run before has left.
    no_state = Parameter('state_folder', value=NO_FOLDER)
    given = {
        'camera': [
            Parameter('source', value=source_name),
            Parameter('rate_hz', value=float(rate_hz)),
            Parameter('autostart', value=False),
        ],
        'scorer': [recipe_override],
        'decider': [recipe_override],
    }
    try:
        cell = Cell(
            context=context,
            overrides={name: [no_state, *given.get(name, [])] for name in NODE_NAMES},
        )
        closest_s = cell.sorter.parameters.tracker_settings().closest_s
        is_rate_of_parts = cell.announcer is cell.camera and not source.is_live
        if is_rate_of_parts and 1 / rate_hz < closest_s:
            cell.stop()
            raise SettingError(
                f'rate {rate_hz:g} parts/s is refused: the gate can tell parts apart that come '
                f'{closest_s:g} s or more after each other (window_s and dead_time_s in '
                f'{parameter_file}), so at most {1 / closest_s:.3g} parts/s are allowed'
            )
        observer = _ObserverNode(context, overlays)
        observer_thread = NodeThread([observer], 'observer', context=context)
        try:
            observer_thread.start()
            cell.camera.trigger_configure()
            cell.start()
            _wait_until_ready(cell, interrupted, is_watched=overlays is not None)
            cell.camera.trigger_activate()
            return _watch(cell, observer, source, most_parts, interrupted, part_done)
        finally:
            cell.stop()
            observer_thread.stop()
            observer.destroy_node()
    finally:
        rclpy.try_shutdown(context=context)


def _wait_until_ready(cell: Cell, interrupted: threading.Event, *, is_watched: bool) -> None:
    # Scorer, decider, sorter and observer take the parts; the viewer does while it is watched.
    wanted = (4 + is_watched, 1 + is_watched)
    end_s = steady_s() + _START_TIMEOUT_S
    while not interrupted.wait(0.02):
        for node in cell.nodes:
            problem = node.problem('lifecycle')
            if problem is not None:
                raise InspectionError(f'{node.get_name()}: {problem}')
        waiting = [n.get_name() for n in cell.nodes if n is not cell.camera and not n.is_active]
        counts = cell.announcer.listener_counts() if not waiting else (0, 0)
        is_heard = all(count >= want for count, want in zip(counts, wanted, strict=True))
        if not cell.part_detector.is_idle:
            is_heard = is_heard and cell.camera.count_subscribers('image_raw') > 0
        if not waiting and cell.decider.is_ready and is_heard:
            return
        if steady_s() > end_s:
            raise InspectionError(
                f'the cell was not ready after {_START_TIMEOUT_S:g} s; '
                f'not active: {", ".join(waiting) or "none"}; '
                f'scorers ready: {cell.decider.is_ready}'
            )


def _watch(
    cell: Cell,
    observer: _ObserverNode,
    source: FrameSource,
    most_parts: int | None,
    interrupted: threading.Event,
    part_done: Callable[[PartRecord], None],
) -> RunResult:
    result = RunResult()
    began_s = last_s = steady_s()
    reported = 0
    give_up_s = cut_s = float('inf')
    while True:
        with observer.sorted_out:
            if len(observer.complete) == reported:
                observer.sorted_out.wait(0.1)
        while reported < len(observer.complete):
            part_done(_record(observer.parts[observer.complete[reported]], source))
            reported += 1
            last_s = steady_s()
        has_enough = most_parts is not None and cell.announcer.part_count >= most_parts
        is_over = cell.camera.has_ended.is_set() or interrupted.is_set() or has_enough
        if is_over and give_up_s == float('inf'):
            cell.camera.trigger_deactivate()
            # The last part may still wait for a better frame.
            is_cut = cell.announcer is cell.camera
            cut_s = steady_s() + (0.0 if is_cut else cell.part_detector.longest_wait_s + 0.1)
            give_up_s = steady_s() + _LAST_PART_TIMEOUT_S + cell.sorter.longest_wait_s
        if steady_s() >= cut_s and reported >= cell.announcer.part_count:
            break
        if steady_s() > give_up_s or not cell.is_running:
            break
    result.duration_s = last_s - began_s
    result.records = [_record(watched, source) for watched in observer.parts.values()]
    result.line_stop_reasons = observer.line_stop_reasons
    result.source_problem = cell.camera.end_problem
    if not cell.is_running:
        result.line_stop_reasons.append('a thread of the cell has died')
    # Parts that were announced but nobody heard of.
    for _ in range(cell.announcer.part_count - len(result.records)):
        result.records.append(PartRecord())
    result.overlays = observer.overlays
    return result


def _record(watched: _Watched, source: FrameSource) -> PartRecord:
    part, decision, event = watched.part, watched.decision, watched.sort_event
    name = part.frame_names[0] if part else ''
    return PartRecord(
        part_id=part.part_id if part else 0,
        name=name,
        truth=source.truth(name) if name else None,
        verdict=Verdict(decision.verdict).name if decision else '',
        reason=Reason(decision.reason).name if decision else '',
        comparison=decision.comparison if decision else '',
        known_as=_KNOWN_AS.get(decision.known_as, '') if decision else '',
        anomaly_score=decision.anomaly_score if decision else float('nan'),
        latency_s=decision.latency_s if decision else float('nan'),
        has_passed_gate=event.action == SortEvent.ACTION_PASSED if event else None,
        gate_is_confirmed=event is not None and event.outcome == SortEvent.OUTCOME_CONFIRMED,
        sort_detail=event.detail if event else 'no sort event came',
        firing_error_s=event.firing_error_s if event else float('nan'),
    )
