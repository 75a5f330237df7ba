"""Generates docs/supported.md: what becomes of the model files under tests/data.

Usage:
    python tests/helpers/supported.py
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from collection import Outcome, checkpoints, collection, keras_files, step_graphs
from generated import kinds
from generated.comparison import BY_DESIGN, CRASHED, REFUSED, RIGHT, WHOLE, WRONG
from generated.comparison import Outcome as GeneratedOutcome
from generated.routes import ROUTES
from generated.tally import stored
from paths import ROOT

from grurt.errors import DesignReason

PAGE = ROOT / "docs" / "supported.md"

TOLERANCE = 2e-6

HEADER = """\
# What becomes of each file

The model files that the tests carry, converted, and run on the inputs whose answers their frameworks gave: {agree}
agree, {unanswered} convert but have no answers to compare with, {refused} are refused with the reason. Files of one
network that differ in the version of the operators, in axes of open size or in the way they were saved share a line.

Graphs of one timestep are fed 20 frames, one after the other, each with the states that the last one left; their
differences from PyTorch in float64 are parts of an output's largest number. See [step-graphs.md](step-graphs.md).

This page is written by `python tests/helpers/supported.py`, and a test checks that it is current. What kinds of network
there are besides, as PyTorch's exporters write them, is in `torch_networks.py`, `torch_topologies.py` and
`torch_variants.py` beside it. RTNeural's JSON and plain arrays are compared with equations in float64, in
`tests/converters/rtneural` and `tests/converters/arrays`.
"""

DESIGN = """
## What stays refused, and why

Some things grurt refuses by design. The reasons are a closed list, `grurt.DesignReason`: the exception has the one
that holds as its `reason`, and `grurt convert` names it. An `UnsupportedError` without a reason says that grurt could
compute the network, and that its converter does not know the form: please report such a file.

| reason | what | why it stays refused | what to do |
| --- | --- | --- | --- |
"""

TEXTS = """
## Texts

What takes texts apart at the beginning of a Keras model, and beside other models, is in [generation.md](generation.md#texts). The tests
compare tokens and answers with those of Keras on TensorFlow ([data](../tests/data/texts/README.md),
[test](../tests/converters/keras/test_texts.py#test_tokens_and_answers_are_those_of_keras)), and pieces of words with the library's
([test](../tests/network/test_subwords.py#test_pieces_of_words_are_those_of_the_library)).

| | tokens and answers |
| --- | --- |
| `TextVectorization`: `standardize` and `split` by name or None, `output_sequence_length`, adapted or with a vocabulary; in Sequential, functional and nested models, of Keras 2 and 3 | Keras's |
| `StringLookup`: `mask_token`, `oov_token`, any `num_oov_indices`, `output_mode` of `int` and `one_hot` | Keras's |
| BERT's `vocab.txt`, cased and uncased | the library's, but for characters younger than its tables |
| `tokenizer.json` | the library's, which is asked |
| `salt` of several tokens for what is unknown, `ngrams`, `ragged`, `multi_hot`, `count`, `tf_idf`, `invert`, functions of one's own | refused |
"""  # noqa: E501

FORMATS = """
## Formats that are not read

Files of other programs are told by their content, and the message says what to convert instead.

* **TensorFlow Lite** (`.tflite`): convert the `.keras` or `.h5` file that it was made from. TensorFlow's converter
  takes the layers apart: a GRU becomes a loop in two subgraphs of its own, or, with `unroll=True`, dozens of operators
  a timestep, and neither says which layer it was. What would be read would have to be compared with TensorFlow's
  own interpreter, for every version of its converter: nothing is read here that is not compared so, and the tests have
  no such file. Quantized ones would stay refused all the same (`QUANTIZED`).
* **SavedModel, frozen graphs, TensorFlow.js**: the same holds; the Keras file has the layers.
* **Core ML, ncnn, MNN, OpenVINO, ExecuTorch, onnxruntime's `.ort`**: made for one runtime. Convert the ONNX file or
  the checkpoint that they were made from.
"""

GENERATED = """
## Random networks

`python tests/helpers/differential.py --networks {networks} --seed {seed} --frameworks torch,keras` writes random
networks in the families below, exports each by every way that its framework has (both of PyTorch's ONNX exporters and
`.pt2`; `.keras` and `.h5`), with fixed or open sizes, converts the files, and compares whole sequences and streams with
the framework's own answers in float64, states fed back as the network does it. Of {files} files, {right} are right,
{by_design} are refused by design ({reasons}), {whole} run as whole sequences although their source streams, {refused}
are refused though grurt might read them ({part:.1%}), {wrong} are wrong, and {crashed} end in a foreign exception. A
family's weight says how often it is drawn.

"""

OF_KINDS = """
## Kinds that people have asked for

A small network each, written by `tests/helpers/generated/kinds.py` and converted as the random ones are: from what
`torch.onnx.export` writes with `dynamo=False` and with `dynamo=True`, and from `.pt2`.

| kind | dynamo=False | dynamo=True | .pt2 |
| --- | --- | --- | --- |
"""

TABLE = """\
| file | files | holds | largest difference, or the refusal |
| --- | ---: | --- | --- |
"""

SECTIONS = {
    "pytorch": "ONNX files of PyTorch",
    "gru_operator": "The GRU operator of ONNX alone",
    "onnxruntime": "ONNX files that onnxruntime changed",
    "keras3": "Keras 3",
    "keras2": "Keras 2",
    "keras": "Keras, more kinds",
    "torch": "PyTorch checkpoints and programs",
    "steps": "Graphs of one timestep, by both of PyTorch's ONNX exporters",
}
"""The titles of the tables, by the beginning of the folder's name."""


def pattern(file: str) -> str:
    """Return what stands for a file and others of its kind."""
    folder, _, name = file.partition("/")
    first, *others = name.split(".")
    if folder.startswith("pytorch"):
        return f"{first}.{others[0]}*.onnx"
    if folder == "keras3":
        return f"*.{name.partition('.')[2]}" if name.endswith(".onnx") else f"{first}.*"
    return f"{first}.*" if folder in ("keras", "steps") else name


def page(outcomes: Iterable[Outcome]) -> str:
    """Return the page."""
    everything = list(outcomes)
    sections: dict[str, dict[tuple[str, str], list[Outcome]]] = {}
    for outcome in everything:
        folder = outcome.file.partition("/")[0]
        title = next(SECTIONS[start] for start in SECTIONS if folder == start or folder.startswith(f"{start}_"))
        kinds = ", ".join(dict.fromkeys(layer.kind for layer in outcome.model.layers)) if outcome.model else ""
        sections.setdefault(title, {}).setdefault((pattern(outcome.file), kinds), []).append(outcome)
    converted = [outcome for outcome in everything if outcome.model is not None]
    agree = sum(outcome.difference is not None for outcome in converted)
    text = HEADER.format(agree=agree, unanswered=len(converted) - agree, refused=len(everything) - len(converted))
    text += design() + TEXTS + FORMATS + generated() + of_kinds()
    for title in SECTIONS.values():
        text += f"\n## {title}\n\n{TABLE}"
        text += "".join(_line(*key, group) for key, group in sections.get(title, {}).items())
    return text


def design() -> str:
    """Return the section of the reasons of design."""
    return DESIGN + "".join(f"| `{each.name}` | {each.what} | {each.why} | {each.advice} |\n" for each in DesignReason)


def generated() -> str:
    """Return the section of the random networks, as they were counted when the counts were stored."""
    found = stored()
    return (
        GENERATED.format(
            networks=found.networks,
            seed=found.seed,
            files=found.files,
            right=found.total(RIGHT),
            by_design=found.total(BY_DESIGN),
            reasons=found.of_reasons(),
            whole=found.total(WHOLE),
            refused=found.total(REFUSED),
            part=found.refused_part,
            wrong=found.total(WRONG),
            crashed=found.total(CRASHED),
        )
        + found.table()
    )


def of_kinds() -> str:
    """Return the section of the kinds that people have asked for, as it was when it was stored."""
    lines = [
        f"| {title} | {' | '.join(_shown(outcomes.get(route)) for route in ROUTES)} |\n"
        for title, outcomes in kinds.stored().items()
    ]
    return OF_KINDS + "".join(lines)


def _shown(outcome: GeneratedOutcome | None) -> str:
    if outcome is None:
        return "not exported"
    if outcome.kind == BY_DESIGN and outcome.reason is not None:
        return f"`{outcome.reason.name}`"
    return outcome.kind


def _line(name: str, kinds: str, group: list[Outcome]) -> str:
    cells = (f"`{name}`", str(len(group)), kinds, _result(group))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def _result(group: list[Outcome]) -> str:
    if group[0].model is None:
        return "refused: " + re.sub(r"\(/|\bnode '[^']*'", "node", group[0].refusal)
    differences = [outcome.difference for outcome in group if outcome.difference is not None]
    if not differences:
        return "converted; there are no answers to compare with"
    worst = max(differences)
    return "below 2e-6" if worst < TOLERANCE else f"{worst:.0e}, rounded to 16 bits by the source"


def outcomes(folder: Path) -> list[Outcome]:
    """Convert all files; the collection is unpacked to a folder."""
    return [*collection(folder), *checkpoints(), *keras_files(), *step_graphs(folder)]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        PAGE.write_text(page(outcomes(Path(name))), encoding="utf-8")
