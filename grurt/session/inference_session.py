"""The session: what a program of onnxruntime's changes one line for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from grurt.errors import EngineError, GrurtError, InputTypeError, InputValueError
from grurt.escaping import described
from grurt.loading import get_ready
from grurt.runtime.context import Nonfinite, refuses
from grurt.runtime.feeds import Feeds, feeds_for
from grurt.runtime.sequences import run_mapping
from grurt.session.feeding import WHERE, checked_feed
from grurt.session.opening import ModelSource, opened
from grurt.session.options import CPU, Provider, check_providers, check_run_options, check_session_options
from grurt.session.ports import ModelMetadata, NodeArg, Ports

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from grurt.array_types import Array
    from grurt.model import Model


class InferenceSession:
    """A model behind the interface of ``onnxruntime.InferenceSession``: stateless, by the source's names.

    A program that feeds the states of its network back by itself changes one line, the one that makes the session.
    Threads may share a session.

    Parameters
    ----------
    path_or_bytes
        An ONNX or ``.grurt`` file, the bytes of one, or a `grurt.Model`. Weights in files beside an ONNX file are
        found. Nothing is run while a file is read: ``grurt.converters.convert`` also compares with onnxruntime.
    sess_options
        An object with attributes of ``onnxruntime.SessionOptions``. Those that change no answer are accepted:
        ``graph_optimization_level``, logging, memory, ``intra_op_num_threads`` as a bound, of which one thread is used.
        Those that ask for what there is not are refused: profiling, an optimized model, layers side by side.
    providers
        Names, or tuples of a name and options. ``"CPUExecutionProvider"`` is to be among them; no others are used.
    provider_options
        Options for each provider; those of the CPU's change nothing.
    nonfinite
        What a NaN or an infinity in an input does: ``"refuse"`` raises InputValueError, ``"propagate"`` computes with
        it. (onnxruntime's GRU computes with infinities, and passes over a NaN without a word.)

    Raises
    ------
    ConversionError, UnsupportedError
        If the file is damaged, is none of a model, or holds something that grurt does not implement, such as an LSTM.
    ModelFileError
        If a ``.grurt`` file is damaged.
    EngineError
        If providers are given, and the CPU is not among them.
    InputTypeError, InputValueError
        If an argument is of another type, or an option asks for what there is not.

    Examples
    --------
    >>> import numpy as np
    >>> import grurt
    >>> session = grurt.InferenceSession("tests/data/onnx/a_h0_tf.ts.da.op18.onnx")
    >>> [(port.name, port.shape, port.type) for port in session.get_inputs()]
    [('x', ['time', 'batch', 4], 'tensor(float)'), ('h0', [1, 'batch', 8], 'tensor(float)')]
    >>> h = np.zeros((1, 1, 8), np.float32)
    >>> for x in np.ones((3, 1, 1, 4), np.float32):
    ...     y, h = session.run(["y", "hn"], {"x": x, "h0": h})
    >>> y.shape, bool((y == h).all())
    ((1, 1, 8), True)
    """

    def __init__(
        self,
        path_or_bytes: ModelSource,
        sess_options: object = None,
        providers: Sequence[Provider] | None = None,
        provider_options: Sequence[Mapping[Any, Any]] | None = None,
        *,
        nonfinite: Nonfinite = "refuse",
    ) -> None:
        refuse = refuses(nonfinite)
        if sess_options is not None:
            check_session_options(sess_options)
        check_providers(providers, provider_options)
        self._model, declarations, self._metadata = opened(path_or_bytes)
        get_ready(self._model)
        self._nonfinite = nonfinite
        self._ports = Ports(self._model, declarations)
        self._names = [port.name for port in self._ports.outputs]
        self._places = {name: place for place, name in enumerate(self._names)}
        self._feeds = _feeds(self._model, self._ports, refuse)

    def __repr__(self) -> str:
        return f"<grurt.InferenceSession of {self._model!r}>"

    @property
    def model(self) -> Model:
        """The model that the session runs: with it, a stream keeps the states, at a fraction of the cost."""
        return self._model

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, ArrayLike], run_options: object = None
    ) -> list[Array]:
        """Return the outputs for some inputs. The session keeps nothing of a call.

        Parameters
        ----------
        output_names
            Which outputs, in which order; None or an empty list stands for all, in the source's order.
        input_feed
            All inputs by name, in the dtypes and shapes that `get_inputs` gives; states among them. Lists of numbers
            are converted, arrays of other dtypes are not.
        run_options
            An object with attributes of ``onnxruntime.RunOptions``: those that log are accepted.

        Returns
        -------
        Arrays in the source's shapes and dtypes, new, and the caller's own.

        Raises
        ------
        InputShapeError
            If an input is missing, unknown, or of another shape.
        InputTypeError
            If an input is of another dtype, or an argument of another type.
        InputValueError
            If there is no such output; or an input holds a NaN, an infinity, or a token that does not exist.
        """
        if run_options is not None:
            check_run_options(run_options)
        answers: Sequence[Array] | None = None
        if self._feeds is not None and type(input_feed) is dict:
            answers = self._feeds.answers(input_feed)
        if answers is None:
            answers = self._run_any(input_feed)
        return list(answers) if output_names is None else self._picked(output_names, answers)

    def _run_any(self, feed: Mapping[str, ArrayLike]) -> list[Array]:
        """Return all outputs for a feed of any shape, or raise what is wrong with it."""
        taken = checked_feed(self._ports, self._model.signature, feed)
        try:
            answers = run_mapping(self._model, taken, lengths=None, nonfinite=self._nonfinite)
        except GrurtError as error:
            message = str(error)
            if not message.startswith("Model.run"):
                raise
            raise error.reworded(f"{WHERE}{message.removeprefix('Model.run')}") from None
        return list(answers.values())

    def _picked(self, names: Sequence[str], answers: Sequence[Array]) -> list[Array]:
        """Return the outputs of some names; one that is asked for twice is there twice."""
        if type(names) is list and (not names or names == self._names):
            return list(answers)
        if isinstance(names, str) or not isinstance(names, Sequence):
            raise InputTypeError(f"{WHERE}: expected a list of names of outputs, got {described(names)}")
        picked: set[str] = set()
        found = []
        for name in names:
            if not isinstance(name, str) or name not in self._places:
                raise InputValueError(f"{WHERE}: expected outputs among {self._names}, got {described(name)}")
            answer = answers[self._places[name]]
            found.append(answer.copy() if name in picked else answer)
            picked.add(name)
        return found

    def get_inputs(self) -> list[NodeArg]:
        """Return the inputs, in the source's order."""
        return list(self._ports.inputs)

    def get_outputs(self) -> list[NodeArg]:
        """Return the outputs, in the source's order."""
        return list(self._ports.outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Return the inputs that the file has values for, and that may be given others: none."""
        return []

    def get_modelmeta(self) -> ModelMetadata:
        """Return what the file says of itself."""
        return self._metadata

    def get_providers(self) -> list[str]:
        """Return ``["CPUExecutionProvider"]``."""
        return [CPU]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Return the options of the provider: none."""
        return {CPU: {}}

    def io_binding(self) -> NoReturn:
        """Raise EngineError: there is nothing to bind."""
        raise _no_values_of_its_own("io_binding")

    def run_with_iobinding(self, *_: object) -> NoReturn:
        """Raise EngineError: there is nothing to bind."""
        raise _no_values_of_its_own("run_with_iobinding")

    def run_with_ort_values(self, *_: object) -> NoReturn:
        """Raise EngineError: there are no OrtValues."""
        raise _no_values_of_its_own("run_with_ort_values")

    def end_profiling(self) -> NoReturn:
        """Raise EngineError: nothing is profiled."""
        raise EngineError("InferenceSession.end_profiling: no operator is timed by itself; time the calls of run")


def _no_values_of_its_own(method: str) -> EngineError:
    return EngineError(
        f"InferenceSession.{method}: inputs and outputs are NumPy arrays in the CPU's memory: call run; or write to "
        "fixed memory with a stream of grurt.Model, whose inputs and outputs are arrays"
    )


def _feeds(model: Model, ports: Ports, refuse: bool) -> Feeds | None:
    """Return what answers short sequences at once; None where their tensors are not those that the source declares."""
    is_fed = [port.dtype for port in model.signature.inputs] == ports.dtypes
    return feeds_for(model, admits=ports.admit, refuses_nonfinite=refuse) if is_fed else None
