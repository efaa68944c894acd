# SPDX-License-Identifier: Apache-2.0
"""
Use the device twin from Python: build it, run it, give it commands, hear how its gate moved.

To use it by hand, run `python -m firmware.twin.device_twin FOLDER` and type commands, see
README.md.

"""

from __future__ import annotations

from dataclasses import dataclass
import hashlib
import os
from pathlib import Path
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from types import TracebackType

FIRMWARE = Path(__file__).resolve().parents[1]
LIBRARIES = sorted(folder for folder in (FIRMWARE / 'lib').iterdir() if folder.is_dir())
_TWIN = [*FIRMWARE.glob('lib/*/*.cpp'), *FIRMWARE.glob('twin/*.cpp')]


@dataclass(frozen=True)
class GateMovement:
    """
    The twin's gate has moved.

    Parameters
    ----------
    time_s : float
        When, on the clock of `time.monotonic()`, seconds.
    is_open : bool
        True when it opened, False when it went to rest.

    """

    time_s: float
    is_open: bool


class TwinError(Exception):
    """
    The twin does not run, or does not obey a command.

    """


def compiled(sources: list[Path], name: str, *options: str, folder: Path | None = None) -> Path:
    """
    Compile C++17 against the firmware's libraries, unless the program exists already.

    Parameters
    ----------
    sources : list of Path
        Files to compile and link.
    name : str
        Of the program.
    options : str
        More options of g++.
    folder : Path, optional
        Where programs lie, each with its hash in its name; by default a folder of this user among
        the temporary files.

    Returns
    -------
    Path
        The program.

    Raises
    ------
    TwinError
        When there is no compiler, or the compiler finds an error; the message says which.

    """
    compiler = shutil.which('g++')
    if compiler is None:
        raise TwinError('g++ is missing; on Ubuntu and Debian: apt install g++')
    if folder is None:
        folder = Path(tempfile.gettempdir(), f'anomaly_inspection_firmware_{os.getuid()}')
    command = [compiler, '-std=c++17', '-Wall', '-Wextra', '-Wconversion', '-Werror', *options]
    command += [f'-I{library}' for library in LIBRARIES]
    command += [str(source) for source in sorted(sources)]
    digest = hashlib.sha256('\0'.join(command).encode())
    for path in sorted({*sources, *FIRMWARE.rglob('*.h')}):
        digest.update(path.read_bytes())
    program = folder / f'{name}_{digest.hexdigest()[:16]}'
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    # Renamed into place, so that a process that builds the same sees it complete or not at all.
    with tempfile.TemporaryDirectory(dir=folder) as draft:
        path = Path(draft, name)
        done = subprocess.run([*command, '-o', str(path)], capture_output=True, text=True)
        if done.returncode != 0:
            raise TwinError(f'g++ on {name}:\n{done.stderr}')
        path.rename(program)
    return program


class DeviceTwin:
    """
    A running twin; ends with its `with` block, and with the process that started it.

    Parameters
    ----------
    folder : Path
        Where the ports `bluetooth` and `usb` appear.
    seed : int
        Of noise and garbage.
    uptime_ms : int
        The device's clock at the start, milliseconds, 0 to 2^32 - 1.
    build_folder : Path, optional
        See `compiled`.

    Raises
    ------
    TwinError
        When it cannot be built or started.

    Attributes
    ----------
    bluetooth, usb : Path
        The ports, for pyserial.
    movements : queue of GateMovement
        What the gate did, in order.

    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        uptime_ms: int = 0,
        build_folder: Path | None = None,
    ) -> None:
        self.bluetooth = folder / 'bluetooth'
        self.usb = folder / 'usb'
        self.movements: queue.Queue[GateMovement] = queue.Queue()
        self._answers: queue.Queue[str] = queue.Queue()
        program = compiled(_TWIN, 'device_twin', '-O2', folder=build_folder)
        self._process = subprocess.Popen(
            [program, str(folder), str(seed), str(uptime_ms)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self._answer('ready')
        except TwinError:
            self.close()
            raise

    def tell(self, command: str, *, timeout_s: float = 10.0) -> float:
        """
        Give a command and wait until the twin has obeyed it.

        Returns
        -------
        float
            When the twin obeyed it, on the clock of `time.monotonic()`, seconds.

        Raises
        ------
        TwinError
            When the twin refuses it or has ended; the message says why.

        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f'{command}\n')
            self._process.stdin.flush()
        except OSError as error:
            raise TwinError(f'the twin has ended: {error}') from error
        return self._answer(f'done {command}', timeout_s)

    def close(self) -> None:
        """
        End the twin; may be called twice.

        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def __enter__(self) -> DeviceTwin:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text, _, time_s = line.strip().rpartition(' @')
            if text in ('gate open', 'gate rest'):
                self.movements.put(GateMovement(float(time_s), text == 'gate open'))
            elif text:
                self._answers.put(line)
        self._answers.put('')

    def _answer(self, expected: str, timeout_s: float = 10.0) -> float:
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise TwinError(f'no {expected!r} from the twin within {timeout_s} s') from None
        text, _, time_s = line.strip().rpartition(' @')
        if text == expected:
            return float(time_s)
        if line:
            raise TwinError(f'the twin says {text!r}, not {expected!r}')
        self._answers.put('')
        assert self._process.stderr is not None
        raise TwinError(f'the twin has ended: {self._process.stderr.read()}')


def main() -> None:
    """
    Become the twin, with standard input and output as they are.

    """
    if len(sys.argv) != 2:
        sys.exit('usage: python -m firmware.twin.device_twin FOLDER')
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    try:
        program = compiled(_TWIN, 'device_twin', '-O2')
    except TwinError as error:
        sys.exit(str(error))
    seed = time.time_ns() % (1 << 32)
    os.execv(program, [str(program), str(folder), str(seed), '0'])


if __name__ == '__main__':
    main()
