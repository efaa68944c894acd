# SPDX-License-Identifier: Apache-2.0
"""
The memory of the operator's page while viewers come and go.

A real Chromium opens every page as an engineer, closes and comes again; programs that speak like
browsers come and go beside it.

"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import itertools
import json
import os
from pathlib import Path
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np

from benchmarks.panel_process import (
    ADDRESS,
    free_port,
    memory_mb,
    open_files,
    own_memory_mb,
    panel_of,
    prepare,
    run_command,
    threads,
)
from benchmarks.report import machine

RATE_HZ = 5.0
PAGES = ('', 'review', 'tune', 'teach', 'recipes', 'people')
PROGRAMS = 2
PROGRAM_S = 5.0
# How long a person looks at a page, and the pause until the next comes.
_LOOK_S = 4.0
_PAUSE_S = 5.0
# What is loaded at the first visits, and the pictures of the last parts, are no leak.
_SETTLED_MIN = 5
_REVIEW_MB = 40


def measure(minutes: float, report: Path) -> None:
    """
    Let viewers come and go for so long; print the memory of the page's process each minute.

    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Accounts and state of the measurement alone.
        os.environ['ROS_HOME'] = str(folder / 'ros')
        password = secrets.token_urlsafe(12)
        subprocess.run(
            [
                *(sys.executable, '-m', 'anomaly_inspection.cli', 'account', 'add', 'engineer'),
                *('--role', 'engineer', '--password-stdin'),
            ],
            input=password,
            text=True,
            check=True,
        )
        rows: list[dict[str, Any]] = []
        with _cell(folder, minutes) as cell, _visitors(cell.address, password) as visits:
            end_s = time.monotonic() + 60 * minutes
            for minute in itertools.count():
                row = {
                    'minute': minute,
                    'memory_mb': round(memory_mb(cell.panel_pid), 1),
                    'own_mb': round(own_memory_mb(cell.panel_pid), 1),
                    'threads': threads(cell.panel_pid),
                    'open_files': open_files(cell.panel_pid),
                    'starts_anew': cell.starts_anew,
                    'visits': visits.pages,
                    'programs': visits.programs,
                    'failed': visits.failed,
                    'load': os.getloadavg()[0],
                }
                rows.append(row)
                print(json.dumps(row), flush=True)
                if time.monotonic() + 60 > end_s:
                    break
                time.sleep(60)
    slope = _slope_mb_per_hour(rows)
    print(f'after {_SETTLED_MIN} minutes its own memory grows by {slope:.1f} MB an hour')
    if cell.starts_anew:
        print(
            f'the page started anew {cell.starts_anew} times, because the machine let it stand '
            'still: the slope says nothing, run it again'
        )
    report.mkdir(parents=True, exist_ok=True)
    content = {'machine': machine(), 'rate_hz': RATE_HZ, 'mb_per_hour': slope, 'minutes': rows}
    (report / 'panel_memory.json').write_text(json.dumps(content, indent=2) + '\n')


def _slope_mb_per_hour(rows: list[dict[str, Any]]) -> float:
    settled = [row for row in rows if row['minute'] >= _SETTLED_MIN]
    if len(settled) < 3:
        return float('nan')
    minutes = [row['minute'] for row in settled]
    return 60 * float(np.polyfit(minutes, [row['own_mb'] for row in settled], 1)[0])


class _Cell:
    """
    A running cell with its page.

    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        #: How often the page's process has started anew; it keeps its number.
        self.starts_anew = 0
        self._errors = process.stderr
        threading.Thread(target=self._read_errors, daemon=True).start()
        self.address = next(match[1] for text in process.stdout if (match := ADDRESS.search(text)))
        self.panel_pid = panel_of(process.pid)
        # Else the pipe would be full one day, and the cell would stand.
        threading.Thread(target=process.stdout.read, daemon=True).start()

    def _read_errors(self) -> None:
        for text in self._errors:
            print(text, end='', file=sys.stderr, flush=True)
            if 'panel]' in text and 'it starts anew' in text:
                self.starts_anew += 1


@contextmanager
def _cell(folder: Path, minutes: float) -> Iterator[_Cell]:
    recipe, config = prepare(folder)
    # The review set grows until it is full: here within the first minutes, else after an hour.
    config.write_text(config.read_text().replace('review_mb: 2000', f'review_mb: {_REVIEW_MB}'))
    # A few minutes more than are measured: it is ended.
    command = run_command(recipe, config, int((minutes + 5) * 60 * RATE_HZ), RATE_HZ)
    # A page that starts anew must be found where it was.
    command += ['--panel-port', str(free_port()), '--wall-display']
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _Cell(process)
        finally:
            process.terminate()


class _Visits:
    """
    Counts who has come; a browser and programs on a thread each.

    """

    def __init__(self, address: str, password: str) -> None:
        self._address = address
        self._password = password
        self._is_over = threading.Event()
        self.pages = 0
        self.programs = 0
        self.failed = 0
        self.threads = [
            threading.Thread(target=self._let_programs_come),
            threading.Thread(target=self._let_browsers_come),
        ]

    def stop(self) -> None:
        self._is_over.set()
        for thread in self.threads:
            thread.join()

    def _let_programs_come(self) -> None:
        while not self._is_over.wait(_PAUSE_S):
            done = subprocess.run(
                [
                    *('nice', '-n', '15', sys.executable, '-m', 'benchmarks.panel_viewers'),
                    *(self._address, str(PROGRAMS), str(PROGRAM_S)),
                ],
                stdout=subprocess.DEVNULL,
                check=False,
            )
            # On a busy machine a program may not get in in time.
            if done.returncode == 0:
                self.programs += PROGRAMS
            else:
                self.failed += PROGRAMS

    def _let_browsers_come(self) -> None:
        from playwright.sync_api import Error, sync_playwright

        chromium = shutil.which('chromium') or shutil.which('chromium-browser')
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=['--no-sandbox', '--disable-dev-shm-usage']
            )
            while not self._is_over.wait(_PAUSE_S):
                try:
                    self._look_at_every_page(browser)
                except Error:
                    # On a busy machine a page may not come in time.
                    self.failed += 1
            browser.close()

    def _look_at_every_page(self, browser: Any) -> None:
        # As a person who has closed the browser: no cookie is left.
        context = browser.new_context(locale='en-US')
        try:
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.goto(f'{self._address}log-in')
            page.locator('#name').fill('engineer')
            page.locator('#password').fill(self._password)
            page.locator('button[type=submit]').click()
            page.wait_for_url(self._address)
            for name in PAGES:
                page.goto(f'{self._address}{name}')
                page.wait_for_timeout(1e3 * _LOOK_S)
                self.pages += 1
        finally:
            context.close()


@contextmanager
def _visitors(address: str, password: str) -> Iterator[_Visits]:
    visits = _Visits(address, password)
    for thread in visits.threads:
        thread.start()
    try:
        yield visits
    finally:
        visits.stop()
