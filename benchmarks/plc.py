# SPDX-License-Identifier: Apache-2.0
"""
A PLC with a gate, as a Modbus TCP server in a process of its own; for tests and benchmarks.

It does what docs/gates.md asks of the other side. Coil 0 is the gate, discrete input 0 its state.
Holding registers 0 and 1 are number and milliseconds of a command; register 2 is the watched
counter. A second unit refuses everything. Each movement is printed as a line: steady clock in
seconds, then `open` or `rest`. Commands on standard input are `stuck`, `late <seconds>` and
`normal`; the end of standard input ends the process.

"""

from __future__ import annotations

import asyncio
import queue
import signal
import subprocess
import sys
import threading
import time

import click
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from benchmarks.report import ROOT

WRITE_COIL, WRITE_REGISTER, WRITE_REGISTERS = 5, 6, 16
READ_COILS, READ_INPUTS = 1, 2
BROKEN_UNIT = 2
WATCHDOG_S = 0.15


class PlcProcess:
    """
    Runs the PLC in a process of its own, until its `with` block ends.

    Parameters
    ----------
    port : int
        TCP port on this machine; 0 = any free port.
    watchdog_s : float
        The gate goes to rest when its coil or the counter has not been written for this time,
        seconds.

    Attributes
    ----------
    port : int
        The port in use.
    movements : queue of (float, bool)
        When the gate moved, seconds on the clock of `time.monotonic()`, and whether it opened.

    """

    def __init__(self, port: int = 0, *, watchdog_s: float = WATCHDOG_S) -> None:
        self._watchdog_s = watchdog_s
        self.movements: queue.Queue[tuple[float, bool]] = queue.Queue()
        self._answers: queue.Queue[str] = queue.Queue()
        self.port = port
        self.start()

    def start(self) -> None:
        """
        Start it, or start it again on the same port.

        """
        command = [sys.executable, '-m', 'benchmarks.plc', f'--port={self.port}']
        command += [f'--watchdog-s={self._watchdog_s}']
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self._answers.get(timeout=60).split()[1])

    def kill(self) -> None:
        """
        Kill it, like a loss of power.

        """
        self._process.kill()
        self._end()

    def freeze(self, *, is_frozen: bool) -> None:
        """
        Make it accept everything and answer nothing, or continue.

        """
        self._process.send_signal(signal.SIGSTOP if is_frozen else signal.SIGCONT)

    def tell(self, command: str) -> None:
        """
        Give a command and wait until the PLC has obeyed it.

        """
        assert self._process.stdin is not None
        self._process.stdin.write(f'{command}\n')
        self._process.stdin.flush()
        answer = self._answers.get(timeout=60)
        assert answer == f'now {command}', answer

    def __enter__(self) -> PlcProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _end(self) -> None:
        self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            time_s, _, what = line.strip().partition(' ')
            if what in ('open', 'rest'):
                self.movements.put((float(time_s), what == 'open'))
            else:
                self._answers.put(what)


class Plc:
    """
    The program of the PLC.

    """

    def __init__(self, watchdog_s: float) -> None:
        self.watchdog_s = watchdog_s
        self.ended = asyncio.Event()
        self.is_open = False
        self.is_stuck = False
        self.late_s = 0.0
        self._number = 0
        self._closing: asyncio.TimerHandle | None = None

    async def serve(
        self,
        function_code: int,
        start_address: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """
        Act on one request; the client reads what it returns or changes.

        """
        await asyncio.sleep(self.late_s)
        if function_code in (READ_COILS, READ_INPUTS):
            registers[0] = int(self.is_open)
        elif function_code == WRITE_COIL and values is not None:
            self._move(bool(values[0]), self.watchdog_s)
        elif function_code == WRITE_REGISTERS and values is not None and address == 0:
            number, duration_ms = values
            if number != self._number:
                self._number = number
                self._move(duration_ms > 0, duration_ms / 1000)
        return None

    def _move(self, is_open: bool, for_s: float) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        if is_open:
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(for_s, self._move, False, 0.0)
        if is_open != self.is_open and not self.is_stuck:
            self.is_open = is_open
            print(f'{time.monotonic():.6f} {"open" if is_open else "rest"}', flush=True)

    def obey(self) -> None:
        """
        Take one command from standard input.

        """
        line = sys.stdin.readline()
        if not line:
            self.ended.set()
            return
        words = line.split()
        self.is_stuck = words[:1] == ['stuck']
        self.late_s = float(words[1]) if words[:1] == ['late'] else 0.0
        print(f'{time.monotonic():.6f} now {" ".join(words)}', flush=True)


async def refuse(*_: object) -> ExcCodes:
    """
    Refuse every request.

    """
    return ExcCodes.DEVICE_FAILURE


async def run(port: int, watchdog_s: float) -> None:
    """
    Serve until standard input ends.

    """
    plc = Plc(watchdog_s)

    def blocks() -> tuple[list[SimData], ...]:
        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        words = [SimData(0, count=8, values=0, datatype=DataType.REGISTERS)]
        return (bits, list(bits), words, list(words))

    units = [
        SimDevice(1, simdata=blocks(), action=plc.serve),
        SimDevice(BROKEN_UNIT, simdata=blocks(), action=refuse),
    ]
    server = ModbusTcpServer(units, address=('127.0.0.1', port))
    asyncio.get_running_loop().add_reader(sys.stdin, plc.obey)
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    print(f'{time.monotonic():.6f} port {port}', flush=True)
    await plc.ended.wait()


@click.command()
@click.option('--port', default=0, help='0 = any free port; it is printed.')
@click.option(
    '--watchdog-s', default=WATCHDOG_S, help='The coil falls after this time without a write.'
)
def main(port: int, watchdog_s: float) -> None:
    """
    Serve a gate by Modbus TCP.

    """
    asyncio.run(run(port, watchdog_s))


if __name__ == '__main__':
    main()
