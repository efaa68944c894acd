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
from anomaly_inspection.nodes.node_process import end_child
from anomaly_inspection.nodes.panel_node import ADDRESS_WORDS
from anomaly_inspection.nodes.spinning import END_WITH_STDIN
from anomaly_inspection.state_file import default_state_folder, NO_FOLDER

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_START_TIMEOUT_S = 30.0
_GOODBYE_S = 10.0
_MAIN = 'from anomaly_inspection.nodes.{}_node import main; main()'


class PanelProcess:
    """
    Starts the panel, and the teacher for its page Teach; ends both at the end of the context.

    They end by themselves when this process dies, because their standard input ends then.

    Parameters
    ----------
    parameter_file : Path
        Parameters of all nodes.
    namespace : str
        Of the cell.
    port : int or None
        TCP port; None = that of the parameter file.
    wall_display : bool
        Whether everybody may look on without log-in.
    records : Path or None
        Folder of the recorder, for the shift report; None = there is no recorder.

    Raises
    ------
    SettingError
        On entering, when the panel cannot be served; says why.

    """

    def __init__(
        self,
        parameter_file: Path,
        namespace: str,
        port: int | None,
        *,
        wall_display: bool = False,
        records: Path | None = None,
    ) -> None:
        # A run keeps no state: its page counts its own parts. People and what they have reviewed
        # are those of the machine.
        of_panel = ['-p', f'state_folder:={NO_FOLDER}']
        of_panel += ['-p', f'people_folder:={default_state_folder() / "people"}']
        review = default_state_folder() / 'review' / (namespace or 'inspection')
        of_panel += ['-p', f'review_folder:={review}']
        if records is not None:
            of_panel += ['-p', f'records_folder:={records.resolve()}']
        if wall_display:
            of_panel += ['-p', 'wall_display:=true']
        if port is not None:
            of_panel += ['-p', f'port:={port}']
        self._options = [
            *(END_WITH_STDIN, '--ros-args', '-r', f'__ns:=/{namespace}'),
            *('--params-file', str(parameter_file)),
        ]
        self._of_panel = of_panel
        self._ready = threading.Event()
        self._teacher: subprocess.Popen[bytes] | None = None
        self._lines: list[str] = []
        self.address = ''

    def __enter__(self) -> PanelProcess:
        """
        Start it, and wait until it answers.

        """
        self._process = subprocess.Popen(
            [sys.executable, '-c', _MAIN.format('panel'), *self._options, *self._of_panel],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ctrl-C ends the line first; people see its last parts.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name='panel output', daemon=True)
        self._reader.start()
        self._ready.wait(_START_TIMEOUT_S)
        if not self.address:
            self.__exit__(None, None, None)
            said = self._lines[-1] if self._lines else 'it said nothing'
            raise SettingError(f'the panel cannot be served: {said}')
        self._teacher = subprocess.Popen(
            [sys.executable, '-c', _MAIN.format('teacher'), *self._options],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            start_new_session=True,
        )
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
        processes = [one for one in (self._process, self._teacher) if one is not None]
        # Both end at the same time.
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in processes:
            end_child(process, _GOODBYE_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

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
