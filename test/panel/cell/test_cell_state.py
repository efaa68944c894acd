# SPDX-License-Identifier: Apache-2.0
"""
The state of the panel: messages in whatever order, bounded, counted once.

"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
import json
from zoneinfo import ZoneInfo

import pytest

from anomaly_inspection.errors import SettingError
from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    LimitView,
    MeasureView,
    RegionView,
    ScoreView,
)
from anomaly_inspection.panel.cell.shift_counts import counts_from_json, counts_to_json
from anomaly_inspection.panel.cell.shifts import ShiftTable
from anomaly_inspection.panel.cell.state import CellState
from anomaly_inspection.panel.cell.views import HealthView, RecipeView
from anomaly_inspection.panel.explaining import explained
from anomaly_inspection.panel.frames.hub import Frame, FrameHub, MAP
from anomaly_inspection.panel.words import Words

GOOD = DecisionView(True, 'WITHIN_LIMITS')
BAD = DecisionView(False, 'LIMIT_EXCEEDED')
NOON = 1_800_000_000.0


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
                state.take_decision(key, BAD, NOON)
        part = state.picture().last_part
        assert (part.key, part.time_s, part.scores, part.decision) == (key, 12.5, (score,), BAD)
        assert part.value_of(LimitView('ssim.mse', 60.0, 20.0)) == 70.0


def test_each_part_is_counted_once_and_known_parts_are_not():
    state = CellState()
    state.take_decision(('s', 1), GOOD, NOON)
    state.take_decision(('s', 2), BAD, NOON)
    state.take_decision(('s', 2), BAD, NOON)
    state.take_decision(('s', 3), DecisionView(False, 'CHALLENGE_PART', known_as='bad'), NOON)
    (counts,) = state.picture().counts
    assert (counts.passed, counts.rejected, counts.by_reason) == (1, 1, {'LIMIT_EXCEEDED': 1})


def test_old_parts_are_forgotten_and_counts_stay():
    state = CellState(parts_kept=10)
    for number in range(25):
        state.take_part(('s', number), 0.0)
        state.take_decision(('s', number), GOOD, NOON)
    picture = state.picture()
    assert [part.number for part in picture.parts] == list(range(15, 25))
    assert picture.counts[0].passed == 25
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

    # The browser of other tests keeps an event loop on this thread.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, look()).result()


def test_each_view_has_a_newest_picture_and_those_of_the_leading_one_are_kept():
    async def look():
        hub = FrameHub(views=('top', 'left'))
        with hub.viewer('left') as left, hub.viewer() as leading:
            hub.give(Frame(('s', 1), b'left 1', view='left'))
            hub.give(Frame(('s', 1), b'top 1', view='top'))
            hub.give(Frame(('s', 2), b'left 2', has_passed=False, view='left'))
            assert (await leading.next()).jpeg == b'top 1'
            assert (await left.next()).jpeg == b'left 2'
        assert hub.jpeg_of(('s', 1)) == b'top 1'
        assert hub.jpeg_of(('s', 2)) is None

    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, look()).result()


def test_pictures_of_rejects_are_kept_longer():
    hub = FrameHub(kept=3, rejects_kept=2)
    for number in range(10):
        hub.give(Frame(('s', number), b'%d' % number, has_passed=number % 4 != 0))
    kept = [number for number in range(10) if hub.jpeg_of(('s', number)) is not None]
    assert kept == [4, 7, 8, 9]


def test_plain_frame_and_map_are_kept_and_not_shown_live():
    hub = FrameHub()
    hub.give(Frame(('s', 1), b'marked'))
    hub.give(Frame(('s', 1), b'map', kind=MAP))
    assert hub.newest()[1].jpeg == b'marked'
    assert (hub.jpeg_of(('s', 1)), hub.jpeg_of(('s', 1), MAP)) == (b'marked', b'map')
    assert hub.kinds_of(('s', 1)) == ('marked', 'map')


# ------------------------------------------------------------------------------------- shifts

BERLIN = ZoneInfo('Europe/Berlin')
TABLE = ShiftTable(['06:00 Early', '14:00 Late', '22:00 Night'], 'Europe/Berlin')


def moment(*clock, fold=0):
    return datetime(*clock, tzinfo=BERLIN, fold=fold).timestamp()


@pytest.mark.parametrize(
    ('clock', 'name', 'began'),
    [
        ((2026, 7, 1, 6, 0), 'Early', (2026, 7, 1, 6, 0)),
        ((2026, 7, 1, 5, 59), 'Night', (2026, 6, 30, 22, 0)),
        ((2026, 7, 1, 23, 0), 'Night', (2026, 7, 1, 22, 0)),
        # Daylight saving makes the night an hour longer or shorter.
        ((2026, 10, 25, 5, 59), 'Night', (2026, 10, 24, 22, 0)),
        ((2026, 10, 25, 6, 0), 'Early', (2026, 10, 25, 6, 0)),
        ((2026, 3, 29, 6, 0), 'Early', (2026, 3, 29, 6, 0)),
    ],
)
def test_a_moment_belongs_to_a_shift_by_the_clock_of_the_plant(clock, name, began):
    shift = TABLE.shift_at(moment(*clock))
    assert (shift.name, shift.began_s) == (name, moment(*began))


def test_a_shift_that_begins_in_the_hour_that_is_skipped_or_comes_twice_begins_once():
    table = ShiftTable(['02:30 Odd', '14:00 Late'], 'Europe/Berlin')
    for day in (datetime(2026, 3, 29), datetime(2026, 10, 25)):
        start = day.replace(tzinfo=BERLIN).timestamp()
        shifts = [table.shift_at(start + 600 * step) for step in range(6 * 24)]
        assert len(set(shifts)) == 3
        assert shifts == sorted(shifts, key=lambda shift: shift.began_s)


@pytest.mark.parametrize('texts', [['6:00'], ['24:00 x'], ['06:00 a', '06:00 b'], ['noon']])
def test_a_shift_table_that_makes_no_sense_is_refused(texts):
    with pytest.raises(SettingError, match=r'shift .* is refused'):
        ShiftTable(texts)


@pytest.mark.parametrize('zone', ['Europe/Nowhere', '../etc/passwd', '/etc/localtime'])
def test_an_unknown_time_zone_is_refused(zone):
    with pytest.raises(SettingError, match='time_zone'):
        ShiftTable((), zone)


def test_a_new_shift_counts_anew_and_a_clock_put_back_does_not():
    state = CellState(shifts=TABLE)
    for number, clock in enumerate([(13, 59), (14, 0), (13, 58)]):
        state.take_decision(('s', number), GOOD, moment(2026, 7, 1, *clock))
    counts = state.picture().counts
    assert [(each.shift.name, each.passed) for each in counts] == [('Early', 1), ('Late', 2)]


def test_counts_come_back_from_json():
    state = CellState(shifts=TABLE)
    state.take_decision(('s', 1), BAD, NOON)
    counts = state.picture().counts
    assert counts_from_json(json.loads(json.dumps(counts_to_json(counts)))) == counts
    state = CellState(shifts=TABLE, counts=counts)
    state.take_decision(('s', 2), BAD, NOON + 1)
    assert state.picture().counts[0].by_reason == {'LIMIT_EXCEEDED': 2}


# -------------------------------------------------------------------------------- the reason


@pytest.mark.parametrize(
    ('limit', 'value', 'words'),
    [
        (LimitView('ssim.mse', 50.0, 20.0), 120.0, 'mean squared difference is 2.40 times'),
        (
            LimitView('ssim.mean_ssim', 0.9, 0.97, high_is_bad=False),
            0.8,
            'mean similarity is 0.800, the limit 0.900',
        ),
    ],
)
def test_the_reason_says_how_far_beyond_the_limit_a_measure_is(limit, value, words):
    state = CellState()
    state.set_limits((limit,), are_unsaved=False)
    key = ('s', 1)
    score = ScoreView('ssim', measures=(MeasureView(limit.name, value),))
    state.take_score(key, score)
    state.take_decision(key, DecisionView(False, 'LIMIT_EXCEEDED', worst_measure=limit.name), NOON)
    assert words in explained(state.part(key), Words('en'))


@pytest.mark.parametrize(
    ('box', 'english', 'german'),
    [
        ((0, 0, 40, 20), 'in the upper left', 'oben links'),
        ((300, 0, 320, 20), 'at the top', 'oben'),
        ((600, 470, 640, 480), 'in the lower right', 'unten rechts'),
        ((310, 230, 330, 250), 'in the middle', 'in der Mitte'),
        ((0, 230, 30, 260), 'on the left', 'links'),
        ((0, 0, 640, 20), 'at the top', 'oben'),
        ((20, 20, 620, 460), 'over most of the picture', 'über fast dem ganzen Bild'),
    ],
)
def test_the_reason_says_where_the_worst_region_lies(box, english, german):
    state = CellState()
    limit = LimitView('ssim.mse', 50.0, 20.0)
    state.set_limits((limit,), are_unsaved=False)
    state.set_recipe(RecipeView('pump', 1, '/recipes/pump', 'abc', (640, 480)))
    key = ('s', 1)
    regions = (RegionView(300, 200, 310, 210, 50, 1.1), RegionView(*box, 60, 2.0))
    state.take_score(key, ScoreView('ssim', True, '', (MeasureView(limit.name, 90.0),), regions))
    state.take_decision(key, DecisionView(False, 'LIMIT_EXCEEDED', worst_measure=limit.name), NOON)
    assert f' px, {english}, and 1 more: ' in explained(state.part(key), Words('en'))
    assert f' px, {german} und 1 weitere: ' in explained(state.part(key), Words('de'))


def test_without_the_size_of_the_frame_the_reason_names_no_place():
    state = CellState()
    key = ('s', 1)
    state.take_score(key, ScoreView('ssim', regions=(RegionView(0, 0, 9, 9, 50, 2.0),)))
    state.take_decision(key, DecisionView(False, 'LIMIT_EXCEEDED', worst_measure='ssim.mse'), NOON)
    assert explained(state.part(key), Words('en')).startswith('Small spot, 9 px: ')
