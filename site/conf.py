"""The documentation site: ``sphinx-build -W -c site docs build/site``. Pages are those of docs/."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from numpy.typing import NDArray  # noqa: E402

from grurt import translation  # noqa: E402
from grurt.array_types import Floats  # noqa: E402
from grurt.network import reference_run  # noqa: E402
from grurt.version import VERSION  # noqa: E402 - of this checkout

for module in (reference_run, translation):
    module.NDArray = NDArray  # which annotations name, and type checkers alone import
translation.Floats = Floats

project = "grurt"
author = "the authors of grurt"
copyright = "the authors of grurt"  # noqa: A001 - Sphinx's name
release = VERSION
extensions = [
    "examples_directive",
    "notebook_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "py:obj"
smartquotes = False  # which would make one dash of the two of an option
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"grurt {VERSION}"
html_theme_options = {
    "source_repository": "https://github.com/grurt/grurt/",
    "source_branch": "main",
    "source_directory": "docs/",
}

_REPOSITORY = "https://github.com/grurt/grurt/blob/main/"
_OUTWARD = re.compile(r"\]\(\.\./([^)]+)\)")


def setup(app: object) -> None:
    """Have links from pages to files beside docs/ lead to the repository, and no page left out of the contents."""

    def complete(app: object, page: str, source: list[str]) -> None:
        if page == "index":
            others = sorted({path.stem for path in (ROOT / "docs").glob("*.md")} - {page, *source[0].split()})
            if others:
                source[0] += "\n```{toctree}\n:caption: More\n:maxdepth: 1\n\n" + "\n".join(others) + "\n```\n"

    def follow(app: object, page: str, source: list[str]) -> None:
        def target(link: re.Match[str]) -> str:
            path = link[1].partition("#")[0]
            if not (ROOT / path).exists():
                raise FileNotFoundError(f"docs/{page}.md: a link to {path}, which is not there")
            return f"]({_REPOSITORY}{link[1]})"

        source[0] = _OUTWARD.sub(target, source[0])

    app.connect("source-read", complete)
    app.connect("source-read", follow)
