# SPDX-License-Identifier: Apache-2.0
"""
Sentences and numbers of the page in the language of the viewer.

"""

import math

import pytest

from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.cell.views import LineStopView
from anomaly_inspection.panel.explaining import NO_NUMBER, number, said, stop_words
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
    assert cause == 'Die Weiche antwortet nicht richtig.'
    assert detail == 'no answer from /dev/ttyUSB0 within 0.5 s'
    assert 'Druckluft' in advice
    assert stop_words(stop, EN)[0] == 'The gate does not answer as it should.'


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
