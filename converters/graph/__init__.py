"""Graphs of operators to networks, whoever wrote them: what ONNX files and programs of ``torch.export`` share.

A graph's path through the rooms::

    nodes, elements     the graph as a reader made it
    budget              what may be created of it, and looked through
    rewriting           operators that were spelled out in pieces      -> one node
    tracing             what stands for a tensor: numbers, or values and what their axes mean
    building            the layers so far, and values brought together
    operators           one node                                       -> layers
    assembly            all nodes, in order                            -> Network

Nothing here knows of protobuf or of PyTorch's archives. `assembly.network.network_of_graph` is the way in.
"""
