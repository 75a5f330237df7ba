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
from grurt.file import load
from grurt.functions import (
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
from grurt.layers import (
    GRU,
    Activation,
    Add,
    BatchNorm,
    Concat,
    Conv1d,
    Embedding,
    FeatureMask,
    FirstStep,
    Flatten,
    Input,
    LastStep,
    LayerNorm,
    Linear,
    Mul,
    Output,
    PRelu,
    Slice,
    TokenInput,
    TokenMask,
    Unflatten,
)
from grurt.model import Model, Source
from grurt.reference_run import ReferenceRun
from grurt.signature import LengthsPort, Signature, StatePort, ValuePort

if TYPE_CHECKING:
    from grurt.pool import StreamPool
    from grurt.stream import Stream
    from grurt.verify import Verification

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "Activation",
    "Add",
    "Affine",
    "BatchNorm",
    "Clip",
    "Concat",
    "ConcurrentUseError",
    "Conv1d",
    "ConversionError",
    "DescriptionError",
    "Elu",
    "Embedding",
    "EngineError",
    "FeatureMask",
    "FirstStep",
    "Flatten",
    "Gelu",
    "GrurtError",
    "HardSigmoid",
    "Input",
    "InputShapeError",
    "InputTypeError",
    "InputValueError",
    "LastStep",
    "LayerNorm",
    "LeakyRelu",
    "LengthsPort",
    "Linear",
    "LogSoftmax",
    "Model",
    "ModelError",
    "ModelFileError",
    "Mul",
    "Output",
    "PRelu",
    "QuantizationError",
    "ReferenceRun",
    "Relu",
    "ScaledTanh",
    "Sigmoid",
    "Signature",
    "Slice",
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
    "TokenMask",
    "Unflatten",
    "UnsupportedError",
    "ValuePort",
    "Verification",
    "__version__",
    "load",
]

_ENGINE = {"Stream": "grurt.stream", "StreamPool": "grurt.pool", "Verification": "grurt.verify"}


def __getattr__(name: str) -> object:
    """Import what needs the engine, and so numba, when it is first asked for: converters do without."""
    if name in _ENGINE:
        from importlib import import_module

        return getattr(import_module(_ENGINE[name]), name)
    raise AttributeError(f"module 'grurt' has no attribute {name!r}")
