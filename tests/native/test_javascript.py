"""The JavaScript beside a model in WebAssembly, in Node: outputs, states, contexts, tokens, texts, what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from example_modules import modules_of
from paths import ROOT

import grurt
from grurt.native.export import export

HEAD = """
import { readFile } from "node:fs/promises";
import * as module from "./net.mjs";
const model = await module.Model.load(await readFile(new URL("net.wasm", import.meta.url)));
const stream = model.stream();
const refused = (call) => { try { call(); } catch (error) { return String(error); } return "nothing"; };
const show = (value) => console.log(JSON.stringify(value, (_, each) => ArrayBuffer.isView(each) ? [...each] : each));
"""


def built(model: grurt.Model, folder: Path) -> Path:
    """Export and link a model; skip the test where that cannot be done, or run."""
    if shutil.which("node") is None or (shutil.which("wasm-ld") is None and find_spec("ziglang") is None):
        pytest.skip("node, or wasm-ld or ziglang, which link WebAssembly, is not installed")
    export(model, "wasm32", cpu="exact", name="net").write(folder)
    with modules_of(ROOT / "examples" / "wasm") as example:
        example.link.link(folder / "net.o", folder / "net.wasm")
    return folder


def run(folder: Path, program: str) -> Any:
    """Return what a program shows of the model in a folder."""
    script = folder / "test.mjs"
    script.write_text(HEAD + program)
    finished = subprocess.run(["node", script], capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


LETTERS = grurt.Vocabulary(
    tokens=("", *"abcdefghijklmnopqrstuvwxyz ", "?"),
    split="characters",
    lowercase=True,
    removed=".!",
    unknown=28,
    padding=0,
)
WORDS = grurt.Vocabulary(tokens=("", "good", "bad", "not"), lowercase=True, removed=",.", unknown=0, end=3)
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0.8, "seed": 3},
    {"seed": (1 << 64) - 5},
    {"top_k": 4, "seed": 1},
    {"top_p": 0.6, "seed": 2},
    {"top_k": 9, "top_p": 0.8, "temperature": 1.4, "seed": 7},
    {"stop": [5, 9], "seed": 5},
]


def in_javascript(options: dict[str, Any]) -> str:
    names = {"top_k": "topK", "top_p": "topP"}
    parts = [f"{names.get(name, name)}: {value}{'n' * (name == 'seed')}" for name, value in options.items()]
    return f"{{ maxTokens: 40, {', '.join(parts)} }}"


@pytest.mark.slow
def test_texts_are_read_and_written_as_in_python(tmp_path: Path) -> None:
    model = models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=29, size=8),
        grurt.GRU(name="gru", input_size=8, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=29),
        rng=np.random.default_rng(2),
        inputs=[grurt.TokenInput("x", 29)],
        vocabularies={"x": LETTERS},
    )
    words = {field: getattr(WORDS, field) for field in WORDS.__struct_fields__}
    text = " Good,\u00a0bad\u0085not\ufeff GOOD.\u2003"
    found = run(
        built(model, tmp_path),
        f"""
const letters = new module.Vocabulary(module.vocabularies.x);
const words = new module.Vocabulary({json.dumps(words)});
const tokens = letters.encode("A cat. 7!");
const texts = [{", ".join(map(in_javascript, OPTIONS))}].map((options) => {{
  stream.reset();
  return [...stream.generate(tokens, options)].map(({{ token }}) => token);
}});
const strict = new module.Vocabulary({{ ...words, unknown: null }});
show({{
  tokens, text: letters.decode([0, ...tokens]), texts, fingerprint: module.fingerprint,
  words: [words.encode({json.dumps(text)}), words.decode([1, 3, 2])],
  refused: [() => strict.encode("good cat"), () => stream.step(29), () => stream.step("a")].map(refused),
}});
""",
    )
    tokens = LETTERS.encode("A cat. 7!")
    assert found["tokens"] == tokens.tolist()
    assert found["text"] == "a cat ?"
    assert found["texts"] == [model.generate(tokens, 40, **options).tolist() for options in OPTIONS]
    assert found["fingerprint"] == model.fingerprint.hex()
    expect_types_of_all(tmp_path)
    types = (tmp_path / "net.d.mts").read_text()
    assert "step(input0: number): Answer;" in types
    assert "export type Answer = Float32Array;" in types
    assert "export type Context = never;" in types
    assert found["words"] == [WORDS.encode(text).tolist(), WORDS.decode([1, 3, 2])]
    assert found["refused"] == [
        'RangeError: text: expected what is in the vocabulary, got "cat"',
        "RangeError: net: step: an input is no token",
        "TypeError: x: expected a token, got a",
    ]


def expect_types_of_all(folder: Path) -> None:
    """Assert that what a module exports is declared, and nothing else."""
    program, types = (folder / "net.mjs").read_text(), (folder / "net.d.mts").read_text()
    assert program.startswith("// net: a model, compiled by grurt ")
    exported = re.findall(r"^export (?:class|function) (\w+)", program, re.MULTILINE)
    (constants,) = re.findall(r"^export const \{ (.*) \} = description;$", program, re.MULTILINE)
    declared = re.findall(r"^export (?:class|function|const) (\w+)", types, re.MULTILINE)
    assert sorted([*exported, *constants.split(", ")]) == sorted(declared)


@pytest.mark.slow
def test_vectors_and_probabilities_generate_too(tmp_path: Path) -> None:
    model = models.layer_model(
        grurt.GRU(name="gru", input_size=9, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=9),
        grurt.Activation(name="softmax", function=grurt.Softmax()),
        rng=np.random.default_rng(2),
        inputs=[grurt.Input("x", 9)],
    )
    options = {"temperature": 0.9, "seed": 4}
    program = f"show([...stream.generate([3, 1], {in_javascript(options)})].map(({{ token }}) => token));"
    assert run(built(model, tmp_path), program) == model.generate([3, 1], 40, **options).tolist()


@pytest.mark.slow
def test_states_are_read_and_set(tmp_path: Path) -> None:
    model = models.layer_model(
        grurt.Conv1d(name="conv", inputs=("a",), input_size=3, output_size=4, kernel_size=3),
        grurt.Concat(name="both", inputs=("conv", "b")),
        grurt.GRU(name="gru", input_size=6, hidden_size=5),
        rng=np.random.default_rng(1),
        inputs=[grurt.Input("a", 3), grurt.Input("b", 2)],
        outputs=[grurt.Output("gru", "gru"), grurt.Output("conv", "conv")],
    )
    xs = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    found = run(
        built(model, tmp_path),
        f"""
const xs = {json.dumps(xs.tolist())};
const step = (each, x) => each.step(x.slice(0, 3), x.slice(3));
xs.slice(0, 4).forEach((x) => step(stream, x));
const {{ state }} = stream;
const first = xs.slice(4).map((x) => step(stream, x));
const other = model.stream();
other.state = state;
const again = xs.slice(4).map((x) => step(other, x));
const texts = [
  () => stream.step([1, 2, 3]),
  () => stream.step([1, 2], [1, 2]),
  () => stream.step([1, NaN, 2], [1, 2]),
  () => (stream.state = {{ steps: 1, values: [1] }}),
  () => (stream.state = {{ steps: 1, values: state.values.map(() => Infinity) }}),
  () => [...stream.generate([1], {{ maxTokens: 1 }})],
  () => {{ other.free(); other.step([1, 2, 3], [1, 2]); }},
].map(refused);
show({{ state, first, again, texts, streams: [model.stream(), model.stream()].map((each) => each.state.steps) }});
""",
    )
    expected = model.stream()
    expected.run({"a": xs[:4, :3], "b": xs[:4, 3:]})
    values = np.concatenate([array.ravel() for array in expected.state.values()])
    assert found["state"]["steps"] == 4
    np.testing.assert_array_equal(np.float32(found["state"]["values"]), values)
    answers = expected.run({"a": xs[4:, :3], "b": xs[4:, 3:]})
    for name in ("gru", "conv"):
        np.testing.assert_array_equal(np.float32([each[name] for each in found["first"]]), answers[name])
    assert found["again"] == found["first"]
    types = (tmp_path / "net.d.mts").read_text()
    assert "step(input0: ArrayLike<number>, input1: ArrayLike<number>): Answer;" in types
    assert 'export type Answer = { "gru": Float32Array; "conv": Float32Array };' in types
    assert found["streams"] == [0, 0]
    assert found["texts"] == [
        "TypeError: step: expected 2 inputs, got 1",
        "RangeError: a: expected 3 numbers, got 2",
        "RangeError: net: step: an input holds a NaN or an infinity",
        f"RangeError: state: expected {len(values)} numbers, got 1",
        "RangeError: net: state: an input holds a NaN or an infinity",
        "Error: net: generate: expected a model that reads tokens only",
        "Error: net: this stream has given back its memory",
    ]


def scaled_sum() -> grurt.Model:
    """Return a step that adds up its inputs, times what it is given once."""
    combine = grurt.operators.Combine
    layer = grurt.Program(
        name="scaled_sum",
        inputs=("x",),
        input_shapes=((2,),),
        contexts=(grurt.ProgramContext("gain", (2,)),),
        states=(grurt.ProgramState("sum", (2,), "new_sum"),),
        operators=(
            combine(inputs=("x", "gain"), outputs=("scaled",), operation="mul"),
            combine(inputs=("sum", "scaled"), outputs=("new_sum",), operation="add"),
        ),
        results=("new_sum",),
    )
    return grurt.Model(layers=[layer], weights={}, inputs=[grurt.Input("x", 2)])


@pytest.mark.long  # LLVM takes most of a minute for a step program in WebAssembly
def test_contexts(tmp_path: Path) -> None:
    found = run(
        built(scaled_sum(), tmp_path),
        """
const give = (gain) => (stream.context = { gain });
const texts = [refused(() => stream.step([1, 2]))];
give([2, 3]);
const answers = [stream.step([1, 2]), stream.step([1, 2])];
give([10, 0.5]);
answers.push(stream.step([1, 2]));
const other = model.stream();
other.context = { gain: [1, 1] };
answers.push(other.step([1, 2]), stream.step([1, 2]));
texts.push(...[[1], undefined, [1, 2, 3], [1, NaN]].map((gain) => refused(() => give(gain))));
texts.push(refused(() => stream.step([1, 2])));
show({ answers, texts });
""",
    )
    assert found["answers"] == [[2, 6], [4, 12], [14, 13], [1, 2], [24, 14]]
    assert found["texts"] == [
        "Error: step: expected a stream that was given its context",
        "RangeError: context: gain: expected 2 numbers",
        "RangeError: context: gain: expected 2 numbers",
        "RangeError: context: gain: expected 2 numbers",
        "RangeError: net: context: an input holds a NaN or an infinity",
        "Error: step: expected a stream that was given its context",
    ]
    assert 'export type Context = { "gain": ArrayLike<number> };' in (tmp_path / "net.d.mts").read_text()
