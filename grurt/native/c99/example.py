"""The program beside an exported model: it checks the model, and prints what it answers to made-up input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grurt.native.c99.ports import Given, Port


def example(ports: tuple[Port, ...], given: tuple[Given, ...]) -> str:
    """Return the text, with the prefix of `grurt.native.c99.snippets` for the model's name."""
    arrays = "\n".join(f"    static {each.type} {each.name}[GRURT_{each.name.upper()}_SIZE];" for each in ports)
    fill = "\n".join(_loop(each, f"{each.name}[i] = {_made_up(each)};") for each in ports if each.is_input)
    show = "\n".join(_loop(each, f'printf("%.9g ", (double){each.name}[i]);') for each in ports if not each.is_input)
    arguments = ", ".join(["&state", "&scratch", *(each.name for each in ports)])
    return f"""\
/* Tests the model here, steps it with made-up input, and prints what it answers. */
#include <stdio.h>

#include "grurt.h"

int main(void)
{{
    static grurt_state state;
    static grurt_scratch scratch;
{_context_arrays(given, "    ")}{arrays}

    if (!grurt_selftest({_tested(given)})) {{
        printf("the self-test has failed\\n");
        return 1;
    }}
{_context_made(given)}    for (int t = 0; t < 10; t++) {{
{fill}
        if (grurt_step({arguments}) != GRURT_OK)
            return 1;
{show}
        printf("\\n");
    }}
    return 0;
}}
"""


def _tested(given: tuple[Given, ...]) -> str:
    return "&state, &scratch, &context" if given else "&state, &scratch"


def _context_arrays(given: tuple[Given, ...], indent: str = "") -> str:
    if not given:
        return ""
    arrays = [f"{indent}static float {each.name}[GRURT_{each.name.upper()}_SIZE];\n" for each in given]
    return "".join([f"{indent}static grurt_context context;\n", *arrays])


def _made(given: tuple[Given, ...]) -> str:
    """Return the call that makes a context, of as many places as there may be."""
    arguments = ["&context", "&scratch"]
    for each in given:
        arguments += [each.name, *([] if each.axis is None else [str(each.shape[each.axis])])]
    return f"grurt_make_context({', '.join(arguments)})"


def _context_made(given: tuple[Given, ...]) -> str:
    if not given:
        return ""
    fill = "".join(
        f"    for (int i = 0; i < GRURT_{each.name.upper()}_SIZE; i++)\n"
        f"        {each.name}[i] = (float)(5 * i % 13 - 6) / 8.0f;\n"
        for each in given
    )
    return f"{fill}    if ({_made(given)} != GRURT_OK)\n        return 1;\n    grurt_set_context(&state, &context);\n"


def _context_set_up(given: tuple[Given, ...]) -> str:
    if not given:
        return ""
    head = "    // Before this: what the stream is given once.\n"
    return f"{head}    {_made(given)};\n    grurt_set_context(&state, &context);\n"


def sensor_sketch(ports: tuple[Port, ...], given: tuple[Given, ...]) -> str:
    """Return an Arduino sketch that reads its inputs from analogue pins, and prints the outputs."""
    arrays = "\n".join(f"static {each.type} {each.name}[GRURT_{each.name.upper()}_SIZE];" for each in ports)
    read = "\n".join(_loop(each, f"{each.name}[i] = {_read(each)};", "    ") for each in ports if each.is_input)
    show = [_loop(each, f"Serial.println({each.name}[i]);", "    ") for each in ports if not each.is_input]
    arguments = ", ".join(["&state", "&scratch", *(each.name for each in ports)])
    return f"""\
// Reads a sensor, steps the model, and prints what it answers.
#include <grurt.h>

static grurt_state state;
static grurt_scratch scratch;
{_context_arrays(given)}{arrays}

void setup()
{{
    Serial.begin(115200);
    if (!grurt_selftest({_tested(given)}))
        Serial.println("the self-test has failed");
    grurt_reset(&state);
{_context_set_up(given)}}}

void loop()
{{
    // In place of this: your sensor, scaled as in training.
{read}
    if (grurt_step({arguments}) != GRURT_OK)
        return;
{chr(10).join(show)}
    delay(20);
}}
"""


def _read(port: Port) -> str:
    return f"analogRead(A0) % {port.size}" if port.is_token else "analogRead(A0) / 512.0f - 1.0f"


def _loop(port: Port, statement: str, indent: str = "        ") -> str:
    return f"{indent}for (int i = 0; i < GRURT_{port.name.upper()}_SIZE; i++)\n{indent}    {statement}"


def _made_up(port: Port) -> str:
    if port.is_token:
        return f"(7 * t + 3 * i) % {port.size}"
    return "(float)((7 * t + 3 * i) % 11 - 5) / 8.0f"
