# SPDX-License-Identifier: Apache-2.0
"""
Calibration, challenge and the ranges of limits in the JSON interface.

"""

from __future__ import annotations

from typing import Annotated, TYPE_CHECKING

from fastapi import APIRouter, Query, Request

from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.api.answers import answered, CONFLICT, NOT_FOUND, problem
from anomaly_inspection.panel.api.models import (
    ABOUT_VIEW,
    AnswerModel,
    CalibrateBody,
    CalibrationModel,
    ChallengeBody,
    ChallengeModel,
    CommandBody,
    LONGEST_VIEW,
    RangesBody,
)
from anomaly_inspection.panel.cell.views import ChallengeView

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.guarded_commands import GuardedCommands
    from anomaly_inspection.panel.panel_parts import PanelParts


def add_tuning(router: APIRouter, parts: PanelParts) -> None:
    """
    Add what the interface can do with limits beside setting them.

    """

    def commands_of(request: Request) -> GuardedCommands:
        return parts.commands_for(visitor_of(request))

    @router.get('/calibration', summary='How far the calibration on good parts is')
    def calibration() -> CalibrationModel:
        return CalibrationModel.of(parts.state.picture().calibration)

    @router.get(
        '/challenge', summary='How the challenge with known parts stands', responses=NOT_FOUND
    )
    def challenge(
        view: Annotated[str, Query(max_length=LONGEST_VIEW, description=ABOUT_VIEW)] = '',
    ) -> ChallengeModel:
        if view not in parts.views:
            there = ', '.join(parts.views) or 'one camera, without a name'
            return problem(404, f'there is no view {view!r}; there is: {there}')  # type: ignore[return-value]
        return ChallengeModel.of(parts.state.picture().challenges.get(view, ChallengeView()))

    # Plain functions: FastAPI runs them on threads, for a command waits for the cell.
    @router.put(
        '/limit_ranges',
        summary='Set in which range limits may be moved; writes a version of the recipe',
        responses=CONFLICT,
    )
    def set_limit_ranges(body: RangesBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        ranges = {name: (one.lowest, one.highest) for name, one in body.ranges.items()}
        return answered(lambda: commands.set_limit_ranges(ranges, body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/calibrate',
        summary='Derive the limits from the next parts, all of them good',
        responses=CONFLICT,
    )
    def calibrate(body: CalibrateBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(  # type: ignore[no-any-return]
            lambda: commands.calibrate(body.parts, body.false_reject_rate, body.why)
        )

    @router.post(
        '/commands/cancel_calibration', summary='Give the calibration up', responses=CONFLICT
    )
    def cancel_calibration(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.cancel_calibration(body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/undo_calibration',
        summary='Put the limits from before the calibration back',
        responses=CONFLICT,
    )
    def undo_calibration(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.undo_calibration(body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/run_challenge', summary='The next parts are the known ones', responses=CONFLICT
    )
    def run_challenge(body: ChallengeBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.run_challenge(body.view, body.why))  # type: ignore[no-any-return]

    @router.post('/commands/cancel_challenge', summary='Give the challenge up', responses=CONFLICT)
    def cancel_challenge(body: ChallengeBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.cancel_challenge(body.view, body.why))  # type: ignore[no-any-return]
