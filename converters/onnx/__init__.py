"""ONNX files to grurt models.

The steps, a file each::

    repair                    what faulty exporters wrote      -> what was meant
    reading, tensors          the file's bytes, checked        -> graph.Graph
    graph_model               the steps below, in order
    patterns, layer_norms,
    cells, gates              operators spelled out in pieces  -> one node, found by `matching`
    refusals                  what no layer can stand for      -> UnsupportedError
    folding                   nodes on constants               -> numbers
    axes, values              what stands for a tensor
    movement, reshaping,
    selection                 nodes that only move data        -> axes that move
    combining, alignment      states stacked, features joined, values brought to the same axes
    dense, elementwise, composites, reduction,
    recurrent, normalization, convolution:                     -> layers
    steps                     cells, also of unrolled loops    -> one GRU
    lengths                   padded and sorted sequences
    grids                     GRUs that scan other axes than time
    interpret, builder, states: all nodes, in order            -> layers and weights
    fusion                    layers that were written apart   -> one
    ports                     inputs, outputs and states       -> grurt.Model
    reference                 what onnxruntime gives           -> grurt.ReferenceRun
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .convert import convert_onnx, convert_onnx_bytes, convert_onnx_proto
    from .reference import reference_run

__all__ = ["convert_onnx", "convert_onnx_bytes", "convert_onnx_proto", "reference_run"]


def __getattr__(name: str) -> object:
    """Import what needs the package onnx when it is first asked for: graphs that others wrote do without."""
    if name in __all__:
        return getattr(import_module(f".{'reference' if name == 'reference_run' else 'convert'}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
