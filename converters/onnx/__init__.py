"""ONNX files to grurt models.

The steps, a file each::

    repair                  what faulty exporters wrote        -> what was meant
    reading, tensors        the file's bytes, checked          -> graph.Graph
    patterns, cells         operators spelled out in pieces    -> one node, found by `matching`
    refusals                what no layer can stand for        -> UnsupportedError
    folding                 nodes on constants                 -> numbers
    axes, values            what stands for a tensor
    movement, selection     nodes that only move data          -> axes that move
    combining               states stacked, features joined
    dense, elementwise, recurrent, normalization, convolution: -> layers
    interpret, builder      all nodes, in order                -> layers and weights
    ports                   inputs, outputs and states         -> grurt.Model
    reference               what onnxruntime gives             -> grurt.ReferenceRun
"""

from .convert import convert_onnx, convert_onnx_bytes, convert_onnx_proto
from .reference import reference_run

__all__ = ["convert_onnx", "convert_onnx_bytes", "convert_onnx_proto", "reference_run"]
