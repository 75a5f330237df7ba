"""How authors lay out the weights of a layer, and the same weights as PyTorch lays them out.

=========  ==================  ==============================================================================
option     value               means
=========  ==================  ==============================================================================
gates      z, r, n in an       the order of the gates' blocks
           order, as ``rzn``
layout     rows                a matrix is ``(outputs, inputs)``: ``W @ x``; a kernel ``(outputs, inputs, taps)``
           columns             a matrix is ``(inputs, outputs)``: ``x @ W``; a kernel ``(taps, inputs, outputs)``
reset      after               ``n = tanh(W x + b + r * (R h + c))``
           before              ``n = tanh(W x + b + R (r * h) + c)``
update     keep                ``h' = (1 - z) * n + z * h``
           replace             ``h' = (1 - z) * h + z * n``
joined     hx                  one matrix ``weight`` for state and input: ``W @ [h, x]``
           xh                  ``W @ [x, h]``
=========  ==================  ==============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.arrays.gathering import ZERO
from grurt.converters.description import LayerDescription
from grurt.converters.kinds import KINDS
from grurt.errors import DescriptionError
from grurt.network.functions import HardSigmoid, Sigmoid

_MATRICES = ("weight_ih", "weight_hh")
_BIASES = ("bias_ih", "bias_hh")
_SUFFIXES = ("", "_reverse")
_GATES = 3
_QUESTIONS = {
    "gates": "gates=zrn or gates=rzn, the order of the blocks",
    "reset": "reset=after if n = tanh(W x + b + r * (R h + c)), reset=before if n = tanh(W x + b + R (r * h) + c)",
    "update": "update=keep if h' = (1 - z) * n + z * h, update=replace if h' = (1 - z) * h + z * n",
}
"""What no array shows of a GRU."""


def as_pytorch(kind: str, tensors: Mapping[str, Array], options: LayerDescription, where: str) -> dict[str, Array]:
    """Return the tensors of a layer laid out as PyTorch's module of that kind has them.

    Parameters
    ----------
    kind
        The layer's kind.
    tensors
        Its arrays by the names of PyTorch's parameters.
    options
        How they are laid out. Where it names the arrays one by one, all that their shapes leave open must be said;
        else what is not said is as in PyTorch.
    where
        What errors call the layer.

    Raises
    ------
    DescriptionError
        If the shapes do not fit the options, or leave something open.
    """
    if kind == "gru":
        return _gru(tensors, options, where)
    if "weight" not in tensors or "layout" not in KINDS[kind].options:
        return dict(tensors)
    layout = options.layout or _layout(kind, tensors, bool(options.arrays), where)
    return {**tensors, "weight": tensors["weight"].T} if layout == "columns" else dict(tensors)


def _layout(kind: str, tensors: Mapping[str, Array], asked: bool, where: str) -> str:
    """Return the layout of a weight that the description leaves to its shape: its outputs are as many as its bias's."""
    weight, bias = tensors["weight"], tensors.get("bias")
    if not asked or kind == "embedding" or weight.ndim < 2:
        return "rows"
    if bias is not None and weight.shape[0] != weight.shape[-1]:
        return "columns" if weight.shape[-1] == bias.size else "rows"
    raise DescriptionError(
        f"{where}: expected a shape that shows which axis is the outputs', got {weight.shape}; "
        "say layout=rows if it computes W @ x, layout=columns if x @ W"
    )


def _gru(tensors: Mapping[str, Array], options: LayerDescription, where: str) -> dict[str, Array]:
    if not (options.arrays or options.layout or options.gates or options.update or options.joined):
        return dict(tensors)
    if options.arrays or options.joined:
        _check_all_said(options, where)
    found = _apart(tensors, options, where)
    matrices = [name for name in found if name.startswith(_MATRICES)]
    if options.arrays or options.layout:
        layout = options.layout or _gru_layout(found, where)
        if options.joined is None:
            found |= {name: found[name].T for name in matrices if layout == "columns"}
    biases = [name for name in found if name.startswith(_BIASES)]
    for name in matrices + biases:
        if len(found[name]) % _GATES:
            raise DescriptionError(
                f"{where}: expected three blocks of outputs, one for each gate, got the shape "
                f"{tensors.get(name, found[name]).shape} in {name}; is the layout right?"
            )
        found[name] = _blocks_as_rzn(found[name], options)
    if options.update == "replace":
        _check_symmetric(options, where)
    found |= _absent_recurrence(found, options)
    return found | _missing_bias(found)


def _apart(tensors: Mapping[str, Array], options: LayerDescription, where: str) -> dict[str, Array]:
    """Return the tensors with each matrix that is for state and input in two parts, whose rows are outputs."""
    found = dict(tensors)
    for suffix in _SUFFIXES:
        joined, bias = found.pop(f"weight{suffix}", None), found.pop(f"bias{suffix}", None)
        if bias is not None:
            found[f"bias_ih{suffix}"] = bias
        if joined is None:
            continue
        if options.joined is None or any(name.startswith(_MATRICES) for name in tensors):
            raise DescriptionError(
                f"{where}: expected weight_ih and weight_hh, or one matrix as the weight, and how it is joined, got "
                "another choice; say joined=hx if it computes W @ [h, x], joined=xh if W @ [x, h]"
            )
        matrix = joined.T if _joined_layout(joined, bias, options, where) == "columns" else joined
        hidden = len(matrix) // _GATES
        parts = (matrix[:, :hidden], matrix[:, hidden:])
        if options.joined == "xh":
            parts = (matrix[:, matrix.shape[1] - hidden :], matrix[:, : matrix.shape[1] - hidden])
        found[f"weight_hh{suffix}"], found[f"weight_ih{suffix}"] = parts
    if options.joined is not None and not any(f"weight{suffix}" in tensors for suffix in _SUFFIXES):
        raise DescriptionError(f"{where}: expected a weight for state and input beside the option joined, got none")
    return found


def _joined_layout(joined: Array, bias: Array | None, options: LayerDescription, where: str) -> str:
    """Return the layout of a matrix on state and input: it has three times as many outputs as the state has numbers."""
    if joined.ndim == 2:
        rows, columns = joined.shape
        possible = [
            layout
            for layout, outputs, inputs in (("rows", rows, columns), ("columns", columns, rows))
            if options.layout in (None, layout)
            and outputs % _GATES == 0
            and inputs > outputs // _GATES
            and (bias is None or bias.size == outputs)
        ]
        if len(possible) == 1:
            return possible[0]
    raise DescriptionError(
        f"{where}: expected a weight of shape (3 * hidden, hidden + inputs), or with layout=columns the other way "
        f"round, got {joined.shape}; say layout=rows or layout=columns"
    )


def _absent_recurrence(tensors: Mapping[str, Array], options: LayerDescription) -> dict[str, Array]:
    """Return zeros for a recurrent matrix of which the description says that there is none."""
    return {
        f"weight_hh{suffix}": np.zeros((len(given), len(given) // _GATES), given.dtype)
        for suffix in _SUFFIXES
        if options.arrays.get(f"weight_hh{suffix}") == ZERO
        and (given := tensors.get(f"weight_ih{suffix}")) is not None
        and f"weight_hh{suffix}" not in tensors
    }


def _check_all_said(options: LayerDescription, where: str) -> None:
    open_questions = [text for name, text in _QUESTIONS.items() if getattr(options, name) is None]
    if open_questions:
        raise DescriptionError(
            f"{where}: expected a description of what the arrays of a GRU do not show, got none; say "
            + "; ".join(open_questions)
        )


def _gru_layout(tensors: Mapping[str, Array], where: str) -> str:
    """Return the layout of a GRU's matrices: weight_hh is three times as long along its outputs."""
    shape = tensors["weight_hh"].shape if "weight_hh" in tensors else ()
    if len(shape) == 2 and shape[0] == _GATES * shape[1]:
        return "rows"
    if len(shape) == 2 and shape[1] == _GATES * shape[0]:
        return "columns"
    raise DescriptionError(
        f"{where}: expected weight_hh of shape (3 * hidden, hidden) or (hidden, 3 * hidden), got {shape or 'none'}; "
        "say layout=rows or layout=columns where there is none"
    )


def _blocks_as_rzn(array: Array, options: LayerDescription) -> Array:
    """Return the blocks in PyTorch's order r, z, n; z negated where it is 1 - z that weighs the old state.

    ``sigmoid(-a) = 1 - sigmoid(a)``, so the negation is exact.
    """
    order = options.gates or "rzn"
    blocks = dict(zip(order, np.split(array, 3), strict=True))
    z = -blocks["z"] if options.update == "replace" else blocks["z"]
    return np.concatenate([blocks["r"], z, blocks["n"]])


def _check_symmetric(options: LayerDescription, where: str) -> None:
    gate = options.gate_activation or Sigmoid()
    if not isinstance(gate, Sigmoid) and not (isinstance(gate, HardSigmoid) and gate.offset == 0.5):
        raise DescriptionError(
            f"{where}: expected a gate activation f with f(-a) = 1 - f(a), as the sigmoids, got {gate.name}; "
            "update=replace cannot be converted with it"
        )


def _missing_bias(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return a bias of zeros in place of the one that an author left out beside the other."""
    given = [name for name in tensors if name.startswith(_BIASES)]
    others = {name: name.replace("_ih", "_xx").replace("_hh", "_ih").replace("_xx", "_hh") for name in given}
    return {other: np.zeros_like(tensors[name]) for name, other in others.items() if other not in tensors}
