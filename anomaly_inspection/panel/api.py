# SPDX-License-Identifier: Apache-2.0
"""
The JSON interface: the same as the pages can do, for programs that come with a token.

The guard has checked who asks before anything here runs; commands check it again.

"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Annotated, Any, TYPE_CHECKING

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from anomaly_inspection import __version__
from anomaly_inspection.errors import RecipeError
from anomaly_inspection.panel.access import visitor_of
from anomaly_inspection.panel.api_models import (
    AnswerModel,
    ChangesModel,
    CommandBody,
    CountersModel,
    LimitsBody,
    LimitsModel,
    PartModel,
    Problem,
    RecipeBody,
    RecipesModel,
    RejectModel,
    ReviewBody,
    RollBackBody,
    ShiftModel,
    StateModel,
)
from anomaly_inspection.panel.recipe_library import RecipeLibrary
from anomaly_inspection.printable import printable

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell_commands import Answer
    from anomaly_inspection.panel.guarded_commands import GuardedCommands
    from anomaly_inspection.panel.panel_parts import PanelParts

MOST_PARTS = 1000
_MOST_PROBLEMS, _LONGEST_DETAIL = 5, 1000
_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {'model': Problem, 'description': 'The address is not valid.'},
    401: {'model': Problem, 'description': 'There is no valid token or log-in.'},
    403: {'model': Problem, 'description': 'The role is not enough, or the origin is foreign.'},
    413: {'model': Problem, 'description': 'The body is too large.'},
    422: {'model': Problem, 'description': 'The request is not as described.'},
    503: {'model': Problem, 'description': 'The file of accounts cannot be read.'},
}
_NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {'model': Problem, 'description': 'There is no such thing.'}
}
_CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {'model': AnswerModel, 'description': 'The cell has refused; nothing has changed.'}
}
# Part ids are uint64.
_PartId = Annotated[int, Path(ge=0, lt=2**64)]


def add_routes(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the interface to the application.

    """
    router = APIRouter(prefix='/api', responses=_REFUSALS)
    _add_reading(router, parts)
    _add_commands(router, parts)
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

    @router.get('/parts/{session_id}/{part_id}', summary='One part', responses=_NOT_FOUND)
    def part(session_id: str, part_id: _PartId) -> PartModel:
        found = parts.state.part((session_id, part_id))
        if found is None:
            return _problem(404, 'this part is not known, or forgotten')  # type: ignore[return-value]
        return PartModel.of(found)

    @router.get('/limits', summary='The limits in force')
    def limits() -> LimitsModel:
        return LimitsModel.of(parts.state.picture())

    @router.get('/recipes', summary='The recipes beside the one in force')
    def recipes() -> RecipesModel:
        return RecipesModel(
            in_force=parts.state.picture().recipe.name, names=_library(parts).names()
        )

    @router.get('/reviews', summary='Rejects, the newest first')
    def reviews(
        number: Annotated[int, Query(ge=1, le=MOST_PARTS)] = 100, only_new: bool = False
    ) -> list[RejectModel]:
        wanted = (
            reject for reject in parts.reviews.rejects() if not only_new or reject.verdict is None
        )
        return [RejectModel.of(reject) for reject in islice(wanted, number)]

    @router.get('/changes', summary='Who changed what, the newest first')
    def changes(number: Annotated[int, Query(ge=1, le=1000)] = 100) -> ChangesModel:
        return ChangesModel(changes=parts.people.audit.last(number))


def _add_commands(router: APIRouter, parts: PanelParts) -> None:
    def commands_of(request: Request) -> GuardedCommands:
        return parts.commands_for(visitor_of(request))

    def answered(command: Callable[[], Answer]) -> Any:
        answer = AnswerModel.of(command())
        return answer if answer.success else JSONResponse(answer.model_dump(), 409)

    # Plain functions: FastAPI runs them on threads, for a command waits for the cell.
    @router.put('/limits', summary='Change limits together', responses=_CONFLICT)
    def set_limits(body: LimitsBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.set_limits(body.limits, body.why))  # type: ignore[no-any-return]

    @router.post('/commands/reset_line', summary='End a line stop', responses=_CONFLICT)
    def reset_line(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.reset_line(body.why))  # type: ignore[no-any-return]

    @router.post('/commands/grab', summary="Take the potentiometers' values", responses=_CONFLICT)
    def grab(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.grab(body.why))  # type: ignore[no-any-return]

    @router.put(
        '/reviews/{session_id}/{part_id}',
        summary='Say what a reject was',
        responses={**_CONFLICT, **_NOT_FOUND},
    )
    def judge(
        session_id: str, part_id: _PartId, body: ReviewBody, request: Request
    ) -> AnswerModel:
        key = (session_id, part_id)
        if parts.reviews.reject(key) is None:
            return _problem(404, 'this reject is not in the review set, or not any more')  # type: ignore[return-value]
        mine = parts.reviews_for(visitor_of(request))
        return answered(lambda: mine.judge(key, body.verdict, body.comment))  # type: ignore[no-any-return]

    @router.post(
        '/commands/save_limits', summary='Save the limits as a new version', responses=_CONFLICT
    )
    def save_limits(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.save_limits(body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/undo_limits', summary='Put the limits of the recipe back', responses=_CONFLICT
    )
    def undo_limits(body: CommandBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        return answered(lambda: commands.undo_limits(body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/load_recipe',
        summary='Switch to another recipe',
        responses={**_CONFLICT, **_NOT_FOUND},
    )
    def load_recipe(body: RecipeBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        try:
            folder = _library(parts).folder_of(body.name)
        except RecipeError as error:
            return _problem(404, str(error))  # type: ignore[return-value]
        return answered(lambda: commands.load_recipe(str(folder), body.why))  # type: ignore[no-any-return]

    @router.post(
        '/commands/roll_back',
        summary='Make an older version of a recipe the next one, and switch to it',
        responses={**_CONFLICT, **_NOT_FOUND},
    )
    def roll_back(body: RollBackBody, request: Request) -> AnswerModel:
        commands = commands_of(request)
        try:
            folder = _library(parts).folder_of(body.name)
        except RecipeError as error:
            return _problem(404, str(error))  # type: ignore[return-value]
        return answered(lambda: commands.roll_back(str(folder), body.version, body.why))  # type: ignore[no-any-return]


def _not_as_described(request: Request, error: Exception) -> Response:
    """
    Name what is wrong; FastAPI's own answer repeats the input, which JSON may not be able to hold.

    """
    assert isinstance(error, RequestValidationError)
    problems = [
        f'{".".join(str(key) for key in problem["loc"])}: {problem["msg"]}'
        for problem in error.errors()[:_MOST_PROBLEMS]
    ]
    return _problem(422, printable('; '.join(problems))[:_LONGEST_DETAIL])


def _library(parts: PanelParts) -> RecipeLibrary:
    return RecipeLibrary.beside(parts.state.picture().recipe.path)


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({'detail': detail}, status)
