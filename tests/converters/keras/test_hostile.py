"""Hostile Keras files: a GrurtError, in little time and memory, whatever the file says."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hdf5_files
import keras_files
import numpy as np
import pytest
from keras_files import DATA, archive, edited, entries

from grurt.converters import convert
from grurt.converters.keras.handlers import HANDLERS
from grurt.converters.keras.hdf5 import Hdf5
from grurt.errors import ConversionError, UnsupportedError

MEBIBYTE = 1 << 20
WEIGHTS = entries(DATA / "k3_two_layers.keras")["model.weights.h5"]
INPUT = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 6]}}
INPUT_OF_THREE = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, None, 3]}}
KERNEL = "layers/dense/vars/0"
TREE = WEIGHTS.index(b"TREE")
(ROOT,) = struct.unpack_from("<Q", WEIGHTS, 64)

ATTRIBUTES = (DATA / "k2_conv.h5").read_bytes()
BACKEND = ATTRIBUTES.index(b"backend\0") - 8
TYPE, VALUE = 16, 48
"""Where an attribute begins, and, from there, its type and its value."""


def patched(position: int, content: bytes, data: bytes = WEIGHTS) -> bytes:
    return data[:position] + content + data[position + len(content) :]


def first_message(kind: int) -> int:
    """Return where the data of the dataset's header message of a kind start."""
    return Hdf5(WEIGHTS)._headers[KERNEL].messages[kind].start


def continued_by_itself() -> bytes:
    """Return a file whose dataset has an object header with a message that says it goes on where it begins."""
    block = min(message.start for message in Hdf5(WEIGHTS)._headers[KERNEL].messages.values()) - 8
    (size,) = struct.unpack_from("<I", WEIGHTS, block - 8)
    layout = first_message(0x08)
    return patched(layout - 8, b"\x10", patched(layout, struct.pack("<QQ", block, size)))


def continued_by(block: bytes) -> bytes:
    """Return a file whose dataset has an object header that goes on with these messages, at the end of the file."""
    layout = first_message(0x08)
    return patched(layout - 8, b"\x10", patched(layout, struct.pack("<QQ", len(WEIGHTS), len(block)))) + block


def test_the_file_is_sound() -> None:
    assert Hdf5(WEIGHTS).array(KERNEL).shape == (3, 8)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: WEIGHTS[:-1000], "HDF5: expected a sound file, got something of"),
        (lambda: b"\x89HDF\r\n\x1a\n", "got something of 1 bytes at 8, outside of the file's 8"),
        (lambda: b"PK" + WEIGHTS[2:], "got no HDF5 signature at 0"),
        (lambda: patched(8, b"\x02"), "got a superblock of version 2"),
        (lambda: patched(13, b"\x04"), "got addresses that are not 8 bytes long"),
        (
            lambda: patched(24, b"\x01"),
            "HDF5: expected a file as Keras writes them, got a base address; load the model with Keras, and save it",
        ),
        (lambda: patched(ROOT, b"\x02"), "got an object header at .* that is not of version 1"),
        (
            lambda: patched(first_message(0x08) - 6, b"\xff\xff"),
            "a message at .* that is longer than its object header",
        ),
        (lambda: patched(first_message(0x08) - 4, b"\x02"), "got messages shared between objects"),
        (lambda: continued_by_itself(), "got structures that share their bytes over and over"),
        (lambda: continued_by(bytes(8 * 5000)), "got an object header at .* with more than 4096 messages"),
        (lambda: patched(first_message(0x05) - 8, b"\x02"), f"got a group '{KERNEL}' of HDF5's newer layout"),
        (lambda: patched(64, b"\xff" * 8), "got something of 1 bytes at 18446744073709551615"),
        (lambda: patched(WEIGHTS.index(b"TREE"), b"BUSH"), "got no B-tree at"),
        (lambda: patched(WEIGHTS.index(b"TREE") + 4, b"\x01"), "a B-tree at .* that is not of a group"),
        (lambda: patched(WEIGHTS.index(b"TREE") + 5, b"\x01"), "got no B-tree at"),
        (
            lambda: patched(TREE + 5, b"\x01", patched(TREE + 32, struct.pack("<Q", TREE))),
            "got a B-tree at .* that comes back to itself",
        ),
        (lambda: patched(WEIGHTS.index(b"HEAP"), b"HOPE"), "got no local heap at"),
        (lambda: patched(WEIGHTS.index(b"SNOD"), b"DONS"), "got no symbol table node at"),
        (lambda: patched(WEIGHTS.index(b"SNOD") + 8 + 16, b"\x02"), r"got '\w+', a link to somewhere else"),
        (lambda: patched(WEIGHTS.index(b"SNOD") + 8, b"\xff\xff"), "got a name without an end at"),
    ],
)
def test_structures_that_are_damaged(data: Callable[[], bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        Hdf5(data())


def test_a_group_that_holds_itself() -> None:
    root = WEIGHTS[64:72]
    entry = WEIGHTS.index(b"SNOD") + 8 + 8
    with pytest.raises(ConversionError, match="got a tree that is too large, or comes back to itself, at"):
        Hdf5(patched(entry, root))


@pytest.mark.parametrize(
    ("kind", "offset", "content", "message"),
    [
        (0x01, 8, struct.pack("<Q", 1 << 40), r"a dataset 'layers/dense/vars/0' of 96 bytes for the shape"),
        (0x01, 0, b"\x07", "got a dataspace of version 7"),
        (0x01, 1, b"\x40", "got a dataspace of version 1 with 64 axes"),
        (0x03, 0, b"\x16", "expected an array of numbers, got something else"),
        (0x08, 1, b"\x02", "got a dataset that is split into chunks, compressed or virtual"),
        (0x08, 0, b"\x04", "got a dataset that is split into chunks, compressed or virtual"),
        (0x08, 2, b"\xff" * 8, "a dataset 'layers/dense/vars/0' of 0 bytes"),
        (0x08, 2, struct.pack("<Q", 1 << 40), "got something of 96 bytes at 1099511627776"),
    ],
)
def test_datasets_that_are_damaged(kind: int, offset: int, content: bytes, message: str) -> None:
    file = Hdf5(patched(first_message(kind) + offset, content))
    with pytest.raises(ConversionError, match=message):
        file.array(KERNEL)


def test_datasets_together_fit_the_file() -> None:
    layout = first_message(0x08)
    big = patched(layout + 2, struct.pack("<QQ", 0, len(WEIGHTS)))
    big = patched(first_message(0x01) + 8, struct.pack("<QQ", len(WEIGHTS) // 4, 1), big)
    file = Hdf5(big)
    assert file.array(KERNEL).shape == (len(WEIGHTS) // 4, 1)
    assert file.array(KERNEL).shape == (len(WEIGHTS) // 4, 1)
    with pytest.raises(ConversionError, match="a dataset 'layers/dense/vars/1' of 32 bytes"):
        file.array("layers/dense/vars/1")


def test_datasets_that_are_not_there() -> None:
    with pytest.raises(ConversionError, match="got no dataset 'layers/nothing'"):
        Hdf5(WEIGHTS).array("layers/nothing")
    with pytest.raises(ConversionError, match="got no dataset 'layers'"):
        Hdf5(WEIGHTS).array("layers")


def test_texts_that_are_damaged() -> None:
    data = (DATA / "k2_conv.h5").read_bytes()
    heap = data.index(b"GCOL")
    with pytest.raises(ConversionError, match="got no global heap at"):
        Hdf5(patched(heap, b"XXXX", data)).text("", "backend")
    with pytest.raises(ConversionError, match="got no object 2 in the global heap at"):
        Hdf5(patched(heap + 16, b"\x00\x00", data)).text("", "backend")


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        (0, b"\x09", "got an attribute of version 9, or of a shared type"),
        (2, b"\xf0\xff", "got an attribute at .* that is longer than its message"),
        (TYPE, b"\x10", "got an attribute 'backend' that is no text"),
        (TYPE + 4, struct.pack("<I", 1 << 20), "got an attribute 'backend' that is longer than its message"),
    ],
)
def test_attributes_that_are_damaged(offset: int, content: bytes, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        Hdf5(patched(BACKEND + offset, content, ATTRIBUTES)).text("", "backend")


def test_attributes_of_very_long_texts() -> None:
    """The text is in a heap of the file, which knows its length too."""
    length = struct.pack("<I", 1 << 30)
    text = ATTRIBUTES.index(b"tensorflow")
    data = patched(BACKEND + VALUE, length, patched(text - 8, length, ATTRIBUTES))
    with pytest.raises(ConversionError, match="got an attribute 'backend' of more than 16777216 bytes of text"):
        Hdf5(data).text("", "backend")


def test_attributes_in_the_newer_layout() -> None:
    data = patched(first_message(0x05) - 8, b"\x15")
    with pytest.raises(UnsupportedError, match=f"got attributes of '{KERNEL}' in HDF5's newer layout"):
        Hdf5(data).text(KERNEL, "name")


def test_datasets_that_are_compressed() -> None:
    data = patched(first_message(0x05) - 8, b"\x0b")
    with pytest.raises(UnsupportedError, match=f"got a dataset '{KERNEL}' that is compressed, or kept in another file"):
        Hdf5(data).array(KERNEL)


def test_gates_of_several_sizes(tmp_path: Path) -> None:
    """Keras 1 kept the gates apart."""
    data = (DATA / "k1_gru.h5").read_bytes()
    path = next(path for path in Hdf5(data).datasets if path.endswith("gru_1_W_z_0"))
    space = Hdf5(data)._headers[path].messages[0x01].start
    rows, columns = struct.unpack_from("<QQ", data, space + 8)
    (tmp_path / "model.h5").write_bytes(patched(space + 8, struct.pack("<QQ", columns, rows), data))
    with pytest.raises(ConversionError, match="expected gates of one size, got others"):
        convert(tmp_path / "model.h5")


def test_archives_without_a_part(tmp_path: Path) -> None:
    files = entries(DATA / "k3_two_layers.keras")
    del files["config.json"]
    with pytest.raises(ConversionError, match=r"expected an entry 'config\.json', got none"):
        convert(archive(tmp_path, files))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", r"config\.json: expected JSON, got damage"),
        ("config.json", b"[" * 100_000, r"config\.json: expected JSON, got damage"),
        ("config.json", b"[]", "the configuration: expected a model, got something else"),
        ("metadata.json", b"{}", r"metadata\.json: expected a keras_version, got none"),
        (
            "metadata.json",
            b'{"keras_version": "4.0"}',
            r"expected a model of Keras 1, 2 or 3, got the version '4\.0'",
        ),
        ("model.weights.h5", b"", "got something of 8 bytes at 0, outside of the file's 0"),
    ],
)
def test_parts_that_are_damaged(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    files = entries(DATA / "k3_two_layers.keras") | {name: content}
    with pytest.raises(ConversionError, match=message):
        convert(archive(tmp_path, files))


def test_compressed_entries_are_bounded(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in entries(DATA / "k3_two_layers.keras").items():
            written.writestr(name, content + bytes(65 * MEBIBYTE) if name == "config.json" else content)
    with pytest.raises(ConversionError, match=r"expected entries within the file's size, got 'config\.json'"):
        convert(tmp_path / "bomb.keras")


@pytest.mark.slow
def test_layers_that_are_called_very_often(tmp_path: Path) -> None:
    def repeat(config: dict[str, Any]) -> None:
        gru = keras_files.layer_of(config, "g1")
        gru["inbound_nodes"] *= 10_000

    with pytest.raises(UnsupportedError, match="got a layer that is called too often"):
        convert(edited(tmp_path, "k3_residual", repeat))


@pytest.mark.slow
def test_models_that_are_called_very_often(tmp_path: Path) -> None:
    def repeat(config: dict[str, Any]) -> None:
        dense = keras_files.layer_of(config, "sum")
        dense["class_name"] = "Dropout"
        dense["inbound_nodes"] = [{"args": [dense["inbound_nodes"][0]["args"][0][0]], "kwargs": {}}] * 20_000

    with pytest.raises(UnsupportedError, match="got a model of more than 16384 calls of layers"):
        convert(edited(tmp_path, "k3_residual", repeat))


def test_layers_nested_very_deeply(tmp_path: Path) -> None:
    def nest(config: dict[str, Any]) -> None:
        inner = keras_files.layer_of(config, "dense_1")
        for _ in range(50):
            held = {"class_name": inner["class_name"], "config": inner["config"]}
            inner |= {"class_name": "Sequential", "config": {"name": "model", "layers": [INPUT, held]}}

    with pytest.raises(UnsupportedError, match="got layers inside of more than 16 others"):
        convert(edited(tmp_path, "k3_two_layers", nest))


def test_models_inside_of_each_other_with_many_layers(tmp_path: Path) -> None:
    """What is charged for looking through the names of weights is less than any sound file pays for."""
    models = [f"model_{depth}" for depth in range(15)]
    layers = [f"dense_{index}" for index in range(50)]
    kinds = {"kernel:0": np.eye(3), "bias:0": np.zeros(3)}
    names = ["/".join((*models, layer, kind)).encode() for layer in layers for kind in kinds]
    data = hdf5_files.empty()
    heap = hdf5_files.global_heap(data, list(enumerate([*names, b"model_0"], 1)))
    listed = hdf5_files.texts("weight_names", [(len(name), heap, at) for at, name in enumerate(names, 1)])
    tree: dict[str, Any] = dict.fromkeys(layers, kinds)
    held: list[dict[str, Any]] = [{"class_name": "Dense", "config": {"name": name, "units": 3}} for name in layers]
    for model in reversed(models):
        tree = {model: tree}
        held = [{"class_name": "Sequential", "config": {"name": model, "layers": [INPUT_OF_THREE, *held]}}]
    root = hdf5_files.group(
        data,
        [("model_0", hdf5_files.groups(data, tree, listed))],
        hdf5_files.texts("layer_names", [(7, heap, len(names) + 1)]),
    )
    (tmp_path / "model.h5").write_bytes(hdf5_files.finished(data, root))
    whole = {"class_name": "Sequential", "keras_version": "2.4.0", "config": {"name": "s", "layers": held}}
    whole["config"]["layers"] = [INPUT_OF_THREE, *held]
    (tmp_path / "model.json").write_text(json.dumps(whole))
    assert len(convert(tmp_path / "model.h5", str(tmp_path / "model.json")).layers) == 50


def test_contradictions_that_no_layer_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ValueError("of NumPy"), TypeError(), IndexError(), ZeroDivisionError()):

        def fail(*args: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setitem(HANDLERS, "GRU", fail)
        with pytest.raises(
            ConversionError,
            match=r"^k3_residual\.keras: layer 'g1' \(GRU\): expected a configuration, arguments and weights that fit "
            "together; the file is damaged",
        ):
            convert(DATA / "k3_residual.keras")


def test_names_that_stand_twice(tmp_path: Path) -> None:
    files = entries(DATA / "k3_residual.keras")
    twice = files | {"config.json": files["config.json"].replace(b'"units": 4', b'"units": 5, "units": 4', 1)}
    assert twice != files
    with pytest.raises(ConversionError, match=r"config\.json: expected one value for each name of an object, got a na"):
        convert(archive(tmp_path, twice))
