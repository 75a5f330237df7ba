"""Trains the network of the page: it reads a text character by character, tells Python from English, and goes on.

The texts are those of Python's own standard library: its code, and the English of its documentation strings and
comments. After each character, a GRU gives a score to each character that may come next, and the probabilities that
this is code and that it is prose. The run is seeded and takes some minutes on one core:

    pip install torch && python examples/writer/train.py --output examples/writer/writer.grurt
"""

import argparse
import ast
import io
import re
import sysconfig
import tokenize
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import grurt

KINDS = ("Python", "English")
CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
UNKNOWN = len(CHARACTERS)
EMBEDDED, HIDDEN = 32, 128
LENGTH, ROWS = 96, 64


class Writer(nn.Module):
    """Tokens ``(batch, n_steps)`` in; scores of the next token, and of the kinds of text, behind each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(UNKNOWN + 1, EMBEDDED)
        self.gru = nn.GRU(EMBEDDED, HIDDEN, batch_first=True)
        self.scores = nn.Linear(HIDDEN, UNKNOWN + 1)
        self.kinds = nn.Linear(HIDDEN, len(KINDS))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        hidden, _ = self.gru(self.embedding(tokens))
        return self.scores(hidden), self.kinds(hidden)


def texts_of(source: str) -> tuple[str, str]:
    """Return the code of a file, indented by single spaces, and the comments and documentation strings alone."""
    tree = ast.parse(source)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose = [text for node in ast.walk(tree) if isinstance(node, owners) and (text := ast.get_docstring(node))]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    prose += [token.string.lstrip("#! ") for token in tokens if token.type == tokenize.COMMENT]
    code = re.sub(
        r"^ +", lambda spaces: " " * (len(spaces[0]) // 4), ast.unparse(_Bare().visit(tree)), flags=re.MULTILINE
    )
    lines = [" ".join(line.split()) for line in "\n".join(prose).splitlines()]
    return code, "\n".join(line for line in lines if sum(map(str.isalpha, line)) > len(line) / 2)


class _Bare(ast.NodeTransformer):
    """Takes documentation strings away."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return ast.Pass() if isinstance(node.value, ast.Constant) else node


def read_texts() -> list[np.ndarray]:
    """Return the tokens of all code, and of all prose, of the standard library."""
    found: list[list[str]] = [[], []]
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for texts, text in zip(found, texts_of(path.read_text(encoding="utf-8")), strict=True):
            texts.append(text)
    ids = {character: number for number, character in enumerate(CHARACTERS)}
    return [np.array([ids.get(each, UNKNOWN) for each in "\n".join(texts)]) for texts in found]


def train(texts: list[np.ndarray], n_batches: int, seed: int = 0) -> Writer:
    """Train with batches of half code and half prose."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Writer()
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=n_batches)
    labels = torch.arange(ROWS) % 2
    for number in range(n_batches):
        starts = [rng.integers(len(texts[row % 2]) - LENGTH - 1) for row in range(ROWS)]
        rows = [texts[row % 2][start : start + LENGTH + 1] for row, start in enumerate(starts)]
        batch = torch.from_numpy(np.array(rows))
        scores, kinds = net(batch[:, :-1])
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())
        of_kinds = nn.functional.cross_entropy(kinds.flatten(0, 1), labels.repeat_interleave(LENGTH))
        optimizer.zero_grad()
        (loss + 0.3 * of_kinds).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if number % 100 == 0:
            print(f"{number}: {loss.item():.3f} a character, {of_kinds.item():.3f} for the kind", flush=True)
    return net


def update_first(array: np.ndarray) -> np.ndarray:
    """Return the rows of gates in grurt's order, which has the update gate before the reset gate."""
    reset, update, candidate = np.split(array, 3)
    return np.concatenate([update, reset, candidate])


def to_model(net: Writer) -> grurt.Model:
    """Return the network as a model, with its vocabulary."""
    arrays = {name: weight.detach().numpy() for name, weight in net.state_dict().items()}
    weights = {
        name.removesuffix("_l0"): update_first(array) if name.startswith("gru.") else array
        for name, array in arrays.items()
    }
    vocabulary = grurt.Vocabulary(tokens=(*CHARACTERS, ""), split="characters", unknown=UNKNOWN)
    return grurt.Model(
        layers=[
            grurt.Embedding(name="embedding", vocabulary_size=UNKNOWN + 1, size=EMBEDDED),
            grurt.GRU(name="gru", input_size=EMBEDDED, hidden_size=HIDDEN),
            grurt.Linear(name="scores", inputs=("gru",), input_size=HIDDEN, output_size=UNKNOWN + 1),
            grurt.Linear(name="kinds", inputs=("gru",), input_size=HIDDEN, output_size=len(KINDS)),
            grurt.Activation(name="kind", inputs=("kinds",), function=grurt.Softmax()),
        ],
        weights=weights,
        inputs=[grurt.TokenInput("character", UNKNOWN + 1)],
        outputs=[grurt.Output("scores", "scores"), grurt.Output("kind", "kind")],
        vocabularies={"character": vocabulary},
    )


def main() -> None:
    """Train, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="the .grurt file to write")
    parser.add_argument("--batches", type=int, default=1600)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = to_model(train(read_texts(), arguments.batches)).quantize("int8")
    model.save(arguments.output)
    for prompt in ("def ", "The "):
        print(repr(prompt + model.generate_text(prompt, 120, temperature=0.5, seed=1)))


if __name__ == "__main__":
    main()
