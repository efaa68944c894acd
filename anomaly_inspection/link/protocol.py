# SPDX-License-Identifier: Apache-2.0
"""
Encode and decode the lines that computer and ESP32 exchange, see docs/protocol.md.

"""

from __future__ import annotations

from dataclasses import dataclass
import re
import zlib

from anomaly_inspection.errors import LinkError

PROTOCOL_VERSION = 1
#: Bytes of the longest line, without its line feed.
LONGEST_LINE = 96
#: Sequence numbers are counted modulo this, milliseconds of uptime modulo UPTIMES.
SEQUENCES = 1 << 16
UPTIMES = 1 << 32
LARGEST_RAW = 4095
LARGEST_SMOOTHED = 1000
LONGEST_DURATION_MS = 60_000
MOST_CHANNELS = 4

_FORM = re.compile(rb'\$([0-9a-ik-z,]+)\*([0-?]{8})')
_NUMBER = re.compile(r'0|[1-9][0-9]{0,9}')
_TO_DIGITS = bytes.maketrans(b'abcdef', b':;<=>?')


@dataclass(frozen=True)
class Hello:
    """
    The device has started, or answers Hi.

    Parameters
    ----------
    uptime_ms : int
        Milliseconds since the device started, modulo 2^32.
    firmware : (int, int, int)
        Version of the firmware, 0 to 999 each.

    """

    uptime_ms: int
    firmware: tuple[int, int, int]


@dataclass(frozen=True)
class Reading:
    """
    One potentiometer.

    Parameters
    ----------
    channel : int
        Its GPIO number, 0 to 255.
    raw : int
        Value of the converter, 0 to 4095.
    smoothed : int
        After the device's filter, 0 to 1000.

    """

    channel: int
    raw: int
    smoothed: int


@dataclass(frozen=True)
class Readings:
    """
    What the device reads, every 20 ms.

    Parameters
    ----------
    uptime_ms : int
        Milliseconds since the device started, modulo 2^32.
    presses : int
        How often the button was pressed since then, modulo 2^16.
    is_held : bool
        Whether it is pressed now.
    channels : tuple of Reading
        One to four.

    """

    uptime_ms: int
    presses: int
    is_held: bool
    channels: tuple[Reading, ...]


@dataclass(frozen=True)
class GateState:
    """
    The state of the gate, as the answer to a command.

    Parameters
    ----------
    uptime_ms : int
        Milliseconds since the device started, modulo 2^32.
    answers : int
        Sequence number of the command.
    is_open : bool
        Open, or at rest.
    left_ms : int
        Until it rests by itself, milliseconds, 0 to 60000; 0 at rest.

    """

    uptime_ms: int
    answers: int
    is_open: bool
    left_ms: int


@dataclass(frozen=True)
class Refusal:
    """
    The device refuses a command.

    Parameters
    ----------
    uptime_ms : int
        Milliseconds since the device started, modulo 2^32.
    answers : int
        Sequence number of the command.
    reason : str
        'hi', 'late', 'range' or 'what', see docs/protocol.md.

    """

    uptime_ms: int
    answers: int
    reason: str


@dataclass(frozen=True)
class Hi:
    """
    The first line of the computer after connecting.

    """


@dataclass(frozen=True)
class Open:
    """
    Open the gate.

    Parameters
    ----------
    duration_ms : int
        For how long, milliseconds, 1 to 60000.
    by_ms : int
        Not after this uptime of the device, milliseconds modulo 2^32.
    silence_ms : int
        Rest when the computer has sent nothing for this time, milliseconds, 1 to 60000.

    """

    duration_ms: int
    by_ms: int
    silence_ms: int


@dataclass(frozen=True)
class Rest:
    """
    Bring the gate to rest.

    """


@dataclass(frozen=True)
class Ask:
    """
    Ask for the state of the gate.

    """


Answer = Hello | Readings | GateState | Refusal
Command = Hi | Open | Rest | Ask
Message = Answer | Command

_REASONS = ('hi', 'late', 'range', 'what')
_STATES = ('rest', 'open')


@dataclass(frozen=True)
class Line:
    """
    A valid line.

    Parameters
    ----------
    sequence : int
        Sequence number of the side that sent it, 0 to 65535.
    message : Message
        Its content.

    """

    sequence: int
    message: Message


def encode(sequence: int, message: Message) -> bytes:
    """
    Encode a line, with its line feed.

    Raises
    ------
    LinkError
        When a number is out of range, or the line would be too long (four channels of three digits
        each). The message names it and the allowed range.

    """
    fields = [PROTOCOL_VERSION, _within('sequence', sequence, SEQUENCES - 1), *_words(message)]
    body = ','.join(str(field) for field in fields).encode('ascii')
    line = b'$' + body + b'*' + _check_digits(body)
    if len(line) > LONGEST_LINE:
        raise LinkError(f'line of {len(line)} bytes, allowed: {LONGEST_LINE} at most')
    return line + b'\n'


def decode(line: bytes) -> Line:
    """
    Decode a line, given without its line feed.

    Raises
    ------
    LinkError
        When no message is encoded like this; the error says what is wrong.

    """
    if len(line) > LONGEST_LINE:
        raise LinkError(f'line of {len(line)} bytes, allowed: {LONGEST_LINE} at most')
    form = _FORM.fullmatch(line)
    if form is None:
        raise LinkError(f'line {line!r}, allowed: $fields*check, see docs/protocol.md')
    body, digits = form.groups()
    if digits != _check_digits(body):
        expected = _check_digits(body).decode('ascii')
        raise LinkError(f'line {line!r}: check {digits.decode()!r}, computed {expected!r}')
    version, *fields = body.decode('ascii').split(',')
    if version != str(PROTOCOL_VERSION):
        raise LinkError(f'protocol version {version!r}, allowed: {PROTOCOL_VERSION}')
    if len(fields) < 2:
        raise LinkError(f'line {line!r}: {1 + len(fields)} fields, allowed: 3 or more')
    sequence = _number('sequence', fields[0], SEQUENCES - 1)
    return Line(sequence, _message(fields[1], fields[2:]))


def _check_digits(body: bytes) -> bytes:
    return f'{zlib.crc32(body):08x}'.encode('ascii').translate(_TO_DIGITS)


def _words(message: Message) -> list[int | str]:
    match message:
        case Hello():
            versions = [_within('firmware version', part, 999) for part in message.firmware]
            return ['hello', _uptime(message), *versions]
        case Readings():
            count = len(message.channels)
            if not 1 <= count <= MOST_CHANNELS:
                raise LinkError(f'{count} channels, allowed: 1 to {MOST_CHANNELS}')
            presses = _within('presses', message.presses, SEQUENCES - 1)
            words: list[int | str] = ['read', _uptime(message), presses, int(message.is_held)]
            for reading in message.channels:
                words += [
                    _within('channel', reading.channel, 255),
                    _within('raw', reading.raw, LARGEST_RAW),
                    _within('smoothed', reading.smoothed, LARGEST_SMOOTHED),
                ]
            return words
        case GateState():
            left_ms = _within('left_ms', message.left_ms, LONGEST_DURATION_MS)
            if left_ms and not message.is_open:
                raise LinkError(f'left_ms {left_ms} at rest, allowed: 0')
            return ['gate', _uptime(message), _answers(message), _STATES[message.is_open], left_ms]
        case Refusal():
            if message.reason not in _REASONS:
                raise LinkError(f'reason {message.reason!r}, allowed: {", ".join(_REASONS)}')
            return ['no', _uptime(message), _answers(message), message.reason]
        case Hi():
            return ['hi']
        case Open():
            return [
                'open',
                _within('duration_ms', message.duration_ms, LONGEST_DURATION_MS, least=1),
                _within('by_ms', message.by_ms, UPTIMES - 1),
                _within('silence_ms', message.silence_ms, LONGEST_DURATION_MS, least=1),
            ]
        case Rest():
            return ['rest']
        case Ask():
            return ['ask']


def _message(name: str, fields: list[str]) -> Message:
    match name, fields:
        case 'hello', [uptime, major, minor, patch]:
            versions = [_number('firmware version', part, 999) for part in (major, minor, patch)]
            return Hello(_uptime_of(uptime), (versions[0], versions[1], versions[2]))
        case 'read', [uptime, presses, held, *rest] if rest and len(rest) % 3 == 0:
            if len(rest) > 3 * MOST_CHANNELS:
                raise LinkError(f'{len(rest) // 3} channels, allowed: 1 to {MOST_CHANNELS}')
            return Readings(
                _uptime_of(uptime),
                _number('presses', presses, SEQUENCES - 1),
                bool(_number('held', held, 1)),
                tuple(_reading(*rest[at : at + 3]) for at in range(0, len(rest), 3)),
            )
        case 'gate', [uptime, answers, 'rest' | 'open' as state, left]:
            is_open = state == 'open'
            left_ms = _number('left_ms', left, LONGEST_DURATION_MS if is_open else 0)
            return GateState(_uptime_of(uptime), _answers_of(answers), is_open, left_ms)
        case 'no', [uptime, answers, 'hi' | 'late' | 'range' | 'what' as reason]:
            return Refusal(_uptime_of(uptime), _answers_of(answers), reason)
        case 'hi', []:
            return Hi()
        case 'open', [duration, by, silence]:
            return Open(
                _number('duration_ms', duration, LONGEST_DURATION_MS, least=1),
                _number('by_ms', by, UPTIMES - 1),
                _number('silence_ms', silence, LONGEST_DURATION_MS, least=1),
            )
        case 'rest', []:
            return Rest()
        case 'ask', []:
            return Ask()
    raise LinkError(f'line of type {name!r} with fields {fields}, allowed: see docs/protocol.md')


def _reading(channel: str, raw: str, smoothed: str) -> Reading:
    return Reading(
        _number('channel', channel, 255),
        _number('raw', raw, LARGEST_RAW),
        _number('smoothed', smoothed, LARGEST_SMOOTHED),
    )


def _uptime(message: Answer) -> int:
    return _within('uptime_ms', message.uptime_ms, UPTIMES - 1)


def _answers(message: GateState | Refusal) -> int:
    return _within('answers', message.answers, SEQUENCES - 1)


def _uptime_of(text: str) -> int:
    return _number('uptime_ms', text, UPTIMES - 1)


def _answers_of(text: str) -> int:
    return _number('answers', text, SEQUENCES - 1)


def _number(name: str, text: str, largest: int, *, least: int = 0) -> int:
    if not _NUMBER.fullmatch(text):
        raise LinkError(f'{name} {text!r}, allowed: an integer from {least} to {largest}')
    return _within(name, int(text), largest, least=least)


def _within(name: str, value: int, largest: int, *, least: int = 0) -> int:
    if not least <= value <= largest:
        raise LinkError(f'{name} {value}, allowed: {least} to {largest}')
    return value
