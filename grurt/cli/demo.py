"""``grurt demo``: a trained network on real sensor data."""

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from grurt.cli.exits import INTERRUPTED
from grurt.cli.parameters import Command
from grurt.cli.printing import is_terminal, show

if TYPE_CHECKING:
    from grurt.cli.player import Player, Score

EXAMPLE = """\b
Example:
    grurt demo
"""


@click.command(cls=Command, epilog=EXAMPLE)
@click.option("--fast", is_flag=True, help="A line for each recording in place of the live display, without waiting.")
@click.option("--json", "as_json", is_flag=True, help="Print the score as JSON.")
@click.pass_context
def demo(ctx: click.Context, fast: bool, as_json: bool) -> None:
    """Recognise activities in real sensor data.

    Forty recordings of a smart watch, its accelerometer and gyroscope, six channels at 10 Hz, go sample by sample
    through a GRU that has not been trained with them. On a terminal the probabilities of the four activities are
    shown as they move; in a pipe there is a line for each recording. Ctrl-C ends with the score so far.
    """
    from grurt.cli.player import Player
    from grurt.demo import load_model, load_recordings

    player = Player(load_model(), load_recordings())
    interrupted = False
    try:
        _play(player, live=not fast and not as_json and _is_terminal(), silent=as_json)
    except KeyboardInterrupt:
        interrupted = True
    score = player.score()
    show(*([json.dumps(asdict(score))] if as_json else _sentence(score)))
    if interrupted:
        ctx.exit(INTERRUPTED)


def _play(player: "Player", *, live: bool, silent: bool) -> None:
    if live:
        from rich.console import Console

        from grurt.cli.screen import play

        play(player, Console())
        return
    for moment in player:
        if moment.verdict and not silent:
            mark = "" if moment.verdict.right else "   wrong"
            show(
                f"recording {moment.number:2}   {moment.verdict.activity:9}   recognised as "
                f"{moment.verdict.answer:9} {moment.verdict.probability:.2f}{mark}"
            )


def _sentence(score: "Score") -> list[str]:
    if score.recordings:
        accuracy = f"accuracy {score.right / score.recordings:.1%}"
        recognised = f"{score.right} of {score.recordings} recordings recognised: {accuracy}"
    else:
        recognised = "no recording was played to its end"
    times = f"{score.times_real_time:,.0f} times"
    return [
        recognised,
        f"{score.microseconds_per_sample:.2f} microseconds a sample (median): {times} faster than real time",
    ]


def _is_terminal() -> bool:
    return is_terminal(sys.stdout) and os.environ.get("TERM") not in ("dumb", "unknown")
