# SPDX-License-Identifier: Apache-2.0
"""
What the pages leave out in a cell with several views, and say instead.

"""

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')
from rclpy.action import ActionServer

from anomaly_inspection.action import RunChallenge
from anomaly_inspection.msg import (
    Challenge,
    Limit,
    LimitInForce,
    LimitsInForce,
    Measure,
    RecipeInForce,
)
from anomaly_inspection.nodes.qos import LATCHED
from anomaly_inspection.srv import SetLimits
from support.panel_people import log_in
from support.processes import address_of, wait_for

sync_api = pytest.importorskip('playwright.sync_api', reason='playwright is not installed')

pytestmark = [pytest.mark.ros, pytest.mark.timeout(240)]

expect = sync_api.expect


@pytest.fixture
def left_limits(watcher):
    """
    The requests that the decider of the view left gets; the joined limits of the cell are out.

    """
    asked = []

    def set_limits(request, response):
        asked.extend(request.limits)
        response.success = True
        return response

    watcher.create_service(SetLimits, 'left/decider/set_limits', set_limits)
    out = watcher.create_publisher(LimitsInForce, 'limits_in_force', LATCHED)
    names = {
        'scorer': 'left/ssim',
        'measure': 'mse',
        'unit': '1',
        'bad_side': Measure.BAD_SIDE_HIGH,
    }
    limit = LimitInForce(value=4.0, typical=1.0, lowest=0.0, highest=100.0, **names)
    out.publish(LimitsInForce(recipe_name='part', recipe_version=1, limits=[limit]))
    return asked


@pytest.fixture
def challenged_left(watcher):
    """
    The challenges that the decider of the view left was asked for.

    """
    asked = []

    def run(goal):
        asked.append(goal)
        goal.abort()
        return RunChallenge.Result(success=False, message='not now')

    server = ActionServer(watcher, RunChallenge, 'left/decider/run_challenge', run)
    yield asked
    server.destroy()


def test_limits_and_challenges_go_to_their_view_and_recipes_only_look(
    page, processes, watcher, left_limits, challenged_left, taught_recipe
):
    recipes = watcher.create_publisher(RecipeInForce, 'recipe_in_force', LATCHED)
    recipes.publish(RecipeInForce(name='part', version=1, hash='a', path=str(taught_recipe)))
    processes.start('panel', port=0, views='[top,left]')
    address = address_of(processes)
    log_in(page, address)

    page.goto(f'{address}tune')
    expect(page.locator('.measure-scorer')).to_have_text('left/ssim')
    number = page.locator('.tune-number input')
    number.fill('5')
    number.press('Enter')
    wait_for(lambda: left_limits, processes)
    assert left_limits == [Limit(scorer='ssim', measure='mse', value=5.0)]

    box = page.locator('.challenge:visible')
    expect(box).to_have_count(0)
    challenges = watcher.create_publisher(Challenge, 'left/challenge', LATCHED)
    challenges.publish(
        Challenge(
            state=Challenge.STATE_DUE,
            parts=['good gold sample', 'bad scratch 2 mm'],
            production_is_blocked=True,
        )
    )
    expect(box).to_contain_text('Challenge with known parts: left')
    expect(box).to_contain_text('Production is blocked')
    box.get_by_role('button', name='Start the challenge').click()
    wait_for(lambda: challenged_left, processes)

    page.goto(f'{address}recipes')
    expect(page.locator('.recipe-name', has_text=taught_recipe.name)).to_be_visible()
    expect(page.get_by_text('takes its recipe when it is launched')).to_be_visible()
    for name in ('Load', 'Delete', 'Import'):
        expect(page.get_by_role('button', name=name)).to_have_count(0)

    page.goto(f'{address}teach')
    expect(page.get_by_text('anomaly-inspection teach --view')).to_be_visible()
    expect(page.get_by_role('button', name='Record')).to_have_count(0)
