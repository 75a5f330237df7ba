"""Converts a chain of modules that grurt knows, directly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from grurt.converters.description import Description, LayerDescription
from grurt.converters.kinds import KINDS
from grurt.converters.sampling import BATCH, sample_input
from grurt.converters.torch.assembly.build import network_of_weights
from grurt.converters.torch.assembly.modules import ROOT
from grurt.converters.torch.module.evaluated import evaluation_mode, flat_tensors
from grurt.network.network import Network, Source
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import Axis, DType, Port, Signature, StatePort, ValuePort

_KINDS = {getattr(nn, name): kind for kind in KINDS.values() for name in kind.classes if hasattr(nn, name)}
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


def network_of_chain(module: nn.Module, description: Description, *, reference: bool) -> Network:
    """Return the network of a module that `describe_chain` has described."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}
    narrow = {
        name: array.astype("float32", copy=False) if array.dtype.kind == "f" else array
        for name, array in tensors.items()
    }
    network = network_of_weights(narrow, description, Source(format="torch", producer=f"torch {torch.__version__}"))
    dtype = _DTYPES[next(module.parameters()).dtype]
    network = network.replaced(signature=_signature(module, network, dtype))
    return network.replaced(reference_run=_reference_run(module, network)) if reference else network


def _described(path: str, module: nn.Module) -> Iterator[LayerDescription | None]:
    """Describe a module and what is in it; None stands for one that is not known."""
    kind = type(module)
    if module._forward_hooks or module._forward_pre_hooks:  # such as torch.nn.utils.weight_norm's
        yield None
    elif kind is nn.Sequential:
        for name, child in module._modules.items():  # named_children leaves out a module's second place
            if child is not None:
                yield from _described(f"{path}.{name}" if path else name, child)
    elif kind not in (nn.Identity, nn.Dropout):
        yield _described_layer(path or ROOT, module)


def _described_layer(path: str, module: nn.Module) -> LayerDescription | None:
    kind = _KINDS.get(type(module))
    fields = None if kind is None else kind.described(module)
    if kind is None or fields is None:
        return None
    return LayerDescription(module=path if kind.parameters else "", kind=kind.name, **fields)


def _signature(module: nn.Module, network: Network, dtype: DType) -> Signature:
    """Return the module's own inputs and outputs, by the names of torch's documentation."""
    gru = next((part for part in module.modules() if isinstance(part, nn.GRU)), None)
    batch_first = gru is None or gru.batch_first
    order: tuple[Axis, ...] = ("batch", "time") if batch_first else ("time", "batch")
    tokens = network.values[network.inputs[0].name].tokens
    inputs: list[Port] = [
        ValuePort(
            name="input",
            value=network.inputs[0].name,
            dtype="int64" if tokens else dtype,
            axes=order if tokens else (*order, "feature"),
        )
    ]
    outputs: list[Port] = [
        ValuePort(name="output", value=network.outputs[0].name, dtype=dtype, axes=(*order, "feature"))
    ]
    states = tuple(network.state_shapes)
    axes: tuple[Axis, ...] = ("state", "batch", "feature")
    if gru is module:
        inputs.append(StatePort(name="h_0", states=states, dtype=dtype, axes=axes))
    if gru is not None:
        outputs.append(StatePort(name="h_n", states=states, dtype=dtype, axes=axes))
    return Signature(tuple(inputs), tuple(outputs))


def _reference_run(module: nn.Module, network: Network) -> ReferenceRun:
    """Run the module on seeded inputs; a GRU also from a seeded initial state."""
    parameter = next(module.parameters())
    inputs = {}
    for port in network.signature.inputs:
        if isinstance(port, ValuePort):
            sample = torch.from_numpy(sample_input(network.inputs[0]))
            sample = sample if port.axes[0] == "batch" else sample.transpose(0, 1)
            inputs[port.name] = sample.to(torch.int64 if port.dtype == "int64" else parameter.dtype)
        elif isinstance(port, StatePort):
            size = network.state_shapes[port.states[0]][0]
            generator = torch.Generator().manual_seed(len(port.states))
            inputs[port.name] = (
                torch.rand(len(port.states), BATCH, size, generator=generator).to(parameter.dtype) * 2 - 1
            )
    with evaluation_mode(module):
        results = flat_tensors(module(*(array.to(parameter.device) for array in inputs.values())))
    names = [port.name for port in network.signature.outputs]
    return ReferenceRun(
        {name: array.numpy() for name, array in inputs.items()},
        {name: tensor.cpu().numpy() for name, tensor in zip(names, results, strict=True)},
        f"torch {torch.__version__}",
    )
