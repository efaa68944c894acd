# SPDX-License-Identifier: Apache-2.0
"""
The sorter node: fires the gate for the parts that passed, or has an arm pick them, and alone says
when the line must stop.

"""

from __future__ import annotations

from dataclasses import replace
import math
import threading
import time
from typing import Any, ClassVar

from std_srvs.srv import Trigger

from anomaly_inspection.errors import GateError, SettingError, StateError
from anomaly_inspection.msg import (
    BeltEncoder,
    Decision,
    Fault,
    LineRun,
    LineStop,
    Part,
    PartPose,
    SortEvent,
)
from anomaly_inspection.nodes.arm_face import ArmFace
from anomaly_inspection.nodes.belt_face import EncoderReader
from anomaly_inspection.nodes.gates import make_gate
from anomaly_inspection.nodes.inspection_node import ERROR, InspectionNode, steady_s, WARN
from anomaly_inspection.nodes.qos import EVENT, LATCHED, NEWEST, SENSOR
from anomaly_inspection.nodes.sorter_parameters import SorterParameters
from anomaly_inspection.nodes.spinning import spin_node
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from anomaly_inspection.sorting.encoder_belt import EncoderBelt
from anomaly_inspection.sorting.gate import Gate
from anomaly_inspection.sorting.part_tracker import PartTracker
from anomaly_inspection.sorting.pick_tracker import PickTracker
from anomaly_inspection.sorting.sort_record import SortRecord
from anomaly_inspection.sorting.sorter import LineStop as CoreLineStop
from anomaly_inspection.sorting.sorter import Sorter
from anomaly_inspection.sorting.sorter_memory import SorterMemory
from anomaly_inspection.sorting.stop_cause import StopCause
from anomaly_inspection.state_file import NO_FOLDER
from anomaly_inspection.steady_clock import exposure_on_this_clock

_LONGEST_SLEEP_S = 0.5
_CHECK_S = 1.0
# Discovery may take as long.
_DECIDER_MISSING_S = 5.0
_ENCODER_MISSING_S = 2.0
# Counts alone are not worth more writes to a flash disk.
_KEEP_COUNTS_S = 10.0
_BELT_UNKNOWN = (
    'the sorter has started and the gate rests in PASS: clear the belt between camera and gate, '
    'then reset'
)
_CAUSE_OF_FAULT = {
    Fault.CAUSE_NO_SCORES: StopCause.NO_SCORES,
    Fault.CAUSE_UNCONFIRMED: StopCause.UNCONFIRMED,
    Fault.CAUSE_VIEW_MISSING: StopCause.VIEW_MISSING,
}


class SorterNode(InspectionNode[SorterParameters]):
    """
    Takes part, decision and fault; moves the gate, gives sort_event, line_stop and line_run.

    The gate is moved by a thread of its own: neither a slow gate nor a slow callback holds up the
    other.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'line': ('line stop',),
        'belt': ('encoder',),
        'decisions': ('decider',),
        'memory': ('state',),
    }

    def __init__(self, **options: Any) -> None:
        self._sorter: Sorter | None = None
        self._gate: Gate | None = None
        self._arm: ArmFace | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._published_stop: LineStop | None = None
        self._line_run: Any = None
        self._permit_due_s = -math.inf
        self._memory: SorterMemory | None = None
        self._events = 0
        self._decider_heard_s = 0.0
        self._encoder_heard_s = 0.0
        super().__init__('sorter', SorterParameters, **options)

    @property
    def longest_wait_s(self) -> float:
        """
        From the exposure of a part to its sort event at the latest, seconds.

        """
        settings = self.parameters.tracker_settings()
        if self.parameters.gate == 'action':
            # On a belt that moves; one that stands keeps parts for longer.
            picks = self.parameters.pick_settings(self.parameters.undecided_to_stop)
            zone_s = picks.zone_to_m / picks.speed_mps
            return settings.travel_time_s + zone_s + picks.place_s
        return settings.travel_time_s + settings.window_s + settings.dead_time_s

    def configure(self) -> None:
        """
        Check belt and gate in time, make the endpoints.

        """
        settings = self.parameters.tracker_settings()
        belt = self.parameters.encoder_belt(settings)
        self._encoder = EncoderReader(self.parameters)
        # Lives until cleanup: a line stop outlasts deactivation, only a reset ends it.
        if self.parameters.gate == 'action':
            self._configure_arm(belt)
        else:
            self._gate = make_gate(self, self.parameters, settings)
            self._sorter = Sorter(PartTracker(settings, belt), self._gate)
        self._published_stop = None
        self._take_up_memory()
        self._line_run = None
        # Nothing but the belt can make a gate harmless that stays open when this process is dead.
        if settings.gate_rests_in_pass or not self._gate.closes_by_itself:
            self._line_run = self.publish_on(LineRun, 'line_run', NEWEST)
        # How long a permit counts: the shortest time between two parts that are told apart.
        self._pitch_s = settings.closest_s
        self._sort_event = self.publish_on(SortEvent, 'sort_event', EVENT)
        self._line_stop = self.publish_on(LineStop, 'line_stop', LATCHED)
        self.listen(Part, 'part', self._take_part, EVENT)
        if self.parameters.leading_view:
            self.listen(Part, f'{self.parameters.leading_view}/part', self._take_part, EVENT)
        self.listen(Decision, 'decision', self._take_decision, EVENT)
        self.listen(Fault, 'fault', self._take_fault, LATCHED)
        if self.parameters.belt == 'encoder':
            self.listen(BeltEncoder, 'encoder', self._take_encoder, SENSOR)
        self.serve(Trigger, '~/reset', self._reset)
        self.every(_CHECK_S, self._look_around)

    def _configure_arm(self, belt: EncoderBelt | None) -> None:
        if self.parameters.gate_rests_in == 'pass':
            raise SettingError(
                "gate_rests_in 'pass' with gate 'action', allowed: 'reject'; what an arm leaves "
                'on the belt must run into reject'
            )
        settings = self.parameters.pick_settings(self.parameters.undecided_to_stop)
        if self._arm is None:
            self._arm = ArmFace(self)
        self._arm.serve(
            lambda: self._sorter, self._encoder if belt is not None else None, self._wake.set
        )
        self._gate = self._arm.gate
        self._sorter = Sorter(PickTracker(settings, belt), self._gate)
        self.listen(PartPose, 'part_pose', self._arm.take_pose, EVENT)

    def destroy_node(self) -> None:
        """
        Take the node off the network; its executor must not spin any more.

        """
        if self._arm is not None:
            self._arm.destroy()
            self._arm = None
        super().destroy_node()

    def _take_up_memory(self) -> None:
        """
        Stop the line when it was stopped before, or when nobody knows.

        """
        assert self._sorter is not None
        doubts = []
        if self._memory is None:
            self._memory, doubt = self._inherited_memory()
            self._events = self._memory.parts_sorted
            doubts += [doubt] if doubt else []
        if self._memory.stop_reason:
            since_s = self._memory.stop_since_s
            now = steady_s()
            self._sorter.stop_line(
                self._memory.stop_reason,
                since_s if 0 <= since_s <= now else now,
                self._memory.stop_cause,
            )
        try:
            self.state.write(self._memory.to_dict())
        except StateError as error:
            self.report('state', ERROR, str(error))
            doubts.append(
                f'{error}. After a restart of the sorter nobody would know of a stop of the line: '
                f"set state_folder to a folder that can be written, or to '{NO_FOLDER}'"
            )
        for doubt in doubts:
            self._sorter.stop_line(doubt, steady_s(), StopCause.STATE_UNKNOWN)

    def _inherited_memory(self) -> tuple[SorterMemory, str]:
        """
        Give what this process begins with, and why that is in doubt ('' = it is not).

        """
        found, nothing = self.state.found, SorterMemory()
        doubt = 'nobody knows whether the line was stopped: {}. Look at the line, then reset'
        if found.problem:
            return nothing, doubt.format(found.problem)
        if found.content is None:
            return nothing, ''
        try:
            left = SorterMemory.from_dict(found.content)
        except StateError as error:
            return nothing, doubt.format(error)
        log = self.get_logger()
        if not found.is_respawn:
            stop = f'stopped: {left.stop_reason}' if left.stop_reason else 'not stopped'
            log.info(f'fresh start; when the sorter last ran, the line was {stop}')
            return nothing, ''
        if left.stop_reason:
            log.warning(
                f'the sorter was started again; the line stays stopped until ~/reset: '
                f'{left.stop_reason}'
            )
        else:
            log.warning('the sorter was started again; the line was not stopped')
        return replace(left, restarts=left.restarts + 1), ''

    def _keep_memory(self) -> None:
        assert self._sorter is not None
        assert self._memory is not None
        stop = self._sorter.line_stop
        memory = replace(
            self._memory,
            stop_reason=stop.reason,
            stop_since_s=stop.since_s,
            stop_cause=stop.cause,
            parts_sorted=self._events,
        )
        if memory.to_dict() != self._memory.to_dict():
            self._memory = memory
            self.keep_state(memory.to_dict())

    def activate(self) -> None:
        """
        Connect the gate, which goes to rest, and begin to sort; without one the line must stand.

        """
        assert self._gate is not None
        assert self._sorter is not None
        try:
            self._gate.connect()
        except GateError as error:
            self._gate.close()
            self._publish_line_stop(
                CoreLineStop(True, f'no gate: {error}', steady_s(), StopCause.GATE)
            )
            raise
        if self.parameters.gate_rests_in == 'pass':
            self._sorter.stop_line(_BELT_UNKNOWN, steady_s(), StopCause.BELT_UNKNOWN)
        self._sorter.forget_belt()
        self._publish_line_stop()
        self._decider_heard_s = self._encoder_heard_s = steady_s()
        self._stop.clear()
        self._thread = threading.Thread(target=self._sort_until_stopped, name='sorter gate')
        self._thread.start()

    def deactivate(self) -> None:
        """
        Bring the gate to rest; parts still on the belt are rejected.

        """
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._sorter is not None and self._gate is not None:
            self._publish_line_run(permitted=False)
            self._publish(self._sorter.flush(steady_s()))
            self._publish_line_stop()
            self._keep_memory()
            self._gate.close()
        self.clear('decider')

    def cleanup(self) -> None:
        """
        Let go of the gate; a stop of the line is remembered.

        """
        self._sorter = self._gate = None
        self.clear('line stop')

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give line stop and counts.

        """
        if self._sorter is None:
            return {}
        counts = self._sorter.counts
        return {
            'line must stand': self._sorter.line_stop.is_active,
            'parts sorted': self._events,
            'restarts of the sorter': self._memory.restarts if self._memory else 0,
            'late decisions': counts.decisions_late,
            'duplicate decisions': counts.decisions_duplicate,
            'decisions without a part': counts.decisions_unknown,
            'duplicate parts': counts.parts_duplicate,
            **({'goals at the arm': self._arm.under_way} if self._arm is not None else {}),
        }

    # Callbacks

    def _take_part(self, message: Part) -> None:
        assert self._sorter is not None
        now_ns = time.monotonic_ns()
        exposure_ns = exposure_on_this_clock(
            message.exposure_steady_ns, message.steady_clock_id, message.age_s, now_ns
        )
        key = (message.session_id, message.part_id)
        self._sorter.part_seen(key, 1e-9 * exposure_ns, 1e-9 * now_ns)
        self._wake.set()

    def _take_decision(self, message: Decision) -> None:
        assert self._sorter is not None
        passes = message.verdict == Decision.VERDICT_PASS
        self._sorter.decision_received((message.session_id, message.part_id), passes, steady_s())
        self._wake.set()

    def _take_fault(self, message: Fault) -> None:
        assert self._sorter is not None
        cause = _CAUSE_OF_FAULT.get(message.cause, StopCause.UNKNOWN)
        self._sorter.fault_received(message.active, message.reason, steady_s(), cause)
        self._wake.set()

    def _take_encoder(self, message: BeltEncoder) -> None:
        assert self._sorter is not None
        position_m, at_s = self._encoder.read(message)
        self._sorter.belt_moved(position_m, at_s, steady_s())
        self._encoder_heard_s = steady_s()
        if self._encoder.is_stamp_foreign:
            self.report(
                'encoder',
                WARN,
                "the encoder's stamps are not of this machine's clock; their arrival counts",
            )
        else:
            self.clear('encoder')
        self._wake.set()

    async def _reset(self, request: Any) -> str:
        sorter = self._sorter
        assert sorter is not None
        refusal = await self.in_background(lambda: sorter.reset(steady_s()))
        self._wake.set()
        if refusal:
            raise GateError(refusal)
        return 'the line may run'

    def _look_around(self) -> None:
        if self.count_publishers('decision'):
            self._decider_heard_s = steady_s()
            self.clear('decider')
        elif steady_s() - self._decider_heard_s > _DECIDER_MISSING_S:
            self.report(
                'decider',
                WARN,
                'nobody publishes decision: is the decider running? Every part is rejected',
            )

        if self.parameters.belt == 'encoder' and (
            steady_s() - self._encoder_heard_s > _ENCODER_MISSING_S
        ):
            self.report(
                'encoder',
                ERROR,
                'nothing comes on the topic encoder: every part is rejected',
            )

    # The gate's thread

    def _sort_until_stopped(self) -> None:
        assert self._sorter is not None
        sorter = self._sorter
        longest_s = _LONGEST_SLEEP_S if self._line_run is None else self._pitch_s / 3
        check_due_s = keep_due_s = -math.inf
        while not self._stop.is_set():
            self._wake.clear()
            sleep_s = longest_s
            try:
                now = steady_s()
                due_s = sorter.next_due()
                free_s = math.inf if due_s is None else due_s - now
                if free_s <= 0:
                    self._publish(sorter.step(now))
                    sleep_s = 0.0
                elif check_due_s <= now and free_s > self.parameters.gate_timeout_s:
                    sorter.check_gate(now)
                    check_due_s = now + longest_s
                    sleep_s = 0.0
                else:
                    sleep_s = min(free_s, longest_s)
                self._publish_line_stop()
                if keep_due_s <= now:
                    self._keep_memory()
                    keep_due_s = now + _KEEP_COUNTS_S
                if self._permit_due_s <= now:
                    self._publish_line_run(permitted=not sorter.line_stop.is_active)
            except Exception as error:  # noqa: BLE001 - a thread's edge: sorting must go on
                self.report('gate thread', ERROR, f'gate thread: {self.describe(error)}')
            if sleep_s > 0:
                self._wake.wait(sleep_s)

    def _publish(self, events: list[SortRecord]) -> None:
        for event in events:
            message = SortEvent(
                session_id=event.key[0],
                part_id=event.key[1],
                action=int(event.action),
                outcome=int(event.outcome),
                cause=int(event.cause),
                detail=event.detail,
                firing_error_s=event.firing_error_s,
            )
            message.header.stamp = self.get_clock().now().to_msg()
            self._sort_event.publish(message)
            self._events += 1

    def _publish_line_stop(self, stop: CoreLineStop | None = None) -> None:
        assert self._sorter is not None
        stop = stop or self._sorter.line_stop
        before = self._published_stop
        if before is not None and (before.active, before.reason) == (stop.is_active, stop.reason):
            return
        now = self.get_clock().now()
        message = LineStop(active=stop.is_active, reason=stop.reason, cause=int(stop.cause))
        message.header.stamp = now.to_msg()
        if stop.is_active:
            age_ns = 0 if math.isnan(stop.since_s) else int(1e9 * (steady_s() - stop.since_s))
            message.since = stamp_from_nanoseconds(now.nanoseconds - age_ns)
            self.report('line stop', ERROR, f'the line must stand: {stop.reason}')
        else:
            self.clear('line stop')
        self._line_stop.publish(message)
        self._published_stop = message
        self._keep_memory()
        if stop.is_active:
            self._publish_line_run(permitted=False)

    def _publish_line_run(self, *, permitted: bool) -> None:
        if self._line_run is None:
            return
        message = LineRun(permitted=permitted, valid_for_s=self._pitch_s if permitted else 0.0)
        message.header.stamp = self.get_clock().now().to_msg()
        self._line_run.publish(message)
        self._permit_due_s = steady_s() + self._pitch_s / 3


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    spin_node(SorterNode)
