"""Translates a program's calls of ATen operators into a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping

from grurt.array_types import Array
from grurt.converters.graph.budget import Budget
from grurt.converters.graph.nodes import Declaration, Graph
from grurt.converters.pt2 import (  # noqa: F401 - they fill the table of handlers
    arithmetic,
    layers,
    mathematics,
    movement,
    recurrent,
)
from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import HANDLERS, Handler
from grurt.converters.pt2.program import Call, Program, Ref
from grurt.errors import ConversionError, DesignReason

_LSTM = (
    "grurt runs GRU networks; LSTM and plain RNN are not supported",
    "train the model with a GRU",
    DesignReason.OTHER_RECURRENCE,
)
_CONTROL = (
    "control flow is not supported",
    "export a module without loops and conditions on the data",
    DesignReason.DATA_DEPENDENT,
)
_QUANTIZED = (
    "the model was quantized",
    "export the model of floating-point weights: grurt quantizes by itself",
    DesignReason.QUANTIZED,
)

_REASONS = {
    re.compile(
        r"(conv|\w*pool|upsample_\w+|pixel_\w*shuffle|reflection_pad|replication_pad)[23]d"
    ): DesignReason.IMAGES,
    re.compile(r"_?scaled_dot_product\w*|_?native_multi_head_attention"): DesignReason.WHOLE_SEQUENCE,
    re.compile(r"cumsum|cumprod|cummax|cummin|logcumsumexp|group_norm|instance_norm"): DesignReason.WHOLE_SEQUENCE,
    re.compile(r"upsample_\w+1d|repeat_interleave|conv_transpose1d|adaptive_\w+_pool1d"): DesignReason.SEQUENCE_LENGTH,
    re.compile(r"nonzero\w*|masked_select|_?unique\w*|_local_scalar_dense|item"): DesignReason.DATA_DEPENDENT,
    re.compile(r"rand\w*|bernoulli|multinomial|normal\w*|poisson|\w*dropout"): DesignReason.TRAINING,
    re.compile(r"_?fft_\w+|stft|istft|complex|view_as_(complex|real)"): DesignReason.ELEMENT_TYPE,
}
"""Why operators of these names stay unknown, by design."""

_VIEWS = {"view", "reshape", "transpose", "permute", "t", "select", "slice", "unsqueeze", "squeeze", "expand", "alias"}
_VIEWS |= {"flatten", "unflatten", "split", "split_with_sizes", "chunk", "unbind", "detach", "contiguous", "to"}


def translate(program: Program, constants: Mapping[str, Array], size: int) -> Graph:
    """Return the graph of a program.

    Parameters
    ----------
    program
        The program.
    constants
        Its weights, buffers and constants by the names of the tensors that stand for them.
    size
        Bytes of the file.

    Raises
    ------
    UnsupportedError
        If it calls an operator that is not understood; the message names it.
    """
    em = Emitter(program, constants, Budget(size))
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
        producer="torch.export",
        producer_version=program.torch_version,
        size=size,
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
        _against(call.target, name),
    )


def _against(target: str, name: str) -> DesignReason | None:
    """Return why an operator that nothing translates stays unknown; None if it might be translated."""
    if not target.startswith("torch.ops.aten."):
        return DesignReason.OWN_CODE if target.startswith("torch.ops.") else None
    return next((reason for found, reason in _REASONS.items() if found.match(name)), None)


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
