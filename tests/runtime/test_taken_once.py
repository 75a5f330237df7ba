"""What a caller hands in is read once: whoever changes it meanwhile changes nothing of the call, and nothing else."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import models
import numpy as np
import pytest
from paths import HELPERS

import grurt
from grurt.errors import ConcurrentUseError, InputShapeError, InputTypeError, StreamIdError
from grurt.kernels import codes
from grurt.runtime import arrays
from grurt.runtime.batch import Batch

MODEL = models.gru_model(3, 5, np.random.default_rng(71), output_size=2)
TWO_INPUTS = models.layer_model(
    grurt.Concat(name="both", inputs=("a", "b")),
    grurt.GRU(name="gru", input_size=6, hidden_size=4),
    inputs=(grurt.Input("a", 3), grurt.Input("b", 3)),
    rng=np.random.default_rng(72),
)
NAMES = [f"s{i}" for i in range(2_000)]
XS = np.random.default_rng(73).normal(size=(7, 3)).astype(np.float32)


class Convertible:
    """An input that runs code of the caller's when it is converted."""

    def __init__(self, array: Any, act: Callable[[], object]) -> None:
        self.array, self.act = array, act

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self.act()
        return self.array


@pytest.mark.parametrize("names", [range(2_000), NAMES], ids=["numbers", "names"])
@pytest.mark.parametrize(
    "change",
    [
        lambda ids, every: ids.extend(every[2:]),
        lambda ids, every: ids.clear(),
        lambda ids, every: ids.reverse(),
        lambda ids, every: ids.__setitem__(0, every[9]),
    ],
    ids=["grows", "shrinks", "reversed", "replaced"],
)
@pytest.mark.parametrize("n_steps", [None, 4])
def test_ids_that_change_while_inputs_are_converted(names: Any, change: Any, n_steps: int | None) -> None:
    pool = MODEL.pool(2_000) if isinstance(names, range) else MODEL.pool(names)
    ids = list(names[:2])
    xs = np.stack([XS[:2]] * (n_steps or 1), 1) if n_steps else XS[:2]
    given = Convertible(xs, lambda: change(ids, names))
    answers = pool.step(ids, given) if n_steps is None else pool.run(ids, given)
    other = MODEL.pool(2)
    expected = other.step([0, 1], xs) if n_steps is None else other.run([0, 1], xs)
    assert answers.tobytes() == expected.tobytes()
    assert [pool.steps(name) for name in names[:2]] == [n_steps or 1] * 2
    assert sum(pool.steps(name) for name in names) == 2 * (n_steps or 1)


def test_an_array_of_ids_that_changes_while_inputs_are_converted() -> None:
    pool, ids = MODEL.pool(5), np.arange(2)
    pool.step(ids, Convertible(XS[:2], lambda: ids.__setitem__(slice(None), 10**12)))
    assert [pool.steps(i) for i in range(5)] == [1, 1, 0, 0, 0]


class Odd(Sequence[str]):
    """Ids whose length is not how many there are."""

    def __init__(self, names: list[str], length: int) -> None:
        self.names, self.length = names, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        return self.names[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


@pytest.mark.parametrize("length", [2, 3, 2_000])
def test_ids_whose_length_disagrees_with_what_they_hold(length: int) -> None:
    pool = MODEL.pool(NAMES)
    assert pool.step(Odd(NAMES[:2], length), XS[:2]).shape == (2, 2)
    with pytest.raises(InputShapeError, match=r"expected shape \(2, 3\), got \(7, 3\)"):
        pool.step(Odd(NAMES[:2], length), XS)
    assert [pool.steps(name) for name in NAMES[:3]] == [1, 1, 0]


class Endless(Sequence[int]):
    """Ids that have a length, and no end."""

    taken = 0

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        self.taken += 1
        return index


@pytest.mark.parametrize("n_streams", [5, range(5)])
def test_ids_without_an_end_are_read_as_far_as_their_length(n_streams: Any) -> None:
    ids, pool = Endless(), MODEL.pool(n_streams)
    for call in (lambda: pool.step(ids, XS[:2]), lambda: MODEL.pool(ids)):
        ids.taken = 0
        with pytest.raises(StreamIdError, match=r"expected as many ids as their sequence says, 2, got more$"):
            call()
        assert ids.taken == 3


class Shifting(Mapping[str, Any]):
    """Inputs whose names are others each time one asks."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def __getitem__(self, name: str) -> Any:
        return XS[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    def __len__(self) -> int:
        return 2


def test_a_mapping_whose_keys_change_is_asked_once() -> None:
    stream = TWO_INPUTS.stream()
    expected = TWO_INPUTS.stream().step({"a": XS[0], "b": XS[0]})
    assert stream.step(Shifting(["a", "b"], ["c"])).tobytes() == expected.tobytes()
    with pytest.raises(InputShapeError, match=r"expected the inputs \['a', 'b'\], got \['c'\]"):
        stream.step(Shifting(["c"], ["a", "b"]))
    assert stream.steps == 1
    with pytest.raises(InputShapeError, match=r"expected inputs among .*, got 'c', 3"):
        TWO_INPUTS.run({"a": XS[np.newaxis], "c": 1, 3: 1})  # type: ignore[dict-item]


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # of NumPy 2.5
@pytest.mark.parametrize("whole", [False, True], ids=["stream", "model"])
def test_an_input_that_is_reshaped_while_the_next_is_converted(whole: bool) -> None:
    expected = TWO_INPUTS.stream().run({"a": XS, "b": XS})
    a, b = (XS[np.newaxis].copy(), XS[np.newaxis]) if whole else (XS.copy(), XS)
    inputs = {"a": a, "b": Convertible(b, lambda: setattr(a, "shape", (21, 1)))}
    found = TWO_INPUTS.run(inputs)["y"][0] if whole else TWO_INPUTS.stream().run(inputs)
    assert found.tobytes() == expected.tobytes()
    assert a.shape == (21, 1)


def refused_resize(array: Any) -> None:
    with pytest.raises(ValueError, match="cannot resize an array that"):
        array.resize((1, 3), refcheck=False)


def test_memory_of_an_input_is_held_while_the_next_is_converted() -> None:
    expected = TWO_INPUTS.stream().run({"a": XS, "b": XS})
    a = XS.copy()
    found = TWO_INPUTS.stream().run({"a": a, "b": Convertible(XS, lambda: refused_resize(a))})
    assert found.tobytes() == expected.tobytes()
    a.resize((1, 3), refcheck=False)  # the hold has ended with the call
    owner = XS.copy()
    TWO_INPUTS.stream().run({"a": owner[:], "b": Convertible(XS, lambda: refused_resize(owner))})
    batch = XS[np.newaxis].copy()
    TWO_INPUTS.run({"a": batch, "b": Convertible(XS[np.newaxis], lambda: refused_resize(batch))})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("plain", [True, False])
def test_memory_of_arrays_is_held_while_kernels_run_without_the_gil(threads: int, plain: bool) -> None:
    rng = np.random.default_rng(74)
    pool = models.gru_model(16, 128, rng).pool(64, threads=threads)
    ids = np.arange(64) if plain else np.arange(64, dtype=np.int32)
    xs, out = rng.normal(size=(64, 200, 16)).astype(np.float32), np.zeros((64, 200, 128), np.float32)
    outcomes: list[str] = []

    def resize() -> None:
        while not pool._front.array[codes.CONTEXT_BUSY]:
            pass
        for array in (xs, out) * 10:
            try:
                array.resize((1,), refcheck=False)
            except ValueError as error:
                outcomes.append(str(error)[:20])
            else:
                outcomes.append("resized")

    thread = threading.Thread(target=resize)
    thread.start()
    while thread.is_alive():  # a busy machine may not let the other thread run during the first call
        pool.run(ids, xs, out)
    thread.join()
    assert outcomes == ["cannot resize an arr"] * 20
    assert pool.run(ids, xs, out) is out
    xs.resize((1,), refcheck=False)


def test_the_output_of_a_stream_of_tokens_is_not_where_its_answers_are_made() -> None:
    layers = (
        grurt.Embedding(name="embed", vocabulary_size=9, size=4),
        grurt.GRU(name="gru", input_size=4, hidden_size=3),
    )
    stream = models.layer_model(*layers, rng=np.random.default_rng(75)).stream()
    stream.output.resize((10_000,), refcheck=False)
    answer = stream.step(3)
    assert answer.shape == (3,)
    assert not stream.output.any()


def test_the_lengths_of_a_batch_are_its_own() -> None:
    lengths = np.array([3, 7])
    batch = Batch(MODEL, "refuse", 2, 7, lengths)
    assert not np.shares_memory(batch.lengths, lengths)


ALIKE: dict[str, tuple[Any, Any]] = {
    "byte order": (np.dtype(np.float32).newbyteorder("<"), np.longlong),
    "metadata": (np.dtype(np.float32, metadata={"unit": "g"}), np.dtype(np.int64, metadata={"unit": "s"})),  # type: ignore[call-overload]
    "pickled": (pickle.loads(pickle.dumps(np.dtype(np.float32).newbyteorder("<"))), np.longlong),
    "the same": (np.dtype(np.float32), np.dtype(np.int64)),
}
"""Dtypes that equal float32 and int64, but for the last are other objects, and have the same numbers in memory."""


@pytest.mark.parametrize(("features", "integers"), ALIKE.values(), ids=ALIKE)
def test_arrays_of_equal_dtypes_are_copied_where_a_copy_is_promised(features: Any, integers: Any) -> None:
    for x, take in (
        (np.ones((2, 3), features), lambda x: arrays.features("x", x)),
        (np.ones(3, integers), lambda x: arrays.tokens("x", x)),
        (np.ones(3, integers), lambda x: arrays.integers("x", x, "integers")),
    ):
        taken = take(x)
        assert not np.shares_memory(taken, x)
        assert taken.base is None


@pytest.mark.parametrize(("features", "integers"), ALIKE.values(), ids=ALIKE)
def test_arrays_of_equal_dtypes_are_held_where_memory_is_shared(features: Any, integers: Any) -> None:
    held: list[object] = []
    x, tokens = np.ones((2, 3), features), np.ones(6, integers)
    shared = arrays.features("x", x, held), arrays.tokens("x", tokens, held)
    for array in (x, tokens):
        refused_resize(array)
    assert all(map(np.shares_memory, shared, (x, tokens)))
    del held[:], shared
    x.resize((1, 3), refcheck=False)


@pytest.mark.parametrize(("features", "integers"), ALIKE.values(), ids=ALIKE)
def test_what_is_checked_is_what_is_used_whatever_equal_dtype_it_has(features: Any, integers: Any) -> None:
    """Another value's conversion changes the first one after it has been checked."""
    model = models.layer_model(
        grurt.GRU(name="a", input_size=3, hidden_size=4),
        grurt.GRU(name="b", input_size=4, hidden_size=2),
        rng=np.random.default_rng(76),
    )
    stream, state, zeros = model.stream(), np.zeros(4, features), np.zeros(2, np.float32)
    stream.state = {"a": state, "b": Convertible(zeros, lambda: state.fill(np.nan))}
    assert not stream.state["a"].any()
    state = np.zeros(4, features)
    stream.state = {"a": state, "b": Convertible(zeros, lambda: state.resize((1,), refcheck=False))}
    assert not stream.state["a"].any()
    lengths = np.array([3, 7], integers)
    batch = Batch(MODEL, "refuse", 2, 7, lengths)
    lengths.fill(10**9)
    assert batch.lengths.tolist() == [3, 7]
    given = TWO_INPUTS.stream()
    a = XS.astype(features)
    given.run({"a": a, "b": Convertible(XS, lambda: refused_resize(a))})


def test_states_are_looked_at_and_used_as_they_were() -> None:
    """The lengths are converted after the states have been checked."""
    model = models.gru_model(3, 5, np.random.default_rng(77))
    ports = (
        grurt.ValuePort(name="x", value="x", dtype="float32", axes=("batch", "time", "feature")),
        grurt.StatePort(name="h", states=("gru0",), dtype="float32", axes=("batch", "feature")),
    )
    model = model.replaced(signature=grurt.Signature(ports, model.signature.outputs))
    state = np.zeros((2, 5), np.float32)
    xs = np.stack([XS, XS])
    lengths = Convertible(np.array([7, 7]), lambda: state.fill(np.nan))
    found = model.run({"x": xs, "h": state}, lengths=lengths)
    assert np.isfinite(found["y"]).all()


class Liar(np.ndarray[Any, Any]):
    """An array that says of itself what is not so."""

    shape = property(lambda self: (7, 3))  # type: ignore[assignment]
    dtype = property(lambda self: np.dtype(np.float32))  # type: ignore[assignment]
    ndim = property(lambda self: 2)  # type: ignore[assignment]
    flags = property(lambda self: np.zeros(1, np.float32).flags)  # type: ignore[assignment]
    ctypes = property(lambda self: None)  # type: ignore[assignment]
    base = property(lambda self: self)  # type: ignore[assignment]

    def __len__(self) -> int:
        return 7

    def view(self, *args: Any) -> Any:
        return self


def test_an_array_that_lies_about_itself_is_seen_as_it_is() -> None:
    stream = MODEL.stream()
    with pytest.raises(InputShapeError, match=r"expected shape \(n_steps, 3\), got \(1,\)"):
        stream.run(np.zeros(1, np.float32).view(Liar))
    with pytest.raises(InputShapeError, match=r"out: expected shape \(7, 2\), got \(1,\)"):
        stream.run(XS, out=np.zeros(1, np.float32).view(Liar))
    with pytest.raises(InputTypeError, match="expected out to be a float32 array, got dtype float64"):
        stream.run(XS, out=np.zeros((7, 2)).view(Liar))
    assert stream.steps == 0
    sound = np.zeros((7, 2), np.float32).view(Liar)
    assert stream.run(XS, out=sound) is sound
    pool = MODEL.pool(7)
    assert pool.step(np.arange(7).view(Liar), XS).shape == (7, 2)
    with pytest.raises(InputShapeError, match=r"an input 'x': expected shape \(2, 3\), got \(7, 3\)"):
        pool.step(np.arange(2).view(Liar), XS)


class NoArray:
    """What calls itself an array, and is none."""

    __class__ = np.ndarray  # type: ignore[assignment]
    shape, dtype, ndim, flags = (7, 2), np.dtype(np.float32), 2, np.zeros(1).flags


def test_what_is_no_array_is_no_output() -> None:
    with pytest.raises(InputTypeError, match="expected out to be a float32 array, got NoArray"):
        MODEL.stream().run(XS, out=NoArray())  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="expected out to be a float32 array, got list"):
        MODEL.pool(7, threads=2).run(np.arange(7), XS[:, np.newaxis], [[0.0, 0.0]])  # type: ignore[arg-type]


class CallersError(ValueError, TypeError):
    """What the caller's own code raises: of every kind that is caught somewhere."""


def fail(*_: Any) -> Any:
    raise CallersError


class BadItems(Sequence[str]):
    __getitem__ = fail

    def __len__(self) -> int:
        return 2


class BadHash(str):
    __slots__ = ()
    __hash__ = fail


class BadEqual(str):
    __slots__ = ()
    __eq__ = fail

    def __hash__(self) -> int:
        return hash("s1")


class BadKeys(Shifting):
    keys = fail


POOL_CALLS: dict[str, Callable[[grurt.StreamPool], object]] = {
    "__array__": lambda pool: pool.step(["s0"], Convertible(XS[:1], fail)),
    "__array__ in a state": lambda pool: pool.set_state("s0", {"gru0": Convertible(np.zeros(5), fail)}),
    "__getitem__": lambda pool: pool.step(BadItems(), XS[:2]),
    "keys": lambda pool: pool.step(["s0"], BadKeys(["x"])),
    "__hash__ in step": lambda pool: pool.step([BadHash("s0")], XS[:1]),
    "__eq__ in step": lambda pool: pool.step([BadEqual("other")], XS[:1]),
    "__hash__ in add": lambda pool: pool.add(BadHash("new")),
    "__eq__ in add": lambda pool: pool.add(BadEqual("new")),
    "__hash__ in drop": lambda pool: pool.drop(BadHash("s0")),
    "__hash__ in reset": lambda pool: pool.reset(BadHash("s0")),
    "__eq__ in in": lambda pool: BadEqual("other") in pool,
}


@pytest.mark.parametrize("call", POOL_CALLS.values(), ids=POOL_CALLS)
def test_what_the_callers_code_raises_goes_through_and_changes_nothing(call: Callable[[Any], object]) -> None:
    pool = MODEL.pool(NAMES[:2])
    pool.step(["s0", "s1"], XS[:2])
    before = {name: pool.snapshot(name) for name in pool}
    with pytest.raises(CallersError):
        call(pool)
    assert {name: pool.snapshot(name) for name in pool} == before
    assert len(pool) == 2
    assert pool.step(["s1", "s0"], XS[:2]).shape == (2, 2)


class Reentrant(str):
    """An id that calls the pool while it is looked up there."""

    __slots__ = ()
    act: Callable[[], object]
    outcomes: list[str]

    def __hash__(self) -> int:
        try:
            Reentrant.act()
        except ConcurrentUseError:
            Reentrant.outcomes.append("refused")
        else:
            Reentrant.outcomes.append("let in")
        return super().__hash__()


@pytest.mark.parametrize("outer", ["step", "add", "drop", "reset"])
@pytest.mark.parametrize("inner", ["add", "drop", "step", "restore"])
def test_an_id_that_calls_the_pool_while_it_is_looked_up_is_refused(outer: str, inner: str) -> None:
    pool = MODEL.pool(NAMES[:16])
    saved = pool.snapshot("s1")
    inner_calls = {
        "add": lambda: pool.add("new"),
        "drop": lambda: pool.drop("s1"),
        "step": lambda: pool.step(["s1"], XS[:1]),
        "restore": lambda: pool.restore("s1", saved),
    }
    Reentrant.act, Reentrant.outcomes = inner_calls[inner], []
    outer_calls = {
        "step": lambda: pool.step([Reentrant("s0")], XS[:1]),
        "add": lambda: pool.add(Reentrant("more")),
        "drop": lambda: pool.drop(Reentrant("s0")),
        "reset": lambda: pool.reset(Reentrant("s0")),
    }
    outer_calls[outer]()
    assert Reentrant.outcomes
    assert set(Reentrant.outcomes) == {"refused"}
    assert "new" not in pool
    assert "s1" in pool
    assert pool.steps("s1") == 0


def test_streams_can_be_dropped_while_one_goes_through_them() -> None:
    for pool in (MODEL.pool(5), MODEL.pool(NAMES[:5])):
        for name in pool:
            pool.drop(name)
        assert (len(pool), list(pool)) == (0, [])


def test_a_number_that_compares_as_it_likes_is_the_number_that_it_is() -> None:
    class Odder(int):
        __ge__ = __le__ = __lt__ = __gt__ = lambda self, other: True  # type: ignore[assignment]

    pool = MODEL.pool(2)
    assert Odder(10**9) not in pool
    with pytest.raises(StreamIdError, match=f"there is no stream {10**9}"):
        pool.reset(Odder(10**9))


ACTIVE = """
import faulthandler, sys, threading, time
import numpy as np
import grurt, models
faulthandler.enable()
model = models.gru_model(64, 32, np.random.default_rng(0))
names = [f"s{i}" for i in range(4_000)]
pool = model.pool(names)
active = names[:200]
xs = [np.zeros((n, 64)) for n in range(0, 4_001, 200)]
stop = False

def change():
    while not stop:
        if len(active) < 3_800:
            active.extend(names[len(active) : len(active) + 200])
        else:
            del active[200:]
        time.sleep(0)

thread = threading.Thread(target=change)
thread.start()
answered = refused = 0
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    n = len(active)
    try:
        answers = pool.step(active, xs[n // 200])
    except grurt.InputShapeError:
        refused += 1
    else:
        answered += 1
        assert len(answers) in {len(x) for x in xs} and np.isfinite(answers).all()
stop = True
thread.join()
assert answered, refused
"""


@pytest.mark.slow
def test_a_list_of_ids_that_another_thread_changes() -> None:
    command = [sys.executable, "-c", ACTIVE, "2"]
    result = subprocess.run(command, cwd=HELPERS, timeout=600, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
