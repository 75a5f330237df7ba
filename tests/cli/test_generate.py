"""`grurt vocabulary`, `generate`, `forecast` and `run --text`: what models go on with, and texts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import models
import numpy as np
import pytest
from commandline import fail, invoke, succeed

import grurt


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model of tokens, the letters that these are, a model of a series, and a series."""
    models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=10, size=4),
        grurt.GRU(name="gru", input_size=4, hidden_size=12),
        grurt.Linear(name="fc", input_size=12, output_size=10),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("t", 10)],
    ).save(tmp_path / "plain.grurt")
    models.gru_model(2, 9, np.random.default_rng(1), output_size=2).save(tmp_path / "series.grurt")
    (tmp_path / "letters.txt").write_text("".join(f"{letter}\n" for letter in ".abcdefgh "))
    lines = [f"{i / 10},{i / 5}" for i in range(12)]
    (tmp_path / "history.csv").write_text("\n".join(["a,b", *lines, ""]))
    return tmp_path


@pytest.fixture
def named(folder: Path) -> Path:
    path = folder / "named.grurt"
    options = ("--split", "characters", "--end", ".")
    said = succeed("vocabulary", folder / "plain.grurt", folder / "letters.txt", *options, "-o", path)
    assert said == f"wrote {path}: 10 tokens of 't', characters\n"
    return path


def test_a_text_goes_on(named: Path) -> None:
    model = grurt.load(named)
    options = {"temperature": 0.8, "top_k": 6, "top_p": 0.9, "repetition_penalty": 1.2}
    expected = model.generate_text("ab", 40, seed=5, **options)
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)]
    assert succeed("generate", named, "ab", "--seed", 5, "--max-tokens", 40, *given) == f"{expected}\n"
    stopped = model.generate_text("ab", 40, seed=5, stop=(3, 4))
    assert succeed("generate", named, "ab", "--seed", 5, "--stop", 3, "--stop", 4, "--max-tokens", 40) == f"{stopped}\n"


def test_words_have_spaces_between_them(folder: Path) -> None:
    (folder / "words.json").write_text(json.dumps([f"word{i}" for i in range(10)]))
    succeed("vocabulary", folder / "plain.grurt", folder / "words.json", "-o", folder / "words.grurt")
    expected = grurt.load(folder / "words.grurt").generate_text("word3 word1", 50)
    assert succeed("generate", folder / "words.grurt", "word3 word1", "--max-tokens", 50) == f"{expected}\n"
    assert len(expected.split(" ")) == 50


def test_tokens_go_on(folder: Path) -> None:
    expected = grurt.load(folder / "plain.grurt").generate([3, 1, 4], 40, top_k=4, seed=0)
    found = succeed("generate", folder / "plain.grurt", "3,1,4", "--tokens", "--max-tokens", 40, "--top-k", 4)
    assert found == ",".join(map(str, expected.tolist())) + "\n"


def test_prompts_that_do_not_fit(folder: Path, named: Path) -> None:
    plain = folder / "plain.grurt"
    assert fail("generate", plain, "ab").startswith("error: expected a model with one vocabulary, got 0")
    assert fail("generate", named, "abz") == "error: text: expected what is in the vocabulary, got 'z'"
    assert "expected at least one token, got nothing" in fail("generate", named, "")
    assert "expected numbers of tokens, such as 3,1,4, got 'x'" in fail("generate", plain, "x", "--tokens")
    assert "prompt[0]: expected a token id in [0, 10), got 77" in fail("generate", plain, "77", "--tokens")
    assert "temperature: expected a number of at least 0" in fail("generate", named, "a", "--temperature", -1)


def test_texts_are_answered_line_by_line(named: Path, folder: Path) -> None:
    model = grurt.load(named)
    answers = succeed("run", named, "--text", stdin="ab\nbad\n")
    for row, text in zip(csv.reader(io.StringIO(answers)), ("ab", "bad"), strict=True):
        np.testing.assert_array_equal(np.float32(row), model.run_text(text)[-1])
    succeed("run", named, "--text", "-o", folder / "answers.jsonl", stdin="ab\r\n")
    found = json.loads((folder / "answers.jsonl").read_text())
    np.testing.assert_array_equal(np.float32(found), model.run_text("ab")[-1])


def test_texts_that_do_not_fit(named: Path, folder: Path) -> None:
    assert fail("run", named, "--text", stdin="ab\nzz\n") == (
        "error: stdin, line 2: text: expected what is in the vocabulary, got 'z'"
    )
    assert "line 1: Model.run: expected at least 1 timestep, got 0" in fail("run", named, "--text", stdin="\n")
    assert "expected text in UTF-8, got the byte 0xff" in fail("run", named, "--text", stdin=b"\xff\n")
    assert "line 1: expected a line of at most 1,048,576 bytes, got a longer one" in fail("run", named, "--text", stdin="a" * (1 << 21))
    assert "expected a model with one vocabulary, got 0" in fail("run", folder / "plain.grurt", "--text", stdin="a\n")


def test_a_series_goes_on(folder: Path) -> None:
    stream = grurt.load(folder / "series.grurt").stream()
    history = np.loadtxt(folder / "history.csv", np.float32, delimiter=",", skiprows=1)
    stream.run(history[:-1])
    expected = stream.forecast(5, history[-1])
    command = ("forecast", folder / "series.grurt", folder / "history.csv", "--steps", 5)
    header, *rows = csv.reader(io.StringIO(succeed(*command)))
    assert header == ["y_0", "y_1"]
    np.testing.assert_array_equal(np.float32(rows), expected)
    written = folder / "forecast.jsonl"
    succeed(*command, "--columns", "a,b", "-o", written)
    np.testing.assert_array_equal(np.float32([json.loads(line) for line in written.read_text().splitlines()]), expected)


def test_series_that_do_not_fit(folder: Path, named: Path) -> None:
    series = folder / "series.grurt"
    assert "expected at least one timestep, got none" in fail("forecast", series, "--steps", 3, stdin="a,b\n")
    said = fail("forecast", series, "--steps", 3, stdin="1,2\nnan,2\n3,4\n")
    assert "stdin, line 3: input 'x' at [0]: expected finite numbers, got nan" in said
    assert "reads tokens, which generate chooses" in fail("forecast", named, "--steps", 3, stdin="1\n2\n")
    assert invoke("forecast", series, "--steps", 0).exit_code == 2


def test_vocabularies_that_do_not_fit(folder: Path) -> None:
    out = folder / "out.grurt"
    assert "expected a model with one input of tokens, got 0: no vocabulary belongs to it" in fail(
        "vocabulary", folder / "series.grurt", folder / "letters.txt", "-o", out
    )
    two = models.layer_model(
        grurt.Embedding(name="a", inputs=("x",), vocabulary_size=10, size=4),
        grurt.Embedding(name="b", inputs=("y",), vocabulary_size=10, size=4),
        grurt.Add(name="sum", inputs=("a", "b")),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("x", 10), grurt.TokenInput("y", 10)],
    )
    two.save(folder / "two.grurt")
    assert "got 2: name it with --input" in fail("vocabulary", folder / "two.grurt", folder / "letters.txt", "-o", out)
    one, both = folder / "one.grurt", folder / "both.grurt"
    succeed("vocabulary", folder / "two.grurt", folder / "letters.txt", "--input", "x", "-o", one)
    succeed("vocabulary", one, folder / "letters.txt", "--input", "y", "-o", both)
    assert set(grurt.load(both).vocabularies) == {"x", "y"}
    assert "end: expected one of its tokens, got 'q'" in fail(
        "vocabulary", folder / "plain.grurt", folder / "letters.txt", "--end", "q", "-o", out
    )
    assert not out.exists()
