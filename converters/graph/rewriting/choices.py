"""Choices between two tensors, by a condition for each element."""

from __future__ import annotations

from dataclasses import dataclass

from grurt.converters.graph.rewriting.matching import Matcher

_CASTS = ("Cast", "Identity")
_MAX_CASTS = 8


@dataclass(frozen=True)
class Choice:
    """``condition ? one : other``, element by element."""

    condition: str
    one: str
    other: str


def choice(name: str, matcher: Matcher) -> Choice | None:
    """Return what a tensor is chosen from: by Where, or, as tf2onnx writes that, by factors of 0 and 1."""
    node = matcher.producers.get(name)
    if node is None:
        return None
    if node.op == "Where" and len(node.inputs) == 3:
        return Choice(*node.inputs)
    products = [matcher.producers.get(each) for each in node.inputs] if node.op == "Add" else []
    factors = [each.inputs for each in products if each is not None and each.op == "Mul" and len(each.inputs) == 2]
    if len(factors) != 2:
        return None
    for one, other in (factors, factors[::-1]):
        for condition, chosen in (one, one[::-1]):
            for against, rest in (other, other[::-1]):
                denied = matcher.producers.get(without_casts(against, matcher))
                source = without_casts(condition, matcher)
                if denied is not None and denied.op == "Not" and source != condition and denied.inputs == (source,):
                    return Choice(source, chosen, rest)
    return None


def without_casts(name: str, matcher: Matcher) -> str:
    """Return the tensor that a tensor is a cast of."""
    for _ in range(_MAX_CASTS):
        node = matcher.producers.get(name)
        if node is None or node.op not in _CASTS or not node.inputs:
            break
        name = node.inputs[0]
    return name
