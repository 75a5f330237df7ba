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
    ├── StreamIdError         (KeyError)    a pool has no such stream, or one is named twice
    └── SnapshotError         (ValueError)  a snapshot is damaged or belongs to another model

Messages have one form: where, what was expected, what was found, what to do. Whatever a file, a name or a caller puts
into one, it is printable, and has at most 2,000 characters (`grurt.escaping`).
"""

from __future__ import annotations

import enum
from typing import Self

from grurt.escaping import MAX_MESSAGE, shown

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


class DesignReason(enum.Enum):
    """Why something is refused by design: a closed list, which ``docs/supported.md`` shows.

    Parameters
    ----------
    what
        What was found.
    why
        Why it stays refused.
    advice
        What to do instead.
    """

    OTHER_RECURRENCE = (
        "a recurrent layer that is not a GRU, such as an LSTM",
        "the kernels, their memory and their promises are made for one cell, the GRU",
        "train the network with a GRU",
    )
    NO_RECURRENCE = (
        "no GRU, nor anything that is one",
        "without a state there is nothing to stream: other engines run such networks as well",
        "run it with onnxruntime; if it has a GRU that was taken apart, export it again with its GRU",
    )
    WHOLE_SEQUENCE = (
        "something that joins all timesteps, such as attention, or a mean over time",
        "a stream has one timestep at a time, and keeps a state of fixed size",
        "join the timesteps outside of the model, or with a GRU, whose last state stands for them all",
    )
    SEQUENCE_LENGTH = (
        "layers of which the number of timesteps is a size, or that change it",
        "a stream goes on for any number of timesteps, and gives one answer for each",
        "apply such layers outside of the model",
    )
    ACROSS_BATCH = (
        "something that joins the sequences of a batch",
        "sequences are independent: each is a stream of its own, and its answers depend on no other",
        "export the model as it is applied to one sequence; often a GRU lacks its batch_first=True",
    )
    IMAGES = (
        "convolutions or pooling over more axes than time",
        "a timestep is a vector; networks of images need other kernels",
        "compute the features of each image before, and give grurt the vectors",
    )
    FED_BACK_STATE = (
        "a state that the source changes before it feeds it back",
        "a stream keeps the states of its layers as they are, so that it would compute something else than the loop",
        "change the state inside of the network instead; whole sequences convert, and run",
    )
    DATA_DEPENDENT = (
        "loops, branches or shapes that depend on what is computed",
        "the same operations run at every timestep, in memory that is known before: so a step allocates nothing",
        "export the network that is inside, and write the loop or the branch around it",
    )
    TRAINING = (
        "what belongs to training: numbers drawn at random, statistics of a batch",
        "the same input gives the same bits",
        "call model.eval() before the export; draw samples from the answers outside of the model",
    )
    QUANTIZED = (
        "weights or operators that something else has quantized",
        "their arithmetic is another runtime's own, and the float weights cannot be had back exactly",
        "convert the model from before, and quantize it with grurt: model.quantize('int8')",
    )
    OWN_CODE = (
        "code of the model's author, which is not in the file, or would have to be run",
        "a model file is only data: nothing in it is ever run",
        "export the model to ONNX where its code is, or give its weights and a description of the layers",
    )
    ELEMENT_TYPE = (
        "texts, complex numbers, or other elements that a network does not compute with",
        "kernels compute with float32, and read whole numbers as tokens",
        "turn them into numbers before the model, and back behind it",
    )
    NOT_SAID = (
        "something that the file does not say, or says in a way that programs read differently",
        "nothing is guessed: a wrong guess would give wrong answers without a word",
        "save it again with what is missing, as the message says",
    )
    FAULTY_SOURCE = (
        "a file that gives wrong answers wherever it is run",
        "what it says is not what was trained",
        "export it again with a newer version of what wrote it, or allow the repair where the message offers one",
    )
    OTHER_FORMAT = (
        "a format that is another program's own, or no model",
        "it is made for one runtime, and has lost what a converter needs, such as the layers",
        "convert the file that it was made from",
    )
    SIZE = (
        "more of something than a converter takes from a file",
        "what a file of strangers may cost is bounded, in proportion to its size",
        "convert a part of it, or store what repeats itself once",
    )

    def __init__(self, what: str, why: str, advice: str) -> None:
        self.what = what
        self.why = why
        self.advice = advice


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


class SnapshotError(GrurtError, ValueError):
    """A snapshot is truncated, altered, of a newer version, or of another model."""
