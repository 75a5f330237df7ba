"""The way of a model from the driver to its workers: a file that Spark copies to each of them once."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grurt.container.writing import save
from grurt.errors import InputTypeError
from grurt.loading import read
from grurt.lowering.lower import plan_of
from grurt.model import Model
from grurt.runtime.constants import streaming_constants
from grurt.runtime.making_contexts import refuse_contexts
from grurt.spark.worker import ModelSource

if TYPE_CHECKING:
    from typing import TypeAlias

    from grurt.runtime.context import Nonfinite

ModelOrPath: TypeAlias = "Model | str | os.PathLike[str]"


def opened(model: ModelOrPath, *, whole_sequences: bool = False) -> Model:
    """Return a model.

    Raises StreamingError for one that has several stages, or is given contexts; for one that does not stream, unless it
    gets whole sequences.
    """
    network = model if isinstance(model, Model) else read(model)
    (plan_of if whole_sequences else streaming_constants)(network)
    refuse_contexts("the model", network)
    return network


def model_source(
    where: str, session: Any, network: Model, model: ModelOrPath, nonfinite: Nonfinite, *, ship: bool
) -> ModelSource:
    """Return how workers get a model: as a file that Spark copies to them, or one that each of them has.

    A broadcast variable would not do: PySpark asks a stateful operator for its state on the driver, where none are.
    """
    if not ship:
        if isinstance(model, Model):
            raise InputTypeError(f"{where}: ship=False: expected the path of a file that each worker has, got a Model")
        return ModelSource(network.fingerprint, None, os.fspath(model), network.limits, nonfinite)
    name = f"grurt-{network.fingerprint.hex()}.grurt"
    path = Path(_folder()) / name
    save(network, path)
    if hasattr(session, "addArtifact") and not hasattr(session, "_jsparkSession"):  # Spark Connect
        session.addArtifact(str(path), file=True)
    else:
        session.sparkContext.addFile(str(path))
    return ModelSource(network.fingerprint, name, "", network.limits, nonfinite)


@cache
def _folder() -> str:
    """Return a folder for the files that Spark copies from: until the process ends."""
    folder = tempfile.mkdtemp(prefix="grurt-spark-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
