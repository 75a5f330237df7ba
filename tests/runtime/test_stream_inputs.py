"""What a stream takes and refuses as input and output arrays; what it refuses leaves no trace."""

from __future__ import annotations

import array
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.errors import GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.runtime import arrays

MODEL = models.gru_model(3, 4, np.random.default_rng(12), output_size=2)
TOKEN_MODEL = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=3),
    grurt.GRU(name="gru", input_size=3, hidden_size=4),
    rng=np.random.default_rng(13),
)
TWO_INPUTS = models.layer_model(
    grurt.Add(name="sum", inputs=("a", "b")),
    grurt.GRU(name="gru", input_size=3, hidden_size=4),
    grurt.Linear(name="head", input_size=4, output_size=2),
    inputs=(grurt.Input("a", 3), grurt.Input("b", 3)),
    outputs=(grurt.Output("hidden", "gru"), grurt.Output("y", "head")),
    rng=np.random.default_rng(14),
)
XS = np.random.default_rng(15).integers(0, 2, (6, 3)).astype(np.float32)
"""Zeros and ones: numbers that every dtype holds."""


class Subclass(np.ndarray[Any, Any]):
    """An array whose arithmetic is its own."""


def unaligned(xs: Any) -> Any:
    """Return a contiguous copy that starts one byte after an aligned address."""
    copied = np.empty(xs.nbytes + 1, np.uint8)[1:].view(xs.dtype).reshape(xs.shape)
    copied[...] = xs
    assert not copied.flags.aligned
    return copied


def spread(xs: Any) -> Any:
    """Return a copy in which no two elements are neighbours in memory."""
    around = np.full(tuple(2 * size for size in xs.shape), np.nan, xs.dtype)
    inside = around[tuple(slice(None, None, 2) for _ in xs.shape)]
    inside[...] = xs
    return inside


def read_only(xs: Any) -> Any:
    copied = xs.copy()
    copied.flags.writeable = False
    return copied


def on_disk(xs: Any) -> Any:
    """Return a copy whose float32 is not NumPy's own object."""
    copied = xs.astype(np.dtype(np.float32, metadata={"unit": "g"}))
    assert copied.dtype == np.float32
    assert copied.dtype is not np.dtype(np.float32)
    return copied


KINDS: dict[str, Any] = {
    "float32": lambda xs: xs,
    "float64": lambda xs: xs.astype(np.float64),
    "float16": lambda xs: xs.astype(np.float16),
    "long double": lambda xs: xs.astype(np.longdouble),
    "int8": lambda xs: xs.astype(np.int8),
    "uint64": lambda xs: xs.astype(np.uint64),
    "bool": lambda xs: xs.astype(bool),
    "big-endian float32": lambda xs: xs.astype(">f4"),
    "a float32 with metadata": on_disk,
    "list": lambda xs: xs.tolist(),
    "list of arrays": lambda xs: list(xs),
    "tuple": lambda xs: tuple(xs.tolist()),
    "memoryview": lambda xs: memoryview(xs),
    "mapping": lambda xs: {"x": xs},
    "read-only": read_only,
    "spread": spread,
    "backwards in memory": lambda xs: xs[..., ::-1].copy()[..., ::-1],
    "Fortran": np.asfortranarray,
    "unaligned": unaligned,
    "broadcast": lambda xs: np.broadcast_to(xs[np.newaxis], (2, *xs.shape))[1],
    "subclass": lambda xs: xs.view(Subclass),
    "masked array without a masked element": lambda xs: np.ma.masked_array(xs, np.zeros(xs.shape, bool)),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_kind_of_array_gives_the_same_bits(kind: Any) -> None:
    plain, stream, block = MODEL.stream(), MODEL.stream(), MODEL.stream()
    expected = np.stack([plain.step(x) for x in XS])
    np.testing.assert_allclose(expected, reference.run(MODEL, {"x": XS})[0]["y"], rtol=0, atol=2e-6)
    found = [stream.step(kind(x)) for x in XS]
    assert all(type(y) is np.ndarray for y in found)
    np.testing.assert_array_equal(np.stack(found), expected)
    np.testing.assert_array_equal(block.run(kind(XS)), expected)
    assert stream.snapshot() == block.snapshot() == plain.snapshot()


def test_kernels_get_aligned_arrays() -> None:
    """Some CPUs cannot read a number that crosses its natural boundary."""
    assert arrays.features("x", unaligned(XS)).flags.carray
    assert arrays.tokens("x", unaligned(XS.astype(np.int64))).flags.carray


def test_a_matrix_is_an_array_of_two_axes() -> None:
    """np.matrix cannot be one timestep: its rows are matrices."""
    xs = XS.astype(np.float32).view(np.matrix)
    found = MODEL.stream().run(xs)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, MODEL.stream().run(XS))
    with pytest.raises(InputShapeError, match=r"expected shape \(3,\), got \(1, 3\)$"):
        MODEL.stream().step(xs[0])


def test_other_numbers_are_rounded_to_float32() -> None:
    xs = np.random.default_rng(16).normal(size=(5, 3))
    np.testing.assert_array_equal(MODEL.stream().run(xs), MODEL.stream().run(xs.astype(np.float32)))


def test_an_array_from_the_standard_library() -> None:
    np.testing.assert_array_equal(MODEL.stream().step(array.array("d", XS[0])), MODEL.stream().step(XS[0]))


def test_inputs_are_not_written() -> None:
    xs = XS.copy()
    stream = MODEL.stream()
    stream.run(xs)
    stream.step(xs[0])
    np.testing.assert_array_equal(xs, XS)


@contextmanager
def refused(stream: grurt.Stream, error: type[GrurtError], message: str) -> Iterator[None]:
    """Check for an error, that the state is bit for bit what it was, and that the next answer is right."""
    inputs = models.random_inputs(stream.model.inputs, 1, np.random.default_rng(17))
    stream.run(inputs)
    twin = stream.fork()
    before = stream.snapshot()
    with pytest.raises(error, match=message):
        yield
    assert stream.snapshot() == before
    found, expected = stream.run(inputs), twin.run(inputs)
    for name in expected if isinstance(expected, dict) else [slice(None)]:
        np.testing.assert_array_equal(found[name], expected[name])


class Unreadable:
    """Something that NumPy takes for one object."""


BAD_STEPS: dict[str, tuple[Any, type[GrurtError], str]] = {
    "too few": (np.zeros(2, np.float32), InputShapeError, r"an input 'x': expected shape \(3,\), got \(2,\)$"),
    "too many": (np.zeros(4, np.float32), InputShapeError, r"an input 'x': expected shape \(3,\), got \(4,\)$"),
    "none": (np.zeros(0, np.float32), InputShapeError, r"an input 'x': expected shape \(3,\), got \(0,\)$"),
    "a row": (np.zeros((1, 3), np.float32), InputShapeError, r"an input 'x': expected shape \(3,\), got \(1, 3\)$"),
    "0-d": (np.array(1, np.float32), InputShapeError, r"an input 'x': expected shape \(3,\), got \(\)$"),
    "a number": (1.5, InputShapeError, r"an input 'x': expected shape \(3,\), got \(\)$"),
    "ragged": ([[1, 2], [3]], InputShapeError, "expected a rectangular array of numbers: "),
    "complex": (np.zeros(3, complex), InputTypeError, "expected real numbers, .*, got dtype complex128$"),
    "object": (np.zeros(3, object), InputTypeError, "expected real numbers, .*, got dtype object$"),
    "None": (None, InputTypeError, "expected real numbers, .*, got dtype object$"),
    "an object": (Unreadable(), InputTypeError, "expected real numbers, .*, got dtype object$"),
    "big integers": ([2**70, 0, 0], InputTypeError, "expected real numbers, .*, got dtype object$"),
    "str": ("abc", InputTypeError, "expected real numbers, .*, got dtype <U3$"),
    "strs": (["1", "2", "3"], InputTypeError, "expected real numbers, .*, got dtype <U1$"),
    "bytes": (b"abc", InputShapeError, r"an input 'x': expected 12 bytes, which are float32, got 3$"),
    "dates": (np.zeros(3, "M8[s]"), InputTypeError, r"expected real numbers, .*, got dtype datetime64\[s\]$"),
    "spans": (np.zeros(3, "m8[s]"), InputTypeError, r"expected real numbers, .*, got dtype timedelta64\[s\]$"),
    "fields": (np.zeros(3, [("a", "f4")]), InputTypeError, "expected real numbers, .*, got dtype .*'a'"),
    "masked": (
        np.ma.masked_equal([0.0, 1, 2], 1),
        InputValueError,
        "expected a number everywhere, got masked elements; fill them first$",
    ),
    "no names": ({}, InputShapeError, r"expected the inputs \['x'\], got \[\]$"),
    "another name": ({"y": XS[0]}, InputShapeError, r"expected the inputs \['x'\], got \['y'\]$"),
    "a name too many": ({"x": XS[0], 1: 2}, InputShapeError, r"expected the inputs \['x'\], got \['x', 1\]$"),
}


@pytest.mark.parametrize(("x", "error", "message"), BAD_STEPS.values(), ids=BAD_STEPS)
def test_what_is_no_timestep_is_refused(x: Any, error: Any, message: str) -> None:
    stream = MODEL.stream()
    with refused(stream, error, f"^Stream.step: {message}"):
        stream.step(x)
    with refused(stream, error, f"^Stream.step: {message}"):
        stream.step(x, out=np.zeros(2, np.float32))


BAD_BLOCKS: dict[str, tuple[Any, type[GrurtError], str]] = {
    "one timestep": (XS[0], InputShapeError, r"an input 'x': expected shape \(n_steps, 3\), got \(3,\)$"),
    "a batch": (XS[None], InputShapeError, r"an input 'x': expected shape \(n_steps, 3\), got \(1, 6, 3\)$"),
    "transposed": (XS.T, InputShapeError, r"an input 'x': expected shape \(n_steps, 3\), got \(3, 6\)$"),
    "an empty list": ([], InputShapeError, r"an input 'x': expected shape \(n_steps, 3\), got \(0,\)$"),
    "complex": (XS * 1j, InputTypeError, "expected real numbers, .*, got dtype complex64$"),
    "None": (None, InputTypeError, "expected real numbers, .*, got dtype object$"),
    "masked": (
        np.ma.masked_equal(XS, 1),
        InputValueError,
        "expected a number everywhere, got masked elements; fill them first$",
    ),
}


@pytest.mark.parametrize(("xs", "error", "message"), BAD_BLOCKS.values(), ids=BAD_BLOCKS)
def test_what_is_no_block_is_refused(xs: Any, error: Any, message: str) -> None:
    stream = MODEL.stream()
    with refused(stream, error, f"^Stream.run: {message}"):
        stream.run(xs)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 33])
def test_where_a_number_is_not_finite(number: float, size: int) -> None:
    """At every position: the kernel looks at whole vectors, and then at what is left."""
    stream = models.gru_model(size, 4, np.random.default_rng(size)).stream()
    for k in range(size):
        x = np.full(size, 3e38, np.float32)  # a sum of these would be infinite
        x[k] = number
        message = rf"^input 'x' at \[{k}\]: expected finite numbers, got {number}; .* nonfinite=\"propagate\""
        for kind in (np.float32, np.float64):
            with refused(stream, InputValueError, message):
                stream.step(x.astype(kind))
        xs = np.zeros((3, size))
        xs[2] = x
        with refused(stream, InputValueError, message.replace(r"\[", r"\[2, ", 1)):
            stream.run(xs)


def test_a_number_beyond_float32_is_infinite() -> None:
    stream = MODEL.stream()
    with refused(stream, InputValueError, r"^input 'x' at \[1\]: expected finite numbers, got inf"):
        stream.step([0, 1e39, 0])


def test_nan_propagates_where_it_is_let_through() -> None:
    stream = MODEL.stream(nonfinite="propagate")
    assert np.isnan(stream.step([0, np.nan, 0])).all()
    assert np.isnan(stream.step(XS[0])).all()
    assert np.isnan(stream.state["gru0"]).all()
    with refused(stream, InputShapeError, "expected shape"):
        stream.step(XS)
    stream.reset()
    np.testing.assert_array_equal(stream.run(XS), MODEL.stream().run(XS))


def test_infinity_saturates_where_it_is_let_through() -> None:
    stream = MODEL.stream(nonfinite="propagate")
    xs = XS.copy()
    xs[2, 0], xs[4, 2] = np.inf, -np.inf
    expected = reference.run(MODEL, {"x": xs})[0]["y"]
    np.testing.assert_allclose([stream.step(x) for x in xs], expected, rtol=0, atol=2e-6)


def test_a_nan_state_is_taken_where_nan_is_let_through() -> None:
    stream = MODEL.stream(nonfinite="propagate")
    stream.state = {"gru0": [np.nan, 0, 0, 0]}
    assert np.isnan(stream.step(XS[0])).all()


@pytest.mark.parametrize(
    ("token", "error", "message"),
    [
        (9, InputValueError, r"^input 'x': expected a token id in \[0, 9\), got 9$"),
        (-1, InputValueError, r"^input 'x': expected a token id in \[0, 9\), got -1$"),
        (2**63 - 1, InputValueError, r"^input 'x': expected a token id in \[0, 9\), got 9223372036854775807$"),
        (1.0, InputTypeError, "^Stream.step: expected token ids of an integer dtype, got dtype float64$"),
        (True, InputTypeError, "^Stream.step: expected token ids of an integer dtype, got dtype bool$"),
        (
            np.array(1, np.float32),
            InputTypeError,
            "^Stream.step: expected token ids .*, got dtype float32$",
        ),
        ("a", InputTypeError, "^Stream.step: expected token ids of an integer dtype, got dtype <U1$"),
        (None, InputTypeError, "^Stream.step: expected token ids of an integer dtype, got dtype object$"),
        ([1], InputShapeError, r"^Stream.step: a token id 'x': expected shape \(\), got \(1,\)$"),
        (np.ma.masked, InputValueError, "^Stream.step: .* got masked elements"),
    ],
)
def test_what_is_no_token_is_refused(token: Any, error: Any, message: str) -> None:
    stream = TOKEN_MODEL.stream(nonfinite="propagate")
    with refused(stream, error, message):
        stream.step(token)


def test_arrays_without_axes_are_tokens() -> None:
    expected = TOKEN_MODEL.stream().step(3)
    for dtype in (np.int64, np.int32, np.uint8):
        np.testing.assert_array_equal(TOKEN_MODEL.stream().step(np.array(3, dtype)), expected)


def test_the_first_bad_token_of_a_block_is_named() -> None:
    stream = TOKEN_MODEL.stream()
    with refused(stream, InputValueError, r"^input 'x' at \[3\]: expected a token id in \[0, 9\), got 9$"):
        stream.run([1, 2, 3, 9, -1])
    with refused(stream, InputShapeError, r"^Stream.run: a token id 'x': expected shape \(n_steps,\), got \(\)$"):
        stream.run(3)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (XS, InputTypeError, r"expected a mapping with the inputs \['a', 'b'\], got ndarray$"),
        ({"a": XS}, InputShapeError, r"expected the inputs \['a', 'b'\], got \['a'\]$"),
        ({"a": XS, "b": XS, "c": XS}, InputShapeError, r"expected the inputs \['a', 'b'\], got \['a', 'b', 'c'\]$"),
        ({"a": XS, "b": XS[1:]}, InputShapeError, "expected 6 timesteps of every input, got 5 of 'b'$"),
        ({"a": XS, "b": XS[:, 1:]}, InputShapeError, r"an input 'b': expected shape \(n_steps, 3\), got \(6, 2\)$"),
    ],
)
def test_several_inputs_must_fit_together(inputs: Any, error: Any, message: str) -> None:
    stream = TWO_INPUTS.stream()
    with refused(stream, error, f"^Stream.run: {message}"):
        stream.run(inputs)


def test_the_input_that_is_not_finite_is_named() -> None:
    stream = TWO_INPUTS.stream()
    bad = XS.copy()
    bad[4, 1] = np.nan
    with refused(stream, InputValueError, r"^input 'b' at \[4, 1\]: expected finite numbers, got nan"):
        stream.run({"a": XS, "b": bad})
    with refused(stream, InputValueError, r"^input 'b' at \[1\]: expected finite numbers, got nan"):
        stream.step({"a": XS[0], "b": bad[4]})


NOT_WRITEABLE = "expected out to be a writeable, aligned, C-contiguous array$"

BAD_OUTPUTS: dict[str, tuple[Any, type[GrurtError], str]] = {
    "float64": (lambda out: out.astype(np.float64), InputTypeError, "expected out to be .*, got dtype float64$"),
    "int32": (lambda out: out.astype(np.int32), InputTypeError, "expected out to be .*, got dtype int32$"),
    "big-endian": (lambda out: out.astype(">f4"), InputTypeError, "expected out to be .*, got dtype >f4$"),
    "list": (lambda out: out.tolist(), InputTypeError, "expected out to be a float32 array, got list$"),
    "True": (lambda out: True, InputTypeError, "expected out to be a float32 array, got bool$"),
    "one more axis": (lambda out: out[np.newaxis], InputShapeError, r"out: expected shape \(.*2,?\), got \(1, .*2\)$"),
    "0-d": (lambda out: np.array(0, np.float32), InputShapeError, r"out: expected shape \(.*2,?\), got \(\)$"),
    "too small": (lambda out: out[..., :1].copy(), InputShapeError, r"out: expected shape \(.*2,?\), got \(.*1,?\)$"),
    "read-only": (read_only, InputValueError, NOT_WRITEABLE),
    "spread": (spread, InputValueError, NOT_WRITEABLE),
    "unaligned": (unaligned, InputValueError, NOT_WRITEABLE),
}


@pytest.mark.parametrize(("kind", "error", "message"), BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
def test_out_that_cannot_be_written_is_refused(kind: Any, error: Any, message: str) -> None:
    stream = MODEL.stream()
    for method, x, shape in ((stream.step, XS[0], (2,)), (stream.run, XS, (6, 2))):
        out = kind(np.full(shape, 7, np.float32))
        before = np.array(out)
        with refused(stream, error, f"^{re.escape(method.__qualname__)}: {message}"):
            method(x, out=out)
        np.testing.assert_array_equal(out, before)


def test_out_is_untouched_by_a_refused_input() -> None:
    stream = MODEL.stream()
    out = np.full(2, 7, np.float32)
    for x in ([np.nan, 0, 0], np.array([np.nan, 0, 0], np.float32), "abc"):
        with pytest.raises(GrurtError, match="expected"):
            stream.step(x, out=out)
    np.testing.assert_array_equal(out, 7)


def test_out_with_a_dtype_of_its_own() -> None:
    for out in (on_disk(np.zeros(2, np.float32)), np.zeros(2, np.float32).view(Subclass)):
        assert MODEL.stream().step(XS[0], out=out) is out
        np.testing.assert_array_equal(out, MODEL.stream().step(XS[0]))


def test_out_may_not_overlap_the_inputs_of_a_block() -> None:
    model = models.gru_model(3, 3, np.random.default_rng(18))
    stream = model.stream()
    memory = np.zeros((9, 3), np.float32)
    for out in (memory[:6], memory[2:8]):
        with refused(stream, InputValueError, "^Stream.run: expected out not to overlap the input$"):
            stream.run(memory[: len(out)], out=out)
    np.testing.assert_array_equal(memory, 0)
    assert stream.run(memory[:4], out=memory[4:8]).base is memory


def test_out_is_for_models_of_one_output() -> None:
    stream = TWO_INPUTS.stream()
    with refused(stream, InputTypeError, "^Stream.step: out is for models of one output; this one has 2$"):
        stream.step({"a": XS[0], "b": XS[0]}, out=np.zeros(4, np.float32))


AS_IT_COMES: dict[str, Any] = {
    "unaligned": lambda x: np.frombuffer(b"\0" + x.tobytes(), np.float32, x.size, 1),
    "big-endian": lambda x: x.astype(">f4"),
    "strided": lambda x: np.repeat(x, 2)[::2],
    "backwards": lambda x: x[::-1].copy()[::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), np.float32),
    "float64": lambda x: x.astype(np.float64),
    "a memoryview": lambda x: memoryview(x),
    "a list": lambda x: x.tolist(),
}


@pytest.mark.parametrize("convert", AS_IT_COMES.values(), ids=AS_IT_COMES)
def test_an_input_as_it_comes(convert: Any) -> None:
    model = models.gru_model(6, 9, np.random.default_rng(3))
    two = model.replaced(
        inputs=[grurt.Input("a", 6), grurt.Input("b", 6)],
        layers=[
            grurt.Add(name="sum", inputs=("a", "b")),
            grurt.GRU(name="gru0", input_size=6, hidden_size=9, initial_state="learned"),
        ],
        signature=None,
    )
    xs = np.random.default_rng(4).standard_normal((5, 6), np.float32)
    stream, twin, several = model.stream(), model.stream(), two.stream()
    for x in xs:
        expected = twin.step(x)
        np.testing.assert_array_equal(stream.step(convert(x)), expected)
        np.testing.assert_array_equal(several.step(np.zeros(6, np.float32), convert(x)), expected)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint32, np.int32])
def test_numbers_of_other_dtypes(dtype: Any) -> None:
    model = models.gru_model(6, 9, np.random.default_rng(3))
    x = np.arange(6).astype(dtype)
    np.testing.assert_array_equal(model.stream().step(x), model.stream().step(x.astype(np.float32)))
