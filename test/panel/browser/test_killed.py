# SPDX-License-Identifier: Apache-2.0
"""
Browser, panel and teacher are killed one after the other while parts run and are recorded.

"""

import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
from anomaly_inspection.teaching.session import TeachingFolder
from support.panel_people import log_in
from support.processes import address_of, wait_for
from support.small_recipe import SMALL_LINE

sync_api = pytest.importorskip('playwright.sync_api')

pytestmark = [pytest.mark.ros, pytest.mark.timeout(400)]

expect = sync_api.expect


@pytest.fixture
def own_chromium(browser, tmp_path):
    """
    A Chromium that may be killed: (process, address of its debugger).

    """
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    process = subprocess.Popen(
        [
            *(chromium, '--headless=new', '--no-sandbox', '--disable-dev-shm-usage'),
            *('--remote-debugging-port=0', f'--user-data-dir={tmp_path / "chromium"}'),
        ],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    found = []
    is_known = threading.Event()

    def read():
        for line in process.stderr:
            match = re.search(r'listening on (ws://\S+)', line)
            if match:
                found.append(match[1])
                is_known.set()
        is_known.set()

    reader = threading.Thread(target=read)
    reader.start()
    is_known.wait(60)
    yield process, found[0]
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    reader.join()
    process.stderr.close()


def test_whoever_is_killed_every_part_is_sorted_and_every_image_stays(
    browser, own_chromium, processes, watcher, tmp_path
):
    folder = TeachingFolder(tmp_path / 'teaching')
    processes.start('teacher', folder=folder.path, library=tmp_path / 'library')
    processes.start('viewer')
    processes.start('panel', port=0)
    processes.start_all(watcher, f'{SMALL_LINE},parts=4000,defect_rate=0')
    address = address_of(processes)
    process, debugger = own_chromium
    chromium = browser.browser_type.connect_over_cdp(debugger, timeout=120_000)
    page = chromium.new_context(locale='en-US').new_page()
    log_in(page, address)
    page.goto(f'{address}teach')
    page.get_by_label('Product', exact=True).fill('Pump 3')
    page.get_by_label('Parts', exact=True).fill('0')
    page.get_by_role('button', name='Record', exact=True).click()
    expect(page.locator('.teach-tile').nth(1)).to_be_visible()
    (session,) = folder.sessions()

    def go_on():
        """
        Wait until more parts have been sorted; give how many images there are.

        """
        sorted_before = len(watcher.sort_events)
        watcher.wait(lambda: len(watcher.sort_events) >= sorted_before + 5)
        return len(session.image_names())

    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    recorded = len(session.image_names())
    wait_for(lambda: go_on() > recorded, processes)

    processes.running['panel'].kill()
    processes.running['panel'].wait()
    recorded = len(session.image_names())
    wait_for(lambda: go_on() > recorded, processes)

    processes.running['teacher'].kill()
    processes.running['teacher'].wait()
    names = session.image_names()
    assert go_on() == len(names)
    for name in names:
        session.read_image(name)

    # The line has not noticed: each part was decided and sorted, none is missing.
    processes.signal('camera', signal.SIGINT)
    watcher.wait(lambda: len(watcher.sort_events) == len(watcher.parts))
    assert set(watcher.decisions) == set(watcher.parts) == set(watcher.sort_events)
    numbers = sorted(number for _, number in watcher.parts)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))

    processes.start('teacher', folder=folder.path, library=tmp_path / 'library')
    processes.start('panel', port=0)
    words = "the operator's page: "
    wait_for(lambda: processes.log('panel').count(words) == 2, processes)
    address = processes.log('panel').rpartition(words)[2].split()[0]
    context = browser.new_context(locale='en-US')
    page = context.new_page()
    page.set_default_timeout(30_000)
    log_in(page, address)
    page.goto(f'{address}teach')
    expect(page.locator('.teach-count')).to_have_text(str(len(names)))
    context.close()
