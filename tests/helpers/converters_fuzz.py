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
import random
import resource
import struct
import sys
import time
import unicodedata  # noqa: F401 - which the parser asks for when it meets a name that is not ASCII
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hostile_programs
import numpy as np
from checkpoints import entries, zipped
from paths import DATA

from grurt.converters import convert
from grurt.errors import GrurtError

MEMORY = 1 << 30
"""Bytes of address space, beyond what Python and NumPy have taken for the sound files."""

SECONDS = 5
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 3, 1 << 62, 0.5, 1e308, "", "gru", "concat", [], [0], {})
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


def mutated_json(content: bytes, rng: random.Random) -> bytes:
    """Return a JSON text with some of its values replaced, removed, or exchanged."""
    document = json.loads(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        places: list[tuple[Any, Any]] = []
        stack = [document]
        while stack:
            node = stack.pop()
            keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
            places += [(node, key) for key in keys]
            stack += [node[key] for key in keys if isinstance(node[key], dict | list)]
        if not places:
            break
        node, key = rng.choice(places)
        other, source = rng.choice(places)
        choice = rng.random()
        if choice < 0.4:
            node[key] = copy.deepcopy(rng.choice(VALUES))
        elif choice < 0.8:
            node[key] = copy.deepcopy(other[source])
        else:
            del node[key]
    return json.dumps(document).encode()


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
        return zipped({**files, chosen: _mutated_text_or_bytes(files[chosen], rng)})
    return _mutated_text_or_bytes(content, rng)


def _mutated_text_or_bytes(content: bytes, rng: random.Random) -> bytes:
    structured = content[:1] in (b"{", b"[") and rng.random() < 0.6
    return mutated_json(content, rng) if structured else mutated(content, rng)


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
    return [json.dumps(document).encode() for document in (model, {"model_data": {}, "state_dict": tensors}, tensors)]


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
    "keras": Target(stored("keras/k3_[befgnrst]*.keras", "keras/k2_*.keras"), (".json", ".h5"), (None,)),
    "h5": Target(stored("keras/k[12]_*.h5", "keras/k3_cells.h5"), (), (None, "architecture.json")),
}


def attempt(path: Path, layers: str | None) -> str:
    """Convert a file, and return the name of the exception, if any."""
    try:
        convert(path, layers, reference=False)
    except GrurtError as error:
        if not str(error):
            raise
        return type(error).__name__
    return "converted"


def watch(folder: Path) -> None:
    """End the process when it opens a file outside of the folder, imports a module, or does what no reader needs."""
    inside = str(folder.resolve())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        opened = event == "open" and not str(Path(arguments[0]).absolute()).startswith(inside)
        imported = event == "import" and arguments[0] not in sys.modules
        if opened or imported or event.startswith(FORBIDDEN):
            raise SystemExit(f"{event} {str(arguments)[:200]}")

    sys.addaudithook(hook)


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
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    watch(folder)
    warnings.simplefilter("error")
    for seed in range(first, first + count):
        rng = random.Random(seed)
        content = mutant(target, rng)
        path.write_bytes(content)
        started = time.process_time()
        try:
            results[attempt(path, target.layers[0 if rng.random() < 0.8 else -1])] += 1
            if time.process_time() - started > SECONDS:
                raise SystemExit(f"more than {SECONDS} seconds")
        except BaseException:
            Path(f"failed-{seed}.{name}").write_bytes(content)
            print(f"seed {seed}", file=sys.stderr)
            raise
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(name, f"{grown:.0f} MB", *(f"{kind}: {results[kind]}" for kind in sorted(results)), sep=", ")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
