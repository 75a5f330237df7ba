"""The command `grurt serve`, as it is typed."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import context_programs
import pytest
from commandline import fail, succeed
from paths import ROOT
from serving import saved, serving

from grurt.demo import MODEL_PATH, load_model
from grurt.escaping import listed
from grurt.installing import install_command


def test_help() -> None:
    text = succeed("serve", "--help")
    for words in ("MODEL...", "--state", "--tokens", "Examples:", "ws://127.0.0.1:8000/ws?session=NAME"):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument 'MODEL...'"),
        ((MODEL_PATH, MODEL_PATH), "there is a model activity already: rename one of the files"),
        ((MODEL_PATH, "--host", "0.0.0.0"), "lets other machines in: give --tokens and --certificate, or --insecure"),
        ((MODEL_PATH, "--host", "192.0.2.1", "--insecure"), "cannot listen there"),
        ((MODEL_PATH, "--host", "no.such.host.invalid", "--insecure"), "is no address of this machine"),
        ((MODEL_PATH, "--key", MODEL_PATH), "give --certificate, too"),
        ((MODEL_PATH, "--certificate", MODEL_PATH), "expected a certificate and its key in PEM format"),
        ((MODEL_PATH, "--tokens", MODEL_PATH), "expected a token"),
        ((MODEL_PATH, "--state", "mysql://x"), "--state: expected sqlite:///PATH, redis://HOST or rediss://HOST, got"),
        (
            (MODEL_PATH, "--state", "sqlite:///"),
            "--state: expected sqlite:///PATH, of a path from the root sqlite:////PATH, got",
        ),
        ((MODEL_PATH, "--state", "sqlite:///no/such/folder/states.db"), "cannot keep states here"),
        ((MODEL_PATH, "--idle", "nan"), "is not in the range"),
        ((ROOT / "README.md",), "README"),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...], message: str) -> None:
    assert message in fail("serve", "--port", 0, *arguments)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"127.0.0.1, port {port}: cannot listen there" in fail("serve", MODEL_PATH, "--port", port)


def test_another_database_is_not_written_to(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (x)")
    before = path.read_bytes()
    assert "got another database" in fail("serve", MODEL_PATH, "--port", 0, "--state", f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_whose_name_is_none(tmp_path: Path) -> None:
    assert "rename the file" in fail("serve", saved(load_model(), tmp_path, "a b"))


def test_redis_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grurt.serving.stores.find_spec", lambda name: None)
    message = fail("serve", MODEL_PATH, "--port", 0, "--state", "redis://127.0.0.1")
    assert f"--state redis:// needs the package redis: {install_command('redis')}" in message


@pytest.mark.slow
def test_a_foreign_file_is_converted() -> None:
    with serving(ROOT / "examples" / "activity.onnx") as process, process.connect() as connection:
        assert '"model":"activity"' in connection.recv(timeout=20)


@pytest.mark.slow
def test_without_the_extra_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['uvicorn'] = None; sys.argv[0] = 'grurt'; from grurt.__main__ import main; main()"
    result = subprocess.run([sys.executable, "-c", code, "serve", MODEL_PATH], capture_output=True, text=True)
    assert result.returncode == 2
    assert f"grurt serve needs uvicorn, which is not installed: {install_command('serve')}" in result.stderr


def test_a_model_with_contexts_is_refused(tmp_path: Path) -> None:
    _, model = context_programs.random_pair(0)
    message = "its streams are given contexts [{}], which none can be here; convert"
    assert message.format(listed(model.context_shapes)) in fail("serve", saved(model, tmp_path, "attending"))
