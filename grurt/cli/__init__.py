"""The command line: `app` is the command group; the others are a command each, or what commands share.

Nothing here imports numba, rich or a converter before a command needs it, so that ``grurt --help`` is quick.
"""
