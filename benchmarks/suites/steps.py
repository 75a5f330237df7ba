"""Step networks: grurt's stream beside onnxruntime, whose states the caller hands back, frame by frame."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import Prepared
from benchmarks.network import Floats
from benchmarks.proof import TOLERANCE, DisagreementError
from benchmarks.results import Record
from benchmarks.suites.base import Settings
from benchmarks.timing import Loop, alternate, looped
from grurt import Model, TokenInput
from grurt.converters import convert
from grurt.network.frames import frames_of
from grurt.network.signature import StatePort
from grurt.quantization import loss

GTCRN = Path(__file__).parents[2] / "examples" / "denoise" / "gtcrn_simple.onnx"

FRAMES = 100
"""How many answers are compared, the states carried from each to the next."""

UNDISTURBED = 0.1
"""The quantile of turns that counts: a frame is long enough to be interrupted on a busy machine."""

MEMORY = "memory"
"""What the input of a decoder is called that its encoder left."""

TIMESTEPS = 200
"""Of the sequences on which the loss of weights in ``int8`` is measured."""


@dataclass(frozen=True)
class Graph:
    """A step graph, and what it was imported as."""

    data: bytes
    model: Model

    @classmethod
    def of(cls, data: bytes) -> Graph:
        """Import a graph; a memory is given to a stream once."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "step.onnx"
            path.write_bytes(data)
            inputs = import_module("onnx").load(path).graph.input
            context = [port.name for port in inputs if port.name == MEMORY]
            return cls(data, convert(path, imported="literal", reference=False, context=context))

    @property
    def size(self) -> tuple[int, int]:
        """How many numbers a frame has, and the states."""
        return (
            sum(frame.size for frame in frames_of(self.model).inputs.values()),
            sum(map(math.prod, self.model.state_shapes.values())),
        )

    @property
    def given(self) -> dict[str, Floats]:
        """What a stream is given once, in the graph's shapes."""
        random = np.random.default_rng(1)
        return {name: random.random(shape, np.float32) for name, shape in self.model.context_shapes.items()}

    def random_frame(self, random: np.random.Generator) -> dict[str, Floats]:
        """Return a frame in the graph's shapes."""
        tokens = {port.name: port.vocabulary_size for port in self.model.inputs if isinstance(port, TokenInput)}
        return {
            name: random.integers(0, tokens[name], frame.source_shape)
            if name in tokens
            else random.random(frame.source_shape, np.float32)  # a mask that resets is between 0 and 1
            for name, frame in frames_of(self.model).inputs.items()
        }

    def stepped(self, frame: dict[str, Floats]) -> Prepared:
        """Return a step of a stream."""
        shapes = {name: each.shape for name, each in frames_of(self.model).inputs.items()}
        given = {f"in_{i}": array.reshape(shapes[name]) for i, (name, array) in enumerate(frame.items())}
        names: dict[str, Any] = {"step": self.model.stream(context=self.given or None).step, "y": None, **given}
        first = next(iter(given.values()))
        answer = "y" if len(self.model.outputs) == 1 else f"y[{self.model.outputs[0].name!r}]"
        return Prepared(f"y = step({', '.join(given)})", answer, names, first)

    def run(self, frame: dict[str, Floats]) -> Prepared:
        """Return a run of onnxruntime's, and the states handed back."""
        onnxruntime = import_module("onnxruntime")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(self.data, options, providers=["CPUExecutionProvider"])
        ports = self.model.signature
        states = [port for port in ports.inputs if isinstance(port, StatePort) and port.name not in self.given]
        becomes = {port.states: port.name for port in ports.outputs if isinstance(port, StatePort)}
        feed = frame | self.given | {port.name: np.zeros(port.shape, np.float32) for port in states}
        names = {
            "run": session.run,
            "outputs": [self.model.outputs[0].name, *(becomes[port.states] for port in states)],
            "states": [port.name for port in states],
            "feed": feed,
            "y": None,
            "handed": None,
        }
        first = next(iter(frame.values()))
        return Prepared("y, *handed = run(outputs, feed); feed.update(zip(states, handed))", "y", names, first)


def _trained() -> Iterator[tuple[str, Callable[[], bytes]]]:
    if GTCRN.exists():
        yield "GTCRN", GTCRN.read_bytes


def _random(settings: Settings) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield networks of published sizes, and decoders and policies of several, with random weights."""
    if not find_spec("torch"):
        return
    from benchmarks import step_networks as nets

    makers: list[tuple[str, Callable[[], Any]]] = [
        ("as UL-UNAS", partial(nets.ulunas, (12, 24, 24, 32, 16), 65, 192, 64)),
        ("as DeepFilterNet3", partial(nets.deep_filter, 64, 32, 96, 256, 16)),
        ("as FastEnhancer-T", partial(nets.fast_enhancer, 256, 24, (24, 20), 2, 4)),
        ("as FastEnhancer-B", partial(nets.fast_enhancer, 256, 48, (36, 36), 3, 4)),
        ("as DPRNN", partial(nets.dprnn, 256, 8, 32, 2)),
    ]
    for n_inputs, hidden in settings.sizes:
        makers += [
            ("policy, GRU", partial(nets.gru_policy, n_inputs, hidden, 12)),
            ("policy, LSTM", partial(nets.lstm_policy, n_inputs, hidden, 12)),
            ("decoder, Bahdanau", partial(nets.bahdanau_decoder, 20, 64, n_inputs, hidden)),
            ("decoder, Luong", partial(nets.luong_decoder, 20, n_inputs, hidden, 64)),
        ]
    for name, maker in makers:
        yield name, lambda maker=maker: nets.onnx_of(maker())


def names() -> list[str]:
    """Return what the records are called."""
    one = Settings(((4, 4),), 0, 0.0)
    return [name for name, _ in (*_trained(), *_random(one))]


def measure(settings: Settings) -> list[Record]:
    """Measure microseconds of a frame, how many times as long onnxruntime takes for it, and the same in ``int8``."""
    return [_measure(name, Graph.of(source()), settings) for name, source in sources(settings)]


def sources(settings: Settings) -> list[tuple[str, Callable[[], bytes]]]:
    """Return the networks that are measured, by name, and what makes the graph of each."""
    found = (*_trained(), *_random(settings))
    return [(name, source) for name, source in found if not settings.only or name in settings.only]


def _measure(name: str, graph: Graph, settings: Settings) -> Record:
    frame = graph.random_frame(np.random.default_rng(0))
    ours, peer = graph.stepped(frame), graph.run(frame)
    loops = {"grurt": looped(ours), "onnxruntime": looped(peer)}
    _prove(name, ours, peer, loops)
    turns = {"rounds": settings.rounds, "seconds": settings.seconds, "quantile": UNDISTURBED}
    seconds = alternate(loops, **turns)
    narrow = replace(graph, model=graph.model.quantize("int8"))
    seconds |= alternate({"int8": looped(narrow.stepped(frame))}, **turns)
    return {
        "size": graph.size,
        "contender": name,
        "microseconds": 1e6 * seconds["grurt"],
        "peer_microseconds": 1e6 * seconds["onnxruntime"],
        "ratio": seconds["onnxruntime"] / seconds["grurt"],
        "int8_microseconds": 1e6 * seconds["int8"],
        "int8_decibels": loss(graph.model, narrow.model, steps=TIMESTEPS).worst.decibels,
    }


def _prove(name: str, ours: Prepared, peer: Prepared, loops: dict[str, Loop]) -> None:
    """Compare the answers of both, the states carried from each to the next."""
    for _ in range(FRAMES):
        for loop in loops.values():
            loop(1)
        expected = peer.last_answer()
        difference = float(np.abs(ours.last_answer() - expected).max() / np.abs(expected).max())
        if not difference <= TOLERANCE:
            raise DisagreementError(f"{name}: differs from onnxruntime by {difference:.1e} of its size")
