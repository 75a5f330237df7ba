"""Hostile checkpoints: a GrurtError, in little time and memory, whatever the file says."""

from __future__ import annotations

import io
import pickle
import struct
import time
import zipfile
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from checkpoints import DATA, checkpoint, state_dict, tensor, zipped

from grurt.converters import read_state_dict
from grurt.converters.torch.checkpoint import legacy
from grurt.errors import ConversionError, UnsupportedError

FLOATS = np.arange(4, dtype=np.float32).tobytes()
MEBIBYTE = 1 << 20


def write(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "model.pt").write_bytes(content)
    return tmp_path / "model.pt"


def test_the_hand_made_checkpoint_is_sound(tmp_path: Path) -> None:
    found = read_state_dict(write(tmp_path, checkpoint(state_dict(w=tensor()), {"0": FLOATS})))
    np.testing.assert_array_equal(found["w"], [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        (tensor(offset=1), "tensor 'w': expected a view inside its storage of 4 elements, got offset 1"),
        (tensor(size=(5,)), "expected a view inside its storage"),
        (tensor(size=(2, 2), stride=(4, 1)), "expected a view inside its storage"),
        (tensor(size=(2, 2), stride=(1,)), "expected a view inside its storage"),
        (tensor(size=(2,), stride=(1 << 47,)), "expected a view inside its storage"),
        (tensor(offset=-1), "a size, offset or stride out of range"),
        (tensor(stride=(-1,)), "a size, offset or stride out of range"),
        (tensor(size=(1 << 63,)), "a size, offset or stride out of range"),
        (tensor(size=(1,) * 17, stride=(1,) * 17), "sizes or strides of more than 16 axes"),
        (tensor(numel=5, size=(5,)), "tensor 'w': expected a storage of 20 bytes, got 16"),
        (tensor(numel=1 << 40), "expected a storage of 4398046511104 bytes, got 16"),
        (tensor(numel=-4), "a size, offset or stride out of range"),
        (tensor(key="1"), "checkpoint: expected an entry 'archive/data/1', got none; the file is"),
        (tensor(key="../../../../etc/passwd"), "expected an entry 'archive/data/../../../../etc/passwd', got none"),
        (tensor(size=(1 << 40,), stride=(0,)), "expected tensors that fit into the file"),
        (tensor(size=(1 << 47, 0), stride=(0, 0)), "expected tensors that fit into the file"),
    ],
)
def test_tensors_outside_of_their_storage(opcodes: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        read_state_dict(write(tmp_path, checkpoint(state_dict(w=opcodes), {"0": FLOATS})))


def test_expanded_tensors_take_no_memory_together(tmp_path: Path) -> None:
    large = tensor(size=(1 << 20,), stride=(0,))
    content = checkpoint(state_dict(a=large, b=large, c=large), {"0": FLOATS})
    with pytest.raises(ConversionError, match="tensor 'c': expected tensors that fit into the file"):
        read_state_dict(write(tmp_path, content))


def test_compressed_entries_are_bounded(tmp_path: Path) -> None:
    zeros = bytes(65 * MEBIBYTE)
    files = {"archive/data.pkl": state_dict(w=tensor()), "archive/data/0": zeros}
    with pytest.raises(ConversionError, match="expected entries within the file's size, got 'archive/data/0'"):
        read_state_dict(write(tmp_path, zipped(files, zipfile.ZIP_DEFLATED)))
    with pytest.raises(ConversionError, match=r"expected entries within the file's size, got 'archive/data\.pkl'"):
        read_state_dict(write(tmp_path, zipped({"archive/data.pkl": zeros}, zipfile.ZIP_DEFLATED)))


def test_sound_compressed_checkpoints_are_read(tmp_path: Path) -> None:
    files = checkpoints.entries(DATA / "sd_zip.pt")
    assert len(read_state_dict(write(tmp_path, zipped(files, zipfile.ZIP_DEFLATED)))) == 10


@pytest.mark.parametrize(("position", "what"), [(20, "compressed"), (24, "uncompressed")])
def test_sizes_that_the_archive_only_claims(position: int, what: str, tmp_path: Path) -> None:
    content = bytearray(checkpoint(state_dict(w=tensor()), {"0": FLOATS}))
    entry = content.index(b"PK\x01\x02")
    content[entry + position : entry + position + 4] = struct.pack("<I", 1 << 31)
    with pytest.raises(ConversionError, match=r"expected entries within the file's size|expected a sound zip"):
        read_state_dict(write(tmp_path, bytes(content)))


def test_encrypted_and_unknown_compression(tmp_path: Path) -> None:
    for position, value, message in (
        (8, b"\x01\x00", "expected a sound zip archive, got damage"),
        (
            10,
            b"\x63\x00",
            r"expected entries that are stored or deflated, got 'archive/data",
        ),
    ):
        content = bytearray(checkpoint(state_dict(w=tensor()), {"0": FLOATS}))
        for signature, shift in ((b"PK\x01\x02", 0), (b"PK\x03\x04", -2)):
            entry = content.index(signature)
            content[entry + position + shift : entry + position + shift + 2] = value
        with pytest.raises(ConversionError, match=message):
            read_state_dict(write(tmp_path, bytes(content)))


def test_modules_that_contain_themselves(tmp_path: Path) -> None:
    name = checkpoints.text("_modules")
    cyclic = b"\x80\x02cm\nNet\n)\x81q\x00}" + name + b"}" + checkpoints.text("a") + b"h\x00ssb."
    with pytest.raises(ConversionError, match="expected at most 65536 modules and tensors with names of 200 char"):
        read_state_dict(write(tmp_path, checkpoint(cyclic)))


LEGACY = (pickle.dumps(legacy.MAGIC, 2), pickle.dumps(legacy.PROTOCOL, 2), pickle.dumps({}, 2), state_dict(w=tensor()))
COUNTED = struct.pack("<Q", 4) + FLOATS
"""A storage as files of the earlier format have it."""


def test_the_hand_made_checkpoint_of_the_earlier_format_is_sound(tmp_path: Path) -> None:
    found = read_state_dict(write(tmp_path, b"".join([*LEGACY, pickle.dumps(["0"], 2), COUNTED])))
    np.testing.assert_array_equal(found["w"], [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("keys", "storages", "message"),
    [
        ("0", COUNTED, "checkpoint: expected a list of storage keys; the file is damaged"),
        (["1"], COUNTED, "checkpoint: expected keys of storages in use, got another; the file is damaged"),
        ([], COUNTED, "checkpoint: expected a storage '0', got none; the file is incomplete"),
        (["0"], COUNTED[:-1], "expected 4 elements in the storage '0', got another number or the end of the file; the"),
        (["0"], bytes(24), "expected 4 elements in the storage '0', got another number or the end of the file; the"),
    ],
)
def test_storages_of_the_earlier_format(keys: object, storages: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        read_state_dict(write(tmp_path, b"".join([*LEGACY, pickle.dumps(keys, 2), storages])))


def test_dictionaries_that_contain_themselves(tmp_path: Path) -> None:
    cyclic = b"\x80\x02}q\x00" + checkpoints.text("a") + b"h\x00s."
    with pytest.raises(ConversionError, match="got an object of type 'dict' without tensors"):
        read_state_dict(write(tmp_path, checkpoint(cyclic)))


STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + checkpoints.text("0") + checkpoints.text("cpu") + b"K\x04tQ"
)
V3 = b"ctorch._utils\n_rebuild_tensor_v3\n(" + STORAGE + b"K\x00K\x04\x85K\x01\x85\x89NK\x06tR"


@pytest.mark.parametrize(
    ("opcodes", "message"),
    [
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "got damage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01))tR", "a tensor without a storage"),
        (V3, r"got damage near byte .* \(TypeError: a tensor without a dtype\); save the file again"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(K\x01K\x01)Nt" + b"R", "a tensor subclass that names no function"),
        (b"ctorch\nSize\n(K\x01tR", "sizes or strides"),
        (b"ccollections\nOrderedDict\n(K\x01tR", "an OrderedDict of something else than pairs"),
        (b"K\x01Q", "a persistent id that names no storage"),
        (b"(X\x07\x00\x00\x00storageK\x01K\x01K\x01K\x01tQ", "a persistent id that names no storage"),
    ],
)
def test_wrong_arguments(opcodes: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        read_state_dict(write(tmp_path, checkpoint(state_dict(w=opcodes))))


def test_tensor_subclasses_of_unknown_functions_are_no_tensors(tmp_path: Path) -> None:
    opcodes = b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\ncos\nPath\n)NtR"
    with pytest.raises(
        UnsupportedError,
        match=r"state dict entry 'weight': expected a tensor, got 'os\.system'; save a state dict of tensors only",
    ):
        read_state_dict(write(tmp_path, checkpoint(state_dict(a=tensor(), weight=opcodes), {"0": FLOATS})))
    found = read_state_dict(write(tmp_path, checkpoint(state_dict(a=tensor(), w=opcodes), {"0": FLOATS})))
    assert (list(found), found.unread) == (["a"], ("w",))


def ndarray(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    """Return the opcodes, of protocol 2, that leave an array of NumPy's on the stack."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    return made + b"(K\x01" + shape + b"cnumpy\ndtype\n(" + dtype + b"tR\x89" + data + b"tb"


def encoded(text: str) -> bytes:
    return b"c_codecs\nencode\n(" + checkpoints.text(text) + checkpoints.text("latin1") + b"tR"


F4, FOUR = checkpoints.text("f4"), checkpoints.integers((4,))


def test_the_hand_made_array_is_sound(tmp_path: Path) -> None:
    array = ndarray(FOUR, F4, encoded("\x00\x00\x80?" * 4))
    np.testing.assert_array_equal(read_state_dict(write(tmp_path, checkpoint(state_dict(w=array))))["w"], np.ones(4))


@pytest.mark.parametrize(
    "array",
    [
        ndarray(checkpoints.integers((5,)), F4, encoded("\x00" * 16)),
        ndarray(checkpoints.integers((1 << 40, 1 << 40)), F4, encoded("\x00" * 16)),
        ndarray(checkpoints.integers((-4,)), F4, encoded("\x00" * 16)),
        ndarray(checkpoints.integers((1,) * 40), F4, encoded("\x00" * 4)),
        ndarray(FOUR, checkpoints.text("O8"), encoded("\x00" * 32)),
        ndarray(FOUR, checkpoints.text("f16"), encoded("\x00" * 64)),
        ndarray(FOUR, b"K\x04", encoded("\x00" * 16)),
        ndarray(FOUR, F4, b"K\x04"),
        ndarray(b"K\x04", F4, encoded("\x00" * 16)),
        b"cnumpy.core.multiarray\n_reconstruct\n)R",
        b"cnumpy.core.multiarray\nscalar\n)R",
        b"cnumpy.core.numeric\n_frombuffer\n)R",
    ],
)
def test_arrays_that_do_not_fit_are_none(array: bytes, tmp_path: Path) -> None:
    found = read_state_dict(write(tmp_path, checkpoint(state_dict(a=tensor(), w=array), {"0": FLOATS})))
    assert (list(found), found.unread) == (["a"], ("w",))


def test_arrays_of_texts_that_are_no_bytes(tmp_path: Path) -> None:
    array = ndarray(checkpoints.integers((1,)), F4, encoded("\u20ac\u20ac\u20ac\u20ac"))
    with pytest.raises(ConversionError, match="array 'w': expected numbers as NumPy pickles them, got something else"):
        read_state_dict(write(tmp_path, checkpoint(state_dict(w=array))))


def test_arrays_that_share_their_bytes_take_no_memory_together(tmp_path: Path) -> None:
    """A few bytes of the pickle name a long text again: each array would be a copy of it."""
    first = ndarray(
        checkpoints.integers((MEBIBYTE,)),
        F4,
        b"c_codecs\nencode\n("
        + checkpoints.text("\x00" * 4 * MEBIBYTE)
        + b"q\x00"
        + checkpoints.text("latin1")
        + b"tR",
    )
    again = ndarray(
        checkpoints.integers((MEBIBYTE,)), F4, b"c_codecs\nencode\n(h\x00" + checkpoints.text("latin1") + b"tR"
    )
    names = {f"w{index}": again for index in range(20)}
    with pytest.raises(ConversionError, match="expected tensors that fit into the file, got the size"):
        read_state_dict(write(tmp_path, checkpoint(state_dict(w=first, **names))))


def test_storages_that_are_views(tmp_path: Path) -> None:
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + checkpoints.text("0") + checkpoints.text("cpu")
    opcodes = storage + b"K\x04(X\x01\x00\x00\x00vK\x00K\x04ttQ"
    with pytest.raises(UnsupportedError, match=r"got one that is a view of another, as torch before 0\.4"):
        read_state_dict(write(tmp_path, checkpoint(state_dict(w=opcodes))))


def test_archive_without_an_object(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="got a zip archive that no known framework wrote"):
        read_state_dict(write(tmp_path, zipped({"a": b""})))


@pytest.mark.slow
def test_archives_of_many_entries_are_read_in_time(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(20_000):
            archive.writestr(f"a/{index}", b"")
    started = time.perf_counter()
    with pytest.raises(ConversionError, match="got a zip archive that no known framework wrote"):
        read_state_dict(write(tmp_path, buffer.getvalue()))
    assert time.perf_counter() - started < 5
