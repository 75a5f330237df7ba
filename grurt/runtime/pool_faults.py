"""Rows of a pool's inputs that cannot be computed with: which, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from grurt.errors import InputValueError
from grurt.escaping import described
from grurt.kernels import codes
from grurt.kernels.sizes import F32_BYTES
from grurt.runtime.context import fault_text, full_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grurt.array_types import Array
    from grurt.lowering.plan import Plan, PlanPort
    from grurt.runtime.states import States

Fault: TypeAlias = tuple[int, str]
"""A row, and what an exception would have said of it."""


def are_reported(where: str, faults: object) -> bool:
    """Return whether rows that cannot be computed with are left out and named; raise unless one of the two is said."""
    if not isinstance(faults, str) or faults not in ("raise", "report"):
        raise InputValueError(f'{where}: faults: expected "raise" or "report", got {described(faults)}')
    return faults == "report"


def faulty_rows(plan: Plan, inputs: Sequence[Array], *, refuse_nonfinite: bool) -> list[Fault]:
    """Return the rows of inputs ``(n_rows, ...)`` that the kernels would refuse, in ascending order, each once."""
    reasons: dict[int, str] = {}
    for port, array in zip(plan.inputs, inputs, strict=True):
        if port.tokens or refuse_nonfinite:
            wrong = _are_wrong(port, array).reshape(len(array), -1)
            rows = np.flatnonzero(wrong.any(axis=1))
            places = rows * wrong.shape[1] + wrong[rows].argmax(axis=1)
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                reasons.setdefault(row, fault_text(port, array, place))
    return sorted(reasons.items())


def full_rows(states: States, streams: NDArray[np.int64], n_steps: NDArray[np.int64] | int) -> list[Fault]:
    """Return the rows whose streams may not have so many timesteps more, in ascending order."""
    plan = states.plan
    if not plan.max_steps:
        return []
    full = np.zeros(len(streams), bool)
    for operation in plan.operations[plan.operations[:, codes.OP_KIND] == codes.ATTENTION]:
        n_read = states.buffer[streams, operation[codes.OP_STATE] // F32_BYTES]
        full |= ~(n_read + np.float32(n_steps) <= np.float32(operation[codes.OP_MAX_STEPS]))
    return [(row, full_text(plan)) for row in np.flatnonzero(full).tolist()]


def _are_wrong(port: PlanPort, array: Array) -> Array:
    if port.tokens:
        return (array < 0) | (array >= port.size)
    return ~np.isfinite(array)
