"""A model as functions for other programs: its tables become constants, and the weights read-only data.

The program that calls keeps the state: a count of timesteps, the layers' states, and memory for the values of one
timestep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from grurt.array_types import Array
from grurt.kernels import codes
from grurt.lowering.plan import Plan
from grurt.native.intermediate import Kernels
from grurt.network.frames import Frames

_i8 = ir.IntType(8)
_i32 = ir.IntType(32)
_i64 = ir.IntType(64)
_f32 = ir.FloatType()

STEPS_BYTES = 8
"""The count of timesteps, at the beginning of a state."""


def state_bytes(plan: Plan) -> int:
    """Return the size of a program's state, a multiple of 8."""
    return -(-(STEPS_BYTES + 4 * (plan.initial_state.size + plan.row_size)) // 8) * 8


def program_module(name: str, plan: Plan, frames: Frames, kernels: Kernels) -> ir.Module:
    """Return a module with ``name_step`` and ``name_reset``, which calls the kernels of a timestep.

    ``int name_step(void *state, const T *input ..., float *output ...)`` returns 0, or a status of `codes`: then
    nothing has been computed. ``void name_reset(void *state)``.
    """
    program = _Program(ir.Module(name), plan, frames, kernels)
    program.step(f"{name}_step")
    program.reset(f"{name}_reset")
    return program.module


class _Program:
    def __init__(self, module: ir.Module, plan: Plan, frames: Frames, kernels: Kernels) -> None:
        self.module = module
        self._plan = plan
        self._frames = frames
        self._kernels = kernels

    def step(self, name: str) -> None:
        plan = self._plan
        n_ports = len(plan.inputs) + len(plan.outputs)
        pointer = _i8.as_pointer()
        function = ir.Function(self.module, ir.FunctionType(_i32, [pointer] * (1 + n_ports)), name)
        for argument in function.args[: 1 + len(plan.inputs)]:
            argument.add_attribute("nonnull")
        builder = ir.IRBuilder(function.append_basic_block())
        n_slots = codes.CONTEXT_PORTS + codes.PORT_SLOTS * n_ports
        context = builder.alloca(_i64, n_slots)
        weights = self._constant("weights", plan.weights, align=64)
        addresses = [builder.ptrtoint(argument, _i64) for argument in function.args]
        state = builder.add(addresses[0], ir.Constant(_i64, STEPS_BYTES))
        slots = self._constant_slots() | {
            codes.CONTEXT_WEIGHTS: weights.ptrtoint(_i64),
            codes.CONTEXT_STEPS_DONE: addresses[0],
            codes.CONTEXT_STATES: state,
            codes.CONTEXT_SCRATCH: builder.add(state, ir.Constant(_i64, 4 * plan.initial_state.size)),
        }
        for index, address in enumerate(addresses[1:]):
            slots[codes.CONTEXT_PORTS + codes.PORT_SLOTS * index + codes.PORT_ADDRESS] = address
        for slot in range(n_slots):
            value = slots.get(slot, ir.Constant(_i64, 0))
            builder.store(value, builder.gep(context, [ir.Constant(_i64, slot)]))
        c = builder.ptrtoint(context, _i64)
        result = builder.alloca(_i64)
        status = self._call(builder, result, "check", c)
        with builder.if_then(builder.icmp_signed("!=", status, ir.Constant(_i64, codes.OK)), likely=False):
            builder.ret(builder.trunc(status, _i32))
        self._call(builder, result, "begin", c)
        for number, operation in enumerate(plan.operations):
            table = self._constant(f"operation{number}", operation, align=8)
            self._call(builder, result, "operate", c, table.ptrtoint(_i64))
        self._call(builder, result, "end", c)
        builder.ret(ir.Constant(_i32, codes.OK))

    def _call(self, builder: ir.IRBuilder, result: Any, name: str, *arguments: Any) -> Any:
        """Call a kernel as Numba compiles it, and return what it returned."""
        symbol = self._kernels.symbols[name]
        pointer = _i8.as_pointer()
        types = [_i64.as_pointer(), pointer, *[_i64] * len(arguments)]
        kernel = self.module.globals.get(symbol) or ir.Function(self.module, ir.FunctionType(_i32, types), symbol)
        builder.call(kernel, [result, ir.Constant(pointer, None), *arguments])
        return builder.load(result)

    def _constant_slots(self) -> dict[int, Any]:
        plan = self._plan
        slots = {
            codes.CONTEXT_N_OPS: len(plan.operations),
            codes.CONTEXT_CAPACITY: 1,
            codes.CONTEXT_N_STEPS: 1,
            codes.CONTEXT_REFUSE_NONFINITE: 1,
            codes.CONTEXT_N_INPUTS: len(plan.inputs),
            codes.CONTEXT_N_OUTPUTS: len(plan.outputs),
            codes.CONTEXT_STATE_STRIDE: plan.initial_state.nbytes,
            codes.CONTEXT_N_SLOTS: 1,
        }
        for index, port in enumerate(plan.inputs + plan.outputs):
            first = codes.CONTEXT_PORTS + codes.PORT_SLOTS * index
            slots |= {
                first + codes.PORT_SIZE: port.size,
                first + codes.PORT_IS_TOKENS: int(port.tokens),
                first + codes.PORT_VALUE: port.offset,
                first + codes.PORT_STRIDE: port.stride,
                first + codes.PORT_SINGLE: int(port.single),
            }
        for index, frame in enumerate((*self._frames.inputs.values(), *self._frames.outputs.values())):
            first = codes.CONTEXT_PORTS + codes.PORT_SLOTS * index
            slots[first + codes.PORT_ROWS] = frame.shape[0] if frame.transposed else 0
            slots[first + codes.PORT_TRANSPOSED] = int(frame.transposed)
        return {slot: ir.Constant(_i64, value) for slot, value in slots.items()}

    def _constant(self, name: str, array: Array, align: int) -> Any:
        """Return read-only data."""
        if array.dtype == np.int64:
            value = ir.Constant(ir.ArrayType(_i64, array.size), array.tolist())
        else:
            # As bytes: that is the shortest to write and the quickest to read for LLVM.
            content = bytearray(array.tobytes())
            value = ir.Constant(ir.ArrayType(_i8, len(content)), content)
        variable = ir.GlobalVariable(self.module, value.type, f"{self.module.name}_{name}")
        variable.initializer = value
        variable.global_constant = True
        variable.linkage = "internal"
        variable.align = align
        return variable

    def reset(self, name: str) -> None:
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [_i8.as_pointer()]), name)
        builder = ir.IRBuilder(function.append_basic_block())
        words = builder.bitcast(function.args[0], _i32.as_pointer())
        self._loop(builder, state_bytes(self._plan) // 4, lambda i: (builder.gep(words, [i]), ir.Constant(_i32, 0)))
        initial = self._plan.initial_state
        if initial.any():
            source = builder.bitcast(self._constant("initial_state", initial, align=8), _i32.as_pointer())
            first = builder.gep(words, [ir.Constant(_i64, STEPS_BYTES // 4)])
            self._loop(
                builder, initial.size, lambda i: (builder.gep(first, [i]), builder.load(builder.gep(source, [i])))
            )
        builder.ret_void()

    def _loop(self, builder: ir.IRBuilder, count: int, store: Any) -> None:
        """Store the value that ``store`` returns at the address that it returns, for every index."""
        before = builder.block
        body, after = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(body)
        builder.position_at_end(body)
        index = builder.phi(_i64)
        address, value = store(index)
        builder.store(value, address)
        following = builder.add(index, ir.Constant(_i64, 1))
        index.add_incoming(ir.Constant(_i64, 0), before)
        index.add_incoming(following, body)
        builder.cbranch(builder.icmp_unsigned("<", following, ir.Constant(_i64, count)), body, after)
        builder.position_at_end(after)
