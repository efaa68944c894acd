# SPDX-License-Identifier: Apache-2.0
"""
Commands of the plant are read as a whole or refused, whatever comes.

"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
import pytest

from anomaly_inspection.errors import CommandError, SettingError
from anomaly_inspection.plant.commands import (
    allowed_commands,
    COMMANDS,
    MOST_BYTES,
    parse_request,
    RememberedAnswers,
    Request,
)
from support.mqtt_schema import problem_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        'id': st.from_regex(r'[A-Za-z0-9_.:-]{0,70}', fullmatch=True) | JSON,
        'recipe': st.from_regex(r'[A-Za-z0-9_./-]{0,110}', fullmatch=True) | JSON,
        'x': JSON,
    },
)


def test_a_request_is_read() -> None:
    request = parse_request('load_recipe', b'{"id": "hmi-7:1", "recipe": "pump_2"}')
    assert request == Request('load_recipe', 'hmi-7:1', 'pump_2')
    assert parse_request('reset_line', b' {"id":"1"} ') == Request('reset_line', '1')


@pytest.mark.parametrize(
    ('payload', 'words', 'request_id'),
    [
        (b'', 'no JSON', ''),
        (b'\xff{"id":"1"}', 'no UTF-8', ''),
        (b'["id"]', 'allowed is a JSON object', ''),
        (b'{"id":"1"}{"id":"2"}', 'no JSON', ''),
        (b'{"id":"1","id":"2"}', 'stands there twice', ''),
        (b'{"id":NaN}', 'NaN is no JSON', ''),
        (b'{"id":1}', 'id = 1 is refused', ''),
        (b'{"id":""}', "id = '' is refused", ''),
        (b'{"id":"a b"}', "id = 'a b' is refused", ''),
        (b'{"id":"a\\n"}', 'is refused', ''),
        (b'{"recipe":"pump"}', 'id = None is refused', ''),
        (b'{"id":"1"}', "'recipe' is missing", '1'),
        (b'{"id":"1","recipe":"pump","force":true}', "'force' is no field of load_recipe", '1'),
        (b'{"id":"1","recipe":"../etc"}', "recipe = '../etc' is refused", '1'),
        (b'{"id":"1","recipe":".."}', "recipe = '..' is refused", '1'),
        (b'{"id":"1","recipe":["pump"]}', "recipe = ['pump'] is refused", '1'),
        (b'[' * 4000, 'nested too deeply', ''),
        (b'{"id":"' + b'1' * MOST_BYTES + b'"}', 'at most 4,096', ''),
        ('{"id":"1","recipe":"pümp"}'.encode(), "recipe = 'pümp' is refused", '1'),
    ],
)
def test_what_is_not_as_it_must_be_is_refused_with_words(
    payload: bytes, words: str, request_id: str
) -> None:
    with pytest.raises(CommandError) as refused:
        parse_request('load_recipe', payload)
    assert words in str(refused.value)
    assert refused.value.request_id == request_id
    assert len(str(refused.value)) < 400


@settings(deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), st.binary(max_size=200))
def test_random_bytes_never_end_in_anything_but_a_refusal(command: str, payload: bytes) -> None:
    try:
        request = parse_request(command, payload)
    except CommandError as error:
        str(error).encode()
    else:
        assert request.command == command


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(COMMANDS)), NEARLY | JSON)
@example('load_recipe', {'id': 'a', 'recipe': 'pump'})
@example('reset_line', {'id': 'a', 'recipe': 'pump'})
@example('start_challenge', {'id': '1'})
def test_exactly_what_the_schema_allows_is_taken(command: str, content: Any) -> None:
    payload = json.dumps(content).encode()
    try:
        strict = json.loads(payload, parse_constant=lambda name: {}['no JSON'])
    except KeyError:
        is_wanted = False
    else:
        is_wanted = problem_of(f'command_{command}', strict) == '' and len(payload) <= MOST_BYTES
    try:
        parse_request(command, payload)
    except CommandError:
        is_taken = False
    else:
        is_taken = True
    assert is_taken == is_wanted


def test_a_request_that_is_delivered_twice_acts_once_and_is_answered_twice() -> None:
    remembered = RememberedAnswers()
    request = Request('reset_line', '1')
    assert remembered.begin(request)
    assert not remembered.begin(request)
    assert remembered.answer(request) is None
    remembered.end(request, {'success': True})
    assert not remembered.begin(request)
    assert remembered.answer(request) == {'success': True}
    # Another command may have the same id.
    assert remembered.begin(Request('start_challenge', '1'))


@pytest.mark.parametrize(
    ('names', 'words'), [(('stop',), "'stop' is refused"), (('reset_line',) * 2, 'twice')]
)
def test_a_list_of_commands_with_a_mistake_is_refused(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        allowed_commands(names)
