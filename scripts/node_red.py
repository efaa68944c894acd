# SPDX-License-Identifier: Apache-2.0
"""
Run config/node_red_flow.json in a real Node-RED, on a real broker and a running cell.

    npm install --prefix /tmp/node_red node-red @flowfuse/node-red-dashboard
    bash scripts/in_cell.sh .venv/bin/python scripts/node_red.py /tmp/node_red out/recipes/line \
        --picture docs/images/node_red.jpg

Ends with status 1 when the dashboard does not show what the cell decides, or a command is not
answered. Needs mosquitto, chromium and playwright.

"""

from __future__ import annotations

import argparse
from contextlib import closing, ExitStack
import json
import os
from pathlib import Path
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from playwright.sync_api import expect, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FLOW = ROOT / 'config' / 'node_red_flow.json'
SIZE = {'width': 1280, 'height': 1000}


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(('127.0.0.1', port), 1.0).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f'{process.args} does not answer on port {port}')
            time.sleep(0.1)
        else:
            return


def started(stack: ExitStack, command: list[str], log: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command, stdout=stack.enter_context(log.open('wb')), stderr=subprocess.STDOUT
    )

    def end() -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


def start_broker(stack: ExitStack, folder: Path) -> int:
    port = free_port()
    config = folder / 'mosquitto.conf'
    config.write_text(f'listener {port} 127.0.0.1\nallow_anonymous true\n')
    program = shutil.which('mosquitto', path=f'{os.environ["PATH"]}:/usr/sbin')
    if program is None:
        sys.exit('mosquitto is not installed')
    wait_for_port(port, started(stack, [program, '-c', str(config)], folder / 'mosquitto.log'))
    return port


def start_node_red(stack: ExitStack, folder: Path, installed: Path, broker_port: int) -> int:
    port = free_port()
    user = folder / 'node_red'
    user.mkdir()
    (user / 'node_modules').symlink_to(installed / 'node_modules')
    (user / 'package.json').write_text((installed / 'package.json').read_text())
    flow = json.loads(FLOW.read_text(encoding='utf-8'))
    for node in flow:
        if node['type'] == 'mqtt-broker':
            node['port'] = str(broker_port)
    (user / 'flows.json').write_text(json.dumps(flow))
    (user / 'settings.js').write_text(
        "module.exports = { uiHost: '127.0.0.1', flowFile: 'flows.json', "
        'telemetry: { enabled: false, updateNotification: false } }\n'
    )
    red = installed / 'node_modules' / 'node-red' / 'red.js'
    command = ['node', str(red), '--userDir', str(user), '--port', str(port)]
    wait_for_port(port, started(stack, command, folder / 'node_red.log'))
    return port


def start_cell(stack: ExitStack, folder: Path, recipe: Path, broker_port: int) -> None:
    config = folder / 'cell.yaml'
    text = (ROOT / 'config' / 'cell.yaml').read_text(encoding='utf-8')
    for default, own in (
        ('site: site ', 'site: Berlin '),
        ('area: area\n', 'area: press_shop\n'),
        ('line: line\n', 'line: line_7\n'),
        ('# commands: [', 'commands: ['),
    ):
        assert default in text
        text = text.replace(default, own)
    config.write_text(text, encoding='utf-8')
    command = [sys.executable, '-m', 'anomaly_inspection.cli', 'run', '--recipe', str(recipe)]
    command += ['--source', 'line:seed=7,defect_rate=0.12', '--rate', '4', '--config', str(config)]
    started(stack, [*command, '--mqtt', f'127.0.0.1:{broker_port}'], folder / 'cell.log')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('node_red', type=Path, help='folder with node_modules')
    parser.add_argument('recipe', type=Path, help='recipe of the simulated line')
    parser.add_argument('--picture', type=Path, help='write the dashboard to this file')
    parser.add_argument('--parts', type=int, default=120, help='wait for so many parts')
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix='node_red_')))
        # Counts of an earlier run must not show.
        os.environ['ROS_HOME'] = str(folder / 'ros')
        try:
            look(stack, folder, given)
        except BaseException:
            for log in sorted(folder.glob('*.log')):
                print(f'--- {log.name}\n{log.read_text(errors="replace")[-3000:]}')
            raise


def look(stack: ExitStack, folder: Path, given: argparse.Namespace) -> None:
    broker_port = start_broker(stack, folder)
    port = start_node_red(stack, folder, given.node_red.resolve(), broker_port)
    playwright = stack.enter_context(sync_playwright())
    browser = playwright.chromium.launch(
        executable_path=shutil.which('chromium'), args=['--no-sandbox']
    )
    stack.callback(browser.close)
    page = browser.new_page(viewport=SIZE)
    page.goto(f'http://127.0.0.1:{port}/dashboard/inspection', wait_until='networkidle')
    start_cell(stack, folder, given.recipe.resolve(), broker_port)
    expect(page.locator('.ai-state')).to_have_text('RUNNING', timeout=60_000)
    expect(page.locator('.ai-rejects tbody tr').first).to_be_visible(timeout=60_000)
    page.get_by_role('button', name='Reset line').click()
    expect(page.get_by_text('Done')).to_be_visible(timeout=20_000)
    page.wait_for_function(
        "parts => Number(document.querySelector('.ai-numbers b')?.textContent) >= parts",
        arg=given.parts,
        timeout=120_000,
    )
    if given.picture:
        kind = {'type': 'jpeg', 'quality': 88} if given.picture.suffix == '.jpg' else {}
        page.screenshot(path=given.picture, full_page=True, **kind)
    print(page.locator('.ai-counts').inner_text())


if __name__ == '__main__':
    main()
