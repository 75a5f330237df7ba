"""Element-wise operators as steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grurt.kernels import codes
from grurt.lowering.functions import BINARY, function_code
from grurt.lowering.programs.base import Lowering

if TYPE_CHECKING:
    from grurt.network import operators as op

_COMBINE = {
    "add": codes.MAP_ADD,
    "mul": codes.MAP_MUL,
    **{name: codes.MAP_BINARY + code for name, code in BINARY.items()},
}


class Elementwise(Lowering):
    """Lowers what is computed of one number after the other."""

    def apply(self, operator: op.Apply) -> None:
        code, *parameters = function_code(operator.function)
        self._elementwise(operator, code, (parameters[0], parameters[1]))

    def combine(self, operator: op.Combine) -> None:
        self._elementwise(operator, _COMBINE[operator.operation])

    def where(self, operator: op.Where) -> None:
        self._elementwise(operator, codes.MAP_WHERE)

    def p_relu(self, operator: op.PRelu) -> None:
        self._elementwise(operator, codes.MAP_PRELU)

    def _elementwise(self, operator: op.Operator, code: int, parameters: tuple[float, float] = (0.0, 0.0)) -> None:
        (name,) = operator.outputs
        inputs = [self.values[each] for each in operator.inputs]
        shape = self.values.shapes[name]
        like = next((x for x in inputs if x.shape == shape and x.storage.numbers is None), None)
        self.map(code, self.values.new(name, like, in_any_digits=True), *inputs, parameters=parameters)
