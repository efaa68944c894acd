# SPDX-License-Identifier: Apache-2.0
"""
Takes the commands that come by MQTT, has them carried out one after the other, answers each.

"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import queue
import threading
import time
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import CommandError
from anomaly_inspection.plant.commands import (
    answer_payload,
    parse_request,
    RememberedAnswers,
    Request,
)

if TYPE_CHECKING:
    from anomaly_inspection.nodes.plant_commands import PlantCommands

_MOST_WAITING = 8
# Each is answered; a flood of them must not hold up the decisions.
_MOST_PER_SECOND = 10


class MqttCommands:
    """
    Takes commands from the broker's thread and carries them out on one of its own.

    Parameters
    ----------
    commands : PlantCommands
        Carries them out; closed with this.
    answer : callable
        Called with the command and the payload of the answer.
    note : callable
        Called with a sentence for the log and whether the command was refused.

    """

    def __init__(
        self,
        commands: PlantCommands,
        answer: Callable[[str, dict[str, Any]], None],
        note: Callable[[str, bool], None],
    ) -> None:
        self._commands = commands
        self._answer, self._note = answer, note
        self._remembered = RememberedAnswers()
        self._lock = threading.Lock()
        self._second, self._in_second = 0, 0
        self._waiting: queue.Queue[Request | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name='mqtt commands', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """
        End; a command under way is not waited for.

        """
        # Where the queue is full, the thread ends with the process: it is a daemon.
        with suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._commands.close()

    def take(self, command: str, payload: bytes, is_retained: bool) -> None:
        """
        Take a request; returns at once and never raises.

        """
        if self._is_flood():
            return
        request_id = ''
        try:
            request = parse_request(command, payload)
            request_id = request.request_id
            if is_retained:
                raise CommandError(
                    'it is retained and would act again at every connection: send it without '
                    'retain, and clear the topic'
                )
            with self._lock:
                is_new = self._remembered.begin(request)
                given = self._remembered.answer(request)
            if not is_new:
                if given is not None:
                    self._answer(command, given)
                return
            try:
                self._waiting.put_nowait(request)
            except queue.Full:
                self._end(request, success=False, message=f'{_MOST_WAITING} commands wait already')
        except CommandError as error:
            self._refuse(command, error.request_id or request_id, str(error))

    def _is_flood(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second == _MOST_PER_SECOND + 1:
            self._note(f'more than {_MOST_PER_SECOND} commands in a second: not answered', True)
        return self._in_second > _MOST_PER_SECOND

    def _refuse(self, command: str, request_id: str, reason: str) -> None:
        message = f'{command} is refused: {reason}'
        self._note(message, True)
        self._answer(command, _answered(command, request_id, success=False, message=message))

    def _end(self, request: Request, *, success: bool, message: str) -> None:
        command = request.command
        answer = _answered(command, request.request_id, success=success, message=message)
        with self._lock:
            self._remembered.end(request, answer)
        outcome = 'done' if success else 'refused'
        self._note(f'{command} {request.request_id} is {outcome}: {message}', not success)
        self._answer(command, answer)

    def _work(self) -> None:
        while (request := self._waiting.get()) is not None:
            success, message = self._commands.carry_out(request)
            self._end(request, success=success, message=message)


def _answered(command: str, request_id: str, *, success: bool, message: str) -> dict[str, Any]:
    return answer_payload(
        command, request_id, success=success, message=message, moment_ns=time.time_ns()
    )
