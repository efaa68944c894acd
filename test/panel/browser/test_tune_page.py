# SPDX-License-Identifier: Apache-2.0
"""
The Tune page in a real browser: a limit moves, and the next part is judged by it.

"""

import json
import re
import shutil

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from playwright.sync_api import expect

from anomaly_inspection.msg import Decision, LimitsInForce
from anomaly_inspection.nodes.qos import LATCHED
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.state_file import default_state_folder
from support.panel_people import log_in
from support.processes import address_of, wait_for
from support.small_recipe import SMALL_LINE
from support.wire_bench import PtyDevice

pytestmark = [pytest.mark.ros, pytest.mark.timeout(240)]

SOURCE = f'{SMALL_LINE},parts=900,defect_rate=0'
MEASURE = 'variation.peak_z'


@pytest.fixture
def device():
    device = PtyDevice()
    yield device
    device.close()


def value_of(heard, name=MEASURE):
    return next(
        limit.value for limit in heard[-1].limits if f'{limit.scorer}.{limit.measure}' == name
    )


def test_the_next_part_is_judged_by_a_moved_limit_and_undo_save_and_grab_work(
    page, processes, watcher, device, taught_recipe, tmp_path, shoot
):
    # It is saved into.
    recipe = tmp_path / 'recipes' / 'small'
    shutil.copytree(taught_recipe, recipe)
    processes._recipe = recipe
    heard = watcher.hear(LimitsInForce, 'limits_in_force', LATCHED)
    processes.start('viewer')
    processes.start('panel', port=0)
    channels = {'channel_34.measure': MEASURE, 'channel_39.measure': 'ssim.mse'}
    processes.start('threshold_bridge', port=device.path, max_age_s=5.0, **channels)
    processes.start_all(watcher, SOURCE)
    address = address_of(processes)
    log_in(page, address)
    page.get_by_role('link', name='Tune').click()

    row = page.locator('.tune-limit', has_text='largest deviation')
    sentence = row.locator('.tune-sentence')
    expect(sentence).to_have_text(re.compile(r'With this limit \d+ of the last \d+ parts'))
    watcher.wait(lambda: len(watcher.decisions) >= 12)
    in_recipe = value_of(heard)
    save = page.get_by_role('button', name='Save')
    expect(save).to_be_disabled()

    # The strict end of the slider: no good part is that good.
    slider = row.locator('.tune-slider')
    box = slider.bounding_box()
    slider.click(position={'x': box['width'] * 0.2, 'y': box['height'] / 2})
    watcher.wait(lambda: value_of(heard) < in_recipe)
    number = len(watcher.decisions)
    watcher.wait(
        lambda: any(
            decision.reason == Decision.REASON_LIMIT_EXCEEDED and decision.worst_measure == MEASURE
            for decision in list(watcher.decisions.values())[number:]
        )
    )
    expect(sentence).to_have_text(re.compile(r'With this limit [1-9]\d* of the last'))
    expect(page.get_by_text('differ from version 1')).to_be_visible()
    expect(page.locator('.live figcaption')).to_have_text(re.compile('REJECT'))
    shoot('tune')

    # What the decider refuses is said in its own words, and the field shows what is in force.
    field = row.locator('.tune-number input')
    shown = field.input_value()
    field.fill('-5')
    field.press('Enter')
    expect(row.locator('.tune-refused')).to_contain_text('limit -5.0 refused, allowed: above')
    expect(field).to_have_value(shown)

    page.get_by_role('button', name='Undo').click()
    watcher.wait(lambda: value_of(heard) == in_recipe)
    expect(page.get_by_text('those of version 1')).to_be_visible()
    expect(row.locator('.tune-refused')).to_be_hidden()

    knobs = page.locator('.box', has_text='Potentiometers')
    expect(knobs.locator('.measure-value').first).not_to_have_text('moves nothing')
    page.get_by_role('button', name='Grab values').click()
    watcher.wait(lambda: not heard[-1].limits or value_of(heard) != in_recipe)
    grabbed = value_of(heard)
    save.click()
    expect(page.get_by_text('those of version 2')).to_be_visible()
    assert read_recipe(recipe).scorers['variation'].limits['peak_z'].limit == grabbed

    page.context.clear_cookies()
    log_in(page, address, 'operator')
    page.get_by_role('link', name='Tune').click()
    expect(page.get_by_text('You may look.')).to_be_visible()
    expect(page.get_by_role('button', name='Grab values')).to_be_visible()
    expect(save).to_be_hidden()
    expect(field).to_be_disabled()


def taught_parts(recipe, folder):
    """
    Make a source of parts that are all like those taught, whichever of them are looked at.

    """
    folder.mkdir()
    # The recipe keeps more references than one scorer compares with.
    references = sorted((recipe / 'references').glob('*.png'))[:5]
    for number in range(900):
        (folder / f'{number:04d}.png').hardlink_to(references[number % len(references)])
    return folder


def test_calibrate_narrow_and_challenge_on_the_real_cell(
    page, processes, watcher, taught_recipe, tmp_path, shoot
):
    recipe = tmp_path / 'recipes' / 'small'
    shutil.copytree(taught_recipe, recipe)
    processes._recipe = recipe
    heard = watcher.hear(LimitsInForce, 'limits_in_force', LATCHED)
    processes.start('viewer')
    processes.start('panel', port=0)
    known = {'challenge_parts': '[good gold sample, bad scratch]', 'challenge_at_start': False}
    processes.start_all(watcher, taught_parts(taught_recipe, tmp_path / 'parts'), **known)
    address = address_of(processes)
    log_in(page, address)
    page.get_by_role('link', name='Tune').click()
    in_recipe = value_of(heard)

    box = page.locator('.box', has_text='Calibrate on good parts')
    count = page.get_by_label('Good parts', exact=True)
    start = page.get_by_role('button', name='Start', exact=True)
    count.fill('500')
    start.click()
    expect(box.locator('.calibrate-done')).to_have_text(re.compile(r'^[1-9]'))
    box.get_by_role('button', name='Cancel').click()
    expect(box).to_contain_text('cancelled')
    assert value_of(heard) == in_recipe
    count.fill('20')
    start.click()
    undo = page.get_by_role('button', name='Undo calibration')
    expect(undo).to_be_visible(timeout=60_000)
    expect(box.locator('.calibrate-limit')).not_to_have_count(0)
    expect(box).to_contain_text('lie beyond the old limits')
    watcher.wait(lambda: value_of(heard) != in_recipe)
    shoot('tune_calibrated_cell')
    record = default_state_folder() / 'people' / 'audit.jsonl'
    wait_for(lambda: '"calibrated"' in record.read_text(), processes)
    entries = [json.loads(line) for line in record.read_text().splitlines()]
    begun = next(
        one for one in entries if one['what'] == 'calibrate' and one['new']['parts'] == 20
    )
    done = next(one for one in entries if one['what'] == 'calibrated')
    assert (begun['who'], begun['new']['parts']) == ('engineer', 20)
    assert begun['old'][MEASURE] == pytest.approx(in_recipe)
    assert f'{MEASURE} {in_recipe:.4g} -> ' in done['subject']
    undo.click()
    watcher.wait(lambda: value_of(heard) == in_recipe)
    expect(box).to_contain_text('in force again')

    # An engineer narrows the range; it becomes a version of the recipe, and the decider holds it.
    row = page.locator('.tune-limit', has_text='largest deviation')
    row.get_by_role('button', name='Set the range').click()
    dialog = page.locator('.q-dialog')
    dialog.get_by_label('Highest limit').fill(f'{in_recipe + 1:.3f}')
    dialog.get_by_role('button', name='Save').click()
    expect(page.locator('.head .recipe')).to_have_text('small, version 2', timeout=60_000)
    expect(row.locator('.tune-range')).to_contain_text('Can be moved')
    assert read_recipe(recipe).scorers['variation'].limits['peak_z'].highest is not None
    field = row.locator('.tune-number input')
    field.fill(f'{in_recipe + 2:.3f}')
    field.press('Enter')
    expect(row.locator('.tune-refused')).to_contain_text('the range that an engineer has set')

    # The known bad part is a good one here: it must come out wrong.
    challenge = page.locator('.challenge')
    challenge.get_by_role('button', name='Start the challenge').click()
    expect(challenge).to_contain_text('bad scratch came out wrong')
    expect(challenge).to_contain_text('Production is blocked')
    shoot('tune_cell')
