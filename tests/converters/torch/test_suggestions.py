"""Descriptions that are suggested for a state dict: they fit, leave nothing out silently, and compute the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from grurt import reference
from grurt.converters import convert
from grurt.errors import DescriptionError

TOLERANCE = 2e-6


def save(tmp_path: Path, **modules: nn.Module | torch.Tensor) -> Path:
    """Save a state dict of modules and tensors by name; two low lines stand for a dot."""
    weights = {}
    for name, module in modules.items():
        dotted = name.replace("__", ".")
        if isinstance(module, torch.Tensor):
            weights[dotted] = module
        else:
            weights |= {f"{dotted}.{parameter}": tensor for parameter, tensor in module.state_dict().items()}
    torch.save(weights, tmp_path / "net.pt")
    return tmp_path / "net.pt"


def message(path: Path) -> str:
    with pytest.raises(DescriptionError) as caught:
        convert(path)
    assert "ignore(" not in str(caught.value).replace("ignore(NAME)", "")
    return str(caught.value)


def gru(*sizes: int, **options: Any) -> nn.GRU:
    return nn.GRU(*sizes, batch_first=True, **options)


Run = Callable[..., torch.Tensor]

CHAINS: dict[str, tuple[dict[str, Any], str, Run]] = {
    "a small vocabulary": (
        {"tok": nn.Embedding(5, 8), "rnn": gru(8, 6), "out": nn.Linear(6, 5)},
        "tok(embedding), rnn, out",
        lambda m, x: m["out"](m["rnn"](m["tok"](x))[0]),
    ),
    "what is called an embedding, and is none": (
        {"embed": nn.Linear(3, 8, bias=False), "rnn": gru(8, 6)},
        "embed(linear), rnn",
        lambda m, x: m["rnn"](m["embed"](x))[0],
    ),
    "an output without a bias": (
        {"emb": nn.Embedding(9, 6), "rnn": gru(6, 6), "out": nn.Linear(6, 9, bias=False)},
        "emb(embedding), rnn, out(linear)",
        lambda m, x: m["out"](m["rnn"](m["emb"](x))[0]),
    ),
    "one slope for all features": (
        {"fc": nn.Linear(3, 8), "act": nn.PReLU(init=0.3), "rnn": gru(8, 6)},
        "fc, act(prelu), rnn",
        lambda m, x: m["rnn"](m["act"](m["fc"](x)))[0],
    ),
    "modules out of order": (
        {"a_out": nn.Linear(6, 2), "b_in": nn.Linear(3, 5), "c_rnn": gru(5, 6)},
        "b_in, c_rnn, a_out",
        lambda m, x: m["a_out"](m["c_rnn"](m["b_in"](x))[0]),
    ),
    "a first state": (
        {"rnn_init_hidden": torch.randn(2, 1, 6), "gru": gru(3, 6, 2), "out": nn.Linear(6, 2)},
        "gru(initial_state=rnn_init_hidden), out",
        lambda m, x: m["out"](m["gru"](x, m["rnn_init_hidden"].expand(-1, len(x), -1).contiguous())[0]),
    ),
    "a first state of two directions": (
        {"rnn": gru(3, 6, bidirectional=True), "rnn__h0": torch.randn(2, 1, 6), "out": nn.Linear(12, 2)},
        "rnn(initial_state=rnn.h0), out",
        lambda m, x: m["out"](m["rnn"](x, m["rnn__h0"].expand(-1, len(x), -1).contiguous())[0]),
    ),
    "a depthwise convolution": (
        {"conv": nn.Conv1d(6, 6, 3, groups=6), "point": nn.Conv1d(6, 4, 1), "rnn": gru(4, 6)},
        "conv(conv1d, groups=6), point, rnn",
        lambda m, x: m["rnn"](m["point"](m["conv"](nn.functional.pad(x.mT, (2, 0)))).mT)[0],
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_suggestions_that_fit_compute_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    modules, expected, run = CHAINS[name]
    path = save(tmp_path, **modules)
    (found,) = re.findall(r'--layers "(.*)"', message(path))
    if "|" in found:  # the user has to choose: both fit
        assert expected.replace("conv1d, groups=6", "conv1d|conv1d, groups=6") == found
        found = expected
    assert found == expected
    model = convert(path, found, reference=False)
    tokens = model.inputs[0].tokens
    size = model.inputs[0].size
    x = torch.randint(size, (2, 7)) if tokens else torch.randn(2, 7, size)
    with torch.no_grad():
        np.testing.assert_allclose(model.run(x.numpy()), run(modules, x).numpy(), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("modules", "suggestion", "others"),
    [
        ({"fc": nn.Linear(3, 8), "lstm1": nn.LSTM(8, 8), "out": nn.Linear(8, 2)}, "fc, out", "lstm1"),
        ({"gru": gru(3, 8), "mask": torch.ones(8), "fc": nn.Linear(8, 2)}, "gru, fc", "mask"),
        ({"gru": gru(3, 8), "fc": nn.Linear(8, 2), "fc__scale": torch.ones(2)}, "gru, fc", "fc.scale"),
        ({"gru": gru(3, 8), "h0": torch.ones(1, 1, 4), "fc": nn.Linear(8, 2)}, "gru, fc", "h0"),
        ({"gru": gru(3, 8), "h0": torch.ones(8), "h_init": torch.ones(8)}, "gru", "h0, h_init"),
        ({"gru": gru(3, 8), "mu": nn.Linear(8, 2), "log_std": torch.ones(2)}, "gru, mu", "log_std"),
        (
            {"gru": gru(3, 8), "attn": nn.MultiheadAttention(8, 2), "fc": nn.Linear(8, 2)},
            "gru, attn.out_proj, fc",
            "attn.in_proj_weight, attn.in_proj_bias",
        ),
    ],
)
def test_what_is_not_understood_is_named(modules: Any, suggestion: str, others: str, tmp_path: Path) -> None:
    """And a description without it does not convert, but where the user says so."""
    path = save(tmp_path, **modules)
    text = message(path)
    assert f'A description of what is understood, which is not all: --layers "{suggestion}"' in text
    assert f"Not understood: {others}. If the answers depend on it" in text
    with pytest.raises(DescriptionError, match="expected every tensor in a layer"):
        convert(path, suggestion)


@pytest.mark.parametrize(
    ("modules", "listed"),
    [
        ({"gru": gru(4, 8, 3), "fc": nn.Linear(16, 3)}, "gru (reads 4, writes 8), fc (reads 16, writes 3)"),
        (
            {"char": nn.Embedding(9, 4), "word": nn.Embedding(8, 3), "gru": gru(7, 8)},
            "char(linear|embedding) (reads 4, writes 9), word(linear|embedding) (reads 3, writes 8), gru (reads 7, w",
        ),
        (
            {"emb": nn.Embedding(9, 4), "one": nn.PReLU(), "gru": gru(7, 8)},
            "emb(embedding|linear) (reads tokens, writes 4), one(prelu|layer_norm|rms_norm) (reads any size",
        ),
        ({"a": nn.Linear(4, 4), "gru": gru(4, 8), "up": nn.ConvTranspose1d(8, 4, 3)}, "up (reads 4, writes 8)"),
        ({"fc": nn.Linear(3, 2), "fc__bias": torch.ones(5)}, "fc (reads 3, writes 2)"),
        ({f"fc{index}": nn.Linear(2, 2) for index in range(201)}, "fc19 (reads 2, writes 2) and 181 more"),
    ],
)
def test_modules_that_are_no_chain(modules: Any, listed: str, tmp_path: Path) -> None:
    text = message(save(tmp_path, **modules))
    assert "--layers" not in text
    assert listed in text
    assert "In no order that was tried each reads what the one before it writes: they are no chain" in text


def test_several_orders_and_several_kinds(tmp_path: Path) -> None:
    text = message(save(tmp_path, gru=gru(3, 8), a=nn.Linear(8, 8), b=nn.Linear(8, 8)))
    assert 'A description that would fit: --layers "gru, a, b"\nTheir sizes fit in other orders, too' in text
    assert text.endswith("in a TOML file, connections other than a chain, as of residuals")
    text = message(save(tmp_path, gru=gru(6, 6), head=nn.Linear(6, 4, bias=False)))
    assert 'with one of the kinds where there are several: --layers "gru, head(linear|embedding)"' in text
    text = message(save(tmp_path, norm=nn.RMSNorm(3), gru=gru(3, 6)))
    assert '--layers "norm(layer_norm|rms_norm|prelu), gru"\nPut the layers' in text


def test_the_search_for_an_order_ends(tmp_path: Path) -> None:
    """Of as many modules of one size as there may be, behind which one fits nowhere."""
    modules = {f"fc{index}": nn.Linear(2, 2) for index in range(150)} | {"last": nn.Linear(3, 5)}
    assert "In no order that was tried" in message(save(tmp_path, **modules))
    equal = {f"fc{index}": nn.Linear(2, 2, bias=False) for index in range(150)}
    assert "fc0(linear|embedding), fc1(linear|embedding), fc2(" in message(save(tmp_path, **equal))


def test_very_long_suggestions_are_cut(tmp_path: Path) -> None:
    text = message(save(tmp_path, **{f"{'m' * 60}{index}": nn.Linear(2, 2) for index in range(100)}))
    assert len(text) <= 2000


def random_chain(seed: int) -> list[tuple[str, str, nn.Module]]:
    """Return names, kinds and modules of a chain, with random weights; the first tells what size it reads."""
    rng, found = np.random.default_rng(seed), []
    size = int(rng.integers(2, 10))
    for index, kind in enumerate(rng.choice(list(MODULES), rng.integers(1, 6))):
        if index == 0 and kind == "prelu":
            continue
        module, size = MODULES[kind](size, int(rng.integers(2, 20)))
        found.append((f"m{rng.integers(1000)}_{index}", kind, module))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, _, module in found:
            for name, tensor in module.eval().state_dict().items():
                if tensor.is_floating_point():
                    tensor.uniform_(0.5 if name.endswith("running_var") else -0.7, 0.9, generator=generator)
    return found


MODULES: dict[str, Callable[[int, int], tuple[nn.Module, int]]] = {
    "linear": lambda size, n: (nn.Linear(size, n, bias=n % 2 > 0), n),
    "gru": lambda size, n: (gru(size, n, 1 + n % 2), n),
    "bidirectional": lambda size, n: (gru(size, n, bidirectional=True), 2 * n),
    "layer_norm": lambda size, n: (nn.LayerNorm(size), size),
    "rms_norm": lambda size, n: (nn.RMSNorm(size), size),
    "batch_norm": lambda size, n: (nn.BatchNorm1d(size), size),
    "prelu": lambda size, n: (nn.PReLU(), size),
    "conv1d": lambda size, n: (nn.Conv1d(size, n, 2), n),
    "depthwise": lambda size, n: (nn.Conv1d(size, size, 2, groups=size), size),
}


def computed(chain: list[tuple[str, str, nn.Module]], x: torch.Tensor) -> torch.Tensor:
    for _, kind, module in chain:
        if kind in ("conv1d", "depthwise"):
            x = module(nn.functional.pad(x.mT, (1, 0))).mT
        elif kind == "batch_norm":
            x = module(x.mT).mT
        else:
            x = module(x)[0] if isinstance(module, nn.GRU) else module(x)
    return x


@pytest.mark.slow
def test_random_chains(tmp_path: Path) -> None:
    """In whatever order they lie in the file: what is suggested is theirs, or it is said that it may not be."""
    sure = 0
    for seed in range(60):
        chain = random_chain(seed)
        if not chain:
            continue
        shuffled = [chain[index] for index in np.random.default_rng(seed).permutation(len(chain))]
        text = message(path := save(tmp_path, **{name: module for name, _, module in shuffled}))
        (suggested,) = re.findall(r'would fit.*--layers "(.*)"', text)
        items = re.split(r", (?![^(]*\))", suggested)
        if [item.partition("(")[0] for item in items] != [name for name, _, _ in chain]:
            assert "Their sizes fit in other orders" in text
            continue
        layers = [chosen(item, kind) for item, (_, kind, _) in zip(items, chain, strict=True)]
        model = convert(path, ", ".join(layers), reference=False)
        x = torch.randn(1, 6, model.inputs[0].size, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected = computed(chain, x)[0].numpy()
        outputs, _ = reference.run(model, {"x": x[0].numpy()})
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(outputs["y"], expected, atol=2e-5 * scale, rtol=0, err_msg=str(layers))
        sure += 1
    assert sure > 30


def chosen(item: str, kind: str) -> str:
    """Return an item with the kind that its module is of, where the suggestion leaves a choice."""
    name, _, options = item.partition("(")
    if "|" not in options:
        return item
    (option,) = [
        option
        for option in options.removesuffix(")").split("|")
        if option.startswith({"depthwise": "conv1d, groups"}.get(kind, kind))
        and (kind != "conv1d" or "," not in option)
    ]
    return f"{name}({option})"


def test_the_states_of_all_layers(tmp_path: Path) -> None:
    """A layer that reads as much as all layers of a GRU hold reads their final states."""
    path = save(tmp_path, gru=nn.GRU(4, 8, num_layers=3), fc=nn.Linear(24, 3))
    assert '--layers "gru, finals, fc"' in message(path)
    assert convert(path, layers="gru, finals, fc").outputs


@pytest.mark.parametrize(
    ("modules", "between"),
    [
        ({"fc": nn.Linear(3, 8), "rnn": gru(8, 6), "out": nn.Linear(6, 2)}, "rnn and out"),
        ({"first": gru(3, 6), "second": gru(6, 6), "out": nn.Linear(6, 2)}, "second and out"),
        ({"fc": nn.Linear(3, 8), "rnn": gru(8, 6)}, None),
        ({"a": nn.Linear(3, 8), "b": nn.Linear(8, 2)}, None),
        ({"rnn": gru(3, 6, 2), "out": nn.Linear(12, 2)}, None),  # which reads all final states
    ],
)
def test_it_is_said_where_the_last_timestep_may_go_on_alone(modules: Any, between: str | None, tmp_path: Path) -> None:
    found = re.findall(r'the last one alone: if so, write "last" between (.*)', message(save(tmp_path, **modules)))
    assert found == ([between] if between else [])
