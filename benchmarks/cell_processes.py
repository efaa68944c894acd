# SPDX-License-Identifier: Apache-2.0
"""
The nodes of the cell in processes of their own, and a listener beside them.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from benchmarks.report import ROOT


class Processes:
    """
    Runs processes that end with the block, whatever happens in it.

    """

    def __init__(self, folder: Path, parameter_file: Path, *, profile: bool) -> None:
        self._folder = folder
        self._parameter_file = parameter_file
        self._environment = dict(os.environ)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        if not profile:
            for name in ('FASTDDS', 'FASTRTPS'):
                self._environment.pop(f'{name}_DEFAULT_PROFILES_FILE', None)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
        for process in self.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str, **parameters: object) -> None:
        """
        Start a node of the cell.

        """
        arguments = ['--ros-args', '--params-file', str(self._parameter_file)]
        for key, value in parameters.items():
            arguments += ['-p', f'{key}:={value}']
        code = f'from anomaly_inspection.nodes.{name}_node import main; main()'
        self.run(name, [sys.executable, '-c', code, *arguments])

    def run(self, name: str, command: list[str]) -> None:
        """
        Start any command.

        """
        with (self._folder / f'{name}.log').open('a') as log:
            self.running[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=ROOT, env=self._environment
            )

    def log(self, name: str) -> str:
        """
        Give the output of a process.

        """
        return (self._folder / f'{name}.log').read_text()

    def wait(self, condition: Callable[[], object], what: str, timeout_s: float = 40.0) -> None:
        """
        Wait, but not for ever, and not for a process that has ended.

        """
        end_s = time.monotonic() + timeout_s
        while not condition():
            for name, process in self.running.items():
                if process.poll() not in (None, 0):
                    raise RuntimeError(f'{name} has ended: {self.log(name)[-2000:]}')
            if time.monotonic() > end_s:
                logs = {name: self.log(name)[-500:] for name in self.running}
                raise RuntimeError(f'{what} did not come within {timeout_s:g} s; {logs}')
            time.sleep(0.02)


class Listener:
    """
    Keeps what the processes publish about every part.

    """

    def __init__(self) -> None:
        self.parts: list[tuple[str, int]] = []
        self.decisions: dict[tuple[str, int], Any] = {}
        self.sort_events: dict[tuple[str, int], Any] = {}
        self.line_stops: list[Any] = []


@contextmanager
def listening() -> Iterator[Listener]:
    """
    Listen to the cell until the block ends.

    """
    from rclpy.context import Context
    from rclpy.node import Node

    from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
    from anomaly_inspection.nodes.qos import EVENT, LATCHED
    from anomaly_inspection.nodes.spinning import NodeThread

    listener = Listener()
    context = Context()
    context.init(args=[])
    node = Node('latency_benchmark', context=context)

    def key(message: Any) -> tuple[str, int]:
        return message.session_id, message.part_id

    for kind, topic, quality, take in (
        (Part, 'part', EVENT, lambda m: listener.parts.append(key(m))),
        (Decision, 'decision', EVENT, lambda m: listener.decisions.__setitem__(key(m), m)),
        (SortEvent, 'sort_event', EVENT, lambda m: listener.sort_events.__setitem__(key(m), m)),
        (LineStop, 'line_stop', LATCHED, listener.line_stops.append),
    ):
        node.create_subscription(kind, topic, take, quality)
    thread = NodeThread([node], 'latency listener', context=context)
    thread.start()
    try:
        yield listener
    finally:
        thread.stop()
        node.destroy_node()
        context.try_shutdown()
