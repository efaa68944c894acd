# SPDX-License-Identifier: Apache-2.0
"""
Calibration, challenge and ranges on the Tune page, on a cell that the test makes up.

"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from playwright.sync_api import expect

from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.cell.views import CalibrationView, ChallengeView
from support.panel_site import SCRIPT

KNOWN = ('good gold sample', 'bad scratch 2 mm', 'bad missing bolt')
READY = ChallengeView(
    *('due', f'due, {SCRIPT}; production is blocked: start ~/run_challenge, then put on: x'),
    is_blocked=True,
    parts=KNOWN,
)


@pytest.fixture
def site(panel_site: Any) -> Any:
    """
    Give the made-up cell; what it knows is afterwards as it was before.

    """
    state, cell = panel_site.parts.state, panel_site.cell
    limits = state.picture().limits
    cell.given.clear()
    cell.answer = Answer(True, 'done')
    yield panel_site
    state.set_calibration(CalibrationView())
    state.set_challenge(ChallengeView())
    state.set_limits(limits, are_unsaved=True)
    cell.answer = Answer(True, 'done')
    cell.given.clear()


def open_tune(page: Any, site: Any, role: str) -> None:
    (name, value), *_ = site.cookie(role).items()
    page.context.add_cookies([{'name': name, 'value': value, 'url': site.address}])
    page.goto(f'{site.address}tune')
    expect(page.locator('.tune-limit').first).to_be_visible()


def given(site: Any, page: Any, *names: str) -> Any:
    """
    Wait for the commands of these names, and give the last one.

    """
    for _ in range(200):
        if [name for name, _ in site.cell.given] == list(names):
            return site.cell.given[-1][1] if names else None
        page.wait_for_timeout(50)
    raise AssertionError(site.cell.given)


def test_a_challenge_says_what_to_put_on_next(page: Any, site: Any, shoot: Any) -> None:
    state = site.parts.state
    open_tune(page, site, 'operator')
    box = page.locator('.challenge')
    expect(box).to_be_hidden()
    state.set_challenge(READY)
    expect(box).to_contain_text('Production is blocked')
    expect(box).to_contain_text(f'due, {SCRIPT}')
    expect(box).not_to_contain_text('run_challenge')
    expect(box.locator('.challenge-part')).to_have_count(3)

    box.get_by_role('button', name='Start the challenge').click()
    given(site, page, 'run_challenge')
    running = replace(READY, state='running', detail='put on good gold sample', parts_done=0)
    state.set_challenge(running)
    expect(box.locator('.is-next')).to_contain_text('gold sample')
    state.set_challenge(replace(running, parts_done=1))
    expect(box.locator('.is-next')).to_contain_text('scratch 2 mm')
    expect(box.locator('.is-done')).to_have_count(1)
    expect(box).to_contain_text('Put on the marked part')
    shoot('tune_challenge')
    box.get_by_role('button', name='Give up').click()
    given(site, page, 'run_challenge', 'cancel_challenge')

    wrong = 'bad scratch 2 mm came out wrong, WITHIN_LIMITS'
    state.set_challenge(
        replace(
            READY,
            state='failed',
            detail=f'{wrong}; production is blocked: start ~/run_challenge, then put on: x',
        )
    )
    expect(box).to_contain_text('Failed')
    expect(box).to_contain_text(wrong)
    state.set_challenge(
        ChallengeView('passed', 'passed: 3 known parts came out right', False, KNOWN, 0, 1.9e9)
    )
    expect(box).to_contain_text('Passed')
    expect(box).to_contain_text('3 known parts came out right. Next at 2030-03-17')
    site.cell.answer = Answer(False, 'a challenge is under way')
    box.get_by_role('button', name='Start the challenge').click()
    expect(box.get_by_role('alert')).to_have_text('a challenge is under way')
    assert not page.evaluate('window.hacked')


def test_a_calibration_is_watched_cancelled_and_undone(page: Any, site: Any, shoot: Any) -> None:
    state = site.parts.state
    limits = state.picture().limits
    open_tune(page, site, 'engineer')
    page.get_by_label('Good parts', exact=True).fill('20')
    page.get_by_role('button', name='Start', exact=True).click()
    assert given(site, page, 'calibrate') == (20, 0.0)
    state.set_calibration(
        CalibrationView('collecting', 7, 20, '7 of 20 collected; not counted: 2 TIMEOUT')
    )
    box = page.locator('.box', has_text='Calibrate on good parts')
    expect(box.locator('.calibrate-done')).to_have_text('7')
    expect(box).to_contain_text('of 20 good parts')
    expect(box).to_contain_text('not counted: 2 TIMEOUT')
    shoot('tune_calibrating')
    box.get_by_role('button', name='Cancel').click()
    given(site, page, 'calibrate', 'cancel_calibration')

    # Another one begins elsewhere, and ends: what was and what is now.
    state.set_calibration(CalibrationView('failed', 7, 20, 'cancelled; 7 of 20 collected'))
    expect(box).to_contain_text('cancelled; 7 of 20 collected')
    state.set_calibration(CalibrationView('collecting', 0, 20, '0 of 20 good parts collected'))
    new = tuple(replace(limit, value=limit.value / 2 + 0.01) for limit in limits)
    state.set_limits(new, are_unsaved=True)
    state.set_calibration(CalibrationView('done', 20, 20, 'all', '2 of 20 lie beyond. Promise.'))
    expect(box.locator('.calibrate-limit')).to_have_count(2)
    expect(box.locator('.calibrate-values').first).to_have_text('0.800  →  0.410')
    expect(box).to_contain_text('2 of 20 lie beyond. Promise.')
    shoot('tune_calibrated')
    box.get_by_role('button', name='Undo calibration').click()
    given(site, page, 'calibrate', 'cancel_calibration', 'undo_calibration')
    state.set_calibration(CalibrationView('undone', 0, 0, SCRIPT))
    expect(box).to_contain_text(SCRIPT)
    expect(box.get_by_role('button', name='Undo calibration')).to_be_hidden()
    site.cell.answer = Answer(False, 'no recipe is in force yet')
    box.get_by_role('button', name='Start', exact=True).click()
    expect(box.get_by_role('alert')).to_have_text('no recipe is in force yet')


def test_a_range_is_set_shown_and_taken_away(page: Any, site: Any, shoot: Any) -> None:
    state = site.parts.state
    limits = state.picture().limits
    open_tune(page, site, 'engineer')
    row = page.locator('.tune-limit', has_text='mean similarity')
    row.get_by_role('button', name='Set the range').click()
    dialog = page.locator('.q-dialog')
    expect(dialog).to_contain_text('Range of the limit: mean similarity')
    expect(dialog).to_contain_text('as version 4')
    dialog.get_by_label('Lowest limit').fill('0.7')
    dialog.get_by_label('Highest limit').fill('0.85')
    site.cell.answer = Answer(False, 'refused, allowed: a range that holds the limit')
    dialog.get_by_role('button', name='Save').click()
    expect(dialog.get_by_role('alert')).to_contain_text('allowed: a range that holds')
    site.cell.answer = Answer(True, 'done')
    shoot('tune_range')
    dialog.get_by_role('button', name='Save').click()
    expect(dialog).to_be_hidden()
    assert site.cell.given == [('set_limit_ranges', {'ssim.mean_ssim': (0.7, 0.85)})] * 2

    narrowed = replace(limits[0], lowest=0.7, highest=0.85, is_narrowed=True)
    state.set_limits((narrowed, *limits[1:]), are_unsaved=False)
    expect(row.locator('.tune-range')).to_contain_text('from 0.7 to 0.85')
    # The slider goes no further, wherever it is put.
    site.cell.given.clear()
    slider = row.locator('.tune-slider')
    box = slider.bounding_box()
    slider.click(position={'x': box['width'] * 0.98, 'y': box['height'] / 2})
    assert given(site, page, 'set_limits') == {'ssim.mean_ssim': 0.7}

    row.get_by_role('button', name='Set the range').click()
    expect(dialog.get_by_label('Lowest limit')).to_have_value('0.7')
    dialog.get_by_label('Lowest limit').fill('')
    dialog.get_by_label('Highest limit').fill('')
    site.cell.given.clear()
    dialog.get_by_role('button', name='Save').click()
    assert given(site, page, 'set_limit_ranges') == {'ssim.mean_ssim': (None, None)}


def test_an_operator_runs_challenges_and_no_more(page: Any, site: Any) -> None:
    state = site.parts.state
    state.set_challenge(READY)
    open_tune(page, site, 'operator')
    expect(page.get_by_role('button', name='Start the challenge')).to_be_visible()
    expect(page.get_by_text('Calibrate on good parts')).to_have_count(0)
    expect(page.get_by_role('button', name='Set the range')).to_have_count(0)
