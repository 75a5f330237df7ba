"""Programs of torch.export that weigh little and ask for much: each function returns the bytes of a file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from checkpoints import DATA, entries, zipped

PROGRAMS: dict[str, Callable[[], bytes]] = {}

Y = "getitem"
"""What the program's GRU gives, ``(2, 5, 8)``."""

HUGE = [1 << 17, 1 << 17]
_ROOT = "export/"
_WEIGHTS = f"{_ROOT}data/weights/model_weights_config.json"


def hostile(make: Callable[[], bytes]) -> Callable[[], bytes]:
    PROGRAMS[make.__name__] = make
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


PROGRAMS |= {
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


@hostile
def negated_constants() -> bytes:
    calls = [call("zeros.default", "c", size=HUGE, shape=HUGE), call("neg.default", "d", self="c", shape=HUGE)]
    return program([*calls, call("add.Tensor", "y", self=Y, other="d")], "y")


@hostile
def repeated_constants() -> bytes:
    calls = [call("ones.default", "c0", size=[16], shape=[16])]
    calls += [call("repeat.default", f"c{i + 1}", self=f"c{i}", repeats=[16], shape=[16]) for i in range(10)]
    return program([*calls, call("add.Tensor", "y", self=Y, other="c10")], "y")


@hostile
def doubled_constants() -> bytes:
    calls = [call("ones.default", "c0", size=[16], shape=[16])]
    calls += [call("cat.default", f"c{i + 1}", tensors=[f"c{i}", f"c{i}"], shape=[16]) for i in range(40)]
    return program([*calls, call("add.Tensor", "y", self=Y, other="c40")], "y")


@hostile
def normalized_often() -> bytes:
    """Each makes weights of as many ones."""
    step = lambda a, b: call("layer_norm.default", b, input=a, normalized_shape=[1 << 23])  # noqa: E731
    return program(chained(200, step), "y")


@hostile
def one_gru_many_times() -> bytes:
    weights = {
        "w": np.ones((24, 8)),
        "r": np.ones((24, 8)),
        "large": np.ones((3 << 10, 8)),
        "u": np.ones((3 << 10, 1 << 10)),
    }
    calls = [call("zeros.default", "h", size=[1, 2, 1 << 10], shape=[1, 2, 1 << 10])]
    for index in range(300):
        options = {"has_biases": False, "num_layers": 1, "dropout": 0.0, "train": False, "bidirectional": False}
        calls.append(
            call(
                "gru.input",
                [f"y{index}", f"n{index}"],
                input=Y,
                hx="h",
                params=["large", "u"],
                batch_first=True,
                **options,
            )
        )
    calls.append(call("cat.default", "y", tensors=[f"y{index}" for index in range(300)], dim=2))
    return program(calls, "y", {"large": weights["large"], "u": weights["u"]})


@hostile
def one_weight_norm_many_times() -> bytes:
    calls = []
    for index in range(300):
        calls.append(call("_weight_norm.default", f"w{index}", v="v", g="g", shape=[1 << 18, 8]))
    calls += chained(300, lambda a, b: call("linear.default", b, input=a, weight=f"w{len(calls) % 300}"))
    return program(calls, "y", {"v": np.ones((1 << 18, 8)), "g": np.ones((1 << 18, 1))})


@hostile
def split_into_thousands() -> bytes:
    calls = [call("reshape.default", "v", self=Y, shape=[4096 * 8], **{}) for _ in range(1)]
    calls += [call("split.Tensor", [f"a{index}"], self="wide", split_size=1, dim=0, shape=[1]) for index in range(5000)]
    return program([*calls, call("relu.default", "y", self=Y)], "y", {"wide": np.ones(4096)})


@hostile
def copies_in_a_circle() -> bytes:
    calls = [
        call("expand.default", "a", self="b", size=[2, 5, 8]),
        call("expand.default", "b", self="a", size=[2, 5, 8]),
    ]
    return program([*calls, call("bmm.default", "y", self=Y, mat2="a")], "y")


@hostile
def copies_of_copies() -> bytes:
    calls = chained(10_000, lambda a, b: call("expand.default", b, self=a, size=[2, 8, 8], shape=[2, 8, 8]), "v0")
    calls += [call("bmm.default", f"m{index}", self=Y, mat2=f"v{9000 + index % 900}") for index in range(10_000)]
    return program([*calls, call("relu.default", "z", self="m9999")], "z", {"v0": np.ones((2, 8, 8))})


@hostile
def many_layers() -> bytes:
    return program(chained(40_000, lambda a, b: call("relu.default", b, self=a)), "y")


@hostile
def many_views() -> bytes:
    return program(chained(40_000, lambda a, b: call("transpose.int", b, self=a, dim0=0, dim1=0)), "y")


@hostile
def sum_of_many() -> bytes:
    calls = [call("relu.default", f"r{index}", self=Y) for index in range(4000)]
    return program([*calls, call("cat.default", "y", tensors=[f"r{index}" for index in range(4000)], dim=2)], "y")


@hostile
def tensors_of_many_axes() -> bytes:
    calls = [call("relu.default", f"r{index}", self=Y, shape=[1] * 1000) for index in range(100)]
    return program([*calls, call("relu.default", "y", self=Y)], "y")


@hostile
def unsqueezed_often() -> bytes:
    return program(chained(20_000, lambda a, b: call("unsqueeze.default", b, self=a, dim=0)), "y")


for _name, _number in {"largest": 2**63 - 1, "smallest": -(2**63), "beyond": 2**70, "minus": -1}.items():
    PROGRAMS |= {
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
