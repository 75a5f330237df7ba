"""What `grurt run` streams, `grurt quantize --calibration` measures with, and the other way round."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import commandline
import models
import numpy as np
import pytest
from commandline import fail, invoke, succeed

import grurt

Array = np.ndarray[Any, Any]
BATCH = np.random.default_rng(3).normal(size=(3, 20, 2)).astype(np.float32)
TOKENS = np.random.default_rng(4).integers(7, size=(3, 20))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models of features, of tokens, of two inputs, and of whole sequences."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(11)
    models.gru_model(2, 5, rng, output_size=3).save(folder / "plain.grurt")
    models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=7, size=3),
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        rng=rng,
    ).save(folder / "tokens.grurt")
    models.layer_model(
        grurt.Concat(name="both", inputs=("a", "b")),
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        rng=rng,
        inputs=[grurt.Input("a", 2), grurt.Input("b", 1)],
    ).save(folder / "two.grurt")
    models.layer_model(grurt.GRU(name="gru", input_size=2, hidden_size=4, direction="reverse"), rng=rng).save(
        folder / "reverse.grurt"
    )
    np.save(folder / "batch.npy", BATCH)
    np.save(folder / "tokens.npy", TOKENS)
    np.savez(folder / "two.npz", a=BATCH, b=BATCH[..., :1])
    np.savez(folder / "any.npz", recording=BATCH)
    lines = "".join(",".join(map(str, row)) + "\n" for row in BATCH[0])
    (folder / "one.csv").write_text(lines)
    (folder / "header.csv").write_text("left,right\n" + lines)
    (folder / "one.csv.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "one.jsonl").write_text("".join(json.dumps(row.tolist()) + "\n" for row in BATCH[0]))
    (folder / "tokens.csv").write_text("".join(f"{token}\n" for token in TOKENS[0]))
    (folder / "two.jsonl").write_text(
        "".join(json.dumps({"a": row.tolist(), "b": float(row[0])}) + "\n" for row in BATCH[0])
    )
    return folder


def answers(folder: Path, model: str, data: str, *options: str) -> Array:
    result = invoke("run", folder / f"{model}.grurt", folder / data, "-o", folder / "answers.npy", *options)
    assert result.exit_code == 0, result.stderr
    return np.asarray(np.load(folder / "answers.npy"))


@pytest.mark.parametrize(
    ("model", "data", "xs"),
    [
        ("plain", "batch.npy", BATCH),
        ("plain", "any.npz", BATCH),
        ("reverse", "batch.npy", BATCH),
        ("tokens", "tokens.npy", TOKENS),
        ("two", "two.npz", {"a": BATCH, "b": BATCH[..., :1]}),
    ],
)
def test_each_sequence_of_a_batch_begins_anew(folder: Path, model: str, data: str, xs: Any) -> None:
    expected = grurt.load(folder / f"{model}.grurt").run(xs)
    expected = np.stack(list(expected.values()))[0] if isinstance(expected, dict) else expected
    np.testing.assert_array_equal(answers(folder, model, data), expected)
    np.testing.assert_array_equal(answers(folder, model, data, "--last")[:, 0], expected[:, -1])


def test_a_batch_as_text_has_the_rows_of_all_sequences(folder: Path) -> None:
    lines = succeed("run", folder / "plain.grurt", folder / "batch.npy").splitlines()
    found = np.array([line.split(",") for line in lines], np.float32).reshape(3, 20, 3)
    np.testing.assert_array_equal(found, grurt.load(folder / "plain.grurt").run(BATCH))
    assert len(succeed("run", folder / "plain.grurt", folder / "batch.npy", "--last").splitlines()) == 3


@pytest.mark.parametrize("data", ["one.csv", "header.csv", "one.csv.gz", "one.jsonl"])
def test_what_run_reads_can_calibrate(folder: Path, data: str, tmp_path: Path) -> None:
    path = tmp_path / "small.grurt"
    text = succeed("quantize", folder / "plain.grurt", "-o", path, "--steps", 10, "--calibration", folder / data)
    assert f"measured on {data}: sequences: 1, timesteps: 20" in text
    expected = grurt.load(folder / "plain.grurt").quantize("int8", calibration=BATCH[0])
    found = grurt.load(path)
    assert all(np.array_equal(found.weights[name], array) for name, array in expected.weights.items())


@pytest.mark.parametrize(("model", "data"), [("tokens", "tokens.csv"), ("two", "two.jsonl")])
def test_tokens_and_several_inputs_can_calibrate(folder: Path, model: str, data: str) -> None:
    text = succeed("quantize", folder / f"{model}.grurt", "--steps", 10, "--calibration", folder / data)
    assert f"measured on {data}: sequences: 1, timesteps: 20" in text


@pytest.mark.parametrize("how", ["a file", "a pipe"])
@pytest.mark.parametrize("data", ["one.csv", "one.jsonl", "batch.npy"])
def test_what_gzip_has_packed(folder: Path, data: str, how: str, tmp_path: Path) -> None:
    expected = succeed("run", folder / "plain.grurt", folder / data)
    packed = gzip.compress((folder / data).read_bytes())
    (tmp_path / f"{data}.gz").write_bytes(packed)
    if how == "a file":
        assert succeed("run", folder / "plain.grurt", tmp_path / f"{data}.gz") == expected
    else:
        assert succeed("run", folder / "plain.grurt", stdin=packed) == expected


@pytest.mark.parametrize("change", [lambda data: data[:-9], lambda data: data[:40] + bytes(20) + data[60:]])
def test_damaged_data_of_gzip_are_refused(folder: Path, change: Any, tmp_path: Path) -> None:
    (tmp_path / "xs.csv.gz").write_bytes(change((folder / "one.csv.gz").read_bytes()))
    assert "expected what gzip has packed, got damaged data: " in fail(
        "run", folder / "plain.grurt", tmp_path / "xs.csv.gz"
    )
    message = fail("quantize", folder / "plain.grurt", "--calibration", tmp_path / "xs.csv.gz")
    assert "expected what gzip has packed, got damaged data: " in message


def test_what_gzip_unpacks_to_much_more_takes_little_memory(folder: Path, tmp_path: Path) -> None:
    """A line that never ends ends at the most that any line may have."""
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"1" * (64 << 20)))
    message = fail("run", folder / "plain.grurt", tmp_path / "bomb.csv.gz")
    assert "expected the next line to have at most 1,048,576 characters, got more" in message


@pytest.mark.parametrize("separator", [" ", ";", "\t", ", "])
def test_a_line_of_tokens_is_no_header(folder: Path, separator: str) -> None:
    message = fail("run", folder / "tokens.grurt", stdin=separator.join(["3", "1", "2"]) + "\n")
    assert "stdin, line 1: expected " in message
    if separator != ", ":
        assert "expected token ids, one timestep a line, or a header, got '3" in message


def test_a_header_that_begins_as_archives_do(folder: Path) -> None:
    assert succeed("run", folder / "plain.grurt", stdin="PK,SK\n1,2\n").count("\n") == 2


def test_words_in_place_of_tokens_are_not_passed_over_in_silence(folder: Path) -> None:
    result = invoke("run", folder / "tokens.grurt", stdin="hello\n")
    assert result.exit_code == 0
    assert result.stderr == (
        "note: stdin, line 1 is taken for a header, as it holds no token id, and no timestep follows\n"
    )
    assert "expected a token id, got 'world'" in fail("run", folder / "tokens.grurt", stdin="hello\nworld\n")
    assert succeed("run", folder / "tokens.grurt", stdin="token\n3\n").count("\n") == 2


def archive(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("model", "content", "message"),
    [
        ("two", archive(a=BATCH), "expected the arrays ['a', 'b'], as the model's inputs are called, got 'a'"),
        ("two", archive(a=BATCH, b=BATCH[0, :, :1]), "expected as many timesteps of every input, got arrays of shapes"),
        ("plain", archive(x=np.array(["a"])), "'x': expected an array of numbers, got one of <U1"),
        ("plain", archive(x=BATCH[..., :1]), "'x': expected an array of shape (n_steps, 2) or (batch, n_steps, 2)"),
        ("plain", archive(x=BATCH)[:-30], "the .npz archive is damaged: "),
    ],
)
def test_archives_that_do_not_fit_are_refused(
    folder: Path, model: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "xs.npz").write_bytes(content)
    assert f"xs.npz: {message}" in fail("run", folder / f"{model}.grurt", tmp_path / "xs.npz")


def test_an_archive_out_of_a_pipe_is_refused(folder: Path) -> None:
    process = commandline.start("run", folder / "plain.grurt")
    _, said = process.communicate(archive(x=BATCH))
    assert process.returncode == 2
    assert "expected a file, as an .npz archive is not read from one end to the other, got a pipe" in said.decode()


def test_a_batch_whose_numbers_lie_by_columns_is_refused(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "xs.npy", np.asfortranarray(BATCH))
    message = fail("run", folder / "plain.grurt", tmp_path / "xs.npy")
    assert "expected an array in C's order, got one in Fortran's: save numpy.ascontiguousarray of it" in message


def test_too_many_timesteps_to_calibrate_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.cli.calibration.MAX_NUMBERS", 39)
    message = fail("quantize", folder / "plain.grurt", "--calibration", folder / "one.csv")
    assert message.endswith("one.csv: expected at most 19 timesteps, got more: calibrate with a part")
