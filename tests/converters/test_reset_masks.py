"""States that a mask multiplies before the GRU reads them, as where an episode begins: ``gru(x, h * mask)``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
import pytest
import torch
from every_export import FEW_OR_ALL, check_run, check_streams, converted
from onnx_graphs import HIDDEN, INPUT, gru_weights, proto, written
from torch import Tensor, nn
from torch_networks import Net, Network

from grurt.errors import InputShapeError, UnsupportedError

B = 3


def network_of(forward: Any, *inputs: Tensor, layers: int = 1, **options: Any) -> Network:
    torch.manual_seed(7)
    gru = nn.GRU(INPUT, HIDDEN, layers, **options)
    return Network(Net(forward, gru=gru, fc=nn.Linear(HIDDEN, 3)).eval(), inputs, {})


def ppo(net: Any, x: Tensor, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x.unsqueeze(0), (h * mask).unsqueeze(0))
    return net.fc(y.squeeze(0)), h.squeeze(0)


def start_control(net: Any, x: Tensor, h: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x.unsqueeze(1), h.transpose(0, 1).contiguous() * (1 - start).unsqueeze(0))
    return net.fc(y.squeeze(1)), h.transpose(0, 1)


def done(net: Any, x: Tensor, h: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, (1 - ended.float()).view(1, -1, 1) * h)
    return net.fc(y), h


def not_done(net: Any, x: Tensor, h: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, h * (~ended).view(1, -1, 1))
    return net.fc(y), h


def one_minus(net: Any, x: Tensor, h: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
    """The mask is a feature too."""
    kept = (torch.ones_like(ended) - ended).view(-1, 1, 1)
    y, h = net.gru(x + kept, h * kept.transpose(0, 1))
    return net.fc(y), h


def first_of(net: Any, x: Tensor, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, h * mask[0].view(1, -1, 1))
    return net.fc(y), h


def chosen(net: Any, x: Tensor, h: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, torch.where(ended.view(1, -1, 1), torch.zeros_like(h), h))
    return net.fc(y), h


def filled(net: Any, x: Tensor, h: Tensor, ended: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, h.masked_fill(ended.view(1, -1, 1) > 0.5, 0.0))
    return net.fc(y), h


def decayed(net: Any, x: Tensor, h: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """GRU-D: the state decays with the time since the last measurement, each unit at a rate of its own."""
    y, h = net.gru(x, (h[0] * torch.exp(-torch.relu(net.rate(gap)))).unsqueeze(0))
    return net.fc(y), h


def of_layers(net: Any, x: Tensor, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    y, h = net.gru(x, torch.cat([h[0:1] * mask, h[1:2] * mask], 0))
    return net.fc(y), h


def decaying() -> Network:
    network = network_of(
        decayed, torch.randn(B, 1, INPUT), torch.randn(1, B, HIDDEN), torch.rand(B, 1), batch_first=True
    )
    network.module.rate = nn.Linear(1, HIDDEN)
    return network


STEP = torch.randn(B, 1, INPUT)
FLAGS = torch.ones(B)
NETWORKS = {
    "ppo": network_of(ppo, torch.randn(1, INPUT), torch.randn(1, HIDDEN), torch.ones(1, 1)),
    "start_control": network_of(
        start_control, STEP[:, 0], torch.randn(B, 2, HIDDEN), torch.ones(B, 1), layers=2, batch_first=True
    ),
    "done": network_of(done, STEP, torch.randn(2, B, HIDDEN), FLAGS, layers=2, batch_first=True),
    "done_integer": network_of(done, STEP, torch.randn(2, B, HIDDEN), FLAGS.long(), layers=2, batch_first=True),
    "not_done": network_of(not_done, STEP, torch.randn(1, B, HIDDEN), FLAGS.bool(), batch_first=True),
    "one_minus": network_of(one_minus, STEP, torch.randn(1, B, HIDDEN), FLAGS, batch_first=True),
    "one_minus_of_one": network_of(one_minus, STEP[:1], torch.randn(1, 1, HIDDEN), FLAGS[:1], batch_first=True),
    "first_of": network_of(first_of, STEP, torch.randn(2, B, HIDDEN), FLAGS[None].long(), layers=2, batch_first=True),
    "chosen": network_of(chosen, STEP, torch.randn(2, B, HIDDEN), FLAGS.bool(), layers=2, batch_first=True),
    "filled": network_of(filled, STEP, torch.randn(1, B, HIDDEN), FLAGS, batch_first=True),
    "of_layers": network_of(of_layers, STEP, torch.randn(2, B, HIDDEN), torch.ones(B, 1), layers=2, batch_first=True),
    "decaying": decaying(),
}


@pytest.mark.parametrize("form", FEW_OR_ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_runs_and_streams_do_what_the_loop_of_the_source_does(name: str, form: str, tmp_path: Path) -> None:
    network = NETWORKS[name]
    model = converted(network, form, tmp_path)
    assert model.unstreamable_reason is None
    x, h, flags = network.inputs
    steps = []
    for _ in range(8):
        drawn = torch.rand(flags.shape)
        steps.append({0: torch.randn(x.shape), 2: drawn if name == "decaying" else (drawn > 0.6).to(flags.dtype)})
    check_run(model, network, (steps[0][0], torch.randn(h.shape), steps[0][2]))
    check_streams(model, network, steps)


GRU = "a, b = GRU <hidden_size = 5, linear_before_reset = 1> (x, W, R, B, , {state}); y = Squeeze(a, one)"


def graph(text: str, **inputs: tuple[int | str, ...]) -> Any:
    shapes = {"x": (1, 2, INPUT), "h": (1, 2, HIDDEN), "m": (2, 1)} | inputs
    constants = gru_weights() | {"one": np.array([1])}
    return proto(written(text), shapes, ["y", "b"], constants)


def test_a_mask_of_another_rank() -> None:
    model = onnx_graphs.convert(graph(f"s = Mul(m, h); {GRU.format(state='s')}", m=(1, 2, 1)))
    assert model.signature.inputs[2].axes == ("one", "batch", "one")


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        ("s = Mul(h, m)", {"x": (4, 2, INPUT)}, "its state is multiplied before the first of 4 timesteps"),
        (
            "s = Mul(h, m)",
            {"m": (1, 2, HIDDEN)},
            r"it multiplies two inputs of one shape, \(1, 2, 5\), and nothing tells",
        ),
    ],
)
def test_refused(text: str, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        onnx_graphs.convert(graph(f"{text}; {GRU.format(state='s')}", **inputs))


def test_a_number_for_each_layer_is_refused() -> None:
    text = "s = Mul(h, m); f, g = Split <axis = 0> (s, ones)"
    text += "; a, b = GRU <hidden_size = 5> (x, W, R, B, , f); c = Squeeze(a, one)"
    text += "; d, e = GRU <hidden_size = 5> (c, V, R, B, , g); y = Squeeze(d, one)"
    weights = gru_weights() | {"V": gru_weights(size=HIDDEN)["W"], "ones": np.array([1, 1]), "one": np.array([1])}
    shapes = {"x": (1, 2, INPUT), "h": (2, 2, HIDDEN), "m": (2, 1, 1)}
    with pytest.raises(
        UnsupportedError, match="each of the states along axis 0 of input 'h' is multiplied by a number"
    ):
        onnx_graphs.convert(proto(written(text), shapes, ["y"], weights))


def test_a_state_that_something_else_reads_is_refused() -> None:
    text = f"s = Mul(h, m); {GRU.format(state='s')}; z = Relu(s)"
    with pytest.raises(UnsupportedError, match="it reads the state 'h' times 'm', which a GRU reads too"):
        onnx_graphs.convert(
            proto(
                written(text),
                {"x": (1, 2, INPUT), "h": (1, 2, HIDDEN), "m": (2, 1)},
                ["y", "z"],
                gru_weights() | {"one": np.array([1])},
            )
        )


def test_a_factor_from_the_end_of_a_sequence_is_refused() -> None:
    text = "c, d = GRU <hidden_size = 5> (w, W, R, B); e = Squeeze(d, zero); k = ReduceSum <keepdims = 1> (e, last)"
    text += f"; s = Mul(h, k); {GRU.format(state='s')}"
    weights = gru_weights() | {"one": np.array([1]), "zero": np.array([0]), "last": np.array([-1])}
    shapes = {"x": (1, 2, INPUT), "h": (1, 2, HIDDEN), "w": (5, 2, INPUT)}
    with pytest.raises(UnsupportedError, match="it multiplies a state by what is computed at the end of a sequence"):
        onnx_graphs.convert(proto(written(text), shapes, ["y", "b"], weights))


def test_only_one_timestep_at_a_time_is_run_where_the_mask_has_no_time() -> None:
    model = onnx_graphs.convert(graph(f"s = Mul(h, m); {GRU.format(state='s')}", x=("t", 2, INPUT)))
    given = {"x": np.zeros((1, 2, INPUT)), "h": np.zeros((1, 2, HIDDEN)), "m": np.ones((2, 1))}
    model.run(given)
    with pytest.raises(InputShapeError, match="input 'm' has no time axis in the source, but 'x' has a time size of 3"):
        model.run(given | {"x": np.zeros((3, 2, INPUT))})


def test_a_factor_of_states_that_are_merged_with_the_batch_is_refused() -> None:
    text = "r = Reshape(h, rows); k = Mul(r, m); s = Reshape(k, states)"
    text += '; a, b = GRU <hidden_size = 5, direction = "bidirectional"> (x, W, R, B, , s); y = ReduceSum(a, one)'
    weights = gru_weights(2) | {"one": np.array([1]), "rows": np.array([6, HIDDEN]), "states": np.array([2, 3, HIDDEN])}
    graph = proto(written(text), {"x": (1, 3, INPUT), "h": (2, 3, HIDDEN), "m": (6, 1)}, ["y", "b"], weights)
    with pytest.raises(UnsupportedError, match=r"it multiplies a state of the shape \(6, 5\) by one of \(6, 1\)"):
        onnx_graphs.convert(graph)


def test_the_batch_may_have_a_name_in_each_input() -> None:
    text = f"s = Mul(h, m); {GRU.format(state='s')}"
    model = onnx_graphs.convert(graph(text, x=(1, "batch", INPUT), h=(1, "sequences", HIDDEN), m=("flags", 1)))
    assert model.unstreamable_reason is None
    assert [port.axes[0] for port in model.signature.inputs] == ["time", "state", "batch"]
