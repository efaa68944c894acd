# SPDX-License-Identifier: Apache-2.0
"""
The JSON interface: the same as the pages can do, for programs that come with a token.

The guard has checked who asks before anything here runs; commands check it again.

"""

from __future__ import annotations

from typing import Annotated, Any, TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi

from anomaly_inspection import __version__
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.api.answers import answered, CONFLICT, NOT_FOUND, problem, REFUSALS
from anomaly_inspection.panel.api.lot import add_lot
from anomaly_inspection.panel.api.models import (
    AnswerModel,
    ChangesModel,
    CommandBody,
    CountersModel,
    LimitsBody,
    LimitsModel,
    PartModel,
    ShiftModel,
    StateModel,
)
from anomaly_inspection.panel.api.recipes import add_recipes
from anomaly_inspection.panel.api.reviews import add_reviews
from anomaly_inspection.panel.api.tuning import add_tuning
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.guarded_commands import GuardedCommands
    from anomaly_inspection.panel.panel_parts import PanelParts

MOST_PARTS = 1000
_MOST_PROBLEMS, _LONGEST_DETAIL = 5, 1000
# Part ids are uint64.
_PartId = Annotated[int, Path(ge=0, lt=2**64)]


def add_routes(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the interface to the application.

    """
    router = APIRouter(prefix='/api', responses=REFUSALS)
    _add_reading(router, parts)
    _add_commands(router, parts)
    add_recipes(router, parts)
    add_tuning(router, parts)
    add_reviews(router, parts)
    add_lot(router, parts)
    app.include_router(router)
    app.add_exception_handler(RequestValidationError, _not_as_described)
    description = get_openapi(
        title='anomaly_inspection',
        version=__version__,
        description='The JSON interface of the panel. Make a token on the page People, and send '
        "it as 'Authorization: Bearer ai_...'.",
        routes=router.routes,
    )
    description['components']['securitySchemes'] = {'token': {'type': 'http', 'scheme': 'bearer'}}
    description['security'] = [{'token': []}]

    @app.get('/api/openapi.json', include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return description


def _add_reading(router: APIRouter, parts: PanelParts) -> None:
    @router.get('/state', summary='The cell now')
    def state() -> StateModel:
        return StateModel.of(parts.state.picture())

    @router.get('/counters', summary='How many parts passed and were rejected')
    def counters() -> CountersModel:
        return CountersModel(
            shifts=[ShiftModel.of(counts) for counts in parts.state.picture().counts]
        )

    @router.get('/parts', summary='The last parts, the newest first')
    def last_parts(number: Annotated[int, Query(ge=1, le=MOST_PARTS)] = 20) -> list[PartModel]:
        return [PartModel.of(part) for part in reversed(parts.state.picture().parts[-number:])]

    @router.get('/parts/{session_id}/{part_id}', summary='One part', responses=NOT_FOUND)
    def part(session_id: str, part_id: _PartId) -> PartModel:
        found = parts.state.part((session_id, part_id))
        if found is None:
            return problem(404, 'this part is not known, or forgotten')  # type: ignore[return-value]
        return PartModel.of(found)

    @router.get('/limits', summary='The limits in force')
    def limits() -> LimitsModel:
        return LimitsModel.of(parts.state.picture())

    @router.get('/changes', summary='Who changed what, the newest first')
    def changes(number: Annotated[int, Query(ge=1, le=1000)] = 100) -> ChangesModel:
        return ChangesModel(changes=parts.people.audit.last(number))


def _add_commands(router: APIRouter, parts: PanelParts) -> None:
    def commands_of(request: Request) -> GuardedCommands:
        return parts.commands_for(visitor_of(request))

    # Plain functions: FastAPI runs them on threads, for a command waits for the cell.
    @router.put('/limits', summary='Change limits together', responses=CONFLICT)
    def set_limits(body: LimitsBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.set_limits(body.limits, body.why))  # type: ignore[no-any-return]

    @router.post('/commands/reset_line', summary='End a line stop', responses=CONFLICT)
    def reset_line(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.reset_line(body.why))  # type: ignore[no-any-return]

    @router.post('/commands/grab', summary="Take the potentiometers' values", responses=CONFLICT)
    def grab(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.grab(body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/save_limits', summary='Save the limits as a new version', responses=CONFLICT
    )
    def save_limits(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.save_limits(body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/undo_limits', summary='Put the limits of the recipe back', responses=CONFLICT
    )
    def undo_limits(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.undo_limits(body.why))  # type: ignore[no-any-return]


def _not_as_described(request: Request, error: Exception) -> Response:
    """
    Name what is wrong; FastAPI's own answer repeats the input, which JSON may not be able to hold.

    """
    assert isinstance(error, RequestValidationError)
    problems = [
        f'{".".join(str(key) for key in problem["loc"])}: {problem["msg"]}'
        for problem in error.errors()[:_MOST_PROBLEMS]
    ]
    return problem(422, printable('; '.join(problems))[:_LONGEST_DETAIL])
