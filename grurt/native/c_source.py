"""The C text beside an exported object: its header, and an example that calls it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grurt.kernels import codes
from grurt.lowering.plan import PlanPort
from grurt.network.frames import Frame
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.native.interface import Interface

_KEYWORDS = """
    alignas alignof asm auto bool break case catch char class const constexpr continue decltype default delete do double
    else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept
    nullptr operator private protected public register restrict return short signed sizeof static static_assert struct
    switch template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void
    volatile wchar_t while and bitand bitor compl not or xor
"""
"""Of C and C++: the header is for both."""
_USED_IN_EXAMPLE = "main printf state scratch context values n_steps status t i"
_OWN_NAMES = [
    "step",
    "run",
    "reset",
    "state",
    "scratch",
    "context",
    "get_state",
    "set_state",
    "make_context",
    "set_context",
]
_MACROS = "linux unix NULL EOF BUFSIZ"
_RESERVED = frozenset(f"{_KEYWORDS} {_USED_IN_EXAMPLE} {_MACROS}".split())
_OF_STDINT = re.compile(r"u?int\w*_(t|max|min|c)|size_max|wchar_\w+|wint_\w+|ptrdiff_\w+|sig_atomic_\w+", re.IGNORECASE)


def identifier(name: str) -> str:
    """Return a name as C and C++ can have it, and the headers that are included do not."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII).lstrip("_")
    if found in _RESERVED or _OF_STDINT.fullmatch(found):
        return f"{found}_"
    return found if found and not found[0].isdigit() else f"x{found}"


@dataclass(frozen=True)
class Parameter:
    """An input or output of a model, as a parameter in C."""

    name: str
    port: PlanPort
    frame: Frame
    is_input: bool

    @property
    def type(self) -> str:
        """The type of its elements."""
        return "int64_t" if self.port.tokens else "float"

    @property
    def count(self) -> int:
        """How many elements a timestep has."""
        return 1 if self.port.tokens else self.port.size

    def declaration(self) -> str:
        """Return it as it stands in the declaration of a function."""
        const = "const " if self.is_input else ""
        return f"{const}{self.type} *{self.name}"


@dataclass(frozen=True)
class ContextParameter:
    """What a stream is given once, as a parameter in C."""

    name: str
    shape: tuple[int, ...]
    axis: int | None
    """The axis along which it may be shorter; None: there is none."""

    def declarations(self) -> list[str]:
        """Return it as it stands in the declaration of a function: the numbers, and how many places they are of."""
        places = [] if self.axis is None else [f"int64_t {self.name}_places"]
        return [f"const float *{self.name}", *places]


def parameters(interface: Interface) -> list[Parameter]:
    """Return the parameters of ``name_step``, with names that differ also where all letters are capitals."""
    plan, frames = interface.plan, interface.frames
    found = []
    for number, (name, port) in enumerate(zip(_names(interface), plan.inputs + plan.outputs, strict=False)):
        is_input = number < len(plan.inputs)
        frame = (frames.inputs if is_input else frames.outputs)[port.name]
        found.append(Parameter(name, port, frame, is_input))
    return found


def context_parameters(interface: Interface) -> list[ContextParameter]:
    """Return what ``name_make_context`` takes."""
    if interface.contexts is None:
        return []
    opened = interface.contexts.opened
    names = _names(interface)[-len(interface.contexts.shapes) :]
    shapes = interface.contexts.shapes.items()
    return [
        ContextParameter(name, shape, opened[context][0] if context in opened else None)
        for name, (context, shape) in zip(names, shapes, strict=True)
    ]


def _names(interface: Interface) -> list[str]:
    """Return the names in C of inputs, outputs and contexts, which differ also where all letters are capitals."""
    taken = {"STATE", *(f"{interface.name}_{what}".upper() for what in _OWN_NAMES)}
    contexts = interface.contexts.shapes if interface.contexts else ()
    found = []
    for name in (*(port.name for port in interface.plan.inputs + interface.plan.outputs), *contexts):
        parameter = identifier(name)
        while not taken.isdisjoint({parameter.upper(), f"{parameter}_places".upper()}):
            parameter += "_"
        taken |= {parameter.upper(), f"{parameter}_places".upper()}
        found.append(parameter)
    return found


def comment(text: str) -> str:
    """Return a text as a comment can hold it."""
    return re.sub(r"[^\w .,:()+-]", "_", text, flags=re.ASCII)


def header(interface: Interface, origin: str) -> str:
    """Return the text of the header; ``origin`` may be any text."""
    name, prefix = interface.name, interface.name.upper()
    origin = comment(origin)
    ports = parameters(interface)
    sizes = [f"#define {prefix}_{each.name.upper()}_SIZE {each.count} /* {_meaning(each)} */" for each in ports]
    arguments = ", ".join(each.declaration() for each in ports)
    return f"""\
/* {name}: {origin}.

   Nothing is allocated, and there is no global or static data that changes: any number of threads may step states of
   their own at once, each with scratch memory of its own. A state belongs to one thread at a time. */
#ifndef {prefix}_H
#define {prefix}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* The model: the fingerprint that its snapshots have, and the release that has compiled it. */
#define {prefix}_FINGERPRINT "{interface.fingerprint.hex()}"
#define {prefix}_VERSION "{VERSION}"

/* Elements of the inputs and outputs of a timestep. */
{chr(10).join(sizes)}

/* Numbers that a state is made of. */
#define {prefix}_STATE_SIZE {interface.state_size}

/* One stream: what it remembers. */
typedef struct {{
    int64_t opaque[{interface.state_bytes // 8}];
}} {name}_state;

/* Memory to compute a timestep in: nothing in it lives on, so that streams may share it. */
typedef struct {{
    int64_t opaque[{interface.scratch_bytes // 8}];
}} {name}_scratch;

/* What functions return. In all cases but the first, nothing has been computed, and all is what it was. */
#define {prefix}_OK {codes.OK}
#define {prefix}_NOT_FINITE {codes.NONFINITE} /* an input holds a NaN or an infinity */
#define {prefix}_NO_SUCH_TOKEN {codes.TOKEN_OUT_OF_RANGE}
{_full(interface)}
/* Go to the initial state: also before the first timestep. */
void {name}_reset({name}_state *state);

/* Advance by one timestep. */
int {name}_step({name}_state *state, {name}_scratch *scratch, {arguments});

/* Advance by some timesteps, whose inputs and outputs lie one after the other. All inputs are looked at before. */
int {name}_run({name}_state *state, {name}_scratch *scratch, int64_t n_steps, {arguments});

/* Read what a stream remembers, {prefix}_STATE_SIZE numbers, as a snapshot in Python has them; return its timesteps. */
int64_t {name}_get_state(const {name}_state *state, float *values);

/* Go to a state that has been read. */
int {name}_set_state({name}_state *state, int64_t n_steps, const float *values);
{_contexts(interface)}
#ifdef __cplusplus
}}
#endif

#endif
"""


def _full(interface: Interface) -> str:
    """Return the part of the header about streams that have had as many timesteps as they may."""
    most = interface.plan.max_steps
    comment = f"the stream would have more than {most} timesteps, as many as it remembers: reset it"
    return f"#define {interface.name.upper()}_MEMORY_FULL {codes.MEMORY_FULL} /* {comment} */\n" if most else ""


def _contexts(interface: Interface) -> str:
    """Return the part of the header about what streams are given once."""
    given = context_parameters(interface)
    if not given:
        return ""
    name, prefix = interface.name, interface.name.upper()
    sizes = [
        f"#define {prefix}_{each.name.upper()}_SIZE {math.prod(each.shape)} /* {_largest(each)} */" for each in given
    ]
    arguments = ", ".join(declaration for each in given for declaration in each.declarations())
    return f"""
/* What streams are given once, and read at every timestep: elements of each. */
{chr(10).join(sizes)}

/* Made of that: it does not change, and any number of streams may have it, for as long as they are stepped. */
typedef struct {{
    int64_t opaque[{interface.context_bytes // 8}];
}} {name}_context;

#define {prefix}_WRONG_SIZE {codes.NOT_PLAIN} /* there are no places, or too many, or not as many of all */

/* Make a context; what has been made of it before is gone. */
int {name}_make_context({name}_context *context, {name}_scratch *scratch, {arguments});

/* Give it to a stream: before the first timestep, or in place of another one. A reset does not take it away. */
void {name}_set_context({name}_state *state, const {name}_context *context);
"""


def _largest(parameter: ContextParameter) -> str:
    shape = [f"up to {size}" if axis == parameter.axis else str(size) for axis, size in enumerate(parameter.shape)]
    return f"float, {' by '.join(shape)}, row by row"


def _meaning(parameter: Parameter) -> str:
    kind = f"a token below {parameter.port.size}" if parameter.port.tokens else "float"
    grid = f", {' by '.join(map(str, parameter.frame.shape))}, row by row" if parameter.frame.is_grid else ""
    return f"{'input' if parameter.is_input else 'output'}, {kind}{grid}"


def example(interface: Interface) -> str:
    """Return a program that prints what a model answers to a few timesteps of made-up input."""
    name, prefix = interface.name, interface.name.upper()
    ports = parameters(interface)
    arrays = [f"    static {each.type} {each.name}[{prefix}_{each.name.upper()}_SIZE];" for each in ports]
    fill = [_loop(prefix, each, f"{each.name}[i] = {_made_up(each)};") for each in ports if each.is_input]
    show = [_loop(prefix, each, f'printf("%.9g ", (double){each.name}[i]);') for each in ports if not each.is_input]
    arguments = ", ".join(["&state", "&scratch", *(each.name for each in ports)])
    newline = "\n"
    return f"""\
/* Steps {name} with made-up input, and prints what it answers. */
#include <stdio.h>

#include "{name}.h"

int main(void)
{{
    static {name}_state state;
    static {name}_scratch scratch;
{newline.join(arrays)}
{_given(interface)}
    {name}_reset(&state);
    for (int t = 0; t < 10; t++) {{
{newline.join(fill)}
        int status = {name}_step({arguments});
        if (status != {prefix}_OK) {{
            printf("status %d\\n", status);
            return 1;
        }}
{newline.join(show)}
        printf("\\n");
    }}
    return 0;
}}
"""


def _given(interface: Interface) -> str:
    """Return the lines of the example that make a context, and give it to the stream."""
    given = context_parameters(interface)
    if not given:
        return ""
    name, prefix = interface.name, interface.name.upper()
    arguments = ["&context", "&scratch"]
    lines = [f"    static {name}_context context;"]
    for each in given:
        size = f"{prefix}_{each.name.upper()}_SIZE"
        lines.append(f"    static float {each.name}[{size}];")
        arguments += [each.name] if each.axis is None else [each.name, str(each.shape[each.axis])]
    for each in given:
        lines.append(f"    for (int i = 0; i < {prefix}_{each.name.upper()}_SIZE; i++)")
        lines.append(f"        {each.name}[i] = (float)(5 * i % 13 - 6) / 8.0f;")
    lines.append(f"    if ({name}_make_context({', '.join(arguments)}) != {prefix}_OK)")
    lines += ["        return 1;", f"    {name}_set_context(&state, &context);", ""]
    return "\n".join(["", *lines])


def _loop(prefix: str, parameter: Parameter, statement: str) -> str:
    """Return a loop over the elements of a parameter."""
    size = f"{prefix}_{parameter.name.upper()}_SIZE"
    return f"        for (int i = 0; i < {size}; i++)\n            {statement}"


def _made_up(parameter: Parameter) -> str:
    if parameter.port.tokens:
        return f"(7 * t + 3 * i) % {parameter.port.size}"
    return "(float)((7 * t + 3 * i) % 11 - 5) / 8.0f"
