"""What the axes of inputs and outputs are called in a network's signature."""

from __future__ import annotations

from collections.abc import Mapping

from grurt.converters.graph.nodes import Declaration
from grurt.converters.graph.tracing.axes import Axis, Dim, Role
from grurt.errors import DesignReason, UnsupportedError
from grurt.network.signature import MERGED_TIME, DType
from grurt.network.signature import Axis as AxisName

_DTYPES: Mapping[str, DType] = {
    "float32": "float32",
    "float64": "float64",
    "float16": "float16",
    "int64": "int64",
    "int32": "int32",
    "bool": "bool",
}


def dim_name(dim: Dim, port: Declaration) -> AxisName:
    """Return the name of a dimension of an output; UnsupportedError if it merges axes."""
    if is_batch_of_positions(dim):
        return "batch_position"
    if (merged := merged_time(dim)) is not None:
        return merged
    if len(dim) > 1:
        raise UnsupportedError(
            f"output {port.name[:100]!r}: one of its axes merges {len(dim)} axes; "
            "export the model with an output of (batch, time, features)"
        )
    if not dim or (dim[0].role is None and dim[0].size == 1 and not dim[0].dynamic):
        return "one"
    return role_name(dim[0], port)


def role_name(axis: Axis, port: Declaration) -> AxisName:
    """Return the name of an axis; UnsupportedError if nothing tells what it means, or it was sorted."""
    if axis.role is None:
        raise UnsupportedError(
            f"{port.name[:100]!r}: nothing in the graph tells what {axis.where} means", reason=DesignReason.NOT_SAID
        )
    if axis.root.order is not None:
        raise UnsupportedError(
            f"output {port.name[:100]!r}: {axis.where} is in another order than in the inputs; "
            "export the model with the order restored"
        )
    return axis.role.value


def is_batch_of_positions(dim: Dim) -> bool:
    """Say whether a dimension merges the batch with positions, the batch outermost."""
    return [axis.role for axis in dim] == [Role.BATCH, Role.POSITION]


def merged_time(dim: Dim) -> AxisName | None:
    """Return the name of a dimension that merges all timesteps of all sequences; None if it is none."""
    parts = tuple(axis.role.value for axis in dim if axis.role is not None and axis.root.order is None)
    return next((name for name, merged in MERGED_TIME.items() if merged == parts and len(dim) == 2), None)


def check_repeats(port: Declaration, axes: list[AxisName]) -> None:
    """Raise UnsupportedError if two axes of one name are more than fillers of size 1."""
    for name in set(axes) - {"one"}:
        if axes.count(name) > 1:
            raise UnsupportedError(
                f"{port.name[:100]!r}: {axes.count(name)} of its axes serve as the {name} axis, as where GRUs scan "
                "different axes of a tensor; each GRU must scan the same time axis"
            )


def dtype_name(port: Declaration) -> DType:
    """Return the dtype of an input or output; UnsupportedError if it is none of a network's."""
    if port.dtype not in _DTYPES:
        raise UnsupportedError(f"{port.name[:100]!r}: the type {port.dtype} is not supported; cast it to float32")
    return _DTYPES[port.dtype]
