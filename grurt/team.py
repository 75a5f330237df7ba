"""Threads kept ready to share the work of one call."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.kernels import codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.context import Context

_POLL = 5e-5
"""Seconds between two looks whether the members of a team are done, after the kernels have looked for as long."""
_WORTH_WAKING = 2e6
"""Multiplications, some 30 us: about what it costs to wake a thread."""

Queue = SimpleQueue[bool]


class Team:
    """Threads that help one thread with the streams of its calls.

    A member works inside the kernels: it takes streams as long as there are any, then watches for the next call for
    some 50 us, and then sleeps, so that a team without work uses no CPU. See `grurt.kernels.team`. A fork leaves the
    child without threads: there, they are started again by the next call. They end when the object is collected.

    Parameters
    ----------
    leader
        The context of the calls, which whoever calls `lead` has claimed.
    members
        A context for each of the other threads, with the leader's plan and states.
    """

    def __init__(self, leader: Context, members: Sequence[Context]) -> None:
        self._leader = leader
        self._members = members
        self._table = np.zeros(codes.TEAM_MEMBERS + codes.TEAM_MEMBER_SLOTS * len(members), np.int64)
        self._states = self._table[codes.TEAM_MEMBERS :: codes.TEAM_MEMBER_SLOTS]
        self._table[codes.TEAM_N_MEMBERS] = len(members)
        self._table[codes.TEAM_NEXT] = codes.TEAM_CLOSED
        self._memory: object = None
        leader.array[codes.CONTEXT_PHASE] = codes.LEAD
        leader.array[codes.CONTEXT_TEAM] = self._table.ctypes.data
        leader.array[codes.CONTEXT_WORTH_WAKING] = max(2, int(_WORTH_WAKING / max(1, leader.plan.weights.size)))
        for index, context in enumerate(members):
            context.array[codes.CONTEXT_PHASE] = codes.FOLLOW
            context.array[codes.CONTEXT_TEAM] = self._table.ctypes.data
            context.array[codes.CONTEXT_LEADER] = leader.array.ctypes.data
            context.array[codes.CONTEXT_MEMBER] = self._states[index:].ctypes.data
        self._start()

    def _start(self) -> None:
        """Start the threads; nothing of threads that a fork has left behind counts any more."""
        self._states[:] = codes.ASLEEP
        queues: list[Queue] = []
        memory = (self._table, self._leader.array)
        try:
            for context in self._members:
                context.array[codes.CONTEXT_BUSY] = codes.IDLE
                queue: Queue = SimpleQueue()
                threading.Thread(target=_follow, args=(queue, context, memory), name="grurt", daemon=True).start()
                queues.append(queue)
        except BaseException:
            _end(queues)
            raise
        weakref.finalize(self, _end, queues)
        self._queues = queues
        self._process = os.getpid()

    def lead(self, call: Callable[..., int], *args: Any, memory: object) -> int:
        """Make a call of the leader's context, and have the threads run their part of it; return the kernels' status.

        An exception from outside, such as KeyboardInterrupt, is raised when all streams of the call have been run.

        Parameters
        ----------
        call, args
            What enters the kernels, and its arguments.
        memory
            What the kernels read and write: kept until no thread works for this call any more.
        """
        if self._process != os.getpid():
            self._start()
        if self._memory is not None:
            self._finish(codes.MEMBERS_WORK)
        self._memory = (args, memory)
        try:
            status = call(*args)
        except BaseException:
            self._finish(codes.MEMBERS_WORK)
            raise
        return self._finish(status)

    def _finish(self, status: int) -> int:
        """Do what the kernels ask for by a status, until nobody works for the call; return the status that is left."""
        interruption: BaseException | None = None
        while status in (codes.MEMBERS_SLEEP, codes.MEMBERS_WORK):
            try:
                self._leader.slots[codes.CONTEXT_PHASE] = codes.LEAD_ON
                self._wake() if status == codes.MEMBERS_SLEEP else time.sleep(_POLL)
                status = self._leader.call()
            except BaseException as error:
                interruption, status = error, codes.MEMBERS_WORK
        self._leader.slots[codes.CONTEXT_PHASE] = codes.LEAD
        self._memory = None
        if interruption is not None:
            raise interruption
        return status

    def _wake(self) -> None:
        for queue, state in zip(self._queues, self._states.tolist(), strict=True):
            if state == codes.CALLED:
                queue.put(True)


def _follow(queue: Queue, context: Context, _memory: tuple[NDArray[np.int64], ...]) -> None:
    """Follow a team's leader whenever woken; the context holds addresses of the memory."""
    while queue.get():
        context.call()


def _end(queues: Sequence[Queue]) -> None:
    for queue in queues:
        queue.put(False)
