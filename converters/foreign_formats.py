"""Formats that grurt does not read, told by their content: what a file is, and what to convert instead."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path

HEAD_BYTES = 512
"""How many bytes of a file tell its format."""

_MAX_LISTED = 1000
"""How many names in a folder are looked at."""


def _of_keras(what: str) -> tuple[str, str]:
    return (what, "convert the .keras or .h5 file of the Keras model that it was made from")


def _of_onnx(what: str) -> tuple[str, str]:
    return (what, "convert the .onnx file or the checkpoint that it was made from")


def _packed(what: str) -> tuple[str, str]:
    return (what, "unpack it, and give the model file in it")


SAVED_MODEL = _of_keras("a SavedModel of TensorFlow")
FROZEN_GRAPH = _of_keras("a graph of TensorFlow, without its layers")
TENSORFLOW_JS = _of_keras("a model of TensorFlow.js")
CORE_ML = ("a model of Core ML", "convert the PyTorch or Keras model that it was made from")
NCNN = _of_onnx("a model of ncnn")
OPENVINO = _of_onnx("a model of OpenVINO")
MNN = _of_onnx("a model of MNN")

_BEGINNINGS: Mapping[bytes, tuple[str, str]] = {
    b"7767517\n": NCNN,
    b"7767517\r\n": NCNN,
    (7767517).to_bytes(4, "little"): NCNN,
    b"GGUF": ("a model of llama.cpp", "grurt runs GRU networks, which that format does not hold"),
    b"\x93NUMPY": ("a single array of NumPy", "save the arrays by name, with numpy.savez"),
    b"\x1f\x8b": _packed("a file that gzip has packed"),
    b"BZh": _packed("a file that bzip2 has packed"),
    b"\xfd7zXZ\0": _packed("a file that xz has packed"),
    b"\x28\xb5\x2f\xfd": _packed("a file that zstd has packed"),
    b"7z\xbc\xaf\x27\x1c": _packed("a 7z archive"),
    b"Rar!\x1a\x07": _packed("a RAR archive"),
    b"version https://git-lfs": ("a pointer of Git LFS in place of the file", "run: git lfs pull"),
    b"saved_model_schema_version:": SAVED_MODEL,
    b"node {": FROZEN_GRAPH,
    b"model_checkpoint_path:": _of_keras("a list of TensorFlow's checkpoints"),
}
_AT_BYTE_4: Mapping[bytes, tuple[str, str]] = {
    b"TFL3": _of_keras("a model of TensorFlow Lite"),
    b"ORTM": ("a model in onnxruntime's own format", "convert the .onnx file that it was made from"),
    b"ET12": ("a program of ExecuTorch", "convert the PyTorch model that it was made from"),
}
_WEB_PAGE = ("a web page", "download the file itself, as its site offers it")
_BY_NAME: Mapping[str, tuple[str, str]] = {
    ".mnn": MNN,
    ".pb": FROZEN_GRAPH,
    ".mlmodel": CORE_ML,
    ".bin": (
        "numbers alone, as OpenVINO, ncnn and TensorFlow.js keep them beside what says what they are",
        "convert what that model was made from: an .onnx, .keras or .h5 file, or a checkpoint",
    ),
}
_BY_KEYS: tuple[tuple[frozenset[str], tuple[str, str]], ...] = (
    (frozenset({"modelTopology"}), TENSORFLOW_JS),
    (frozenset({"weightsManifest"}), TENSORFLOW_JS),
    (frozenset({"architecture", "image_data_format"}), _of_keras("a model of frugally-deep")),
    (
        frozenset({"architecture", "config", "weights"}),
        ("a model of Neural Amp Modeler", "grurt runs GRU networks, which it has none of"),
    ),
    (
        frozenset({"class_name", "config"}),
        (
            "the architecture of a Keras model, without weights",
            "convert the file of its weights, and give this one with layers= or --layers",
        ),
    ),
)


def by_content(head: bytes) -> tuple[str, str] | None:
    """Return the format of a file that begins with these bytes; None if it is none of these."""
    for beginning in _BEGINNINGS:
        if head.startswith(beginning):
            return _BEGINNINGS[beginning]
    if head[4:8] in _AT_BYTE_4:
        return _AT_BYTE_4[head[4:8]]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(b"<") and b"<net " in text:
        return OPENVINO
    return _WEB_PAGE if text.startswith((b"<!doctype html", b"<html")) else _of_protobuf(head)


def by_name(name: str) -> tuple[str, str] | None:
    """Return the format of a file of unknown content, if its name tells it."""
    suffix = Path(name).suffix.lower()
    if suffix not in _BY_NAME:
        return None
    what, advice = _BY_NAME[suffix]
    return (f"an unknown format, by its name {what}", advice)


def by_keys(keys: Collection[str]) -> tuple[str, str] | None:
    """Return the format of an object in JSON with these keys; None if it is none of these."""
    for wanted, found in _BY_KEYS:
        if wanted <= set(keys):
            return found
    return None


def by_members(names: Collection[str]) -> tuple[str, str] | None:
    """Return the format of an archive or a folder that holds files of these paths; None if it is none of these."""
    files = {name.rpartition("/")[2] for name in names}
    if files & {"saved_model.pb", "saved_model.pbtxt"}:
        return SAVED_MODEL
    if "coremldata.bin" in files or any("com.apple.CoreML" in name for name in names):
        return CORE_ML
    suffixes = {Path(name).suffix.lower() for name in files}
    if ".bin" in suffixes:
        if "model.json" in files:
            return TENSORFLOW_JS
        return NCNN if ".param" in suffixes else OPENVINO if ".xml" in suffixes else None
    return None


def of_folder(path: Path) -> tuple[str, str] | None:
    """Return the format of a model that is a folder; None if it is none of these. OSError if it cannot be listed."""
    with os.scandir(path) as entries:
        names = {entry.name for entry in islice(entries, _MAX_LISTED)}
    if {"config.json", "metadata.json", "model.weights.h5"} <= names:
        return ("a Keras model saved as a folder", "save it as one file, model.save('model.keras')")
    if path.suffix.lower() in (".mlpackage", ".mlmodelc"):
        return CORE_ML
    return by_members(names)


def _of_protobuf(head: bytes) -> tuple[str, str] | None:
    """Tell messages of TensorFlow and Core ML, which have no magic number, by their first fields.

    All begin like ONNX's ``ModelProto`` or like nothing else: a version, and in field 2, where ONNX has the name of the
    producer, a message.
    """
    if head[:1] == b"\x0a":
        node, _ = _field(head, 0x0A)  # GraphDef.node
        name, rest = _field(node, 0x0A)  # NodeDef.name
        operator, _ = _field(rest, 0x12)  # NodeDef.op
        return FROZEN_GRAPH if _is_text(name) and _is_text(operator) else None
    if head[:1] != b"\x08":
        return None
    message, _ = _field(head[2:], 0x12)
    inner, _ = _field(message, 0x0A)
    name, _ = _field(inner, 0x0A)
    if _is_text(name):  # Model.description.input.name
        return CORE_ML
    return SAVED_MODEL if inner and head[1:2] == b"\x01" else None  # SavedModel.meta_graphs.meta_info_def


def _field(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the field that data begin with, and what follows; nothing if it has another tag.

    Both end where the data do.
    """
    if data[:1] != bytes([tag]):
        return b"", b""
    length = 0
    for at, byte in enumerate(data[1:6]):
        length |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            return data[at + 2 : at + 2 + length], data[at + 2 + length :]
    return b"", b""


def _is_text(data: bytes) -> bool:
    return bool(data) and all(0x20 < character < 0x7F for character in data)
