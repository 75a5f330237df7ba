"""Checkpoints of ``torch.save`` and safetensors to arrays by name, without torch.

::

    pickles          a pickle's bytes                         -> plain objects and names; nothing is run
    zipped, legacy   the two formats of ``torch.save``        -> the object, and where its storages are
    tensors          storages, sizes and strides              -> arrays
    numpy_arrays     what NumPy's arrays are pickled as       -> arrays
    modules          pickled modules                          -> tensors by name
    candidates       a checkpoint's object                    -> its state dicts, and what lies beside them
    choice           several state dicts, and an entry        -> one of them, or an error that lists them
    names            names with prefixes of wrappers          -> names as modules gave them
    weight_norm      weights that are kept in parts           -> weights
    state_dict       all of these, and safetensors            -> StateDict
"""
