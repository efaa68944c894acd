# SPDX-License-Identifier: Apache-2.0
"""
Why a part passed or not, and what to do about a stopped line, in one sentence.

"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.cell.part_views import PartView, RegionView
    from anomaly_inspection.panel.cell.views import LineStopView
    from anomaly_inspection.panel.words import Words

# A region is a line when its box is so many times longer than wide, or filled less than that (a
# line that lies aslant).
_LONG = 3.0
_HOLLOW = 0.35
_SMALL_PX = 12
# A region that is wider and higher than this share of the frame has no place in it.
_WIDE = 0.6
_PLACES = (
    ('upper_left', 'top', 'upper_right'),
    ('left', 'middle', 'right'),
    ('lower_left', 'bottom', 'lower_right'),
)

#: Stands where there is no number.
NO_NUMBER = '—'


def explained(part: PartView, words: Words) -> str:
    """
    Say in one sentence why a part has its verdict.

    """
    decision = part.decision
    if decision is None:
        return words('reason.undecided')
    if decision.reason == 'LIMIT_EXCEEDED':
        return _limit_exceeded(part, words)
    key = f'reason.{decision.reason.lower()}'
    sentence = words(key if words.has(key) else 'reason.other', reason=decision.reason)
    details = [part.problem, *(score.detail for score in part.scores)]
    return ' '.join([sentence, *dict.fromkeys(detail for detail in details if detail)][:2])


def explained_further(part: PartView, words: Words) -> str:
    """
    Say of a reject how large the difference is, where it lies on the part, and how far good parts
    go; '' when there is nothing to add.

    """
    decision = part.decision
    if decision is None or decision.has_passed:
        return ''
    found, sentences = decision.explanation, []
    region = found.region
    if region is not None:
        size = {
            'width': region.x_max - region.x_min,
            'height': region.y_max - region.y_min,
            'times': number(region.times_limit, words),
        }
        x_px, y_px = found.reference_px
        if math.isfinite(x_px) and math.isfinite(y_px):
            size |= {'x': round(x_px), 'y': round(y_px)}
            sentences.append(words('further.region_at', **size))
        else:
            sentences.append(words('further.region', **size))
    if found.good_parts:
        sentences.append(_good_parts(part, words))
    return ' '.join(sentences)


def stop_words(stop: LineStopView, words: Words) -> tuple[str, str, str]:
    """
    Say why the line stands, and what to do.

    Returns
    -------
    cause, detail, advice : str
        The cause in the language of the page, what the cell itself says (English), and what to do.
        A cause without a code is the sentence of the cell alone, and there is no detail.

    """
    cause = stop.cause or 'general'
    advice = words(f'line_stop.advice.{cause}')
    if not stop.cause:
        return stop.reason, '', advice
    return words(f'line_stop.cause.{cause}'), stop.reason, advice


def said(answer: Answer, words: Words) -> str:
    """
    Give an answer of the cell in the language of the page where it has a code, else as it is.

    """
    key = f'answer.{answer.code}'
    if not answer.code or not words.has(key):
        return answer.message
    values = {
        name: words(f'role.{value}') if words.has(f'role.{value}') else value
        for name, value in answer.values.items()
    }
    return words(key, **values)


def measure_name(name: str, words: Words) -> str:
    """
    Give the name of 'scorer.measure' for people; measures that have none keep their own.

    """
    measure = name.partition('.')[2]
    key = f'measure.{measure}'
    return words(key) if words.has(key) else measure.replace('_', ' ')


def reason_name(reason: str, words: Words) -> str:
    """
    Give a reason code in a word or two; one that has none keeps its own name.

    """
    key = f'short_reason.{reason.lower()}'
    return words(key) if words.has(key) else reason


def unit_name(unit: str, words: Words) -> str:
    """
    Give a unit for people; '' for a pure number.

    """
    key = f'unit.{unit}'
    return '' if unit == '1' else words(key) if words.has(key) else unit


def number(value: float, words: Words) -> str:
    """
    Write a number with three significant digits, with the decimal mark of the language; a dash for
    none.

    """
    return words.decimal(_digits(value))


def axis_number(words: Words) -> str:
    """
    Give the script by which a chart writes the numbers of an axis in the language of the page.

    """
    return (
        f"value => value.toLocaleString('{words.language}', "
        '{useGrouping: false, maximumSignificantDigits: 6})'
    )


def _digits(value: float) -> str:
    if math.isnan(value):
        return NO_NUMBER
    if math.isinf(value):
        return '∞' if value > 0 else '-∞'
    size = abs(value)
    if size >= 100_000 or 0 < size < 0.001:
        return f'{value:.2e}'
    decimals = 0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2
    if 0 < size < 1 and value != round(value):
        decimals = 3
    return f'{value:.{decimals}f}'


def _limit_exceeded(part: PartView, words: Words) -> str:
    decision = part.decision
    assert decision is not None
    beyond = _beyond(part, words)
    regions = [region for score in part.scores for region in score.regions]
    if not regions:
        return beyond
    explanation = decision.explanation
    worst = explanation.region or max(regions, key=lambda region: region.times_limit)
    size = max(worst.x_max - worst.x_min, worst.y_max - worst.y_min)
    found = words('reason.found', shape=words(f'shape.{_shape(worst)}'), size=size)
    # Where it lies on the part says more than where it lies in the picture.
    place = explanation.place or _place(worst, part.frame_px)
    if place:
        found = words('reason.found_at', found=found, place=words(f'place.{place}'))
    others = len({(r.x_min, r.y_min) for r in regions}) - 1
    if others:
        found = words('reason.and_others', found=found, count=others)
    return f'{found}: {beyond}'


def _beyond(part: PartView, words: Words) -> str:
    assert part.decision is not None
    name = part.decision.worst_measure
    measure = measure_name(name, words)
    limit = next((limit for limit in part.limits if limit.name == name), None)
    value = part.value_of(limit) if limit else math.nan
    if limit is None or math.isnan(value):
        return words('reason.beyond_unknown', measure=measure)
    if limit.high_is_bad and limit.value > 0:
        return words('reason.beyond', measure=measure, times=number(value / limit.value, words))
    return words(
        'reason.beyond_value',
        measure=measure,
        value=number(value, words),
        limit=number(limit.value, words),
    )


def _good_parts(part: PartView, words: Words) -> str:
    """
    Say how many good parts at teaching were as bad as this one, and how far the worst one went.

    """
    assert part.decision is not None
    found = part.decision.explanation
    count = {'count': found.good_parts}
    if found.good_parts_as_bad:
        return words('further.good_as_bad', as_bad=found.good_parts_as_bad, **count)
    name = part.decision.worst_measure
    limit = next((limit for limit in part.limits if limit.name == name), None)
    value = part.value_of(limit) if limit else math.nan
    is_high = limit is None or limit.high_is_bad
    if limit is not None and is_high and limit.value > 0 and value > 0:
        share = number(round(100 * found.good_parts_worst / value), words)
        return words('further.good_share', share=share, **count)
    key = 'further.good_above' if is_high else 'further.good_below'
    return words(key, value=number(found.good_parts_worst, words), **count)


def _shape(region: RegionView) -> str:
    width, height = region.x_max - region.x_min, region.y_max - region.y_min
    longer, shorter = max(width, height), max(1, min(width, height))
    if longer <= _SMALL_PX:
        return 'spot'
    if longer / shorter >= _LONG or region.area_px < _HOLLOW * width * height:
        return 'line'
    return 'area'


def _place(region: RegionView, frame_px: tuple[int, int]) -> str:
    """
    Say which ninth of the frame a region lies in; '' when the size of the frame is not known.

    """
    width, height = frame_px
    if width <= 0 or height <= 0:
        return ''
    is_wide = region.x_max - region.x_min > _WIDE * width
    if is_wide and region.y_max - region.y_min > _WIDE * height:
        return 'everywhere'
    column = (region.x_min + region.x_max) * 3 // (2 * width)
    row = (region.y_min + region.y_max) * 3 // (2 * height)
    return _PLACES[min(max(0, row), 2)][min(max(0, column), 2)]
