# SPDX-License-Identifier: Apache-2.0
"""
File names in messages.

"""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_inspection.printable import printable


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('Größe 2.png', 'Größe 2.png'),
        ('', ''),
        ('part\udcff.png', 'part\ufffd.png'),
        ('two\nlines\t\x1b[31m', r'two\nlines\t\x1b[31m'),
        ('a\u2028b', r'a\u2028b'),
        ('\ud800', '\ufffd'),
        (Path('folder', 'part.png'), 'folder/part.png'),
    ],
)
def test_a_name_can_be_printed_on_one_line(name: str | Path, shown: str) -> None:
    assert printable(name) == shown
