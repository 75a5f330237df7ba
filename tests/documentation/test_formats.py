"""The demo's network in the formats of other programs: each file gives the demo's answers, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from paths import ROOT

from grurt.converters import convert
from grurt.demo import load_model, load_recordings

FOLDER = ROOT / "examples" / "formats"
LAYERS = "norm, gru, fc:softmax"
FILES = {
    "activity.pt": LAYERS,
    "activity.safetensors": LAYERS,
    "activity.pt2": None,
    "activity.keras": None,
    "activity.weights.h5": str(FOLDER / "activity.architecture.json"),
    "activity.rtneural.json": None,
}


@pytest.mark.parametrize("name", FILES)
def test_the_answers_are_the_demos(name: str) -> None:
    xs = load_recordings().samples[10]
    model = convert(FOLDER / name, layers=FILES[name], reference=False)
    np.testing.assert_array_equal(model.run(xs), load_model().run(xs))


def test_no_file_names_the_machine_that_wrote_it() -> None:
    written = [path for path in FOLDER.iterdir() if path.suffix != ".py"]
    assert {path.name for path in written} == {*FILES, "activity.architecture.json"}
    assert not [path.name for path in written if b"site-packages" in path.read_bytes()]
