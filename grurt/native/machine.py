"""From LLVM's intermediate language to object files, for any target that llvmlite has."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from llvmlite import binding as llvm
from llvmlite import ir

from grurt.lanes import LANES

_OWN_FMA = "grurt_fma"
_DEFINITION = re.compile(r'^(define [^{\n]*?)((?: section "[^"\n]*")?\s*\{)$', re.MULTILINE)

Fma = Literal["instruction", "exact", "rounded"]
"""How a multiply-add is computed: fused, by an instruction; fused, without one, in float64; or rounded twice."""


@dataclass(frozen=True)
class Target:
    """What LLVM compiles for: its names of the platform and the CPU, features added or taken away, and the ABI."""

    triple: str
    cpu: str = ""
    features: str = ""
    abi: str = ""
    fma: Fma = "instruction"
    lanes: int = LANES
    """Of the kernels' vectors."""
    capabilities: tuple[str, ...] = ()
    """What the kernels' source is told of the CPU: see `grurt.kernels.targets`."""
    reloc: Literal["pic", "static"] = "pic"

    def machine(self) -> Any:
        """Return LLVM's target machine."""
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc=self.reloc, codemodel="default", abiname=self.abi
        )


def link(target: Target, texts: Iterable[str], *others: ir.Module) -> Any:
    """Parse kernels' texts and link all modules together, for a target; nothing is optimized yet."""
    if target.fma != "instruction":
        texts = [text.replace(f"@llvm.fma.v{target.lanes}f32", f"@{_OWN_FMA}") for text in texts]
        others = (*others, _exact_fma(target.lanes) if target.fma == "exact" else _rounded_fma(target.lanes))
    machine = target.machine()
    modules = [llvm.parse_assembly(_freestanding(text)) for text in (*texts, *map(str, others))]
    for module in modules:
        module.triple = target.triple
        module.data_layout = str(machine.target_data)
    for module in modules[1:]:
        modules[0].link_in(module)
    return modules[0]


def _freestanding(text: str) -> str:
    """Call nothing of the C library: not sqrtf, nor what LLVM would make of loops that fill or copy memory."""
    return _DEFINITION.sub(r'\1 "no-builtins"\2', text.replace("@sqrtf(", "@llvm.sqrt.f32("))


def emit(
    target: Target,
    module: Any,
    exported: Collection[str],
    *,
    hidden: bool = False,
    inlined: Collection[str] = (),
) -> bytes:
    """Optimize a module, and return it as an object file.

    Parameters
    ----------
    target
        What for.
    module
        What `link` returned.
    exported
        Names of what is used from outside.
    hidden
        Whether that is in the same library only.
    inlined
        Names of functions that become part of their callers, whatever that costs.
    """
    for value in (*module.functions, *module.global_variables):
        if value.is_declaration:
            continue
        if value.name not in exported:
            value.linkage = "internal"
        elif hidden:
            value.visibility = "hidden"
        if value.is_function and value.name in inlined:
            value.add_function_attribute("alwaysinline")
    module.verify()
    machine = target.machine()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    compiled = bytes(machine.emit_object(module))
    return _with_hard_floats(compiled) if target.triple.endswith("eabihf") else compiled


def _with_hard_floats(compiled: bytes) -> bytes:
    """Say in an ARM object file that floats are passed in registers, which linkers insist on, and llvmlite cannot.

    In the section of attributes, the pair Tag_ABI_FP_exceptions = 0, which is the default, makes room for
    Tag_ABI_VFP_args = 1 ("Addenda to, and Errata in, the ABI for the Arm Architecture", build attributes).
    """
    begin = compiled.index(b"aeabi\0")
    place = compiled.index(b"\x15\x00", begin)
    return compiled[:place] + b"\x1c\x01" + compiled[place + 2 :]


def _fma_module(lanes: int) -> tuple[ir.Module, ir.IRBuilder, Any]:
    floats = ir.VectorType(ir.FloatType(), lanes)
    module = ir.Module(_OWN_FMA)
    function = ir.Function(module, ir.FunctionType(floats, [floats] * 3), _OWN_FMA)
    return module, ir.IRBuilder(function.append_basic_block()), function


def _rounded_fma(lanes: int) -> ir.Module:
    """Return the function of multiplications and additions, each rounded."""
    module, builder, function = _fma_module(lanes)
    function.attributes.add("alwaysinline")
    a, b, c = function.args
    builder.ret(builder.fadd(builder.fmul(a, b), c))
    return module


def _exact_fma(lanes: int) -> ir.Module:
    """Return the function of fused multiply-adds for CPUs that have none, with the same bits as those that have.

    In float64 the product is exact, and the error of the sum is known. A sum that is not exact is rounded to odd: then
    rounding it once more, to float32, gives what one rounding of the exact value gives (Boldo and Melquiond, "Emulation
    of a FMA and correctly rounded sums", 2008).
    """
    module, builder, function = _fma_module(lanes)
    function.attributes.add("noinline")  # it is long, and there are hundreds of calls
    doubles, bits = (ir.VectorType(typ, lanes) for typ in (ir.DoubleType(), ir.IntType(64)))
    a, b, c = (builder.fpext(argument, doubles) for argument in function.args)
    product = builder.fmul(a, b)
    total = builder.fadd(product, c)
    c_part = builder.fsub(total, product)
    error = builder.fadd(builder.fsub(product, builder.fsub(total, c_part)), builder.fsub(c, c_part))
    total_bits = builder.bitcast(total, bits)
    one = ir.Constant(bits, [1] * lanes)
    zero = ir.Constant(bits, [0] * lanes)
    is_inexact = builder.fcmp_ordered("!=", error, ir.Constant(doubles, [0.0] * lanes))
    is_even = builder.icmp_unsigned("==", builder.and_(total_bits, one), zero)
    sign_bits = builder.xor(total_bits, builder.bitcast(error, bits))
    signs_differ = builder.ashr(sign_bits, ir.Constant(bits, [63] * lanes))  # 0 or -1
    change = builder.select(builder.and_(is_inexact, is_even), builder.or_(signs_differ, one), zero)
    odd = builder.bitcast(builder.add(total_bits, change), doubles)
    builder.ret(builder.fptrunc(odd, function.ftype.return_type))
    return module
