"""Answers by their names, however the timesteps were handed in, and whether they are the same bits."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import grurt

Answers = dict[str, Any]


def assert_same_bits(found: Answers, expected: Answers) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype == np.float32
        np.testing.assert_array_equal(found[name].view(np.int32), array.view(np.int32), strict=True)


def named(model: grurt.Model, answer: Any) -> Answers:
    return answer if isinstance(answer, dict) else {model.outputs[0].name: answer}


def stepped(stream: grurt.Stream, inputs: Answers) -> Answers:
    """Return the answers of a stream to one timestep after the other."""
    n_steps = len(next(iter(inputs.values())))
    answers = [named(stream.model, stream.step({name: xs[t] for name, xs in inputs.items()})) for t in range(n_steps)]
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


def run_in_blocks(stream: grurt.Stream, inputs: Answers, cuts: list[int]) -> Answers:
    """Return the answers of a stream to blocks that end at the cuts; some may be empty."""
    n_steps = len(next(iter(inputs.values())))
    edges = [0, *sorted(cut % (n_steps + 1) for cut in cuts), n_steps]
    blocks = [
        named(stream.model, stream.run({name: xs[start:end] for name, xs in inputs.items()}))
        for start, end in pairwise(edges)
    ]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
