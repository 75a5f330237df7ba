"""From what a session is made of to a model: ONNX and ``.grurt``, in files and in memory, and models themselves."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from grurt.container.header import is_of_model
from grurt.container.reading import decode
from grurt.converters.detect import FileFormat, detect_format
from grurt.converters.foreign_formats import HEAD_BYTES
from grurt.converters.installed import expect_onnx
from grurt.converters.reading import errors_named, unreadable_files_named
from grurt.errors import ConversionError, InputTypeError
from grurt.loading import read
from grurt.model import Model
from grurt.network.network import Source
from grurt.regular_files import open_regular_file, read_regular_file
from grurt.session.ports import Declarations, ModelMetadata

ModelSource = str | os.PathLike[str] | bytes | Model

Opened = tuple[Model, Declarations, ModelMetadata]


def opened(source: ModelSource) -> Opened:
    """Return a model, and what its file declares.

    Raises
    ------
    ConversionError, UnsupportedError
        If an ONNX file is damaged, or holds something that grurt does not implement; or a file is neither.
    ModelFileError
        If a ``.grurt`` file is damaged.
    """
    if isinstance(source, Model):
        return _of_model(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _of_bytes(bytes(source))
    if not isinstance(source, str | os.PathLike):
        raise InputTypeError(
            f"InferenceSession: expected a path, the bytes of a file, or a grurt.Model, got {type(source).__name__}"
        )
    path = Path(source)
    return _of_model(read(path)) if _is_grurt(path) else _of_onnx_file(path)


def _of_model(model: Model) -> Opened:
    return model, Declarations(), ModelMetadata(producer_name=model.source.producer)


def _of_bytes(data: bytes) -> Opened:
    if is_of_model(data[:HEAD_BYTES]):
        return _of_model(Model.from_network(decode(data)))
    with errors_named("InferenceSession"):
        return _of_onnx(data, None, Source(format="onnx"))


def _is_grurt(path: Path) -> bool:
    with suppress(OSError, ValueError), open_regular_file(path) as file:
        return is_of_model(file.read(HEAD_BYTES))
    return False  # whoever reads it says why it cannot be read


def _of_onnx_file(path: Path) -> Opened:
    if (found := detect_format(path)) is not FileFormat.ONNX:
        raise ConversionError(
            f"{path.name}: expected an ONNX or a .grurt file, got one of the kind {found.value!r}: convert it with "
            "grurt.converters.convert, and give the model"
        )
    with unreadable_files_named(path.name), errors_named(path.name):
        return _of_onnx(read_regular_file(path), path.parent, Source(format="onnx", file=path.name))


def _of_onnx(data: bytes, folder: Path | None, source: Source) -> Opened:
    expect_onnx()
    # Imported here, because a session of a .grurt file needs no package onnx.
    from grurt.converters.onnx.convert import network_of_proto
    from grurt.converters.onnx.declared import declared
    from grurt.converters.onnx.reading import parse_model

    proto = parse_model(data)
    model = Model.from_network(network_of_proto(proto, size=len(data), folder=folder, source=source))
    said = declared(proto)
    metadata = ModelMetadata(
        said.producer_name,
        said.graph_name,
        said.domain,
        said.description,
        said.graph_description,
        said.version,
        dict(said.custom_metadata),
    )
    return model, Declarations(said.inputs, said.outputs), metadata
