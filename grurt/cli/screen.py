"""The demo on a terminal: the watch's signal and the four probabilities as they move."""

import time
from collections.abc import Iterator

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from grurt.cli.player import Moment, Player

FRAMES_PER_SECOND = 30
SLOW_SAMPLES_PER_SECOND = 50
"""For the first recording of each activity, so that its probabilities can be followed."""
FAST_SAMPLES_PER_SECOND = 500

BAR_WIDTH = 40
SIGNAL_WIDTH = 60
_BESIDE_BAR = 20
_BESIDE_SIGNAL = 18
"""Characters of the line that stand beside a bar, and before a signal: what is left of a narrow terminal is theirs."""
SIGNAL_RANGE = 20.0
"""The acceleration, up and down, at which the drawn signal is cut off."""

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEVELS = "▁▂▃▄▅▆▇█"


def play(player: Player, console: Console) -> None:
    """Play all recordings in a live display, which is gone afterwards."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        shown_at = 0.0
        for moment in _paced(player):
            now = time.monotonic()
            if now - shown_at >= 1 / FRAMES_PER_SECOND:
                shown_at = now
                shown = picture(player, moment, width=console.width, ascii_only=console.options.ascii_only)
                live.update(shown, refresh=True)


def picture(player: Player, moment: Moment, *, width: int, ascii_only: bool) -> RenderableType:
    """Return what the display shows at a moment, on a terminal of so many columns."""
    n_samples = max(1, min(SIGNAL_WIDTH, width - _BESIDE_SIGNAL))
    recordings = player.recordings
    seconds = (moment.step + 1) / recordings.sample_rate
    samples = recordings.samples[moment.recording, : moment.step + 1]
    score = f", {player.right} of {len(player.verdicts)} recognised" if player.verdicts else ""
    signals = [
        Text.assemble(
            (f"  accelerometer {axis} ", "dim"), (_signal(samples[-n_samples:, channel], ascii_only=ascii_only), "cyan")
        )
        for channel, axis in enumerate("xyz")
    ]
    return Group(
        Text("What is the wearer of this smart watch doing?", style="bold"),
        Text(f"recording {moment.number} of {len(player.order)} at {seconds:.1f} s{score}", style="dim"),
        Text(),
        *signals,
        Text(),
        _bars(
            recordings.classes,
            int(recordings.labels[moment.recording]),
            moment.probabilities,
            width=max(1, min(BAR_WIDTH, width - _BESIDE_BAR)),
            ascii_only=ascii_only,
        ),
        Text(),
        Text.assemble(("> ", "bold green"), ("what the recording is of", "dim")),
    )


def _bars(classes: tuple[str, ...], wearer: int, probabilities: np.ndarray, *, width: int, ascii_only: bool) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(width=10)
    table.add_column(width=width)
    table.add_column(justify="right", width=5)
    best = int(probabilities.argmax())
    for index, (name, probability) in enumerate(zip(classes, probabilities, strict=True)):
        style = ("green" if index == wearer else "red") if index == best else "dim"
        table.add_row(
            Text(">" if index == wearer else "", style="bold green"),
            Text(name, style="bold" if index == best else ""),
            Text(bar(float(probability), width=width, ascii_only=ascii_only), style=style),
            Text(f"{probability:.2f}", style="bold" if index == best else "dim"),
        )
    return table


def bar(fraction: float, *, width: int, ascii_only: bool) -> str:
    """Return a bar of a length between 0 and ``width`` characters, drawn to an eighth of one."""
    if ascii_only:
        return "#" * round(fraction * width)
    full, eighths = divmod(round(fraction * width * 8), 8)
    return EIGHTHS[8] * full + EIGHTHS[eighths].strip()


def _signal(samples: np.ndarray, *, ascii_only: bool) -> str:
    """Draw samples of a channel, one character each."""
    levels = "_.-=+*#@" if ascii_only else LEVELS
    heights = (samples / SIGNAL_RANGE + 1) / 2 * len(levels)
    return "".join(levels[int(height)] for height in heights.clip(0, len(levels) - 1))


def _paced(player: Player) -> Iterator[Moment]:
    """Yield the moments at the times when they are due."""
    due = time.monotonic()
    slow = len(player.recordings.classes)
    for moment in player:
        yield moment
        due += 1 / (SLOW_SAMPLES_PER_SECOND if moment.number <= slow else FAST_SAMPLES_PER_SECOND)
        if (wait := due - time.monotonic()) > 0:
            time.sleep(wait)
