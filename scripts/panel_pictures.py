# SPDX-License-Identifier: Apache-2.0
"""
Make pictures of every page of the operator's panel from the simulated line, in one go.

Each page in English and German, light and dark, at 1920x1080 and 1280x800:
NAME_WIDTH_THEME_LANGUAGE.png. Needs Chromium and Playwright. Takes about four minutes.

    bash scripts/in_cell.sh python scripts/panel_pictures.py out/panel_pictures
    bash scripts/in_cell.sh python scripts/panel_pictures.py out/panel_pictures line teach

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

SIZES = ((1920, 1080), (1280, 800))
THEMES = ('light', 'dark')
LANGUAGES = {'en': 'en-US', 'de': 'de-DE'}
PASSWORD = 'correct horse battery'
TIMEOUT_MS = 60_000
# Time for charts and pictures to be drawn.
SETTLE_MS = 1200
_TAUGHT = 30


def wait_for(selector: str) -> Callable[[Page], None]:
    """
    Give what waits until something is to be seen.

    """
    return lambda page: page.locator(selector).first.wait_for(timeout=TIMEOUT_MS)


def open_part(page: Page) -> None:
    """
    Open the last rejected part that has a picture.

    """
    # Not yet drawn are the pictures of the parts before this page was opened.
    page.wait_for_timeout(6000)
    page.locator('.tile.is-bad').first.click()
    page.locator('.part-dialog').wait_for()


def open_more(page: Page) -> None:
    """
    Unfold the options of teaching.

    """
    page.locator('.teach-more .q-item').first.click()


# Name -> address, what to do there first, whether somebody is logged in.
PAGES: dict[str, tuple[str, Callable[[Page], None], bool]] = {
    'log_in': ('log-in', wait_for('form'), False),
    'line_pass': ('', wait_for('.verdict.is-good'), True),
    'line_reject': ('', wait_for('.verdict.is-bad'), True),
    'line_part': ('', open_part, True),
    'wall': ('wall', wait_for('.verdict.is-bad'), True),
    'tune': ('tune', wait_for('.content'), True),
    'teach': ('teach', wait_for('.teach-shadow:nth-child(5)'), True),
    'teach_more': ('teach', open_more, True),
    'recipes': ('recipes', wait_for('.content'), True),
    'review': ('review', wait_for('.content'), True),
    'people': ('people', wait_for('.content'), True),
}


def command(home: Path, *arguments: str, words: str = '') -> None:
    """
    Run `anomaly-inspection`.

    """
    print('anomaly-inspection', *arguments, flush=True)
    subprocess.run(
        ['anomaly-inspection', *arguments],
        env={**os.environ, 'ROS_HOME': str(home)},
        input=words,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def running_cell(home: Path, recipe: Path) -> Iterator[str]:
    """
    Run the cell on the simulated line; give the address of its page.

    """
    process = subprocess.Popen(
        [
            *('anomaly-inspection', 'run', '--recipe', str(recipe), '--rate', '2'),
            *('--source', 'line:parts=4000,seed=1', '--loop', '--panel', '--panel-port', '0'),
        ],
        env={**os.environ, 'ROS_HOME': str(home), 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found: list[str] = []
    is_known = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            match = re.search(r"operator's page: (http\S+)", line)
            if match:
                found.append(match[1])
                is_known.set()
        is_known.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        is_known.wait()
        if not found:
            raise SystemExit('the cell did not start')
        yield found[0]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        reader.join()


def log_in(browser: Browser, address: str) -> Any:
    """
    Give the cookies of a log-in.

    """
    context = browser.new_context(locale='en-US')
    page = context.new_page()
    page.goto(f'{address}log-in')
    page.locator('input[name=name]').fill('anna')
    page.locator('input[name=password]').fill(PASSWORD)
    page.locator('form button[type=submit]').last.click()
    page.locator('.verdict').wait_for(timeout=TIMEOUT_MS)
    state = context.storage_state()
    context.close()
    return state


def teach_a_draft(browser: Browser, address: str, state: Any, good: list[Path]) -> None:
    """
    Teach a draft on images of good parts and put it on trial.

    """
    context = browser.new_context(storage_state=state, locale='en-US')
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f'{address}teach')
    page.get_by_label('Product', exact=True).fill('Bearing plate')
    page.get_by_label('Parts', exact=True).fill('1')
    page.get_by_role('button', name='Record', exact=True).click()
    page.get_by_role('button', name='Record more').wait_for()
    # The line brings bad parts as well; these images are good.
    page.locator('.teach-tile').first.click()
    page.locator('input[type=file]').set_input_files(good[:_TAUGHT])
    page.locator('.teach-tile').nth(_TAUGHT).wait_for()
    page.locator('.teach-tile').first.click()
    page.get_by_role('button', name='Delete (1)').click()
    page.locator('.teach-tile').nth(_TAUGHT).wait_for(state='detached')
    # One method is enough for a picture.
    open_more(page)
    page.get_by_label('Method').click()
    page.get_by_role('option', name=re.compile('^variation')).click()
    page.get_by_role('button', name='Teach', exact=True).click()
    page.locator('.teach-draft').wait_for(timeout=5 * TIMEOUT_MS)
    page.get_by_role('button', name='Start', exact=True).click()
    page.locator('.teach-shadow').nth(5).wait_for()
    context.close()


def _shows(page: Page, name: str) -> bool:
    kind = {'line_pass': 'good', 'line_reject': 'bad', 'wall': 'bad'}.get(name)
    return kind is None or page.locator(f'.verdict.is-{kind}').count() == 1


def take(browser: Browser, address: str, state: Any, name: str, folder: Path) -> None:
    """
    Take all pictures of one page.

    """
    path, prepare, is_logged_in = PAGES[name]
    for language, locale in LANGUAGES.items():
        for theme in THEMES:
            for width, height in SIZES:
                context = browser.new_context(
                    storage_state=state if is_logged_in else None,
                    viewport={'width': width, 'height': height},
                    locale=locale,
                    color_scheme=theme,
                )
                page = context.new_page()
                page.set_default_timeout(TIMEOUT_MS)
                answer = page.goto(f'{address}{path}')
                if answer is not None and answer.status == 404:
                    print(f'{name}: there is no such page')
                    context.close()
                    return
                prepare(page)
                file = folder / f'{name}_{width}_{theme}_{language}.png'
                page.wait_for_timeout(SETTLE_MS)
                page.screenshot(path=file)
                # The next part may have come meanwhile.
                for _ in range(20):
                    if _shows(page, name):
                        break
                    prepare(page)
                    page.wait_for_timeout(100)
                    page.screenshot(path=file)
                context.close()
    print(name, flush=True)


def main() -> None:
    """
    Make the pictures.

    """
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else 'out/panel_pictures')
    names = [name for name in PAGES if not sys.argv[2:] or name.startswith(tuple(sys.argv[2:]))]
    folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which('chromium') or shutil.which('chromium-browser')
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        good, recipe = home / 'images', home / 'anomaly_inspection' / 'recipes' / 'plate'
        command(home, 'simulate', str(good), '--train-parts', '40', '--parts', '1')
        options = ('--scorer', 'variation', '--scorer', 'ssim')
        command(home, 'teach', str(good / 'train' / 'good'), '--recipe', str(recipe), *options)
        for account, role in (('anna', 'engineer'), ('otto', 'operator'), ('wall', 'viewer')):
            given = ('--role', role, '--password-stdin')
            command(home, 'account', 'add', account, *given, words=f'{PASSWORD}\n')
        with running_cell(home, recipe) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=['--no-sandbox', '--disable-dev-shm-usage']
            )
            state = log_in(browser, address)
            images = sorted((good / 'train' / 'good').iterdir())
            is_taught = False
            for name in names:
                if name.startswith('teach') and not is_taught:
                    teach_a_draft(browser, address, state, images)
                    is_taught = True
                take(browser, address, state, name, folder)
            browser.close()


if __name__ == '__main__':
    main()
