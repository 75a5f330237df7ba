"""Models in a worker process: read once, however many batches it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from grurt.errors import SparkError
from grurt.loading import get_ready, read
from grurt.spark.pool import BucketPool

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.network.costs import Limits
    from grurt.runtime.context import Nonfinite


class ModelSource(NamedTuple):
    """How a worker gets the model.

    Parameters
    ----------
    fingerprint
        Of the model that it has to be.
    name
        Of the file that Spark has copied to each worker; None: each has one already,
    path
        which is this one.
    limits
        What the model may cost.
    nonfinite
        What a NaN does: see `Model.stream`.
    """

    fingerprint: bytes
    name: str | None
    path: str
    limits: Limits | None
    nonfinite: Nonfinite

    def file(self) -> str:
        """Return the path of the model's file on this worker."""
        if self.name is None:
            return self.path
        from pyspark import SparkFiles

        path: str = SparkFiles.get(self.name)
        return path


_models: dict[bytes, Model] = {}
_pools: dict[tuple[bytes, str], BucketPool] = {}


def model_of(source: ModelSource) -> Model:
    """Return a model, ready to run: the same one for as long as the process lives.

    Raises
    ------
    SparkError
        If the file on this worker holds another model than the driver has.
    """
    if source.fingerprint not in _models:
        model = read(source.file(), source.limits)
        if model.fingerprint != source.fingerprint:
            raise SparkError(
                f"{source.path}: expected the model with fingerprint {source.fingerprint.hex()}, as on the driver, got "
                f"{model.fingerprint.hex()}: copy the file to all workers, or let it be sent: ship=True"
            )
        get_ready(model)
        _models[source.fingerprint] = model
    return _models[source.fingerprint]


def pool_of(source: ModelSource) -> BucketPool:
    """Return the pool of a model that streams: the same one for as long as the process lives."""
    name = (source.fingerprint, source.nonfinite)
    if name not in _pools:
        _pools[name] = BucketPool(model_of(source), source.nonfinite)
    return _pools[name]
