"""A table of PyTorch's operators, before a GRU and behind one: both ONNX exporters, and programs of ``torch.export``.

The long run takes each operator by itself, prints how many came out right and how many were refused, and compares; the
suite takes the operators of a group together.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx_exports
import onnxruntime
import pytest
import torch
import torch_operators
from torch import Tensor, nn
from torch_networks import BATCH_FIRST, Network
from torch_operators import GROUPS, SIZE, Before, Behind, Operator

import grurt
from grurt.converters import convert
from grurt.converters.onnx.convert import network_of_bytes
from grurt.errors import ConversionError

TOLERANCE = 3e-6
"""Of answers as large as 1, in proportion to larger ones."""

SOURCES = ("torchscript", "dynamo", "program", "decomposed")

NO_LAYER = {"median", "cumprod", "cummax", "topk", "sort"}
"""Operators that no layer computes."""

OTHER_FORMS = {
    *("trapezoid", "outer", "outer by broadcast", "bilinear"),
    *("cdist", "channel shuffle", "scatter of a constant", "avg_pool over features", "max_pool over features"),
    *("adaptive pool to one", "adaptive max pool to one", "conv over features"),
}
"""Operators that layers could compute, and that no converter knows."""

REFUSED = {
    *((name, "torchscript") for name in ("tensor_split at", "tile", "index_fill", "unfold with overlap")),
    *((name, "torchscript") for name in ("flatten and unflatten", "unflatten features", "tensor_split", "movedim")),
    *((name, source) for name in ("bucketize",) for source in ("torchscript", "dynamo")),
    *((name, "decomposed") for name in ("xlogy", "bucketize", "one_hot of argmax")),
    *((name, "decomposed") for name in ("einsum of pairs", "index_fill")),
}
"""Operators that an exporter writes in a form that no converter knows; of some files, the batch is frozen."""


class NotExportedError(Exception):
    """An exporter does not know an operator."""


def model_of(module: nn.Module, x: Tensor, source: str, path: Path) -> tuple[grurt.Model, bytes | None]:
    """Return the model of what an exporter makes of a module, and the ONNX file."""
    network = Network(module, (x,), {})
    content = None
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporters warn about themselves
        try:
            if source in ("program", "decomposed"):
                program = torch.export.export(module, (x,))
                torch.export.save(program.run_decompositions() if source == "decomposed" else program, path)
            else:
                axes = BATCH_FIRST if source == "torchscript" else None
                content = onnx_exports.exported(network, dynamo=source == "dynamo", opset=18, open_axes=axes)
        except Exception as error:  # of many kinds, each exporter's own
            raise NotExportedError(str(error)) from error
    if content is None:
        return grurt.Model.from_network(convert(path, reference=False)), None
    source_of = grurt.Source(format="onnx")
    return grurt.Model.from_network(network_of_bytes(content, source=source_of, reference=False)), content


def check(module: nn.Module, x: Tensor, source: str, path: Path) -> None:
    """Compare with PyTorch, or where the exporter has changed what is computed, with onnxruntime."""
    model, content = model_of(module, x, source, path)
    with torch.no_grad():
        expected = module(x).numpy()
    (found,) = model.run({model.signature.inputs[0].name: x.numpy()}).values()
    if content is not None and not is_close(found, expected):
        (expected,) = onnxruntime.InferenceSession(content).run(None, {"input_0": x.numpy()})
    assert is_close(found, expected)
    assert model.unstreamable_reason is None


def is_close(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    return bool(np.abs(found - expected).max() <= TOLERANCE * max(1.0, float(np.abs(expected).max())))


def cases(operators: Mapping[str, Operator]) -> Iterator[tuple[str, str, nn.Module, Tensor]]:
    for name, operator in operators.items():
        for place, kind, size in (("behind", Behind, torch_operators.INPUT), ("before", Before, SIZE)):
            torch.manual_seed(5)
            module = kind(operator).eval()
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -0.6, 0.6)
            yield name, place, module, torch.randn(2, 5, size)


@pytest.mark.long
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("group", GROUPS)
def test_each_operator(group: str, source: str, tmp_path: Path) -> None:
    counts: collections.Counter[str] = collections.Counter()
    surprises = []
    for name, place, module, x in cases(GROUPS[group]):
        try:
            check(module, x, source, tmp_path / "program.pt2")
            outcome = "right"
        except NotExportedError:
            outcome = "not exported"
        except ConversionError:
            outcome = "refused"
        except AssertionError:
            outcome = "wrong"
        counts[outcome] += 1
        may_be_refused = name in NO_LAYER | OTHER_FORMS
        if outcome == "wrong" or (outcome == "refused" and not may_be_refused and (name, source) not in REFUSED):
            surprises.append((name, place, outcome))
    print(f"{group} of {source}: {dict(counts)}")
    assert not surprises


JOINED = [(group, "program") for group in GROUPS]
JOINED += [(group, "torchscript") for group in GROUPS if group != "moves"]  # whose ranks that exporter loses track of


@pytest.mark.slow
@pytest.mark.parametrize(("group", "source"), JOINED)
def test_operators_of_a_group(group: str, source: str, tmp_path: Path) -> None:
    """All that come out as they are asked for, in one network."""
    left_out = NO_LAYER | OTHER_FORMS | {name for name, of in REFUSED if of == source}
    if source == "torchscript":
        left_out |= torch_operators.NOT_IN_TORCHSCRIPT | torch_operators.CHANGED_BY_TORCHSCRIPT
    operators = [operator for name, operator in GROUPS[group].items() if name not in left_out]
    for _, _, module, x in cases({group: lambda y: torch.cat([operator(y) for operator in operators], -1)}):
        if isinstance(module, Behind):
            check(module, x, source, tmp_path / "program.pt2")
