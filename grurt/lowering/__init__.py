"""From a network to what the kernels run: a table of operations and one buffer of packed weights.

`lower` says what each layer needs, `builder` puts it together, `packing` orders the weights, `functions` numbers the
activations; a `plan` is the result.
"""
