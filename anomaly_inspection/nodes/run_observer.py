# SPDX-License-Identifier: Apache-2.0
"""
Listen to what the cell says of every part, and make a record of each part when it is finished.

"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
import threading
from typing import Any, TYPE_CHECKING

from rclpy.node import Node
from sensor_msgs.msg import CompressedImage

from anomaly_inspection.deciding.frame_judge import Reason, Verdict
from anomaly_inspection.evaluation.run_summary import PartRecord
from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
from anomaly_inspection.nodes.inspection_node import steady_s
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rclpy.context import Context

    from anomaly_inspection.capture.source import Truth

# How long a decision may come behind the sort event and still be counted.
_LATE_MESSAGE_S = 1.0
_KNOWN_AS = {Decision.KNOWN_AS_GOOD: 'good', Decision.KNOWN_AS_BAD: 'bad'}
# Overlays come within a second or two; more names need not be kept for them.
_REMEMBERED_NAMES = 1000
_REMEMBERED_PARTS = 10_000
# Characters; file systems allow 255 bytes.
_LONGEST_NAME = 60
_CAUSES = {
    SortEvent.CAUSE_NO_DECISION: 'no_decision',
    SortEvent.CAUSE_LATE_DECISION: 'late_decision',
    SortEvent.CAUSE_TOO_CLOSE: 'too_close',
    SortEvent.CAUSE_LINE_STOPPED: 'line_stopped',
    SortEvent.CAUSE_GATE_FAILED: 'gate_failed',
    SortEvent.CAUSE_SHUTDOWN: 'shutdown',
    SortEvent.CAUSE_NOT_PICKED: 'not_picked',
    SortEvent.CAUSE_OUT_OF_REACH: 'out_of_reach',
    SortEvent.CAUSE_PICK_MISSED: 'pick_missed',
    SortEvent.CAUSE_POSE_UNSURE: 'pose_unsure',
}


@dataclass
class HeardPart:
    """
    What has been heard of one part so far.

    """

    part: Part | None = None
    decision: Decision | None = None
    sort_event: SortEvent | None = None
    sorted_s: float = float('inf')

    def take(self, message: Part | Decision | SortEvent, now_s: float) -> None:
        """
        Keep a message about this part.

        """
        if isinstance(message, Part):
            self.part = message
        elif isinstance(message, Decision):
            self.decision = message
        else:
            self.sort_event, self.sorted_s = message, now_s

    def is_finished(self, now_s: float) -> bool:
        """
        Whether the part has been sorted, and nothing more is to be expected.

        """
        if self.sort_event is None:
            return False
        is_complete = self.part is not None and self.decision is not None
        return is_complete or now_s > self.sorted_s + _LATE_MESSAGE_S

    def record(self, truth_of: Callable[[str], Truth | None]) -> PartRecord:
        """
        Give what the summary needs of this part; the messages can be let go then.

        """
        part, decision, event = self.part, self.decision, self.sort_event
        name = part.frame_names[0] if part else ''
        return PartRecord(
            part_id=part.part_id if part else 0,
            name=name,
            truth=truth_of(name) if name else None,
            verdict=Verdict(decision.verdict).name if decision else '',
            reason=Reason(decision.reason).name if decision else '',
            comparison=decision.comparison if decision else '',
            known_as=_KNOWN_AS.get(decision.known_as, '') if decision else '',
            anomaly_score=decision.anomaly_score if decision else float('nan'),
            latency_s=decision.latency_s if decision else float('nan'),
            has_passed_gate=event.action == SortEvent.ACTION_PASSED if event else None,
            gate_is_confirmed=event is not None and event.outcome == SortEvent.OUTCOME_CONFIRMED,
            sort_cause=_CAUSES.get(event.cause, '') if event else '',
            sort_detail=event.detail if event else 'no sort event came',
            firing_error_s=event.firing_error_s if event else float('nan'),
        )


class RunObserverNode(Node):
    """
    Listens to the cell like any outsider would; keeps messages of the parts under way alone.

    Parameters
    ----------
    context : rclpy Context
        Of the cell.
    overlays : Path or None
        Folder for the overlay of every part; None = listen to none.

    """

    def __init__(self, context: Context, overlays: Path | None) -> None:
        super().__init__('run_observer', context=context)
        self.line_stop_reasons: list[str] = []
        self.overlays: list[Path] = []
        self.overlay_problem = ''
        self._under_way: dict[tuple[str, int], HeardPart] = {}
        # A late message must not begin a part anew.
        self._finished: deque[tuple[str, int]] = deque()
        self._is_finished: set[tuple[str, int]] = set()
        self._changed = threading.Condition()
        self._overlay_folder = overlays
        self._names: deque[tuple[int, str, str]] = deque(maxlen=_REMEMBERED_NAMES)
        self.create_subscription(Part, 'part', self._take, EVENT)
        self.create_subscription(Decision, 'decision', self._take_decision, EVENT)
        self.create_subscription(SortEvent, 'sort_event', self._take, EVENT)
        self.create_subscription(LineStop, 'line_stop', self._take_line_stop, LATCHED)
        if overlays is not None:
            overlays.mkdir(parents=True, exist_ok=True)
            self.create_subscription(
                CompressedImage, 'overlay/compressed', self._take_overlay, EVENT
            )

    def finished(self, timeout_s: float) -> list[HeardPart]:
        """
        Give the parts that were finished since the last call; each part comes once.

        Waits for one, `timeout_s` at most.

        """
        with self._changed:
            self._changed.wait_for(self._any_finished, timeout_s)
            now_s = steady_s()
            done = [key for key, heard in self._under_way.items() if heard.is_finished(now_s)]
            return [self._let_go(key) for key in done]

    def unfinished(self) -> list[HeardPart]:
        """
        Give the parts that have not come to their end, and let go of them.

        """
        with self._changed:
            return [self._let_go(key) for key in list(self._under_way)]

    def _any_finished(self) -> bool:
        now_s = steady_s()
        return any(heard.is_finished(now_s) for heard in self._under_way.values())

    def _let_go(self, key: tuple[str, int]) -> HeardPart:
        self._finished.append(key)
        self._is_finished.add(key)
        if len(self._finished) > _REMEMBERED_PARTS:
            self._is_finished.discard(self._finished.popleft())
        return self._under_way.pop(key)

    def _take(self, message: Any) -> HeardPart | None:
        with self._changed:
            key = (message.session_id, message.part_id)
            if key in self._is_finished:
                return None
            heard = self._under_way.setdefault(key, HeardPart())
            heard.take(message, steady_s())
            self._changed.notify_all()
            return heard

    def _take_decision(self, message: Decision) -> None:
        heard = self._take(message)
        if self._overlay_folder is not None and heard is not None and heard.part is not None:
            stamp_ns = nanoseconds_from_stamp(heard.part.frame_stamps[0])
            verdict = Verdict(message.verdict).name
            self._names.append((stamp_ns, heard.part.frame_names[0], verdict))

    def _take_line_stop(self, message: LineStop) -> None:
        if message.active:
            self.line_stop_reasons.append(message.reason)

    def _take_overlay(self, message: CompressedImage) -> None:
        assert self._overlay_folder is not None
        overlay_ns = nanoseconds_from_stamp(message.header.stamp)
        name, verdict = next(
            ((name, verdict) for stamp_ns, name, verdict in self._names if stamp_ns == overlay_ns),
            ('unknown', 'UNKNOWN'),
        )
        flat_name = Path(name).with_suffix('').as_posix().replace('/', '_')
        path = self._overlay_folder / f'{flat_name[-_LONGEST_NAME:]}_{verdict}.jpg'
        try:
            path.write_bytes(bytes(message.data))
        except (OSError, ValueError) as error:
            # A full disk costs pictures, not the run.
            cause = getattr(error, 'strerror', None) or error
            self.overlay_problem = f'cannot write {printable(path)}: {cause}'
        else:
            self.overlays.append(path)
