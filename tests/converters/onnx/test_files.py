"""ONNX files that exporters wrote convert to models with the stored answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_graphs
import pytest
from onnx_graphs import DATA, TOLERANCE

import grurt
from grurt import reference
from grurt.converters import convert_onnx
from grurt.errors import UnsupportedError
from grurt.network.axes import tensor_shape

REFUSED = {
    "c_eachstep_bf.oss062.onnx": "linear_before_reset=0, which no PyTorch GRU computes.*repair=True",
    "c_eachstep_state2.ts.op18.qdyn.onnx": r"\(DynamicQuantizeLinear\): the model was quantized",
    "t_copies_open_length.onnx": "it reads one timestep of axis 1 of input .*, which is of open size: the exporter has",
}
CONVERTED = sorted(path.name for path in DATA.glob("*.onnx") if path.name not in REFUSED)
SEVERAL_AXES = {"gru_op_bi_lbr1.onnx", "gru_op_seqlens.onnx", "i_packed_sorted.ts.op18.onnx"}
SEVERAL_AXES |= {"m_dualpath_step.dyn.op18.onnx", "m_dualpath_step.ts.op18.onnx", "n_complex_mask.ts.op18.onnx"}
SEVERAL_AXES |= {"m_seq2seq.dyn.op18.onnx", "m_seq2seq.ts.op18.onnx"}
SEVERAL_AXES |= {"s_loop_encoder_decoder.onnx", "t_copies_encoder_decoder.onnx", "t_copies_one_timestep.onnx"}
"""Files with lengths, positions, stages or one timestep: `test_onnx_topologies` runs such models in other sizes."""


@pytest.mark.parametrize("name", CONVERTED)
def test_answers_are_those_stored(name: str) -> None:
    model = convert_onnx(DATA / name, reference=False)
    inputs, expected = onnx_graphs.stored(name)
    found = model.run(inputs)
    assert isinstance(found, dict)
    assert found.keys() == expected.keys()
    for port, array in expected.items():
        np.testing.assert_allclose(found[port], array, rtol=0, atol=TOLERANCE, strict=True)


@pytest.mark.parametrize("name", CONVERTED)
def test_answers_are_those_of_onnxruntime(name: str) -> None:
    model = convert_onnx(DATA / name)
    if model.reference_run is None:
        pytest.fail(f"no reference run: {model.source.notes}")
    verification = model.verify()
    assert verification.max_error < TOLERANCE
    assert verification.same_bits


@pytest.mark.parametrize("name", sorted(set(CONVERTED) - SEVERAL_AXES))
def test_sizes_of_the_export_do_not_matter(name: str) -> None:
    model = convert_onnx(DATA / name, reference=False)
    inputs = {port.name: input_of_other_sizes(model, port) for port in model.signature.inputs}
    found = model.run(inputs)
    assert isinstance(found, dict)
    for row in range(3):
        one = {
            port.name: inputs[port.name].take(row, port.axes.index("batch"))
            for port in model.signature.inputs
            if "batch" in port.axes
        }
        check_against_reference(model, one, found, row)


def input_of_other_sizes(model: grurt.Model, port: grurt.ValuePort | grurt.StatePort) -> onnx_graphs.Array:
    random = np.random.default_rng(0)
    shape = tensor_shape(port, model.values, model.state_shapes, batch=3, time=7)
    tokens = port.dtype.startswith("int")
    return random.integers(11, size=shape) if tokens else random.uniform(-1, 1, shape).astype(np.float32)


def check_against_reference(
    model: grurt.Model, inputs: dict[str, onnx_graphs.Array], found: dict[str, onnx_graphs.Array], row: int
) -> None:
    """Compare one sequence of a batch with the float64 reference."""
    values, states = {}, {}
    for port in model.signature.inputs:
        axes = [axis for axis in port.axes if axis != "batch"]
        if isinstance(port, grurt.StatePort):
            stack = inputs[port.name] if "state" in axes else inputs[port.name][None]
            states |= dict(zip(port.states, stack, strict=True))
        else:
            array = inputs[port.name]
            values[port.value] = array if "time" in axes else array[None]
    outputs, finals = reference.run(model, values, states)
    for port in model.signature.outputs:
        array = found[port.name].take(row, port.axes.index("batch"))
        if isinstance(port, grurt.StatePort):
            expected = np.stack([finals[name] for name in port.states])
        else:
            expected = outputs[port.value][:: -1 if port.backwards else 1]
        np.testing.assert_allclose(array.reshape(expected.shape), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_with_the_reason(name: str) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[name]):
        convert_onnx(DATA / name)


def test_faulty_export_is_repaired_on_request() -> None:
    name = "c_eachstep_bf.oss062.onnx"
    model = convert_onnx(DATA / name, repair=True)
    assert model.source.notes == ("linear_before_reset=0, written by a faulty PyTorch exporter, was repaired to 1",)
    inputs, expected = onnx_graphs.stored(name)
    found = model.run(inputs)
    assert isinstance(found, dict)
    np.testing.assert_allclose(found["y"], expected["y"], rtol=0, atol=TOLERANCE, strict=True)
    assert model.verify().max_error < TOLERANCE


def test_repair_leaves_sound_files_alone() -> None:
    assert convert_onnx(DATA / "c_eachstep_bf.ts.da.op20.onnx", repair=True).source.notes == ()


def test_source_says_where_the_model_comes_from_and_no_more() -> None:
    source = convert_onnx(DATA / "h_nsnet2.dyn.op18.onnx").source
    assert source == grurt.Source(format="onnx", producer="pytorch 2.13.0+cpu", file="h_nsnet2.dyn.op18.onnx")


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("c_eachstep_state2.ts.op18.onnx", ["gru", "gru_2", "fc"]),
        ("b_lasthidden.dyn.op20.onnx", ["gru", "gru_2", "gru_2.last", "fc"]),
        ("e_charlm.ts.da.op23.onnx", ["emb", "gru", "fc", "log_softmax"]),
        ("h_nsnet2.dyn.op18.onnx", ["fc1", "relu", "gru1", "gru2", "fc2", "relu_2", "fc3", "relu_3", "fc4", "sigmoid"]),
        ("d_bi.ts.da.op18.onnx", ["gru.forward", "gru.reverse", "gru.concat", "fc"]),
        ("l_residual.ts.op17.onnx", ["p", "leaky_relu", "g1", "add", "g2", "add_2", "gelu", "fc"]),
        ("f_cell.dyn.op23.onnx", ["cell", "fc"]),
    ],
)
def test_layers_have_the_names_of_the_modules(name: str, layers: list[str]) -> None:
    assert [layer.name for layer in convert_onnx(DATA / name, reference=False).layers] == layers


def test_ports_are_the_files_own() -> None:
    signature = convert_onnx(DATA / "c_eachstep_state2.dyn.db.op18.onnx", reference=False).signature
    assert signature.inputs == (
        grurt.ValuePort(name="x", value="x", dtype="float32", axes=("batch", "time", "feature")),
        grurt.StatePort(name="h0", states=("gru", "gru_2"), dtype="float32", axes=("state", "batch", "feature")),
    )
    assert signature.outputs == (
        grurt.ValuePort(name="y", value="y", dtype="float32", axes=("batch", "time", "feature")),
        grurt.StatePort(name="hn", states=("gru", "gru_2"), dtype="float32", axes=("state", "batch", "feature")),
    )


def test_time_first_is_seen_where_the_gru_scans_it() -> None:
    signature = convert_onnx(DATA / "a_h0_tf.dyn.op18.onnx", reference=False).signature
    assert signature.inputs[0].axes == ("time", "batch", "feature")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        convert_onnx(tmp_path / "none.onnx")
