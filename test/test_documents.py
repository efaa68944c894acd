# SPDX-License-Identifier: Apache-2.0
"""
Links between the documents lead to a file, and to a heading in it.

"""

from __future__ import annotations

from pathlib import Path
import re

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('', 'docs', 'firmware', 'firmware/twin')
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob('*.md'))
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)


def anchors(text: str) -> set[str]:
    """
    The names that GitHub gives to the headings.

    """
    kept = [re.sub(r'[^\w\s-]', '', heading.lower()) for heading in HEADING.findall(text)]
    return {heading.strip().replace(' ', '-') for heading in kept}


def broken_links(document: Path) -> list[str]:
    broken = []
    for link in LINK.findall(document.read_text(encoding='utf-8')):
        name, _, anchor = link.partition('#')
        target = (document.parent / name).resolve() if name else document
        if '://' in link:
            continue
        if not target.exists():
            broken.append(f'{link}: no such file')
        elif anchor and anchor not in anchors(target.read_text(encoding='utf-8')):
            broken.append(f'{link}: no such heading')
    return broken


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    document = tmp_path / 'a.md'
    document.write_text('# A title\n[x](#a-title) [y](b.md) [z](#other) [w](https://example.org)')
    assert broken_links(document) == ['b.md: no such file', '#other: no such heading']


def test_every_document_can_be_reached_from_the_readme() -> None:
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    linked = {(ROOT / link.partition('#')[0]).resolve() for link in LINK.findall(readme)}
    assert set((ROOT / 'docs').glob('*.md')) <= linked
