# SPDX-License-Identifier: Apache-2.0
"""
Progress of long work: one shape of callback for the whole package.

"""

from __future__ import annotations

from collections.abc import Callable

# progress(done, total, what): `done` counts from 1 to `total` for each `what`, a few words such as
# 'preparing'.
Progress = Callable[[int, int, str], None]


def no_progress(done: int, total: int, what: str) -> None:
    """
    Take progress and tell nobody.

    """
