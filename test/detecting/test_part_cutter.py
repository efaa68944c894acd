# SPDX-License-Identifier: Apache-2.0
"""
Cutters: which frames become which part, and what a cutter warns of.

"""

from __future__ import annotations

import numpy as np

from anomaly_inspection.detecting.frame_choice import Moment
from anomaly_inspection.detecting.part_cutter import (
    BeltCutter,
    Cut,
    EveryFrameCutter,
    MomentCutter,
    StationCutter,
)
from anomaly_inspection.detecting.passage import PassageTracker, StationTracker
from anomaly_inspection.detecting.photo_eye import PhotoEye
from anomaly_inspection.detecting.presence import PresenceDetector, PresenceSettings

EMPTY = np.full((60, 80), 90, np.uint8)
PRESENT = EMPTY.copy()
PRESENT[15:45, 25:55] = 200


def detector() -> PresenceDetector:
    return PresenceDetector(PresenceSettings(smallest_part_px=10))


def test_every_frame_is_a_part() -> None:
    cutter: EveryFrameCutter[str] = EveryFrameCutter()
    assert cutter.take('a', 1.0) == [Cut(('a',))]
    assert cutter.take('b', 1.1) == [Cut(('b',))]
    assert cutter.tick(9.0) == cutter.give_up('stopped') == []


def test_an_edge_takes_the_frame_nearest_to_it_after_the_delay() -> None:
    cutter: MomentCutter[str] = MomentCutter(0.2, PhotoEye(0.1), eye_to_frame_s=0.5)
    assert cutter.take_eye(False, 1.0) == cutter.take_eye(True, 2.0) == []
    assert cutter.take('early', 2.4) == []
    assert cutter.waiting_count == 1
    (cut,) = cutter.take('late', 2.55)
    assert (cut.frames, cut.problem, cut.moment) == (('late',), '', Moment(2.5))


def test_a_moment_without_a_frame_is_a_part_with_a_problem() -> None:
    cutter: MomentCutter[str] = MomentCutter(0.2)
    moments = [Moment(1.0), Moment(5.0)]
    assert cutter.want(moments[0]) == cutter.want(moments[1]) == []
    (late,) = cutter.tick(1.3)
    assert (late.frames, late.moment) == ((), moments[0])
    assert late.problem.startswith('no frame within 0.2 s of the part')
    (stopped,) = cutter.give_up('the part detector was stopped')
    assert (stopped.problem, stopped.moment) == ('the part detector was stopped', moments[1])


def test_a_photo_eye_that_chatters_or_stays_covered_is_a_warning() -> None:
    cutter: MomentCutter[str] = MomentCutter(0.2, PhotoEye(10.0))
    for now_s, is_covered in ((0.0, False), (1.0, True), (1.1, False), (1.2, True)):
        cutter.take_eye(is_covered, now_s)
    assert 'part_interval_s 10 s' in cutter.warnings(2.0, 5.0)['chatter']
    assert cutter.warnings(2.0, 5.0)['stuck'] == ''
    assert 'the photo eye has been covered for more than 5 s' in cutter.warnings(7.0, 5.0)['stuck']
    assert cutter.warnings(12.0, 50.0) == {'chatter': '', 'stuck': ''}
    assert cutter.figures()['edges ignored as chatter'] == 1


def test_a_part_on_a_belt_that_stands_is_given_once_and_then_warned_of() -> None:
    cutter: BeltCutter[str] = BeltCutter(detector(), PassageTracker(0.2))
    for number in range(20):
        assert cutter.take('empty', 0.1 * number, EMPTY) == []
    assert cutter.take('part', 2.0, PRESENT) + cutter.tick(2.3) == [Cut(('part',))]
    assert cutter.take('again', 2.4, PRESENT) == cutter.tick(9.0) == cutter.give_up('') == []
    assert 'the trigger column' in cutter.warnings(9.0, 5.0)['stuck']


def test_a_held_part_grows_frame_by_frame_and_is_completed() -> None:
    cutter: StationCutter[str] = StationCutter(detector(), StationTracker(0.0, 2))
    for number in range(20):
        cutter.take('empty', 0.1 * number, EMPTY)
    assert cutter.take('comes', 2.0, PRESENT) == [], 'it must be at rest first'
    assert cutter.take('a', 2.1, PRESENT) == [Cut(('a',), is_complete=False)]
    assert cutter.take('b', 2.2, PRESENT) == [Cut(('a', 'b'), is_new=False, is_complete=False)]
    assert cutter.take('too many', 2.3, PRESENT) == cutter.take('empty', 2.4, EMPTY) == []
    assert cutter.take('empty', 2.5, EMPTY) == [Cut(('a', 'b'), is_new=False)]
    assert cutter.give_up('stopped') == []
