"""The exit codes of ``grurt``."""

DIFFERS = 1
"""The model's answers differ from its source's."""

USAGE = 2
"""Wrong usage, or a file or a line that cannot be used."""

INTERNAL = 70
"""A fault of grurt itself: EX_SOFTWARE of sysexits.h."""

INTERRUPTED = 128 + 2
"""Ctrl-C: what a shell reports of a program that SIGINT ended."""

BROKEN_PIPE = 128 + 13
"""The reader of the output has gone: what a shell reports of a program that SIGPIPE ended."""
