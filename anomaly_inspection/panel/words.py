# SPDX-License-Identifier: Apache-2.0
"""
Every string that a person sees, in the languages of the folder `languages`.

To add a language, add a file: it is offered by its name. `test_words.py` says what it lacks.

"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / 'languages'

#: Shown where a browser asks for none that we have.
FALLBACK = 'en'


class Words:
    """
    The strings of one language.

    Parameters
    ----------
    language : str
        Its code, 'en'; an unknown one becomes English.

    """

    def __init__(self, language: str) -> None:
        self.language = language if language in languages() else FALLBACK
        self._texts = _texts(self.language)

    def __call__(self, key: str, **values: object) -> str:
        """
        Give a string, with the values put in.

        Raises
        ------
        KeyError
            When no language file has it; the tests find that.

        """
        text = self._texts.get(key) or _texts(FALLBACK)[key]
        return text.format(**values) if values else text

    def decimal(self, number: str) -> str:
        """
        Give a number that was written with a point as this language writes it.

        """
        return number.replace('.', self('decimal_mark'))

    def has(self, key: str) -> bool:
        """
        Whether there is such a string.

        """
        return key in _texts(FALLBACK)


@cache
def languages() -> dict[str, str]:
    """
    Give the name of every language by its code.

    """
    return {path.stem: _texts(path.stem)['language'] for path in sorted(FOLDER.glob('*.yaml'))}


def preferred_language(accept_language: str) -> str:
    """
    Choose by the header of a browser ('de-DE,de;q=0.9,en;q=0.8').

    """
    for wanted in accept_language.split(','):
        code = wanted.partition(';')[0].strip().partition('-')[0].lower()
        if code in languages():
            return code
    return FALLBACK


@cache
def _texts(language: str) -> dict[str, str]:
    """
    Read one file; nested sections become 'section.key'.

    """
    content = yaml.safe_load((FOLDER / f'{language}.yaml').read_text(encoding='utf-8'))
    texts: dict[str, str] = {}

    def flatten(section: dict[str, object], prefix: str) -> None:
        for name, value in section.items():
            if isinstance(value, dict):
                flatten(value, f'{prefix}{name}.')
            else:
                texts[f'{prefix}{name}'] = str(value)

    flatten(content, '')
    return texts
