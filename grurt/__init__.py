"""grurt runs trained GRU networks on a CPU, one timestep at a time, with the state kept inside."""

from typing import TYPE_CHECKING

from grurt import errors
from grurt.errors import *
from grurt.loading import load as load
from grurt.model import Model as Model
from grurt.network import functions, layers
from grurt.network.costs import Limits as Limits
from grurt.network.functions import *
from grurt.network.inputs import Input as Input
from grurt.network.inputs import Output as Output
from grurt.network.inputs import TokenInput as TokenInput
from grurt.network.layers import *
from grurt.network.network import Network as Network
from grurt.network.network import Source as Source
from grurt.network.reference_run import ReferenceRun as ReferenceRun
from grurt.network.signature import LengthsPort as LengthsPort
from grurt.network.signature import Signature as Signature
from grurt.network.signature import StatePort as StatePort
from grurt.network.signature import ValuePort as ValuePort
from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt.runtime.pool import StreamPool as StreamPool
    from grurt.runtime.stream import Stream as Stream
    from grurt.runtime.verify import Verification as Verification
    from grurt.session import InferenceSession as InferenceSession

__version__ = VERSION

if not TYPE_CHECKING:  # for whom star imports, and those with `as`, are exports
    __all__ = sorted(
        [
            *errors.__all__,
            *functions.__all__,
            *layers.__all__,
            "InferenceSession",
            "Input",
            "LengthsPort",
            "Limits",
            "Model",
            "Network",
            "Output",
            "ReferenceRun",
            "Signature",
            "Source",
            "StatePort",
            "Stream",
            "StreamPool",
            "TokenInput",
            "ValuePort",
            "Verification",
            "__version__",
            "load",
        ]
    )

    _LATER = {
        "InferenceSession": "session",
        "Stream": "runtime.stream",
        "StreamPool": "runtime.pool",
        "Verification": "runtime.verify",
    }

    def __getattr__(name: str) -> object:
        """Import what needs the engine, and so numba, or converters, when it is first asked for."""
        if name in _LATER:
            from importlib import import_module

            return getattr(import_module(f"grurt.{_LATER[name]}"), name)
        raise AttributeError(f"module 'grurt' has no attribute {name!r}")
