"""PyTorch checkpoints and modules.

The steps, a file each::

    pickles              a pickle's bytes                     -> plain objects and names; nothing is run
    archive, legacy      the two formats of ``torch.save``    -> the object, and where its storages are
    tensors              storages, sizes and strides          -> arrays
    weight_norm          weights that are kept in parts       -> weights
    state_dict           all of the above, and safetensors    -> StateDict
    modules, layers      the tensors of a module              -> layers and weights
    suggestion           a state dict without a description   -> an error that shows one
    build                a state dict and a description       -> grurt.Model
    chain, export        a ``torch.nn.Module`` in hand        -> grurt.Model, through `build` or ONNX
    evaluation           what torch gives                     -> grurt.ReferenceRun

Only ``chain``, ``export``, ``evaluated`` and ``evaluation`` import torch, and only when they are needed.
"""

from .module import convert_module
from .state_dict import StateDict, read_state_dict

__all__ = ["StateDict", "convert_module", "read_state_dict"]
