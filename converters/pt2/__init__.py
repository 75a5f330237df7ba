"""Programs of ``torch.export.save`` (``.pt2``) to networks, without torch and without ONNX.

::

    archive, scalar_types    the file's entries        -> the program's JSON, and arrays by name
    program      the JSON                              -> calls of ATen operators
    reading      both
    simplify     what decompositions added             -> as it was before
    emitter      nodes as they are made
    recurrent, layers, windows, arithmetic, movement, indexing: one ATen operator -> nodes, registered in `handlers`
    translate    all calls, in order                   -> `converters.graph.nodes.Graph`
    convert      all of these; and the graph           -> Network, by `converters.graph`
    reference    what torch gives                      -> ReferenceRun
"""
