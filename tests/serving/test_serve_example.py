"""The files of examples/serve say what the service has, and the commands in them are those that it takes."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from click.testing import CliRunner
from paths import ROOT
from serving import serving

from grurt.cli.serve import serve
from grurt.demo import MODEL_PATH

FOLDER = ROOT / "examples" / "serve"


@pytest.mark.slow
def test_the_dashboard_shows_metrics_that_there_are(tmp_path: object) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    shown = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"grurt_\w+", target["expr"])
    }
    with serving(MODEL_PATH, "--state", f"sqlite:///{tmp_path}/states.db") as process:
        declared = set(re.findall(r"^# TYPE (\w+) ", process.get("/metrics"), re.MULTILINE))
    there = declared | {f"{name}{suffix}" for name in declared for suffix in ("_sum", "_count")}
    assert shown - there == set()
    assert len(shown) > 8


def test_the_unit_starts_a_command_that_there_is() -> None:
    (line,) = re.findall(
        r"^ExecStart=\S+/grurt serve (.*)$", (FOLDER / "grurt-serve.service").read_text(), re.MULTILINE
    )
    options = {word for word in shlex.split(line) if word.startswith("--")}
    assert options <= {option for parameter in serve.params for option in parameter.opts}


def test_the_compose_file_starts_a_command_that_there_is() -> None:
    (line,) = re.findall(r'^    command: (\["/models.*\])$', (FOLDER / "compose.yaml").read_text(), re.MULTILINE)
    words = json.loads(line)
    words[0] = str(ROOT / "examples" / "activity.onnx")
    result = CliRunner().invoke(serve, [*words, "--port", "99999"])
    assert "99999 is not in the range" in result.output
