# SPDX-License-Identifier: Apache-2.0
"""
The Recipes page in a real browser: load, refuse, roll back, on a real decider and scorer.

"""

import shutil

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from playwright.sync_api import expect

from anomaly_inspection.recipes.folder import read_recipe, write_recipe
from support.panel_people import log_in
from support.processes import address_of
from support.small_recipe import SMALL_LINE

pytestmark = [pytest.mark.ros, pytest.mark.timeout(240)]

SOURCE = f'{SMALL_LINE},parts=900,defect_rate=0'
SCRIPT = '<img src=x onerror="window.hacked=1">'


def test_recipes_are_loaded_refused_and_rolled_back(
    page, processes, watcher, taught_recipe, tmp_path, shoot
):
    library = tmp_path / 'library'
    small, other, broken = (library / name for name in ('pump_40', 'pump_50', 'broken'))
    for folder in (small, other, broken):
        shutil.copytree(taught_recipe, folder)
        text = (folder / 'recipe.yaml').read_text().replace('name: small', f'name: {folder.name}')
        product = SCRIPT if folder is broken else f'Pump housing PB-{folder.name[-2:]}'
        text = text.replace("product: ''", f"product: '{product}'")
        (folder / 'recipe.yaml').write_text(text)
    (broken / 'statistics.npz').write_bytes(b'')
    first = read_recipe(small)
    limit = first.scorers['ssim'].limits['mse'].limit
    write_recipe(first.with_limits({('ssim', 'mse'): 2 * limit}), small)

    processes._recipe = small
    processes.start('panel', port=0)
    processes.start_all(watcher, SOURCE)
    address = address_of(processes)
    log_in(page, address)
    page.get_by_role('link', name='Recipes').click()

    def card(name):
        return page.locator('.recipe-card', has=page.locator(f'.recipe-name:text-is("{name}")'))

    expect(card('pump_40')).to_contain_text('In force')
    expect(card('pump_40')).to_contain_text('Version 2')
    expect(card('broken')).to_contain_text(SCRIPT)
    page.wait_for_function("document.querySelector('.recipe-picture').naturalWidth > 100")

    # A recipe that cannot be read is refused, and the dialog says why.
    card('broken').get_by_role('button', name='Load').click()
    dialog = page.locator('.q-dialog')
    expect(dialog).to_contain_text('Load broken, version 1?')
    dialog.get_by_role('button', name='Load').click()
    expect(dialog.get_by_role('alert')).to_contain_text('statistics.npz')
    shoot('recipes_refused')
    dialog.get_by_role('button', name='Cancel').click()
    expect(card('pump_40')).to_contain_text('In force')

    card('pump_40').get_by_role('button', name='Roll back').click()
    expect(dialog).to_contain_text('Roll pump_40 back to version 1? It becomes version 3.')
    dialog.get_by_role('button', name='Roll back').click()
    expect(page.locator('.head .recipe')).to_have_text('pump_40, version 3')
    assert read_recipe(small).scorers['ssim'].limits['mse'].limit == limit
    expect(card('pump_40').get_by_role('button', name='Roll back')).to_have_count(2)

    card('pump_50').get_by_role('button', name='Load').click()
    dialog.get_by_role('button', name='Load').click()
    expect(page.locator('.head .recipe')).to_have_text('pump_50, version 1')
    expect(card('pump_50')).to_contain_text('In force')
    assert not page.evaluate('window.hacked')

    # What another program does to the library is seen as well.
    shutil.rmtree(broken)
    expect(card('broken')).to_have_count(0, timeout=20_000)
    shoot('recipes')

    decided = len(watcher.decisions)
    watcher.wait(lambda: len(watcher.decisions) > decided)
    page.context.clear_cookies()
    log_in(page, address, 'operator')
    page.get_by_role('link', name='Recipes').click()
    expect(card('pump_50')).to_contain_text('In force')
    expect(page.get_by_role('button', name='Load')).to_have_count(0)
