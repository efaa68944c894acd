# SPDX-License-Identifier: Apache-2.0
"""
The JSON interface for order, lot and serial number.

"""

from __future__ import annotations

from typing import Annotated, TYPE_CHECKING

from fastapi import APIRouter, Request
from pydantic import Field

from anomaly_inspection.panel.access.guard import visitor_of
from anomaly_inspection.panel.api.answers import answered, CONFLICT
from anomaly_inspection.panel.api.models import AnswerModel, Model, Why
from anomaly_inspection.panel.cell.commands import LONGEST_NAME, PartNames

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts

_Name = Annotated[str, Field(max_length=LONGEST_NAME)]


class LotBody(Model):
    """
    What the parts belong to. What is left out is none.

    """

    order: _Name = Field('', description='Of all parts from now on.')
    lot: _Name = Field('', description='Of all parts from now on.')
    serial: _Name = Field('', description='Of the next part, or of the part named below.')
    session_id: str = Field(
        '', max_length=200, description="With part_id: the part of the serial number; '' = next."
    )
    part_id: int = Field(0, ge=0, lt=2**64)
    why: Why = ''


def add_lot(router: APIRouter, parts: PanelParts) -> None:
    """
    Add it to the interface.

    """

    # A plain function: FastAPI runs it on a thread, for a command waits for the cell.
    @router.post('/lot', summary='Tell order, lot and serial number', responses=CONFLICT)
    def tell_lot(body: LotBody, request: Request) -> AnswerModel:
        commands = parts.commands_for(visitor_of(request))
        names = PartNames(
            *(body.order, body.lot, body.serial),
            key=(body.session_id, body.part_id),
        )
        return answered(lambda: commands.tell_lot(names, body.why))  # type: ignore[no-any-return]
