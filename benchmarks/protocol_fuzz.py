# SPDX-License-Identifier: Apache-2.0
"""
Feed ten million random and mutated bytes to both parsers of the protocol, Python's and the
firmware's.

They must agree on every line, raise nothing, and accept no line that nobody sent. A mutation that
happens to give the bytes of a sent line counts as that line.

"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
import json
import random
import subprocess
import time
import zlib

import click

from anomaly_inspection.errors import LinkError
from anomaly_inspection.link.line_buffer import LineBuffer
from anomaly_inspection.link.protocol import (
    Ask,
    decode,
    encode,
    GateState,
    Hello,
    Hi,
    Line,
    Message,
    Open,
    Reading,
    Readings,
    Refusal,
    Rest,
    UPTIMES,
)
from benchmarks.report import machine, RESULTS, Table
from firmware.twin.device_twin import compiled, FIRMWARE

ORIGINALS = 500
LONGEST_NOISE = 200
LONGEST_PIECE = 300
TIMEOUT_S = 300

_FITTING = b'0123456789,$*:;<=>?aeghinorst'
_NOTHING = ' -'


@dataclass(frozen=True)
class Outcome:
    """
    The result for a stream of bytes.

    Parameters
    ----------
    size : int
        Bytes.
    lines : int
        Lines that both found.
    accepted : int
        Lines that both accepted, all of them sent by somebody.
    disagreements : tuple of (str, str)
        Results of Python and C++ for the same line, where they differed.
    accepted_mutations : tuple of bytes
        Lines that were accepted though nobody sent them.

    """

    size: int
    lines: int
    accepted: int
    disagreements: tuple[tuple[str, str], ...]
    accepted_mutations: tuple[bytes, ...]


def meaning(line: Line) -> str:
    """
    Give the content of a line, in the words of firmware/test/protocol_vectors.tsv.

    """
    return f'{line.sequence} {_words(line.message)}'


def _words(message: Message) -> str:
    match message:
        case Hello(uptime, (major, minor, patch)):
            return f'hello uptime={uptime} firmware={major}.{minor}.{patch}'
        case Readings(uptime, presses, is_held, channels):
            knobs = ' '.join(f'{knob.channel}:{knob.raw}/{knob.smoothed}' for knob in channels)
            return f'read uptime={uptime} presses={presses} held={int(is_held)} {knobs}'
        case GateState(uptime, answers, is_open, left):
            state = 'open' if is_open else 'rest'
            return f'gate uptime={uptime} answers={answers} state={state} left={left}'
        case Refusal(uptime, answers, reason):
            return f'no uptime={uptime} answers={answers} reason={reason}'
        case Open(duration, by, silence):
            return f'open duration={duration} by={by} silence={silence}'
        case Hi() | Rest() | Ask():
            return type(message).__name__.lower()


def sent_lines(chance: random.Random, count: int) -> list[bytes]:
    """
    Give lines of every kind, in both directions, with line feeds.

    """

    def any_message() -> Message:
        uptime = chance.choice((chance.randrange(UPTIMES), chance.randrange(100_000)))
        sequence = chance.randrange(1 << 16)
        is_open = chance.random() < 0.5
        knobs = tuple(
            Reading(chance.randrange(256), chance.randrange(4096), chance.randrange(1001))
            for _ in range(chance.randint(1, 4))
        )
        return chance.choice(
            (
                Hi(),
                Rest(),
                Ask(),
                Open(chance.randint(1, 60_000), uptime, chance.randint(1, 60_000)),
                Hello(uptime, (chance.randrange(1000), chance.randrange(1000), 0)),
                Readings(uptime, sequence, is_open, knobs),
                GateState(uptime, sequence, is_open, is_open * chance.randint(0, 60_000)),
                Refusal(uptime, sequence, chance.choice(('hi', 'late', 'range', 'what'))),
            )
        )

    return [encode(chance.randrange(1 << 16), any_message()) for _ in range(count)]


def forged(chance: random.Random, line: bytes) -> bytes:
    """
    Give a line with another body and the matching check: valid in form, but mostly without a
    meaning.

    """
    body = bytearray(line[1 : line.rindex(b'*')])
    body[chance.randrange(len(body))] = chance.choice(b'0123456789,abcdefghikz')
    digits = f'{zlib.crc32(body):08x}'.encode().translate(bytes.maketrans(b'abcdef', b':;<=>?'))
    return b'$' + body + b'*' + digits + b'\n'


def damaged(chance: random.Random, line: bytes, other: bytes) -> bytes:
    """
    Give a line after one of the things that can happen to lines.

    """
    bytes_ = bytearray(line)
    place = chance.randrange(len(bytes_))
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randint(1, 8)):
                bytes_[chance.randrange(len(bytes_))] ^= 1 << chance.randrange(8)
        case 1:
            del bytes_[place : place + chance.randint(1, len(bytes_))]
        case 2:
            bytes_[place:place] = bytes_[place : place + chance.randint(1, len(bytes_))]
        case 3:
            bytes_[place:] = other[chance.randrange(len(other)) :]
        case 4:
            bytes_.insert(place, 0x0A)
        case 5:
            # Characters that fit the form: digits, letters, separators, check digits.
            for _ in range(chance.randint(1, 3)):
                bytes_[chance.randrange(len(bytes_))] = chance.choice(_FITTING)
    return bytes(bytes_)


def fuzz_stream(chance: random.Random, size: int) -> tuple[bytes, set[bytes]]:
    """
    Give noise, lines, and lines after everything that can happen to them.

    Returns
    -------
    bytes
        `size` of them, or some more.
    set of bytes
        The lines that were really sent, without line feeds.

    """
    sent = sent_lines(chance, ORIGINALS)
    stream = bytearray()
    known = set(sent)
    while len(stream) < size:
        line = chance.choice(sent)
        match chance.choices(('noise', 'line', 'forged', 'damaged'), (1, 1, 1, 7))[0]:
            case 'noise':
                stream += chance.randbytes(chance.randint(1, LONGEST_NOISE))
            case 'line':
                stream += line
            case 'forged':
                line = forged(chance, line)
                known.add(line)
                stream += line
            case 'damaged':
                stream += damaged(chance, line, chance.choice(sent))
    return bytes(stream), {line[:-1] for line in known}


def compare(stream: bytes, known: set[bytes], *, seed: int = 1) -> Outcome:
    """
    Let both sides parse a stream, Python in pieces of any size.

    Raises
    ------
    subprocess.SubprocessError
        When the firmware's reader hangs or ends with an error.

    """
    lines = list(_lines(stream, random.Random(seed)))
    ours = [_reading(line) for line in lines]
    theirs = _firmware_readings(stream)
    disagreements = [pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]]
    if len(ours) != len(theirs):
        disagreements.append((f'{len(ours)} lines', f'{len(theirs)} lines'))
    accepted = [
        line for line, said in zip(lines, ours, strict=True) if not said.endswith(_NOTHING)
    ]
    return Outcome(
        size=len(stream),
        lines=len(lines),
        accepted=len(accepted),
        disagreements=tuple(disagreements),
        accepted_mutations=tuple(line for line in accepted if line not in known),
    )


def _lines(stream: bytes, chance: random.Random) -> Iterator[bytes]:
    buffer = LineBuffer()
    at = 0
    while at < len(stream):
        end = at + chance.randint(1, LONGEST_PIECE)
        yield from buffer.feed(stream[at:end])
        at = end


def _reading(line: bytes) -> str:
    try:
        read = decode(line)
    except LinkError:
        said = _NOTHING
    else:
        assert encode(read.sequence, read.message) == line + b'\n'
        said = f' {meaning(read)}'
    return f'{len(line)} {zlib.crc32(line):08x}{said}'


def _firmware_readings(stream: bytes) -> list[str]:
    program = compiled(
        [FIRMWARE / 'test' / 'read_lines.cpp', *FIRMWARE.glob('lib/protocol/*.cpp')],
        'read_lines',
        '-O2',
        '-fsanitize=address,undefined',
        '-fno-sanitize-recover=all',
        f'-I{FIRMWARE / "test"}',
    )
    done = subprocess.run(
        [program], input=stream, capture_output=True, check=True, timeout=TIMEOUT_S
    )
    rows = done.stdout.decode('ascii').splitlines()
    # Python does not need to know why the firmware drops a line.
    return [row.partition(_NOTHING)[0] + _NOTHING if _NOTHING in row else row for row in rows]


@click.command()
@click.option('--size', default=10_000_000, help='Bytes.', type=click.IntRange(1))
@click.option('--seed', default=1, help='Seed of everything random.')
def main(size: int, seed: int) -> None:
    """
    Fuzz the protocol and write out/benchmarks/protocol_fuzz.

    """
    stream, known = fuzz_stream(random.Random(seed), size)
    began_s = time.monotonic()
    outcome = compare(stream, known, seed=seed)
    took_s = time.monotonic() - began_s
    row = (
        outcome.size,
        outcome.lines,
        outcome.accepted,
        len(outcome.disagreements),
        len(outcome.accepted_mutations),
        took_s,
    )
    columns = ('bytes', 'lines', 'accepted', 'disagreements', 'mutations accepted', 'seconds')
    print(Table('Protocol: Python beside C++', columns, [row]).markdown())
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures = dict(zip(columns, row, strict=True)) | {'seed': seed, 'machine': machine()}
    (RESULTS / 'protocol_fuzz.json').write_text(json.dumps(figures, indent=2))
    for ours, theirs in outcome.disagreements[:10]:
        print(f'Python {ours!r}, C++ {theirs!r}')
    for line in outcome.accepted_mutations[:10]:
        print(f'accepted, but never sent: {line!r}')
    if outcome.disagreements or outcome.accepted_mutations:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
