"""The C file of a model: its arrays, the functions of its layers, and those that a program calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.native.c99 import contexts, selftest, text
from grurt.native.c99.header import parameters, selftest_parameters
from grurt.native.c99.layers import WRITERS
from grurt.native.c99.memory import sources
from grurt.native.c99.ports import Given, Port
from grurt.native.c99.snippets import PREFIX, called
from grurt.native.c99.states import get_state, reset, set_state
from grurt.native.c99.unit import Unit, pointer

if TYPE_CHECKING:
    from grurt.network.network import Network

_INCLUDES = """\
#ifdef __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#endif
"""
"""What the products of integers need."""


def written(network: Network, ports: tuple[Port, ...], given: tuple[Given, ...]) -> Unit:
    """Return what the layers of a model are in C."""
    names = [each.name for each in given]
    unit = Unit(network, [port.name for port in ports], names, _written_at_once(network, ports))
    for port in ports:
        if port.is_input and port.frame.transposed:
            _turn_input(unit, port)
    for number, layer in enumerate(network.layers):
        if (write := WRITERS.get(type(layer))) is not None:
            write(unit, layer)
        unit.forget(number)
    for port in ports:
        if not port.is_input and unit.place(port.value) != port.name:
            unit.add(_copied_output(unit, port))
    return unit


def _written_at_once(network: Network, ports: tuple[Port, ...]) -> dict[str, str]:
    """Return the outputs that layers may write to, in the caller's memory, by the layer's name."""
    found: dict[str, str] = {}
    roots = sources(network)
    for port in ports:
        if not port.is_input and not port.frame.transposed:
            found.setdefault(roots[port.value], port.name)
    return found


def _turn_input(unit: Unit, port: Port) -> None:
    rows, columns = port.frame.shape
    name = unit.new_input(port.value, port.size)
    unit.add(
        f"for (int i = 0; i < {rows}; i++)",
        f"    for (int k = 0; k < {columns}; k++)",
        f"        {name}[{rows} * k + i] = {port.name}[{columns} * i + k];",
    )


def _copied_output(unit: Unit, port: Port) -> str:
    place = unit.place(port.value)
    if not port.frame.transposed:
        return f"memcpy({port.name}, {place}, {port.size} * sizeof(float));"
    rows, columns = port.frame.shape
    return (
        f"for (int i = 0; i < {rows}; i++)\n"
        f"    for (int k = 0; k < {columns}; k++)\n"
        f"        {port.name}[{columns} * i + k] = {place}[{rows} * k + i];"
    )


class Source:
    """The C file of a model, with the prefix of `grurt.native.c99.snippets` for its name.

    Parameters
    ----------
    network
        A model that can be written in C.
    ports, given
        Its inputs and outputs, and what streams are given once.
    origin
        What the first line says of it.
    """

    def __init__(self, network: Network, ports: tuple[Port, ...], given: tuple[Given, ...], origin: str) -> None:
        self._network = network
        self._ports = ports
        self._given = given
        self._origin = origin
        self.unit = written(network, ports, given)
        self._contexts = contexts.functions(self.unit, given)
        self._inputs = [port for port in ports if port.is_input]
        self._outputs = [port for port in ports if not port.is_input]

    def text(self) -> str:
        """Return the C file."""
        layers = "\n".join(self.unit.functions)
        own = "\n".join([self._check(), self._advance(), self._interface(), self._selftest()])
        helpers = "\n".join(called([layers, own]))
        return "\n".join([self._head(helpers), helpers, "".join(self.unit.constants), layers, own])

    def _head(self, body: str) -> str:
        return f"""\
/* {text.quoted(self._origin)} */
#include "{PREFIX[:-1]}.h"

#include <math.h>
#include <string.h>
{_INCLUDES if "__smlad(" in body else ""}
/* What places constants, for example an attribute that names a section. */
#ifndef {PREFIX.upper()}FLASH
#define {PREFIX.upper()}FLASH
#endif
"""

    def _check(self) -> str:
        arguments = ", ".join(port.declaration for port in self._inputs)
        body = text.indented([*map(_checked, self._inputs), "return GRURT_OK;"])
        return f"/* Whether a timestep can be computed. */\nstatic int grurt_check({arguments})\n{{\n{body}\n}}\n"

    def _advance(self) -> str:
        statements = text.indented([*self.unit.statements, "state->n_steps++;"])
        pointers = [f"float *const {name} = {pointer(slot)};" for name, slot in self.unit.pointers.items()]
        unused = ["scratch", *(port.name for port in self._ports)]
        body = text.indented(pointers) + ("\n\n" if pointers else "") + statements
        void = [f"(void){name};" for name in unused if not text.mentions(name, body)]
        head = "/* A timestep, layer by layer. */\n"
        body = "\n".join(filter(None, [text.indented(void), body]))
        return f"{head}static void grurt_advance({parameters(self._ports)})\n{{\n{body}\n}}\n"

    def _interface(self) -> str:
        states = self.unit.states
        unbounded = self._network.unbounded_states | self._network.kept_inputs
        set_back = reset(states, has_context=bool(self._given))
        own = [set_back, self._step(), self._run(), get_state(states), set_state(states, unbounded), self._contexts]
        return "\n".join(filter(None, own))

    @property
    def _needs_context(self) -> str:
        return "    if (!state->context)\n        return GRURT_NO_CONTEXT;\n" if self._given else ""

    def _step(self) -> str:
        return f"""\
int grurt_step({parameters(self._ports)})
{{
{self._needs_context}    const int status = grurt_check({self._names(self._inputs)});
    if (status == GRURT_OK)
        grurt_advance(state, scratch, {self._names(self._ports)});
    return status;
}}
"""

    def _run(self) -> str:
        checked = ", ".join(f"{port.name} + {_of_step(port)}" for port in self._inputs)
        stepped = ", ".join(f"{port.name} + {_of_step(port)}" for port in self._ports)
        return f"""\
int grurt_run({parameters(self._ports, steps=True)})
{{
{self._needs_context}    for (int64_t t = 0; t < n_steps; t++) {{
        const int status = grurt_check({checked});
        if (status != GRURT_OK)
            return status;
    }}
    for (int64_t t = 0; t < n_steps; t++)
        grurt_advance(state, scratch, {stepped});
    return GRURT_OK;
}}
"""

    def _selftest(self) -> str:
        given = selftest.made_up_contexts(self._given)
        found = selftest.vectors(self._network, self._ports, self._given) | given
        arrays = "".join(
            text.constant(f"grurt_test_{name}", array, place="GRURT_FLASH") for name, array in found.items()
        )
        outputs = "\n".join(f"    float {port.name}[{port.count}];" for port in self._outputs)
        stepped = ", ".join(f"grurt_test_{port.name}[t]" for port in self._inputs)
        compared = "\n".join(
            f"        if (!grurt_are_near({port.name}, grurt_test_{port.name}[t], {port.count}))\n            return 0;"
            for port in self._outputs
        )
        tolerance = text.literal(selftest.tolerance(self._network))
        return f"""\
#ifndef GRURT_NO_SELFTEST

/* What grurt answers to a few timesteps. */
{arrays}
static int grurt_are_near(const float *y, const float *wanted, int size)
{{
    for (int i = 0; i < size; i++)
        if (!(fabsf(y[i] - wanted[i]) <= {tolerance} * (1.0f + fabsf(wanted[i]))))
            return 0;
    return 1;
}}

int grurt_selftest({selftest_parameters(self._given)})
{{
{outputs}

{self._context_of_test()}    grurt_reset(state);
    for (int t = 0; t < {selftest.N_STEPS}; t++) {{
        if (grurt_step(state, scratch, {stepped}, {self._names(self._outputs)}) != GRURT_OK)
            return 0;
{compared}
    }}
    grurt_reset(state);
{"    grurt_set_context(state, 0);" + chr(10) if self._given else ""}    return 1;
}}

#endif
"""

    def _context_of_test(self) -> str:
        if not self._given:
            return ""
        arguments = ["context", "scratch"]
        for each in self._given:
            arguments += [f"grurt_test_{each.name}", *([] if each.axis is None else [str(selftest.places(each))])]
        return f"""\
    if (grurt_make_context({", ".join(arguments)}) != GRURT_OK)
        return 0;
    grurt_set_context(state, context);
"""

    @staticmethod
    def _names(ports: list[Port] | tuple[Port, ...]) -> str:
        return ", ".join(port.name for port in ports)


def _checked(port: Port) -> str:
    if port.is_token:
        return f"if ({port.name}[0] < 0 || {port.name}[0] >= {port.size})\n    return GRURT_NO_SUCH_TOKEN;"
    return f"if (!grurt_are_finite({port.name}, {port.size}))\n    return GRURT_NOT_FINITE;"


def _of_step(port: Port) -> str:
    return "t" if port.count == 1 else f"{port.count} * t"
