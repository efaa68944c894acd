# SPDX-License-Identifier: Apache-2.0
"""
Threads for teaching: independent pieces of work side by side, each of them on one thread.

The matrices here are small and many. A BLAS library that divides each of them among its own
threads takes eight times as long, and rounds differently with every number of threads. So teaching
lets it use one thread, and runs folds and images side by side instead. The results do not depend
on the number of cores.

"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
import os
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar('T')
R = TypeVar('R')

# Every thread needs memory of its own.
_MOST_THREADS = 4


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """
    Let BLAS use one thread, in the whole process, until the block or the function ends.

    """
    with threadpool_limits(limits=1, user_api='blas'):
        yield


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """
    Do work on every item, several at a time, and give the results in the order of the items.

    """
    threads = min(_MOST_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, items)
