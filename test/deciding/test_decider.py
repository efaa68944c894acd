# SPDX-License-Identifier: Apache-2.0
"""
Decider: exactly one decision for each part, in time, whatever comes in whatever order.

"""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product
import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, RuleBasedStateMachine
import pytest

from anomaly_inspection.deciding.decider import (
    Decider,
    DeciderSettings,
    PartDecision,
    PartSeen,
    ScoreReceived,
    StationSettings,
    Terms,
)
from anomaly_inspection.deciding.frame_judge import Combination, Reason, Verdict
from anomaly_inspection.deciding.limits import Limit, LimitOrigin, LimitTable
from anomaly_inspection.errors import LimitError, SettingError
from anomaly_inspection.scoring.measure import BadSide

KEY = ('session', 1)
DEADLINE_S = 0.2
HASH = 'a' * 64
OTHER_HASH = 'b' * 64
LIMITS = LimitTable(
    (
        Limit('ssim', 'mse', 60.0, BadSide.HIGH, 20.0),
        Limit('variation', 'z', 60.0, BadSide.HIGH, 20.0),
    )
)
TERMS = Terms('pump', 3, HASH, LIMITS, Combination.ANY)
MEASURE = {'ssim': 'mse', 'variation': 'z'}
STATION = StationSettings(frames=3, required_passes=2)


def decider(terms: Terms | None = TERMS, **options: object) -> Decider:
    made = Decider(DeciderSettings(deadline_s=DEADLINE_S, **options))  # type: ignore[arg-type]
    if terms is not None:
        made.recipe_switched(terms)
    return made


def part(
    number: int = 1,
    *,
    frames: int = 1,
    exposure_s: float = 0.0,
    problems: dict[int, str] | None = None,
    is_complete: bool = True,
) -> PartSeen:
    stamps_ns = tuple(1000 * number + i for i in range(frames))
    texts = tuple((problems or {}).get(i, '') for i in range(frames))
    return PartSeen(('session', number), stamps_ns, texts, is_complete, exposure_s)


def score(scorer: str, value: float = 30.0, number: int = 1, frame: int = 0) -> ScoreReceived:
    measures = {MEASURE[scorer]: value} if scorer in MEASURE else {}
    return ScoreReceived(('session', number), 1000 * number + frame, scorer, 1, '', HASH, measures)


def one(decisions: list[PartDecision]) -> PartDecision:
    assert len(decisions) == 1
    return decisions[0]


def reason(decisions: list[PartDecision]) -> Reason:
    return one(decisions).judgement.reason


def test_part_passes_when_every_required_scorer_says_so() -> None:
    cell = decider()
    assert cell.part_seen(part(), 0.01) == []
    assert cell.score_received(score('ssim'), 0.02) == []
    decision = one(cell.score_received(score('variation', 40.0), 0.03))
    assert decision.judgement.verdict is Verdict.PASS
    assert (
        decision.judgement.comparison == 'ssim.mse 30.0 <= 60.0, variation.z 40.0 <= 60.0 -> PASS'
    )
    assert decision.judgement.anomaly_score == pytest.approx(0.5)
    assert (decision.key, decision.stamp_ns, decision.exposure_s) == (KEY, 1000, 0.0)
    assert decision.terms is TERMS
    assert cell.flush(1.0) == []
    assert cell.counts.passed == 1


def test_comparison_says_how_far_a_part_lies_beyond_what_was_taught() -> None:
    cell = decider()
    cell.part_seen(part(), 0.01)
    remark = 'moved 14 px, taught for 10'
    cell.score_received(replace(score('ssim', 70.0), detail=remark), 0.02)
    found = cell.score_received(replace(score('variation', 40.0), detail=remark), 0.03)
    assert one(found).judgement.comparison == (
        'ssim.mse 70.0 > 60.0, variation.z 40.0 <= 60.0 -> REJECT (moved 14 px, taught for 10)'
    )


def test_limit_exceeded_waits_so_that_the_comparison_is_complete() -> None:
    cell = decider()
    cell.part_seen(part(), 0.01)
    assert cell.score_received(score('ssim', 70.0), 0.02) == []
    judgement = one(cell.score_received(score('variation'), 0.03)).judgement
    assert judgement.reason is Reason.LIMIT_EXCEEDED
    assert judgement.comparison == 'ssim.mse 70.0 > 60.0, variation.z 30.0 <= 60.0 -> REJECT'


SCORES = {
    'good': (lambda s: s, None),
    'bad': (lambda s: replace(s, measures={MEASURE[s.scorer]: 70.0}), None),
    'nan': (lambda s: replace(s, measures={MEASURE[s.scorer]: math.nan}), None),
    'hash': (lambda s: replace(s, recipe_hash=OTHER_HASH), Reason.RECIPE_MISMATCH),
    'failed': (lambda s: replace(s, status=4, detail='broke'), Reason.SCORE_INVALID),
    'tilted': (lambda s: replace(s, status=3, detail='12 of 40'), Reason.NOT_ALIGNED),
}


def expected_reason(order: tuple[str, ...], kinds: dict[str, str], problem: str) -> Reason:
    """
    Say what a part must come to, from the rules alone.

    """
    end = max(order.index('part'), order.index('deadline'))
    in_time = [name for name in order[:end] if name in kinds]
    if problem:
        return Reason.FRAME_INVALID
    for name in in_time:
        at_once = SCORES[kinds[name]][1]
        if at_once is not None:
            return at_once
    found = {kinds[name] for name in in_time}
    if len(in_time) == 2 and 'nan' in found:
        return Reason.SCORE_INVALID
    if len(in_time) == 2 and 'bad' in found:
        return Reason.LIMIT_EXCEEDED
    is_known_in_time = order.index('part') < order.index('deadline')
    if len(in_time) == 2 and is_known_in_time:
        return Reason.WITHIN_LIMITS
    return Reason.TIMEOUT


@pytest.mark.parametrize('order', list(permutations(['part', 'ssim', 'variation', 'deadline'])))
def test_every_order_of_events_gives_the_one_right_decision(order: tuple[str, ...]) -> None:
    for ssim, variation, problem in product(SCORES, SCORES, ['', 'truncated']):
        kinds = {'ssim': ssim, 'variation': variation}
        cell = decider()
        decisions: list[PartDecision] = []
        late = order.index('deadline')
        for place, name in enumerate(order):
            now = 0.01 * place if place < late else DEADLINE_S + 0.01 * (place - late)
            if name == 'part':
                decisions += cell.part_seen(part(problems={0: problem}), now)
            elif name == 'deadline':
                decisions += cell.tick(now)
            else:
                decisions += cell.score_received(SCORES[kinds[name]][0](score(name)), now)
        # Everything once more, and much later: nothing may come of it.
        for now in (0.5, 20.0):
            again = cell.part_seen(part(), now)
            again += cell.score_received(score('ssim'), now)
            again += cell.score_received(score('variation'), now)
            assert again + cell.tick(now) + cell.flush(now) == []
        expected = expected_reason(order, kinds, problem)
        assert reason(decisions) is expected, (order, kinds, problem)
        is_pass = expected is Reason.WITHIN_LIMITS
        assert (decisions[0].judgement.verdict is Verdict.PASS) == is_pass


# The rows of the fail-safe table.


def test_row_frame_invalid_says_the_numbers() -> None:
    cell = decider()
    seen = part(problems={0: '640x479, expected 640x480'})
    judgement = one(cell.part_seen(seen, 0.01)).judgement
    assert judgement.reason is Reason.FRAME_INVALID
    assert judgement.comparison == '640x479, expected 640x480 -> REJECT'
    cell.part_seen(part(2), 0.01)
    black = replace(score('ssim', number=2), status=2, detail='black: mean 0.1', measures={})
    assert reason(cell.score_received(black, 0.02)) is Reason.FRAME_INVALID


def test_row_not_aligned() -> None:
    cell = decider()
    cell.part_seen(part(), 0.01)
    lost = replace(score('ssim'), status=3, detail='confidence 0.2, at least 0.6', measures={})
    judgement = one(cell.score_received(lost, 0.02)).judgement
    assert judgement.reason is Reason.NOT_ALIGNED
    assert judgement.comparison == 'ssim: confidence 0.2, at least 0.6 -> REJECT'


def test_row_timeout_names_the_missing_scorer_at_the_deadline_and_not_before() -> None:
    cell = decider()
    cell.part_seen(part(exposure_s=5.0), 5.01)
    cell.score_received(score('ssim'), 5.02)
    assert cell.tick(math.nextafter(5.0 + DEADLINE_S, 0.0)) == []
    judgement = one(cell.tick(5.0 + DEADLINE_S)).judgement
    assert judgement.reason is Reason.TIMEOUT
    assert judgement.comparison == 'no score of variation within 0.2 s -> REJECT'


def test_row_timeout_even_when_the_score_itself_brings_the_news() -> None:
    cell = decider()
    cell.part_seen(part(), 0.0)
    cell.score_received(score('ssim'), 0.01)
    assert reason(cell.score_received(score('variation'), DEADLINE_S)) is Reason.TIMEOUT
    assert cell.counts.scores_after_decision == 1


def test_row_repeated_timeout_is_a_fault_until_a_part_is_scored() -> None:
    cell = decider(timeouts_to_fault=3)
    for number in (1, 2, 3):
        assert cell.fault_reason == ''
        cell.part_seen(part(number, exposure_s=number), number)
        cell.score_received(score('ssim', number=number), number)
        cell.tick(number + 0.5)
    assert cell.fault_reason == (
        '3 parts in a row timed out, the last: no score of variation within 0.2 s'
    )
    # A broken frame is no sign of life of the scorers.
    cell.part_seen(part(4, exposure_s=4.0, problems={0: 'truncated'}), 4.0)
    assert cell.fault_reason
    # Nor is a score that is none.
    cell.score_received(score('variation', number=6), 4.0)
    cell.score_received(replace(score('ssim', number=6), status=4), 4.0)
    cell.part_seen(part(6, exposure_s=4.0), 4.0)
    assert cell.fault_reason
    cell.part_seen(part(5, exposure_s=5.0), 5.0)
    cell.score_received(score('ssim', number=5), 5.0)
    cell.score_received(score('variation', 99.0, number=5), 5.0)
    assert cell.fault_reason == ''


@pytest.mark.parametrize('way', ['reset', 'recipe'])
def test_fault_can_be_cleared_while_no_part_comes(way: str) -> None:
    cell = decider(timeouts_to_fault=1)
    cell.part_seen(part(), 0.0)
    cell.tick(1.0)
    assert cell.fault_reason
    if way == 'reset':
        cell.reset_fault()
    else:
        cell.recipe_switched(TERMS)
    assert cell.fault_reason == ''


def test_timeouts_that_are_not_in_a_row_are_no_fault() -> None:
    cell = decider(timeouts_to_fault=2)
    for number in range(1, 10):
        cell.part_seen(part(number, exposure_s=number), number)
        cell.score_received(score('ssim', number=number), number)
        if number % 2:
            cell.score_received(score('variation', number=number), number)
        cell.tick(number + 0.5)
        assert cell.fault_reason == ''


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
def test_row_score_invalid(value: float) -> None:
    cell = decider()
    cell.part_seen(part(), 0.0)
    cell.score_received(score('ssim', value), 0.01)
    assert reason(cell.score_received(score('variation'), 0.02)) is Reason.SCORE_INVALID


@pytest.mark.parametrize('status', [0, 4, 5, 255])
def test_row_score_invalid_for_a_status_that_is_not_ok(status: int) -> None:
    cell = decider()
    cell.part_seen(part(), 0.0)
    broken = replace(score('ssim'), status=status)
    assert reason(cell.score_received(broken, 0.01)) is Reason.SCORE_INVALID


@pytest.mark.parametrize('recipe_hash', [OTHER_HASH, ''])
def test_row_recipe_mismatch(recipe_hash: str) -> None:
    cell = decider()
    cell.part_seen(part(), 0.0)
    foreign = replace(score('ssim'), recipe_hash=recipe_hash)
    assert reason(cell.score_received(foreign, 0.01)) is Reason.RECIPE_MISMATCH


def test_row_recipe_switch_falls_between_two_parts() -> None:
    cell = decider()
    cell.part_seen(part(1), 0.0)
    cell.recipe_switched(replace(TERMS, recipe_hash=OTHER_HASH))
    cell.part_seen(part(2), 0.0)
    cell.score_received(score('ssim', number=1), 0.01)
    assert reason(cell.score_received(score('variation', number=1), 0.02)) is Reason.WITHIN_LIMITS
    old = score('ssim', number=2)
    assert reason(cell.score_received(old, 0.03)) is Reason.RECIPE_MISMATCH


def test_row_limits_act_on_the_next_part() -> None:
    cell = decider()
    cell.part_seen(part(1), 0.0)
    cell.limits_changed(LIMITS.changed({('ssim', 'mse'): 25.0}, LimitOrigin.RUNTIME))
    cell.part_seen(part(2), 0.0)
    for number, expected in ((1, Reason.WITHIN_LIMITS), (2, Reason.LIMIT_EXCEEDED)):
        cell.score_received(score('ssim', number=number), 0.01)
        decisions = cell.score_received(score('variation', number=number), 0.01)
        assert reason(decisions) is expected


def test_row_no_recipe_rejects_and_takes_no_limits() -> None:
    cell = decider(terms=None)
    decision = one(cell.part_seen(part(), 0.0))
    assert decision.judgement.reason is Reason.NOT_READY
    assert decision.terms is None
    with pytest.raises(LimitError, match='before a recipe is in force'):
        cell.limits_changed(LIMITS)


def test_row_late_duplicate_or_unknown_scores_change_nothing() -> None:
    cell = decider()
    cell.part_seen(part(), 0.0)
    cell.score_received(score('ssim', 99.0), 0.01)
    cell.score_received(score('ssim', 30.0), 0.02)
    cell.score_received(score('template'), 0.02)
    cell.score_received(score('ssim', frame=7), 0.02)
    decisions = cell.score_received(score('variation'), 0.03)
    assert reason(decisions) is Reason.LIMIT_EXCEEDED
    cell.score_received(score('ssim', 30.0), 0.04)
    assert cell.counts.scores_duplicate == 1
    assert cell.counts.scores_unknown == 2
    assert cell.counts.scores_after_decision == 1


def test_decider_that_stops_rejects_what_is_undecided() -> None:
    cell = decider()
    cell.part_seen(part(1), 0.0)
    cell.part_seen(part(2), 0.0)
    decisions = cell.flush(0.01)
    assert [d.judgement.reason for d in decisions] == [Reason.NOT_READY] * 2
    assert cell.flush(0.02) == []


# Parts of more than one frame, belt mode.


def test_one_view_beyond_its_limit_rejects_the_part() -> None:
    cell = decider()
    cell.part_seen(part(frames=2), 0.0)
    for scorer, frame in product(MEASURE, (0, 1)):
        bad = scorer == 'ssim' and frame == 1
        decisions = cell.score_received(score(scorer, 70.0 if bad else 30.0, frame=frame), 0.01)
    judgement = one(decisions).judgement
    assert judgement.reason is Reason.LIMIT_EXCEEDED
    assert judgement.comparison == (
        'frame 2: ssim.mse 70.0 > 60.0, variation.z 30.0 <= 60.0 -> REJECT; '
        'frame 1: ssim.mse 30.0 <= 60.0, variation.z 30.0 <= 60.0 -> PASS; '
        'all frames must pass -> REJECT'
    )
    assert judgement.anomaly_score == pytest.approx(1.25)


def test_view_without_a_score_is_named() -> None:
    cell = decider()
    cell.part_seen(part(frames=2), 0.0)
    cell.score_received(score('ssim', frame=0), 0.01)
    cell.score_received(score('variation', frame=0), 0.01)
    cell.score_received(score('variation', frame=1), 0.01)
    text = one(cell.tick(1.0)).judgement.comparison
    assert text == 'no score of ssim (frame 2) within 0.2 s -> REJECT'


def test_part_that_is_not_complete_never_passes() -> None:
    cell = decider()
    cell.part_seen(part(is_complete=False), 0.0)
    cell.score_received(score('ssim'), 0.01)
    assert cell.score_received(score('variation'), 0.01) == []
    judgement = one(cell.tick(DEADLINE_S)).judgement
    assert judgement.comparison == 'the part was not complete within 0.2 s -> REJECT'


def test_part_sent_again_with_a_problem_is_rejected() -> None:
    cell = decider()
    cell.part_seen(part(), 0.0)
    assert reason(cell.part_seen(part(problems={0: 'torn'}), 0.01)) is Reason.FRAME_INVALID


@pytest.mark.parametrize(
    ('stamps_ns', 'problems', 'words'),
    [
        ((), (), 'without a frame'),
        ((1, 2), ('',), '2 stamps but 1 problems'),
        ((2, 2), ('', ''), 'do not increase'),
        ((3, 2), ('', ''), 'do not increase'),
    ],
)
@pytest.mark.parametrize('is_known', [False, True])
def test_malformed_part_is_rejected(
    stamps_ns: tuple[int, ...], problems: tuple[str, ...], words: str, is_known: bool
) -> None:
    cell = decider()
    if is_known:
        cell.part_seen(part(), 0.0)
    decision = one(cell.part_seen(PartSeen(KEY, stamps_ns, problems, True, 0.0), 0.01))
    assert decision.judgement.reason is Reason.FRAME_INVALID
    assert words in decision.judgement.comparison


# Station mode.


def station_part(verdicts: str, *, is_complete: bool) -> tuple[Decider, list[PartDecision]]:
    """
    Hold a part: each letter is a frame, p passes, f exceeds a limit, x is torn, - is not scored.

    """
    cell = decider(station=STATION)
    decisions: list[PartDecision] = []
    for count, _ in enumerate(verdicts, 1):
        torn = {i: 'torn' for i, verdict in enumerate(verdicts) if verdict == 'x'}
        is_last = is_complete and count == len(verdicts)
        seen = part(frames=count, problems=torn, is_complete=is_last)
        decisions += cell.part_seen(seen, 0.01 * count)
        value = {'p': 30.0, 'f': 70.0}.get(verdicts[count - 1])
        if value is not None:
            for scorer in MEASURE:
                now = 0.01 * count + 0.001
                decisions += cell.score_received(score(scorer, value, frame=count - 1), now)
    return cell, decisions


@pytest.mark.parametrize('is_complete', [False, True])
@pytest.mark.parametrize('length', [1, 2, 3, 4])
def test_station_for_every_course_of_a_part(length: int, is_complete: bool) -> None:
    for letters in product('pfx-', repeat=length):
        verdicts = ''.join(letters)
        judged = verdicts[: STATION.frames]
        to_come = 0 if is_complete else STATION.frames - len(judged)
        cell, decisions = station_part(verdicts, is_complete=is_complete)
        if judged.count('p') >= STATION.required_passes:
            assert reason(decisions) is Reason.WITHIN_LIMITS, verdicts
        elif judged.count('p') + judged.count('-') + to_come < STATION.required_passes:
            assert reason(decisions) is Reason.TOO_FEW_FRAMES_PASSED, verdicts
        else:
            assert decisions == [], verdicts
            decisions = cell.tick(DEADLINE_S)
            possible = judged.count('p') + judged.count('-') >= STATION.required_passes
            expected = Reason.TIMEOUT if possible else Reason.TOO_FEW_FRAMES_PASSED
            assert reason(decisions) is expected, verdicts


def test_station_says_why_frames_failed() -> None:
    _, decisions = station_part('pfx', is_complete=True)
    assert one(decisions).judgement.comparison == (
        'frame 2: ssim.mse 70.0 > 60.0, variation.z 70.0 > 60.0 -> REJECT; '
        'frame 3: torn -> REJECT; '
        'frame 1: ssim.mse 30.0 <= 60.0, variation.z 30.0 <= 60.0 -> PASS; '
        '1 of 3 frames passed, 2 required -> REJECT'
    )


def test_station_score_is_of_the_worst_frame_that_is_needed() -> None:
    _, decisions = station_part('pfp', is_complete=True)
    judgement = one(decisions).judgement
    assert judgement.verdict is Verdict.PASS
    assert judgement.anomaly_score == pytest.approx(0.25)
    assert judgement.comparison.endswith('2 of 3 frames passed, 2 required -> PASS')


def test_station_takes_a_score_before_its_frame_is_announced() -> None:
    cell = decider(station=STATION)
    cell.part_seen(part(frames=1, is_complete=False), 0.0)
    for scorer, frame in product(MEASURE, (0, 1)):
        assert cell.score_received(score(scorer, frame=frame), 0.01) == []
    seen = part(frames=2, is_complete=False)
    assert reason(cell.part_seen(seen, 0.02)) is Reason.WITHIN_LIMITS


@pytest.mark.parametrize(('frames', 'required'), [(0, 1), (3, 0), (3, 4), (-1, -1)])
def test_station_settings_out_of_range(frames: int, required: int) -> None:
    with pytest.raises(SettingError, match='allowed: 1'):
        StationSettings(frames, required)


# Bounds.


@pytest.mark.parametrize('exposure_s', [1e9, math.inf, math.nan])
def test_exposure_in_the_future_cannot_keep_a_part_waiting(exposure_s: float) -> None:
    cell = decider()
    cell.part_seen(part(exposure_s=exposure_s), 10.0)
    assert cell.tick(math.nextafter(10.0 + DEADLINE_S, 0.0)) == []
    assert one(cell.tick(10.0 + DEADLINE_S)).judgement.reason is Reason.TIMEOUT


def test_part_that_becomes_known_after_its_deadline_never_passes() -> None:
    cell = decider()
    cell.score_received(score('ssim'), 0.01)
    cell.score_received(score('variation'), 0.01)
    decision = one(cell.part_seen(part(), DEADLINE_S))
    assert decision.judgement.reason is Reason.TIMEOUT
    assert 'not known within 0.2 s' in decision.judgement.comparison


def test_scores_without_a_part_wait_for_a_bounded_time_and_number() -> None:
    cell = decider(early_scores=3, early_score_age_s=1.0)
    for number in range(1, 6):
        cell.score_received(score('ssim', number=number), 0.1 * number)
    assert cell.counts.scores_unknown == 2
    cell.tick(1.35)
    assert cell.counts.scores_unknown == 3
    cell.tick(9.0)
    assert cell.counts.scores_unknown == 5
    # A part that comes after its score was dropped is not passed by it.
    cell.part_seen(part(5, exposure_s=9.0), 9.0)
    assert cell.score_received(score('variation', number=5), 9.0) == []


def test_too_many_undecided_parts_are_rejected() -> None:
    cell = decider(pending_parts=2)
    assert cell.part_seen(part(1), 0.0) + cell.part_seen(part(2), 0.0) == []
    decision = one(cell.part_seen(part(3), 0.0))
    assert decision.judgement.reason is Reason.NOT_READY
    assert '2 parts are undecided' in decision.judgement.comparison


def test_memory_of_decided_parts_is_bounded() -> None:
    cell = decider(remembered_parts=10)
    for number in range(1, 100):
        cell.part_seen(part(number, exposure_s=number, problems={0: 'torn'}), number)
    assert len(cell._decided) == 10


@pytest.mark.parametrize(
    'options',
    [
        {'deadline_s': 0.0},
        {'deadline_s': math.nan},
        {'deadline_s': math.inf},
        {'deadline_s': 0.1, 'timeouts_to_fault': 0},
        {'deadline_s': 0.1, 'early_scores': 0},
        {'deadline_s': 0.1, 'early_score_age_s': -1.0},
        {'deadline_s': 0.1, 'pending_parts': 0},
        {'deadline_s': 0.1, 'remembered_parts': 0},
    ],
)
def test_settings_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(SettingError, match='allowed'):
        DeciderSettings(**options)  # type: ignore[arg-type]


class AnyCourseOfEvents(RuleBasedStateMachine):
    """
    Parts, scores, switches and time in any order, against a book of what has come.

    """

    numbers = st.integers(1, 4)

    def __init__(self) -> None:
        super().__init__()
        self.cell = decider(early_scores=6, early_score_age_s=0.3)
        self.now = 0.0
        self.hash = HASH
        self.seen: dict[int, tuple[float, str]] = {}
        self.scores: list[ScoreReceived] = []
        self.decided: dict[int, PartDecision] = {}

    def book(self, decisions: list[PartDecision]) -> None:
        for decision in decisions:
            number = decision.key[1]
            assert number not in self.decided, 'decided twice'
            assert number in self.seen, 'decided before it was seen'
            self.decided[number] = decision
            exposure_s, recipe_hash = self.seen[number]
            assert decision.terms is not None
            assert decision.terms.recipe_hash == recipe_hash
            if decision.judgement.verdict is Verdict.PASS:
                assert self.now < exposure_s + DEADLINE_S
                for scorer, measure in MEASURE.items():
                    assert any(
                        found.key == decision.key
                        and found.scorer == scorer
                        and found.recipe_hash == recipe_hash
                        and found.status == 1
                        and found.measures[measure] <= 60.0
                        for found in self.scores
                    )

    @rule(number=numbers, age_s=st.sampled_from([0.0, 0.01, 0.19, 0.2, 0.5]))
    def a_part_comes(self, number: int, age_s: float) -> None:
        self.seen.setdefault(number, (self.now - age_s, self.hash))
        seen = part(number, exposure_s=self.now - age_s)
        self.book(self.cell.part_seen(seen, self.now))

    @rule(
        number=numbers,
        scorer=st.sampled_from(['ssim', 'variation', 'template']),
        value=st.sampled_from([30.0, 30.0, 30.0, 60.0, 60.1, math.nan]),
        status=st.sampled_from([1, 1, 1, 1, 2, 4]),
        is_current=st.sampled_from([True, True, True, False]),
    )
    def a_score_comes(
        self, number: int, scorer: str, value: float, status: int, is_current: bool
    ) -> None:
        recipe_hash = self.hash if is_current else 'c' * 64
        found = replace(score(scorer, value, number), status=status, recipe_hash=recipe_hash)
        self.scores.append(found)
        self.book(self.cell.score_received(found, self.now))

    @rule(seconds=st.sampled_from([0.001, 0.05, 0.2]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self.book(self.cell.tick(self.now))

    @rule()
    def the_recipe_is_switched(self) -> None:
        self.hash = OTHER_HASH if self.hash == HASH else HASH
        self.cell.recipe_switched(replace(TERMS, recipe_hash=self.hash))

    @rule()
    def the_decider_stops(self) -> None:
        self.book(self.cell.flush(self.now))
        assert set(self.decided) == set(self.seen)

    @invariant()
    def nothing_waits_beyond_its_deadline(self) -> None:
        for number in self.seen.keys() - self.decided.keys():
            exposure_s, _ = self.seen[number]
            assert self.now < exposure_s + DEADLINE_S
        assert self.cell.counts.passed + self.cell.counts.rejected.total() == len(self.decided)


AnyCourseOfEvents.TestCase.settings = settings(
    derandomize=True, database=None, deadline=None, max_examples=150, stateful_step_count=40
)
TestAnyCourseOfEvents = AnyCourseOfEvents.TestCase


def test_a_decision_says_what_was_measured_the_worst_value_over_the_frames() -> None:
    cell = decider()
    cell.part_seen(part(frames=2), 0.0)
    decisions = []
    for frame, values in enumerate(((30.0, 50.0), (90.0, 20.0))):
        cell.score_received(score('ssim', values[0], frame=frame), 0.01)
        decisions = cell.score_received(score('variation', values[1], frame=frame), 0.01)
    assert reason(decisions) is Reason.LIMIT_EXCEEDED
    assert one(decisions).measured == {('ssim', 'mse'): 90.0, ('variation', 'z'): 50.0}


def test_low_is_worse_where_bad_is_low() -> None:
    limits = LimitTable((Limit('ssim', 'mse', 10.0, BadSide.LOW, 20.0),))
    cell = decider(replace(TERMS, limits=limits))
    cell.part_seen(part(frames=2), 0.0)
    cell.score_received(score('ssim', 18.0, frame=0), 0.01)
    decision = one(cell.score_received(score('ssim', 13.0, frame=1), 0.01))
    assert decision.measured == {('ssim', 'mse'): 13.0}


@pytest.mark.parametrize('fault', ['none', 'nan', 'hash', 'tilted', 'missing', 'problem'])
@pytest.mark.parametrize('station', [None, STATION], ids=['belt', 'station'])
def test_a_part_that_was_not_measured_whole_has_no_measures(
    fault: str, station: StationSettings | None
) -> None:
    cell = decider(station=station)
    problems = {0: 'truncated'} if fault == 'problem' else {}
    decisions = cell.part_seen(part(frames=3, problems=problems), 0.0)
    for frame in (0, 1, 2):
        for scorer in ('ssim', 'variation'):
            sent = score(scorer, frame=frame)
            if frame == 0 and fault in SCORES:
                sent = SCORES[fault][0](sent)
            if frame > 0 or fault not in ('missing', 'problem'):
                decisions += cell.score_received(sent, 0.01)
    decision = one(decisions + cell.tick(1.0))
    # In station mode two of three frames are enough, and the other need not have been scored yet.
    is_measured = fault == 'none' or (fault == 'missing' and station is not None)
    assert bool(decision.measured) == is_measured


def test_in_station_mode_frames_beyond_those_judged_do_not_count() -> None:
    cell = decider(station=StationSettings(frames=1, required_passes=1))
    cell.part_seen(part(frames=2), 0.0)
    for scorer in ('ssim', 'variation'):
        cell.score_received(score(scorer, 90.0, frame=1), 0.01)
    cell.score_received(score('ssim'), 0.01)
    decision = one(cell.score_received(score('variation'), 0.01))
    assert decision.measured == {('ssim', 'mse'): 30.0, ('variation', 'z'): 30.0}


def test_a_part_of_unknown_class_was_measured() -> None:
    limits = LimitTable((replace(LIMITS.limits[0], tells_class=True),))
    cell = decider(replace(TERMS, limits=limits))
    cell.part_seen(part(), 0.0)
    decision = one(cell.score_received(score('ssim', 90.0), 0.01))
    assert decision.judgement.reason is Reason.UNKNOWN_CLASS
    assert decision.measured == {('ssim', 'mse'): 90.0}
