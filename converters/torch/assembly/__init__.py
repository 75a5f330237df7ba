"""State dicts and descriptions to networks.

::

    modules          the tensors' names and shapes            -> modules, and their kinds
    readings         modules                                  -> the ways to understand each
    orders           these, and the sizes that they tell      -> orders in which they fit
    suggestion       a state dict without a description       -> an error that shows one
    left_over        tensors that no layer uses               -> an error, or remarks
    build            a state dict and a description           -> Network
    evaluation       what torch gives for the layers          -> ReferenceRun
"""
