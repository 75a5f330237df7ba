"""How weights are packed for products: panels of outputs, in each of the formats of `grurt.kernels.codes`.

=======  ==============================================================================================================
format   the weights of a panel of ``v`` vectors of outputs and n inputs
=======  ==============================================================================================================
FLOAT32  for each input ``v`` vectors
FLOAT16  the same in half the memory, converted (exactly) as they are read
INT8     ``v`` vectors of scales, ``v`` vectors of corrections (int32), and for every four inputs ``v`` times the bytes
         ``(16 outputs, 4 inputs)``
INT4     the same for every eight inputs, in bytes ``(16 outputs, 4)`` of two weights each: that of the input ``j`` of
         the eight in the lower half, that of ``4 + j`` in the upper one
=======  ==============================================================================================================
"""

from typing import NamedTuple

from grurt.kernels import codes
from grurt.kernels.options import kernel
from grurt.kernels.sizes import VECTOR_BYTES


class Panels(NamedTuple):
    """The weights of panels with the same number of inputs, each ``stride`` bytes behind the one before."""

    format: int
    address: int
    stride: int
    n_inputs: int


@kernel
def reads_records(weight_format):
    """Whether the features are read as bytes, from the records of `grurt.kernels.quantize`."""
    return weight_format >= codes.INT8


@kernel
def weights_bytes(weight_format, n_inputs, vectors):
    """Bytes of the weights of a panel."""
    if weight_format == codes.INT4:
        return VECTOR_BYTES * vectors * (2 + (n_inputs + 7) // 8)
    if weight_format == codes.INT8:
        return VECTOR_BYTES * vectors * (2 + (n_inputs + 3) // 4)
    if weight_format == codes.FLOAT16:
        return VECTOR_BYTES // 2 * vectors * n_inputs
    return VECTOR_BYTES * vectors * n_inputs


@kernel
def panels_from(panels, i):
    """The panels from panel i on."""
    return Panels(panels.format, panels.address + panels.stride * i, panels.stride, panels.n_inputs)
