"""Models are copied and sent to other processes."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import grurt
from grurt.demo import load_model
from grurt.errors import ModelFileError


def answers(model: grurt.Model, xs: np.ndarray) -> bytes:
    found = model.run(xs)
    assert isinstance(found, np.ndarray)
    return found.tobytes()


def test_a_copy_is_the_model_itself() -> None:
    model = load_model()
    assert copy.copy(model) is model
    assert copy.deepcopy({"model": model})["model"] is model


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_model_is_the_same(protocol: int) -> None:
    model = load_model()
    found = pickle.loads(pickle.dumps(model, protocol))
    assert type(found) is grurt.Model
    assert found.fingerprint == model.fingerprint
    assert (found.signature, found.source, found.limits) == (model.signature, model.source, model.limits)
    assert found.verify().ok


def test_what_is_damaged_on_the_way_is_refused() -> None:
    damaged = bytearray(pickle.dumps(load_model()))
    damaged[len(damaged) // 2] ^= 1
    with pytest.raises(ModelFileError, match="the file is damaged: expected the SHA-256"):
        pickle.loads(damaged)


@pytest.mark.slow
def test_a_pool_of_processes_gives_the_same_bits() -> None:
    model = load_model()
    xs = np.random.default_rng(0).standard_normal((3, 20, 6)).astype(np.float32)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(answers, model, xs).result(timeout=120) == answers(model, xs)


def test_a_model_that_was_never_run_pickles_without_the_engine(tmp_path: Path) -> None:
    script = "import sys, pickle; from grurt.loading import read; from grurt.demo import MODEL_PATH\n"
    script += "pickle.dumps(read(MODEL_PATH)); assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
