# SPDX-License-Identifier: Apache-2.0
"""
The queue on disk: nothing is lost or out of order, whatever dies and whatever is full.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import resource
import signal
import subprocess
import sys
import threading

from hypothesis import given, settings, strategies
import pytest

from anomaly_inspection.disk_queue import DiskQueue
from anomaly_inspection.errors import SettingError, StateError
from support.paths import ROOT

# Appends records until it is killed, and tells the number of each that it has appended.
APPENDER = """
import sys
from pathlib import Path
from anomaly_inspection.disk_queue import DiskQueue
queue = DiskQueue(Path(sys.argv[1]), most_bytes=200_000_000)
while True:
    number = queue.append(b'x' * 300)
    sys.stdout.write(f'{number}\\n')
    sys.stdout.flush()
"""
# Delivers each record to its standard output and then acknowledges it, until it is killed.
READER = """
import sys
from pathlib import Path
from anomaly_inspection.disk_queue import DiskQueue
queue = DiskQueue(Path(sys.argv[1]))
while queue.wait(0):
    for record in queue.peek(3):
        sys.stdout.write(f'{record.number} {record.content.decode()}\\n')
    sys.stdout.flush()
    queue.acknowledge(record.number)
"""


@contextmanager
def opened(folder: Path, most_bytes: int = 1_000_000) -> Iterator[DiskQueue]:
    queue = DiskQueue(folder, most_bytes=most_bytes)
    try:
        yield queue
    finally:
        queue.close()


def contents(queue: DiskQueue) -> list[bytes]:
    return [record.content for record in queue.peek(1_000_000)]


def newest_segment(folder: Path) -> Path:
    return max(folder.glob('*.queue'))


def test_records_stay_in_order_until_they_are_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path) as queue:
        numbers = [queue.append(f'{value}'.encode()) for value in range(5)]
        assert numbers == [1, 2, 3, 4, 5]
        assert [record.number for record in queue.peek(3)] == [1, 2, 3]
        assert [record.number for record in queue.peek(3)] == [1, 2, 3]
        queue.acknowledge(2)
        assert contents(queue) == [b'2', b'3', b'4']
        assert queue.waiting == 3
    with opened(tmp_path) as queue:
        assert contents(queue) == [b'2', b'3', b'4']
        queue.acknowledge(5)
        assert queue.append(b'5') == 6
        assert contents(queue) == [b'5']


@settings(max_examples=60, deadline=None)
@given(
    steps=strategies.lists(
        strategies.one_of(
            strategies.binary(max_size=700).filter(lambda content: b'\n' not in content),
            strategies.integers(1, 12),
            strategies.just('open again'),
        ),
        max_size=60,
    )
)
def test_it_is_a_queue_whatever_is_done_with_it(
    steps: list[bytes | int | str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp('queue')
    queue = DiskQueue(folder, most_bytes=100_000)
    model: list[tuple[int, bytes]] = []
    n_appended = 0
    try:
        for step in steps:
            if isinstance(step, bytes):
                n_appended += 1
                assert queue.append(step) == n_appended
                model.append((n_appended, step))
            elif isinstance(step, int):
                records = queue.peek(step)
                assert [(each.number, each.content) for each in records] == model[:step]
                if records:
                    queue.acknowledge(records[-1].number)
                del model[:step]
            else:
                queue.close()
                queue = DiskQueue(folder, most_bytes=100_000)
            assert queue.waiting == len(model)
        assert queue.dropped == queue.damaged == 0
    finally:
        queue.close()


def test_a_full_queue_drops_the_oldest_and_says_how_many(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=8000) as queue:
        for value in range(200):
            queue.append(b'%03d' % value * 30)
            assert queue.size_bytes <= 8000
        left = contents(queue)
        assert left[-1] == b'199' * 30
        assert len(left) == queue.waiting == 200 - queue.dropped
        assert len(left) > 50
        n_dropped = queue.dropped
    with opened(tmp_path, most_bytes=8000) as queue:
        assert contents(queue) == left
        assert queue.dropped == n_dropped


def test_a_batch_that_was_dropped_while_it_was_delivered_is_not_missed(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=8000) as queue:
        for value in range(20):
            queue.append(b'%03d' % value)
        batch = queue.peek(10)
        for value in range(20, 300):
            queue.append(b'%03d' % value * 30)
        # The batch has arrived, although its records are no longer here.
        queue.acknowledge(batch[-1].number)
        left = contents(queue)
        assert [content[:3] for content in left] == [
            b'%03d' % value for value in range(300 - len(left), 300)
        ]


def test_acknowledged_records_give_their_room_back(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=80_000) as queue:
        for _ in range(300):
            number = queue.append(b'x' * 2000)
            queue.peek(1)
            queue.acknowledge(number)
        assert queue.dropped == 0
        assert len(list(tmp_path.glob('*.queue'))) == 1


@pytest.mark.parametrize('tail', [b'9 0000', b'9 00000000 torn', b'\0' * 40, b'9 00000000 x\n'])
def test_a_torn_last_line_is_cut_off_and_the_queue_goes_on(tmp_path: Path, tail: bytes) -> None:
    with opened(tmp_path) as queue:
        queue.append(b'first')
        queue.append(b'second')
    with newest_segment(tmp_path).open('ab') as file:
        file.write(tail)
    with opened(tmp_path) as queue:
        assert contents(queue) == [b'first', b'second']
        assert queue.append(b'third') == 3
        assert contents(queue) == [b'first', b'second', b'third']
    with opened(tmp_path) as queue:
        assert contents(queue) == [b'first', b'second', b'third']


def test_a_damaged_line_costs_itself_alone_and_is_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as queue:
        for content in (b'first', b'second', b'third'):
            queue.append(content)
    path = newest_segment(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'second', b'sec\0nd'))
    with opened(tmp_path) as queue:
        assert contents(queue) == [b'first', b'third']
        assert queue.damaged > 0
        queue.acknowledge(3)
        assert queue.waiting == 0


def test_damage_at_the_end_while_it_is_open_does_not_keep_the_reader_busy(tmp_path: Path) -> None:
    with opened(tmp_path) as queue:
        queue.append(b'only')
        path = newest_segment(tmp_path)
        path.write_bytes(path.read_bytes().replace(b'only', b'0nly'))
        assert queue.peek() == []
        assert not queue.wait(0)
        assert queue.append(b'next') == 2
        assert contents(queue) == [b'next']


@pytest.mark.parametrize('text', ['', 'no JSON', '[]', '{"acknowledged": "many"}', '{"acknow'])
def test_without_a_readable_position_records_are_delivered_again(
    tmp_path: Path, text: str
) -> None:
    with opened(tmp_path) as queue:
        queue.append(b'first')
        queue.append(b'second')
        queue.peek()
        queue.acknowledge(1)
    (tmp_path / 'position.json').write_text(text)
    with opened(tmp_path) as queue:
        assert contents(queue) == [b'first', b'second']
        assert queue.append(b'third') == 3


def test_every_record_that_was_appended_survives_kill_minus_nine(tmp_path: Path) -> None:
    told = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, '-c', APPENDER, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
        )
        with process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(400)]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        told = max(int(line) for line in lines if line.endswith(b'\n'))
    with opened(tmp_path, most_bytes=200_000_000) as queue:
        numbers = [record.number for record in queue.peek(1_000_000)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert told <= numbers[-1]


def test_a_reader_that_is_killed_delivers_everything_at_least_once_and_in_order(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as queue:
        for value in range(1, 301):
            queue.append(b'%d' % value)
    arrived: list[int] = []
    for n_lines in (70, 40, None):
        process = subprocess.Popen(
            [sys.executable, '-c', READER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            pipesize=4096,
        )
        with process:
            assert process.stdout is not None
            if n_lines is None:
                lines = process.stdout.readlines()
            else:
                lines = [process.stdout.readline() for _ in range(n_lines)]
                process.send_signal(signal.SIGKILL)
                lines += process.stdout.read().splitlines(keepends=True)
        whole = [line.split() for line in lines if line.endswith(b'\n')]
        assert all(number == content for number, content in whole)
        numbers = [int(number) for number, _ in whole]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert not arrived or numbers[0] <= arrived[-1] + 1
        arrived = numbers if not arrived else sorted({*arrived, *numbers})
    assert arrived == list(range(1, 301))


def test_what_a_full_disk_refuses_leaves_the_queue_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as queue:
        queue.append(b'first')
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        room = newest_segment(tmp_path).stat().st_size + 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(StateError, match='cannot write to the queue in'):
                queue.append(b'x' * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert queue.append(b'second') == 2
        assert contents(queue) == [b'first', b'second']
    with opened(tmp_path) as queue:
        assert contents(queue) == [b'first', b'second']
        assert queue.damaged == 0


def test_only_one_process_may_have_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('anomaly_inspection.disk_queue._HANDOVER_S', 0.0)
    with (
        opened(tmp_path),
        pytest.raises(StateError, match='another process uses the queue'),
    ):
        DiskQueue(tmp_path)


def test_a_reader_waits_until_a_record_comes_or_the_queue_is_closed(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path)
    answers: list[bool] = []
    reader = threading.Thread(target=lambda: answers.append(queue.wait(60)))
    reader.start()
    queue.append(b'first')
    reader.join(30)
    queue.peek()
    queue.acknowledge(1)
    reader = threading.Thread(target=lambda: answers.append(queue.wait(60)))
    reader.start()
    queue.close()
    reader.join(30)
    assert answers == [True, False]


def test_what_cannot_be_a_record_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, most_bytes=8000) as queue:
        with pytest.raises(ValueError, match='line end'):
            queue.append(b'two\nlines')
        with pytest.raises(ValueError, match='at most 1,000'):
            queue.append(b'x' * 1000)
        with pytest.raises(ValueError, match='was not read'):
            queue.acknowledge(1)
        assert queue.waiting == 0


def test_a_folder_that_cannot_be_used_and_a_bound_that_is_too_small_are_named(
    tmp_path: Path,
) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(StateError, match=r'cannot keep a queue in .*file'):
        DiskQueue(tmp_path / 'file')
    with pytest.raises(SettingError, match='at least 4096'):
        DiskQueue(tmp_path / 'queue', most_bytes=10)
