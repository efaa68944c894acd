# SPDX-License-Identifier: Apache-2.0
"""
Address of the shift report.

"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

from anomaly_inspection.errors import RecordsError
from anomaly_inspection.panel.access.security_headers import REPORT_MARK
from anomaly_inspection.panel.report.shift_reports import CURRENT, LAST

if TYPE_CHECKING:
    from anomaly_inspection.panel.panel_parts import PanelParts


def add_routes(app: FastAPI, parts: PanelParts) -> None:
    """
    Add the address to the application.

    """
    reports = parts.reports

    # Not a coroutine: it waits for the report, and FastAPI runs it on a thread.
    @app.get('/report/{shift}.html')
    def report(shift: str) -> Response:
        if reports is None or shift not in (CURRENT, LAST):
            return Response(status_code=404)
        try:
            return HTMLResponse(reports.make(shift), headers={REPORT_MARK: 'yes'})
        except RecordsError as error:
            return PlainTextResponse(str(error), status_code=503)
