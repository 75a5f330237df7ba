"""A whole graph to a network.

::

    constants               nodes that read nothing but constants      -> constants
    interpret               all nodes, in order                        -> layers, and what the outputs show
    fusion                  layers that were written apart             -> one
    axis_names, inputs, outputs     the graph's inputs, outputs and states     -> those of the network
    uneven_ends             lengths of sequences that no run can take into account     -> the reason
    parts                   all of these                               -> what a network is made of
    converted               a network and its graph: do the two agree
    frozen                  sizes that are open in name only
    network                 the steps from the graph on, and other tries: on a grid, with sizes fixed     -> Network
"""
