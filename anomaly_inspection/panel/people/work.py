# SPDX-License-Identifier: Apache-2.0
"""
Work on passwords and accounts beside the event loop, with a bound on how much of it waits.

"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from anomaly_inspection.errors import AccessError

P = ParamSpec('P')
T = TypeVar('T')

MOST_WAITING = 16


class PeopleWork:
    """
    Runs calls that take a core or wait for the disk on a thread of its own.

    Pages run the commands of the cell on other threads, so that no flood of passwords holds up the
    reset of the line.

    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix='people')
        self._n_waiting = 0

    async def do(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Run a call and give what it returns; call this on one event loop only.

        Raises
        ------
        AccessError
            When too many calls wait already.

        """
        if self._n_waiting >= MOST_WAITING:
            raise AccessError('too many people log in at once; try again in a few seconds')
        self._n_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))
        finally:
            self._n_waiting -= 1
