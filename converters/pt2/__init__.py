"""Programs of ``torch.export.save`` (``.pt2``) to grurt models, without torch.

::

    archive      the file's entries                    -> the program's JSON, and arrays by name
    program      the JSON                              -> calls of ATen operators
    simplify     what decompositions added             -> as it was before
    emitter      ONNX nodes as they are made
    recurrent, layers, arithmetic, movement: one ATen operator -> ONNX nodes
    translate    all calls, in order                   -> `converters.onnx.graph.Graph`
    convert      the graph, through the ONNX importer  -> grurt.Model
    reference    what torch gives                      -> grurt.ReferenceRun
"""

from .convert import convert_pt2

__all__ = ["convert_pt2"]
