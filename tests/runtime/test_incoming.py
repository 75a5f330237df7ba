"""Inputs as they come, on the short way into the kernels: the bits of float32, and no trace of what is refused."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.kernels import codes
from grurt.network.signature import Signature, ValuePort

SIZE, ROWS = 6, 2
MODEL = models.gru_model(SIZE, 5, np.random.default_rng(61), output_size=3)
TWO = models.layer_model(
    grurt.Add(name="sum", inputs=("a", "b")),
    grurt.GRU(name="gru", input_size=SIZE, hidden_size=5),
    inputs=(grurt.Input("a", SIZE), grurt.Input("b", SIZE)),
    rng=np.random.default_rng(62),
)
TOKENS = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=3),
    grurt.GRU(name="gru", input_size=3, hidden_size=4),
    rng=np.random.default_rng(63),
)


def grid_model(axes: Any) -> grurt.Model:
    port: dict[str, Any] = {"dtype": "float32", "positions": ROWS, "axes": axes}
    return MODEL.replaced(
        layers=[
            grurt.Unflatten(name="grid", inputs=("x",), positions=ROWS),
            grurt.Flatten(name="flat"),
            *(layer for layer in MODEL.layers),
        ],
        signature=Signature(
            (ValuePort(name="x", value="x", **port),),
            (ValuePort(name="y", value="y", dtype="float32", axes=("batch", "time", "feature")),),
        ),
    )


GRIDS = {
    "rows": grid_model(("batch", "time", "position", "feature")),
    "columns": grid_model(("batch", "feature", "time", "position")),
}
RANDOM = np.random.default_rng(64).standard_normal((7, SIZE))
"""float64 that float32 has to round."""

CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "float32": lambda xs: xs.astype(np.float32),
    "float64": lambda xs: xs,
    "spread float64": lambda xs: np.repeat(xs, 2, axis=-1)[..., ::2],
    "float64 backwards": lambda xs: xs[..., ::-1].copy()[..., ::-1],
    "Fortran float64": np.asfortranarray,
    "spread float32": lambda xs: np.repeat(xs.astype(np.float32), 3, axis=-1)[..., 1::3],
    "unaligned float32": lambda xs: moved(xs.astype(np.float32)),
    "unaligned float64": lambda xs: moved(xs),
    "big-endian": lambda xs: xs.astype(">f8"),
    "a broadcast row": lambda xs: np.lib.stride_tricks.as_strided(xs, xs.shape, xs.strides),
    "list": lambda xs: xs.tolist(),
    "tuple": lambda xs: as_tuple(xs.tolist()),
    "list of tuples": lambda xs: [*as_tuple(xs.tolist())],
    "memoryview": lambda xs: memoryview(xs.astype(np.float32)),
    "memoryview of float64": lambda xs: memoryview(xs),
    "read-only memoryview": lambda xs: memoryview(xs.astype(np.float32)).toreadonly(),
    "bytes": lambda xs: xs.astype("<f4").tobytes(),
    "bytearray": lambda xs: bytearray(xs.astype("<f4").tobytes()),
    "memoryview of bytes": lambda xs: memoryview(xs.astype("<f4").tobytes()),
    "memoryview of unaligned bytes": lambda xs: memoryview(b"\0" + xs.astype("<f4").tobytes())[1:],
}


def moved(xs: np.ndarray) -> np.ndarray:
    """Return a copy one byte behind an aligned address."""
    copied = np.empty(xs.nbytes + 1, np.uint8)[1:].view(xs.dtype).reshape(xs.shape)
    copied[...] = xs
    assert not copied.flags.aligned
    return copied


def as_tuple(items: Any) -> Any:
    return tuple(map(as_tuple, items)) if isinstance(items, list) else items


def shaped(model: grurt.Model, xs: np.ndarray) -> np.ndarray:
    """Return numbers ``(n, SIZE)`` as frames of a model."""
    (port,) = model.signature.inputs
    if "position" not in port.axes:
        return xs
    return xs.reshape(len(xs), *((ROWS, -1) if port.axes[1] == "time" else (-1, ROWS)))


@pytest.mark.parametrize("model", [MODEL, *GRIDS.values()], ids=["vector", *GRIDS])
@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_the_bits_are_those_of_float32(convert: Callable[[Any], Any], model: grurt.Model) -> None:
    xs = shaped(model, RANDOM)
    rounded = xs.astype(np.float32)
    plain, stream, block, out = (model.stream() for _ in range(4))
    expected = np.stack([plain.step(x) for x in rounded])
    np.testing.assert_array_equal(np.stack([stream.step(convert(x)) for x in xs]), expected)
    for first, last in ((0, 4), (4, 7)):  # the first block makes room for the second
        np.testing.assert_array_equal(block.run(convert(xs[first:last])), expected[first:last])
        answers = np.empty((last - first, 3), np.float32)
        assert out.run(convert(xs[first:last]), answers) is answers
        np.testing.assert_array_equal(answers, expected[first:last])
    assert plain.snapshot() == stream.snapshot() == block.snapshot() == out.snapshot()


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_each_of_several_inputs_comes_as_it_comes(convert: Callable[[Any], Any]) -> None:
    plain, *others = (TWO.stream() for _ in range(4))
    for x, other in zip(RANDOM, RANDOM[::-1], strict=True):
        expected = plain.step(x.astype(np.float32), other.astype(np.float32))
        calls: list[Callable[[grurt.Stream, Any, Any], Any]] = [
            lambda stream, a, b: stream.step(a, b),
            lambda stream, a, b: stream.step(a=a, b=b),
            lambda stream, a, b: stream.step({"b": b, "a": a}),
        ]
        for stream, call in zip(others, calls, strict=True):
            np.testing.assert_array_equal(call(stream, convert(x), convert(other)), expected)


@pytest.mark.parametrize("convert", CONVERSIONS.values(), ids=CONVERSIONS)
def test_blocks_of_several_inputs_come_as_they_come(convert: Callable[[Any], Any]) -> None:
    a, b = RANDOM[:4], RANDOM[3:]
    plain, mapped, stepped = (TWO.stream() for _ in range(3))
    expected = np.stack([stepped.step(*each) for each in zip(a.astype(np.float32), b.astype(np.float32), strict=True)])
    for stream, first, second in (
        (plain, a.astype(np.float32), b.astype(np.float32)),
        (mapped, convert(a), convert(b)),
    ):
        for _ in range(2):  # the first makes room for the second
            stream.reset()
            np.testing.assert_array_equal(stream.run({"b": second, "a": first}), expected)
    assert plain.snapshot() == mapped.snapshot() == stepped.snapshot()


@pytest.mark.parametrize("kind", ["list", "tuple", "bytes", "memoryview", "float64"])
def test_an_only_input_of_several_outputs_comes_as_it_comes(kind: str) -> None:
    model = MODEL.replaced(
        outputs=[*MODEL.outputs, grurt.Output("hidden", MODEL.layers[0].name)], signature=None, reference_run=None
    )
    convert, rounded = CONVERSIONS[kind], RANDOM.astype(np.float32)
    plain, stream, block = (model.stream() for _ in range(3))
    for _ in range(2):
        plain.reset()
        block.reset()
        steps = [plain.step(x) for x in rounded]
        blocks = block.run(convert(RANDOM))
        for t, expected in enumerate(steps):
            found = stream.step(convert(RANDOM[t]))
            assert found.keys() == expected.keys() == blocks.keys()
            for name in expected:
                np.testing.assert_array_equal(found[name], expected[name])
                np.testing.assert_array_equal(blocks[name][t], expected[name])
        stream.reset()


@pytest.mark.parametrize("code", "bBhHiIlLqQfd")
def test_an_array_of_the_standard_library(code: str) -> None:
    numbers = array.array(code, range(SIZE))
    expected = MODEL.stream().step(np.arange(SIZE, dtype=np.float32))
    np.testing.assert_array_equal(MODEL.stream().step(numbers), expected)
    np.testing.assert_array_equal(MODEL.stream().step(memoryview(numbers)), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.int16, np.uint8, np.bool_, ">f2", ">i4", np.longdouble])
def test_a_memoryview_has_the_numbers_of_its_array(dtype: Any) -> None:
    x = np.arange(SIZE).astype(dtype)
    expected = MODEL.stream().step(x.astype(np.float32))
    np.testing.assert_array_equal(MODEL.stream().step(memoryview(x)), expected)
    np.testing.assert_array_equal(MODEL.stream().step(x), expected)


def test_as_many_bytes_as_numbers_are_small_integers() -> None:
    x = np.arange(SIZE, dtype=np.uint8)
    expected = MODEL.stream().step(x.astype(np.float32))
    for kind in (bytearray, memoryview):
        np.testing.assert_array_equal(MODEL.stream().step(kind(x.tobytes())), expected)


NUMBERS = [0, -1, 2**24 + 1, 2**53, -(2**53), 2**53 + 1, 2**62 + 2**38 + 1, -(2**63), True, 0.1, 3e38, -0.0, 5e-324]


def test_lists_are_rounded_as_numpy_does() -> None:
    rng = np.random.default_rng(65)
    for _ in range(200):
        numbers = [NUMBERS[i] for i in rng.integers(0, len(NUMBERS), SIZE)]
        found, expected = MODEL.stream(), MODEL.stream()
        found.step(numbers)
        expected.step(np.asarray(numbers).astype(np.float32))
        assert found.snapshot() == expected.snapshot()


def test_numbers_beyond_float32_are_infinite() -> None:
    for beyond in (1e39, -1e300):
        numbers = [0.0, beyond, *[0.0] * (SIZE - 2)]
        for x in (numbers, np.array(numbers), memoryview(np.array(numbers)), array.array("d", numbers)):
            with pytest.raises(InputValueError, match=r"^input 'x' at \[1\]: expected finite numbers, got -?inf"):
                MODEL.stream().step(x)
            propagating, infinite = MODEL.stream(nonfinite="propagate"), MODEL.stream(nonfinite="propagate")
            with np.errstate(over="ignore"):
                expected = infinite.step(np.array(numbers).astype(np.float32))
            np.testing.assert_array_equal(propagating.step(x), expected)


GOOD = [0.5] * SIZE
CHARACTERS = "w" if sys.version_info >= (3, 13) else "u"
"""The type code of an array of characters."""

REFUSED: dict[str, tuple[Any, type[GrurtError], str]] = {
    "a short list": (GOOD[1:], InputShapeError, r"expected shape \(6,\), got \(5,\)$"),
    "a long tuple": ((*GOOD, 1.0), InputShapeError, r"expected shape \(6,\), got \(7,\)$"),
    "an empty list": ([], InputShapeError, r"expected shape \(6,\), got \(0,\)$"),
    "an empty tuple": ((), InputShapeError, r"expected shape \(6,\), got \(0,\)$"),
    "a list in a list": ([GOOD], InputShapeError, r"expected shape \(6,\), got \(1, 6\)$"),
    "a list in a tuple": ((GOOD,), InputShapeError, r"expected shape \(6,\), got \(1, 6\)$"),
    "lists of one": ([[x] for x in GOOD], InputShapeError, r"expected shape \(6,\), got \(6, 1\)$"),
    "a ragged list": ([[1.0], *GOOD[1:]], InputShapeError, "expected a rectangular array of numbers"),
    "None in a list": ([None, *GOOD[1:]], InputTypeError, "expected real numbers"),
    "text in a list": (["1", *GOOD[1:]], InputTypeError, "expected real numbers"),
    "a complex number in a list": ([1j, *GOOD[1:]], InputTypeError, "expected real numbers"),
    "an integer beyond int64": ([2**70, *GOOD[1:]], InputTypeError, "expected real numbers"),
    "NaN in a list": ([*GOOD[:4], float("nan"), 0.0], InputValueError, r"^input 'x' at \[4\]: .*, got nan; "),
    "infinity in a tuple": ((float("inf"), *GOOD[1:]), InputValueError, r"^input 'x' at \[0\]: .*, got inf; "),
    "NaN in bytes": (np.float32([0] * 5 + [np.nan]).tobytes(), InputValueError, r"^input 'x' at \[5\]: .*, got nan; "),
    "bytes too few": (bytes(23), InputShapeError, "expected 24 bytes, which are float32, got 23$"),
    "bytes of another input": (bytes(28), InputShapeError, "expected 24 bytes, which are float32, got 28$"),
    "no bytes": (b"", InputShapeError, "expected 24 bytes, which are float32, got 0$"),
    "a short bytearray": (bytearray(5), InputShapeError, r"expected shape \(6,\), got \(5,\)$"),
    "a long memoryview": (memoryview(bytes(25)), InputShapeError, r"expected shape \(6,\), got \(25,\)$"),
    "every second byte": (memoryview(bytes(48))[::2], InputShapeError, r"expected shape \(6,\), got \(24,\)$"),
    "a long memoryview of numbers": (memoryview(np.zeros(7)), InputShapeError, r"expected shape \(6,\), got \(7,\)$"),
    "an empty memoryview": (memoryview(np.zeros(0)), InputShapeError, r"expected shape \(6,\), got \(0,\)$"),
    "characters": (memoryview(bytes(SIZE)).cast("c"), InputTypeError, "expected real numbers"),
    "an array of characters": (array.array(CHARACTERS, "abcdef"), InputTypeError, "expected real numbers|rectangular"),
    "float64 too many": (np.zeros(7), InputShapeError, r"expected shape \(6,\), got \(7,\)$"),
    "float64 of another shape": (np.zeros((2, 3)), InputShapeError, r"expected shape \(6,\), got \(2, 3\)$"),
}


@pytest.mark.parametrize(("x", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_leaves_no_trace(x: Any, error: type[GrurtError], message: str) -> None:
    stream = MODEL.stream()
    stream.step(GOOD)
    before = stream.snapshot()
    with pytest.raises(error, match=message):
        stream.step(x)
    two = TWO.stream()
    with pytest.raises(error, match=message.replace("'x'", "'b'")):
        two.step(GOOD, x)
    assert stream.snapshot() == before
    assert two.steps == 0


def test_a_released_memoryview_is_refused() -> None:
    view = memoryview(np.zeros(SIZE, np.float32))
    view.release()
    with pytest.raises(InputTypeError, match="expected real numbers"):
        MODEL.stream().step(view)


def test_blocks_that_do_not_fit_leave_no_trace() -> None:
    stream = MODEL.stream()
    stream.run([GOOD] * 4)
    before = stream.snapshot()
    nan = [*GOOD[1:], float("nan")]
    for xs, message in (
        ([GOOD, GOOD[1:]], "rectangular"),
        ([GOOD, nan], r"^input 'x' at \[1, 5\]"),
        (bytes(25), "expected a multiple of 24 bytes, which are float32, got 25"),
        (GOOD, r"expected shape \(n_steps, 6\), got \(6,\)"),
        (memoryview(np.zeros((2, 5))), r"expected shape \(n_steps, 6\), got \(2, 5\)"),
    ):
        with pytest.raises(GrurtError, match=message):
            stream.run(xs)
    assert stream.snapshot() == before


def test_a_block_of_no_timestep() -> None:
    for xs in (b"", bytearray(), np.zeros((0, SIZE))):
        assert MODEL.stream().run(xs).shape == (0, 3)


def test_more_timesteps_than_there_is_room_for() -> None:
    xs = np.random.default_rng(66).standard_normal((300, SIZE))
    stream, block = MODEL.stream(), MODEL.stream()
    expected = block.run(xs.astype(np.float32))
    for convert in (CONVERSIONS["list"], CONVERSIONS["bytes"], CONVERSIONS["spread float64"]):
        stream.reset()
        stream.run(convert(xs[:2]))
        stream.reset()
        np.testing.assert_array_equal(stream.run(convert(xs)), expected)


def test_a_pool_takes_bytes() -> None:
    pool, plain = MODEL.pool(3), MODEL.pool(3)
    xs = RANDOM[:3].astype(np.float32)
    np.testing.assert_array_equal(pool.step([0, 1, 2], xs.tobytes()), plain.step([0, 1, 2], xs))
    np.testing.assert_array_equal(pool.step(np.arange(3), xs.astype(np.float64)), plain.step([0, 1, 2], xs))


def test_a_token_of_any_integer_type() -> None:
    expected = TOKENS.stream().step(5)
    for kind in (np.int8, np.uint8, np.int32, np.int64, np.uint64):
        np.testing.assert_array_equal(TOKENS.stream().step(kind(5)), expected)
    for beyond in (np.int8(-1), np.uint64(2**63), 2**70, -(2**63)):
        with pytest.raises(GrurtError, match="token id"):
            TOKENS.stream().step(beyond)


@pytest.mark.parametrize("kind", ["list", "tuple", "bytes", "bytearray", "memoryview", "float64"])
def test_references_are_counted(kind: str) -> None:
    """What is read is neither kept nor let go of, whether it is taken or refused."""
    stream = MODEL.stream()
    x = CONVERSIONS[kind](RANDOM[0])
    numbers = [*x] if kind in ("list", "tuple") else []
    before = sys.getrefcount(x), [*map(sys.getrefcount, numbers)]
    for _ in range(50):
        stream.step(x)
        with pytest.raises(InputTypeError):
            stream.step(["1", *GOOD[1:]])
    assert (sys.getrefcount(x), [*map(sys.getrefcount, numbers)]) == before


def test_memory_that_is_read_is_free_again() -> None:
    stream = MODEL.stream()
    raw, numbers, items = bytearray(24), array.array("f", GOOD), [*GOOD]
    for x in (raw, numbers, items):
        stream.step(x)
        x.append(0)  # which raises BufferError as long as somebody holds on to it
        with pytest.raises(InputShapeError):
            stream.step(x)
        x.pop()
        stream.step(x)
    assert stream.steps == 6


def test_what_is_given_may_change_between_steps() -> None:
    stream, plain = MODEL.stream(), MODEL.stream()
    x = [*GOOD]
    for row in RANDOM.tolist():
        x[:] = row
        np.testing.assert_array_equal(stream.step(x), plain.step(np.float32(row)))


def test_where_no_layout_is_known_everything_goes_the_long_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, plain = MODEL.stream(), MODEL.stream()
    stream._array[codes.CONTEXT_ARRAY_TYPE] = 0
    for x in RANDOM:
        for convert in (CONVERSIONS["list"], CONVERSIONS["bytes"], CONVERSIONS["float64"]):
            np.testing.assert_array_equal(stream.step(convert(x)), plain.step(x.astype(np.float32)))
