# SPDX-License-Identifier: Apache-2.0
"""
The panel as a child process of a cell that runs in one process: inspection never waits for it.

"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.panel_node import ADDRESS_WORDS, END_WITH_STDIN

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_START_TIMEOUT_S = 30.0
_GOODBYE_S = 10.0
_MAIN = 'from anomaly_inspection.nodes.panel_node import main; main()'


class PanelProcess:
    """
    Starts the panel, and ends it at the end of the context.

    It ends by itself when this process dies, because its standard input ends then.

    Parameters
    ----------
    parameter_file : Path
        Parameters of all nodes.
    namespace : str
        Of the cell.
    port : int or None
        TCP port; None = that of the parameter file.

    Raises
    ------
    SettingError
        On entering, when the panel cannot be served; says why.

    """

    def __init__(self, parameter_file: Path, namespace: str, port: int | None) -> None:
        of_port = [] if port is None else ['-p', f'port:={port}']
        self._command = [
            *(sys.executable, '-c', _MAIN, END_WITH_STDIN, '--ros-args'),
            *('-r', f'__ns:=/{namespace}', '--params-file', str(parameter_file), *of_port),
        ]
        self._ready = threading.Event()
        self._lines: list[str] = []
        self.address = ''

    def __enter__(self) -> PanelProcess:
        """
        Start it, and wait until it answers.

        """
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C ends the line first; people see its last parts.
            start_new_session=True,
        )
        threading.Thread(target=self._read, name='panel output', daemon=True).start()
        self._ready.wait(_START_TIMEOUT_S)
        if not self.address:
            self.__exit__(None, None, None)
            said = self._lines[-1] if self._lines else 'it said nothing'
            raise SettingError(f'the panel cannot be served: {said}')
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """
        End it.

        """
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # '[INFO] [1795940246.9] [inspection.panel]: words'
            words = re.sub(r'^\[\w+\] \[[\d.]+\] \[[\w.]+\]: ', '', line.rstrip())
            self._lines.append(words)
            del self._lines[:-20]
            if words.startswith(ADDRESS_WORDS):
                self.address = words.removeprefix(ADDRESS_WORDS)
                self._ready.set()
            elif words.startswith('cannot '):
                self._ready.set()
            elif self._ready.is_set():
                print(line, end='', file=sys.stderr)
        self._ready.set()
