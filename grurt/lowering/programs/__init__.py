"""From a step program to the steps that the kernels run: most of what only moves numbers vanishes.

::

    rewriting     padding becomes an operator of its own
    merging       small GRUs become one
    layouts       in which order the axes of values had better lie
    memory        which values are written straight into their place in a larger one
    movement, elementwise, contractions, scans, reductions
                  operators                                -> steps over views
    lower         all of these                             -> the steps of a program
    arena         steps                                    -> where storages lie, memory used again
    tables        steps                                    -> records, tables and packed weights
    plan          a program                                -> an operation of a plan

`views` are arrays in memory, whose axes are digits; `steps` what there is to do; `iteration` how a step goes through
its views together; `constants` what weights are kept in.
"""
