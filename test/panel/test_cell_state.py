# SPDX-License-Identifier: Apache-2.0
"""
The state of the panel: messages in whatever order, bounded, counted once.

"""

import asyncio

from anomaly_inspection.panel.cell_state import (
    CellState,
    DecisionView,
    HealthView,
    LimitView,
    MeasureView,
    ScoreView,
)
from anomaly_inspection.panel.frame_hub import Frame, FrameHub

GOOD = DecisionView(True, 'WITHIN_LIMITS')
BAD = DecisionView(False, 'LIMIT_EXCEEDED')


def test_a_part_joins_its_messages_whatever_comes_first():
    state = CellState()
    score = ScoreView('ssim', measures=(MeasureView('ssim.mse', 70.0),))
    for order in (('decision', 'score', 'part'), ('part', 'score', 'decision')):
        key = ('session', 1 + len(state.picture().parts))
        for what in order:
            if what == 'part':
                state.take_part(key, 12.5, 'a.png')
            elif what == 'score':
                state.take_score(key, score)
            else:
                state.take_decision(key, BAD)
        part = state.picture().last_part
        assert (part.key, part.time_s, part.scores, part.decision) == (key, 12.5, (score,), BAD)
        assert part.value_of(LimitView('ssim.mse', 60.0, 20.0)) == 70.0


def test_each_part_is_counted_once_and_known_parts_are_not():
    state = CellState()
    state.take_decision(('s', 1), GOOD)
    state.take_decision(('s', 2), BAD)
    state.take_decision(('s', 2), BAD)
    state.take_decision(('s', 3), DecisionView(False, 'CHALLENGE_PART', known_as='bad'))
    counts = state.picture().counts
    assert (counts.passed, counts.rejected, counts.by_reason) == (1, 1, {'LIMIT_EXCEEDED': 1})


def test_old_parts_are_forgotten_and_counts_stay():
    state = CellState(parts_kept=10)
    for number in range(25):
        state.take_part(('s', number), 0.0)
        state.take_decision(('s', number), GOOD)
    picture = state.picture()
    assert [part.number for part in picture.parts] == list(range(15, 25))
    assert picture.counts.passed == 25
    assert state.part(('s', 3)) is None


def test_a_silent_node_becomes_stale_and_well_again():
    state = CellState()
    state.set_health([HealthView('camera', '', 'ok', 'active', heard_s=100.0)])
    state.mark_stale(104.0, after_s=5.0)
    assert state.picture().health[0].level == 'ok'
    state.mark_stale(106.0, after_s=5.0)
    assert state.picture().health[0].level == 'stale'
    state.set_health([HealthView('camera', '', 'ok', 'active', heard_s=107.0)])
    assert state.picture().health[0].level == 'ok'


def test_a_heartbeat_without_news_is_no_change():
    state = CellState()
    state.set_health([HealthView('camera', '', 'ok', 'active', heard_s=1.0)])
    revision = state.revision
    state.set_health([HealthView('camera', '', 'ok', 'active', heard_s=2.0)])
    assert state.revision == revision
    state.mark_stale(6.5, after_s=5.0)
    assert state.picture().health[0].level == 'ok'


def test_a_slow_viewer_gets_the_newest_picture_and_misses_the_others():
    async def look():
        hub = FrameHub()
        with hub.viewer() as slow, hub.viewer() as quick:
            seen = []
            for number in range(1, 6):
                hub.give(Frame(('s', number), b'%d' % number))
                seen.append((await quick.next()).key[1])
            assert seen == [1, 2, 3, 4, 5]
            assert (await slow.next()).key[1] == 5
            waiting = asyncio.ensure_future(slow.next())
            await asyncio.sleep(0)
            assert not waiting.done()
            hub.give(Frame(('s', 6), b'6'))
            assert (await waiting).key[1] == 6
            assert hub.viewer_count == 2
        assert hub.viewer_count == 0

    asyncio.run(look())


def test_pictures_of_rejects_are_kept_longer():
    hub = FrameHub(kept=3, rejects_kept=2)
    for number in range(10):
        hub.give(Frame(('s', number), b'%d' % number, has_passed=number % 4 != 0))
    kept = [number for number in range(10) if hub.jpeg_of(('s', number)) is not None]
    assert kept == [4, 7, 8, 9]
