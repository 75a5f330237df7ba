"""Weights of hand-written networks, in every layout, against the equations that their authors wrote."""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grurt import reference
from grurt.converters import convert
from grurt.errors import ConversionError, DescriptionError, UnsupportedError

TOLERANCE = 2e-6
SIZE, HIDDEN, STEPS = 5, 4, 7

Array = np.ndarray[Any, np.dtype[Any]]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def weights(seed: int = 0) -> dict[str, Array]:
    """Return the three gates' matrices and biases by names such as W_z, R_z, b_z, c_z; rows are outputs."""
    rng = np.random.default_rng(seed)
    found = {}
    for gate in "zrn":
        found |= {f"W_{gate}": rng.normal(size=(HIDDEN, SIZE)), f"R_{gate}": rng.normal(size=(HIDDEN, HIDDEN))}
        found |= {f"b_{gate}": rng.normal(size=HIDDEN), f"c_{gate}": rng.normal(size=HIDDEN)}
    return found


def author(w: dict[str, Array], xs: Array, h: Array, reset: str, update: str) -> Array:
    """Compute the states ``(n_steps, hidden)`` as the author of a network might, in float64."""
    states = []
    for x in xs:
        z = sigmoid(w["W_z"] @ x + w["b_z"] + w["R_z"] @ h + w["c_z"])
        r = sigmoid(w["W_r"] @ x + w["b_r"] + w["R_r"] @ h + w["c_r"])
        if reset == "after":
            n = np.tanh(w["W_n"] @ x + w["b_n"] + r * (w["R_n"] @ h + w["c_n"]))
        else:
            n = np.tanh(w["W_n"] @ x + w["b_n"] + w["R_n"] @ (r * h) + w["c_n"])
        h = (1 - z) * n + z * h if update == "keep" else (1 - z) * h + z * n
        states.append(h)
    return np.array(states)


def stacked(w: dict[str, Array], gates: str, layout: str) -> dict[str, Array]:
    arrays = {part: np.concatenate([w[f"{part}_{gate}"] for gate in gates]) for part in "WRbc"}
    return {name: array.T if layout == "columns" else array for name, array in arrays.items()}


STACKED = "gru(gru, weight_ih=W, weight_hh=R, bias_ih=b, bias_hh=c, gates={}, reset={}, update={})"


SAID = "gates=zrn, reset=after, update=keep"


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("update", ["keep", "replace"])
@pytest.mark.parametrize("reset", ["after", "before"])
def test_every_convention(reset: str, update: str, layout: str) -> None:
    w, rng = weights(), np.random.default_rng(1)
    xs, h = rng.normal(size=(STEPS, SIZE)), rng.uniform(-1, 1, HIDDEN)
    for gates in map("".join, itertools.permutations("zrn")):
        arrays = stacked(w, gates, layout) | {"h": h}
        description = STACKED.format(gates, reset, f"{update}, initial_state=h")
        model = convert(arrays, description, reference=False)
        outputs, _ = reference.run(model, {"x": xs})
        np.testing.assert_allclose(outputs["y"], author(w, xs, h, reset, update), atol=TOLERANCE, rtol=0)


def test_the_engine_gives_the_same_numbers() -> None:
    pytest.importorskip("torch")
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE)).astype(np.float32)
    model = convert(stacked(w, "zrn", "columns"), STACKED.format("zrn", "before", "replace"))
    expected = author(w, xs.astype(np.float64), np.zeros(HIDDEN), "before", "replace")
    np.testing.assert_allclose(model.run(xs), expected, atol=TOLERANCE, rtol=0)
    assert model.reference_run is not None


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_an_array_for_each_gate(layout: str) -> None:
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    arrays = {name: array.T if layout == "columns" else array for name, array in w.items()}
    description = (
        "gru(gru, weight_ih=W_r+W_z+W_n, weight_hh=R_r+R_z+R_n, bias_ih=b_r+b_z+b_n, bias_hh=c_r+c_z+c_n, "
        f"gates=rzn, layout={layout}, reset=after, update=keep)"
    )
    outputs, _ = reference.run(convert(arrays, description, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], author(w, xs, np.zeros(HIDDEN), "after", "keep"), atol=TOLERANCE, rtol=0)


def test_one_bias_is_enough() -> None:
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    arrays = stacked(w, "zrn", "rows")
    for kept, other in ("bc", "cb"):
        single = {name: array for name, array in arrays.items() if name != other}
        description = STACKED.format("zrn", "after", "keep").replace(
            f", bias_{'hh' if other == 'c' else 'ih'}={other}", ""
        )
        outputs, _ = reference.run(convert(single, description, reference=False), {"x": xs})
        w0 = w | {f"{other}_{gate}": np.zeros(HIDDEN) for gate in "zrn"}
        expected = author(w0, xs, np.zeros(HIDDEN), "after", "keep")
        np.testing.assert_allclose(outputs["y"], expected, atol=TOLERANCE, rtol=0, err_msg=kept)


def joined_weights(w: dict[str, Array], order: str, layout: str) -> dict[str, Array]:
    """Return for each gate one matrix for the state and the input side by side, such as V_z."""
    both = {gate: {"h": w[f"R_{gate}"], "x": w[f"W_{gate}"]} for gate in "zrn"}
    matrices = {f"V_{gate}": np.concatenate([both[gate][part] for part in order], axis=1) for gate in "zrn"}
    return {name: matrix.T if layout == "columns" else matrix for name, matrix in matrices.items()}


def papers(w: dict[str, Array], xs: Array, order: str, reset: str, update: str) -> Array:
    """Compute the states as papers write them: each gate of ``[h, x]`` or ``[x, h]``, in float64."""
    v = joined_weights(w, order, "rows")

    def on_both(gate: str, h: Array, x: Array) -> Array:
        return v[f"V_{gate}"] @ np.concatenate([h, x] if order == "hx" else [x, h])

    h, states = np.zeros(HIDDEN), []
    for x in xs:
        z, r = (sigmoid(on_both(gate, h, x) + w[f"b_{gate}"]) for gate in "zr")
        if reset == "before":
            n = np.tanh(on_both("n", r * h, x) + w["b_n"])
        else:
            n = np.tanh(on_both("n", 0 * h, x) + r * on_both("n", h, 0 * x) + w["b_n"])
        h = (1 - z) * n + z * h if update == "keep" else (1 - z) * h + z * n
        states.append(h)
    return np.array(states)


@pytest.mark.parametrize("order", ["hx", "xh"])
@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize(("reset", "update"), [("before", "replace"), ("before", "keep"), ("after", "keep")])
def test_one_matrix_for_state_and_input(order: str, layout: str, reset: str, update: str) -> None:
    """As three arrays, as those of both gates and of the candidate, and as one."""
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    arrays = joined_weights(w, order, layout) | {f"b_{gate}": w[f"b_{gate}"] for gate in "zrn"}
    axis = 1 if layout == "columns" else 0
    arrays["V_gates"] = np.concatenate([arrays["V_r"], arrays["V_z"]], axis=axis)
    arrays["V"] = np.concatenate([arrays["V_gates"], arrays["V_n"]], axis=axis)
    arrays["b"] = np.concatenate([arrays[f"b_{gate}"] for gate in "rzn"])
    expected = papers(w, xs, order, reset, update)
    for weight, bias, laid in (
        ("V_r+V_z+V_n", "b_r+b_z+b_n", f", layout={layout}"),
        ("V_gates+V_n", "b", f", layout={layout}"),
        ("V", "b", ""),
    ):
        options = f"joined={order}, gates=rzn, reset={reset}, update={update}{laid}"
        named = {*weight.split("+"), *bias.split("+")}
        model = convert(
            {name: arrays[name] for name in named},
            f"gru(gru, weight={weight}, bias={bias}, {options})",
            reference=False,
        )
        outputs, _ = reference.run(model, {"x": xs})
        np.testing.assert_allclose(outputs["y"], expected, atol=TOLERANCE, rtol=0, err_msg=weight)


def test_a_module_of_one_matrix_for_state_and_input() -> None:
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    matrices = joined_weights(w, "xh", "rows")
    arrays = {
        "cell.weight": np.concatenate([matrices[f"V_{gate}"] for gate in "zrn"]),
        "cell.bias": np.concatenate([w[f"b_{gate}"] for gate in "zrn"]),
    }
    model = convert(arrays, "cell(gru, joined=xh, gates=zrn, reset=before, update=keep)", reference=False)
    outputs, _ = reference.run(model, {"x": xs})
    np.testing.assert_allclose(outputs["y"], papers(w, xs, "xh", "before", "keep"), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("layout", ["rows", "columns"])
@pytest.mark.parametrize("absent", ["R_n", "W_r", "R_z", "b_z"])
def test_blocks_that_a_cell_does_not_have(absent: str, layout: str) -> None:
    """Such as a candidate without recurrence: ``0`` stands for its block, in matrices of one value and of both."""
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    w |= {f"c_{gate}": np.zeros(HIDDEN) for gate in "zrn"} | {absent: np.zeros_like(w[absent])}
    names = {part: "+".join("0" if f"{part}_{g}" == absent else f"{part}_{g}" for g in "zrn") for part in "WRb"}
    arrays = {
        name: array.T if layout == "columns" else array
        for name, array in w.items()
        if name != absent and not name.startswith("c")
    }
    options = f"gates=zrn, layout={layout}, reset=before, update=replace"
    expected = author(w, xs, np.zeros(HIDDEN), "before", "replace")
    described = f"gru(gru, weight_ih={names['W']}, weight_hh={names['R']}, bias_ih={names['b']}, {options})"
    outputs, _ = reference.run(convert(arrays, described, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], expected, atol=TOLERANCE, rtol=0)
    joined = joined_weights(w, "hx", layout) | {name: array for name, array in arrays.items() if name.startswith("b")}
    if absent != "b_z":  # the matrix of that gate is on one of them only
        joined[f"V_{absent[-1]}"] = arrays[f"{'W' if absent.startswith('R') else 'R'}_{absent[-1]}"]
    described = f"gru(gru, weight=V_z+V_r+V_n, bias={names['b']}, joined=hx, {options})"
    outputs, _ = reference.run(convert(joined, described, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], expected, atol=TOLERANCE, rtol=0)


def test_a_cell_without_recurrent_weights() -> None:
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    w |= {name: np.zeros_like(array) for name, array in w.items() if name.startswith(("R", "c"))}
    arrays = {name: array for name, array in stacked(w, "zrn", "rows").items() if name in "Wb"}
    described = "gru(gru, weight_ih=W, weight_hh=0, bias_ih=b, gates=zrn, layout=rows, reset=after, update=keep)"
    outputs, _ = reference.run(convert(arrays, described, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], author(w, xs, np.zeros(HIDDEN), "after", "keep"), atol=TOLERANCE, rtol=0)


def test_backward_and_bidirectional_cells() -> None:
    w, back, xs = weights(), weights(7), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    options = "gates=zrn, reset=before, update=keep"
    there = author(w, xs, np.zeros(HIDDEN), "before", "keep")
    backwards = author(back, xs[::-1], np.zeros(HIDDEN), "before", "keep")[::-1]
    described = f"gru(gru, weight_ih=W, weight_hh=R, bias_ih=b, bias_hh=c, {options}, direction=reverse)"
    model = convert(stacked(back, "zrn", "rows"), described, reference=False)
    outputs, _ = reference.run(model, {"x": xs})
    np.testing.assert_allclose(outputs["y"], backwards, atol=TOLERANCE, rtol=0)
    both = stacked(w, "zrn", "rows") | {f"{n}_back": array for n, array in stacked(back, "zrn", "rows").items()}
    described = (
        "gru(gru, weight_ih=W, weight_hh=R, bias_ih=b, bias_hh=c, weight_ih_reverse=W_back, weight_hh_reverse=R_back, "
        f"bias_ih_reverse=b_back, bias_hh_reverse=c_back, {options})"
    )
    outputs, _ = reference.run(convert(both, described, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], np.concatenate([there, backwards], axis=1), atol=TOLERANCE, rtol=0)
    outputs, _ = reference.run(convert(both, f"{described}, final", reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], np.concatenate([there[-1], backwards[0]]), atol=TOLERANCE, rtol=0)
    joined = {
        f"{name}{suffix}": array for suffix, gates in (("", w), ("_back", back)) for name, array in both_joined(gates)
    }
    described = (
        f"gru(gru, weight=V, bias=b, weight_reverse=V_back, bias_reverse=b_back, joined=hx, {options}, initial_state=h)"
    )
    start = np.random.default_rng(2).uniform(-1, 1, (2, HIDDEN))
    for gates in (w, back):
        gates |= {f"c_{gate}": np.zeros(HIDDEN) for gate in "zrn"}
    there = author(w, xs, start[0], "before", "keep")
    backwards = author(back, xs[::-1], start[1], "before", "keep")[::-1]
    outputs, _ = reference.run(convert(joined | {"h": start}, described, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], np.concatenate([there, backwards], axis=1), atol=TOLERANCE, rtol=0)


def both_joined(w: dict[str, Array]) -> list[tuple[str, Array]]:
    matrices = joined_weights(w, "hx", "rows")
    return [
        ("V", np.concatenate([matrices[f"V_{gate}"] for gate in "zrn"])),
        ("b", np.concatenate([w[f"b_{gate}"] for gate in "zrn"])),
    ]


def test_a_direction_beside_weights_of_both() -> None:
    w = stacked(weights(), "zrn", "rows")
    described = "gru(gru, weight_ih=W, weight_hh=R, weight_ih_reverse=W, weight_hh_reverse=R, direction=reverse"
    with pytest.raises(DescriptionError, match="expected a GRU of one layer and direction beside the option direction"):
        convert(w, f"{described}, gates=zrn, reset=before, update=keep)")


def test_activations_of_the_gates_in_one_line() -> None:
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    options = (
        "gates=zrn, reset=after, update=replace, gate_activation=hard_sigmoid(0.2, 0.5), candidate_activation=relu"
    )
    described = f"gru(gru, weight_ih=W, weight_hh=R, bias_ih=b, bias_hh=c, {options})"
    outputs, _ = reference.run(convert(stacked(w, "zrn", "rows"), described, reference=False), {"x": xs})
    np.testing.assert_allclose(outputs["y"], hard_author(w, xs), atol=TOLERANCE * 10, rtol=1e-6)


def hard_author(w: dict[str, Array], xs: Array) -> Array:
    """Compute the states of a cell with Keras's older hard sigmoid, and a candidate by relu."""
    h, states = np.zeros(HIDDEN), []
    for x in xs:
        z, r = (
            np.clip(0.2 * (w[f"W_{g}"] @ x + w[f"b_{g}"] + w[f"R_{g}"] @ h + w[f"c_{g}"]) + 0.5, 0, 1) for g in "zr"
        )
        n = np.maximum(w["W_n"] @ x + w["b_n"] + r * (w["R_n"] @ h + w["c_n"]), 0)
        h = (1 - z) * h + z * n
        states.append(h)
    return np.array(states)


def test_a_whole_network_of_arrays(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    w = weights()
    arrays = stacked(w, "zrn", "columns") | {
        "emb": rng.normal(size=(9, SIZE)),
        "V": rng.normal(size=(HIDDEN, 3)),
        "c_out": rng.normal(size=3),
    }
    np.savez(tmp_path / "weights.npz", **arrays)
    np.savez_compressed(tmp_path / "compressed.npz", **arrays)
    description = (
        f"emb(embedding, weight=emb), {STACKED.format('zrn', 'before', 'keep')}, fc(linear, weight=V, bias=c_out):relu"
    )
    tokens = rng.integers(9, size=STEPS)
    states = author(w, arrays["emb"][tokens], np.zeros(HIDDEN), "before", "keep")
    expected = np.maximum(states @ arrays["V"] + arrays["c_out"], 0)
    for name in ("weights.npz", "compressed.npz"):
        model = convert(tmp_path / name, description, reference=False)
        outputs, _ = reference.run(model, {"x": tokens})
        np.testing.assert_allclose(outputs["y"], expected, atol=TOLERANCE * 5, rtol=0)
        assert model.source.format == "arrays"


def test_convolutions_normalizations_and_slopes_of_arrays() -> None:
    rng = np.random.default_rng(3)
    kernel, xs = rng.normal(size=(3, SIZE, 2)), rng.normal(size=(STEPS, SIZE))
    arrays = {"k": kernel, "k_b": rng.normal(size=2), "mean": rng.normal(size=2), "var": rng.uniform(1, 2, 2)}
    arrays["slope"] = rng.uniform(0.1, 0.5, 2)
    description = (
        "conv(conv1d, weight=k, bias=k_b, layout=columns), bn(batch_norm, running_mean=mean, running_var=var), "
        "act(prelu, weight=slope)"
    )
    outputs, _ = reference.run(convert(arrays, description, reference=False), {"x": xs})
    padded = np.concatenate([np.zeros((2, SIZE)), xs])
    convolved = np.array([sum(padded[t + k] @ kernel[k] for k in range(3)) for t in range(STEPS)]) + arrays["k_b"]
    normal = (convolved - arrays["mean"]) / np.sqrt(arrays["var"] + 1e-5)
    expected = np.where(normal >= 0, normal, arrays["slope"] * normal)
    np.testing.assert_allclose(outputs["y"], expected, atol=TOLERANCE * 5, rtol=0)


def test_activations_of_the_gates(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "layers.toml").write_text(
        '[[layers]]\nmodule = "gru"\nkind = "gru"\ngates = "zrn"\nreset = "after"\nupdate = "replace"\n'
        'gate_activation = "hard_sigmoid(0.2, 0.5)"\ncandidate_activation = "relu"\n'
        'arrays = {weight_ih = "W", weight_hh = "R", bias_ih = "b", bias_hh = "c"}\n'
    )
    w, xs = weights(), np.random.default_rng(1).normal(size=(STEPS, SIZE))
    model = convert(stacked(w, "zrn", "rows"), tmp_path / "layers.toml", reference=False)
    outputs, _ = reference.run(model, {"x": xs})
    np.testing.assert_allclose(outputs["y"], hard_author(w, xs), atol=TOLERANCE * 10, rtol=1e-6)
    assert convert(stacked(w, "zrn", "rows"), tmp_path / "layers.toml").reference_run is not None


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (None, r"These are not the names of PyTorch's modules\. Say which array is what"),
        ("g(gru, weight_ih=W, weight_hh=R)", r"layer 'g': expected a description of what the arrays .* say gates=zrn"),
        ("g(gru, weight_ih=W, weight_hh=R, gates=zrn, reset=after)", r"say update=keep if h' = \(1 - z\) \* n"),
        ("g(weight_ih=W)", "layer 'g': expected its kind beside the names of its arrays, got none"),
        ("g(linear, weight_ih=W)", "expected the parameters weight, bias of linear, got 'weight_ih'"),
        ("g(linear, weight=U)", "layer 'g': expected an array, got none called 'U' for weight; there are W, R, b, c"),
        ("g(linear, weight=R)", r"expected a shape that shows which axis is the outputs', got \(12, 4\)"),
        ("g(linear, weight=W+R)", "expected the layout of the matrices in weight, got none"),
        ("g(linear, weight=W+R, layout=rows)", r"fit side by side in weight, got \(12, 5\), \(12, 4\)"),
        (f"g(linear, weight={'+'.join('W' * 17)})", "layer 'g': expected at most 16 arrays for weight, got 17"),
        ("g(linear, weight=R, gates=zrn)", "gates is an option of gru, not linear"),
        (STACKED.format("zrn", "after", "keep, layout=columns"), "expected three blocks of outputs, one"),
        (STACKED.format("zzn", "after", "keep"), "gates: expected one of nrz, nzr, rnz, rzn, znr, zrn, got 'zzn'"),
        (
            "g(gru, weight_ih=W, weight_hh=b, gates=zrn, reset=after, update=keep)",
            r"expected weight_hh of shape \(3 \* hidden, hidden\) or \(hidden, 3 \* hidden\), got \(12,\)",
        ),
        (f"g(gru, weight_ih=W, weight_hh=R, bias_ih=b, {SAID})", "3 that none uses: c, odd"),
        (f"g(gru, weight=W, {SAID})", r"say joined=hx if it computes W @ \[h, x\], joined=xh if W @ \[x, h\]"),
        (f"g(gru, weight=W, weight_hh=R, joined=hx, {SAID})", "got another choice; say joined=hx if"),
        (f"g(gru, weight_ih=W, weight_hh=R, joined=hx, {SAID})", "for state and input beside the option joined, got"),
        (f"g(gru, weight=c, joined=hx, {SAID})", r"a weight of shape \(3 \* hidden, hidden \+ inputs\), or with"),
        (f"g(gru, weight_hh=R, {SAID})", "module 'g': expected a tensor 'weight_ih', got only weight_hh"),
        (f"g(gru, weight_ih=W, weight_hh=0, {SAID})", "say layout=rows or layout=columns where there is none"),
        (f"g(gru, weight_ih=W+0+R, layout=rows, {SAID})", "fit side by side in weight_ih, got"),
        (f"g(gru, weight_ih=W, weight_hh=R, bias_ih=b+0+0+0, {SAID})", "their outputs are not those of a number of ga"),
        (f"g(gru, weight_ih=W, weight_hh=R, bias_ih=odd+0, {SAID})", "their outputs are not those of a number of gat"),
        (f"g(gru, weight=R+V, joined=hx, layout=rows, {SAID})", "one reads neither all, nor the state alone or the"),
        ("g(linear, weight=W+0, layout=rows)", "expected an array, got none called '0' for weight"),
        (f"g(gru, joined=xh, weight=W+R, layout=rows, {SAID})", "fit side by side in weight, got"),
    ],
)  # fmt: skip
def test_descriptions_that_do_not_fit(description: str | None, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        convert(stacked(weights(), "zrn", "rows") | {"odd": np.ones(5), "V": np.ones((24, 9))}, description)


def test_an_update_gate_that_cannot_be_inverted(tmp_path: Path) -> None:
    (tmp_path / "layers.toml").write_text(
        '[[layers]]\nmodule = "gru"\nkind = "gru"\ngates = "zrn"\nreset = "after"\nupdate = "replace"\n'
        'gate_activation = "relu"\narrays = {weight_ih = "W", weight_hh = "R"}\n'
    )
    with pytest.raises(DescriptionError, match=r"expected a gate activation f with f\(-a\) = 1 - f\(a\).* got relu"):
        convert(stacked(weights(), "zrn", "rows"), tmp_path / "layers.toml")


def archive(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, data in entries.items():
            zipped.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


SOUND = npy(np.ones(3))


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (npy(np.array([{}]), allow_pickle=True), UnsupportedError, "expected numbers, got Python objects"),
        (npy(np.ones(3, complex)), UnsupportedError, "expected real numbers, got the dtype complex128"),
        (npy(np.array(["a"])), UnsupportedError, "expected real numbers, got the dtype <U1"),
        (SOUND[:-1], ConversionError, "expected 24 bytes for its shape .3,., got 23; the file is damaged"),
        (SOUND.replace(b"(3,)", b"(9,)"), ConversionError, "expected 72 bytes for its shape .9,., got 24"),
        (SOUND.replace(b"(3,), }", b"(3+1,)}"), ConversionError, "expected a sound .npy entry, got damage"),
        (SOUND[:20], ConversionError, "array 'w': expected a sound .npy entry, got damage"),
        (b"", ConversionError, "array 'w': expected a sound .npy entry, got damage"),
        (SOUND[:6] + b"\x09\x00" + SOUND[8:], ConversionError, "got damage: no magic string, or an unknown version"),
        (SOUND[:8] + b"\xff\xff" + SOUND[10:], ConversionError, "got damage: a header of 65535 bytes"),
    ],
)
def test_damaged_archives(data: bytes, error: type[Exception], message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(archive(w=data))
    with pytest.raises(error, match=message):
        convert(path, "fc(linear, weight=w)")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    with zipfile.ZipFile(path, "w") as zipped:
        for _ in range(3):
            zipped.writestr("w.npy", SOUND)
    with pytest.raises(
        ConversionError,
        match="checkpoint: expected entries with a name each, got 3 with 1 names; the file is damaged or",
    ):
        convert(path, "fc(linear, weight=w)")


def test_archives_that_inflate_without_end(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez_compressed(path, w=np.zeros(1 << 25, np.float32))
    with pytest.raises(ConversionError, match=r"expected entries within the file's size, got 'w\.npy'"):
        convert(path, "fc(linear, weight=w)")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"w": [[1], [2, 3]]}, "array 'w': expected an array, got list"),
        ({3: [1.0]}, "names that are strings, got 3"),
    ],
)
def test_things_that_are_no_arrays(arrays: Any, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(arrays, "fc(linear, weight=w)")
