"""ONNX files that weigh little and ask for much are converted, or refused, in memory and time in proportion to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from bounded_conversions import Outcome, outcomes
from hostile_graphs import LARGE, SMALL
from onnx import ModelProto, TensorProto
from onnx_graphs import HIDDEN, INPUT, after_gru, convert, gru_weights, node, proto, random, written

import grurt
from grurt.converters import convert_onnx
from grurt.converters.graph import budget
from grurt.converters.graph.assembly import converted
from grurt.converters.graph.building import builder
from grurt.converters.onnx import messages
from grurt.converters.onnx.convert import network_of_bytes
from grurt.converters.onnx.reading import parse_model
from grurt.converters.onnx.tensors import ExternalData
from grurt.errors import ConversionError, UnsupportedError

SOURCE = grurt.Source(format="onnx")


def what_becomes_of(
    models: Mapping[str, Callable[[], ModelProto]], folder: Path, **options: bool
) -> Mapping[str, Outcome]:
    """Write models to files, convert these within limits, and check that each is a model or an error of grurt's own."""
    paths = [folder / f"{name}.onnx" for name in models]
    for path, make in zip(paths, models.values(), strict=True):
        path.write_bytes(make().SerializeToString())
    found = outcomes(paths, **options)
    for name, outcome in found.items():
        assert outcome.error in ("", "ConversionError", "UnsupportedError"), (name, outcome)
        assert not outcome.error or outcome.text.startswith(f"{name}: "), (name, outcome)
    return {name.removesuffix(".onnx"): outcome for name, outcome in found.items()}


WRITTEN_OUT = ("powers_of_an_outer_product", "classes_of_tokens")
FREE = ("divided", "raised", "limited", "less", "chosen", "exponentials")


@pytest.mark.slow
def test_small_files(tmp_path: Path) -> None:
    found = what_becomes_of(SMALL, tmp_path)
    for name in ("added", "subtracted", "multiplied", "initial_state", "negated", "cast", "compared", *FREE):
        assert found[name].error == "", name  # what takes no memory is no reason to refuse a model
    for name in ("conditions", "logical"):
        assert "its inputs and attributes do not fit together" in found[name].text, name
    assert "layer 'sum': it combines 4096 values, of which 64 fit" in found["sums_of_a_stack"].text
    assert "may have 4096 layers, got a graph of 5000; convert a part" in found["places_of_features"].text
    assert "it stacks 8192 values; at most 4096 are supported" in found["doubled_values"].text
    for name in ("concatenated", "reshaped", "doubled", "tiles_of_tiles", "outer_product", "counted", *WRITTEN_OUT):
        assert "the constants that the graph computes are too large" in found[name].text, name


@pytest.mark.slow
def test_small_files_with_reference_runs(tmp_path: Path) -> None:
    names = ("added", "initial_state", "negated", "gather_minus")
    what_becomes_of({name: SMALL[name] for name in names}, tmp_path, reference=True)


@pytest.mark.long
def test_large_files(tmp_path: Path) -> None:
    found = what_becomes_of(LARGE, tmp_path)
    for name in ("one_bias_in_many_layers", "one_weight_in_many_normalizations", "positions_selected_often"):
        assert "the nodes look through large constants too often" in found[name].text, name


@pytest.mark.parametrize("nodes", ["c = Concat <axis = 0>(zeros, s); y = Relu(c)", "y = Max(s, rows)"])
def test_what_operators_look_at_is_counted(nodes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "READ_SPARE", 0)
    monkeypatch.setattr(budget, "READ_PER_BYTE", 0)
    weights = {"zeros": np.zeros((1, 2, HIDDEN), np.float32), "rows": random(HIDDEN)}
    used = {name: array for name, array in weights.items() if name in nodes}
    with pytest.raises(UnsupportedError, match="the nodes look through large constants too often"):
        convert(after_gru(written(nodes), used))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("c = Gather(v, v); y = Add(s, c)", "its indices are of the type float32"),
        ("c = Range(v, v, v); y = Add(s, c)", "its start, limit and step are not one number each, of one type"),
        ("c = Range(zero, one, zero); y = Add(s, c)", "it counts from 0 to 1 by 0: the file is damaged"),
        ("c = Range(a, b, d); y = Add(s, c)", "it counts from 0.0 to 1.0 by 5e-324; a range must be shorter"),
        ("y = Dropout(s, half, v)", "expected one value as its training mode"),
        ("a0 = Unsqueeze(s, zero); y = Unsqueeze(a0, many)", "it gives a tensor of more than 16 axes"),
        (f"y = Sum({', '.join('s' * 16385)})", "it reads 16385 tensors; at most 16384 are supported"),
        ("y = Split <num_outputs = 7>(s)", "it has 1 outputs and splits into 7 parts: the file is damaged"),
    ],
)
def test_numbers_that_no_operator_takes(nodes: str, message: str) -> None:
    weights = {"v": random(HIDDEN), "half": np.array(0.5, np.float32), "many": np.arange(15)}
    weights |= {"a": np.array(0.0), "b": np.array(1.0), "d": np.array(5e-324)}
    read = {name for one in written(nodes) for name in one.input}
    with pytest.raises(ConversionError, match=message):
        convert(after_gru(written(nodes), {name: array for name, array in weights.items() if name in read}))


def test_a_fault_of_an_operator_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a handler raises on arguments that nobody thought of is an error of the file's."""

    def fail(*arguments: object) -> None:
        raise IndexError

    monkeypatch.setattr("grurt.converters.graph.operators.movement.without", fail)
    with pytest.raises(ConversionError, match=r"node 's' \(Squeeze\): its inputs and attributes do not fit together"):
        convert(after_gru(written("y = Relu(s)")))


def test_layers_are_refused_before_they_are_assembled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "MAX_LAYERS_FOUND", 3)
    with pytest.raises(UnsupportedError, match="expected at most 4096 layers, got more than 3; convert a part of the"):
        convert(after_gru(written("a = Relu(s); b = Tanh(a); y = HardSwish(b)")))


def test_constants_looked_through_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "READ_SPARE", 1 << 20)
    nodes = [node("Gemm", [f"v{i}" if i else "h", "M", "rows"], [f"v{i + 1}"]) for i in range(300)]
    weights = {"M": random(HIDDEN, HIDDEN), "rows": np.ones((1000, HIDDEN), np.float32)}
    with pytest.raises(UnsupportedError, match="the nodes look through large constants too often"):
        convert(after_gru([*nodes, node("Relu", ["v300"], ["y"])], weights))


def test_more_inputs_than_any_network_has() -> None:
    graph = after_gru(written("y = Relu(s)"))
    graph.graph.input.extend(onnx.helper.make_tensor_value_info(f"i{i}", 1, [1]) for i in range(5000))
    with pytest.raises(UnsupportedError, match="the graph has 5001 inputs; at most 4096 are supported"):
        convert(graph)


@pytest.mark.parametrize("field", [b"\x0a", b"\x2a", b"\x6a"], ids=["nodes", "weights", "declarations"])
def test_messages_without_content(field: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes each in the file, and more than a hundred in memory."""
    monkeypatch.setattr(messages, "SMALL", 1000)
    monkeypatch.setattr(messages, "MAX_MESSAGES", 5000)
    graph = (field + b"\0") * 10_000
    length = bytes([len(graph) & 127 | 128, len(graph) >> 7 & 127 | 128, len(graph) >> 14])
    with pytest.raises(ConversionError, match="expected a model of at most 5000 nodes, tensors, attributes and so on"):
        parse_model(b"\x08\x08\x3a" + length + graph)


def test_messages_are_counted_at_any_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SMALL", 0)
    data = after_gru(written("y = LeakyRelu <alpha = 0.5>(s)")).SerializeToString()

    def parts(message: onnx.ModelProto) -> int:
        found = [value for field, value in message.ListFields() if field.message_type is not None]
        inner = [each for value in found for each in (value if hasattr(value, "add") else [value])]
        return len(inner) + sum(map(parts, inner))

    count = parts(onnx.load_model_from_string(data))
    monkeypatch.setattr(messages, "MAX_MESSAGES", count + 1)
    parse_model(data)
    monkeypatch.setattr(messages, "MAX_MESSAGES", count)
    with pytest.raises(ConversionError, match="nodes, tensors, attributes and so on, got more"):
        parse_model(data)


@pytest.mark.parametrize("damage", [b"", b"\xff" * 20, b"\x3a\xff\xff\xff\xff\x0f", b"\x0b", b"\x3d\x00"])
def test_counting_leaves_damage_to_the_parser(damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "SMALL", 0)
    with pytest.raises(ConversionError):
        network_of_bytes(after_gru([]).SerializeToString()[:40] + damage, source=SOURCE)


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_what_memory_cannot_hold(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> ModelProto:
        raise error

    monkeypatch.setattr("grurt.converters.onnx.convert.parse_model", fail)
    (tmp_path / "m.onnx").write_bytes(after_gru(written("y = Relu(s)")).SerializeToString())
    expected = "something that is nested too deeply" if error is RecursionError else "a model that fits into memory"
    with pytest.raises(ConversionError, match=rf"m\.onnx: expected .*{expected}"):
        convert_onnx(tmp_path / "m.onnx", reference=False)


# Data beside the model.


def with_data(folder: Path, tensors: Sequence[TensorProto], nodes: str = "y = Relu(s)", size: int = 1 << 16) -> Path:
    """Write a model whose tensors lie in a file ``data`` of so many zeros."""
    model = after_gru(written(nodes))
    model.graph.initializer.extend(tensors)
    (folder / "data").write_bytes(bytes(size))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def tensor(name: str, location: str, count: int, offset: int = 0, kind: int = TensorProto.INT32) -> TensorProto:
    found = TensorProto(name=name, data_type=kind, dims=[count], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", str(offset))):
        entry = found.external_data.add()
        entry.key, entry.value = key, value
    return found


def link(folder: Path, name: str) -> None:
    (folder / name).symlink_to("data")


def hard_link(folder: Path, name: str) -> None:
    os.link(folder / "data", folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("make", [None, link, hard_link], ids=["dots", "links", "hard links"])
def test_one_file_of_many_names_is_read_once(make: Callable[[Path, str], None] | None, tmp_path: Path) -> None:
    names = [f"link{i}" if make else "./" * i + "data" for i in range(200)]
    path = with_data(tmp_path, [tensor(f"t{i}", name, 5 << 20) for i, name in enumerate(names)], size=20 << 20)
    for name in names if make else ():
        make(tmp_path, name)
    (tmp_path / "m.data").write_bytes(b"")
    (outcome,) = outcomes([path]).values()
    assert outcome.error == "", outcome
    assert outcome.megabytes < 60


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.BFLOAT16])
def test_tensors_that_overlap(kind: int, tmp_path: Path) -> None:
    count = (1 << 15) // (4 if kind == TensorProto.INT32 else 2)
    path = with_data(tmp_path, [tensor(f"t{i}", "data", count, 4 * i, kind) for i in range(3)])
    with pytest.raises(ConversionError, match="expected tensors beside each other in 'data', got some that overlap"):
        convert_onnx(path)


def test_data_that_are_no_regular_file(tmp_path: Path) -> None:
    path = with_data(tmp_path, [tensor("t", "pipe", 4)])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConversionError, match="its data are in 'pipe', which is not there"):
        convert_onnx(path)


@pytest.mark.slow
def test_data_larger_than_memory(tmp_path: Path) -> None:
    path = with_data(tmp_path, [tensor("t", "sparse", 1 << 42, kind=TensorProto.INT8)])
    with (tmp_path / "sparse").open("wb") as file:
        try:
            file.truncate(1 << 42)
        except OSError:
            pytest.skip("this file system has no files of 4 TiB")
    (outcome,) = outcomes([path]).values()
    assert "tensor 't': cannot read 'sparse': memory cannot hold it" in outcome.text


def test_data_that_shrink_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_data(tmp_path, [tensor("t", "data", 4)])
    monkeypatch.setattr(ExternalData, "_count", lambda *_: (tmp_path / "data").write_bytes(b""))
    with pytest.raises(ConversionError, match="the file 'data' became shorter while it was read"):
        convert_onnx(path)


# What a run of the source costs.


def notes_of(model: ModelProto) -> str:
    return " ".join(convert(model, reference=True).source.notes)


def test_a_run_that_writes_constants_out() -> None:
    graph = after_gru(written("c = ConstantOfShape(shape); y = Add(s, c)"), {"shape": np.array([2**30, 1, 1])})
    assert notes_of(graph).startswith("no reference run: a run on a test input writes 107374")


def test_a_run_of_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted, "MAX_NODES_RUN", 2)
    found = notes_of(after_gru(written("y = Relu(s)")))
    assert found == "no reference run: the graph has 3 nodes, of which a test runs 2"


def test_inputs_that_are_large_together() -> None:
    names = [f"x{i}" for i in range(40)]
    nodes = [node("GRU", [name, "W", "R", "B"], [f"Y{name}"]) for name in names]
    model = proto(nodes, dict.fromkeys(names, (1 << 14, 1, INPUT)), [f"Y{name}" for name in names], gru_weights())
    assert notes_of(model).startswith(
        "no reference run: the file fixes the input 'x0' to the shape (16384, 1, 3), too large"
    )


def test_a_run_of_tensors_that_share_their_bytes(tmp_path: Path) -> None:
    shared = [tensor(f"M{i}", "data", HIDDEN * HIDDEN, kind=TensorProto.FLOAT) for i in range(5)]
    for each in shared:
        each.dims[:] = [HIDDEN, HIDDEN]
    nodes = "a = MatMul(s, M0); b = MatMul(a, M1); c = MatMul(b, M2); d = MatMul(c, M3); y = MatMul(d, M4)"
    path = with_data(tmp_path, shared, nodes)
    (note,) = convert_onnx(path).source.notes
    assert note.endswith("its tensors share the bytes of their data file, and take more by themselves")


def test_the_source_runs_only_what_its_outputs_need() -> None:
    model = after_gru(written("dead = ConstantOfShape(shape); y = Relu(s)"), {"shape": np.array([2**17, 2**17])})
    assert convert(model, reference=True).reference_run is not None
