# SPDX-License-Identifier: Apache-2.0
"""
The Teach page in a real browser: an unknown product of the line becomes the recipe in force.

"""

import re

import cv2
import numpy as np
import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.teaching.session import TeachingFolder
from support.panel_people import log_in
from support.processes import address_of, wait_for
from support.small_recipe import SMALL_LINE
from support.teaching import recorded_session

sync_api = pytest.importorskip('playwright.sync_api')

pytestmark = [pytest.mark.ros, pytest.mark.timeout(240)]

expect = sync_api.expect
PARTS = 12


def start_teacher(processes, tmp_path):
    folder, library = tmp_path / 'teaching', tmp_path / 'library'
    processes.start('teacher', folder=folder, library=library)
    return TeachingFolder(folder), library


def drag(page, element, start, end):
    """
    Draw with the mouse from one place of an element to another, in shares of its sides.

    """
    element.scroll_into_view_if_needed()
    box = element.bounding_box()

    def place(share):
        return box['x'] + share[0] * box['width'], box['y'] + share[1] * box['height']

    page.mouse.move(*place(start))
    page.mouse.down()
    page.mouse.move(*place(end), steps=5)
    page.mouse.up()


# Teaching gives way to all other programs: on a busy machine it takes minutes.
@pytest.mark.timeout(600)
def test_a_new_product_is_recorded_taught_tried_and_accepted(
    page, processes, watcher, tmp_path, shoot
):
    folder, library = start_teacher(processes, tmp_path)
    processes.start('viewer')
    processes.start('panel', port=0)
    processes.start_all(watcher, f'{SMALL_LINE},parts=4000,defect_rate=0')
    log_in(page, address_of(processes))
    page.get_by_role('link', name='Teach', exact=True).click()

    # Record: a live counter, and a hint for each part.
    page.get_by_label('Product', exact=True).fill('Pump 3')
    page.get_by_label('Parts', exact=True).fill(str(PARTS))
    page.get_by_role('button', name='Record').click()
    expect(page.locator('.teach-hint-title')).to_have_text(re.compile('Good image|Too alike'))
    shoot('teach_record')
    expect(page.locator('.teach-tile')).to_have_count(PARTS)
    (session,) = folder.sessions()
    assert (session.product, len(session.image_names())) == ('Pump 3', PARTS)

    # Look through: the keys move, mark and delete.
    page.locator('.teach-tile').nth(3).click()
    page.keyboard.press('ArrowRight')
    page.keyboard.press('Space')
    expect(page.locator('.teach-tile.is-marked img')).to_have_attribute('alt', '000005.png')
    page.keyboard.press('Delete')
    expect(page.locator('.teach-tile')).to_have_count(PARTS - 1)
    assert '000005.png' not in session.image_names()

    # The region of interest is drawn on the picture.
    drag(page, page.locator('.teach-picture'), (0.1, 0.1), (0.9, 0.9))
    expect(page.get_by_text(re.compile(r'Region: 25\d x 19\d px'))).to_be_visible()
    shoot('teach_region')

    # Teach: progress, then the result.
    page.get_by_role('button', name='Teach', exact=True).click()
    expect(page.get_by_role('button', name='Cancel')).to_be_visible()
    expect(page.get_by_text('defects seen', exact=True)).to_be_visible(timeout=400_000)
    assert page.locator('.teach-cell').count() == 9
    page.wait_for_function("document.querySelector('.teach-examples').naturalWidth > 100")

    # Trial run: both verdicts of each part; nothing is in force yet.
    page.get_by_role('button', name='Start', exact=True).click()
    expect(page.locator('.teach-shadow').nth(3)).to_be_visible(timeout=60_000)
    shoot('teach_trial')
    assert not library.exists()

    # Accept: the decider judges by it from the next part on.
    page.get_by_role('button', name='Accept and use now').click()
    expect(page.locator('.head .recipe')).to_have_text('pump_3, version 1', timeout=60_000)
    expect(page.locator('.teach-accepted')).to_contain_text('pump_3 version 1 is in force')
    shoot('teach_accepted')
    recipe = read_recipe(library / 'pump_3')
    region = recipe.preprocessing.region_of_interest
    assert (region.width, region.height) == pytest.approx((256, 192), abs=8)
    count = len(watcher.decisions)
    watcher.wait(lambda: len(watcher.decisions) > count + 2)
    assert list(watcher.decisions.values())[-1].recipe_name == 'pump_3'


def test_a_panel_that_dies_while_it_records_loses_nothing_and_its_successor_stops(
    page, processes, watcher, tmp_path
):
    folder, _ = start_teacher(processes, tmp_path)
    processes.start('panel', port=0)
    processes.start_all(watcher, f'{SMALL_LINE},parts=4000,defect_rate=0')
    address = address_of(processes)
    log_in(page, address)
    page.goto(f'{address}teach')
    page.get_by_label('Product', exact=True).fill('Pump 3')
    page.get_by_label('Parts', exact=True).fill('0')
    page.get_by_role('button', name='Record').click()
    expect(page.locator('.teach-tile').nth(2)).to_be_visible()
    (session,) = folder.sessions()

    panel = processes.running['panel']
    panel.kill()
    panel.wait()
    before = len(watcher.decisions)
    recorded = len(session.image_names())
    watcher.wait(lambda: len(watcher.decisions) > before + 5)
    wait_for(lambda: len(session.image_names()) > recorded, processes)

    processes.start('panel', port=0)
    words = "the operator's page: "
    wait_for(lambda: processes.log('panel').count(words) == 2, processes)
    # On another port, where the first log-in does not count.
    address = processes.log('panel').rpartition(words)[2].split()[0]
    log_in(page, address)
    page.goto(f'{address}teach')
    page.get_by_role('button', name='Stop').click()
    expect(page.get_by_role('button', name='Record more')).to_be_enabled()
    count = len(session.image_names())
    assert count > recorded
    expect(page.locator('.teach-count')).to_have_text(str(count))


def test_a_hostile_name_is_text_and_other_files_are_not_served(page, processes, tmp_path):
    folder, _ = start_teacher(processes, tmp_path)
    evil = '<img src=x onerror=alert(1)>'
    session = recorded_session(folder.path, product=evil, count=2)
    (session.folder / 'draft').mkdir()
    processes.start('panel', port=0)
    dialogs = []
    page.on('dialog', lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    address = address_of(processes)
    log_in(page, address)
    page.goto(f'{address}teach')
    expect(page.get_by_text(evil).first).to_be_visible()
    assert page.locator('img[src="x"]').count() == 0
    assert dialogs == []
    for path in (
        'images/..%2Fsession.json',
        'images/session.json',
        'thumbnails/000009.png',
        'draft/report.json',
        'draft/seen.png',
        'draft/..%2F..%2Fsession.json',
    ):
        answer = page.request.get(f'{address}teaching/{session.name}/{path}')
        assert answer.status in (400, 404), path
    assert page.request.get(f'{address}teaching/..%2F..%2Fetc/images/passwd').status in (400, 404)


def test_files_are_uploaded_and_what_is_no_image_is_refused(page, processes, tmp_path):
    folder, _ = start_teacher(processes, tmp_path)
    session = recorded_session(folder.path, count=2)
    processes.start('panel', port=0)
    address = address_of(processes)
    log_in(page, address)
    page.goto(f'{address}teach')
    expect(page.locator('.teach-tile')).to_have_count(2)
    image = np.random.default_rng(1).integers(0, 200, (240, 320), np.uint8)
    good = {'name': 'good.png', 'mimeType': 'image/png'}
    good['buffer'] = cv2.imencode('.png', image)[1].tobytes()
    bad = {'name': 'bad.png', 'mimeType': 'image/png', 'buffer': b'<svg onload=alert(1)>'}
    page.locator('input[type=file]').set_input_files([good])
    expect(page.get_by_text('000003.png added.')).to_be_visible()
    expect(page.locator('.teach-tile')).to_have_count(3)
    page.locator('input[type=file]').set_input_files([bad])
    expect(page.get_by_text('not a PNG, JPEG, BMP or TIFF image')).to_be_visible()
    assert len(session.image_names()) == 3


def test_files_that_are_dropped_together_begin_one_session(page, processes, tmp_path):
    folder, _ = start_teacher(processes, tmp_path)
    processes.start('panel', port=0)
    address = address_of(processes)
    log_in(page, address)
    page.goto(f'{address}teach')
    upload = page.locator('input[type=file]')
    rng = np.random.default_rng(1)
    files = [
        {
            'name': f'{number}.png',
            'mimeType': 'image/png',
            'buffer': cv2.imencode('.png', rng.integers(0, 200, (240, 320), np.uint8))[
                1
            ].tobytes(),
        }
        for number in range(4)
    ]
    upload.set_input_files(files[:1])
    expect(page.get_by_text('Give the product a name first.')).to_be_visible()
    page.get_by_label('Product', exact=True).fill('Pump')
    upload.set_input_files(files)
    expect(page.locator('.teach-tile')).to_have_count(4)
    assert [one.product for one in folder.sessions()] == ['Pump']
    # The next file goes there too.
    upload.set_input_files(files[:1])
    expect(page.locator('.teach-tile')).to_have_count(5)


def test_without_a_teacher_the_page_says_what_to_do(page, processes):
    processes.start('panel', port=0)
    address = address_of(processes)
    log_in(page, address)
    page.goto(f'{address}teach')
    expect(page.get_by_text('Start the cell with teacher:=true')).to_be_visible()
