"""`grurt run`: timesteps of every format in, answers out, as they arrive."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from commandline import COMMAND, Terminal, fail, invoke, start, succeed, write

import grurt
from grurt import reference

Array = np.ndarray[Any, Any]

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of each kind: two features, tokens, two inputs and outputs, whole sequences."""
    folder = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(11)
    models.gru_model(2, 5, rng, output_size=3).save(folder / "plain.grurt")
    models.gru_model(1, 4, rng, output_size=1).save(folder / "scalar.grurt")
    models.layer_model(
        grurt.Embedding(name="embedding", vocabulary_size=7, size=3),
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        rng=rng,
    ).save(folder / "tokens.grurt")
    models.layer_model(
        grurt.Concat(name="both", inputs=("a", "b")),
        grurt.GRU(name="gru", input_size=3, hidden_size=4),
        grurt.Linear(name="fc", input_size=4, output_size=1),
        rng=rng,
        inputs=[grurt.Input("a", 2), grurt.Input("b", 1)],
        outputs=[grurt.Output("hidden", "gru"), grurt.Output("score", "fc")],
    ).save(folder / "several.grurt")
    models.layer_model(grurt.GRU(name="gru", input_size=2, hidden_size=4, direction="reverse"), rng=rng).save(
        folder / "reverse.grurt"
    )
    models.layer_model(
        grurt.GRU(name="gru", input_size=2, hidden_size=4, direction="reverse"),
        grurt.FirstStep(name="final"),
        rng=rng,
    ).save(folder / "final.grurt")
    return folder


@pytest.fixture
def plain(folder: Path) -> Path:
    return folder / "plain.grurt"


def samples(n_steps: int = 6, size: int = 2) -> Array:
    return np.random.default_rng(5).normal(size=(n_steps, size)).astype(np.float32)


def expected(path: Path, **inputs: Array) -> Mapping[str, Array]:
    return reference.step_outputs(grurt.load(path), inputs)


def as_csv(rows: Array) -> str:
    return "".join(",".join(str(value) for value in row) + "\n" for row in rows)


def as_json_lines(rows: Array) -> str:
    return "".join(json.dumps(row.tolist()) + "\n" for row in rows)


def as_npy(array: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def from_csv(text: str) -> Array:
    return np.array([[float(field) for field in row] for row in csv.reader(text.splitlines())], np.float32)


def from_json_lines(text: str) -> Array:
    return np.array([json.loads(line) for line in text.splitlines()], np.float32)


# Formats


def test_csv_from_stdin(plain: Path) -> None:
    answers = from_csv(succeed("run", plain, stdin=as_csv(samples())))
    np.testing.assert_allclose(answers, expected(plain, x=samples())["y"], atol=TOLERANCE)


def test_json_lines_from_stdin(plain: Path) -> None:
    answers = from_json_lines(succeed("run", plain, "-", stdin=as_json_lines(samples())))
    np.testing.assert_allclose(answers, expected(plain, x=samples())["y"], atol=TOLERANCE)


def test_npy_from_stdin_answers_in_csv(plain: Path) -> None:
    assert succeed("run", plain, stdin=as_npy(samples())) == succeed("run", plain, stdin=as_csv(samples()))


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "ndjson", "npy", "CSV"])
def test_the_suffix_of_a_file_says_its_format(plain: Path, tmp_path: Path, suffix: str) -> None:
    content = {"npy": as_npy(samples()), "csv": as_csv(samples()).encode()}
    path = tmp_path / f"samples.{suffix}"
    path.write_bytes(content.get(suffix.lower(), as_json_lines(samples()).encode()))
    text = succeed("run", plain, path)
    answers = from_json_lines(text) if suffix.endswith("json") or suffix in ("jsonl", "ndjson") else from_csv(text)
    np.testing.assert_allclose(answers, expected(plain, x=samples())["y"], atol=TOLERANCE)


def test_format_overrules_the_suffix(plain: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "samples.txt", as_json_lines(samples()).splitlines())
    assert from_json_lines(succeed("run", plain, path, "--format", "jsonl")).shape == (6, 3)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "npy"])
def test_the_output_file_has_the_format_of_its_suffix(plain: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"answers.{suffix}"
    assert succeed("run", plain, "-o", path, stdin=as_csv(samples())) == ""
    read = {"csv": lambda: from_csv(path.read_text()), "jsonl": lambda: from_json_lines(path.read_text())}
    answers = read.get(suffix, lambda: np.load(path))()
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, expected(plain, x=samples())["y"], atol=TOLERANCE)


def test_to_overrules_the_suffix(plain: Path, tmp_path: Path) -> None:
    succeed("run", plain, "-o", tmp_path / "answers.txt", "--to", "jsonl", stdin=as_csv(samples()))
    assert from_json_lines((tmp_path / "answers.txt").read_text()).shape == (6, 3)


def test_text_gives_the_same_bits_as_npy(plain: Path, tmp_path: Path) -> None:
    succeed("run", plain, "-o", tmp_path / "answers.npy", stdin=as_npy(samples()))
    answers = np.load(tmp_path / "answers.npy")
    np.testing.assert_array_equal(from_csv(succeed("run", plain, stdin=as_csv(samples()))), answers)
    np.testing.assert_array_equal(from_json_lines(succeed("run", plain, stdin=as_json_lines(samples()))), answers)


def test_float_format(plain: Path) -> None:
    for line in succeed("run", plain, "--float-format", ".3f", stdin=as_csv(samples())).splitlines():
        assert [len(field.partition(".")[2]) for field in line.split(",")] == [3, 3, 3]


def test_last_gives_one_answer(plain: Path) -> None:
    everything = succeed("run", plain, stdin=as_csv(samples()))
    assert succeed("run", plain, "--last", stdin=as_csv(samples())) == everything.splitlines(keepends=True)[-1]


def test_no_timesteps_give_no_answers(plain: Path, tmp_path: Path) -> None:
    assert succeed("run", plain, stdin="") == ""
    succeed("run", plain, "-o", tmp_path / "answers.npy", stdin="")
    assert np.load(tmp_path / "answers.npy").shape == (0, 3)


def test_npy_of_one_axis_is_enough_for_one_feature(folder: Path) -> None:
    xs = samples(size=1)
    answers = from_csv(succeed("run", folder / "scalar.grurt", stdin=as_npy(xs[:, 0].astype(np.float64))))
    np.testing.assert_allclose(answers, expected(folder / "scalar.grurt", x=xs)["y"], atol=TOLERANCE)


def test_json_numbers_are_enough_for_one_feature(folder: Path) -> None:
    xs = samples(size=1)
    text = "".join(f"{value}\n" for value in xs[:, 0])
    assert succeed("run", folder / "scalar.grurt", "--format", "jsonl", "--to", "csv", stdin=text) == succeed(
        "run", folder / "scalar.grurt", stdin=text
    )


# CSV


def test_a_header_is_recognised_and_answered_with_one(plain: Path, folder: Path) -> None:
    bare = succeed("run", plain, stdin=as_csv(samples()))
    assert succeed("run", plain, stdin="left,right\n" + as_csv(samples())) == "y_0,y_1,y_2\n" + bare
    assert succeed("run", folder / "scalar.grurt", stdin="level\n1\n").splitlines()[0] == "y"
    assert succeed("run", plain, stdin="left,right\n") == "y_0,y_1,y_2\n"


def test_columns_by_name_and_by_number(plain: Path) -> None:
    bare = succeed("run", plain, stdin=as_csv(samples()))
    table = "".join(f"{index},{right},{left}\n" for index, (left, right) in enumerate(samples()))
    assert succeed("run", plain, "--columns", "3,2", stdin=table) == bare
    named = succeed("run", plain, "--columns", "left, right", stdin="time,right,left\n" + table)
    assert named == "y_0,y_1,y_2\n" + bare


@pytest.mark.parametrize(("delimiter", "character"), [(";", ";"), ("tab", "\t"), (" ", " ")])
def test_delimiter(plain: Path, delimiter: str, character: str) -> None:
    bare = succeed("run", plain, stdin=as_csv(samples()))
    text = succeed("run", plain, "--delimiter", delimiter, stdin=as_csv(samples()).replace(",", character))
    assert text == bare.replace(",", character)


def test_byte_order_mark_line_ends_quotes_spaces_and_empty_lines_do_not_matter(plain: Path) -> None:
    neat = succeed("run", plain, stdin="1.5,2\n3,4\n")
    assert succeed("run", plain, stdin=b'\xef\xbb\xbf 1.5, "2"\r\n\r\n3 ,4') == neat


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,x", "column 2: expected a number, got 'x'"),
        ("1,", "column 2: expected a number, got ''"),
        ("1,1_0", "column 2: expected a number, got '1_0'"),
        ("1,0x10", "column 2: expected a number, got '0x10'"),
        ("1,1e39", "column 2: expected a float32, got 1e+39, which is beyond its range"),
        ("1,2,3", "expected 2 fields (x of 2) separated by ',', got 3: '1,2,3'; choose with --columns or --delimiter"),
        ("1;2", "expected 2 fields (x of 2) separated by ',', got 1: '1;2'; choose with --columns or --delimiter"),
    ],
)
def test_a_bad_line_is_named_and_ends_the_run(plain: Path, line: str, message: str) -> None:
    result = invoke("run", plain, stdin=f"1,2\n\n{line}\n3,4\n")
    assert result.exit_code == 2
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == f"error: stdin, line 3: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "text", "message"),
    [
        ([], "a,b,c\n1,2,3\n", "stdin, line 1: expected 2 fields (x of 2) separated by ',', got 3: 'a,b,c'; choose"),
        (["--columns", "a"], "a,b\n1,2\n", "--columns: the model takes 2 columns, got 1"),
        (
            ["--columns", "a,z"],
            "a,b\n1,2\n",
            "stdin, line 1: expected a column 'z', got the columns a, b; see --columns",
        ),
        (["--columns", "1,4"], "1,2\n", "stdin, line 1: expected a column '4', got 2 columns without names"),
        (["--columns", "1,3"], "1,2,3\n1,2\n", "stdin, line 2: expected 3 fields (x of 2) separated by ',', got 2"),
        ([], '"1,2\n', "stdin, line 1: expected 2 fields"),
    ],
)
def test_bad_columns_are_named(plain: Path, arguments: list[str], text: str, message: str) -> None:
    assert message in fail("run", plain, *arguments, stdin=text)


def test_bytes_that_are_not_text_are_refused(plain: Path) -> None:
    assert fail("run", plain, stdin=b"1,2\n\xff,1\n") == "error: stdin: expected text in UTF-8, got the byte 0xff"


# JSON lines and .npy


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2", "line 2: expected JSON, got '[1, 2': "),
        ("[1]", "line 2: expected 2 numbers (x of 2), got 1"),
        ('[1, "2"]', "line 2: number 2: expected a number, got '2'"),
        ("[1, true]", "line 2: number 2: expected a number, got True"),
        ("[1, null]", "line 2: number 2: expected a number, got None"),
        ("[1, [2]]", "line 2: number 2: expected a number, got [2]"),
        ("[1, 1e39]", "line 2: number 2: expected a float32, got 1e+39, which is beyond its range"),
        ('{"z": [1, 2]}', "line 2: expected the keys x, got z"),
        ("{}", "line 2: expected the keys x, got none"),
        ('{"x": [1, 2, 3]}', "line 2: 'x': expected 2 numbers (x of 2), got 3"),
        ("[" * 100000, "line 2: expected JSON, got '[[["),
    ],
)
def test_a_bad_line_of_json_is_named(plain: Path, line: str, message: str) -> None:
    assert fail("run", plain, stdin=f"[1, 2]\n{line}\n").startswith(f"error: stdin, {message}")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 3)), "expected an array of shape (n_steps, 2) or (batch, n_steps, 2), got (3, 3)"),
        (np.zeros(3), "expected an array of shape (n_steps, 2) or (batch, n_steps, 2), got (3,)"),
        (np.zeros((1, 1, 3, 2)), "expected an array of shape (n_steps, 2) or (batch, n_steps, 2), got (1, 1, 3, 2)"),
        (np.zeros((3, 2), complex), "expected an array of numbers, got one of complex128"),
        (np.zeros((3, 2), "U1"), "expected an array of numbers, got one of <U1"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(plain: Path, array: Array, message: str) -> None:
    assert fail("run", plain, stdin=as_npy(array)) == f"error: stdin: {message}"


def test_damaged_arrays_are_refused(plain: Path, tmp_path: Path) -> None:
    assert "the .npy array is damaged: " in fail("run", plain, stdin=as_npy(samples())[:-1])
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], object), allow_pickle=True)
    assert "the .npy array is damaged: " in fail("run", plain, stdin=pickled.getvalue())
    path = write(tmp_path / "samples.npy", ["1,2"])
    assert fail("run", plain, path) == f"error: {path}: expected an .npy array, got something else; see --format"


def test_a_number_of_an_array_is_named_by_its_row(plain: Path) -> None:
    array = np.array([[1, 2], [3, 1e39]])
    assert "stdin, row 1: column 1: expected a float32, got 1e+39" in fail("run", plain, stdin=as_npy(array))


# Models of other kinds


def test_tokens(folder: Path) -> None:
    path = folder / "tokens.grurt"
    wanted = expected(path, x=np.array([3, 0, 6]))["y"]
    np.testing.assert_allclose(from_csv(succeed("run", path, stdin="3\n0\n6\n")), wanted, atol=TOLERANCE)
    jsonl = succeed("run", path, "--format", "jsonl", stdin='3\n[0]\n{"x": 6}\n')
    np.testing.assert_allclose(from_json_lines(jsonl), wanted, atol=TOLERANCE)
    npy = succeed("run", path, stdin=as_npy(np.array([3, 0, 6])))
    np.testing.assert_allclose(from_csv(npy), wanted, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.5", "column 1: expected a token id, got 1.5"),
        ("cat,dog", "expected 1 fields (x)"),
        ("nan", "column 1: expected a token id, got nan"),
        ("7", "token"),
        ("-1", "token"),
    ],
)
def test_what_is_no_token_is_refused(folder: Path, line: str, message: str) -> None:
    text = fail("run", folder / "tokens.grurt", stdin=f"1\n{line}\n")
    assert text.startswith("error: stdin, line 2: ")
    assert message in text


def test_several_inputs_and_outputs(folder: Path) -> None:
    path, rows = folder / "several.grurt", samples(size=3)
    wanted = expected(path, a=rows[:, :2], b=rows[:, 2:])
    table = from_csv(succeed("run", path, stdin=as_csv(rows)))
    np.testing.assert_allclose(table[:, :4], wanted["hidden"], atol=TOLERANCE)
    np.testing.assert_allclose(table[:, 4:], wanted["score"], atol=TOLERANCE)
    objects = "".join(json.dumps({"b": row[2].item(), "a": row[:2].tolist()}) + "\n" for row in rows)
    for line, row in zip(succeed("run", path, stdin=objects).splitlines(), table, strict=True):
        assert {name: np.float32(value).tolist() for name, value in json.loads(line).items()} == {
            "hidden": row[:4].tolist(),
            "score": row[4:].tolist(),
        }
    assert succeed("run", path, stdin="u,v,w\n1,2,3\n").startswith("hidden_0,hidden_1,hidden_2,hidden_3,score\n")


def test_a_model_that_cannot_stream_answers_at_the_end(folder: Path) -> None:
    for name in ("reverse", "final"):
        path = folder / f"{name}.grurt"
        result = invoke("run", path, stdin=as_csv(samples()))
        assert result.exit_code == 0
        assert result.stderr.startswith("note: answers come when the input has ended: layer 'gru' is a GRU in reverse")
        wanted = np.atleast_2d(reference.run(grurt.load(path), {"x": samples()})[0]["y"])
        np.testing.assert_allclose(from_csv(result.stdout), wanted, atol=TOLERANCE)
        assert invoke("run", path, stdin="").stdout == ""


def test_a_model_that_cannot_stream_may_have_several_outputs(tmp_path: Path) -> None:
    path = tmp_path / "model.grurt"
    models.layer_model(
        grurt.GRU(name="gru", input_size=2, hidden_size=4, direction="reverse"),
        grurt.Linear(name="fc", input_size=4, output_size=1),
        rng=np.random.default_rng(4),
        outputs=[grurt.Output("hidden", "gru"), grurt.Output("score", "fc")],
    ).save(path)
    table = from_csv(invoke("run", path, stdin=as_csv(samples())).stdout)
    wanted, _ = reference.run(grurt.load(path), {"x": samples()})
    np.testing.assert_allclose(table, np.hstack([wanted["hidden"], wanted["score"]]), atol=TOLERANCE)


def test_a_model_that_cannot_stream_and_has_several_inputs_is_for_python(tmp_path: Path) -> None:
    models.layer_model(
        grurt.Concat(name="both", inputs=("a", "b")),
        grurt.GRU(name="gru", input_size=3, hidden_size=4, direction="reverse"),
        rng=np.random.default_rng(3),
        inputs=[grurt.Input("a", 2), grurt.Input("b", 1)],
    ).save(tmp_path / "model.grurt")
    message = fail("run", tmp_path / "model.grurt", stdin="1,2,3\n")
    assert message.startswith("error: the model needs whole sequences, and has several inputs, or outputs of different")
    assert message.endswith("call Model.run in Python")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_what_is_not_finite_is_refused_or_let_through(plain: Path, text: str) -> None:
    message = fail("run", plain, stdin=f"1,2\n3,{text}\n")
    assert message.startswith("error: stdin, line 2: ")
    assert text.strip("-") in message or "finite" in message
    result = invoke("run", plain, "--nonfinite", "propagate", stdin=f"1,2\n3,{text}\n")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    lines = succeed("run", plain, "--nonfinite", "propagate", stdin="[NaN, 1]\n").splitlines()
    assert np.isnan(json.loads(lines[0])).all()


# Options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--delimiter", "::"], "error: Invalid value for --delimiter: expected one character that no number contains"),
        (["--delimiter", "."], "error: Invalid value for --delimiter: expected one character that no number contains"),
        (
            ["--float-format", "q"],
            "error: Invalid value for --float-format: expected a format that gives a plain number",
        ),
        (
            ["--float-format", ","],
            "error: Invalid value for --float-format: expected a format that gives a plain number",
        ),
        (["--format", "xml"], "error: Invalid value for '--format': 'xml' is not one of 'csv', 'jsonl', 'npy'."),
        (["--to", "xml"], "error: Invalid value for '--to': 'xml' is not one of 'csv', 'jsonl', 'npy'."),
    ],
)
def test_bad_options_are_refused(plain: Path, arguments: list[str], message: str) -> None:
    assert fail("run", plain, *arguments, stdin="").startswith(message)


def test_formats_that_are_not_known_are_refused(plain: Path, tmp_path: Path) -> None:
    assert fail("run", plain, "-o", tmp_path / "o.xyz", stdin="") == (
        f"error: {tmp_path}/o.xyz: expected a name that ends in .csv, .jsonl, .ndjson, .npy, got .xyz: "
        "choose one of those, or say the format with --to"
    )
    assert not (tmp_path / "o.xyz").exists()


def test_a_nan_is_answered_with_the_option(plain: Path) -> None:
    message = fail("run", plain, stdin="1,2\nnan,0\n")
    assert message.endswith('or compute with it: nonfinite="propagate" (`grurt run --nonfinite propagate`)')


def test_the_output_never_overwrites_the_input(plain: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "samples.csv", ["1,2"])
    assert fail("run", plain, path, "-o", path) == (
        f"error: {path} would be overwritten, which is read: choose another name for the output"
    )
    assert path.read_text() == "1,2\n"


# Pipes and terminals


def exchange(process: subprocess.Popen[bytes], text: str) -> str:
    """Write to a process and return the next line of its output; this waits for ever if the line is held back."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text.encode())
    process.stdin.flush()
    return process.stdout.readline().decode()


@pytest.mark.slow
def test_each_answer_leaves_before_the_next_line_arrives(plain: Path) -> None:
    wanted = expected(plain, x=samples())["y"]
    with start("run", plain) as process:
        for sample, answer in zip(samples(), wanted, strict=True):
            line = exchange(process, as_csv(sample[np.newaxis]))
            np.testing.assert_allclose(from_csv(line)[0], answer, atol=TOLERANCE)
        assert process.communicate() == (b"", b"")
    assert process.returncode == 0


@pytest.mark.slow
def test_half_a_line_waits_for_its_other_half(plain: Path) -> None:
    with start("run", plain, "--format", "jsonl") as process:
        assert len(json.loads(exchange(process, "[1, 2]\n[3,"))) == 3
        assert len(json.loads(exchange(process, " 4]\n"))) == 3
        assert process.communicate() == (b"", b"")


@pytest.mark.slow
def test_a_reader_that_goes_ends_the_run_quietly(plain: Path) -> None:
    script = f"yes 1,2 | {' '.join(COMMAND)} run {plain} | head -n 2; echo ${{PIPESTATUS[1]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 3
    assert result.stdout.splitlines()[-1] == "141"


@pytest.mark.slow
def test_an_interrupt_ends_the_run_quietly(plain: Path) -> None:
    with start("run", plain) as process:
        exchange(process, "1,2\n")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=10) == (b"", b"")
    assert process.returncode == 130


@pytest.mark.slow
def test_a_full_disk_is_an_error(plain: Path) -> None:
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("this system has no /dev/full")
    with device.open("wb") as full:
        process = start("run", plain, stdout=full)
        _, errors = process.communicate(b"1,2\n")
    assert process.returncode == 2
    assert errors == b"error: stdout: No space left on device\n"


@pytest.mark.slow
def test_the_answers_of_a_file_are_those_of_a_pipe(plain: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "samples.csv", as_csv(samples()).splitlines())
    with path.open("rb") as file:
        process = start("run", plain, stdin=file)
        text, _ = process.communicate()
    assert text.decode() == succeed("run", plain, path)


@pytest.mark.slow
def test_on_a_terminal_the_user_is_told_what_is_awaited(plain: Path) -> None:
    terminal = Terminal("run", plain)
    terminal.read_until("reading timesteps from the terminal, one a line; Ctrl-D ends")
    terminal.type("1,2\n")
    answer = from_csv(terminal.read_until(".").splitlines()[-1])
    np.testing.assert_allclose(answer, expected(plain, x=np.array([[1, 2]]))["y"], atol=TOLERANCE)
    terminal.type("\x04")
    terminal.read_to_end()
    assert terminal.process.returncode == 0


def test_no_binary_output_on_a_terminal(plain: Path) -> None:
    terminal = Terminal("run", plain, "--to", "npy")
    text = terminal.read_to_end()
    assert terminal.process.returncode == 2
    assert "error: an .npy array is no text for a terminal: give -o OUT, or --to csv" in text


def test_json_is_lines_of_it(plain: Path, tmp_path: Path) -> None:
    expected = succeed("run", plain, "--to", "jsonl", stdin=as_csv(samples()))
    assert succeed("run", plain, "--json", stdin=as_csv(samples())) == expected
    succeed("run", plain, "--json", "-o", tmp_path / "answers", stdin=as_csv(samples()))
    assert (tmp_path / "answers").read_text() == expected
    message = fail("run", plain, "--json", "--to", "csv", stdin="")
    assert message == "error: --json means --to jsonl, got --to csv too: leave one of them out"
