# SPDX-License-Identifier: Apache-2.0
"""
The box of the Review page that says what the verdicts say; only an engineer acts on it.

"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('playwright.sync_api')
pytest.importorskip('nicegui', reason='NiceGUI is not installed: pip install .[panel]')

from playwright.sync_api import expect

from anomaly_inspection.panel.cell.commands import Answer, PASSES_BAD_PARTS
from anomaly_inspection.panel.cell.part_views import LimitView
from anomaly_inspection.panel.cell.views import RecipeView
from anomaly_inspection.panel.people.roles import Role, Visitor
from anomaly_inspection.panel.review.reject import KeptAs
from anomaly_inspection.panel.review.review_set import ReviewSet
from anomaly_inspection.recipes.folder import read_recipe
from anomaly_inspection.recipes.limit_table import limit_table
from anomaly_inspection.reviewing.accepted_limits import AcceptanceLog
from anomaly_inspection.reviewing.bad_parts import BadParts
from anomaly_inspection.reviewing.looser import BAD_FOR_EACH
from anomaly_inspection.scoring.measure import BadSide
from support.panel_site import SCRIPT
from support.reviewed_parts import judged_part, review_parts, spotted, strict_recipe

N_FAINT, N_DEEP = 6, BAD_FOR_EACH
# The two worst of the faint ones do not count; one of them is as large as the third.
N_STILL = 1


@pytest.fixture
def site(panel_site: Any, tmp_path: Path) -> Iterator[Any]:
    """
    Give the made-up cell with a real recipe and reviewed parts; afterwards all is as before.

    """
    parts, cell = panel_site.parts, panel_site.cell
    before, reviews = parts.state.picture(), parts.reviews
    recipe = strict_recipe(tmp_path / 'recipes' / 'pump')
    own = ReviewSet(tmp_path / 'review')
    review_parts(own, recipe, n_faint=N_FAINT, n_deep=N_DEEP, comment=SCRIPT)
    object.__setattr__(parts, 'reviews', own)
    parts.state.set_recipe(RecipeView(recipe.name, recipe.version, str(recipe.path), recipe.hash))
    parts.state.set_limits(views(recipe), are_unsaved=False)
    cell.given.clear()
    cell.answer = Answer(True, 'done')
    yield panel_site
    object.__setattr__(parts, 'reviews', reviews)
    own.close()
    parts.state.set_recipe(before.recipe)
    parts.state.set_limits(before.limits, are_unsaved=True)
    cell.answer = Answer(True, 'done')
    cell.given.clear()


def views(recipe: Any, changed: dict[str, float] | None = None) -> tuple[LimitView, ...]:
    return tuple(
        LimitView(
            *(limit.name, (changed or {}).get(limit.name, limit.value), limit.typical),
            *(limit.unit, limit.bad_side is BadSide.HIGH),
        )
        for limit in limit_table(recipe)
    )


def open_review(page: Any, site: Any, role: str) -> Any:
    (name, value), *_ = site.cookie(role).items()
    page.context.add_cookies([{'name': name, 'value': value, 'url': site.address}])
    page.goto(f'{site.address}review')
    box = page.locator('.verdicts')
    expect(box).to_contain_text(f'{N_FAINT} of {N_FAINT + N_DEEP} reviewed rejects were good')
    box.get_by_role('button', name='More about it').click()
    return box


def give_reason(page: Any, button: str, why: str) -> None:
    dialog = page.locator('.dialog')
    expect(dialog.get_by_role('button', name=button)).to_be_disabled()
    dialog.get_by_label('Reason').fill(why)
    dialog.get_by_role('button', name=button).click()


def test_an_operator_reads_what_the_verdicts_say_and_cannot_act(page: Any, site: Any) -> None:
    box = open_review(page, site, 'operator')
    expect(box).to_contain_text('does not tell how many bad parts pass')
    expect(box).to_contain_text(f'{N_STILL} of {N_FAINT} confirmed good parts would be rejected')
    # Hidden ones have no role: there is only the one that opens the box.
    expect(box.get_by_role('button')).to_have_count(1)
    # The role holds on the server, whatever a page shows.
    for visitor in (None, Visitor('operator', Role.OPERATOR)):
        acceptance = site.parts.acceptance_for(visitor)
        assert not acceptance.accept({'ssim.mse': 9.0}, 'why not').success
        assert not acceptance.undo('why not').success
        assert not acceptance.keep_bad('why not').success
    assert site.cell.given == []


def test_reviewed_passed_parts_tell_of_escapes(page: Any, site: Any, shoot: Any) -> None:
    state, reviews = site.parts.state, site.parts.reviews
    recipe = read_recipe(Path(state.picture().recipe.path))
    kinds = [KeptAs.NEAR, *[KeptAs.SAMPLE] * 4]
    for number, kind in enumerate(kinds, 901):
        image = spotted(number, 0)
        part = judged_part(recipe, number, image)
        assert part.decision.has_passed
        reviews.put(part, lambda image=image: image, image.nbytes, 1.7e9 + number, kind)
        # Passed parts are not taken while others wait.
        assert reviews.settle()
    box = open_review(page, site, 'operator')
    # The rejects are all judged, and passed parts are not among them unless one asks.
    expect(page.locator('.review-tile')).to_have_count(0)
    page.get_by_label('Parts').click()
    page.get_by_role('option', name='passed, a sample').click()
    expect(page.locator('.review-tile')).to_have_count(4)
    for number, key in zip((905, 904, 903, 902), '2111', strict=True):
        expect(page.locator('.review-title')).to_have_text(f'Part {number}')
        expect(page.locator(f'.review-picture[data-seen="{number}"]')).to_be_visible()
        page.keyboard.press(key)
    wanted = '1 of 4 reviewed parts of the sample of passed ones were bad: 25.0 % (0.6 to 80.6 %)'
    expect(box).to_contain_text(wanted)
    expect(box).not_to_contain_text('does not tell how many bad parts pass')
    shoot('passed')
    verdicts = {one.key[1]: str(one.verdict) for one in reviews.kept() if one.key[1] > 900}
    assert verdicts == {905: 'defect', **dict.fromkeys((904, 903, 902), 'good'), 901: 'None'}


def test_an_engineer_accepts_with_a_reason_and_takes_it_back(page: Any, site: Any) -> None:
    recipe_path = Path(site.parts.state.picture().recipe.path)
    before = {limit.name: limit.value for limit in site.parts.state.picture().limits}
    box = open_review(page, site, 'engineer')
    # A verdict alone moves nothing.
    assert site.cell.given == []
    box.get_by_role('button', name='Set these limits').click()
    give_reason(page, 'Set limits', SCRIPT)
    expect(page.locator('.dialog')).to_have_count(0)
    ((name, values),) = site.cell.given
    assert name == 'set_limits'
    assert values
    assert all(before[one] != value for one, value in values.items())
    entry = site.people.audit.recent()[0]
    assert (entry['what'], entry['who']) == ('set limits', 'engineer')
    assert (entry['old'], entry['new']) == ({one: before[one] for one in values}, values)
    assert SCRIPT in entry['why']
    noted = AcceptanceLog(recipe_path).last()
    assert noted is not None
    assert (noted.who, noted.new) == ('engineer', values)

    state = site.parts.state
    limits = state.picture().limits
    state.set_limits(
        tuple(replace(one, value=values.get(one.name, one.value)) for one in limits),
        are_unsaved=True,
    )
    expect(box).to_contain_text('too few good parts exceed it (1; at least 5 are needed)')
    box.get_by_role('button', name='Take back').click()
    expect(page.locator('.dialog')).to_contain_text(SCRIPT)
    give_reason(page, 'Put back', 'scratches came through')
    expect(page.locator('.dialog')).to_have_count(0)
    assert site.cell.given[-1] == ('set_limits', {one: before[one] for one in values})
    assert page.evaluate('window.hacked') is None


def test_a_refused_limit_is_not_noted(page: Any, site: Any) -> None:
    site.cell.answer = Answer(False, 'ssim.mse: limit 9 refused')
    box = open_review(page, site, 'engineer')
    box.get_by_role('button', name='Set these limits').click()
    give_reason(page, 'Set limits', 'shiny lot')
    expect(page.locator('.dialog')).to_contain_text('limit 9 refused')
    assert AcceptanceLog(Path(site.parts.state.picture().recipe.path)).all() == []


def test_bad_parts_are_kept_and_a_recipe_that_passes_them_needs_a_reason(
    page: Any, site: Any, shoot: Any
) -> None:
    recipe_path = Path(site.parts.state.picture().recipe.path)
    box = open_review(page, site, 'engineer')
    page.get_by_label('Show').click()
    page.get_by_role('option', name='all', exact=True).click()
    shoot('verdicts')
    box.get_by_role('button', name=f'Keep {N_DEEP} bad parts').click()
    give_reason(page, 'Keep', 'customer complaint')
    expect(page.locator('.dialog')).to_have_count(0)
    assert len(BadParts(recipe_path).all()) == N_DEEP
    expect(box.get_by_role('button', name='bad parts')).to_be_hidden()

    refusal = f'it would pass 1 of {N_DEEP} parts that people have confirmed as bad'
    site.cell.answer = Answer(False, refusal, PASSES_BAD_PARTS)
    other = recipe_path.with_name('valve')
    other.mkdir()
    (other / 'recipe.yaml').touch()
    page.goto(f'{site.address}recipes')
    page.get_by_role('button', name='Load').first.click()
    dialog = page.locator('.dialog')
    dialog.get_by_role('button', name='Load').click()
    expect(dialog).to_contain_text(refusal)
    shoot('override')
    site.cell.answer = Answer(True, 'in force')
    dialog.get_by_label('Why load it all the same').fill('the part was good after all')
    dialog.get_by_role('button', name='Load all the same').click()
    expect(dialog).to_have_count(0)
    assert site.cell.given[-1][1] == (str(other), 'the part was good after all')
    entry = site.people.audit.recent()[0]
    assert entry['what'] == 'load recipe'
    assert 'the part was good after all' in entry['why']
