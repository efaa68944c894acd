# SPDX-License-Identifier: Apache-2.0
"""
Challenge: nothing passes while one is overdue or failed, and no known bad part ever does.

"""

from __future__ import annotations

from datetime import datetime, timedelta
import json
import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, RuleBasedStateMachine
import pytest

from anomaly_inspection.deciding.challenge import (
    Challenge,
    ChallengeEvent,
    ChallengeEventKind,
    ChallengeState,
)
from anomaly_inspection.deciding.challenge_memory import ChallengeMemory
from anomaly_inspection.deciding.challenge_settings import ChallengeSettings
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
from anomaly_inspection.deciding.part_decision import KnownAs
from anomaly_inspection.errors import SettingError
from anomaly_inspection.scoring.measure import BadSide

HASH = 'a' * 64
LIMITS = LimitTable((Limit('ssim', 'mse', 60.0, BadSide.HIGH, 20.0),))
TERMS = Terms('pump', 3, HASH, LIMITS, Combination.ANY)
OTHER_TERMS = Terms('valve', 1, 'b' * 64, LIMITS, Combination.ANY)
PARTS = ('good gold sample', 'bad scratch 2 mm')
MONDAY = datetime(2026, 3, 2, 10, 0)
GOOD, BAD = 30.0, 70.0
DEADLINE_S = 0.5


class Cell:
    """
    A decider with challenges, its clocks, and parts that are seen and scored.

    """

    def __init__(self, station: StationSettings | None = None, **options: object) -> None:
        self.settings = ChallengeSettings(**{'parts': PARTS, **options})  # type: ignore[arg-type]
        self.decider_settings = DeciderSettings(DEADLINE_S, station=station)
        self.challenge = Challenge(self.settings)
        self.decider = Decider(self.decider_settings, self.challenge)
        self.now = 1000.0
        self.local = MONDAY
        self.terms = TERMS
        self.parts = 0
        self.challenge.activated(self.now, self.local)
        self.decider.recipe_switched(TERMS)

    def respawn(self) -> None:
        """
        Kill the decider, and start it again with what it has kept.

        """
        kept = json.loads(json.dumps(self.challenge.memory().to_content(), allow_nan=False))
        terms = self.decider.terms
        assert terms is not None
        self.challenge = Challenge(self.settings)
        self.challenge.restore(ChallengeMemory.from_content(kept))
        self.decider = Decider(self.decider_settings, self.challenge)
        self.challenge.activated(self.now, self.local)
        self.decider.recipe_switched(terms)

    def wait(self, minutes: float, clock: timedelta | None = None) -> list[PartDecision]:
        """
        Let time go by; the wall clock may go another way.

        """
        self.now += 60 * minutes
        self.local += timedelta(minutes=minutes) if clock is None else clock
        self.challenge.tick(self.now, self.local)
        return self.decider.tick(self.now)

    def see(self, *, age_s: float = 0.0, problem: str = '', frames: int = 1) -> int:
        self.parts += 1
        stamps_ns = tuple(1000 * self.parts + frame for frame in range(frames))
        part = PartSeen(('s', self.parts), stamps_ns, (problem,) * frames, True, self.now - age_s)
        self.seen = self.decider.part_seen(part, self.now)
        return self.parts

    def score(
        self, number: int, value: float, *, status: int = 1, frame: int = 0
    ) -> list[PartDecision]:
        score = ScoreReceived(
            *(('s', number), 1000 * number + frame, 'ssim', status, '' if status == 1 else 'why'),
            *(self.terms.recipe_hash, {'mse': value}),
        )
        return self.decider.score_received(score, self.now)

    def part(self, value: float, **options: int) -> PartDecision:
        (decision,) = self.score(self.see(), value, **options)
        return decision

    def pass_challenge(self) -> None:
        self.challenge.start(self.now)
        self.part(GOOD)
        self.part(BAD)
        assert self.state is ChallengeState.PASSED

    @property
    def state(self) -> ChallengeState:
        return self.challenge.status(self.now).state

    @property
    def detail(self) -> str:
        return self.challenge.status(self.now).detail

    @property
    def production_passes(self) -> bool:
        decision = self.part(GOOD)
        assert decision.known_as is KnownAs.UNKNOWN
        if decision.judgement.verdict is Verdict.PASS:
            return True
        assert decision.judgement.reason is Reason.CHALLENGE_DUE
        return False

    def events(self, kind: ChallengeEventKind) -> list[ChallengeEvent]:
        return [event for event in self.challenge.drain_events() if event.kind is kind]


# Settings


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'parts': ('gold sample', 'bad scratch')}, "must begin with 'good ' or 'bad '"),
        ({'parts': ('good', 'bad scratch')}, "'good' is refused"),
        ({'parts': ('good  ', 'bad scratch')}, 'is refused'),
        ({'parts': ('good gold sample',)}, 'a bad one is missing'),
        ({'parts': ('bad scratch',)}, 'a good one is missing'),
        ({'shift_changes': ('25:00',)}, "'25:00' is refused: allowed is 'HH:MM'"),
        ({'shift_changes': ('06:00', '6:00')}, "'6:00' is refused"),
        ({'shift_changes': ('14:60',)}, '00:00 to 23:59'),
        ({'shift_changes': ('14:00\n',)}, 'is refused'),
        ({'every_min': -1.0}, 'every_min -1 min, allowed: 0 or more min'),
        ({'every_min': math.inf}, 'finite'),
        ({'grace_min': math.nan}, 'grace_min nan'),
        ({'timeout_min': 0.0}, 'timeout_min 0 min, allowed: above 0 min, finite'),
    ],
)
def test_settings_out_of_range_are_refused_in_words(options: dict[str, object], says: str) -> None:
    with pytest.raises(SettingError) as refusal:
        ChallengeSettings(**{'parts': PARTS, **options})  # type: ignore[arg-type]
    assert says in str(refusal.value)


def test_without_known_parts_nothing_is_ever_blocked() -> None:
    cell = Cell(parts=(), every_min=1.0, shift_changes=('10:05',))
    cell.wait(60)
    cell.decider.recipe_switched(OTHER_TERMS)
    cell.decider.recipe_switched(TERMS)
    assert cell.state is ChallengeState.OFF
    assert cell.production_passes
    with pytest.raises(SettingError, match='challenge_parts'):
        cell.challenge.start(cell.now)
    assert cell.challenge.drain_events() == []


# From due to passed


def test_from_the_start_production_is_blocked_until_a_challenge_is_passed() -> None:
    cell = Cell(grace_min=30.0)
    assert cell.state is ChallengeState.DUE, 'at start there is no grace'
    blocked = cell.part(GOOD)
    assert blocked.judgement.reason is Reason.CHALLENGE_DUE
    assert blocked.judgement.comparison == (
        'ssim.mse 30.0 <= 60.0 -> PASS; a challenge is due -> REJECT'
    )
    assert blocked.judgement.anomaly_score == 0.25
    assert blocked.judged.reason is Reason.WITHIN_LIMITS
    assert blocked.measured == {('ssim', 'mse'): GOOD}
    assert 'good gold sample' in cell.challenge.start(cell.now)
    assert cell.detail == (
        'put on part 1 of 2: good gold sample; production is blocked until it is passed'
    )
    good = cell.part(GOOD)
    assert (good.judgement.verdict, good.known_as) == (Verdict.PASS, KnownAs.GOOD)
    assert cell.challenge.status(cell.now).parts_done == 1
    bad = cell.part(BAD)
    assert (bad.judgement.reason, bad.known_as) == (Reason.CHALLENGE_PART, KnownAs.BAD)
    assert bad.judgement.comparison == (
        'ssim.mse 70.0 > 60.0 -> REJECT; known bad scratch 2 mm -> REJECT'
    )
    assert cell.state is ChallengeState.PASSED
    assert cell.production_passes
    kinds = [event.kind for event in cell.challenge.drain_events()]
    kind = ChallengeEventKind
    assert kinds == [kind.DUE, kind.PART, kind.PART, kind.PASSED]
    counts = cell.decider.counts
    assert (counts.passed, dict(counts.rejected)) == (1, {Reason.CHALLENGE_DUE: 1})
    assert counts.known == {KnownAs.GOOD: 1, KnownAs.BAD: 1}


def test_a_part_on_its_way_is_not_a_known_one() -> None:
    cell = Cell()
    seen = cell.see()
    cell.now += 0.1
    cell.challenge.start(cell.now)
    late = cell.see(age_s=0.05)
    for number in (seen, late):
        (decision,) = cell.score(number, GOOD)
        assert decision.known_as is KnownAs.UNKNOWN
        assert decision.judgement.reason is Reason.CHALLENGE_DUE
    assert cell.part(GOOD).known_as is KnownAs.GOOD


def test_known_parts_are_told_by_their_coming_not_by_when_they_are_decided() -> None:
    cell = Cell()
    cell.challenge.start(cell.now)
    good, bad, after = cell.see(), cell.see(), cell.see()
    (decision,) = cell.score(bad, BAD)
    assert decision.known_as is KnownAs.BAD
    (decision,) = cell.score(after, GOOD)
    assert decision.judgement.reason is Reason.CHALLENGE_DUE, 'not passed yet'
    (decision,) = cell.score(good, GOOD)
    assert decision.known_as is KnownAs.GOOD
    assert cell.production_passes


def judged(cell: Cell, case: str) -> PartDecision:
    """
    Send a part that is judged so.

    """
    if case == 'FRAME_INVALID':
        cell.see(problem='truncated')
        (decision,) = cell.seen
        return decision
    if case == 'TIMEOUT':
        cell.see()
        (decision,) = cell.wait(DEADLINE_S / 60)
        return decision
    status = {'NOT_ALIGNED': 3, 'SCORE_INVALID': 4}.get(case, 1)
    return cell.part(BAD if case == 'LIMIT_EXCEEDED' else GOOD, status=status)


@pytest.mark.parametrize(
    ('case', 'good_is_right', 'bad_is_right'),
    [
        ('WITHIN_LIMITS', True, False),
        ('LIMIT_EXCEEDED', False, True),
        ('FRAME_INVALID', False, False),
        ('NOT_ALIGNED', False, False),
        ('SCORE_INVALID', False, False),
        ('TIMEOUT', False, False),
    ],
)
def test_what_counts_as_right(case: str, good_is_right: bool, bad_is_right: bool) -> None:
    for parts, is_right in (
        (('good one', 'bad one'), good_is_right),
        (('bad one', 'good one'), bad_is_right),
    ):
        cell = Cell(parts=parts)
        cell.challenge.start(cell.now)
        decision = judged(cell, case)
        assert decision.judged.reason.name == case
        (event,) = cell.events(ChallengeEventKind.PART)
        assert event.came_out_right is is_right
        assert (event.known_part, event.key) == (parts[0], decision.key)
        assert decision.judged.comparison in event.detail
        expected = ChallengeState.RUNNING if is_right else ChallengeState.FAILED
        assert cell.state is expected
        passes = decision.judgement.verdict is Verdict.PASS
        assert passes == (case == 'WITHIN_LIMITS' and parts[0].startswith('good'))
        assert is_right or not cell.production_passes


@pytest.mark.parametrize(
    ('statuses', 'is_right'), [((1, 1), True), ((1, 3), False), ((2, 2), False)]
)
def test_in_a_station_a_reject_counts_when_its_frames_were_measured(
    statuses: tuple[int, ...], is_right: bool
) -> None:
    cell = Cell(station=StationSettings(2, 2), parts=('bad one', 'good one'))
    cell.challenge.start(cell.now)
    number = cell.see(frames=2)
    decisions = []
    for frame, status in reversed(list(enumerate(statuses))):
        decisions += cell.score(number, BAD, status=status, frame=frame)
    assert [d.judged.reason for d in decisions] == [Reason.TOO_FEW_FRAMES_PASSED]
    (event,) = cell.events(ChallengeEventKind.PART)
    # The first score decides: one frame that did not pass is enough.
    assert event.came_out_right is is_right


def test_a_failed_challenge_blocks_until_the_next_is_passed() -> None:
    cell = Cell()
    cell.pass_challenge()
    cell.challenge.start(cell.now)
    good, bad = cell.see(), cell.see()
    cell.score(good, BAD)
    assert cell.state is ChallengeState.FAILED
    assert cell.detail.startswith(
        'failed: good gold sample came out wrong, LIMIT_EXCEEDED; production is blocked: start'
    )
    assert not cell.production_passes
    (decision,) = cell.score(bad, BAD)
    assert decision.judgement.reason is Reason.CHALLENGE_PART, 'it came as a known bad one'
    assert cell.state is ChallengeState.FAILED
    cell.wait(600)
    assert not cell.production_passes
    cell.pass_challenge()
    assert cell.production_passes
    assert len(cell.events(ChallengeEventKind.PART)) == 6


def test_a_known_good_part_of_a_failed_challenge_does_not_pass() -> None:
    cell = Cell(parts=('bad one', 'good one'))
    cell.challenge.start(cell.now)
    bad, good = cell.see(), cell.see()
    cell.score(bad, GOOD)
    cell.challenge.start(cell.now)
    (decision,) = cell.score(good, GOOD)
    assert decision.judgement.reason is Reason.CHALLENGE_DUE
    assert decision.known_as is KnownAs.GOOD
    assert cell.challenge.status(cell.now).parts_done == 0, 'the new one has had no part yet'


@pytest.mark.parametrize('value', [GOOD, BAD])
def test_a_late_part_of_an_older_challenge_counts_nothing_for_the_next(value: float) -> None:
    cell = Cell()
    cell.challenge.start(cell.now)
    late, _ = cell.see(), cell.part(BAD)
    cell.challenge.cancel()
    cell.challenge.start(cell.now)
    cell.score(late, value)
    assert cell.state is ChallengeState.RUNNING
    assert cell.challenge.status(cell.now).parts_done == 0
    cell.part(GOOD)
    cell.part(BAD)
    assert cell.production_passes


# Giving up


def test_a_challenge_under_way_refuses_another_and_can_be_cancelled() -> None:
    cell = Cell()
    with pytest.raises(SettingError, match='no challenge is under way'):
        cell.challenge.cancel()
    cell.pass_challenge()
    cell.challenge.start(cell.now)
    with pytest.raises(SettingError, match='part 1 of 2: good gold sample'):
        cell.challenge.start(cell.now)
    good, bad = cell.see(), cell.see()
    assert 'production goes on' in cell.challenge.cancel()
    assert cell.state is ChallengeState.PASSED
    (decision,) = cell.score(bad, GOOD)
    assert decision.judgement.reason is Reason.CHALLENGE_PART, 'it came as a known bad one'
    (decision,) = cell.score(good, GOOD)
    assert decision.judgement.verdict is Verdict.PASS
    assert cell.production_passes


def test_cancelled_while_due_it_has_failed() -> None:
    cell = Cell()
    cell.challenge.start(cell.now)
    assert 'production is blocked' in cell.challenge.cancel()
    assert cell.state is ChallengeState.FAILED
    cell.challenge.start(cell.now)
    cell.challenge.cancel()
    assert cell.state is ChallengeState.FAILED


def test_an_operator_who_walks_away_ends_in_failed() -> None:
    cell = Cell(timeout_min=5.0)
    cell.pass_challenge()
    cell.challenge.start(cell.now)
    cell.part(GOOD)
    cell.wait(4.9)
    assert cell.state is ChallengeState.RUNNING
    cell.wait(0.2)
    assert cell.state is ChallengeState.FAILED
    assert 'not ended within 5 min' in cell.detail
    assert not cell.production_passes


def test_a_stop_unblocks_nothing() -> None:
    for at_start in (True, False):
        cell = Cell(at_start=at_start)
        assert cell.production_passes is not at_start
        cell.challenge.start(cell.now)
        cell.part(BAD)
        cell.challenge.stopped()
        cell.challenge.activated(cell.now, cell.local)
        cell.decider.recipe_switched(TERMS)
        assert not cell.production_passes
        cell.pass_challenge()
        cell.challenge.start(cell.now)
        cell.challenge.stopped()
        cell.challenge.activated(cell.now, cell.local)
        assert cell.production_passes is not at_start


def test_what_became_due_before_or_during_a_stop_is_due_after_it() -> None:
    cell = Cell(at_start=False, every_min=60.0)
    cell.wait(61)
    cell.challenge.stopped()
    cell.challenge.activated(cell.now, cell.local)
    assert not cell.production_passes
    cell = Cell(at_start=False, shift_changes=('14:00',))
    cell.challenge.stopped()
    cell.local += timedelta(hours=5)
    cell.challenge.activated(cell.now, cell.local)
    cell.wait(0.0)
    assert not cell.production_passes


def test_another_recipe_makes_one_due_and_gives_up_the_one_under_way() -> None:
    cell = Cell(grace_min=30.0)
    cell.pass_challenge()
    cell.challenge.start(cell.now)
    cell.decider.recipe_switched(OTHER_TERMS)
    cell.terms = OTHER_TERMS
    assert cell.state is ChallengeState.DUE
    assert not cell.production_passes
    cell.pass_challenge()
    cell.decider.recipe_switched(OTHER_TERMS)
    assert cell.production_passes, 'the same recipe again'
    without = Cell(at_start=False)
    without.pass_challenge()
    without.decider.recipe_switched(OTHER_TERMS)
    assert without.state is ChallengeState.PASSED
    assert 'have changed since' in without.detail


def test_other_limits_give_up_the_one_under_way_and_are_told_after_a_passed_one() -> None:
    cell = Cell()
    cell.pass_challenge()
    cell.decider.limits_changed(LIMITS.changed({('ssim', 'mse'): 60.0}, LimitOrigin.RUNTIME))
    assert not cell.challenge.status(cell.now).is_wanted, 'the same value'
    cell.challenge.start(cell.now)
    cell.decider.limits_changed(LIMITS.changed({('ssim', 'mse'): 50.0}, LimitOrigin.RUNTIME))
    assert cell.state is ChallengeState.PASSED
    assert 'have changed since' in cell.detail
    assert cell.challenge.status(cell.now).is_wanted
    assert cell.production_passes
    cell.pass_challenge()
    assert not cell.challenge.status(cell.now).is_wanted


# When one is due


def test_every_so_many_minutes_with_grace() -> None:
    cell = Cell(at_start=False, every_min=60.0, grace_min=10.0)
    assert cell.challenge.next_due(cell.now, cell.local) == MONDAY + timedelta(minutes=60)
    cell.wait(59.9)
    assert cell.state is ChallengeState.PASSED
    cell.wait(0.2)
    status = cell.challenge.status(cell.now)
    assert (status.state, status.is_blocked, status.is_wanted) == (ChallengeState.DUE, False, True)
    assert 'blocked 10 min later' in status.detail
    assert cell.challenge.next_due(cell.now, cell.local) is None
    assert cell.production_passes
    cell.wait(9.9)
    assert not cell.production_passes
    cell.wait(100)
    assert len(cell.events(ChallengeEventKind.DUE)) == 1
    cell.pass_challenge()
    cell.wait(59)
    assert cell.production_passes
    cell.wait(12, clock=timedelta(days=-400))
    assert not cell.production_passes, 'the wall clock plays no part'


def test_a_shift_change_asks_for_a_challenge_of_its_own() -> None:
    cell = Cell(at_start=False, shift_changes=('14:00', '06:00', '22:00'))
    assert cell.challenge.next_due(cell.now, cell.local) == MONDAY.replace(hour=14)
    cell.wait(239)
    cell.pass_challenge()
    assert cell.production_passes
    cell.wait(1)
    assert cell.state is ChallengeState.DUE, 'one passed a minute before does not count'
    assert 'the shift changed at 14:00' in cell.detail
    assert not cell.production_passes
    cell.pass_challenge()
    assert cell.challenge.next_due(cell.now, cell.local) == MONDAY.replace(hour=22)
    cell.wait(479)
    assert cell.production_passes
    cell.challenge.start(cell.now)
    cell.part(GOOD)
    cell.wait(2)
    cell.part(BAD)
    assert cell.production_passes, 'under way when the shift changed, passed after: it counts'
    cell.wait(8 * 60)
    assert not cell.production_passes
    assert len(cell.events(ChallengeEventKind.DUE)) == 3


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ('shift', 'steps', 'times_due'),
    [
        # The end of summer time: 02:30 comes twice.
        ('02:30', [16.75 * HOUR, -HOUR, HOUR], 1),
        # Its begin: 02:30 never comes.
        ('02:30', [15.9 * HOUR, 1.2 * HOUR], 1),
        # A clock that gains a little and is set right, again and again.
        ('14:00', [4 * HOUR, -0.1 * HOUR, 0.1 * HOUR, -2.9 * HOUR, 3 * HOUR], 1),
        # Days go by unseen: one challenge makes up for them.
        ('14:00', [50 * HOUR, HOUR], 1),
        # Set back over a shift change that one has not been asked for: nothing lost.
        ('14:00', [3.9 * HOUR, -3 * HOUR, 3.2 * HOUR], 1),
        # It had been wrong by days: what it asked for then counts for nothing now.
        ('14:00', [50 * HOUR, -50 * HOUR, 4 * HOUR], 3),
        ('14:00', [-50 * HOUR, 7 * HOUR], 2),
    ],
)
def test_steps_of_the_clock_neither_skip_nor_double_a_shift_change(
    shift: str, steps: list[timedelta], times_due: int
) -> None:
    cell = Cell(at_start=False, shift_changes=(shift,))
    for step in steps:
        cell.wait(0.1, clock=step)
        if cell.state is ChallengeState.DUE:
            cell.wait(0.1, clock=-2 * HOUR)
            assert not cell.production_passes, 'a clock set back unblocks nothing'
            cell.wait(0.1, clock=2 * HOUR)
            assert cell.state is ChallengeState.DUE
            cell.pass_challenge()
    assert len(cell.events(ChallengeEventKind.DUE)) == times_due


def test_what_is_due_stays_due_when_the_clock_is_set_back() -> None:
    cell = Cell(at_start=False, shift_changes=('14:00',))
    cell.wait(1, clock=4 * HOUR)
    cell.wait(1, clock=-400 * 24 * HOUR)
    assert not cell.production_passes
    assert len(cell.events(ChallengeEventKind.DUE)) == 1


# Whatever happens in whatever order


def test_a_killed_decider_goes_on_where_it_was() -> None:
    # Due.
    cell = Cell(at_start=False, every_min=60.0)
    cell.wait(61)
    cell.respawn()
    assert cell.state is ChallengeState.DUE
    assert '60 min have passed' in cell.detail
    assert not cell.production_passes
    # Passed, and due again at the time that was planned.
    cell.pass_challenge()
    cell.wait(30)
    cell.respawn()
    assert cell.production_passes
    assert 'passed: 2 known parts' in cell.detail
    cell.wait(31)
    assert not cell.production_passes
    # Failed.
    cell.challenge.start(cell.now)
    cell.part(BAD)
    cell.respawn()
    assert cell.state is ChallengeState.FAILED
    assert 'good gold sample came out wrong' in cell.detail
    assert not cell.production_passes


@pytest.mark.parametrize('is_due', [True, False])
def test_a_decider_that_dies_gives_up_the_challenge_under_way(is_due: bool) -> None:
    cell = Cell(at_start=False, every_min=60.0)
    if is_due:
        cell.wait(61)
    cell.challenge.start(cell.now)
    cell.respawn()
    (end,) = cell.events(ChallengeEventKind.FAILED)
    assert 'given up, the decider died' in end.detail
    assert cell.production_passes is not is_due


def test_a_shift_change_while_the_decider_was_dead_asks_for_a_challenge() -> None:
    cell = Cell(at_start=False, shift_changes=('14:00',))
    kept = cell.challenge.memory()
    cell.local += timedelta(hours=5)
    cell.challenge = Challenge(cell.settings)
    cell.challenge.restore(kept)
    cell.challenge.activated(cell.now, cell.local)
    cell.challenge.tick(cell.now, cell.local)
    assert cell.state is ChallengeState.DUE


@pytest.mark.parametrize(
    'broken',
    [{'is_due': 'yes'}, {'next_due_s': '1'}, {'last_shift_change': '06:00'}, {'why_due': 3}],
)
def test_a_broken_memory_is_refused(broken: dict[str, object]) -> None:
    content = ChallengeMemory().to_content()
    assert ChallengeMemory.from_content(content) == ChallengeMemory()
    with pytest.raises((TypeError, ValueError)):
        ChallengeMemory.from_content(content | broken)
    with pytest.raises(KeyError):
        ChallengeMemory.from_content({})


class Anything(RuleBasedStateMachine):
    """
    Parts, scores, challenges, clocks, limits, recipes and stops, against the rules in plain words.

    """

    @initialize(
        at_start=st.booleans(),
        every_min=st.sampled_from([0.0, 60.0]),
        grace_min=st.sampled_from([0.0, 10.0]),
        parts=st.sampled_from([PARTS, PARTS[::-1], (*PARTS, 'bad dent')]),
    )
    def begin(
        self, at_start: bool, every_min: float, grace_min: float, parts: tuple[str, ...]
    ) -> None:
        self.at_start, self.every_s, self.grace_s = at_start, 60 * every_min, 60 * grace_min
        self.known_parts = parts
        self.cell = Cell(
            at_start=at_start,
            every_min=every_min,
            grace_min=grace_min,
            shift_changes=('14:00', '22:00'),
            parts=parts,
            timeout_min=15.0,
        )
        self.latest_local = self.cell.local
        self.blocked_from_s = self.due_from_s = math.inf
        self.has_failed = False
        self.run: dict[str, float] | None = None
        self.roles: dict[int, tuple[str, object]] = {}
        self.waiting: dict[int, float] = {}
        self.limits = 60.0
        self.plan()
        if at_start:
            self.due_at_once()

    # The rules once more, in other words

    def plan(self) -> None:
        if self.every_s:
            self.due_from_s = self.cell.now + self.every_s
            self.blocked_from_s = self.due_from_s + self.grace_s

    def due_at_once(self) -> None:
        self.due_from_s = self.blocked_from_s = -math.inf

    def give_up(self) -> None:
        if self.run is not None:
            self.run = None
            self.has_failed |= self.due_from_s <= self.cell.now

    @property
    def must_block(self) -> bool:
        return self.has_failed or self.cell.now >= self.blocked_from_s

    def check(self, decisions: list[PartDecision]) -> None:
        for decision in decisions:
            number = decision.key[1]
            self.waiting.pop(number, None)
            is_reject = decision.judgement.verdict is Verdict.REJECT
            judged_pass = decision.judged.verdict is Verdict.PASS
            text, run = self.roles.pop(number, ('', None))
            events = self.cell.events(ChallengeEventKind.PART)
            assert len(events) == bool(text)
            if not text:
                assert decision.known_as is KnownAs.UNKNOWN
                assert is_reject == (self.must_block or not judged_pass)
                continue
            is_right = judged_pass == text.startswith('good') and (
                judged_pass or decision.judged.reason is Reason.LIMIT_EXCEEDED
            )
            assert (events[0].known_part, events[0].came_out_right) == (text, is_right)
            if text.startswith('bad'):
                assert decision.judgement.reason is Reason.CHALLENGE_PART
                assert is_reject
            else:
                may_pass = run is self.run or not self.must_block
                assert is_reject == (not judged_pass or not may_pass)
            if run is None or run is not self.run:
                continue
            assert self.run is not None
            self.run['right'] += 1
            if not is_right:
                self.run, self.has_failed = None, True
            elif self.run['right'] == len(self.known_parts):
                self.run, self.has_failed = None, False
                self.due_from_s = self.blocked_from_s = math.inf
                self.plan()

    # What can happen

    @rule(minutes=st.sampled_from([0.001, 0.01, 1.0, 9.0, 14.0, 55.0]), step_h=st.floats(-2.5, 9))
    def time_goes_by(self, minutes: float, step_h: float) -> None:
        clock = timedelta(minutes=minutes)
        if minutes >= 9.0:
            clock += step_h * HOUR
            # Further back is a case of its own: see above.
            clock = max(clock, self.latest_local - 2.5 * HOUR - self.cell.local)
        now, local = self.cell.now + 60 * minutes, self.cell.local + clock
        for day in range(3):
            for hour in (14, 22):
                change = datetime.combine(self.latest_local.date(), datetime.min.time())
                change += timedelta(days=day, hours=hour)
                if self.latest_local < change <= local:
                    self.due_from_s = min(self.due_from_s, now)
                    self.blocked_from_s = min(self.blocked_from_s, now + self.grace_s)
        self.latest_local = max(self.latest_local, local)
        if self.run is not None and now >= self.run['end_s']:
            self.run, self.has_failed = None, True
        decisions = self.cell.wait(minutes, clock)
        self.split_check(decisions)

    def split_check(self, decisions: list[PartDecision]) -> None:
        """
        Check decisions that came together: their events come in the same order.

        """
        events = self.cell.challenge.drain_events()
        for decision in decisions:
            self.cell.challenge._events.extend(
                e for e in events if e.kind is ChallengeEventKind.PART and e.key == decision.key
            )
            self.check([decision])
        # Not in between: the challenge knows of all that came together.
        assert self.cell.challenge.is_blocked(self.cell.now) == self.must_block

    @rule(value=st.sampled_from([GOOD, BAD]), age_s=st.sampled_from([0.0, 0.2]))
    def part_comes(self, value: float, age_s: float) -> None:
        exposure_s = self.cell.now - age_s
        number = self.cell.see(age_s=age_s)
        run = self.run
        if (
            run is not None
            and exposure_s >= run['start_s']
            and run['come'] < len(self.known_parts)
        ):
            self.roles[number] = (self.known_parts[int(run['come'])], run)
            run['come'] += 1
        self.waiting[number] = value
        self.split_check(self.cell.seen)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def score_comes(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        self.split_check(self.cell.score(number, self.waiting[number]))

    @precondition(lambda self: self.run is None)
    @rule()
    def challenge_starts(self) -> None:
        self.cell.challenge.start(self.cell.now)
        now = self.cell.now
        self.run = {'start_s': now, 'end_s': now + 900, 'come': 0, 'right': 0}

    @precondition(lambda self: self.run is None)
    @rule(wrong=st.sampled_from([None, 0, 1]))
    def challenge_is_made(self, wrong: int | None) -> None:
        self.challenge_starts()
        for place, text in enumerate(self.known_parts):
            is_good = text.startswith('good') != (place == wrong)
            self.part_comes(GOOD if is_good else BAD, 0.0)
            self.split_check(self.cell.score(self.cell.parts, GOOD if is_good else BAD))

    @precondition(lambda self: self.run is not None)
    @rule()
    def challenge_is_cancelled(self) -> None:
        self.cell.challenge.cancel()
        self.give_up()

    @rule(value=st.sampled_from([50.0, 60.0]))
    def limits_change(self, value: float) -> None:
        self.cell.decider.limits_changed(
            LIMITS.changed({('ssim', 'mse'): value}, LimitOrigin.RUNTIME)
        )
        if value != self.limits:
            self.limits = value
            self.give_up()

    @rule()
    def recipe_is_switched(self) -> None:
        terms = OTHER_TERMS if self.cell.terms is TERMS else TERMS
        self.cell.decider.recipe_switched(terms)
        self.cell.terms = terms
        self.limits = 60.0
        self.give_up()
        if self.at_start:
            self.due_at_once()

    @rule()
    def decider_stops_and_starts(self) -> None:
        self.cell.challenge.stopped()
        self.give_up()
        self.split_check(self.cell.decider.flush(self.cell.now))
        self.cell.challenge.activated(self.cell.now, self.cell.local)
        if self.at_start:
            self.due_at_once()

    @rule()
    def decider_is_killed_and_respawned(self) -> None:
        self.cell.respawn()
        self.give_up()
        self.roles.clear()
        self.waiting.clear()
        if self.at_start:
            self.due_at_once()


Anything.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, derandomize=True
)
TestAnything = Anything.TestCase
