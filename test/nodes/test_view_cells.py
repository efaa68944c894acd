# SPDX-License-Identifier: Apache-2.0
"""
Two views of a simulated line as real processes: one of them dies, freezes and comes back.

"""

import shutil
import signal

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.msg import Calibration, Decision, LimitsInForce, LineStop
from anomaly_inspection.nodes.panel_deciders import PanelDeciders
from anomaly_inspection.nodes.panel_views import limit_views
from anomaly_inspection.nodes.qos import LATCHED
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.view_set import write_view_set
from support.mqtt_schema import check
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


@pytest.fixture
def good_cells(ros_context, recipes, tmp_path):
    cells = ViewCells(ros_context, recipes, tmp_path, defect_rate=0)
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


def test_limits_are_moved_saved_and_calibrated_in_each_view(good_cells, recipes):
    cells = good_cells
    watcher, limits = cells.watcher, []
    watcher.create_subscription(LimitsInForce, 'limits_in_force', limits.append, LATCHED)
    cells.wait(lambda: limits)

    def value(name):
        return next(one.value for one in limit_views(limits[-1]) if one.name == name)

    def given(command):
        # A service that was made just now is found a moment later.
        found = []
        cells.wait(lambda: found.append(command()) or found[-1].code != 'not_running')
        assert found[-1].success, found[-1].message
        return found[-1].message

    deciders = PanelDeciders(watcher, cells.views, lambda: limit_views(limits[-1]))
    moved, other = 'left/variation.peak_z', 'top/variation.peak_z'
    before, untouched = value(moved), value(other)
    given(lambda: deciders.set_limits({moved: before * 2}))
    cells.wait(lambda: value(moved) == before * 2)
    refused = deciders.set_limits({moved: 99.0, other: 99.0})
    assert (refused.success, refused.code) == (False, 'limits_of_one_view')
    assert (value(moved), value(other)) == (before * 2, untouched)

    assert given(deciders.save_limits).startswith('left: ')
    assert read_recipe(recipes / 'left').version == read_recipe(recipes / 'top').version + 1
    cells.wait(lambda: not limits[-1].is_unsaved)
    # Other limits are no other recipe: parts still pass.
    passed = len(watcher.passed())
    cells.run_until(lambda: len(watcher.passed()) > passed)

    states = {view: [] for view in cells.views}
    for view, heard in states.items():
        watcher.create_subscription(Calibration, f'{view}/calibration', heard.append, LATCHED)
    given(lambda: deciders.calibrate(5, 0.0))
    assert not deciders.calibrate(5, 0.0).success
    cells.run_until(
        lambda: all(
            heard and heard[-1].state == Calibration.STATE_DONE for heard in states.values()
        )
    )
    cells.wait(lambda: value(moved) != before * 2 and value(other) != untouched)
    told = given(deciders.undo_calibration)
    assert told.startswith('top: ')
    assert '; left: ' in told
    cells.wait(lambda: (value(moved), value(other)) == (before * 2, untouched))
    deciders.close()


def test_the_plant_hears_of_the_nodes_of_all_views(good_cells, broker, listener):
    cells = good_cells
    given = [f'port:={broker.port}', 'commands:=[load_recipe, start_challenge]']
    cells.start_node('mqtt_bridge', '', f'views:=[{",".join(cells.views)}]', *given)

    def newest(name):
        return listener.of(name)[-1] if listener.of(name) else {}

    cells.run_until(lambda: newest('cell').get('state') == 'running')
    cells.run_until(lambda: newest('decision').get('verdict') == 'PASS')
    for command, fields, words in (
        ('load_recipe', ',"recipe":"part"', 'takes its recipe when it is launched (recipe:=)'),
        (
            'start_challenge',
            '',
            'call the action decider/run_challenge in the namespace of top or left',
        ),
    ):
        topic = f'site/area/line/inspection/command/{command}'
        listener.publish(topic, f'{{"id":"{command}"{fields}}}')
        cells.wait(lambda command=command: newest(f'answer/{command}'))
        answer = newest(f'answer/{command}')
        assert not answer['success']
        assert words in answer['message']
    cells.kill('left', 'camera')
    cells.run_until(lambda: newest('cell')['state'] == 'stopped')
    assert 'view left gave no verdict' in newest('cell')['reason']

    def camera_is_missed():
        missed = {'node': 'left/camera', 'level': 'stale'}
        return any(missed.items() <= one.items() for one in newest('health')['problems'])

    cells.wait(camera_is_missed)
    cells.kill('', 'view_joiner')
    cells.wait(lambda: newest('cell')['state'] == 'unknown')
    assert newest('cell')['reason'] == 'the view_joiner says nothing'
    for name in ('cell', 'health', 'decision'):
        for payload in listener.of(name):
            check(name, payload)
