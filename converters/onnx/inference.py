"""Runs an ONNX model with onnxruntime: the side of a reference run that is in a process of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from grurt.array_types import Array
from grurt.converters.apart import PackedArray, ask
from grurt.errors import ConversionError


class _Request(msgspec.Struct, array_like=True):
    model: bytes
    tries: list[dict[str, PackedArray]]
    outputs: Sequence[str]
    fed_back: dict[str, str] = {}


class _Answers(msgspec.Struct, array_like=True):
    version: str
    tried: int
    outputs: list[PackedArray]
    fed_back: dict[str, PackedArray] = {}


def run(
    model: bytes, tries: Sequence[Mapping[str, Array]], outputs: Sequence[str]
) -> tuple[Mapping[str, Array], dict[str, Array], str]:
    """Return the first inputs with which a model runs, what onnxruntime answers to them, and its version.

    It does so in a process of its own, one for all.

    Raises
    ------
    ConversionError
        If onnxruntime cannot run the model with any of them, or its process ends, or takes too much time or memory.
    """
    packed = [{name: PackedArray.of(array) for name, array in inputs.items()} for inputs in tries]
    request = msgspec.msgpack.encode(_Request(model, packed, outputs))
    del model
    answers = msgspec.msgpack.decode(ask("onnxruntime", __name__, request), type=_Answers)
    arrays = [array.unpacked() for array in answers.outputs]
    return tries[answers.tried], dict(zip(outputs, arrays, strict=True)), answers.version


def run_fed(
    model: bytes, timesteps: Sequence[Mapping[str, Array]], fed_back: Mapping[str, str], outputs: Sequence[str]
) -> tuple[dict[str, Array], dict[str, Array], str]:
    """Return the states that the last of several timesteps begins with, onnxruntime's answers to it, and its version.

    Parameters
    ----------
    model
        The bytes of a file.
    timesteps
        The inputs of each timestep; those of the first one hold the states too.
    fed_back
        The outputs that are the states of the next timestep, by the inputs that take them.
    outputs
        Names of all outputs.

    Raises
    ------
    ConversionError
        As `run`.
    """
    packed = [{name: PackedArray.of(array) for name, array in inputs.items()} for inputs in timesteps]
    request = msgspec.msgpack.encode(_Request(model, packed, outputs, dict(fed_back)))
    answers = msgspec.msgpack.decode(ask("onnxruntime", __name__, request), type=_Answers)
    arrays = [array.unpacked() for array in answers.outputs]
    states = {name: array.unpacked() for name, array in answers.fed_back.items()}
    return states, dict(zip(outputs, arrays, strict=True)), answers.version


def answer(request: bytes) -> bytes:
    """Return onnxruntime's answers to a request of `run`."""
    asked = msgspec.msgpack.decode(request, type=_Request)
    tries = [{name: array.unpacked() for name, array in inputs.items()} for inputs in asked.tries]
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Else it multiplies weights that the graph dequantizes as integers, and rounds what they are multiplied with.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        # What the file says, not what becomes of it: and the last level crashes on GRUs of float16, from 1.24 on.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        session = onnxruntime.InferenceSession(asked.model, options, providers=["CPUExecutionProvider"])
        if asked.fed_back:
            tried = len(tries) - 1
            states, outputs = _last_answers(session, tries, asked.fed_back, asked.outputs)
        else:
            states = {}
            tried, outputs = _first_answers(session, tries, asked.outputs)
    except MemoryError:
        raise
    except ImportError as error:
        raise ConversionError(f"onnxruntime cannot be imported: {str(error)[:200]}") from error
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        reason = re.sub(r"\S*/\S*", "", str(error))[:200]  # without the paths of the machine that built onnxruntime
        raise ConversionError(f"onnxruntime cannot run the file: {reason}") from error
    return msgspec.msgpack.encode(_Answers(onnxruntime.__version__, tried, outputs, states))


def _first_answers(
    session: Any, tries: Sequence[Mapping[str, Array]], names: Sequence[str]
) -> tuple[int, list[PackedArray]]:
    *others, last = tries
    for tried, inputs in enumerate(others):
        with suppress(Exception):
            return tried, _answers(session, inputs, names)
    return len(others), _answers(session, last, names)


def _last_answers(
    session: Any, timesteps: Sequence[Mapping[str, Array]], fed_back: Mapping[str, str], names: Sequence[str]
) -> tuple[dict[str, PackedArray], list[PackedArray]]:
    states: dict[str, Array] = {}
    for inputs in timesteps:
        given = {**inputs, **states}
        answers = dict(zip(names, session.run(names, given), strict=True))
        states = {name: answers[output] for name, output in fed_back.items()}
    before = {name: PackedArray.of(given[name]) for name in fed_back}
    return before, [PackedArray.of(answers[name]) for name in names]


def _answers(session: Any, inputs: Mapping[str, Array], names: Sequence[str]) -> list[PackedArray]:
    return [PackedArray.of(output) for output in session.run(names, inputs)]
