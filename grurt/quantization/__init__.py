"""Models with weights of fewer bits.

The steps, a file each::

    rounding     a float32 matrix             -> the same in float16 or int8
    quantize     a model                      -> a model
"""

from grurt.quantization.quantize import quantize

__all__ = ["quantize"]
