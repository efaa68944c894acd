# SPDX-License-Identifier: Apache-2.0
"""
The Review page in a real browser: rejects are found, judged by keys, and outlive the panel.

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

from anomaly_inspection.msg import Decision
from support.panel_people import log_in
from support.processes import address_of, wait_for
from support.small_recipe import SMALL_LINE

pytestmark = [pytest.mark.ros, pytest.mark.timeout(180)]

SOURCE = f'{SMALL_LINE},parts=400,defect_rate=0.5'


def test_a_reject_is_judged_by_keys_and_outlives_a_killed_panel(page, processes, watcher, shoot):
    processes.start('panel', port=0)
    address = address_of(processes)
    # Nobody looks at any picture while the parts pass.
    processes.start_all(watcher, SOURCE)

    def rejects():
        decided = watcher.decisions.values()
        return [one for one in decided if one.verdict == Decision.VERDICT_REJECT]

    watcher.wait(lambda: len(rejects()) >= 4)
    log_in(page, address, 'operator')
    page.get_by_role('link', name='Review').click()
    tiles = page.locator('.review-tile')
    expect(tiles.nth(3)).to_be_visible()

    for number in range(3):
        title = page.locator('.review-title').inner_text()
        part = re.fullmatch(r'Part (\d+)', title)[1]
        # The decision says which parts were rejected; the picture is that of this one.
        assert int(part) in {one.part_id for one in rejects()}
        expect(page.locator(f'.review-picture[data-seen="{part}"]')).to_be_visible()
        assert page.evaluate("document.querySelector('.review-picture img').naturalWidth") > 100
        page.keyboard.press('123'[number])
        expect(page.locator('.review-title')).not_to_have_text(title)
    shoot('review')

    review = next(Path(os.environ['ROS_HOME']).rglob('review'))
    wait_for(lambda: len([*review.glob('judged/small/test/*/*.png')]) == 2, processes)
    processes.signal('panel', signal.SIGKILL)
    processes.running['panel'].wait()
    processes.start('panel', port=int(urlsplit(address).port))
    wait_for(lambda: processes.log('panel').count(f'page: {address}') == 2, processes)
    page.goto(f'{address}review')
    page.get_by_label('Show').click()
    page.get_by_role('option', name='all', exact=True).click()
    for kind in ('good', 'defect', 'unsure'):
        expect(page.locator(f'.review-tile.is-{kind}')).to_have_count(1)
