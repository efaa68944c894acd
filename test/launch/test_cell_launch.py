# SPDX-License-Identifier: Apache-2.0
"""
The launch file with the real `ros2 launch`: what its arguments do, what it says, how it ends.

"""

from collections.abc import Iterator
from importlib.util import find_spec
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import threading
import time
from typing import Any
import urllib.request

import pytest

pytest.importorskip('launch_ros', reason='launch_ros is not installed (it comes with ROS 2)')
pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
if shutil.which('ros2') is None:
    pytest.skip('ros2 is not installed (it comes with ROS 2)', allow_module_level=True)

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python

from anomaly_inspection.recipes.view_set import write_view_set
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

SITE_FILE = """
/**/camera:
  ros__parameters:
    source: {source}
    rate_hz: 3.0
/**/sorter:
  ros__parameters:
    gate: simulated
"""
# These tests need no pictures and no potentiometers; each node less starts sooner.
WITHOUT_EXTRAS = ('viewer:=false', 'threshold_bridge:=false')
JUST_THE_CAMERA = (*WITHOUT_EXTRAS, 'part_detector:=false')
PANEL_ON_ANY_PORT = """
/**/panel:
  ros__parameters:
    port: 0
"""
ADDRESS = r"the operator's page: (http://127\.0\.0\.1:\d+/)"


class Launched:
    """
    A running `ros2 launch`, its terminal, and a node beside it that asks questions.

    """

    def __init__(self, folder: Path, context: Any) -> None:
        self._terminal = folder / 'terminal.txt'
        self._process: subprocess.Popen[bytes] | None = None
        self.node = Node('launch_test', context=context)

    def start(self, *arguments: str, file: str = 'cell.launch.py') -> 'Launched':
        # A shell ignores SIGINT for what it runs in the background, and its children inherit that.
        command = ['env', '--default-signal=INT', 'ros2', 'launch']
        command += ['anomaly_inspection', file, *arguments]
        with self._terminal.open('w') as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, start_new_session=True
            )
        return self

    @property
    def terminal(self) -> str:
        return self._terminal.read_text(errors='replace')

    def wait_for(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        end, pause = time.monotonic() + timeout_s, threading.Event()
        while not (found := re.search(pattern, self.terminal)):
            assert time.monotonic() < end, f'{pattern!r} never came:\n{self.terminal}'
            assert self._process.poll() is None, f'launch has ended:\n{self.terminal}'
            pause.wait(0.05)
        return found

    def ended(self, timeout_s: float = 60.0) -> int:
        return self._process.wait(timeout_s)

    def parameter(self, node: str, name: str, spin_until: Any) -> Any:
        client = self.node.create_client(GetParameters, f'{node}/get_parameters')
        answers: list[Any] = []
        ask_again_s = 0.0

        def is_answered() -> bool:
            nonlocal ask_again_s
            # A node that was killed is still taken for a server until its lease ends.
            if client.service_is_ready() and time.monotonic() > ask_again_s:
                ask_again_s = time.monotonic() + 1
                future = client.call_async(GetParameters.Request(names=[name]))
                future.add_done_callback(lambda done: answers.append(done.result()))
            return bool(answers)

        spin_until(is_answered, self.node, timeout_s=60)
        return parameter_value_to_python(answers[0].values[0])

    def pid(self, name: str) -> int:
        return int(
            re.findall(rf'\[{name}_node-\d+\]: process started with pid \[(\d+)', self.terminal)[
                -1
            ]
        )

    def interrupt(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self.ended()

    def close(self) -> None:
        self.node.destroy_node()
        if self._process is not None and self._process.poll() is None:
            try:
                self.interrupt()
            except subprocess.TimeoutExpired:
                # The nodes as well: nobody else would end them.
                os.killpg(self._process.pid, signal.SIGKILL)
                raise


@pytest.fixture
def launched(tmp_path: Path, ros_context: Any) -> Iterator[Launched]:
    launched = Launched(tmp_path, ros_context)
    yield launched
    launched.close()


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    file = tmp_path / 'site.yaml'
    file.write_text(SITE_FILE.format(source=f"'{SMALL_LINE},seed=5'"))
    return file


def page_of(recipe: Path, folder: Path) -> tuple[str, ...]:
    """
    Give the arguments for a cell with the page on a port that is free.

    """
    file = folder / 'panel.yaml'
    file.write_text(PANEL_ON_ANY_PORT)
    return (f'recipe:={recipe}', f'source:={SMALL_LINE}', f'config:={file}', 'panel:=true')


def hide_nicegui(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """
    Let the processes that are started from now on find no NiceGUI.

    """
    (folder / 'sitecustomize.py').write_text(
        'from importlib.machinery import PathFinder\n'
        'find = PathFinder.find_spec\n'
        'PathFinder.find_spec = staticmethod(\n'
        "    lambda name, *rest: None if name == 'nicegui' else find(name, *rest)\n"
        ')\n'
    )
    monkeypatch.setenv('PYTHONPATH', str(folder), prepend=os.pathsep)


def test_a_cell_says_when_it_is_ready_and_one_line_a_part_on_request(
    launched: Launched, taught_recipe: Path
) -> None:
    launched.start(
        *(f'recipe:={taught_recipe}', f'source:={SMALL_LINE},seed=1', 'rate_hz:=4'),
        *('log_parts:=true',),
    )
    ready = launched.wait_for(r'cell ready: (.*)')[1]
    assert 'recipe small v1 is in force' in ready
    for name in ('sorter', 'decider', 'scorer', 'camera', 'part_detector', 'viewer'):
        assert name in ready
    launched.wait_for(r'\[inspection\.decider\]: part \d+: PASS WITHIN_LIMITS after \d+ ms; anom')
    launched.wait_for(r'\[inspection\.decider\]: part \d+: REJECT LIMIT_EXCEEDED after \d+ ms;')
    assert launched.interrupt() == 0
    assert 'Traceback' not in launched.terminal
    assert 'process has died' not in launched.terminal


def test_what_the_parameter_file_says_holds_until_an_argument_is_given(
    launched: Launched, site_file: Path, taught_recipe: Path, spin_until: Any
) -> None:
    launched.start(*JUST_THE_CAMERA, f'recipe:={taught_recipe}', f'config:={site_file}')
    camera = '/inspection/camera'
    assert launched.parameter(camera, 'source', spin_until) == f'{SMALL_LINE},seed=5'
    assert launched.parameter(camera, 'rate_hz', spin_until) == 3.0
    assert launched.interrupt() == 0
    launched.start(
        *JUST_THE_CAMERA,
        *(
            f'recipe:={taught_recipe}',
            f'config:={site_file}',
            f'source:={SMALL_LINE}',
            'rate_hz:=7',
        ),
    )
    assert launched.parameter(camera, 'source', spin_until) == SMALL_LINE
    assert launched.parameter(camera, 'rate_hz', spin_until) == 7.0


@pytest.mark.skipif(find_spec('nicegui') is None, reason='nicegui is not installed')
def test_the_page_comes_with_the_cell_and_no_log_holds_its_one_time_code(
    launched: Launched, tmp_path: Path, taught_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'logs'))
    launched.start(*JUST_THE_CAMERA, *page_of(taught_recipe, tmp_path), 'teacher:=true')
    address = launched.wait_for(ADDRESS)[1]
    code = launched.wait_for(r'one-time code (\S+),')[1]
    assert launched.wait_for(r'cell ready: .* active: (.*)')[1].endswith('teacher, panel')
    with urllib.request.urlopen(f'{address}log-in', timeout=30) as answer:
        assert answer.status == 200
    os.kill(launched.pid('panel'), signal.SIGKILL)
    launched.wait_for(rf'(?s)\[panel_node-\d+\]: process has died.*{ADDRESS}.*one-time code')
    assert launched.interrupt() == 0
    assert 'Traceback' not in launched.terminal
    logs = [file.read_text() for file in (tmp_path / 'logs').rglob('*') if file.is_file()]
    assert any("operator's page" in log for log in logs)
    assert not [log for log in logs if code in log]


def test_without_nicegui_the_page_says_what_to_install_and_the_cell_runs_on(
    launched: Launched, tmp_path: Path, taught_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_nicegui(monkeypatch, tmp_path)
    launched.start(*JUST_THE_CAMERA, *page_of(taught_recipe, tmp_path), 'log_parts:=true')
    launched.wait_for(r"the panel needs nicegui, .*pip install 'anomaly_inspection\[panel\]'")
    launched.wait_for(r'panel_node-\d+ is not started again')
    launched.wait_for(r'it lacks: panel \(does not answer\)\n')
    launched.wait_for(r'\[inspection\.decider\]: part \d+: PASS')
    assert 'Traceback' not in launched.terminal
    assert launched.interrupt() == 0


def test_a_camera_is_named_by_its_number(
    launched: Launched, taught_recipe: Path, spin_until: Any
) -> None:
    launched.start(*JUST_THE_CAMERA, f'recipe:={taught_recipe}', 'source:=0')
    assert launched.parameter('/inspection/camera', 'source', spin_until) == '0'
    assert 'refused' not in launched.terminal


def test_without_source_and_recipe_the_terminal_says_what_is_missing(launched: Launched) -> None:
    launched.start(*WITHOUT_EXTRAS)
    launched.wait_for(r'\[inspection\.camera\]: cannot configure: the camera has no source: give')
    launched.wait_for(
        r'\[inspection\.decider\]: no recipe is in force, and every part is rejected'
    )
    waits = launched.wait_for(r'the cell is not ready; it lacks: (.*)')[1]
    assert 'camera (unconfigured)' in waits
    assert 'decider (unconfigured)' not in waits
    assert 'a recipe in force' in waits
    assert launched.interrupt() == 0


def test_a_node_that_refuses_its_parameters_says_why_and_is_not_started_again(
    launched: Launched, taught_recipe: Path
) -> None:
    launched.start(
        *JUST_THE_CAMERA, f'recipe:={taught_recipe}', 'rate_hz:=fast', f'source:={SMALL_LINE}'
    )
    launched.wait_for(r"rate_hz = 'fast' is refused: allowed is a number from 0\.01 to 1000 Hz")
    launched.wait_for(r'camera_node-\d+ is not started again, because it refuses to run as it is')
    # Longer than respawn_delay: readiness is reported on after the camera would have come back.
    launched.wait_for(r'it lacks: .*camera \(does not answer\)')
    assert launched.interrupt() == 0
    assert len(re.findall(r'\[camera_node-\d+\]: process started', launched.terminal)) == 1


def test_a_node_that_dies_comes_back_with_the_arguments_of_the_launch(
    launched: Launched, taught_recipe: Path, spin_until: Any
) -> None:
    launched.start(*JUST_THE_CAMERA, f'recipe:={taught_recipe}', f'source:={SMALL_LINE}')
    launched.wait_for('cell ready')
    first = launched.pid('camera')
    os.kill(first, signal.SIGKILL)
    launched.wait_for(
        r'(?s)\[camera_node-\d+\]: process has died.*\[camera_node-\d+\]: process st'
    )
    assert launched.pid('camera') != first
    assert launched.parameter('/inspection/camera', 'source', spin_until) == SMALL_LINE


@pytest.mark.parametrize(('namespace', 'root'), [('/', ''), ('line_2', '/line_2')])
def test_nodes_and_topics_stand_in_the_namespace(
    launched: Launched, taught_recipe: Path, spin_until: Any, namespace: str, root: str
) -> None:
    launched.start(
        *(f'recipe:={taught_recipe}', f'source:={SMALL_LINE}', f'namespace:={namespace}'),
        *JUST_THE_CAMERA,
    )
    launched.wait_for('cell ready')
    wanted = {f'{root}/{name}' for name in ('part', 'part/image', 'decision', 'line_stop')}

    def topics() -> set[str]:
        return {name for name, _ in launched.node.get_topic_names_and_types()}

    spin_until(lambda: wanted <= topics(), launched.node)


def test_a_foreign_camera_is_taken_from_the_topic_that_is_named(
    launched: Launched, taught_recipe: Path, spin_until: Any
) -> None:
    launched.start(
        *(f'recipe:={taught_recipe}', 'camera:=false', 'image_topic:=/driver/image_raw'),
        *('trigger:=every_frame', 'image_transport:=compressed', *WITHOUT_EXTRAS),
    )

    def listeners() -> set[str]:
        infos = launched.node.get_subscriptions_info_by_topic('/driver/image_raw/compressed')
        return {info.node_name for info in infos}

    spin_until(lambda: 'part_detector' in listeners(), launched.node, timeout_s=60)
    assert launched.parameter('/inspection/part_detector', 'trigger', spin_until) == 'every_frame'
    assert 'camera_node' not in launched.terminal


def test_a_parameter_file_that_is_missing_ends_the_launch_with_one_sentence(
    launched: Launched,
) -> None:
    launched.start('config:=/no/such/site.yaml')
    assert launched.ended() == 1
    assert 'config:=/no/such/site.yaml is refused: there is no such file' in launched.terminal


def test_a_value_that_is_none_of_the_choices_is_refused_with_the_choices(
    launched: Launched,
) -> None:
    launched.start('camera:=maybe')
    assert launched.ended() == 1
    assert re.search(r'camera.*maybe.*not valid.*true.*false', launched.terminal)


def test_every_argument_is_explained(launched: Launched) -> None:
    launched.start('--show-args')
    assert launched.ended() == 0
    explained = re.findall(r"^    '(\w+)':.*\n        (.+)", launched.terminal, re.MULTILINE)
    assert len(explained) == 27
    assert all(re.search(r'\.( Valid choices are: .*)?$', text) for _, text in explained)
    assert 'no description given' not in launched.terminal


VIEWS = 'views.launch.py'


@pytest.fixture
def two_recipes(tmp_path: Path, taught_recipe: Path) -> Path:
    for view in ('top', 'side'):
        shutil.copytree(taught_recipe, tmp_path / 'part' / view)
    write_view_set(tmp_path / 'part', ('top', 'side'))
    return tmp_path / 'part'


def test_two_views_one_with_a_driver_of_its_own_become_one_cell(
    launched: Launched, two_recipes: Path, spin_until: Any
) -> None:
    launched.start(
        *('views:=top,side', f'recipe:={two_recipes}', f'source.top:={SMALL_LINE}'),
        *('image_topic.side:=/driver/image_raw', 'viewer:=false', 'mqtt:=true'),
        file=VIEWS,
    )
    ready = launched.wait_for(r'\[inspection\.cell_ready\]: cell ready: (.*)', 90.0)[1]
    assert ready == 'recipe part v1 is in force; active: sorter, mqtt_bridge, view_joiner'
    launched.wait_for(r'\[inspection\.top\.cell_ready\]: cell ready: .*camera')
    launched.wait_for(r'\[inspection\.side\.cell_ready\]: cell ready: .*part_detector')
    assert launched.parameter('/inspection/sorter', 'leading_view', spin_until) == 'top'
    for node in ('view_joiner', 'mqtt_bridge'):
        views = launched.parameter(f'/inspection/{node}', 'views', spin_until)
        assert views == ['top', 'side']

    def listeners(topic: str) -> set[str]:
        infos = launched.node.get_subscriptions_info_by_topic(topic)
        return {f'{info.node_namespace}/{info.node_name}' for info in infos}

    spin_until(lambda: '/inspection/top/camera' in listeners('/inspection/trigger'), launched.node)
    driven = listeners('/driver/image_raw')
    assert driven == {'/inspection/side/part_detector'}
    assert launched.interrupt() == 0
    assert 'Traceback' not in launched.terminal


@pytest.mark.parametrize(
    ('argument', 'words'),
    [
        ('views:=a,b,c,d,e', r'views:=a,b,c,d,e is refused; allowed: 1 to 4 different names'),
        ('views:=top,Left', r"views:=top,Left is refused: 'Left'; allowed: 1 to 4"),
        ('source.tpo:=0', r'source\.tpo:= is refused; allowed: source\.top, source\.left'),
    ],
)
def test_views_that_cannot_be_end_the_launch_with_one_sentence(
    launched: Launched, argument: str, words: str
) -> None:
    launched.start(argument, file=VIEWS)
    assert launched.ended() == 1
    assert re.search(words, launched.terminal)
