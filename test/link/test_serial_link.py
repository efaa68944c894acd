# SPDX-License-Identifier: Apache-2.0
"""
A port that is kept open, whatever the device at the other end does.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import os
import random
import resource
import socket
import threading
import time

import pytest
import serial

from anomaly_inspection.errors import LinkError, SettingError
from anomaly_inspection.link.device_clock import DeviceClock
from anomaly_inspection.link.legacy import decode_legacy, LegacyAgreement, LegacyReading
from anomaly_inspection.link.protocol import (
    Ask,
    decode,
    encode,
    GateState,
    Hello,
    Hi,
    Line,
    Reading,
    Readings,
    Rest,
    UPTIMES,
)
from anomaly_inspection.link.serial_link import FIRST_RETRY_S, LAST_RETRY_S, SerialLink
from support.wire_bench import PtyDevice


class Heard:
    """
    A link and what came over it.

    """

    def __init__(self, url: str, *, legacy: bool = False, silence_s: float = 10.0) -> None:
        self.lines: list[tuple[Line, float]] = []
        self.legacy: list[LegacyReading] = []
        self.link = SerialLink(
            url,
            lambda line, received_s: self.lines.append((line, received_s)),
            take_legacy=(lambda reading, _: self.legacy.append(reading)) if legacy else None,
            silence_s=silence_s,
            first_silence_s=silence_s,
        )
        self.link.start()

    def wait(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end_s, f'did not come true; {self.link.problem}'
            time.sleep(0.005)

    def wait_until_connected(self) -> None:
        self.wait(lambda: self.link.is_connected)

    def wait_for_lines(self, more: int) -> None:
        count = len(self.lines) + more
        self.wait(lambda: len(self.lines) >= count)


@pytest.fixture
def device() -> Iterator[PtyDevice]:
    device = PtyDevice()
    yield device
    device.close()


@pytest.fixture
def hear() -> Iterator[Callable[..., Heard]]:
    made: list[Heard] = []

    def make(url: str, **options: object) -> Heard:
        made.append(Heard(url, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for heard in made:
        heard.link.stop()


Hear = Callable[..., Heard]


def test_it_says_hi_and_takes_whole_lines(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_for_lines(5)
    assert heard.link.is_connected
    assert heard.link.problem == ''
    assert device.heard[0] == Hi()
    kinds = {type(line.message) for line, _ in heard.lines}
    assert kinds == {Hello, Readings}
    received = [received_s for _, received_s in heard.lines]
    assert received == sorted(received)
    assert received[-1] <= time.monotonic()


def test_commands_are_written_with_counted_sequence_numbers(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_until_connected()
    first = heard.link.send(Ask())
    assert heard.link.send(Rest()) == first + 1
    assert heard.link.send(Ask(), sequence=first) == first
    heard.wait(lambda: device.heard == [Hi(), Ask(), Rest(), Ask()])


def test_nothing_is_sent_before_the_device_has_spoken(hear: Hear) -> None:
    device = PtyDevice(says_readings=False)
    heard = hear(device.path)
    heard.wait(lambda: device.heard == [Hi()])
    with pytest.raises(LinkError, match='not connected yet'):
        heard.link.send(Ask())
    device.close()


def test_lines_are_whole_wherever_they_are_cut(hear: Hear) -> None:
    device = PtyDevice(says_readings=False)
    heard = hear(device.path)
    heard.wait(lambda: device.heard)
    line = encode(7, GateState(1000, 3, True, 120))
    for cut in range(1, len(line)):
        device.say_bytes(line[:cut])
        heard.wait(lambda: device.is_read)
        device.say_bytes(line[cut:])
        heard.wait(lambda cut=cut: len(heard.lines) == cut)  # type: ignore[misc]
    assert {line.message for line, _ in heard.lines} == {GateState(1000, 3, True, 120)}
    assert heard.link.counters.broken == 0
    device.close()


def test_garbage_is_counted_and_the_next_line_taken(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_until_connected()
    device.says_readings = False
    rng = random.Random(1)
    for _ in range(20):
        device.say_bytes(rng.randbytes(500).replace(b'\n', b'.') + b'\n' + b'$half a line\n')
    before = len(heard.lines)
    device.say(Hello(5000, (1, 0, 0)))
    heard.wait(lambda: len(heard.lines) > before)
    assert heard.lines[-1][0].message == Hello(5000, (1, 0, 0))
    assert heard.link.counters.broken >= 20
    assert heard.link.counters.overlong >= 20
    assert heard.link.counters.lines == len(heard.lines)


def test_lost_lines_are_counted(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_for_lines(3)
    device.say(Hello(device.uptime_ms(), (1, 0, 0)), skip=5)
    heard.wait_for_lines(3)
    # A hello begins a count anew.
    assert heard.link.counters.lost == 0
    device.say(GateState(device.uptime_ms(), 0, False, 0), skip=5)
    heard.wait(lambda: heard.link.counters.lost)
    assert heard.link.counters.lost == 5


def test_what_a_computer_says_does_not_count_as_a_device(hear: Hear) -> None:
    """
    A port that gives back what it is told.

    """
    heard = hear('loop://', silence_s=0.2)
    heard.wait(lambda: heard.link.problem)
    assert 'loop://: open, but no valid line for 0.2 s' in heard.link.problem
    assert 'the data is not version 1' in heard.link.problem
    assert not heard.lines


def test_a_silent_port_is_opened_anew(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path, silence_s=0.3)
    heard.wait_until_connected()
    device.says_readings = False
    heard.wait(lambda: heard.link.problem)
    words = 'open, but no valid line for 0.3 s: the device sends nothing'
    assert heard.link.problem == f'{device.path}: {words}'
    with pytest.raises(LinkError, match='no valid line'):
        heard.link.send(Ask())
    device.says_readings = True
    heard.wait_until_connected()
    assert heard.link.problem == ''
    assert heard.link.counters.reconnects >= 1
    assert device.heard.count(Hi()) >= 2


def test_another_version_of_the_protocol_is_named(hear: Hear) -> None:
    device = PtyDevice(says_readings=False)
    heard = hear(device.path, silence_s=0.3)
    heard.wait(lambda: device.heard)
    device.say_bytes(b'$2,5,hi*93:94:44\n')
    heard.wait(lambda: heard.link.problem)
    assert 'the data is not version 1 of the protocol' in heard.link.problem
    device.close()


def test_unplugged_and_plugged_in_again(hear: Hear, tmp_path: object) -> None:
    device = PtyDevice()
    path = f'{tmp_path}/device'
    os.symlink(device.path, path)
    heard = hear(path)
    heard.wait_until_connected()
    connection = heard.link.connection
    os.unlink(path)
    device.unplug()
    heard.wait(lambda: 'there is no such device' in heard.link.problem)
    assert heard.link.problem.startswith(path)
    with pytest.raises(LinkError, match='there is no such device'):
        heard.link.send(Ask())
    with pytest.raises(LinkError, match='unknown'):
        heard.link.device_uptime_ms(time.monotonic())
    device = PtyDevice()
    os.symlink(device.path, path)
    heard.wait_until_connected()
    assert heard.link.connection > connection
    heard.link.send(Ask())
    heard.wait(lambda: Ask() in device.heard)
    device.close()


def test_a_restart_of_the_device_is_another_connection(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_for_lines(3)
    connection = heard.link.connection
    lost = heard.link.counters.lost
    device.restart()
    heard.wait(lambda: heard.link.connection > connection)
    heard.wait_for_lines(3)
    assert heard.link.device_uptime_ms(time.monotonic()) < 1e3 * 20
    assert heard.link.counters.lost == lost


def test_a_device_that_has_not_heard_hi_is_told_again(hear: Hear) -> None:
    """
    Some ESP32 start when their port is opened, and say hello without having been told hi.

    """
    device = PtyDevice(says_readings=False)
    heard = hear(device.path)
    heard.wait(lambda: device.heard == [Hi()])
    device.start_s = time.monotonic()
    device.say(Hello(0, (1, 0, 0)))
    heard.wait(lambda: device.heard == [Hi(), Hi()])
    device.say(Hello(device.uptime_ms() + 100, (1, 0, 0)))
    heard.wait(lambda: len(heard.lines) == 2)
    assert heard.link.is_greeted
    device.close()


def test_a_device_that_does_not_answer_hi_is_told_again(hear: Hear) -> None:
    device = PtyDevice(says_readings=False)
    heard = hear(device.path)
    heard.wait(lambda: device.heard == [Hi()])
    heard.wait(lambda: device.say_readings() or len(device.heard) >= 2)  # type: ignore[func-returns-value]
    device.close()


def test_a_port_that_never_spoke_is_given_longer(hear: Hear) -> None:
    device = PtyDevice(says_readings=False)
    link = SerialLink(device.path, lambda line, received_s: None, silence_s=0.01)
    link.start()
    end_s = time.monotonic() + 20
    while not device.heard and time.monotonic() < end_s:
        time.sleep(0.005)
    # No event tells that the link did not give up: wait for ten times its silence_s.
    time.sleep(0.1)
    device.say_readings()
    while not link.is_connected and time.monotonic() < end_s:
        time.sleep(0.001)
    assert link.counters.lines == 1
    assert link.counters.reconnects == 0
    link.stop()
    device.close()


def test_a_device_that_floods_costs_little(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_until_connected()
    device.says_readings = False
    line = encode(1, GateState(5000, 0, False, 0))
    ended = threading.Event()

    def flood() -> None:
        while not ended.is_set():
            device.say_bytes(line * 50 + b'x' * 500)

    thread = threading.Thread(target=flood)
    start_s, start_lines = time.monotonic(), heard.link.counters.lines
    thread.start()
    heard.wait_for_lines(2000)
    ended.set()
    # What stands in the buffers is read at the same pace.
    heard.link.stop()
    thread.join()
    read = (heard.link.counters.lines - start_lines) * len(line)
    assert read <= 150_000 * (time.monotonic() - start_s)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4_000_000


def test_a_port_that_two_want(device: PtyDevice, hear: Hear) -> None:
    hear(device.path).wait_until_connected()
    second = hear(device.path)
    second.wait(lambda: second.link.problem)
    assert second.link.problem == f'{device.path}: another process has it open'


@pytest.mark.parametrize(
    ('url', 'words'),
    [
        ('/dev/no_such_port', '/dev/no_such_port: there is no such device'),
        ('/dev/null', '/dev/null: '),
        ('socket://127.0.0.1:1', 'socket://127.0.0.1:1: '),
    ],
)
def test_what_cannot_be_opened_is_said(hear: Hear, url: str, words: str) -> None:
    heard = hear(url)
    heard.wait(lambda: heard.link.problem)
    assert heard.link.problem.startswith(words)
    assert len(heard.link.problem) > len(words) - 1


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(SettingError, match='allowed: a device such as /dev/rfcomm0'):
        SerialLink('nothing://there', lambda line, received_s: None)


def test_retries_come_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    link = SerialLink('/dev/no_such_port', lambda line, received_s: None)

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 8:
            link._stopping.set()
        return False

    monkeypatch.setattr(link._stopping, 'wait', wait)
    link.start()
    link._thread.join(20)
    assert waits == [FIRST_RETRY_S, 0.4, 0.8, 1.6, 3.2, *[LAST_RETRY_S] * 3]


def test_a_port_that_takes_nothing_is_an_error_in_time(
    device: PtyDevice, hear: Hear, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = hear(device.path)
    heard.wait_until_connected()

    def write(data: bytes) -> int:
        raise serial.SerialTimeoutException('Write timeout')

    port = heard.link._port
    monkeypatch.setattr(port, 'write', write)
    with pytest.raises(LinkError, match='cannot write: Write timeout'):
        heard.link.send(Ask())
    heard.wait(lambda: heard.link._port not in (port, None))
    heard.wait_until_connected()
    heard.link.send(Ask())


def test_a_taker_that_fails_does_not_end_the_link(
    device: PtyDevice, hear: Hear, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = hear(device.path)
    heard.wait_until_connected()
    taken = []

    def take(line: Line, received_s: float) -> None:
        taken.append(line)
        if len(taken) == 1:
            raise RuntimeError('full')

    monkeypatch.setattr(heard.link, '_take', take)
    heard.wait(lambda: len(taken) > 3)
    assert heard.link.counters.reconnects == 1


def said(client: socket.socket) -> list[object]:
    """
    What the link has said to a client.

    """
    return [decode(line).message for line in client.recv(1000).splitlines()]


def test_over_tcp(hear: Hear) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        heard = hear(f'socket://127.0.0.1:{server.getsockname()[1]}')
        for turn in range(2):
            client, _ = server.accept()
            with client:
                assert client.recv(100) == encode(2 * turn, Hi())
                for sequence in range(50):
                    client.sendall(encode(sequence, GateState(sequence, 0, False, 0)))
                heard.wait(lambda turn=turn: len(heard.lines) == 50 * (turn + 1))  # type: ignore[misc]
                heard.link.send(Ask())
                heard.wait(lambda client=client: Ask() in said(client))  # type: ignore[misc]
            heard.wait(lambda: not heard.link.is_connected)
            assert 'disconnected' in heard.link.problem


# The device's clock


def test_the_devices_clock_is_followed(device: PtyDevice, hear: Hear) -> None:
    heard = hear(device.path)
    heard.wait_for_lines(20)
    now_s = time.monotonic()
    behind_ms = 1e3 * (now_s - device.start_s) - heard.link.device_uptime_ms(now_s)
    assert -1 <= behind_ms < 500


def test_the_line_that_was_under_way_for_the_shortest_time_counts() -> None:
    clock = DeviceClock()
    for uptime_ms, delay_s in ((1000, 0.05), (1020, 0.003), (1040, 0.2), (1060, 0.19)):
        assert clock.take(uptime_ms, 100 + 1e-3 * uptime_ms + delay_s)
    assert clock.uptime_ms(101.5) == pytest.approx(1500 - 3)


def test_old_lines_do_not_count() -> None:
    clock = DeviceClock()
    clock.take(0, 100.0)
    for second in range(1, 14):
        # A clock that goes slow by a thousandth.
        clock.take(999 * second, 100.0 + second)
    assert clock.uptime_ms(113.0) == pytest.approx(13_000 - 3, abs=1)
    with pytest.raises(LinkError, match='unknown'):
        clock.uptime_ms(130.0)


def test_the_turn_of_the_devices_counter() -> None:
    clock = DeviceClock()
    for step in range(100):
        assert clock.take((UPTIMES - 1000 + 20 * step) % UPTIMES, 50.0 + 0.02 * step)
    assert clock.uptime_ms(52.0) == pytest.approx(1000)
    # Quicker than those before the turn.
    clock.take(1100, 52.0)
    assert clock.uptime_ms(52.0) == pytest.approx(1100)


@pytest.mark.parametrize('before_ms', [60_000, UPTIMES // 2 + 60_000, UPTIMES - 1000_000])
def test_a_clock_that_does_not_go_on_is_another_start(before_ms: int) -> None:
    clock = DeviceClock()
    clock.take(before_ms, 100.0)
    assert not clock.take(5, 100.1)
    assert clock.uptime_ms(100.2) == pytest.approx(105)


def test_a_flood_of_uptimes_holds_no_memory() -> None:
    clock = DeviceClock()
    for line in range(50_000):
        clock.take(line, 0.001 * line)
    assert len(clock._leads_ms) <= 12


# The old system's lines


@pytest.mark.parametrize(
    ('line', 'channel', 'value'),
    [
        (b'_34#2765#34_', 34, 2765),
        (b'_39#0.1632#39_', 39, 0.1632),
        (b'_39#0.1632#39_\r', 39, 0.1632),
        (b'_0#123456789012#0_', 0, 123456789012),
    ],
)
def test_old_lines(line: bytes, channel: int, value: float) -> None:
    assert decode_legacy(line) == LegacyReading(channel, value)


@pytest.mark.parametrize(
    'line',
    [
        *(b'_34#2765#39_', b'_34#27.6.5#34_', b'_34#-5#34_', b'_34##34_', b'_34#nan#34_'),
        *(b'_34#1e3#34_', b'_34#1234567890123#34_', b' _34#2765#34_', b'_34#2765#34_ '),
        *(b'_256#1#256_', b'_34#.5#34_', b'_34#5.#34_', b'_34#2765#34', b'34#2765#34_', b''),
        b'_34#2765#34__34#2765#34_',
    ],
)
def test_what_is_no_old_line(line: bytes) -> None:
    with pytest.raises(LinkError, match='allowed: _channel#value#channel_'):
        decode_legacy(line)


def test_old_values_act_when_two_in_a_row_agree() -> None:
    agreement = LegacyAgreement({34: 4000.0, 39: 1.0})

    def take(*values: float) -> list[float | None]:
        return [agreement.take(LegacyReading(34, value)) for value in values]

    assert take(1000, 1076, 1200) == [None, 0.269, None]
    agreement.take(LegacyReading(39, 0.5))
    assert take(1200) == [0.3], 'each channel by itself'
    assert take(4001, 1200, 1200) == [None, None, 0.3], 'beyond full scale'
    assert take(4001, 4001) == [None, None]
    assert agreement.take(LegacyReading(7, 1.0)) is None
    assert agreement.take(LegacyReading(7, 1.0)) is None


def test_old_lines_are_taken_beside_new_ones_only_when_asked_for(hear: Hear) -> None:
    for legacy in (True, False):
        device = PtyDevice(says_readings=False)
        heard = hear(device.path, legacy=legacy)
        heard.wait(lambda device=device: device.heard)  # type: ignore[misc]
        device.say_bytes(b'_34#2765#34_\r\n')
        device.say(Readings(1, 0, False, (Reading(34, 0, 0),)))
        heard.wait(lambda heard=heard: heard.lines)  # type: ignore[misc]
        assert heard.legacy == ([LegacyReading(34, 2765)] if legacy else [])
        assert heard.link.counters.broken == (0 if legacy else 1)
        device.close()
