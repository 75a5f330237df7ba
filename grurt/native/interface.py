"""The functions of an exported model: what they are called, what they take, and the module that has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from grurt.lowering.plan import Plan
from grurt.native.context_access import ContextLayout, add_context_access, context_layout
from grurt.native.intermediate import Kernels
from grurt.native.program import Program, scratch_bytes, state_bytes
from grurt.native.state_access import add_state_access
from grurt.network.frames import Frames, frames_of
from grurt.network.network import Network


@dataclass(frozen=True)
class Interface:
    """What a program sees of a model.

    Parameters
    ----------
    name
        What the names of functions begin with.
    plan, frames
        Of a timestep.
    unbounded
        Names of the states that may be infinite.
    fingerprint
        What identifies the model.
    contexts
        What streams are given once; None: nothing.
    """

    name: str
    plan: Plan
    frames: Frames
    unbounded: frozenset[str]
    fingerprint: bytes
    contexts: ContextLayout | None

    @classmethod
    def of(cls, name: str, model: Network, lowered: Callable[[Network], Plan]) -> Interface:
        """Return the interface of a model, whose parts are lowered for a target by ``lowered``."""
        unbounded = model.unbounded_states | model.kept_inputs
        contexts = context_layout(model, lowered)
        return cls(name, lowered(model), frames_of(model), unbounded, model.fingerprint, contexts)

    @property
    def state_bytes(self) -> int:
        """Size of a state."""
        return state_bytes(self.plan)

    @property
    def scratch_bytes(self) -> int:
        """Size of the memory that timesteps and contexts are computed in."""
        return scratch_bytes(self.plan, *(self.contexts.plans if self.contexts else ()))

    @property
    def context_bytes(self) -> int:
        """Size of a context; 0 if there is none."""
        return self.contexts.n_bytes if self.contexts else 0

    @property
    def state_size(self) -> int:
        """How many numbers a state is made of."""
        return sum(math.prod(place.shape) for place in self.plan.states.values())

    def module(self, kernels: Kernels, *, in_sections: bool) -> ir.Module:
        """Return a module with the functions, which call the kernels of a timestep.

        In sections of their own, linkers leave out those that nobody calls.
        """
        module, name = ir.Module(self.name), self.name
        program = Program(module, "", self.plan, self.frames, kernels)
        step = program.step(f"{name}_step")
        program.run(f"{name}_run", step)
        program.reset(f"{name}_reset")
        add_state_access(program, name, self.unbounded)
        if self.contexts is not None:
            add_context_access(module, name, self.contexts, kernels)
        for function in module.functions:
            if in_sections and not function.is_declaration:
                function.section = f".text.{function.name}"
        return module
