"""RTNeural's JSON models: its own list of layers, and PyTorch state dicts, with or without their network.

::

    reading     the file's bytes                    -> objects, and arrays out of nested lists
    layers      one entry of the list of layers     -> layers and weights
    convert     a list of layers                    -> Network
    weights     a state dict                        -> StateDict, for `converters.torch.assembly`
    coreaudioml a state dict that says what it is   -> Network

What an entry means is what RTNeural's loader computes with it (``RTNeural/model_loader.h``), also where that is not
what the Keras layer computed that it was written from.
"""
