"""Code of the caller's that runs inside a call: the ``__array__``, ``__hash__`` and so on of what is handed in."""

from __future__ import annotations


def was_raised_below(error: BaseException) -> bool:
    """Return whether an exception, where it is caught, comes from a function in Python below, and not from C itself.

    What a conversion or a look-up in C says of an argument is reported in grurt's words; what the argument's own code
    raises is the caller's, and goes through as it is.
    """
    return error.__traceback__ is not None and error.__traceback__.tb_next is not None


def ask_hash(name: object) -> None:
    """Raise the TypeError that a name's own ``__hash__`` raises, if it does.

    A look-up does so up to Python 3.13. From 3.14 on it raises one of its own in that one's place, without a cause.
    """
    try:
        hash(name)
    except TypeError as error:
        if was_raised_below(error):
            raise
