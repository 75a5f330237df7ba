"""The C text beside an exported object: its header, and an example that calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grurt.kernels import codes
from grurt.lowering.plan import Plan, PlanPort
from grurt.network.frames import Frame, Frames

_KEYWORDS = """
    alignas alignof asm auto bool break case catch char class const constexpr continue decltype default delete do double
    else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept
    nullptr operator private protected public register restrict return short signed sizeof static static_assert struct
    switch template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void
    volatile wchar_t while and bitand bitor compl not or xor
"""
"""Of C and C++: the header is for both."""
_USED_IN_EXAMPLE = "main printf state status t i"
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


def parameters(name: str, plan: Plan, frames: Frames) -> list[Parameter]:
    """Return the parameters of ``name_step``, with names that differ also where all letters are capitals."""
    found: list[Parameter] = []
    taken = {f"{name}_{what}".upper() for what in ("step", "reset", "state")}
    for index, port in enumerate(plan.inputs + plan.outputs):
        is_input = index < len(plan.inputs)
        parameter = identifier(port.name)
        while parameter.upper() in taken:
            parameter += "_"
        taken.add(parameter.upper())
        frame = (frames.inputs if is_input else frames.outputs)[port.name]
        found.append(Parameter(parameter, port, frame, is_input))
    return found


def header(name: str, plan: Plan, frames: Frames, state_bytes: int, origin: str) -> str:
    """Return the text of the header; ``origin`` may be any text."""
    prefix = name.upper()
    origin = re.sub(r"[^\w .,:()+-]", "_", origin, flags=re.ASCII)
    ports = parameters(name, plan, frames)
    sizes = [f"#define {prefix}_{each.name.upper()}_SIZE {each.count} /* {_meaning(each)} */" for each in ports]
    arguments = ", ".join([f"{name}_state *state", *(each.declaration() for each in ports)])
    return f"""\
/* {name}: {origin}.

   Nothing is allocated, and there is no global or static data that changes: any number of threads may step states of
   their own at once. A state belongs to one thread at a time. */
#ifndef {prefix}_H
#define {prefix}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Elements of the inputs and outputs of a timestep. */
{chr(10).join(sizes)}

/* One stream: what it remembers, and memory to compute a timestep in. */
typedef struct {{
    int64_t opaque[{state_bytes // 8}];
}} {name}_state;

/* What {name}_step returns. In all cases but the first, nothing has been computed, and the state is what it was. */
#define {prefix}_OK {codes.OK}
#define {prefix}_NOT_FINITE {codes.NONFINITE} /* an input holds a NaN or an infinity */
#define {prefix}_NO_SUCH_TOKEN {codes.TOKEN_OUT_OF_RANGE}

/* Go to the initial state: also before the first timestep. */
void {name}_reset({name}_state *state);

/* Advance by one timestep. */
int {name}_step({arguments});

#ifdef __cplusplus
}}
#endif

#endif
"""


def _meaning(parameter: Parameter) -> str:
    kind = f"a token below {parameter.port.size}" if parameter.port.tokens else "float"
    grid = f", {' by '.join(map(str, parameter.frame.shape))}, row by row" if parameter.frame.is_grid else ""
    return f"{'input' if parameter.is_input else 'output'}, {kind}{grid}"


def example(name: str, plan: Plan, frames: Frames) -> str:
    """Return a program that prints what a model answers to a few timesteps of made-up input."""
    prefix = name.upper()
    ports = parameters(name, plan, frames)
    arrays = [f"    static {each.type} {each.name}[{prefix}_{each.name.upper()}_SIZE];" for each in ports]
    fill = [_loop(prefix, each, f"{each.name}[i] = {_made_up(each)};") for each in ports if each.is_input]
    show = [_loop(prefix, each, f'printf("%.9g ", (double){each.name}[i]);') for each in ports if not each.is_input]
    arguments = ", ".join(["&state", *(each.name for each in ports)])
    newline = "\n"
    return f"""\
/* Steps {name} with made-up input, and prints what it answers. */
#include <stdio.h>

#include "{name}.h"

int main(void)
{{
    static {name}_state state;
{newline.join(arrays)}

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


def _loop(prefix: str, parameter: Parameter, statement: str) -> str:
    """Return a loop over the elements of a parameter."""
    size = f"{prefix}_{parameter.name.upper()}_SIZE"
    return f"        for (int i = 0; i < {size}; i++)\n            {statement}"


def _made_up(parameter: Parameter) -> str:
    if parameter.port.tokens:
        return f"(7 * t + 3 * i) % {parameter.port.size}"
    return "(float)((7 * t + 3 * i) % 11 - 5) / 8.0f"
