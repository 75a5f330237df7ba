"""States that are set in one call of the kernels, and those that are not: the same states, the same errors."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt.errors import ConcurrentUseError, GrurtError, InputShapeError, InputTypeError, InputValueError
from grurt.runtime.state_writer import StateWriter

RNG = np.random.default_rng(170)
ONE = models.gru_model(3, 17, RNG)
TWO = models.gru_model(3, 33, RNG, n_layers=2)
RING = models.layer_model(
    grurt.Conv1d(name="conv", input_size=3, output_size=4, kernel_size=3),
    grurt.GRU(name="gru", input_size=4, hidden_size=5),
    rng=RNG,
)
OPEN = models.layer_model(
    grurt.GRU(name="free", input_size=3, hidden_size=5, candidate_activation=grurt.Relu()),
    grurt.GRU(name="bound", input_size=5, hidden_size=4),
    rng=RNG,
)
STATELESS = models.layer_model(grurt.Linear(name="fc", input_size=3, output_size=2), rng=RNG)
XS = RNG.normal(size=(9, 3)).astype(np.float32)

MODELS = {"one": ONE, "two": TWO, "ring": RING, "open": OPEN}


def states_of(model: grurt.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in model.state_shapes.items()}


def holders(model: grurt.Model, **options: Any) -> list[Any]:
    """Return streams that have run: one by itself, of a pool, and of a pool with threads and names."""

    class OfPool:
        def __init__(self, pool: grurt.StreamPool, stream_id: Any) -> None:
            self.pool, self.stream_id = pool, stream_id
            pool.run([stream_id], XS[np.newaxis])

        @property
        def state(self) -> dict[str, np.ndarray]:
            return self.pool.state(self.stream_id)

        @state.setter
        def state(self, states: Any) -> None:
            self.pool.set_state(self.stream_id, states)

        def snapshot(self) -> bytes:
            return self.pool.snapshot(self.stream_id)

        def run(self, xs: Any) -> Any:
            return self.pool.run([self.stream_id], xs[np.newaxis])[0]

    stream = model.stream(**options)
    stream.run(XS)
    return [stream, OfPool(model.pool(5, **options), 3), OfPool(model.pool(["a", "b"], threads=2, **options), "b")]


FORMS: dict[str, Any] = {
    "as they are": lambda array: array,
    "float64": lambda array: array.astype(np.float64),
    "lists": lambda array: array.tolist(),
    "strided": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "unaligned": lambda array: np.frombuffer(b"x" + array.tobytes(), np.float32, offset=1).reshape(array.shape),
    "read-only": lambda array: np.frombuffer(array.tobytes(), np.float32).reshape(array.shape),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_what_is_set_is_the_state(model: grurt.Model, form: Any) -> None:
    given = states_of(model, np.random.default_rng(171))
    answers = set()
    for holder in holders(model):
        holder.state = {name: form(array) for name, array in given.items()}
        assert {name: array.tobytes() for name, array in holder.state.items()} == {
            name: array.tobytes() for name, array in given.items()
        }
        answers.add(holder.run(XS).tobytes())
    assert len(answers) == 1


def test_numbers_near_zero_stay_as_they_are() -> None:
    tiny = np.float32([1e-31, -1e-38, 1e-45, -0.0] * 4 + [1e-44])
    for holder in holders(ONE):
        holder.state = {"gru0": tiny}
        assert holder.state["gru0"].tobytes() == tiny.tobytes()


def test_some_of_the_states_and_other_mappings() -> None:
    class Odd(Mapping[str, Any]):
        def __init__(self, items: dict[str, Any]) -> None:
            self.items_ = items

        def __getitem__(self, name: str) -> Any:
            return self.items_[name]

        def __iter__(self) -> Any:
            return iter(self.items_)

        def __len__(self) -> int:
            return len(self.items_)

    given = states_of(TWO, np.random.default_rng(172))
    for holder in holders(TWO):
        before = holder.state
        holder.state = {"gru1": given["gru1"]}
        assert holder.state["gru0"].tobytes() == before["gru0"].tobytes()
        assert holder.state["gru1"].tobytes() == given["gru1"].tobytes()
        holder.state = Odd({"gru0": given["gru0"], "gru1": before["gru1"]})
        assert holder.state["gru0"].tobytes() == given["gru0"].tobytes()
        assert holder.state["gru1"].tobytes() == before["gru1"].tobytes()
        whole = holder.snapshot()
        holder.state = {}
        assert holder.snapshot() == whole
    stream = STATELESS.stream()
    stream.state = {}
    assert stream.state == {}


BAD: dict[str, tuple[dict[Any, Any], type[GrurtError], str]] = {
    "nan": ({"gru0": np.float32([0] * 32 + [np.nan])}, InputValueError, "expected finite numbers, got a NaN"),
    "inf": ({"gru1": np.float32([np.inf] + [0] * 32)}, InputValueError, "expected finite numbers, got a NaN"),
    "short": ({"gru0": np.zeros(32, np.float32)}, InputShapeError, r"expected shape \(33,\), got \(32,\)"),
    "matrix": ({"gru0": np.zeros((1, 33), np.float32)}, InputShapeError, r"expected shape \(33,\), got \(1, 33\)"),
    "scalar": ({"gru0": np.float32(1)}, InputShapeError, r"expected shape \(33,\), got \(\)"),
    "another": ({"gru2": np.zeros(33, np.float32)}, InputShapeError, "expected one of the states"),
    "no name": ({7: np.zeros(33, np.float32)}, InputShapeError, "expected one of the states"),
    "complex": ({"gru0": np.zeros(33, complex)}, InputTypeError, "expected real numbers"),
    "None": ({"gru0": None}, InputTypeError, "expected real numbers"),
}


@pytest.mark.parametrize(("bad", "error", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_changes_nothing(bad: dict[Any, Any], error: type[GrurtError], message: str) -> None:
    good = states_of(TWO, np.random.default_rng(173))
    for holder in holders(TWO):
        before = holder.snapshot()
        for given in (bad, {**good, **bad}, {**{name: good[name] for name in [*good][1:]}, **bad}):
            with pytest.raises(error, match=message):
                holder.state = given
            assert holder.snapshot() == before
    with pytest.raises(InputTypeError, match="expected a mapping by name, got ndarray"):
        TWO.stream().state = good["gru0"]  # type: ignore[assignment]


def test_a_state_without_bound_beside_one_that_has_bounds() -> None:
    free = np.float32([np.inf, np.nan, 0, 1, -np.inf])
    for holder in holders(OPEN):
        holder.state = {"free": free, "bound": np.ones(4, np.float32)}
        assert holder.state["free"].tobytes() == free.tobytes()
        before = holder.snapshot()
        with pytest.raises(InputValueError, match="'bound': expected finite numbers"):
            holder.state = {"free": free, "bound": np.full(4, np.inf, np.float32)}
        assert holder.snapshot() == before
    for holder in holders(ONE, nonfinite="propagate"):
        holder.state = {"gru0": np.full(17, np.nan, np.float32)}
        assert np.isnan(holder.state["gru0"]).all()


def test_the_kernels_take_vectors_only() -> None:
    for model, takes in ((ONE, True), (TWO, True), (RING, False), (STATELESS, False)):
        writer = StateWriter(model, refuse_nonfinite=True)
        assert (writer.values(states_of(model, RNG)) is not None) is takes


def test_references_are_counted_right() -> None:
    stream, pool, given = ONE.stream(), ONE.pool(2), states_of(ONE, RNG)
    before = sys.getrefcount(given), sys.getrefcount(given["gru0"])
    for _ in range(50):
        stream.state = given
        pool.set_state(1, given)
    assert (sys.getrefcount(given), sys.getrefcount(given["gru0"])) == before


def test_a_pool_that_has_grown() -> None:
    pool, given = ONE.pool(1), states_of(ONE, RNG)
    for _ in range(40):
        pool.add()
    pool.set_state(33, given)
    assert pool.state(33)["gru0"].tobytes() == given["gru0"].tobytes()
    assert {pool.snapshot(i) for i in range(41) if i != 33} == {ONE.stream().snapshot()}
    stream = ONE.stream()
    stream.state = given
    twin = stream.fork()
    twin.state = {"gru0": -given["gru0"]}
    assert stream.state["gru0"].tobytes() == given["gru0"].tobytes()


def test_a_stream_in_use_is_not_set() -> None:
    stream, pool, given = ONE.stream(), ONE.pool(2), states_of(ONE, RNG)

    def is_refused() -> None:
        with pytest.raises(ConcurrentUseError):
            stream.state = given

    def is_refused_too() -> None:
        with pytest.raises(ConcurrentUseError):
            pool.set_state(0, given)

    stream._context.exclusively(is_refused)
    pool._front.exclusively(is_refused_too)
    assert stream.snapshot() == pool.snapshot(0) == ONE.stream().snapshot()


def test_streams_of_one_model_in_many_threads() -> None:
    faults: list[object] = []

    def work(number: int) -> None:
        stream, own = ONE.stream(), np.full(17, number, np.float32)
        for _ in range(500):
            stream.state = {"gru0": own}
            if stream.state["gru0"].tobytes() != own.tobytes():
                faults.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
