"""The lengths of padded sequences: ``sequence_lens`` of the GRU operator.

Behind its end, a sequence's outputs Y are zero; Y_h is the state at its last valid timestep; and the reverse direction
starts there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grurt.converters.graph.building.builder import Builder
from grurt.converters.graph.building.integers import is_given, is_plain
from grurt.converters.graph.nodes import Node
from grurt.converters.graph.operators.registry import operator
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.converters.graph.tracing.parameters import axis_index, constant, integers, required, tensor_input
from grurt.converters.graph.tracing.states import Lengths
from grurt.converters.graph.tracing.values import MAX_STACK, Arguments, Order, Row, Tensor, Value


def lengths_of_sequences(node: Node, value: Value | None, n_steps: int, batch: Dim, build: Builder) -> Lengths:
    """Return where the lengths of a GRU's sequences come from.

    Parameters
    ----------
    node
        The GRU.
    value
        Its ``sequence_lens``, ``(batch,)``.
    n_steps
        How long the padded sequences are.
    batch
        The axes of the GRU's batch.
    build
        Knows what is an input.

    Raises
    ------
    UnsupportedError
        If the lengths are computed from something else than an input of that kind.
    """
    if value is None:
        return ()
    if isinstance(value, np.ndarray):
        return _constant(node, value, n_steps, batch)
    is_input = is_given(value, build) and is_plain(value)
    if not is_input or len(value.dims) != 1 or len(value.rows) != 1 or value.rows[0].picked:
        raise node.unsupported(
            "its sequence_lens are computed by other nodes", "give the lengths as an input of the model, (batch,)"
        )
    _learn_batch(node, value, batch)
    return value.rows[0].value


@operator("TopK", in_loops="single")
def top_k(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """TopK of all lengths of sequences: how PyTorch sorts the sequences of a batch before it packs them."""
    tensor = tensor_input(node, args)
    count = integers(node, required(node, args, 1), "number of elements")
    node.ignore("largest", "sorted")
    if not tensor.integer or tensor.order or len(tensor.dims) != 1 or count != tensor.shape or len(tensor.rows) != 1:
        raise node.unsupported("it sorts something else than lengths of sequences", "sort before or after the model")
    axis_index(node, node.integer("axis", -1), 1)
    (axis,) = tensor.dims[0] or (Axis(1, f"the sequences that {node} sorts"),)
    after = Axis(axis.size, f"{axis.where}, sorted", dynamic=axis.dynamic, part_of=axis, order=node)
    indices = Tensor((Row(f"{node}"),), ((after,),), integer=True, order=Order(axis, after))
    return replace(tensor, dims=((after,),)), indices


@operator("ScatterElements", in_loops="single")
def scatter_elements(node: Node, args: Arguments, build: Builder) -> tuple[Value, ...]:
    """ScatterElements of 0, 1, 2 and so on to the positions of a sorting: the positions that undo it."""
    indices = tensor_input(node, args, 1)
    target, updates = required(node, args, 0), constant(node, required(node, args, 2), "updates")
    if indices.order is None or not isinstance(target, np.ndarray) or updates.shape != indices.shape:
        raise node.unsupported("it scatters something else than the positions of sorted sequences")
    build.folder.budget.create(updates.nbytes, node)
    if not np.array_equal(updates, np.arange(updates.size)) or target.shape != updates.shape:
        raise node.unsupported("it scatters something else than the positions of sorted sequences")
    axis_index(node, node.integer("axis", 0), 1)
    before, after = indices.order.before, indices.order.after
    return (replace(indices, dims=((before,),), order=Order(after, before)),)


def reordered(node: Node, tensor: Tensor, index: int, order: Order) -> Tensor:
    """Return the tensor with the axis of one dimension in another order."""
    dim = tensor.dims[index]
    if len(dim) != 1:
        raise node.unsupported(f"it sorts a dimension of {len(dim)} merged axes")
    dim[0].unify(order.before, node)
    dim[0].require(Role.BATCH, node)
    return tensor.with_dim(index, (order.after,))


def _constant(node: Node, lengths: np.ndarray, n_steps: int, batch: Dim) -> Lengths:
    size = batch[0].size if batch else 1
    if lengths.dtype.kind not in "iu" or lengths.shape != (size,) or lengths.size > MAX_STACK:
        raise node.unsupported(
            f"its sequence_lens are constants of the shape {lengths.shape}, for a batch of {size}",
            f"supported are up to {MAX_STACK} constants, one for each sequence, or an input of the model",
        )
    if lengths.min() < 0 or lengths.max() > n_steps:
        raise node.invalid(f"its sequence_lens are not all in [0, {n_steps}]")
    return () if lengths.min() == n_steps else tuple(int(length) for length in lengths)


def _learn_batch(node: Node, lengths: Tensor, batch: Dim) -> None:
    for axis in lengths.dims[0]:
        axis.require(Role.BATCH, node)
    if len(batch) == len(lengths.dims[0]):
        for axis, other in zip(lengths.dims[0], batch, strict=True):
            axis.unify(other, node)
