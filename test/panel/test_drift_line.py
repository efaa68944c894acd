# SPDX-License-Identifier: Apache-2.0
"""
The line about drift, in both languages.

"""

import math

import pytest

from anomaly_inspection.drift.causes import CauseKind
from anomaly_inspection.panel.cell.state import CellState
from anomaly_inspection.panel.cell.views import DriftCauseView, DriftView

pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from anomaly_inspection.panel.line.drift_line import drift_words
from anomaly_inspection.panel.words import Words

EN, DE = Words('en'), Words('de')


def void(*causes):
    return DriftView('void', 0.0, causes)


@pytest.mark.parametrize('kind', CauseKind)
def test_every_cause_has_words_in_both_languages(kind):
    cause = DriftCauseView(kind.name.lower(), 'ssim.mse')

    english, german = (drift_words(void(cause), words, '14:02') for words in (EN, DE))

    assert english != german
    assert '14:02' in english
    assert '14:02' in german
    assert '(' not in english


def test_the_line_says_what_moved_by_how_much():
    light = DriftCauseView('light', 'light', -6.3, '%')
    turned = DriftCauseView('camera', 'rotation', -4.04, 'deg')

    assert drift_words(void(light, turned), EN, '14:02') == (
        'Not as taught since 14:02: the light (\u22126 %); camera or belt guide (4.0 degrees)'
    )
    assert 'Kamera oder Bandführung (4,0 Grad)' in drift_words(void(turned), DE, '14:02')


def test_the_state_of_the_cell_keeps_the_drift():
    state = CellState()
    assert state.picture().drift.state == ''
    assert math.isnan(state.picture().drift.since_s)

    state.set_drift(void(DriftCauseView('belt')))

    assert state.picture().drift.causes[0].kind == 'belt'
