# SPDX-License-Identifier: Apache-2.0
"""
An operator's client of the JSON interface.

"""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def client(panel_site: Any) -> Any:
    """
    An HTTP client with an operator's token; the cell of the site has heard nothing yet.

    """
    import httpx

    from anomaly_inspection.panel.cell.commands import Answer

    panel_site.cell.given.clear()
    panel_site.cell.answer = Answer(True, 'done')
    panel_site.forget_attempts()
    headers = {'Authorization': f'Bearer {panel_site.token("operator")}'}
    with httpx.Client(base_url=panel_site.address, timeout=20, headers=headers) as client:
        yield client
