"""Models with weights of fewer bits, and what is lost by that.

A file each::

    recordings   what the user gives            -> sequences for every input; random ones where nothing is given
    observe      a model, sequences             -> what it answers, what its layers write
    calibrate    a float32 model, sequences     -> inputs rescaled, statistics of what matrices are multiplied with
    rounding     a float32 matrix               -> the same in float16 or int8
    quantize     a model                        -> a model
    loss         two models, sequences          -> how their answers differ, over time too
    sensitivity  a model, sequences             -> what each layer costs, which layers to keep
    chart        all of that                    -> a page with pictures
"""

from grurt.quantization.loss import Difference, Loss, Span, loss
from grurt.quantization.quantize import quantize
from grurt.quantization.sensitivity import LayerLoss, Limit, layer_losses, layers_to_keep

__all__ = ["Difference", "LayerLoss", "Limit", "Loss", "Span", "layer_losses", "layers_to_keep", "loss", "quantize"]
