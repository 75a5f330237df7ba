"""Keyed streams on Spark: `stream_gru`, and what belongs to it. Needs the extra ``spark``, and a Java."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grurt.spark.batch import apply_gru as apply_gru
    from grurt.spark.session import local_session as local_session
    from grurt.spark.states import read_states as read_states
    from grurt.spark.streaming import stream_gru as stream_gru

__all__ = ["apply_gru", "local_session", "read_states", "stream_gru"]

if not TYPE_CHECKING:
    _PLACES = {"apply_gru": "batch", "local_session": "session", "read_states": "states", "stream_gru": "streaming"}

    def __getattr__(name: str) -> object:
        """Import what a name stands for when it is first asked for: who lacks a package is told which."""
        if name not in _PLACES:
            raise AttributeError(f"module 'grurt.spark' has no attribute {name!r}")
        from importlib import import_module

        from grurt.spark.requirements import expect_packages

        expect_packages()
        found = getattr(import_module(f"grurt.spark.{_PLACES[name]}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
