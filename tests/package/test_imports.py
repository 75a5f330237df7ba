"""Imports go one way: the description of a model needs no engine, and the engine needs no framework."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import models
import numpy as np
import pytest

import grurt
import grurt.converters
from grurt import errors
from grurt.container.writing import save
from grurt.network import functions, layers
from grurt.network.layers.base import Layer

ENGINE = {"numba", "llvmlite"}
FRAMEWORKS = {"onnx", "onnxruntime", "torch", "tensorflow", "keras", "h5py", "scipy"}
COMMAND_LINE = {"click", "rich"}


def modules_after(code: str) -> set[str]:
    """Return the names of all modules that a fresh interpreter has loaded after running the code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def top_levels(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("imports") / "model.grurt"
    save(models.gru_model(3, 4, np.random.default_rng(1)), path)
    return path


@pytest.fixture(scope="module")
def bare() -> set[str]:
    """Return what an interpreter loads by itself and with NumPy and msgspec, which is not grurt's doing."""
    return top_levels(modules_after("import numpy, msgspec"))


def test_import_grurt_loads_nothing_else() -> None:
    loaded = modules_after("import grurt")
    assert {name for name in loaded if name.startswith("grurt")} == {"grurt", "grurt.version"}
    assert not {"numpy", "msgspec"} & loaded


def test_the_names_of_grurt_are_there_without_its_modules() -> None:
    code = (
        "import grurt; grurt.Stream, grurt.load\n"
        "public = [name for name in dir(grurt) if not name.startswith('__')]\n"
        "assert set(public) == {*grurt.__all__, 'errors', 'functions', 'layers', 'operators'} - {'__version__'}, public"
    )
    assert "grurt.runtime.stream" in modules_after(code + "\nfrom grurt import *\nStream, load, Linear, ModelError")
    assert not ENGINE & top_levels(modules_after(code))


def test_layers_load_no_more_than_layers() -> None:
    loaded = modules_after("from grurt import GRU\nGRU(name='gru', input_size=2, hidden_size=3)")
    assert not {"grurt.model", "grurt.container", "grurt.network.network"} & loaded


def test_each_file_of_layers_has_those_that_the_package_says() -> None:
    found = {}
    for module in pkgutil.iter_modules(layers.__path__):
        for name in getattr(importlib.import_module(f"{layers.__name__}.{module.name}"), "__all__", ()):
            found[name] = module.name
    assert found == {name: getattr(layers, name).__module__.rpartition(".")[2] for name in layers.__all__}
    assert {layers.class_of(getattr(layers, name).__struct_config__.tag) for name in layers.__all__} == {
        getattr(layers, name) for name in layers.__all__
    }


def test_a_start_from_a_library_goes_without_pathlib() -> None:
    """Here it may be loaded already, with whatever else is installed: so it is looked for in the modules."""
    start = "import sys, grurt.loading, grurt.native.library, grurt.runtime.stream\n"
    print_users = (
        "print(*(name for name in sys.modules if name.startswith('grurt') and hasattr(sys.modules[name], 'Path')))"
    )
    result = subprocess.run([sys.executable, "-c", start + print_users], capture_output=True, text=True, check=True)
    assert result.stdout == "\n"


@pytest.mark.parametrize("kind", ["lstm", "g_ru", "GRU", "layer", ""])
def test_a_kind_that_no_layer_has(kind: str) -> None:
    with pytest.raises(KeyError):
        layers.class_of(kind)


def test_a_file_is_read_with_the_layers_that_it_has(file: Path) -> None:
    loaded = modules_after(f"from grurt.loading import read\nread({str(file)!r})")
    prefix = "grurt.network.layers."
    assert {name.removeprefix(prefix) for name in loaded if name.startswith(prefix)} == {"base", "recurrent"}


def test_what_everything_is_made_of_loads_numpy_and_msgspec_only(bare: set[str]) -> None:
    loaded = top_levels(modules_after("import grurt\ngrurt.Model, grurt.GRU, grurt.ModelError")) - bare
    assert loaded - sys.stdlib_module_names == {"grurt"}


def test_reading_and_writing_a_file_adds_nothing(bare: set[str], file: Path) -> None:
    code = f"from grurt.loading import read\nmodel = read({str(file)!r})\nmodel.save({str(file)!r})"
    loaded = top_levels(modules_after(code)) - bare - sys.stdlib_module_names
    assert loaded == {"grurt"}


def test_describing_a_model_does_not_load_the_engine(file: Path) -> None:
    code = f"from grurt.loading import read\nfrom grurt.summary import summarize\nsummarize(read({str(file)!r}))"
    loaded = modules_after(code)
    assert not (ENGINE | FRAMEWORKS | COMMAND_LINE) & top_levels(loaded)
    assert not {"grurt.runtime.stream", "grurt.runtime.sequences", "grurt.lowering.lower", "grurt.kernels"} & loaded


@pytest.mark.parametrize("module", ["grurt.converters", "grurt.converters.convert"])
def test_importing_the_converters_loads_no_engine_and_no_framework(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert not (ENGINE | FRAMEWORKS | COMMAND_LINE) & top_levels(loaded)
    assert not {"grurt.runtime.stream", "grurt.runtime.sequences", "grurt.lowering.lower", "grurt.kernels"} & loaded


@pytest.mark.slow
def test_the_engine_loads_no_converter_and_no_framework(file: Path) -> None:
    loaded = modules_after(f"import grurt\nmodel = grurt.load({str(file)!r})\nmodel.stream().step([0.0, 0.0, 0.0])")
    assert top_levels(loaded) >= ENGINE
    assert not (FRAMEWORKS - {"scipy"} | COMMAND_LINE) & top_levels(loaded)  # numba itself imports scipy where it is
    assert not {name for name in loaded if name.startswith(("grurt.converters", "grurt.cli", "grurt.demo"))}


def concrete(kind: type) -> Iterator[type]:
    """Yield the layers that are derived from a class; what others are derived from is none."""
    for derived in kind.__subclasses__():
        yield from concrete(derived) if derived.__subclasses__() else [derived]


PACKAGES = (grurt, grurt.converters, errors, functions)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_exported_names_are_sorted_and_there(package: ModuleType) -> None:
    names = package.__all__
    assert names == sorted(set(names))
    assert all(getattr(package, name) is not None for name in names)
    assert set(names) <= set(names_after_star(package.__name__))


def names_after_star(package: str) -> dict[str, object]:
    """Return what a star import brings."""
    found: dict[str, object] = {}
    exec(f"from {package} import *", found)
    return found


def test_every_public_name_is_exported() -> None:
    """What is no module, and not private, in the two packages that users import from."""
    tools = {"TYPE_CHECKING", "VERSION"}
    for package in (grurt, grurt.converters):
        names = {name for name, value in vars(package).items() if not isinstance(value, ModuleType)}
        assert {name for name in names - tools if not name.startswith("_")} <= set(package.__all__)


def test_all_is_complete() -> None:
    network = ("functions", "inputs", "network", "reference_run", "signature")
    modules = ("errors", "model", *(f"network.{name}" for name in network))
    public = {
        name
        for module in (importlib.import_module(f"grurt.{name}") for name in modules)
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public - {"Function", "Elementwise", "Mathematical", "Parts"} <= set(grurt.__all__)
    kinds = {kind.__struct_config__.tag for kind in concrete(Layer)}
    assert kinds == {getattr(grurt, name).__struct_config__.tag for name in layers.__all__}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'grurt' has no attribute 'LSTM'"):
        grurt.LSTM  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'grurt\.converters' has no attribute 'convert_keras'"):
        grurt.converters.convert_keras  # noqa: B018
