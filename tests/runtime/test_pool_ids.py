"""Ids as they come: arrays, lists and tuples of numbers, and names; the same bits, and errors that leave no trace."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.demo import load_model
from grurt.errors import InputShapeError, InputValueError, StreamIdError

RNG = np.random.default_rng(150)
MODEL = models.gru_model(3, 17, RNG, output_size=2)
LARGE = models.gru_model(16, 128, RNG)
NAMES: list[Any] = ["a", ("b", 1), None, 3.5, 7, b"c", frozenset({1})]
N_NAMES = len(NAMES)

FORMS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "int32": lambda ids: np.array(ids, np.int32),
    "uint64": lambda ids: np.array(ids, np.uint64),
    "strided": lambda ids: np.repeat(ids, 2)[::2],
    "numpy's integers": lambda ids: [*np.array(ids, np.int16)],
    "some of numpy's": lambda ids: [np.int64(i) if i % 2 else i for i in ids],
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_numbers_in_any_form_give_the_bits_of_single_streams(form: Callable[[list[int]], Any], threads: int) -> None:
    rng = np.random.default_rng(151)
    pool, singles = MODEL.pool(40, threads=threads), [MODEL.stream() for _ in range(40)]
    for count in (1, 2, 7, 40):
        ids = rng.permutation(40)[:count].tolist()
        xs = rng.normal(size=(count, 3)).astype(np.float32)
        blocks = rng.normal(size=(count, 5, 3)).astype(np.float32)
        answers = pool.step(form(ids), xs), pool.step(form(ids), xs, np.empty((count, 2), np.float32))
        out = pool.run(form(ids), blocks, np.empty((count, 5, 2), np.float32))
        for row, i in enumerate(ids):
            assert [answer[row].tobytes() for answer in answers] == [singles[i].step(xs[row]).tobytes() for _ in "12"]
            assert out[row].tobytes() == singles[i].run(blocks[row]).tobytes()
    assert [pool.snapshot(i) for i in range(40)] == [single.snapshot() for single in singles]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("form", [list, tuple])
def test_names_give_the_bits_of_single_streams(form: type, threads: int) -> None:
    rng = np.random.default_rng(152)
    pool, singles = MODEL.pool(NAMES, threads=threads), [MODEL.stream() for _ in NAMES]
    for count in (1, 2, N_NAMES):
        order = rng.permutation(N_NAMES)[:count]
        xs = rng.normal(size=(count, 3)).astype(np.float32)
        answers = pool.step(form([NAMES[i] for i in order]), xs)
        for row, i in enumerate(order):
            assert answers[row].tobytes() == singles[i].step(xs[row]).tobytes()
    assert pool.step(form([]), np.zeros((0, 3), np.float32)).shape == (0, 2)
    assert [pool.snapshot(name) for name in NAMES] == [single.snapshot() for single in singles]


@pytest.mark.slow
def test_a_list_that_others_change_while_kernels_run_without_the_gil() -> None:
    """What a call is about is no longer in the list then."""
    pool, ids, done = LARGE.pool(64, threads=2), list(range(64)), threading.Event()
    xs = np.random.default_rng(153).normal(size=(64, 50, 16)).astype(np.float32)
    out = np.empty((64, 50, 128), np.float32)

    def change() -> None:
        while not done.is_set():
            ids[:] = ids[::-1]

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(5):
            pool.run(ids, xs, out)
    finally:
        done.set()
        thread.join()
    assert [pool.steps(i) for i in range(64)] == [250] * 64


BAD_NUMBERS: dict[str, tuple[Any, type[Exception], str]] = {
    "text": ("user1", StreamIdError, r"step: expected a sequence of ids, got 'user1': a single id stands in a list"),
    "bytes": (b"user1", StreamIdError, r"expected a sequence of ids, got b'user1': a single id stands in a list"),
    "unknown": ([0, 9], StreamIdError, r"step: ids\[1\] is 9: there is no such stream"),
    "negative": ([0, -1], StreamIdError, r"step: ids\[1\] is -1: there is no such stream"),
    "dropped": ((0, 3), StreamIdError, r"step: ids\[1\] is 3: there is no such stream"),
    "twice": ([1, 1], StreamIdError, r"step: ids\[1\] is 1: the stream is named twice"),
    "huge": ([0, 2**62], StreamIdError, r"step: ids\[1\] is 4611686018427387904: there is no such stream"),
    "beyond int64": ([0, 2**63], StreamIdError, "expected integers, as this pool numbers its streams"),
    "beyond all": ([0, -(10**40)], StreamIdError, "expected integers, as this pool numbers its streams"),
    "truth values": ([False, True], StreamIdError, "expected integers, .* got dtype bool"),
    "floats": ([0.0, 1.0], StreamIdError, "expected integers, .* got dtype float64"),
    "None": ([0, None], StreamIdError, "expected integers, .* got dtype object"),
    "lists": ([[0], [1]], InputShapeError, r"expected ids of shape \(n_streams,\), got \(2, 1\)"),
    "fewer": ([0], InputShapeError, r"expected shape \(1, 3\), got \(2, 3\)"),
    "more": ([0, 1, 2], InputShapeError, r"expected shape \(3, 3\), got \(2, 3\)"),
    "more than there are": ([0, 1, 2, 0, 1], InputShapeError, r"expected shape \(5, 3\), got \(2, 3\)"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("ids", "error", "message"), BAD_NUMBERS.values(), ids=BAD_NUMBERS)
def test_numbers_that_are_no_streams_leave_no_trace(
    ids: Any, error: type[Exception], message: str, threads: int
) -> None:
    pool = MODEL.pool(4, threads=threads)
    pool.drop(3)
    pool.step([0, 1, 2], np.ones((3, 3), np.float32))
    before = [pool.snapshot(i) for i in pool.ids]
    with pytest.raises(error, match=message):
        pool.step(ids, np.ones((2, 3), np.float32))
    assert [pool.snapshot(i) for i in pool.ids] == before


BAD_NAMES: dict[str, tuple[Any, type[Exception], str]] = {
    "unknown": (["a", "x"], StreamIdError, "StreamPool.run: there is no stream 'x'"),
    "only one": (["x"], StreamIdError, "StreamPool.run: there is no stream 'x'"),
    "a list": (["a", ["a"]], StreamIdError, r"StreamPool.run: there is no stream \['a'\]"),
    "a list in a tuple": ([("b", []), "a"], StreamIdError, r"StreamPool.run: there is no stream \('b', \[\]\)"),
    "a key of its own": ([("b",), "a"], StreamIdError, r"StreamPool.run: there is no stream \('b',\)"),
    "twice": (["a", "a"], StreamIdError, r"StreamPool.run: ids\[1\] is 'a': the stream is named twice"),
    "more": (["a", None, 7], InputShapeError, "expected shape"),
    "a text": ("ax", StreamIdError, "StreamPool.run: expected a sequence of ids, got 'ax': a single id stands in"),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("ids", "error", "message"), BAD_NAMES.values(), ids=BAD_NAMES)
def test_names_that_are_not_there_leave_no_trace(ids: Any, error: type[Exception], message: str, threads: int) -> None:
    pool = MODEL.pool(NAMES, threads=threads)
    before = [pool.snapshot(name) for name in NAMES]
    count = len(ids) if error is StreamIdError else 2
    with pytest.raises(error, match=message):
        pool.run(ids, np.ones((count, 1, 3), np.float32), np.empty((count, 1, 2), np.float32))
    assert [pool.snapshot(name) for name in NAMES] == before


class Looked:
    """A name that does something when it is looked up."""

    def __init__(self, name: str, act: Callable[[], object]) -> None:
        self.name, self.act = name, act

    def __hash__(self) -> int:
        self.act()
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return other == self.name


def test_a_list_of_names_that_changes_while_they_are_looked_up() -> None:
    pool = MODEL.pool(["a", "b", "c"])
    ids: list[Any] = [Looked("a", lambda: ids.__setitem__(1, "c")), "b"]
    pool.step(ids, np.ones((2, 3), np.float32))
    assert [pool.steps(name) for name in "abc"] == [1, 1, 0]


@pytest.mark.parametrize("kind", [KeyError, TypeError, InputValueError, KeyboardInterrupt])
@pytest.mark.parametrize("count", [1, 2])
def test_what_a_name_raises_goes_through(kind: type[BaseException], count: int) -> None:
    def fail() -> None:
        raise kind("of the caller's")

    pool = MODEL.pool(["a", "b"])
    ids = [Looked("a", fail), "b"][:count]
    with pytest.raises(kind, match="of the caller's"):
        pool.step(ids, np.ones((count, 3), np.float32))
    assert [pool.steps(name) for name in "ab"] == [0, 0]
    pool.step(["a"], np.ones((1, 3), np.float32))


@pytest.mark.parametrize("verb", ["add", "drop", "steps"])
def test_what_a_name_raises_goes_through_every_verb(verb: str) -> None:
    def fail() -> None:
        raise TypeError("of the caller's")

    pool = MODEL.pool(["a"])
    with pytest.raises(TypeError, match=r"^of the caller's$"):
        getattr(pool, verb)(Looked("a", fail))
    assert pool.steps("a") == 0


def test_bad_inputs_of_names_leave_no_trace() -> None:
    pool = MODEL.pool(NAMES)
    xs = np.ones((N_NAMES, 3), np.float32)
    xs[4, 1] = np.nan
    with pytest.raises(InputValueError, match=r"input 'x' at \[4, 1\]: expected finite numbers"):
        pool.step(NAMES, xs)
    assert [pool.steps(name) for name in NAMES] == [0] * N_NAMES


@pytest.mark.parametrize("form", [list, tuple, np.array])
def test_references_are_counted_right(form: Callable[[list[Any]], Any]) -> None:
    pool, named = MODEL.pool(2), MODEL.pool(["a", "b"])
    xs = np.ones((2, 3), np.float32)
    numbers, names = form([0, 1]), ["a", "b"]
    before = [sys.getrefcount(each) for each in (numbers, names, names[0], xs)]
    for _ in range(50):
        pool.step(numbers, xs)
        named.step(names, xs)
    assert [sys.getrefcount(each) for each in (numbers, names, names[0], xs)] == before


SEVERAL = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4, inputs=("token",)),
    grurt.Concat(name="both", inputs=("a", "embed")),
    grurt.GRU(name="gru", input_size=7, hidden_size=5),
    inputs=(grurt.Input("a", 3), grurt.TokenInput("token", 9)),
    rng=RNG,
)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("ids", [[2, 0, 1], (2, 0, 1), np.array([2, 0, 1]), ["c", "a", "b"]], ids=str)
@pytest.mark.parametrize("has_out", [False, True])
def test_several_inputs_give_the_bits_of_single_streams(ids: Any, threads: int, has_out: bool) -> None:
    rng = np.random.default_rng(154)
    pool = SEVERAL.pool(["a", "b", "c"] if isinstance(ids[0], str) else 3, threads=threads)
    singles = [SEVERAL.stream() for _ in range(3)]
    for lead in ((3,), (3, 4), (3, 0)):
        xs = {"a": rng.normal(size=(*lead, 3)).astype(np.float32), "token": rng.integers(0, 9, lead)}
        out = np.empty((*lead, 5), np.float32) if has_out else None
        answers = (pool.step if len(lead) == 1 else pool.run)(ids, dict(reversed(xs.items())), out)
        assert answers is out or not has_out
        for row, single in enumerate(singles):
            one = {name: array[row] for name, array in xs.items()}
            expected = single.step(one) if len(lead) == 1 else single.run(one)
            assert answers[row].tobytes() == expected.tobytes()
    assert [pool.snapshot(name) for name in list(ids)] == [single.snapshot() for single in singles]


FRAMES = np.ones((2, 3), np.float32)
TOKENS = np.zeros(2, np.int64)
BAD_MAPPINGS: dict[str, tuple[Any, type[Exception], str]] = {
    "fewer": ({"a": FRAMES}, InputShapeError, r"expected the inputs \['a', 'token'\], got \['a'\]"),
    "others": ({"a": FRAMES, "b": TOKENS}, InputShapeError, r"expected the inputs \['a', 'token'\], got \['a', 'b'\]"),
    "more": ({"a": FRAMES, "token": TOKENS, "b": TOKENS}, InputShapeError, r"got \['a', 'token', 'b'\]"),
    "none": ({}, InputShapeError, r"expected the inputs \['a', 'token'\], got \[\]"),
    "rows": ({"a": FRAMES[:1], "token": TOKENS}, InputShapeError, r"expected shape \(2, 3\), got \(1, 3\)"),
    "other rows": ({"a": FRAMES, "token": TOKENS[:1]}, InputShapeError, r"expected shape \(2,\), got \(1,\)"),
    "blocks": ({"a": np.ones((2, 4, 3), np.float32), "token": TOKENS}, InputShapeError, r"got \(2, 4, 3\)"),
    "mixed": ({"a": FRAMES, "token": np.zeros((2, 4), np.int64)}, InputShapeError, r"got \(2, 4\)"),
    "nan": ({"a": FRAMES * np.float32(np.nan), "token": TOKENS}, InputValueError, r"input 'a' at \[0, 0\]: expected"),
    "token": ({"a": FRAMES, "token": TOKENS + 9}, InputValueError, r"input 'token' at \[0\]: expected a token id"),
}


@pytest.mark.parametrize("names", [False, True])
@pytest.mark.parametrize(("xs", "error", "message"), BAD_MAPPINGS.values(), ids=BAD_MAPPINGS)
def test_inputs_that_do_not_fit_leave_no_trace(xs: Any, error: type[Exception], message: str, names: bool) -> None:
    ids: list[Any] = ["a", "b"] if names else [0, 1]
    pool = SEVERAL.pool(ids if names else 2)
    pool.step(ids, {"a": FRAMES, "token": TOKENS})
    before = [pool.snapshot(name) for name in ids]
    with pytest.raises(error, match=message):
        pool.step(ids, xs)
    with pytest.raises(InputValueError, match="expected out not to overlap the input"):
        MODEL.pool(2).step([0, 1], {"x": FRAMES}, FRAMES.reshape(-1)[:4].reshape(2, 2))
    assert [pool.snapshot(name) for name in ids] == before


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_with_and_without_an_array_for_the_answers(threads: int) -> None:
    rng = np.random.default_rng(155)
    pool, singles = MODEL.pool(6, threads=threads), [MODEL.stream() for _ in range(6)]
    for n_steps in (0, 1, 7):
        blocks = rng.normal(size=(6, n_steps, 3)).astype(np.float32)
        answers = pool.run([*range(6)], blocks)
        strided = pool.run(np.arange(6), np.repeat(blocks, 2, axis=1)[:, ::2])
        for i, single in enumerate(singles):
            assert [answers[i].tobytes(), strided[i].tobytes()] == [single.run(blocks[i]).tobytes() for _ in "12"]
    with pytest.raises(InputShapeError, match=r"expected shape \(2, n_steps, 3\), got \(6, 7, 3\)"):
        pool.run([0, 1], blocks)


@pytest.mark.parametrize("name", ["user1", b"user1", bytearray(b"user1")])
def test_one_name_is_not_a_sequence_of_letters(name: Any) -> None:
    model = load_model()
    with pytest.raises(StreamIdError, match=r"expected a sequence of ids, got .*: a single id stands in a list"):
        model.pool(name)
    pool = model.pool([*"user1", "user1"])
    with pytest.raises(StreamIdError, match=r"expected a sequence of ids, got .*: a single id stands in a list"):
        pool.step(name, np.zeros((5, 6), np.float32))
    assert pool.step(["user1"], np.zeros((1, 6), np.float32)).shape == (1, 4)
