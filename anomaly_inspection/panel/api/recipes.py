# SPDX-License-Identifier: Apache-2.0
"""
The recipes in the JSON interface: list, switch, roll back, delete, and carry to another cell.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
import tempfile
from typing import Annotated, Any, BinaryIO, TYPE_CHECKING

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from anomaly_inspection.errors import RecipeError
from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.api.answers import answered, CONFLICT, NOT_FOUND, problem, refused
from anomaly_inspection.panel.api.models import (
    AnswerModel,
    LoadRecipeBody,
    RecipeBody,
    RecipesModel,
    RollBackBody,
    Why,
)
from anomaly_inspection.panel.recipes.library import RecipeLibrary
from anomaly_inspection.recipes.archive import SUFFIX
from anomaly_inspection.reviewing import carrying

if TYPE_CHECKING:
    from pathlib import Path

    from anomaly_inspection.panel.cell.commands import Answer
    from anomaly_inspection.panel.panel_parts import PanelParts

_ZIP = 'application/zip'
_CHUNK_BYTES = 2**18
_ARCHIVE = {'schema': {'type': 'string', 'format': 'binary'}}
_Version = Annotated[
    int, Query(ge=0, le=2**31 - 1, description='An older version; 0 = the newest.')
]


def add_recipes(router: APIRouter, parts: PanelParts) -> None:
    """
    Add what the interface can do with recipes.

    """
    _add_switching(router, parts)
    _add_carrying(router, parts)


def _add_switching(router: APIRouter, parts: PanelParts) -> None:
    # Plain functions: FastAPI runs them on threads, for a command waits for the cell.
    @router.get('/recipes', summary='The recipes beside the one in force')
    def recipes() -> RecipesModel:
        return RecipesModel.of(_library(parts).entries(), parts.state.picture().recipe)

    @router.post(
        '/commands/load_recipe',
        summary='Switch to another recipe',
        responses={**CONFLICT, **NOT_FOUND},
    )
    def load_recipe(body: LoadRecipeBody, request: Request) -> AnswerModel:
        commands = parts.commands_for(visitor_of(request))
        return _with_folder(  # type: ignore[no-any-return]
            *(parts, body.name),
            lambda folder: commands.load_recipe(str(folder), body.override_reason, body.why),
        )

    @router.post(
        '/commands/roll_back',
        summary='Make an older version of a recipe the next one, and switch to it',
        responses={**CONFLICT, **NOT_FOUND},
    )
    def roll_back(body: RollBackBody, request: Request) -> AnswerModel:
        commands = parts.commands_for(visitor_of(request))
        return _with_folder(  # type: ignore[no-any-return]
            *(parts, body.name),
            lambda folder: commands.roll_back(str(folder), body.version, body.why),
        )

    @router.post(
        '/commands/delete_recipe',
        summary='Delete a recipe with its older versions; never the one in force',
        responses={**CONFLICT, **NOT_FOUND},
    )
    def delete_recipe(body: RecipeBody, request: Request) -> AnswerModel:
        commands = parts.commands_for(visitor_of(request))
        return _with_folder(  # type: ignore[no-any-return]
            parts, body.name, lambda folder: commands.delete_recipe(str(folder), body.why)
        )


def _add_carrying(router: APIRouter, parts: PanelParts) -> None:
    @router.get(
        f'/recipes/{{name}}/archive{SUFFIX}',
        summary='A recipe as one file',
        response_class=Response,
        responses={200: {'content': {_ZIP: _ARCHIVE}}, **CONFLICT, **NOT_FOUND},
    )
    def export(name: str, version: _Version = 0) -> Any:
        try:
            folder = _library(parts).folder_of(name, version)
        except RecipeError as error:
            return problem(404, str(error))
        try:
            # A file without a name: it is gone with the last who reads it.
            file = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError as error:
            return refused(f'there is no place for the archive: {error.strerror or error}')
        try:
            carrying.export_recipe(folder, file)
        except RecipeError as error:
            file.close()
            return refused(str(error))
        length = file.tell()
        file.seek(0)
        return StreamingResponse(
            _chunks(file),
            media_type=_ZIP,
            headers={
                'Content-Length': str(length),
                'Content-Disposition': f'attachment; filename="{folder.name}{SUFFIX}"',
            },
        )

    @router.post(
        '/recipes',
        summary='Put the recipe of an archive into the library',
        responses=CONFLICT,
        openapi_extra={'requestBody': {'required': True, 'content': {_ZIP: _ARCHIVE}}},
    )
    async def import_recipe(request: Request, why: Annotated[Why, Query()] = '') -> AnswerModel:
        if not _library(parts).is_known:
            return refused('no recipe is in force, so the library is not known')  # type: ignore[no-any-return]
        library = _library(parts).folder
        commands = parts.commands_for(visitor_of(request))
        try:
            library.mkdir(parents=True, exist_ok=True)
            # Beside the recipes, where there is room for one more.
            file = tempfile.TemporaryFile(dir=library)  # noqa: SIM115
        except OSError as error:
            return refused(f'the library cannot be written: {error.strerror or error}')  # type: ignore[no-any-return]
        with closing(file):
            try:
                async for chunk in request.stream():
                    await run_in_threadpool(file.write, chunk)
            except OSError as error:
                return refused(f'the archive cannot be kept: {error.strerror or error}')  # type: ignore[no-any-return]
            return await run_in_threadpool(
                answered, lambda: commands.import_recipe(file, str(library), why)
            )


def _with_folder(parts: PanelParts, name: str, command: Callable[[Path], Answer]) -> Any:
    try:
        folder = _library(parts).folder_of(name)
    except RecipeError as error:
        return problem(404, str(error))
    return answered(lambda: command(folder))


def _library(parts: PanelParts) -> RecipeLibrary:
    return RecipeLibrary.of(parts.state.picture())


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with closing(file):
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
