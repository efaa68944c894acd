# SPDX-License-Identifier: Apache-2.0
"""
The station that is told by a call: which frames become which part.

"""

from __future__ import annotations

from anomaly_inspection.detecting.frame_choice import Moment
from anomaly_inspection.detecting.part_cutter import Cut
from anomaly_inspection.detecting.requested_station import RequestedStationCutter


def station(interval_s: float = 0.1, frames: int = 3) -> RequestedStationCutter[str]:
    return RequestedStationCutter(0.2, interval_s, frames)


def test_a_call_takes_the_next_frames_in_their_interval_and_none_from_before() -> None:
    cutter = station()
    assert cutter.take('before', 0.9) == []
    moment = Moment(1.0, is_earliest=True)
    assert cutter.want(moment) == []
    assert cutter.take('on its way', 0.99) == []
    assert cutter.take('a', 1.02) == [Cut(('a',), is_complete=False, moment=moment)]
    assert cutter.take('too soon', 1.1) == []
    assert cutter.take('b', 1.15) == [Cut(('a', 'b'), is_new=False, is_complete=False)]
    assert cutter.take('c', 1.3) == [
        Cut(('a', 'b', 'c'), is_new=False, is_complete=False),
        Cut(('a', 'b', 'c'), is_new=False, is_complete=True),
    ]
    assert cutter.take('after', 1.5) == cutter.tick(9.0) == cutter.give_up('stopped') == []


def test_a_station_of_one_frame_is_complete_with_it() -> None:
    cutter = station(frames=1)
    moment = Moment(1.0)
    cutter.want(moment)
    assert cutter.take('a', 1.1) == [Cut(('a',), moment=moment)]
    assert cutter.take('b', 1.3) == []


def test_a_newer_call_ends_the_part_and_shares_no_frame_with_it() -> None:
    cutter = station()
    first, second = Moment(1.0), Moment(1.05)
    cutter.want(first)
    cutter.take('a', 1.01)
    assert cutter.want(second) == [Cut(('a',), is_new=False)]
    assert cutter.take('b', 1.04) == []
    assert cutter.take('c', 1.06) == [Cut(('c',), is_complete=False, moment=second)]


def test_frames_that_do_not_come_end_the_part() -> None:
    cutter = station()
    moment = Moment(1.0)
    cutter.want(moment)
    assert cutter.tick(1.1) == []
    (cut,) = cutter.tick(1.3)
    assert (cut.frames, cut.moment) == ((), moment)
    assert cut.problem == 'no frame within 0.2 s of the call'
    cutter.want(Moment(2.0))
    cutter.take('a', 2.0)
    assert cutter.tick(2.25) == [], 'the next frame is due 0.1 s after the first'
    assert cutter.tick(2.35) == [Cut(('a',), is_new=False)]
    cutter.want(Moment(3.0))
    (cut,) = cutter.give_up('the part detector was stopped')
    assert cut.problem == 'the part detector was stopped'
