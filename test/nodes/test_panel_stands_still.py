# SPDX-License-Identifier: Apache-2.0
"""
A panel that stands still while it takes every image: inspection does not notice.

"""

import os
from pathlib import Path
import signal

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.msg import Decision
from anomaly_inspection.nodes.panel_node import ADDRESS_WORDS
from support.processes import address_of, wait_for
from support.small_recipe import SMALL_LINE

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]

SOURCE = f'{SMALL_LINE},parts=900,defect_rate=0.3'
# More than any queue of images holds.
PARTS = 24
MEASURED = (Reason.WITHIN_LIMITS, Reason.LIMIT_EXCEEDED)


def test_parts_are_judged_meanwhile_and_later_rejects_are_kept(processes, watcher):
    processes.start('panel', port=0)
    address_of(processes)
    processes.start_all(watcher, SOURCE)
    parts = Path(os.environ['ROS_HOME'], 'anomaly_inspection', 'state')
    wait_for(lambda: any(parts.rglob('review/images/*.png')), processes)

    processes.signal('panel', signal.SIGSTOP)
    before = set(watcher.decisions)

    def measured():
        new = set(watcher.decisions) - before
        return [key for key in new if watcher.decisions[key].reason in MEASURED]

    # A busy machine may lose some in time-outs; all would be lost if images waited for the panel.
    watcher.wait(lambda: len(measured()) >= PARTS, 100)

    # A process that stood still for long starts anew; then rejects are kept again.
    processes.signal('panel', signal.SIGCONT)
    wait_for(lambda: processes.log('panel').count(ADDRESS_WORDS) == 2, processes)
    kept_before = {path.stem for path in parts.rglob('review/images/*')}

    def new_rejects():
        kept = {path.stem for path in parts.rglob('review/images/*.png')} - kept_before
        return kept & {
            f'{session}_{number}'
            for (session, number), one in dict(watcher.decisions).items()
            if one.verdict == Decision.VERDICT_REJECT
        }

    wait_for(lambda: len(new_rejects()) >= 3, processes)
