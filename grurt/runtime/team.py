"""Threads kept ready to share the work of one call."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from grurt.errors import EngineError
from grurt.kernels import codes

if TYPE_CHECKING:
    from grurt.runtime.context import Context

_POLL = 5e-5
"""Seconds between two looks whether the members of a team are done, after the kernels have looked for as long."""
_WORTH_WAKING = 2e6
"""Multiplications, some 30 us: about what it costs to wake a thread."""

Work: TypeAlias = "Callable[[Callable[[], bool]], None]"
"""Something to do for a while: it asks now and then whether it is to end early."""

Queue: TypeAlias = "SimpleQueue[Callable[[], object] | None]"
"""What a member is to do next: None is to end."""

_LEADER = 0


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
        self._call: list[object] = []
        leader.array[codes.CONTEXT_PHASE] = codes.LEAD
        leader.array[codes.CONTEXT_TEAM] = self._table.ctypes.data
        leader.array[codes.CONTEXT_WORTH_WAKING] = max(2, int(_WORTH_WAKING / leader.array[codes.CONTEXT_STEP_WORK]))
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
        weakref.finalize(self, _end, queues)
        memory = (self._table, self._leader.array, self._call)
        try:
            for context in self._members:
                context.array[codes.CONTEXT_BUSY] = codes.IDLE
                queue: Queue = SimpleQueue()
                queues.append(queue)
                threading.Thread(target=_follow, args=(queue, memory), name="grurt", daemon=True).start()
        except BaseException as error:
            _end(queues)
            if isinstance(error, RuntimeError):
                raise EngineError(
                    f"StreamPool: expected {len(self._members)} threads more, but the system starts no more than "
                    f"{len(queues) - 1}: ask for fewer threads"
                ) from error
            raise
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
        self.settle()
        self._call[:] = [(args, memory)]
        try:
            return self._finish(call(*args))
        except BaseException:
            self.settle()
            raise

    def settle(self) -> None:
        """Run what is left of a call that an exception from outside has ended early: before anything else is done."""
        if self._process != os.getpid():
            self._start()
        if self._call:
            self._finish(codes.MEMBERS_WORK)

    def share(self, works: Sequence[Work]) -> None:
        """Do pieces of work side by side, each in a thread of its own, the first of them in this one.

        The context of the leader is for the first one, and those of the members for the others, in their order. There
        are at most as many as there are threads. An exception is raised when no thread works any more: one from
        outside, such as KeyboardInterrupt, of which the works are told, or else one of the works.
        """
        self.settle()
        works = list(works)
        owners: dict[int, int] = {_LEADER: _LEADER}
        ended: dict[int, BaseException | None] = {}
        interruptions: list[BaseException] = []

        def is_interrupted() -> bool:
            return bool(interruptions)

        def follow(number: int) -> None:
            if owners.setdefault(number, number) == number:
                try:
                    works[number](is_interrupted)
                except BaseException as error:
                    ended[number] = error
                else:
                    ended[number] = None

        number = 0
        while number < len(works):
            try:
                # The condition is looked at inside of the try, as exceptions from signals come where a loop jumps back.
                if number == 0:
                    number = 1
                    for place, queue in enumerate(self._queues[: len(works) - 1], 1):
                        queue.put(partial(follow, place))
                    works[0](is_interrupted)
                while number < len(works):
                    if owners.setdefault(number, _LEADER) != _LEADER and number not in ended:
                        time.sleep(_POLL)
                        continue
                    if owners[number] == _LEADER and not interruptions:  # nobody has come to it
                        works[number](is_interrupted)
                    number += 1
            except BaseException as error:
                interruptions.append(error)
        for fault in (*interruptions, *ended.values()):
            if fault is not None:
                raise fault

    def _finish(self, status: int) -> int:
        """Do what the kernels ask for by a status, until nobody works for the call; return the status that is left."""
        interruption: BaseException | None = None
        while self._call:
            try:
                # The condition is looked at inside of the try, as exceptions from signals come where a loop jumps back.
                while status in (codes.MEMBERS_SLEEP, codes.MEMBERS_WORK):
                    self._leader.slots[codes.CONTEXT_PHASE] = codes.LEAD_ON
                    self._wake() if status == codes.MEMBERS_SLEEP else time.sleep(_POLL)
                    status = self._leader.call()
                self._leader.slots[codes.CONTEXT_PHASE] = codes.LEAD
                del self._call[:]
            except BaseException as error:
                interruption, status = error, codes.MEMBERS_WORK
        if interruption is not None:
            raise interruption
        return status

    def _wake(self) -> None:
        for queue, member, state in zip(self._queues, self._members, self._states.tolist(), strict=True):
            if state == codes.CALLED:
                queue.put(member.call)


def _follow(queue: Queue, _memory: tuple[object, ...]) -> None:
    """Do what a queue says; the contexts of kernels that are called hold addresses of the memory."""
    while (work := queue.get()) is not None:
        work()
        del work


def _end(queues: Sequence[Queue]) -> None:
    for queue in queues:
        queue.put(None)
