# SPDX-License-Identifier: Apache-2.0
"""
File names in messages.

"""

from __future__ import annotations

from pathlib import Path

import pytest

from anomaly_inspection.printable import printable, shown


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('Größe 2.png', 'Größe 2.png'),
        ('', ''),
        ('part\udcff.png', 'part\ufffd.png'),
        ('two\nlines\t\x1b[31m', r'two\nlines\t\x1b[31m'),
        ('a\u2028b', r'a\u2028b'),
        ('\ud800', '\ufffd'),
        ('no-break\u202fspace', 'no-break\u202fspace'),
        (Path('folder', 'part.png'), 'folder/part.png'),
    ],
)
def test_a_name_can_be_printed_on_one_line(name: str | Path, shown: str) -> None:
    assert printable(name) == shown


@pytest.mark.parametrize(
    'value', [16**5000, [16**5000], 'x' * 999, list(range(9**4)), {'a': 1}], ids=type
)
def test_a_value_is_shown_in_a_few_characters(value: object) -> None:
    assert len(shown(value)) < 100
