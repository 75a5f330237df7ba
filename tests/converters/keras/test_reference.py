"""Why a Keras file has no reference run: what stands in ``source.notes``."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
from keras_files import DATA

from grurt.converters import convert
from grurt.converters.keras import reference


def note(monkeypatch: pytest.MonkeyPatch, keras: ModuleType | None) -> str:
    """Return the note of a file, where ``import keras`` gives this."""
    monkeypatch.setattr(reference, "is_installed", lambda name: True)
    monkeypatch.setitem(sys.modules, "keras", keras)
    return convert(DATA / "k3_residual.keras").source.notes[-1]


def module(version: str, load_model: object = None) -> ModuleType:
    keras = ModuleType("keras")
    keras.__version__ = version  # type: ignore[attr-defined]
    keras.saving = SimpleNamespace(load_model=load_model)  # type: ignore[attr-defined]
    return keras


def test_weights_alone() -> None:
    model = convert(DATA / "k3_residual.weights.h5", layers=str(DATA / "k3_residual.json"))
    assert model.source.notes == ("no reference run: the file holds weights only",)


def test_a_keras_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert note(monkeypatch, None).startswith("no reference run: keras cannot be imported: import of keras halted")


def test_another_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    assert note(monkeypatch, module("2.15.0")) == (
        "no reference run: the keras that is installed is 2.15.0, not Keras 3"
    )


def test_a_file_that_keras_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_model(path: object, **options: object) -> None:
        raise ValueError("File  not\nfound")

    assert note(monkeypatch, module("3.15.1", load_model)) == (
        "no reference run: Keras cannot run the file: File not found"
    )


def test_a_file_of_very_long_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_model(path: object, **options: object) -> object:
        return SimpleNamespace(inputs=[SimpleNamespace(shape=(None, 1 << 30, 3))])

    assert note(monkeypatch, module("3.15.1", load_model)) == (
        "no reference run: the file fixes its inputs to 2147483648 timesteps, too many for a test"
    )


def test_inputs_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """For models of very many inputs."""
    calls = []

    def load_model(path: object, **options: object) -> object:
        return SimpleNamespace(inputs=[SimpleNamespace(shape=(None, None, 3))])

    monkeypatch.setattr(reference, "check_inputs", lambda network, shapes: calls.append(shapes))
    assert "no reference run: Keras cannot run the file" in note(monkeypatch, module("3.15.1", load_model))
    assert calls == [{"x": (2, 24, 3)}]
