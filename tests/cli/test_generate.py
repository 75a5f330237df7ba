"""`grurt vocabulary`, `generate`, `forecast` and `run --text`: what models go on with, and texts."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import models
import msgspec
import numpy as np
import pytest
from commandline import fail, invoke, succeed
from paths import DATA

import grurt
from grurt.cli.texts import TextWriter


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


def test_texts_in_packed_files_and_with_other_options(named: Path, folder: Path) -> None:
    given = ("--float-format", ".3f", "--delimiter", ";", "--last", "--nonfinite", "propagate")
    (folder / "texts.gz").write_bytes(gzip.compress("\ufeffab\r\n".encode()))
    expected = ";".join(f"{number:.3f}" for number in grurt.load(named).run_text("ab")[-1]) + "\n"
    assert succeed("run", named, folder / "texts.gz", "--text", *given) == expected
    (folder / "damaged.gz").write_bytes((folder / "texts.gz").read_bytes()[:-9])
    assert "expected what gzip has packed, got damaged data" in fail("run", named, folder / "damaged.gz", "--text")
    for option in (("--columns", "a"), ("--format", "csv")):
        said = fail("run", named, "--text", *option, stdin="ab\n")
        assert said.endswith(
            f"--text: each line of the input is a text, without columns or a format: leave {option[0]} out"
        )


def test_texts_beside_a_context_and_with_several_answers(folder: Path) -> None:
    added = grurt.Program(
        name="added",
        inputs=("embedding",),
        input_shapes=((4,),),
        contexts=(grurt.ProgramContext("memory", (4,)),),
        operators=(grurt.operators.Combine(inputs=("embedding", "memory"), outputs=("sum",), operation="add"),),
        results=("sum",),
    )
    layers = [
        grurt.Embedding(name="embedding", inputs=("t",), vocabulary_size=10, size=4),
        added,
        grurt.GRU(name="gru", inputs=("added",), input_size=4, hidden_size=3),
        grurt.LastStep(name="last", inputs=("gru",)),
    ]
    model = models.layer_model(
        *layers,
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("t", 10)],
        outputs=[grurt.Output("each", "gru"), grurt.Output("end", "last")],
        vocabularies={"t": grurt.Vocabulary(tokens=tuple(".abcdefgh "), split="characters")},
    )
    model.save(folder / "context.grurt")
    memory = {"memory": np.arange(4, dtype=np.float32)}
    np.savez(folder / "memory.npz", **memory)
    said = succeed(
        "run", folder / "context.grurt", "--text", "--json", "--context", folder / "memory.npz", stdin="abc\n"
    )
    expected = model.run(model.vocabulary.encode("abc"), context=memory)
    found = {name: np.float32(numbers) for name, numbers in json.loads(said).items()}
    np.testing.assert_array_equal(found["each"], expected["each"][-1])
    np.testing.assert_array_equal(found["end"], expected["end"])
    assert "context" in fail("run", folder / "context.grurt", "--text", stdin="abc\n")


def test_tokens_of_words_come_piece_by_piece() -> None:
    pieces = grurt.Vocabulary(tokens=("<pad>", "un", "##able", "bad", "good"), split="wordpiece", padding=0)
    assert _pieces(pieces, [1], [2, 0], [0], [3, 4, 2]) == ["un", "able", "", " bad goodable", ""]
    words = grurt.Vocabulary(tokens=("<pad>", "a", "b"), padding=0)
    assert _pieces(words, [0], [1], [0, 0], [2, 1], [1]) == ["", "a", "", " b a", " a", ""]
    letters = grurt.Vocabulary(tokens=("a", "b"), split="characters")
    assert _pieces(letters, [0, 1], [1]) == ["ab", "b", ""]


def test_a_character_is_written_when_all_its_bytes_are_there() -> None:
    library = pytest.importorskip("tokenizers")
    alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
    tokenizer = library.Tokenizer(library.models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    vocabulary = grurt.Vocabulary(tokens=tuple(alphabet), split="tokenizer", tokenizer=tokenizer.to_str())
    tokens = [[token] for token in vocabulary.encode("a \u20ac!").tolist()]
    assert _pieces(vocabulary, *tokens) == ["a", " ", "", "", "\u20ac", "!", ""]
    assert _pieces(vocabulary, *tokens[:3]) == ["a", " ", "", "\ufffd"]


def _pieces(vocabulary: grurt.Vocabulary, *blocks: list[int]) -> list[str]:
    """Return what is written of each block, and at the end."""
    writer = TextWriter(vocabulary)
    return [*map(writer.more, blocks), writer.rest()]


def test_texts_that_do_not_fit(named: Path, folder: Path) -> None:
    assert fail("run", named, "--text", stdin="ab\nzz\n") == (
        "error: stdin, line 2: text: expected what is in the vocabulary, got 'z'"
    )
    assert "line 1: Model.run: expected at least 1 timestep, got 0" in fail("run", named, "--text", stdin="\n")
    assert "expected text in UTF-8, got the byte 0xff" in fail("run", named, "--text", stdin=b"\xff\n")
    assert "line 1: expected a line of at most 1,048,576 bytes, got a longer one" in fail(
        "run", named, "--text", stdin="a" * (1 << 21)
    )
    assert "expected a model with one vocabulary, got 0" in fail("run", folder / "plain.grurt", "--text", stdin="a\n")
    both = folder / "both.grurt"
    two_inputs().replaced(vocabularies={"x": grurt.load(named).vocabulary}).save(both)
    assert "--text: expected a model whose only input is tokens, got several" in fail(
        "run", both, "--text", stdin="a\n"
    )


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


def two_inputs() -> grurt.Model:
    return models.layer_model(
        grurt.Embedding(name="a", inputs=("x",), vocabulary_size=10, size=4),
        grurt.Embedding(name="b", inputs=("y",), vocabulary_size=10, size=4),
        grurt.Add(name="sum", inputs=("a", "b")),
        rng=np.random.default_rng(0),
        inputs=[grurt.TokenInput("x", 10), grurt.TokenInput("y", 10)],
    )


def test_vocabularies_are_changed_by_options(named: Path, folder: Path) -> None:
    out = folder / "out.grurt"
    succeed(
        "vocabulary",
        named,
        "--split",
        "none",
        "--length",
        3,
        "--padding",
        " ",
        "--lowercase",
        "--remove",
        "x",
        "-o",
        out,
    )
    expected = msgspec.structs.replace(
        grurt.load(named).vocabulary, split="none", length=3, padding=9, lowercase=True, removed="x"
    )
    assert grurt.load(out).vocabulary == expected
    said = fail("vocabulary", folder / "plain.grurt", "--length", 3, "-o", out)
    assert "VOCABULARY: expected a file, since the model has no vocabulary of 't', got none" in said
    assert "--layer: expected --vectors, which fill it, got none" in fail(
        "vocabulary", named, "--layer", "a", "-o", out
    )


def test_vectors_fill_an_embedding(named: Path, folder: Path) -> None:
    (folder / "vectors.txt").write_text("a 1 2 3 4\n. 5 6 7 8\nword 0 0 0 0\n")
    out = folder / "out.grurt"
    result = invoke("vocabulary", named, "--vectors", folder / "vectors.txt", "-o", out)
    assert result.exit_code == 0
    assert result.stderr == f"grurt: reading {folder / 'vectors.txt'}\n"
    assert result.stdout.splitlines() == [
        f"wrote {out}: 10 tokens of 't', characters",
        "embedding: vectors of 2 tokens from vectors.txt; 8 stay as they were: 'b', 'c', 'd', 'e', 'f' and 3 more",
    ]
    weight = grurt.load(out).weights["embedding.weight"]
    np.testing.assert_array_equal(weight[:2], [[5, 6, 7, 8], [1, 2, 3, 4]])
    np.testing.assert_array_equal(weight[2:], grurt.load(named).weights["embedding.weight"][2:])
    (folder / "vectors.txt").write_text("a 1 2 3\n")
    said = fail("vocabulary", named, "--vectors", folder / "vectors.txt", "-o", folder / "other.grurt")
    assert "vectors.txt: expected vectors of 4 numbers, as the layer 'embedding' has, got vectors of 3" in said
    assert not (folder / "other.grurt").exists()


def test_a_converted_model_says_that_it_reads_texts(folder: Path) -> None:
    out = folder / "reviews.grurt"
    said = succeed("convert", DATA / "texts" / "padded.keras", "--no-reference", "-o", out)
    assert "reads texts: text, ascii_words" in said.splitlines()
    assert "input text: a token of 23, or texts (ascii_words, 8 for each)" in succeed("inspect", out).splitlines()
    answers = succeed("run", out, "--text", stdin="A good film, a GOOD one!\n")
    stored = json.loads((DATA / "texts" / "padded.json").read_text())[0]
    np.testing.assert_allclose(np.float32(answers.split(",")), stored["answer"], rtol=0, atol=2e-6)


def test_vocabularies_that_do_not_fit(folder: Path) -> None:
    out = folder / "out.grurt"
    assert "expected a model with one input of tokens, got 0: no vocabulary belongs to it" in fail(
        "vocabulary", folder / "series.grurt", folder / "letters.txt", "-o", out
    )
    two_inputs().save(folder / "two.grurt")
    assert "got 2: name it with --input" in fail("vocabulary", folder / "two.grurt", folder / "letters.txt", "-o", out)
    one, both = folder / "one.grurt", folder / "both.grurt"
    succeed("vocabulary", folder / "two.grurt", folder / "letters.txt", "--input", "x", "-o", one)
    succeed("vocabulary", one, folder / "letters.txt", "--input", "y", "-o", both)
    assert set(grurt.load(both).vocabularies) == {"x", "y"}
    assert "end: expected one of its tokens, got 'q'" in fail(
        "vocabulary", folder / "plain.grurt", folder / "letters.txt", "--end", "q", "-o", out
    )
    assert not out.exists()
