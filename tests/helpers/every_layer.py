"""Answers of models that hold every kind of layer: the same bytes wherever the kernels are compiled, and for which CPU.

``python tests/helpers/every_layer.py answers.npz`` writes them to a file.
"""

from __future__ import annotations

import sys
from typing import Any

import models
import numpy as np
import step_programs

import grurt

N_STEPS = 37


def all_models() -> dict[str, grurt.Model]:
    """Return models by name, made from fixed seeds."""
    found = {"functions": functions_model(), "gates": gates_model(), "mathematics": mathematics_model()}
    found["windows"] = models.windows_model(np.random.default_rng(53))
    found["repeated"] = models.repeated_model(np.random.default_rng(55))
    found["pooling"] = models.pooling_model(np.random.default_rng(54))
    found["attention"] = models.attention_model(np.random.default_rng(55))
    for hidden_size in (1, 17, 64):
        for linear_before_reset in (True, False):
            rng = np.random.default_rng(hidden_size)
            found[f"gru {hidden_size} {linear_before_reset}"] = models.gru_model(
                7, hidden_size, rng, n_layers=2, linear_before_reset=linear_before_reset
            )
    for seed in range(12):
        rng = np.random.default_rng(seed)
        found[f"random {seed}"] = models.random_model(rng, n_layers=10, streams=seed % 4 != 0)
    quantized = {
        f"{name} {weights}": model.quantize(weights)
        for name, model in found.items()
        for weights in ("float16", "int8", "int4")
        if any(models.can_be_quantized(layer) for layer in model.layers)
    }
    programs = {f"program {seed}": step_programs.random_step_program(seed) for seed in range(8)}
    of_matrices = step_programs.random_step_program(3, n_operators=30, kinds=step_programs.OF_MATRICES)
    programs |= {f"program in {weights}": of_matrices.quantize(weights) for weights in ("float16", "int8")}
    return {**found, **quantized, "extremes": extreme_model(), **programs, "program among layers": program_model()}


def program_model() -> grurt.Model:
    """Return a model in which programs stand between other layers, and read one another."""
    add, cumulate = (
        grurt.Program(
            name=name,
            inputs=inputs,
            input_shapes=((3, 7), (21,)),
            states=(grurt.ProgramState(f"{name} h", (7, 3), "next"), grurt.ProgramState(f"{name} s", (21,), "total")),
            operators=(
                grurt.operators.Transpose(inputs=(inputs[0],), outputs=("turned",), perm=(1, 0)),
                grurt.operators.Apply(inputs=("turned",), outputs=("next",), function=grurt.Tanh()),
                grurt.operators.Combine(inputs=("next", f"{name} h"), outputs=("change",), operation="sub"),
                grurt.operators.Softmax(inputs=("change",), outputs=("weights",), axis=0),
                grurt.operators.Reshape(inputs=("weights",), outputs=("flat",), shape=(21,)),
                grurt.operators.Combine(inputs=("flat", inputs[1]), outputs=("sum of both",), operation="add"),
                grurt.operators.Combine(inputs=(f"{name} s", "sum of both"), outputs=("both",), operation="max"),
                grurt.operators.Apply(inputs=("both",), outputs=("total",), function=grurt.Affine(0.5, 0.01)),
            ),
            results=("total", "change"),
        )
        for name, inputs in (("add", ("gru", "norm")), ("cumulate", ("upper", "gru")))
    )
    layers = (
        grurt.LayerNorm(name="norm", size=21, epsilon=1e-3),
        grurt.GRU(name="gru", input_size=21, hidden_size=21),
        add,
        grurt.Linear(name="upper", inputs=("add",), input_size=42, output_size=21),
        cumulate,
        grurt.LayerNorm(name="last norm", inputs=("cumulate",), size=42, epsilon=1e-3),
        grurt.GRU(name="last", input_size=42, hidden_size=5),
    )
    return models.layer_model(*layers, rng=np.random.default_rng(48), inputs=(grurt.Input("x", 21),))


def functions_model() -> grurt.Model:
    """Return a model that applies every function to the same features."""
    layers = [
        grurt.Activation(name=f"function{i}", inputs=("x",), function=function)
        for i, function in enumerate(models.ALL_FUNCTIONS)
    ]
    everything = grurt.Concat(name="everything", inputs=tuple(layer.name for layer in layers))
    return models.layer_model(*layers, everything, inputs=(grurt.Input("x", 21),), rng=np.random.default_rng(41))


def mathematics_model() -> grurt.Model:
    """Return a model of all functions, operations and reductions, of numbers from 0.1 on: their results are numbers."""
    size = 21
    layers: list[grurt.network.layers.AnyLayer] = [
        grurt.Activation(name="size", inputs=("x",), function=grurt.Abs()),
        grurt.Activation(name="positive", function=grurt.Affine(1.0, 0.1)),
        grurt.Activation(name="large", inputs=("x",), function=grurt.Affine(1e30, 0.1)),
        grurt.Constant(name="constant", size=size),
        grurt.Activation(name="rounded", inputs=("x",), function=grurt.Round()),
    ]
    layers += [
        grurt.Activation(name=f"{function}", inputs=("positive",), function=function)
        for function in models.MATHEMATICAL_FUNCTIONS
    ]
    layers += [
        grurt.Activation(name=f"{function} of large", inputs=("large",), function=function)
        for function in (grurt.Sin(), grurt.Cos())
    ]
    layers += [
        grurt.Binary(name=operation, inputs=("positive", "constant"), operation=operation)
        for operation in models.OPERATIONS
    ]
    layers += [
        grurt.Binary(name="largest", inputs=("x", "constant", "positive"), operation="max"),
        grurt.Binary(name="same", inputs=("rounded", "Sign()"), operation="equal"),
        grurt.Where(name="where", inputs=("rounded", "x", "constant")),
    ]
    layers += [
        grurt.Reduce(name=f"{operation} of x", inputs=("x",), operation=operation) for operation in models.REDUCTIONS
    ]
    everything = grurt.Concat(name="everything", inputs=tuple(layer.name for layer in layers))
    return models.layer_model(*layers, everything, inputs=(grurt.Input("x", size),), rng=np.random.default_rng(47))


def gates_model() -> grurt.Model:
    """Return a model with a GRU for every function that a gate may be."""
    grus = [
        grurt.GRU(
            name=f"gru{i}",
            inputs=("x",),
            input_size=5,
            hidden_size=6 + i,
            gate_activation=models.GATE_FUNCTIONS[i % len(models.GATE_FUNCTIONS)],
            candidate_activation=function,
            linear_before_reset=i % 3 > 0,
            clip=0.7 if i % 2 else None,
        )
        for i, function in enumerate(models.ELEMENTWISE_FUNCTIONS)
    ]
    everything = grurt.Concat(name="everything", inputs=tuple(gru.name for gru in grus))
    return models.layer_model(*grus, everything, inputs=(grurt.Input("x", 5),), rng=np.random.default_rng(42))


def extreme_model() -> grurt.Model:
    """Return a model of int8 weights that are all 127 or -127, whose inputs are huge, and whose state is far beyond 1.

    Its sums are the largest that there are: a path that saturates or wraps anywhere shows here.
    """
    rng = np.random.default_rng(44)
    layers = [
        grurt.Linear(name="loud", input_size=3, output_size=37),
        grurt.GRU(
            name="gru",
            input_size=37,
            hidden_size=21,
            candidate_activation=grurt.Relu(),
            initial_state="learned",
            weight_format="int8",
        ),
        grurt.GRU(name="reset", input_size=21, hidden_size=35, linear_before_reset=False, weight_format="int8"),
        grurt.Linear(name="head", input_size=35, output_size=13, weight_format="int8"),
    ]
    weights = models.random_weights(layers, rng)
    for layer in layers[1:]:
        for name in (f"{layer.name}.{matrix}" for matrix in layer.matrices):
            weights[name] = np.where(rng.random(weights[name].shape) < 0.9, 127, -127).astype(np.int8)
            weights[f"{name}_scale"][:] = 1e-4
    weights["loud.weight"] *= np.float32(1e20)
    weights["gru.initial_state"] = np.linspace(-300, 300, 21, dtype=np.float32)
    return grurt.Model(layers=layers, weights=weights, inputs=[grurt.Input("x", 3)])


def answers() -> dict[str, Any]:
    """Return what every model answers to a sequence, by the names of model and output."""
    found: dict[str, Any] = {}
    for name, model in all_models().items():
        inputs = models.random_inputs(model.inputs, N_STEPS, np.random.default_rng(43))
        outputs = model.run({input_name: xs[np.newaxis] for input_name, xs in inputs.items()})
        found |= {f"{name}, {output_name}": answer for output_name, answer in outputs.items()}
    return found | nonfinite_answers() | generated_tokens()


def generated_tokens() -> dict[str, Any]:
    """Return what a generator gives, chosen in each of the ways that there are, and forecasts."""
    model = models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=41, size=7),
        grurt.GRU(name="gru", input_size=7, hidden_size=23),
        grurt.Linear(name="fc", input_size=23, output_size=41),
        rng=np.random.default_rng(55),
        inputs=[grurt.TokenInput("tokens", 41)],
    )
    ways: dict[str, Any] = {
        "greedy": {"temperature": 0, "repetition_penalty": 1.2},
        "drawn": {},
        "of the best": {"temperature": 0.7, "top_k": 9, "top_p": 0.8, "repetition_penalty": 1.1},
    }
    tokens = {f"tokens, {way}": model.generate([1, 2], N_STEPS, seed=3, **options) for way, options in ways.items()}
    series = models.gru_model(2, 13, np.random.default_rng(56), output_size=2)
    return tokens | {"forecast": series.stream().forecast(N_STEPS, [0.5, -0.25])}


def nonfinite_answers() -> dict[str, Any]:
    """Return where a GRU of every format answers NaN to a NaN or an infinity: its payload may differ."""
    model = models.gru_model(5, 19, np.random.default_rng(45), n_layers=2, output_size=3)
    xs = np.random.default_rng(46).standard_normal((3, 8, 5)).astype(np.float32)
    xs[:, 4, 2] = np.nan, np.inf, -np.inf
    return {
        f"NaN {weights} {row}": np.isnan(each.stream(nonfinite="propagate").run(xs[row]))
        for weights, each in {w: model.quantize(w) for w in ("float16", "int8", "int4")}.items()
        for row in range(3)
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **answers())
