# SPDX-License-Identifier: Apache-2.0
"""
From the measures of one frame to its verdict: a pure function.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
import math
from typing import TYPE_CHECKING

from anomaly_inspection.scoring.measure import BadSide

if TYPE_CHECKING:
    from anomaly_inspection.deciding.limits import Limit, LimitTable


class Verdict(IntEnum):
    """
    The values of Decision.msg.

    """

    PASS = 1
    REJECT = 2


class Reason(IntEnum):
    """
    Why the verdict is what it is; the values of Decision.msg.

    """

    WITHIN_LIMITS = 1
    LIMIT_EXCEEDED = 2
    FRAME_INVALID = 3
    NOT_ALIGNED = 4
    TIMEOUT = 5
    SCORE_INVALID = 6
    RECIPE_MISMATCH = 7
    TOO_FEW_FRAMES_PASSED = 8
    NOT_READY = 9
    UNKNOWN_CLASS = 10
    CHALLENGE_DUE = 11
    CHALLENGE_PART = 12
    VIEW_MISSING = 13
    VIEW_UNCLEAR = 14


class Combination(IntEnum):
    """
    How many measures must lie beyond their limits for a reject; the values of LimitsInForce.msg.

    """

    ANY = 1
    ALL = 2


@dataclass(frozen=True)
class Judgement:
    """
    A verdict with its grounds.

    Parameters
    ----------
    verdict : Verdict
        What it is.
    reason : Reason
        Why.
    comparison : str
        The grounds written out, violated limits first; ends in '-> PASS' or '-> REJECT'.
    anomaly_score : float
        The score that decides, above 1 if and only if the reason is LIMIT_EXCEEDED or
        UNKNOWN_CLASS (or a challenge has put its own reason there); NaN = not measured. The
        highest over the measures that are not perfect: no region at all says nothing of how good
        a part is. With Combination.ALL the lowest, because the part is rejected only when even
        that one is above 1, or its class is unknown.
    worst_measure : str
        'scorer.measure' that gave it, '' when not measured.

    """

    verdict: Verdict
    reason: Reason
    comparison: str
    anomaly_score: float = math.nan
    worst_measure: str = ''


def rejected(reason: Reason, sentence: str) -> Judgement:
    """
    Make the judgement of a frame or part that could not be judged by its measures.

    """
    return Judgement(Verdict.REJECT, reason, f'{sentence} -> REJECT')


def judge(
    measures: Mapping[str, Mapping[str, float]],
    limits: LimitTable,
    combination: Combination,
    part_classes: Sequence[str] = (),
) -> Judgement:
    """
    Judge one frame by its measures.

    Parameters
    ----------
    measures : mapping of scorer to mapping of measure to float
        What the scorers have measured; measures without a limit play no part.
    limits : LimitTable
        What to judge by. A measure that is missing, NaN or infinite rejects (SCORE_INVALID),
        whatever the combination.
    combination : Combination
        Whether one limit exceeded rejects, or only all. One that tells the class always does:
        what limits say holds for the taught classes only.
    part_classes : sequence of str
        The taught classes that the part looks most like, for the comparison.

    """
    values = [(limit, measures.get(limit.scorer, {}).get(limit.measure)) for limit in limits]
    for limit, value in values:
        if value is None or not math.isfinite(value):
            return rejected(
                Reason.SCORE_INVALID,
                f'{limit.name} is {"missing" if value is None else value}, '
                'a finite number is required',
            )
    measured = [(limit, value) for limit, value in values if value is not None]
    exceeded = [(limit, value) for limit, value in measured if limit.is_exceeded_by(value)]
    kept = [(limit, value) for limit, value in measured if not limit.is_exceeded_by(value)]
    is_stranger = any(limit.tells_class for limit, _ in exceeded)
    decisive = max if combination is Combination.ANY or is_stranger else min
    scored = measured
    if decisive is max:
        scored = [one for one in measured if not one[0].is_perfect(one[1])] or measured
    score, worst = decisive(
        ((limit.anomaly_score(value), limit.name) for limit, value in scored),
        key=lambda scored: scored[0],
    )
    is_rejected = is_stranger or (bool(exceeded) if combination is Combination.ANY else not kept)
    likeness = 'most like' if is_stranger else 'class'
    comparison = ', '.join(
        [_compared(limit, value) for limit, value in exceeded + kept]
        + [f'{likeness} {part_class!r}' for part_class in part_classes]
    )
    if is_rejected:
        reason = Reason.UNKNOWN_CLASS if is_stranger else Reason.LIMIT_EXCEEDED
        return Judgement(Verdict.REJECT, reason, f'{comparison} -> REJECT', score, worst)
    # Without these words 'a < b -> PASS' would read like a mistake.
    if exceeded:
        comparison += ' (only all limits exceeded together reject)'
    return Judgement(Verdict.PASS, Reason.WITHIN_LIMITS, f'{comparison} -> PASS', score, worst)


def _compared(limit: Limit, value: float) -> str:
    """
    Write a comparison with as many digits as it takes for the text to be true.

    """
    is_exceeded = limit.is_exceeded_by(value)
    sign = {
        (BadSide.HIGH, True): '>',
        (BadSide.HIGH, False): '<=',
        (BadSide.LOW, True): '<',
        (BadSide.LOW, False): '>=',
    }[limit.bad_side, is_exceeded]
    size = max(abs(value), abs(limit.value))
    exponent = math.floor(math.log10(size)) if size > 0 else 0
    for digits in range(3, 18):
        decimals = max(0, digits - 1 - exponent)
        style = f'.{decimals}f' if -4 <= exponent < 7 else f'.{digits - 1}e'
        texts = f'{value:{style}}', f'{limit.value:{style}}'
        # Equal texts are true for '<=' and '>='; rounding never turns an order round.
        if not is_exceeded or texts[0] != texts[1]:
            break
    return f'{limit.name} {texts[0]} {sign} {texts[1]}'
