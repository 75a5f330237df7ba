"""Files of other formats are called what they are, and nobody is told that they are damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from grurt.converters import convert, convert_onnx, read_state_dict
from grurt.errors import ConversionError, UnsupportedError


def field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message: a message, a text or bytes."""
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def version(number: int) -> bytes:
    return bytes([0x08, number])


META_INFO = field(2, field(1, field(1, b"Add"))) + field(4, b"serve") + field(5, b"2.15.0")
SAVED_MODEL = version(1) + field(2, field(1, META_INFO) + field(2, bytes(5000)))
NODE = field(1, b"model/x") + field(2, b"Placeholder")
FROZEN = field(1, NODE) + field(1, field(1, b"w" * 300) + field(2, b"Const") + bytes(3000))
FEATURE = field(1, b"x") + field(3, field(5, b"\x08\x03"))
CORE_ML = version(5) + field(2, field(1, FEATURE) + field(10, FEATURE)) + bytes(100)
FLATBUFFER = b"\x1c\0\0\0"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (SAVED_MODEL, "a SavedModel of TensorFlow; convert the .keras or .h5 file of the Keras model that it was made"),
        (b"saved_model_schema_version: 1\nmeta_graphs {", "a SavedModel of TensorFlow"),
        (FROZEN, "a graph of TensorFlow, without its layers; convert the .keras or .h5 file"),
        (field(1, field(1, b"w" * 300) + field(2, b"Const")), "a graph of TensorFlow"),
        (b'node {\n  name: "x"\n', "a graph of TensorFlow"),
        (b'model_checkpoint_path: "model.ckpt-1"\n', "a list of TensorFlow's checkpoints"),
        (FLATBUFFER + b"TFL3" + bytes(100), "a model of TensorFlow Lite; convert the .keras or .h5 file"),
        (
            FLATBUFFER + b"ORTM" + bytes(100),
            "a model in onnxruntime's own format; convert the .onnx file that it was m",
        ),
        (FLATBUFFER + b"ET12" + bytes(100), "a program of ExecuTorch; convert the PyTorch model that it was made from"),
        (CORE_ML, "a model of Core ML; convert the PyTorch or Keras model that it was made from"),
        (b"7767517\n3 3\nInput in0 0 1 in0\n", "a model of ncnn; convert the .onnx file or the checkpoint"),
        (b"\xdd\x85\x76\x00\x03\x00\x00\x00", "a model of ncnn"),
        (b'<?xml version="1.0"?>\n<net name="Model0" version="11">\n', "a model of OpenVINO"),
        (b"\xef\xbb\xbf<net name='m' version='10'>", "a model of OpenVINO"),
        (b"<!DOCTYPE html>\n<html>", "a web page; download the file itself"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "a pointer of Git LFS in place of the file; run",
        ),
        (gzip.compress(b"model"), "a file that gzip has packed; unpack it, and give the model file in it"),
        (lzma.compress(b"model"), "a file that xz has packed"),
        (bz2.compress(b"model"), "a file that bzip2 has packed"),
        (b"\x28\xb5\x2f\xfd\0", "a file that zstd has packed"),
        (b"GGUF\3\0\0\0", "a model of llama.cpp"),
        (b"\x93NUMPY\1\0", "a single array of NumPy; save the arrays by name, with numpy.savez"),
    ],
)
def test_files(data: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    for read in (convert, read_state_dict):
        with pytest.raises(UnsupportedError, match=r"model\.onnx: expected a model that grurt reads, got") as raised:
            read(tmp_path / "model.onnx")
        assert what in str(raised.value)
        assert "damaged" not in str(raised.value)


def test_files_that_are_taken_for_onnx(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(SAVED_MODEL)
    with pytest.raises(UnsupportedError, match="expected an ONNX model, got a SavedModel of TensorFlow; convert the"):
        convert_onnx(tmp_path / "saved_model.pb")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("model.mnn", "a model of MNN"),
        ("weights.BIN", "numbers alone, as OpenVINO, ncnn and"),
        ("graph.pb", "a graph of Te"),
    ],
)
def test_content_that_says_nothing(name: str, what: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x18\0\0\0\0\0\0\0\x12\0")
    with pytest.raises(
        UnsupportedError, match=f"{name}: expected a model that grurt reads, got an unknown format, by its name {what}"
    ):
        convert(tmp_path / name)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["saved_model.pb", "keras_metadata.pb", "variables"], "a SavedModel of TensorFlow"),
        (["model.json", "group1-shard1of1.bin"], "a model of TensorFlow.js"),
        (["model.ncnn.param", "model.ncnn.bin"], "a model of ncnn"),
        (["model.xml", "model.bin"], "a model of OpenVINO"),
        (["coremldata.bin", "model.mil"], "a model of Core ML"),
        (["config.json", "metadata.json", "model.weights.h5"], r"a Keras model saved as a folder; save it as one file"),
    ],
)
def test_folders(names: list[str], what: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UnsupportedError, match=f"expected a model that grurt reads, got {what}"):
        convert(tmp_path)


def test_packages_of_core_ml(tmp_path: Path) -> None:
    (tmp_path / "model.mlpackage").mkdir()
    with pytest.raises(UnsupportedError, match="got a model of Core ML; convert the PyTorch or Keras model"):
        convert(tmp_path / "model.mlpackage")


def test_other_folders(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConversionError, match="expected a file, got a folder; give the model file in it"):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["model/saved_model.pb", "model/variables/variables.index"], "a SavedModel of TensorFlow"),
        (["model.json", "group1-shard1of1.bin"], "a model of TensorFlow.js"),
        (["m.mlpackage/Manifest.json", "m.mlpackage/Data/com.apple.CoreML/model.mlmodel"], "a model of Core ML"),
        (["readme.txt"], "a zip archive that no known framework wrote"),
    ],
)
def test_archives(names: list[str], what: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    with pytest.raises(UnsupportedError, match=f"expected a model that grurt reads, got {what}"):
        convert(tmp_path / "model.zip")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (
            {"format": "layers-model", "modelTopology": {}, "weightsManifest": []},
            "a model of TensorFlow.js; convert the",
        ),
        (
            {"class_name": "Sequential", "config": {}},
            "the architecture of a Keras model, without weights; convert the fi",
        ),
        ({"architecture": {}, "image_data_format": "channels_last"}, "a model of frugally-deep"),
        ({"version": "0.5", "architecture": "LSTM", "config": {}, "weights": [1.0]}, "a model of Neural Amp Modeler"),
    ],
)
def test_json(document: Mapping[str, object], what: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(document))
    with pytest.raises(UnsupportedError, match=f"model.json: expected a model that grurt reads, got {what}"):
        convert(tmp_path / "model.json")


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff", b"\x08", b"\x08\x01\x12", b"<", b"<net", b"\x0a\x02\x0a\x05"]
)
def test_beginnings_of_nothing(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ConversionError):
        convert(tmp_path / "model.onnx")


@pytest.mark.parametrize("producer", [b"", b"pytorch", b"x" * 200])
def test_onnx_of_the_first_version_is_no_saved_model(producer: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(version(1) + field(2, producer) + field(7, b""))
    with pytest.raises(ConversionError) as raised:
        convert(tmp_path / "model.onnx")
    assert "TensorFlow" not in str(raised.value)
    assert "Core ML" not in str(raised.value)
