"""Machine code of one function: from Numba, as data that can be kept, and into this process's memory.

What is kept is an object file and a name, nothing that Python would have to unpickle. Kernels call nothing of Numba's
runtime, so that LLVM loads them without Numba's type system.
"""

from typing import Any

import llvmlite.binding as llvm
import msgspec
from llvmlite.binding.object_file import ObjectFileRef
from numba.core import config

from grurt.kernels import whole_program
from grurt.kernels.targets import DOT_PRODUCT, capabilities


class MachineCode(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An object file, and the function in it that is called from outside."""

    symbol: str
    object_file: bytes

    def encode(self) -> bytes:
        """Return what `decode` reads."""
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, content: bytes) -> "MachineCode":
        """Return what was encoded; raise ValueError if it is not."""
        return msgspec.msgpack.decode(content, type=cls)


def compiled(dispatcher: Any, signature: Any) -> MachineCode:
    """Have Numba compile a function, and all that it calls, for one signature."""
    symbol, module = optimized(dispatcher, signature)
    return MachineCode(symbol, target_machine(dispatcher.targetctx.codegen()).emit_object(module))


def optimized(dispatcher: Any, signature: Any) -> tuple[str, Any]:
    """Have Numba optimize a function, and all that it calls; return its name, and LLVM's module."""
    with whole_program.whole_program(dispatcher.targetctx):
        dispatcher.compile(signature)
        (result,) = dispatcher.overloads.values()
        module = whole_program.optimized(result.library)
    dispatcher.disable_compile()
    return result.fndesc.llvm_func_name, module


def target_machine(codegen: Any) -> Any:
    """Return what writes machine code for the CPU: as Numba knows it, with what LLVM has not found there itself."""
    options: dict[str, Any] = {"opt": config.OPT}
    codegen._customize_tm_options(options)
    options |= _model()
    if DOT_PRODUCT in capabilities():
        options["features"] = ",".join(filter(None, [options["features"], f"+{DOT_PRODUCT}"]))
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(**options)


def _model() -> dict[str, str]:
    """Return how code finds what it reads and calls: on x86-64 by its distance, and not by an address of 64 bits.

    The constants of a tanh would be as many instructions again. All of a function lies in one piece of memory: see
    `loaded`.
    """
    if llvm.get_process_triple().startswith("x86_64"):
        return {"reloc": "pic", "codemodel": "small"}
    return {"codemodel": "jitdefault"}


def loaded(code: MachineCode) -> int:
    """Return the address of a function whose code is loaded for as long as the process lives.

    It takes two addresses before its own arguments: of the result, and of an exception; and returns an error code.

    Raises
    ------
    ValueError
        If it is no object file, or does not hold the function. What a damaged one does, nobody knows: those that are
        kept have a digest.
    """
    object_file = ObjectFileRef.from_data(code.object_file)
    if not object_file._ptr:  # llvmlite would take it for one
        raise ValueError(f"expected an object file with {code.symbol}, got something else")
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True, **_model())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
    engine.add_object_file(object_file)
    engine.finalize_object()
    address: int = engine.get_function_address(code.symbol)
    if not address:
        raise ValueError(f"expected an object file with {code.symbol}, got one without it")
    _kept.append(engine)
    return address


_kept: list[Any] = []
