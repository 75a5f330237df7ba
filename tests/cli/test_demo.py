"""The demo: its network, its recordings, and what it shows."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from commandline import COMMAND, Terminal, succeed
from rich.console import Console

from grurt import reference
from grurt.cli import screen
from grurt.cli.player import Moment, Player
from grurt.demo import MODEL_PATH, RECORDINGS_PATH, load_model, load_recordings

SUMMARY = (
    r"40 of 40 recordings recognised: accuracy 100\.0%\n"
    r"\d+\.\d\d microseconds a sample \(median\): [\d,]+ times faster than real time\n"
)


def test_the_recordings_are_the_forty_of_the_test_set() -> None:
    recordings = load_recordings()
    assert recordings.samples.shape == (40, 100, 6)
    assert recordings.samples.dtype == np.float32
    assert recordings.classes == ("Standing", "Running", "Walking", "Badminton")
    assert np.bincount(recordings.labels).tolist() == [10, 10, 10, 10]
    assert recordings.sample_rate == 10
    assert recordings.samples[0, :3, 0] == pytest.approx([-0.740653, -0.740653, 10.208449])


def test_the_files_are_small() -> None:
    assert MODEL_PATH.stat().st_size < 50_000
    assert RECORDINGS_PATH.stat().st_size < 100_000


def test_the_network_gives_the_answers_of_its_source() -> None:
    verification = load_model().verify()
    assert verification.ok
    assert verification.max_error < 2e-6
    assert re.fullmatch(r"onnxruntime \d.*", verification.produced_by)


def test_the_network_recognises_the_recordings_and_streams_like_the_reference() -> None:
    model, recordings = load_model(), load_recordings()
    answers = model.run(recordings.samples)
    assert isinstance(answers, np.ndarray)
    assert (answers[:, -1].argmax(axis=1) == recordings.labels).all()
    assert (answers[:, 19].argmax(axis=1) == recordings.labels).all()  # after two seconds
    stream = model.stream()
    (name,) = (port.name for port in model.inputs)
    for recording in (0, 35):
        stream.reset()
        (wanted,) = reference.step_outputs(model, {name: recordings.samples[recording]}).values()
        for sample, expected in zip(recordings.samples[recording], wanted, strict=True):
            np.testing.assert_allclose(stream.step(sample), expected, atol=2e-6)


@pytest.fixture
def player() -> Player:
    return Player(load_model(), load_recordings())


def test_the_player_plays_each_recording_once_and_the_activities_in_turn(player: Player) -> None:
    labels = player.recordings.labels[player.order]
    assert sorted(player.order) == list(range(40))
    assert labels.tolist() == [0, 1, 2, 3] * 10
    moments = list(player)
    assert len(moments) == 4000
    assert [moment.number for moment in moments if moment.verdict] == list(range(1, 41))
    assert [moment.recording for moment in moments if moment.step == 0] == player.order


def test_the_score_counts_what_was_played_to_its_end(player: Player) -> None:
    moments = iter(player)
    for _ in range(150):
        next(moments)
    score = player.score()
    assert (score.recordings, score.right) == (1, 1)
    assert score.microseconds_per_sample > 0
    assert score.times_real_time == pytest.approx(1e5 / score.microseconds_per_sample)


# In a pipe


def test_in_a_pipe_there_is_a_line_for_each_recording() -> None:
    lines = succeed("demo").splitlines(keepends=True)
    for number, line in enumerate(lines[:40], 1):
        assert re.fullmatch(rf"recording {number:2}   (\w+) +recognised as \1 +[01]\.\d\d\n", line)
    assert re.fullmatch(SUMMARY, "".join(lines[40:]))
    assert "\x1b" not in "".join(lines)


def test_json_is_the_score() -> None:
    score = json.loads(succeed("demo", "--json"))
    assert score.keys() == {"recordings", "right", "microseconds_per_sample", "times_real_time"}
    assert (score["recordings"], score["right"]) == (40, 40)


def test_a_wrong_answer_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    def swapped() -> Any:
        recordings = load_recordings()
        return type(recordings)(recordings.samples, np.roll(recordings.labels, 1), recordings.classes, 10.0)

    monkeypatch.setattr("grurt.demo.load_recordings", swapped)
    text = succeed("demo")
    assert len(re.findall(r"^recording +\d+ +(\w+) +recognised as (?!\1)\w+ +[01]\.\d\d   wrong$", text, re.M)) == 4
    assert "36 of 40 recordings recognised: accuracy 90.0%" in text


@pytest.mark.slow
def test_a_reader_that_goes_ends_the_demo_quietly() -> None:
    script = f"{' '.join(COMMAND)} demo | head -n 1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout.splitlines()[1:] in (["141"], ["0"])  # 0 where the pipe's buffer took it all


# On a terminal


def first_moment(player: Player, n_samples: int) -> Moment:
    moments = iter(player)
    for _ in range(n_samples - 1):
        next(moments)
    return next(moments)


def shown(player: Player, moment: Moment, *, width: int = 80, ascii_only: bool = False) -> str:
    console = Console(width=width, color_system=None, force_terminal=True)
    with console.capture() as capture:
        console.print(screen.picture(player, moment, width=width, ascii_only=ascii_only))
    return capture.get()


def test_the_picture_shows_the_signal_and_the_probabilities(player: Player) -> None:
    moment = first_moment(player, 130)
    lines = [line.rstrip() for line in shown(player, moment).splitlines()]
    assert lines[0] == "What is the wearer of this smart watch doing?"
    assert lines[1] == "recording 2 of 40 at 3.0 s, 1 of 1 recognised"
    assert re.fullmatch(r"  accelerometer x [▁▂▃▄▅▆▇█]{30}", lines[3])
    bars = [re.fullmatch(r"([> ]) (\w+) +([█▏▎▍▌▋▊▉]*) +([01]\.\d\d)", line) for line in lines[7:11]]
    assert [match and match[2] for match in bars] == list(player.recordings.classes)
    assert [match and match[1] for match in bars] == [" ", ">", " ", " "]
    assert [match and match[4] for match in bars] == [f"{p:.2f}" for p in moment.probabilities]


@pytest.mark.parametrize("width", [36, 30, 60, 80])
def test_on_a_narrow_terminal_nothing_is_cut_or_broken(player: Player, width: int) -> None:
    moment = first_moment(player, 190)  # most of a long recording, and a probability near 1
    lines = [line.rstrip() for line in shown(player, moment, width=width).splitlines()]
    assert max(map(len, lines)) <= width
    assert sum(bool(re.fullmatch(r"  accelerometer [xyz] [▁▂▃▄▅▆▇█]+", line)) for line in lines) == 3
    bars = [re.fullmatch(r"[> ] (\w+) +([█▏▎▍▌▋▊▉]*) +[01]\.\d\d", line) for line in lines]
    assert [match[1] for match in bars if match] == list(player.recordings.classes)
    assert max(len(match[2]) for match in bars if match) > min(40, width - 20) * 0.8


def test_the_picture_can_do_without_unicode(player: Player) -> None:
    text = shown(player, first_moment(player, 30), ascii_only=True)
    assert text.isascii()
    assert "####" in text


@pytest.mark.parametrize(
    ("fraction", "wanted"), [(0.0, ""), (0.06, "▌"), (0.125, "█"), (0.5, "████"), (0.99, "███████▉"), (1.0, "████████")]
)
def test_a_bar_is_drawn_to_an_eighth_of_a_character(fraction: float, wanted: str) -> None:
    assert screen.bar(fraction, ascii_only=False, width=8) == wanted
    assert screen.bar(fraction, ascii_only=True, width=8) == "#" * round(fraction * 8)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal("demo")
    yield terminal
    terminal.process.kill()


@pytest.mark.slow
def test_on_a_terminal_the_display_is_live_and_an_interrupt_leaves_the_score(terminal: Terminal) -> None:
    terminal.read_until("1 of 1 recognised")  # takes two seconds, in which the first recording is played
    terminal.process.send_signal(signal.SIGINT)
    text = terminal.read_to_end()
    assert terminal.process.returncode == 130
    assert "Traceback" not in text
    assert text.count("What is the wearer") > 10
    assert re.search(r"1 of 1 recordings recognised: accuracy 100\.0%\r\n.* microseconds a sample", text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor is back


@pytest.mark.slow
def test_fast_on_a_terminal_is_lines() -> None:
    terminal = Terminal("demo", "--fast")
    text = terminal.read_to_end()
    assert terminal.process.returncode == 0
    assert "\x1b" not in text
    assert re.search(SUMMARY, text.replace("\r\n", "\n"))


@pytest.mark.slow
def test_a_dumb_terminal_gets_lines() -> None:
    text = Terminal("demo", environment={"TERM": "dumb"}).read_to_end()
    assert "\x1b" not in text
    assert "recording 40" in text
