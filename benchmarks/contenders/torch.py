"""PyTorch in inference mode, on one thread, and with tensors made in that mode, which is quickest."""

import numpy as np
import torch
from torch import nn

from benchmarks.contenders.base import Contender, Prepared, Workload
from benchmarks.network import Floats, Network


def _load(module: nn.Module, network: Network, suffix: str = "") -> nn.Module:
    """Copy the weights into a GRUCell or GRU, whose gate order is r, z, n."""
    arrays = {"weight_ih": network.w, "weight_hh": network.r, "bias_ih": network.b, "bias_hh": network.c}
    for name, array in arrays.items():
        z, r, n = np.split(array, 3)
        getattr(module, name + suffix).copy_(torch.from_numpy(np.concatenate([r, z, n])))
    return module.eval()


@torch.inference_mode()
def gru_cell(network: Network, x: Floats) -> Prepared:
    """Call `torch.nn.GRUCell`: tensors in and out, the caller's array shared."""
    cell = _load(nn.GRUCell(*network.size), network)
    rows = torch.from_numpy(x.reshape(-1, network.input_size))
    names = {"cell": cell, "x": rows, "h": torch.zeros(len(rows), network.hidden_size)}
    return Prepared("h = cell(x, h)", "h.numpy()", names, x, torch.inference_mode)


@torch.inference_mode()
def gru(network: Network, x: Floats) -> Prepared:
    """Call `torch.nn.GRU` on a sequence of length 1."""
    module = _load(nn.GRU(*network.size), network, "_l0")
    rows = torch.from_numpy(x.reshape(1, -1, network.input_size))
    h = torch.zeros(1, rows.shape[1], network.hidden_size)
    return Prepared(
        "y, h = gru(x, h)", "h.numpy()", {"gru": module, "x": rows, "y": None, "h": h}, x, torch.inference_mode
    )


@torch.inference_mode()
def gru_sequence(network: Network, x: Floats) -> Prepared:
    """Call `torch.nn.GRU` on a whole sequence."""
    module = _load(nn.GRU(*network.size), network, "_l0")
    names = {"gru": module, "x": torch.from_numpy(x[:, np.newaxis]), "y": None, "h": None}
    return Prepared("y, h = gru(x)", "y.numpy()", names, x, torch.inference_mode)


@torch.inference_mode()
def gru_cell_on_gpu(network: Network, x: Floats) -> Prepared:
    """Replay a CUDA graph of samples copied to the GPU, `torch.nn.GRUCell`, and answers copied back; states stay there.

    What is copied lies in pinned memory here, so that the GPU copies it by itself.
    """
    cell = _load(nn.GRUCell(*network.size), network).cuda()
    here, there = torch.zeros(x.shape).pin_memory(), torch.zeros(x.shape, device="cuda")
    h = torch.zeros(len(x), network.hidden_size, device="cuda")
    y = torch.zeros(h.shape).pin_memory()

    def timestep() -> None:
        there.copy_(here, non_blocking=True)
        h.copy_(cell(there, h))
        y.copy_(h, non_blocking=True)

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):  # what is captured must have run before, elsewhere
        timestep()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        timestep()
    h.zero_()
    names = {"replay": graph.replay, "synchronize": torch.cuda.synchronize, "y": y}
    return Prepared("replay(); synchronize()", "y.numpy()", names, here.numpy(), torch.inference_mode)


CONTENDERS = (
    Contender("torch GRUCell", Workload.STEP, gru_cell),
    Contender("torch nn.GRU", Workload.STEP, gru),
    Contender("torch nn.GRU", Workload.SEQUENCE, gru_sequence),
    Contender("torch GRUCell", Workload.STREAMS, gru_cell),
    Contender("torch nn.GRU", Workload.STREAMS, gru),
)
