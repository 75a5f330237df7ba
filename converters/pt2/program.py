"""An exported program as plain data: calls of ATen operators, in order, on named tensors and sizes.

Source: ``torch/_export/serde/schema.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grurt.converters.graph.elements import MAX_RANK
from grurt.converters.graph.nodes import Declaration
from grurt.converters.pt2.scalar_types import DTYPES
from grurt.errors import ConversionError, DesignReason, UnsupportedError

MAX_CALLS = 200_000
SCHEMA = range(5, 10)
"""Major versions of the schema whose parts that are read here mean the same."""

_SYMBOL = re.compile(r"Symbol\('(\w{1,50})'[^()]*\)|(\w{1,50})")
_IN_NUMPY = {"bfloat16": "float32"}
_DAMAGED = (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError)


@dataclass(frozen=True)
class Ref:
    """A tensor, or a size that is known when the program runs, by name."""

    name: str


@dataclass(frozen=True)
class Call:
    """One call of an operator.

    Parameters
    ----------
    target
        The operator, such as ``"torch.ops.aten.linear.default"``.
    arguments
        By the names of its parameters: numbers, texts, `Ref`, None, and lists of these.
    outputs
        Names of what it returns.
    module
        Path of the module in which it stands, such as ``"encoder.gru"``.
    """

    name: str
    target: str
    arguments: Mapping[str, Any]
    outputs: tuple[str, ...]
    module: str = ""

    @property
    def op(self) -> str:
        """The ATen operator without its overload, such as ``"linear"``."""
        parts = self.target.removeprefix("torch.ops.").split(".")
        return parts[1] if len(parts) > 1 and parts[0] == "aten" else self.target

    def unsupported(self, found: str, advice: str, reason: DesignReason | None = None) -> UnsupportedError:
        return UnsupportedError(f"node {self.name[:100]!r} ({self.target[:80]}): {found}; {advice}", reason=reason)

    def references(self) -> Iterator[str]:
        """Yield the names of the tensors and sizes that it reads."""
        for value in self.arguments.values():
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, Ref):
                    yield item.name

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)


@dataclass(frozen=True)
class Program:
    """A program; ``states`` are the names of weights, buffers and constants by the tensors that stand for them.

    Inputs and outputs of bfloat16, which NumPy does not have, are declared as float32; ``dtypes`` has torch's own.
    """

    calls: tuple[Call, ...]
    inputs: tuple[Declaration, ...]
    outputs: tuple[Declaration, ...]
    states: Mapping[str, str]
    shapes: Mapping[str, tuple[int | str | None, ...]]
    dtypes: Mapping[str, str]
    torch_version: str


def read_program(document: Mapping[str, Any]) -> Program:
    """Return the program in a JSON document.

    Raises
    ------
    ConversionError
        If it is damaged.
    UnsupportedError
        If it changes buffers, takes or gives other things than tensors, or is of an unknown version.
    """
    try:
        version = document["schema_version"]["major"]
        if version not in SCHEMA:
            raise UnsupportedError(
                f"program: expected version {SCHEMA.start} to {SCHEMA.stop - 1} of torch's export schema, got "
                f"{version!r}; export the model with torch 2.13"
            )
        return _program(document["graph_module"], str(document.get("torch_version", "")))
    except _DAMAGED as error:
        if isinstance(error, ConversionError):
            raise
        raise ConversionError(
            f"program: expected torch's export schema, got damage ({type(error).__name__}: {str(error)[:80]})"
        ) from error


def _program(module: Mapping[str, Any], torch_version: str) -> Program:
    graph, signature = module["graph"], module["signature"]
    if len(graph["nodes"]) > MAX_CALLS:
        raise UnsupportedError(
            f"program: expected at most {MAX_CALLS} nodes, got {len(graph['nodes'])}", reason=DesignReason.SIZE
        )
    values = {name: _value(name, meta) for name, meta in graph["tensor_values"].items()}
    dtypes = {name: value.dtype for name, value in values.items()}
    values = {name: replace(value, dtype=_IN_NUMPY.get(value.dtype, value.dtype)) for name, value in values.items()}
    inputs, states = _inputs(signature["input_specs"], values)
    return Program(
        calls=tuple(_call(node) for node in graph["nodes"]),
        inputs=inputs,
        outputs=tuple(values[name] for name in _outputs(signature["output_specs"])),
        states=states,
        shapes={name: value.shape or () for name, value in values.items()},
        dtypes=dtypes,
        torch_version=torch_version,
    )


def _value(name: str, meta: Mapping[str, Any]) -> Declaration:
    if len(meta["sizes"]) > MAX_RANK:
        raise UnsupportedError(
            f"tensor {name[:80]!r}: expected at most {MAX_RANK} axes, got {len(meta['sizes'])}",
            reason=DesignReason.SIZE,
        )
    return Declaration(
        name, DTYPES.get(meta["dtype"], f"number {meta['dtype']}"), tuple(_size(item) for item in meta["sizes"])
    )


def _size(item: Mapping[str, Any]) -> int | str | None:
    if "as_int" in item:
        return int(item["as_int"])
    symbol = _SYMBOL.fullmatch(item["as_expr"]["expr_str"])
    return (symbol[1] or symbol[2]) if symbol else None


def _inputs(
    specs: Sequence[Mapping[str, Any]], values: Mapping[str, Declaration]
) -> tuple[tuple[Declaration, ...], dict[str, str]]:
    inputs, states = [], {}
    for spec in specs:
        ((kind, body),) = spec.items()
        if kind == "user_input" and "as_tensor" in body["arg"]:
            inputs.append(values[_text(body["arg"]["as_tensor"]["name"])])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            states[_text(body["arg"]["name"])] = _text(body[f"{kind}_name"])
        elif kind != "constant_input" and not (kind == "user_input" and "as_none" in body["arg"]):
            raise UnsupportedError(
                f"program: expected tensors as inputs, got {str(body)[:80]} ({str(kind)[:40]}); export a module "
                "that takes tensors"
            )
    return tuple(inputs), states


def _outputs(specs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for spec in specs:
        ((kind, body),) = spec.items()
        if kind == "buffer_mutation":
            raise UnsupportedError(
                f"program: expected buffers that stay as they are, got that {str(body['buffer_name'])[:80]!r} is "
                "changed; give the state as an input and an output instead"
            )
        if kind != "user_output" or "as_tensor" not in body["arg"]:
            raise UnsupportedError(
                f"program: expected tensors as outputs, got {str(kind)[:40]}; export a module that gives tensors"
            )
        yield _text(body["arg"]["as_tensor"]["name"])


def _call(node: Mapping[str, Any]) -> Call:
    arguments = {_text(item["name"]): _argument(item["arg"]) for item in node["inputs"]}
    stack = str(node.get("metadata", {}).get("nn_module_stack", "")).rpartition(";")[2].split(",")
    outputs = tuple(name for output in node["outputs"] for name in _names(output))
    name = str(node.get("name") or (outputs[0] if outputs else ""))
    return Call(name, str(node["target"]), arguments, outputs, stack[1] if len(stack) == 3 else "")


def _names(output: Mapping[str, Any]) -> Iterator[str]:
    if "as_tensor" in output:
        yield _text(output["as_tensor"]["name"])
    elif "as_tensors" in output:
        yield from (_text(item["name"]) for item in output["as_tensors"])
    elif "as_sym_int" in output:
        yield _text(output["as_sym_int"]["as_name"])


def _argument(argument: Mapping[str, Any]) -> Any:
    ((kind, value),) = argument.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return Ref(_text(value["name"]))
        case "as_tensors":
            return [Ref(_text(item["name"])) for item in value]
        case "as_optional_tensors":
            return [Ref(_text(item["as_tensor"]["name"])) if "as_tensor" in item else None for item in value]
        case "as_float" if isinstance(value, str):  # "Infinity", "-Infinity" and "NaN", which JSON has no numbers for
            return float(value)
        case "as_sym_int":
            return _symbolic(value)
        case "as_sym_ints":
            return [_symbolic(item) for item in value]
        case _:
            return value


def _symbolic(value: Mapping[str, Any]) -> int | Ref:
    return Ref(_text(value["as_name"])) if "as_name" in value else int(value["as_int"])


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError("a name that is no text")
    return name
