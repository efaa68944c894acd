# SPDX-License-Identifier: Apache-2.0
"""
How the JSON interface answers: refusals, and what came of a command.

"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TYPE_CHECKING

from fastapi.responses import JSONResponse

from anomaly_inspection.panel.api.models import AnswerModel, Problem

if TYPE_CHECKING:
    from anomaly_inspection.panel.cell.commands import Answer

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {'model': Problem, 'description': 'The address is not valid.'},
    401: {'model': Problem, 'description': 'There is no valid token or log-in.'},
    403: {'model': Problem, 'description': 'The role is not enough, or the origin is foreign.'},
    413: {'model': Problem, 'description': 'The body is too large.'},
    422: {'model': Problem, 'description': 'The request is not as described.'},
    503: {'model': Problem, 'description': 'The file of accounts cannot be read.'},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {'model': Problem, 'description': 'There is no such thing.'}
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {'model': AnswerModel, 'description': 'The cell has refused; nothing has changed.'}
}


def answered(command: Callable[[], Answer]) -> Any:
    """
    Give a command to the cell; a refusal is status 409.

    """
    answer = AnswerModel.of(command())
    return answer if answer.success else JSONResponse(answer.model_dump(), 409)


def refused(message: str) -> Any:
    """
    Refuse what the state of the cell or of its disk does not allow.

    """
    return JSONResponse({'success': False, 'message': message}, 409)


def problem(status: int, detail: str) -> JSONResponse:
    """
    Refuse a request.

    """
    return JSONResponse({'detail': detail}, status)
