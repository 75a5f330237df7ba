"""Layer normalization, spelled out in single operators as PyTorch's exporter writes it before opset 17."""

from __future__ import annotations

from collections.abc import Mapping

from .graph import Node
from .matching import AnyOf, Matcher, Template, Var, op

_X = Var("x")


def _normalized(axes: tuple[int, ...]) -> Template:
    """Return the template of ``(x - mean) / sqrt(variance + epsilon)`` over the last axes."""

    def mean(of: Template) -> AnyOf:
        return AnyOf((op("ReduceMean", of, axes=axes), op("ReduceMean", of, axes=axes, keepdims=1)))

    centered = op("Sub", _X, mean(_X))
    variance = mean(AnyOf((op("Pow", centered, 2.0), op("Mul", centered, centered))))
    return op("Div", centered, op("Sqrt", op("Add", variance, Var("epsilon"))))


def _by_last_operator(axes: tuple[int, ...]) -> Mapping[str, Template]:
    normalized = _normalized(axes)
    scaled = op("Mul", normalized, Var("weight"))
    return {"Div": normalized, "Mul": scaled, "Add": op("Add", scaled, Var("bias"))}


_TEMPLATES = {axes: _by_last_operator(axes) for axes in ((-1,), (-2, -1))}


def layer_norm(node: Node, matcher: Matcher) -> Node | None:
    """Return the LayerNormalization that a node is the last operator of, with or without weights; None if of none."""
    for axes, templates in _TEMPLATES.items() if node.outputs else ():
        template = templates.get(node.op)
        for bindings in matcher.match(template, node.outputs[0]) if template is not None else ():
            epsilon = matcher.constant(bindings["epsilon"])
            weights = [bindings[name] for name in ("weight", "bias") if name in bindings]
            arrays = [matcher.constant(name) for name in weights]
            if (
                epsilon is None
                or epsilon.size != 1
                or any(array is None or array.ndim != len(axes) for array in arrays)
            ):
                continue
            attributes = {"axis": axes[0], "epsilon": float(epsilon.flat[0])}
            inputs = (bindings["x"], *weights)
            return Node(node.name, "LayerNormalization", inputs, node.outputs[:1], attributes, node.module)
    return None
