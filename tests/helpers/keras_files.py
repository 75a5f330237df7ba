"""The Keras files in ``tests/data/keras``, and changed copies of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paths

DATA = paths.DATA / "keras"


def answers(path: Path) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Return the inputs of a file by name, and what Keras answered."""
    stem = path.name.partition(".")[0]
    with np.load(DATA / f"{stem}.npz") as stored:
        inputs = {name.removeprefix("in_"): stored[name] for name in stored if name.startswith("in_")}
        count = sum(name.startswith("out_") for name in stored)
        return inputs, [stored[f"out_{index}"] for index in range(count)]


def entries(path: Path) -> dict[str, bytes]:
    """Return the files in a ``.keras`` archive."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def layer_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the description of a layer in a model's configuration."""
    found: dict[str, Any] = next(item for item in config["config"]["layers"] if item["config"].get("name") == name)
    return found


def archive(folder: Path, files: dict[str, bytes]) -> Path:
    """Write a ``.keras`` archive."""
    with zipfile.ZipFile(folder / "model.keras", "w") as written:
        for name, content in files.items():
            written.writestr(name, content)
    return folder / "model.keras"


def edited(folder: Path, name: str, change: Callable[[dict[str, Any]], object], version: str = "3.15.1") -> Path:
    """Write a copy of a ``.keras`` archive with a changed configuration."""
    files = entries(DATA / f"{name}.keras")
    files["metadata.json"] = json.dumps({"keras_version": version}).encode()
    return changed(archive(folder, files), change)


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the configuration in a ``.keras`` archive, and return its path."""
    files = entries(path)
    config = json.loads(files["config.json"])
    change(config)
    files["config.json"] = json.dumps(config).encode()
    return archive(path.parent, files)
