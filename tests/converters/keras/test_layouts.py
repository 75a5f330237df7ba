"""Where the weights stand in ``.keras`` files of other versions and systems: the same answers come from all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hdf5_files
import numpy as np
import pytest
from keras_files import DATA, answers, archive, entries

from grurt.converters import convert
from grurt.converters.keras.hdf5 import Hdf5
from grurt.errors import ConversionError

TOLERANCE = 2e-6

FILES = ("k3_two_layers", "k3_residual", "k3_nested", "k3_cells", "k3_bi_explicit", "k3_time_distributed", "k2_nested")
EARLY = "_layer_checkpoint_dependencies"


def early(path: str) -> str:
    """Return a path as Keras 2.13 wrote it: a layer with weights takes two numbers of its class."""
    parts = path.split("/")
    for place in range(len(parts) - 1):
        if parts[place] == "layers":
            kind, _, number = parts[place + 1].rpartition("_")
            parts[place] = EARLY
            if number.isdecimal():
                parts[place + 1] = f"{kind}_{2 * int(number)}"
    return "/".join(parts)


def nested(arrays: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return arrays by path as groups inside of groups."""
    tree: dict[str, Any] = {}
    for path, array in arrays:
        *groups, name = path.split("/")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[name] = array
    return tree


def on_windows(path: str) -> str:
    """Return a path as Keras wrote it on Windows: the group of an object's variables is a group of the root."""
    owner, variables, number = path.rsplit("/", 2)
    return "/".join((owner.replace("/", "\\"), variables, number))


@pytest.mark.parametrize("windows", [False, True], ids=["slashes", "backslashes"])
@pytest.mark.parametrize("layers", ["layers", EARLY])
@pytest.mark.parametrize("name", FILES)
def test_layouts(name: str, layers: str, windows: bool, tmp_path: Path) -> None:
    files = entries(DATA / f"{name}.keras")
    stored = Hdf5(files["model.weights.h5"])
    paths = [path for path in stored.datasets if path.startswith("layers/")]
    arrays = [(early(path) if layers == EARLY else path, stored.array(path)) for path in paths]
    tree = nested((on_windows(path) if windows else path, array) for path, array in arrays)
    path = archive(tmp_path, {**files, "model.weights.h5": hdf5_files.written(tree)})
    inputs, expected = answers(DATA / f"{name}.keras")
    for found, other in zip(convert(path, reference=False).run(inputs).values(), expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=0, atol=TOLERANCE)


def described(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "module": "keras.layers", "config": {"name": name, **config}}


def sequential(folder: Path, weights: dict[str, Any], *layers: dict[str, Any]) -> Path:
    config = {"layers": [described("InputLayer", "x", batch_shape=[None, None, 2]), *layers]}
    return archive(
        folder,
        {
            "config.json": json.dumps({"class_name": "Sequential", "config": {"name": "model", **config}}).encode(),
            "metadata.json": b'{"keras_version": "2.13.1"}',
            "model.weights.h5": hdf5_files.written(weights),
        },
    )


def test_a_layer_without_weights_takes_one_number_of_its_class(tmp_path: Path) -> None:
    plain = described("LayerNormalization", "plain", scale=False, center=False)
    scaled = described("LayerNormalization", "scaled", center=False)
    shifted = described("LayerNormalization", "shifted", scale=False)
    groups = {
        "layer_normalization": {"vars": {}},
        "layer_normalization_1": {"vars": {"0": np.array([2.0, 3.0])}},
        "layer_normalization_3": {"vars": {"0": np.array([5.0, 7.0])}},
    }
    weights = convert(sequential(tmp_path, {EARLY: groups}, plain, scaled, shifted), reference=False).weights
    assert weights["scaled.weight"].tolist() == [2.0, 3.0]
    assert weights["shifted.bias"].tolist() == [5.0, 7.0]


def test_weights_that_are_left_over(tmp_path: Path) -> None:
    dense = described("Dense", "dense", units=1, use_bias=False)
    extra = {f"{EARLY}\\dense": {"vars": {"0": np.ones((2, 1))}}, f"{EARLY}\\gru\\cell": {"vars": {"0": np.ones(3)}}}
    with pytest.raises(ConversionError, match=f"holds 1 weights that no layer reads: {EARLY}/gru/cell/vars/0"):
        convert(sequential(tmp_path, extra, dense), reference=False)


def test_names_that_differ_in_their_separators_only(tmp_path: Path) -> None:
    dense = described("Dense", "dense", units=1, use_bias=False)
    twice = {"layers": {"dense": {"vars": {"0": np.ones((2, 1))}}}, "layers\\dense": {"vars": {"0": np.zeros((2, 1))}}}
    with pytest.raises(
        ConversionError, match=r"expected names that differ, of at most 64 parts, got 'layers/dense.*is damaged"
    ):
        convert(sequential(tmp_path, twice, dense), reference=False)
