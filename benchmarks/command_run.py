# SPDX-License-Identifier: Apache-2.0
"""
Run one of the product's commands in a process of its own, and say what it took.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import os
from pathlib import Path
from resource import struct_rusage
import subprocess
import sys
import tempfile
import time

from benchmarks.report import ROOT

PRODUCT = 'anomaly_inspection.cli'
_POLL_S = 0.05


@dataclass(frozen=True)
class CommandRun:
    """
    How a command ended.

    Parameters
    ----------
    status : int
        Exit status; negative when a signal ended it.
    output, errors : str
        What it printed.
    wall_s, processor_s : float
        How long it ran, and how long it kept processors busy, its own start included.
    memory_mb : float
        The most memory it held.
    is_too_long : bool
        Whether it was ended because its time was up.

    """

    status: int
    output: str
    errors: str
    wall_s: float
    processor_s: float
    memory_mb: float
    is_too_long: bool = False

    @property
    def sentence(self) -> str:
        """
        What the command says of its failure, on one line; '' when it says nothing.

        """
        if self.is_too_long:
            return f'ended after {self.wall_s:.0f} s, as its time was up'
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        for line in lines:
            head, colon, text = line.partition(':')
            if colon and head.lower() == 'error':
                return text.strip()
        last = lines[-1] if lines else ''
        return f'crashed with status {self.status}: {last}' if self.status else last


def run_command(
    arguments: Sequence[str], *, module: str = PRODUCT, time_limit_s: float
) -> CommandRun:
    """
    Run `python -m module arguments` from the root of the checkout and wait for its end.

    Parameters
    ----------
    arguments : sequence of str
        Of the command.
    module : str
        What Python runs.
    time_limit_s : float
        The command is ended when it takes longer.

    """
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch, name) for name in ('output', 'errors')]
        began_s = time.monotonic()
        with files[0].open('wb') as output, files[1].open('wb') as errors:
            process = subprocess.Popen(
                [sys.executable, '-m', module, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
            status, usage, is_too_long = _awaited(process, began_s + time_limit_s)
        texts = [file.read_text(encoding='utf-8', errors='replace') for file in files]
    return CommandRun(
        status=status,
        output=texts[0],
        errors=texts[1],
        wall_s=time.monotonic() - began_s,
        processor_s=usage.ru_utime + usage.ru_stime,
        memory_mb=usage.ru_maxrss / 1024,
        is_too_long=is_too_long,
    )


def _awaited(process: subprocess.Popen[bytes], end_s: float) -> tuple[int, struct_rusage, bool]:
    """
    Wait for a process; `os.wait4` alone tells what this one process took.

    """
    is_too_long = False
    try:
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if not is_too_long and time.monotonic() > end_s:
                is_too_long = True
                process.kill()
            time.sleep(_POLL_S)
    except BaseException:
        process.kill()
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage, is_too_long
