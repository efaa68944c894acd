# SPDX-License-Identifier: Apache-2.0
"""
Teach in a process of its own: inspection on the same machine goes first, and a failure or a cancel
leaves nothing behind.

The child reads one JSON line, the job, from its standard input. It writes JSON lines to its
standard output: progress, and at the end the outcome. When its standard input ends, whoever
started it is dead, and it ends too.

"""

from __future__ import annotations

from collections.abc import Callable
import json
import os
from pathlib import Path
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from typing import Any, IO, TYPE_CHECKING

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.teaching.session import UNFINISHED

if TYPE_CHECKING:
    from anomaly_inspection.progress import Progress
    from anomaly_inspection.teaching.session import TeachingSession

_NICENESS = 15
# The kernel ends this process first when memory runs out, and not the sorter.
_OOM_SCORE = 900
_LONGEST_LINE = 100_000
# How long a kill may take; a process that waits for a broken disk cannot be killed.
_END_S = 10.0


class TeachProcess:
    """
    One run of teaching. It begins at once.

    Parameters
    ----------
    session : TeachingSession
        Whose images are taught.
    settings : dict
        Fields of `TeachJob` besides folder, session and work.
    progress : callable (done, total, what)
        Called on a thread of this object.

    Raises
    ------
    SettingError
        When the process cannot be started.

    """

    def __init__(
        self, session: TeachingSession, settings: dict[str, Any], progress: Progress
    ) -> None:
        self._session = session
        self._progress = progress
        self._has_ended = threading.Event()
        self.work = session.folder / f'{UNFINISHED}{secrets.token_hex(4)}'
        job = {
            'folder': str(session.folder.parent),
            'session': session.name,
            'work': str(self.work),
            **settings,
        }
        package = Path(__file__).resolve().parents[2]
        path = os.pathsep.join(filter(None, (str(package), os.environ.get('PYTHONPATH', ''))))
        try:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'anomaly_inspection.teaching.teach_process'],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                # Not a session of its own: the scheduler would then give it as much as all others.
                process_group=0,
                env={**os.environ, 'PYTHONPATH': path},
            )
            assert self._process.stdin is not None, 'a pipe was asked for'
            self._process.stdin.write(json.dumps(job) + '\n')
            self._process.stdin.flush()
        except OSError as error:
            raise SettingError(f'teaching could not be started: {error.strerror}') from error

    @property
    def process_id(self) -> int:
        """
        Its number.

        """
        return self._process.pid

    def wait(self) -> Path:
        """
        Wait for the end; give the folder of the finished draft.

        Raises
        ------
        SettingError
            When nothing could be taught, or the process was killed; nothing is left behind.

        """
        try:
            outcome = self._listen()
            status = self._process.wait()
            self._close_pipes()
            if outcome.get('is_taught') and status == 0:
                return self.work
            shutil.rmtree(self.work, ignore_errors=True)
            raise SettingError(outcome.get('error') or _words(status))
        finally:
            self._has_ended.set()

    def kill(self) -> None:
        """
        End it at once. Some thread must be in `wait`, which removes what was written; when this
        returns, that is done.

        """
        self._process.send_signal(signal.SIGKILL)
        self._has_ended.wait(_END_S)
        # It may have been finished already.
        shutil.rmtree(self.work, ignore_errors=True)

    def _listen(self) -> dict[str, Any]:
        """
        Pass progress on until the process ends; give its last words.

        """
        outcome: dict[str, Any] = {}
        assert self._process.stdout is not None, 'a pipe was asked for'
        for line in self._process.stdout:
            try:
                outcome = json.loads(line)
            except ValueError:
                # Killed in the middle of a line.
                break
            if 'progress' in outcome:
                self._progress(*outcome['progress'])
        return outcome

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _words(status: int) -> str:
    if status == -signal.SIGKILL:
        return (
            'teaching was killed: by somebody, or because memory ran out. Draw a smaller region '
            'of interest, or take fewer images'
        )
    return f'teaching ended with status {status} and no word; its log says more'


def main() -> int:
    """
    Teach the job that stands on the standard input.

    """
    # What a library prints must not come between the lines.
    out = os.fdopen(os.dup(sys.stdout.fileno()), 'w', encoding='utf-8')
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _go_behind()
    job = json.loads(sys.stdin.readline(_LONGEST_LINE))
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    tell = _teller(out)
    try:
        from anomaly_inspection.teaching.teach_job import run_teach_job, TeachJob

        job['scorers'], job['region'] = tuple(job['scorers']), tuple(job['region'])
        run_teach_job(TeachJob(**job), lambda *progress: tell({'progress': progress}))
    except InspectionError as error:
        tell({'error': str(error)})
        return 1
    except MemoryError:
        tell({'error': 'teaching ran out of memory: take fewer images or a smaller region'})
        return 1
    tell({'is_taught': True})
    return 0


def _go_behind() -> None:
    """
    Let inspection go first.

    """
    os.nice(_NICENESS)
    try:
        Path('/proc/self/oom_score_adj').write_text(str(_OOM_SCORE), encoding='ascii')
    except OSError:
        return


def _teller(out: IO[str]) -> Callable[[dict[str, Any]], None]:
    # Progress comes from several threads.
    lock = threading.Lock()

    def tell(message: dict[str, Any]) -> None:
        with lock:
            out.write(json.dumps(message) + '\n')
            out.flush()

    return tell


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os._exit(1)


if __name__ == '__main__':
    sys.exit(main())
