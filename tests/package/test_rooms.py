"""Imports go one way: from room to room as CONTRIBUTING's table has them, and nowhere in a circle.

Every import counts: those inside of functions, and those for type checkers only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest
from paths import ROOT


def rooms() -> list[str]:
    """Return the rooms of the table in CONTRIBUTING.md, the lowest first."""
    table = re.search(r"<!-- rooms: begin -->\n(.*?)<!-- rooms: end -->", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
    assert table is not None
    rows = [line.split("|")[1] for line in table[1].splitlines() if line.startswith("| `")]
    return [room for row in rows for room in re.findall(r"`([\w.]+)`", row)]


def modules() -> dict[str, Path]:
    """Return the file of every module of grurt; those of the converters, which lie beside it, among them."""
    found = {}
    for folder, package in ((ROOT / "grurt", "grurt"), (ROOT / "converters", "grurt.converters")):
        for path in folder.rglob("*.py"):
            if (folder / "converters") in path.parents or path == ROOT / "grurt" / "converters.py":
                continue
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = path
    return found


MODULES = modules()
ROOMS = rooms()


def imports(module: str) -> Iterator[str]:
    """Yield the modules of grurt that a module imports, wherever in it."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            source = resolve_name("." * node.level + (node.module or ""), package)
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                yield from [name for name in (submodule, source) if name in MODULES][:1]


def with_packages(module: str) -> set[str]:
    """Return what a module imports, and the packages that are run for it: but not those that hold the module."""
    parts = [name.split(".") for name in imports(module)]
    found = {".".join(name[:i]) for name in parts for i in range(2, len(name) + 1)}
    return {name for name in found & MODULES.keys() if not f"{module}.".startswith(f"{name}.")}


IMPORTS = {name: sorted(with_packages(name)) for name in MODULES}


def room_of(module: str) -> str:
    """Return the room of a module: the longest name in the table that it begins with."""
    name = module.removeprefix("grurt.")
    fitting = [room for room in ROOMS if f"{name}.".startswith(f"{room}.")]
    assert fitting, f"CONTRIBUTING.md: no room for {module}"
    return max(fitting, key=len)


def circles(graph: dict[str, list[str]]) -> list[list[str]]:
    """Return the sets of modules that import each other, directly or not (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for imported in graph[name]:
            if imported not in number:
                visit(imported)
                lowest[name] = min(lowest[name], lowest[imported])
            elif imported in stack:
                lowest[name] = min(lowest[name], number[imported])
        if lowest[name] == number[name]:
            members = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(members) > 1:
                found.append(sorted(members))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def test_a_circle_is_seen() -> None:
    assert circles({"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": []}) == [["a", "b", "c"]]


def test_no_modules_import_each_other() -> None:
    assert circles(IMPORTS) == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_its_own_room_and_lower_ones_only(module: str) -> None:
    own = ROOMS.index(room_of(module))
    assert [name for name in IMPORTS[module] if ROOMS.index(room_of(name)) > own] == []


def test_every_room_is_there() -> None:
    assert {room_of(module) for module in MODULES} == set(ROOMS)
