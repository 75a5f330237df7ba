"""LiteRT (TensorFlow Lite) on one thread, with the XNNPACK delegate, which is its default."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.contenders.base import Contender, Prepared, Weights, Workload
from benchmarks.contenders.tflite_graph import timestep_model
from benchmarks.network import Floats, Network


def _interpreter(network: Network, batch: int, weights: Weights) -> tuple[Interpreter, int, int, int]:
    """Return an interpreter, and the indices of its tensors x, h and hn."""
    interpreter = Interpreter(model_content=timestep_model(network, batch, weights), num_threads=1)
    interpreter.allocate_tensors()
    x, h = (detail["index"] for detail in interpreter.get_input_details())
    (hn,) = (detail["index"] for detail in interpreter.get_output_details())
    return interpreter, x, h, hn


def set_invoke_get(network: Network, x: Floats, weights: Weights = "float32") -> Prepared:
    """Use the public API: set the tensors, copy the answer out; the caller hands the state over."""
    batch = x.size // network.input_size
    interpreter, i, j, k = _interpreter(network, batch, weights)
    names = {"set": interpreter.set_tensor, "invoke": interpreter.invoke, "get": interpreter.get_tensor}
    arrays = {"x": x.reshape(batch, -1), "h": np.zeros((batch, network.hidden_size), np.float32)}
    return Prepared("set(i, x); set(j, h); invoke(); h = get(k)", "h", names | arrays | {"i": i, "j": j, "k": k}, x)


def views(network: Network, x: Floats, weights: Weights = "float32") -> Prepared:
    """Keep views of the tensors, which takes a private call: `Interpreter.invoke` refuses while there are any."""
    batch = x.size // network.input_size
    interpreter, i, j, k = _interpreter(network, batch, weights)
    interpreter.tensor(j)()[:] = 0
    names = {
        "invoke": interpreter._interpreter.Invoke,
        "h": interpreter.tensor(j)(),
        "hn": interpreter.tensor(k)(),
    }
    return Prepared("invoke(0); h[:] = hn", "h", names, interpreter.tensor(i)())


CONTENDERS = (
    Contender("LiteRT", Workload.STEP, set_invoke_get),
    Contender("LiteRT, tensor views (private)", Workload.STEP, views),
    Contender("LiteRT", Workload.STREAMS, set_invoke_get),
    Contender("LiteRT int8", Workload.STEP, lambda network, x: set_invoke_get(network, x, "int8"), weights="int8"),
    Contender(
        "LiteRT int8, tensor views (private)",
        Workload.STEP,
        lambda network, x: views(network, x, "int8"),
        weights="int8",
    ),
)
