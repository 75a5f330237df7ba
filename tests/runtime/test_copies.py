"""States that go from stream to stream: `Stream.copy_from`, `StreamPool.copy`."""

from __future__ import annotations

from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import ConcurrentUseError, InputShapeError, InputTypeError, SnapshotError, StreamIdError

N_STEPS = 7
XS = np.random.default_rng(1).standard_normal((N_STEPS, 3), np.float32)


def model_of(seed: int = 0) -> grurt.Model:
    """Return a model with both kinds of state: of a GRU, and of a convolution."""
    return models.layer_model(
        grurt.Conv1d(name="conv", input_size=3, output_size=4, kernel_size=3),
        grurt.GRU(name="gru", input_size=4, hidden_size=5, initial_state="learned"),
        rng=np.random.default_rng(seed),
    )


MODEL = model_of()


def test_a_copy_goes_on_where_the_other_is() -> None:
    stream, other = MODEL.stream(), MODEL.stream()
    other.run(XS)
    stream.step(XS[3])
    stream.copy_from(other)
    assert stream.snapshot() == other.snapshot()
    assert stream.steps == N_STEPS
    expected = other.fork().run(XS)
    np.testing.assert_array_equal(stream.run(XS), expected)
    np.testing.assert_array_equal(other.run(XS), expected)  # which has not changed
    stream.copy_from(stream)
    assert stream.steps == 2 * N_STEPS


def test_a_copy_from_an_equal_model() -> None:
    stream, other = MODEL.stream(), model_of().stream()
    other.run(XS)
    stream.copy_from(other)
    assert stream.snapshot() == other.snapshot()


def test_what_cannot_be_copied() -> None:
    stream = MODEL.stream()
    stream.step(XS[0])
    before = stream.snapshot()
    other = model_of(seed=1).stream()
    with pytest.raises(SnapshotError, match="belongs to another model"):
        stream.copy_from(other)
    propagating = MODEL.stream(nonfinite="propagate")
    propagating.step(np.full(3, np.nan, np.float32))
    with pytest.raises(SnapshotError, match="a NaN or an infinity among the inputs that a layer keeps"):
        stream.copy_from(propagating)
    with pytest.raises(InputTypeError, match=r"Stream\.copy_from: expected a Stream, got bytes"):
        stream.copy_from(before)  # type: ignore[arg-type]
    assert stream.snapshot() == before


def test_a_stream_in_use_is_not_copied() -> None:
    busy, idle = MODEL.stream(), MODEL.stream()
    idle.run(XS)
    before = busy.snapshot(), idle.snapshot()

    def copies_are_refused() -> None:
        for target, source in ((busy, idle), (idle, busy)):
            with pytest.raises(ConcurrentUseError):
                target.copy_from(source)

    busy._context.exclusively(copies_are_refused)
    assert (busy.snapshot(), idle.snapshot()) == before


def filled_pool(streams: Any) -> grurt.StreamPool:
    pool = MODEL.pool(streams)
    for number, stream_id in enumerate(pool.ids):
        pool.run([stream_id], XS[np.newaxis, : number + 1])
    return pool


@pytest.mark.parametrize("names", [[0, 1, 2, 3], ["a", ("b", 1), None, 3.5]], ids=["numbers", "names"])
def test_streams_are_reordered_at_once(names: list[Any]) -> None:
    pool = filled_pool(4 if names == [0, 1, 2, 3] else names)
    assert pool.ids == names
    before = [pool.snapshot(name) for name in names]
    pool.copy([names[2], names[2], names[0], names[1]], names)
    assert [pool.snapshot(name) for name in names] == [before[place] for place in (2, 2, 0, 1)]
    pool.copy([names[0]], [names[3]])
    assert pool.snapshot(names[3]) == before[2]
    pool.copy([], [])


def test_arrays_of_numbers() -> None:
    pool = filled_pool(4)
    before = [pool.snapshot(number) for number in range(4)]
    pool.copy(np.array([3, 2], np.int32), np.array([0, 1]))
    assert [pool.snapshot(number) for number in range(4)] == [before[place] for place in (3, 2, 2, 3)]


BAD: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "no source": ([9], [0], StreamIdError, r"StreamPool\.copy: there is no stream 9"),
    "no target": ([0], [-1], StreamIdError, r"StreamPool\.copy: there is no stream -1"),
    "dropped": ([2], [0], StreamIdError, r"StreamPool\.copy: there is no stream 2"),
    "twice": ([0, 1], [3, 3], StreamIdError, r"StreamPool\.copy: expected each target once, got one twice"),
    "fewer": ([0, 1], [3], InputShapeError, r"expected as many targets as sources, got 1 and 2"),
}


@pytest.mark.parametrize(("sources", "targets", "error", "message"), BAD.values(), ids=BAD)
def test_a_bad_copy_changes_nothing(sources: Any, targets: Any, error: type[Exception], message: str) -> None:
    pool = filled_pool(4)
    pool.drop(2)
    before = {name: pool.snapshot(name) for name in pool.ids}
    with pytest.raises(error, match=message):
        pool.copy(sources, targets)
    assert {name: pool.snapshot(name) for name in pool.ids} == before
