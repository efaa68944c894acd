# SPDX-License-Identifier: Apache-2.0
"""
People in a real browser: roles side by side, wrong passwords, and the page People.

"""

import re
import time

import pytest

pytest.importorskip('playwright.sync_api')

import httpx
from playwright.sync_api import expect

from anomaly_inspection.errors import InspectionError
from anomaly_inspection.panel.people.roles import Role
from support.panel_people import log_in, PASSWORD

pytestmark = pytest.mark.timeout(180)

SCRIPT = '<img src=x onerror="window.hacked=1">'


@pytest.fixture
def people(panel_site):
    """
    The people of the site, without those that other tests have added.

    """
    people = panel_site.people
    panel_site.forget_attempts()
    panel_site.cell.given.clear()
    yield people
    panel_site.forget_attempts()
    people.accounts.set_role('operator', Role.OPERATOR)
    people.accounts.set_enabled('operator', True)
    for account in people.accounts.all():
        if account.name not in ('viewer', 'operator', 'engineer'):
            people.accounts.delete(account.name)


@pytest.fixture
def other_page(browser):
    """
    A page in another browser.

    """
    context = browser.new_context(viewport={'width': 1280, 'height': 800}, locale='en-US')
    other = context.new_page()
    other.set_default_timeout(30_000)
    yield other
    context.close()


def try_log_in(page, address, name, password):
    page.goto(f'{address}log-in')
    page.locator('#name').fill(name)
    page.locator('#password').fill(password)
    page.locator('button[type=submit]').click()


# Roles


def test_two_roles_at_the_same_time(page, other_page, panel_site, people):
    address = panel_site.address
    log_in(page, address, 'operator')
    log_in(other_page, address, 'engineer')
    for one in (page, other_page):
        one.get_by_role('link', name='Tune').click()
        expect(one.locator('.tune-slider').first).to_be_visible()
    expect(page.locator('.tune-slider').first).to_have_class(re.compile('disabled'))
    expect(page.locator('.tune-number input').first).to_be_disabled()
    expect(page.get_by_role('button', name='Save')).to_have_count(0)
    expect(page.get_by_role('link', name='Teach')).to_have_count(0)

    number = other_page.locator('.tune-number input').first
    expect(number).to_be_enabled()
    number.fill('0.75')
    number.press('Enter')
    expect(other_page.get_by_role('link', name='Teach')).to_be_visible()
    expect(other_page.locator('.tune-sentence').first).to_be_visible()
    with panel_site.cell.changed:
        assert panel_site.cell.changed.wait_for(lambda: panel_site.cell.given, 20)
    ((command, limits),) = panel_site.cell.given
    assert (command, [*limits.values()]) == ('set_limits', [0.75])
    entry = people.audit.recent()[0]
    assert (entry['who'], entry['what']) == ('engineer', 'set limits')

    # The address is refused as well, whatever the navigation shows.
    assert page.goto(f'{address}teach').status == 403


def test_a_role_that_is_taken_away_counts_on_the_open_page(page, other_page, panel_site, people):
    people.accounts.add('gerda', PASSWORD, Role.ENGINEER)
    address = panel_site.address
    try_log_in(page, address, 'gerda', PASSWORD)
    page.get_by_role('link', name='Tune').click()
    expect(page.locator('.tune-number input').first).to_be_enabled()
    log_in(other_page, address, 'engineer')
    other_page.get_by_role('link', name='People').click()
    row = other_page.locator('.people-table.accounts > *', has_text='gerda')
    expect(row.first).to_be_visible()
    other_page.get_by_label('Role').nth(
        [one.name for one in people.accounts.all()].index('gerda')
    ).click()
    other_page.get_by_role('option', name='Operator').click()

    # Nobody has touched the page, and it is that of an operator.
    expect(page.locator('.who-role')).to_have_text('Operator')
    expect(page.locator('.tune-number input').first).to_be_disabled()
    assert people.accounts.named('gerda').role is Role.OPERATOR
    assert panel_site.cell.given == []


# Wrong passwords


def test_ten_wrong_passwords_and_an_innocent_at_the_same_terminal(
    page, panel_site, people, monkeypatch
):
    now_s = [time.monotonic()]
    monkeypatch.setattr(people.attempts, '_now_s', lambda: now_s[0])
    people.accounts.add('carlo', PASSWORD, Role.OPERATOR)
    address = panel_site.address
    alert = page.get_by_role('alert')
    for attempt in range(10):
        try_log_in(page, address, 'carlo', 'a wrong password')
        said = 'The name, the password or the code is wrong.'
        if attempt >= 5:
            said = 'Too many wrong passwords. Wait 5 seconds and try again.'
        expect(alert).to_have_text(said)
    # Not even the right one helps now; the name need not be typed again.
    try_log_in(page, address, 'carlo', PASSWORD)
    expect(alert).to_have_text('Too many wrong passwords. Wait 5 seconds and try again.')
    expect(page.locator('#name')).to_have_value('carlo')
    expect(page.locator('#password')).to_have_value('')
    log_in(page, address, 'operator')
    expect(page.locator('.who-name')).to_have_text('operator')

    page.context.clear_cookies()
    now_s[0] += 5
    try_log_in(page, address, 'carlo', 'wrong once more')
    expect(alert).to_have_text('The name, the password or the code is wrong.')
    try_log_in(page, address, 'carlo', PASSWORD)
    expect(alert).to_have_text('Too many wrong passwords. Wait 10 seconds and try again.')
    now_s[0] += 10
    try_log_in(page, address, 'carlo', PASSWORD)
    expect(page.locator('.who-name')).to_have_text('carlo')


def test_an_address_that_tries_many_names_waits_and_others_do_not(
    page, other_page, panel_site, people
):
    address = panel_site.address
    log_in(other_page, address, 'viewer')
    for attempt in range(10):
        try_log_in(page, address, f'nobody {attempt}', 'a wrong password')
        expect(page.get_by_role('alert')).to_be_visible()
    try_log_in(page, address, 'operator', PASSWORD)
    expect(page.get_by_role('alert')).to_contain_text('Wait')
    # Who is logged in at this address stays so, and other addresses are not affected.
    other_page.reload()
    expect(other_page.locator('.who-name')).to_have_text('viewer')
    elsewhere = httpx.HTTPTransport(local_address='127.0.0.2')
    with httpx.Client(base_url=address, transport=elsewhere, timeout=20) as client:
        answer = client.post(
            '/log-in',
            data={'name': 'operator', 'password': PASSWORD},
            headers={'origin': address.rstrip('/')},
        )
        assert answer.status_code == 303
        assert client.get('/session').json()['name'] == 'operator'


# The page People


def test_an_engineer_adds_a_person_who_chooses_a_password(page, other_page, panel_site, people):
    address = panel_site.address
    log_in(page, address, 'engineer')
    page.get_by_role('link', name='People').click()
    page.get_by_role('button', name='Add an account').click()
    dialog = page.locator('.q-dialog .dialog')
    dialog.get_by_label('Name').fill('Anna Weiß')
    dialog.locator('.go-on').click()
    secret = page.locator('.secret')
    expect(secret).to_be_visible()
    password = secret.inner_text()
    page.get_by_role('button', name='Close').click()
    expect(secret).to_have_count(0)
    page.reload()
    expect(page.get_by_text('Anna Weiß', exact=True)).to_be_visible()
    expect(page.get_by_text('must choose a password')).to_be_visible()
    assert password not in page.content()

    try_log_in(other_page, address, 'Anna Weiß', password)
    other_page.wait_for_url(f'{address}password')
    expect(other_page.get_by_text('Somebody else chose your password.')).to_be_visible()
    other_page.locator('#password').fill(password)
    other_page.locator('#new_password').fill('nine chars')
    other_page.locator('button[type=submit]').click()
    other_page.wait_for_url(address)
    expect(other_page.locator('.who-role')).to_have_text('Operator')

    # Disabled: the open page goes to the log-in, and the password no longer helps.
    menu = page.get_by_label('More').nth(
        [one.name for one in people.accounts.all()].index('Anna Weiß')
    )
    menu.click()
    page.get_by_text('Disable', exact=True).click()
    expect(page.get_by_text('disabled', exact=True)).to_be_visible()
    other_page.wait_for_url(re.compile('/log-in'))
    try_log_in(other_page, address, 'Anna Weiß', 'nine chars')
    expect(other_page.get_by_role('alert')).to_have_text(
        'The name, the password or the code is wrong.'
    )
    menu.click()
    page.get_by_text('Enable', exact=True).click()
    expect(page.get_by_text('disabled', exact=True)).to_have_count(0)
    menu.click()
    page.get_by_text('Delete', exact=True).click()
    page.get_by_role('button', name='Yes').click()
    expect(page.get_by_text('Anna Weiß', exact=True)).to_have_count(0)
    assert people.accounts.named('Anna Weiß') is None


def test_names_that_are_no_names_are_refused_in_words(page, panel_site, people):
    log_in(page, panel_site.address, 'engineer')
    page.get_by_role('link', name='People').click()
    page.get_by_role('button', name='Add an account').click()
    dialog = page.locator('.q-dialog .dialog')
    for name in ('', 'engineer', SCRIPT):
        dialog.get_by_label('Name').fill(name)
        dialog.locator('.go-on').click()
        with pytest.raises(InspectionError) as refusal:
            people.accounts.add(name, PASSWORD, Role.VIEWER)
        expect(page.get_by_text(str(refusal.value)).first).to_be_visible()
        expect(dialog).to_be_visible()
    assert not page.evaluate('window.hacked')


def test_a_token_is_shown_once_works_and_is_revoked(page, panel_site, people):
    address = panel_site.address
    others = panel_site.token('operator')
    log_in(page, address, 'operator')
    page.get_by_role('link', name='People').click()
    page.get_by_role('button', name='New token').click()
    dialog = page.locator('.q-dialog .dialog')
    dialog.get_by_label('What is it for?').fill(f'dashboard {SCRIPT}')
    dialog.get_by_label('Role').click()
    # Nobody makes a token that may do more than its owner.
    expect(page.get_by_role('option')).to_have_text(['Viewer', 'Operator'])
    page.get_by_role('option', name='Operator').click()
    dialog.locator('.go-on').click()
    secret = page.locator('.secret')
    expect(secret).to_be_visible()
    token = secret.inner_text()
    page.get_by_role('button', name='Close').click()

    def status(secret):
        headers = {'authorization': f'Bearer {secret}'}
        return httpx.get(f'{address}api/reviews', headers=headers, timeout=20).status_code

    assert status(token) == 200
    page.reload()
    expect(page.get_by_text(f'dashboard {SCRIPT}')).to_be_visible()
    assert token not in page.content()
    row = page.locator('.row-words').filter(has_text=f'dashboard {SCRIPT}')
    row.locator('xpath=following-sibling::button[1]').click()
    page.get_by_role('button', name='Yes').click()
    expect(page.get_by_text(f'dashboard {SCRIPT}')).to_have_count(0)
    assert status(token) == 401
    assert status(others) == 200
    assert not page.evaluate('window.hacked')


def test_log_out_everywhere_ends_the_other_browser_too(page, other_page, panel_site, people):
    people.accounts.add('hugo', PASSWORD, Role.OPERATOR)
    address = panel_site.address
    for one in (page, other_page):
        try_log_in(one, address, 'hugo', PASSWORD)
        one.get_by_role('link', name='People').click()
        expect(one.locator('.person-name').first).to_have_text('hugo')
    page.get_by_role('button', name='Log out everywhere').click()
    page.wait_for_url(re.compile('/log-in'))
    other_page.wait_for_url(re.compile('/log-in'))


def test_a_reset_password_ends_the_log_ins_and_is_shown_once(page, other_page, panel_site, people):
    people.accounts.add('ida', PASSWORD, Role.OPERATOR)
    address = panel_site.address
    try_log_in(other_page, address, 'ida', PASSWORD)
    expect(other_page.locator('.who-name')).to_have_text('ida')
    log_in(page, address, 'engineer')
    page.get_by_role('link', name='People').click()
    page.get_by_label('More').nth([one.name for one in people.accounts.all()].index('ida')).click()
    page.get_by_text('Reset password', exact=True).click()
    password = page.locator('.secret').inner_text()
    other_page.wait_for_url(re.compile('/log-in'))
    try_log_in(other_page, address, 'ida', password)
    other_page.wait_for_url(f'{address}password')


def test_the_line_page_leads_operators_to_the_shift_report_and_viewers_not(page, panel_site):
    for role, links in (('viewer', 0), ('operator', 2)):
        page.context.clear_cookies()
        log_in(page, panel_site.address, role)
        page.goto(panel_site.address)
        expect(page.locator('.counters .counter').first).to_be_visible()
        expect(page.locator('.report-links a')).to_have_count(links)
    with page.context.expect_page() as opened:
        page.get_by_role('link', name='this shift').click()
    # There are no records here: the reason is told, not a stack of lines.
    expect(opened.value.get_by_text('the report cannot be made: ')).to_be_visible(timeout=60_000)
