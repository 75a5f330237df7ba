"""Every operator that a step graph may hold: the program that it becomes, beside onnxruntime, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from step_graphs import Array, imported, kinds, largest_error, program, step_proto

TOLERANCE = 3e-6

RANDOM = np.random.default_rng(0)


@dataclass
class Case:
    """Nodes written as text, the shapes of what they read, and weights."""

    text: str
    inputs: Mapping[str, Sequence[int]]
    weights: Mapping[str, Array] = field(default_factory=dict)
    outputs: Sequence[str] = ("y",)
    opset: int = 18
    dtypes: Mapping[str, int] = field(default_factory=dict)
    positive: bool = False


CASES: list[Case] = []


def case(text: str, inputs: Mapping[str, Sequence[int]] | None = None, **options: Any) -> None:
    CASES.append(Case(text, inputs or {"x": (2, 3)}, **options))


def w(*shape: int) -> Array:
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


IMAGE = {"x": (1, 4, 5, 6)}
PAIR = {"x": (2, 3), "z": (2, 3)}
FLOAT, INT32, INT64, BOOL = 1, 6, 7, 9

# functions of one number

for op in (
    *(
        "Relu",
        "Sigmoid",
        "Tanh",
        "Exp",
        "Abs",
        "Sign",
        "Round",
        "Floor",
        "Ceil",
        "Sin",
        "Cos",
        "Tan",
        "Erf",
        "Softplus",
    ),
    *("Softsign", "LeakyRelu", "Elu", "HardSigmoid", "ThresholdedRelu", "Selu", "Celu", "HardSwish", "Mish", "Neg"),
    *("Identity", "Shrink<bias=0.5>", "Shrink", "Selu<alpha=1.5,gamma=2.0>", "Celu<alpha=0.3>", "Dropout"),
):
    case(f"y = {op}(x)")
for op in ("Log", "Sqrt", "Reciprocal"):
    case(f"y = {op}(x)", positive=True)
case("y = Gelu(x)", opset=20)
case('y = Gelu<approximate="tanh">(x)', opset=20)
case("y = Swish(x)", opset=24)
for alpha in (2.0, 0.5, -1.5, 1.0, 0.0):
    case("y = Pow(x, e)", weights={"e": np.full((1, 1, 1), alpha, np.float32)}, positive=True)
case("y = Pow(x, e)", weights={"e": ints(2)})
case("y = Pow(x, e)", weights={"e": w(3)}, positive=True)
case("y = Clip(x, a, b)", weights={"a": np.float32(-0.5), "b": np.float32(0.5)})
case("y = Clip(x, a, b)", weights={"a": np.float32(0.5), "b": np.float32(-0.5)})
case("y = Clip(x, , b)", weights={"b": np.float32(0.5)})
case("y = Clip(x, a)", weights={"a": np.float32(0.5)})
case("y = Clip<min=-0.3>(x)", opset=9)
case("y = Clip(x)")
case("y, m = Dropout(x)")

# arithmetic, comparisons and logic

for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"):
    case(f"y = {op}(x, w)", weights={"w": w(3)})
    case(f"y = {op}(w, x)", weights={"w": w(4, 1, 1)})
    case(f"y = {op}(x, z)", {"x": (2, 3), "z": (3,)})
WHOLE = {"x": INT64, "y": INT64}
case("y = Div(x, d)", dtypes=WHOLE, weights={"d": ints(2, -2, 3)})
case("y = Mod(x, d)", dtypes=WHOLE, weights={"d": ints(2, -2, 3)})
case("y = Mod<fmod=1>(x, d)", dtypes=WHOLE, weights={"d": ints(2, -2, 3)})
case("y = Mod<fmod=1>(x, d)", weights={"d": np.array([2, -2, 0.7], np.float32)})
case("y = PRelu(x, s)", weights={"s": w(3)})
case("y = PRelu(x, s)", weights={"s": w(1, 1)})
case("y = PRelu(x, s)", IMAGE, weights={"s": w(4, 1, 1)})
for op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"):
    case(f"y = {op}(x, z)", PAIR, dtypes={"x": INT32, "z": INT32, "y": BOOL})
for op in ("And", "Or", "Xor"):
    case(f"y = {op}(x, z)", PAIR, dtypes={"x": BOOL, "z": BOOL, "y": BOOL})
case("y = Not(x)", dtypes={"x": BOOL, "y": BOOL})
case("m = Greater(x, o); y = Where(m, x, z)", PAIR, weights={"o": np.float32(0)})
case("m = Greater(x, o); y = Where(m, o, x)", weights={"o": np.float32(0.3)})
case("a = Sqrt(x); n = IsNaN(a); y = Where(n, x, a)")
for signs in ("", "<detect_negative=0>", "<detect_positive=0>", "<detect_positive=0,detect_negative=0>"):
    case(f"a = Reciprocal(x); y = IsInf{signs}(a)", dtypes={"x": FLOAT, "y": BOOL})
case("y = Cast<to=6>(x)", dtypes={"y": INT32})
case("y = Cast<to=9>(x)", dtypes={"y": BOOL})
case("a = Cast<to=7>(x); y = Cast<to=1>(a)")
case("y = CastLike(x, i)", weights={"i": ints(1)}, dtypes={"y": INT64})
case("b = Cast<to=1>(x); y = Mul(b, b)", dtypes={"x": BOOL})

# movement

case("y = Transpose(x)")
case("y = Transpose<perm=[0,2,3,1]>(x)", IMAGE)
case("y = Reshape(x, s)", weights={"s": ints(3, -1)})
case("y = Reshape(x, s)", weights={"s": ints(0, 1, 3)})
case("y = Flatten<axis=2>(x)", IMAGE)
case("y = Squeeze(x, a)", {"x": (1, 3, 1)}, weights={"a": ints(0)})
case("y = Squeeze(x)", {"x": (1, 3, 1)})
case("y = Squeeze<axes=[2]>(x)", {"x": (1, 3, 1)}, opset=11)
case("y = Unsqueeze(x, a)", weights={"a": ints(0, -1)})
case("y = Expand(x, s)", {"x": (2, 1)}, weights={"s": ints(3, 1, 4)})
case("y = Expand(x, s)", weights={"s": ints(1, 3)})
case("y = Tile(x, r)", weights={"r": ints(2, 3)})
case("y = Tile(x, r)", {"x": (2, 1)}, weights={"r": ints(1, 3)})
case("y = Slice(x, s, e, a)", IMAGE, weights={"s": ints(1, -2), "e": ints(3, 2**62), "a": ints(1, 3)})
BACKWARDS = {"s": ints(-1), "e": ints(-(2**62)), "a": ints(3), "t": ints(-2)}
case("y = Slice(x, s, e, a, t)", IMAGE, weights=BACKWARDS)
case("y = Slice<starts=[1],ends=[9]>(x)", opset=9)
case("a, b = Split<axis=1>(x, s); y = Sub(a, b)", {"x": (2, 6)}, weights={"s": ints(3, 3)})
case("a, b = Split<axis=1>(x); y = Concat<axis=1>(b, a)", {"x": (2, 6)}, opset=11)
case("a, b, d = Split<axis=1,num_outputs=3>(x); y = Concat<axis=0>(b, d)", {"x": (2, 6)})
case("y = Concat<axis=-1>(x, w, x)", weights={"w": w(2, 2)})
case("z = Slice(x, s, s, a); y = Concat<axis=1>(z, x)", weights={"s": ints(1), "a": ints(1)})
case("y = DepthToSpace<blocksize=2>(x)", IMAGE)
case('y = DepthToSpace<blocksize=2,mode="CRD">(x)', {"x": (1, 8, 3, 2)})
case("y = SpaceToDepth<blocksize=2>(x)", {"x": (1, 3, 4, 6)})
case("s = Shape(x); a = Slice(s, o, e); b = Concat<axis=0>(a, m); y = Reshape(x, b)", IMAGE)
CASES[-1].weights = {"o": ints(0), "e": ints(2), "m": ints(-1)}
case("s = Shape(x); z = ConstantOfShape(s); y = Add(x, z)")
case("n = Size(x); f = Cast<to=1>(n); y = Mul(x, f)")
case("e = EyeLike(x); y = Add(x, e)")
case("y = Pad(x, p)", weights={"p": ints(0, 1, 2, 0)})
case("y = Pad(x, p, v)", weights={"p": ints(0, -1, 2, 0), "v": np.float32(1.5)})
case('y = Pad<mode="reflect">(x, p)', weights={"p": ints(0, 2, 0, 1)})
case('y = Pad<mode="edge">(x, p)', weights={"p": ints(1, 2, 0, 1)})
case('y = Pad<mode="wrap">(x, p)', weights={"p": ints(1, 2, 0, 1)}, opset=19)
case("y = Pad(x, p, , a)", weights={"p": ints(1, 2), "a": ints(1)})
case("y = Pad<pads=[0,1,0,1],value=2.0>(x)", opset=9)

# places

case("y = Gather(x, i)", weights={"i": ints(1, 0, 1)})
case("y = Gather<axis=1>(x, i)", weights={"i": np.array(-1)})
case("y = Gather<axis=1>(x, i)", weights={"i": np.array([[0, 2], [2, 1]])})
case("y = Gather<axis=1>(x, i)", {"x": (2, 5)}, weights={"i": ints(4, 2, 0)})
case("y = Gather<axis=1>(x, i)", {"x": (2, 1)}, weights={"i": ints(0, 0, 0)})
case("i = ArgMax<axis=1>(x); y = Gather(t, i)", weights={"t": w(3, 4)})
case("i = ArgMin<axis=1,keepdims=0>(x); y = Gather<axis=1>(t, i)", weights={"t": w(2, 3, 4)})
case("y = ArgMax<axis=0,select_last_index=1>(x)", dtypes={"x": INT32, "y": INT64})
case("y = ArgMin<axis=1>(x)", dtypes={"x": INT32, "y": INT64})
ONE_HOT = {"d": np.array(4), "v": np.array([0.5, 2.0], np.float32)}
case("y = OneHot(i, d, v)", {"i": (2, 3)}, weights=ONE_HOT, dtypes={"i": INT64})
case("y = OneHot<axis=0>(i, d, v)", {"i": (2, 3)}, weights=ONE_HOT, dtypes={"i": INT64})
case("y = GatherElements<axis=1>(x, i)", weights={"i": np.array([[0, 0], [2, -1]])})
case("y = GatherND(x, i)", weights={"i": np.array([[0, 0], [1, 2]])})
case("y = GatherND(x, i)", weights={"i": np.array([[1], [0]])})
case("y = ScatterND(z, i, x)", {"x": (2, 4)}, weights={"z": w(5, 4), "i": np.array([[1], [2]])})
case("y = ScatterND(z, i, x)", {"x": (2, 4), "z": (5, 4)}, weights={"i": np.array([[3], [1]])})
case("y = ScatterND(z, i, x)", {"x": (5, 4), "z": (5, 4)}, weights={"i": np.arange(5).reshape(5, 1)})
case("y = ScatterND(z, i, x)", {"x": (1, 2, 4)}, weights={"z": w(2, 5, 4), "i": np.array([[[1, 2], [1, 3]]])})
case("y = ScatterElements<axis=1>(z, i, x)", {"x": (2, 2), "z": (2, 4)}, weights={"i": np.array([[0, 2], [3, 1]])})
case("y = CumSum(x, a)", weights={"a": np.array(1)})
case("y = CumSum<exclusive=1,reverse=1>(x, a)", {"x": (3, 2, 4)}, weights={"a": np.array(0)})
case("y = Trilu(x)", {"x": (2, 3, 4)})
case("y = Trilu<upper=0>(x, k)", {"x": (3, 4)}, weights={"k": np.array(1)})
for mode in ("asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"):
    for rounding in ("floor", "round_prefer_floor", "round_prefer_ceil", "ceil"):
        where = f'coordinate_transformation_mode="{mode}",nearest_mode="{rounding}"'
        case(f"y = Resize<{where}>(x, , s)", IMAGE, weights={"s": np.array([1, 1, 2, 3], np.float32)})
case("y = Resize(x, , , s)", IMAGE, weights={"s": ints(1, 4, 10, 6)})
case("y = Upsample(x, s)", IMAGE, weights={"s": np.array([1, 1, 2, 3], np.float32)}, opset=9)

# convolutions and pools

case("y = Conv(x, w, b)", {"x": (1, 4, 7)}, weights={"w": w(6, 4, 3), "b": w(6)})
case("y = Conv<pads=[1,2],strides=[2],dilations=[2]>(x, w)", {"x": (1, 4, 9)}, weights={"w": w(6, 4, 3)})
case("y = Conv<group=2,pads=[1,0,1,2]>(x, w)", IMAGE, weights={"w": w(6, 2, 3, 2)})
case("y = Conv(x, w, b)", {"x": (3, 4, 5, 6)}, weights={"w": w(2, 4, 3, 3), "b": w(2)})
case("y = Conv<group=4>(x, w)", {"x": (2, 4, 5)}, weights={"w": w(4, 1, 3)})
case("y = Conv(x, w)", {"x": (1, 2, 4, 4, 5)}, weights={"w": w(3, 2, 2, 3, 2)})
case("y = Conv(x, w, b)", {"x": (1, 4, 7), "b": (6,)}, weights={"w": w(6, 4, 3)})
case("y = ConvTranspose(x, w, b)", {"x": (1, 4, 7)}, weights={"w": w(4, 6, 3), "b": w(6)})
OTHERS = "pads=[1,2],strides=[3],dilations=[2],output_padding=[1]"
case(f"y = ConvTranspose<{OTHERS}>(x, w)", {"x": (1, 4, 7)}, weights={"w": w(4, 6, 3)})
case("y = ConvTranspose<group=2,strides=[2,1],pads=[0,1,1,0]>(x, w)", IMAGE, weights={"w": w(4, 3, 3, 2)})
case("y = ConvTranspose<strides=[2],output_shape=[15]>(x, w)", {"x": (1, 4, 7)}, weights={"w": w(4, 6, 3)})
case("y = ConvTranspose(x, w)", {"x": (3, 4, 7)}, weights={"w": w(4, 6, 3)})
for automatic in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case(f'y = Conv<auto_pad="{automatic}",strides=[2,3]>(x, w)', IMAGE, weights={"w": w(3, 4, 4, 2)})
    case(f'y = ConvTranspose<auto_pad="{automatic}",strides=[2,3]>(x, w)', IMAGE, weights={"w": w(4, 3, 4, 5)})
for extra in ("", "pads=[1,0,1,1],", "strides=[2,1],", "ceil_mode=1,strides=[2,2],", "ceil_mode=1,strides=[3,2],"):
    case(f"y = MaxPool<{extra}kernel_shape=[2,3]>(x)", IMAGE)
    case(f"y = AveragePool<{extra}kernel_shape=[2,3]>(x)", IMAGE, opset=19)
    case(f"y = AveragePool<{extra}count_include_pad=1,kernel_shape=[2,3]>(x)", IMAGE, opset=19)
case('y = MaxPool<auto_pad="SAME_UPPER",strides=[2],kernel_shape=[3]>(x)', {"x": (2, 4, 7)})
case("y = MaxPool<dilations=[2],kernel_shape=[3]>(x)", {"x": (2, 4, 7)})
case("y = AveragePool<kernel_shape=[3]>(x)", {"x": (2, 4, 7)})
case("y = GlobalAveragePool(x)", IMAGE)
case("y = GlobalMaxPool(x)", IMAGE)

# products

case("y = MatMul(x, w)", weights={"w": w(3, 4)})
case("y = MatMul(w, x)", weights={"w": w(4, 2)})
case("y = MatMul(x, w)", {"x": (3,)}, weights={"w": w(3, 4)})
case("y = MatMul(w, x)", {"x": (3,)}, weights={"w": w(4, 3)})
case("y = MatMul(x, w)", {"x": (3,)}, weights={"w": w(3)})
case("y = MatMul(x, z)", {"x": (2, 1, 3, 4), "z": (5, 4, 2)})
case("y = MatMul(x, w)", {"x": (2, 3, 4)}, weights={"w": w(4)})
case("y = MatMul(w, x)", {"x": (5, 4, 2)}, weights={"w": w(4)})
case("y = Gemm(x, w, b)", weights={"w": w(3, 4), "b": w(4)})
TURNED = "transA=1,transB=1,alpha=0.5,beta=2.0"
case(f"y = Gemm<{TURNED}>(x, w, b)", {"x": (3, 2)}, weights={"w": w(4, 3), "b": w(2, 1)})
case("y = Gemm<alpha=0.5>(x, z)", {"x": (3, 2), "z": (2, 3)})
for equation, shapes in (
    ("bik,bkj->bij", [(2, 3, 4), (2, 4, 5)]),
    ("bhid,bhjd->bhij", [(1, 2, 3, 4), (1, 2, 5, 4)]),
    ("btc,cf->bft", [(2, 3, 4), (4, 5)]),
    ("...ij,...jk->...ik", [(2, 2, 3, 4), (2, 2, 4, 5)]),
    ("ij,kj->k", [(2, 3), (4, 3)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("i,j->ij", [(3,), (4,)]),
    ("ij->ji", [(2, 3)]),
    ("ij->i", [(2, 3)]),
):
    names = "xz"[: len(shapes)]
    case(f'y = Einsum<equation="{equation}">({", ".join(names)})', dict(zip(names, shapes, strict=True)))

# recurrent layers over places, from zeros, constants and inputs


def recurrent(gates: int, directions: int, *, bias: bool = True) -> dict[str, Array]:
    weights = {"W": w(directions, gates * 5, 3), "R": w(directions, gates * 5, 5)}
    return weights | ({"B": w(directions, 10 * gates)} if bias else {})


PLACES = {"x": (4, 2, 3)}
for op, gates in (("GRU", 3), ("LSTM", 4), ("RNN", 1)):
    for directions, direction in ((1, "forward"), (1, "reverse"), (2, "bidirectional")):
        how = f'{op}<hidden_size=5,direction="{direction}">'
        case(f"y, z = {how}(x, W, R, B)", PLACES, weights=recurrent(gates, directions), outputs=("y", "z"))
        case(f"y = {how}(x, W, R)", PLACES, weights=recurrent(gates, directions, bias=False))
        start = {**PLACES, "i": (directions, 2, 5)}
        case(f"s, y = {how}(x, W, R, B, , i)", start, weights=recurrent(gates, directions))
        known = recurrent(gates, directions) | {"i": w(directions, 2, 5)}
        case(f"s, y = {how}(x, W, R, B, , i)", PLACES, weights=known)
case("y, z, q = LSTM<hidden_size=5>(x, W, R, B, l, i, j)", {**PLACES, "i": (1, 2, 5), "j": (1, 2, 5)})
CASES[-1].outputs, CASES[-1].weights = ("y", "z", "q"), recurrent(4, 1) | {"l": np.array([4, 4], np.int32)}
case("y, z = GRU<hidden_size=5,linear_before_reset=1>(x, W, R, B)", PLACES, weights=recurrent(3, 1))
ACTIVATIONS = 'activations=["HardSigmoid","Relu"],activation_alpha=[0.3]'
case(f"y, z = GRU<hidden_size=5,{ACTIVATIONS}>(x, W, R, B)", PLACES, weights=recurrent(3, 1))
case('y, z = RNN<hidden_size=5,activations=["Relu"]>(x, W, R, B)', PLACES, weights=recurrent(1, 1))

# sums, extremes and what is normalized by them

for op in (
    *("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceSumSquare", "ReduceProd"),
    "ReduceLogSumExp",
):
    case(f"y = {op}<axes=[-1,1]>(x)", IMAGE, opset=12)
    case(f"y = {op}<keepdims=0>(x)", {"x": (1, 2, 3, 4)}, opset=12)
    case(f"y = {op}<keepdims=0>(x, a)", IMAGE, weights={"a": ints(2)})
case("y = ReduceLogSum<axes=[1]>(x)", opset=12, positive=True)
case("y = ReduceSum<noop_with_empty_axes=1>(x)")
for op in ("Softmax", "LogSoftmax"):
    case(f"y = {op}(x)")
    case(f"y = {op}<axis=1>(x)", IMAGE)
    case(f"y = {op}<axis=1>(x)", IMAGE, opset=11)
case("y = LpNormalization<axis=1>(x)")
case("y = LpNormalization<axis=1,p=1>(x)", positive=True)
case("y = LayerNormalization(x, g, b)", weights={"g": w(3), "b": w(3)})
case("y = LayerNormalization<axis=2,epsilon=0.001>(x, g)", IMAGE, weights={"g": w(5, 6)})
case("y = RMSNormalization(x, g)", weights={"g": w(3)}, opset=23)
case("y = InstanceNormalization(x, g, b)", {"x": (2, 4, 5)}, weights={"g": w(4), "b": w(4)})
case("y = GroupNormalization<num_groups=2>(x, g, b)", IMAGE, weights={"g": w(4), "b": w(4)}, opset=21)
case("y = GroupNormalization<num_groups=2>(x, g, b)", IMAGE, weights={"g": w(2), "b": w(2)})
case("y = MeanVarianceNormalization(x)", IMAGE)
STATISTICS = {"g": w(4), "b": w(4), "m": w(4), "v": np.abs(w(4))}
case("y = BatchNormalization(x, g, b, m, v)", IMAGE, weights=STATISTICS)


# attention

HEADS = {"q": (1, 4, 3, 8), "k": (1, 4, 5, 8), "v": (1, 4, 5, 6)}
for how in ("", "<scale=0.3>", "<softcap=2.0>", "<is_causal=1>"):
    case(f"y = Attention{how}(q, k, v)", HEADS, opset=23)
case("y = Attention(q, k, v)", {**HEADS, "k": (1, 2, 5, 8), "v": (1, 2, 5, 6)}, opset=23)
case("y = Attention(q, k, v, m)", {**HEADS, "m": (3, 5)}, opset=23)
case("y = Attention(q, k, v, m)", {**HEADS, "m": (3, 5)}, opset=23, dtypes={"m": BOOL})
MERGED = {"q": (1, 3, 32), "k": (1, 5, 16), "v": (1, 5, 12)}
case("y = Attention<q_num_heads=4,kv_num_heads=2>(q, k, v)", MERGED, opset=23)
PAST = {**HEADS, "a": (1, 4, 2, 8), "b": (1, 4, 2, 6)}
case("y, z, c = Attention(q, k, v, , a, b)", PAST, outputs=("y", "z", "c"), opset=23)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text[:60])
def test_an_operator_computes_what_it_does_in_onnxruntime(case: Case) -> None:
    proto = step_proto(case.text, case.inputs, case.outputs, case.weights, opset=case.opset, dtypes=case.dtypes)
    assert largest_error(proto, imported(proto), positive=case.positive) <= TOLERANCE


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN"])
def test_batches_first_are_batches_first(op: str) -> None:
    """onnxruntime has no layout of 1: the same network as with the batch behind the places."""
    weights = recurrent({"GRU": 3, "LSTM": 4, "RNN": 1}[op], 1)
    start = {"x": (2, 4, 3), "i": (2, 1, 5)}
    proto = step_proto(f"y, z = {op}<hidden_size=5,layout=1>(x, W, R, B, , i)", start, ("y", "z"), weights)
    turned = (
        "a = Transpose<perm=[1,0,2]>(x); j = Transpose<perm=[1,0,2]>(i);"
        f"b, d = {op}<hidden_size=5>(a, W, R, B, , j);"
        "y = Transpose<perm=[2,0,1,3]>(b); z = Transpose<perm=[1,0,2]>(d)"
    )
    other = step_proto(turned, start, ("y", "z"), weights)
    assert largest_error(other, imported(proto)) <= TOLERANCE


BEFORE_NORMALIZATION = {
    "Conv(x, w, d)": {"w": w(4, 4, 2, 2), "d": w(4)},
    "Conv<group=2>(x, w)": {"w": w(4, 2, 2, 2)},
    "ConvTranspose<group=2>(x, w)": {"w": w(4, 2, 2, 2)},
}


@pytest.mark.parametrize("product", BEFORE_NORMALIZATION)
def test_normalization_goes_into_the_convolution_before_it(product: str) -> None:
    weights = {**STATISTICS, **BEFORE_NORMALIZATION[product]}
    proto = step_proto(f"a = {product}; y = BatchNormalization(a, g, b, m, v)", IMAGE, weights=weights)
    network = imported(proto)
    assert len(kinds(network)) == 2  # of the state beside it, one
    assert largest_error(proto, network) <= TOLERANCE


def test_normalization_goes_into_the_product_before_it() -> None:
    weights = {**STATISTICS, "w": w(3, 4)}
    proto = step_proto("a = MatMul(x, w); y = BatchNormalization(a, g, b, m, v)", {"x": (2, 3)}, weights=weights)
    network = imported(proto)
    assert sorted(kinds(network)) == ["apply", "mat_mul"]  # the former of the state beside it
    assert largest_error(proto, network) <= TOLERANCE


def test_a_convolution_that_another_reads_too_stays_as_it_is() -> None:
    weights = {**STATISTICS, "w": w(4, 4, 2, 2)}
    text = "a = Conv(x, w); z = Relu(a); y = BatchNormalization(a, g, b, m, v)"
    proto = step_proto(text, IMAGE, ("y", "z"), weights)
    network = imported(proto)
    assert kinds(network).count("combine") == 2
    assert largest_error(proto, network) <= TOLERANCE


def test_movement_that_moves_nothing_is_no_operator() -> None:
    text = "a = Reshape(x, s); b = Transpose<perm=[0,1]>(a); d = Reshape(b, t); y = Relu(d)"
    proto = step_proto(text, {"x": (2, 3)}, weights={"s": ints(3, 2), "t": ints(2, 3)})
    assert sorted(kinds(imported(proto))) == ["apply", "apply"]


def test_updates_of_a_block_are_one_operator() -> None:
    proto = step_proto("y = ScatterND(z, i, x)", {"x": (2, 4)}, weights={"z": w(5, 4), "i": np.array([[1], [2]])})
    assert "update" in kinds(imported(proto))
    assert "gather" not in kinds(imported(proto))


def test_constants_have_the_names_of_the_source() -> None:
    weights = {"kernel": w(2, 4, 1, 1), "offset": w(2)}
    network = imported(step_proto("y = Conv(x, kernel, offset)", IMAGE, weights=weights))
    assert set(program(network).constants) == {"kernel", "offset"}
    assert np.array_equal(network.weights["program.kernel"], weights["kernel"])
