# SPDX-License-Identifier: Apache-2.0
"""
A node as a child process of a cell that runs in one process: inspection never waits for it.

"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import Any, TYPE_CHECKING

from anomaly_inspection.errors import SettingError
from anomaly_inspection.nodes.spinning import END_WITH_STDIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

_START_TIMEOUT_S = 30.0
_GOODBYE_S = 15.0
_MAIN = 'from anomaly_inspection.nodes.{}_node import main; main()'


class NodeProcess:
    """
    Starts a node, waits until it works, and ends it at the end of the context.

    It ends by itself when this process dies, because its standard input ends then.

    Parameters
    ----------
    name : str
        Name of the node.
    parameter_file : Path
        Parameters of all nodes.
    namespace : str
        Of the cell.
    ready_words : str
        How the line of its log begins that says that it works.
    options : sequence of str
        More arguments, such as '-p', 'folder:=/data'.

    Raises
    ------
    SettingError
        On entering, when it does not work; says why.

    """

    def __init__(
        self,
        name: str,
        parameter_file: Path,
        namespace: str,
        ready_words: str,
        options: Sequence[str] = (),
    ) -> None:
        self._name, self._ready_words = name, ready_words
        self._command = [
            *(sys.executable, '-c', _MAIN.format(name)),
            *(END_WITH_STDIN, '--ros-args', '-r', f'__ns:=/{namespace}'),
            *('--params-file', str(parameter_file), *options),
        ]
        self._ready = threading.Event()
        self._lines: list[str] = []
        #: What its log says behind the ready words.
        self.said = ''

    def __enter__(self) -> NodeProcess:
        """
        Start it, and wait until it works.

        """
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C ends the line first; this node sees its last parts.
            start_new_session=True,
        )
        self._reader = threading.Thread(
            target=self._read, name=f'{self._name} output', daemon=True
        )
        self._reader.start()
        self._ready.wait(_START_TIMEOUT_S)
        if not self.said:
            self.__exit__(None, None, None)
            said = self._lines[-1] if self._lines else 'it said nothing'
            raise SettingError(f'the {self._name} cannot be started: {said}')
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
        end_child(self._process, _GOODBYE_S)
        assert self._process.stdout is not None
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # '[INFO] [1795940246.9] [inspection.recorder]: words'
            words = re.sub(r'^\[\w+\] \[[\d.]+\] \[[\w.]+\]: ', '', line.rstrip())
            self._lines.append(words)
            del self._lines[:-20]
            if words.startswith(self._ready_words):
                self.said = words.removeprefix(self._ready_words)
                self._ready.set()
            elif words.startswith('cannot ') and not self._ready.is_set():
                self._ready.set()
            elif self._ready.is_set():
                print(line, end='', file=sys.stderr)
        self._ready.set()


def end_child(process: subprocess.Popen[Any], goodbye_s: float) -> None:
    """
    End a node that was started with `END_WITH_STDIN`; kill it when it takes longer.

    """
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(goodbye_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
