# SPDX-License-Identifier: Apache-2.0
"""
Print an HTML page into a PDF file, with the browser that is installed.

"""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import tempfile

from anomaly_inspection.errors import SettingError
from anomaly_inspection.printable import printable

_BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
_PDF_TIMEOUT_S = 120


def write_pdf(page: Path, pdf: Path) -> None:
    """
    Print a page into a PDF file.

    Raises
    ------
    SettingError
        When no browser is installed that can do so, or it fails.

    """
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SettingError(
            'PDF needs Chromium or Chrome: apt install chromium, or print the HTML page from any '
            'browser'
        )
    with tempfile.TemporaryDirectory(prefix='report_') as profile:
        command = [
            *(browser, '--headless', '--disable-gpu', '--no-pdf-header-footer'),
            *('--disable-dev-shm-usage', f'--user-data-dir={profile}'),
            # Chromium refuses its sandbox to root. The page is our own and runs no script.
            *(['--no-sandbox'] if os.geteuid() == 0 else []),
            *(f'--print-to-pdf={pdf.absolute()}', page.absolute().as_uri()),
        ]
        try:
            subprocess.run(
                command, check=True, capture_output=True, timeout=_PDF_TIMEOUT_S, text=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SettingError(f'cannot write {printable(pdf)}: {error}') from error
    if not pdf.is_file():
        raise SettingError(f'cannot write {printable(pdf)}: the browser wrote nothing')
