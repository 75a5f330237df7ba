"""The stages of a model, run one after the other: see `grurt.Model.stages`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grurt.errors import InputShapeError, InputValueError
from grurt.network.layers import RepeatVector, Unfold
from grurt.network.network import once_per_network
from grurt.network.splitting import numbered_stages
from grurt.network.stages import handed_states
from grurt.runtime.batch import Batch, checked_lengths
from grurt.runtime.context import CLEAN_OR_PROPAGATE, refuses
from grurt.runtime.past_ends import run_past_ends
from grurt.runtime.tails import fill_tails
from grurt.runtime.unfolding import repeat, unfold

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Array
    from grurt.network.network import Network
    from grurt.runtime.context import Nonfinite

    Steps = tuple[int, NDArray[np.int64]]
    """How many timesteps arrays have, and how many of them each sequence."""


def time_of(stage: int) -> str:
    """Return what the number of timesteps of a stage's inputs is called among sizes."""
    return f"time of stage {stage}" if stage else "time"


def run_stages(
    network: Network,
    sizes: Mapping[str, int],
    inputs: Mapping[str, Array],
    states: Mapping[str, Array],
    lengths: ArrayLike | None,
    wanted_states: Sequence[str],
    nonfinite: Nonfinite,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run one stage after the other; return outputs by name, and final states by layer.

    Parameters
    ----------
    network
        What is run.
    sizes
        ``"batch"``, and the timesteps of the inputs of each stage by `time_of`; 1 where it is left out.
    inputs
        The model's inputs by name, ``(batch, n_steps, size)``, and tokens ``(batch, n_steps)``.
    states
        Initial states by name, in place of the model's own.
    lengths
        Timesteps of each sequence of the first stage, and what is unfolded from it; others are whole.
    wanted_states
        Names of the layers whose final states are returned.
    nonfinite
        As in `grurt.Model.run`.
    """
    known = dict(inputs)
    steps: dict[int, Steps] = {}
    final_states: dict[str, Array] = {}
    handed = handed_states(network.layers)
    stages = numbered_stages(network)
    least = 0 if network.signature.takes_lengths else 1
    for number in range(network.costs.n_stages):
        n_steps, own_lengths = _begin(network, number, sizes, None if number else lengths, known, steps)
        n_sequences = sizes.get("batch", 1)
        if (stage := stages.get(number)) is None:
            steps[number] = n_steps, checked_lengths(own_lengths, n_sequences, n_steps, least)
            if refuses(nonfinite):
                _expect_finite(network, number, known, steps[number][1])
            continue
        wanted = [name for name in wanted_states if name in stage.state_shapes]
        if number and refuses(nonfinite):
            _expect_finite(network, number, known, checked_lengths(own_lengths, n_sequences, n_steps, least))
        inner = "propagate" if number else nonfinite  # what an earlier stage has made of finite numbers may be infinite
        initial = {name: known[value] for name, value in handed.items() if name in stage.state_shapes}
        initial |= {name: state for name, state in states.items() if name in stage.initial_shapes}
        sequences = [
            known[port.name] if network.values[port.name].per_step else np.repeat(known[port.name][:, None], n_steps, 1)
            for port in stage.inputs
        ]
        if number == 0 and own_lengths is not None and not network.signature.packs:
            batch = run_past_ends(stage, inner, own_lengths, sequences, initial, wanted)
        else:
            batch = Batch(stage, inner, n_sequences, n_steps, own_lengths, wanted, least)
            batch.run(sequences, initial)
        steps[number] = n_steps, batch.lengths
        if number == 0 and network.signature.takes_lengths and network.signature.packs:
            given = {port.name: xs for port, xs in zip(stage.inputs, sequences, strict=True)}
            answers = {port.name: ys for port, ys in zip(stage.outputs, batch.outputs, strict=True)}
            fill_tails(stage, given, batch.lengths, answers, nonfinite)
        known |= {output.value: array for output, array in zip(stage.outputs, batch.outputs, strict=True)}
        final_states |= batch.final_states
    return {output.name: known[output.value] for output in network.outputs}, final_states


def _begin(
    network: Network,
    number: int,
    sizes: Mapping[str, int],
    lengths: ArrayLike | None,
    known: dict[str, Array],
    steps: Mapping[int, Steps],
) -> tuple[int, ArrayLike | None]:
    """Unfold or repeat what a stage reads; return how long its arrays are, and its sequences, if some are shorter."""
    found: dict[str, Steps] = {}
    unfolding, beside = _read_of_others(network)[number]
    for layer in unfolding:
        source, *like = layer.inputs
        if isinstance(layer, RepeatVector):
            steps_of_like = steps[network.values[like[0]].stage] if like else None
            known[layer.name], counts = repeat(layer, known[source], steps_of_like)
        else:
            known[layer.name], counts = unfold(layer, known[source], steps[network.values[source].stage][1])
        found[layer.name] = known[layer.name].shape[1], counts
    for name in beside:
        found[name] = steps[network.values[name].stage]
    if not found:
        return sizes.get(time_of(number), 1), lengths
    (first, (n_steps, own)), *others = found.items()
    for name, (other, lengths_of_other) in others:
        if other != n_steps or not np.array_equal(own, lengths_of_other):
            raise InputShapeError(
                f"Model.run: layers read {first!r} and {name!r} side by side, of which the one has {n_steps} timesteps "
                f"here and the other {other}: run sequences of a length at which they agree"
            )
    return n_steps, None if np.all(own == n_steps) else own


@once_per_network
def _read_of_others(network: Network) -> list[tuple[list[Unfold | RepeatVector], list[str]]]:
    """Return for each stage what makes sequences of what earlier stages give, and the sequences read as such."""
    values = network.values
    found: list[tuple[list[Unfold | RepeatVector], list[str]]] = [([], []) for _ in range(network.costs.n_stages)]
    for layer in network.layers if len(found) > 1 else ():
        unfolding, beside = found[values[layer.name].stage]
        if isinstance(layer, Unfold | RepeatVector):
            unfolding.append(layer)
        elif values[layer.name].per_step:
            stage = values[layer.name].stage
            beside += [name for name in layer.inputs if values[name].per_step and values[name].stage < stage]
    return found


def _expect_finite(network: Network, number: int, known: Mapping[str, Array], lengths: NDArray[np.int64]) -> None:
    """Raise InputValueError for a NaN or infinity in an input that no stage before this one reads."""
    for name in (port.name for port in network.inputs if network.values[port.name].stage == number):
        for row, length in enumerate([] if np.isfinite(known[name]).all() else lengths.tolist()):
            faults = np.argwhere(~np.isfinite(known[name][row, :length]))
            if len(faults):
                place = tuple(faults[0].tolist())
                raise InputValueError(
                    f"Model.run: sequence {row}: input {name!r} at [{', '.join(map(str, place))}]: expected finite "
                    f"numbers, got {known[name][row][place]}; {CLEAN_OR_PROPAGATE}"
                )
