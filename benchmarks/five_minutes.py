# SPDX-License-Identifier: Apache-2.0
"""
From an unknown product to a running recipe on the operator's page, timed step by step.

`python -m benchmarks.five_minutes SOURCE` starts a cell without a recipe and does with a real
browser what a process engineer does on the first day: makes an account, records good parts, looks
through them, teaches, tries the draft beside the line, and accepts it. SOURCE is what `run
--source` takes, by default the simulated line. It must show good parts for as long as recording
lasts, and a defective one later on. Typing and looking take as long as they take a person; a
picture of each step shows what that person sees. It needs Chromium and Playwright.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import click

from benchmarks.report import machine, ROOT

PASSWORD = 'correct horse battery'
_TYPING_MS, _LOOKING_MS = 100, 200
_TIMEOUT_MS = 60_000
# Teaching by the default method takes a minute or two, and longer on a busy machine.
_TEACHING_MS = 900_000


class Steps:
    """
    The steps with their seconds; each has a picture.

    """

    def __init__(self, page: Any, folder: Path) -> None:
        self._page, self._folder = page, folder
        self._began_s = self._last_s = time.monotonic()
        self.rows: list[dict[str, Any]] = []

    def done(self, what: str) -> None:
        """
        Note that a step is done.

        """
        now = time.monotonic()
        row = {'step': what, 's': now - self._last_s, 'since_start_s': now - self._began_s}
        self.rows.append(row)
        print(f'{row["since_start_s"]:8.1f} s {row["s"]:+8.1f}  {what}', flush=True)
        self._page.wait_for_timeout(300)
        self._page.screenshot(path=self._folder / f'{len(self.rows):02}.png')
        self._last_s = now


@click.command()
@click.argument('source', default='line:defect_rate=0.05,seed=4')
@click.option('--rate', default=2.0, show_default=True, help='Parts a second.')
@click.option('--parts', default=30, show_default=True, help='Good parts to record.')
@click.option('--report', type=click.Path(path_type=Path), default=Path('out/benchmarks'))
def main(source: str, rate: float, parts: int, report: Path) -> None:
    """
    Teach the product that SOURCE shows, and print the steps.

    """
    from playwright.sync_api import sync_playwright

    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    if chromium is None:
        raise click.ClickException('chromium is not installed')
    pictures = report / 'five_minutes'
    pictures.mkdir(parents=True, exist_ok=True)
    with _cell(source, rate) as (address, code), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=['--no-sandbox', '--disable-dev-shm-usage']
        )
        context = browser.new_context(viewport={'width': 1280, 'height': 800}, locale='en-US')
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        steps = Steps(page, pictures)
        _make_account(page, address, code)
        steps.done('an engineer has an account and is logged in')
        _record(page, parts)
        steps.done(f'{parts} parts are recorded')
        page.locator('.teach-tile').first.click()
        for _ in range(parts - 1):
            page.keyboard.press('ArrowRight')
            page.wait_for_timeout(_LOOKING_MS)
        page.keyboard.press('Escape')
        steps.done('all are looked at')
        page.get_by_role('button', name='Teach', exact=True).click()
        page.locator('.teach-draft').wait_for(timeout=_TEACHING_MS)
        steps.done('a draft is taught')
        page.get_by_role('button', name='Start', exact=True).click()
        page.locator('.teach-shadow').nth(6).wait_for()
        steps.done('the draft has judged six parts beside the line')
        page.get_by_role('button', name=re.compile('Accept')).click()
        page.locator('.teach-accepted').wait_for()
        steps.done('the recipe is in force')
        page.get_by_role('link', name='Line', exact=True).click()
        page.locator('.verdict.is-good').wait_for()
        steps.done('a part has passed')
        browser.close()
    content = {'machine': machine(), 'source': source, 'steps': steps.rows}
    (report / 'five_minutes.json').write_text(json.dumps(content, indent=2) + '\n')


@contextmanager
def _cell(source: str, rate: float) -> Iterator[tuple[str, str]]:
    """
    Run a cell without a recipe; give the page's address and the code for the first account.

    """
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, '-m', 'anomaly_inspection.cli', 'run', '--panel']
        command += ['--panel-port', '0', '--source', source, '--rate', f'{rate:g}']
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
            env={**os.environ, 'ROS_HOME': home},
        )  # fmt: skip
        lines: list[str] = []
        assert process.stdout is not None
        threading.Thread(target=lambda: lines.extend(process.stdout or []), daemon=True).start()

        def said(pattern: str) -> str:
            def found() -> re.Match[str] | None:
                return next(
                    (match for line in list(lines) if (match := re.search(pattern, line))), None
                )

            _wait(lambda: found() or process.poll() is not None)
            match = found()
            if match is None:
                raise click.ClickException(''.join(lines[-20:]) or 'the cell says nothing')
            return match[1]

        try:
            yield said(r"operator's page: (http\S+)"), said(r'one-time code (\S+)')
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _make_account(page: Any, address: str, code: str) -> None:
    page.goto(f'{address}first-engineer')
    page.locator('input[name=code]').fill(code)
    page.locator('input[name=name]').type('anna', delay=_TYPING_MS)
    for field in page.locator('input[type=password]').all():
        field.type(PASSWORD, delay=_TYPING_MS)
    page.locator('form button[type=submit]').last.click()
    page.wait_for_load_state()
    if page.locator('input[name=password]').count():
        page.locator('input[name=name]').fill('anna')
        page.locator('input[name=password]').type(PASSWORD, delay=_TYPING_MS)
        page.locator('form button[type=submit]').last.click()
    page.locator('.verdict').wait_for()


def _record(page: Any, parts: int) -> None:
    page.get_by_role('button', name='Teach a product').click()
    page.get_by_label('Product', exact=True).type('New product', delay=_TYPING_MS)
    page.get_by_role('button', name='Record', exact=True).click()
    tiles = page.locator('.teach-tile')
    _wait(lambda: page.wait_for_timeout(200) or tiles.count() >= parts)


def _wait(condition: Callable[[], object], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise click.ClickException('the page does not get there')
        time.sleep(0.05)


if __name__ == '__main__':
    main()
