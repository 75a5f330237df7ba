"""What the timesteps of a stream have come to so far, in compensated sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from grurt.native.c99.layers.products import loop

if TYPE_CHECKING:
    from grurt.native.c99.unit import Unit
    from grurt.network.layers import TimePooling


def time_pooling(unit: Unit, layer: TimePooling) -> None:
    """Write a function that lets a timestep count, one that answers, and their calls."""
    shapes = unit.network.states_of(layer)
    total, beside = (f"state->{unit.state(layer, math.prod(shape), name=name).name}" for name, shape in shapes.items())
    what = "scores" if layer.has_scores else "count"
    taken = [unit.place(layer.inputs[0]), *([unit.place(layer.inputs[1])] if layer.has_scores else []), total, beside]
    scores = ", const float *s" if layer.has_scores else ""
    parameters = f"const float *x{scores}, float *total, float *{what}"
    take = unit.function(layer.name, _equations(layer), parameters, _take(layer))
    call = f"{take}({', '.join(taken)});"
    unit.add(f"if ({unit.place(layer.inputs[-1])}[0] != 0.0f)\n    {call}" if layer.masked else call)
    out = unit.new_value(layer)
    unit.add(*_answer(layer, total, beside, out))


def _equations(layer: TimePooling) -> list[str]:
    answers = {
        "sum": "the sum of x",
        "mean": "the mean of x",
        "max": "the largest x",
        "softmax": "the sum of exp(s) x over that of exp(s)",
    }
    return [f"{answers[layer.operation]} over all timesteps so far: lets one count.", "", *_layout(layer)]


def _layout(layer: TimePooling) -> list[str]:
    if layer.has_scores:
        return ["Behind each sum stands what rounding has left of it; scores are compared with the first of theirs."]
    return ["Behind each sum stands what rounding has left of it."]


def _take(layer: TimePooling) -> str:
    size = layer.size
    if layer.operation == "max":
        largest = "total[i] = count[0] == 0.0f ? x[i] : grurt_maximum(total[i], x[i]);"
        return "\n".join([loop("i", size, [largest]), "grurt_add_exactly(&count[0], &count[1], 1.0f);"])
    if not layer.has_scores:
        plain = f"grurt_add_exactly(&total[i], &total[{size} + i], x[i]);"
        return "\n".join([loop("i", size, [plain]), "grurt_add_exactly(&count[0], &count[1], 1.0f);"])
    added = [
        f"grurt_scale_exactly(&total[i], &total[{size} + i], factor);",
        f"grurt_add_exactly(&total[i], &total[{size} + i], grurt_flush(weight * x[i]));",
    ]
    if layer.score_size == 1:
        return "\n".join([_weighed("0", 1), loop("i", size, added)])
    return loop("i", size, [_weighed("i", size), *added])


def _weighed(index: str, size: int) -> str:
    """Return the statement that weighs the score of an index of so many."""
    reference, weights, rest = (f"&scores[{row * size} + {index}]" for row in range(3))
    return f"float factor;\nconst float weight = grurt_weigh(s[{index}], {reference}, {weights}, {rest}, &factor);"


def _answer(layer: TimePooling, total: str, beside: str, out: str) -> list[str]:
    size = layer.size
    whole = f"grurt_both({total}[i], {total}[{size} + i])"
    if layer.operation == "max":
        return [f"memcpy({out}, {total}, {size} * sizeof(float));"]
    if layer.operation == "sum":
        return [loop("i", size, [f"{out}[i] = {whole};"])]
    if layer.operation == "mean":
        count = f"{beside}[0] + {beside}[1]"
        return [loop("i", size, [f"{out}[i] = {whole} / ({count} > 0.0f ? {count} : 1.0f);"])]
    if layer.score_size == 1:
        weight = f"const float weight = {beside}[1] + {beside}[2];"
    else:
        weight = f"const float weight = grurt_both({beside}[{size} + i], {beside}[{2 * size} + i]);"
    return [loop("i", size, [weight, f"{out}[i] = {whole} / (weight == 0.0f ? 1.0f : weight);"])]
