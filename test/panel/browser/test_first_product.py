# SPDX-License-Identifier: Apache-2.0
"""
A cell that has no recipe yet, as `anomaly-inspection run --panel` starts it: the first product is
taught on the page alone, from a folder that is streamed as a camera.

"""

import os
import re
import signal
import subprocess
import sys
import threading

import cv2
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
from anomaly_inspection.capture.open_source import open_source
from support.panel_people import PASSWORD
from support.small_recipe import SMALL_LINE

sync_api = pytest.importorskip('playwright.sync_api')

pytestmark = [pytest.mark.ros, pytest.mark.timeout(600)]

expect = sync_api.expect
PARTS = 12


class Run:
    """
    `anomaly-inspection run` as a process, and what it prints.

    """

    def __init__(self, folder, *options):
        self.said = ''
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'anomaly_inspection.cli', 'run', *options],
            # Nothing of this machine's own people, recordings and recipes.
            env={**os.environ, 'ROS_HOME': str(folder), 'PYTHONUNBUFFERED': '1'},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._news:
                self.said += line
                self._news.notify_all()

    def wait(self, pattern, timeout_s=60.0):
        with self._news:
            found = self._news.wait_for(lambda: re.search(pattern, self.said), timeout_s)
        assert found, self.said
        return found[1]

    def end(self):
        """
        Press Ctrl-C; give the status and all that was said.

        """
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
            self._reader.join()
            self.process.stdout.close()
        return status, self.said


@pytest.fixture
def stream(tmp_path):
    """
    A folder of good parts, and one that a hole was drilled into at its end.

    """
    folder = tmp_path / 'stream'
    folder.mkdir()
    with open_source(f'{SMALL_LINE},defect_rate=0,parts={PARTS + 6},seed=1') as line:
        images = [line.read().image for _ in range(PARTS + 6)]
    height, width = images[-1].shape[:2]
    cv2.circle(images[-1], (width // 2, height // 2), 30, (0, 0, 0), -1)
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / f'{number:03d}.png'), image)
    return folder


def test_the_first_product_is_taught_on_the_page_alone(page, tmp_path, domain_id, stream, shoot):
    home = tmp_path / 'home'
    run = Run(home, '--panel', '--panel-port', '0', '--source', str(stream))
    try:
        address = run.wait(r"operator's page: (http\S+)")
        code = run.wait(r'one-time code (\S+),')

        page.goto(f'{address}first-engineer')
        page.locator('input[name=code]').fill(code)
        page.locator('input[name=name]').fill('anna')
        page.locator('input[type=password]').fill(PASSWORD)
        page.locator('form button[type=submit]').last.click()
        expect(page.locator('.verdict-word')).to_have_text('NO RECIPE')
        expect(page.get_by_text('so every part is sorted out')).to_be_visible()
        shoot('line_no_recipe')
        page.get_by_role('button', name='Teach a product').click()

        page.get_by_label('Product', exact=True).fill('Pump 3')
        page.get_by_label('Parts', exact=True).fill(str(PARTS))
        # Nothing is shown of images that are not there.
        expect(page.locator('.teach-keys')).not_to_be_visible()
        page.get_by_role('button', name='Record', exact=True).click()
        expect(page.locator('.teach-tile')).to_have_count(PARTS)
        expect(page.get_by_role('button', name='Record more')).to_be_enabled()

        # One method is enough here; 'variation' teaches in a few seconds.
        page.get_by_text('More', exact=True).click()
        page.get_by_label('Method').click()
        page.get_by_role('option', name=re.compile('^variation')).click()
        page.get_by_text('It may lie in any direction').scroll_into_view_if_needed()
        page.get_by_label('Light, %').fill('12')
        shoot('teach_more')
        page.get_by_role('button', name='Teach', exact=True).click()
        expect(page.locator('.teach-draft')).to_contain_text('with variation', timeout=400_000)
        expect(page.get_by_text(re.compile(r'The line brings .* parts/s'))).to_be_visible()

        # On trial there is nothing to compare with.
        page.get_by_role('button', name='Start', exact=True).click()
        expect(page.locator('.teach-shadow').nth(1)).to_contain_text('—', timeout=60_000)
        expect(page.get_by_text('rejected in force')).not_to_be_visible()

        page.get_by_role('button', name='Accept and use now').click()
        anyway = page.get_by_role('button', name='Use it all the same')
        accepted = page.locator('.teach-accepted')
        expect(anyway.or_(accepted).first).to_be_visible(timeout=60_000)
        if anyway.is_visible():
            anyway.click()
        expect(accepted).to_contain_text('pump_3 version 1 is in force', timeout=60_000)
        page.get_by_role('button', name='Watch the line').click()
        expect(page.locator('.verdict.is-good')).to_be_visible(timeout=60_000)
        # It is seen for a moment only: `wait_for` looks at every frame of the page.
        page.locator('.reason', has_text='in the middle').wait_for(timeout=60_000)
    finally:
        status, said = run.end()
    # 1: on a busy machine a part that passes may come to the gate too late, and is sorted out.
    assert status in (0, 1), said
    assert re.search(r'lost parts +0$', said, re.MULTILINE), said
    assert 'No recipe yet: every part is rejected' in said
    recipe = home / 'anomaly_inspection' / 'recipes' / 'pump_3'
    assert f'--recipe {recipe}' in ' '.join(said.split())
    assert '  light_share: 0.12' in (recipe / 'recipe.yaml').read_text()
