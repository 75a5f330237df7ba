"""ONNX files to networks.

::

    messages      the file's bytes                                  -> not too many parts
    functions     operators that the file defines                   -> what they consist of
    contributed   operators of onnxruntime's own                    -> those of ONNX
    opsets        operators of older versions                       -> as they are now
    tensors       weights, inside and in files beside               -> arrays
    sparse        those of which most numbers are zero              -> arrays
    narrow        those of 8 bits and fewer                         -> arrays
    reading       the file's bytes, checked                         -> `converters.graph.nodes.Graph`
    repair        what faulty exporters wrote                       -> what was meant
    refusals      files that no exporter should have written so     -> UnsupportedError
    convert       all of these; and the graph                       -> Network, by `converters.graph`
    reference     what onnxruntime gives                            -> ReferenceRun
    inference     onnxruntime, in a process of its own              -> arrays
"""
