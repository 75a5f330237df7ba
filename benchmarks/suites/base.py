"""What a suite is: a function from settings to records."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.results import Record
from benchmarks.timing import unpin


@dataclass(frozen=True)
class Settings:
    """What a suite measures."""

    sizes: tuple[tuple[int, int], ...]
    """Input size and hidden size of each network."""
    rounds: int
    """Turns of each contender, of which the median is taken."""
    seconds: float
    """How long a turn takes."""
    only: tuple[str, ...] = ()
    """Names of the contenders to measure; empty for all."""
    n_steps: int = 0
    n_streams: int = 0


@dataclass(frozen=True)
class Suite:
    """A kind of measurement.

    Parameters
    ----------
    name
        What the command line and the file of results call it.
    measure
        Measures in this process, which is pinned and has one thread.
    contenders
        Names of all that it can measure.
    apart
        Whether each contender gets a process of its own, because what another one leaves behind (threads, the CPU's
        treatment of denormal numbers) would be seen.
    """

    name: str
    measure: Callable[[Settings], list[Record]]
    contenders: Callable[[], list[str]]
    apart: bool = False


def on_all_cores(
    measure_size: Callable[[tuple[int, int], Settings], list[Record]],
) -> Callable[[Settings], list[Record]]:
    """Return what measures each size in a process that may use all cores from then on."""

    def measure(settings: Settings) -> list[Record]:
        unpin()
        return [record for size in settings.sizes for record in measure_size(size, settings)]

    return measure
