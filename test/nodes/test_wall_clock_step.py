# SPDX-License-Identifier: Apache-2.0
"""
A wall clock that is set back while the cell runs: every node goes on with all that it does.

"""

import os
from pathlib import Path
import signal
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from anomaly_inspection.msg import Decision, LimitsInForce, Potentiometers
from anomaly_inspection.nodes.qos import EVENT, LATCHED, WATCH_IMAGE
from support.processes import answer, wait_for
from support.small_recipe import SMALL_LINE
from support.wire_bench import PtyDevice

pytestmark = pytest.mark.ros

# Longer than any wait of these tests: what stands still until the clock is where it was fails.
STEP_S = 3600


class WallClock:
    """
    The wall clock of the processes that a test starts; the steady clock stays as it is.

    """

    def __init__(self, library, file, monkeypatch):
        self._file = file
        self._set('+0')
        monkeypatch.setenv('LD_PRELOAD', str(library))
        monkeypatch.setenv('FAKETIME_TIMESTAMP_FILE', str(file))
        monkeypatch.setenv('FAKETIME_DONT_FAKE_MONOTONIC', '1')
        # Seconds; a look at the file with every look at the clock would slow the nodes down.
        monkeypatch.setenv('FAKETIME_CACHE_DURATION', '1')

    def set_back(self):
        self._set(f'-{STEP_S}')

    def _set(self, offset):
        new = self._file.with_suffix('.new')
        new.write_text(offset)
        os.replace(new, self._file)


@pytest.fixture
def wall_clock(processes, tmp_path, monkeypatch):
    library = next(Path('/usr/lib').glob('*/faketime/libfaketimeMT.so.1'), None)
    if library is None:
        pytest.skip('faketime is not installed (Debian and Ubuntu: apt install faketime)')
    yield WallClock(library, tmp_path / 'wall_clock', monkeypatch)
    # Fast DDS itself breaks when it lets go of its shared memory after a faked step.
    processes.kill()


@pytest.fixture
def device():
    device = PtyDevice()
    yield device
    device.close()


class Diagnostics:
    """
    The reports of the nodes, told apart by the wall clock that they were made on.

    """

    def __init__(self, watcher):
        self._watcher = watcher
        self.reports = watcher.hear(DiagnosticArray, '/diagnostics', 100)

    def wait_for_more(self, *nodes):
        """
        Wait for three more reports of each node after the step.

        """

        def names_after_step():
            return [
                report.status[0].name.split('/')[1]
                for report in list(self.reports)
                if time.time() - report.header.stamp.sec > STEP_S / 2
            ]

        self._watcher.wait(lambda: all(names_after_step().count(node) >= 3 for node in nodes))


def test_a_wall_clock_set_back_holds_up_nothing_from_the_camera_to_the_gate(
    processes, watcher, wall_clock, device
):
    diagnostics = Diagnostics(watcher)
    limits = watcher.hear(LimitsInForce, 'limits_in_force', LATCHED)
    knobs = watcher.hear(Potentiometers, 'potentiometers', EVENT)
    overlays = watcher.hear(CompressedImage, 'overlay/compressed', WATCH_IMAGE)
    processes.start('viewer')
    processes.start(
        'threshold_bridge',
        port=device.path,
        follow=True,
        channels="['34']",
        **{'channel_34.measure': 'variation.peak_z'},
    )
    source = f'{SMALL_LINE},seed=1,defect_rate=0'
    processes.start_all(watcher, source, deadline_s=0.4, timeouts_to_fault=1000)
    watcher.wait(
        lambda: any(
            decision.reason == Decision.REASON_WITHIN_LIMITS
            for decision in list(watcher.decisions.values())
        )
    )
    watcher.wait(lambda: limits and knobs and overlays)
    wall_clock.set_back()
    diagnostics.wait_for_more(
        'camera', 'scorer', 'decider', 'sorter', 'viewer', 'threshold_bridge'
    )

    parts, heard, shown = len(watcher.parts), len(knobs), len(overlays)
    watcher.wait(lambda: len(watcher.parts) >= parts + 5)
    latest = list(watcher.parts)[-1]
    watcher.wait(lambda: latest in watcher.sort_events)
    watcher.wait(lambda: len(knobs) > heard + 10 and len(overlays) > shown)

    before = limits[-1].limits
    device.positions[34] = 0.9
    watcher.wait(lambda: limits[-1].limits != before)

    processes.signal('scorer', signal.SIGSTOP)
    watcher.wait(
        lambda: (
            [decision.reason for decision in list(watcher.decisions.values())[-3:]]
            == [Decision.REASON_TIMEOUT] * 3
        )
    )


def test_a_wall_clock_set_back_holds_up_no_part_detector(processes, watcher, wall_clock):
    diagnostics = Diagnostics(watcher)
    images = watcher.hear(Image, 'image_raw', WATCH_IMAGE)
    processes.start('part_detector', trigger='service')
    processes.start('camera', mode='stream', source=SMALL_LINE)
    trigger = watcher.create_client(Trigger, 'part_detector/trigger')
    processes.until_known(watcher, 'part_detector')
    watcher.wait(lambda: images)
    wait_for(lambda: answer(trigger, Trigger.Request()).success, processes)
    wall_clock.set_back()
    diagnostics.wait_for_more('camera', 'part_detector')

    seen = len(images)
    watcher.wait(lambda: len(images) > seen + 5)
    wait_for(lambda: answer(trigger, Trigger.Request()).success, processes)

    # Without a frame, only a timer can bring the part, and the warning that the camera is silent.
    processes.signal('camera', signal.SIGSTOP)
    parts = len(watcher.parts)
    wait_for(
        lambda: not answer(trigger, Trigger.Request()).success,
        processes,
    )
    watcher.wait(lambda: len(watcher.parts) > parts)
    latest = list(watcher.parts.values())[-1]
    assert latest.frame_problems[0]
    watcher.wait(
        lambda: any(
            'no frame on' in status.message
            for report in diagnostics.reports[-5:]
            for status in report.status
        )
    )
