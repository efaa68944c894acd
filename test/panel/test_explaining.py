# SPDX-License-Identifier: Apache-2.0
"""
Sentences and numbers of the page in the language of the viewer.

"""

import math

import pytest

from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.cell.part_views import (
    DecisionView,
    ExplanationView,
    LimitView,
    MeasureView,
    PartView,
    RegionView,
    ScoreView,
)
from anomaly_inspection.panel.cell.views import LineStopView
from anomaly_inspection.panel.explaining import (
    explained,
    explained_further,
    NO_NUMBER,
    number,
    said,
    stop_words,
)
from anomaly_inspection.panel.words import Words
from anomaly_inspection.sorting.stop_cause import StopCause

DE, EN = Words('de'), Words('en')


@pytest.mark.parametrize(
    ('value', 'german', 'english'),
    [(2.347, '2,35', '2.35'), (0.9634, '0,963', '0.963'), (1500.0, '1500', '1500')],
)
def test_numbers_have_the_decimal_mark_of_the_language(value, german, english):
    assert (number(value, DE), number(value, EN)) == (german, english)


def test_a_number_that_is_none_is_a_dash():
    assert number(math.nan, DE) == NO_NUMBER


def test_the_cause_of_a_stop_is_said_in_the_language_with_the_sentence_of_the_cell_below():
    stop = LineStopView(True, 'no answer from /dev/ttyUSB0 within 0.5 s', 0.0, 'gate')
    cause, detail, advice = stop_words(stop, DE)
    assert cause == 'Die Weiche oder der Arm antwortet nicht richtig.'
    assert detail == 'no answer from /dev/ttyUSB0 within 0.5 s'
    assert 'Druckluft' in advice
    assert stop_words(stop, EN)[0] == 'The gate or the arm does not answer as it should.'


def test_a_stop_without_a_code_is_said_as_the_cell_says_it():
    cause, detail, advice = stop_words(LineStopView(True, 'dust', 0.0), DE)
    assert (cause, detail) == ('dust', '')
    assert advice.startswith('Was tun')


@pytest.mark.parametrize('cause', [one for one in StopCause if one])
def test_every_cause_of_a_stop_has_words_and_advice(cause):
    for key in ('cause', 'advice'):
        assert DE.has(f'line_stop.{key}.{cause.name.lower()}')


def test_an_answer_with_a_code_is_said_in_the_language_and_another_one_as_it_is():
    values = {'role': 'engineer', 'own_role': 'operator'}
    refusal = Answer(False, 'needs the role engineer; you are operator', 'needs_role', values)
    assert said(refusal, DE) == 'Dazu braucht es die Rolle Einrichter; Sie sind Bediener.'
    assert said(Answer(False, 'the disk is full'), DE) == 'the disk is full'
    assert said(Answer(False, 'as it is', 'of a newer cell'), DE) == 'as it is'


def reject(**explanation):
    limits = (
        LimitView('ssim.mean_ssim', 0.9, 0.97, high_is_bad=False),
        LimitView('variation.largest_region', 100.0, 0.0, 'px'),
    )
    measures = (
        MeasureView('ssim.mean_ssim', 0.5),
        MeasureView('variation.largest_region', 240.0, 'px'),
    )
    worst = explanation.pop('worst', 'variation.largest_region')
    found = ExplanationView('in English', 'variation', **explanation)
    decision = DecisionView(False, 'LIMIT_EXCEEDED', worst_measure=worst, explanation=found)
    region = RegionView(0, 0, 5, 5, 20, 9.0)
    scores = (ScoreView('variation', measures=measures, regions=(region,)),)
    return PartView(('s', 1), decision=decision, scores=scores, limits=limits, frame_px=(90, 90))


LARGE = RegionView(110, 60, 150, 70, 240, 2.0)


def test_a_reject_is_explained_with_size_place_on_the_part_and_how_far_good_parts_go():
    part = reject(
        region=LARGE,
        place='upper_left',
        reference_px=(130.4, 64.6),
        good_parts=200,
        good_parts_worst=70.0,
    )
    assert explained_further(part, EN) == (
        '40 \u00d7 10 px at x 130, y 65 of the part as taught, peak 2 times the region limit. '
        'No good part of 200 at teaching came above 29 % of this value.'
    )
    assert 'bei x 130, y 65 des Teils' in explained_further(part, DE)
    assert 'über 29 % dieses Werts' in explained_further(part, DE)
    # The place on the part, not in the picture, and the region that the decider chose.
    assert explained(part, EN).startswith('Scratch-like difference, 40 px, in the upper left')


@pytest.mark.parametrize(
    ('worst', 'as_bad', 'words'),
    [
        ('ssim.mean_ssim', 0, 'No good part of 200 at teaching came below 0.930.'),
        ('variation.largest_region', 3, '3 of 200 good parts at teaching were at least as bad.'),
    ],
)
def test_good_parts_are_said_as_the_measure_allows(worst, as_bad, words):
    part = reject(worst=worst, good_parts=200, good_parts_as_bad=as_bad, good_parts_worst=0.93)
    assert explained_further(part, EN) == words


def test_there_is_nothing_to_add_to_a_passed_part_and_to_one_that_was_not_measured():
    assert explained_further(PartView(('s', 1)), EN) == ''
    passed = DecisionView(True, 'WITHIN_LIMITS')
    assert explained_further(PartView(('s', 1), decision=passed), EN) == ''
    assert explained_further(reject(), EN) == ''
