# SPDX-License-Identifier: Apache-2.0
"""
The operator's page over HTTPS in a real browser.

"""

import re
from urllib.parse import urlsplit

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from playwright.sync_api import expect

from support.panel_people import log_in
from support.processes import address_of
from support.small_recipe import SMALL_LINE
from support.tls import write_certificate

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]


def test_the_whole_page_goes_over_tls(browser, processes, watcher, tmp_path):
    certificate, key = write_certificate(tmp_path)
    processes.start('viewer')
    processes.start('panel', port=0, certificate=certificate, key=key)
    address = address_of(processes)
    assert address.startswith('https://127.0.0.1:')
    # The browser does not know who signed the certificate of a test.
    context = browser.new_context(ignore_https_errors=True, locale='en-US')
    page = context.new_page()
    page.set_default_timeout(30_000)
    requests, sockets = [], []
    page.on('request', lambda request: requests.append(request.url))
    page.on('websocket', lambda socket: sockets.append(socket.url))
    log_in(page, address)
    processes.start_all(watcher, f'{SMALL_LINE},parts=400,defect_rate=0.5')
    watcher.wait(lambda: len(watcher.decisions) >= 5)
    expect(page.locator('.tile.is-good').first).to_be_visible()
    expect(page.locator('.live figcaption')).to_have_text(re.compile(r'Part \d+ (PASS|REJECT)'))

    assert {urlsplit(url).scheme for url in requests} <= {'https', 'data', 'blob'}
    assert {urlsplit(url).scheme for url in sockets} == {'wss'}
    assert {urlsplit(url).path for url in sockets} >= {'/frames', '/_nicegui_ws/socket.io/'}
    cookies = context.cookies()
    assert any(cookie['name'].startswith('__Host-') for cookie in cookies)
    for cookie in cookies:
        assert cookie['secure'], cookie['name']
        assert cookie['sameSite'] in ('Lax', 'Strict'), cookie['name']
    context.close()
