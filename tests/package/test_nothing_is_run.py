"""Whatever is loaded is data: no file makes grurt run code, write, start a process or open a connection."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import DATA, ROOT

PROGRAM = """
import sys
from pathlib import Path
import grurt
from grurt.converters import convert

FORBIDDEN = (
    "exec", "compile", "import", "pickle", "marshal", "subprocess", "socket", "urllib", "shutil",
    "ctypes.call", "ctypes.dl",  # ctypes.cdata is how the engine looks up where an array lies
    "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "os.putenv",
)

def load(path):
    try:
        if path.suffix == ".grurt":
            return grurt.load(path)
        return convert(path, reference=path.suffix != ".onnx")  # onnxruntime is asked in a process of its own
    except (grurt.GrurtError, OSError) as error:
        return error

def watch(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & 3
    if armed and (writes or event.startswith(FORBIDDEN)):
        seen.append((event, repr(args)[:200]))

seen, armed = [], False
sys.addaudithook(watch)
for path in map(Path, sys.argv[1:]):
    load(path)  # grurt's own modules are imported when they are first needed
    armed = True
    load(path)
    armed = False
    if seen:
        sys.exit(f"{path}: {seen[:3]}")
"""
"""A program that loads files, and fails if Python reports anything else than reading meanwhile (PEP 578)."""

FILES = sorted(
    path
    for path in DATA.rglob("*")
    if path.suffix
    in {
        ".grurt",
        ".onnx",
        ".pt",
        ".pt2",
        ".ckpt",
        ".safetensors",
        ".keras",
        ".h5",
        ".json",
    }
)
FEW = [
    path
    for kind in sorted({path.suffix for path in FILES})
    for index, path in enumerate(path for path in FILES if path.suffix == kind)
    if index % 12 == 0 or path.parent.name == "torch"
]


def assert_loading_only_reads(paths: list[Path]) -> None:
    command = [sys.executable, "-c", PROGRAM, *map(str, paths)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
def test_files_are_only_read() -> None:
    """Among them pickles of every kind that PyTorch writes; those that attack are in test_torch_pickles.py."""
    assert {path.suffix for path in FEW} >= {".grurt", ".onnx", ".pt", ".pt2", ".ckpt", ".keras", ".h5"}
    assert_loading_only_reads(FEW)


@pytest.mark.long
def test_all_files_are_only_read() -> None:
    assert_loading_only_reads(FILES)


@pytest.mark.slow
def test_modules_in_the_folder_where_a_command_is_started_are_not_run(tmp_path: Path) -> None:
    """As the command `grurt` is started: Python itself would put the folder first for `python -m`."""
    for name in ("numpy", "msgspec", "click", "onnx", "numba", "safetensors", "grurt", "rich", "pwd", "grp"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was run')")
    command = [sys.executable, "-P", "-c", "from grurt.__main__ import main; main()"]
    example = str(ROOT / "examples" / "activity.onnx")
    for arguments in (["convert", example, "-o", "model.grurt"], ["inspect", "model.grurt"], ["warmup"]):
        result = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (result.returncode, "was run" in result.stderr) == (0, False), result.stderr


MAY_USE = {
    "grurt/kernels/places.py": {"marshal"},  # written only, to be digested
    "grurt/kernels/fields.py": {"ctypes"},
    "grurt/kernels/simd.py": {"ctypes"},  # memory by its address, where Python runs the kernels
    "grurt/kernels/fastcall.py": {"ctypes"},
    "converters/apart.py": {"subprocess"},  # this Python, for onnxruntime
    "grurt/native/linker.py": {"subprocess"},
    "grurt/native/intermediate.py": {"subprocess"},
    "grurt/spark/requirements.py": {"subprocess"},  # java -version, of the Java that Spark will run
    "grurt/cli/timing.py": {"exec"},  # a statement of grurt's own, to be timed
    "converters/torch/checkpoint/pickles.py": {"pickle"},  # the opcodes' values
    "grurt/serving/server.py": {"socket"},  # where the service listens
}
DANGEROUS = {
    "pickle",
    "cloudpickle",
    "dill",
    "joblib",
    "numba.core.serialize",
    "numba.core.caching",
    "marshal",
    "shelve",
    "ctypes",
    "subprocess",
    "socket",
    "runpy",
    "code",
    "eval",
    "exec",
    "__import__",
}


def dangerous_names(path: Path) -> Iterator[str]:
    """Yield what a module imports or calls that could run code."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (part for name in names for part in (name.name, name.name.partition(".")[0]))
            case ast.ImportFrom(module=str(module), names=names):
                yield from (module, module.partition(".")[0], *(f"{module}.{name.name}" for name in names))
            case ast.Call(func=ast.Name(id=name)):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="load"), keywords=keywords):
                if not any(
                    k.arg == "allow_pickle" and isinstance(k.value, ast.Constant) and k.value.value is False
                    for k in keywords
                ):
                    yield "np.load"


def test_nothing_that_could_run_code_is_used() -> None:
    found = {}
    for folder in ("grurt", "converters"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            names = DANGEROUS | {"np.load"}
            if used := names.intersection(dangerous_names(path)):
                found[path.relative_to(ROOT).as_posix()] = used
    assert {path: used for path, used in found.items() if not used <= MAY_USE.get(path, set())} == {}
