# SPDX-License-Identifier: Apache-2.0
"""
The view joiner over DDS, with views that are played: one part and one verdict of what they say.

"""

import math
import shutil
import time

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.parameter import Parameter
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from anomaly_inspection.msg import Decision, Fault, LineStop, SortEvent
from anomaly_inspection.nodes.qos import EVENT, LATCHED
from anomaly_inspection.nodes.sorter_node import SorterNode
from anomaly_inspection.nodes.spinning import NodeThread
from anomaly_inspection.nodes.view_joiner_node import ViewJoinerNode, ViewJoinerParameters
from anomaly_inspection.recipes.view_set import write_view_set
from support.view_bench import ViewBench

pytestmark = pytest.mark.ros

PASS, REJECT = Decision.VERDICT_PASS, Decision.VERDICT_REJECT


@pytest.fixture
def make_bench(ros_context):
    benches = []

    def make(**parameters):
        benches.append(ViewBench(ros_context, **parameters).ready())
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench()


def start_sorter(bench, **parameters):
    """
    Add a real sorter to the cell; gives what it says.

    """
    stops = bench.peer.hear(LineStop, 'line_stop', LATCHED)
    events = bench.peer.hear(SortEvent, 'sort_event', EVENT)
    given = {'gate': 'simulated', 'gate_distance_m': 0.6, 'state_folder': 'none', **parameters}
    node = SorterNode(
        context=bench.context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    thread = NodeThread([node], 'sorter', context=bench.context)
    thread.start()
    bench.others.append((thread, node))
    bench.wait(lambda: stops)
    for topic in ('part', 'decision', 'fault'):
        bench.wait(lambda topic=topic: bench.node.count_subscribers(topic) == 2)
    return stops, events


def test_a_part_passes_with_the_key_of_the_leading_view_and_the_numbers_of_all(bench):
    bench.recipe('top')
    bench.recipe('left', version=3)
    bench.wait(lambda: bench.heard['limits_in_force'])
    at_ns = time.monotonic_ns()
    bench.score('left', 1)
    bench.part('left', 1, at_ns)
    bench.part('top', 1, at_ns)
    bench.decision('top', 1)
    bench.decision('left', 1)
    joined = bench.joined(1)
    assert joined.verdict == PASS
    assert joined.reason == Decision.REASON_WITHIN_LIMITS
    assert (joined.session_id, joined.part_id) == ('top ', 1)
    assert joined.header.frame_id == 'top_optical_frame'
    assert joined.comparison == 'top: ssim.mse 4 <= 6 -> PASS; left: ssim.mse 4 <= 6 -> PASS'
    assert [measure.scorer for measure in joined.measures] == ['top/ssim', 'left/ssim']
    assert [(one.view, one.session_id, one.verdict) for one in joined.views] == [
        ('top', 'top ', PASS),
        ('left', 'left ', PASS),
    ]
    assert (joined.recipe_name, joined.recipe_version) == ('top+left', 3)
    assert joined.recipe_hash == bench.heard['recipe_in_force'][-1].hash
    names = [limit.scorer for limit in bench.heard['limits_in_force'][-1].limits]
    assert names == ['top/ssim', 'left/ssim']
    bench.wait(lambda: bench.heard['score'])
    score = bench.heard['score'][0]
    assert (score.scorer, score.session_id, score.part_id) == ('left/ssim', 'top ', 1)
    parts = bench.heard['part']
    assert [list(part.frame_views) for part in parts] == [['top'], ['top', 'left']] or [
        list(part.frame_views) for part in parts
    ] == [['top', 'left']]
    assert parts[-1].is_complete
    assert list(parts[-1].frame_names) == ['top/1', 'left/1']
    assert {part.exposure_steady_ns // 1000 for part in parts} == {at_ns // 1000}


def test_a_view_that_rejects_rejects_the_part_and_explains_it(bench):
    bench.both(1, left=False)
    joined = bench.joined(1)
    assert (joined.verdict, joined.reason) == (REJECT, Decision.REASON_LIMIT_EXCEEDED)
    assert joined.worst_measure == 'left/ssim.mse'
    assert joined.anomaly_score == pytest.approx(1.5)
    assert joined.explanation.text == 'View left: Spot.'
    assert joined.explanation.scorer == 'left/ssim'


def test_a_part_that_the_leading_view_has_not_seen_is_announced_and_rejected(bench):
    bench.both(7, top=None)
    joined = bench.joined(7, view='left')
    assert (joined.verdict, joined.reason) == (REJECT, Decision.REASON_VIEW_MISSING)
    assert joined.comparison.startswith('top: did not see the part -> REJECT; left: ssim.mse 4')
    assert joined.explanation.text == joined.comparison
    part = bench.heard['part'][-1]
    assert (part.session_id, part.part_id, list(part.frame_views)) == ('left ', 7, ['left'])
    assert part.is_complete


@pytest.mark.parametrize(
    ('known', 'wanted'),
    [
        ((Decision.KNOWN_AS_GOOD, Decision.KNOWN_AS_UNKNOWN), Decision.KNOWN_AS_GOOD),
        ((Decision.KNOWN_AS_GOOD, Decision.KNOWN_AS_BAD), Decision.KNOWN_AS_BAD),
    ],
)
def test_a_part_that_one_view_knows_from_a_challenge_is_no_production(bench, known, wanted):
    at_ns = time.monotonic_ns()
    for view, known_as in zip(('top', 'left'), known, strict=True):
        bench.part(view, 1, at_ns)
        bench.decision(view, 1, known_as=known_as)
    assert bench.joined(1).known_as == wanted


def test_a_silent_view_stops_the_line_with_its_name_and_a_reset_alone_recovers(bench):
    stops, events = start_sorter(bench)
    bench.both(99, left=False)
    bench.joined(99)
    for number in range(1, 4):
        bench.both(number, left=None)
        joined = bench.joined(number)
        assert (joined.verdict, joined.reason) == (REJECT, Decision.REASON_VIEW_MISSING)
        assert math.isfinite(joined.anomaly_score)
    bench.wait(lambda: stops[-1].active)
    assert stops[-1].cause == LineStop.CAUSE_VIEW_MISSING
    assert stops[-1].reason == 'view left gave no verdict on 3 parts in a row'
    refused = bench.call(Trigger, 'sorter/reset')
    assert not refused.success
    assert 'the cause lasts: view left' in refused.message
    bench.both(4)
    bench.wait(lambda: not bench.heard['fault'][-1].active)
    assert bench.call(Trigger, 'sorter/reset').success
    bench.wait(lambda: not stops[-1].active)
    bench.both(5)
    bench.wait(lambda: any(event.part_id == 5 for event in events))
    passed = [event.part_id for event in events if event.action == SortEvent.ACTION_PASSED]
    assert passed == [5]


def test_the_fault_of_a_view_is_one_of_the_cell(bench):
    bench.say('left', 'fault', Fault(active=True, reason='no scores', cause=1))
    bench.wait(lambda: bench.heard['fault'][-1].active)
    fault = bench.heard['fault'][-1]
    assert (fault.reason, fault.cause) == ('view left: no scores', Fault.CAUSE_NO_SCORES)
    bench.say('left', 'fault', Fault(active=False))
    bench.wait(lambda: not bench.heard['fault'][-1].active)


def test_a_joiner_that_is_gone_stops_the_line_because_the_sorter_hears_the_leading_view(bench):
    stops, events = start_sorter(bench, leading_view='top', gate_distance_m=0.1)
    bench.wait(lambda: bench.node.count_subscribers('top/part') == 2)
    bench.both(1)
    bench.wait(lambda: len(events) == 1)
    bench.threads[0].stop()
    for number in range(2, 6):
        bench.both(number)
    bench.wait(lambda: stops[-1].active)
    assert 'no decision came for 3 parts in a row' in stops[-1].reason
    assert all(event.action == SortEvent.ACTION_REJECTED for event in events[1:])


def test_what_is_undecided_when_the_joiner_stops_is_rejected(bench):
    bench.part('top', 1, time.monotonic_ns())
    bench.wait(lambda: bench.heard['part'])
    bench.node.trigger_deactivate()
    joined = bench.joined(1)
    assert (joined.verdict, joined.reason) == (REJECT, Decision.REASON_NOT_READY)


def test_verdicts_by_a_recipe_that_is_not_the_views_are_rejects(
    make_bench, tmp_path, taught_recipe
):
    for name in ('top', 'left'):
        shutil.copytree(taught_recipe, tmp_path / 'part' / name)
    with (tmp_path / 'part' / 'left' / 'references' / '000.png').open('ab') as file:
        file.write(b'taught on other pictures')
    write_view_set(tmp_path / 'part', ('top', 'left'))
    bench = make_bench(recipe=str(tmp_path / 'part'))
    # Mixed up: left judges by the recipe of top.
    for view in ('top', 'left'):
        bench.recipe(view, tmp_path / 'part' / 'top', recipe_hash=f'hash of {view}')
    bench.wait(lambda: bench.node.problem('recipe left'))
    at_ns = time.monotonic_ns()
    for view in ('top', 'left'):
        bench.part(view, 1, at_ns)
        bench.decision(view, 1, recipe_hash=f'hash of {view}')
    joined = bench.joined(1)
    assert (joined.verdict, joined.reason) == (REJECT, Decision.REASON_RECIPE_MISMATCH)
    assert 'left: view left has the recipe of view top in force' in joined.comparison
    bench.recipe('left', tmp_path / 'part' / 'left', recipe_hash='right')
    bench.wait(lambda: not bench.node.problem('recipe left'))
    assert bench.heard['recipe_in_force'][-1].name == 'part'
    at_ns = time.monotonic_ns()
    for view, recipe_hash in (('top', 'hash of top'), ('left', 'right')):
        bench.part(view, 2, at_ns)
        bench.decision(view, 2, recipe_hash=recipe_hash)
    assert bench.joined(2).verdict == PASS


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'views': ['Top']}, "view 'Top' is refused; allowed: a small letter"),
        ({'views': ['']}, 'views = []: allowed are 1 to 4 names'),
        ({'leading_view': 'front'}, "leading_view = 'front': allowed is one of top, left"),
        ({'view_offsets_m': ['left=0.2']}, "view_offsets_m needs join = 'distance'"),
        ({'join': 'distance'}, "join = 'distance' needs view_offsets_m"),
        (
            {'join': 'distance', 'view_offsets_m': ['left:2']},
            "view_offsets_m = 'left:2' is refused: allowed is 'VIEW=METRES'",
        ),
        (
            {'join': 'distance', 'view_offsets_m': ['left=0.5']},
            'the last view sees a part up to 1.100 s after the leading one',
        ),
        ({'recipe': '/no/such'}, '/no/such holds no recipes of several views'),
    ],
)
def test_parameters_that_cannot_be_are_refused_with_what_is_allowed(
    ros_context, parameters, words
):
    given = {'autostart': False, **parameters}
    node = ViewJoinerNode(
        context=ros_context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    node.trigger_configure()
    problem = node.problem('lifecycle')
    node.destroy_node()
    assert problem is not None
    assert words in problem


def test_distances_along_the_belt_become_delays():
    given = ViewJoinerParameters(
        views=('top', 'left', 'back'),
        leading_view='left',
        join='distance',
        view_offsets_m=('top=-0.1', 'back=0.05'),
        belt_speed_m_per_s=0.5,
    )
    settings = given.join_settings()
    assert settings.leading == 'left'
    assert settings.delays_s == pytest.approx({'top': -0.2, 'back': 0.1})
    assert settings.delay_s('left') == 0.0


def test_a_robot_triggers_the_cameras_of_all_views_or_hears_that_there_is_none(bench):
    refused = bench.call(Trigger, 'view_joiner/capture')
    assert not refused.success
    assert 'no camera listens to trigger' in refused.message
    heard = bench.peer.hear(Empty, 'trigger', EVENT)
    bench.wait(lambda: bench.node.count_subscribers('trigger') == 1)
    bench.wait(lambda: bench.call(Trigger, 'view_joiner/capture').success)
    bench.wait(lambda: heard)
