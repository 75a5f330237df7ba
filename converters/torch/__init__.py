"""PyTorch checkpoints and modules.

A checkpoint's path through the rooms, and that of a module in hand::

    checkpoint     the bytes of a file                        -> StateDict; nothing is run
    assembly       a state dict and a description of layers   -> Network, by `converters.kinds`
    module         a ``torch.nn.Module``                      -> Network, through `assembly` or ONNX

Only ``module``, and what computes reference runs, import torch, and only when they are needed.
"""
