# SPDX-License-Identifier: Apache-2.0
"""
The Recipes page in a real browser: load, refuse, roll back, on a real decider and scorer.

"""

from dataclasses import replace
import shutil

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from playwright.sync_api import expect

from anomaly_inspection.recipes.archive import write_archive
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
        return _card(page, name)

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

    # Changed elsewhere, exported, and carried here as a file.
    _export_import_compare_delete(page, library, tmp_path, shoot)

    decided = len(watcher.decisions)
    watcher.wait(lambda: len(watcher.decisions) > decided)
    page.context.clear_cookies()
    log_in(page, address, 'operator')
    page.get_by_role('link', name='Recipes').click()
    expect(card('pump_50')).to_contain_text('In force')
    expect(page.get_by_role('button', name='Load')).to_have_count(0)
    expect(page.get_by_role('button', name='Compare')).not_to_have_count(0)
    for name in ('Delete', 'Export', 'Import a recipe'):
        expect(page.get_by_role('button', name=name)).to_have_count(0)


def test_a_cell_without_a_recipe_imports_its_first_one(
    page, processes, watcher, taught_recipe, tmp_path
):
    archive, library = tmp_path / 'small.zip', tmp_path / 'library'
    with archive.open('wb') as file:
        write_archive(taught_recipe, file)
    processes.start('teacher', library=library)
    processes.start('panel', port=0)
    processes.start('sorter')
    for name in ('scorer', 'decider'):
        processes.start(name, recipe="''")
    log_in(page, address_of(processes))
    page.get_by_role('link', name='Recipes').click()
    expect(page.get_by_text('There are no recipes yet.')).to_be_visible()
    page.get_by_role('button', name='Import a recipe').click()
    dialog = page.locator('.q-dialog')
    dialog.locator('input[type=file]').set_input_files(archive)
    expect(dialog.get_by_role('status')).to_contain_text('is in the library now')
    dialog.get_by_role('button', name='Close').click()
    _card(page, 'small').get_by_role('button', name='Load').click()
    dialog.get_by_role('button', name='Load').click()
    expect(page.locator('.head .recipe')).to_have_text('small, version 1')
    processes.start('camera', source=SOURCE)
    watcher.wait(lambda: any(one.recipe_name == 'small' for one in watcher.decisions.values()))


def _card(page, name):
    return page.locator('.recipe-card', has=page.locator(f'.recipe-name:text-is("{name}")'))


def _export_import_compare_delete(page, library, tmp_path, shoot):
    with page.expect_download() as download:
        _card(page, 'pump_40').get_by_role('button', name='Export').click()
    assert download.value.suggested_filename == 'pump_40.zip'
    download.value.save_as(archive := tmp_path / 'pump_40.zip')

    dialog = page.locator('.q-dialog')
    page.get_by_role('button', name='Import a recipe').click()
    upload = dialog.locator('input[type=file]')
    upload.set_input_files(archive)
    expect(dialog.get_by_role('alert')).to_contain_text('pump_40 version 3 already')
    # One that came out of another cell with the same name.
    pump = read_recipe(library / 'pump_40')
    other = write_recipe(
        replace(pump.with_limits({('ssim', 'mse'): 99.0}), product='Pump 41'), tmp_path / 'pump_40'
    )
    with archive.open('wb') as file:
        write_archive(other.path, file)
    upload.set_input_files(archive)
    expect(dialog.get_by_role('status')).to_have_text(
        'pump_40-2 version 1 is in the library now; it has a new name, because there is another '
        'recipe pump_40'
    )
    (tmp_path / 'evil.zip').write_bytes(archive.read_bytes()[:-100])
    upload.set_input_files(tmp_path / 'evil.zip')
    expect(dialog.get_by_role('alert')).to_contain_text('the archive is refused')
    shoot('recipes_import')
    dialog.get_by_role('button', name='Close').click()
    assert sorted(path.name for path in library.glob('.*')) == []

    _card(page, 'pump_40').get_by_role('button', name='Compare').click()
    expect(dialog).to_contain_text('pump_50, version 1')
    dialog.get_by_role('combobox').first.click()
    page.get_by_role('option', name='pump_40-2, version 1').click()
    row = dialog.locator('.compare-row', has_text='mean squared difference')
    expect(row).to_contain_text('99')
    expect(row).to_contain_text('stricter')
    product = dialog.locator('.compare-row', has_text='Product')
    expect(product).to_contain_text('Pump 41')
    expect(product).to_contain_text('Pump housing PB-40')
    expect(dialog).to_contain_text('The same in both: 6 limits.')
    page.wait_for_function(
        "[...document.querySelectorAll('.compare-picture')].every(e => e.naturalWidth > 100)"
    )
    shoot('recipes_compare')
    dialog.get_by_role('button', name='Close').click()

    # The one in force has no such button; another one goes when its name is typed.
    expect(_card(page, 'pump_50').get_by_role('button', name='Delete')).to_have_count(0)
    _card(page, 'pump_40').get_by_role('button', name='Delete').click()
    delete = dialog.get_by_role('button', name='Delete')
    expect(dialog).to_contain_text('All its versions (3)')
    dialog.get_by_label('Type pump_40').fill('pump_4')
    expect(delete).to_be_disabled()
    shoot('recipes_delete')
    dialog.get_by_label('Type pump_40').fill('pump_40')
    delete.click()
    expect(_card(page, 'pump_40')).to_have_count(0)
    assert sorted(path.name for path in library.iterdir()) == ['pump_40-2', 'pump_50']
