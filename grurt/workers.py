"""Threads kept ready to share the work of one call."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence

Job = Callable[[], object]


class Workers:
    """``count`` threads that sleep until there is work: an idle one uses no CPU.

    They are started by the first `run`, and again after a fork, which leaves a process without them. They end when the
    object is collected.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._owner: int | None = None
        self._threads: list[_Worker] = []

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs at once, the last of them in the calling thread, and return when all are done.

        There may be one more job than there are threads. A job must not raise.
        """
        if self._owner != os.getpid():
            self._start()
        helpers = self._threads[: len(jobs) - 1]
        for worker, job in zip(helpers, jobs, strict=False):
            worker.begin(job)
        jobs[-1]()
        for worker in helpers:
            worker.wait()

    def _start(self) -> None:
        self._owner = os.getpid()
        self._threads = [_Worker() for _ in range(self._count)]
        for worker in self._threads:
            weakref.finalize(self, worker.end)


class _Worker:
    """One thread. Two locks hand the work over: acquiring a lock that is taken sleeps, releasing it wakes."""

    def __init__(self) -> None:
        self._go = threading.Lock()
        self._done = threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._job: Job | None = None
        threading.Thread(target=self._loop, name="grurt worker", daemon=True).start()

    def begin(self, job: Job) -> None:
        self._job = job
        self._go.release()

    def wait(self) -> None:
        self._done.acquire()

    def end(self) -> None:
        self._job = None
        self._go.release()

    def _loop(self) -> None:
        while True:
            self._go.acquire()
            if self._job is None:
                return
            self._job()
            self._job = None
            self._done.release()
