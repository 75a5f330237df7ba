"""The ``.grurt`` file: what is saved comes back, saving is atomic, and whatever is not a model is refused."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import golden_files
import hypothesis
import models
import msgspec
import numpy as np
import pytest
import step_programs
from grurt_files import assert_equal, rewritten, small_model
from hypothesis import strategies as st
from safetensors.numpy import save as encode_safetensors

import grurt
from grurt.container.writing import encode, save
from grurt.errors import GrurtError, ModelFileError
from grurt.loading import read
from grurt.network.versions import FILE_VERSION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.grurt"


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("file") / "small.grurt"
    save(small_model(), file)
    return file.read_bytes()


def test_what_is_saved_comes_back(path: Path) -> None:
    model = small_model()
    model.save(path)
    assert_equal(read(path), model)
    model.save(str(path))
    assert_equal(read(str(path)), model)


@pytest.mark.parametrize("seed", range(8))
def test_random_models_come_back(path: Path, seed: int) -> None:
    model = models.random_model(np.random.default_rng(seed), n_layers=20, streams=bool(seed % 2))
    save(model, path)
    assert_equal(read(path), model)


@pytest.mark.parametrize("seed", range(20))
def test_random_programs_come_back(path: Path, seed: int) -> None:
    """Some have infinite constants, as masks are."""
    model = step_programs.random_step_program(seed)
    save(model, path)
    assert_equal(read(path), model)


def test_every_function_comes_back(path: Path) -> None:
    functions = (*models.ALL_FUNCTIONS, *models.MATHEMATICAL_FUNCTIONS)
    layers = [grurt.Activation(name=f"f{i}", function=f) for i, f in enumerate(functions)]
    model = grurt.Model(layers=layers, weights={}, inputs=[grurt.Input("x", 3)])
    save(model, path)
    assert read(path).layers == model.layers


def test_equal_models_give_equal_bytes(path: Path, content: bytes) -> None:
    model = small_model()
    reordered = grurt.Model(
        layers=model.layers,
        weights=dict(reversed(list(model.weights.items()))),
        signature=model.signature,
        source=model.source,
        reference_run=model.reference_run,
    )
    save(reordered, path)
    assert path.read_bytes() == content


GOLDEN = sorted(golden_files.FOLDER.glob("*.grurt"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.stem)
def test_files_from_the_past_are_read_and_mean_the_same(golden: Path) -> None:
    model = grurt.load(golden)
    assert model.reference_run is not None
    answers = model.run(model.reference_run.inputs)
    tolerance = 0.02 if "int" in golden.stem else 2e-6
    for name, expected in model.reference_run.outputs.items():
        np.testing.assert_allclose(answers[name], expected, rtol=0, atol=tolerance)


def test_the_files_from_the_past_hold_every_kind_of_layer() -> None:
    layers = [layer for golden in GOLDEN for layer in read(golden).layers]
    assert {layer.kind for layer in layers} == {
        kind.__struct_config__.tag for kind in grurt.network.layers.AnyLayer.__args__
    }
    operators = {type(each) for layer in layers if isinstance(layer, grurt.Program) for each in layer.operators}
    assert operators == set(get_args(grurt.operators.AnyOperator))
    formats = {layer.weight_format for layer in layers if isinstance(layer, grurt.network.layers.MatrixLayer)}
    assert formats == set(get_args(grurt.network.layers.base.WeightFormat))


def container(header: str, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header.encode() + data


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda c: b"", "expected a .grurt file, got an empty file"),
    "truncated": (lambda c: c[:-1], "the file is truncated: expected "),
    "a short header": (lambda c: c[:100], "the file is truncated: expected "),
    "bytes at the end": (lambda c: c + b"\0", "the file is damaged: its header does not fit the data behind it"),
    "zip": (
        lambda c: b"PK\x03\x04" + c,
        (
            "expected a .grurt file, got a zip archive, as PyTorch (.pt) and Keras (.keras) write them: "
            "use `grurt convert` to make a model of it"
        ),
    ),
    "hdf5": (lambda c: b"\x89HDF\r\n\x1a\n" + c, "an HDF5 file, as Keras (.h5) writes them: use `grurt convert`"),
    "pickle": (lambda c: b"\x80\x02}q\x00.", "a pickle, as old PyTorch checkpoints are: use `grurt convert`"),
    "onnx": (lambda c: b"\x08\x08\x12\x07pytorch", "got something else, perhaps an ONNX file: use `grurt convert`"),
    "json": (lambda c: b'{"layers": []}', "expected a .grurt file, got a JSON text: use `grurt convert`"),
    "other safetensors": (
        lambda c: encode_safetensors({"weight_ih_l0": np.zeros(3)}),
        "got another safetensors file: use `grurt convert` to make a model of it",
    ),
    "safetensors of PyTorch": (
        lambda c: encode_safetensors({"weight_ih_l0": np.zeros(3)}, metadata={"format": "pt"}),
        "got another safetensors file: use `grurt convert` to make a model of it",
    ),
    "bfloat16 safetensors": (
        lambda c: container('{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}', b"xx"),
        "got another safetensors file: use `grurt convert` to make a model of it",
    ),
    "newer": (
        lambda c: rewritten(c, lambda h: h.update(version=FILE_VERSION + 1, magic=[])),
        f"expected format version {FILE_VERSION}, got the newer version {FILE_VERSION + 1}: upgrade grurt to read it",
    ),
    "version 0": (
        lambda c: rewritten(c, lambda h: h.update(version=0)),
        f"expected format version 1 to {FILE_VERSION}, got version 0",
    ),
    "no version": (
        lambda c: rewritten(c, lambda h: h.pop("version")),
        "the header is damaged: expected a field",
    ),
    "not JSON": (lambda c: encode_safetensors({}, metadata={"grurt": "{"}), "the header is damaged: Input data was"),
    "deep JSON": (
        lambda c: encode_safetensors({}, metadata={"grurt": '{"a":' + "[" * 1_000_000 + "]" * 1_000_000 + "}"}),
        "while deserializing an object",
    ),
    "unknown field": (
        lambda c: rewritten(c, lambda h: h["layers"][1].update(bidirectional=True)),
        "the header is damaged: layers[1]: expected some of the fields",
    ),
    "unknown layer": (
        lambda c: rewritten(c, lambda h: h["layers"][1].update(kind="lstm")),
        "the header is damaged: layers[1].kind: expected one of activation, add,",
    ),
    "missing field": (
        lambda c: rewritten(c, lambda h: h.pop("outputs")),
        "the header is damaged: expected a field outputs, got none",
    ),
    "wrong type": (
        lambda c: rewritten(c, lambda h: h["layers"][1].update(hidden_size=2.5)),
        "the header is damaged: layers[1].hidden_size: expected a whole number, got a number",
    ),
    "huge layer": (
        lambda c: rewritten(c, lambda h: h["layers"][1].update(hidden_size=10**18)),
        "layer 'gru.0': hidden_size must be in [1, 1048576], got 1000000000000000000",
    ),
    "missing tensor": (
        lambda c: rewritten(c, tensors=lambda t: t.pop("weights.gru.0.bias_hh")),
        "weights are missing: gru.0.bias_hh",
    ),
    "extra weight": (
        lambda c: rewritten(c, tensors=lambda t: t.update({"weights.gru.0.b": np.zeros(1, np.float32)})),
        "weights that no layer uses: gru.0.b",
    ),
    "extra tensor": (
        lambda c: rewritten(c, tensors=lambda t: t.update(optimizer=np.zeros(1))),
        "tensors that a model does not have: optimizer",
    ),
    "weight shape": (
        lambda c: rewritten(c, tensors=lambda t: t.update({"weights.gru.0.bias_hh": np.zeros((6, 1), np.float32)})),
        "weight gru.0.bias_hh: expected shape (6,), got (6, 1)",
    ),
    "weight dtype": (
        lambda c: rewritten(c, tensors=lambda t: t.update({"weights.gru.0.bias_hh": np.zeros(6)})),
        "weight gru.0.bias_hh: expected float32, got float64",
    ),
    "NaN": (
        lambda c: rewritten(c, tensors=lambda t: t["weights.gru.0.bias_hh"].fill(np.nan)),
        "weight gru.0.bias_hh: expected finite numbers",
    ),
    "unknown dtype": (
        lambda c: rewritten(c, tensors=lambda t: t.update({"weights.gru.0.bias_hh": np.zeros(6, np.uint16)})),
        "tensor weights.gru.0.bias_hh: expected a dtype of F32, F64, F16, I64, I32, I8, U8, BOOL, got U16",
    ),
    "empty tensor": (
        lambda c: rewritten(c, tensors=lambda t: t.update({"weights.gru.0.bias_hh": np.zeros((0, 6), np.float32)})),
        "tensor weights.gru.0.bias_hh: expected at most 12 axes, none of them empty, got shape [0, 6]",
    ),
    "many axes": (
        lambda c: rewritten(c, tensors=lambda t: t.update({"weights.a.b": np.zeros((1,) * 13, np.float32)})),
        "tensor weights.a.b: expected at most 12 axes, none of them empty",
    ),
    "reference run without a header": (
        lambda c: rewritten(c, lambda h: h.update(reference_run=None)),
        "the file has tensors of a reference run, but its header describes none",
    ),
    "reference run without tensors": (
        lambda c: rewritten(c, tensors=lambda t: t.pop("reference.inputs.ids")),
        "reference run: inputs are missing: ids",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(path: Path, content: bytes, name: str) -> None:
    damage, message = DAMAGED[name]
    path.write_bytes(damage(content))
    with pytest.raises(ModelFileError, match=f"^{re.escape(str(path))}: .*{re.escape(message)}"):
        read(path)


def test_layers_may_leave_out_what_has_a_default(path: Path, content: bytes) -> None:
    def shorten(header: dict[str, Any]) -> None:
        for layer in header["layers"]:
            del layer["inputs"]
        del header["layers"][1]["direction"]

    path.write_bytes(rewritten(content, shorten))
    assert_equal(read(path), small_model())


def test_a_header_that_is_not_utf8_is_damage(path: Path, content: bytes) -> None:
    path.write_bytes(content.replace(b"embed", b"emb\xc4d"))
    with pytest.raises(ModelFileError, match=r"the header is damaged: 'utf-8' codec can't decode byte 0xc4"):
        read(path)


def test_only_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"expected a \.grurt file, got a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.grurt")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(ModelFileError, match=r"expected a \.grurt file, got a pipe"):
            read(tmp_path / "fifo")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "mutated.grurt"


def read_mutated(content: bytes, scratch: Path, rng: np.random.Generator) -> None:
    """Damage the file in one to four places; reading it must give a model or a GrurtError."""
    mutated = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(mutated)))
        match int(rng.integers(6)):
            case 0:
                mutated[at] ^= 1 << int(rng.integers(8))
            case 1:
                mutated[at] = int(rng.integers(256))
            case 2:
                mutated[at : at + int(rng.integers(1, 20))] = b""
            case 3:
                mutated[at:at] = mutated[int(rng.integers(len(mutated))) :][: int(rng.integers(1, 40))]
            case 4:
                mutated[at : at + 1] = rng.choice(
                    [b"-1", b"0", b"1e9", b"null", b'"', b"[", b"}", b"99999999999999999999"]
                )
            case 5:
                del mutated[at + 1 :]
    scratch.write_bytes(mutated)
    with contextlib.suppress(GrurtError):
        read(scratch)


def read_mutations(stamped: bytes, scratch: Path, count: int) -> None:
    content = rewritten(stamped)  # whose digest does not give mutations away
    # Most bytes of a file are numbers, which any value fits. The length of the container's header is kept right in
    # half of the mutations, so that they reach the description behind it.
    rng = np.random.default_rng(5)
    length = 8 + int.from_bytes(content[:8], "little")
    for i in range(count):
        if i % 2:
            read_mutated(content, scratch, rng)
        else:
            read_with_mutated_description(content, length, scratch, rng)


def read_with_mutated_description(content: bytes, length: int, scratch: Path, rng: np.random.Generator) -> None:
    header = bytearray(content[8:length].rstrip())
    at = int(rng.integers(len(header)))
    replacement = rng.choice([b"", b"-", b"0", b"9", b"1e9", b"null", b"true", b"[]", b"x", b"\\\\u0000", b"\\\\ud800"])
    header[at : at + int(rng.integers(0, 3))] = replacement
    scratch.write_bytes(len(header).to_bytes(8, "little") + header + content[length:])
    with contextlib.suppress(GrurtError):
        read(scratch)


@pytest.mark.slow
def test_thousands_of_mutations_give_a_model_or_a_clear_error(content: bytes, scratch: Path) -> None:
    read_mutations(content, scratch, 6_000)


@pytest.mark.long
def test_a_hundred_thousand_mutations_give_a_model_or_a_clear_error(content: bytes, scratch: Path) -> None:
    read_mutations(content, scratch, 100_000)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@hypothesis.settings(deadline=None, max_examples=200, derandomize=True)
@hypothesis.given(data=st.data(), value=JSON)
def test_any_json_anywhere_in_the_description_is_checked(
    content: bytes, scratch: Path, data: st.DataObject, value: Any
) -> None:
    def edit(header: dict[str, Any]) -> None:
        node: Any = header
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
                break
            node = node[key]
        node[key] = value

    scratch.write_bytes(rewritten(content, edit))
    with contextlib.suppress(GrurtError):
        read(scratch)


def leftovers(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir() if file.name.endswith(".tmp")]


def test_a_new_file_has_the_permissions_of_the_umask(path: Path) -> None:
    old = os.umask(0o027)
    try:
        save(small_model(), path)
    finally:
        os.umask(old)
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert leftovers(path) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target = tmp_path / "folder" / "target.grurt"
    target.write_bytes(b"old")
    link = tmp_path / "link.grurt"
    link.symlink_to(target)
    save(small_model(), link)
    assert link.is_symlink()
    assert_equal(read(target), small_model())
    assert leftovers(target) == leftovers(link) == []


def test_a_dangling_link_makes_the_file_that_it_points_at(tmp_path: Path) -> None:
    link = tmp_path / "link.grurt"
    link.symlink_to(tmp_path / "target.grurt")
    save(small_model(), link)
    assert_equal(read(tmp_path / "target.grurt"), small_model())


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left on device"):
        save(small_model(), path)
    assert path.read_bytes() == b"old"
    assert leftovers(path) == []


def test_an_interrupt_leaves_the_old_file_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(small_model(), path)
    assert path.read_bytes() == b"old"
    assert leftovers(path) == []


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=f"File too large: '{path}'"):
            save(small_model(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert leftovers(path) == []


def test_what_is_not_a_file_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="expected a regular file or none, got something else"):
        save(small_model(), tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        save(small_model(), tmp_path / "missing" / "model.grurt")
    assert caught.value.filename == str(tmp_path / "missing" / "model.grurt")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_of_the_lowest_version_that_has_its_layers(path: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    newer = models.layer_model(grurt.RMSNorm(name="norm", size=3), rng=rng)
    newer.save(tmp_path / "newer.grurt")
    assert [version_of(small_model()), version_of(newer)] == [1, 2]
    assert read(tmp_path / "newer.grurt").fingerprint == newer.fingerprint
    content = (tmp_path / "newer.grurt").read_bytes()
    path.write_bytes(rewritten(content, lambda h: h.update(version=1)))
    with pytest.raises(ModelFileError, match=r"is damaged: format version 1 does not have the layers rms_norm$"):
        read(path)


def test_the_precision_of_a_reference_run_raises_the_version_where_it_is_not_that_of_the_ports(path: Path) -> None:
    model = small_model()
    assert model.reference_run is not None
    stated = model.replaced(reference_run=msgspec.structs.replace(model.reference_run, precision="bfloat16"))
    assert version_of(stated) == 2
    stated.save(path)
    found = read(path).reference_run
    assert found is not None
    assert found.precision == "bfloat16"
    path.write_bytes(rewritten(encode(stated), lambda h: h.update(version=1)))
    with pytest.raises(ModelFileError, match=r"format version 1 does not have the precision of a reference run$"):
        read(path)
    path.write_bytes(rewritten(encode(stated), lambda h: h["reference_run"].update(precision="float8")))
    with pytest.raises(ModelFileError, match=r"precision: expected one of bfloat16, float16, .*, got 'float8'"):
        read(path)


@pytest.mark.parametrize("function", models.MATHEMATICAL_FUNCTIONS, ids=str)
def test_a_function_that_came_later_raises_the_version(path: Path, function: grurt.network.functions.Function) -> None:
    layer = grurt.Activation(name="f", function=function)
    model = grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 3)])
    assert version_of(model) == 2
    path.write_bytes(rewritten(encode(model), lambda h: h.update(version=1)))
    with pytest.raises(ModelFileError, match=r"is damaged: format version 1 does not have the layers activation$"):
        read(path)


@pytest.mark.parametrize(
    "port",
    [
        {"dtype": "bool"},
        {"dtype": "int32"},
        {"axes": ("batch_time", "feature")},
        {"axes": ("time_batch", "feature")},
        {"packed": False},
    ],
    ids=str,
)
def test_a_signature_that_came_later_raises_the_version(path: Path, port: dict[str, Any]) -> None:
    axes: Any = ("batch", "time", "feature")
    given: dict[str, Any] = {"name": "x", "value": "x", "dtype": "float32", "axes": axes}
    lengths = grurt.LengthsPort(name="n", dtype="int64", axes=("batch",), packed=port.get("packed", True))
    inputs = (grurt.ValuePort(**given | {key: port[key] for key in port.keys() & {"dtype"}}), lengths)
    outputs = (
        grurt.ValuePort(**given | {"name": "y", "value": "y"} | {key: port[key] for key in port.keys() & {"axes"}}),
    )
    layer = grurt.Activation(name="relu", function=grurt.Relu())
    parts: dict[str, Any] = {"layers": [layer], "weights": {}, "inputs": [grurt.Input("x", 3)]}
    model = grurt.Model(**parts, signature=grurt.Signature(inputs, outputs))
    assert version_of(model) == 2
    path.write_bytes(encode(model))
    assert read(path).signature == model.signature
    path.write_bytes(rewritten(encode(model), lambda h: h.update(version=1)))
    with pytest.raises(ModelFileError, match=r"format version 1 does not have the dtypes or axes of its signature$"):
        read(path)


def version_of(model: grurt.Model) -> int:
    """Return the version that is written in a model's file."""
    content = encode(model)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return int(json.loads(header["__metadata__"]["grurt"])["version"])
