"""What streams and pools offer of decoding. What does the work is imported when it is first needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike, NDArray

    from grurt.array_types import Floats
    from grurt.network.network import Network
    from grurt.runtime.binding import Inputs, Outputs
    from grurt.runtime.context import Context
    from grurt.runtime.decoding.generators import Options
    from grurt.runtime.pool_calls import Calls
    from grurt.runtime.pool_ids import Ids
    from grurt.runtime.pool_slots import Slots


class DecodingStream:
    """The methods of `grurt.Stream` by which it reads what it answers."""

    _network: Network
    _context: Context
    _whole: Floats

    def run(self, xs: Inputs, out: Floats | None = None) -> Outputs:
        """Advance by a block of timesteps."""
        raise NotImplementedError

    def generate(
        self,
        prompt: ArrayLike,
        max_tokens: SupportsIndex,
        *,
        seed: SupportsIndex = 0,
        block_size: SupportsIndex = 16,
        **options: Unpack[Options],
    ) -> Iterator[NDArray[np.int64]]:
        """Read a prompt, and generate the tokens behind it, block by block.

        The prompt is read at once. Then each block runs in one call without Python. The stream has read all tokens but
        the last one when it is over: to go on, give that as the next prompt. Before that, do not advance it otherwise.

        Parameters
        ----------
        prompt
            Token ids ``(n,)``, at least one, that go on where the stream is.
        max_tokens
            The most tokens to generate.
        seed
            What is drawn at a timestep depends on it and on the number of that timestep, and on nothing else.
        block_size
            The most tokens of a block.
        options
            How tokens are chosen: see `grurt.Model.generate`.

        Returns
        -------
        An iterator over the blocks, int64 ``(n,)``, the caller's own. A stop token is the last of the last block.

        Raises
        ------
        ModelError
            If the model has no input of tokens, or of one-hot vectors, and a score for each of them.
        InputShapeError, InputTypeError, InputValueError
            If the prompt is empty, a token does not exist, or an option makes no sense; or, by the iterator, if nothing
            can be chosen. The state is then what it was before the call, or before that block.
        ConcurrentUseError
            By the iterator, if the stream was advanced between two blocks.

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
        >>> blocks = [*model.stream().generate([2, 0], 10, seed=3, block_size=4)]
        >>> [len(block) for block in blocks]
        [4, 4, 2]
        >>> bool((np.concatenate(blocks) == model.generate([2, 0], 10, seed=3)).all())
        True
        """
        from grurt.runtime.decoding.generators import generate_of_stream

        states = (self._saved, self._restore_saved)
        return generate_of_stream(
            "Stream.generate",
            self._network,
            self._context,
            self.run,
            states,
            prompt,
            max_tokens,
            seed,
            block_size,
            **options,
        )

    def forecast(
        self,
        n_steps: SupportsIndex,
        x: Inputs,
        *,
        feedback: Mapping[str, str] | None = None,
        future: Mapping[str, ArrayLike] | None = None,
    ) -> Outputs:
        """Answer to an input, to that answer, and so on, from where the stream is; its state does not change.

        Parameters
        ----------
        n_steps
            How many answers.
        x
            What the first of them answers to: the newest value, which the stream has not read yet; or, where it has,
            its answer to that, which the stream does not keep. Of several inputs, a mapping with those that are fed
            back.
        feedback
            Which output each input reads from the second timestep on, by their names. By default the model's only
            input reads its only output.
        future
            The other inputs, known beforehand, ``(n_steps, size)``, by their names.

        Returns
        -------
        The answers ``(n_steps, output_size)``, as `run` gives them.

        Raises
        ------
        ModelError
            If an output does not fit the input that is to read it.
        InputShapeError, InputTypeError, InputValueError
            If an input does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> import grurt
        >>> layers = [
        ...     grurt.GRU(name="gru", input_size=1, hidden_size=4),
        ...     grurt.Linear(name="fc", input_size=4, output_size=1),
        ... ]
        >>> rng = np.random.default_rng(1)
        >>> weights = {
        ...     f"{layer.name}.{name}": rng.normal(size=shape)
        ...     for layer in layers
        ...     for name, shape in layer.weight_shapes().items()
        ... }
        >>> stream = grurt.Model(layers=layers, weights=weights).stream()
        >>> history = np.sin(np.arange(50, dtype=np.float32))[:, np.newaxis]
        >>> answers = stream.run(history[:-1])
        >>> ys = stream.forecast(24, history[-1])
        >>> ys.shape, stream.steps
        ((24, 1), 49)
        >>> first = stream.step(history[-1])
        >>> bool((first == ys[0]).all() and (stream.step(first) == ys[1]).all())
        True
        """
        from grurt.runtime.decoding.forecasts import forecast_of_stream

        states = (self._saved, self._restore_saved)
        return forecast_of_stream("Stream.forecast", self._network, self._context, states, n_steps, x, feedback, future)

    def _saved(self) -> Floats:
        """Return a copy of the state, its number of timesteps in front."""
        return self._context.exclusively(self._whole.copy)

    def _restore_saved(self, saved: Floats) -> None:
        self._context.exclusively(self._whole.__setitem__, ..., saved)


class DecodingPool:
    """The methods of `grurt.StreamPool` by which its streams read what they answer."""

    _network: Network
    _front: Context
    _slots: Slots
    _calls: Calls
    _are_named: bool

    def generate(
        self,
        ids: Ids,
        prompts: Any,
        max_tokens: SupportsIndex,
        *,
        seed: SupportsIndex | ArrayLike = 0,
        **options: Unpack[Options],
    ) -> list[NDArray[np.int64]]:
        """Read a prompt in each of some streams, and generate the tokens behind it, all in one call without Python.

        Those that have ended leave, so that the others do not wait for them. What a stream gives is what a single one
        would, with the same seed. The threads of the pool have a share of the streams each, of at least four.

        Parameters
        ----------
        ids
            Which streams, as in `step`, each once.
        prompts
            For each of them token ids, at least one.
        max_tokens
            The most tokens that a stream gives.
        seed
            One for each stream; or one number: the streams have that and the following ones.
        options
            How tokens are chosen: see `grurt.Model.generate`. ``prefix`` may be one for each stream, and ``inputs``
            ``(n_streams, size)``.

        Returns
        -------
        For each stream its tokens, int64 ``(n,)``, the caller's own.

        Raises
        ------
        ModelError, InputShapeError, InputTypeError, InputValueError
            As `Stream.generate`. All states are then what they were before.
        StreamIdError
            If there is no such stream, or it is named twice.
        """
        from grurt.runtime.decoding.generators import generate_of_pool
        from grurt.runtime.pool_ids import taken

        where = "StreamPool.generate"
        given = taken(where, ids, are_names=self._are_named)

        def claim(run: Any) -> None:
            self._front.exclusively(self._run_with_slots, where, given, run, False)

        return generate_of_pool(
            where, self._network, self._calls, claim, prompts, len(given), max_tokens, seed, **options
        )

    def forecast(
        self,
        ids: Ids,
        n_steps: SupportsIndex,
        xs: Inputs,
        *,
        feedback: Mapping[str, str] | None = None,
        future: Mapping[str, ArrayLike] | None = None,
    ) -> Outputs:
        """Answer to an input of each of some streams, to those answers, and so on; no state changes.

        Parameters
        ----------
        ids
            Which streams, as in `step`, each once.
        n_steps
            How many answers of each.
        xs
            What the first of them answer to, ``(n_streams, input_size)``; of several inputs, a mapping with those that
            are fed back.
        feedback, future
            As in `Stream.forecast`; inputs that are known beforehand are ``(n_streams, n_steps, size)``.

        Returns
        -------
        The answers ``(n_streams, n_steps, output_size)``, as `run` gives them.

        Raises
        ------
        ModelError, InputShapeError, InputTypeError, InputValueError
            As `Stream.forecast`.
        StreamIdError
            If there is no such stream, or it is named twice.
        """
        from grurt.runtime.decoding.forecasts import forecast_of_pool
        from grurt.runtime.pool_ids import taken

        where = "StreamPool.forecast"
        given = taken(where, ids, are_names=self._are_named)

        def claim(run: Any) -> None:
            self._front.exclusively(self._run_with_slots, where, given, run, True)

        return forecast_of_pool(where, self._network, self._front, claim, len(given), n_steps, xs, feedback, future)

    def _run_with_slots(self, where: str, ids: Any, run: Any, restores: bool) -> None:
        """Run with the slots of some streams, whose states are what they were if that is wanted, or it fails."""
        self._calls.settle()
        slots = self._slots.targets(where, ids)
        states = self._slots.states
        steps, buffer = states.steps[slots], states.buffer[slots]
        try:
            run(slots.copy())
        except BaseException:
            restores = True
            raise
        finally:
            if restores:
                states.steps[slots], states.buffer[slots] = steps, buffer
