# SPDX-License-Identifier: Apache-2.0
"""
What the tests share: the source tree beside the built messages, ROS domains, the real data sets.

"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import fcntl
import gc
import itertools
import os
from pathlib import Path
import shutil
import sys
import tempfile
import time
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The source tree comes first; its __init__ finds the generated messages in the installed package
# of the same name.
# Then what the tests share: `support`.
sys.path[:0] = [str(ROOT), str(ROOT / 'test')]

# Read once, when rclpy loads its middleware: a test must never talk to another machine.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

# Nodes keep their state there: no test may find what another, or a cell of this machine, has left.
os.environ['ROS_HOME'] = tempfile.mkdtemp(prefix='ros_home_')
atexit.register(shutil.rmtree, os.environ['ROS_HOME'], ignore_errors=True)

# Converted networks are kept there, not in the cache of whoever runs the tests.
os.environ['XDG_CACHE_HOME'] = tempfile.mkdtemp(prefix='cache_home_')
atexit.register(shutil.rmtree, os.environ['XDG_CACHE_HOME'], ignore_errors=True)

# Read once, when TensorFlow is loaded: with one thread a small network trains as fast, and other
# work keeps its cores.
os.environ |= {'TF_NUM_INTRAOP_THREADS': '1', 'TF_NUM_INTEROP_THREADS': '1'}
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'

# Fast DDS derives its ports from the domain; above 101 they fall into the range that Linux lends
# to any program. `make run` takes its domain from 81 to 100.
TEST_DOMAINS = range(1, 81)

_CONTEXTS = itertools.count()
_TURNS = itertools.count()


@contextmanager
def _own_domain() -> Iterator[int]:
    """
    Hold a domain id that no other test on this machine holds, in whatever process it runs.

    """
    # Another one each time, and none of another worker's: what an earlier test has left, until it
    # is collected, is not found here.
    workers = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
    number = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    domains = TEST_DOMAINS[number % len(TEST_DOMAINS) :: workers]
    start = os.getpid() + next(_TURNS)
    folder = Path(tempfile.gettempdir(), f'anomaly_inspection_domains_{os.getuid()}')
    folder.mkdir(exist_ok=True)
    for turn in itertools.count():
        domain_id = domains[(start + turn) % len(domains)]
        with open(folder / str(domain_id), 'w') as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain_id
            return


@pytest.fixture
def domain_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """
    A ROS domain of the test's own, also in the environment, for the processes that it starts.

    The nodes of the test keep their state in a folder of its own.

    """
    monkeypatch.setenv('ROS_HOME', str(tmp_path_factory.mktemp('ros_home')))
    with _own_domain() as number:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(number))
        yield number


@pytest.fixture
def ros_context(domain_id: int) -> Iterator[Any]:
    """
    An rclpy Context on a domain of its own, shut down after the test.

    """
    with _context(domain_id) as context:
        yield context


@pytest.fixture(scope='module')
def shared_ros_context() -> Iterator[Any]:
    """
    An rclpy Context for the nodes that the tests of a module share.

    """
    with _own_domain() as domain_id, _context(domain_id) as context:
        yield context


@contextmanager
def _context(domain_id: int) -> Iterator[Any]:
    skip_without_ros()
    from rclpy.context import Context

    context = Context()
    context.init(args=[], domain_id=domain_id)
    yield context
    context.try_shutdown()
    # A node that is part of a reference cycle keeps its context's DDS participant, and with it one
    # of the 32 places in which the programs of a domain find each other, until it is collected.
    if next(_CONTEXTS) % 8 == 0:
        gc.collect()


class SpinUntil:
    """
    Spins nodes of one context until a condition holds; the test fails when it never does.

    """

    def __call__(
        self, condition: Callable[[], object], *nodes: Any, timeout_s: float = 20.0
    ) -> None:
        deadline = time.monotonic() + timeout_s
        with self._executor(nodes) as executor:
            while not condition():
                assert time.monotonic() < deadline, f'did not come true within {timeout_s} s'
                executor.spin_once(timeout_sec=0.05)

    def for_a_moment(self, *nodes: Any, duration_s: float = 0.3) -> None:
        """
        Spin for a while, to show that something does NOT happen.

        """
        end = time.monotonic() + duration_s
        with self._executor(nodes) as executor:
            while time.monotonic() < end:
                executor.spin_once(timeout_sec=0.05)

    @contextmanager
    def _executor(self, nodes: tuple[Any, ...]) -> Iterator[Any]:
        from rclpy.executors import SingleThreadedExecutor

        executor = SingleThreadedExecutor(context=nodes[0].context)
        for node in nodes:
            executor.add_node(node)
        try:
            yield executor
        finally:
            for node in nodes:
                executor.remove_node(node)
            executor.shutdown()


@pytest.fixture
def spin_until() -> SpinUntil:
    """
    `spin_until(condition, *nodes)` and `spin_until.for_a_moment(*nodes)`.

    """
    return SpinUntil()


@pytest.fixture(scope='session')
def dataset() -> Callable[[str], Path]:
    """
    Folder of a real data set by its name; the test is skipped where the data sets are not at hand.

    """

    def folder(name: str) -> Path:
        from support.paths import DATASETS

        path = DATASETS / name
        if not path.is_dir():
            pytest.skip(f'the real images {name} are not beside the checkout (../shared/datasets)')
        return path

    return folder


def skip_without_ros() -> None:
    """
    Skip the test where nodes cannot run.

    """
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        pytest.skip(f'ROS 2 is not at hand: {error}')
    try:
        import anomaly_inspection.msg  # noqa: F401
    except ImportError as error:
        pytest.skip(f'the messages are not built: {error}')


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker('ros'):
        skip_without_ros()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Any]:
    """
    A real MQTT broker without log-in; the test is skipped where there is none.

    """
    from support.mosquitto import Mosquitto

    broker = Mosquitto(tmp_path).start()
    yield broker
    broker.close()


@pytest.fixture
def listener(broker: Any) -> Iterator[Any]:
    """
    An MQTT client that hears everything.

    """
    from support.mosquitto import Listener

    listener = Listener(broker.port).wait_until_listening()
    yield listener
    listener.close()


@pytest.fixture
def proxy(broker: Any) -> Iterator[Any]:
    """
    A network before the broker that can be cut and stalled.

    """
    from support.tcp_proxy import TcpProxy

    proxy = TcpProxy(broker.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope='session')
def taught_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A recipe of the small simulated line; do not change it, copy it.

    """
    from support.small_recipe import teach_small_recipe

    return teach_small_recipe(tmp_path_factory.mktemp('recipes') / 'small')
