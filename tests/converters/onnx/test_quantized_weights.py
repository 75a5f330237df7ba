"""Weights of floating point in disguise: integers with a scale, dequantized by the graph, compared with onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_graphs import (
    HIDDEN,
    INPUT,
    Array,
    after_gru,
    convert,
    converted_and_checked,
    kinds,
    node,
    proto,
    random,
    written,
)

from grurt.converters import convert_onnx
from grurt.converters.onnx.tensors import ExternalData, read_tensor
from grurt.errors import ConversionError, DesignReason, UnsupportedError

ml_dtypes = pytest.importorskip("ml_dtypes")  # comes with onnx

NAMES = ("W", "R")


def integers(*shape: int, low: int = -128, high: int = 128, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).integers(low, high, shape)


def with_tensors(model: ModelProto, *tensors: TensorProto) -> ModelProto:
    """Return the model with these tensors in place of those of the same names."""
    names = {tensor.name for tensor in tensors}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in names]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *tensors])
    return model


def packed(name: str, dtype: str, array: Array) -> TensorProto:
    return numpy_helper.from_array(array.astype(getattr(ml_dtypes, dtype)), name)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
@pytest.mark.parametrize("zero_point", [False, True])
def test_one_scale_for_all(dtype: type, zero_point: bool) -> None:
    if zero_point and dtype is np.int32:
        pytest.skip("ONNX has none")
    limits = np.iinfo(dtype)
    weights = {"q": integers(HIDDEN, 4, low=max(limits.min, -128), high=200 if limits.min == 0 else 127).astype(dtype)}
    weights["scale"] = np.array(0.013, np.float32)
    if zero_point:
        weights["z"] = np.array(3, dtype)
    nodes = written(f"m = DequantizeLinear(q, scale{', z' * zero_point}); y = MatMul(s, m)")
    assert kinds(converted_and_checked(after_gru(nodes, weights, opset=21))) == ["gru", "linear"]


@pytest.mark.parametrize(("axis", "size"), [(0, HIDDEN), (1, 4), (-1, 4)])
def test_a_scale_for_each_channel(axis: int, size: int) -> None:
    weights = {
        "q": integers(HIDDEN, 4).astype(np.int8),
        "scale": np.abs(random(size)) * np.float32(0.02),
        "z": integers(size, low=-5, high=5).astype(np.int8),
    }
    nodes = [node("DequantizeLinear", ["q", "scale", "z"], ["m"], axis=axis), *written("y = MatMul(s, m)")]
    assert kinds(converted_and_checked(after_gru(nodes, weights))) == ["gru", "linear"]


@pytest.mark.parametrize(("axis", "block"), [(0, 2), (1, 2), (0, 5)])
@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2"])
def test_a_scale_for_each_block(axis: int, block: int, dtype: str) -> None:
    rows, columns = 6, 4
    bits = int(dtype[-1])
    low, high = (0, 1 << bits) if dtype[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
    blocks = tuple(-(-size // block) if place == axis else size for place, size in enumerate((rows, columns)))
    quantized = integers(rows, columns, low=low, high=high)
    weights = {"scale": np.abs(random(*blocks)) * np.float32(0.1), "w6": random(HIDDEN, rows)}
    nodes = [
        *written("a = MatMul(s, w6)"),
        node("DequantizeLinear", ["q", "scale", "z"], ["m"], axis=axis, block_size=block),
        *written("y = MatMul(a, m)"),
    ]
    zero_points = integers(*blocks, low=low, high=high)
    model = with_tensors(
        after_gru(nodes, weights, opset=21), packed("q", dtype, quantized), packed("z", dtype, zero_points)
    )
    found = convert(model)
    expected = (quantized - np.repeat(zero_points, block, axis).take(range(quantized.shape[axis]), axis)) * np.repeat(
        weights["scale"], block, axis
    ).take(range(quantized.shape[axis]), axis)
    np.testing.assert_allclose(found.weights[f"{found.layers[-1].name}.weight"], expected.T, rtol=1e-6)


def test_blocks_of_4_bits_as_onnxruntime_reads_them() -> None:
    weights = {"scale": np.abs(random(3, 4)) * np.float32(0.1), "w6": random(HIDDEN, 6)}
    nodes = [
        *written("a = MatMul(s, w6)"),
        node("DequantizeLinear", ["q", "scale"], ["m"], axis=0, block_size=2),
        *written("y = MatMul(a, m)"),
    ]
    model = with_tensors(after_gru(nodes, weights, opset=21), packed("q", "int4", integers(6, 4, low=-8, high=8)))
    model.ir_version = 10
    assert converted_and_checked(model).source.notes == ("weights of int4, with a scale, were converted to float32",)


def test_the_weights_of_a_gru() -> None:
    """What a file holds as integers is noted."""
    shapes = {"W": (1, 3 * HIDDEN, INPUT), "R": (1, 3 * HIDDEN, HIDDEN)}
    weights = {f"{name}.q": integers(*shape).astype(np.int8) for name, shape in shapes.items()}
    weights |= {f"{name}.scale": np.full(3 * HIDDEN, 0.004, np.float32) for name in NAMES}
    nodes = [node("DequantizeLinear", [f"{name}.q", f"{name}.scale"], [name], axis=1) for name in NAMES]
    nodes.append(node("GRU", ["x", *NAMES], ["y"], hidden_size=HIDDEN, linear_before_reset=1))
    model = converted_and_checked(proto(nodes, {"x": ("t", "b", INPUT)}, ["y"], weights))
    assert kinds(model) == ["gru"]
    assert model.source.notes == ("weights of int8, with a scale, were converted to float32",)


def test_the_weights_of_a_cell_in_pieces() -> None:
    """Weights are computed before cells are looked for."""
    weights = {
        "W.q": integers(3 * HIDDEN, INPUT).astype(np.int8),
        "R.q": integers(3 * HIDDEN, HIDDEN).astype(np.int8),
        "scale": np.array(0.004, np.float32),
        "b": random(3 * HIDDEN),
    }
    text = (
        (
            "W = DequantizeLinear(W.q, scale); R = DequantizeLinear(R.q, scale);"
            "i = Gemm <transB = 1>(x, W, b); g = Gemm <transB = 1>(h, R);"
            "ir, iz, in = Split <axis = 1, num_outputs = 3>(i); hr, hz, hn = Split <axis = 1, num_outputs = 3>(g);"
            "ar = Add(ir, hr); r = Sigmoid(ar); az = Add(iz, hz); z = Sigmoid(az); rn = Mul(r, hn); an = Add(in, rn);"
            "n = Tanh(an); d = Sub(h, n); zd = Mul(d, z); y = Add(zd, n)"
        )
        .replace("W.q", "Wq")
        .replace("R.q", "Rq")
    )
    weights = {name.replace(".", ""): array for name, array in weights.items()}
    model = proto(written(text), {"x": (2, INPUT), "h": (2, HIDDEN)}, ["y"], weights)
    assert kinds(converted_and_checked(model)) == ["gru"]


def test_onnxruntimes_own_operator() -> None:
    weights = {"q": integers(HIDDEN, 4).astype(np.uint8), "scale": np.abs(random(4)) * np.float32(0.02)}
    weights["z"] = integers(4, low=0, high=255).astype(np.uint8)
    nodes = [
        node("DequantizeLinear", ["q", "scale", "z"], ["m"], axis=1, domain="com.microsoft"),
        *written("y = MatMul(s, m)"),
    ]
    model = after_gru(nodes, weights)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert kinds(converted_and_checked(model)) == ["gru", "linear"]


def test_weights_that_are_quantized_and_dequantized() -> None:
    """As training that is aware of quantization leaves them."""
    weights = {"M": random(HIDDEN, 4), "scale": np.array(0.005, np.float32), "z": np.array(3, np.int8)}
    nodes = written("q = QuantizeLinear(M, scale, z); m = DequantizeLinear(q, scale, z); y = MatMul(s, m)")
    assert kinds(converted_and_checked(after_gru(nodes, weights))) == ["gru", "linear"]


def test_numbers_of_4_bits_are_not_made() -> None:
    weights = {"M": random(HIDDEN, 4), "scale": np.array(0.005, np.float32)}
    nodes = written("q = QuantizeLinear(M, scale, z); m = DequantizeLinear(q, scale, z); y = MatMul(s, m)")
    model = with_tensors(after_gru(nodes, weights, opset=21), packed("z", "int4", np.array(0)))
    with pytest.raises(UnsupportedError, match="it gives numbers of less than 8 bits, or of floating point"):
        convert(model)


def test_values_that_are_quantized_stay_refused() -> None:
    weights = {"scale": np.array(0.005, np.float32), "z": np.array(3, np.int8)}
    nodes = written("q = QuantizeLinear(s, scale, z); y = DequantizeLinear(q, scale, z)")
    with pytest.raises(UnsupportedError, match="convert the model from before the quantization") as error:
        convert(after_gru(nodes, weights))
    assert error.value.reason is DesignReason.QUANTIZED


@pytest.mark.parametrize(
    ("weights", "attributes", "message"),
    [
        ({"scale": np.ones(3, np.float32)}, {"axis": 0}, "it has 3 scales or zero points for an axis of size 5"),
        (
            {"scale": np.ones((3, 3), np.float32)},
            {"block_size": 2},
            r"its scales or zero points are of the shape \(3, 3\), for blocks of 2",
        ),
        ({"scale": np.ones((), np.int8)}, {}, "its scale is of the type int8"),
    ],
)
def test_scales_that_do_not_fit(weights: dict[str, Array], attributes: dict[str, int], message: str) -> None:
    nodes = [node("DequantizeLinear", ["q", "scale"], ["m"], **attributes), *written("y = MatMul(s, m)")]
    with pytest.raises(ConversionError, match=message):
        convert(after_gru(nodes, {"q": np.ones((HIDDEN, 4), np.int8), **weights}, opset=21))


# Element types that NumPy has not.


@pytest.mark.parametrize("name", ["uint4", "int4", "uint2", "int2"])
@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("is_raw", [True, False])
def test_several_to_a_byte(name: str, count: int, is_raw: bool) -> None:
    bits = int(name[-1])
    low, high = (0, 1 << bits) if name[0] == "u" else (-(1 << bits - 1), 1 << bits - 1)
    expected = integers(count, low=low, high=high)
    kind = TensorProto.DataType.Value(name.upper())
    made = packed("t", name, expected) if is_raw else helper.make_tensor("t", kind, [count], expected.tolist())
    np.testing.assert_array_equal(read_tensor(made, ExternalData(None)), expected)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"])
def test_floats_of_8_bits(name: str) -> None:
    every = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name))
    found = read_tensor(numpy_helper.from_array(every, "t"), ExternalData(None))
    np.testing.assert_array_equal(found, every.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("is_raw", [True, False])
def test_integers_without_sign(dtype: type, is_raw: bool) -> None:
    expected = np.array([0, 1, np.iinfo(dtype).max], dtype)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = numpy_helper.from_array(expected, "t") if is_raw else helper.make_tensor("t", kind, [3], expected.tolist())
    np.testing.assert_array_equal(read_tensor(made, ExternalData(None)), expected)


def test_packed_data_beside_the_model(tmp_path: Path) -> None:
    weights = {"scale": np.array(0.1, np.float32)}
    nodes = written("m = DequantizeLinear(q, scale); y = MatMul(s, m)")
    quantized = integers(HIDDEN, 3, low=-8, high=8)
    model = with_tensors(after_gru(nodes, weights, opset=21), packed("q", "int4", quantized))
    inside = convert(model)
    (tensor,) = [each for each in model.graph.initializer if each.name == "q"]
    (tmp_path / "data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "data"), ("offset", "0"), ("length", str(-(-quantized.size // 2)))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    beside = convert_onnx(tmp_path / "m.onnx", reference=False)
    name = f"{inside.layers[-1].name}.weight"
    np.testing.assert_array_equal(inside.weights[name], beside.weights[name])


def test_an_element_type_of_microscaling() -> None:
    tensor = TensorProto(name="t", data_type=23, dims=[2], raw_data=b"\0")
    with pytest.raises(
        UnsupportedError, match="tensor 't': the element type FLOAT4E2M1 is not supported; convert"
    ) as error:
        read_tensor(tensor, ExternalData(None))
    assert error.value.reason is DesignReason.QUANTIZED
