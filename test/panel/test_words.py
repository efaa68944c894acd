# SPDX-License-Identifier: Apache-2.0
"""
No page lacks a word in any language.

"""

import ast
from pathlib import Path
import re
from string import Formatter

import pytest
import yaml

from anomaly_inspection.deciding.frame_judge import Reason
from anomaly_inspection.panel import words as words_module
from anomaly_inspection.panel.words import FALLBACK, languages, preferred_language, Words
from anomaly_inspection.scoring.registry import SCORERS

PANEL = Path(words_module.__file__).parent


def keys_of(language):
    def walk(section, prefix):
        for name, value in section.items():
            if isinstance(value, dict):
                yield from walk(value, f'{prefix}{name}.')
            else:
                yield f'{prefix}{name}', value

    content = yaml.safe_load((words_module.FOLDER / f'{language}.yaml').read_text())
    return dict(walk(content, ''))


def fields_of(text):
    return {name for _, name, _, _ in Formatter().parse(text) if name}


@pytest.mark.parametrize('language', sorted(languages()))
def test_a_language_has_every_string_with_the_same_values(language):
    wanted, found = keys_of(FALLBACK), keys_of(language)
    assert set(found) == set(wanted)
    for key, text in wanted.items():
        assert isinstance(found[key], str), f'{key}: put the text in quotes'
        assert fields_of(found[key]) == fields_of(text), key


def test_every_string_that_a_page_asks_for_is_there():
    known = set(keys_of(FALLBACK))
    asked = set()
    for path in PANEL.rglob('*.py'):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not call.args:
                continue
            if ast.unparse(call.func).rpartition('.')[2] in ('words', '_words'):
                asked.add((path.relative_to(PANEL).as_posix(), ast.unparse(call.args[0])))
    assert len(asked) > 200
    for name, expression in asked:
        if match := re.fullmatch(r"'([\w.]+)'", expression):
            assert match[1] in known, f'{name} asks for {match[1]}'
        elif match := re.match(r"f'([\w.]+\.)\{", expression):
            assert any(key.startswith(match[1]) for key in known), f'{name}: {expression}'


def test_every_reason_and_every_measure_has_words():
    words = Words('de')
    for reason in Reason:
        assert words.has(f'short_reason.{reason.name.lower()}')
    measures = {spec.name for scorer in SCORERS.values() for spec in scorer.measures}
    for measure in measures | {'largest_region'}:
        assert words.has(f'measure.{measure}'), measure


@pytest.mark.parametrize(
    ('asked', 'given'),
    [
        ('de-DE,de;q=0.9,en;q=0.8', 'de'),
        ('fr-FR, de;q=0.5', 'de'),
        ('', FALLBACK),
        ('xx;;,,', FALLBACK),
    ],
)
def test_the_browser_chooses_the_language(asked, given):
    assert preferred_language(asked) == given


def test_an_unknown_language_becomes_english():
    assert Words('../../secret').language == FALLBACK
