"""Models that answer to whole sequences: each request has one, or a batch of them, and leaves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from grurt.serving.errors import BusyError
from grurt.session import InferenceSession

if TYPE_CHECKING:
    from grurt.array_types import Array
    from grurt.model import Model
    from grurt.serving.threads import Threads


@dataclass
class Counts:
    """What has been done so far."""

    requests: int = 0
    seconds: float = 0.0


class WholeModel:
    """A model that cannot stream, by its source's names and in its shapes: see `grurt.InferenceSession`.

    Parameters
    ----------
    name
        Its name.
    model
        What runs.
    version
        Which model of this name it is, counted from 1 at the start of the service.
    most_waiting
        Requests that run or wait at once; one more is refused.
    before
        The model that this one replaces, whose counts go on here.
    """

    def __init__(
        self, name: str, model: Model, *, version: int = 1, most_waiting: int, before: WholeModel | None = None
    ) -> None:
        self.name = name
        self.model = model
        self.version = version
        self.session = InferenceSession(model)
        self.counts: Counts = Counts() if before is None else before.counts
        self._most_waiting = most_waiting
        self._n_waiting = 0

    @property
    def reason(self) -> str:
        """Why it cannot stream."""
        return str(self.model.unstreamable_reason)

    async def run(self, feed: dict[str, Array], outputs: list[str], threads: Threads) -> list[Array]:
        """Return outputs for inputs by name, computed by a thread: the event loop goes on.

        Raises
        ------
        BusyError
            If too many wait already.
        InputShapeError, InputTypeError, InputValueError
            As `grurt.InferenceSession.run`.
        """
        if self._n_waiting >= self._most_waiting:
            raise BusyError(f"expected at most {self._most_waiting} requests at once, and there are as many: come back")
        self._n_waiting += 1
        try:
            return await threads.run(partial(self._run, feed, outputs))
        finally:
            self._n_waiting -= 1

    def _run(self, feed: dict[str, Array], outputs: list[str]) -> list[Array]:
        start = perf_counter()
        answers = self.session.run(outputs, feed)
        self.counts.requests += 1
        self.counts.seconds += perf_counter() - start
        return answers
