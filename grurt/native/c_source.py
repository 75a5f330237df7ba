"""The C text beside an exported object: its header, and an example that calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from grurt.kernels import codes
from grurt.plan import Plan, PlanPort

_KEYWORDS = frozenset(
    (
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern"),
        *("float", "for", "goto", "if", "inline", "int", "long", "main", "register", "restrict", "return", "short"),
        *(
            "signed",
            "sizeof",
            "static",
            "struct",
            "switch",
            "typedef",
            "union",
            "unsigned",
            "void",
            "volatile",
            "while",
        ),
    )
)


def identifier(name: str) -> str:
    """Return a name as C can have it."""
    found = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{found}" if found[:1].isdigit() or found in _KEYWORDS or not found else found


@dataclass(frozen=True)
class Parameter:
    """An input or output of a model, as a parameter in C."""

    name: str
    port: PlanPort
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


def parameters(plan: Plan) -> list[Parameter]:
    """Return the parameters of a model's step, with different names."""
    found: list[Parameter] = []
    for index, port in enumerate(plan.inputs + plan.outputs):
        name = identifier(port.name)
        while name == "state" or name in [parameter.name for parameter in found]:
            name += "_"
        found.append(Parameter(name, port, index < len(plan.inputs)))
    return found


def header(name: str, plan: Plan, state_bytes: int, origin: str) -> str:
    """Return the text of the header."""
    prefix = name.upper()
    ports = parameters(plan)
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
    return f"{'input' if parameter.is_input else 'output'}, {kind}"


def example(name: str, plan: Plan) -> str:
    """Return a program that prints what a model answers to a few timesteps of made-up input."""
    prefix = name.upper()
    ports = parameters(plan)
    arrays = [f"static {each.type} {each.name}[{prefix}_{each.name.upper()}_SIZE];" for each in ports]
    fill = [_loop(prefix, each, f"{each.name}[i] = {_made_up(each)};") for each in ports if each.is_input]
    show = [_loop(prefix, each, f'printf("%.9g ", (double){each.name}[i]);') for each in ports if not each.is_input]
    arguments = ", ".join(["&state", *(each.name for each in ports)])
    newline = "\n"
    return f"""\
/* Steps {name} with made-up input, and prints what it answers. */
#include <stdio.h>

#include "{name}.h"

static {name}_state state;
{newline.join(arrays)}

int main(void)
{{
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
