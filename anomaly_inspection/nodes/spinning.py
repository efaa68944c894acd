# SPDX-License-Identifier: Apache-2.0
"""
Run nodes until they are interrupted, and bring them to their safe end.

"""

from __future__ import annotations

from contextlib import suppress
import faulthandler
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn, TYPE_CHECKING

import rclpy
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.experimental import EventsExecutor
from rclpy.signals import SignalHandlerOptions

from anomaly_inspection.errors import InspectionError, SettingError
from anomaly_inspection.nodes.inspection_node import InspectionNode
from anomaly_inspection.nodes.left_segments import remove_left_segments
from anomaly_inspection.parameter_file import check_parameter_file, given_parameter_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rclpy.context import Context

# EventsExecutor.spin() never fired a callback in rclpy 9.1; spin_once() with a time-out does.
_SPIN_STEP_S = 0.1
# A result takes a few: its goal ends, the result is made, then sent.
_LAST_STEPS = 5

# How often a process looks whether it is to end, or has stood still.
_WATCH_S = 0.2
# Fast DDS gives up on the shared memory of a process that stands still for a second, and sets up
# new one. Sometimes the process never finds it: it lives, and hears nothing any more.
_STOOD_STILL_S = 3.0
# How long a process that starts anew may take to end well; a deaf one may never do.
_LAST_WORDS_S = 3.0

# Each node bounds what it waits for at its end; a process that takes longer is stuck.
_END_WITHIN_S = 30.0

#: Among the arguments: end when the standard input ends, as it does when the parent dies.
END_WITH_STDIN = '--end-with-stdin'

#: Exit status of a process that refuses its parameters: to start it again would not help.
PARAMETERS_REFUSED = 2


class NodeThread:
    """
    One thread that spins a group of nodes.

    Parameters
    ----------
    nodes : sequence of InspectionNode
        Spun together; they share the thread.
    name : str
        Name of the thread.
    context : rclpy Context or None
        None = the default context.

    """

    def __init__(self, nodes: Sequence[Any], name: str, *, context: Context | None = None) -> None:
        self._executor = _new_executor(context)
        self._nodes = [node for node in nodes if isinstance(node, InspectionNode)]
        self._stop = threading.Event()
        self.error: BaseException | None = None
        for node in nodes:
            self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name=name, daemon=True)

    def start(self) -> None:
        """
        Begin to spin.

        """
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """
        Whether the thread still spins.

        """
        return self._thread.is_alive()

    def stop(self) -> None:
        """
        Stop to spin; blocks until the callback under way has ended.

        Nodes of the cell are deactivated first, so that their goals under way end with a result.

        """
        self._stop.set()
        self._executor.wake()
        if self._thread.ident is not None:
            self._thread.join()
        # Removing the nodes would not do: the executor would hold on to their endpoints, and a
        # destroyed node would stay on the network.
        self._executor.shutdown()

    def _spin(self) -> None:
        try:
            while not self._stop.is_set():
                self._executor.spin_once(_SPIN_STEP_S)
            self._shut_down_nodes()
        except ExternalShutdownException:
            pass
        except BaseException as error:
            self.error = error
            raise

    def _shut_down_nodes(self) -> None:
        has_last_words = any(node.has_goal for node in self._nodes)
        for node in reversed(self._nodes):
            node.shut_down()
        if has_last_words:
            for _ in range(_LAST_STEPS):
                self._executor.spin_once(_SPIN_STEP_S / _LAST_STEPS)


def _new_executor(context: Context | None) -> Any:
    # Jazzy's EventsExecutor does not await coroutines, and slow services are coroutines.
    if hasattr(Executor, 'create_future'):
        return EventsExecutor(context=context)
    return SingleThreadedExecutor(context=context)


def refuse_parameter_files() -> None:
    """
    End the process with one line when a parameter file among its arguments is refused.

    rclpy would end with a traceback, or run the node on its defaults.

    """
    try:
        notes = [n for path in given_parameter_files(sys.argv) for n in check_parameter_file(path)]
    except SettingError as error:
        print(error, file=sys.stderr)
        sys.exit(PARAMETERS_REFUSED)
    for note in notes:
        print(note, file=sys.stderr)


def spin_node(make_node: Callable[[], InspectionNode[Any]]) -> None:
    """
    Make one node and spin it until SIGINT or SIGTERM, then bring it to its safe end.

    Exit status 2 with one line when a parameter is refused: launch does not start the node again.
    One that has not ended 30 s later is stuck: it says where each thread stands, and ends at once.
    A process that was stopped for more than three seconds (by a debugger, swapping, a paused
    machine) starts anew, with its state: else it might stay deaf (see `_STOOD_STILL_S`).

    """
    refuse_parameter_files()
    remove_left_segments()
    # With rclpy's own handlers the context is gone before the node could say or do anything.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupted.set())
    if END_WITH_STDIN in sys.argv:
        threading.Thread(
            target=_set_with_stdin, args=(interrupted,), name='parent', daemon=True
        ).start()
    try:
        node = make_node()
    except InspectionError:
        rclpy.try_shutdown()
        sys.exit(PARAMETERS_REFUSED)
    thread = NodeThread([node], node.get_name())
    thread.start()
    stood_still_s = _watch(thread, interrupted)
    if stood_still_s > 0:
        node.get_logger().error(
            f'this process stood still for {stood_still_s:.1f} s and may hear nothing any more: '
            'it starts anew'
        )
        threading.Timer(_LAST_WORDS_S, _start_anew, args=(interrupted,)).start()
    else:
        faulthandler.dump_traceback_later(_END_WITHIN_S, exit=True)
    thread.stop()
    node.shut_down()
    node.destroy_node()
    rclpy.try_shutdown()
    if stood_still_s > 0:
        _start_anew(interrupted)
    if thread.error is not None:
        sys.exit(1)


def _set_with_stdin(event: threading.Event) -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    event.set()


def _watch(thread: NodeThread, interrupted: threading.Event) -> float:
    """
    Wait until the thread ends, or the process is interrupted or has stood still.

    Returns
    -------
    float
        For how many seconds it stood still; 0 when it did not.

    """
    while thread.is_running:
        began_s = time.monotonic()
        if interrupted.wait(_WATCH_S):
            break
        gone_s = time.monotonic() - began_s
        if gone_s > _STOOD_STILL_S:
            return gone_s
    return 0.0


def _start_anew(interrupted: threading.Event) -> NoReturn:
    """
    Put the same program in the place of this one, in the same process; end when it is to end.

    """
    if interrupted.is_set():
        os._exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    # Fast DDS tells by its locked files which processes live.
    os.closerange(3, max(map(int, os.listdir('/proc/self/fd'))) + 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
