"""Converts a ``torch.nn.Module`` in hand; the one part of the converters that needs torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from grurt.converters.literal.options import ImportOptions, StepOptions
from grurt.converters.reference import check_reference
from grurt.errors import ConversionError
from grurt.installing import install_command
from grurt.model import Model

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from grurt.converters.literal.options import Import


def convert_module(
    module: torch.nn.Module,
    example_input: torch.Tensor | tuple[torch.Tensor, ...] | None = None,
    *,
    reference: bool = True,
    imported: Import | None = None,
    bind: Mapping[str, ArrayLike] | None = None,
    state: Mapping[str, str | None] | None = None,
    initial: Mapping[str, ArrayLike] | None = None,
    context: Iterable[str] = (),
    size: Mapping[str, int] | None = None,
) -> Model:
    """Convert a trained module.

    A `torch.nn.GRU`, or a `torch.nn.Sequential` of modules that grurt knows, is read directly. Any other module is
    exported to ONNX in memory, which runs it on the example. The module itself is left as it was, in the training mode
    that it was in; it is converted as it is in evaluation mode.

    Parameters
    ----------
    module
        On the CPU, in float32 or float64.
    example_input
        What ``module(...)`` is called with; needed for the export only. Batch and time may have any size, but choose
        different sizes, above one.
    reference
        Run the module on a seeded input and compare. False spares the time, and needs no engine.
    imported, bind, state, initial, context, size
        How an export is imported: by meaning, or literally, as one timestep; see `convert`. Inputs are called as the
        arguments of ``forward``, outputs ``"output"``, or ``"output_0"``, ``"output_1"`` and so on.

    Returns
    -------
    The model, whose ``signature`` has the module's inputs and outputs, states included.

    Raises
    ------
    ConversionError
        If torch is not installed, the example is missing, or torch cannot export the module.
    UnsupportedError
        If the module computes something that grurt does not implement.

    Examples
    --------
    >>> import torch
    >>> from grurt.converters import convert_module
    >>> convert_module(torch.nn.GRU(4, 8, batch_first=True))
    <grurt.Model gru: 336 parameters>
    """
    try:
        import torch
    except ImportError as error:
        raise ConversionError(
            f"convert_module: expected torch to be installed, got none; run: {install_command('torch')}"
        ) from error
    from grurt.converters.torch.module.chain import describe_chain, network_of_chain
    from grurt.converters.torch.module.export import network_of_export

    if not isinstance(module, torch.nn.Module):
        raise ConversionError(f"convert_module: expected a torch.nn.Module, got {type(module).__name__}")
    options = ImportOptions(imported, StepOptions(bind or {}, state or {}, initial or {}, tuple(context), size or {}))
    chain = describe_chain(module) if options == ImportOptions() else None
    if chain is not None:
        network = network_of_chain(module, chain, reference=reference)
    elif example_input is None:
        raise ConversionError(
            f"convert_module: expected an example_input for {type(module).__name__}, which is exported to ONNX for "
            "conversion; give what it is called with, such as torch.zeros(2, 5, input_size)"
        )
    else:
        example = example_input if isinstance(example_input, tuple) else (example_input,)
        if not all(isinstance(tensor, torch.Tensor) for tensor in example):
            raise ConversionError("convert_module: expected an example_input of tensors, got something else among them")
        network = network_of_export(module, example, reference=reference, options=options)
    model = Model.from_network(network)
    if reference:
        check_reference(model)
    return model
