"""What onnxruntime's programs ask of a session beside its model: taken where it means something, else refused."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from grurt.errors import EngineError, InputTypeError, InputValueError
from grurt.escaping import described, listed

CPU = "CPUExecutionProvider"

Provider = str | tuple[str, Mapping[Any, Any]]

_HINTS = frozenset(
    {
        "enable_cpu_mem_arena",
        "enable_mem_pattern",
        "enable_mem_reuse",
        "execution_order",
        "graph_optimization_level",
        "log_severity_level",
        "log_verbosity_level",
        "logid",
        "only_execute_path_to_fetches",
        "profile_file_prefix",
        "use_deterministic_compute",
        "use_per_session_threads",
    }
)
"""What changes no answer, and nothing that grurt does: it has one way, quick and deterministic."""

_ASKS: Mapping[str, tuple[int | str, ...]] = {
    "enable_profiling": (0,),
    "execution_mode": (0,),
    "inter_op_num_threads": (0, 1),
    "optimized_model_filepath": ("",),
    "terminate": (0,),
}
"""What asks for something that grurt does not do, and the values that do not ask for it."""

_ADVICE = {
    "enable_profiling": "there is no profile of operators; time the calls of run",
    "execution_mode": "layers run one after the other; leave it ORT_SEQUENTIAL",
    "inter_op_num_threads": "layers run one after the other; leave it 0 or 1",
    "optimized_model_filepath": "convert the file once, with grurt.converters.convert, and keep it with Model.save",
    "terminate": "a run cannot be ended from outside",
}


def check_session_options(options: object) -> None:
    """Raise unless the attributes of some SessionOptions are ones that mean something here, or ask for nothing.

    Any object will do that has the attributes of ``onnxruntime.SessionOptions``, or some of them: onnxruntime itself is
    not imported.
    """
    _check("sess_options", options)
    threads = getattr(options, "intra_op_num_threads", 0)
    if not isinstance(threads, int) or threads < 0:
        raise InputValueError(
            f"InferenceSession: sess_options: expected intra_op_num_threads of 0 or more, got {described(threads)}"
        )
    has_providers = getattr(options, "has_providers", None)
    if callable(has_providers) and has_providers():
        raise EngineError(
            "InferenceSession: sess_options: expected no providers of its own: give the argument providers"
        )


def check_run_options(options: object) -> None:
    """Raise unless the attributes of some RunOptions are ones that mean something here, or ask for nothing."""
    _check("run_options", options)


def _check(where: str, options: object) -> None:
    known = {*_HINTS, *_ASKS, "intra_op_num_threads"}
    if unknown := [name for name in getattr(options, "__dict__", {}) if name not in known]:
        raise InputValueError(
            f"InferenceSession: {where}: expected options of onnxruntime among {sorted(known)}, "
            f"got {listed(map(described, unknown))}"
        )
    for name, harmless in _ASKS.items():
        value = getattr(options, name, harmless[0])
        if (value if isinstance(value, str) else _number(where, name, value)) not in harmless:
            raise InputValueError(
                f"InferenceSession: {where}: expected {name} among {list(harmless)}, got {described(value)}: "
                f"{_ADVICE[name]}"
            )


def _number(where: str, name: str, value: object) -> int:
    """Return a number, a truth value, or a member of an enumeration of onnxruntime, as an integer."""
    try:
        return operator.index(value.value if hasattr(value, "value") else value)  # type: ignore[arg-type]
    except TypeError:
        raise InputTypeError(
            f"InferenceSession: {where}: expected {name} to be a number, got {described(value)}"
        ) from None


def check_providers(providers: Sequence[Provider] | None, provider_options: Sequence[Mapping[Any, Any]] | None) -> None:
    """Raise unless the CPU is among the providers that may be used, in onnxruntime's ways to name them."""
    if providers is None or len(providers) == 0:
        return
    if isinstance(providers, str):
        raise InputTypeError(f"InferenceSession: providers: expected a list of names, got {described(providers)}")
    names = [entry[0] if isinstance(entry, tuple) and entry else entry for entry in providers]
    if wrong := [entry for entry in names if not isinstance(entry, str)]:
        raise InputTypeError(
            f"InferenceSession: providers: expected names, or tuples of a name and options, "
            f"got {listed(map(described, wrong))}"
        )
    if provider_options is not None and len(provider_options) != len(names):
        raise InputValueError(
            f"InferenceSession: provider_options: expected {len(names)}, one for each provider, "
            f"got {len(provider_options)}"
        )
    if CPU not in names:
        raise EngineError(
            f"InferenceSession: providers: grurt runs on CPUs only: expected {CPU!r} in the list, "
            f"got {listed(map(described, names))}"
        )
