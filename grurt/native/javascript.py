"""The JavaScript beside a model that is exported to WebAssembly: a module of ECMAScript, and its types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grurt.errors import ModelError
from grurt.kernels import codes
from grurt.lowering.plan import PlanPort
from grurt.network.generator_ports import generator_ports
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.native.interface import Interface
    from grurt.network.network import Network
    from grurt.network.vocabulary import Vocabulary

_FOLDER = Path(__file__).parent
_VOCABULARY = ("tokens", "split", "lowercase", "removed", "unknown", "padding", "start", "end")
"""What the module knows of a vocabulary."""
_TOKENS = "number"
_NUMBERS = "ArrayLike<number>"


def javascript(interface: Interface, model: Network, origin: str) -> dict[str, bytes]:
    """Return the files by name: ``name.mjs`` loads ``name.wasm``, and ``name.d.mts`` has the types.

    Parameters
    ----------
    interface
        The functions of the compiled model.
    model
        What was compiled: its vocabularies, and how it generates.
    origin
        A line of text that says what they are of.
    """
    name = interface.name
    description = json.dumps(_description(interface, model), separators=(",", ":"))
    program = (_FOLDER / "module.mjs").read_text(encoding="utf-8")
    types = (_FOLDER / "module.d.mts").read_text(encoding="utf-8")
    for what, text in _types(interface).items():
        types = types.replace(f"$({what})", text)
    return {
        f"{name}.mjs": f"// {name}: {origin}.\nconst description = {description};\n\n{program}".encode(),
        f"{name}.d.mts": f"// {name}: {origin}.\n\n{types}".encode(),
    }


def _description(interface: Interface, model: Network) -> dict[str, Any]:
    contexts = interface.contexts
    opened = {} if contexts is None else contexts.opened
    return {
        "name": interface.name,
        "fingerprint": interface.fingerprint.hex(),
        "version": VERSION,
        "stateBytes": interface.state_bytes,
        "stateSize": interface.state_size,
        "scratchBytes": interface.scratch_bytes,
        "contextBytes": interface.context_bytes,
        "status": {"notFinite": codes.NONFINITE, "noSuchToken": codes.TOKEN_OUT_OF_RANGE},
        "inputs": [_port(port) for port in interface.plan.inputs],
        "outputs": [_port(port) for port in interface.plan.outputs],
        "contexts": [
            {"name": name, "shape": shape, "axis": opened[name][0] if name in opened else None}
            for name, shape in ({} if contexts is None else contexts.shapes).items()
        ],
        "generator": _generator(model),
        "vocabularies": {
            name: _plain(vocabulary) for name, vocabulary in model.vocabularies.items() if _is_simple(vocabulary)
        },
    }


def _port(port: PlanPort) -> dict[str, Any]:
    return {"name": port.name, "size": port.size, "tokens": port.tokens}


def _generator(model: Network) -> dict[str, Any] | None:
    """Return which output has the scores of tokens, and whether they are probabilities; None: it does not generate."""
    try:
        ports = generator_ports("export", model)
    except ModelError:
        return None
    return {"output": model.outputs[ports.output].name, "ofProbabilities": ports.of_probabilities}


def _is_simple(vocabulary: Vocabulary) -> bool:
    """Whether the module takes texts apart as the vocabulary says: others are left out."""
    if vocabulary.split not in ("words", "characters") or vocabulary.lowercase == "ascii":
        return False
    return vocabulary.length is None and vocabulary.buckets == 1


def _plain(vocabulary: Vocabulary) -> dict[str, Any]:
    return {field: getattr(vocabulary, field) for field in _VOCABULARY}


def _types(interface: Interface) -> dict[str, str]:
    """Return the types of this model, by the names that they have in the text of all."""
    inputs, outputs = interface.plan.inputs, interface.plan.outputs
    values = ", ".join(f"input{number}: {_TOKENS if port.tokens else _NUMBERS}" for number, port in enumerate(inputs))
    several = "; ".join(f"{json.dumps(port.name)}: Float32Array" for port in outputs)
    shapes = {} if interface.contexts is None else interface.contexts.shapes
    given = [f"{json.dumps(name)}: {_NUMBERS}" for name in shapes]
    return {
        "inputs": values,
        "answer": "Float32Array" if len(outputs) == 1 else f"{{ {several} }}",
        "context": f"{{ {'; '.join(given)} }}" if given else "never",
    }
