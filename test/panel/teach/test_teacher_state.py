# SPDX-License-Identifier: Apache-2.0
"""
What the pages know of the teacher.

"""

from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.cell.state import CellState
from anomaly_inspection.panel.teach.teacher_state import (
    SessionView,
    ShadowView,
    TeacherView,
    TrialView,
)


def test_a_session_is_found_by_its_name():
    pump, valve = SessionView('pump_1', 'Pump'), SessionView('valve_1', 'Valve')
    teacher = TeacherView(sessions=(pump, valve))
    assert teacher.named('valve_1') == valve
    assert teacher.named('gone') is None


def test_another_trial_begins_without_the_parts_of_the_last_one():
    state = CellState()
    state.set_teacher(TeacherView(trial=TrialView('pump_1')))
    state.take_shadow(ShadowView(1, draft_passes=True, passes_in_force=False))
    state.set_teacher(TeacherView(trial=TrialView('pump_1', parts=1)))
    assert [one.number for one in state.picture().shadows] == [1]
    state.set_teacher(TeacherView(trial=TrialView('valve_1')))
    assert state.picture().shadows == ()


def test_only_the_newest_parts_of_a_trial_are_kept():
    state = CellState()
    for number in range(200):
        state.take_shadow(ShadowView(number, draft_passes=True, passes_in_force=True))
    numbers = [one.number for one in state.picture().shadows]
    assert len(numbers) < 100
    assert numbers[-1] == 199


def test_an_answer_is_gone_when_the_same_is_asked_again():
    state = CellState()
    state.set_teacher_answer('teach', Answer(False, 'too few images'))
    state.set_teacher_answer('record', Answer(True, '5 parts recorded'))
    before = state.revision
    state.set_teacher_answer('teach', None)
    assert state.revision > before
    assert set(state.picture().teacher_answers) == {'record'}


def test_pages_hear_once_that_the_teacher_has_gone():
    state = CellState()
    state.set_teacher_running(is_running=True)
    before = state.revision
    state.set_teacher_running(is_running=True)
    assert state.revision == before
    state.set_teacher_running(is_running=False)
    assert state.revision > before
    assert not state.picture().teacher_is_running
