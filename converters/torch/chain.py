"""Converts a chain of modules that grurt knows, directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from grurt.model import Model, Source
from grurt.network import functions
from grurt.network.functions import AnyFunction
from grurt.network.layers import GRU
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import Axis, DType, Port, Signature, StatePort, ValuePort

from ..description import Description, LayerDescription
from ..reference import with_reference
from ..sampling import BATCH, sample_input
from .build import build_model
from .evaluated import evaluation_mode, flat_tensors
from .modules import ROOT

_FUNCTIONS: Mapping[type[nn.Module], Callable[[Any], AnyFunction]] = {
    nn.ReLU: lambda m: functions.Relu(),
    nn.LeakyReLU: lambda m: functions.LeakyRelu(m.negative_slope),
    nn.ELU: lambda m: functions.Elu(m.alpha),
    nn.GELU: lambda m: functions.Gelu(m.approximate),
    nn.Sigmoid: lambda m: functions.Sigmoid(),
    nn.Hardsigmoid: lambda m: functions.HardSigmoid(1 / 6, 0.5),
    nn.Tanh: lambda m: functions.Tanh(),
    nn.Softsign: lambda m: functions.Softsign(),
    nn.Hardtanh: lambda m: functions.Clip(m.min_val, m.max_val),
    nn.ReLU6: lambda m: functions.Clip(0.0, 6.0),
}
_DTYPES: Mapping[torch.dtype, DType] = {torch.float32: "float32", torch.float64: "float64"}


def describe_chain(module: nn.Module) -> Description | None:
    """Return the description of a GRU, or of a Sequential of known modules; None if it is anything else."""
    dtypes = {tensor.dtype for tensor in module.parameters()}
    if len(dtypes) != 1 or not dtypes <= _DTYPES.keys():
        return None
    found = list(_described("", module))
    layers = tuple(layer for layer in found if layer is not None)
    if not layers or None in found or any(layer.kind == "gru" for layer in layers[:-1]):  # it returns a tuple
        return None
    return Description(layers=layers)


def convert_chain(module: nn.Module, description: Description, *, reference: bool) -> Model:
    """Convert a module that `describe_chain` has described."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
    source = Source(format="torch", producer=f"torch {torch.__version__}")
    dtypes = [tensor.dtype for tensor in module.parameters()]
    narrow = {name: array.astype("float32") if array.dtype.kind == "f" else array for name, array in tensors.items()}
    model = build_model(narrow, description, source)
    signature = _signature(module, model, _DTYPES[dtypes[0]])
    model = with_reference(model, None, signature=signature)
    return with_reference(model, _reference_run(module, model)) if reference else model


def _described(path: str, module: nn.Module) -> Iterator[LayerDescription | None]:
    """Describe a module and what is in it; None stands for one that is not known."""
    kind = type(module)
    if module._forward_hooks or module._forward_pre_hooks:  # such as torch.nn.utils.weight_norm's
        yield None
    elif kind is nn.Sequential:
        for name, child in module._modules.items():  # named_children leaves out a module's second place
            if child is not None:
                yield from _described(f"{path}.{name}" if path else name, child)
    elif kind in _FUNCTIONS:
        yield LayerDescription(kind="activation", functions=(_FUNCTIONS[kind](module),))
    elif kind not in (nn.Identity, nn.Dropout):
        yield _described_layer(path or ROOT, module)


def _described_layer(path: str, module: nn.Module) -> LayerDescription | None:
    if type(module) is nn.GRU:
        return LayerDescription(module=path, kind="gru")
    if type(module) is nn.Linear:
        return LayerDescription(module=path, kind="linear")
    if type(module) is nn.Embedding and module.max_norm is None:
        return LayerDescription(module=path, kind="embedding")
    if type(module) is nn.LayerNorm and len(module.normalized_shape) == 1 and module.elementwise_affine:
        return LayerDescription(module=path, kind="layer_norm", epsilon=module.eps)
    if type(module) in (nn.Softmax, nn.LogSoftmax) and module.dim == -1:
        function = functions.Softmax() if type(module) is nn.Softmax else functions.LogSoftmax()
        return LayerDescription(kind="activation", functions=(function,))
    if type(module) is nn.Softplus and module.beta == 1 and module.threshold >= 20:
        return LayerDescription(kind="activation", functions=(functions.Softplus(),))
    return None


def _signature(module: nn.Module, model: Model, dtype: DType) -> Signature:
    """Return the module's own inputs and outputs, by the names of torch's documentation."""
    gru = next((part for part in module.modules() if isinstance(part, nn.GRU)), None)
    batch_first = gru is None or gru.batch_first
    order: tuple[Axis, ...] = ("batch", "time") if batch_first else ("time", "batch")
    tokens = model.values[model.inputs[0].name].tokens
    inputs: list[Port] = [
        ValuePort(
            name="input",
            value=model.inputs[0].name,
            dtype="int64" if tokens else dtype,
            axes=order if tokens else (*order, "feature"),
        )
    ]
    outputs: list[Port] = [ValuePort(name="output", value=model.outputs[0].name, dtype=dtype, axes=(*order, "feature"))]
    states = tuple(layer.name for layer in model.layers if isinstance(layer, GRU))
    axes: tuple[Axis, ...] = ("state", "batch", "feature")
    if gru is module:
        inputs.append(StatePort(name="h_0", states=states, dtype=dtype, axes=axes))
    if gru is not None:
        outputs.append(StatePort(name="h_n", states=states, dtype=dtype, axes=axes))
    return Signature(tuple(inputs), tuple(outputs))


def _reference_run(module: nn.Module, model: Model) -> ReferenceRun:
    """Run the module on seeded inputs; a GRU also from a seeded initial state."""
    parameter = next(module.parameters())
    inputs = {}
    for port in model.signature.inputs:
        if isinstance(port, ValuePort):
            sample = torch.from_numpy(sample_input(model.inputs[0]))
            sample = sample if port.axes[0] == "batch" else sample.transpose(0, 1)
            inputs[port.name] = sample.to(torch.int64 if port.dtype == "int64" else parameter.dtype)
        elif isinstance(port, StatePort):
            size = model.state_shapes[port.states[0]][0]
            generator = torch.Generator().manual_seed(len(port.states))
            inputs[port.name] = (
                torch.rand(len(port.states), BATCH, size, generator=generator).to(parameter.dtype) * 2 - 1
            )
    with evaluation_mode(module):
        results = flat_tensors(module(*(array.to(parameter.device) for array in inputs.values())))
    names = [port.name for port in model.signature.outputs]
    return ReferenceRun(
        {name: array.numpy() for name, array in inputs.items()},
        {name: tensor.cpu().numpy() for name, tensor in zip(names, results, strict=True)},
        f"torch {torch.__version__}",
    )
