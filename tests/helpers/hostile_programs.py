"""Programs of torch.export that weigh little and ask for much: each function returns the bytes of a file.

Those in `SMALL` have some calls, and sizes or numbers that are large; those in `LARGE` have thousands of calls.
"""

from __future__ import annotations

import copy
import io
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from checkpoints import DATA, entries, zipped

SMALL: dict[str, Callable[[], bytes]] = {}
LARGE: dict[str, Callable[[], bytes]] = {}

Y = "getitem"
"""What the program's GRU gives, ``(2, 5, 8)``."""

HUGE = [1 << 17, 1 << 17]
_ROOT = "export/"
_WEIGHTS = f"{_ROOT}data/weights/model_weights_config.json"


def small(make: Callable[[], bytes]) -> Callable[[], bytes]:
    SMALL[make.__name__] = make
    return make


def large(make: Callable[[], bytes]) -> Callable[[], bytes]:
    LARGE[make.__name__] = make
    return make


@cache
def _stored() -> Mapping[str, bytes]:
    return entries(DATA / "export.pt2")


def call(op: str, output: str | Sequence[str], *, shape: Sequence[int] = (2, 5, 8), **arguments: Any) -> dict[str, Any]:
    """Return a call of an ATen operator; texts are names of tensors."""
    outputs = [output] if isinstance(output, str) else list(output)
    inputs = [{"name": name, "arg": _argument(value), "kind": 1} for name, value in arguments.items()]
    made = {"target": f"torch.ops.aten.{op}", "inputs": inputs, "metadata": {}, "name": outputs[0]}
    return made | {"outputs": [{"as_tensor": {"name": name}} for name in outputs], "shape": list(shape)}


def _argument(value: Any) -> dict[str, Any]:
    match value:
        case str():
            return {"as_tensor": {"name": value}}
        case bool():
            return {"as_bool": value}
        case int():
            return {"as_int": value}
        case float():
            return {"as_float": value}
        case None:
            return {"as_none": True}
        case [str(), *_]:
            return {"as_tensors": [{"name": name} for name in value]}
        case _:
            return {"as_ints": list(value)}


def program(
    calls: Iterable[dict[str, Any]], output: str, weights: Mapping[str, np.ndarray[Any, Any]] | None = None
) -> bytes:
    """Return the stored program, of a GRU, with these calls behind it, and more weights."""
    files = dict(_stored())
    document = copy.deepcopy(json.loads(files[f"{_ROOT}models/model.json"]))
    module, config = document["graph_module"], json.loads(files[_WEIGHTS])
    graph, signature = module["graph"], module["signature"]
    plain = graph["tensor_values"][Y]
    graph["nodes"] = graph["nodes"][:2]
    for made in calls:
        sizes = [{"as_int": size} for size in made.pop("shape")]
        graph["nodes"].append(made)
        for each in made["outputs"]:
            graph["tensor_values"][each["as_tensor"]["name"]] = plain | {"sizes": sizes}
    for index, (name, array) in enumerate((weights or {}).items()):
        sizes = [{"as_int": size} for size in array.shape]
        graph["tensor_values"][name] = plain | {"sizes": sizes}
        signature["input_specs"].insert(0, {"parameter": {"arg": {"name": name}, "parameter_name": name}})
        strides = [{"as_int": step // array.itemsize} for step in array.strides]
        meta = config["config"]["fc.weight"]["tensor_meta"] | {"sizes": sizes, "strides": strides}
        config["config"][name] = config["config"]["fc.weight"] | {"path_name": f"more_{index}", "tensor_meta": meta}
        files[f"{_ROOT}data/weights/more_{index}"] = array.astype(np.float32).tobytes()
    signature["output_specs"] = [{"user_output": {"arg": {"as_tensor": {"name": output}}}}]
    files[_WEIGHTS] = json.dumps(config).encode()
    files[f"{_ROOT}models/model.json"] = json.dumps(document).encode()
    return zipped(files)


def chained(count: int, step: Callable[[str, str], dict[str, Any]], first: str = Y) -> list[dict[str, Any]]:
    """Return calls that read each other, the last of which gives ``y``."""
    return [step(source, target) for source, target in pairwise([first, *(f"v{i}" for i in range(1, count)), "y"])]


def _of_filled(op: str, **arguments: Any) -> Callable[[], bytes]:
    """Return a program in which an operator reads a tensor of zeros, ``c``, which is large."""
    calls = [call("zeros.default", "c", size=HUGE, shape=HUGE), call(op, "y", **arguments)]
    return lambda: program(copy.deepcopy(calls), "y")


SMALL |= {
    "added": _of_filled("add.Tensor", self=Y, other="c"),
    "subtracted": _of_filled("sub.Tensor", self=Y, other="c"),
    "subtracted_from": _of_filled("sub.Tensor", self="c", other=Y),
    "divided": _of_filled("div.Tensor", self=Y, other="c"),
    "multiplied": _of_filled("mul.Tensor", self=Y, other="c"),
    "product": _of_filled("matmul.default", self=Y, other="c"),
    "linear": _of_filled("linear.default", input=Y, weight="c"),
    "bias": _of_filled("linear.default", input=Y, weight="p_fc_weight", bias="c"),
    "embedding": _of_filled("embedding.default", weight="c", indices=Y),
    "slopes": _of_filled("prelu.default", self=Y, weight="c"),
    "state": _of_filled("gru_cell.default", input=Y, hx="c", w_ih="p_gru_weight_ih_l0", w_hh="p_gru_weight_hh_l0"),
    "normalized": _of_filled("layer_norm.default", input=Y, normalized_shape=[8], weight="c"),
    "normalized_many": _of_filled("layer_norm.default", input=Y, normalized_shape=[1 << 24]),
}


def grown(content: bytes, rng: random.Random) -> bytes:
    """Return a program with many more calls before one that it makes: it stays sound, but for a few sizes."""
    files = dict(entries(io.BytesIO(content)))
    (name,) = (name for name in files if name.endswith("models/model.json"))
    document = json.loads(files[name])
    graph = document["graph_module"]["graph"]
    nodes, values = graph["nodes"], graph["tensor_values"]
    place = rng.randrange(len(nodes))
    given = [item["arg"]["as_tensor"] for item in nodes[place]["inputs"] if "as_tensor" in item["arg"]]
    if not given:
        return content
    read, count = rng.choice(given), rng.choice([1, 10, 100, 1000])
    shape = [item.get("as_int", 1) for item in values[read["name"]]["sizes"]]
    size = [rng.choice([1, 8, 1 << 17, 1 << 31]) for _ in shape]
    kinds: Sequence[Callable[[str, str], list[dict[str, Any]]]] = (
        lambda a, b: [call("relu.default", b, self=a, shape=shape)],
        lambda a, b: [call("expand.default", b, self=a, size=shape, shape=shape)],
        lambda a, b: [call("transpose.int", b, self=a, dim0=0, dim1=-1, shape=shape[::-1])],
        lambda a, b: [call("cat.default", b, tensors=[a, a], dim=rng.choice([0, -1]), shape=shape)],
        lambda a, b: [call("add.Tensor", b, self=a, other=a, shape=shape)],
        lambda a, b: [call("repeat.default", b, self=a, repeats=[2] * len(shape), shape=shape)],
        lambda a, b: [
            call(f"{rng.choice(['zeros', 'ones'])}.default", f"{b}_c", size=size, shape=size),
            call(f"{rng.choice(['add', 'mul', 'sub', 'div'])}.Tensor", b, self=a, other=f"{b}_c", shape=shape),
        ],
    )
    kind = rng.choice(kinds)
    names = [read["name"], *(f"grown{index}" for index in range(count))]
    more = [made for source, target in pairwise(names) for made in kind(source, target)]
    for made in more:
        sizes = [{"as_int": each} for each in made.pop("shape")]
        values |= {each["as_tensor"]["name"]: values[read["name"]] | {"sizes": sizes} for each in made["outputs"]}
    read["name"] = names[-1]
    nodes[place:place] = more
    return zipped({**files, name: json.dumps(document).encode()})


@small
def negated_constants() -> bytes:
    calls = [call("zeros.default", "c", size=HUGE, shape=HUGE), call("neg.default", "d", self="c", shape=HUGE)]
    return program([*calls, call("add.Tensor", "y", self=Y, other="d")], "y")


@small
def repeated_constants() -> bytes:
    calls = [call("ones.default", "c0", size=[16], shape=[16])]
    calls += [call("repeat.default", f"c{i + 1}", self=f"c{i}", repeats=[16], shape=[16]) for i in range(10)]
    return program([*calls, call("add.Tensor", "y", self=Y, other="c10")], "y")


@small
def doubled_constants() -> bytes:
    calls = [call("ones.default", "c0", size=[16], shape=[16])]
    calls += [call("cat.default", f"c{i + 1}", tensors=[f"c{i}", f"c{i}"], shape=[16]) for i in range(40)]
    return program([*calls, call("add.Tensor", "y", self=Y, other="c40")], "y")


@large
def normalized_often() -> bytes:
    """Each makes weights of as many ones."""
    step = lambda a, b: call("layer_norm.default", b, input=a, normalized_shape=[1 << 23])  # noqa: E731
    return program(chained(200, step), "y")


@large
def one_gru_many_times() -> bytes:
    weights = {"w": np.ones((3 << 10, 8)), "u": np.ones((3 << 10, 1 << 10))}
    fixed = {"has_biases": False, "num_layers": 1, "train": False, "bidirectional": False, "batch_first": True}
    given = {"input": Y, "hx": "h", "params": ["w", "u"], **fixed}
    calls = [call("zeros.default", "h", size=[1, 2, 1 << 10], shape=[1, 2, 1 << 10])]
    calls += [call("gru.input", [f"y{index}", f"n{index}"], **given) for index in range(300)]
    calls.append(call("cat.default", "y", tensors=[f"y{index}" for index in range(300)], dim=2))
    return program(calls, "y", weights)


@large
def one_weight_norm_many_times() -> bytes:
    calls = [call("_weight_norm.default", f"w{index}", v="v", g="g", shape=[1 << 18, 8]) for index in range(300)]
    calls += chained(300, lambda a, b: call("linear.default", b, input=a, weight=f"w{len(calls) % 300}"))
    return program(calls, "y", {"v": np.ones((1 << 18, 8)), "g": np.ones((1 << 18, 1))})


@large
def split_into_thousands() -> bytes:
    calls = [call("split.Tensor", [f"a{index}"], self="wide", split_size=1, dim=0, shape=[1]) for index in range(5000)]
    return program([*calls, call("relu.default", "y", self=Y)], "y", {"wide": np.ones(4096)})


@small
def copies_in_a_circle() -> bytes:
    calls = [
        call("expand.default", "a", self="b", size=[2, 5, 8]),
        call("expand.default", "b", self="a", size=[2, 5, 8]),
    ]
    return program([*calls, call("bmm.default", "y", self=Y, mat2="a")], "y")


@large
def copies_of_copies() -> bytes:
    calls = chained(10_000, lambda a, b: call("expand.default", b, self=a, size=[2, 8, 8], shape=[2, 8, 8]), "v0")
    calls += [call("bmm.default", f"m{index}", self=Y, mat2=f"v{9000 + index % 900}") for index in range(10_000)]
    return program([*calls, call("relu.default", "z", self="m9999")], "z", {"v0": np.ones((2, 8, 8))})


@large
def views_of_a_stack() -> bytes:
    """Each view of what was put together becomes a stack of all parts."""
    calls = [call("relu.default", f"r{index}", self=Y) for index in range(3000)]
    calls.append(call("cat.default", "c", tensors=[f"r{index}" for index in range(3000)], dim=0, shape=[6000, 5, 8]))
    size = [3000, 2, 5, 8]
    calls += [call("view.default", f"v{index}", self="c", size=size, shape=size) for index in range(3000)]
    return program([*calls, call("cat.default", "y", tensors=[f"v{index}" for index in range(3000)])], "y")


@large
def many_layers() -> bytes:
    return program(chained(40_000, lambda a, b: call("relu.default", b, self=a)), "y")


@large
def many_views() -> bytes:
    return program(chained(40_000, lambda a, b: call("transpose.int", b, self=a, dim0=0, dim1=0)), "y")


@large
def sum_of_many() -> bytes:
    calls = [call("relu.default", f"r{index}", self=Y) for index in range(4000)]
    return program([*calls, call("cat.default", "y", tensors=[f"r{index}" for index in range(4000)], dim=2)], "y")


@large
def tensors_of_many_axes() -> bytes:
    calls = [call("relu.default", f"r{index}", self=Y, shape=[1] * 1000) for index in range(100)]
    return program([*calls, call("relu.default", "y", self=Y)], "y")


@large
def unsqueezed_often() -> bytes:
    return program(chained(20_000, lambda a, b: call("unsqueeze.default", b, self=a, dim=0)), "y")


for _name, _number in {"largest": 2**63 - 1, "smallest": -(2**63), "beyond": 2**70, "minus": -1}.items():
    SMALL |= {
        f"{op.partition('.')[0]}_{_name}": lambda op=op, arguments=arguments: program([call(op, "y", **arguments)], "y")
        for op, arguments in {
            "select.int": {"self": Y, "dim": _number, "index": _number},
            "slice.Tensor": {"self": Y, "dim": 1, "start": _number, "end": _number, "step": _number},
            "transpose.int": {"self": Y, "dim0": _number, "dim1": 0},
            "permute.default": {"self": Y, "dims": [_number, 1, 2]},
            "view.default": {"self": Y, "size": [_number, _number]},
            "expand.default": {"self": Y, "size": [_number, 5, 8]},
            "repeat.default": {"self": Y, "repeats": [_number, 1, 1]},
            "unsqueeze.default": {"self": Y, "dim": _number},
            "squeeze.dim": {"self": Y, "dim": _number},
            "flatten.using_ints": {"self": Y, "start_dim": _number, "end_dim": _number},
            "unflatten.int": {"self": Y, "dim": _number, "sizes": [_number]},
            "split.Tensor": {"self": Y, "split_size": _number, "dim": 0},
            "chunk.default": {"self": Y, "chunks": _number, "dim": 0},
            "flip.default": {"self": Y, "dims": [_number]},
            "softmax.int": {"self": Y, "dim": _number},
            "zeros.default": {"size": [_number]},
            "full.default": {"size": [_number], "fill_value": _number},
            "pad.default": {"self": Y, "pad": [_number, _number]},
            "constant_pad_nd.default": {"self": Y, "pad": [_number] * 20},
            "layer_norm.default": {"input": Y, "normalized_shape": [_number]},
            "rms_norm.default": {"input": Y, "normalized_shape": [_number], "eps": float("nan")},
            "leaky_relu.default": {"self": Y, "negative_slope": _number},
            "elu.default": {"self": Y, "alpha": 1e308},
            "add.Scalar": {"self": Y, "other": _number},
            "clamp.default": {"self": Y, "min": _number, "max": float("inf")},
            "cat.default": {"tensors": [Y, Y], "dim": _number},
            "stack.default": {"tensors": [Y, Y], "dim": _number},
            "conv1d.default": {"input": Y, "weight": "p_fc_weight", "stride": [_number], "groups": _number},
            "_to_copy.default": {"self": Y, "dtype": _number},
            "sym_size.int": {"self": Y, "dim": _number},
        }.items()
    }
