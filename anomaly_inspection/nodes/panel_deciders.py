# SPDX-License-Identifier: Apache-2.0
"""
Carries the commands of the page Tune out: limits, ranges and calibration of the deciders.

A cell with one camera has one decider; with several views each view has its own, and the names of
its measures begin with the view: 'left/ssim.mean_ssim'.

"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import math
from typing import Any, TYPE_CHECKING

from std_srvs.srv import Trigger

from anomaly_inspection.action import Calibrate, RunChallenge
from anomaly_inspection.msg import Limit, LimitRange
from anomaly_inspection.nodes.begun_action import BegunAction, call_service, parts_refused
from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.srv import SetLimitRanges, SetLimits

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecycleNode

    from anomaly_inspection.panel.cell.part_views import LimitView

#: Confirmed bad parts are judged by a recipe, and scorers read it, before it can be in force.
RECIPE_TIMEOUT_S = 180.0
_FEWEST_PARTS, _MOST_PARTS = 5, 100_000


class PanelDeciders:
    """
    Calls the decider of the cell, or those of its views; blocks until the answer, never raises.

    Parameters
    ----------
    node : LifecycleNode
        Has the clients; another thread spins it.
    views : sequence of str
        Names of the views; empty = one camera.
    limits : callable
        Gives the limits in force.

    """

    def __init__(
        self,
        node: LifecycleNode,
        views: Sequence[str],
        limits: Callable[[], tuple[LimitView, ...]],
    ) -> None:
        self._views, self._limits = tuple(views), limits
        self._deciders = {view: _Decider(node, view) for view in views or ('',)}

    def close(self) -> None:
        """
        Let go of the clients.

        """
        for decider in self._deciders.values():
            decider.close()

    def set_limits(self, limits: Mapping[str, float]) -> Answer:
        """
        Change limits of one decider together, all or none.

        """
        view = self._view_of(limits)
        if isinstance(view, Answer):
            return view
        return _of_view(view, self._deciders[view].set_limits(_without(view, limits)))

    def set_limit_ranges(self, ranges: Mapping[str, tuple[float | None, float | None]]) -> Answer:
        """
        Set in which range limits of one decider may be moved, and write it into its recipe.

        """
        view = self._view_of(ranges)
        if isinstance(view, Answer):
            return view
        return _of_view(view, self._deciders[view].set_limit_ranges(_without(view, ranges)))

    def save_limits(self) -> Answer:
        """
        Write the limits in force as a new version of each recipe whose limits they are not.

        """
        return self._ask(lambda decider: decider.save_limits(), self._changed_views())

    def undo_limits(self) -> Answer:
        """
        Put the limits of the recipes back into force.

        """
        return self._ask(lambda decider: decider.undo_limits(), self._changed_views())

    def calibrate(self, parts: int, false_reject_rate: float) -> Answer:
        """
        Begin to derive the limits from the next parts, in all views or in none.

        """
        if not 0 <= parts < 2**32:
            return parts_refused(parts, _FEWEST_PARTS, _MOST_PARTS)
        goal = Calibrate.Goal(parts=parts, false_reject_rate=float(false_reject_rate))
        begun: list[_Decider] = []
        ended = []
        for view, decider in self._deciders.items():
            answer = _of_view(view, decider.calibration.begin(goal))
            if not answer.success:
                for other in begun:
                    other.calibration.cancel()
                return answer
            begun.append(decider)
            if answer.message:
                ended.append(answer.message)
        collected = f'the next {parts} good parts are collected; until then the limits stay'
        return Answer(True, '; '.join(ended) or collected)

    def cancel_calibration(self) -> Answer:
        """
        Give up the calibration under way, in whatever view.

        """
        return self._ask(lambda decider: decider.calibration.cancel(), enough=any)

    def undo_calibration(self) -> Answer:
        """
        Put the limits from before the last calibration back into force.

        """
        return self._ask(lambda decider: decider.undo_calibration(), enough=any)

    def run_challenge(self, view: str = '') -> Answer:
        """
        Begin a challenge, with several views in one of them.

        """
        if view not in self._deciders:
            return self._no_challenge_in(view)
        answer = _of_view(view, self._deciders[view].challenge.begin(RunChallenge.Goal()))
        return answer if answer.message else Answer(True, 'the next parts are the known ones')

    def cancel_challenge(self, view: str = '') -> Answer:
        """
        Give up the challenge under way, with several views that of one.

        """
        if view not in self._deciders:
            return self._no_challenge_in(view)
        return _of_view(view, self._deciders[view].challenge.cancel())

    def _no_challenge_in(self, view: str) -> Answer:
        views = ', '.join(self._views)
        if not views:
            return Answer(False, f'view {view!r}: refused; the cell has one camera')
        return Answer(
            False,
            f'view {view!r}: refused; a challenge runs in one view, allowed: {views}',
            'challenge_of_a_view',
            {'views': views},
        )

    def _view_of(self, names: Iterable[str]) -> str | Answer:
        """
        Give the view that all names are of; the refusal when there is no such view.

        """
        if not self._views:
            return ''
        given = list(names)
        found = {name.partition('/')[0] if '/' in name else '' for name in given}
        if len(found) == 1 and (view := found.pop()) in self._deciders:
            return view
        beginnings = ', '.join(f'{view}/' for view in self._views)
        return Answer(
            False,
            f'{", ".join(given) or "no limit"}: refused; allowed: limits of one view, whose names '
            f'all begin alike, with one of {beginnings}',
            'limits_of_one_view',
            {'views': ', '.join(self._views)},
        )

    def _changed_views(self) -> list[str]:
        """
        Give the views with limits that are not those of the recipe.

        """
        changed = {one.name.partition('/')[0] for one in self._limits() if not one.is_from_recipe}
        return [view for view in self._views if view in changed]

    def _ask(
        self,
        command: Callable[[_Decider], Answer],
        views: Sequence[str] = (),
        *,
        enough: Callable[[Iterable[bool]], bool] = all,
    ) -> Answer:
        """
        Give a command to the deciders of some views, or of all; one answer for all of them.

        """
        answers = [
            _of_view(view, command(self._deciders[view])) for view in views or self._deciders
        ]
        if len(answers) == 1:
            return answers[0]
        success = enough(answer.success for answer in answers)
        told = [answer for answer in answers if answer.success or not success]
        refused = next((answer for answer in answers if not answer.success), Answer(True, ''))
        # A code stands for one sentence alone.
        is_alone = not success and {answer.code for answer in answers} == {refused.code}
        return Answer(
            success,
            '; '.join(answer.message for answer in told),
            refused.code if is_alone else '',
            refused.values if is_alone else {},
        )


class _Decider:
    """
    The services and actions of one decider.

    """

    def __init__(self, node: LifecycleNode, view: str) -> None:
        self._node = node
        name = f'{view}/decider' if view else 'decider'
        self._set_limits = node.create_client(SetLimits, f'{name}/set_limits')
        self._save_limits = node.create_client(Trigger, f'{name}/save_limits')
        self._undo_limits = node.create_client(Trigger, f'{name}/undo_limits')
        self._undo_calibration = node.create_client(Trigger, f'{name}/undo_calibration')
        self._set_ranges = node.create_client(SetLimitRanges, f'{name}/set_limit_ranges')
        self.calibration = BegunAction(node, Calibrate, f'{name}/calibrate')
        self.challenge = BegunAction(node, RunChallenge, f'{name}/run_challenge')

    def close(self) -> None:
        for client in (
            *(self._set_limits, self._save_limits, self._undo_limits),
            *(self._undo_calibration, self._set_ranges),
        ):
            self._node.destroy_client(client)
        self.calibration.destroy()
        self.challenge.destroy()

    def set_limits(self, limits: Mapping[str, float]) -> Answer:
        request = SetLimits.Request()
        for name, value in limits.items():
            scorer, _, measure = name.partition('.')
            request.limits.append(Limit(scorer=scorer, measure=measure, value=float(value)))
        return call_service(self._set_limits, request)

    def save_limits(self) -> Answer:
        return call_service(self._save_limits, Trigger.Request(), RECIPE_TIMEOUT_S)

    def undo_limits(self) -> Answer:
        return call_service(self._undo_limits, Trigger.Request())

    def undo_calibration(self) -> Answer:
        return call_service(self._undo_calibration, Trigger.Request())

    def set_limit_ranges(self, ranges: Mapping[str, tuple[float | None, float | None]]) -> Answer:
        request = SetLimitRanges.Request()
        for name, (lowest, highest) in ranges.items():
            scorer, _, measure = name.partition('.')
            request.ranges.append(
                LimitRange(
                    scorer=scorer,
                    measure=measure,
                    lowest=math.nan if lowest is None else float(lowest),
                    highest=math.nan if highest is None else float(highest),
                )
            )
        return call_service(self._set_ranges, request, RECIPE_TIMEOUT_S)


def _without(view: str, named: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(f'{view}/'): value for name, value in named.items()}


def _of_view(view: str, answer: Answer) -> Answer:
    # A decider that began a calibration has nothing to say.
    if not view or not answer.message:
        return answer
    values = dict(answer.values)
    if 'node' in values:
        values['node'] = f'{view}/decider'
    return Answer(answer.success, f'{view}: {answer.message}', answer.code, values)
