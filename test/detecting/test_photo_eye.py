# SPDX-License-Identifier: Apache-2.0
"""
Photo eye and frame choice: one part an edge, one frame a part, and words where there is none.

"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest

from anomaly_inspection.detecting.frame_choice import Choice, FrameChoice, Moment
from anomaly_inspection.detecting.photo_eye import PhotoEye


def parts_of(signals: list[tuple[float, bool]], part_interval_s: float = 0.1) -> list[float]:
    eye = PhotoEye(part_interval_s)
    return [now_s for now_s, is_covered in signals if eye.begins_part(is_covered, now_s)]


def test_a_part_begins_when_the_beam_is_broken() -> None:
    signals = [(0.0, False), (1.0, True), (1.2, False), (2.0, True), (2.1, True), (2.2, False)]
    assert parts_of(signals) == [1.0, 2.0]


def test_a_beam_that_is_broken_from_the_start_is_no_part() -> None:
    assert parts_of([(0.0, True), (1.0, False), (2.0, True)]) == [2.0]


def test_chatter_is_one_part_and_is_counted() -> None:
    eye = PhotoEye(0.1)
    eye.begins_part(False, 0.0)
    begun = [eye.begins_part(bool(number % 2), 1 + 0.01 * number) for number in range(1, 10)]
    assert begun == [True, *[False] * 8]
    assert eye.chatter_count == 4
    assert eye.last_chatter_s == pytest.approx(1.09)
    eye.begins_part(False, 1.2)
    assert eye.begins_part(True, 1.3)


def test_it_knows_since_when_the_beam_has_been_broken() -> None:
    eye = PhotoEye(0.1)
    assert eye.covered_since_s is None
    for now_s in (3.0, 4.0):
        eye.begins_part(True, now_s)
    assert eye.covered_since_s == 3.0
    eye.begins_part(False, 5.0)
    assert eye.covered_since_s is None


# Frames are named by their exposure.


def choice_with(*exposures_s: float, waiting: int = 8) -> FrameChoice[float]:
    choice: FrameChoice[float] = FrameChoice(tolerance_s=0.2, waiting=waiting)
    for exposure_s in exposures_s:
        assert choice.take(exposure_s, exposure_s) == []
    return choice


def test_the_nearest_frame_is_given_as_soon_as_none_nearer_can_come() -> None:
    choice = choice_with(1.0)
    assert choice.want(Moment(1.06)) == []
    assert choice.take(1.1, 1.1) == [Choice(Moment(1.06), 1.1)]
    assert choice.want(Moment(1.02)) == [Choice(Moment(1.02), 1.0)], 'known already'


def test_a_frame_from_before_will_not_do_where_the_moment_is_the_earliest() -> None:
    choice = choice_with(1.0)
    moment = Moment(1.01, is_earliest=True)
    assert choice.want(moment) == []
    assert choice.take(1.15, 1.15) == [Choice(moment, 1.15)]


def test_no_frame_is_given_twice() -> None:
    choice = choice_with(1.0, 1.1)
    moments = [Moment(1.09), Moment(1.08), Moment(1.07)]
    frames = [given.frame for moment in moments for given in choice.want(moment)]
    assert frames == [1.1, 1.0, None]


def test_without_a_frame_in_time_the_part_gets_none_and_words() -> None:
    choice = choice_with(1.0)
    choice.want(Moment(1.5))
    assert choice.tick(1.69) == []
    (given,) = choice.tick(1.71)
    assert given.frame is None
    assert given.problem == 'no frame within 0.2 s of the part: the nearest is 0.500 s off'
    choice = choice_with()
    choice.want(Moment(1.0))
    (given,) = choice.tick(9.0)
    assert given.problem == 'no frame within 0.2 s of the part: there is none'


def test_the_frame_before_serves_when_the_one_behind_does_not_come() -> None:
    choice = choice_with(1.0)
    choice.want(Moment(1.1))
    assert choice.tick(1.31) == [Choice(Moment(1.1), 1.0)]


def test_too_many_waiting_moments_are_refused_with_words() -> None:
    choice = choice_with(waiting=2)
    assert choice.want(Moment(5.0)) == choice.want(Moment(6.0)) == []
    (refused,) = choice.want(Moment(7.0))
    assert refused.problem == '2 parts wait for their frames, no more can wait'
    assert [given.problem for given in choice.give_up('stopped')] == ['stopped'] * 2
    assert choice.waiting_count == 0


@given(
    st.lists(st.tuples(st.sampled_from('fmt'), st.floats(0.001, 0.3)), max_size=60),
    st.booleans(),
)
def test_every_moment_gets_exactly_one_choice(
    events: list[tuple[str, float]], is_earliest: bool
) -> None:
    choice = choice_with()
    wanted, given, now_s = [], [], 0.0
    for kind, step_s in events:
        now_s += step_s
        if kind == 'f':
            given += choice.take(now_s, now_s)
        elif kind == 'm':
            wanted.append(Moment(now_s + 0.1, is_earliest))
            given += choice.want(wanted[-1])
        else:
            given += choice.tick(now_s)
    given += choice.tick(now_s + 10)
    assert sorted(each.moment.at_s for each in given) == [moment.at_s for moment in wanted]
    frames = [each.frame for each in given if each.frame is not None]
    assert len(frames) == len(set(frames))
    for each in given:
        assert (each.frame is None) == bool(each.problem)
        assert each.frame is None or abs(each.frame - each.moment.at_s) <= 0.2
