# SPDX-License-Identifier: Apache-2.0
"""
The record of changes: complete, bounded, and never in anybody's way.

"""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import stat
import threading

import pytest

from anomaly_inspection.panel.people import audit as audit_module
from anomaly_inspection.panel.people.audit import AuditLog
from anomaly_inspection.panel.people.roles import Role, Visitor

ANNA = Visitor('anna', Role.ENGINEER, '192.0.2.7', account_id='1')


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_entry_says_who_where_what_old_new_and_why(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / 'audit.jsonl')
    log.record(
        ANNA, 'set limits', subject='ssim.mean', old={'limit': 0.9}, new=[0.8], why='shift change'
    )
    log.close()
    (entry,) = lines(tmp_path / 'audit.jsonl')
    assert str(entry.pop('when')).endswith('+00:00')
    assert entry == {
        'who': 'anna',
        'from': '192.0.2.7',
        'what': 'set limits',
        'subject': 'ssim.mean',
        'old': {'limit': 0.9},
        'new': [0.8],
        'why': 'shift change',
    }
    assert stat.S_IMODE((tmp_path / 'audit.jsonl').stat().st_mode) == 0o600
    assert log.last(10) == lines(tmp_path / 'audit.jsonl')


def test_a_new_run_appends(tmp_path: Path) -> None:
    for number in range(3):
        log = AuditLog(tmp_path / 'audit.jsonl')
        log.record(ANNA, f'change {number}')
        log.close()
    assert [entry['what'] for entry in log.last(2)] == ['change 2', 'change 1']
    assert len(lines(tmp_path / 'audit.jsonl')) == 3


@pytest.mark.parametrize(
    'text',
    ['line\nbreak', '\u2028', '"quoted"', '\x1b[31m', '<b>bold</b>', '\ud800'],
)
def test_one_entry_is_one_line_whatever_it_holds(tmp_path: Path, text: str) -> None:
    log = AuditLog(tmp_path / 'audit.jsonl')
    log.record(ANNA, 'x', subject=text, why=text)
    log.close()
    raw = (tmp_path / 'audit.jsonl').read_bytes()
    assert raw.count(b'\n') == 1
    assert raw.isascii()
    assert b'\x1b' not in raw
    assert lines(tmp_path / 'audit.jsonl')[0]['subject'] == text


def test_values_are_bounded_and_never_break_the_record(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / 'audit.jsonl')
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    log.record(ANNA, 'x' * 10_000, old=['y' * 10_000] * 10_000, new=[float('nan'), deep, object()])
    log.close()
    assert (tmp_path / 'audit.jsonl').stat().st_size < 50_000
    assert len(lines(tmp_path / 'audit.jsonl')) == 1


def test_the_files_are_bounded(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / 'audit.jsonl', most_bytes=1000, n_files=3)
    for number in range(200):
        log.record(ANNA, f'change {number}')
        if number % 10 == 0:
            log._news.acquire()
            log._news.release()
    log.close()
    for number in range(200, 230):
        log = AuditLog(tmp_path / 'audit.jsonl', most_bytes=1000, n_files=3)
        log.record(ANNA, f'change {number}')
        log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert set(names) <= {'audit.jsonl', 'audit.jsonl.1', 'audit.jsonl.2'}
    assert 'audit.jsonl.2' in names
    assert [entry['what'] for entry in log.last(3)] == ['change 229', 'change 228', 'change 227']


class Disk:
    """
    A disk that is full until the test makes room.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._append: Callable[..., None] = AuditLog._append
        self.is_full = True
        monkeypatch.setattr(AuditLog, '_append', lambda log, *args: self._try(log, *args))

    def _try(self, log: AuditLog, *args: object) -> None:
        if self.is_full:
            raise OSError(28, 'No space left on device')
        self._append(log, *args)


def test_a_full_disk_loses_nothing_holds_up_nobody_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, '_RETRY_S', 0.01)
    disk = Disk(monkeypatch)
    told: list[str] = []
    full, well = threading.Event(), threading.Event()

    def tell(problem: str) -> None:
        told.append(problem)
        (full if problem else well).set()

    log = AuditLog(tmp_path / 'audit.jsonl', tell)
    log.record(ANNA, 'first')
    assert full.wait(10)
    assert 'No space left on device' in log.problem
    log.record(ANNA, 'second')
    assert [entry['what'] for entry in log.recent()] == ['second', 'first']
    disk.is_full = False
    assert well.wait(10)
    log.close()
    assert [entry['what'] for entry in lines(tmp_path / 'audit.jsonl')] == ['first', 'second']
    assert len(told) == 2


def test_what_does_not_fit_into_memory_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, '_RETRY_S', 0.01)
    monkeypatch.setattr(audit_module, 'MOST_WAITING', 10)
    disk = Disk(monkeypatch)
    well = threading.Event()
    log = AuditLog(tmp_path / 'audit.jsonl', lambda problem: None if problem else well.set())
    for number in range(25):
        log.record(ANNA, f'change {number}')
    while not log.problem:
        pass
    disk.is_full = False
    assert well.wait(10)
    log.close()
    whats = [entry['what'] for entry in lines(tmp_path / 'audit.jsonl')]
    assert whats == ['15 entries lost', *[f'change {number}' for number in range(15, 25)]]
