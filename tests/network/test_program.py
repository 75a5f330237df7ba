"""Programs that are not any, as a hostile file may hold them: refused quickly, and with one of grurt's errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import grurt
from grurt import operators as op
from grurt.errors import ModelError
from grurt.network.layers.program import MAX_OPERATORS
from grurt.network.ranges import MAX_SIZE

LARGE = 10**25
HUGE = 10**5000
"""More digits than Python writes."""

X = (1, 4, 6)


def relu(x: str, y: str) -> op.Apply:
    return op.Apply(inputs=(x,), outputs=(y,), function=grurt.Relu())


def program(*operators: Any, shape: tuple[int, ...] = X, **fields: Any) -> grurt.Network:
    """Return a network of one program that reads x and writes y; weights are ones."""
    limits = fields.pop("limits", None)
    fields = {"inputs": ("x",), "input_shapes": (shape,), "results": ("y",), "operators": operators} | fields
    layer = grurt.Program(name="p", **fields)
    constants = fields.get("constants", {})
    weights = {f"p.{name}": np.ones(shape, np.float32) for name, shape in constants.items() if np.prod(shape) < 1e6}
    size = int(np.prod(shape)) if np.prod(shape) <= MAX_SIZE else 1
    inputs = [grurt.Input(name, size) for name in fields["inputs"]]
    return grurt.Network(layers=[layer], weights=weights, inputs=inputs, limits=limits)


def of_x(kind: type[op.Operator], *others: str, **fields: Any) -> Any:
    return kind(inputs=("x", *others), outputs=fields.pop("outputs", ("y",)), **fields)


def conv(
    kind: type[op.Conv] | type[op.ConvTranspose] = op.Conv, weight: tuple[int, ...] = (4, 4, 3), **fields: Any
) -> Any:
    axes = len(X) - 2
    numbers = {"strides": (1,) * axes, "dilations": (1,) * axes, "before": (0,) * axes, "after": (0,) * axes}
    return program(of_x(kind, "w", **numbers | fields), constants={"w": weight})


def gru(x: tuple[int, ...] = X, rows: int = 6, **fields: Any) -> grurt.Network:
    constants = {"w": (1, rows, 6), "r": (1, rows, 2), "b": (1, 2 * rows), "h": (1, 4, 2)}
    fields = {"hidden_size": 2, "outputs": ("y", "h'")} | fields
    return program(of_x(op.GRU, "w", "r", "b", "h", **fields), shape=x, constants=constants)


def state(**fields: Any) -> grurt.Network:
    whole = {"name": "s", "shape": X, "result": "y"} | fields
    return program(relu("x", "y"), states=(grurt.ProgramState(**whole),))


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    # the program
    "no operators": (lambda: program(), "expected results, and 1 to 8192 operators"),
    "no results": (lambda: program(relu("x", "y"), results=()), "expected results"),
    "too many operators": (
        lambda: program(*(relu("x", f"{i}") for i in range(MAX_OPERATORS + 1))),
        "expected results, and 1 to 8192 operators",
    ),
    "no such result": (lambda: program(relu("x", "z")), "no operator writes 'y'"),
    "results that are too long": (
        lambda: program(relu("x", "y"), results=("y",) * 10**6),
        "layer 'p': size must be in [1, 1048576], got 24000000",
    ),
    "shapes and inputs": (lambda: program(relu("x", "y"), inputs=("x", "z")), "layer 'p': expected 1 input, got 2"),
    "too many inputs": (
        lambda: program(relu("0", "y"), shape=(1,), inputs=tuple(map(str, range(65))), input_shapes=((1,),) * 65),
        "expected a shape for each input, and at most 64 inputs",
    ),
    "an input twice": (
        lambda: program(relu("x", "y"), inputs=("x", "x"), input_shapes=(X, X)),
        "the name 'x' is used twice",
    ),
    "an input of another size": (
        lambda: program(relu("x", "y"), input_shapes=((2,),)),
        "layer 'p': expected an input of size 2, got 24",
    ),
    "an input without numbers": (lambda: program(relu("x", "y"), input_shapes=((0,),)), "got shape (0)"),
    "an input of a negative size": (lambda: program(relu("x", "y"), input_shapes=((-4, -6),)), "got shape (-4, -6)"),
    "a large input": (lambda: program(relu("x", "y"), input_shapes=((1 << 10, 1 << 11),)), "at most 1048576 numbers"),
    "an input with an axis of more digits than Python writes": (
        lambda: program(relu("x", "y"), input_shapes=((HUGE,),)),
        "got shape (an int of 16,610 bits)",
    ),
    "an input of a million axes": (
        lambda: program(relu("x", "y"), input_shapes=((LARGE,) * 10**6,)),
        "value 'x': expected at most 12 axes, got 1,000,000",
    ),
    "a size that is none": (
        lambda: program(relu("x", "y"), input_shapes=(("a",),)),
        "layers[0].input_shapes[0][0]: expected a whole number, got 'a'",
    ),
    "a program in a grid": (
        lambda: grurt.Network(
            layers=[
                grurt.Unflatten(name="grid", positions=2),
                grurt.Program(
                    name="p", inputs=("grid",), input_shapes=((2,),), operators=(relu("grid", "y"),), results=("y",)
                ),
            ],
            weights={},
            inputs=[grurt.Input("x", 4)],
        ),
        "layer 'p': expected vectors, got a grid: Flatten it first",
    ),
    # constants and states
    "a constant that nobody reads": (
        lambda: program(relu("x", "y"), constants={"a": (1,), "b": (1,)}),
        "constants that no operator reads: a, b",
    ),
    "a constant of no size": (lambda: program(relu("c", "y"), constants={"c": (0,)}), "value 'c': expected axes of"),
    "a state of another shape": (
        lambda: state(shape=(24,)),
        "state 's' of shape (24,) cannot become 'y' of shape (1, 4, 6)",
    ),
    "a state that becomes nothing": (lambda: state(result="nothing"), "no operator writes 'nothing'"),
    "a state that begins as nothing": (lambda: state(initial="nothing"), "'s': expected a constant of its shape"),
    "a state with the name of an input": (lambda: state(name="x"), "the name 'x' is used twice"),
    "a state of a huge shape": (lambda: state(shape=(LARGE,)), "value 's': expected axes of at least 1 and at most"),
    "too many values": (
        lambda: program(relu("x", "y"), constants={f"{i}": () for i in range(1 << 14)}),
        "layer 'p': expected at most 16384 values",
    ),
    # names
    "a name twice": (lambda: program(relu("x", "y"), relu("x", "y")), "the name 'y' is used twice"),
    "a name that no terminal can show": (lambda: program(relu("x", "y\x1b")), "expected a name of 1 to 200 printable"),
    "a long name": (lambda: program(relu("x", "y" * 10**6)), "expected a name of 1 to 200 printable characters"),
    "an unknown name": (lambda: program(relu("z" * 10**6, "y")), "which nothing has written yet"),
    "an empty name": (lambda: program(relu("", "y")), "apply 'y': it reads '', which nothing has written yet"),
    "a value that is written later": (
        lambda: program(relu("z", "y"), relu("x", "z")),
        "apply 'y': it reads 'z', which nothing has written yet",
    ),
    "no output": (lambda: program(of_x(op.Apply, outputs=(), function=grurt.Relu())), "expected names for 1 outputs"),
    "an output without a name": (lambda: program(relu("x", "")), "expected names for 1 outputs, got ['']"),
    "too many outputs": (
        lambda: program(of_x(op.Apply, outputs=("y",) * 10**6, function=grurt.Relu())),
        "apply 'y': expected names for 1 outputs",
    ),
    "too many inputs of an operator": (
        lambda: program(of_x(op.Concat, *["x"] * 4096, axis=0)),
        "concat 'y': expected 2 to 4096 inputs, got 4097",
    ),
    # element by element
    "a function with a parameter that is infinite": (
        lambda: program(of_x(op.Apply, function=grurt.Elu(float("inf")))),
        "layer 'p': apply 'y': function.alpha must be a finite float32, got inf",
    ),
    "a clip upside down": (
        lambda: program(of_x(op.Apply, function=grurt.Clip(1.0, 0.0))),
        "apply 'y': function: minimum 1.0 is above maximum 0.0",
    ),
    "softmax as a function": (
        lambda: program(of_x(op.Apply, function=grurt.Softmax())),
        "layers[0].operators[0].function.function: expected one of relu, ",
    ),
    "shapes that cannot be broadcast": (
        lambda: program(of_x(op.Combine, "c", operation="add"), constants={"c": (5,)}),
        "combine 'y': shapes (1, 4, 6), (5,) cannot be broadcast together",
    ),
    "broadcast too far": (
        lambda: program(of_x(op.Combine, "c", operation="add"), shape=(1 << 11, 1), constants={"c": (1 << 11,)}),
        "value 'y': expected axes of at least 1 and at most 1048576 numbers, got shape (2048, 2048)",
    ),
    "an unknown operation": (
        lambda: program(of_x(op.Combine, "x", operation="xor")),
        "layers[0].operators[0].operation: expected one of add, div,",
    ),
    # movement
    "perm": (lambda: program(of_x(op.Transpose, perm=(0, 1, 1))), "transpose 'y': expected an order of 3 axes, got"),
    "perm of texts": (
        lambda: program(of_x(op.Transpose, perm=("a", "b", "c"))),
        "layers[0].operators[0].perm[0]: expected a whole number, got 'a'",
    ),
    "perm of a million": (
        lambda: program(of_x(op.Transpose, perm=tuple(range(10**6)))),
        "transpose 'y': perm: expected a number for each axis, got 1,000,000",
    ),
    "a shape of other numbers": (
        lambda: program(of_x(op.Reshape, shape=(5, 5))),
        "reshape 'y': expected a shape of 24 numbers, got (5, 5)",
    ),
    "a shape of a negative size": (lambda: program(of_x(op.Reshape, shape=(-4, -6))), "got shape (-4, -6)"),
    "a shape of a million sizes": (
        lambda: program(of_x(op.Reshape, shape=(MAX_SIZE,) * 10**6)),
        "shape: expected a number for each axis, got 1,000,000",
    ),
    "a shape of huge sizes": (lambda: program(of_x(op.Reshape, shape=(HUGE,))), "shape must be in [-1048576, 1048576]"),
    "expanded to nothing": (lambda: program(of_x(op.Expand, shape=(0, 4, 6))), "got shape (0, 4, 6)"),
    "expanded too far": (lambda: program(of_x(op.Expand, shape=(MAX_SIZE, 4, 6))), "at most 1048576 numbers"),
    "expanded to fewer axes": (lambda: program(of_x(op.Expand, shape=(4, 6))), "cannot be expanded to (4, 6)"),
    "a slice of nothing": (
        lambda: program(of_x(op.Slice, starts=(0, 0, 0), sizes=(1, 0, 6), steps=(1, 1, 1))),
        "slice 'y': places 0 to -1 are not along an axis of 4",
    ),
    "a slice that stands still": (
        lambda: program(of_x(op.Slice, starts=(0, 0, 0), sizes=(1, 4, 6), steps=(1, 0, 1))),
        "slice 'y': places 0 to 0 are not along an axis of 4",
    ),
    "a slice past the end": (
        lambda: program(of_x(op.Slice, starts=(0, 1, 0), sizes=(1, 4, 6), steps=(1, 1, 1))),
        "slice 'y': places 1 to 4 are not along an axis of 4",
    ),
    "a slice before the front": (
        lambda: program(of_x(op.Slice, starts=(0, 1, 0), sizes=(1, 3, 6), steps=(1, -1, 1))),
        "slice 'y': places 1 to -1 are not along an axis of 4",
    ),
    "a slice of huge steps": (
        lambda: program(of_x(op.Slice, starts=(0, 0, 0), sizes=(1, 1, 1), steps=(1, LARGE, 1))),
        "slice 'y': steps must be in [-1048576, 1048576], got 10000000000000000000000000",
    ),
    "a slice of other axes": (
        lambda: program(of_x(op.Slice, starts=(), sizes=(), steps=())),
        "slice 'y': expected a start, a size and a step for each of 3 axes",
    ),
    "no places": (lambda: program(of_x(op.Gather, axis=0, places=())), "gather 'y': expected places in [0, 1)"),
    "places past the end": (lambda: program(of_x(op.Gather, axis=1, places=(4,))), "expected places in [0, 4)"),
    "places before the front": (lambda: program(of_x(op.Gather, axis=1, places=(-1,))), "expected places in [0, 4)"),
    "places along no axis": (
        lambda: program(of_x(op.Gather, axis=-1, places=(0,))),
        "gather 'y': expected an axis in [0, 3), got -1",
    ),
    "a million places": (
        lambda: program(of_x(op.Gather, axis=1, places=(0,) * 10**6)),
        "expected axes of at least 1 and at most 1048576 numbers, got shape (1, 1000000, 6)",
    ),
    "two million places": (lambda: program(of_x(op.Gather, axis=1, places=(0,) * 2 * 10**6)), "got 2,000,000"),
    "values of other shapes, one after the other": (
        lambda: program(of_x(op.Concat, "c", axis=1), constants={"c": (1, 2, 5)}),
        "concat 'y': shapes (1, 4, 6) and (1, 2, 5) do not fit along axis 1",
    ),
    "padding before the front": (
        lambda: program(of_x(op.Pad, before=(0, -1, 0), after=(0, 0, 0))),
        "pad 'y': expected padding from 0 for each of 3 axes",
    ),
    "huge padding": (
        lambda: program(of_x(op.Pad, before=(0, MAX_SIZE, 0), after=(0, 0, 0))),
        "at most 1048576 numbers, got shape (1, 1048580, 6)",
    ),
    "padding that is not a number": (
        lambda: program(of_x(op.Pad, before=(0, 0, 0), after=(0, 1, 0), value=float("nan"))),
        "pad 'y': value must be a finite float32, got nan",
    ),
    "padding that is infinite, which files cannot hold": (
        lambda: program(of_x(op.Pad, before=(0, 0, 0), after=(0, 1, 0), value=-float("inf"))),
        "pad 'y': value must be a finite float32, got -inf",
    ),
    "an update past the end": (
        lambda: program(of_x(op.Update, "x", starts=(0, 1, 0))),
        "update 'y': places 1 to 4 are not along an axis of 4",
    ),
    "an update of other axes": (
        lambda: program(of_x(op.Update, "x", starts=())),
        "expected a start for each of 3 axes",
    ),
    # products
    "a convolution of a number": (
        lambda: program(
            op.Conv(inputs=("x", "w"), outputs=("y",), strides=(), dilations=(), before=(), after=()),
            constants={"w": ()},
        ),
        "conv 'y': expected a value (1, channels, sizes) and a weight of as many axes, got (1, 4, 6), ()",
    ),
    "a convolution with a weight that is computed": (
        lambda: program(of_x(op.Conv, "x", strides=(1,), dilations=(1,), before=(0,), after=(0,))),
        "conv 'y': expected a constant, got 'x'",
    ),
    "strides of 0": (lambda: conv(strides=(0,)), "conv 'y': expected strides and dilations from 1"),
    "strides for other axes": (lambda: conv(strides=(1, 1)), "conv 'y': expected strides and dilations from 1"),
    "no strides": (lambda: conv(strides=()), "conv 'y': expected strides and dilations from 1"),
    "groups": (lambda: conv(groups=3), "conv 'y': 4 and 4 channels do not fall into 3 groups"),
    "no groups": (lambda: conv(groups=0), "conv 'y': 4 and 4 channels do not fall into 0 groups"),
    "huge groups": (lambda: conv(groups=-LARGE), "conv 'y': groups must be in [-1048576, 1048576]"),
    "a convolution of other channels": (
        lambda: conv(weight=(4, 3, 3)),
        "conv 'y': expected a weight of 4 input channels, got 3",
    ),
    "negative padding behind a convolution": (
        lambda: conv(after=(-1,)),
        "conv 'y': expected padding from 0, got (-1,)",
    ),
    "a bias of other channels": (
        lambda: program(
            of_x(op.Conv, "w", "b", strides=(1,), dilations=(1,), before=(0,), after=(0,)),
            constants={"w": (3, 4, 1), "b": (4,)},
        ),
        "conv 'y': expected a bias of shape (3,), got (4,)",
    ),
    "a kernel beyond what there is": (lambda: conv(dilations=(3,)), "value 'y': expected axes of at least 1"),
    "a dilation beyond everything": (lambda: conv(dilations=(MAX_SIZE,)), "value 'y': expected axes of at least 1"),
    "huge padding of a convolution": (lambda: conv(before=(MAX_SIZE,)), "at most 1048576 numbers, got shape (1, 4, "),
    "a transposed convolution of huge strides": (
        lambda: conv(op.ConvTranspose, strides=(MAX_SIZE,)),
        "at most 1048576 numbers, got shape (1, 4, 5242883)",
    ),
    "a transposed convolution of as many steps as strides": (
        lambda: program(
            of_x(op.ConvTranspose, "w", strides=(1 << 17,), dilations=(1,), before=(0,), after=(0,)),
            shape=(1, 1, 2),
            constants={"w": (1, 1, 1)},
        ),
        "bytes of memory, expected at most 268,435,472: allow more with max_bytes=",
    ),
    "a transposed convolution that is cut off": (
        lambda: conv(op.ConvTranspose, after=(8,)),
        "value 'y': expected axes of at least 1 and at most 1048576 numbers, got shape (1, 4, 0)",
    ),
    "matrices that do not fit": (
        lambda: program(of_x(op.MatMul, "x")),
        "mat_mul 'y': matrices of shapes (1, 4, 6) and (1, 4, 6) cannot be multiplied",
    ),
    "a product of vectors": (
        lambda: program(of_x(op.MatMul, "x"), shape=(6,)),
        "mat_mul 'y': matrices of shapes (6,) and (6,) cannot be multiplied",
    ),
    "a product that takes for ever": (
        lambda: program(of_x(op.MatMul, "x"), shape=(1 << 10, 1 << 10), limits=grurt.Limits(max_bytes=1 << 30)),
        "operations, expected at most 1,073,741,824: allow more with max_operations=",
    ),
    "values that take all memory": (
        lambda: program(
            relu("x", "v0"), *(relu(f"v{i}", f"v{i + 1}") for i in range(100)), shape=(MAX_SIZE,), results=("x",)
        ),
        "bytes of memory, expected at most 268,435,456: allow more with max_bytes=",
    ),
    # recurrent operators
    "a hidden size of 0": (lambda: gru(hidden_size=0), "a hidden size from 1, got (1, 4, 6)"),
    "a huge hidden size": (
        lambda: gru(hidden_size=LARGE),
        "gru 'y': hidden_size must be in [-1048576, 1048576], got 100",
    ),
    "a GRU of a vector": (lambda: gru((6,)), "gru 'y': expected a value (length, batch, input_size)"),
    "a GRU with other weights": (lambda: gru(rows=4), "gru 'y': expected weights and states of shapes"),
    "a GRU in both directions, of weights for one": (lambda: gru(direction="bidirectional"), "[(2, 6, 6), (2, 6, 2)"),
    "a GRU with a gate that is none": (
        lambda: gru(gate_activation=grurt.Clip(0.0, float("nan"))),
        "gru 'y': gate_activation.maximum must be a finite float32, got nan",
    ),
    "a sequence that is too long, of which nobody reads all states": (
        lambda: program(
            op.RNN(inputs=("x", "w", "r", "b", "h"), outputs=("", "y"), hidden_size=2),
            shape=(MAX_SIZE, 1, 1),
            constants={"w": (1, 2, 1), "r": (1, 2, 2), "b": (1, 4), "h": (1, 1, 2)},
        ),
        "rnn 'y': expected axes of at least 1 and at most 1048576 numbers, got shape (1048576, 1, 1, 2)",
    ),
    # reductions
    "no axes": (lambda: program(of_x(op.Reduce, axes=(), operation="sum")), "expected axes, each once, got ()"),
    "an axis twice": (lambda: program(of_x(op.Reduce, axes=(1, 1), operation="sum")), "each once, got (1, 1)"),
    "an axis that is not there": (lambda: program(of_x(op.Softmax, axis=3)), "an axis in [0, 3), got 3"),
    "an axis of a number": (lambda: program(of_x(op.Softmax, axis=0), shape=()), "an axis in [0, 0), got 0"),
    "no axes of a normalization": (lambda: program(of_x(op.Normalize, axes=())), "expected axes, each once"),
    "an epsilon of 0 in float32": (
        lambda: program(of_x(op.Normalize, axes=(1,), epsilon=1e-46)),
        "normalize 'y': expected axes, each once, and a positive epsilon, got (1,) and 1e-46",
    ),
    "an epsilon that is not a number": (
        lambda: program(of_x(op.Normalize, axes=(1,), epsilon=float("nan"))),
        "normalize 'y': epsilon must be a finite float32, got nan",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_a_program_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        make()
    assert len(str(caught.value)) <= 2000


def test_a_program_that_is_not_connected_says_so() -> None:
    layer = grurt.Program(name="p", input_shapes=((1,),), operators=(relu("x", "y"),), results=("y",))
    with pytest.raises(ModelError, match="layer 'p': expected a shape for each input"):
        layer.shapes()


def test_constants_may_be_infinite_but_have_to_be_numbers() -> None:
    layer = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=((2,),),
        constants={"c": (2,)},
        operators=(relu("c", "y"),),
        results=("y",),
    )
    inputs = [grurt.Input("x", 2)]
    network = grurt.Network(layers=[layer], weights={"p.c": np.array([np.inf, -np.inf])}, inputs=inputs)
    assert np.isinf(network.weights["p.c"]).all()
    with pytest.raises(ModelError, match=r"weight p\.c: expected numbers, got NaN"):
        grurt.Network(layers=[layer], weights={"p.c": np.array([np.inf, np.nan])}, inputs=inputs)


def test_constants_may_be_larger_than_values() -> None:
    columns = 2 + MAX_SIZE // 1024
    layer = grurt.Program(
        name="p",
        inputs=("x",),
        input_shapes=((1, 1024),),
        constants={"w": (1024, columns)},
        operators=(of_x(op.MatMul, "w"),),
        results=("y",),
    )
    assert layer.shapes()["y"] == (1, columns)
    assert layer.value_size((1024,)) == columns


def test_a_constant_beyond_what_any_file_holds() -> None:
    with pytest.raises(ModelError, match="value 'w': expected axes of at least 1 and at most 268435456 numbers"):
        program(of_x(op.MatMul, "w"), constants={"w": (MAX_SIZE, 512)})
