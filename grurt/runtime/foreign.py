"""Code of the caller's that runs inside a call: the ``__array__``, ``__hash__`` and so on of what is handed in."""

from __future__ import annotations


def was_raised_below(error: BaseException) -> bool:
    """Return whether an exception, where it is caught, comes from a function in Python below, and not from C itself.

    What a conversion or a look-up in C says of an argument is reported in grurt's words; what the argument's own code
    raises is the caller's, and goes through as it is.
    """
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None
