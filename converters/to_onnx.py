"""Networks to ONNX files."""

from __future__ import annotations

from grurt.converters.installed import expect_onnx
from grurt.network.network import Network


def to_onnx(network: Network, *, step: bool = False) -> bytes:
    """Return the ONNX file of a network.

    Inputs and outputs have the names, shapes and dtypes of the network's source, as `grurt.Model.run` takes and gives
    them, of any batch size and number of timesteps; those that the source has fixed are open too. Layers are standard
    operators of opset 20. Weights in fewer bits become the float32 numbers that they stand for; what int8 and int4 lose
    besides, by rounding features, is not in the file.

    Parameters
    ----------
    network
        A model of any kind.
    step
        Write a single timestep of a single sequence, as `grurt.Stream.step` computes it, with the states as inputs and
        outputs: inputs and outputs ``(1, 1, *shape)``, with the shape that `step` takes and gives; and behind them, as
        many inputs as outputs and in the same order, ``NAME_state`` and ``NAME_next_state`` of each layer that has a
        state: of a GRU ``(1, positions, hidden_size)``, of a Conv1d ``(history, 1, input_size)``, the oldest first, and
        each of a step program in its own shape. A
        caller begins with those of a new `grurt.Stream`, and feeds them back.

    Raises
    ------
    StreamingError
        If a single timestep is asked for, and the model cannot stream.
    ConversionError
        If the weights are larger than an ONNX file can be, 2 GiB; if an input and an output have one name; if a step
        program is to be written as whole sequences; or if the package onnx is missing.

    Examples
    --------
    >>> from grurt.converters import to_onnx
    >>> from grurt.demo import load_model
    >>> data = to_onnx(load_model())
    >>> import onnx
    >>> [node.op_type for node in onnx.load_model_from_string(data).graph.node if node.op_type == "GRU"]
    ['GRU']
    """
    expect_onnx()
    from grurt.converters.onnx.writing.convert import onnx_of_network

    return onnx_of_network(network, step=step)
