"""The directive ``notebook``: a notebook of examples/notebooks, run when the site is built, with all that it shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "examples" / "notebooks"
_SECONDS = 300


class Notebook(Directive):
    """Runs a notebook, and shows its cells. One that fails ends the build; its title is left to the page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return texts, lines of Python, and what they gave."""
        page = nodes.container()
        for cell in _executed(FOLDER / self.arguments[0]).cells:
            if cell.cell_type == "markdown":
                lines = [line for line in cell.source.splitlines() if not line.startswith("# ")]
                self.state.nested_parse(StringList(lines, self.arguments[0]), self.content_offset, page)
            else:
                page += nodes.literal_block(cell.source, cell.source, language="python")
                page += list(_shown(cell.outputs))
        return [page]


def _executed(path: Path) -> Any:
    """Run a notebook in its folder, with the Python and the commands of the environment that builds the site."""
    tools = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([tools, os.environ["PATH"]]), "PYTHONPATH": str(ROOT)}
    client = NotebookClient(
        nbformat.read(path, as_version=4),
        resources={"metadata": {"path": str(path.parent)}},
        startup_timeout=_SECONDS,
        timeout=_SECONDS,
    )
    return client.execute(env=environment)


def _shown(outputs: list[Any]) -> Iterator[nodes.Node]:
    """Yield what a cell gave: pictures and sounds, or else text."""
    for output in outputs:
        data = output.get("data", {})
        if "image/png" in data:
            picture = "".join(data["image/png"].split())
            yield nodes.raw("", f'<img alt="what the cell draws" src="data:image/png;base64,{picture}">', format="html")
        elif "text/html" in data:
            yield nodes.raw("", data["text/html"], format="html")
        else:
            text = output.get("text") or data["text/plain"]
            yield nodes.literal_block("", text.rstrip(), language="text")


def setup(app: Any) -> dict[str, bool]:
    """Tell Sphinx of the directive."""
    app.add_directive("notebook", Notebook)
    return {"parallel_read_safe": True}
