# SPDX-License-Identifier: Apache-2.0
"""
Makes shift reports in a process of their own: charts take seconds that the page must not wait.

"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import subprocess
import sys
import tempfile
import threading

from anomaly_inspection.errors import RecordsError

CURRENT, LAST = 'current', 'last'
_TIMEOUT_S = 120.0
_NICENESS = 10


@dataclass(frozen=True)
class RecordsPlace:
    """
    Where the recorder of the cell keeps its records, and by which clock they are shown.

    Parameters
    ----------
    folder : str
        Folder of the records.
    database, password_file : str
        PostgreSQL database and the file with its password; '' = a SQLite file in the folder.
    cell : str
        Namespace of the cell.
    time_zone : str
        '' = that of this computer.
    shifts : tuple of str
        As `ShiftTable` takes them.

    """

    folder: str
    database: str = ''
    password_file: str = ''
    cell: str = ''
    time_zone: str = ''
    shifts: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """
        Give the options of the command `report`.

        """
        given = {
            'folder': self.folder,
            'database': self.database,
            'password-file': self.password_file,
            'cell': self.cell,
            'time-zone': self.time_zone,
        }
        found = [word for name, value in given.items() if value for word in (f'--{name}', value)]
        return found + [word for shift in self.shifts for word in ('--shift', shift)]


class ShiftReports:
    """
    Makes one report at a time.

    Parameters
    ----------
    place : RecordsPlace
        Where the records are.

    """

    def __init__(self, place: RecordsPlace) -> None:
        self._place = place
        self._lock = threading.Lock()

    def make(self, shift: str) -> str:
        """
        Give the page of a shift; blocks for seconds.

        Parameters
        ----------
        shift : 'current' or 'last'
            Which.

        Raises
        ------
        RecordsError
            When it cannot be made; says why.

        """
        # Whoever waited would hold a thread that the page needs.
        if not self._lock.acquire(blocking=False):
            raise RecordsError('another report is being made: try again in a few seconds')
        try:
            return self._made(shift)
        finally:
            self._lock.release()

    def _made(self, shift: str) -> str:
        with tempfile.TemporaryDirectory(prefix='shift_report_') as folder:
            page = Path(folder, 'report.html')
            # The charts must not take the processor from the inspection.
            command = [
                'nice',
                '-n',
                f'{_NICENESS}',
                sys.executable,
                '-m',
                'anomaly_inspection.cli',
            ]
            command += ['report', '--of', shift]
            try:
                done = subprocess.run(
                    [*command, *self._place.options(), '--html', str(page)],
                    capture_output=True,
                    text=True,
                    timeout=_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise RecordsError(f'the report was not ready after {_TIMEOUT_S:.0f} s') from None
            if done.returncode or not page.exists():
                said = (done.stderr or done.stdout).strip().splitlines()
                words = said[-1].removeprefix('error: ') if said else 'it said nothing'
                raise RecordsError(f'the report cannot be made: {words}')
            return page.read_text(encoding='utf-8')
