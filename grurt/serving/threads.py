"""Threads for what takes longer than the event loop may wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from grurt.serving.errors import TooManySessionsError

T = TypeVar("T")


class Threads:
    """Some threads, which work in the order in which they are asked.

    Parameters
    ----------
    n_threads
        How many.
    name
        How the system calls them.
    """

    def __init__(self, n_threads: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(n_threads, thread_name_prefix=name)
        self._is_closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Return what work gives. Raises TooManySessionsError if the service ends before it has begun."""
        self._expect_open()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except asyncio.CancelledError:
            self._expect_open()
            raise

    def _expect_open(self) -> None:
        if self._is_closed:
            raise TooManySessionsError("the service restarts: come back")

    def close(self) -> None:
        """Begin nothing any more."""
        self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
