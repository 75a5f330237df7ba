"""The directive ``example``: a program of examples/, and what it prints, run when the site is built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = Path(__file__).resolve().parent.parent
_SECONDS = 120


class Example(Directive):
    """Shows and runs a program; a program that fails ends the build. Arguments are the program's."""

    required_arguments = 1
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the text of the program, the command, and what it printed."""
        name, *arguments = " ".join(self.arguments).split()
        path = ROOT / "examples" / name
        text = path.read_text("utf-8")
        result = subprocess.run(
            [sys.executable, str(path), *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if result.returncode:
            raise self.error(f"examples/{name} failed: {result.stderr}")
        command = f"$ python examples/{' '.join([name, *arguments])}"
        return [
            nodes.literal_block(text, text, language="python"),
            nodes.literal_block("", f"{command}\n{result.stdout}", language="console"),
        ]


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("example", Example)
    return {"parallel_read_safe": True}
