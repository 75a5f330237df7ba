"""Products with matrices."""

from __future__ import annotations

from grurt.converters.pt2.emitter import Emitter
from grurt.converters.pt2.handlers import translates
from grurt.converters.pt2.program import Call, Ref


@translates("linear")
def linear(call: Call, em: Emitter) -> None:
    """Translate linear: ``x W' + b``, weights ``(outputs, inputs)``."""
    bias = [name] if (name := em.tensor("bias")) else []
    em.emit("Gemm", em.required("input"), em.required("weight"), *bias, into=call.outputs[0], transB=1)


@translates("addmm")
def addmm(call: Call, em: Emitter) -> None:
    """Translate addmm: ``beta * b + alpha * x W``, as linear is decomposed."""
    factors = {name: float(call.get(name, 1)) for name in ("alpha", "beta") if call.get(name, 1) != 1}
    em.emit("Gemm", em.required("mat1"), em.required("mat2"), em.required("self"), into=call.outputs[0], **factors)


@translates("baddbmm")
def baddbmm(call: Call, em: Emitter) -> None:
    """Translate baddbmm: ``beta * b + alpha * x W``, of batches."""
    product = em.emit("MatMul", em.required("batch1"), em.required("batch2"))
    terms = [em.required("self"), product]
    for index, name in enumerate(("beta", "alpha")):
        if call.get(name, 1) != 1:
            terms[index] = em.emit("Mul", terms[index], em.constant(float(call.get(name))))
    em.emit("Add", *terms, into=call.outputs[0])


@translates("mm", "matmul", "bmm", "mv")
def matmul(call: Call, em: Emitter) -> None:
    """Translate products with a matrix or a vector on the right."""
    other = next(name for name in ("mat2", "vec", "other") if name in call.arguments)
    em.emit("MatMul", em.required("self"), em.required(other), into=call.outputs[0])


@translates("scaled_dot_product_attention")
def attention(call: Call, em: Emitter) -> None:
    """Translate attention of heads, ``(batch, heads, length, size)``."""
    names = [em.required(name) for name in ("query", "key", "value")]
    if any(em.rank(name) > 4 for name in names) or call.get("dropout_p"):
        raise call.unsupported("it has more axes than heads, or drops out", "call model.eval() before the export")
    missing = 4 - em.rank(names[0])
    if missing:
        names = [em.emit("Unsqueeze", name, axes=tuple(range(missing))) for name in names]
    scale = {} if call.get("scale") is None else {"scale": float(call.get("scale"))}
    made = em.emit(
        "Attention",
        *(*names, em.tensor("attn_mask")),
        into=None if missing else call.outputs[0],
        is_causal=int(call.get("is_causal", False)),
        **scale,
    )
    if missing:
        em.emit("Squeeze", made, into=call.outputs[0], axes=tuple(range(missing)))


@translates("einsum")
def einsum(call: Call, em: Emitter) -> None:
    """Translate einsum."""
    names = [item.name for item in call.arguments["tensors"] if isinstance(item, Ref)]
    em.emit("Einsum", *names, into=call.outputs[0], equation=call.arguments["equation"])


@translates("tensordot")
def tensordot(call: Call, em: Emitter) -> None:
    """Translate tensordot over the last axis of a value and the first of a matrix."""
    x, other = em.required("self"), em.required("other")
    axes = [
        [em.axis(name, axis) for axis in call.arguments[key]] for name, key in ((x, "dims_self"), (other, "dims_other"))
    ]
    if axes != [[em.rank(x) - 1], [0]] or em.array(other).ndim != 2:
        raise call.unsupported("it contracts other axes than the last with the first of a matrix", "use a linear layer")
    em.emit("MatMul", x, other, into=call.outputs[0])
