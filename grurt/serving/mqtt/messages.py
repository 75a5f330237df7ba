"""Messages: samples with the step at which they stand, and commands; answers and errors.

A payload is JSON or bytes, as the messages of a WebSocket. Which one, MQTT 5's payload format indicator says, and a
setting where there is none: looking at bytes could not tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from grurt.errors import GrurtError, InputTypeError
from grurt.escaping import described, shown
from grurt.serving.errors import ServingError

if TYPE_CHECKING:
    from grurt.serving.layout import Layout

STEP = "step"
COMMANDS = ("reset", "end")
_NUMBERED = {STEP, "inputs"}
_MAX_STEP = 1 << 62


@dataclass(frozen=True)
class Arrived:
    """A message as it came.

    Parameters
    ----------
    payload
        Its bytes.
    is_text
        Whether they are JSON.
    step
        What its user property says, if it has one.
    is_again
        Whether the broker has sent it before, and does not know whether it was received.
    """

    payload: bytes
    is_text: bool
    step: str | None = None
    is_again: bool = False


@dataclass(frozen=True)
class Samples:
    """Samples that a message holds.

    Parameters
    ----------
    content
        As `Layout` has them,
    count
        so many.
    step
        How many samples of the session come before them; None if the client does not say.
    is_single
        Whether they are one sample, and no list of such.
    """

    content: bytes
    count: int
    step: int | None
    is_single: bool


def read(arrived: Arrived, layout: Layout) -> Samples | str:
    """Return the samples of a message, or its command.

    Raises
    ------
    ServingError, InputShapeError, InputTypeError, InputValueError
        If it holds something else.
    """
    step = None if arrived.step is None else _step_of_text(arrived.step)
    if not arrived.is_text:
        count = layout.n_samples(arrived.payload)
        layout.expect_sound(arrived.payload)
        return Samples(arrived.payload, count, step, is_single=False)
    value = _parsed(arrived.payload)
    if isinstance(value, dict) and "command" in value:
        if value.get("command") not in COMMANDS or len(value) > 1:
            raise ServingError(f"command: expected {' or '.join(COMMANDS)}, alone, got {described(value)}")
        return str(value["command"])
    if isinstance(value, dict) and value.keys() == _NUMBERED:
        step, value = _agreed(step, value[STEP]), value["inputs"]
    content = layout.from_json(value)
    layout.expect_sound(content)
    return Samples(content, layout.n_samples(content), step, layout.is_single(value))


def _parsed(payload: bytes) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise InputTypeError(
            f"payload: expected JSON with finite numbers, or the payload format indicator of bytes: {error}"
        ) from None


def _step_of_text(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ServingError(f"user property step: expected a number of samples, got {described(text)}")
    return int(text)


def _agreed(step: int | None, found: Any) -> int:
    if type(found) is not int or not 0 <= found < _MAX_STEP or step not in (None, found):
        raise ServingError(
            f"step: expected a number of samples, that of the user property if there is one, got {described(found)}"
        )
    return found


@dataclass(frozen=True)
class Reply:
    """What is published of a message.

    Parameters
    ----------
    payload
        Its bytes.
    is_text
        Whether they are JSON.
    steps
        The session's samples until then.
    is_renewed
        Whether the session has begun anew, on a model that has replaced its own, before this.
    """

    payload: bytes
    is_text: bool
    steps: int | None
    is_renewed: bool = False


def answer(samples: Samples, answers: bytes, layout: Layout, steps: int, *, is_text: bool, is_renewed: bool) -> Reply:
    """Return the answers to samples, in the form of these."""
    if not is_text:
        return Reply(answers, False, steps, is_renewed)
    found = {"outputs": layout.to_json(answers, single=samples.is_single), "steps": steps}
    return said(found | {"renewed": True} if is_renewed else found)


def refusal(error: GrurtError, steps: int | None) -> Reply:
    """Return what is told of an error, in JSON as over WebSocket."""
    return said({"error": {"kind": type(error).__name__, "message": shown(str(error))}, "steps": steps})


def said(value: dict[str, Any]) -> Reply:
    """Return something that is told in JSON."""
    return Reply(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), True, value["steps"])
