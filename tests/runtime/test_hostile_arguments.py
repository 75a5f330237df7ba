"""Arguments of any kind get an answer, or an exception of grurt's that says what is wrong; nothing is half done."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import (
    EngineError,
    InputShapeError,
    InputTypeError,
    InputValueError,
    ModelFileError,
    QuantizationError,
    SnapshotError,
    StreamIdError,
)
from grurt.runtime import pool as pools
from grurt.runtime import team

MODEL = models.gru_model(3, 5, np.random.default_rng(91), output_size=2)
WIDE = models.gru_model(1, 64, np.random.default_rng(92))
TOKENS = models.layer_model(
    grurt.Embedding(name="embed", vocabulary_size=9, size=4),
    grurt.GRU(name="gru", input_size=4, hidden_size=3),
    rng=np.random.default_rng(93),
)
HUGE = 10**5000
X = np.zeros((1, 3), np.float32)
MASKED = np.ma.array([0, 1], mask=[True, False])


class Silent:
    """What cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


class Large(int):
    """An integer that says to C that it is larger than it is."""

    def __int__(self) -> int:
        return 2**70

    def __index__(self) -> int:
        return 2**70


class Interface:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class NegativeLength(Sequence[int]):
    def __len__(self) -> int:
        return -1

    def __getitem__(self, index: Any) -> Any:
        raise IndexError


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def twice(pool: grurt.StreamPool, name: Any) -> None:
    pool.add(name)
    pool.add(name)


CALLS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "a number of many digits": (
        lambda: MODEL.pool(2).steps(HUGE),
        StreamIdError,
        "there is no stream an int of 16,610 bi",
    ),
    "an id of many digits": (
        lambda: MODEL.pool(2).add(HUGE),
        StreamIdError,
        "expected no id, got an int of 16,610 bits",
    ),
    "such an id twice": (
        lambda: twice(MODEL.pool(["a"]), HUGE),
        StreamIdError,
        "a stream an int of 16,610 bits already",
    ),
    "an id that has no text": (
        lambda: MODEL.pool(["a"]).step([Silent()], X),
        StreamIdError,
        "there is no stream an object of type Silent",
    ),
    "names that have no text": (
        lambda: MODEL.stream().step({Silent(): 1}),
        InputShapeError,
        "an object of type Silent",
    ),
    "sources' names": (lambda: MODEL.run({Silent(): 1}), InputShapeError, "got an object of type Silent"),  # type: ignore[dict-item]
    "a state's name": (
        lambda: setattr(MODEL.stream(), "state", {HUGE: 1}),
        InputShapeError,
        "an int of 16,610 bits: ex",
    ),
    "minus many streams": (lambda: MODEL.pool(-HUGE), InputValueError, "of at least 0, got an int of 16,610 bits"),
    "many streams": (lambda: MODEL.pool(HUGE), InputValueError, "streams of this model, which take 1 TiB, got an int"),
    "2**62 streams": (lambda: MODEL.pool(2**62), InputValueError, "streams of this model, which take 1 TiB, got 46116"),
    "2**40 streams": (lambda: MODEL.pool(2**40), InputValueError, "streams of this model, which take 1 TiB, got 10995"),
    "many threads": (
        lambda: MODEL.pool(1, threads=HUGE),
        InputValueError,
        "at least 1 thread, and at most 1024, got an int",
    ),
    "a billion threads": (lambda: MODEL.pool(1, threads=10**9), InputValueError, "at most 1024, got 1000000000"),
    "threads in text": (lambda: MODEL.pool(1, threads="2"), InputTypeError, "expected a number of threads, got str"),  # type: ignore[arg-type]
    "half a thread": (lambda: MODEL.pool(1, threads=2.5), InputTypeError, "expected a number of threads, got float"),  # type: ignore[arg-type]
    "streams by a float": (
        lambda: MODEL.pool(2.0),
        InputTypeError,
        "expected a number of streams, or their ids, got fl",
    ),  # type: ignore[arg-type]
    "streams by None": (
        lambda: MODEL.pool(None),
        InputTypeError,
        "expected a number of streams, or their ids, got None",
    ),  # type: ignore[arg-type]
    "lists as ids": (lambda: MODEL.pool([[1]]), StreamIdError, "expected an id that can be hashed: .*unhashable"),  # type: ignore[list-item]
    "a list as an id": (
        lambda: MODEL.pool(["a"]).add([]),
        StreamIdError,
        "StreamPool.add: expected an id that can be h",
    ),  # type: ignore[arg-type]
    "dropping a list": (lambda: MODEL.pool(["a"]).drop([]), StreamIdError, r"StreamPool.drop: there is no stream \[\]"),  # type: ignore[arg-type]
    "a length below zero": (
        lambda: MODEL.pool(2).step(NegativeLength(), X),
        StreamIdError,
        r"expected a sequence of ids that has a length: __len__\(\) should return >= 0",
    ),
    "an id that is larger in C": (
        lambda: MODEL.pool(2).step([Large(1)], X),
        StreamIdError,
        "too large to convert to C",
    ),
    "nonfinite: an array": (
        lambda: MODEL.stream(nonfinite=np.zeros(3)),
        InputValueError,
        'expected "refuse" or "propag',
    ),  # type: ignore[arg-type]
    "nonfinite: a list": (
        lambda: MODEL.run({"x": X[None]}, nonfinite=[]),
        InputValueError,
        'expected "refuse" or "propag',
    ),  # type: ignore[arg-type]
    "an interface that is none": (
        lambda: MODEL.stream().step(Interface(__array_interface__=5)),
        (InputShapeError, InputTypeError),  # type: ignore[dict-item]
        "a rectangular array of numbers: ",
    ),
    "an interface of bad data": (
        lambda: MODEL.stream().step(
            Interface(__array_interface__={"shape": (3,), "typestr": "<f4", "data": 5, "version": 3})
        ),
        InputTypeError,
        "expected a rectangular array of numbers: a bytes-like object is required",
    ),
    "a mask that is none": (lambda: MODEL.stream().step(Interface(_mask=5)), InputTypeError, "got dtype object"),
    "no batch of many steps": (
        lambda: WIDE.run(np.zeros((0, 2**60, 1), np.float32)),
        InputShapeError,
        r"expected at most 2\*\*40 timesteps in all, got the axes \(0, 1152921504606846976\)",
    ),
    "no streams of many steps": (
        lambda: WIDE.pool(3).run(np.zeros(0, np.int64), np.zeros((0, 2**60, 1), np.float32)),
        InputShapeError,
        "StreamPool.run: expected at most 2",
    ),
    "nothing of what grows": (
        lambda: WIDE.run(np.zeros((0, 2**62, 1), np.int8)),
        InputShapeError,
        r"expected an array that memory can hold, got the shape \(0, 4611686018427387904, 1\)",
    ),
    "one number many times": (
        lambda: WIDE.run(np.broadcast_to(np.int8(0), (2**62, 1))),
        InputShapeError,
        r"expected an array that memory can hold, got the shape \(4611686018427387904, 1\)",
    ),
    "a snapshot that is gone": (
        lambda: MODEL.stream().restore(released()),  # type: ignore[arg-type]
        SnapshotError,
        "restore: expected bytes that can be read: operation forbidden on released memoryview",
    ),
    "keep: a number": (
        lambda: MODEL.quantize("int8", keep=5),
        QuantizationError,
        "keep: expected names of layers, got 5:",
    ),  # type: ignore[arg-type]
    "keep: lists": (
        lambda: MODEL.quantize("int8", keep=[["a"]]),
        QuantizationError,
        r"expected names of layers, got \[\[",
    ),  # type: ignore[list-item]
    "keep: mixed": (
        lambda: MODEL.quantize("int8", keep=[1, "a"]),
        QuantizationError,
        "keep: the model has no layer 'a'",
    ),  # type: ignore[list-item]
    "formats": (lambda: MODEL.quantize(np.zeros(3)), QuantizationError, r"weight_format: expected .* got array"),  # type: ignore[arg-type]
    "calibration: a number": (
        lambda: MODEL.quantize("int8", calibration=5),  # type: ignore[arg-type]
        QuantizationError,
        "calibration: expected an array, a mapping, or a list of those, got int",
    ),
    "a path with a null": (
        lambda: grurt.load("a\0b"),
        ModelFileError,
        r"^a\\x00b: expected a path, got one that no file",
    ),
    "a path with a surrogate": (
        lambda: grurt.load("\ud800"),
        ModelFileError,
        "expected a path, got one that no file can h",
    ),
    "saving to a null": (
        lambda: MODEL.save("a\0b"),
        OSError,
        r"expected a path that a file can have: .*embedded null (byte|character)",
    ),
    "masked ids": (
        lambda: MODEL.pool(2).step(MASKED, np.zeros((2, 3))),
        StreamIdError,
        "expected an id everywhere, got m",
    ),
    "masked new ids": (
        lambda: MODEL.pool(MASKED),
        StreamIdError,
        "Model.pool: expected an id everywhere, got masked elem",
    ),
    "masked rows": (
        lambda: MODEL.stream().run([np.ma.array(X[0], mask=[1, 0, 0])] * 2),
        InputValueError,
        "got masked el",
    ),
    "masked numbers": (lambda: MODEL.stream().run([[1, 2, np.ma.masked]]), InputValueError, "got masked elements"),
    "masked rows in tuples": (
        lambda: MODEL.run(([[np.ma.array(0.0, mask=True), 1.0, 2.0]],)),
        InputValueError,
        "got masked elements",
    ),
    "an id beyond int64": (
        lambda: MODEL.pool(2).step(np.array([0, 2**64 - 1], np.uint64), np.zeros((2, 3))),
        StreamIdError,
        r"below 2\*\*63, got 18446744073709551615",
    ),
    "a token beyond int64": (
        lambda: TOKENS.stream().run(np.array([0, 2**63], np.uint64)),
        InputValueError,
        r"expected token ids of an integer dtype, below 2\*\*63, got 9223372036854775808",
    ),
    "a length beyond int64": (
        lambda: MODEL.run(np.zeros((1, 4, 3)), lengths=np.array([2**64 - 2], np.uint64)),
        InputValueError,
        r"integer lengths, below 2\*\*63, got 18446744073709551614",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), CALLS.values(), ids=CALLS)
def test_what_is_wrong_is_said(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_an_array_of_ids_names_streams() -> None:
    pool = MODEL.pool(np.array(["a", "b"]))  # type: ignore[arg-type]
    assert list(pool) == ["a", "b"]
    assert pool.step(np.array(["b"]), X).shape == (1, 2)
    assert list(MODEL.pool(np.array([7, 5]))) == [7, 5]  # type: ignore[arg-type]
    assert len(MODEL.pool(np.array(3))) == len(MODEL.pool(np.int64(3))) == 3  # type: ignore[arg-type]


def test_threads_that_the_system_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, []

    def limited(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(team.threading.Thread, "start", limited)
    with pytest.raises(
        EngineError, match="expected 7 threads more, but the system starts no more than 2: ask for fewer"
    ):
        MODEL.pool(4, threads=8)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


def test_paths_may_be_bytes(tmp_path: Any) -> None:
    path = bytes(tmp_path / "model.grurt")
    MODEL.save(path)  # type: ignore[arg-type]
    assert grurt.load(path).fingerprint == MODEL.fingerprint  # type: ignore[arg-type]


class Changing:
    """An id that is another one each time it is looked up."""

    def __init__(self, draw: Callable[[], Hashable]) -> None:
        self.draw, self.name = draw, draw()

    def __hash__(self) -> int:
        self.name = self.draw()
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        return other == self.name


@pytest.mark.parametrize("seed", range(20))
def test_a_pool_is_consistent_whatever_its_ids_do(seed: int) -> None:
    rng = random.Random(seed)
    pool, names = MODEL.pool(["a", "b"]), "abcdefgh"
    for _ in range(200):
        plain: Hashable = rng.choice(names)
        name = Changing(lambda: rng.choice(names)) if rng.random() < 0.7 else plain
        with contextlib.suppress(StreamIdError):
            rng.choice([pool.add, pool.drop, pool.reset])(name)
        slots = list(pool._slots.slot_of_name.values())
        assert sorted(slots + pool._slots.free) == list(range(len(pool._slots.last_call)))
        assert len(list(pool)) == len(pool) == len(slots)


def test_an_id_that_changes_between_look_up_and_change_drops_what_it_names_then() -> None:
    pool = MODEL.pool(["a", "b"])
    draws = iter("xab" * 9)
    pool.drop(Changing(lambda: next(draws)))
    assert list(pool) == ["b"]
    pool.add("c")
    assert pool.step(["b", "c"], np.zeros((2, 3))).shape == (2, 2)


def test_the_most_threads_and_streams_are_allowed() -> None:
    assert pools._number_of_threads(pools.MAX_THREADS) == 1024
    pools._expect_room(10**6, 4096)
