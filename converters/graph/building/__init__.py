"""The layers that are found, and what is known of their values.

::

    builder        layers, weights, and timesteps or features picked from values
    alignment      values that are combined                            -> the same axes
    grids          GRUs that scan another axis than time               -> values of several positions
"""
