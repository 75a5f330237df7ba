"""Files that weigh little and would cost much: what they name again and again, claim, compress or nest."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import checkpoints
import hdf5_files as hdf5
import numpy as np
from keras_files import DATA, entries

from grurt.converters.torch.checkpoint.legacy import MAGIC, PROTOCOL

MEBIBYTE = 1 << 20
COMPRESSED = 7 * MEBIBYTE
"""What a small archive may unpack to."""


@dataclass(frozen=True)
class Heavy:
    """A file: what is said of it, what writes it, how it ends, and the description that it is converted with.

    ``layers`` may be what writes a description, or an architecture, in a file of its own.
    """

    message: str
    content: Callable[[], bytes]
    ending: str
    layers: str | Callable[[], bytes] | None = None


# HDF5


def shared_continuations() -> bytes:
    """Return many object headers that go on in the same block of messages."""
    data = hdf5.empty()
    block = hdf5.append(data, bytes(8 * 4090))
    more = (hdf5.CONTINUATION, struct.pack("<QQ", block, 8 * 4090))
    return hdf5.finished(data, hdf5.group(data, [(str(index), hdf5.header(data, more)) for index in range(2000)]))


def shared_texts() -> bytes:
    """Return a list of texts of which each is the last object of a long heap."""
    data = hdf5.empty()
    heap = hdf5.global_heap(data, [*((1, b""),) * 65_000, (7, b"x")])
    model = hdf5.group(data, [], hdf5.texts("layer_names", [(1, heap, 7)] * 4000))
    config = hdf5.text("model_config", json.dumps(sequential([gru("g")])).encode())
    return hdf5.finished(data, hdf5.group(data, [("model_weights", model)], config))


def long_shared_texts() -> bytes:
    """Return a list of texts that all are the same long object of a heap."""
    data = hdf5.empty()
    heap = hdf5.global_heap(data, [(1, b"x" * 4000)])
    model = hdf5.group(data, [], hdf5.texts("layer_names", [(4000, heap, 1)] * 4000))
    return hdf5.finished(data, hdf5.group(data, [("model_weights", model)], hdf5.text("model_config", b"{}")))


def chains_of_nodes(groups: int) -> bytes:
    """Return groups that share a B-tree in which each node has one child."""
    data = hdf5.empty()
    node = hdf5.b_tree(data, 0, [])
    for _ in range(20_000):
        node = hdf5.b_tree(data, 1, [node])
    heap = hdf5.append(data, b"HEAP" + struct.pack("<IQQQ", 0, 8, hdf5.UNDEFINED, hdf5.append(data, bytes(8))))
    table = (hdf5.SYMBOL_TABLE, struct.pack("<QQ", node, heap))
    return hdf5.finished(data, hdf5.group(data, [(str(index), hdf5.header(data, table)) for index in range(groups)]))


def long_paths() -> bytes:
    """Return a group that is deep inside of groups with long names, and holds many others."""
    data = hdf5.empty()
    inner = hdf5.group(data, [(str(index), hdf5.group(data, [])) for index in range(5000)])
    for _ in range(60):
        inner = hdf5.group(data, [("n" * 4000, inner)])
    return hdf5.finished(data, inner)


def names_inside_of_names() -> bytes:
    """Return groups whose members' names are the ends of one long text that they share."""
    data = hdf5.empty()
    segment = hdf5.append(data, b"n" * 4000 + bytes(8))
    heap = hdf5.append(data, b"HEAP" + struct.pack("<IQQQ", 0, 4008, hdf5.UNDEFINED, segment))
    groups = []
    for index in range(50):
        children = [hdf5.header(data) for _ in range(4000)]
        rows = b"".join(struct.pack("<QQII16x", start, child, 0, 0) for start, child in enumerate(children))
        node = hdf5.append(data, b"SNOD" + struct.pack("<BBH", 1, 0, 4000) + rows)
        table = (hdf5.SYMBOL_TABLE, struct.pack("<QQ", hdf5.b_tree(data, 0, [node]), heap))
        groups.append((str(index), hdf5.header(data, table)))
    return hdf5.finished(data, hdf5.group(data, groups))


def many_attributes() -> bytes:
    """Return a group with as many attributes as an object header holds, which are a list in that many parts."""
    data = hdf5.empty()
    heap = hdf5.global_heap(data, [(1, b"g")])
    parts = [hdf5.texts(f"layer_names{index}", [(1, heap, 1)]) for index in reversed(range(4000))]
    blocks = [hdf5.messages(*parts[first : first + 500]) for first in range(0, 4000, 500)]
    more = [(hdf5.CONTINUATION, struct.pack("<QQ", hdf5.append(data, block), len(block))) for block in blocks]
    model = hdf5.group(data, [], *more)
    return hdf5.finished(data, hdf5.group(data, [("model_weights", model)], hdf5.text("model_config", b"{}")))


def many_objects() -> bytes:
    """Return a group of very many objects without anything."""
    data = hdf5.empty()
    return hdf5.finished(data, hdf5.group(data, [(str(index), hdf5.header(data)) for index in range(60_000)]))


def groups_in_names() -> bytes:
    """Return a model whose weights have names of many groups, as those of a file that was written on Windows."""
    data = hdf5.empty()
    names = ["\\".join([str(index)] + ["a"] * 60) for index in range(20_000)]
    layers = hdf5.group(data, [(name, hdf5.header(data)) for name in names])
    return keras(sequential([gru("g")]), hdf5.finished(data, hdf5.group(data, [("layers", layers)])))


def weights_without_bytes(*shape: int, stored: int = hdf5.UNDEFINED, times: int = 1) -> bytes:
    """Return a model whose weights have a shape, and bytes that are nowhere, or are those of all."""
    data = hdf5.empty()
    start = hdf5.append(data, bytes(4096)) if stored != hdf5.UNDEFINED else stored
    size = 4 * int(np.prod(shape, dtype=object)) % (1 << 64)
    arrays = [(str(index), hdf5.header(data, *hdf5.dataset_messages(shape, start, size))) for index in range(3)]
    names = [f"gru_{index}" if index else "gru" for index in range(times)]
    layers = []
    for name in names:
        cell = hdf5.group(data, [("vars", hdf5.group(data, arrays))])
        layers.append((name, hdf5.group(data, [("cell", cell)])))
        arrays = [(str(index), hdf5.header(data, *hdf5.dataset_messages(shape, start, size))) for index in range(3)]
    root = hdf5.group(data, [("layers", hdf5.group(data, layers)), ("more", hdf5.group(data, arrays))])
    return keras(sequential([gru(name) for name in names]), hdf5.finished(data, root))


def names_of_many_parts() -> bytes:
    """Return a model inside of a model, whose weights have a name of very many parts."""
    data = hdf5.empty()
    name = "/".join(map(str, range(70_000))).encode()
    heap = hdf5.global_heap(data, [(1, name), (2, b"m")])
    lists = hdf5.group(data, [], hdf5.texts("weight_names", [(len(name), heap, 1)]))
    given = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, None, 4]}}
    inner = {"class_name": "Sequential", "config": {"name": "m", "layers": [given, gru("g")]}}
    config = hdf5.text("model_config", json.dumps(sequential([given, inner])).encode())
    model = hdf5.group(data, [("m", lists)], hdf5.texts("layer_names", [(1, heap, 2)]))
    version = hdf5.text("keras_version", b"2.4.0")
    return hdf5.finished(data, hdf5.group(data, [("model_weights", model)], config, version))


def names_in_nested_models(models: Sequence[str], name: bytes, count: int) -> bytes:
    """Return models inside of each other around a layer, and many weights of one name, of which a heap has copies."""
    data = hdf5.empty()
    heaps = [hdf5.global_heap(data, [(index, name) for index in range(1, 4001)]) for _ in range(count // 4000)]
    lists = [
        hdf5.texts(f"weight_names{at}", [(len(name), heap, index) for index in range(1, 4001)])
        for at, heap in enumerate(heaps)
    ]
    layer = gru("g")
    for model in reversed(models):
        given = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, None, 4]}}
        layer = {"class_name": "Sequential", "config": {"name": model, "layers": [given, layer]}}
    listed = hdf5.text("layer_names", b"all")
    weights = hdf5.group(data, [(models[0], hdf5.group(data, [], *lists))], listed)
    config, version = json.dumps(sequential([given, layer])).encode(), hdf5.text("keras_version", b"2.4.0")
    return hdf5.finished(
        data, hdf5.group(data, [("model_weights", weights)], hdf5.text("model_config", config), version)
    )


LETTERS = [chr(code) for code in range(33, 127) if chr(code) not in "./"]


# Keras


def gru(name: str, **options: Any) -> dict[str, Any]:
    config = {"name": name, "units": 4, "return_sequences": True, "batch_input_shape": [None, None, 4]}
    return {"class_name": "GRU", "config": config | options}


def sequential(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}, "keras_version": "2.4.0"}


def functional(layers: Sequence[Mapping[str, Any]], output: str, call: int = 0) -> dict[str, Any]:
    given = {
        "class_name": "InputLayer",
        "name": "x",
        "config": {"name": "x", "batch_input_shape": [None, None, 4]},
        "inbound_nodes": [],
    }
    config = {
        "name": "f",
        "layers": [given, *layers],
        "input_layers": [["x", 0, 0]],
        "output_layers": [[output, call, 0]],
    }
    return {"class_name": "Functional", "config": config}


def node(kind: str, name: str, calls: Sequence[Any], **config: Any) -> dict[str, Any]:
    """Return a layer of a functional model and its calls."""
    return {"class_name": kind, "name": name, "config": {"name": name} | config, "inbound_nodes": list(calls)}


NO_WEIGHTS = hdf5.written({"layers": {}})


def keras(
    config: Any, weights: bytes = NO_WEIGHTS, version: str = "2.21.0", compression: int = zipfile.ZIP_DEFLATED
) -> bytes:
    """Return a ``.keras`` archive of a model, or of a configuration that is a text already."""
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    metadata = json.dumps({"keras_version": version}).encode()
    files = {"metadata.json": metadata, "config.json": text, "model.weights.h5": weights}
    return checkpoints.zipped(files, compression)


def calls_in_reverse_order(count: int) -> bytes:
    """Return a functional model whose layers stand from the last to the first."""
    layers = [
        node("Activation", str(index), [[[str(index - 1) if index else "x", 0, 0]]], activation="tanh")
        for index in range(count)
    ]
    return keras(functional(layers[::-1], str(count - 1)))


def nested_models_with_many_layers() -> bytes:
    """Return a model that is called very often, and has many layers that are never called."""
    unused = [{"class_name": "Dropout", "config": {"name": str(index)}} for index in range(20_000)]
    inner = functional(unused, "x")
    inner |= {"name": "f", "inbound_nodes": [[["x", 0, 0]], *([["f", index + 1, 0]] for index in range(8000))]}
    return keras(functional([inner], "f", 8000))


def layers_with_many_weights() -> bytes:
    """Return a layer that is called very often, and has a long list of weights."""
    data = hdf5.empty()
    heap = hdf5.global_heap(data, [(1, b"w")])
    lists = hdf5.group(data, [], hdf5.texts("weight_names", [(1, heap, 1)] * 4000))
    names = hdf5.texts("layer_names", [(1, heap, 1)])
    weights = hdf5.finished(data, hdf5.group(data, [("w", lists)], names))
    calls = [[["x" if index == 0 else "w", max(0, index - 1), 0]] for index in range(16_000)]
    return keras(functional([node("Dropout", "w", calls)], "w", 15_999), weights)


def models_with_many_outputs() -> bytes:
    """Return a model that is called very often, and has many outputs, which are one."""
    inner = functional([], "x")
    inner["config"]["output_layers"] = [["x", 0, 0]] * 10_000
    inner |= {"name": "f", "inbound_nodes": [[["x", 0, 0]], *([["f", index + 1, 0]] for index in range(8000))]}
    return keras(functional([inner], "f", 8000))


def cells_in_cells() -> bytes:
    """Return a layer of many cells that is called very often."""
    cell = {"class_name": "GRUCell", "config": {"units": 1, "use_bias": False}}
    stack = {"class_name": "StackedRNNCells", "config": {"cells": [cell] * 1000}}
    calls = [[["x" if index == 0 else "r", max(0, index - 1), 0]] for index in range(16_000)]
    cells = {"gru_cell" + (f"_{index}" if index else ""): index for index in range(1000)}
    arrays = {
        name: {"vars": {"0": np.ones((4 if index == 0 else 1, 3)), "1": np.ones((1, 3))}}
        for name, index in cells.items()
    }
    weights = hdf5.written({"layers": {"rnn": {"cell": {"cells": arrays}}}})
    return keras(functional([node("RNN", "r", calls, cell=stack, return_sequences=True)], "r", 15_999), weights)


def called_often(**config: Any) -> bytes:
    """Return a layer that is called very often, and has something heavy in its configuration."""
    calls = [[["x" if index == 0 else "d", max(0, index - 1), 0]] for index in range(16_000)]
    return keras(functional([node("Dropout", "d", calls) | {"config": config}], "d", 15_999))


def features_that_double() -> bytes:
    """Return a model whose vectors are joined with themselves until no memory holds them."""
    layers = []
    before = "x"
    for index in range(60):
        layers.append(node("Concatenate", f"c{index}", [[[before, 0, 0], [before, 0, 0]]], axis=-1))
        before = f"c{index}"
    one = node("Add", "sum", [[["narrow", 0, 0], [before, 0, 0]]])
    narrow = node("Dense", "narrow", [[["x", 0, 0]]], units=1, use_bias=False)
    weights = hdf5.written({"layers": {"dense": {"vars": {"0": np.ones((4, 1))}}}})
    return keras(functional([*layers, narrow, one], "sum"), weights)


def deep_arguments() -> bytes:
    """Return a call whose arguments are lists in lists."""
    deep: Any = ["x", 0, 0]
    for _ in range(900):
        deep = [deep]
    return keras(functional([node("Dropout", "d", [[["x", 0, 0, {"a": deep}]]])], "d"))


def wrappers_in_wrappers() -> bytes:
    """Return layers inside of others, as deep as JSON may be."""
    inner = gru("g")
    for _ in range(300):
        inner = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}
    return keras(sequential([inner | {"config": inner["config"] | {"batch_input_shape": [None, None, 4]}}]))


SOUND = entries(DATA / "k3_two_layers.keras")


def keras_with(**changed: bytes) -> bytes:
    """Return a sound ``.keras`` archive with some entries changed, compressed."""
    names = {"config": "config.json", "weights": "model.weights.h5", "metadata": "metadata.json"}
    return checkpoints.zipped(SOUND | {names[key]: value for key, value in changed.items()}, zipfile.ZIP_DEFLATED)


# Pickles


def modules_that_share(leaves: int, roots: int) -> bytes:
    """Return modules that all hold the same graph of modules, in which each holds the next one twice."""
    parts = [b"\x80\x02", stub(b"}" + text("_parameters") + b"}" + text("w") + checkpoints.tensor() + b"ss")]
    parts.append(b"q\x00")
    for _ in range(leaves):
        children = b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00u"
        parts.append(b"0" + stub(b"}" + text("_modules") + children + b"s") + b"q\x00")
    roots_ = b"".join(
        text(str(index)) + stub(b"}" + text("_modules") + b"}" + text("a") + b"h\x00ss") for index in range(roots)
    )
    return checkpoints.checkpoint(b"".join(parts) + b"0}(" + roots_ + b"u.", {"0": bytes(16)})


def attributes_that_are_shared(count: int) -> bytes:
    """Return modules that hold each other twice, down to one with many attributes."""
    many = b"}(" + b"".join(text(str(index)) + b"N" for index in range(count)) + b"u"
    parts = [b"\x80\x02" + stub(many + text("_modules") + b"}s") + b"q\x00"]
    for _ in range(15):
        children = b"}(" + text("a") + b"h\x00" + text("b") + b"h\x00u"
        parts.append(b"0" + stub(b"}" + text("_modules") + children + b"s") + b"q\x00")
    return checkpoints.zipped({"a/data.pkl": b"".join(parts) + b"."}, zipfile.ZIP_DEFLATED)


def many_modules(count: int) -> bytes:
    """Return tensors of very many modules, which all are one."""
    weights = {f"m{index}.weight": checkpoints.tensor() for index in range(count)}
    return checkpoints.checkpoint(checkpoints.state_dict(**weights), {"0": bytes(16)})


def stub(state: bytes) -> bytes:
    """Return the opcodes of an object of a class that is not known, with a state."""
    return b"cm\nNet\n)\x81" + state + b"b"


text = checkpoints.text
OPERATIONS = 500_000
"""Of a pickle in a small file."""


def long_keys_that_are_shared() -> bytes:
    """Return dictionaries in each other's long key."""
    key = text("k" * MEBIBYTE) + b"q\x00"
    inner = b"".join(text(str(index)) + b"}h\x00}s" for index in range(10_000))
    return checkpoints.checkpoint(b"\x80\x02" + key + b"0}h\x00}(" + inner + b"us.")


def pairs_in_a_tuple() -> bytes:
    """Return a long tuple of pairs of which a dictionary is made again and again."""
    pairs = b"(" + (text("a") + b"K\x01\x86") * 20_000 + b"tq\x00"
    call = b"ccollections\nOrderedDict\nq\x010"
    return checkpoints.checkpoint(b"\x80\x02" + pairs + b"0" + call + b"h\x01h\x00\x85R0" * 20_000 + b"N.")


def long_persistent_ids() -> bytes:
    """Return a long tuple that is given again and again as the id of a storage."""
    storage = text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01" + b"N" * 100_000
    return checkpoints.checkpoint(b"\x80\x02(" + storage + b"tq\x00" + b"0h\x00Q" * 100_000 + b".")


def many_arguments() -> bytes:
    """Return a long tuple that is given again and again as the arguments of a function."""
    view = b"(" + checkpoints.tensor() + b"N" * 100_000 + b"tq\x00"
    call = b"ctorch._utils\n_rebuild_parameter\nq\x01"
    return checkpoints.checkpoint(b"\x80\x02" + view + call + b"h\x01h\x00R0" * 100_000 + b".")


def names_put_together() -> bytes:
    """Return classes whose names are all pairs of some long texts."""
    texts = b"".join(text(f"{index:0480}") + b"\x94" for index in range(200))
    pairs = b"".join(b"h%ch%c\x93" % (index % 200, index // 200 % 200) for index in range(160_000))
    return pickled(texts + pairs + b".")


def many_dictionaries(count: int, **tensors: bytes) -> bytes:
    """Return dictionaries that hold a tensor each, beside tensors of these names."""
    inner = b"".join(text(str(index)) + b"}" + text("mean") + checkpoints.tensor() + b"s" for index in range(count))
    beside = b"".join(text(name) + opcodes for name, opcodes in tensors.items())
    return checkpoints.checkpoint(b"\x80\x02}(" + inner + beside + b"u.", {"0": bytes(16)})


def arrays_that_share_a_text(count: int, size: int) -> bytes:
    """Return arrays of NumPy's that are all made of one text."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01" + checkpoints.integers((size,))
    made += b"cnumpy\ndtype\n(" + text("u1") + b"tR\x89c_codecs\nencode\n(h\x00" + text("latin1") + b"tRtb"
    weights = b"".join(text(f"w{index}") + made for index in range(count))
    return pickled(text("\x00" * size) + b"q\x000}(" + weights + b"u.")


def pickled(opcodes: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    return checkpoints.zipped({"archive/data.pkl": b"\x80\x02" + opcodes}, compression)


def views_of_one_number(**sizes: int) -> bytes:
    """Return tensors of these sizes, which all are one number."""
    views = {name: checkpoints.tensor(size=(size,), stride=(0,)) for name, size in sizes.items()}
    return checkpoints.checkpoint(checkpoints.state_dict(**views), {"0": bytes(16)})


def views_of_one_storage(count: int, size: int) -> bytes:
    """Return many tensors that all are the same storage."""
    views = {f"t{index}": checkpoints.tensor(numel=size, size=(size,)) for index in range(count)}
    return checkpoints.checkpoint(checkpoints.state_dict(**views), {"0": bytes(4 * size)})


def legacy(keys: Sequence[str], opcodes: bytes = b"\x80\x02}.", data: bytes = b"") -> bytes:
    """Return a checkpoint in the format before torch 1.6."""
    parts = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {})]
    return b"".join([*parts, opcodes, pickle.dumps(list(keys), 2), data])


def a_long_key_many_times() -> bytes:
    """Return storages without numbers that have the same long key."""
    key = text("k" * MEBIBYTE) + b"q\x00"
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + key + text("cpu") + b"K\x00tQ"
    pickles = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {})]
    keys = b"\x80\x02](" + key + b"h\x00" * 60_000 + b"e."
    return b"".join([*pickles, b"\x80\x02" + storage + b".", keys, bytes(8 * 60_001)])


def many_attributes_in_many_groups() -> bytes:
    """Return groups of many attributes each, in an archive that is much smaller than they."""
    data = hdf5.empty()
    empty = [hdf5.text("a", b"")] * 1000
    groups = [(str(index), hdf5.group(data, [], *empty)) for index in range(180)]
    return keras_with(weights=hdf5.finished(data, hdf5.group(data, groups)))


def program(**changed: bytes) -> bytes:
    """Return a program of torch.export with some entries changed, compressed."""
    names = {"model": "export/models/model.json", "weights": "export/data/weights/model_weights_config.json"}
    files = checkpoints.entries(checkpoints.DATA / "export.pt2")
    return checkpoints.zipped(files | {names[key]: value for key, value in changed.items()}, zipfile.ZIP_DEFLATED)


def weights_of_a_program(count: int) -> bytes:
    """Return the places of many weights, which are one."""
    files = checkpoints.entries(checkpoints.DATA / "export.pt2")
    config = json.loads(files["export/data/weights/model_weights_config.json"])["config"]
    entry = next(iter(config.values()))
    return json.dumps({"config": config | {str(index): entry for index in range(count)}}).encode()


def nested_archives() -> bytes:
    """Return a program in its older layout, with a compressed checkpoint, half of it empty, in a compressed entry."""
    count = MEBIBYTE
    weights = checkpoints.state_dict(w=checkpoints.tensor(numel=count, size=(count,)))
    inner = checkpoints.zipped({"a/data.pkl": weights, "a/data/0": bytes(4 * count)}, zipfile.ZIP_DEFLATED)
    padded = checkpoints.appended(inner, "padding", bytes(COMPRESSED))
    outer = {"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": padded}
    return checkpoints.zipped(outer, zipfile.ZIP_DEFLATED)


# Zip archives


def many_entries(count: int) -> bytes:
    return checkpoints.zipped({f"a/{index}": b"" for index in range(count)} | {"a/data.pkl": b"\x80\x02}."})


# JSON


def repeated(begin: bytes, item: bytes, end: bytes, size: int = 12 * MEBIBYTE) -> bytes:
    return begin + item * (size // len(item)) + end


# safetensors


def safetensors(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def many_tensors(count: int) -> bytes:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    return safetensors(json.dumps({str(index): entry for index in range(count)}).encode())


def tensor_of_shape(shape: str) -> bytes:
    return safetensors(b'{"w":{"dtype":"F32","shape":%s,"data_offsets":[0,4]}}' % shape.encode(), bytes(4))


def empty_tensor_of_shape(shape: str) -> bytes:
    return safetensors(b'{"w":{"dtype":"F32","shape":%s,"data_offsets":[0,0]}}' % shape.encode())


# NumPy


def npy(shape: str, descr: str = "'<f4'", data: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def arrays(count: int = 1, content: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    return checkpoints.zipped({f"{index}.npy": content for index in range(count)}, compression)


# Descriptions


def sound_weights() -> bytes:
    return checkpoints.checkpoint(checkpoints.state_dict(w=checkpoints.tensor()), {"0": bytes(16)})


def described(message: str, text: str) -> Heavy:
    """Return sound weights, and a heavy description of their layers."""
    return Heavy(message, sound_weights, ".pt", text.encode)


HEAVY: Mapping[str, Heavy] = {
    "h5: continuation blocks that are shared": Heavy(
        "structures that share their bytes over and over", shared_continuations, ".h5"
    ),
    "h5: texts at the end of a heap": Heavy("expected 9 weights .*, got 0", shared_texts, ".h5"),
    "h5: a long text many times": Heavy("structures that share their bytes over and over", long_shared_texts, ".h5"),
    "h5: a chain of nodes": Heavy(
        "expected the architecture of these weights, got none", lambda: chains_of_nodes(1), ".h5"
    ),
    "h5: a chain of nodes that is shared": Heavy(
        "structures that share their bytes over and over", lambda: chains_of_nodes(100), ".h5"
    ),
    "h5: long paths": Heavy("got a path of more than 1000 characters, at", long_paths, ".h5"),
    "h5: names inside of names": Heavy("got a path of more than 1000 characters, at", names_inside_of_names, ".h5"),
    "h5: many attributes": Heavy("expected a description with a class_name", many_attributes, ".h5"),
    "h5: many objects": Heavy("expected the architecture of these weights, got none", many_objects, ".h5"),
    "h5: names of many parts": Heavy("weights whose names have more than 65536 parts", names_of_many_parts, ".h5"),
    "h5: names that have the names of many models": Heavy(
        "structures that share their bytes over and over",
        lambda: names_in_nested_models(LETTERS[:14], "/".join(LETTERS).encode(), 16_000),
        ".h5",
    ),
    "h5: one name of many models": Heavy(
        "expected 3 weights .*, got 0", lambda: names_in_nested_models(["m"] * 15, b"m", 20_000), ".h5"
    ),
    "keras: groups in names": Heavy("structures that share their bytes over and over", groups_in_names, ".keras"),
    "keras: weights without bytes": Heavy(
        r"of 0 bytes for the shape \(1048576, 1048576\)", lambda: weights_without_bytes(1 << 20, 1 << 20), ".keras"
    ),
    "keras: weights of endless shape": Heavy(
        "of 0 bytes for the shape", lambda: weights_without_bytes(1 << 63, 1 << 62, 4, stored=0), ".keras"
    ),
    "keras: weights that share their bytes": Heavy(
        "expected weights for 4 units", lambda: weights_without_bytes(32, 32, stored=0, times=2000), ".keras"
    ),
    "keras: continuation blocks that are shared": Heavy(
        "structures that share their bytes over and over", lambda: keras_with(weights=shared_continuations()), ".keras"
    ),
    "keras: many attributes": Heavy(
        "expected the layers of a Keras model, got", many_attributes_in_many_groups, ".keras"
    ),
    "keras: calls in reverse order": Heavy(
        "may have 4096 layers, got 8000", lambda: calls_in_reverse_order(8000), ".keras"
    ),
    "keras: nested models with many layers": Heavy(
        "at least one input, one layer", nested_models_with_many_layers, ".keras"
    ),
    "keras: layers with many weights": Heavy("at least one input, one layer", layers_with_many_weights, ".keras"),
    "keras: models with many outputs": Heavy(
        "got a model of more than 16384 calls of layers; convert a part of it", models_with_many_outputs, ".keras"
    ),
    "keras: cells in cells": Heavy(
        "got a model of more than 16384 layers; convert a part of it", cells_in_cells, ".keras"
    ),
    "keras: many keys": Heavy(
        r"layer 'd' \(Dropout\): expected a configuration of at most 1000 keys, got 50000",
        lambda: called_often(**{f"{index}_initializer": 0 for index in range(50_000)}),
        ".keras",
    ),
    "keras: a name that is a list": Heavy(
        "at least one input, one layer", lambda: called_often(name=[0] * 500_000), ".keras"
    ),
    "keras: a long name": Heavy(
        "expected inputs for the layer 'nnn", lambda: called_often(name="n" * MEBIBYTE), ".keras"
    ),
    "keras: a long argument": Heavy(
        "at least one input, one layer", lambda: called_often(name="d", noise_shape=[0] * 500_000), ".keras"
    ),
    "keras: features that double": Heavy(
        r"layer 'narrow\.repeated': got a layer that is called too often", features_that_double, ".keras"
    ),
    "keras: deep arguments": Heavy(
        r"\.keras: expected a model, got something that is nested too deeply; the file is damaged",
        deep_arguments,
        ".keras",
    ),
    "keras: wrappers in wrappers": Heavy("got a single vector as its input", wrappers_in_wrappers, ".keras"),
    "keras: empty objects": Heavy(
        r"config\.json: expected JSON of at most [\d,]+ bytes when it is decoded, got up to",
        lambda: keras_with(config=repeated(b"[", b"{},", b"{}]", COMPRESSED)),
        ".keras",
    ),
    "keras: empty lists": Heavy(
        r"config\.json: expected JSON of at most [\d,]+ bytes when it is decoded, got up to",
        lambda: keras_with(config=repeated(b"[", b"[[]],", b"{}]", COMPRESSED)),
        ".keras",
    ),
    "keras: objects with a field": Heavy(
        r"config\.json: expected JSON of at most [\d,]+ bytes when it is decoded, got up to",
        lambda: keras_with(config=repeated(b"[", b'{"":0},', b"{}]", COMPRESSED)),
        ".keras",
    ),
    "keras: empty objects as metadata": Heavy(
        r"metadata\.json: expected JSON of at most [\d,]+ bytes",
        lambda: keras_with(metadata=repeated(b"[", b"{},", b"{}]", COMPRESSED)),
        ".keras",
    ),
    "keras: zeros as weights": Heavy(
        r"expected entries within the file's size, got 'model\.weights\.h5'",
        lambda: keras_with(weights=bytes(64 * MEBIBYTE)),
        ".keras",
    ),
    "pt: modules that share": Heavy(
        "expected one state dict, got 1000; say which", lambda: modules_that_share(12, 1000), ".pt", "fc"
    ),
    "pt: modules that share very deeply": Heavy(
        "expected at most 65536 modules and tensors", lambda: modules_that_share(40, 1), ".pt", "fc"
    ),
    "pt: attributes that are shared": Heavy(
        "expected at most 65536 modules and tensors", lambda: attributes_that_are_shared(20_000), ".pt", "fc"
    ),
    "pt: many modules": Heavy("Its 12000 tensors", lambda: many_modules(12_000), ".pt"),
    "pt: long keys that are shared": Heavy(
        "got an object of type 'dict' without tensors", long_keys_that_are_shared, ".pt", "fc"
    ),
    "pt: pairs in a tuple": Heavy("expected at most [0-9]+ operations, got more", pairs_in_a_tuple, ".pt", "fc"),
    "pt: long persistent ids": Heavy("a persistent id that names no storage", long_persistent_ids, ".pt", "fc"),
    "pt: many arguments": Heavy("expected at most [0-9]+ operations, got more", many_arguments, ".pt", "fc"),
    "pt: dictionaries without end": Heavy(
        "expected at most [0-9]+ operations, got more", lambda: pickled(b"}" * COMPRESSED + b"."), ".pt", "fc"
    ),
    "pt: empty dictionaries": Heavy(
        "got an object of type 'dict' without tensors", lambda: pickled(b"}" * OPERATIONS + b"."), ".pt", "fc"
    ),
    "pt: dictionaries with a field": Heavy(
        "got an object of type 'dict' without tensors",
        lambda: pickled(b"}U\x00Ns" * (OPERATIONS // 4) + b"."),
        ".pt",
        "fc",
    ),
    "pt: a full memo": Heavy(
        "got an object of type 'dict' without tensors",
        lambda: pickled(b"}\x94" * (OPERATIONS // 2) + b"."),
        ".pt",
        "fc",
    ),
    "pt: tuples in tuples": Heavy(
        "got an object of type 'tuple' without tensors",
        lambda: pickled(b"N" + b"\x85" * OPERATIONS + b"."),
        ".pt",
        "fc",
    ),
    "pt: stubs": Heavy(
        "got an object of type 'an object' without tensors",
        lambda: pickled(b"ca\na\n" + b"2)R" * (OPERATIONS // 3) + b"."),
        ".pt",
        "fc",
    ),
    "pt: names of stubs": Heavy(
        "got an object of type 'Global' without tensors", lambda: pickled(b"ca\na\n" * OPERATIONS + b"."), ".pt", "fc"
    ),
    "pt: names put together": Heavy("expected at most [0-9]+ operations, got more", names_put_together, ".pt", "fc"),
    "pt: one number seen as many": Heavy(
        "tensor 'fc_v': expected tensors that fit into the file",
        lambda: views_of_one_number(fc_g=1, fc_v=1 << 28),
        ".pt",
        "fc",
    ),
    "pt: one number seen as many weights": Heavy(
        "expected a module, got none of that name", lambda: views_of_one_number(fc_g=1, fc_v=2_000_000), ".pt", "fc"
    ),
    "pt: one storage many times": Heavy(
        "expected tensors that fit into the file", lambda: views_of_one_storage(2000, 1 << 16), ".pt", "fc"
    ),
    "pt: many dictionaries of one tensor": Heavy(
        "expected one state dict, got 20000; say which", lambda: many_dictionaries(20_000), ".pt", "fc"
    ),
    "pt: many dictionaries beside weights": Heavy(
        "Its 1 tensors", lambda: many_dictionaries(20_000, weight=checkpoints.tensor()), ".pt"
    ),
    "pt: arrays that share a text": Heavy(
        "expected tensors that fit into the file", lambda: arrays_that_share_a_text(2000, MEBIBYTE), ".pt", "fc"
    ),
    "zip: many entries": Heavy(
        "got an object of type 'dict' without tensors", lambda: many_entries(60_000), ".pt", "fc"
    ),
    "zip: bzip2": Heavy(
        "expected entries that are stored or deflated, got 'w",
        lambda: checkpoints.zipped({"w.npy": bytes(20 * MEBIBYTE)}, zipfile.ZIP_BZIP2),
        ".npz",
        "fc",
    ),
    "zip: lzma": Heavy(
        "expected entries that are stored or deflated, got 'w",
        lambda: checkpoints.zipped({"w.npy": bytes(MEBIBYTE)}, zipfile.ZIP_LZMA),
        ".npz",
        "fc",
    ),
    "json: empty objects": Heavy(
        "expected at most 131072 names and objects, got more", lambda: repeated(b"[", b"{},", b"{}]"), ".json", "fc"
    ),
    "json: empty lists": Heavy(
        "a state dict, arrays by name, got none", lambda: repeated(b"[", b"[],", b"[]]"), ".json", "fc"
    ),
    "json: lists in lists": Heavy("expected a sound text, got damage", lambda: repeated(b"", b"[", b""), ".json", "fc"),
    "json: rows of a column": Heavy(
        r"weight \(.*, 1\), may be linear or embedding",
        lambda: repeated(b'{"fc.weight":[', b"[0],", b"[0]]}"),
        ".json",
        "fc",
    ),
    "json: zeros": Heavy(
        r"weight \(1, .*\), may be linear or embedding",
        lambda: repeated(b'{"fc.weight":[[', b"0,", b"0]]}"),
        ".json",
        "fc",
    ),
    "json: halves": Heavy(
        r"weight \(1, .*\), may be linear or embedding",
        lambda: repeated(b'{"fc.weight":[[', b"0.5,", b"0]]}"),
        ".json",
        "fc",
    ),
    "json: lists of several lengths": Heavy(
        "got lists of different lengths", lambda: repeated(b'{"fc.weight":[', b"[0,1],[],", b"[0]]}"), ".json", "fc"
    ),
    "json: texts": Heavy(
        "expected at most 131072 names and objects, got more",
        lambda: repeated(b'{"fc.weight":[', b'"a",', b'"a"]}'),
        ".json",
        "fc",
    ),
    "json: layers that are no objects": Heavy(
        "layers: expected a list of objects, got another",
        lambda: repeated(b'{"in_shape":[1],"layers":[', b"0,", b"0]}"),
        ".json",
    ),
    "json: weights that are numbers": Heavy(
        "expected 1 or 2 weights, got 0",
        lambda: repeated(b'{"in_shape":[1],"layers":[{"type":"dense","shape":[1],"weights":[', b"0,", b"0]}]}"),
        ".json",
    ),
    "json: weights that are lists": Heavy(
        "expected 1 or 2 weights, got 0",
        lambda: repeated(b'{"in_shape":[1],"layers":[{"type":"dense","shape":[1],"weights":[', b"[0],", b"[0]]}]}"),
        ".json",
    ),
    "json: a long shape": Heavy(
        "in_shape: expected a value of at most 4096 characters, got one of",
        lambda: repeated(b'{"in_shape":[', b"1,", b'1],"layers":[]}'),
        ".json",
    ),
    "json: many names": Heavy(
        "expected at most 131072 names and objects, got more",
        lambda: b"{" + b",".join(b'"%d":[]' % index for index in range(2 * MEBIBYTE)) + b"}",
        ".json",
        "fc",
    ),
    "json: one name many times": Heavy(
        "expected at most 131072 names and objects, got more",
        lambda: repeated(b"{", b'"a":[],', b'"a":[]}'),
        ".json",
        "fc",
    ),
    "safetensors: many tensors": Heavy(
        "safetensors: expected at most 65536 tensors, got more", lambda: many_tensors(100_000), ".safetensors", "fc"
    ),
    "safetensors: many axes": Heavy(
        "expected at most 16 axes of sizes that memory can hold, got others",
        lambda: tensor_of_shape(f"[{'1,' * 64}1]"),
        ".safetensors",
        "fc",
    ),
    "safetensors: axes without end": Heavy(
        "safetensors: expected JSON of at most",
        lambda: tensor_of_shape(f"[{'1,' * 10_000_000}1]"),
        ".safetensors",
        "fc",
    ),
    "safetensors: an endless axis": Heavy(
        "expected a sound file, got damage", lambda: tensor_of_shape(f"[{10**25}]"), ".safetensors", "fc"
    ),
    "safetensors: empty and endless": Heavy(
        "expected at most 16 axes of sizes that memory can hold, got others",
        lambda: empty_tensor_of_shape(f"[0,{(1 << 63) - 1},{(1 << 63) - 1}]"),
        ".safetensors",
        "fc",
    ),
    "safetensors: empty and large": Heavy(
        r"tensor 'w': expected a shape that fits, got \[0, ",
        lambda: empty_tensor_of_shape("[0,140737488355328,140737488355328]"),
        ".safetensors",
        "fc",
    ),
    "npz: zeros": Heavy(
        r"expected entries within the file's size, got '0\.npy'",
        lambda: arrays(1, npy("(16777216,)", data=bytes(64 * MEBIBYTE)), zipfile.ZIP_DEFLATED),
        ".npz",
        "fc",
    ),
    "npz: many arrays": Heavy(
        "arrays: expected at most 65536 of them, got 70000", lambda: arrays(70_000, npy("(0,)")), ".npz", "fc"
    ),
    "npz: long headers": Heavy(
        "got damage: a header of 9",
        lambda: arrays(2000, npy("(" + "1," * 4800 + ")"), zipfile.ZIP_DEFLATED),
        ".npz",
        "fc",
    ),
    "npz: a large shape": Heavy(
        "expected 4398046511104 bytes for its shape",
        lambda: arrays(1, npy("(1 << 40,)".replace("1 << 40", str(1 << 40)))),
        ".npz",
        "fc",
    ),
    "npz: empty and endless": Heavy(
        r"array '0': expected a shape that fits, got \(0, ",
        lambda: arrays(1, npy(f"(0, {1 << 62}, {1 << 62})")),
        ".npz",
        "fc",
    ),
    "npz: elements of two gigabytes": Heavy(
        "expected real numbers, got the dtype", lambda: arrays(1, npy("(0,)", "'|V2147483647'")), ".npz", "fc"
    ),
    "npz: lists in lists": Heavy(
        "expected a sound .npy entry, got damage", lambda: arrays(1, npy("(" + "[" * 4000 + ")")), ".npz", "fc"
    ),
    "npz: a number without end": Heavy(
        "expected a sound .npy entry, got damage", lambda: arrays(1, npy("(" + "9" * 9000 + ",)")), ".npz", "fc"
    ),
    "legacy: keys without end": Heavy("expected keys of storages in use", lambda: legacy(["0"] * 400_000), ".pt", "fc"),
    "legacy: a long key many times": Heavy("a persistent id that names no storage", a_long_key_many_times, ".pt", "fc"),
    "legacy: dictionaries": Heavy(
        "got an object of type 'dict' without tensors",
        lambda: legacy([], b"\x80\x02" + b"}" * OPERATIONS + b"."),
        ".pt",
        "fc",
    ),
    "pt2: empty objects": Heavy(
        "expected JSON of at most", lambda: program(model=repeated(b'{"a":[', b"{},", b"{}]}", COMPRESSED)), ".pt2"
    ),
    "pt2: empty lists": Heavy(
        "expected JSON of at most", lambda: program(weights=repeated(b'{"a":[', b"[],", b"[]]}", COMPRESSED)), ".pt2"
    ),
    "pt2: weights that are one": Heavy(
        "expected JSON of at most", lambda: program(weights=weights_of_a_program(20_000)), ".pt2"
    ),
    "pt2: archives in archives": Heavy(
        "expected entries within the file's size, got 'a/data/0'", nested_archives, ".pt2"
    ),
    "toml: a dotted key": described(
        "got a line with more than 1000 dots, which has to be broken", "a." * 100_000 + "a = 1"
    ),
    "toml: a quoted dotted key": described(
        "got a line with more than 1000 dots, which has to be broken", '"[".' * 100_000 + "a = 1"
    ),
    "toml: dotted keys": described("Cannot overwrite a value", ("a." * 999 + "a = 1\n") * 250),
    "toml: lists in lists": described("expected a description of the layers in TOML", "a = " + "[" * 400_000),
    "toml: empty tables": described("expected a module, got none of that name", "layers = [" + "{}," * 160_000 + "]"),
    "toml: tables": described("expected a module, got none of that name", "[[layers]]\n" * 45_000),
    "toml: a number without end": described("expected a description of the layers in TOML", "a = " + "9" * 500_000),
    "toml: a long function": described(r"layers '\(\(\(", f'[[layers]]\nmodule = "w"\nfunctions = ["{"(" * 500_000}"]'),
    "toml: a long text": described(
        "expected at most 524288 bytes, got 2097152; describe fewer layers", " " * 2 * MEBIBYTE
    ),
    "toml: many layers": described("expected the final state of a GRU", '[[layers]]\nkind = "final_state"\n' * 15_000),
    "toml: things to ignore": described(
        "expected a module, got none of that name", "ignore = [" + '"a.b.c",\n' * 50_000 + "]\n[[layers]]\nmodule='w'"
    ),
    "json: an architecture of empty objects": Heavy(
        "expected JSON of at most",
        lambda: (DATA / "k2_masked.weights_only.h5").read_bytes(),
        ".h5",
        lambda: repeated(b"[", b"{},", b"{}]"),
    ),
}
