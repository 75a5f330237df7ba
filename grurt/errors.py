"""Every exception that grurt raises.

::

    GrurtError
    ├── ModelError            (ValueError)  a model contradicts itself
    │   └── StreamingError                  the model is sound, but cannot run one timestep at a time
    ├── ModelFileError        (ValueError)  a .grurt file is not one, is damaged, or is of a newer version
    ├── ConversionError       (ValueError)  a foreign file could not be turned into a model
    │   ├── UnsupportedError                it holds something that grurt does not implement
    │   └── DescriptionError                the user's description of the layers does not fit the weights
    ├── QuantizationError     (ValueError)  a model cannot be quantized as was asked
    ├── InputShapeError       (ValueError)  an array has the wrong shape
    ├── InputTypeError        (TypeError)   an array has a dtype that cannot be converted safely
    ├── InputValueError       (ValueError)  an array holds a NaN, an infinity, or a token that does not exist
    ├── EngineError           (RuntimeError)  the kernels that were asked for are not there, or cannot be built
    ├── ConcurrentUseError    (RuntimeError)  a second thread is using a stream
    ├── SparkError            (RuntimeError)  what Spark needs is not there, or is set in a way that cannot work
    ├── StreamIdError         (KeyError)    a pool has no such stream, or one is named twice
    └── SnapshotError         (ValueError)  a snapshot is damaged or belongs to another model

Messages have one form: where, what was expected, what was found, what to do. Whatever a file, a name or a caller puts
into one, it is printable, and has at most 2,000 characters (`grurt.escaping`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from grurt.escaping import MAX_MESSAGE, shown

if TYPE_CHECKING:
    from grurt.design_reasons import DesignReason as DesignReason

__all__ = [
    "ConcurrentUseError",
    "ConversionError",
    "DescriptionError",
    "DesignReason",
    "EngineError",
    "GrurtError",
    "InputShapeError",
    "InputTypeError",
    "InputValueError",
    "ModelError",
    "ModelFileError",
    "QuantizationError",
    "SnapshotError",
    "SparkError",
    "StreamIdError",
    "StreamingError",
    "UnsupportedError",
]


_SHORTEST = 100
"""Characters to which lines are cut at most, so that all of them fit."""


def _fitting(texts: list[str]) -> list[str]:
    """Return lines that are together no longer than a message may be: cut, or without those in the middle."""
    while (excess := sum(map(len, texts)) + len(texts) - 1 - MAX_MESSAGE) > 0:
        longest = max(texts, key=len)
        if len(longest) > _SHORTEST:
            texts[texts.index(longest)] = shown(longest, max(_SHORTEST, len(longest) - excess))
        else:
            texts[len(texts) // 2 - 1 : len(texts) // 2 + 1] = ["..."]
    return texts


class GrurtError(Exception):
    """Base class of every exception that grurt raises on purpose.

    Parameters
    ----------
    lines
        The message. Where it has several lines, they are given one by one: a line end within a line is shown as an
        escape.
    """

    def __init__(self, *lines: object) -> None:
        texts = _fitting([shown(str(line)) for line in lines])
        super().__init__(*texts)

    def __str__(self) -> str:
        return "\n".join(self.args)

    def reworded(self, *lines: object) -> Self:
        """Return the same error with another message."""
        return type(self)(*lines)


class _RefusalError(GrurtError):
    """An exception that may say why it stays so.

    Parameters
    ----------
    lines
        The message.
    reason
        One of a closed list, which ``docs/supported.md`` explains; None if there is no such reason.
    """

    def __init__(self, *lines: object, reason: DesignReason | None = None) -> None:
        super().__init__(*lines)
        self.reason = reason

    def reworded(self, *lines: object) -> Self:
        return type(self)(*lines, reason=self.reason)


class ModelError(GrurtError, ValueError):
    """A model contradicts itself: sizes that do not fit, weights that are missing or left over."""


class StreamingError(_RefusalError, ModelError):
    """The model is sound, but cannot run one timestep at a time; by design, if there is a ``reason``."""


class ModelFileError(GrurtError, ValueError):
    """A ``.grurt`` file is not one, is damaged, or is of a newer format version."""


class ConversionError(GrurtError, ValueError):
    """A foreign file could not be turned into a model."""


class UnsupportedError(_RefusalError, ConversionError):
    """A foreign file holds something that grurt does not implement.

    Its ``reason`` says by which of a closed list of reasons this stays so; it is None where grurt could compute the
    network, and its converter does not know the form.
    """


class DescriptionError(ConversionError):
    """A description of the layers is wrong, missing, or does not fit the weights."""


class QuantizationError(GrurtError, ValueError):
    """A model cannot be quantized as was asked, or loses more by it than was allowed."""


class InputShapeError(GrurtError, ValueError):
    """An input, output or state array has the wrong shape."""


class InputTypeError(GrurtError, TypeError):
    """An array has a dtype that cannot be converted without losing information."""


class InputValueError(GrurtError, ValueError):
    """An input holds a NaN, an infinity, or a token id outside the vocabulary."""


class EngineError(GrurtError, RuntimeError):
    """The kernels that were asked for are not there, or cannot be built."""


class ConcurrentUseError(GrurtError, RuntimeError):
    """A stream or pool is being used by another thread at the same time."""


class StreamIdError(GrurtError, KeyError):
    """A pool has no stream of an id, has one already, or one is named twice in a call."""


class SparkError(GrurtError, RuntimeError):
    """What keyed streams on Spark need is not there, or is set in a way that cannot work."""


class SnapshotError(GrurtError, ValueError):
    """A snapshot is truncated, altered, of a newer version, or of another model."""


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import the closed list of reasons when somebody asks for one: a service that starts well never does."""
        if name != "DesignReason":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from grurt.design_reasons import DesignReason

        globals()[name] = DesignReason
        return DesignReason
