"""The ``.grurt`` file: a safetensors container with the network's description in its header (see docs/format.md).

`header` is the description as JSON, which `writing` makes of a network and `reading` turns into one.
"""
