"""Runs an exported program with torch, operator by operator, where torch is installed.

``torch.export.load`` is not asked: it unpickles, and evaluates texts of the file. Here only operators run that the
translation itself understands, on arrays that it has checked.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from grurt.array_types import Array
from grurt.converters.graph.assembly.converted import ConvertedGraph
from grurt.converters.literal.assembly import StepGraph
from grurt.converters.literal.feeding import last_timestep, sample_timesteps
from grurt.converters.pt2 import movement
from grurt.converters.pt2.handlers import HANDLERS
from grurt.converters.pt2.program import Call, Program, Ref
from grurt.converters.pt2.scalar_types import DTYPES
from grurt.converters.pt2.translate import base_name
from grurt.converters.reference import expect_finite, precision_of
from grurt.converters.sampling import BATCH, open_steps, random_inputs
from grurt.errors import ConversionError
from grurt.network.reference_run import ReferenceRun

_SKIPPED = {name for name, handler in HANDLERS.items() if handler is movement.nothing}
_IGNORED = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "copy"}
"""Arguments of creating and converting operators that name the machine."""


def reference_run(converted: ConvertedGraph, program: Program, constants: Mapping[str, Array]) -> ReferenceRun:
    """Return what torch computes for the program on random inputs and states, always the same.

    Raises
    ------
    ConversionError
        With the reason why there is none: torch cannot run it, or a run would take too much memory or time.
    """
    network = converted.network
    inputs = _inputs(converted)
    converted.check_run({name: array.shape for name, array in inputs.items()})
    given, values = _computed(program, constants, inputs)
    outputs = {
        port.name: _array(values[declared.name])
        for port, declared in zip(network.signature.outputs, program.outputs, strict=True)
    }
    inputs = {name: _array(tensor) for name, tensor in given.items()}
    expect_finite("torch", outputs)
    return ReferenceRun(
        inputs, outputs, f"torch {torch.__version__}", precision_of(network, _precisions(program, values))
    )


def fed_reference_run(converted: StepGraph, program: Program, constants: Mapping[str, Array]) -> ReferenceRun:
    """Return what torch computes at the last of some timesteps, fed with the states that it gave before.

    Parameters and errors are those of `reference_run`.
    """
    outputs = {port.name: declared.name for port, declared in zip(converted.outputs, program.outputs, strict=True)}
    timesteps = sample_timesteps(converted)
    states: dict[str, Array] = {}
    for inputs in timesteps:
        given, values = _computed(program, constants, {**inputs, **converted.bound, **states})
        states = {name: _array(values[outputs[output]]) for name, output in converted.pairs.items()}
    answers = {name: _array(values[written]) for name, written in outputs.items()}
    expect_finite("torch", answers)
    before = {name: _array(given[name]) for name in converted.pairs}
    computed = _precisions(program, values)
    return last_timestep(converted, timesteps[-1], before, answers, f"torch {torch.__version__}", computed)


def _computed(
    program: Program, constants: Mapping[str, Array], inputs: Mapping[str, Array]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return inputs as tensors, and all that a program computes of them; ConversionError if torch cannot run it."""
    try:
        given = {name: _tensor(array, program.dtypes[name]) for name, array in inputs.items()}
        values: dict[str, Any] = {name: _tensor(array, program.dtypes[name]) for name, array in constants.items()}
        values |= given
        with torch.no_grad():
            for call in _live_calls(program):
                _run(call, values)
    except Exception as error:  # whatever an operator raises on arguments that the file has made up
        raise ConversionError(f"torch cannot run the program: {str(error)[:200]}") from error
    return given, values


def _precisions(program: Program, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dtypes in which a program has computed something: what an answer is converted to last is none.

    Unless it is bfloat16, which the answer does not keep.
    """
    calls = [call for call in _live_calls(program) if base_name(call) not in _SKIPPED]
    read = {name for call in calls for name in call.references()}
    for call in calls:
        is_last = call.op in ("to", "_to_copy") and read.isdisjoint(call.outputs)
        for name in call.outputs:
            dtype = str(getattr(values.get(name), "dtype", ""))
            if not is_last or dtype == "torch.bfloat16":
                yield dtype.removeprefix("torch.")


def _tensor(array: Array, dtype: str) -> torch.Tensor:
    """Return a tensor of a dtype of torch's; arrays are of float32 where the program has other floats."""
    return torch.from_numpy(np.array(array)).to(getattr(torch, dtype))


def _array(tensor: torch.Tensor) -> Array:
    found: Array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _inputs(converted: ConvertedGraph) -> dict[str, Array]:
    network = converted.network
    declared = {port.name: port.shape or () for port in converted.inputs}
    open_sizes = {"batch": BATCH, "time": open_steps(network)}
    for port in network.signature.inputs:
        fixed = zip(port.axes, declared[port.name], strict=True)
        open_sizes |= {axis: size for axis, size in fixed if axis == "time" and isinstance(size, int)}
    shapes = {
        port.name: tuple(
            size if isinstance(size, int) else open_sizes.get(axis, 1)
            for size, axis in zip(declared[port.name], port.axes, strict=True)
        )
        for port in network.signature.inputs
    }
    return random_inputs(network, shapes, open_sizes["time"])


def _live_calls(program: Program) -> Iterator[Call]:
    """Yield the calls that the outputs need, in order."""
    wanted = {port.name for port in program.outputs}
    live = []
    for call in reversed(program.calls):
        if not wanted.isdisjoint(call.outputs):
            live.append(call)
            wanted.update(call.references())
    return reversed(live)


def _run(call: Call, values: dict[str, Any]) -> None:
    if base_name(call) in _SKIPPED:
        return
    arguments = {name: _value(value, values) for name, value in call.arguments.items() if name not in _IGNORED}
    if call.target.startswith("_operator."):
        result = getattr(operator, call.op.removeprefix("_operator."))(*arguments.values())
    else:
        if arguments.get("dtype") is not None:
            arguments["dtype"] = getattr(torch, DTYPES[arguments["dtype"]])
        result = _operator(call)(**arguments)
    results = result if isinstance(result, tuple | list) else (result,)
    values.update(zip(call.outputs, results, strict=False))


def _operator(call: Call) -> Callable[..., Any]:
    _, name, overload = call.target.removeprefix("torch.ops.").split(".")
    found: Callable[..., Any] = getattr(getattr(torch.ops.aten, name), overload)
    return found


def _value(value: object, values: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return [_value(item, values) for item in value]
    return values[value.name] if isinstance(value, Ref) else value
