"""``grurt vocabulary``: a model that knows which texts its tokens stand for."""

from pathlib import Path
from typing import Literal

import click

from grurt.cli.models import load_model
from grurt.cli.parameters import READ, WRITTEN, Command, model_argument
from grurt.cli.places import check_model_file
from grurt.cli.printing import show

EXAMPLE = """\b
Examples:
    grurt vocabulary model.grurt letters.txt --split characters --end . -o names.grurt
    grurt vocabulary model.grurt vocab.json --lowercase --unknown "[UNK]" --padding "" -o reviews.grurt
"""


@click.command(cls=Command, epilog=EXAMPLE)
@model_argument
@click.argument("vocabulary_path", metavar="VOCABULARY", type=READ)
@click.option("-o", "--output", metavar="OUT", required=True, type=WRITTEN, help="The .grurt file to write.")
@click.option("--input", "input_name", metavar="NAME", help="The input whose tokens they are, where there are several.")
@click.option(
    "--split",
    type=click.Choice(["words", "characters"]),
    default="words",
    help="How a text is taken apart: at white space, or into characters. Default: words.",
)
@click.option("--lowercase", is_flag=True, help="Make all letters of a text small first.")
@click.option("--remove", metavar="CHARACTERS", default="", help="Take these characters away first.")
@click.option("--unknown", metavar="TOKEN", help="The token of what is not there. Default: that is an error.")
@click.option("--padding", metavar="TOKEN", help="The token that fills up sequences.")
@click.option("--start", metavar="TOKEN", help="The token before a text.")
@click.option("--end", metavar="TOKEN", help="The token behind a text.")
def vocabulary(
    model_path: Path,
    vocabulary_path: Path,
    output: Path,
    input_name: str | None,
    split: Literal["words", "characters"],
    lowercase: bool,
    remove: str,
    unknown: str | None,
    padding: str | None,
    start: str | None,
    end: str | None,
) -> None:
    """Give a model the texts that its tokens stand for.

    VOCABULARY has a token in each line, the first of which is number 0; or it is a .json file with a list of tokens, or
    an object of their numbers. How texts are taken apart, the options say as the model's source did it. `grurt run
    --text` and `grurt generate` read and write texts then.
    """
    check_model_file(output)
    from grurt.converters import read_vocabulary

    model = load_model(model_path)
    names = [port.name for port in model.inputs if port.tokens]
    if input_name is None and len(names) != 1:
        raise click.UsageError(
            f"{model_path}: expected a model with one input of tokens, got {len(names)}: "
            + ("name it with --input" if names else "no vocabulary belongs to it")
        )
    found = read_vocabulary(
        vocabulary_path,
        split=split,
        lowercase=lowercase,
        removed=remove,
        unknown=unknown,
        padding=padding,
        start=start,
        end=end,
    )
    name = names[0] if input_name is None else input_name
    model.replaced(vocabularies={**model.vocabularies, name: found}).save(output)
    show(f"wrote {output}: {len(found.tokens):,} tokens of {name!r}, {found.split}")
