"""Translates a program's calls of ATen operators into the graph that the ONNX importer interprets."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.errors import ConversionError

from ..onnx.graph import Array, Declaration, Graph
from . import arithmetic, layers, movement, recurrent
from .arithmetic import Handler, binary, gated, size_arithmetic, softmax, unary
from .emitter import Emitter
from .program import Call, Program, Ref

OPSET = 20
"""The version of the ONNX operators that the nodes mean."""

_SIXTH = 1 / 6
_LSTM = ("grurt runs GRU networks; LSTM and plain RNN are not supported", "train the model with a GRU")
_CONTROL = ("control flow is not supported", "export a module without loops and conditions on the data")
_QUANTIZED = ("the model was quantized", "export the model of floating-point weights: grurt quantizes by itself")

HANDLERS: Mapping[str, Handler] = {
    "gru": recurrent.gru,
    "gru_cell": recurrent.gru_cell,
    "linear": layers.linear,
    "addmm": layers.addmm,
    **dict.fromkeys(("mm", "matmul", "bmm"), layers.matmul),
    "embedding": layers.embedding,
    "_weight_norm": layers.weight_norm,
    "_weight_norm_interface": layers.weight_norm,
    **dict.fromkeys(("layer_norm", "native_layer_norm"), layers.layer_norm),
    **dict.fromkeys(("batch_norm", "_native_batch_norm_legit_no_training"), layers.batch_norm),
    **dict.fromkeys(("conv1d", "convolution"), layers.conv1d),
    **dict.fromkeys(("pad", "constant_pad_nd"), layers.pad),
    "add": binary("Add"),
    "sub": binary("Sub"),
    "mul": binary("Mul"),
    "div": binary("Div"),
    "rsub": arithmetic.reversed_subtraction,
    "neg": unary("Neg"),
    "abs": unary("Abs"),
    "relu": unary("Relu"),
    "relu6": arithmetic.clamp,
    "sigmoid": unary("Sigmoid"),
    "tanh": unary("Tanh"),
    "hardsigmoid": unary("HardSigmoid", alpha=_SIXTH, beta=0.5),
    "silu": gated("Sigmoid"),
    "hardswish": gated("HardSigmoid", alpha=_SIXTH, beta=0.5),
    "leaky_relu": arithmetic.leaky_relu,
    "elu": arithmetic.elu,
    "gelu": arithmetic.gelu,
    "softplus": arithmetic.softplus,
    **dict.fromkeys(("clamp", "hardtanh", "clamp_min", "clamp_max"), arithmetic.clamp),
    "prelu": arithmetic.prelu,
    **dict.fromkeys(("softmax", "_softmax"), softmax("Softmax")),
    **dict.fromkeys(("log_softmax", "_log_softmax"), softmax("LogSoftmax")),
    **dict.fromkeys(("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "lift_fresh"), movement.identity),
    **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout"), movement.dropout),
    **dict.fromkeys(("to", "_to_copy"), movement.cast),
    **dict.fromkeys(("transpose", "permute", "t", "numpy_T"), movement.permute),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "_reshape_copy"), movement.reshape),
    "flatten": movement.flatten,
    "unflatten": movement.unflatten,
    "squeeze": movement.squeeze,
    "unsqueeze": movement.unsqueeze,
    "select": movement.select,
    "slice": movement.slice_,
    "flip": movement.flip,
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "unbind"), movement.split),
    **dict.fromkeys(("cat", "concat", "stack"), movement.concatenate),
    "expand": movement.expand,
    "repeat": movement.repeat,
    **dict.fromkeys(
        ("zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"),
        movement.fill,
    ),
    "sym_size": movement.symbolic_size,
    **dict.fromkeys(("_assert_scalar", "_assert_tensor_metadata", "_assert_async"), movement.nothing),
    **dict.fromkeys(("sym_constrain_range", "sym_constrain_range_for_size"), movement.nothing),
    "_operator.mul": size_arithmetic("Mul"),
    "_operator.add": size_arithmetic("Add"),
    "_operator.sub": size_arithmetic("Sub"),
    "_operator.floordiv": size_arithmetic("Div"),
    **dict.fromkeys((f"_operator.{name}" for name in ("ge", "le", "gt", "lt", "eq", "ne", "and_")), movement.nothing),
}
"""The operators that are understood."""

_VIEWS = {"view", "reshape", "transpose", "permute", "t", "select", "slice", "unsqueeze", "squeeze", "expand", "alias"}
_VIEWS |= {"flatten", "unflatten", "split", "split_with_sizes", "chunk", "unbind", "detach", "contiguous", "to"}


def translate(program: Program, constants: Mapping[str, Array]) -> Graph:
    """Return the graph of a program.

    Parameters
    ----------
    program
        The program.
    constants
        Its weights, buffers and constants by the names of the tensors that stand for them.

    Raises
    ------
    UnsupportedError
        If it calls an operator that is not understood; the message names it.
    """
    em = Emitter(program, constants)
    _check_in_place(program)
    for call in program.calls:
        em.begin(call)
        try:
            _handler(call)(call, em)
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError) as error:
            if isinstance(error, ConversionError):
                raise
            raise call.unsupported("its arguments are not those of torch 2.13", "export the model again") from error
    outputs = list(_outputs(program, em))
    read = {name for node in em.nodes for name in node.inputs} | {port.name for port in outputs}
    return Graph(
        nodes=tuple(em.nodes),
        constants={name: array for name, array in em.constants.items() if name in read},
        inputs=program.inputs,
        outputs=tuple(outputs),
        opset=OPSET,
        producer="torch.export",
        producer_version=program.torch_version,
    )


def base_name(call: Call) -> str:
    """Return an operator's name without the underscore of its in-place form."""
    return call.op[:-1] if call.op.endswith("_") and not call.op.endswith("__") else call.op


def _handler(call: Call) -> Handler:
    name = base_name(call)
    if name in HANDLERS and call.target != "torch.ops.aten.gru.data":
        return HANDLERS[name]
    if name.startswith(("lstm", "rnn_")):
        raise call.unsupported(*_LSTM)
    if "higher_order" in call.target:
        raise call.unsupported(*_CONTROL)
    if "quant" in call.target:
        raise call.unsupported(*_QUANTIZED)
    raise call.unsupported(
        "the operator is not supported",
        "supported are GRU, linear, embedding, normalization and causal convolution layers, and activations; "
        "a program that was decomposed may be saved as it was before run_decompositions()",
    )


def _check_in_place(program: Program) -> None:
    """Raise UnsupportedError if a tensor is read after it, or one that shares its memory, was written in place."""
    last_read: dict[str, int] = {}
    views: set[str] = {port.name for port in program.inputs} | program.states.keys()
    for position, call in enumerate(program.calls):
        last_read |= dict.fromkeys(call.references(), position)
        views |= set(call.outputs) if base_name(call) in _VIEWS else set()
    for position, call in enumerate(program.calls):
        written = call.get("self")
        if base_name(call) == call.op or call.op == "detach_" or not isinstance(written, Ref):
            continue
        if last_read[written.name] != position or written.name in views:
            raise call.unsupported(
                f"it changes {written.name[:80]!r} in place, which others see too",
                "use the form without inplace=True, or export program.run_decompositions({})",
            )


def _outputs(program: Program, em: Emitter) -> list[Declaration]:
    """Return the outputs, with a name of its own for each, also where a program gives one tensor twice."""
    found: list[Declaration] = []
    taken = {port.name for port in program.inputs}
    for port in program.outputs:
        name = port.name
        if name in taken:
            name = em.emit("Identity", port.name, into=f"{port.name}/{len(found)}")
        taken.add(name)
        found.append(Declaration(name, port.dtype, port.shape))
    return found
