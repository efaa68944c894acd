# SPDX-License-Identifier: Apache-2.0
"""
The lines on the wire: as docs/protocol.md says, and nothing else.

"""

from __future__ import annotations

from itertools import combinations
import random

from hypothesis import given
from hypothesis import strategies as st
import pytest

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
    LONGEST_LINE,
    Message,
    Open,
    Reading,
    Readings,
    Refusal,
    Rest,
)
from support.paths import ROOT

VECTORS = [
    line.split('\t')
    for line in (ROOT / 'firmware' / 'test' / 'protocol_vectors.tsv')
    .read_text(encoding='ascii')
    .splitlines()
    if not line.startswith('#')
]

SIXTEEN_BITS = st.integers(0, 0xFFFF)
UPTIME = st.integers(0, 0xFFFFFFFF)
DURATION = st.integers(1, 60_000)
VERSION = st.integers(0, 999)
# Of two digits, as those of an ESP32 are: four of three digits do not fit a line.
READING = st.builds(Reading, st.integers(0, 99), st.integers(0, 4095), st.integers(0, 1000))
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(Hello, UPTIME, st.tuples(VERSION, VERSION, VERSION)),
    st.builds(
        Readings,
        UPTIME,
        SIXTEEN_BITS,
        st.booleans(),
        st.lists(READING, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(GateState, UPTIME, SIXTEEN_BITS, st.just(True), st.integers(0, 60_000)),
    st.builds(GateState, UPTIME, SIXTEEN_BITS, st.just(False), st.just(0)),
    st.builds(Refusal, UPTIME, SIXTEEN_BITS, st.sampled_from(('hi', 'late', 'range', 'what'))),
    st.builds(Open, DURATION, UPTIME, DURATION),
    st.sampled_from((Hi(), Rest(), Ask())),
)
SHORTEST = encode(0, Hi())
LONGEST = encode(6553, Readings(0xFFFFFFFF, 65535, True, (Reading(255, 4095, 1000),) * 4))


def meaning(line: Line) -> str:
    """
    What a line says, in the words of the vector file.

    """
    match line.message:
        case Hi():
            words = 'hi'
        case Rest():
            words = 'rest'
        case Ask():
            words = 'ask'
        case Open(duration, by, silence):
            words = f'open duration={duration} by={by} silence={silence}'
        case Hello(uptime, firmware):
            words = f'hello uptime={uptime} firmware={".".join(map(str, firmware))}'
        case Readings(uptime, presses, is_held, channels):
            words = f'read uptime={uptime} presses={presses} held={int(is_held)} ' + ' '.join(
                f'{reading.channel}:{reading.raw}/{reading.smoothed}' for reading in channels
            )
        case GateState(uptime, answers, is_open, left):
            state = 'open' if is_open else 'rest'
            words = f'gate uptime={uptime} answers={answers} state={state} left={left}'
        case Refusal(uptime, answers, reason):
            words = f'no uptime={uptime} answers={answers} reason={reason}'
    return f'{line.sequence} {words}'


def accepted(data: bytes) -> list[bytes]:
    """
    The lines of a stream that are whole.

    """
    whole = []
    for line in LineBuffer().feed(data):
        try:
            decode(line)
        except LinkError:
            continue
        whole.append(line)
    return whole


@pytest.mark.parametrize(('text', 'result', 'words'), VECTORS)
def test_vectors(text: str, result: str, words: str) -> None:
    data = text.encode('ascii')
    if result == 'ok':
        line = decode(data)
        assert meaning(line) == words
        assert encode(line.sequence, line.message) == data + b'\n'
    else:
        assert result in ('broken', 'range', 'what')
        with pytest.raises(LinkError, match=r'allowed|computed'):
            decode(data)


def test_the_vectors_hold_every_result() -> None:
    assert {result for _, result, _ in VECTORS} == {'ok', 'broken', 'range', 'what'}


@given(SIXTEEN_BITS, MESSAGES)
def test_what_is_written_is_read(sequence: int, message: Message) -> None:
    line = encode(sequence, message)
    assert len(line) <= LONGEST_LINE + 1
    assert decode(line[:-1]) == Line(sequence, message)


@pytest.mark.parametrize(
    ('sequence', 'message'),
    [
        (65536, Hi()),
        (-1, Hi()),
        (0, Open(0, 0, 1)),
        (0, Open(60_001, 0, 1)),
        (0, Open(1, 1 << 32, 1)),
        (0, Open(1, 0, 0)),
        (0, Hello(0, (1000, 0, 0))),
        (0, Readings(0, 0, False, ())),
        (0, Readings(0, 0, False, (Reading(0, 0, 0),) * 5)),
        (0, Readings(0, 65536, False, (Reading(0, 0, 0),))),
        (0, Readings(0, 0, False, (Reading(256, 0, 0),))),
        (0, Readings(0, 0, False, (Reading(0, 4096, 0),))),
        (0, Readings(0, 0, False, (Reading(0, 0, 1001),))),
        (0, GateState(0, 0, False, 1)),
        (0, GateState(0, 0, True, 60_001)),
        (0, Refusal(0, 0, 'because')),
        (65535, Readings(0xFFFFFFFF, 65535, True, (Reading(255, 4095, 1000),) * 4)),
    ],
)
def test_what_is_out_of_range_is_not_written(sequence: int, message: Message) -> None:
    with pytest.raises(LinkError, match='allowed'):
        encode(sequence, message)


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_link_error(data: bytes) -> None:
    try:
        line = decode(data)
    except LinkError:
        return
    assert encode(line.sequence, line.message) == data + b'\n'


@pytest.mark.parametrize(
    ('line', 'most_bits'), [(SHORTEST, 3), (LONGEST, 2)], ids=['shortest', 'longest']
)
def test_wrong_bits_are_found(line: bytes, most_bits: int) -> None:
    """
    Every error of one to three bits, line feed included, between two lines of which it may destroy
    the borders.

    """
    bits = 8 * len(line)
    value = int.from_bytes(line, 'big')
    masks = [1 << bit for bit in range(bits)]
    buffer = LineBuffer()
    for count in range(1, most_bits + 1):
        for chosen in combinations(masks, count):
            wrong = (value ^ sum(chosen)).to_bytes(len(line), 'big')
            for found in buffer.feed(wrong + b'\n'):
                with pytest.raises(LinkError):
                    decode(found)


def test_mutated_lines_are_not_accepted() -> None:
    rng = random.Random(1)
    lines = [bytes(text, 'ascii') for text, result, _ in VECTORS if result == 'ok']
    known = set(lines)
    for _ in range(30_000):
        data = bytearray(rng.choice(lines) + b'\n' + rng.choice(lines) + b'\n')
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[place] = rng.randrange(256)
                case 1:
                    del data[place : place + rng.randint(1, 5)]
                    data += b'x'
                case 2:
                    data[place:place] = rng.randbytes(rng.randint(1, 5))
                case 3:
                    end = place + rng.randint(1, 20)
                    data[place:place] = data[place:end]
        assert known.issuperset(accepted(bytes(data)))


# Lines from bytes


@given(st.lists(st.binary(max_size=30).map(lambda data: data.replace(b'\n', b'.'))), st.data())
def test_cuts_change_nothing(lines: list[bytes], data: st.DataObject) -> None:
    stream = b''.join(line + b'\n' for line in lines)
    buffer, found, start = LineBuffer(), [], 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        found += buffer.feed(stream[start:end])
        start = end
    assert found == [line for line in lines if line]
    assert buffer.overlong == 0


def test_a_cut_at_every_place() -> None:
    stream = SHORTEST + LONGEST + SHORTEST
    whole = [SHORTEST[:-1], LONGEST[:-1], SHORTEST[:-1]]
    for cut in range(len(stream) + 1):
        buffer = LineBuffer()
        assert buffer.feed(stream[:cut]) + buffer.feed(stream[cut:]) == whole


@pytest.mark.parametrize('chunk', [1, 7, 96, 97, 98, 5000])
def test_what_is_too_long_is_dropped_up_to_its_line_feed(chunk: int) -> None:
    longest = b'a' * LONGEST_LINE
    stream = longest + b'\n' + longest + b'b\n' + b'c\n' + b'd' * 1000 + b'\n' + b'e\n'
    buffer = LineBuffer()
    found = []
    for start in range(0, len(stream), chunk):
        found += buffer.feed(stream[start : start + chunk])
    assert found == [longest, b'c', b'e']
    assert buffer.overlong == 2


def test_a_flood_without_line_feed_holds_no_memory() -> None:
    buffer = LineBuffer()
    for _ in range(100):
        assert buffer.feed(b'x' * 100_000) == []
        assert len(buffer._held) <= LONGEST_LINE
    assert buffer.overlong == 1
    assert buffer.feed(b'\n' + SHORTEST) == [SHORTEST[:-1]]


def test_after_any_garbage_the_next_line_counts() -> None:
    rng = random.Random(2)
    for _ in range(2000):
        garbage = rng.randbytes(rng.randrange(300))
        assert accepted(garbage + b'\n' + SHORTEST)[-1:] == [SHORTEST[:-1]]


def test_a_line_that_has_begun_can_be_forgotten() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b'half a li') == []
    buffer.clear()
    assert buffer.feed(SHORTEST) == [SHORTEST[:-1]]
