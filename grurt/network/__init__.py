"""What a model is, as data: layers and weights, checked against each other, and how its source saw them.

Nothing here computes, reads or writes files, or knows of an engine. A file each::

    layers, functions    what a network is made of
    value, values        what each layer writes; whether layers, inputs, outputs and weights fit together
    stages, splitting    sequences that begin where others ended, and a network taken apart into those
    signature, axes      the inputs, outputs and states of the framework that the network came from
    reference_run        what that framework answered to a test input
    fingerprint          16 bytes that tell networks apart
    versions, costs      which version of the file a network needs, and what it costs
    text, vectors        names and remarks that a stranger may have written; sizes in memory
    frozen, nibbles      arrays that never change; matrices of numbers of four bits
    structs              what layers and ports are declared with
    network              all of it in one object that never changes
"""
