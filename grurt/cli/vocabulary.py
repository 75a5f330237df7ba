"""``grurt vocabulary``: a model that knows which texts its tokens stand for, and what vectors others have for them."""

from pathlib import Path
from typing import get_args

import click

from grurt.cli.models import load_model
from grurt.cli.parameters import READ, WRITTEN, Command, model_argument
from grurt.cli.places import check_model_file
from grurt.cli.printing import show
from grurt.escaping import listed
from grurt.model import Model
from grurt.network.vocabulary import Split, Vocabulary
from grurt.notices import saying

EXAMPLE = """\b
Examples:
    grurt vocabulary model.grurt letters.txt --split characters --end . -o names.grurt
    grurt vocabulary model.grurt vocab.json --lowercase --unknown "[UNK]" --padding "" -o reviews.grurt
    grurt vocabulary reviews.grurt --vectors glove.6B.100d.txt.gz -o reviews.grurt
"""

_SHOWN = 5


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.argument("vocabulary_path", metavar="[VOCABULARY]", type=READ, required=False)
@click.option("-o", "--output", metavar="OUT", required=True, type=WRITTEN, help="The .grurt file to write.")
@click.option("--input", "input_name", metavar="NAME", help="The input whose tokens they are, where there are several.")
@click.option(
    "--split",
    type=click.Choice([each for each in get_args(Split) if each != "tokenizer"]),
    help="How a text is taken apart: at white space (of ASCII only: ascii_words), into characters, not at all, or into "
    "pieces of words as BERT does. Default: what VOCABULARY says, or words.",
)
@click.option("--lowercase", is_flag=True, help="Make all letters of a text small first.")
@click.option("--remove", "removed", metavar="CHARACTERS", help="Take these characters away first.")
@click.option("--length", metavar="N", type=click.IntRange(min=1), help="Cut or fill each text to so many tokens.")
@click.option("--unknown", metavar="TOKEN", help="The token of what is not there. Default: that is an error.")
@click.option("--padding", metavar="TOKEN", help="The token that fills up sequences.")
@click.option("--start", metavar="TOKEN", help="The token before a text.")
@click.option("--end", metavar="TOKEN", help="The token behind a text.")
@click.option(
    "--vectors",
    "vectors_path",
    metavar="FILE",
    type=READ,
    help="Fill the model's Embedding with what a file of GloVe or word2vec has of the tokens; gzip may have packed it.",
)
@click.option("--layer", metavar="NAME", help="The Embedding that --vectors fills, where there are several.")
def vocabulary(
    model_path: Path,
    vocabulary_path: Path | None,
    output: Path,
    input_name: str | None,
    lowercase: bool,
    vectors_path: Path | None,
    layer: str | None,
    **options: str | int | None,
) -> None:
    """Give a model the texts and vectors of its tokens.

    VOCABULARY has a token in each line, the first of which is number 0; or it is a .json file with a list of tokens, an
    object of their numbers, or a tokenizer of the library tokenizers; or a .keras file with a TextVectorization or
    StringLookup. Without VOCABULARY, it is the one that the model has. How texts are taken apart, the options say as
    the model's source did it, in place of what VOCABULARY says. `grurt run --text` and `grurt generate` read and write
    texts then.

    --vectors fills the rows of tokens that the file has; the others stay as they are, and are counted.
    """
    check_model_file(output)
    if layer is not None and vectors_path is None:
        raise click.UsageError("--layer: expected --vectors, which fill it, got none")
    model = load_model(model_path)
    name = _input_of(model, model_path, input_name)
    found = _vocabulary(model, name, vocabulary_path, {**options, "lowercase": lowercase or None})
    model = model.replaced(vocabularies={**model.vocabularies, name: found})
    lines = []
    if vectors_path is not None:
        model, line = _filled(model, vectors_path, layer)
        lines.append(line)
    model.save(output)
    show(f"wrote {output}: {len(found.tokens):,} tokens of {name!r}, {found.split}", *lines)


def _input_of(model: Model, path: Path, name: str | None) -> str:
    """Return the name of the input whose vocabulary is meant."""
    names = [port.name for port in model.inputs if port.tokens]
    if name is None and len(names) != 1:
        raise click.UsageError(
            f"{path}: expected a model with one input of tokens, got {len(names)}: "
            + ("name it with --input" if names else "no vocabulary belongs to it")
        )
    return names[0] if name is None else name


def _vocabulary(model: Model, name: str, path: Path | None, options: dict[str, str | int | None]) -> Vocabulary:
    from grurt.converters.vocabulary import changed_vocabulary, read_vocabulary

    if path is not None:
        return read_vocabulary(path, **options)  # type: ignore[arg-type]
    if name not in model.vocabularies:
        raise click.UsageError(f"VOCABULARY: expected a file, since the model has no vocabulary of {name!r}, got none")
    return changed_vocabulary(model.vocabularies[name], **options)  # type: ignore[arg-type]


def _filled(model: Model, path: Path, layer: str | None) -> tuple[Model, str]:
    """Return the model with the vectors of a file, and what to say of it."""
    from grurt.converters import fill_embedding

    with saying(f"reading {path}") as tell:
        done = fill_embedding(model, path, layer=layer, progress=lambda part: tell(f"{part:4.0%}"))
    count = len(done.missing)
    texts = listed(map(repr, done.missing), _SHOWN)
    left = f"; {count:,} stay as they were: {texts}" if count else ""
    return done.model, f"{done.layer}: vectors of {done.found:,} tokens from {path.name}{left}"
