# SPDX-License-Identifier: Apache-2.0
"""
The shift report on the page: made in a process of its own, and served so that it can do nothing.

"""

from __future__ import annotations

from pathlib import Path
import time
from typing import Any

import httpx
import pytest

pytest.importorskip('sqlalchemy', reason='SQLAlchemy is not installed: pip install .[records]')
pytest.importorskip('jinja2', reason='Jinja2 is not installed: pip install .[records]')

from anomaly_inspection.errors import RecordsError
from anomaly_inspection.panel.access.security_headers import REPORT_MARK, with_security_headers
from anomaly_inspection.panel.report.shift_reports import CURRENT, RecordsPlace, ShiftReports
from anomaly_inspection.records.database import migrate, open_database
from anomaly_inspection.records.store import RecordStore
from support.record_examples import part, reject


def recorded(folder: Path) -> Path:
    """
    Make records of ten parts of now, one of them rejected.

    """
    now_us = time.time_ns() // 1000
    engine = open_database(folder)
    migrate(engine)
    parts = [part(number, time_us=now_us - number) for number in range(1, 10)]
    RecordStore(engine).write([*parts, reject(10, time_us=now_us)])
    engine.dispose()
    return folder


def test_a_report_counts_the_parts_of_this_shift_and_cell(tmp_path: Path) -> None:
    folder = recorded(tmp_path / 'records')
    page = ShiftReports(RecordsPlace(str(folder), cell='cell', time_zone='UTC')).make(CURRENT)
    assert '<html' in page
    assert '10.0 %' in page or '90.0 %' in page
    other = ShiftReports(RecordsPlace(str(folder), cell='another')).make(CURRENT)
    assert '90.0 %' not in other


def test_records_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r'the report cannot be made: .*nowhere'):
        ShiftReports(RecordsPlace(str(tmp_path / 'nowhere'))).make(CURRENT)


def test_a_second_report_at_the_same_time_is_refused_at_once(tmp_path: Path) -> None:
    reports = ShiftReports(RecordsPlace(str(tmp_path)))
    with reports._lock, pytest.raises(RecordsError, match='try again in a few seconds'):
        reports.make(CURRENT)
    # And afterwards they are made again, or say why not.
    with pytest.raises(RecordsError, match='cannot be made'):
        reports.make(CURRENT)


def test_a_report_runs_no_script_and_loads_nothing() -> None:
    headers = dict(with_security_headers([(REPORT_MARK.encode(), b'yes')], 'nonce'))
    policy = headers[b'content-security-policy'].decode()
    assert "default-src 'none'" in policy
    assert policy.endswith('sandbox')
    assert 'script-src' not in policy
    assert "'self'" not in policy


def test_operators_get_a_report_or_the_reason_and_viewers_none(panel_site: Any) -> None:
    def answer(role: str, name: str) -> httpx.Response:
        cookies = panel_site.cookie(role)
        return httpx.get(f'{panel_site.address}report/{name}.html', cookies=cookies, timeout=120)

    refused = answer('operator', 'current')
    assert refused.status_code == 503
    assert refused.text.startswith('the report cannot be made: ')
    assert answer('operator', 'next').status_code == 404
    assert answer('viewer', 'current').status_code == 403
