# SPDX-License-Identifier: Apache-2.0
"""
Ask the cell for something from a page, which must not wait itself.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import run, ui

from anomaly_inspection.panel.cell.commands import Answer
from anomaly_inspection.panel.explaining import said

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from anomaly_inspection.panel.words import Words


async def asked(command: Callable[..., Answer], *arguments: Any) -> Answer:
    """
    Run a command on a thread, and give its answer.

    """
    answer = await run.io_bound(command, *arguments)
    # NiceGUI gives None when the server ends meanwhile.
    return (
        answer if answer is not None else Answer(False, 'the page is being closed', 'page_closed')
    )


def tell_refusal(answer: Answer, words: Words) -> None:
    """
    Show why a command was refused; nothing when it was not.

    """
    if not answer.success:
        ui.notify(said(answer, words), type='negative', position='top')
