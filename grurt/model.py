"""The model: a network, and what can be done with it. Nothing below imports this."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, SupportsIndex, overload

import numpy as np

from grurt.network.costs import Limits
from grurt.network.network import Network, Source

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from grurt.lowering.plan import Plan
    from grurt.network.layers.base import QuantizedFormat
    from grurt.quantization.recordings import Data
    from grurt.runtime.context import Nonfinite
    from grurt.runtime.decoding.generators import Options
    from grurt.runtime.pool import StreamPool
    from grurt.runtime.stream import Stream
    from grurt.runtime.stream_context import ContextLike, StreamContext
    from grurt.runtime.verify import Verification

__all__ = ["Model", "Source"]


class Model(Network):
    """A GRU network: layers in order, and their weights.

    A model never changes and holds no state of a sequence: threads may share it, and it can have any number of streams.
    Copies are the model itself. It can be pickled, and so sent to other processes, as the bytes of its file.

    Parameters
    ----------
    layers
        The layers in an order in which each reads only earlier ones. A layer with no ``inputs`` reads the one before.
    weights
        Arrays by ``"layer.parameter"``, of the shapes that `Layer.weight_shapes` gives. They are converted to float32
        (or to float16, if the layer's ``weight_format`` says so; integers must be integers already) and copied; the
        model's own arrays are read-only.
    inputs
        The model's inputs; by default one, ``"x"``, of the size that the first layer expects.
    outputs
        The model's outputs; by default one, ``"y"``, the value of the last layer.
    signature
        The source's own inputs and outputs; by default batch-first, and without states.
    source
        Where the model came from.
    reference_run
        What `verify` replays.
    limits
        What the model may cost, as `grurt.load` has it; see `costs`.

    Raises
    ------
    ModelError
        If layers, weights, signature and reference run do not fit together, a weight is not finite in float32, or the
        model costs more than it may.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> model = grurt.Model(
    ...     layers=[grurt.GRU(name="gru", input_size=2, hidden_size=4, bias=False), grurt.LastStep(name="last")],
    ...     weights={"gru.weight_ih": np.ones((12, 2)), "gru.weight_hh": np.ones((12, 4))},
    ... )
    >>> model.run(np.zeros((10, 2), np.float32))
    array([0., 0., 0., 0.], dtype=float32)
    """

    def __copy__(self) -> Self:
        """Return the model itself, which never changes."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """Return the model itself, which never changes."""
        return self

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the model as the bytes of its file, which are checked when they are read."""
        from grurt.container.writing import encode

        return _of_bytes, (type(self), encode(self), self.limits)

    @classmethod
    def from_network(cls, network: Network) -> Self:
        """Return a model of a network, which shares its arrays."""
        model = object.__new__(cls)
        model.__dict__.update(vars(network))
        return model

    @property
    def stages(self) -> tuple[Model, ...]:
        """The models that run one after the other: the model itself, unless one sequence begins where another ended.

        Those of an encoder and a decoder, for example. Each is a model of its own, and can stream by itself, if its
        layers can. A vector that a later stage reads is an output, of the value's name unless the model has one for it.
        Where it is a GRU's initial state, it is to be set as the state of that GRU; where a layer reads it beside its
        sequence, it is one more input, to be given at every timestep. What is behind an `Unfold` is a stage, too: it
        reads the windows as an input of that layer's name. `run` does all that.

        Examples
        --------
        >>> import numpy as np
        >>> import grurt
        >>> sizes = {"input_size": 2, "hidden_size": 3, "bias": False}
        >>> layers = [
        ...     grurt.GRU(name="encoder", inputs=("source",), **sizes),
        ...     grurt.LastStep(name="summary"),
        ...     grurt.GRU(name="decoder", inputs=("target", "summary"), initial_state="value", **sizes),
        ... ]
        >>> weights = {
        ...     f"{layer.name}.{name}": np.ones(shape)
        ...     for layer in layers
        ...     for name, shape in layer.weight_shapes().items()
        ... }
        >>> inputs = [grurt.Input("source", 2), grurt.Input("target", 2)]
        >>> model = grurt.Model(layers=layers, weights=weights, inputs=inputs)
        >>> encoder, decoder = model.stages
        >>> source, target = np.ones((4, 2), np.float32), np.ones((7, 2), np.float32)
        >>> stream = decoder.stream()
        >>> stream.state = {"decoder": encoder.run(source)}
        >>> whole = model.run({"source": source[np.newaxis], "target": target[np.newaxis]})
        >>> bool((stream.run(target) == whole["y"][0]).all())
        True
        """
        if self.costs.n_stages == 1:
            return (self,)
        from grurt.network.splitting import numbered_stages

        return tuple(numbered_stages(self).values())

    def delayed(self) -> tuple[Model, int]:
        """Return a model that streams, some timesteps late, what this one, which looks ahead, computes of sequences.

        It has one more input, ``present``, of size 1: 1 at every timestep of a sequence, and 0 at as many more as it is
        late, which give the last answers; what is read beside it there, has to be finite. The answer of step i is that
        to timestep i - delay, of the bits of `run`; the first ``delay`` answers are of nothing. GRUs keep their states
        where no timestep is present. In all else it is a model as any.

        Returns
        -------
        The model, and its delay in timesteps.

        Raises
        ------
        StreamingError
            If this model streams as it is, or cannot: a layer runs in reverse, strides over timesteps, reads all of a
            sequence, or makes one longer or shorter.

        Examples
        --------
        >>> import numpy as np
        >>> import grurt
        >>> layers = [  # a convolution of two timesteps, the one at hand and the next
        ...     grurt.Unfold(name="padded", padding=(0, 1)),
        ...     grurt.Conv1d(name="conv", input_size=1, output_size=1, kernel_size=2),
        ...     grurt.Unfold(name="ahead", padding=(-1, 0)),
        ... ]
        >>> weights = {"conv.weight": np.ones((1, 1, 2)), "conv.bias": np.ones(1)}
        >>> model = grurt.Model(layers=layers, weights=weights, inputs=[grurt.Input("x", 1)])
        >>> samples = np.float32([[1], [2], [3]])
        >>> model.run(samples).ravel()
        array([4., 6., 4.], dtype=float32)
        >>> streaming, delay = model.delayed()
        >>> stream = streaming.stream()
        >>> answers = [stream.step(sample, [1.0]) for sample in samples]
        >>> answers += [stream.step([0.0], [0.0]) for _ in range(delay)]
        >>> np.concatenate(answers[delay:])
        array([4., 6., 4.], dtype=float32)
        """
        from grurt.network.delaying import delayed

        return delayed(self)

    @property
    def plan(self) -> Plan:
        """The model lowered for the kernels: made once, when it is first needed.

        Raises
        ------
        StreamingError
            If the model has several stages: each has a plan of its own.
        """
        from grurt.lowering.lower import plan_of

        return plan_of(self)

    def context(
        self, values: Mapping[str, ArrayLike] | None = None, *, nonfinite: Nonfinite = "refuse", **named: ArrayLike
    ) -> StreamContext:
        """Return a context, for streams of a model that are given one: what depends on it alone is computed here, once.

        Parameters
        ----------
        values
            What it is made of, by name, or by keyword: in the shapes of `context_shapes`, from which axes of size 1 may
            be left out. It is copied, as float32.
        nonfinite
            What a NaN or an infinity in it does: see `stream`.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If the model has no contexts, or they do not fit.
        """
        from grurt.runtime.making_contexts import make_context

        return make_context(self, named if values is None else values, nonfinite)

    def stream(self, *, nonfinite: Nonfinite = "refuse", context: ContextLike | None = None) -> Stream:
        """Return a new stream, at the model's initial state.

        Parameters
        ----------
        nonfinite
            What a NaN or an infinity in an input does: ``"refuse"`` raises InputValueError and leaves the state as it
            was, ``"propagate"`` computes with it.
        context
            What the stream is given once, if the model has contexts: made by `context`, and shared with whoever else
            has it; or a mapping of what one is made of.

        Raises
        ------
        StreamingError
            If the model needs the whole sequence, for example because a layer runs in reverse.
        InputShapeError, InputTypeError, InputValueError
            If the context does not fit, or is missing.
        """
        from grurt.runtime.stream import Stream

        return Stream(self, nonfinite=nonfinite, context=context)

    def pool(
        self,
        streams: int | Iterable[Hashable] = 0,
        *,
        threads: int = 1,
        nonfinite: Nonfinite = "refuse",
        context: ContextLike | None = None,
    ) -> StreamPool:
        """Return a pool of streams, each at the model's initial state, that are advanced together.

        Parameters
        ----------
        streams
            How many streams, with the ids 0, 1, 2 and so on; or the ids themselves, any hashables. More can be added.
        threads
            Over how many threads a call is spread, 1 to 1024. They sleep between calls.
        nonfinite
            What a NaN or an infinity does: see `stream`.
        context
            What each stream is given that is not given another one: see `stream`.

        Raises
        ------
        StreamingError
            If the model needs the whole sequence.
        InputTypeError, InputValueError, InputShapeError
            If the number of streams is negative, or their states take more than 1 TiB, or that of threads is not one
            of those above; or if the context does not fit, or is missing.
        StreamIdError
            If an id cannot be hashed, is masked, or is there twice.
        EngineError
            If the system does not start so many threads.
        """
        from grurt.runtime.pool import StreamPool

        return StreamPool(self, streams, threads=threads, nonfinite=nonfinite, context=context)

    @overload
    def run(
        self,
        xs: Mapping[str, ArrayLike],
        *,
        lengths: ArrayLike | None = None,
        nonfinite: Nonfinite = "refuse",
        context: ContextLike | None = None,
    ) -> dict[str, NDArray[Any]]: ...

    @overload
    def run(
        self,
        xs: ArrayLike,
        *,
        lengths: ArrayLike | None = None,
        nonfinite: Nonfinite = "refuse",
        context: ContextLike | None = None,
    ) -> NDArray[np.float32] | Any: ...

    def run(
        self,
        xs: ArrayLike | Mapping[str, ArrayLike],
        *,
        lengths: ArrayLike | None = None,
        nonfinite: Nonfinite = "refuse",
        context: ContextLike | None = None,
    ) -> Any:
        """Run whole sequences from the model's initial state.

        Parameters
        ----------
        xs
            One sequence ``(n_steps, input_size)`` or a batch ``(batch, n_steps, input_size)``, convertible to float32
            without loss of range; token ids lack the last axis. Or a mapping by the source's own input names, in the
            source's shapes and axis order, states included: then the batch and time sizes may be any, and a state
            that is left out is the model's initial state. The inputs of one stage of the model (see `stages`) have the
            same number of timesteps; those of different stages may differ.
        lengths
            Valid timesteps of each sequence of a batch, ``(batch,)``, each in ``[1, n_steps]``. The rest is not read;
            outputs there are zero. They are those of the first stage, and of what is unfolded from it; other stages run
            whole sequences.
        nonfinite
            What a NaN or an infinity does: see `stream`.
        context
            What each sequence is given, if the model has contexts, and a mapping does not hold them: see `stream`.

        Returns
        -------
        For an array, the output ``([batch,] n_steps, output_size)``, or ``([batch,] output_size)`` where the model
        reads only the last timestep; with several outputs, a dict of them by name. For a mapping, a dict by the
        source's own output names, in its shapes and dtypes. The arrays are new and the caller's own.

        Raises
        ------
        InputShapeError, InputTypeError, InputValueError
            If an input does not fit.
        """
        if lengths is None and nonfinite == "refuse" and context is None:
            run_quickly = _quick_ways().get(type(xs))
            if run_quickly is not None and (answer := run_quickly(self, xs)) is not None:
                return answer
        from grurt.runtime.sequences import run_arrays, run_mapping

        if isinstance(xs, Mapping):
            return run_mapping(self, xs, lengths=lengths, nonfinite=nonfinite, context=context)
        return run_arrays(self, xs, lengths=lengths, nonfinite=nonfinite, context=context)

    def generate(
        self,
        prompt: ArrayLike,
        max_tokens: SupportsIndex,
        *,
        seed: SupportsIndex = 0,
        context: ContextLike | None = None,
        **options: Unpack[Options],
    ) -> NDArray[np.int64]:
        """Generate the tokens behind a prompt, from the model's initial state, in one call without Python.

        The model reads tokens, or one-hot vectors, and gives a score for each of them: logits, logarithms of
        probabilities, or, where its last layer is a softmax, probabilities, of which logarithms are taken.

        Parameters
        ----------
        prompt
            Token ids ``(n,)`` that are read first, at least one.
        max_tokens
            The most tokens to generate.
        seed
            An integer. What is drawn behind the timestep t is a function of the seed and of t: the uniform number of
            Philox4x32-10 with the key ``seed`` and the counter t, and the first token at which the sum of
            probabilities, in the order of the tokens, exceeds it. So every CPU draws the same, in streams and in pools.
        context
            What the model is given once, if it has contexts: see `stream`.
        options
            How tokens are chosen, by keyword, in this order:

            ``repetition_penalty`` (1.0)
                By which the positive scores of tokens in the prompt or the answer are divided, and negative ones
                multiplied.
            ``allowed`` (None)
                Booleans ``(vocabulary_size,)``: which tokens may be chosen; or ``(vocabulary_size, vocabulary_size)``,
                with a row for each token before.
            ``temperature`` (1.0)
                By which scores are divided. At 0 the best token is chosen: of equal ones, as always, the lowest id.
            ``top_k``, ``top_p`` (None)
                Only so many of the best are drawn from; and of these as few as have at least so much of their
                probability together.
            ``stop`` (none)
                A token or several, any of which is the last one to be generated.
            ``prefix`` (none)
                Tokens that are given first, whatever the scores.
            ``inputs``
                What the model reads beside the tokens, the same at every timestep, by name.
            ``output``
                The output with the scores, where several could be it.

        Returns
        -------
        The tokens, int64 ``(n,)``, the caller's own: ``max_tokens`` of them, or up to the first stop token, with it.

        Raises
        ------
        ModelError, StreamingError
            If the model does not generate, or cannot stream.
        InputShapeError, InputTypeError, InputValueError
            If the prompt is empty, a token does not exist, an option makes no sense, or nothing can be chosen.

        Examples
        --------
        >>> import numpy as np
        >>> import grurt
        >>> layers = [
        ...     grurt.Embedding(name="embedding", vocabulary_size=5, size=3),
        ...     grurt.GRU(name="gru", input_size=3, hidden_size=8),
        ...     grurt.Linear(name="fc", input_size=8, output_size=5),
        ... ]
        >>> rng = np.random.default_rng(1)
        >>> weights = {
        ...     f"{layer.name}.{name}": rng.normal(size=shape)
        ...     for layer in layers
        ...     for name, shape in layer.weight_shapes().items()
        ... }
        >>> model = grurt.Model(layers=layers, weights=weights)
        >>> tokens = model.generate([2, 0], 12, temperature=0.8, top_k=3, seed=1)
        >>> tokens.shape, bool(((tokens >= 0) & (tokens < 5)).all())
        ((12,), True)
        """
        stream = self.stream(context=context)
        blocks = [*stream.generate(prompt, max_tokens, seed=seed, block_size=max_tokens, **options)]
        return np.concatenate(blocks)

    def run_text(self, text: str | Sequence[str], *, start: bool = False, end: bool = False) -> Any:
        """Run a text from the model's initial state: as `run`, with the tokens of the whole text.

        Parameters
        ----------
        text
            Taken apart, cut and filled as the vocabulary of the model's only input says: see `grurt.Vocabulary`. Or
            the texts of its tokens, taken apart already.
        start, end
            Whether the tokens of a text's start and end are read, too, where the vocabulary has them.

        Raises
        ------
        ModelError
            If the model has no vocabulary.
        InputValueError
            If something in the text is no token, and the vocabulary has none for that.
        InputShapeError
            If there is nothing in the text.
        """
        return self.run(self.vocabulary.encode(text, start=start, end=end))

    def generate_text(
        self, prompt: str, max_tokens: SupportsIndex, *, seed: SupportsIndex = 0, **options: Unpack[Options]
    ) -> str:
        """Return the text that `generate` gives behind the text of a prompt.

        The prompt is read behind the vocabulary's start, if it has one; only then may there be nothing in it. Tokens of
        padding, start and end are left out of the answer, and the vocabulary's end is a stop token if none is given.
        """
        vocabulary = self.vocabulary
        if "stop" not in options and vocabulary.end is not None:
            options["stop"] = vocabulary.end
        tokens = vocabulary.encode_part(prompt, start=True)
        return vocabulary.decode(self.generate(tokens, max_tokens, seed=seed, **options))

    def verify(self) -> Verification:
        """Replay the reference run that the model's file holds, and compare.

        Raises
        ------
        ModelError
            If the model has no reference run.
        """
        from grurt.runtime.verify import verify

        return verify(self)

    def quantize(
        self,
        weight_format: QuantizedFormat,
        *,
        keep: Collection[str] = (),
        calibration: Data | None = None,
    ) -> Model:
        """Return the model with its weight matrices in fewer bits.

        ``"float16"`` halves the memory, and loses next to nothing. ``"int8"`` quarters it, and makes products of
        integers out of most of the arithmetic. ``"int4"`` is int8 with GRUs half as large again, and loses ten times as
        much. See docs/quantization.md for what they gain and cost.

        Parameters
        ----------
        weight_format
            What the new model's weight matrices are kept in; with int4, those of GRUs, and the others in int8. Biases,
            normalizations and depthwise convolutions stay float32.
        keep
            Names of layers that stay as they are, and of matrices of a `Program`, ``"{layer}.{constant}"``. Two that
            one operator reads, as those of a `grurt.operators.GRU`, stay together.
        calibration
            Inputs like those that the model will get: one sequence ``(n_steps, size)`` or a batch ``(batch, n_steps,
            size)``, without the last axis for tokens; for several inputs a mapping of those by name; or a list of such.
            Integer weights of GRU and Linear layers are rounded so that their products with such inputs come out best.
            And a layer whose inputs differ much in scale, or lie far from zero, gets a BatchNorm before it that maps
            them to [-1, 1]; its weights undo that. Matrices of a `Program` are rounded without it.

        Raises
        ------
        QuantizationError
            If ``keep`` names no layer of the model, the model is quantized already, there is nothing to quantize, a
            weight is beyond the range of float16, or ``calibration`` does not fit the model's inputs.

        Examples
        --------
        >>> import numpy as np
        >>> import grurt
        >>> model = grurt.Model(
        ...     layers=[grurt.GRU(name="gru", input_size=2, hidden_size=4, bias=False)],
        ...     weights={"gru.weight_ih": np.ones((12, 2)), "gru.weight_hh": np.ones((12, 4))},
        ... )
        >>> small = model.quantize("int8")
        >>> small.weights["gru.weight_hh"].dtype, small.weights["gru.weight_hh_scale"].shape
        (dtype('int8'), (12,))
        """
        from grurt.quantization import quantize

        return quantize(self, weight_format, keep=keep, calibration=calibration)

    def save(self, path: str | Path) -> None:
        """Write the model to one ``.grurt`` file, atomically: the path holds the old file or the new one, never half.

        Raises
        ------
        OSError
            If the file cannot be written; an older file at the path is untouched then.
        """
        from grurt.container.writing import save

        save(self, path)


@functools.cache
def _quick_ways() -> dict[type, Callable[[Model, Any], Any]]:
    """Return what runs short sequences, by the type of the input.

    Imported once: an import statement at every call takes half a microsecond.
    """
    from grurt.runtime.feeds import run_feed
    from grurt.runtime.windows import run_window

    return {np.ndarray: run_window, dict: run_feed}


def _of_bytes(cls: type[Model], content: bytes, limits: Limits) -> Model:
    from grurt.container.reading import decode

    return cls.from_network(decode(content, limits))
