"""Machine code as data: what is kept of a function, and what happens to an object file that is none."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import msgspec
import pytest
from numba import int64, njit

from grurt.kernels import machine_code
from grurt.kernels.machine_code import MachineCode
from grurt.kernels.options import kernel


@pytest.fixture(scope="module")
def code() -> MachineCode:
    return machine_code.compiled(kernel(lambda a, b: a * 10 + b), int64(int64, int64))


def test_a_function_is_compiled_encoded_decoded_loaded_and_called(code: MachineCode) -> None:
    decoded = MachineCode.decode(code.encode())
    assert decoded == code
    function = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    for _ in range(2):  # each time elsewhere, with the same name
        result = ctypes.c_int64()
        assert function(machine_code.loaded(decoded))(ctypes.addressof(result), None, 4, 2) == 0
        assert result.value == 42


def test_what_numba_compiles_later_calls_what_was_compiled_with_a_whole_program() -> None:
    @kernel
    def inner(x):
        return x * x if x > 0 else -x

    @kernel
    def middle(x):
        return inner(x) + 1

    @kernel
    def entry(x):
        return middle(x)

    @njit
    def later(x):
        return middle(x)

    machine_code.compiled(entry, (int64,))
    assert (later(3), later(-3)) == (10, 4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04.",
        msgspec.msgpack.encode(["symbol"]),
        msgspec.msgpack.encode([b"symbol", b"object file"]),
        msgspec.msgpack.encode(["symbol", 5]),
        msgspec.msgpack.encode(["symbol", b"object file", "more"]),
        msgspec.msgpack.encode({"symbol": "symbol", "object_file": b"object file"}),
        msgspec.msgpack.encode(["symbol", b"object file"])[:-1],
    ],
)
def test_what_does_not_decode_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"MessagePack|truncated|[Ee]xpected|invalid"):
        MachineCode.decode(content)


def test_an_object_file_without_the_function(code: MachineCode) -> None:
    with pytest.raises(ValueError, match="expected an object file with another, got one without it"):
        machine_code.loaded(msgspec.structs.replace(code, symbol="another"))


LOAD = """
import sys, msgspec
from numba.core.registry import cpu_target
from grurt.kernels import machine_code
cpu_target.target_context.codegen()
for line in sys.stdin:
    code = machine_code.MachineCode("symbol", bytes.fromhex(line))
    try:
        machine_code.loaded(code)
    except (ValueError, RuntimeError) as error:
        print(error, flush=True)
"""


@pytest.mark.slow
def test_what_is_no_object_file_is_an_exception(code: MachineCode) -> None:
    """It must not end the process, even if its digest fits."""
    content = code.object_file
    broken = [b"", b"nonsense", b"\x7fELF", content[:20], content[:64], b"\x7fELF" + bytes(100), content[:-1]]
    result = subprocess.run(
        [sys.executable, "-c", LOAD],
        input="".join(f"{one.hex()}\n" for one in broken),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "expected an object file with symbol, got something else\n" * len(broken)
