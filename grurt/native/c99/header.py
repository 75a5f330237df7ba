"""The header of a model: what a program sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.kernels import codes
from grurt.native.c99 import contexts, text
from grurt.native.c99.states import values_of
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.native.c99.ports import Given, Port
    from grurt.native.c99.unit import Unit

NO_CONTEXT = -1
"""What a step returns to a stream that has no context."""


def parameters(ports: tuple[Port, ...], *, steps: bool = False) -> str:
    """Return the parameters of the function of a timestep, or of a number of them."""
    first = ["grurt_state *state", "grurt_scratch *scratch", *(["int64_t n_steps"] if steps else [])]
    return ", ".join([*first, *(port.declaration for port in ports)])


def header(unit: Unit, ports: tuple[Port, ...], given: tuple[Given, ...], origin: str) -> str:
    """Return the text, with the prefix of `grurt.native.c99.snippets` for the model's name."""
    sizes = "\n".join(f"#define GRURT_{port.name.upper()}_SIZE {port.count} /* {port.meaning} */" for port in ports)
    tested = selftest_parameters(given)
    return f"""\
/* {text.quoted(origin)}.

   Nothing is allocated, and there is no global or static data that changes: any number of threads may step states of
   their own at once, each thread with a scratch of its own. Arguments must not overlap. */
#ifndef GRURT_H
#define GRURT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* The release of grurt that has written this, and what identifies the model. */
#define GRURT_VERSION "{VERSION}"
#define GRURT_FINGERPRINT "{unit.network.fingerprint.hex()}"

/* Elements of the inputs and outputs of a timestep. */
{sizes}

{_context_struct(unit, given)}/* One stream: what it remembers from one timestep to the next. */
typedef struct {{
{_state_members(unit)}
}} grurt_state;

/* Memory to compute a timestep in: streams that are not stepped at the same time can share one. */
typedef struct {{
{_scratch_members(unit)}
}} grurt_scratch;

/* What functions return. In all cases but the first, nothing has been computed, and the state is what it was. */
#define GRURT_OK {codes.OK}
#define GRURT_NOT_FINITE {codes.NONFINITE} /* an input holds a NaN or an infinity */
#define GRURT_NO_SUCH_TOKEN {codes.TOKEN_OUT_OF_RANGE}
{_context_functions(given)}
/* Go to the initial state: also before the first timestep. */
void grurt_reset(grurt_state *state);

/* Advance by one timestep. */
int grurt_step({parameters(ports)});

/* Advance by some timesteps, whose inputs and outputs lie one after the other. All inputs are looked at before. */
int grurt_run({parameters(ports, steps=True)});

/* Numbers that a state is made of: {_state_order(unit)}. */
#define GRURT_STATE_SIZE {values_of(unit.states)}

/* Read what a stream remembers, GRURT_STATE_SIZE numbers, as a snapshot in Python has them; return its timesteps. */
int64_t grurt_get_state(const grurt_state *state, float *values);

/* Go to a state that has been read. */
int grurt_set_state(grurt_state *state, int64_t n_steps, const float *values);

/* Whether this model, as it is compiled here, answers what grurt does: 1, or 0. The state is reset{_unset(given)}. */
int grurt_selftest({tested});

#ifdef __cplusplus
}}
#endif

#endif
"""


def selftest_parameters(given: tuple[Given, ...]) -> str:
    """Return the parameters of the self-test, which makes a context where streams are given one."""
    context = ", grurt_context *context" if given else ""
    return f"grurt_state *state, grurt_scratch *scratch{context}"


def _unset(given: tuple[Given, ...]) -> str:
    return ", and has no context" if given else ""


def _context_struct(unit: Unit, given: tuple[Given, ...]) -> str:
    if not given:
        return ""
    sizes = "\n".join(f"#define GRURT_{each.name.upper()}_SIZE {each.size} /* {each.meaning} */" for each in given)
    members = text.indented(f"float {name}[{size}];" for name, size in unit.contexts.values())
    return f"""\
/* What streams are given once, and read at every timestep: elements of each. */
{sizes}

/* Made of that: it does not change, and any number of streams may have it, for as long as they are stepped. */
typedef struct {{
{members}
}} grurt_context;

"""


def _context_functions(given: tuple[Given, ...]) -> str:
    if not given:
        return ""
    return f"""\
#define GRURT_WRONG_SIZE {codes.NOT_PLAIN} /* there are no places, or too many, or not as many of all */
#define GRURT_NO_CONTEXT ({NO_CONTEXT}) /* a stream is stepped that has been given none */

/* Make a context; what has been made of it before is gone. If this fails, it is what it was. */
int grurt_make_context({contexts.parameters(given)});

/* Give it to a stream: before the first timestep, or in place of another one. A reset does not take it away. */
void grurt_set_context(grurt_state *state, const grurt_context *context);
"""


def _state_members(unit: Unit) -> str:
    lines = ["int64_t n_steps;", *(["const grurt_context *context;"] if unit.contexts else [])]
    for state in unit.states:
        lines.append(f"float {state.name}[{state.size}];")
        if state.row:
            lines.append(f"int32_t {state.counter};")
    return text.indented(lines)


def _scratch_members(unit: Unit) -> str:
    lines = [f"float values[{unit.arena.size}];"] if unit.arena.size else []
    lines += [f"int8_t features[{unit.features_size}];"] if unit.features_size else []
    return text.indented(lines or ["char unused;"])


def _state_order(unit: Unit) -> str:
    shapes = unit.network.state_shapes
    each = (f"{text.quoted(state.source)}, {' by '.join(map(str, shapes[state.source]))}" for state in unit.states)
    return "; ".join(each) or "there is none"
