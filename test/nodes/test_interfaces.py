# SPDX-License-Identifier: Apache-2.0
"""
docs/interfaces.md says what the nodes really offer.

"""

import os
import re

import pytest

pytest.importorskip('anomaly_inspection.msg', reason='needs ROS 2 and the built messages')

from support.interface_tables import ACTIONS, Interfaces, SERVICES, tables, TOPICS
from support.paths import ROOT

pytestmark = pytest.mark.ros

PAGE = ROOT / 'docs' / 'interfaces.md'
WRITE_AGAIN = (
    'write the page anew: WRITE_INTERFACES=1 bash scripts/in_cell.sh '
    '.venv/bin/python -m pytest test/nodes/test_interfaces.py'
)


@pytest.fixture
def interfaces(ros_context, taught_recipe):
    return Interfaces(ros_context, taught_recipe)


def section(name):
    return re.compile(rf'(<!-- {re.escape(name)} -->\n)(.*?)(\n<!-- end -->)', re.DOTALL)


def test_the_page_of_interfaces_is_that_of_the_nodes(interfaces):
    for kind, offered, described in (
        ('topics', interfaces.types, TOPICS),
        ('services', interfaces.services, SERVICES),
        ('actions', interfaces.actions, ACTIONS),
    ):
        undescribed, gone = set(offered) - set(described), set(described) - set(offered)
        assert not undescribed, f'{kind} without a meaning in test/support/interface_tables.py'
        assert not gone, f'{kind} in test/support/interface_tables.py that no node has'
    text = PAGE.read_text(encoding='utf-8')
    expected = text
    for name, rows in tables(interfaces).items():
        assert section(name).search(text), f'docs/interfaces.md has no section {name!r}'
        expected = section(name).sub(lambda found, rows=rows: found[1] + rows + found[3], expected)
    if os.environ.get('WRITE_INTERFACES'):
        PAGE.write_text(expected, encoding='utf-8')
        pytest.skip(f'{PAGE} is written')
    assert text == expected, WRITE_AGAIN
