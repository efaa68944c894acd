# SPDX-License-Identifier: Apache-2.0
"""
The recorder as a process of its own: killed, and on a disk that fills.

"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
pytest.importorskip('sqlalchemy', reason='SQLAlchemy is not installed: pip install .[records]')

from sensor_msgs.msg import Image

from anomaly_inspection.msg import Decision, Part
from anomaly_inspection.nodes.image_conversion import image_from_array
from anomaly_inspection.nodes.qos import EVENT, IMAGE, KEPT_EVENT
from anomaly_inspection.nodes.recorder_node import RECORDS_WORDS
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.stamps import stamp_from_nanoseconds
from support.cell_bench import Peer
from support.paths import ROOT
from support.record_examples import wait_until

pytestmark = pytest.mark.ros


class Recorder:
    """
    The recorder on a folder; can be killed and started again.

    """

    def __init__(self, folder, **parameters):
        self.folder = folder
        given = {'folder': folder, 'state_folder': 'none', 'least_free_mb': 0, **parameters}
        self.command = [
            *(sys.executable, '-c'),
            'from anomaly_inspection.nodes.recorder_node import main; main()',
            '--ros-args',
            *(word for name, value in given.items() for word in ('-p', f'{name}:={value}')),
        ]
        self.log = folder.with_name('recorder.log')
        self.process = None

    def start(self):
        with self.log.open('ab') as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ}
            )
        began = self.log.read_text().count(RECORDS_WORDS)
        wait_until(lambda: self.log.read_text().count(RECORDS_WORDS) > began, 60)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

    def numbers(self):
        """
        Give the numbers of the parts in the database, as often as they are there.

        """
        try:
            with contextlib.closing(sqlite3.connect(self.folder / 'records.sqlite')) as database:
                return [row[0] for row in database.execute('SELECT sequence FROM parts')]
        except sqlite3.OperationalError:
            return []


class Line(Peer):
    """
    Plays a decider that keeps its last decisions, and a camera.

    """

    def __init__(self, context):
        super().__init__(context)
        self.decisions = self.create_publisher(Decision, 'decision', KEPT_EVENT)
        self.parts = self.create_publisher(Part, 'part', EVENT)
        self.images = self.create_publisher(Image, 'part/image', IMAGE)

    def is_heard(self):
        return self.decisions.get_subscription_count() == 1

    def decide(self, number, verdict=Decision.VERDICT_PASS):
        message = Decision(session_id='test', part_id=number, verdict=verdict, reason=1)
        message.header.stamp = stamp_from_nanoseconds(time.time_ns())
        self.decisions.publish(message)

    def reject(self, number, pixels):
        stamp = stamp_from_nanoseconds(number)
        part = Part(session_id='test', part_id=number, frame_stamps=[stamp], is_complete=True)
        part.frame_names, part.frame_problems = [''], ['']
        self.parts.publish(part)
        self.images.publish(image_from_array(pixels, stamp, 'camera'))
        self.decide(number, Decision.VERDICT_REJECT)


@pytest.fixture
def line(ros_context):
    line = Line(ros_context)
    thread = NodeThread([line], 'line', context=ros_context)
    thread.start()
    yield line
    thread.stop()
    line.destroy_node()


@pytest.fixture
def small_disk(tmp_path):
    """
    A file system of 20 MB.

    """
    folder = tmp_path / 'small'
    folder.mkdir()
    if shutil.which('mount') is None or os.geteuid() != 0:
        pytest.skip('a file system of 20 MB can only be mounted by root')
    mounted = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f'no file system of 20 MB can be mounted here: {mounted.stderr.strip()}')
    yield folder
    subprocess.run(['umount', '--lazy', folder], check=True)


def test_a_recorder_that_is_killed_again_and_again_has_every_decision_once(line, tmp_path):
    recorder = Recorder(tmp_path / 'records')
    n_parts = 600
    recorder.start()
    wait_until(line.is_heard)
    for number in range(1, n_parts + 1):
        line.decide(number)
        time.sleep(0.005)
        if number in (150, 300, 450):
            recorder.kill()
            # Parts go on without it.
            for later in range(1, 21):
                line.decide(n_parts + number + later)
            recorder.start()
    expected = {*range(1, n_parts + 1)}
    expected |= {n_parts + killed + n for killed in (150, 300, 450) for n in range(1, 21)}
    wait_until(lambda: expected <= set(recorder.numbers()), 60)
    recorder.stop()
    numbers = recorder.numbers()
    assert len(numbers) == len(set(numbers)) == len(expected)
    with contextlib.closing(sqlite3.connect(tmp_path / 'records' / 'records.sqlite')) as database:
        counted = database.execute("SELECT sum(n) FROM minute_counts WHERE result = 'PASS'")
        assert counted.fetchone()[0] == len(expected)


def test_a_disk_that_fills_costs_pictures_and_no_decision(line, small_disk):
    recorder = Recorder(small_disk / 'records', pictures_mb=100, queue_mb=5)
    recorder.log = small_disk.with_name('recorder.log')
    recorder.start()
    wait_until(line.is_heard)
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    n_parts = 60
    for number in range(1, n_parts + 1):
        line.reject(number, noise)
        time.sleep(0.03)
    # 55 MB of pictures do not fit.
    wait_until(lambda: set(recorder.numbers()) >= {*range(1, n_parts + 1)}, 60)
    for number in range(n_parts + 1, n_parts + 201):
        line.decide(number)
    wait_until(lambda: set(recorder.numbers()) >= {*range(1, n_parts + 201)}, 60)
    recorder.stop()
    numbers = recorder.numbers()
    assert len(numbers) == len(set(numbers)) == n_parts + 200
    with contextlib.closing(sqlite3.connect(small_disk / 'records/records.sqlite')) as database:
        (gone,) = database.execute('SELECT count(*) FROM picture_removals').fetchone()
        (written,) = database.execute('SELECT count(*) FROM pictures').fetchone()
    assert written - gone == len(list(small_disk.rglob('*.png')))
    assert gone > 0
