"""A network: data that never change, and changed ones that share what has not changed."""

from __future__ import annotations

import contextlib
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import models
import numpy as np
import pytest

import grurt
from grurt import reference
from grurt.lowering.lower import plan_of
from grurt.network import values
from grurt.network.network import Network, once_per_network
from grurt.network.reference_run import ReferenceRun


@pytest.fixture
def network() -> Network:
    model = models.gru_model(3, 5, np.random.default_rng(11), output_size=2)
    return Network(layers=model.layers, weights=model.weights)


def test_a_changed_network_shares_the_arrays(network: Network) -> None:
    changed = network.replaced(outputs=[grurt.Output("state", "gru0")], signature=None)
    assert isinstance(changed, Network)
    assert [output.name for output in changed.outputs] == ["state"]
    assert all(np.shares_memory(changed.weights[name], array) for name, array in network.weights.items())
    assert [output.name for output in network.outputs] == ["y"]


def test_a_model_that_is_changed_is_a_model() -> None:
    model = models.gru_model(3, 5, np.random.default_rng(12))
    changed = model.replaced(source=grurt.Source(format="test"))
    assert isinstance(changed, grurt.Model)
    assert changed.source.format == "test"
    xs = models.random_inputs(model.inputs, 4, np.random.default_rng(13))["x"]
    np.testing.assert_array_equal(changed.run(xs), model.run(xs))


def test_what_has_not_changed_is_not_looked_through_again(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Any] = []
    isfinite = np.isfinite

    def counted(array: Any) -> Any:
        looked_at.append(array)
        return isfinite(array)

    monkeypatch.setattr(values.np, "isfinite", counted)
    head = np.ones((2, 5), np.float32)
    changed = network.replaced(weights={**network.weights, "head.weight": head})
    assert [np.shares_memory(array, changed.weights["head.weight"]) for array in looked_at] == [True]
    assert not np.shares_memory(changed.weights["head.weight"], head)


def test_an_array_is_shared_under_another_name_too(network: Network) -> None:
    renamed = {name.replace("head.", "out."): array for name, array in network.weights.items()}
    layers = [*network.layers[:1], grurt.Linear(name="out", input_size=5, output_size=2)]
    changed = network.replaced(layers=layers, weights=renamed, outputs=(), signature=None)
    assert np.shares_memory(changed.weights["out.weight"], network.weights["head.weight"])


def test_an_array_that_a_layer_wants_in_another_dtype_is_converted(network: Network) -> None:
    head = grurt.Linear(name="head", input_size=5, output_size=2, weight_format="float16")
    changed = network.replaced(layers=[*network.layers[:1], head])
    expected = Network(layers=[*network.layers[:1], head], weights=network.weights)
    assert changed.weights["head.weight"].dtype == np.float16
    assert changed.fingerprint == expected.fingerprint


def test_a_shared_array_is_not_taken_for_what_it_may_not_be(network: Network) -> None:
    norm = grurt.BatchNorm(name="norm", size=2)
    negative = network.replaced(weights={**network.weights, "head.bias": -np.ones(2)}).weights["head.bias"]
    other = network.replaced(weights={**network.weights, "head.bias": negative})
    norms = {f"norm.{name}": other.weights["head.bias"] for name in ("mean", "variance", "weight", "bias")}
    with pytest.raises(grurt.ModelError, match=r"weight norm\.variance: a variance must not be negative"):
        other.replaced(layers=[*other.layers, norm], weights={**other.weights, **norms}, outputs=(), signature=None)


def test_there_is_nothing_else_to_replace(network: Network) -> None:
    with pytest.raises(TypeError, match=r"^replaced: expected some of layers, weights, .*, got laers, name$"):
        network.replaced(name="x", laers=[])  # type: ignore[call-arg]


def test_what_has_changed_is_checked(network: Network) -> None:
    with pytest.raises(grurt.ModelError, match=r"weight head\.weight: expected finite numbers, got NaN"):
        network.replaced(weights={**network.weights, "head.weight": np.full((2, 5), np.nan)})
    wider = grurt.GRU(name="gru0", input_size=4, hidden_size=5, initial_state="learned")
    with pytest.raises(grurt.ModelError, match=r"weight gru0\.weight_ih: expected shape \(15, 4\), got \(15, 3\)"):
        network.replaced(layers=[wider, *network.layers[1:]], inputs=(), signature=None)


def test_a_network_never_changes(network: Network) -> None:
    with pytest.raises(AttributeError, match="a Network is immutable: 'layers' cannot be set"):
        network.layers = ()
    with pytest.raises(AttributeError, match="a Network is immutable: 'layers' cannot be deleted"):
        del network.layers
    with pytest.raises(ValueError, match="read-only"):
        network.weights["head.weight"][0] = 1


CHANGES: dict[str, Callable[[Any], object]] = {
    "strides": lambda array: setattr(array, "strides", (0, 4)),
    "shape": lambda array: setattr(array, "shape", array.shape[::-1]),
    "dtype": lambda array: setattr(array, "dtype", np.int32),
    "writeable": lambda array: array.setflags(write=True),
    "writeable below": lambda array: array.base.setflags(write=True),
    "resize": lambda array: array.resize((1, 5), refcheck=False),
    "resize below": lambda array: array.base.resize((1,), refcheck=False),
    "another state": lambda array: array.__setstate__((1, (1,), np.dtype(np.float32), False, b"\0" * 4)),
}


def of_bytes(array: Any) -> Any:
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
@pytest.mark.parametrize("take", [np.array, of_bytes], ids=["array", "bytes"])
def test_what_is_done_to_an_array_is_not_done_to_the_network(
    network: Network, change: Callable[[Any], object], take: Callable[[Any], Any]
) -> None:
    """Neither to one that was handed in, nor to one that was given out."""
    given = {name: take(array) for name, array in network.weights.items()}
    run = ReferenceRun({"x": np.zeros((1, 6, 3), np.float32)}, {"y": np.zeros((1, 6, 2), np.float32)}, "test")
    model = grurt.Model(layers=network.layers, weights=given, reference_run=run)
    weights = [given["gru0.weight_hh"], model.weights["gru0.weight_hh"], next(iter(model.weights.values()))]
    for array in (*weights, run.inputs["x"]):
        with contextlib.suppress(ValueError, AttributeError):
            change(array)
    assert model.fingerprint == network.fingerprint
    xs = np.ones((4, 3), np.float32)
    assert model.run(xs).tobytes() == grurt.Model.from_network(network).run(xs).tobytes()
    assert run.inputs["x"].shape == (1, 6, 3)
    assert model.weights["gru0.weight_hh"].tobytes() == network.weights["gru0.weight_hh"].tobytes()
    assert not any(array.flags.writeable for array in model.weights.values())


def test_the_arrays_of_a_network_show_themselves_and_can_be_pickled(network: Network) -> None:
    assert repr(network.weights).startswith("FrozenArrays({'gru0.weight_ih': array([[")
    copied = pickle.loads(pickle.dumps(network.weights))
    assert {name: array.tobytes() for name, array in copied.items()} == {
        name: array.tobytes() for name, array in network.weights.items()
    }
    assert len(copied) == len(network.weights)
    assert not any(array.flags.writeable for array in copied.values())


def test_a_model_of_a_network_computes_what_it_says(network: Network) -> None:
    model = grurt.Model.from_network(network)
    assert all(np.shares_memory(model.weights[name], array) for name, array in network.weights.items())
    assert model.fingerprint == network.fingerprint
    inputs = models.random_inputs(model.inputs, 6, np.random.default_rng(14))
    expected, _ = reference.run(network, inputs)
    np.testing.assert_allclose(model.run(inputs["x"]), expected["y"], rtol=0, atol=2e-6)
    assert repr(network).replace("Network", "Model") == repr(model)


def test_a_plan_is_made_once_and_goes_with_its_network() -> None:
    model = models.gru_model(3, 5, np.random.default_rng(17))
    assert plan_of(model) is plan_of(model)
    weights = weakref.ref(plan_of(model).weights)
    del model
    gc.collect()
    assert weights() is None


def test_what_is_kept_goes_with_the_network() -> None:
    class Kept:
        pass

    of_network = once_per_network(lambda network: Kept())
    model = models.gru_model(2, 3, np.random.default_rng(15))
    kept = weakref.ref(of_network(model))
    assert of_network(model) is kept()
    del model
    gc.collect()
    assert kept() is None


def test_threads_that_ask_at_the_same_time_get_the_same() -> None:
    arrived = threading.Barrier(4)
    found: list[object] = []

    def slow(network: Network) -> object:
        arrived.wait()
        return object()

    of_network = once_per_network(slow)
    model = models.gru_model(2, 3, np.random.default_rng(16))
    threads = [threading.Thread(target=lambda: found.append(of_network(model))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_what_is_shown_of_a_network_of_many_layers_is_short() -> None:
    layers = [grurt.Activation(name=f"{i}", function=grurt.Relu()) for i in range(1000)]
    model = grurt.Model(layers=layers, weights={}, inputs=[grurt.Input("x", 1)])
    assert repr(model).endswith("activation and 992 more: 0 parameters>")
    assert len(repr(model)) < 400
