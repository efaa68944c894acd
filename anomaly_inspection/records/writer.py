# SPDX-License-Identifier: Apache-2.0
"""
Move records from the queue on disk into the database, on a thread of its own.

"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from anomaly_inspection.errors import RecordsError, StateError
from anomaly_inspection.records.database import is_away, migrate, name_of, sentence_of
from anomaly_inspection.records.record import Record, record_of
from anomaly_inspection.records.store import RecordStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from anomaly_inspection.disk_queue import DiskQueue, QueuedRecord

_BATCH = 500
# Records that come within this time go together: one wait for the disk for all.
_GATHER_S = 0.5
_WAIT_S = 1.0
_RETRY_S = 2.0


class RecordWriter:
    """
    Writes what the queue holds until it is closed; tries again for as long as it takes.

    Parameters
    ----------
    queue : DiskQueue
        Where records come from. It forgets them when the database has them.
    engine : Engine
        The database; brought up to date before the first record is written.
    told : callable (str) -> None
        Called on that thread with what keeps records from the database, one sentence, and with ''
        when it is over.
    refused : callable (str) -> None
        Called with a sentence for each record that the database will never take.
    looked : callable () -> None
        Called about once a second, also while there is nothing to write.

    """

    def __init__(
        self,
        queue: DiskQueue,
        engine: Engine,
        *,
        told: Callable[[str], None] = lambda problem: None,
        refused: Callable[[str], None] = lambda sentence: None,
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue, self._engine = queue, engine
        self._told, self._refused, self._looked = told, refused, looked
        self._store: RecordStore | None = None
        self._closing = threading.Event()
        #: Records written, since it was started.
        self.written = 0
        self._thread = threading.Thread(target=self._run, name='record writer', daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """
        Write what the queue holds if the database takes it at once, then end.

        """
        self._closing.set()
        self._thread.join(timeout_s)
        self._engine.dispose()

    def _run(self) -> None:
        while True:
            self._looked()
            is_closing = self._closing.is_set()
            has_records = self._queue.wait(0.0 if is_closing else _WAIT_S)
            if has_records and not is_closing:
                is_closing = self._closing.wait(_GATHER_S)
            problem = self._move() if has_records or self._store is None else ''
            self._told(problem)
            if is_closing and (problem or not has_records):
                return
            if problem:
                self._closing.wait(_RETRY_S)

    def _move(self) -> str:
        """
        Move a batch, and say what went wrong.

        """
        try:
            if self._store is None:
                migrate(self._engine)
                self._store = RecordStore(self._engine)
            self._queue.sync()
            batch = self._queue.peek(_BATCH)
            if batch:
                self._write(self._store, batch)
                self._queue.acknowledge(batch[-1].number)
        except SQLAlchemyError as error:
            return f'{sentence_of(self._engine, error)}; {self._waiting()}'
        except RecordsError as error:
            return f'{error}; {self._waiting()}'
        except StateError as error:
            return str(error)
        return ''

    def _waiting(self) -> str:
        return f'{self._queue.waiting} records wait on disk'

    def _write(self, store: RecordStore, batch: list[QueuedRecord]) -> None:
        records = [each for each in map(self._read, batch) if each is not None]
        if not records:
            return
        try:
            store.write(records)
        except Exception as error:
            if is_away(error):
                raise
            # One of them can never be written; it must not hold up the others.
            self._write_one_by_one(store, records)
        self.written += len(records)

    def _write_one_by_one(self, store: RecordStore, records: list[Record]) -> None:
        for content in records:
            try:
                store.write([content])
            except Exception as error:
                if is_away(error):
                    raise
                self._refused(
                    f'a record of {content.get("table")} is lost, because '
                    f'{name_of(self._engine)} refuses it: {sentence_of(self._engine, error)}'
                )

    def _read(self, queued: QueuedRecord) -> Record | None:
        try:
            content = record_of(queued.content)
            # What the store needs of every record.
            _ = [content[name] for name in ('table', 'cell', 'source', 'sequence', 'time_us')]
        except (ValueError, KeyError) as error:
            self._refused(f'record {queued.number} of the queue is lost: {error!r}')
            return None
        return content
