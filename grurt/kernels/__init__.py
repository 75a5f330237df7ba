"""The compiled part of grurt: loops over packed weights, on explicit vectors of sixteen float32.

A kernel is a plain function of addresses and integers. It allocates nothing, raises nothing and calls nothing from
Python. `advance` is the entry point; everything else is compiled into it. The layout of what it reads is in `codes`.
"""
