"""grurt runs trained GRU networks on a CPU, one timestep at a time, with the state kept inside."""

from typing import TYPE_CHECKING

from grurt.version import VERSION

if TYPE_CHECKING:
    from grurt import errors as errors
    from grurt.errors import *
    from grurt.loading import load as load
    from grurt.model import Model as Model
    from grurt.network import functions as functions
    from grurt.network import layers as layers
    from grurt.network import operators as operators
    from grurt.network.costs import Limits as Limits
    from grurt.network.functions import *
    from grurt.network.inputs import Input as Input
    from grurt.network.inputs import Output as Output
    from grurt.network.inputs import TokenInput as TokenInput
    from grurt.network.layers import *
    from grurt.network.layers.program import ProgramContext as ProgramContext
    from grurt.network.layers.program import ProgramState as ProgramState
    from grurt.network.network import Network as Network
    from grurt.network.network import Source as Source
    from grurt.network.reference_run import ReferenceRun as ReferenceRun
    from grurt.network.signature import LengthsPort as LengthsPort
    from grurt.network.signature import Signature as Signature
    from grurt.network.signature import StatePort as StatePort
    from grurt.network.signature import ValuePort as ValuePort
    from grurt.network.vocabulary import Vocabulary as Vocabulary
    from grurt.runtime.pool import StreamPool as StreamPool
    from grurt.runtime.stream import Stream as Stream
    from grurt.runtime.stream_context import StreamContext as StreamContext
    from grurt.runtime.verify import Verification as Verification
    from grurt.session import InferenceSession as InferenceSession
    from grurt.translation import Translation as Translation
    from grurt.translation import Translator as Translator

__version__ = VERSION

if not TYPE_CHECKING:  # for whom star imports, and those with `as`, are exports
    _PLACES = {
        "InferenceSession": "session",
        "Input": "network.inputs",
        "LengthsPort": "network.signature",
        "Limits": "network.costs",
        "Model": "model",
        "Network": "network.network",
        "Output": "network.inputs",
        "ProgramContext": "network.layers.program",
        "ProgramState": "network.layers.program",
        "ReferenceRun": "network.reference_run",
        "Signature": "network.signature",
        "Source": "network.network",
        "StatePort": "network.signature",
        "Stream": "runtime.stream",
        "StreamContext": "runtime.stream_context",
        "StreamPool": "runtime.pool",
        "TokenInput": "network.inputs",
        "Translation": "translation",
        "Translator": "translation",
        "ValuePort": "network.signature",
        "Verification": "runtime.verify",
        "Vocabulary": "network.vocabulary",
        "load": "loading",
    }
    """Where the public names are, beside those of the modules below, all of whose names are public."""

    _MODULES = {"errors": "errors", "functions": "network.functions", "layers": "network.layers"}
    """Modules that are public, as are all their names."""

    _OPERATORS = "operators"
    """A module that is public, whose names are not: a `Conv` is not a layer."""

    def __getattr__(name: str) -> object:
        """Import what a name stands for when it is first asked for: who imports grurt waits for nothing."""
        found = _found(name)
        if not name.startswith("__"):
            globals()[name] = found
        return found

    def _found(name: str) -> object:
        from importlib import import_module

        if name == "__all__":
            names = (each for place in _MODULES.values() for each in import_module(f"grurt.{place}").__all__)
            return sorted([*names, *_PLACES, "__version__"])
        if name in _MODULES:
            return import_module(f"grurt.{_MODULES[name]}")
        if name == _OPERATORS:
            return import_module(f"grurt.network.{name}")
        if name in _PLACES:
            return getattr(import_module(f"grurt.{_PLACES[name]}"), name)
        if name[:1].isupper():
            for place in _MODULES.values():
                module = import_module(f"grurt.{place}")
                if name in module.__all__:
                    return getattr(module, name)
        raise AttributeError(f"module 'grurt' has no attribute {name!r}")

    def __dir__() -> list[str]:
        special = (name for name in globals() if name.startswith("__"))
        return sorted({*special, *__getattr__("__all__"), *_MODULES, _OPERATORS})
