"""State dicts and descriptions to networks.

::

    modules          the tensors' names and shapes            -> modules, and their kinds
    suggestion       a state dict without a description       -> an error that shows one
    build            a state dict and a description           -> Network
    evaluation       what torch gives for the layers          -> ReferenceRun
"""
