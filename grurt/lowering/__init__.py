"""From a network to what the kernels run: a table of operations and one buffer of packed weights."""
