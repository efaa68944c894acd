# SPDX-License-Identifier: Apache-2.0
"""
The drift watch over DDS: what it says of a lamp that ages, and when it says nothing.

"""

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from anomaly_inspection.drift.watch import DriftStatus
from anomaly_inspection.msg import Decision, DriftCause, DriftState
from anomaly_inspection.nodes.drift_watch_node import DriftWatchNode
from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from support.cell_bench import NodeBench
from support.drift_cell import Cell, START_NS, write_watched_recipe
from support.drift_line import AS_TAUGHT, DIRT, LAMP, TaughtLine

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def line():
    return TaughtLine(25)


@pytest.fixture(scope='module')
def watched_recipe(line, tmp_path_factory):
    return write_watched_recipe(line, tmp_path_factory.mktemp('recipes') / 'watched')


@pytest.fixture
def bench(ros_context, watched_recipe):
    bench = NodeBench(DriftWatchNode, Cell(ros_context, watched_recipe), most_parts_per_s=1000.0)
    bench.wait_until_active()
    bench.wait(bench.peer.is_heard)
    yield bench
    bench.close()


def begin(bench):
    bench.peer.bring_into_force()
    bench.wait(lambda: bench.node._loaded is not None)


def feed(bench, line, change, indices, **more):
    """
    Send parts one by one, each when the one before was compared.

    """
    for index in indices:
        frame = line.frame(index, change)
        before = bench.node._loaded.watch.verdict.parts
        bench.peer.part(index, frame, bench.peer.aligner.prepare(frame).alignment, **more)
        bench.wait(lambda before=before: bench.node._loaded.watch.verdict.parts > before)


def test_a_lamp_that_ages_voids_the_promise_in_words_with_a_picture(bench, line):
    bench.wait(lambda: bench.peer.states)
    assert bench.peer.states[-1].state == DriftState.STATE_UNKNOWN
    begin(bench)
    feed(bench, line, AS_TAUGHT, range(1000, 1010))
    bench.wait(lambda: bench.peer.states[-1].state == DriftState.STATE_VALID)
    valid = bench.peer.states[-1]
    assert valid.detail == 'valid'
    assert not valid.is_learned_on_line
    assert valid.recipe_hash == bench.peer.recipe.hash

    feed(bench, line, replace(LAMP, lamp=0.85), range(1010, 1045))

    bench.wait(lambda: bench.peer.states[-1].state == DriftState.STATE_VOID)
    void = bench.peer.states[-1]
    assert [cause.cause for cause in void.causes] == [DriftCause.CAUSE_LIGHT]
    assert void.causes[0].condition == 'light'
    assert void.causes[0].unit == '%'
    assert void.causes[0].change == pytest.approx(-15, abs=4)
    assert void.detail.startswith('void since ')
    assert 'light -1' in void.detail
    assert abs(void.since.sec - START_NS // 10**9 - 1010) <= 3
    sheet = cv2.imdecode(np.frombuffer(bytes(void.picture), np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[1] == 646
    assert 'the false-reject promise is void' in bench.node.problem('drift')


def test_a_second_cause_is_added_to_the_first(bench, line):
    begin(bench)
    feed(bench, line, AS_TAUGHT, range(1000, 1055))
    feed(bench, line, LAMP, range(1055, 1085))
    bench.wait(lambda: bench.peer.states[-1].state == DriftState.STATE_VOID)
    assert [cause.cause for cause in bench.peer.states[-1].causes] == [DriftCause.CAUSE_LIGHT]

    both = replace(LAMP, dirt_share=DIRT.dirt_share, dirt_diameter_px=DIRT.dirt_diameter_px)
    feed(bench, line, both, range(1085, 1120))

    bench.wait(lambda: len(bench.peer.states[-1].causes) == 2)
    state = bench.peer.states[-1]
    # What began first stands first.
    assert [cause.cause for cause in state.causes] == [
        DriftCause.CAUSE_LIGHT,
        DriftCause.CAUSE_DIRT,
    ]
    assert state.causes[0].since.sec < state.causes[1].since.sec
    assert 'light -' in state.detail
    assert 'one place of the picture' in state.detail
    # The log and the diagnostics tell the same sentence.
    assert state.detail in bench.node.problem('drift')


def test_parts_of_a_challenge_and_of_another_recipe_do_not_count(bench, line):
    begin(bench)
    feed(bench, line, AS_TAUGHT, [1000])
    frame = line.frame(1001)
    alignment = bench.peer.aligner.prepare(frame).alignment

    bench.peer.part(1001, frame, alignment, known_as=Decision.KNOWN_AS_GOOD)
    bench.peer.recipe, recipe = replace(bench.peer.recipe, hash='another'), bench.peer.recipe
    bench.peer.part(1002, frame, alignment)
    bench.peer.recipe = recipe
    feed(bench, line, AS_TAUGHT, [1003])

    assert bench.node._loaded.watch.verdict.parts == 2


def test_a_recipe_of_an_older_version_is_learned_on_the_line(bench, line, tmp_path):
    recipe = write_recipe(replace(bench.peer.recipe, conditions={}), tmp_path / 'older')
    assert read_recipe(tmp_path / 'older').conditions == {}
    bench.peer.recipe = recipe
    begin(bench)

    feed(bench, line, AS_TAUGHT, [1000])

    bench.wait(lambda: bench.peer.states[-1].state == DriftState.STATE_LEARNING)
    assert bench.peer.states[-1].is_learned_on_line
    assert '1 so far' in bench.peer.states[-1].detail


def test_a_recipe_that_cannot_be_read_is_said_in_the_diagnostics(bench):
    bench.peer.recipe = replace(bench.peer.recipe, path='/nowhere', hash='0' * 64)
    bench.peer.bring_into_force()

    bench.wait(lambda: bench.node.problem('recipe'))

    assert 'drift is not watched' in bench.node.problem('recipe')
    assert DriftStatus.UNKNOWN == DriftState.STATE_UNKNOWN
