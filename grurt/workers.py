"""Threads kept ready to share the work of one call."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue

Job = Callable[[], object]


class Workers:
    """``count`` threads that sleep until there is work: an idle one uses no CPU.

    A fork leaves the child without them: there, they are started again by the next `run`. They end when the object is
    collected.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._start()

    def _start(self) -> None:
        queues: list[SimpleQueue[_Task | None]] = []
        try:
            for _ in range(self._count):
                queue: SimpleQueue[_Task | None] = SimpleQueue()
                threading.Thread(target=_work, args=(queue,), name="grurt worker", daemon=True).start()
                queues.append(queue)
        except BaseException:
            _end(queues)
            raise
        weakref.finalize(self, _end, queues)
        self._queues = queues
        self._owner = os.getpid()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs at once, the last of them in the calling thread, and return when all are done.

        There may be one more job than there are threads, and a job must not raise. An exception from outside, such as
        KeyboardInterrupt, is raised only when no thread works for this call any more.
        """
        if self._owner != os.getpid():
            self._start()
        tasks = [_Task(job) for job in jobs[:-1]]
        try:
            for queue, task in zip(self._queues, tasks, strict=False):
                queue.put(task)
            jobs[-1]()
        except BaseException:
            for task in tasks:
                task.cancel()
            raise
        finally:
            _wait(tasks)


class _Task:
    """A job that is run once, or cancelled before it has begun."""

    def __init__(self, job: Job) -> None:
        self.finished = False
        self._job = job
        self._claim = threading.Lock()
        self._done = threading.Lock()
        self._done.acquire()

    def run(self) -> None:
        if self._claim.acquire(blocking=False):
            self._job()
            self.finished = True
            self._done.release()

    def cancel(self) -> None:
        if self._claim.acquire(blocking=False):
            self.finished = True

    def wait(self) -> None:
        self._done.acquire(timeout=1)


def _wait(tasks: Sequence[_Task]) -> None:
    interruption: BaseException | None = None
    for task in tasks:
        while not task.finished:
            try:
                task.wait()
            except BaseException as error:
                interruption = error
    if interruption is not None:
        raise interruption


def _work(queue: SimpleQueue[_Task | None]) -> None:
    while (task := queue.get()) is not None:
        task.run()


def _end(queues: Sequence[SimpleQueue[_Task | None]]) -> None:
    for queue in queues:
        queue.put(None)
