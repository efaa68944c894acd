# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of the panel's tests: one browser for all, and the nodes of a cell with their page.

"""

from __future__ import annotations

from collections.abc import Iterator
import importlib.util
import os
from pathlib import Path
import shutil
from typing import Any

import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')


@pytest.fixture(scope='session')
def browser() -> Iterator[Any]:
    """
    A real Chromium without a window.

    """
    if CHROMIUM is None:
        pytest.skip('there is no chromium')
    if importlib.util.find_spec('nicegui') is None:
        pytest.skip('nicegui is not installed')
    sync_api = pytest.importorskip('playwright.sync_api')
    # A busy machine must not fail a test.
    sync_api.expect.set_options(timeout=20_000)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=['--no-sandbox', '--disable-dev-shm-usage']
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """
    A page of an English browser that fails the test when its scripts fail.

    """
    context = browser.new_context(
        viewport={'width': 1280, 'height': 800}, locale='en-US', color_scheme='light'
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []
    page.on('pageerror', lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors


@pytest.fixture
def watcher(ros_context: Any) -> Iterator[Any]:
    """
    A node on a thread of its own that collects what the cell says.

    """
    from anomaly_inspection.nodes.spinning import NodeThread
    from support.processes import Watcher

    watcher = Watcher(ros_context)
    thread = NodeThread([watcher], 'watcher', context=ros_context)
    thread.start()
    yield watcher
    thread.stop()
    watcher.destroy_node()


@pytest.fixture
def processes(
    taught_recipe: Path, tmp_path: Path, domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """
    Starts, stops and kills the nodes of a cell as processes; ends those that are left.

    """
    from support.processes import Processes

    # NiceGUI behaves differently where it sees this.
    monkeypatch.delenv('PYTEST_CURRENT_TEST', raising=False)
    processes = Processes(taught_recipe, tmp_path)
    yield processes
    processes.close()


@pytest.fixture(scope='session')
def panel_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """
    The whole panel, served, on a cell that the tests make up.

    """
    pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')
    from support.panel_site import PanelSite

    site = PanelSite(tmp_path_factory.mktemp('panel_site'))
    yield site
    site.close()


@pytest.fixture
def shoot(page: Any) -> Any:
    """
    `shoot(name)` takes pictures of the page into the folder that PANEL_PICTURES names, if any.

    """
    folder = os.environ.get('PANEL_PICTURES')

    def take(name: str) -> None:
        if not folder:
            return
        for theme in ('light', 'dark'):
            page.emulate_media(color_scheme=theme)
            for width, height in ((1920, 1080), (1280, 800)):
                page.set_viewport_size({'width': width, 'height': height})
                page.wait_for_timeout(400)
                page.screenshot(path=Path(folder, f'{name}_{width}_{theme}.png'))
        page.emulate_media(color_scheme='light')

    return take
