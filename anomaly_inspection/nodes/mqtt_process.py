# SPDX-License-Identifier: Apache-2.0
"""
The MQTT bridge as a child process of a cell that runs in one process.

"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from anomaly_inspection.nodes.node_process import end_child
from anomaly_inspection.nodes.spinning import END_WITH_STDIN
from anomaly_inspection.state_file import default_state_folder, NO_FOLDER

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_GOODBYE_S = 10.0
_MAIN = 'from anomaly_inspection.nodes.mqtt_bridge_node import main; main()'


class MqttProcess:
    """
    Starts the bridge and ends it at the end of the context; nobody waits for the broker.

    It ends by itself when this process dies, because its standard input ends then.

    Parameters
    ----------
    parameter_file : Path
        Parameters of all nodes.
    namespace : str
        Of the cell.
    host : str
        The broker.
    port : int
        Its TCP port; 0 = that of the parameter file.

    """

    def __init__(self, parameter_file: Path, namespace: str, host: str, port: int) -> None:
        store = default_state_folder() / 'mqtt' / (namespace or 'inspection')
        self._command = [
            *(sys.executable, '-c', _MAIN, END_WITH_STDIN),
            *('--ros-args', '-r', f'__ns:=/{namespace}', '--params-file', str(parameter_file)),
            *('-p', f'state_folder:={NO_FOLDER}', '-p', f'store_folder:={store}'),
            *('-p', f"host:='{host}'"),
        ]
        if port:
            self._command += ['-p', f'port:={port}']

    def __enter__(self) -> MqttProcess:
        """
        Start it.

        """
        # A demo on a laptop must not talk to its neighbours (see run_cell).
        own = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            env={**own, **os.environ},
            # Ctrl-C ends the line first; the plant hears of its last parts.
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
        end_child(self._process, _GOODBYE_S)
