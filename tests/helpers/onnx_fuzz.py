"""Mutates ONNX files and converts what comes out, in a process of limited memory that may open no other file.

Run as a program, with the first seed, the number of files, and the folder of sound ones; prints what became of them.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper

import grurt
from grurt.converters import convert_onnx
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import GrurtError

MEMORY = 768 << 20
"""Bytes of address space, beyond what Python, NumPy and the package onnx take: for files of some kilobytes."""

SECONDS = 3
"""Of the CPU, for each file."""

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 2**31, 2**62, -(2**63), 2**63 - 1]
OPERATORS = ["Expand", "Tile", "Range", "Gather", "Concat", "Reshape", "Split", "GRU", "Shape", "Slice", "Transpose"]
OPERATORS += ["Squeeze", "Unsqueeze", "MatMul", "Gemm", "Add", "Mul", "Conv", "Pad", "TopK", "ScatterElements", "Cast"]
OPERATORS += ["ReduceMean", "ReduceSum", "Einsum", "Pow", "Log", "Abs", "Celu", "Selu", "HardSwish", "Mish", "Flatten"]
OPERATORS += ["LayerNormalization", "BatchNormalization", "Softmax", "Identity", "grurt.GRUCell", "Loop", "LSTM"]
ATTRIBUTES = ["axis", "axes", "layout", "split", "to", "perm", "num_outputs", "direction", "hidden_size", "clip"]
ATTRIBUTES += ["activations", "activation_alpha", "pads", "dilations", "group", "transB", "alpha", "keepdims"]
ATTRIBUTES += ["equation", "gamma", "steps", "starts", "ends", "linear_before_reset", "projected", "epsilon"]


def mutated(data: bytes, source: random.Random) -> bytes:
    """Return a file with a few bytes or a few parts of the graph changed."""
    if source.random() < 0.4:
        return _other_bytes(data, source)
    model = onnx.load_model_from_string(data)
    if source.random() < 0.5:
        source.choice(_GROWTHS)(model, source)
        if source.random() < 0.7:
            return model.SerializeToString()
    for _ in range(source.randrange(1, 4)):
        source.choice(_MUTATIONS)(model, source)
    return model.SerializeToString()


def _other_bytes(data: bytes, source: random.Random) -> bytes:
    changed = bytearray(data)
    if source.random() < 0.15:
        del changed[source.randrange(len(changed)) :]
        return bytes(changed)
    for _ in range(source.choice([1, 1, 2, 5, 50])):
        changed[source.randrange(len(changed))] = source.randrange(256)
    if source.random() < 0.2:
        start = source.randrange(len(changed))
        changed[start:start] = changed[start : start + source.randrange(64)]
    return bytes(changed)


def _node(model: ModelProto, source: random.Random) -> NodeProto:
    inside = [inner for node in model.graph.node for each in node.attribute for inner in each.g.node]
    nodes = inside if inside and source.random() < 0.5 else model.graph.node
    return source.choice(nodes) if nodes else model.graph.node.add()


def _input(model: ModelProto, source: random.Random) -> None:
    node = _node(model, source)
    names = [name for other in model.graph.node for name in (*other.input, *other.output)] + [""]
    if node.input:
        node.input[source.randrange(len(node.input))] = source.choice(names)


def _operator(model: ModelProto, source: random.Random) -> None:
    _node(model, source).op_type = source.choice(OPERATORS)


def _attribute(model: ModelProto, source: random.Random) -> None:
    node = _node(model, source)
    value = source.choice(
        [NUMBERS[:3], source.choice(NUMBERS), "reverse", "abi,io->abo", ["Tanh", "Sigmoid"], 0.5, float("nan")]
    )
    if node.attribute and source.random() < 0.3:
        del node.attribute[source.randrange(len(node.attribute))]
    else:
        node.attribute.append(helper.make_attribute(source.choice(ATTRIBUTES), value))


def _constant(model: ModelProto, source: random.Random) -> None:
    tensors = list(model.graph.initializer)
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.type == AttributeProto.TENSOR]
    if not tensors:
        return
    tensor = source.choice(tensors)
    if tensor.data_type == TensorProto.INT64:
        values = [source.choice(NUMBERS) for _ in range(source.choice([0, 1, 1, 2, 3]))]
        tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.INT64, [len(values)], values))
    elif tensor.dims and source.random() < 0.5:
        tensor.dims[source.randrange(len(tensor.dims))] = source.choice(NUMBERS)
    else:
        tensor.data_type = source.choice([0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 14, 16, 99])


def _removal(model: ModelProto, source: random.Random) -> None:
    parts = source.choice([model.graph.node, model.graph.initializer, model.graph.input, model.graph.output])
    if parts:
        del parts[source.randrange(len(parts))]


def _copy(model: ModelProto, source: random.Random) -> None:
    parts = source.choice([model.graph.node, model.graph.initializer, model.graph.input])
    if parts:
        parts.append(source.choice(parts))


def _size(model: ModelProto, source: random.Random) -> None:
    ports = [*model.graph.input, *model.graph.output]
    shape = source.choice(ports).type.tensor_type.shape if ports else None
    if shape is not None and shape.dim:
        dim = shape.dim[source.randrange(len(shape.dim))]
        if source.random() < 0.3:
            dim.dim_param = source.choice(["", "batch", "time"])
        else:
            dim.dim_value = source.choice(NUMBERS)


def _location(model: ModelProto, source: random.Random) -> None:
    """Let a tensor's data lie in another file."""
    if model.graph.initializer:
        tensor = source.choice(model.graph.initializer)
        tensor.data_location = TensorProto.EXTERNAL
        places = ["/etc/passwd", "../secret", "secret/../../x", "/dev/zero", "/proc/self/mem", "", "\0", "x" * 5000]
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", source.choice(places)


def _axes(model: ModelProto, source: random.Random) -> None:
    """Change which axis an operator works on, or where it moves axes: most such graphs are sound."""
    node = _node(model, source)
    for attribute in node.attribute:
        if attribute.name == "perm":
            source.shuffle(order := list(attribute.ints))
            attribute.ints[:] = order
        elif attribute.name == "axis":
            attribute.i = source.randrange(-2, 4)


def _shape(model: ModelProto, source: random.Random) -> None:
    """Change a constant of integers a little: a shape, a position, axes."""
    constants = [a.t for node in model.graph.node for a in node.attribute if a.type == AttributeProto.TENSOR]
    integers = [tensor for tensor in constants if tensor.data_type == TensorProto.INT64 and tensor.raw_data]
    if integers:
        tensor = source.choice(integers)
        place, step = source.randrange(len(tensor.raw_data)), source.choice([-2, -1, 1])
        place -= place % 8
        changed = bytearray(tensor.raw_data)
        changed[place] = (changed[place] + step) % 256
        tensor.raw_data = bytes(changed)


def _insert(model: ModelProto, place: int, nodes: list[NodeProto]) -> None:
    """Insert nodes before the one that stands at a place."""
    every = [*model.graph.node[:place], *nodes, *model.graph.node[place:]]
    every = [NodeProto.FromString(node.SerializeToString()) for node in every]
    del model.graph.node[:]
    model.graph.node.extend(every)


def _read(model: ModelProto, source: random.Random) -> tuple[int, int] | None:
    """Return a node and one of the tensors that it reads, as two numbers."""
    pairs = [(place, index) for place, node in enumerate(model.graph.node) for index in range(len(node.input))]
    return source.choice(pairs) if pairs else None


def _grown(model: ModelProto, source: random.Random) -> None:
    """Put a chain, or a fan that is joined again, before one of the tensors that a node reads: it stays sound."""
    found = _read(model, source)
    if found is None:
        return
    place, index = found
    name, count = model.graph.node[place].input[index], source.choice([1, 10, 100, 1000])
    op = source.choice(["Identity", "Relu", "Neg", "Abs", "Sigmoid", "Unsqueeze", "Concat", "Add", "Mul", "Transpose"])
    if source.random() < 0.7:
        inputs = 2 if op in ("Concat", "Add", "Mul") else 1
        attributes = {"axis": source.choice([0, -1])} if op == "Concat" else {}
        chain = [name, *(f"grown{i}" for i in range(count))]
        nodes = [helper.make_node(op, [a] * inputs, [b], **attributes) for a, b in pairwise(chain)]
    else:
        parts = [f"grown{i}" for i in range(count)]
        nodes = [helper.make_node(source.choice(["Relu", "Identity", "Neg"]), [name], [part]) for part in parts]
        joined = source.choice(["Sum", "Concat", "Add"])
        nodes.append(helper.make_node(joined, parts, ["grown"], **({"axis": -1} if joined == "Concat" else {})))
    model.graph.node[place].input[index] = nodes[-1].output[0]
    _insert(model, place, nodes)


def _repeated(model: ModelProto, source: random.Random) -> None:
    """Have a constant made by ConstantOfShape or Expand, of its own shape or a larger one."""
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT]
    if not tensors:
        return
    tensor = source.choice(tensors)
    sizes = list(tensor.dims) or [1]
    for _ in range(source.choice([0, 1, 1, 2])):
        sizes[source.randrange(len(sizes))] = source.choice([1, 2**10, 2**17, 2**20, 2**31])
    shape = helper.make_tensor("repeated/shape", TensorProto.INT64, [len(sizes)], sizes)
    if source.random() < 0.5:
        made = [helper.make_node("ConstantOfShape", [shape.name], [tensor.name])]
    else:
        one = helper.make_tensor("repeated/one", TensorProto.FLOAT, [1] * len(sizes), [0.5])
        model.graph.initializer.append(one)
        made = [helper.make_node("Expand", [one.name, shape.name], [tensor.name])]
    model.graph.initializer.remove(tensor)
    model.graph.initializer.append(shape)
    _insert(model, 0, made)


def _shared(model: ModelProto, source: random.Random) -> None:
    """Let all constants of one shape be one, and copy what reads them."""
    tensors = list(model.graph.initializer)
    if not tensors:
        return
    chosen = source.choice(tensors)
    alike = {tensor.name for tensor in tensors if tensor.dims == chosen.dims and tensor.data_type == chosen.data_type}
    for node in model.graph.node:
        node.input[:] = [chosen.name if name in alike else name for name in node.input]
    readers = [node for node in model.graph.node if chosen.name in node.input]
    for index in range(source.choice([0, 10, 300]) if readers else 0):
        copy = model.graph.node.add()
        copy.CopyFrom(source.choice(readers))
        copy.output[:] = [f"{name}/copy{index}" if name else "" for name in copy.output]
        if copy.output[0] and source.random() < 0.5:
            model.graph.output.append(helper.make_tensor_value_info(copy.output[0], TensorProto.FLOAT, None))


def _frozen(model: ModelProto, source: random.Random) -> None:
    """Fix all sizes that are called the same to a large one."""
    sizes: dict[str, int] = {}
    for port in [*model.graph.input, *model.graph.output]:
        for dim in port.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_value = sizes.setdefault(dim.dim_param, source.choice([1, 7, 2**12, 2**20, 2**31 - 1]))


def _aliased(model: ModelProto, source: random.Random) -> None:
    """Let tensors lie in one file beside the model, by many names and with parts that may overlap."""
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": "./" * source.randrange(4) + "weights", "offset": str(source.choice([0, 0, 4, 64]))}
        for key, value in entries.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value


_GROWTHS = (_grown, _grown, _repeated, _repeated, _shared, _frozen, _aliased)

_MUTATIONS = (
    _axes,
    _axes,
    _shape,
    _input,
    _operator,
    _attribute,
    _attribute,
    _constant,
    _constant,
    _removal,
    _copy,
    _size,
    _location,
)


def convert(data: bytes, folder: Path, source: random.Random) -> str:
    """Convert a file, from memory or from the folder, and return the name of the exception, if any."""
    try:
        if source.random() < 0.1 or b"weights" in data:
            (folder / "mutated.onnx").write_bytes(data)
            convert_onnx(folder / "mutated.onnx", reference=False)
        else:
            network_of_bytes(data, source=grurt.Source(format="onnx"))
    except GrurtError as error:
        if not str(error):
            raise
        return type(error).__name__
    return "converted"


def timed(data: bytes, folder: Path, source: random.Random) -> tuple[str, float]:
    """Convert a file, and return what became of it, and the seconds of the CPU."""
    started = time.process_time()
    result = convert(data, folder, source)
    return result, time.process_time() - started


def watch(folder: Path) -> None:
    """End the process with an error when it opens a file that is not in the folder."""
    inside = str(folder.resolve())

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        allowed = ("/usr/", sys.prefix, sys.base_prefix, *sys.path)
        if event == "open" and isinstance(arguments[0], str):
            path = str(Path(arguments[0]).absolute())
            if not path.startswith(inside) and not (path.endswith((".py", ".pyc", ".so")) and path.startswith(allowed)):
                raise SystemExit(f"opened {path}")

    sys.addaudithook(hook)


def main(first: int, count: int, samples: Path, folder: Path) -> None:
    paths = [path for path in sorted(samples.glob("*.onnx")) if not path.with_name(f"{path.name}.data").exists()]
    files = [path.read_bytes() for path in paths]
    (folder / "weights").write_bytes(bytes(1 << 16))
    convert(files[0], folder, random.Random(0))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    watch(folder)
    warnings.simplefilter("error")
    results: Counter[str] = Counter()
    for seed in range(first, first + count):
        source = random.Random(seed)
        data = mutated(source.choice(files), source)
        try:
            result, seconds = timed(data, folder, source)
            results[result] += 1
            if seconds > SECONDS and timed(data, folder, source)[1] > SECONDS:  # once may be the machine's fault
                raise SystemExit(f"more than {SECONDS} seconds")
        except BaseException:
            (folder / f"failed-{seed}.onnx").write_bytes(data)
            print(f"seed {seed}", file=sys.stderr)
            raise
    print(*(f"{name}: {results[name]}" for name in sorted(results)), sep=", ")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
