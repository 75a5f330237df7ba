"""How what is missing is installed beside this copy of grurt: as the copy itself was, or package by package."""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path

_PACKAGE = Path(__file__).parent


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra.

    Of a copy that came from an index, it names grurt's extra; of any other, for which pip would go to the index too,
    the packages that the extra stands for; of one that says nothing of itself, as in an archive, again the extra.
    """
    distribution = _own_distribution()
    if distribution is not None and distribution.read_text("direct_url.json") is None:
        return f'pip install "grurt[{extra}]"'
    needed = _needed_of_checkout(extra) if distribution is None else _needed(distribution, extra)
    return f"pip install {' '.join(needed)}" if needed else f'pip install "grurt[{extra}]"'


def _own_distribution() -> metadata.Distribution | None:
    """Return what was installed with this copy; None where it runs from a folder or an archive of its own."""
    for found in metadata.distributions(name="grurt"):
        is_here = os.path.realpath(str(found.locate_file("grurt"))) == os.path.realpath(_PACKAGE)
        if is_here and found.read_text("RECORD") is not None:
            return found
    return None


def _needed(distribution: metadata.Distribution, extra: str) -> list[str]:
    marked = re.compile(rf"""(.*?)\s*;\s*(.* and )?extra == ["']{re.escape(extra)}["']$""")
    found = [match for each in distribution.requires or () if (match := marked.match(each))]
    return [_quoted(f"{match[1]}; {match[2].removesuffix(' and ')}" if match[2] else match[1]) for match in found]


def _quoted(requirement: str) -> str:
    """Return a requirement, with what it says of Pythons and systems, as shells take it."""
    return '"' + requirement.replace('"', "'") + '"'


def _needed_of_checkout(extra: str) -> list[str]:
    """Return the requirements that the file pyproject.toml beside the package has; none if there is none."""
    import tomllib

    try:
        project = tomllib.loads((_PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
        extras: dict[str, list[str]] = project["optional-dependencies"]
        return [_quoted(each) for each in extras[extra]] if project["name"] == "grurt" else []
    except (OSError, ValueError, KeyError):
        return []
