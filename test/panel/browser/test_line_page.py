# SPDX-License-Identifier: Apache-2.0
"""
The Line page in a real browser, on real nodes over DDS.

"""

import os
from pathlib import Path
import re
import signal
from urllib.parse import urlsplit

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from playwright.sync_api import expect

from anomaly_inspection.msg import Decision, Fault
from anomaly_inspection.nodes.qos import LATCHED
from support.panel_people import log_in
from support.processes import address_of, wait_for
from support.small_recipe import SMALL_LINE

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]

SOURCE = f'{SMALL_LINE},parts=400,defect_rate=0.5'


def has_verdict(watcher, verdict):
    return any(decision.verdict == verdict for decision in watcher.decisions.values())


def test_parts_pass_a_reject_says_why_and_a_stopped_line_is_reset(
    page, processes, watcher, ros_context
):
    processes.start('viewer')
    processes.start('panel', port=0)
    log_in(page, address_of(processes))
    expect(page.get_by_text('No part has come yet.')).to_be_visible()

    processes.start_all(watcher, SOURCE)
    expect(page.locator('.tile.is-good').first).to_be_visible()
    expect(page.locator('.live figcaption')).to_have_text(re.compile(r'Part \d+ (PASS|REJECT)'))
    assert page.evaluate("document.querySelector('.live img').naturalWidth") > 100
    expect(page.locator('.verdict.is-bad .verdict-word')).to_have_text('REJECT')
    expect(page.locator('.reason')).to_have_text(re.compile(r'times the limit'))
    assert page.locator('.measure').count() == 7
    # On a tablet nobody has to scroll for them. Below the chart come troubles of the nodes.
    page.set_viewport_size({'width': 1280, 'height': 800})
    page.wait_for_function(
        "document.querySelector('.chart').getBoundingClientRect().bottom < innerHeight"
    )
    assert has_verdict(watcher, Decision.VERDICT_PASS)

    page.locator('.tile.is-bad').first.click()
    dialog = page.locator('.part-dialog')
    expect(dialog.locator('.part-dialog-title')).to_have_text(re.compile(r'Part \d+: REJECT'))
    for kind in ('Map', 'Frame', 'Differences'):
        dialog.get_by_text(kind, exact=True).click()
        page.wait_for_function(
            "document.querySelector('.part-dialog-picture img').naturalWidth > 100"
        )
    page.keyboard.press('Escape')
    expect(dialog).to_be_hidden()

    # The sorter stops the line for a fault of the decider; a reset is refused while it lasts.
    faults = watcher.create_publisher(Fault, 'fault', LATCHED)
    reason = 'the scorer gives no scores'
    faults.publish(Fault(active=True, reason=reason, cause=Fault.CAUSE_NO_SCORES))
    banner = page.locator('.line-stop')
    expect(banner).to_contain_text('LINE STOPPED')
    expect(banner).to_contain_text('the scorer gives no scores')
    expect(banner).to_contain_text('Several parts in a row had no score.')
    expect(banner).to_contain_text('What to do')
    page.get_by_role('button', name='Reset line').click()
    expect(banner).to_contain_text('Not reset')

    faults.publish(Fault(active=False))
    # The sorter may hear of the end of the fault after the click: then it is refused once more.
    while watcher.line_stops[-1].active:
        page.get_by_role('button', name='Reset line').click()
        page.wait_for_function(
            "!document.querySelector('.line-stop .reset').disabled"
            " || document.querySelector('.line-stop').offsetParent === null"
        )
    expect(banner).to_be_hidden()
    expect(page.get_by_text('The line may run again.')).to_be_visible()


def test_counts_outlive_a_killed_panel_and_inspection_does_not_notice(page, processes, watcher):
    processes.start('panel', port=0, wall_display=True)
    address = address_of(processes)
    processes.start_all(watcher, SOURCE)
    page.goto(f'{address}wall')
    expect(page.locator('.tile.is-good').first).to_be_visible()
    watcher.wait(lambda: len(watcher.decisions) >= 5)
    state = Path(os.environ['ROS_HOME'])
    wait_for(
        lambda: any('"passed"' in f.read_text() for f in state.rglob('panel.json')), processes
    )
    processes.signal('panel', signal.SIGKILL)
    processes.running['panel'].wait()
    decided = len(watcher.decisions)
    watcher.wait(lambda: len(watcher.decisions) >= decided + 5)

    processes.start('panel', port=int(urlsplit(address).port), wall_display=True)
    wait_for(lambda: processes.log('panel').count(f'page: {address}') == 2, processes)
    page.goto(f'{address}wall')
    parts = page.locator('.counter-value').first
    expect(parts).to_be_visible()
    wait_for(lambda: int(parts.inner_text()) >= 5, processes)
