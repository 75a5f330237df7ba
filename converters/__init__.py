"""Reads networks from the files of other frameworks.

A file's path through the rooms::

    detect                          what the file is
    convert                         the room that reads it, and its source's answers beside the model's
    onnx, pt2       -> graph        a graph of operators                         -> Network
    keras                           layers and their calls                       -> Network
    rtneural                        a list of layers                             -> Network
    torch, arrays   -> kinds        weights, and a description of their layers   -> Network

and what they share::

    describe, compact, description       what the weights of a file leave out
    layer_builder, activations, gates    layers as they are collected, and what frameworks have each in a way of its own
    apart, reference, sampling           the source's answers to a test input, and processes of its own
    archive, installed                   zip files of strangers; which packages there are

Nothing here computes a network; `convert` asks the engine for that, unless
``reference=False``. What the rooms hand on is a `grurt.Network`; only the functions here return a `grurt.Model`, of it.
"""

from grurt.converters.convert import convert, convert_onnx
from grurt.converters.describe import describe
from grurt.converters.description import Description, LayerDescription
from grurt.converters.to_onnx import to_onnx
from grurt.converters.torch.checkpoint.state_dict import StateDict, read_state_dict
from grurt.converters.torch.module.convert import convert_module
from grurt.converters.vectors import FilledEmbedding, fill_embedding
from grurt.converters.vocabulary import read_vocabulary

__all__ = [
    "Description",
    "FilledEmbedding",
    "LayerDescription",
    "StateDict",
    "convert",
    "convert_module",
    "convert_onnx",
    "describe",
    "fill_embedding",
    "read_state_dict",
    "read_vocabulary",
    "to_onnx",
]
