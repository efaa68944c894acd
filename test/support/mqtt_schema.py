# SPDX-License-Identifier: Apache-2.0
"""
The schema of the MQTT payloads, for tests.

"""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.paths import ROOT

SCHEMA = json.loads((ROOT / 'config' / 'mqtt_payloads.schema.json').read_text(encoding='utf-8'))


def problem_of(name: str, payload: Any) -> str:
    """
    Say what is wrong with a payload; '' = it is as the schema says.

    """
    validator = pytest.importorskip('jsonschema_rs', reason='jsonschema_rs is not installed')
    whole = {'$defs': SCHEMA['$defs'], '$ref': f'#/$defs/{name}'}
    try:
        validator.validator_for(whole).validate(payload)
    except validator.ValidationError as error:
        return str(error)
    return ''


def check(name: str, payload: Any) -> None:
    """
    Fail unless a payload is as the schema says.

    """
    assert problem_of(name, payload) == '', payload
