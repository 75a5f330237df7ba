"""convert: what a file is follows from its content, and every other file is refused with a reason."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import safetensors.numpy
from checkpoints import DATA

from grurt import reference
from grurt.converters import convert, convert_onnx, read_state_dict
from grurt.converters.detect import FileFormat, detect_format
from grurt.converters.installed import is_installed
from grurt.converters.reference import attach_reference, check_reference
from grurt.errors import ConversionError, DescriptionError, UnsupportedError
from grurt.installing import install_command
from grurt.network.reference_run import ReferenceRun

ONNX = DATA / "c_eachstep_bf.onnx"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (DATA / "sd_zip.pt", FileFormat.TORCH),
        (DATA / "ckpt_lightning.ckpt", FileFormat.TORCH),
        (DATA / "full_module.pt", FileFormat.TORCH),
        (DATA / "sd_legacy.pt", FileFormat.LEGACY_TORCH),
        (DATA / "model.safetensors", FileFormat.SAFETENSORS),
        (DATA / "jit_trace.pt", FileFormat.TORCHSCRIPT),
        (DATA / "export.pt2", FileFormat.PT2),
        (DATA / "io.npz", FileFormat.NPZ),
        (ONNX, FileFormat.ONNX),
    ],
    ids=lambda value: value.name,
)
@pytest.mark.parametrize("name", ["model", "model.onnx", "model.pt", "model.safetensors", "model.json"])
def test_content_decides(source: Path, expected: FileFormat, name: str, tmp_path: Path) -> None:
    shutil.copy(source, tmp_path / name)
    assert detect_format(tmp_path / name) is expected


def test_safetensors_of_any_header_length(tmp_path: Path) -> None:
    # The first bytes are the header's length: 0x80 is how a pickle begins, 0x50 0x4b a zip archive.
    lengths = set()
    for count in range(1, 300, 7):
        path = tmp_path / "w.safetensors"
        safetensors.numpy.save_file({"w" * count: np.ones(1, np.float32)}, path)
        lengths.add(path.read_bytes()[0])
        assert detect_format(path) is FileFormat.SAFETENSORS
    assert 0x80 in lengths


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tar(), r"got a tar archive, as torch wrote them before version 0\.1\.10"),
        (pickle.dumps({"w": 1}, 2), r"got a pickle that torch\.save did not write; unpickling runs code"),
        (pickle.dumps({"w": 1}, 5), r"got a pickle that torch\.save did not write"),
        (checkpoints.zipped({"a.txt": b"a"}), "got a zip archive that no known framework wrote"),
    ],
)
def test_known_formats_are_refused_by_name(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(UnsupportedError, match=rf"^model\.bin: expected a model that grurt reads, {message}"):
        convert(path, layers="gru")


def test_the_weights_of_a_torchscript_program() -> None:
    model = convert(DATA / "jit_trace.pt", "gru, fc", reference=False)
    arrays = checkpoints.stored("io.npz")
    for x, y in zip(arrays["x"], arrays["y"], strict=True):
        np.testing.assert_allclose(reference.run(model, {"x": x})[0]["y"], y, atol=2e-6, rtol=0)
    assert model.source.notes == (
        "only the weights of the TorchScript program were read: its layers are those of the description",
    )


def test_a_grurt_file_is_a_model_already(tmp_path: Path) -> None:
    convert(DATA / "c_eachstep_bf.pt", layers="gru, fc", reference=False).save(tmp_path / "model.grurt")
    with pytest.raises(UnsupportedError, match=r"got a grurt model already; use it as it is, grurt\.load reads it"):
        convert(tmp_path / "model.grurt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^model\.pt: expected a model, got an empty file; was it written to the end\?"),
        (b"a", r"^model\.pt: .*got an unknown format; the file is damaged, or not a model"),
        (bytes(100), "got an unknown format"),
        (b"PK\x03\x04" + bytes(100), "checkpoint: expected a sound zip archive, got damage"),
        (b"\xff\xfe hello", "got an unknown format"),
    ],
)
def test_other_files(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        convert(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"none\.pt: expected a file that can be read, got: No such file"):
        convert(tmp_path / "none.pt")
    with pytest.raises(ConversionError, match="expected a file, got a folder; give the model file in it"):
        convert(tmp_path)
    with pytest.raises(ConversionError, match=r"^\.: expected a file, got a folder"):
        convert(".")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConversionError, match="expected a file, got a pipe; write it to a file"):
        convert(tmp_path / "pipe")


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"a")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("grurt.converters.detect.open_regular_file", refuse)
    with pytest.raises(ConversionError, match=r"model\.pt: expected a file that can be read, got: Permission denied"):
        convert(path)


def test_errors_name_the_file() -> None:
    with pytest.raises(DescriptionError, match=r"^sd_zip\.pt: layers: expected a description, got none"):
        convert(DATA / "sd_zip.pt")
    with pytest.raises(UnsupportedError, match=r"^list_params\.pt: checkpoint: expected a state dict, got a list"):
        convert(DATA / "list_params.pt", layers="gru")


def test_onnx_needs_no_description() -> None:
    with pytest.raises(DescriptionError, match="layers: an ONNX file holds the architecture itself"):
        convert(ONNX, layers="gru, fc")
    with pytest.raises(ConversionError, match="expected a state dict, got an ONNX file; convert it with convert"):
        read_state_dict(ONNX)


def test_onnx_and_state_dict_give_the_same_answers() -> None:
    from_onnx = convert(ONNX)
    from_weights = convert(DATA / "c_eachstep_bf.pt", layers="gru, fc")
    xs = checkpoints.stored("c_eachstep_bf.npz")["in_x"]
    np.testing.assert_allclose(from_onnx.run(xs), from_weights.run(xs), atol=1e-6, rtol=0)
    assert from_onnx.verify().ok
    assert convert_onnx(ONNX, reference=False).fingerprint == from_onnx.fingerprint
    with pytest.raises(ImportError):
        from grurt.converters import no_such_name  # noqa: F401


def test_path_may_be_text() -> None:
    assert convert(str(DATA / "c_eachstep_bf.pt"), layers="gru, fc", reference=False).source.file == "c_eachstep_bf.pt"


def test_a_wrong_reference_run_is_an_error() -> None:
    model = convert(DATA / "c_eachstep_bf.pt", layers="gru, fc")
    assert model.reference_run is not None
    outputs = {name: array + np.float32(1e-3) for name, array in model.reference_run.outputs.items()}
    wrong = model.replaced(reference_run=ReferenceRun(model.reference_run.inputs, outputs, "torch 9"))
    with pytest.raises(ConversionError, match=r"expected the answers of torch 9, got others, by up to 0\.001"):
        check_reference(wrong)
    check_reference(model.replaced(reference_run=None))


def test_a_missing_reference_run_is_noted() -> None:
    def missing() -> ReferenceRun:
        raise ConversionError("torch is not installed")

    model = attach_reference(convert(DATA / "c_eachstep_bf.pt", layers="gru, fc", reference=False), missing)
    assert model.reference_run is None
    assert model.source.notes == ("no reference run: torch is not installed",)


def run_without(packages: str, code: str) -> str:
    """Return what the code prints in a Python that cannot find these packages."""
    lines = (
        "import sys, importlib.machinery as m",
        f"find, hidden = m.PathFinder.find_spec, {packages!r}.split()",
        "m.PathFinder.find_spec = lambda name, *a: None if name.split('.')[0] in hidden else find(name, *a)",
        code,
    )
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True).stdout


def test_a_folder_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keras_models").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("keras_models") is not None
    assert not is_installed("keras_models")
    assert not is_installed("no_such_package")
    assert is_installed("numpy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "layers"),
    [
        ("torch/sd_zip.pt", "gru, fc"),
        ("torch/sd_legacy.pt", "gru, fc"),
        ("torch/jit_trace.pt", "gru, fc"),
        ("torch/model.safetensors", "gru, fc"),
        ("torch/export.pt2", None),
        ("keras/k3_two_layers.keras", None),
        ("keras/k2_nested.h5", None),
    ],
)
def test_files_need_no_framework_and_no_engine(source: str, layers: str | None) -> None:
    frameworks = "torch onnx onnxruntime numba llvmlite scipy keras tensorflow h5py"
    code = (
        "from grurt.converters import convert\n"
        f"model = convert({str(DATA.parent / source)!r}, layers={layers!r}, reference=False)\n"
        f"print(model.parameter_count > 0, sorted(set({frameworks!r}.split()) & set(sys.modules)))"
    )
    assert run_without(frameworks, code) == "True []\n"


@pytest.mark.slow
def test_without_torch_the_model_has_no_reference_run() -> None:
    code = (
        "from grurt.converters import convert\n"
        f"model = convert({str(DATA / 'sd_zip.pt')!r}, layers='gru, fc')\n"
        "print(model.source.notes, model.reference_run)"
    )
    assert run_without("torch numba", code) == "('no reference run: torch is not installed',) None\n"


@pytest.mark.slow
def test_without_onnx_the_message_says_how_to_install_it() -> None:
    code = (
        "from grurt.converters import convert\n"
        f"try: convert({str(ONNX)!r})\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    assert run_without("onnx", code) == (
        f"ConversionError {ONNX.name}: expected the package onnx to be installed, got none; "
        f"run: {install_command('onnx')}\n"
    )


def test_public_names() -> None:
    import grurt.converters

    assert grurt.converters.__all__ == sorted(grurt.converters.__all__)
    assert all(hasattr(grurt.converters, name) for name in grurt.converters.__all__)
    assert isinstance(convert(ONNX, reference=False), grurt.Model)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    weights = {"fc.weight": np.full((2, 3), np.nan, np.float32), "fc.bias": np.zeros(2, np.float32)}
    safetensors.numpy.save_file(weights, tmp_path / "bad.safetensors")
    with pytest.raises(ConversionError, match=r"^bad\.safetensors: module 'fc': expected finite numbers in 'weight'"):
        convert(tmp_path / "bad.safetensors", layers="fc")


def test_an_entry_that_means_nothing(tmp_path: Path) -> None:
    """Where a file holds one network, where two entries are given, and in arrays."""
    torch = pytest.importorskip("torch")
    with pytest.raises(
        DescriptionError, match="entry: expected none, got 'a': an ONNX file holds one network; leave it"
    ):
        convert(ONNX, entry="a")
    path = tmp_path / "two.pt"
    torch.save({"a": torch.nn.GRU(3, 4).state_dict(), "b": torch.nn.GRU(3, 5).state_dict()}, path)
    with pytest.raises(DescriptionError, match="entry: expected one, got 'a' and, in the description, 'b'"):
        convert(path, "., entry(b)", entry="a")
    assert convert(path, "., entry(b)", entry="b", reference=False).layers == convert(path, ".", entry="b").layers
    arrays = {
        name: tensor.numpy() for name, tensor in torch.nn.ModuleDict({"a": torch.nn.GRU(3, 4)}).state_dict().items()
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    for source in (arrays, tmp_path / "arrays.npz"):
        assert convert(source, ".", entry="a", reference=False).layers[0].kind == "gru"
        with pytest.raises(ConversionError, match="entry: expected a module of the state dict, got 'b'; there are a"):
            convert(source, ".", entry="b", reference=False)
