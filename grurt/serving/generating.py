"""Generating: what a model answers is what it reads next, block by block, in threads, while all sessions go on.

A block of one and a block of another take turns, in the order in which they were asked for. A session's own state does
not change before all of it is there: who breaks off, or is broken off, leaves it as it was.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from grurt.serving.errors import BusyError
from grurt.serving.threads import Threads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from grurt.model import Model
    from grurt.runtime.stream import Stream
    from grurt.serving.generation_requests import GenerationRequest
    from grurt.serving.limits import Limits

Reason = Literal["stop", "length", "time"]
"""Why no more comes: a token that ends the answer, as many as were asked for, or the time is over."""


@dataclass(frozen=True)
class Block:
    """Some tokens.

    Parameters
    ----------
    tokens
        Their ids.
    text
        What stands for them, to be joined to those of the blocks before; None if the prompt was no text.
    done
        Why it is the last one; None if it is not.
    """

    tokens: NDArray[np.int64]
    text: str | None
    done: Reason | None


class Generation:
    """What one request generates.

    Parameters
    ----------
    model
        What generates.
    asked
        What is wanted.
    saved
        A snapshot of the state at which it begins; None for the model's initial state.
    """

    def __init__(self, model: Model, asked: GenerationRequest, saved: bytes | None) -> None:
        self._model = model
        self._asked = asked
        self._saved = saved
        self._stream: Stream | None = None
        self._blocks: Iterator[NDArray[np.int64]] = iter(())
        self._count = 0

    def next(self) -> tuple[NDArray[np.int64], Reason | None]:
        """Return the next tokens, and why they are the last ones, if they are. It takes a while."""
        asked = self._asked
        if self._stream is None:
            self._stream = self._model.stream()
            if self._saved is not None:
                self._stream.restore(self._saved)
            self._blocks = self._stream.generate(
                asked.prompt, asked.max_tokens, seed=asked.seed, block_size=asked.block_size, **asked.options
            )
        tokens = next(self._blocks)
        self._count += len(tokens)
        if int(tokens[-1]) in asked.stop:
            return tokens, "stop"
        return tokens, "length" if self._count >= asked.max_tokens else None

    def snapshot(self) -> bytes:
        """Return the state behind what was given: all tokens but the last one were read."""
        assert self._stream is not None  # noqa: S101 - there was a block
        return self._stream.snapshot()


class Generators:
    """All that generates.

    Parameters
    ----------
    limits
        How many may be at once, and how long each may take.
    threads
        How many compute.
    """

    def __init__(self, limits: Limits, *, threads: int) -> None:
        self._limits = limits
        self._threads = Threads(threads, "grurt-generate")
        self.n_running = 0
        self.n_tokens: Counter[str] = Counter()
        """Generated so far, by the model's name."""

    def expect_room(self) -> None:
        """Raise BusyError if no more may be generated at once."""
        if self.n_running >= self._limits.runs:
            raise BusyError(f"expected at most {self._limits.runs} requests at once, and there are as many: come back")

    async def blocks(
        self, name: str, model: Model, asked: GenerationRequest, generation: Generation
    ) -> AsyncGenerator[Block, None]:
        """Yield the blocks of a generation, the last of which says why it is that.

        Raises
        ------
        BusyError
            If as many are there as may be.
        ModelError, InputShapeError, InputTypeError, InputValueError
            As `grurt.Stream.generate`.
        """
        self.expect_room()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.generation
        done: Reason | None = None
        is_first = True
        self.n_running += 1
        try:
            while done is None:
                tokens, done = await self._threads.run(generation.next)
                if done is None and loop.time() > deadline:
                    done = "time"
                self.n_tokens[name] += len(tokens)
                text = _text(model, tokens, is_first=is_first) if asked.as_text else None
                is_first = is_first and not text
                yield Block(tokens, text, done)
        finally:
            self.n_running -= 1

    def close(self) -> None:
        """Begin no block any more."""
        self._threads.close()


def _text(model: Model, tokens: NDArray[np.int64], *, is_first: bool) -> str:
    text = model.vocabulary.decode(tokens.tolist())
    return text if is_first or not text or model.vocabulary.split == "characters" else f" {text}"
