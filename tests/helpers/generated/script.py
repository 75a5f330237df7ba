"""Scripts that show by themselves what became of a random network."""

from __future__ import annotations

from pathlib import Path

from generated.comparison import Outcome
from generated.routes import ROUTES, open_axes
from generated.truth import number_of
from generated.writer import Program

TEMPLATE = '''\
"""{title}"""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from grurt.converters import convert

warnings.simplefilter("ignore")


{source}

batch, time = {batch}, {time}
torch.manual_seed({seed})
network = Network().eval()
for parameter in network.parameters():
    nn.init.uniform_(parameter, -0.6, 0.6)
inputs = {{{inputs}}}
{export}
model = convert("network.{suffix}", reference=False)
print(model, model.signature, model.unstreamable_reason, sep="\\n")
with torch.no_grad():
    expected = network(*inputs.values())
found = model.run(dict(zip((port.name for port in model.signature.inputs), (x.numpy() for x in inputs.values()))))
for array, answer in zip(found.values(), expected if isinstance(expected, tuple) else (expected,)):
    fits = array.shape == tuple(answer.shape)
    print("largest difference:", np.abs(array - answer.numpy()).max() if fits else f"the shape is {{array.shape}}")
'''

EXPORTS = {
    "torchscript": (
        'torch.onnx.export(network, tuple(inputs.values()), "network.onnx", dynamo=False, opset_version=17,\n'
        "    input_names=list(inputs), dynamic_axes={axes})"
    ),
    "dynamo": (
        "program = torch.export.export(network, tuple(inputs.values()), dynamic_shapes={shapes})\n"
        'torch.onnx.export(program, (), "network.onnx", dynamo=True, external_data=False, verbose=False)'
    ),
    "pt2": (
        "program = torch.export.export(network, tuple(inputs.values()), dynamic_shapes={shapes})\n"
        'torch.export.save(program, "network.pt2")'
    ),
}


KERAS_TEMPLATE = '''\
"""{title}"""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch

from grurt.converters import convert


{source}

batch, time = {batch}, {time}
torch.manual_seed({seed})
network = build(keras, keras.layers, keras.ops)
rng = np.random.default_rng({seed})
for weight in network.weights:
    low = 0.3 if "variance" in weight.path else -0.6
    weight.assign(rng.uniform(low, low + 1.2, weight.shape))
inputs = {{{inputs}}}
network.save("network.{suffix}")
model = convert("network.{suffix}", reference=False)
print(model, model.signature, model.unstreamable_reason, sep="\\n")
expected = network(list(inputs.values()))
found = model.run({{name: x.numpy() for name, x in inputs.items()}})
for array, answer in zip(found.values(), expected if isinstance(expected, list) else [expected]):
    print("largest difference:", np.abs(array - answer.detach().numpy()).max())
'''


def write(program: Program, route: str, is_open: bool, outcome: Outcome, folder: Path) -> Path:
    """Write a script that builds a network, writes its file, converts it, and compares."""
    folder.mkdir(parents=True, exist_ok=True)
    is_keras = route not in ROUTES
    text = (KERAS_TEMPLATE if is_keras else TEMPLATE).format(
        title=f"{outcome.kind}: {outcome.detail}".replace("\\", "/").replace('"""', "'''"),
        source=program.source,
        batch=program.batch,
        time=program.time,
        seed=number_of(program.seed),
        inputs=", ".join(f'"{each.name}": {each.text}' for each in program.inputs),
        suffix=ROUTES.get(route, route),
        **({} if is_keras else {"export": _export(program, route, is_open=is_open)}),
    )
    path = folder / f"{outcome.kind}_{program.family}_{program.seed}_{route}.py".replace(" ", "_")
    path.write_text(text, encoding="utf-8")
    return path


def _export(program: Program, route: str, *, is_open: bool) -> str:
    axes = open_axes(program, None)
    shapes = ", ".join(
        f"{{{', '.join(f'{axis}: torch.export.Dim.AUTO' for axis in named)}}}" if named else "None"
        for named in axes.values()
    )
    return EXPORTS[route].format(
        axes={name: named for name, named in axes.items() if named} if is_open else None,
        shapes=f"({shapes},)" if is_open else None,
    )
