# SPDX-License-Identifier: Apache-2.0
"""
Reviewing with filters and keys in a real browser, on rejects that the test makes up.

"""

from dataclasses import replace
import re

import numpy as np
import pytest

pytest.importorskip('playwright.sync_api')

from playwright.sync_api import expect

from anomaly_inspection.panel.review.reject import ReviewVerdict
from support.panel_people import log_in

pytestmark = pytest.mark.timeout(180)

SCRIPT = '<img src=x onerror="window.hacked=1">'


@pytest.fixture
def recipe(request):
    """
    Give the recipe, and the session, of this test's own rejects.

    """
    return re.sub('[^a-z]+', '_', request.node.name)[:30]


@pytest.fixture
def rejects(panel_site, recipe):
    """
    Put rejects into the set: `rejects(101, 102)`.

    """

    def put(*numbers, **of_decision):
        template = panel_site.parts.state.part(('session', 1))
        for number in numbers:
            decision = replace(template.decision, recipe_name=recipe, **of_decision)
            part = replace(template, key=(recipe, number), decision=decision)
            image = np.full((60, 80), number % 250, np.uint8)
            panel_site.reviews.put(part, lambda image=image: image, image.size, 2e9 + number)
            # No more may wait than the set has room for.
            assert panel_site.reviews.settle()

    return put


def wait_seen(page, number):
    expect(page.locator('.review-title')).to_have_text(f'Part {number}')
    expect(page.locator(f'.review-picture[data-seen="{number}"]')).to_be_visible()


def choose(page, label, option):
    page.get_by_label(label, exact=True).click()
    page.get_by_role('option', name=option, exact=True).click()


@pytest.fixture
def judged(panel_site, recipe):
    return lambda number: panel_site.reviews.reject((recipe, number))


def test_three_parts_by_keys_with_a_comment(page, panel_site, rejects, recipe, judged):
    rejects(101, 102, 103)
    log_in(page, panel_site.address, 'operator')
    page.get_by_role('link', name='Review').click()
    choose(page, 'Recipe', recipe)
    wait_seen(page, 103)
    page.keyboard.press('1')
    wait_seen(page, 102)
    page.keyboard.press('c')
    page.locator('.review-comment input:focus').wait_for()
    # The keys are letters of the comment now.
    page.keyboard.type(f'a 2 m {SCRIPT}')
    page.keyboard.press('Enter')
    expect(page.locator('.review-comment input')).not_to_be_focused()
    page.keyboard.press('2')
    wait_seen(page, 101)
    page.keyboard.press('3')
    expect(page.locator('.review-said')).to_have_text(re.compile('Unsure: operator, '))

    # Back, to what was said before, and think better of it.
    page.keyboard.press('ArrowLeft')
    wait_seen(page, 102)
    expect(page.locator('.review-said')).to_have_text(re.compile('Confirmed bad: operator, '))
    expect(page.locator('.review-comment input')).to_have_value(f'a 2 m {SCRIPT}')
    page.keyboard.press('ArrowLeft')
    wait_seen(page, 103)
    page.keyboard.press('2')
    wait_seen(page, 102)

    expect(page.locator('.review-tile.is-defect')).to_have_count(2)
    verdicts = [judged(number).verdict for number in (101, 102, 103)]
    assert verdicts == [ReviewVerdict.UNSURE, ReviewVerdict.DEFECT, ReviewVerdict.DEFECT]
    assert judged(102).comment == f'a 2 m {SCRIPT}'
    assert judged(102).who == 'operator'
    entry = panel_site.people.audit.recent()[0]
    assert (entry['who'], entry['what']) == ('operator', 'review a reject')
    assert (entry['old'], entry['new']) == ('good', 'defect')
    assert entry['subject'] == f'part 103 of session {recipe}'
    assert not page.evaluate('window.hacked')


def test_filters_and_what_comes_meanwhile(page, panel_site, rejects, recipe):
    rejects(201, 202)
    rejects(203, reason='TIMEOUT')
    panel_site.reviews.judge((recipe, 202), ReviewVerdict.GOOD, '', 'anna', 1.8e9)
    log_in(page, panel_site.address, 'operator')
    page.get_by_role('link', name='Review').click()
    choose(page, 'Recipe', recipe)

    def shown():
        return page.locator('.review-tile-number').all_inner_texts()

    expect(page.locator('.review-title')).to_have_text('Part 203')
    assert {'203', '201'} <= set(shown())
    assert '202' not in shown()
    choose(page, 'Reason', 'no score in time')
    expect(page.locator('.review-tile')).to_have_count(1)

    # One that comes meanwhile is put in front, and the one that is shown stays.
    rejects(204, reason='TIMEOUT')
    expect(page.locator('.review-tile')).to_have_count(2)
    assert shown() == ['204', '203']
    expect(page.locator('.review-title')).to_have_text('Part 203')

    choose(page, 'Reason', 'all')
    choose(page, 'Show', 'Was good')
    expect(page.locator('.review-title')).to_have_text('Part 202')
    expect(page.locator('.review-said')).to_have_text(re.compile('Was good: anna, '))
    choose(page, 'Time', 'the shift before')
    expect(page.locator('.review-picture')).to_contain_text('No part matches these filters.')
    expect(page.get_by_role('button', name='Was good')).to_be_disabled()


def test_a_held_key_judges_one_part(page, panel_site, rejects, recipe, judged):
    rejects(301, 302, 303)
    log_in(page, panel_site.address, 'operator')
    page.get_by_role('link', name='Review').click()
    choose(page, 'Recipe', recipe)
    wait_seen(page, 303)
    for _ in range(20):
        page.keyboard.down('1')
    page.keyboard.up('1')
    wait_seen(page, 302)
    # A change that the test can wait for comes after all that the keys have done.
    page.keyboard.press('ArrowRight')
    wait_seen(page, 301)
    assert judged(303).verdict is ReviewVerdict.GOOD
    assert judged(302).verdict is None


def test_nobody_judges_what_has_not_been_shown(page, panel_site, rejects, recipe, judged):
    rejects(501, 502, 503)
    held = []
    page.route(f'**/rejects/{recipe}/502/marked.jpg', lambda route: held.append(route))
    log_in(page, panel_site.address, 'operator')
    page.get_by_role('link', name='Review').click()
    choose(page, 'Recipe', recipe)
    wait_seen(page, 503)
    page.keyboard.press('1')
    expect(page.locator('.review-title')).to_have_text('Part 502')
    page.keyboard.press('1')
    page.keyboard.press('m')
    wait_seen(page, 502)
    assert judged(502).verdict is None
    page.keyboard.press('2')
    wait_seen(page, 501)
    expect(page.locator('.review-tile.is-defect')).to_have_count(1)
    assert judged(502).verdict is ReviewVerdict.DEFECT
    for route in held:
        route.abort()


def test_a_verdict_that_is_refused_is_told(page, panel_site, rejects, recipe, judged):
    from anomaly_inspection.panel.people.roles import Role

    rejects(401)
    log_in(page, panel_site.address, 'operator')
    page.get_by_role('link', name='Review').click()
    choose(page, 'Recipe', recipe)
    wait_seen(page, 401)
    panel_site.people.accounts.set_role('operator', Role.VIEWER)
    try:
        page.keyboard.press('1')
        expect(
            page.get_by_text(re.compile('needs the role operator; you are viewer', re.I))
        ).to_be_visible()
    finally:
        panel_site.people.accounts.set_role('operator', Role.OPERATOR)
    assert judged(401).verdict is None


def test_a_reject_has_its_picture_on_the_line_page_though_nobody_looked(page, panel_site):
    log_in(page, panel_site.address, 'operator')
    page.locator('.tile.is-bad').first.click()
    image = page.locator('.part-dialog-picture img')
    expect(image).to_have_attribute('src', '/rejects/session/3/marked.jpg')
    page.wait_for_function("document.querySelector('.part-dialog-picture img').naturalWidth > 60")
    dialog = page.locator('.part-dialog')
    dialog.get_by_text('Frame', exact=True).click()
    expect(image).to_have_attribute('src', '/rejects/session/3/frame.png')
    dialog.get_by_text('Map', exact=True).click()
    expect(image).to_be_hidden()

    page.context.clear_cookies()
    log_in(page, panel_site.address, 'viewer')
    page.locator('.tile.is-bad').first.click()
    expect(page.locator('.part-dialog-title')).to_be_visible()
    expect(image).to_be_hidden()
