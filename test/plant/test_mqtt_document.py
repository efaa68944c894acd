# SPDX-License-Identifier: Apache-2.0
"""
docs/mqtt.md and the Node-RED flow say what the bridge does.

"""

from __future__ import annotations

import json
import re

import pytest

from anomaly_inspection.plant.commands import COMMANDS, MOST_BYTES, parse_request
from support.mqtt_schema import check, SCHEMA
from support.paths import ROOT

PAGE = (ROOT / 'docs' / 'mqtt.md').read_text(encoding='utf-8')
EXAMPLES = dict(re.findall(r'<!-- example (\w+) -->\n```json\n(.*?)\n```', PAGE, re.DOTALL))
FLOW = json.loads((ROOT / 'config' / 'node_red_flow.json').read_text(encoding='utf-8'))


def test_every_payload_has_an_example() -> None:
    assert set(EXAMPLES) == {name for name in SCHEMA['$defs'] if not name.startswith('command_')}


@pytest.mark.parametrize('name', sorted(EXAMPLES))
def test_an_example_is_as_the_schema_says(name: str) -> None:
    check(name, json.loads(EXAMPLES[name]))


def test_the_requests_on_the_page_are_taken() -> None:
    rows = re.findall(r'\| `command/(\w+)` \| `(\{.*?\})` \|', PAGE)
    assert {command for command, _ in rows} == set(COMMANDS)
    for command, request in rows:
        assert parse_request(command, request.encode()).command == command
        check(f'command_{command}', json.loads(request))
    assert f'larger than {MOST_BYTES} bytes' in PAGE


def test_the_flow_listens_to_topics_that_there_are_and_each_wire_ends_at_a_node() -> None:
    nodes = {node['id']: node for node in FLOW}
    assert len(nodes) == len(FLOW)
    topics = [node['topic'] for node in FLOW if node['type'] == 'mqtt in']
    described = set(SCHEMA['$defs'])
    for topic in topics:
        assert topic.startswith('+/+/+/+/')
        assert topic.split('/')[4] in described
    for node in FLOW:
        for ends in node.get('wires', []):
            assert set(ends) <= set(nodes)
        for setting in ('group', 'page', 'ui', 'theme', 'broker', 'z'):
            is_name = node['type'] == 'mqtt-broker' and setting == 'broker'
            assert is_name or not node.get(setting) or node[setting] in nodes
