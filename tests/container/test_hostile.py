"""``.grurt`` files that weigh little and ask for much: reading is in proportion, and running costs what is allowed."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from limited import run_limited
from memory import memory_peak

import grurt
from grurt.container import reading
from grurt.container.tensors import arranged, entries, in_order
from grurt.loading import read
from grurt.network.costs import Limits
from grurt.runtime.engine import ready

MEMORY_FACTOR = 32
"""Reading takes at most so many times a file's size, and `MEMORY_CONSTANT` bytes."""

MEMORY_CONSTANT = 1 << 22

NANOSECONDS = 2000
"""Reading takes at most so long for each byte of a file, on a core of today."""

Description = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.grurt"


def relu(name: str, *inputs: str) -> Description:
    return {"kind": "activation", "name": name, "inputs": inputs, "function": {"function": "relu"}}


def port(name: str, value: str, *axes: str) -> Description:
    return {"port": "value", "name": name, "value": value, "dtype": "float32", "axes": axes or ("time", "feature")}


def description(size: int = 1, **parts: Any) -> Description:
    """Return the description of a model of one ReLU, with other parts."""
    whole = {
        "version": 1,
        "inputs": [{"kind": "features", "name": "x", "size": size}],
        "layers": [relu("relu", "x")],
        "outputs": [{"name": "y", "value": "relu"}],
        "signature": {"inputs": [port("x", "x")], "outputs": [port("y", "y")]},
        "source": {"format": "by hand"},
        "reference_run": None,
    }
    return whole | parts


def file_of(
    described: Description, tensors: dict[str, Any] | None = None, metadata: dict[str, str] | None = None
) -> bytes:
    """Return a file as somebody writes it by hand, with a header for any tensors, and without a digest."""
    text = json.dumps(described, ensure_ascii=False)
    whole = {"__metadata__": {"grurt": text, **(metadata or {})}, **(tensors or {})}
    header = json.dumps(whole, ensure_ascii=False).encode()
    return len(header).to_bytes(8, "little") + header


def with_weights(described: Description, weights: dict[str, np.ndarray[Any, Any]]) -> bytes:
    ordered = arranged({f"weights.{name}": array for name, array in weights.items()})
    tensors = {
        name: {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": entry.data_offsets}
        for name, entry in entries(ordered).items()
    }
    return file_of(described, tensors) + b"".join(array.tobytes() for array in ordered.values())


def signature(outputs: list[Description] | None = None, **more: Any) -> Description:
    return {"inputs": [port("x", "x")], "outputs": outputs or [port("y", "y")], **more}


def step_program(*operators: Description, **parts: Any) -> Description:
    whole = {"kind": "program", "name": "relu", "input_shapes": [[1]], "operators": operators, "results": ["y"]}
    return description(version=2, layers=[whole | parts])


def operator(kind: str, x: str, y: str, **fields: Any) -> Description:
    return {"operator": kind, "inputs": [x], "outputs": [y], **fields}


def heavy_programs(n: int) -> Iterator[tuple[str, bytes]]:
    """Yield files of step programs, as `heavy_headers` does."""
    absolute = {"function": {"function": "abs"}}
    names = ["x", *map(str, range(min(n, 8191))), "y"]
    one = operator("apply", "x", "y", **absolute)
    chain = [operator("apply", *pair, **absolute) for pair in itertools.pairwise(names)]
    yield "operators", file_of(step_program(*chain[-8192:]))
    yield "operators that are none", file_of(step_program(*[{}] * 15 * n))
    yield "places", file_of(step_program(operator("gather", "x", "y", axis=0, places=[0] * 20 * n)))
    yield "an order of axes", file_of(step_program(operator("transpose", "x", "y", perm=[0] * 20 * n)))
    yield "axes", file_of(step_program(operator("reshape", "x", "y", shape=[1 << 20] * 5 * n)))
    yield (
        "an input of axes",
        file_of(step_program(one, input_shapes=[[1] * 20 * n])),
    )
    yield (
        "constants",
        file_of(step_program(one, constants={name: [1] for name in names})),
    )
    yield "results", file_of(step_program(one, results=["y"] * 10 * n))
    yield "sources", file_of(step_program(operator("concat", "x", "y", axis=0) | {"inputs": ["x"] * 10 * n}))


def heavy_headers(n: int) -> Iterator[tuple[str, bytes]]:
    """Yield files that are all header, of some ``50 n`` bytes, with as many of everything as there can be."""
    numbers = range(n)
    yield (
        "outputs",
        file_of(
            description(outputs=[{"name": "y", "value": "relu"}, *({"name": f"{i}", "value": "relu"} for i in numbers)])
        ),
    )
    inputs = ["x", *map(str, numbers)]
    yield (
        "inputs",
        file_of(
            description(
                inputs=[{"kind": "features", "name": name, "size": 1} for name in inputs],
                signature={"inputs": [port(name, name) for name in inputs], "outputs": [port("y", "y")]},
            )
        ),
    )
    yield "ports", file_of(description(signature=signature([port("y", "y"), *(port(str(i), "y") for i in numbers)])))
    yield "layers", file_of(description(layers=[relu("relu", "x"), *(relu(f"{i}", "x") for i in range(min(n, 4095)))]))
    yield "too many layers", file_of(description(layers=[relu(f"{i}", "x") for i in numbers]))
    adds = [{"kind": "add", "name": f"{i}", "inputs": ["x"] * 64} for i in range(min(n // 8, 4000))]
    yield "sums", file_of(description(layers=[relu("relu", "x"), *adds]))
    yield from heavy_programs(n)
    yield "inputs of a layer", file_of(description(layers=[relu("relu", *["x"] * 10 * n)]))
    yield "long names", file_of(description(layers=[relu("relu", "x"), *(relu(f"{i:0>200}", "x") for i in numbers)]))
    yield "lengths", file_of(description(signature=signature(lengths=[1] * 20 * n)))
    yield "notes", file_of(description(source={"format": "", "notes": ["ab"] * 10 * n}))
    yield "a note", file_of(description(source={"format": "", "notes": ["\N{GRINNING FACE}" + 50 * n * "a"]}))
    yield "objects in a known field", file_of(description(layers=[{}] * 15 * n))
    yield "objects in an unknown field", file_of(description(unknown=[{}] * 15 * n))
    yield "objects in a layer", file_of(description(layers=[relu("relu", "x") | {"unknown": [{}] * 15 * n}]))
    yield (
        "tensors of a byte",
        file_of(
            description(),
            {f"weights.relu.{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in numbers},
        )
        + bytes(n),
    )
    yield "empty entries", file_of(description(), {f"{i}": {} for i in numbers})
    yield "metadata", file_of(description(), metadata={f"{i}": "" for i in numbers})
    yield "a large version", file_of(description(version=10**4000))
    yield "brackets", file_of(description(version=["deep"])).replace(b"deep", b"[" * 10 * n)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "content"), [pytest.param(*file, id=file[0]) for file in heavy_headers(10_000)])
def test_reading_a_header_takes_memory_in_proportion_to_the_file(path: Path, name: str, content: bytes) -> None:
    path.write_bytes(content)
    message = ""
    with memory_peak() as peak:
        try:
            read(path)
        except grurt.ModelFileError as error:
            message = str(error)
    assert peak.bytes <= MEMORY_FACTOR * len(content) + MEMORY_CONSTANT
    assert len(message) <= 2000


@pytest.mark.slow
def test_reading_headers_takes_time_in_proportion_to_the_file(tmp_path: Path) -> None:
    total = 0
    for number, (_, content) in enumerate(heavy_headers(20_000)):
        (tmp_path / f"{number}.grurt").write_bytes(content)
        total += len(content)
    read_all = """
import contextlib
from pathlib import Path
import grurt
from grurt.loading import read
limit()
for path in Path(sys.argv[1]).iterdir():
    with contextlib.suppress(grurt.ModelFileError):
        read(path)
"""
    run_limited(read_all, str(tmp_path), seconds=math.ceil(total * NANOSECONDS * 1e-9), memory=1 << 30)


def test_reading_weights_takes_little_more_memory_than_the_file(path: Path) -> None:
    models.gru_model(512, 256, np.random.default_rng(4)).save(path)
    with memory_peak() as peak:
        read(path)
    assert peak.bytes < 1.1 * path.stat().st_size + (1 << 18)


MANY_OUTPUTS = description(
    1 << 20,
    outputs=[{"name": f"y{i}", "value": "relu"} for i in range(1000)],
    signature=signature([port("y", "y0")]),
)
MANY_PORTS = description(1 << 20, signature=signature([port(f"y{i}", "y") for i in range(1000)]))
LARGE_VALUES = description(1 << 20, layers=[relu("relu", "x"), *(relu(f"{i}", "x") for i in range(50))])
LONG_STATES = description(
    layers=[
        {"kind": "gru", "name": "relu", "input_size": 1, "hidden_size": 1, "bias": False},
        *(
            {"kind": "conv1d", "name": f"{i}", "input_size": 1, "output_size": 1, "kernel_size": 2, "dilation": 1 << 20}
            for i in range(40)
        ),
    ]
)
LONG_SUMS = description(
    1 << 16, layers=[relu("relu", "x"), *({"kind": "add", "name": f"{i}", "inputs": ["x"] * 64} for i in range(150))]
)

COSTLY: dict[str, tuple[Description, str]] = {
    "outputs of one value": (
        MANY_OUTPUTS,
        r"the model and a stream of it take [\d,]+ bytes of memory, expected at most 268,435,456",
    ),
    "ports of one output": (
        MANY_PORTS,
        r"the model and a stream of it take [\d,]+ bytes of memory, expected at most 268,435,456",
    ),
    "values": (LARGE_VALUES, r"the model and a stream of it take [\d,]+ bytes of memory, expected at most 268,435,456"),
    "states": (LONG_STATES, r"the model and a stream of it take [\d,]+ bytes of memory, expected at most 268,4"),
    "operations": (
        LONG_SUMS,
        r"a timestep takes [\d,]+ operations, expected at most 1,073,741,824: allow more",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_cost_more_than_is_allowed_is_refused_before_it_is_paid(path: Path, name: str) -> None:
    described, message = COSTLY[name]
    path.write_bytes(file_of(described))
    with memory_peak() as peak, pytest.raises(grurt.ModelFileError, match=message):
        grurt.load(path)
    assert peak.bytes <= MEMORY_FACTOR * path.stat().st_size + MEMORY_CONSTANT


def test_more_is_allowed_to_who_asks_for_it(path: Path) -> None:
    path.write_bytes(file_of(LARGE_VALUES))
    needed = read(path, Limits(1 << 40)).costs.bytes
    assert needed > 1 << 28
    assert grurt.load(path, max_bytes=needed).costs.bytes == needed
    with pytest.raises(grurt.ModelFileError, match=rf"expected at most {needed - 1:,}: allow more with max_bytes="):
        grurt.load(path, max_bytes=needed - 1)
    path.write_bytes(file_of(LONG_SUMS))
    operations = read(path, Limits(max_operations=1 << 40)).costs.operations
    assert grurt.load(path, max_operations=operations).costs.operations == operations


def test_a_file_larger_than_what_is_allowed_is_not_read(path: Path) -> None:
    models.gru_model(40, 50, np.random.default_rng(4)).save(path)
    with pytest.raises(grurt.ModelFileError, match=r"the file has [\d,]+ bytes, expected at most 1,000: allow"):
        grurt.load(path, max_bytes=1000)


FEW_OUTPUTS: dict[str, Description] = {
    "a product of one output": {"kind": "linear", "input_size": 1 << 16, "output_size": 1},
    "a GRU of one unit": {"kind": "gru", "input_size": 1 << 15, "hidden_size": 1},
    "a convolution of many groups": {
        "kind": "conv1d",
        "input_size": 1 << 14,
        "output_size": 1 << 15,
        "kernel_size": 1,
        "groups": 1 << 14,
    },
}


@pytest.mark.parametrize("name", FEW_OUTPUTS)
def test_weights_of_few_outputs_take_what_the_costs_say_and_no_more_while_they_are_packed(
    path: Path, name: str
) -> None:
    ready()
    layer = FEW_OUTPUTS[name] | {"name": "relu", "inputs": ["x"], "bias": False}
    rows = 3 * layer["hidden_size"] if "hidden_size" in layer else layer["output_size"]
    shapes = {
        "linear": {"weight": (rows, layer["input_size"])},
        "gru": {"weight_ih": (rows, layer["input_size"]), "weight_hh": (rows, rows // 3)},
        "conv1d": {"weight": (rows, layer["input_size"] // layer.get("groups", 1), 1)},
    }[layer["kind"]]
    weights = {f"relu.{name}": np.ones(shape, np.float32) for name, shape in shapes.items()}
    path.write_bytes(with_weights(description(layer["input_size"], layers=[layer]), weights))
    with memory_peak() as peak:
        model = grurt.load(path)
        stream = model.stream()
        answer = stream.step(np.zeros(layer["input_size"], np.float32))
    assert not answer.any()
    assert peak.bytes <= model.costs.bytes + MEMORY_CONSTANT
    assert model.costs.packed_weights <= 17 * model.costs.weights


def test_groups_are_packed_in_time_in_proportion(path: Path) -> None:
    """Which a loop over them is not: a fiftieth of a second it takes, and took 103."""
    groups = 1 << 19
    layer = {
        "kind": "conv1d",
        "name": "relu",
        "input_size": groups,
        "output_size": 2 * groups,
        "kernel_size": 1,
        "groups": groups,
        "bias": False,
    }
    weights = {"relu.weight": np.ones((2 * groups, 1, 1), np.float32)}
    path.write_bytes(with_weights(description(groups, layers=[layer]), weights))
    load = "import grurt\nfrom grurt.runtime.engine import ready\nready()\nlimit()\ngrurt.load(sys.argv[1])"
    run_limited(load, str(path), seconds=math.ceil(path.stat().st_size * NANOSECONDS * 1e-9))


LARGE = 10**25

UNUSABLE: dict[str, tuple[Description, str]] = {
    "axes": (
        description(signature=signature([port("y", "y", "time", "feature", *["one"] * 68)])),
        "port 'y': expected at most 32 axes, got 70",
    ),
    "a length": (description(signature=signature(lengths=[LARGE])), f"signature: expected lengths in .* got {LARGE}"),
    "positions": (
        description(signature=signature([port("y", "y") | {"positions": LARGE}])),
        f"port 'y': {LARGE} positions do not fit its axes",
    ),
    "a size": (description(LARGE), f"input 'x': size must be in .1, 1048576., got {LARGE}"),
    "a start": (
        description(layers=[{"kind": "slice", "name": "relu", "start": LARGE, "stop": LARGE + 1}]),
        f"layer 'relu': start must be in .0, 1048576., got {LARGE}",
    ),
    "a token": (
        description(layers=[{"kind": "token_mask", "name": "relu", "token": LARGE}]),
        "layer 'relu': expected tokens, but 'x' holds something else",
    ),
    "a mask value": (
        description(layers=[{"kind": "feature_mask", "name": "relu", "mask_value": LARGE**2}]),
        "layer 'relu': mask_value must be a finite float32",
    ),
    "an epsilon": (
        description(
            version=2, layers=[{"kind": "rms_norm", "name": "relu", "size": 1, "epsilon": 1e-46, "weight": False}]
        ),
        "layer 'relu': epsilon must be positive in float32, got 1e-46",
    ),
    "a parameter": (
        description(layers=[{"kind": "activation", "name": "relu", "function": {"function": "elu", "alpha": 10**308}}]),
        "layer 'relu': function.alpha must be a finite float32",
    ),
    "a parameter beyond float64": (
        description(layers=[{"kind": "activation", "name": "relu", "function": {"function": "elu", "alpha": 10**400}}]),
        "Number out of range",
    ),
    "a version": (description(version=LARGE), f"got the newer version {LARGE}: upgrade grurt to read it"),
    "half of a surrogate pair": (
        description(outputs=[{"name": "unicode", "value": "relu"}]),
        "the header is damaged: JSON is malformed: unexpected end of hex escape",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_could_not_be_used_is_refused(path: Path, name: str) -> None:
    described, message = UNUSABLE[name]
    path.write_bytes(file_of(described).replace(b"unicode", rb"\\ud800"))
    with pytest.raises(grurt.ModelFileError, match=message) as caught:
        grurt.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_axes_and_lengths_as_large_as_they_may_be_can_be_used(path: Path) -> None:
    axes = ("time", "feature", *["one"] * 30)
    path.write_bytes(file_of(description(signature=signature([port("y", "y", *axes)], lengths=[3]))))
    answer = grurt.load(path).run({"x": np.ones((3, 1), np.float32)})
    assert answer["y"].shape == (3, *[1] * 31)


def test_what_only_taking_a_model_apart_shows_is_an_error_of_the_file(path: Path) -> None:
    """A vector that is handed over becomes an output, whose name is longer than names may be."""
    name = "n" * 200
    layers = [
        grurt.GRU(name="encoder", inputs=("source",), input_size=2, hidden_size=3),
        grurt.LastStep(name=name),
        grurt.GRU(name="decoder", inputs=("target", name), input_size=2, hidden_size=3, initial_state="value"),
    ]
    inputs = [grurt.Input("source", 2), grurt.Input("target", 2)]
    outputs = [grurt.Output(name, "encoder"), grurt.Output("y", "decoder")]
    models.layer_model(*layers, rng=np.random.default_rng(6), inputs=inputs, outputs=outputs).save(path)
    with pytest.raises(grurt.ModelFileError, match="expected a name of 1 to 200 printable characters") as caught:
        grurt.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_sparse_file_is_looked_at_from_the_front(path: Path) -> None:
    tensors = {"weights.relu.weight": {"dtype": "F32", "shape": [1 << 20, 1 << 20], "data_offsets": [0, 1 << 42]}}
    layer = {"kind": "linear", "name": "relu", "input_size": 1 << 20, "output_size": 1 << 20, "bias": False}
    sparse = {
        b"": r"expected a \.grurt file, got something else",
        file_of(description()): "its header does not fit the data behind it",
        (1 << 41).to_bytes(8, "little")
        + b'{"__metadata__":{"grurt": ""}}': "the header is damaged: expected at most 33,554,432 bytes, got 2,199,",
        file_of(description(1 << 20, layers=[layer]), tensors): (
            "tensor weights.relu.weight: it has 4,398,046,511,104 bytes, which memory cannot hold"
        ),
    }
    for front, message in sparse.items():
        with path.open("wb") as file:
            file.write(front)
            try:
                file.truncate((1 << 42) + len(front))
            except OSError:
                pytest.skip("the file system has no files of four terabytes")
        refused = """
import grurt
from grurt.loading import read
limit()
try:
    read(sys.argv[1])
except grurt.ModelFileError as error:
    print(error)
"""
        assert message.replace("\\", "") in run_limited(refused, str(path), memory=1 << 28, seconds=2)


def a_tensor(begin: int, end: int, **parts: Any) -> Description:
    return {"dtype": "F32", "shape": [(end - begin) // 4], "data_offsets": [begin, end]} | parts


MISFITS: dict[str, dict[str, Description]] = {
    "shared": {"weights.a": a_tensor(0, 8), "weights.b": a_tensor(0, 8)},
    "overlapping": {"weights.a": a_tensor(0, 8), "weights.b": a_tensor(4, 8)},
    "apart": {"weights.a": a_tensor(0, 4), "weights.b": a_tensor(8, 12)},
    "not from the front": {"weights.a": a_tensor(4, 12)},
    "backwards": {"weights.a": a_tensor(0, 8), "weights.b": a_tensor(8, 4, shape=[1])},
    "before the front": {"weights.a": a_tensor(-8, 0)},
    "another size": {"weights.a": a_tensor(0, 8, shape=[3])},
    "a huge size": {"weights.a": a_tensor(0, 8, shape=[1 << 62, 1 << 62])},
}


@pytest.mark.parametrize("name", MISFITS)
def test_tensors_lie_one_after_the_other(path: Path, name: str) -> None:
    path.write_bytes(file_of(description(), MISFITS[name]) + bytes(12))
    message = "the file is damaged: its header does not fit the data behind it, at tensor weights"
    with pytest.raises(grurt.ModelFileError, match=message):
        read(path)


def test_a_file_that_becomes_shorter_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.gru_model(100, 100, np.random.default_rng(5)).save(path)  # more than is read ahead

    def shortened(found: Any) -> Any:
        os.truncate(path, path.stat().st_size - 100)
        return in_order(found)

    monkeypatch.setattr(reading, "in_order", shortened)
    with pytest.raises(grurt.ModelFileError, match="the file is truncated: it became shorter while it was read"):
        read(path)
