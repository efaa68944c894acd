# SPDX-License-Identifier: Apache-2.0
"""
The scorer node over DDS: frames and parts that join, frames that cannot be scored, recipe switch.

"""

from dataclasses import replace
import shutil
import threading

import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image

from anomaly_inspection.capture.open_source import open_source
from anomaly_inspection.errors import SettingError
from anomaly_inspection.msg import Score
from anomaly_inspection.nodes import scorer_node
from anomaly_inspection.nodes.image_conversion import float_array_from_image
from anomaly_inspection.nodes.qos import UNRELIABLE_IMAGE, WATCH_IMAGE
from anomaly_inspection.nodes.scorer_node import ScorerNode
from anomaly_inspection.nodes.stamps import nanoseconds_from_stamp
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.scoring.frame_scorer import FrameScorer
from anomaly_inspection.scoring.ssim import SsimScorer
from support.scorer_bench import announcement, Bench, Line
from support.small_recipe import SMALL_LINE

pytestmark = pytest.mark.ros

SUCCESS = TransitionCallbackReturn.SUCCESS


@pytest.fixture
def make_bench(ros_context, taught_recipe):
    benches = []

    def make(**parameters):
        benches.append(Bench(ros_context, **{'recipe': str(taught_recipe), **parameters}))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


@pytest.fixture
def bench(make_bench):
    return make_bench().ready()


@pytest.fixture(scope='module')
def recipe(taught_recipe):
    return read_recipe(taught_recipe)


@pytest.fixture
def other_recipe(taught_recipe, tmp_path):
    """
    The same recipe with another hash.

    """
    folder = tmp_path / 'other'
    shutil.copytree(taught_recipe, folder)
    with (folder / 'recipe.yaml').open('a') as file:
        file.write('\n# another hash\n')
    return read_recipe(folder)


@pytest.fixture(scope='module')
def good():
    with open_source(f'{SMALL_LINE},defect_rate=0,seed=1,parts=1') as line:
        return line.read().image


@pytest.fixture(scope='module')
def bad():
    with open_source(f'{SMALL_LINE},defect_rate=1,kinds=missing_bore,seed=1,parts=1') as line:
        return line.read().image


# Scores


def test_scores_are_those_of_the_recipe_itself(bench, recipe, good, bad):
    scorer = recipe.frame_scorer()
    for part_id, pixels in ((1, good), (2, bad)):
        bench.line.part(part_id)
        bench.line.image(part_id, pixels)
        scores = bench.scores(part_id)
        expected = {score.scorer: score for score in scorer.score(pixels)}
        assert set(scores) == set(expected) == {'ssim', 'variation'}
        for name, score in scores.items():
            assert score.status == Score.STATUS_OK, score.detail
            assert {m.name: m.value for m in score.measures} == expected[name].measures
            assert [
                (r.x_min, r.y_min, r.x_max, r.y_max, r.area_px, r.peak) for r in score.regions
            ] == [
                (r.x_min, r.y_min, r.x_max, r.y_max, r.area_px, np.float32(r.peak))
                for r in expected[name].regions[:32]
            ]
            assert score.alignment_x_px == expected[name].alignment.x_px
            assert score.alignment_angle_rad == expected[name].alignment.angle_rad
            assert (score.session_id, score.recipe_hash) == ('test', recipe.hash)
            assert nanoseconds_from_stamp(score.header.stamp) == part_id
            assert score.header.frame_id == 'camera'
            assert score.duration_s > 0
    assert any(score.regions for score in bench.scores(2).values())


def test_frame_and_part_join_whichever_comes_first(bench, good):
    bench.line.image(1, good)
    bench.wait(lambda: 1 in bench.node._images)
    bench.line.part(1)
    assert bench.scores(1)['ssim'].status == Score.STATUS_OK
    bench.line.part(2)
    bench.wait(lambda: 2 in bench.node._frames)
    bench.line.image(2, good)
    assert bench.scores(2)['ssim'].status == Score.STATUS_OK


def test_an_image_of_a_best_effort_publisher_is_scored(bench, good):
    bench.line.destroy_publisher(bench.line.image_out)
    bench.line.image_out = bench.line.create_publisher(Image, 'part/image', UNRELIABLE_IMAGE)

    def has_come():
        bench.line.image(1, good)
        return 1 in bench.node._images

    # Until the scorer has seen what the publisher offers.
    bench.wait(has_come)
    bench.line.part(1)
    assert bench.scores(1)['ssim'].status == Score.STATUS_OK


def test_what_never_finds_its_other_half_is_forgotten_and_blocks_nothing(bench, good):
    for part_id in range(1, 71):
        bench.line.part(part_id)
    bench.wait(lambda: 70 in bench.node._frames)
    small = good[:8, :8]
    for part_id in range(101, 111):
        bench.line.image(part_id, small)
        bench.wait(lambda part_id=part_id: part_id in bench.node._images)
    assert len(bench.node._frames) == 64
    assert len(bench.node._images) == 8
    assert bench.node.diagnostic_values()['frames without their part'] == 6 + 2
    bench.line.part(200)
    bench.line.image(200, good)
    assert bench.scores(200)['ssim'].status == Score.STATUS_OK


def test_a_frame_too_old_to_matter_is_not_scored_and_reported(make_bench, good):
    bench = make_bench(max_age_s=30.0).ready()
    bench.line.part(1, age_s=31.0)
    bench.line.image(1, good)
    bench.wait(lambda: bench.node.problem('age'))
    assert 'max_age_s 30 s' in bench.node.problem('age')
    assert bench.node.diagnostic_values()['frames too old to score'] == 1
    bench.line.part(2)
    bench.line.image(2, good)
    bench.scores(2)
    assert [score.part_id for score in bench.line.scores] == [2, 2]
    assert bench.node.problem('age') is None


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'encoding': '64FC1'}, "encoding '64FC1'"),
        ({'data': b'\0' * 100}, 'truncated: 100 bytes'),
        ({'width': 300}, '300'),
    ],
)
def test_an_image_that_is_none_of_ours_is_an_invalid_frame(bench, good, fields, words):
    bench.line.part(1)
    bench.line.image(1, good, **fields)
    for score in bench.scores(1).values():
        assert score.status == Score.STATUS_FRAME_INVALID
        assert words in score.detail
        assert list(score.measures) == list(score.regions) == []
    assert bench.scored_with(2, good)


def test_the_class_that_a_scorer_tells_is_published(bench, good, monkeypatch):
    score = SsimScorer.score
    monkeypatch.setattr(
        SsimScorer,
        'score',
        lambda self, prepared: replace(score(self, prepared), part_class='face two'),
    )
    bench.line.part(1)
    bench.line.image(1, good)
    scores = bench.scores(1)
    assert scores['ssim'].part_class == 'face two'
    assert scores['variation'].part_class == ''


def test_a_scorer_that_fails_says_so_and_the_others_go_on(bench, good, monkeypatch):
    def fail(self, prepared):
        raise ZeroDivisionError('there is no part')

    with monkeypatch.context() as patch:
        patch.setattr(SsimScorer, 'score', fail)
        bench.line.part(1)
        bench.line.image(1, good)
        scores = bench.scores(1)
    assert scores['ssim'].status == Score.STATUS_SCORER_FAILED
    assert scores['ssim'].detail == 'ZeroDivisionError: there is no part'
    assert scores['variation'].status == Score.STATUS_OK
    bench.wait(lambda: 'there is no part' in (bench.node.problem('scorer ssim') or ''))
    bench.line.part(2)
    bench.line.image(2, good)
    assert bench.scores(2)['ssim'].status == Score.STATUS_OK
    bench.wait(lambda: bench.node.problem('scorer ssim') is None)


def test_the_map_is_published_only_while_somebody_looks(bench, bad, monkeypatch):
    calls = []
    publish = bench.node._publish_map
    monkeypatch.setattr(
        bench.node, '_publish_map', lambda *given: (calls.append(given), publish(*given))
    )
    bench.scored_with(1, bad)
    assert calls == []
    maps = bench.line.hear(Image, 'anomaly_map', WATCH_IMAGE)
    bench.wait(lambda: bench.node._anomaly_map.get_subscription_count() == 1)
    bench.scored_with(2, bad)
    bench.wait(lambda: maps)
    assert nanoseconds_from_stamp(maps[0].header.stamp) == 2
    assert maps[0].header.frame_id == 'camera'
    values = float_array_from_image(maps[0])
    assert values.dtype == np.float32
    assert values.shape == bad.shape[:2]
    for score in bench.scores(2).values():
        for region in score.regions:
            box = values[region.y_min : region.y_max, region.x_min : region.x_max]
            assert box.max() > 1
    assert np.median(values) < 1


# Several workers


class Hold:
    """
    Holds the scoring of single frames, which are told by their first pixel.

    """

    def __init__(self, monkeypatch, *marks):
        self.gates = {mark: threading.Event() for mark in marks}
        self.begun = set()
        score = FrameScorer.score

        def held(scorer, image):
            mark = int(image[0, 0].max())
            self.begun.add(mark)
            if mark in self.gates:
                assert self.gates[mark].wait(60)
            return score(scorer, image)

        monkeypatch.setattr(FrameScorer, 'score', held)

    def let_go(self):
        for gate in self.gates.values():
            gate.set()


@pytest.fixture
def hold(monkeypatch):
    holds = []

    def make(*marks):
        holds.append(Hold(monkeypatch, *marks))
        return holds[-1]

    yield make
    for each in holds:
        each.let_go()


def send(bench, part_id, good, **fields):
    """
    Send a part with its frame, which bears the number of the part in its first pixel.

    """
    marked = good.copy()
    marked[0, 0] = part_id
    bench.line.part(part_id, **fields)
    bench.line.image(part_id, marked)


def under_way(bench):
    return [task.frame.part_id for task in bench.node._workers._under_way]


def order(bench):
    return list(dict.fromkeys(score.part_id for score in bench.line.scores))


@pytest.mark.parametrize('workers', [0, 9, 1.5])
def test_a_number_of_workers_that_makes_no_sense_is_refused(ros_context, workers):
    with pytest.raises(SettingError, match=r'workers = .* an integer from 1 to 8'):
        ScorerNode(context=ros_context, parameter_overrides=[Parameter('workers', value=workers)])


def test_scores_come_in_the_order_of_the_frames_whichever_is_ready_first(make_bench, good, hold):
    held = hold(1)
    bench = make_bench(workers=3).ready()
    send(bench, 1, good)
    bench.wait(lambda: 1 in held.begun)
    for part_id in range(2, 6):
        send(bench, part_id, good)
        bench.wait(lambda part_id=part_id: part_id in held.begun)
    assert not bench.line.scores
    held.let_go()
    bench.wait(lambda: len(bench.line.scores) == 10)
    assert [score.part_id for score in bench.line.scores] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_frames_that_wait_across_a_switch_keep_the_recipe_of_their_part(
    make_bench, recipe, other_recipe, good, hold
):
    held = hold(1, 2)
    bench = make_bench(workers=2).ready()
    bench.line.prepare_out.publish(announcement(other_recipe))
    assert bench.answer(other_recipe.hash).is_ready
    for part_id in (1, 2):
        send(bench, part_id, good)
        bench.wait(lambda part_id=part_id: part_id in held.begun)
    send(bench, 3, good)
    bench.wait(lambda: len(bench.node._workers._waiting) == 1)
    bench.line.in_force_out.publish(announcement(other_recipe))
    bench.wait(lambda: bench.node._loaded.recipe.hash == other_recipe.hash)
    send(bench, 4, good)
    bench.wait(lambda: len(bench.node._workers._waiting) == 2)
    held.let_go()
    bench.wait(lambda: len(bench.line.scores) == 8)
    assert order(bench) == [1, 2, 3, 4]
    hashes = {(score.part_id > 3, score.recipe_hash) for score in bench.line.scores}
    assert hashes == {(False, recipe.hash), (True, other_recipe.hash)}


def test_an_error_in_one_worker_costs_one_part(make_bench, good, monkeypatch):
    score = FrameScorer.score

    def fails_once(scorer, image):
        if image[0, 0].max() == 2:
            raise ZeroDivisionError('a bug')
        return score(scorer, image)

    monkeypatch.setattr(FrameScorer, 'score', fails_once)
    bench = make_bench(workers=2).ready()
    for part_id in (1, 2, 3):
        send(bench, part_id, good)
    bench.scores(3)
    assert order(bench) == [1, 3]
    assert 'ZeroDivisionError: a bug' in bench.node.problem('scoring')
    assert 'part is rejected' in bench.node.problem('scoring')


def test_a_worker_that_hangs_costs_its_part_and_is_reported(make_bench, good, hold):
    held = hold(1)
    bench = make_bench(workers=2).ready()
    send(bench, 1, good, age_s=30.0)
    bench.wait(lambda: 1 in held.begun)
    send(bench, 2, good)
    bench.wait(lambda: 2 in held.begun)
    assert bench.set_parameter('max_age_s', 29.0).successful
    bench.scores(2)
    bench.wait(lambda: 'more than max_age_s 29 s' in (bench.node.problem('workers') or ''))
    send(bench, 3, good)
    bench.scores(3)
    assert order(bench) == [2, 3]
    held.let_go()
    bench.wait(lambda: bench.node.problem('workers') is None)


def test_frames_that_come_too_fast_lose_the_oldest_and_say_so(make_bench, good, hold):
    held = hold(1)
    bench = make_bench(workers=1).ready()
    send(bench, 1, good)
    bench.wait(lambda: 1 in held.begun)
    for part_id in range(2, 9):
        send(bench, part_id, good)
        bench.wait(lambda part_id=part_id: part_id in under_way(bench))
    bench.wait(lambda: bench.node._event_counts['frames dropped'] == 2)
    assert 'oldest' in bench.node.problem('queue')
    held.let_go()
    bench.scores(8)
    assert order(bench) == [1, 4, 5, 6, 7, 8]


def test_nothing_is_published_once_the_node_was_stopped_under_load(make_bench, good, hold):
    held = hold(1, 2)
    bench = make_bench(workers=2).ready()
    for part_id in (1, 2, 3, 4):
        send(bench, part_id, good)
    bench.wait(lambda: held.begun >= {1, 2})
    workers = bench.node._workers
    stopping = threading.Thread(target=bench.node.trigger_deactivate, daemon=True)
    stopping.start()
    bench.wait(lambda: bench.node._workers is None or workers._is_closed)
    held.let_go()
    stopping.join(20)
    assert not stopping.is_alive()
    for thread in workers._threads:
        thread.join(20)
        assert not thread.is_alive()
    bench.wait(lambda: 'is not active' in bench.line.answers[-1].error)
    assert not bench.line.scores
    bench.node.trigger_activate()
    bench.wait(lambda: bench.line.answers[-1].is_ready)
    send(bench, 5, good)
    bench.scores(5)
    assert order(bench) == [5]


def test_a_node_stops_though_its_worker_hangs(make_bench, good, hold, monkeypatch):
    monkeypatch.setattr(scorer_node, '_STOP_S', 0.0)
    held = hold(1)
    bench = make_bench(workers=1).ready()
    send(bench, 1, good)
    bench.wait(lambda: 1 in held.begun)
    assert bench.node.trigger_deactivate() == SUCCESS
    bench.wait(lambda: 'is not active' in bench.line.answers[-1].error)
    bench.node.trigger_activate()
    send(bench, 2, good)
    bench.scores(2)
    held.let_go()
    assert order(bench) == [2]


# Which scorers


def test_only_the_scorers_asked_for_run_here(make_bench, good):
    bench = make_bench(scorers=['variation']).ready()
    assert bench.line.answers[-1].scorers == ['variation']
    bench.line.part(1)
    bench.line.image(1, good)
    assert set(bench.scores(1, count=1)) == {'variation'}
    assert bench.node.diagnostic_values()['frames scored'] == 1
    assert len(bench.line.scores) == 1


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'scorers': ['ssim', 'magic']}, ("'magic'", 'ssim', 'variation')),
        ({'recipe': '/nowhere/at/all'}, ('/nowhere/at/all',)),
    ],
)
def test_what_cannot_be_loaded_keeps_the_node_down(make_bench, parameters, words):
    bench = make_bench(**parameters)
    bench.wait(lambda: bench.node.problem('lifecycle'))
    for word in words:
        assert word in bench.node.problem('lifecycle')
    assert not bench.node.is_active
    assert bench.node.count_publishers('score') == 0


# Recipes


def test_without_a_recipe_of_its_own_the_scorer_takes_that_of_the_decider(
    make_bench, recipe, good
):
    bench = make_bench(recipe='').wait_until_active()
    bench.wait(lambda: bench.line.prepare_out.get_subscription_count() == 1)
    bench.wait(lambda: bench.line.count_publishers('score') == 1)
    bench.line.part(1)
    bench.line.image(1, good)
    bench.wait(lambda: bench.node.diagnostic_values()['frames without their part'] == 1)
    assert not bench.line.answers
    bench.line.prepare_out.publish(announcement(recipe))
    bench.wait(lambda: bench.line.answers)
    assert bench.answer(recipe.hash).is_ready
    bench.line.in_force_out.publish(announcement(recipe))
    bench.wait(lambda: bench.node.diagnostic_values()['recipe'] == f'{recipe.name} v1')
    bench.line.part(2)
    bench.line.image(2, good)
    assert set(bench.scores(2)) == {'ssim', 'variation'}
    assert not [score for score in bench.line.scores if score.part_id == 1]


def test_a_prepared_recipe_waits_until_it_is_in_force(bench, recipe, other_recipe, good):
    assert bench.answer(recipe.hash).is_ready
    bench.line.prepare_out.publish(announcement(other_recipe))
    answer = bench.answer(other_recipe.hash)
    assert (answer.is_ready, answer.error) == (True, '')
    assert set(answer.scorers) == {'ssim', 'variation'}
    assert bench.scored_with(1, good) == recipe.hash
    bench.line.in_force_out.publish(announcement(other_recipe))
    bench.wait(lambda: bench.node._loaded.recipe.hash == other_recipe.hash)
    assert bench.scored_with(2, good) == other_recipe.hash


def test_what_was_prepared_is_let_go_of_when_the_switch_fails(bench, recipe, other_recipe):
    bench.line.prepare_out.publish(announcement(other_recipe))
    assert bench.answer(other_recipe.hash).is_ready
    bench.line.prepare_out.publish(announcement(recipe))
    assert bench.answer(recipe.hash).is_ready
    assert bench.node._prepared is None


@pytest.mark.parametrize('topic', ['prepare', 'in_force'])
@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'path': '/nowhere/at/all', 'hash': 'a' * 64}, '/nowhere/at/all'),
        ({'hash': 'b' * 64}, 'not the same files'),
    ],
)
def test_a_recipe_that_is_not_as_announced_leaves_the_old_one_in_force(
    bench, recipe, other_recipe, good, topic, changes, words
):
    publisher = bench.line.prepare_out if topic == 'prepare' else bench.line.in_force_out
    publisher.publish(announcement(other_recipe, **changes))
    answer = bench.answer(changes['hash'])
    assert not answer.is_ready
    assert words in answer.error
    bench.wait(lambda: words in (bench.node.problem('recipe') or ''))
    assert bench.scored_with(1, good) == recipe.hash
    bench.line.prepare_out.publish(announcement(other_recipe))
    assert bench.answer(other_recipe.hash).is_ready
    bench.wait(lambda: bench.node.problem('recipe') is None)


def test_parts_are_scored_while_a_recipe_is_prepared(
    bench, recipe, other_recipe, good, monkeypatch
):
    go_on = threading.Event()

    def slowly(path, parameters):
        assert go_on.wait(60)
        return read_recipe(path)

    monkeypatch.setattr(scorer_node, 'read_within_budget', slowly)
    bench.line.prepare_out.publish(announcement(other_recipe))
    bench.wait(lambda: bench.node._preparing is not None)
    assert bench.scored_with(1, good) == recipe.hash
    bench.line.prepare_out.publish(announcement(replace(other_recipe, hash='c' * 64)))
    answer = bench.answer('c' * 64)
    assert not answer.is_ready
    assert 'still preparing another recipe' in answer.error
    # The node stops meanwhile: it must not say, later, that it is ready.
    stopping = threading.Thread(target=bench.node.trigger_deactivate, daemon=True)
    stopping.start()
    go_on.set()
    stopping.join(20)
    assert not stopping.is_alive()
    bench.wait(lambda: 'is not active' in bench.line.answers[-1].error)
    assert not bench.line.answers[-1].is_ready


def test_a_scorer_that_starts_later_catches_up(ros_context, make_bench, other_recipe, good):
    line = Line(ros_context)
    line.in_force_out.publish(announcement(other_recipe))
    bench = make_bench(line=line).ready()
    assert bench.answer(other_recipe.hash).is_ready
    assert bench.scored_with(1, good) == other_recipe.hash


def test_what_was_latched_before_the_activation_counts(ros_context, make_bench, other_recipe):
    line = Line(ros_context)
    line.prepare_out.publish(announcement(other_recipe))
    bench = make_bench(line=line, autostart=False)
    assert bench.node.trigger_configure() == SUCCESS
    bench.wait(lambda: bench.node._latched)
    assert bench.node.trigger_activate() == SUCCESS
    bench.wait(lambda: line.answers)
    assert bench.answer(other_recipe.hash).is_ready


def test_a_stopped_scorer_says_that_it_is_not_ready(bench, recipe, good):
    bench.node.trigger_deactivate()
    bench.wait(lambda: not bench.line.answers[-1].is_ready)
    assert bench.line.answers[-1].error == 'scorer is not active'
    bench.line.image(1, good)
    bench.node.trigger_activate()
    bench.wait(lambda: bench.line.answers[-1].is_ready)
    assert bench.line.answers[-1].recipe_hash == recipe.hash
    assert bench.scored_with(2, good) == recipe.hash


def test_the_node_goes_through_its_life_twice(make_bench, recipe, good):
    bench = make_bench(autostart=False)
    for part_id in (1, 2):
        assert bench.node.trigger_configure() == SUCCESS
        assert bench.node.trigger_activate() == SUCCESS
        bench.ready()
        assert bench.scored_with(part_id, good) == recipe.hash
        assert bench.node.trigger_deactivate() == SUCCESS
        assert bench.node.trigger_cleanup() == SUCCESS
        bench.wait(lambda: bench.line.part_out.get_subscription_count() == 0)
