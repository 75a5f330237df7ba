"""The ``.grurt`` file: a safetensors container with the network's description in its header (see docs/format.md)."""
