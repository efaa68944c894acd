# SPDX-License-Identifier: Apache-2.0
"""
Passwords: what is allowed, and how they are kept.

"""

from __future__ import annotations

import secrets
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from anomaly_inspection.errors import SettingError

SHORTEST, LONGEST = 10, 200

# OWASP's smaller setting of Argon2id: 19 MiB, one thread, some 30 ms. A larger one would take
# memory and cores from the inspection, for a list of people that lies on the same machine.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# One at a time: wrong passwords must not take all cores.
_ONE_AT_A_TIME = threading.Lock()
# For names that nobody has: the answer must take as long as for the others.
_NOBODY = _HASHER.hash(secrets.token_urlsafe())
# Without what looks alike.
_LETTERS = 'abcdefghjkmnpqrstuvwxyz23456789'


def hashed(password: str) -> str:
    """
    Give what is kept of a password: its Argon2id hash with salt.

    Raises
    ------
    SettingError
        When the password is too short or too long.

    """
    text = _normal(password)
    if not SHORTEST <= len(text) <= LONGEST:
        raise SettingError(
            f'the password has {len(text)} characters; allowed: {SHORTEST} to {LONGEST}'
        )
    with _ONE_AT_A_TIME:
        return _HASHER.hash(text)


def is_right(password: str, password_hash: str | None) -> bool:
    """
    Say whether a password is the one of the hash; None takes as long, and is never right.

    """
    text = _normal(password)
    if len(text) > LONGEST:
        text, password_hash = '', None
    with _ONE_AT_A_TIME:
        try:
            return _HASHER.verify(password_hash or _NOBODY, text) and password_hash is not None
        except (Argon2Error, InvalidHashError):
            return False


def new_password() -> str:
    """
    Give a random password that can be read out: 16 letters and digits in groups of four (79 bits).

    """
    return '-'.join(''.join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def _normal(password: str) -> str:
    # Keyboards differ in how they write an accented letter. Half a surrogate cannot be encoded.
    return unicodedata.normalize('NFKC', password).encode('utf-8', 'replace').decode()
