"""The demo's network, written by hand in C, with the demo's weights."""

from __future__ import annotations

from pathlib import Path

from grurt.demo import load_model
from grurt.native.c99 import selftest, text
from grurt.native.c99.ports import ports_of

FOLDER = Path(__file__).parent

FLAGS = ("-ffp-contract=fast",)
"""As people compile it: the compiler may fuse a product and a sum, which ``-std=c99`` by itself does not allow."""


def files() -> dict[str, bytes]:
    """Return the files by their names, which are those of generated C."""
    model = load_model()
    constants = {name.replace(".", "_"): array for name, array in model.weights.items()}
    vectors = selftest.vectors(model, ports_of(model), ())
    constants |= {f"tested_{name}": array for name, array in vectors.items()}
    lines = [text.constant(name, array) for name, array in constants.items()]
    steps = f"enum {{ TESTED_STEPS = {selftest.N_STEPS} }};\n"
    return {
        "m.c": (FOLDER / "plain.c").read_bytes(),
        "m.h": (FOLDER / "plain.h").read_bytes(),
        "weights.h": "".join([*lines, steps]).encode(),
    }
