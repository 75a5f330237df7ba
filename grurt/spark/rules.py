"""Rules as users write them, checked."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

import pandas as pd

from grurt.errors import InputTypeError, InputValueError
from grurt.escaping import described
from grurt.spark.settings import Settings

Duration: TypeAlias = "str | timedelta | int | None"


def expect_one_of(where: str, name: str, value: object, choices: tuple[str, str]) -> None:
    """Raise InputValueError unless a value is one of two."""
    if value not in choices:
        raise InputValueError(f'{where}: {name}: expected "{choices[0]}" or "{choices[1]}", got {described(value)}')


def in_units(where: str, name: str, value: Duration, settings: Settings, *, is_event: bool = True) -> int | None:
    """Return a duration in the units of the order column, or, of the clock of processing, in milliseconds."""
    if value is None:
        return None
    if is_event and settings.order[0].kind == "integer":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InputTypeError(
                f"{where}: {name}: expected an integer in the units of the order {settings.order[0].name!r}, from 0 "
                f"on, got {described(value)}"
            )
        return value
    return milliseconds(where, name, value) * (1000 if is_event else 1)


def milliseconds(where: str, name: str, value: object) -> int:
    """Return a duration, ``"1 hour 30 minutes"`` or a timedelta, in milliseconds, rounded up.

    Raises
    ------
    InputValueError
        If it is none, or is negative.

    Examples
    --------
    >>> milliseconds("stream_gru", "lateness", "1 hour 30 minutes")
    5400000
    """
    if isinstance(value, str | timedelta):
        try:
            duration = pd.Timedelta(value)
        except (ValueError, OverflowError):
            duration = pd.NaT
        if not pd.isna(duration) and duration >= pd.Timedelta(0):
            return -int(-duration // pd.Timedelta(milliseconds=1))
    raise InputValueError(
        f'{where}: {name}: expected a duration, such as "30 minutes" or a timedelta, from 0 on, got {described(value)}'
    )
