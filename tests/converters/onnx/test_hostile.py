"""Damaged and hostile ONNX files give an exception of grurt's own, quickly, and open nothing outside their folder."""

from __future__ import annotations

import errno
import os
import random as python_random
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
import onnx_graphs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper
from onnx_graphs import DATA, HIDDEN, INPUT, after_gru, convert, gru_weights, node, proto, random
from paths import HELPERS

import grurt
from grurt.converters import convert_onnx
from grurt.converters.onnx import tensors
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import ConversionError, GrurtError, UnsupportedError

SOURCE = grurt.Source(format="onnx")
WHOLE = [
    "a_h0_bf.ts.op17.onnx",
    "b_lasthidden.ts.da.op23.onnx",
    "d_bi.ts.da.op18.onnx",
    "e_charlm.ts.op17.onnx",
    "f_cell.ts.op17.onnx",
    "j_conv_causal.ts.da.op18.onnx",
    "k_norms.ts.op17.onnx",
    "l_residual.ts.op17.onnx",
]
EXTERNAL = "c_eachstep_bf.dyn.db.op18.onnx"


def fuzzed_without_fault(tmp_path: Path, first: int, count: int) -> str:
    """Mutate files in a process of its own, of limited memory, which may open nothing outside of a folder."""
    fuzzer = HELPERS / "onnx_fuzz.py"
    arguments = [sys.executable, str(fuzzer), str(first), str(count), str(DATA), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_mutated_files(tmp_path: Path) -> None:
    assert "ConversionError" in fuzzed_without_fault(tmp_path, 0, 500)


@pytest.mark.long
def test_a_hundred_thousand_mutated_files(tmp_path: Path) -> None:
    assert "ConversionError" in fuzzed_without_fault(tmp_path, 0, 100_000)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(WHOLE), seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.05, 0.005, 0.0]))
def test_bytes_changed_at_random(name: str, seed: int, share: float) -> None:
    """A share of 0 is a single byte."""
    source = python_random.Random(seed)
    data = bytearray((DATA / name).read_bytes())
    for _ in range(max(1, int(len(data) * share))):
        data[source.randrange(len(data))] = source.randrange(256)
    try:
        network_of_bytes(bytes(data), source=SOURCE)
    except GrurtError:
        return


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(WHOLE), share=st.floats(0, 0.999))
def test_a_file_cut_short(name: str, share: float) -> None:
    data = (DATA / name).read_bytes()
    with pytest.raises(GrurtError):
        network_of_bytes(data[: int(len(data) * share)], source=SOURCE)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(WHOLE), seed=st.integers(0, 2**32 - 1))
def test_parts_of_the_graph_changed_at_random(name: str, seed: int) -> None:
    source = python_random.Random(seed)
    model = onnx_graphs.load(name)
    for _ in range(source.randrange(1, 4)):
        change(model, source)
    try:
        convert(model)
    except GrurtError:
        return


def change(model: ModelProto, source: python_random.Random) -> None:
    graph = model.graph
    numbers = [0, 1, -1, 2, 7, 2**31, 2**62, -(2**63), 2**63 - 1]
    tensors = [name for other in graph.node for name in (*other.input, *other.output)] + [""]
    changed = source.choice(graph.node)
    what = source.randrange(6)
    if what == 0 and changed.input:
        changed.input[source.randrange(len(changed.input))] = source.choice(tensors)
    elif what == 1:
        changed.op_type = source.choice(
            ["Expand", "Tile", "Range", "Gather", "Concat", "Reshape", "Split", "GRU", "Shape"]
        )
    elif what == 2:
        name = source.choice(["axis", "axes", "layout", "split", "to", "perm", "num_outputs", "direction"])
        changed.attribute.append(helper.make_attribute(name, source.choice([numbers[:2], 1, -1, "reverse", 0.5])))
    elif what == 3:
        constants = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.INT64]
        constants += [entry.t for other in graph.node for entry in other.attribute if entry.name == "value"]
        if constants:
            tensor = source.choice(constants)
            tensor.CopyFrom(helper.make_tensor(tensor.name, TensorProto.INT64, [1], [source.choice(numbers)]))
    elif what == 4:
        graph.node.remove(changed)
    else:
        port = source.choice([*graph.input, *graph.output]).type.tensor_type
        if port.shape.dim:
            port.shape.dim[0].dim_value = source.choice(numbers)


@pytest.mark.parametrize("data", [b"", b"\0" * 100, b"PK\x03\x04 no model", b"\x08\x08", "später".encode("latin-1")])
def test_bytes_that_are_no_model(data: bytes) -> None:
    with pytest.raises(ConversionError, match="expected an ONNX model"):
        network_of_bytes(data, source=SOURCE)


def test_names_that_are_not_text() -> None:
    data = proto([node("GRU", ["x"], ["YYYYYY"])], {"x": (4, 2, INPUT)}, ["YYYYYY"], {}).SerializeToString()
    with pytest.raises(ConversionError, match=r"expected names in UTF-8, got b'.xffYYYYY'"):
        network_of_bytes(data.replace(b"YYYYYY", b"\xffYYYYY"), source=SOURCE)


def external(tmp_path: Path, **entries: str) -> Path:
    """Copy a model with external data, and change where its first external tensor says that the data are."""
    for path in DATA.glob(f"{EXTERNAL}*"):
        shutil.copy(path, tmp_path)
    model = onnx.load(tmp_path / EXTERNAL, load_external_data=False)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.data_location == TensorProto.EXTERNAL)
    for entry in tensor.external_data:
        entry.value = entries.get(entry.key, entry.value)
    (tmp_path / EXTERNAL).write_bytes(model.SerializeToString())
    return tmp_path / EXTERNAL


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "..", "", "C:\\secret", "\\\\host\\secret", "x\\..\\secret", "a\0b"],
)
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(10_000))
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ConversionError, match="must lie in the model's own folder"):
        convert_onnx(external(folder, location=location))


def test_external_data_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(10_000))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to("../secret")
    with pytest.raises(ConversionError, match="is a link that leaves the model's folder"):
        convert_onnx(external(folder, location="link"))


def test_external_data_that_are_not_there(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / f"{EXTERNAL}.data").unlink()
    with pytest.raises(ConversionError, match=r"its data are in 'c_.*\.data', which is not there; put the file beside"):
        convert_onnx(path)


def test_external_data_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> BinaryIO:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    path = external(tmp_path)
    monkeypatch.setattr(tensors, "open_regular_file", fail)
    with pytest.raises(ConversionError, match=r"tensor '.*': cannot read '.*': Input/output error"):
        convert_onnx(path)


def test_external_data_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    with pytest.raises(ConversionError, match="its data are in 'weights', which is not there"):
        convert_onnx(external(tmp_path, location="weights"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"offset": "1000000"},
            "got 384 at offset 1000000 of 1152: the model and its data file do not belong together",
        ),
        ({"offset": "-4"}, "expected an offset or length in bytes, got '-4'"),
        ({"offset": "1e3"}, "expected an offset or length in bytes, got '1e3'"),
        ({"length": "4"}, r"expected 384 bytes of .*, got 4 at offset"),
        ({"length": "9" * 30}, "expected an offset or length in bytes"),
    ],
)
def test_external_data_that_do_not_fit(tmp_path: Path, entries: dict[str, str], message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert_onnx(external(tmp_path, **entries))


def test_external_data_of_a_model_in_memory() -> None:
    with pytest.raises(ConversionError, match="which a model in memory does not have; export with external_data=False"):
        network_of_bytes((DATA / EXTERNAL).read_bytes(), source=SOURCE)


@pytest.mark.parametrize("dims", [[2**40, 2**40], [1, 15, 10**9], [-1, 15, 3]])
def test_weights_that_claim_to_be_larger_than_the_file(dims: list[int]) -> None:
    graph = proto([node("GRU", ["x", "W", "R"], ["Y"])], {"x": (4, 2, INPUT)}, ["Y"], gru_weights())
    del graph.graph.initializer[0].dims[:]
    graph.graph.initializer[0].dims.extend(dims)
    with pytest.raises(ConversionError, match=r"tensor 'W': (its shape .* needs|expected at most)"):
        convert(graph)


@pytest.mark.parametrize("size", [2**40, -3, 0])
def test_declared_sizes_beyond_reason(size: int) -> None:
    graph = proto([node("GRU", ["x", "W", "R", "B"], ["Y"])], {"x": (size, 2, INPUT)}, ["Y"], gru_weights())
    with pytest.raises(UnsupportedError, match="axis 0 of input 'x': expected a size from 1 to"):
        convert(graph)


def test_nodes_in_a_circle() -> None:
    nodes = [node("Add", ["s", "b"], ["a"], name="first"), node("Relu", ["a"], ["b"]), node("Relu", ["b"], ["y"])]
    with pytest.raises(ConversionError, match="it reads, through other nodes, what it writes itself"):
        convert(after_gru(nodes))


def test_a_tensor_that_nobody_writes() -> None:
    with pytest.raises(ConversionError, match="tensor 'ghost': nothing writes it"):
        convert(after_gru([node("Add", ["s", "ghost"], ["y"])]))


def test_a_tensor_written_twice() -> None:
    with pytest.raises(ConversionError, match="the tensor 's' is written twice"):
        convert(after_gru([node("Relu", ["Y"], ["s"]), node("Relu", ["s"], ["y"])]))


def test_an_output_without_a_name() -> None:
    graph = after_gru([node("Relu", ["s"], ["y"])])
    graph.graph.output[0].name = ""
    with pytest.raises(ConversionError, match="an input or output of the graph has no name"):
        convert(graph)


def test_weights_that_are_not_finite() -> None:
    weights = {"M": np.full((HIDDEN, 2), np.nan, np.float32)}
    with pytest.raises(GrurtError, match=r"weight linear\.weight: expected finite numbers"):
        convert(after_gru([node("MatMul", ["s", "M"], ["y"])], weights))


@pytest.mark.parametrize(
    "nodes",
    [
        [node("ConstantOfShape", ["huge"], ["c"]), node("Add", ["s", "c"], ["y"])],
        [
            node("ConstantOfShape", ["large"], ["c"]),
            node("Concat", ["c", "c"], ["n"], axis=0),
            node("Add", ["s", "n"], ["y"]),
        ],
        [node("Tile", ["M", "large"], ["c"]), node("Add", ["s", "c"], ["y"])],
        [node("Range", ["from", "to", "by"], ["c"]), node("Add", ["s", "c"], ["y"])],
        [node("Mul", ["column", "row"], ["c"]), node("Mul", ["c", "c"], ["y"])],
        [node("Gather", ["column", "many"], ["c"]), node("Gather", ["c", "many"], ["d"]), node("Relu", ["d"], ["y"])],
    ],
)
def test_constants_that_would_not_fit_into_memory(nodes: list[onnx.NodeProto]) -> None:
    weights = {
        "huge": np.array([2**40, 2**20]),
        "large": np.array([2**17, 2**16]),
        "M": random(2, 2),
        "from": np.array(0),
        "to": np.array(2**60),
        "by": np.array(1),
        "column": np.zeros((2**13, 1), np.float32),
        "row": np.zeros((1, 2**13), np.float32),
        "many": np.zeros((2**13,), np.int64),
    }
    read = {name for one in nodes for name in one.input}
    graph = after_gru(nodes, {name: array for name, array in weights.items() if name in read})
    tracemalloc.start()
    try:
        with pytest.raises(GrurtError):
            convert(graph)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_one_weight_used_very_often() -> None:
    """A small file must not become a large model."""
    nodes = [node("MatMul", [f"v{i}" if i else "s", "M"], [f"v{i + 1}"]) for i in range(2000)]
    graph = after_gru(
        [node("MatMul", ["s", "In"], ["v0"]), *nodes, node("Relu", ["v2000"], ["y"])],
        {"In": random(HIDDEN, 300), "M": random(300, 300)},
    )
    for one in graph.graph.node:
        for index, name in enumerate(one.input):
            one.input[index] = "v0" if name == "s" and one.input[-1] == "M" else name
    with pytest.raises(UnsupportedError, match="its weights are used too often"):
        convert(graph)


@pytest.mark.slow
def test_a_long_graph_takes_time_in_proportion() -> None:
    """Four times the nodes take less than ten times as long: sixteen times would be the square."""

    def seconds(count: int) -> float:
        nodes = [node("Relu", [f"v{i}" if i else "s"], [f"v{i + 1}"]) for i in range(count)]
        graph = after_gru([*nodes, node("Relu", [f"v{count}"], ["y"])])
        start = time.process_time()
        model = convert(graph)
        assert len(model.layers) == count + 2
        return time.process_time() - start

    assert seconds(4000) < 10 * max(seconds(1000), 0.1)
