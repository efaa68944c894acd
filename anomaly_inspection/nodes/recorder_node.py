# SPDX-License-Identifier: Apache-2.0
"""
The recorder: keeps all that a cell says in a database, and inspection never waits for it.

It only listens. Every record goes to a queue on disk first; a thread moves it into the database.

"""

from __future__ import annotations

from collections import deque, OrderedDict
import contextlib
import functools
from pathlib import Path
import shutil
import sys
import threading
import time
from typing import Any, ClassVar, TYPE_CHECKING

from anomaly_inspection.disk_queue import DiskQueue
from anomaly_inspection.errors import SettingError, StateError
from anomaly_inspection.msg import (
    Calibration,
    Challenge,
    ChallengeEvent,
    Decision,
    DriftState,
    Fault,
    LimitsInForce,
    LineStop,
    Part,
    PartIdentity,
    RecipeInForce,
    Score,
    SortEvent,
    Thresholds,
)
from anomaly_inspection.nodes.freed_memory import give_back_freed_memory, share_heaps
from anomaly_inspection.nodes.inspection_node import ERROR, InspectionNode, WARN
from anomaly_inspection.nodes.needed_packages import check_needed
from anomaly_inspection.nodes.qos import KEPT_EVENT, LATCHED, RECORD
from anomaly_inspection.nodes.record_good_patch import found_in, GoodPatches
from anomaly_inspection.nodes.record_pictures import RecordPictures
from anomaly_inspection.nodes.record_views import (
    calibration_event,
    challenge_event,
    challenge_state_event,
    drift_event,
    fault_event,
    identity_event,
    limits_event,
    limits_of,
    line_stop_event,
    part_record,
    recipe_event,
    sort_record,
    thresholds_event,
)
from anomaly_inspection.nodes.recorder_parameters import RecorderParameters
from anomaly_inspection.nodes.spinning import PARAMETERS_REFUSED, spin_node
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.printable import printable
from anomaly_inspection.records.audit_follow import AUDIT_NAME, AuditFollower
from anomaly_inspection.records.identity import Identities
from anomaly_inspection.records.picture_store import PictureBounds, PictureStore
from anomaly_inspection.records.record import event, line_of
from anomaly_inspection.state_file import default_state_folder, NO_FOLDER

if TYPE_CHECKING:
    from anomaly_inspection.records.record import Record

#: The log tells the database behind these words.
RECORDS_WORDS = 'records go to '

_NEEDED = {'sqlalchemy': 'sqlalchemy', 'alembic': 'alembic'}
_REMEMBERED_PARTS = 300
_MOST_BACKLOG = 20_000
# So much room the oldest pictures give when the disk is full.
_ROOM_BYTES = 4_000_000
# Decisions that come so soon after the start may be old ones; how old at most.
_CATCH_UP_S, _LONGEST_AGO_US = 5.0, 86_400_000_000
_TIDY_EVERY_S, _CLEAN_EVERY_S = 5.0, 600.0


class RecorderNode(InspectionNode[RecorderParameters]):
    """
    Takes what all nodes of the cell say; gives nothing to them.

    """

    concerns: ClassVar[dict[str, tuple[str, ...]]] = {
        'database': ('database', 'refused record'),
        'queue': ('queue', 'dropped records'),
        'pictures': ('pictures', 'lost *'),
        'parts': ('identity',),
    }

    def __init__(self, **options: Any) -> None:
        super().__init__('recorder', RecorderParameters, **options)
        self._cell = self.get_namespace().strip('/') or 'inspection'
        self._queue: DiskQueue | None = None
        self._writer: Any = None
        self._store: Any = None
        self._pictures: Any = None
        self._good = GoodPatches()
        self._audit: Any = None
        self._identities: Any = None
        self._backlog: deque[bytes] = deque(maxlen=_MOST_BACKLOG)
        self._backlog_lock = threading.RLock()
        self._parts: OrderedDict[tuple[str, int], _HeardPart] = OrderedDict()
        self._last_states: dict[str, object] = {}
        self._dropped = 0
        self._clean_s = 0.0
        self._caught_up_s = 0.0

    def configure(self) -> None:
        """
        Open the queue and the database, and make the endpoints.

        """
        # SQLAlchemy may be missing where this file is only read.
        from anomaly_inspection.records.database import open_database, refuse_newer
        from anomaly_inspection.records.writer import RecordWriter

        given = self.parameters
        folder = self._folder()
        engine = open_database(folder, given.database, given.password_file)
        refuse_newer(engine)
        self._queue = DiskQueue(folder / 'queue', most_bytes=given.queue_mb * 1_000_000)
        self._dropped = self._queue.dropped
        found = self.state.found.content or {}
        self._identities = Identities(str(found.get('order', '')), str(found.get('lot', '')))
        people = self._people_folder()
        self._audit = AuditFollower(people / AUDIT_NAME, self._cell) if people else None
        self._writer = RecordWriter(
            self._queue,
            engine,
            told=self._tell_of_database,
            refused=self._tell_refused,
            looked=self._look_into_audit,
        )
        if given.pictures_mb:
            bounds = PictureBounds(
                most_bytes=given.pictures_mb * 1_000_000,
                least_free_bytes=given.least_free_mb * 1_000_000,
                keep_days={
                    'reject': given.keep_rejects_days,
                    'near': given.keep_near_days,
                    'sample': given.keep_samples_days,
                },
            )
            self._store = PictureStore(
                folder / 'pictures',
                self._cell,
                bounds,
                recorded=functools.partial(self._keep, gives_way=True),
                told=functools.partial(self._tell, 'pictures'),
            )
        self._listen()
        self._database_name = printable(given.database or folder)

    def _listen(self) -> None:
        for message_type, topic, callback, qos in (
            (Part, 'part', self._take_part, RECORD),
            (Score, 'score', self._take_score, RECORD),
            (Decision, 'decision', self._take_decision, KEPT_EVENT),
            (SortEvent, 'sort_event', self._take_sort_event, RECORD),
            (PartIdentity, 'part_identity', self._take_identity, RECORD),
            (Thresholds, 'thresholds', self._take_thresholds, RECORD),
            (LimitsInForce, 'limits_in_force', self._take_limits, LATCHED),
            (RecipeInForce, 'recipe_in_force', self._take_recipe, LATCHED),
            (LineStop, 'line_stop', self._take_line_stop, LATCHED),
            (Fault, 'fault', self._take_fault, LATCHED),
            (DriftState, 'drift', self._take_drift, LATCHED),
        ):
            self.listen(message_type, topic, callback, qos)
        for message_type, topic, take, qos in (
            (ChallengeEvent, 'challenge_event', self._take_challenge_event, RECORD),
            (Calibration, 'calibration', self._take_calibration, LATCHED),
            (Challenge, 'challenge', self._take_challenge, LATCHED),
        ):
            self.listen_in_views(self.parameters.views, message_type, topic, take, qos)
        if self._store is not None:
            self._pictures = RecordPictures(
                self, self._store, self._good, has_maps=self.parameters.maps
            )
        self.every(1.0, self._look_around)
        self.every(_TIDY_EVERY_S, give_back_freed_memory)

    def activate(self) -> None:
        """
        Begin to record.

        """
        self._caught_up_s = time.monotonic() + _CATCH_UP_S
        self._tell_of_itself('the recorder began')
        self.get_logger().info(f'{RECORDS_WORDS}{self._database_name}')

    def deactivate(self) -> None:
        """
        End to record.

        """
        self._tell_of_itself('the recorder ended')

    def cleanup(self) -> None:
        """
        Write what can be written, and let go of the folder.

        """
        # The pictures first: each gives a record.
        if self._store is not None:
            self._store.close()
        if self._writer is not None:
            self._write_backlog()
            self._writer.close()
        if self._queue is not None:
            self._queue.close()
        self._store = self._writer = self._queue = self._pictures = None

    def destroy_node(self) -> None:
        """
        Take the node off the network; its executor must not spin any more.

        """
        # A node whose parameters are refused was never completed.
        if hasattr(self, '_queue'):
            self.cleanup()
        super().destroy_node()

    def diagnostic_values(self) -> dict[str, object]:
        """
        Give how much waits and how much is kept.

        """
        queue, store, writer = self._queue, self._store, self._writer
        if queue is None or writer is None:
            return {}
        return {
            'records written': writer.written,
            'records that wait': queue.waiting,
            'queue MB': round(queue.size_bytes / 1e6, 1),
            'records lost, because the queue was full': queue.dropped,
            **({'pictures MB': round(store.n_bytes / 1e6, 1)} if store else {}),
        }

    # Places

    def _folder(self) -> Path:
        state_path = self._state_path()
        if self.parameters.folder:
            return Path(self.parameters.folder).expanduser().absolute()
        if state_path is None:
            raise SettingError("the recorder needs a folder, because its state_folder is 'none'")
        return state_path.with_name('records')

    def _people_folder(self) -> Path | None:
        if self.parameters.people_folder:
            return Path(self.parameters.people_folder).expanduser()
        folder = self.parameters.state_folder
        if folder == NO_FOLDER:
            return None
        return (Path(folder).expanduser() if folder else default_state_folder()) / 'people'

    # What goes into the queue

    def _keep(self, content: Record, *, gives_way: bool = False) -> None:
        """
        Put a record into the queue; while the disk refuses it, it waits in memory.

        What `gives_way` makes no room for itself.

        """
        line = line_of(content)
        with self._backlog_lock:
            self._backlog.append(line)
            self._write_backlog(makes_room=not gives_way)

    def _write_backlog(self, *, makes_room: bool = True) -> None:
        with self._backlog_lock:
            while self._backlog and self._queue is not None:
                try:
                    self._queue.append(self._backlog[0])
                except StateError as error:
                    freed = 0
                    if makes_room and self._store is not None:
                        freed = self._store.make_room(_ROOM_BYTES, 'the disk was full')
                    makes_room = freed > 0
                    if not makes_room:
                        self._tell(
                            'queue',
                            f'{error}; up to {_MOST_BACKLOG:,} records wait in memory and are '
                            'lost when this process ends',
                        )
                        return
                except ValueError as error:
                    self._backlog.popleft()
                    self._tell_refused(f'a record is lost: {error}')
                else:
                    self._backlog.popleft()
            self._tell('queue', '')

    def _tell(self, concern: str, problem: str) -> None:
        if problem:
            # What changes from second to second belongs into the values, not into the log.
            known = self.problem(concern)
            level = ERROR if concern == 'queue' else WARN
            if known is None or known.partition(';')[0] != problem.partition(';')[0]:
                self.report(concern, level, problem)
        else:
            self.clear(concern)

    def _tell_of_database(self, problem: str) -> None:
        self._tell('database', problem)
        if problem and self._store is not None:
            with contextlib.suppress(OSError):
                # The rows of a full disk are worth more than its pictures.
                if shutil.disk_usage(self._folder()).free < _ROOM_BYTES:
                    self._store.make_room(_ROOM_BYTES, 'the disk was full')

    def _tell_refused(self, sentence: str) -> None:
        self.report_event('refused record', ERROR, sentence, counted_as='refused records')

    def _tell_of_itself(self, what: str) -> None:
        now_ns = time.time_ns()
        self._keep(
            event('recorder', what, cell=self._cell, sequence=now_ns, time_us=now_ns // 1000)
        )

    def _look_into_audit(self) -> None:
        if self._audit is None:
            return
        try:
            for content in self._audit.new_records():
                self._keep(content)
        except OSError as error:
            self._tell_refused(f'cannot read who changed what: {error.strerror}')

    def _look_around(self) -> None:
        if self._backlog:
            self._write_backlog()
        if self._pictures is not None:
            self._pictures.look_around()
        queue = self._queue
        if queue is not None and queue.dropped > self._dropped:
            lost, self._dropped = queue.dropped - self._dropped, queue.dropped
            self.report_event(
                'dropped records',
                ERROR,
                f'the oldest {lost} records are lost, because the database was away for so long '
                f'that the queue of {self.parameters.queue_mb} MB was full',
                counted_as='times that records were lost',
            )
        now_s = time.monotonic()
        if self._store is not None and now_s > self._clean_s:
            self._clean_s = now_s + _CLEAN_EVERY_S
            self._store.clean(_now_us())

    # What the cell says

    def _heard(self, key: tuple[str, int]) -> _HeardPart:
        heard = self._parts.get(key)
        if heard is None:
            self._identities.announce(key)
            heard = self._parts[key] = _HeardPart()
            while len(self._parts) > _REMEMBERED_PARTS:
                self._parts.popitem(last=False)
        return heard

    def _take_part(self, message: Part) -> None:
        key = (message.session_id, message.part_id)
        self._heard(key).part = message
        if self._pictures is not None and message.frame_stamps:
            self._pictures.note_stamp(key, message.frame_stamps[-1])

    def _take_score(self, message: Score) -> None:
        key = (message.session_id, message.part_id)
        self._heard(key).scores.append(message)
        if self._pictures is not None:
            self._pictures.note_stamp(key, message.header.stamp)

    def _take_decision(self, message: Decision) -> None:
        key = (message.session_id, message.part_id)
        heard, kind, now_us = self._heard(key), self._kind(message), self._decided_us(message)
        content = part_record(
            *(message, heard.part, heard.scores),
            cell=self._cell,
            time_us=now_us,
            identity=self._identities.of(key),
            has_details=bool(kind),
        )
        self._keep(content)
        heard.counted_by = {
            name: content[name] for name in ('known_as', 'recipe', 'order_name', 'lot')
        }
        if kind and self._pictures is not None:
            self._pictures.keep(key, kind, now_us, found_in(message, heard.scores))
        heard.scores.clear()

    def _decided_us(self, message: Decision) -> int:
        now_us = _now_us()
        if time.monotonic() > self._caught_up_s:
            return now_us
        # The decider keeps its last decisions for a recorder that starts again.
        exposure_ns = nanoseconds_from_stamp(message.header.stamp)
        decided_us = round(exposure_ns / 1e3 + max(message.latency_s, 0.0) * 1e6)
        return decided_us if 0 < now_us - decided_us < _LONGEST_AGO_US else now_us

    def _kind(self, message: Decision) -> str:
        if message.verdict != Decision.VERDICT_PASS:
            return 'reject'
        if message.anomaly_score >= self.parameters.near_limit:
            return 'near'
        every = self.parameters.sample_every
        return 'sample' if every and message.part_id % every == 0 else ''

    def _take_sort_event(self, message: SortEvent) -> None:
        heard = self._heard((message.session_id, message.part_id))
        self._keep(
            sort_record(message, cell=self._cell, time_us=_now_us(), of_part=heard.counted_by)
        )

    def _take_identity(self, message: PartIdentity) -> None:
        key = (message.session_id, message.part_id)
        try:
            taken = self._identities.tell(
                *(message.order, message.lot, message.serial, key),
                only_this_part=message.only_this_part,
            )
        except SettingError as error:
            self.report_event(
                'identity', WARN, f'part_identity is refused: {error}', counted_as='bad messages'
            )
            return
        self._keep(identity_event(message, taken, self._cell, _now_us()))
        current = self._identities.current
        self.keep_state({'order': current.order_name, 'lot': current.lot})

    def _take_thresholds(self, message: Thresholds) -> None:
        self._keep(thresholds_event(message, self._cell, _now_us()))

    def _take_challenge_event(self, view: str, message: ChallengeEvent) -> None:
        self._keep(challenge_event(message, self._cell, _now_us(), view))

    def _take_limits(self, message: LimitsInForce) -> None:
        state = (limits_of(message), message.recipe_hash, message.is_unsaved)
        if self._is_news('limits', state):
            self._keep(limits_event(message, self._cell))

    def _take_recipe(self, message: RecipeInForce) -> None:
        if self._is_news('recipe', (message.name, message.version, message.hash)):
            self._keep(recipe_event(message, self._cell))
            if self._store is not None and message.path:
                self._good.use(message)

    def _take_line_stop(self, message: LineStop) -> None:
        if self._is_news('line_stop', (message.active, message.reason)):
            self._keep(line_stop_event(message, self._cell))

    def _take_fault(self, message: Fault) -> None:
        if self._is_news('fault', (message.active, message.reason)):
            self._keep(fault_event(message, self._cell))

    def _take_drift(self, message: DriftState) -> None:
        # The numbers in its sentence change with every few parts.
        causes = tuple(sorted(cause.cause for cause in message.causes))
        if self._is_news('drift', (message.state, causes, message.recipe_hash)):
            self._keep(drift_event(message, self._cell))

    def _take_calibration(self, view: str, message: Calibration) -> None:
        # Every collected part is a message of its own; the first one says that there was none yet.
        is_news = self._is_news(_in_view(view, 'calibration'), message.state)
        if is_news and message.state != Calibration.STATE_UNKNOWN:
            self._keep(calibration_event(message, self._cell, view))

    def _take_challenge(self, view: str, message: Challenge) -> None:
        state = (message.state, message.production_is_blocked)
        if self._is_news(_in_view(view, 'challenge'), state):
            self._keep(challenge_state_event(message, self._cell, view))

    def _is_news(self, kind: str, state: object) -> bool:
        is_news = self._last_states.get(kind) != state
        self._last_states[kind] = state
        return is_news


class _HeardPart:
    """
    What has been said of a part before its decision.

    """

    def __init__(self) -> None:
        self.part: Part | None = None
        self.scores: list[Score] = []
        self.counted_by: dict[str, Any] = {}


def _in_view(view: str, name: str) -> str:
    return f'{view}/{name}' if view else name


def _now_us() -> int:
    return time.time_ns() // 1000


def recorder_options(folder: Path) -> list[str]:
    """
    Give the arguments of a recorder for one run of the cell.

    A run keeps no state. The people, and what they change, are those of the machine.

    """
    given = {
        'state_folder': NO_FOLDER,
        'folder': folder.absolute(),
        'people_folder': default_state_folder() / 'people',
    }
    return [word for name, value in given.items() for word in ('-p', f'{name}:={value}')]


def check_record_packages() -> None:
    """
    Raise SettingError where the packages of the records are not installed.

    """
    check_needed('recorder', _NEEDED, 'records')


def main() -> None:
    """
    Run the node until it is interrupted.

    """
    try:
        check_record_packages()
    except SettingError as error:
        print(error, file=sys.stderr)
        sys.exit(PARAMETERS_REFUSED)
    share_heaps()
    spin_node(RecorderNode)
