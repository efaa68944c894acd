# SPDX-License-Identifier: Apache-2.0
"""
Run the cell in one process on a source, watch every part from the camera to the gate, and sum up.

"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
import os
from pathlib import Path
import threading
from typing import TYPE_CHECKING

import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.evaluation.run_summary import PartRecord, RunFigures
from anomaly_inspection.nodes.cell import Cell, NAMESPACE
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.left_segments import remove_left_segments
from anomaly_inspection.nodes.robot_line import robot_overrides, RobotLine
from anomaly_inspection.nodes.run_observer import RunObserverNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.parameter_file import check_parameter_file, NODE_NAMES
from anomaly_inspection.printable import printable
from anomaly_inspection.state_file import NO_FOLDER

if TYPE_CHECKING:
    from anomaly_inspection.capture.source import FrameSource, Truth
    from anomaly_inspection.evaluation.frame_time import FrameTime
    from anomaly_inspection.evaluation.tray_figures import TrayFigures
    from anomaly_inspection.nodes.node_process import NodeProcess
    from anomaly_inspection.nodes.panel_process import PanelProcess

_START_TIMEOUT_S = 30.0
# A source that loops goes on for weeks.
_KEPT_RECORDS = 10_000
# Beyond deadline and travel time: what a busy machine may need to deliver the last messages.
_LAST_PART_TIMEOUT_S = 10.0


@dataclass
class RunResult:
    """
    What came of a run.

    Parameters
    ----------
    records : deque of PartRecord
        One for each part that was announced, in the order in which they were finished; with a
        source that loops the last 10000.
    figures : RunFigures
        Over all parts.
    line_stop_reasons : list of str
        Why the line was stopped, if it was.
    duration_s : float
        From the first part to the last sort event.
    overlays : list of Path
        Pictures written.
    overlay_problem : str
        Why pictures are missing; '' when all could be written.
    source_problem : str
        Why the source ended before its time; '' when it did not.
    recipe : Path or None
        Folder of the recipe that was in force at the end, if any.
    trays : TrayFigures or None
        What lies in the tray of the arm; None = there is no arm.

    """

    records: deque[PartRecord] = field(default_factory=deque)
    figures: RunFigures = field(default_factory=RunFigures)
    line_stop_reasons: list[str] = field(default_factory=list)
    duration_s: float = 0.0
    overlays: list[Path] = field(default_factory=list)
    overlay_problem: str = ''
    source_problem: str = ''
    recipe: Path | None = None
    trays: TrayFigures | None = None


def run_cell(
    recipe: Path | None,
    source: FrameSource,
    source_name: str,
    *,
    rate_hz: float,
    loop: bool = False,
    parameter_file: Path,
    overlays: Path | None = None,
    most_parts: int | None = None,
    interrupted: threading.Event,
    part_done: Callable[[PartRecord], None],
    frame_time: FrameTime | None = None,
    warn: Callable[[str], None] = lambda sentence: None,
    panel: PanelProcess | None = None,
    recorder: NodeProcess | None = None,
    drift_watch: NodeProcess | None = None,
    robot: RobotLine | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> RunResult:
    """
    Run the cell until the source has ended and every part has been sorted.

    Parameters
    ----------
    recipe : Path or None
        Folder of the recipe; None = every part is rejected until one is loaded.
    source : FrameSource
        Asked for the truth of each frame only; the camera node opens its own.
    source_name : str
        What the camera node opens.
    rate_hz : float
        Parts per second from files and the simulated line.
    loop : bool
        Whether a folder or video begins anew at its end; False = as the parameter file says.
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
    frame_time : FrameTime or None
        What the recipe takes on this machine; None = take any rate.
    warn : callable
        Called with a sentence when the rate is hardly one that the recipe can keep.
    panel : PanelProcess or None
        The operator's page, served before the first part comes; None = no page.
    recorder : NodeProcess or None
        The recorder, started before the first part comes; None = no records.
    drift_watch : NodeProcess or None
        The drift watch, started before the first part comes; None = nobody watches for drift.
    robot : RobotLine or None
        A simulated belt with an arm in the place of a gate; None = the parameter file's gate.
    tell : callable
        Called with the sentences that say where the page is and where records go.

    Raises
    ------
    SettingError
        When the gate or the recipe is too slow for the rate; says which rates are allowed. When
        the page cannot be served.
    InspectionError
        When the parameter file is refused, or a node does not start; says which and why.

    """
    # Before rclpy is initialised: a demo on a laptop must never fire a neighbour's gate.
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    check_parameter_file(parameter_file)
    remove_left_segments()
    context = Context()
    rclpy.init(
        args=[
            *('--ros-args', '-r', f'__ns:=/{NAMESPACE}'),
            *('--params-file', str(parameter_file)),
        ],
        context=context,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    with ExitStack() as stack:
        stack.callback(rclpy.try_shutdown, context=context)
        observer = RunObserverNode(context, overlays)
        stack.callback(observer.destroy_node)
        observer_thread = NodeThread([observer], 'observer', context=context)
        stack.callback(observer_thread.stop)
        overrides = _overrides(recipe, source_name, rate_hz, loop)
        if robot is not None:
            for name, given in robot_overrides().items():
                overrides[name] += given
        cell = Cell(context=context, overrides=overrides)
        stack.callback(cell.stop)
        if robot is not None:
            # Stopped first: the arm may still hold a part when the sorter ends.
            stack.callback(robot.stop)
            robot.start_arm(context, cell.sorter.parameters)
        is_paced = cell.announcer is cell.camera and not source.is_live
        _check_rate(cell, rate_hz if is_paced else None, parameter_file, frame_time, warn)
        if panel is not None:
            stack.enter_context(panel)
            tell(f"The operator's page: {panel.address}")
        if recorder is not None:
            stack.enter_context(recorder)
            tell(f'Records go to {recorder.said}')
        if drift_watch is not None:
            stack.enter_context(drift_watch)
        observer_thread.start()
        cell.camera.trigger_configure()
        cell.start()
        n_listeners = sum(one is not None for one in (panel, recorder, drift_watch))
        _wait_until_ready(
            cell, interrupted, is_watched=overlays is not None, n_listeners=n_listeners
        )
        cell.camera.trigger_activate()
        if robot is not None:
            # A part that comes before the camera reads would be seen too late.
            while not (cell.camera.is_reading.wait(0.1) or interrupted.is_set()):
                if cell.camera.has_ended.is_set() or not cell.is_running:
                    break
            robot.start_belt()
        kept = _KEPT_RECORDS if loop else None
        result = _watched(cell, observer, source, most_parts, interrupted, part_done, kept)
        if robot is not None:
            result.trays = robot.figures(result.records)
        return result


def _overrides(
    recipe: Path | None, source_name: str, rate_hz: float, loop: bool
) -> dict[str, list[Parameter]]:
    # '': a recipe of the parameter file must not come instead.
    of_recipe = Parameter('recipe', value=str(recipe.resolve()) if recipe else '')
    # A run begins with what it is given, whatever the run before has left.
    no_state = Parameter('state_folder', value=NO_FOLDER)
    given = {
        'camera': [
            Parameter('source', value=source_name),
            Parameter('rate_hz', value=float(rate_hz)),
            Parameter('autostart', value=False),
            *([Parameter('loop', value=True)] if loop else []),
        ],
        'scorer': [of_recipe],
        'decider': [of_recipe],
    }
    return {name: [no_state, *given.get(name, [])] for name in NODE_NAMES}


def _check_rate(
    cell: Cell,
    rate_hz: float | None,
    parameter_file: Path,
    frame_time: FrameTime | None,
    warn: Callable[[str], None],
) -> None:
    """
    Refuse a rate at which the cell could only reject parts and stop the line.

    """
    has_arm = cell.sorter.parameters.gate == 'action'
    # What an arm has no time for, it leaves.
    closest_s = 0.0 if has_arm else cell.sorter.parameters.tracker_settings().closest_s
    if rate_hz is not None and 1 / rate_hz < closest_s:
        raise SettingError(
            f'rate {rate_hz:g} parts/s is refused: the gate needs {closest_s:g} s from part to '
            f'part (window_s and dead_time_s in {printable(parameter_file)}); allowed: up to '
            f'{1 / closest_s:.3g} parts/s'
        )
    if frame_time is None:
        return
    deadline_s = cell.decider.parameters.deadline_s
    workers = min(cell.scorer.parameters.workers, len(os.sched_getaffinity(0)))
    refusal = frame_time.refusal(rate_hz, deadline_s, workers)
    if refusal:
        raise SettingError(refusal)
    warning = frame_time.warning(rate_hz, deadline_s, workers)
    if warning:
        warn(warning)


def _wait_until_ready(
    cell: Cell, interrupted: threading.Event, *, is_watched: bool, n_listeners: int
) -> None:
    # Scorer, decider, sorter and observer take the parts; the viewer does while it is watched, and
    # so do the processes beside the cell.
    wanted = (4 + is_watched + n_listeners, 1 + is_watched)
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
        is_ready = cell.decider.is_ready or not cell.decider.parameters.recipe
        if not waiting and is_ready and is_heard:
            return
        if steady_s() > end_s:
            raise InspectionError(
                f'the cell is not ready after {_START_TIMEOUT_S:g} s: '
                + (
                    f'{", ".join(waiting)} not active'
                    if waiting
                    else 'the nodes have not found each other'
                    if is_ready
                    else 'the scorers have not confirmed the recipe'
                )
            )


def _watched(
    cell: Cell,
    observer: RunObserverNode,
    source: FrameSource,
    most_parts: int | None,
    interrupted: threading.Event,
    part_done: Callable[[PartRecord], None],
    kept: int | None,
) -> RunResult:
    """
    Make a record of every part as it is finished, until the run is over.

    """
    result = RunResult(records=deque(maxlen=kept))

    def done(record: PartRecord) -> None:
        result.records.append(record)
        result.figures.take(record)
        part_done(record)

    def truth_of(name: str) -> Truth | None:
        return source.truth(name, with_mask=False)

    began_s = last_s = steady_s()
    ending: _Ending | None = None
    while cell.is_running:
        for heard in observer.finished(0.1):
            done(heard.record(truth_of))
            last_s = steady_s()
        has_enough = most_parts is not None and cell.announcer.part_count >= most_parts
        if ending is None and (
            cell.camera.has_ended.is_set() or interrupted.is_set() or has_enough
        ):
            ending = _Ending.begun(cell)
        if ending is not None and ending.is_over(cell, result.figures.parts):
            break
    result.duration_s = last_s - began_s
    for heard in observer.unfinished():
        done(heard.record(truth_of))
    # Parts that were announced but nobody heard of.
    for _ in range(cell.announcer.part_count - result.figures.parts):
        done(PartRecord())
    result.line_stop_reasons = observer.line_stop_reasons
    result.source_problem = cell.camera.end_problem
    if not cell.is_running:
        result.line_stop_reasons.append('a thread of the cell has died')
    result.overlays = observer.overlays
    result.overlay_problem = observer.overlay_problem
    result.recipe = cell.decider.recipe.path if cell.decider.is_ready else None
    return result


@dataclass(frozen=True)
class _Ending:
    """
    No more frames are taken, and the parts under way are awaited.

    Parameters
    ----------
    cut_s : float
        Steady time, seconds, from which on no further part is announced.
    give_up_s : float
        Steady time from which on the parts that are missing count as lost.

    """

    cut_s: float
    give_up_s: float

    @classmethod
    def begun(cls, cell: Cell) -> _Ending:
        """
        Stop the camera.

        """
        cell.camera.trigger_deactivate()
        # The last part of a stream may still wait for a better frame.
        is_cut = cell.announcer is cell.camera
        wait_s = 0.0 if is_cut else cell.part_detector.longest_wait_s + 0.1
        now_s = steady_s()
        return cls(now_s + wait_s, now_s + _LAST_PART_TIMEOUT_S + cell.sorter.longest_wait_s)

    def is_over(self, cell: Cell, finished_count: int) -> bool:
        """
        Whether every part has been finished, or there is no more hope of it.

        """
        now_s = steady_s()
        is_complete = now_s >= self.cut_s and finished_count >= cell.announcer.part_count
        return is_complete or now_s > self.give_up_s
