# SPDX-License-Identifier: Apache-2.0
"""
Decisions on disk until the broker has them, with the numbers and counts that never reset.

"""

from __future__ import annotations

from dataclasses import dataclass
import json
from pathlib import Path
import time
from typing import Any, TYPE_CHECKING
import uuid

from anomaly_inspection.disk_queue import DiskQueue
from anomaly_inspection.errors import StateError
from anomaly_inspection.plant.part_counts import PartCounts
from anomaly_inspection.plant.payloads import decision_payload, to_json
from anomaly_inspection.plant.seen_parts import SeenParts
from anomaly_inspection.printable import printable
from anomaly_inspection.state_file import read_small_file, replace_file

if TYPE_CHECKING:
    from anomaly_inspection.plant.plant_decision import PlantDecision

# The page cache outlives a killed process; only a loss of power asks for more.
_DISK_EVERY_S = 10.0


@dataclass(frozen=True)
class StoredDecision:
    """
    A decision that the broker has not confirmed.

    Parameters
    ----------
    sequence : int
        Its number in the stream.
    payload : bytes
        As it is published.

    """

    sequence: int
    payload: bytes


@dataclass(frozen=True)
class Lost:
    """
    Decisions that were dropped because the store was full, and that nobody was told of.

    """

    count: int
    first_sequence: int
    last_sequence: int


class DecisionStore:
    """
    Numbers decisions, keeps them until they are acknowledged, and counts them.

    Only one thread may use it.

    Parameters
    ----------
    folder : Path
        Its folder; made when it is missing.
    most_bytes : int
        Bound of the decisions that wait; the oldest are dropped beyond it.
    now_ns : int
        Nanoseconds since 1970: when counting begins, where it is new.

    Raises
    ------
    SettingError
        When the bound is too small.
    StateError
        When the folder cannot be used, or another process has it.

    """

    def __init__(self, folder: Path, *, most_bytes: int, now_ns: int) -> None:
        self._queue = DiskQueue(folder / 'queue', most_bytes=most_bytes)
        self._memory_path = folder / 'memory.json'
        self._seen = SeenParts()
        #: Production parts by verdict.
        self.counts = PartCounts(now_ns)
        #: Names the run of numbers; a store that is lost begins another one.
        self.stream = uuid.uuid4().hex[:12]
        #: What is wrong with the memory beside the queue, one sentence; '' = nothing.
        self.problem = ''
        self._last_sequence = 0
        self._told_lost = 0
        self._on_disk_s = time.monotonic()
        self._take_up_memory()
        self._take_up_rest_of_queue()

    @property
    def waiting(self) -> int:
        """
        How many decisions wait.

        """
        return self._queue.waiting

    @property
    def lost(self) -> int:
        """
        How many were dropped because the store was full, ever.

        """
        return self._queue.dropped

    @property
    def last_sequence(self) -> int:
        """
        Number of the newest decision; 0 = there was none.

        """
        return self._last_sequence

    def add(self, decision: PlantDecision) -> bool:
        """
        Store and count a decision; False when it was taken before.

        Raises
        ------
        StateError
            When it cannot be written, for instance on a full disk; then nothing has changed.

        """
        if decision.key in self._seen:
            return False
        # Number and stream are added when it is sent: the queue gives the number.
        content = decision_payload(decision, '', 0)
        del content['stream'], content['sequence']
        try:
            sequence = self._queue.append(to_json(content))
        except ValueError as error:
            raise StateError(f'a decision cannot be stored: {error}') from error
        if sequence <= self._last_sequence:
            # Somebody has removed the queue: its numbers begin again.
            self.stream = uuid.uuid4().hex[:12]
            self._told_lost = 0
        self._last_sequence = sequence
        self._seen.add(*decision.key)
        self.counts.add(decision)
        self._remember()
        return True

    def sync(self) -> None:
        """
        Wait until a loss of power cannot take decisions back, so that no number comes twice.

        """
        self._queue.sync()

    def batch(self, most: int) -> list[StoredDecision]:
        """
        Give the oldest decisions that wait.

        """
        return [
            StoredDecision(record.number, self._numbered(record.number, record.content))
            for record in self._queue.peek(most)
        ]

    def acknowledge(self, sequence: int) -> None:
        """
        Forget the decisions up to this number: the broker has them.

        """
        self._queue.acknowledge(sequence)

    def untold_lost(self, next_sequence: int) -> Lost | None:
        """
        Give what was dropped before the decision that is next, and not told yet.

        """
        count = self._queue.dropped - self._told_lost
        if count <= 0:
            return None
        return Lost(count, max(1, next_sequence - count), next_sequence - 1)

    def lost_is_told(self, count: int) -> None:
        """
        Remember that the plant has heard of so many lost decisions.

        """
        self._told_lost += count
        self._remember()

    def close(self) -> None:
        """
        Write what is left and let go of the folder.

        """
        self._on_disk_s = 0.0
        self._remember()
        self._queue.close()

    def _numbered(self, sequence: int, content: bytes) -> bytes:
        # The content begins with the brace of an object that is never empty.
        return b'{"stream":"%s","sequence":%d,' % (self.stream.encode(), sequence) + content[1:]

    # What outlives the process beside the queue

    def _remember(self) -> None:
        now = time.monotonic()
        waits = now - self._on_disk_s > _DISK_EVERY_S
        content = {
            'stream': self.stream,
            'last_sequence': self._last_sequence,
            'told_lost': self._told_lost,
            'counts': self.counts.to_json(),
            'seen': self._seen.to_json(),
        }
        try:
            replace_file(self._memory_path, json.dumps(content), waits_for_disk=waits)
        except OSError as error:
            self.problem = (
                f'cannot write {printable(self._memory_path)}: {error.strerror}; a restart would '
                'forget the newest counts'
            )
            return
        self.problem = ''
        if waits:
            self._on_disk_s = now

    def _take_up_memory(self) -> None:
        try:
            text = read_small_file(self._memory_path)
            if text is None:
                return
            content: dict[str, Any] = json.loads(text)
            stream, last = str(content['stream']), int(content['last_sequence'])
            told, counts = int(content['told_lost']), PartCounts.from_json(content['counts'])
            seen = SeenParts.from_json(content['seen'])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self.problem = (
                f'counts begin anew: cannot read {printable(self._memory_path)}: {error}'
            )
            self._told_lost = self._queue.dropped
            return
        self.stream, self._last_sequence, self._told_lost = stream, last, told
        self.counts, self._seen = counts, seen

    def _take_up_rest_of_queue(self) -> None:
        """
        Count the decisions that a killed process stored and did not live to remember.

        """
        if not self._queue.waiting:
            return
        has_news = False
        for record in self._queue.peek(self._queue.waiting):
            if record.number <= self._last_sequence:
                continue
            content = json.loads(record.content)
            self._seen.add(content['part']['session'], content['part']['id'])
            self.counts.add_named(
                has_passed=content['verdict'] == 'PASS',
                reason=content['reason'],
                is_known=content['known_as'] is not None,
            )
            self._last_sequence = record.number
            has_news = True
        if has_news:
            self._remember()
