"""What a contender is: a workload, and a statement that does it once."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.network import Floats, Network

Weights = Literal["float32", "float16", "int8", "int4"]


class Workload(StrEnum):
    """What is done by one execution of a contender's statement, and the shape of its input and answer.

    The state is carried from one execution to the next, except in a sequence, which begins at the zero state.
    """

    STEP = "step"
    """One timestep of one stream: ``(input_size,)`` to ``(hidden_size,)``."""
    SEQUENCE = "sequence"
    """One whole sequence: ``(n_steps, input_size)`` to ``(n_steps, hidden_size)``."""
    STREAMS = "streams"
    """One timestep of many streams in lock-step: ``(n_streams, input_size)`` to ``(n_streams, hidden_size)``."""


@dataclass(frozen=True)
class Prepared:
    """A contender set up for one network and one input array.

    The statement is what a user would write in a loop, and what is timed. What it assigns to names is kept.
    """

    statement: str
    answer: str
    """An expression for the last answer: an array, or what NumPy makes one of, of the workload's number of elements."""
    names: dict[str, Any]
    """All names that occur in statement and answer."""
    x: Floats
    """The array from which the statement reads its input; its content may change between executions."""
    context: Callable[[], AbstractContextManager[object]] = nullcontext
    """Makes what loops over the statement are entered in."""

    def last_answer(self) -> NDArray[np.float32]:
        """Return a flat copy of the last answer."""
        return np.array(eval(self.answer, {}, self.names)).reshape(-1)


@dataclass(frozen=True)
class Contender:
    """A way to run a GRU.

    Parameters
    ----------
    name
        What tables call it; begins with the engine's name.
    workload
        What it does.
    prepare
        Sets it up from the network and an input array, which it uses unless the engine insists on one of its own.
    weights
        The format of the weights that it computes with.
    """

    name: str
    workload: Workload
    prepare: Callable[[Network, Floats], Prepared]
    weights: Weights = "float32"
