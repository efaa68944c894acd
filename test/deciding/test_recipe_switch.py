# SPDX-License-Identifier: Apache-2.0
"""
The recipe switch: who must confirm, and how it ends.

"""

from __future__ import annotations

import itertools

import pytest

from anomaly_inspection.deciding.recipe_switch import RecipeSwitch, SwitchState

NEW, OLD = 'a' * 64, 'b' * 64


def switch(*, is_first: bool = False) -> RecipeSwitch:
    return RecipeSwitch(NEW, ('ssim', 'variation'), now=100.0, timeout_s=20.0, is_first=is_first)


@pytest.mark.parametrize('order', list(itertools.permutations([['ssim'], ['variation', 'ssim']])))
def test_it_is_ready_when_every_scorer_has_confirmed_in_whatever_order(
    order: list[list[str]],
) -> None:
    one = switch()
    for scorers in order:
        assert one.state is SwitchState.PREPARING or not one.missing
        one.answered(NEW, scorers, is_ready=True)
    assert one.state is SwitchState.READY
    assert (one.ready, one.missing, one.reason) == (['ssim', 'variation'], [], '')


def test_answers_about_other_recipes_do_not_count() -> None:
    one = switch()
    one.answered(OLD, ['ssim', 'variation'], is_ready=True)
    one.answered(OLD, ['ssim'], is_ready=False, error='no memory left')
    assert (one.state, one.reason) == (SwitchState.PREPARING, '')
    assert one.missing == ['ssim', 'variation']


def test_scorers_that_the_recipe_does_not_need_neither_help_nor_hurt() -> None:
    one = switch()
    one.answered(NEW, ['template', 'ssim'], is_ready=True)
    assert one.ready == ['ssim']
    one.answered(NEW, ['variation'], is_ready=True)
    assert one.state is SwitchState.READY


@pytest.mark.parametrize(
    ('error', 'says'), [('no memory left', 'no memory left'), ('', 'gave no reason')]
)
def test_a_refusal_ends_it_with_its_reason(error: str, says: str) -> None:
    one = switch()
    one.answered(NEW, ['ssim'], is_ready=True)
    one.answered(NEW, ['variation'], is_ready=False, error=error)
    assert one.state is SwitchState.FAILED
    assert says in one.reason
    one.answered(NEW, ['variation'], is_ready=True)
    assert one.state is SwitchState.FAILED, 'it ends once'


def test_silence_ends_it_and_names_who_was_silent() -> None:
    one = switch()
    one.answered(NEW, ['ssim'], is_ready=True)
    one.tick(119.9, scorer_nodes=2)
    assert one.state is SwitchState.PREPARING
    one.tick(120.0, scorer_nodes=2)
    assert one.state is SwitchState.FAILED
    assert one.reason == ('variation did not confirm within 20 s: does a scorer node run it?')


def test_without_a_scorer_node_it_ends_early() -> None:
    one = switch()
    one.tick(100.9, scorer_nodes=0)
    assert one.state is SwitchState.PREPARING, 'nodes may not have been found yet'
    one.tick(101.0, scorer_nodes=0)
    assert (one.state, one.reason) == (SwitchState.FAILED, 'no scorer node is there')


def test_it_ends_early_when_no_node_that_is_there_runs_a_required_scorer() -> None:
    one = switch()
    one.answered(NEW, ['ssim'], is_ready=True)
    one.tick(101.0, scorer_nodes=2)
    assert one.state is SwitchState.PREPARING, 'the second node has not answered'
    one.answered(NEW, ['template'], is_ready=True)
    one.tick(101.1, scorer_nodes=2)
    assert one.state is SwitchState.FAILED
    assert one.reason == 'variation is needed, and none of the scorer nodes runs it (2 found)'


def test_the_first_recipe_waits_for_nodes_that_come_later() -> None:
    one = switch(is_first=True)
    one.answered(NEW, ['ssim'], is_ready=True)
    one.tick(110.0, scorer_nodes=1)
    assert (one.state, one.reason) == (SwitchState.PREPARING, '')


def test_a_ready_one_stays_ready() -> None:
    one = switch()
    one.answered(NEW, ['ssim', 'variation'], is_ready=True)
    one.tick(1000.0, scorer_nodes=2)
    one.answered(NEW, ['ssim'], is_ready=False, error='scorer is not active')
    assert (one.state, one.reason) == (SwitchState.READY, '')


def test_the_first_recipe_says_what_is_wrong_and_goes_on_waiting() -> None:
    one = switch(is_first=True)
    one.answered(NEW, ['ssim'], is_ready=True)
    one.tick(120.0, scorer_nodes=2)
    assert (one.state, 'variation did not confirm' in one.reason) == (SwitchState.PREPARING, True)
    one.answered(NEW, ['ssim'], is_ready=False, error='scorer is not active')
    assert (one.state, one.reason) == (SwitchState.PREPARING, 'scorer is not active')
    one.answered(NEW, ['variation'], is_ready=True)
    assert one.missing == ['ssim'], 'who took back its confirmation is missing again'
    one.answered(NEW, ['ssim'], is_ready=True)
    assert (one.state, one.reason) == (SwitchState.READY, '')
