"""Names of sessions: what clients may call them, and the one key under which a session is known."""

from __future__ import annotations

import itertools
import re

from grurt.errors import GrurtError
from grurt.escaping import described
from grurt.serving.errors import SessionNameError

MAX_LENGTH = 128
MAX_NUMBER = (1 << 64) - 1

_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:@/-]{{0,{MAX_LENGTH - 1}}}", re.ASCII)
_ANONYMOUS = "~"
_numbers = itertools.count(1)


def key_of_name(name: str) -> str:
    """Return the key of a session that has a name: the name itself.

    Raises
    ------
    SessionNameError
        If it is not of 1 to 128 letters, digits and ``. _ : @ / -``, with a letter or digit first.
    """
    if not _NAME.fullmatch(name):
        raise SessionNameError(
            f"session: expected 1 to {MAX_LENGTH} of A-Z a-z 0-9 . _ : @ / -, a letter or digit first, "
            f"got {described(name)}"
        )
    return name


def key_of_number(number: int) -> str:
    """Return the key of a session that has a number: never that of a name, so 5 and "5" are two sessions.

    Examples
    --------
    >>> key_of_number(5), key_of_name("5")
    ('#5', '5')
    """
    if not 0 < number <= MAX_NUMBER:
        raise SessionNameError(f"sequence_id: expected an integer from 1 to 2**64 - 1, got {described(number)}")
    return f"#{number}"


def anonymous_key() -> str:
    """Return a key that no session has had, and no client can name."""
    return f"{_ANONYMOUS}{next(_numbers)}"


def is_anonymous(key: str) -> bool:
    """Say whether a session has no name of a client's."""
    return key.startswith(_ANONYMOUS)


_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


def check_model_name(name: str) -> str:
    """Return the name of a model, which addresses hold as it is; raise GrurtError if they cannot."""
    if not _MODEL.fullmatch(name):
        raise GrurtError(
            f"expected a model's file to be named by 1 to 128 of A-Z a-z 0-9 . _ -, got {described(name)}: "
            "rename the file, as its name without the suffix is the model's"
        )
    return name
