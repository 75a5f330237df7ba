"""ONNX files to grurt models.

The steps, a file each::

    reading, tensors        the file's bytes, checked          -> graph.Graph
    patterns                operators spelled out in pieces    -> one node
    folding                 nodes on constants                 -> numbers
    axes, values            what stands for a tensor
    movement                nodes that only move data          -> axes that move
    dense, elementwise, recurrent, normalization, convolution  -> layers
    interpret, builder      all nodes, in order                -> layers and weights
    ports                   inputs, outputs and states         -> grurt.Model
    reference               what onnxruntime gives             -> grurt.ReferenceRun
"""

from .convert import convert_onnx, convert_onnx_bytes, convert_onnx_proto
from .reference import reference_run

__all__ = ["convert_onnx", "convert_onnx_bytes", "convert_onnx_proto", "reference_run"]
