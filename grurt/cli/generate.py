"""``grurt generate``: what a model goes on with, behind a prompt."""

from pathlib import Path

import click
import numpy as np

from grurt.cli.models import load_model
from grurt.cli.parameters import Command, model_argument
from grurt.cli.printing import show_piece
from grurt.cli.texts import TextWriter

EXAMPLE = """\b
Examples:
    grurt generate names.grurt "Ka" --temperature 0.8
    grurt generate model.grurt 3,1,4 --tokens --max-tokens 50 --top-k 20 --seed 7
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.argument("prompt", metavar="PROMPT")
@click.option("--max-tokens", metavar="N", type=click.IntRange(min=1), default=200, help="At most. Default: 200.")
@click.option("--temperature", metavar="T", type=float, default=1.0, help="0: the best token always. Default: 1.")
@click.option("--top-k", metavar="K", type=click.IntRange(min=1), help="Draw from so many of the best tokens only.")
@click.option("--top-p", metavar="P", type=float, help="And from as few as have so much of their probability.")
@click.option("--repetition-penalty", metavar="R", type=float, default=1.0, help="Above 1, the same comes seldom.")
@click.option("--seed", metavar="S", type=int, default=0, help="Other tokens for another number. Default: 0.")
@click.option("--stop", metavar="ID", type=int, multiple=True, help="A token that ends the answer.")
@click.option("--tokens", "as_tokens", is_flag=True, help="PROMPT and answer are numbers of tokens, not texts.")
def generate(
    model_path: Path,
    prompt: str,
    max_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    repetition_penalty: float,
    seed: int,
    stop: tuple[int, ...],
    as_tokens: bool,
) -> None:
    """Go on behind PROMPT.

    The answer is written as it comes: behind a text the text that follows, for a model with a vocabulary (see `grurt
    vocabulary`), whose start is read before the text, if it has one; with --tokens, the numbers of the tokens, with a
    comma between them. The same model, prompt, options and seed give the same answer on every machine.
    """
    model = load_model(model_path)
    tokens = _numbers(prompt) if as_tokens else model.vocabulary.encode_part(prompt, start=True)
    if not len(tokens):
        raise click.UsageError("PROMPT: expected at least one token, got nothing")
    end = None if as_tokens else model.vocabulary.end
    blocks = model.stream().generate(
        tokens,
        max_tokens,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        stop=stop or (() if end is None else end),
    )
    if as_tokens:
        for number, block in enumerate(blocks):
            show_piece(("," if number else "") + ",".join(map(str, block.tolist())))
    else:
        writer = TextWriter(model.vocabulary)
        for block in blocks:
            show_piece(writer.more(block.tolist()))
        show_piece(writer.rest())
    show_piece("\n")


def _numbers(prompt: str) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    try:
        return np.array([int(number) for number in prompt.replace(",", " ").split()], np.int64)
    except (ValueError, OverflowError):
        raise click.UsageError(f"PROMPT: expected numbers of tokens, such as 3,1,4, got {prompt!r}") from None
