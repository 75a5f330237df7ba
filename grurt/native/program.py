"""A model as functions for other programs: its tables become constants, and the weights read-only data.

The program that calls keeps the state, a count of timesteps and what the layers remember; and memory for the values of
one timestep, which streams may share.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from grurt.kernels import codes
from grurt.lowering.plan import Plan
from grurt.native.instructions import I32, I64, POINTER, at, constant, copy_words, i64, loop
from grurt.native.intermediate import Kernels
from grurt.network.frames import Frames

STEPS_BYTES = 8
"""The count of timesteps, at the beginning of a state."""

ADDRESS_BYTES = 8
"""Of a context, behind that, where there is one."""


def states_begin(plan: Plan) -> int:
    """Return where the layers' states begin in a program's state, in bytes."""
    return STEPS_BYTES + (ADDRESS_BYTES if plan.reads_context else 0)


def state_bytes(plan: Plan) -> int:
    """Return the size of a program's state, a multiple of 8."""
    return -(-(states_begin(plan) + 4 * plan.initial_state.size) // 8) * 8


def scratch_bytes(*plans: Plan) -> int:
    """Return the size of the memory that a timestep is computed in, a multiple of 8, enough for any of some plans."""
    return max(8, *(-(-4 * plan.row_size // 8) * 8 for plan in plans))


class Program:
    """Functions of one plan, in a module.

    Parameters
    ----------
    module
        Its name is what the names of functions begin with.
    name
        What the names of its own constants begin with.
    plan, frames
        The plan, and the callers' frames.
    kernels
        The kernels of a timestep.
    """

    def __init__(self, module: ir.Module, name: str, plan: Plan, frames: Frames, kernels: Kernels) -> None:
        self.module = module
        self.plan = plan
        self._name = name
        self._frames = frames
        self._kernels = kernels
        self._ports = plan.inputs + plan.outputs
        self._weights = self._constant("weights", plan.weights, align=64)
        self._operations = [
            self._constant(f"operation{number}", operation, align=8) for number, operation in enumerate(plan.operations)
        ]

    def function(self, name: str, result: Any, *arguments: Any) -> tuple[ir.Function, ir.IRBuilder]:
        """Add a function to the module, and return it with what writes its body."""
        function = ir.Function(self.module, ir.FunctionType(result, arguments), name)
        return function, ir.IRBuilder(function.append_basic_block())

    def step(self, name: str) -> ir.Function:
        """Add ``int name(void *state, void *scratch, const T *input ..., float *output ...)``.

        It returns 0, or a status of `codes`: then nothing has been computed.
        """
        function, builder = self.function(name, I32, POINTER, POINTER, *[POINTER] * len(self._ports))
        for argument in function.args[: 2 + len(self.plan.inputs)]:
            argument.add_attribute("nonnull")
        status = self.timestep(builder, function.args[0], function.args[1], function.args[2:])
        builder.ret(builder.trunc(status, I32))
        return function

    def run(self, name: str, step: ir.Function) -> None:
        """Add ``int name(void *state, void *scratch, int64_t n_steps, const T *inputs ..., float *outputs ...)``.

        It looks at all inputs before it computes the first timestep.
        """
        function, builder = self.function(name, I32, POINTER, POINTER, I64, *[POINTER] * len(self._ports))
        state, scratch, n_steps, *ports = function.args
        c = self._context(builder, state, scratch, ports, n_steps)
        result = builder.alloca(I64)
        status = self._check(builder, result, c)
        with builder.if_then(builder.icmp_signed("!=", status, i64(codes.OK)), likely=False):
            builder.ret(builder.trunc(status, I32))

        def one(t: Any) -> None:
            places = [at(builder, port, builder.mul(t, i64(size))) for port, size in zip(ports, sizes, strict=True)]
            builder.call(step, [state, scratch, *places])

        sizes = [8 if port.tokens else 4 * port.size for port in self._ports]
        loop(builder, n_steps, one)
        builder.ret(ir.Constant(I32, codes.OK))

    def reset(self, name: str) -> None:
        """Add ``void name(void *state)``; a context stays."""
        function, builder = self.function(name, ir.VoidType(), POINTER)
        copy_words(builder, function.args[0], None, STEPS_BYTES // 4)
        initial = self.plan.initial_state
        source = self._constant("initial_state", initial, align=8).bitcast(POINTER) if initial.any() else None
        copy_words(builder, at(builder, function.args[0], states_begin(self.plan)), source, initial.size)
        builder.ret_void()

    def timestep(self, builder: ir.IRBuilder, state: Any, scratch: Any, ports: Any) -> Any:
        """Compute a timestep, and return the status, an int64."""
        c = self._context(builder, state, scratch, ports, i64(1))
        result = builder.alloca(I64)
        status = self._check(builder, result, c)
        with builder.if_then(builder.icmp_signed("==", status, i64(codes.OK)), likely=True):
            self._call(builder, result, "begin", c)
            for operation in self._operations:
                self._call(builder, result, "operate", c, operation.ptrtoint(I64))
            self._call(builder, result, "end", c)
        return status

    def _check(self, builder: ir.IRBuilder, result: Any, c: Any) -> Any:
        """Return whether the call can be computed, a status of `codes`: the inputs', unless a memory is full."""
        status = self._call(builder, result, "check", c)
        for number, operation in enumerate(self._operations):
            if self.plan.operations[number, codes.OP_KIND] == codes.ATTENTION:
                full = self._call(builder, result, "admit", c, operation.ptrtoint(I64))
                status = builder.select(builder.icmp_signed("==", status, i64(codes.OK)), full, status)
        return status

    def _context(self, builder: ir.IRBuilder, state: Any, scratch: Any, ports: Any, n_steps: Any) -> Any:
        """Return the address of a kernels' context on the stack."""
        n_slots = codes.CONTEXT_PORTS + codes.PORT_SLOTS * len(self._ports)
        context = builder.alloca(I64, n_slots)
        address = builder.ptrtoint(state, I64)
        slots = self._constant_slots() | {
            codes.CONTEXT_WEIGHTS: self._weights.ptrtoint(I64),
            codes.CONTEXT_N_STEPS: n_steps,
            codes.CONTEXT_STEPS_DONE: address,
            codes.CONTEXT_STATES: builder.add(address, i64(states_begin(self.plan))),
            codes.CONTEXT_SCRATCH: builder.ptrtoint(scratch, I64),
        }
        if self.plan.reads_context:
            slots[codes.CONTEXT_GIVEN] = builder.add(address, i64(STEPS_BYTES))
        for index, port in enumerate(ports):
            slot = codes.CONTEXT_PORTS + codes.PORT_SLOTS * index + codes.PORT_ADDRESS
            slots[slot] = builder.ptrtoint(port, I64)
        for slot in range(n_slots):
            builder.store(slots.get(slot, i64(0)), builder.gep(context, [i64(slot)]))
        return builder.ptrtoint(context, I64)

    def _call(self, builder: ir.IRBuilder, result: Any, name: str, *arguments: Any) -> Any:
        """Call a kernel as Numba compiles it, and return what it returned."""
        symbol = self._kernels.symbols[name]
        types = [I64.as_pointer(), POINTER, *[I64] * len(arguments)]
        kernel = self.module.globals.get(symbol) or ir.Function(self.module, ir.FunctionType(I32, types), symbol)
        builder.call(kernel, [result, ir.Constant(POINTER, None), *arguments])
        return builder.load(result)

    def _constant_slots(self) -> dict[int, Any]:
        plan = self.plan
        slots = {
            codes.CONTEXT_N_OPS: len(plan.operations),
            codes.CONTEXT_CAPACITY: 1,
            codes.CONTEXT_REFUSE_NONFINITE: 1,
            codes.CONTEXT_N_INPUTS: len(plan.inputs),
            codes.CONTEXT_N_OUTPUTS: len(plan.outputs),
            codes.CONTEXT_STATE_STRIDE: plan.initial_state.nbytes,
            codes.CONTEXT_N_SLOTS: 1,
        }
        for index, port in enumerate(self._ports):
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
        return {slot: i64(value) for slot, value in slots.items()}

    def _constant(self, name: str, array: Any, align: int) -> Any:
        return constant(self.module, f"{self._name}{name}", array, align)
