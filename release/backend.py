"""The build backend of pyproject.toml: setuptools', in an environment that can compile the kernels.

The kernels need Numba when a wheel is built, and not where it is installed. An editable install and an sdist carry
none.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

from release.kernels import chosen, needs_linker

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

LINKER = "ziglang>=0.13"

Settings = dict[str, str | list[str] | None]


def get_requires_for_build_wheel(config_settings: Settings | None = None) -> list[str]:
    """Return what must be installed to build a wheel, beside what pyproject.toml says of any build."""
    found: list[str] = build_meta.get_requires_for_build_wheel(config_settings)
    choice = chosen()
    if not choice.cpus:
        return found
    return [*found, *compiler(), *([LINKER] if needs_linker(choice) else [])]


def compiler() -> list[str]:
    """Return the requirements of compiling: what grurt depends on where it is installed, and Numba."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    everywhere = [each for each in project["dependencies"] if ";" not in each]
    return [*everywhere, *project["optional-dependencies"]["jit"]]
