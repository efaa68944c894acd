# SPDX-License-Identifier: Apache-2.0
"""
The nodes of a cell as processes of their own, and a watcher that hears what they say.

"""

from collections import OrderedDict
from contextlib import suppress
import os
from pathlib import Path
import signal
import subprocess
import threading
import time

from ament_index_python.packages import get_package_prefix, PackageNotFoundError
import pytest
from rclpy.node import Node

from anomaly_inspection.msg import Decision, LineStop, Part, SortEvent
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from support.discovery import until_known
from support.paths import ROOT

PARAMETER_FILE = ROOT / 'config' / 'cell.yaml'
RATE_HZ = 5.0


def executable(name):
    try:
        return Path(get_package_prefix('anomaly_inspection')) / 'lib' / 'anomaly_inspection' / name
    except PackageNotFoundError:
        pytest.skip('the package is not installed; run `make build`')


class Watcher(Node):
    """
    Collects what the cell says, and waits for it.

    """

    def __init__(self, context):
        super().__init__('watcher', context=context)
        self.parts, self.decisions, self.sort_events = OrderedDict(), {}, {}
        self.line_stops = []
        self.news = threading.Condition()
        for message_type, topic, store in (
            (Part, 'part', self.parts),
            (Decision, 'decision', self.decisions),
            (SortEvent, 'sort_event', self.sort_events),
        ):
            self.create_subscription(
                message_type, topic, lambda m, store=store: self._take(store, m), EVENT
            )
        self.create_subscription(LineStop, 'line_stop', self._take_line_stop, LATCHED)

    def hear(self, message_type, topic, qos):
        """
        Give the list that the messages of one more topic come into.

        """
        heard = []

        def take(message):
            with self.news:
                heard.append(message)
                self.news.notify_all()

        self.create_subscription(message_type, topic, take, qos)
        return heard

    def _take(self, store, message):
        with self.news:
            key = (message.session_id, message.part_id)
            assert key not in store, f'{message} came twice'
            store[key] = message
            self.news.notify_all()

    def _take_line_stop(self, message):
        with self.news:
            self.line_stops.append(message)
            self.news.notify_all()

    def wait(self, condition, timeout_s=40.0):
        with self.news:
            assert self.news.wait_for(condition, timeout_s), (
                f'{len(self.parts)} parts, {len(self.decisions)} decisions, '
                f'{len(self.sort_events)} sort events; reasons of the decisions: '
                f'{[decision.reason for decision in self.decisions.values()]}'
            )


class Processes:
    """
    The nodes of a cell as processes; started, stopped and killed one by one.

    """

    def __init__(self, recipe, folder):
        self._recipe = recipe
        self._folder = folder
        self.running = {}

    def start(self, name, **parameters):
        given = {'recipe': self._recipe} if name in ('scorer', 'decider') else {}
        arguments = ['--ros-args', '--params-file', str(PARAMETER_FILE)]
        for key, value in {**given, **parameters}.items():
            arguments += ['-p', f'{key}:={value}']
        with (self._folder / f'{name}.log').open('a') as log:
            self.running[name] = subprocess.Popen(
                [executable(f'{name}_node'), *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, 'PYTHONFAULTHANDLER': '1'},
            )

    def start_all(self, watcher, source, **decider):
        """
        Start what inspects, and the camera when all else is ready.

        """
        self.start('sorter')
        self.start('scorer')
        self.start('decider', **decider)
        watcher.wait(lambda: watcher.line_stops)
        wait_for(lambda: 'is in force' in self.log('decider'), self)
        self.start('camera', source=source, rate_hz=RATE_HZ)

    def log(self, name):
        return (self._folder / f'{name}.log').read_text()

    def until_known(self, watcher, name):
        """
        Wait until a process knows what the watcher has made.

        """

        def wait(condition, timeout_s):
            wait_for(condition, self, timeout_s)

        until_known(watcher, name, wait)

    def signal(self, name, number):
        self.running[name].send_signal(number)

    def kill(self):
        """
        Kill what runs, without a chance to end well.

        """
        for process in self.running.values():
            process.kill()
            process.wait()

    def close(self):
        for name, process in self.running.items():
            # pytest shows this where a test has failed.
            print(f'--- {name}\n{self.log(name)}')
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGINT)
        for name, process in self.running.items():
            try:
                assert process.wait(15) in (0, -signal.SIGKILL), self.log(name)
            except subprocess.TimeoutExpired:
                # It says where its threads stand.
                process.send_signal(signal.SIGABRT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                print(f'--- {name}, which did not end\n{self.log(name)}')
                process.kill()
                raise


def wait_for(condition, processes, timeout_s=40.0):
    end = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, {name: processes.log(name) for name in processes.running}
        pause.wait(0.05)


def answer(client, request, timeout_s=30.0):
    """
    Call a service and wait for its answer; the watcher's thread spins.

    """
    future = client.call_async(request)
    end = time.monotonic() + timeout_s
    pause = threading.Event()
    while not future.done():
        assert time.monotonic() < end, f'{client.srv_name} did not answer'
        pause.wait(0.02)
    return future.result()


def address_of(processes):
    """
    Wait until the panel is served; give its address.

    """
    words = "the operator's page: "
    wait_for(lambda: words in processes.log('panel'), processes)
    return processes.log('panel').partition(words)[2].split()[0]
