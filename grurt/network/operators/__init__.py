"""The operators of step programs, as data: see `grurt.Program`.

Each is a pure function of arrays of fixed shapes, and named as in ONNX where ONNX has it; what ONNX says of optional
inputs, negative axes and several dtypes has been worked out before: numbers are float32, axes counted from 0. Truth
values are 0 and 1.
"""

from types import ModuleType
from typing import TYPE_CHECKING, Union

from grurt.network.operators.base import Operator as Operator
from grurt.network.operators.elementwise import *
from grurt.network.operators.movement import *
from grurt.network.operators.products import *
from grurt.network.operators.recurrent import *
from grurt.network.operators.reductions import *

if TYPE_CHECKING:  # star imports are exports, and any kind of operator is one
    AnyOperator = Operator
else:
    # The files that are imported above are attributes of this package.
    _FILES = [value for value in vars().values() if isinstance(value, ModuleType)]
    __all__ = sorted(name for file in _FILES for name in getattr(file, "__all__", ()))
    AnyOperator = Union[tuple(globals()[name] for name in __all__)]  # noqa: UP007 - of a number that is not known here
