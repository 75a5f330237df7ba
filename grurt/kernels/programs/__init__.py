"""Step programs: the primitives that they are lowered to, and the walk over them.

Numbers lie in views of storages, addressed from a few bases (see `grurt.kernels.codes`); what is known beforehand
stands in tables of int32. A row of a block is one timestep of one stream, and runs through all steps by itself: so the
numbers that a step leaves are where the next one reads them, in the fastest cache.
"""
