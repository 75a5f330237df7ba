"""Checkpoints of ``torch.save`` and safetensors to arrays by name, without torch.

::

    pickles          a pickle's bytes                         -> plain objects and names; nothing is run
    zipped, legacy   the two formats of ``torch.save``        -> the object, and where its storages are
    tensors          storages, sizes and strides              -> arrays
    weight_norm      weights that are kept in parts           -> weights
    state_dict       all of these, and safetensors            -> StateDict
"""
