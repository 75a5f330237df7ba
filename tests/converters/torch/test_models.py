"""Models of state dicts and their descriptions, against what torch gives for the same weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
import safetensors.torch
import torch
from checkpoints import DATA
from paths import ROOT
from torch import nn

import grurt
from grurt.converters import Description, LayerDescription, convert, describe
from grurt.converters.gates import zrn_from_rzn
from grurt.converters.torch.assembly.evaluation import reference_run
from grurt.errors import ConversionError, DescriptionError, UnsupportedError
from grurt.network.signature import StatePort, ValuePort

TOLERANCE = 2e-6

RESIDUAL = """
layers = [
    {module = "p", functions = ["leaky_relu(0.1)"]},
    {module = "g1"},
    {kind = "add", name = "first", inputs = ["p", "g1"]},
    {module = "g2"},
    {kind = "add", inputs = ["first", "g2"], functions = ["gelu"]},
    {module = "fc"},
]
"""


def from_stored(name: str, layers: Any) -> grurt.Model:
    return convert(DATA / name, layers=layers, reference=False)


def run_from(model: grurt.Model, xs: Any, states: dict[str, Any]) -> Any:
    """Run a batch of sequences from initial states ``(batch, hidden_size)`` by layer, as the signature lets us."""
    signature = grurt.Signature(
        (
            *model.signature.inputs,
            *(
                StatePort(name=f"{name}.h", states=(name,), dtype="float32", axes=("batch", "feature"))
                for name in states
            ),
        ),
        (
            *model.signature.outputs,
            *(
                StatePort(name=f"{name}.h", states=(name,), dtype="float32", axes=("batch", "feature"))
                for name in states
            ),
        ),
    )
    same = grurt.Model(
        layers=model.layers, weights=model.weights, inputs=model.inputs, outputs=model.outputs, signature=signature
    )
    return same.run({"x": xs} | {f"{name}.h": state for name, state in states.items()})


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("a_noh0_bf", "gru"),
        ("b_lasthidden", "gru, last, fc"),
        ("b_lasthidden", "gru, final, fc"),
        ("c_eachstep_bf", "gru, fc"),
        ("d_bi", "gru, fc"),
        ("h_nsnet2", "fc1:relu, gru1, gru2, fc2:relu, fc3:relu, fc4:sigmoid"),
        ("j_conv_causal", "conv:tanh, gru, fc"),
        ("k_norms", "bn, gru, ln, fc"),
    ],
)
def test_stored_networks(name: str, layers: str) -> None:
    model = from_stored(f"{name}.pt", layers)
    arrays = checkpoints.stored(f"{name}.npz")
    np.testing.assert_allclose(model.run(arrays["in_x"]), arrays["out_y"], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("name", "layers", "states", "given", "outputs"),
    [
        ("a_h0_bf", "gru", ["gru"], ("in_x", "in_h0"), ("out_y", "out_hn")),
        ("g_nobias", "gru", ["gru"], ("in_x", "in_h0"), ("out_y", "out_hn")),
        ("c_eachstep_state2", "gru, fc", ["gru.l0", "gru.l1"], ("in_x", "in_h0"), ("out_y", "out_hn")),
        ("e_charlm", "emb(embedding), gru, fc:log_softmax", ["gru"], ("in_tok", "in_h0"), ("out_logp", "out_hn")),
        ("l_residual", RESIDUAL, ["g1", "g2"], ("in_x", "in_h"), ("out_y", "out_hn")),
    ],
)
def test_stored_networks_from_their_states(
    name: str, layers: str, states: list[str], given: tuple[str, str], outputs: tuple[str, str], tmp_path: Path
) -> None:
    described: Any = layers
    if layers is RESIDUAL:
        described = tmp_path / "layers.toml"
        described.write_text(layers)
    model = from_stored(f"{name}.pt", described)
    arrays = checkpoints.stored(f"{name}.npz")
    found = run_from(model, arrays[given[0]], dict(zip(states, arrays[given[1]], strict=True)))
    np.testing.assert_allclose(found["y"], arrays[outputs[0]], atol=TOLERANCE, rtol=0)
    for layer, state in zip(states, arrays[outputs[1]], strict=True):
        np.testing.assert_allclose(found[f"{layer}.h"], state, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("sd_zip.pt", "gru, fc"),
        ("sd_legacy.pt", "gru, fc"),
        ("sd_dataparallel.pt", "gru, fc"),
        ("sd_dataparallel.pt", "module.gru, module.fc"),
        ("ckpt_lightning.ckpt", "gru, fc"),
        ("ckpt_lightning.ckpt", "model.gru, model.fc, entry(state_dict)"),
        ("full_module.pt", "gru, fc"),
        ("model.safetensors", "gru, fc"),
        (
            "sd_views.pt",
            "gru, fc, ignore(tied), ignore(scalar), ignore(empty), ignore(expand), ignore(i64), ignore(bool)",
        ),
    ],
)
def test_one_network_saved_in_many_ways(name: str, layers: str) -> None:
    arrays = checkpoints.stored("io.npz")
    np.testing.assert_allclose(from_stored(name, layers).run(arrays["x"]), arrays["y"], atol=TOLERANCE, rtol=0)


def test_gru_saved_by_itself() -> None:
    arrays = checkpoints.stored("io.npz")
    model = from_stored("sd_bare_gru.pt", ".")
    assert [layer.name for layer in model.layers] == ["gru.l0", "gru.l1"]
    found = run_from(model, arrays["x"], {name: np.zeros((2, 8)) for name in model.state_shapes})
    for layer, state in zip(model.state_shapes, arrays["hn"], strict=True):
        np.testing.assert_allclose(found[f"{layer}.h"], state, atol=TOLERANCE, rtol=0)


def test_weight_norm_and_bfloat16() -> None:
    arrays = checkpoints.stored("sd_weightnorm_new_io.npz")
    model = from_stored("sd_weightnorm_new.pt", "gru, fc")
    np.testing.assert_allclose(model.run(arrays["x"]), arrays["y"], atol=TOLERANCE, rtol=0)
    arrays = checkpoints.stored("io.npz")
    rounded = from_stored("sd_bf16.pt", "gru, fc")
    np.testing.assert_allclose(rounded.run(arrays["x"]), arrays["y"], atol=2e-2, rtol=0)


def randomize(module: nn.Module, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                bound = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.7
                tensor.uniform_(0.5 if name.endswith("running_var") else -bound, bound, generator=generator)
    return module.eval()


class Encoder(nn.Module):
    """The modules that a description can name, in sizes that differ."""

    def __init__(self, hidden_size: int, *, layers: int = 1, bidirectional: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(6, 4, 3, dilation=2, groups=2, bias=bias)
        self.bn = nn.BatchNorm1d(4, eps=1e-3)
        self.gru = nn.GRU(4, hidden_size, layers, batch_first=True, bidirectional=bidirectional, bias=bias)
        self.ln = nn.LayerNorm(hidden_size * (1 + bidirectional), eps=1e-2, bias=bias)
        self.act = nn.PReLU(hidden_size * (1 + bidirectional))
        self.fc = nn.Linear(hidden_size * (1 + bidirectional), 5, bias=bias)
        self.one = nn.PReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(x.transpose(1, 2), (4, 0))
        xs, _ = self.gru(self.bn(self.conv(padded)).transpose(1, 2))
        normal = self.ln(xs).transpose(1, 2)
        return self.one(self.fc(self.act(normal).transpose(1, 2)))


ENCODER = [
    "conv(dilation=2, groups=2), bn(epsilon=1e-3), gru",
    "ln(layer_norm, epsilon=1e-2), act(prelu), fc(linear), one(prelu)",
]


@pytest.mark.parametrize("hidden_size", [1, 3, 16, 33])
@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (3, False), (1, True), (2, True)])
@pytest.mark.parametrize("bias", [False, True])
def test_fresh_networks(hidden_size: int, layers: int, bidirectional: bool, bias: bool, tmp_path: Path) -> None:
    module = randomize(Encoder(hidden_size, layers=layers, bidirectional=bidirectional, bias=bias), hidden_size)
    safetensors.torch.save_file(module.state_dict(), tmp_path / "encoder.safetensors")
    model = convert(tmp_path / "encoder.safetensors", layers=ENCODER, reference=False)
    xs = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = module(xs).numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(model.run(xs.numpy()), expected, atol=TOLERANCE * scale, rtol=0)


def save(tmp_path: Path, state_dict: dict[str, torch.Tensor]) -> Path:
    torch.save(state_dict, tmp_path / "net.pt")
    return tmp_path / "net.pt"


@pytest.mark.parametrize("layers", [1, 2])
def test_final_state_of_both_directions(layers: int, tmp_path: Path) -> None:
    gru = randomize(nn.GRU(3, 5, layers, bidirectional=True, batch_first=True), 1)
    model = convert(save(tmp_path, gru.state_dict()), layers="., final", reference=False)
    xs = torch.randn(2, 7, 3)
    with torch.no_grad():
        state = gru(xs)[1]
    expected = torch.cat([state[-2], state[-1]], dim=-1).numpy()
    np.testing.assert_allclose(model.run(xs.numpy()), expected, atol=TOLERANCE, rtol=0)
    assert model.unstreamable_reason is not None


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (3, False), (2, True)])
def test_final_states_of_all_layers(layers: int, bidirectional: bool, tmp_path: Path) -> None:
    """Behind another GRU: only the layers of one module count."""
    first = randomize(nn.GRU(3, 4, 2, batch_first=True), 2)
    gru = randomize(nn.GRU(4, 5, layers, bidirectional=bidirectional, batch_first=True), 1)
    state_dict = {f"first.{name}": tensor for name, tensor in first.state_dict().items()}
    state_dict |= {f"gru.{name}": tensor for name, tensor in gru.state_dict().items()}
    model = convert(save(tmp_path, state_dict), layers="first, gru, finals", reference=False)
    xs = torch.randn(2, 7, 3)
    with torch.no_grad():
        expected = gru(first(xs)[0])[1].permute(1, 0, 2).flatten(1).numpy()
    np.testing.assert_allclose(model.run(xs.numpy()), expected, atol=TOLERANCE, rtol=0)
    assert (model.unstreamable_reason is None) is not bidirectional


@pytest.mark.parametrize(("layers", "bidirectional"), [(1, False), (2, False), (2, True)])
def test_learned_initial_state(layers: int, bidirectional: bool, tmp_path: Path) -> None:
    gru = randomize(nn.GRU(3, 5, layers, bidirectional=bidirectional, batch_first=True), 1)
    state = torch.rand(layers * (1 + bidirectional), 1, 5) * 2 - 1
    weights = {f"rnn.{name}": tensor for name, tensor in gru.state_dict().items()} | {"h0": state}
    model = convert(save(tmp_path, weights), layers="rnn(initial_state=h0)", reference=False)
    xs = torch.randn(1, 7, 3)
    with torch.no_grad():
        expected = gru(xs, state)[0].numpy()
    np.testing.assert_allclose(model.run(xs.numpy()), expected, atol=TOLERANCE, rtol=0)


class EncoderDecoder(nn.Module):
    """As in docs/conversion.md."""

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(4, 5, batch_first=True), nn.GRU(3, 5, layers, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.fc(self.decoder(target, self.encoder(source)[1])[0])
        return result


def test_a_state_that_is_handed_over(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8")
    (text,) = (block for block in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "encoder" in block)
    (tmp_path / "layers.toml").write_text(text)
    module = randomize(EncoderDecoder(), 1)
    model = convert(save(tmp_path, module.state_dict()), layers=tmp_path / "layers.toml")
    source, target = torch.randn(2, 7, 4), torch.randn(2, 6, 3)
    with torch.no_grad():
        expected = module(source, target).numpy()
    found = model.run({"source": source.numpy(), "target": target.numpy()})
    assert isinstance(found, dict)
    np.testing.assert_allclose(found["y"], expected, atol=TOLERANCE, rtol=0)
    assert model.reference_run is not None
    with pytest.raises(DescriptionError, match="expected a GRU of one layer and direction to begin with a value, 'h'"):
        convert(save(tmp_path, EncoderDecoder(2).state_dict()), layers=tmp_path / "layers.toml")


def test_gru_cell(tmp_path: Path) -> None:
    cell = randomize(nn.GRUCell(3, 5), 1)
    model = convert(
        save(tmp_path, {f"cell.{k}": v for k, v in cell.state_dict().items()}), layers="cell", reference=False
    )
    xs = torch.randn(6, 3)
    state = torch.zeros(5)
    stream = model.stream()
    for x in xs:
        with torch.no_grad():
            state = cell(x, state)
        np.testing.assert_allclose(stream.step(x.numpy()), state.numpy(), atol=TOLERANCE, rtol=0)


class PapersCell(nn.Module):
    """The gates of the joined vector, each a Linear of its own, or both gates in one."""

    def __init__(self, *, joined: bool) -> None:
        super().__init__()
        self.joined = joined
        gates = {"gates": nn.Linear(8, 10)} if joined else {gate: nn.Linear(8, 5) for gate in GATES}
        self.cell = nn.ModuleDict(gates | {"candidate": nn.Linear(8, 5)})
        self.out = nn.Linear(5, 2)

    def forward(self, xs: torch.Tensor) -> torch.Tensor:
        h, hidden = torch.zeros(len(xs), 5), []
        for x in xs.unbind(1):
            both = torch.cat([x, h], dim=1)
            parts = self.cell["gates"](both).chunk(2, 1) if self.joined else [self.cell[g](both) for g in GATES]
            r, z = map(torch.sigmoid, parts)
            n = torch.tanh(self.cell["candidate"](torch.cat([x, r * h], dim=1)))
            h = (1 - z) * h + z * n
            hidden.append(h)
        result: torch.Tensor = self.out(torch.stack(hidden, dim=1))
        return result


GATES = ("reset_gate", "update_gate")


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_cell_of_linear_layers(prefix: str, joined: bool, tmp_path: Path) -> None:
    module = randomize(PapersCell(joined=joined), 1)
    parts = (*(("gates",) if joined else GATES), "candidate")
    weight, bias = ("+".join(f"cell.{part}.{name}" for part in parts) for name in ("weight", "bias"))
    cell = f"cell(gru, weight={weight}, bias={bias}, joined=xh, gates=rzn, layout=rows, reset=before, update=replace)"
    path = save(tmp_path, {f"{prefix}{name}": tensor for name, tensor in module.state_dict().items()})
    xs = torch.randn(2, 7, 3)
    with torch.no_grad():
        expected = module(xs).numpy()
    model = convert(path, f"{cell}, out")
    np.testing.assert_allclose(model.run(xs.numpy()), expected, atol=TOLERANCE, rtol=0)
    assert model.reference_run is not None


def test_a_module_used_very_often(tmp_path: Path) -> None:
    layers = [LayerDescription(module="fc", name=f"f{index}", kind="linear") for index in range(8)]
    with pytest.raises(DescriptionError, match="expected each module about once, got them so often that their weights"):
        convert({"fc.weight": np.zeros((700, 700))}, layers)
    assert len(convert({"fc.weight": np.zeros((700, 700))}, layers[:4], reference=False).layers) == 4


def test_module_used_twice_has_two_names(tmp_path: Path) -> None:
    linear = randomize(nn.Linear(4, 4), 1)
    path = save(tmp_path, {f"fc.{k}": v for k, v in linear.state_dict().items()})
    xs = torch.randn(6, 4)
    with torch.no_grad():
        expected = linear(linear(xs)).numpy()
    model = convert(path, layers="fc, fc(name=again)", reference=False)
    np.testing.assert_allclose(model.run(xs.numpy()), expected, atol=TOLERANCE, rtol=0)
    with pytest.raises(DescriptionError, match="the name 'fc' is used twice"):
        convert(path, layers="fc, fc", reference=False)


def test_modules_may_be_called_as_the_keywords(tmp_path: Path) -> None:
    gru, linear = randomize(nn.GRU(3, 4, batch_first=True), 1), randomize(nn.Linear(4, 2), 2)
    weights = {f"last.{k}": v for k, v in gru.state_dict().items()} | {
        f"final.{k}": v for k, v in linear.state_dict().items()
    }
    model = convert(save(tmp_path, weights), layers="last, (last_step), final", reference=False)
    assert [layer.kind for layer in model.layers] == ["gru", "last_step", "linear"]


def test_inputs_and_outputs_by_name() -> None:
    description = Description(
        layers=(LayerDescription(module="gru"), LayerDescription(module="fc", functions=(grurt.Softmax(),))),
        inputs=(grurt.Input("frame", 4),),
        outputs=(grurt.Output("classes", "fc"), grurt.Output("hidden", "gru")),
    )
    model = from_stored("c_eachstep_bf.pt", description)
    found = model.run({"frame": checkpoints.stored("c_eachstep_bf.npz")["in_x"]})
    assert found.keys() == {"classes", "hidden"}
    np.testing.assert_allclose(found["classes"].sum(axis=-1), 1, atol=1e-6)


def test_activation_before_the_first_weight_needs_the_input_size() -> None:
    with pytest.raises(DescriptionError, match="give the model's inputs"):
        from_stored("c_eachstep_bf.pt", ":tanh, gru, fc")
    layers = describe(":tanh, gru, fc").layers
    model = from_stored("c_eachstep_bf.pt", Description(layers=layers, inputs=(grurt.Input("x", 4),)))
    assert [layer.name for layer in model.layers] == ["activation", "gru", "fc"]


def test_gate_blocks_change_places() -> None:
    np.testing.assert_array_equal(
        zrn_from_rzn(np.array(["r", "r", "z", "z", "n", "n"])), ["z", "z", "r", "r", "n", "n"]
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            "gru",
            r"none uses: fc\.weight, fc\.bias; describe their layers, such as fc, or say that no answer .*ignore\(fc",
        ),
        ("gru, fc, ignore(ema)", r"ignore\(ema\): expected a tensor or module, got none"),
        ("fc, gru", "layer 'gru': expected an input of size 4, got 3; check which layers there are"),
        ("gru, head", "layer 'head': expected a module, got none of that name among gru, fc"),
        ("gru, head(linear)", "layer 'head': expected a module, got none among gru, fc"),
        (
            "gru(epsilon=1), fc",
            "layer 'gru': epsilon is an option of layer_norm, rms_norm, batch_norm and normalizer, not gru",
        ),
        ("gru, fc(groups=2)", "layer 'fc': groups is an option of conv1d, not linear"),
        ("gru(linear), fc", "module 'gru': expected a tensor 'weight', got only weight_ih_l0"),
        (
            "gru, fc(conv1d)",
            r"module 'fc': expected 'weight' to be of floating point with 3 axes, got float32 of shape",
        ),
        ("gru, fc, final", "layer 'final': expected the final state of a GRU, but 'fc' is none"),
        ("gru, last, last, fc", "expected a sequence, got a single vector"),
        ("gru, (add), fc", "expected 2 to 64 inputs, got 1"),
        ("gru, (activation), fc", "layer 'activation': expected functions, got none"),
        ("gru(initial_state=h0), fc", "initial_state: expected a tensor or an earlier layer, got none called 'h0'"),
        ("gru(initial_state=fc.weight), fc", "gru.initial_state: expected shape|expected the initial states"),
        (
            [LayerDescription(module="gru", inputs=("y",))],
            "expected the name of an earlier layer, got 'y'; there are x",
        ),
    ],
)
def test_descriptions_that_do_not_fit(layers: Any, message: str) -> None:
    with pytest.raises(DescriptionError, match=message):
        from_stored("c_eachstep_bf.pt", layers)


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.LSTM(3, 4), UnsupportedError, r"expected a GRU \(3 gates\), got an LSTM \(4 gates\); train a GRU"),
        (nn.LSTM(3, 4, proj_size=2), UnsupportedError, "got an LSTM with a projection"),
        (nn.RNN(3, 4), UnsupportedError, r"got a plain RNN \(1 gate\)"),
        (
            nn.Linear(3, 4, bias=False),
            DescriptionError,
            r"module 'm': its tensors, weight \(4, 3\), may be linear or embedding; write m\(linear\)",
        ),
        (nn.PReLU(3), DescriptionError, r"weight \(3,\), may be layer_norm or rms_norm or prelu"),
        (
            nn.Conv2d(1, 1, 3),
            UnsupportedError,
            r"got weight \(1, 1, 3, 3\); bias \(1,\); if the model does not need it",
        ),
        (nn.MultiheadAttention(4, 1), UnsupportedError, "module 'm': expected a GRU, Linear, Embedding"),
    ],
)
def test_modules_that_are_refused(module: nn.Module, error: type[Exception], message: str, tmp_path: Path) -> None:
    path = save(tmp_path, {f"m.{name}": tensor for name, tensor in module.state_dict().items()})
    with pytest.raises(error, match=message):
        convert(path, layers="m", reference=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_ih_l0": torch.ones(11, 3)}, "module .*: expected 3 \\* 4 rows in weight_ih_l0, got"),
        ({"bias_ih_l0": torch.ones(11)}, "expected 3 \\* 4 rows in bias_ih_l0, got"),
        ({"weight_hh_l0": torch.ones(10, 4)}, r"expected weight_hh of shape \(3 \* hidden, hidden\), got \(10, 4\)"),
        ({"weight_hh_l0": torch.ones(12)}, "expected the weight_ih and weight_hh of a GRU"),
        ({"weight_hh_l0": torch.full((12, 4), float("nan"))}, "expected finite numbers in 'weight_hh_l0'"),
        ({"bias_ih_l0": torch.full((12,), 1e300, dtype=torch.float64)}, "expected finite numbers in 'bias_ih_l0'"),
        (
            {"bias_ih_l0": torch.ones(12, dtype=torch.int64)},
            "'bias_ih_l0' to be of floating point with 1 axes, got int64",
        ),
        ({"weight_hh_l1": torch.ones(12, 4)}, "1 that none uses: weight_hh_l1"),
    ],
)
def test_weights_that_contradict_each_other(change: dict[str, torch.Tensor], message: str, tmp_path: Path) -> None:
    path = save(tmp_path, dict(nn.GRU(3, 4).state_dict()) | change)
    with pytest.raises(ConversionError, match=message):
        convert(path, layers=".", reference=False)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("sd_zip.pt", "gru, fc"),
        ("model.safetensors", "gru, fc"),
        ("sd_bare_gru.pt", "."),
        ("e_charlm.pt", "emb(embedding), gru, fc"),
        ("k_norms.pt", "bn, gru, ln, fc"),
        ("d_bi.pt", "gru, fc"),
        ("f_cell.pt", "cell, fc"),
        ("j_conv_causal.pt", "conv, gru, fc"),
        ("h_nsnet2.pt", "fc1, gru1, gru2, fc2, fc3, fc4"),
    ],
)
def test_missing_description_shows_the_tensors_and_one_that_fits(name: str, suggestion: str) -> None:
    with pytest.raises(DescriptionError) as caught:
        from_stored(name, None)
    message = str(caught.value)
    assert f'A description that would fit: --layers "{suggestion}"\n' in message
    assert "(24, 8)\n" in message
    assert from_stored(name, suggestion).parameter_count > 0


def test_suggestion_for_a_gru_that_is_none(tmp_path: Path) -> None:
    weights = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2), "g.weight_ih": torch.tensor(1.0)}
    with pytest.raises(DescriptionError, match=r'which is not all: --layers "fc"(.|\n)*Not understood: g\.'):
        convert(save(tmp_path, weights | {"g.weight_hh": torch.ones(6, 2)}), reference=False)


def test_what_weights_do_not_show_is_noted(tmp_path: Path) -> None:
    modules = nn.ModuleDict({"conv": nn.Conv1d(3, 4, 2), "ln": nn.LayerNorm(4), "gru": nn.GRU(4, 5)})
    path = save(tmp_path, modules.state_dict())
    assert convert(path, layers="conv, ln, gru", reference=False).source.notes == (
        "conv: taken as causal, padded with zeros on the left only",
        "ln: taken as a LayerNorm; the weights of a GroupNorm or InstanceNorm look alike",
    )
    assert len(convert(path, layers="conv, ln(layer_norm), gru", reference=False).source.notes) == 1


def test_suggestion_leaves_out_what_is_no_layer() -> None:
    """It is named apart: a description that leaves out a normalizer, or an LSTM, would fit, and be wrong."""
    with pytest.raises(DescriptionError, match=r'is understood, which is not all: --layers "gru, fc"') as error:
        from_stored("sd_views.pt", None)
    assert "Not understood: tied, scalar, empty, expand, i64, bool. If the answers depend on it" in str(error.value)


def test_what_a_description_leaves_out_is_noted() -> None:
    ignored = ("tied", "scalar", "empty", "expand", "i64", "bool")
    model = from_stored("sd_views.pt", ", ".join(["gru, fc", *(f"ignore({name})" for name in ignored)]))
    assert f"left out, as the description says: {', '.join(ignored)}" in model.source.notes


def test_long_lists_of_tensors_are_cut(tmp_path: Path) -> None:
    path = save(tmp_path, {f"fc{index}.weight": torch.ones(2, 2) for index in range(50)})
    with pytest.raises(DescriptionError, match=r"Its 50 tensors:(.|\n)*fc19(.|\n)*and 30 more"):
        convert(path, reference=False)
    with pytest.raises(DescriptionError, match=r"got 49 that none uses: .*fc20\.weight, \.\.\.; describe"):
        convert(path, layers="fc0(linear)", reference=False)


FUNCTIONS = [
    "relu",
    "leaky_relu(0.3)",
    "thresholded_relu(0.2)",
    "elu(0.7)",
    "gelu",
    "gelu(tanh)",
    "sigmoid",
    "hard_sigmoid(0.2,0.5)",
    "tanh",
    "scaled_tanh(1.7,0.6)",
    "softsign",
    "softplus",
    "affine(2,1)",
    "clip(-0.5,0.5)",
    "softmax",
    "log_softmax",
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_reference_run_of_functions(function: str) -> None:
    model = from_stored("c_eachstep_bf.pt", f"gru, fc:{function}")
    assert_reference_fits(model)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_reference_run_of_layers(bidirectional: bool, tmp_path: Path) -> None:
    module = randomize(Encoder(7, layers=2, bidirectional=bidirectional), 2)
    assert_reference_fits(convert(save(tmp_path, module.state_dict()), layers=ENCODER, reference=False))
    assert_reference_fits(from_stored("e_charlm.pt", "emb(embedding), gru, last, fc"))
    assert_reference_fits(from_stored("d_bi.pt", "gru, final, fc"))


def assert_reference_fits(model: grurt.Model) -> None:
    run = reference_run(model)
    assert run.produced_by.startswith("torch 2")
    for port in model.signature.outputs:
        assert isinstance(port, ValuePort)
        found = model.run(dict(run.inputs))
        np.testing.assert_allclose(found[port.name], run.outputs[port.name], atol=5e-6, rtol=0)


def test_conversion_with_a_reference_run_is_verified() -> None:
    model = convert(DATA / "c_eachstep_bf.pt", layers="gru, fc:sigmoid")
    assert model.reference_run is not None
    assert model.verify().ok
    assert model.source.format == "torch"
    assert model.source.file == "c_eachstep_bf.pt"
