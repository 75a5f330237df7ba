"""Modules in hand; the one part of the converters that needs torch.

::

    chain            a GRU, or a Sequential of known kinds    -> its description, and a Network
    export           any other module                         -> Network, through ONNX in memory
    evaluated        modules in evaluation mode, and back
    convert          either way                               -> grurt.Model
"""
