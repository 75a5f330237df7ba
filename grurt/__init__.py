"""grurt runs trained GRU networks on a CPU, one timestep at a time, with the state kept inside."""

from typing import TYPE_CHECKING

from grurt.errors import (
    ConcurrentUseError,
    ConversionError,
    DescriptionError,
    EngineError,
    GrurtError,
    InputShapeError,
    InputTypeError,
    InputValueError,
    ModelError,
    ModelFileError,
    QuantizationError,
    SnapshotError,
    StreamIdError,
    StreamingError,
    UnsupportedError,
)
from grurt.loading import load
from grurt.model import Model
from grurt.network import layers
from grurt.network.functions import (
    Affine,
    Clip,
    Elu,
    Gelu,
    HardSigmoid,
    LeakyRelu,
    LogSoftmax,
    Relu,
    ScaledTanh,
    Sigmoid,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    ThresholdedRelu,
)
from grurt.network.inputs import Input, Output, TokenInput
from grurt.network.layers import *
from grurt.network.network import Network, Source
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import LengthsPort, Signature, StatePort, ValuePort
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.runtime.pool import StreamPool
    from grurt.runtime.stream import Stream
    from grurt.runtime.verify import Verification

__version__ = VERSION

__all__ = [
    "Affine",
    "Clip",
    "ConcurrentUseError",
    "ConversionError",
    "DescriptionError",
    "Elu",
    "EngineError",
    "Gelu",
    "GrurtError",
    "HardSigmoid",
    "Input",
    "InputShapeError",
    "InputTypeError",
    "InputValueError",
    "LeakyRelu",
    "LengthsPort",
    "LogSoftmax",
    "Model",
    "ModelError",
    "ModelFileError",
    "Network",
    "Output",
    "QuantizationError",
    "ReferenceRun",
    "Relu",
    "ScaledTanh",
    "Sigmoid",
    "Signature",
    "SnapshotError",
    "Softmax",
    "Softplus",
    "Softsign",
    "Source",
    "StatePort",
    "Stream",
    "StreamIdError",
    "StreamPool",
    "StreamingError",
    "Tanh",
    "ThresholdedRelu",
    "TokenInput",
    "UnsupportedError",
    "ValuePort",
    "Verification",
    "__version__",
    "load",
]
__all__ += layers.__all__

_ENGINE = {"Stream": "grurt.runtime.stream", "StreamPool": "grurt.runtime.pool", "Verification": "grurt.runtime.verify"}


def __getattr__(name: str) -> object:
    """Import what needs the engine, and so numba, when it is first asked for: converters do without."""
    if name in _ENGINE:
        from importlib import import_module

        return getattr(import_module(_ENGINE[name]), name)
    raise AttributeError(f"module 'grurt' has no attribute {name!r}")
