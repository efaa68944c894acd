# SPDX-License-Identifier: Apache-2.0
"""
The commands `records` and `report` on a small database.

"""

from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
import re
import shutil

from click.testing import CliRunner, Result
import pytest

pytest.importorskip('sqlalchemy', reason='SQLAlchemy is not installed: pip install .[records]')
pytest.importorskip('alembic', reason='Alembic is not installed: pip install .[records]')

from anomaly_inspection.cli import main
from anomaly_inspection.records.database import migrate, open_database
from anomaly_inspection.records.store import RecordStore
from support.record_examples import part, reject, sorted_part

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """
    Run a command on the records of two hours of a morning in Berlin.

    """
    engine = open_database(tmp_path)
    migrate(engine)
    RecordStore(engine).write(
        [
            *(part(number, lot='A') for number in range(1, 31)),
            reject(31, lot='B', serial='S1'),
            sorted_part(31, action='REJECTED'),
            *(part(number, lot='B') for number in range(3700, 3710)),
        ]
    )
    engine.dispose()

    def run(*arguments: str) -> Result:
        group, *rest = arguments
        options = ('--folder', str(tmp_path), '--time-zone', 'Europe/Berlin')
        return CliRunner().invoke(main, [group, *options, *rest])

    return run


def test_list_filters_parts(run: Run) -> None:
    answer = run('records', 'list', '--json', '--lot', 'B', '--verdict', 'reject')
    (row,) = map(json.loads, answer.stdout.splitlines())
    assert (row['sequence'], row['serial'], row['reason']) == (31, 'S1', 'LIMIT_EXCEEDED')
    shown = run('records', 'list', '--since', '2026-11-29 08:00').stdout
    assert len(re.findall(r'2026-11-29 08:01:\d\d', shown)) == 10
    assert run('records', 'list', '--serial', 'S2').stdout.endswith('No part is so.\n')


def test_show_names_all_that_belongs_to_a_part(run: Run) -> None:
    shown = run('records', 'show', '31').stdout
    for words in ('REJECT LIMIT_EXCEEDED', '0.934 (limit 0.9)', 'rejected confirmed', 'S1'):
        assert words in shown
    answer = run('records', 'show', '99')
    assert answer.exit_code == 2
    assert 'there is no record of part 99' in answer.stderr


def test_counts_have_totals_and_a_row_for_each_shift_and_lot(run: Run) -> None:
    by_lot = run('records', 'counts', '--by', 'lot').stdout
    rows = {line.split()[0]: line.split()[1:4] for line in by_lot.splitlines()[1:]}
    assert rows['A'] == ['30', '30', '0']
    assert rows['B'] == ['11', '10', '1']
    assert by_lot.splitlines()[1].split()[:5] == ['all', 'time', '41', '40', '1']


def test_counts_by_shift_split_at_the_time_of_the_plant(tmp_path: Path, run: Run) -> None:
    run('records', 'list')
    options = ['--folder', str(tmp_path), '--time-zone', 'Europe/Berlin']
    shifts = ['--shift', '06:00 Early', '--shift', '08:00 Late']
    until = ['--until', '2026-11-29 10:00']
    answer = CliRunner().invoke(main, ['records', *options, *shifts, 'counts', *until])
    rows = [line for line in answer.stdout.splitlines() if line.lstrip().startswith('2026')]
    found = {row.split()[2]: row.split()[3:6] for row in rows}
    assert found == {'Late': ['10', '10', '0'], 'Early': ['31', '30', '1']}


def test_exports_are_written(run: Run, tmp_path: Path) -> None:
    answer = run('records', 'export', '--csv', str(tmp_path / 'x.csv'), '--lot', 'A')
    assert '30 parts in' in answer.stdout
    assert len((tmp_path / 'x.csv').read_text().splitlines()) == 31
    assert 'say what to write' in run('records', 'export').stderr


def test_a_report_of_a_shift_is_one_page_and_a_pdf(run: Run, tmp_path: Path) -> None:
    page, pdf = tmp_path / 'report.html', tmp_path / 'report.pdf'
    answer = run('report', '--of', '2026-11-29 12:00', '--html', str(page))
    assert answer.exit_code == 0, answer.output
    text = page.read_text()
    assert 'Sunday, 29 November 2026, 00:00' in text
    assert re.search(r'parts</i><b>41</b>', text)
    if not any(map(shutil.which, ('chromium', 'google-chrome'))):
        pytest.skip('no Chromium is installed: PDF was not tried')
    run('report', '--since', '2026-11-29', '--html', str(page), '--pdf', str(pdf))
    assert pdf.read_bytes().startswith(b'%PDF')


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('records', 'list', '--since', 'noon'), "time 'noon' is refused"),
        (('report', '--until', 'now'), '--until needs --since'),
        (('report', '--since', '14:00', '--until', '13:00'), 'is not before'),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    answer = run(*arguments)
    assert answer.exit_code == 2
    assert words in answer.stderr


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    answer = CliRunner().invoke(main, ['records', '--folder', str(tmp_path), 'list'])
    assert answer.exit_code == 2
    assert 'there are no records in' in answer.stderr
