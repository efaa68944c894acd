# SPDX-License-Identifier: Apache-2.0
"""
Two views of a simulated line as real processes: one of them dies, freezes and comes back.

"""

import shutil
import signal

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.msg import Decision, LineStop
from anomaly_inspection.recipes.view_set import write_view_set
from support.view_cells import ViewCells

pytestmark = pytest.mark.ros


@pytest.fixture
def recipes(tmp_path, taught_recipe):
    for view in ('top', 'left'):
        shutil.copytree(taught_recipe, tmp_path / 'part' / view)
    write_view_set(tmp_path / 'part', ('top', 'left'))
    return tmp_path / 'part'


@pytest.fixture
def cells(ros_context, recipes, tmp_path):
    cells = ViewCells(ros_context, recipes, tmp_path)
    yield cells.start()
    cells.close()


def no_bad_part_passed(cells):
    watcher = cells.watcher
    passed = watcher.passed()
    assert passed
    assert not [key for key in passed if watcher.is_bad(key)]
    for key in passed:
        decision = watcher.decisions[key]
        assert decision.verdict == Decision.VERDICT_PASS
        assert [one.verdict for one in decision.views] == [Decision.VERDICT_PASS] * 2
    # What only one of the views has seen as bad was among them.
    alone = [
        {one.view for one in decision.views if one.reason == Decision.REASON_LIMIT_EXCEEDED}
        for decision in watcher.decisions.values()
    ]
    assert {'top'} in alone
    assert {'left'} in alone


def take_away(cells, view, name, how):
    if how == 'killed':
        cells.kill(view, name)
    else:
        cells.signal(view, name, signal.SIGSTOP)


def bring_back(cells, view, name, how):
    if how == 'killed':
        cells.start_camera(view)
    else:
        cells.signal(view, name, signal.SIGCONT)


def test_no_bad_part_passes_while_a_view_is_away_and_a_reset_alone_recovers(cells):
    watcher = cells.watcher
    cells.run_until(lambda: len(watcher.passed()) >= 6 and len(watcher.decisions) >= 15)
    for incident in (
        ('left', 'camera', 'killed'),
        ('top', 'camera', 'frozen'),
        ('left', 'decider', 'frozen'),
    ):
        take_away(cells, *incident)
        cells.run_until(lambda: watcher.line_stops[-1].active)
        stop = watcher.line_stops[-1]
        assert stop.cause == LineStop.CAUSE_VIEW_MISSING
        assert f'view {incident[0]} gave no verdict' in stop.reason
        decided = len(watcher.decisions)
        cells.run_until(lambda decided=decided: len(watcher.decisions) >= decided + 3)
        assert all(
            one.verdict == Decision.VERDICT_REJECT for one in list(watcher.decisions.values())[-3:]
        )
        assert not cells.reset()
        bring_back(cells, *incident)
        passed = len(watcher.passed())

        def has_recovered(passed=passed):
            # What comes late while a node starts may stop the line once more.
            if watcher.line_stops[-1].active and not watcher.faults[-1].active:
                cells.reset()
            return len(watcher.passed()) >= passed + 3

        cells.run_until(has_recovered)
    no_bad_part_passed(cells)
