"""Damages files of every format but ONNX and converts them, in a process of limited memory that opens no other file.

Run as a program, with a format, the first seed, the number of files and a folder; prints what became of them.
"""

from __future__ import annotations

import copy
import encodings.cp437  # noqa: F401 - which zipfile asks for when it meets a name that is not UTF-8
import importlib
import io
import json
import os
import pickletools
import random
import resource
import struct
import sys
import time
import unicodedata  # noqa: F401 - which the parser asks for when it meets a name that is not ASCII
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import hostile_programs
import numpy as np
from checkpoints import entries, zipped
from paths import DATA

from grurt.converters import convert
from grurt.errors import GrurtError

MEMORY = 100 << 20
"""Bytes of address space that any file may take, beyond what Python and NumPy have taken for the sound files."""

MEMORY_PER_BYTE = 24
"""Bytes of it for each byte of the file; docs/conversion.md has no more for any format."""

SECONDS, SECONDS_PER_MEBIBYTE = 2, 2
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 3, 1 << 62, 0.5, 1e308, "", "gru", "concat", [], [0], {})
VALUES += (10**400, -(1 << 70), "n" * 5000, [0] * 5000, {str(index): None for index in range(2000)})
STATM = os.open("/proc/self/statm", os.O_RDONLY)

MAX_PLACES = 20_000
"""Of a JSON document that has grown enough."""

OPERATIONS = (b"}", b"]", b")", b"(", b"0", b"2", b"h\x00", b"h\x01", b"q\x00", b"\x94", b"R", b"Q", b"b", b"u", b"e")
OPERATIONS += (
    b"t",
    b"K\x00",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"J\xff\xff\xff\xff",
    b"N",
    b"\x85",
    b"X\0\0\0\0",
)
FORBIDDEN = ("pickle.", "os.exec", "os.system", "os.posix", "os.remove", "os.rename", "subprocess.", "socket.")
FORBIDDEN += ("shutil.", "ctypes.", "exec", "marshal.")
"""Audit events that reading a file never raises."""


@dataclass(frozen=True)
class Target:
    """Sound files of a format, the entries of an archive worth damaging by themselves, and descriptions."""

    files: Callable[[], Sequence[bytes]]
    endings: tuple[str, ...] = ()
    layers: Sequence[str | None] = ("gru, fc", None)
    grown: Callable[[bytes, random.Random], bytes] | None = None
    """Returns a sound file that holds more, or shares more of what it holds."""


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return the content with some bytes changed, inserted, removed, repeated, or its end cut off."""
    result = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        position = rng.randrange(len(result) + 1)
        count = rng.randrange(1, 9)
        choice = rng.random()
        if choice < 0.55:
            result[position : position + 1] = bytes([rng.choice([0, 255, 127, 128, 1, rng.randrange(256)])])
        elif choice < 0.65:
            result[position:position] = rng.randbytes(count)
        elif choice < 0.75:
            del result[position : position + count]
        elif choice < 0.85:
            other = rng.randrange(len(result) + 1)
            numbers = [b"\xff" * 8, bytes(8), struct.pack("<Q", 1 << rng.randrange(63)), result[other : other + 8]]
            result[position : position + 8] = rng.choice(numbers)
        elif choice < 0.97:
            result[position:position] = result[: position + count][-4 * count :]
        else:
            del result[position:]
    return bytes(result)


def places_in(document: Any) -> list[tuple[Any, Any]]:
    """Return what stands in a JSON document: each with the object or list that holds it, and its key or index.

    Of a document that has grown enough, a part.
    """
    places: list[tuple[Any, Any]] = []
    stack = [document]
    while stack and len(places) < MAX_PLACES:
        node = stack.pop()
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        places += [(node, key) for key in keys]
        stack += [node[key] for key in keys if isinstance(node[key], dict | list)]
    return places


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON text with some of its values replaced, removed, exchanged, repeated or put into each other."""
    document = json.loads(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        places = places_in(document)
        if not places:
            break
        node, key = rng.choice(places)
        other, source = rng.choice(places)
        choice = rng.random()
        if choice < 0.35:
            node[key] = copy.deepcopy(rng.choice(VALUES))
        elif choice < 0.7:
            node[key] = copy.deepcopy(other[source])
        elif choice < 0.8:
            node[key] = [node[key]] * rng.choice([1, 2, 40, 2000])
        elif choice < 0.85:
            for _ in range(rng.choice([1, 20, 400])):
                node[key] = [node[key]] if rng.random() < 0.5 else {"config": node[key]}
        elif choice < 0.9 and isinstance(node[key], list):
            node[key] *= rng.choice([2, 50, 1000])
        elif choice < 0.95 and isinstance(node[key], dict):
            node[key] |= {f"{name}_{index}": value for name, value in node[key].items() for index in range(50)}
        else:
            del node[key]
        if len(places) >= MAX_PLACES:
            break
    try:
        return json.dumps(document).encode()
    except RecursionError:  # it is nested too deeply by now for Python's writer
        return mutated(content, rng)


def mutated_hdf5(content: bytes, rng: random.Random) -> bytes:
    """Return an HDF5 file with some of its addresses exchanged, and counts and sizes changed: all else is sound."""
    result = bytearray(content)
    words = [at for at in range(24, len(content) - 8, 8) if 64 <= _word(content, at) < len(content)]
    nodes = [at for name in (b"SNOD", b"TREE", b"HEAP", b"GCOL") for at in _all(content, name)]
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at, choice = rng.choice(words), rng.random()
        if choice < 0.5:
            value = _word(content, rng.choice(words))
        elif choice < 0.7:
            value = _word(content, at) + rng.choice([-8, 8, 16, -40, 40])
        elif choice < 0.85:
            value = rng.choice([len(content), len(content) - 8, 1 << 40, (1 << 64) - 1, 0, *nodes])
        else:
            struct.pack_into("<H", result, rng.choice(nodes) + 6, rng.choice([0, 1, 2, 100, 65535]))
            continue
        struct.pack_into("<Q", result, at, value % (1 << 64))
    return bytes(result)


def mutated_pickle(content: bytes, rng: random.Random) -> bytes:
    """Return a pickle with some of its operations repeated, removed, exchanged, or other numbers and memos in them."""
    begin, ends = _longest_pickle(content)
    operations = [content[start:end] for start, end in pairwise([begin, *ends])]
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not operations:
            break
        first = rng.randrange(len(operations))
        last = min(len(operations), first + rng.choice([1, 2, 3, 8, 30]))
        other, choice = rng.randrange(len(operations)), rng.random()
        if choice < 0.3:
            operations[first:last] = operations[first:last] * rng.choice([2, 3, 50, 2000])
        elif choice < 0.5:
            operations[other:other] = operations[first:last]
        elif choice < 0.6:
            del operations[first:last]
        elif choice < 0.8:
            operations[first] = rng.choice(OPERATIONS)
        else:
            operations[first] = operations[other]
    return content[:begin] + b"".join(operations) + content[max(ends, default=begin) :]


def mutated_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Return a safetensors file with another header, of the length that it says."""
    size = int.from_bytes(content[:8], "little")
    header = mutated_json(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


def _longest_pickle(content: bytes) -> tuple[int, list[int]]:
    """Return where the longest of the pickles begins that lie one behind the other, and where its operations end."""
    file, found = io.BytesIO(content), (0, [0])
    with suppress(ValueError, IndexError):  # at the end, and where something else follows
        while True:
            begin = file.tell()
            ends = [file.tell() for _ in pickletools.genops(file)]
            found = max(found, (begin, ends), key=lambda pickle: len(pickle[1]))
    return found


def _word(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 8], "little")


def _all(content: bytes, name: bytes) -> list[int]:
    return [at for at in range(0, len(content) - 8, 8) if content.startswith(name, at)]


@cache
def unzipped(content: bytes) -> Mapping[str, bytes]:
    return entries(io.BytesIO(content))


def mutant(target: Target, rng: random.Random) -> bytes:
    """Return a damaged file; of an archive often a sound one with one damaged entry, which gets further."""
    content = rng.choice(target.files())
    if target.grown is not None and rng.random() < 0.4:
        content = target.grown(content, rng)
        if rng.random() < 0.7:
            return content
    if content.startswith(b"PK") and rng.random() < 0.75:
        files = unzipped(content)
        chosen = rng.choice([name for name in files if name.endswith(target.endings)])
        compression = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
        return zipped({**files, chosen: _mutated_text_or_bytes(files[chosen], rng)}, compression)
    return _mutated_text_or_bytes(content, rng)


def _mutated_text_or_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return the content with its structure kept and its parts changed, or with any bytes changed."""
    if rng.random() < 0.4:
        return mutated(content, rng)
    if content[:1] in (b"{", b"["):
        return mutated_json(content, rng)
    if content.startswith(b"\x89HDF"):
        return mutated_hdf5(content, rng)
    if content.startswith(b"\x80"):
        return mutated_pickle(content, rng)
    if content[8:9] == b"{":
        return mutated_safetensors(content, rng)
    return mutated(content, rng)


def stored(*patterns: str) -> Callable[[], Sequence[bytes]]:
    """Return what reads the files in ``tests/data`` that have such names."""
    return cache(lambda: [path.read_bytes() for pattern in patterns for path in sorted(DATA.glob(pattern))])


@cache
def rtneural_files() -> Sequence[bytes]:
    gru: dict[str, Any] = {"type": "gru", "activation": "tanh", "shape": [None, None, 2]}
    gru["weights"] = [[[0.5] * 6] * 3, [[0.25] * 6] * 2, [[0.1] * 6] * 2]
    conv: dict[str, Any] = {"type": "conv1d", "activation": "relu", "shape": [None, None, 2]}
    conv |= {"kernel_size": [2], "dilation": [1], "weights": [[[[1.0, 2.0]] * 2] * 2, [0.0, 1.0]]}
    norm: dict[str, Any] = {"type": "batchnorm", "activation": "", "shape": [None, None, 2], "epsilon": 0.001}
    norm["weights"] = [[1.0, 2.0]] * 4
    dense = {"type": "dense", "activation": "", "shape": [None, None, 1], "weights": [[[0.5], [1.0]], [0.25]]}
    model = {"in_shape": [None, None, 3], "layers": [gru, conv, norm, dense], "in_skip": 0, "out_gain": 1.5}
    tensors = {"gru.weight_ih_l0": [[0.5] * 3] * 6, "gru.weight_hh_l0": [[0.5] * 2] * 6}
    tensors |= {"fc.weight": [[1.0, 2.0]], "fc.bias": [0.5]}
    simple = {"rec.weight_ih_l0": [[0.5] * 2] * 6, "rec.weight_hh_l0": [[0.5] * 2] * 6, "lin.weight": [[1.0, 2.0]]}
    simple |= {"rec.bias_ih_l0": [0.1] * 6, "rec.bias_hh_l0": [0.1] * 6}
    described = {"model": "SimpleRNN", "unit_type": "GRU", "skip": 1, "input_size": 2, "output_size": 1}
    described |= {"hidden_size": 2, "num_layers": 1, "bias_fl": False}
    documents = (model, {"model_data": {}, "state_dict": tensors}, tensors)
    return [json.dumps(each).encode() for each in (*documents, {"model_data": described, "state_dict": simple})]


@cache
def npz_files() -> Sequence[bytes]:
    files = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, W=np.ones((12, 3), np.float32), R=np.ones((12, 4)), n=np.arange(3))
        files.append(buffer.getvalue())
    return files


ARRAYS = "gru(gru, weight_ih=W, weight_hh=R, gates=zrn, reset=after, update=keep), ignore(n)"

READERS = (
    "arrays.npz",
    "keras.convert",
    "onnx.convert",
    "pt2.convert",
    "rtneural.convert",
    "rtneural.weights",
    "torch.assembly.build",
)
"""Modules that `convert` imports when it meets such a file."""

TARGETS: Mapping[str, Target] = {
    "pt": Target(stored("torch/sd_[zvw]*.pt", "torch/full_module.pt", "torch/ckpt_lightning.ckpt"), (".pkl",)),
    "legacy": Target(stored("torch/sd_legacy.pt")),
    "torchscript": Target(stored("torch/jit_trace.pt"), (".pkl",)),
    "safetensors": Target(stored("torch/model.safetensors")),
    "pt2": Target(stored("torch/export.pt2"), (".json", "byteorder"), (None,), hostile_programs.grown),
    "rtneural": Target(rtneural_files),
    "npz": Target(npz_files, (".npy",), (ARRAYS, None)),
    "keras": Target(stored("keras/k3_[abefgnprstuv]*.keras", "keras/k2_*.keras"), (".json", ".h5"), (None,)),
    "h5": Target(stored("keras/k[12]_*.h5", "keras/k3_cells.h5"), (), (None, "architecture.json")),
}


def attempt(path: Path, layers: str | None) -> str:
    """Convert a file, and return the name of the exception, if any."""
    try:
        convert(path, layers, reference=False)
    except GrurtError as error:
        if not str(error) or "fits into memory" in str(error):
            raise
        return type(error).__name__
    return "converted"


def watch(folder: Path) -> None:
    """End the process when it opens a file outside of the folder, imports a module, or does what no reader needs."""
    inside = str(folder.resolve())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        named = event == "open" and not isinstance(arguments[0], int)  # what has a number is open already
        opened = named and not str(Path(arguments[0]).absolute()).startswith(inside)
        imported = event == "import" and arguments[0] not in sys.modules
        if opened or imported or event.startswith(FORBIDDEN):
            raise SystemExit(f"{event} {str(arguments)[:200]}")

    sys.addaudithook(hook)


def limited_attempt(path: Path, layers: str | None, size: int) -> tuple[str, float]:
    """Convert a file of a size in as much memory as that allows; return what came of it, and the seconds it took."""
    started = time.process_time()
    with limited(MEMORY + MEMORY_PER_BYTE * size):
        outcome = attempt(path, layers)
    return outcome, time.process_time() - started


@contextmanager
def limited(memory: int) -> Iterator[None]:
    """Allow so many more bytes of address space."""
    pages = os.pread(STATM, 100, 0).split()[0]
    taken = int(pages) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def main(name: str, first: int, count: int, folder: Path) -> None:
    for reader in READERS:
        importlib.import_module(f"grurt.converters.{reader}")
    target = TARGETS[name]
    os.chdir(folder)
    path = Path(f"mutant.{name}")
    Path("architecture.json").write_bytes((DATA / "keras" / "k2_masked.json").read_bytes())
    results: Counter[str] = Counter()
    for content in target.files():
        path.write_bytes(content)
        for layers in target.layers:
            attempt(path, layers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    watch(folder)
    warnings.simplefilter("error")
    for seed in range(first, first + count):
        rng = random.Random(seed)
        content = mutant(target, rng)
        path.write_bytes(content)
        layers = target.layers[0 if rng.random() < 0.8 else -1]
        allowed = SECONDS + SECONDS_PER_MEBIBYTE * len(content) / (1 << 20)
        try:
            outcome, seconds = limited_attempt(path, layers, len(content))
            if seconds > allowed:  # once more: a machine that others use counts their time too
                outcome, seconds = limited_attempt(path, layers, len(content))
            if seconds > allowed:
                raise SystemExit("more seconds than the file's size allows")
            results[outcome] += 1
        except BaseException:
            Path(f"failed-{seed}.{name}").write_bytes(content)
            print(f"seed {seed}", file=sys.stderr)
            raise
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(name, f"{grown:.0f} MB", *(f"{kind}: {results[kind]}" for kind in sorted(results)), sep=", ")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
