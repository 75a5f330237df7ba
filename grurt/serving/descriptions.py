"""What the Open Inference Protocol tells of the service and its models, in the form of JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from grurt.serving import inference_protocol as protocol
from grurt.serving import whole_requests
from grurt.serving.whole import WholeModel
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.serving.layout import Port
    from grurt.serving.limits import Limits
    from grurt.serving.service import Service
    from grurt.serving.sessions import Sessions
    from grurt.session.ports import NodeArg


def server() -> dict[str, Any]:
    """Return what kind of service it is."""
    return {"name": "grurt", "version": VERSION, "extensions": list(protocol.EXTENSIONS)}


def model(served: Sessions | WholeModel) -> dict[str, Any]:
    """Return the inputs and outputs of a model."""
    inputs, outputs = _tensors(served, protocol.tensor_metadata, whole_requests.tensor_metadata)
    return {
        "name": served.name,
        "versions": [str(served.version)],
        "platform": "grurt",
        "inputs": inputs,
        "outputs": outputs,
    }


def configuration(served: Sessions | WholeModel, limits: Limits) -> dict[str, Any]:
    """Return the configuration of a model, as far as Triton's has a word for it."""
    inputs, outputs = _tensors(served, protocol.tensor_configuration, whole_requests.tensor_configuration)
    found = {
        "name": served.name,
        "platform": "grurt",
        "backend": "grurt",
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "parameters": {"fingerprint": {"string_value": served.model.fingerprint.hex()}},
    }
    if not isinstance(served, WholeModel):
        found["sequence_batching"] = {"max_sequence_idle_microseconds": int(1e6 * limits.idle)}
    return found


def _tensors(
    served: Sessions | WholeModel, of_frames: Callable[[Port], Any], of_sequences: Callable[[NodeArg], Any]
) -> tuple[list[Any], list[Any]]:
    """Return what is said of the inputs and outputs of a model."""
    if isinstance(served, WholeModel):
        session = served.session
        return [*map(of_sequences, session.get_inputs())], [*map(of_sequences, session.get_outputs())]
    return [*map(of_frames, served.layout.inputs)], [*map(of_frames, served.layout.outputs)]


def index(service: Service) -> list[dict[str, str]]:
    """Return the models that there are."""
    return [
        {"name": served.name, "version": str(served.version), "state": "READY", "reason": ""}
        for served in service.all_served
    ]


def statistics(models: Iterable[Sessions | WholeModel]) -> dict[str, Any]:
    """Return how much models have done."""
    return {"model_stats": [_statistics(served) for served in models]}


def _statistics(served: Sessions | WholeModel) -> dict[str, Any]:
    if isinstance(served, WholeModel):
        n_inferences = n_calls = served.counts.requests
        seconds = served.counts.seconds
    else:
        counts = served.turns.counts
        n_inferences, n_calls, seconds = counts.samples, counts.calls, counts.call_seconds
    return {
        "name": served.name,
        "version": str(served.version),
        "inference_count": n_inferences,
        "execution_count": n_calls,
        "inference_stats": {"compute_infer": {"count": n_calls, "ns": int(1e9 * seconds)}},
    }
