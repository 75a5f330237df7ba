"""Which outputs go back into which inputs."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest

from grurt.converters.literal.pairs import Port, paired
from grurt.errors import ConversionError, DesignReason, UnsupportedError

Shapes = Mapping[str, tuple[int, ...]]

STATE, FRAME = (1, 1, 8), (1, 8)


def ports(shapes: Shapes, dtype: str = "float32") -> list[Port]:
    return [Port(name, shape, np.dtype(dtype)) for name, shape in shapes.items()]


def pairs(
    inputs: Shapes, outputs: Shapes, told: Mapping[str, str | None] | None = None, states: str = ""
) -> dict[str, str]:
    return paired(ports(inputs), ports(outputs), told or {}, states.split())


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        pytest.param(
            {"mix": (1, 257, 1, 2), "conv_cache": (2, 1, 16), "tra_cache": (2, 3, 1), "inter_cache": (2, 1, 33)},
            {
                "enh": (1, 257, 1, 2),
                "conv_cache_out": (2, 1, 16),
                "tra_cache_out": (2, 3, 1),
                "inter_cache_out": (2, 1, 33),
            },
            {"conv_cache": "conv_cache_out", "tra_cache": "tra_cache_out", "inter_cache": "inter_cache_out"},
            id="a denoiser, whose frames look like its answers",
        ),
        pytest.param(
            {"tok": (1, 1), "h": STATE, "mem": (1, 20, 8), "mask": (1, 20)},
            {"p": (1, 64), "h2": STATE, "a": (1, 20)},
            {"h": "h2"},
            id="a decoder, whose mask looks like its attention",
        ),
        pytest.param(
            {"h": (2, 1, 64), "feed": (1, 1, 64), "mem": (1, 20, 64)},
            {"p": (1, 64), "h2": (2, 1, 64), "feed2": (1, 1, 64)},
            {"h": "h2", "feed": "feed2"},
            id="input feeding",
        ),
        pytest.param(
            {"obs": (1, 48), "h_in": STATE}, {"actions": (1, 12), "h_out": STATE}, {"h_in": "h_out"}, id="policy"
        ),
        pytest.param(
            {"input": (1, 512), "state": STATE}, {"output": (1, 1), "stateN": STATE}, {"state": "stateN"}, id="N"
        ),
        pytest.param(
            {"x": FRAME, "h0": STATE, "c0": STATE},
            {"y": FRAME, "hn": STATE, "cn": STATE},
            {"h0": "hn", "c0": "cn"},
            id="torch",
        ),
        pytest.param(
            {"x": FRAME, **{f"input_{k}": STATE for k in (2, 3, 6)}},
            {"y": FRAME, **{f"output_{k}": STATE for k in (2, 3, 6)}},
            {f"input_{k}": f"output_{k}" for k in (2, 3, 6)},
            id="numbers only",
        ),
        pytest.param(
            {"x": FRAME, "cache_last_channel": FRAME, "cache_last_time": FRAME},
            {"y": FRAME, "cache_last_channel_next": FRAME, "cache_last_time_next": FRAME},
            {"cache_last_channel": "cache_last_channel_next", "cache_last_time": "cache_last_time_next"},
            id="words in common",
        ),
        pytest.param(
            {"x": FRAME, "y_prev": FRAME, "h": STATE},
            {"y": FRAME, "h_new": STATE},
            {"y_prev": "y", "h": "h_new"},
            id="fed back",
        ),
        pytest.param(
            {"x": FRAME, "kCacheIn": STATE, "vCacheIn": STATE},
            {"y": FRAME, "vCacheOut": STATE, "kCacheOut": STATE},
            {"kCacheIn": "kCacheOut", "vCacheIn": "vCacheOut"},
            id="in another order",
        ),
    ],
)
def test_pairs_are_found_by_name(inputs: Shapes, outputs: Shapes, expected: dict[str, str]) -> None:
    assert pairs(inputs, outputs) == expected


def test_the_caller_says_what_names_do_not() -> None:
    inputs, outputs = {"x": FRAME, "h0.1": STATE, "onnx::GRU_1": STATE}, {"12": FRAME, "34": STATE, "57": STATE}
    message = (
        "it is not clear which outputs are states that go back into which inputs; say so with --state IN=OUT, or "
        "--state IN= of an input that is none; candidates of one shape and dtype are 'x' (1, 8): 12; "
        "'h0.1' (1, 1, 8): 34, 57; 'onnx::GRU_1' (1, 1, 8): 34, 57"
    )
    with pytest.raises(UnsupportedError, match=re.escape(message)):
        pairs(inputs, outputs)
    told = {"h0.1": "57", "onnx::GRU_1": "34"}
    assert pairs(inputs, outputs, told) == told


def test_an_input_that_is_told_to_be_no_state_is_none() -> None:
    inputs, outputs = {"x": FRAME, "h": STATE, "g": STATE}, {"y": FRAME, "h_out": STATE, "g_out": STATE}
    assert pairs(inputs, outputs, {"g": None}) == {"h": "h_out"}


def test_names_that_fit_twice_are_not_guessed() -> None:
    inputs, outputs = {"x": FRAME, "h1": STATE, "h2": STATE}, {"y": FRAME, "h_a": STATE, "h3": STATE, "h4": STATE}
    with pytest.raises(UnsupportedError, match="candidates of one shape and dtype are 'x'"):
        pairs(inputs, outputs)


def test_a_shape_or_dtype_that_differs_is_no_pair() -> None:
    with pytest.raises(UnsupportedError, match="a graph without states is no timestep") as caught:
        pairs({"x": FRAME, "h": STATE}, {"y": (1, 3), "h_out": (1, 8, 1)})
    assert caught.value.reason is DesignReason.NO_RECURRENCE
    with pytest.raises(UnsupportedError, match="no output goes back into an input"):
        paired(ports({"x": FRAME, "h": STATE}), ports({"h_out": STATE}, "float64"), {}, ())


def test_a_state_that_goes_nowhere_is_refused() -> None:
    with pytest.raises(
        UnsupportedError, match=r"the input 'g' .* is a state, and no output is what it becomes: export"
    ):
        pairs({"x": FRAME, "h": STATE, "g": (1, 1, 4)}, {"y": FRAME, "h_out": STATE}, states="g")
    with pytest.raises(UnsupportedError, match=r"candidates of one shape and dtype are 'g' .*: z"):
        pairs({"x": FRAME, "h": STATE, "g": STATE}, {"y": FRAME, "h_out": STATE, "z": STATE}, states="g")


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"z": "h_out"}, "state: the graph has no input 'z'; it has x, h"),
        ({"h": "z"}, "state: the graph has no output 'z'; it has y, h_out"),
        (
            {"x": "h_out"},
            r"state: the input 'x' \(1, 8\) of float32 cannot become the output 'h_out' .*: expected one shape",
        ),
        ({"h": "h_out", "g": "h_out"}, "state: the output 'h_out' goes back into two inputs"),
    ],
)
def test_what_the_caller_says_has_to_be_so(told: dict[str, str], message: str) -> None:
    inputs = {"x": FRAME, "h": STATE, **({"g": STATE} if "g" in told else {})}
    with pytest.raises(ConversionError, match=message):
        pairs(inputs, {"y": FRAME, "h_out": STATE}, told)


def test_thousands_of_ports_are_refused_at_once() -> None:
    many = {f"p{number}": STATE for number in range(600)}
    with pytest.raises(
        UnsupportedError, match="the graph has 600 inputs and 600 outputs, which are too many to be paired"
    ):
        pairs(many, many)
