# SPDX-License-Identifier: Apache-2.0
"""
Commands of the plant: read and checked as a whole, or refused with a sentence.

"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
import json
import re
from typing import Any

from anomaly_inspection.errors import CommandError, SettingError
from anomaly_inspection.plant.payloads import PAYLOAD_FORMAT, utc_text
from anomaly_inspection.printable import shown

LOAD_RECIPE = 'load_recipe'
RESET_LINE = 'reset_line'
START_CHALLENGE = 'start_challenge'
#: What can be allowed, with the fields of each request besides its id.
COMMANDS: dict[str, tuple[str, ...]] = {
    LOAD_RECIPE: ('recipe',),
    RESET_LINE: (),
    START_CHALLENGE: (),
}

#: The largest request, bytes.
MOST_BYTES = 4096
# Both must be able to stand in a topic, a file name and a log.
_ID = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}', re.ASCII)
_RECIPE = re.compile(r'[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}', re.ASCII)
_REMEMBERED_ANSWERS = 200


@dataclass(frozen=True)
class Request:
    """
    A checked request.

    Parameters
    ----------
    command : str
        One of `COMMANDS`.
    request_id : str
        The sender's name for it; the answer carries it.
    recipe : str
        Name of the recipe to load; '' for the other commands.

    """

    command: str
    request_id: str
    recipe: str = ''


def allowed_commands(names: tuple[str, ...]) -> tuple[str, ...]:
    """
    Check the list of allowed commands.

    Raises
    ------
    SettingError
        When a name is none of `COMMANDS`, or stands there twice.

    """
    for name in names:
        if name not in COMMANDS:
            raise SettingError(f'commands: {name!r} is refused: allowed are {", ".join(COMMANDS)}')
        if names.count(name) > 1:
            raise SettingError(f'commands: {name!r} stands there twice')
    return names


def parse_request(command: str, payload: bytes) -> Request:
    """
    Read a request.

    Parameters
    ----------
    command : str
        One of `COMMANDS`.
    payload : bytes
        A JSON object in UTF-8: `id` and the fields of the command, each a text, and nothing else.

    Raises
    ------
    CommandError
        When anything is not as it must be; carries the id where the payload has a proper one.

    """
    content = _object(payload)
    given_id = content.get('id')
    is_proper = isinstance(given_id, str) and _ID.fullmatch(given_id) is not None
    request_id = str(given_id) if is_proper else ''
    wanted = ('id', *COMMANDS[command])
    if not is_proper:
        raise CommandError(
            f'id = {shown(given_id)} is refused: allowed are 1 to 64 of A-Z a-z 0-9 _ . : -, '
            'the first a letter or digit'
        )
    foreign = sorted(set(content) - set(wanted))
    if foreign:
        raise CommandError(
            f'{shown(foreign[0])} is no field of {command}; its fields are {", ".join(wanted)}',
            request_id,
        )
    missing = [name for name in wanted if name not in content]
    if missing:
        raise CommandError(f'{missing[0]!r} is missing', request_id)
    recipe = content.get('recipe', '')
    if command == LOAD_RECIPE and not (isinstance(recipe, str) and _RECIPE.fullmatch(recipe)):
        raise CommandError(
            f'recipe = {shown(recipe)} is refused: allowed is the name of a folder in the recipe '
            'library, 1 to 100 of A-Z a-z 0-9 _ . -, the first no dot and no dash',
            request_id,
        )
    return Request(command, request_id, recipe)


def answer_payload(
    command: str, request_id: str, *, success: bool, message: str, moment_ns: int
) -> dict[str, Any]:
    """
    Give the payload of an answer; without an id the request had none that is proper.

    """
    return {
        'format': PAYLOAD_FORMAT,
        'timestamp': utc_text(moment_ns),
        'command': command,
        'id': request_id or None,
        'success': success,
        'message': message,
    }


class RememberedAnswers:
    """
    The last answers by command and id: MQTT may deliver a request twice, and it must act once.

    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], dict[str, Any] | None] = OrderedDict()

    def begin(self, request: Request) -> bool:
        """
        Note that a request is being carried out; False when it was taken before.

        """
        key = request.command, request.request_id
        if key in self._answers:
            return False
        self._answers[key] = None
        while len(self._answers) > _REMEMBERED_ANSWERS:
            self._answers.popitem(last=False)
        return True

    def end(self, request: Request, answer: dict[str, Any]) -> None:
        """
        Keep its answer.

        """
        self._answers[request.command, request.request_id] = answer

    def answer(self, request: Request) -> dict[str, Any] | None:
        """
        Give the answer to a request; None while it is being carried out.

        """
        return self._answers.get((request.command, request.request_id))


def _object(payload: bytes) -> dict[str, Any]:
    if len(payload) > MOST_BYTES:
        raise CommandError(f'{len(payload):,} bytes are refused: at most {MOST_BYTES:,} are taken')
    try:
        content = json.loads(
            payload.decode('utf-8'), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise CommandError(f'the payload is no UTF-8 (byte {error.start})') from error
    except RecursionError as error:
        raise CommandError('the payload is nested too deeply') from error
    except ValueError as error:
        raise CommandError(f'the payload is no JSON: {error}') from error
    if not isinstance(content, dict):
        raise CommandError(f'the payload is {shown(content)}; allowed is a JSON object')
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'{shown(twice)} stands there twice')
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f'{name} is no JSON')
