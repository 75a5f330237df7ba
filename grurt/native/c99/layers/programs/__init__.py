"""Step programs in C: a function for each operator, of loops over what the lowering has made of it.

The steps are those that the kernels run, in their order, over the same views: so the answers are the same bits.
`writing` goes through the steps, `memory` says what a step needs, `routine` is a function in the making, `loops` are
places in memory as loops; `maps`, `products`, `reductions` and `scans` write the steps.
"""
