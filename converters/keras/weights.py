"""Finds the weights of each layer in a file: under class names and counters, or under layer names.

======================================  ====================================================================
``.keras``, ``.weights.h5``             objects: ``layers/<class name and counter>/.../vars/<number>``
                                        (before Keras 2.14 ``_layer_checkpoint_dependencies`` for ``layers``)
``.h5`` of a whole model, Keras 1 to 3  lists: ``model_weights/<layer name>``, whose attribute ``weight_names``
                                        gives the datasets and their order
``.h5`` of weights, Keras 1 and 2       the same, without ``model_weights``
======================================  ====================================================================
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from grurt.array_types import Array
from grurt.converters.keras.hdf5 import MAX_OBJECTS, Hdf5
from grurt.converters.keras.hdf5_bytes import damaged
from grurt.converters.keras.objects import Objects
from grurt.errors import ConversionError

_NOT_OF_LAYERS = ("optimizer/", "optimizer_weights/", "_trainer/", "metrics/", "model_weights/optimizer_weights/")
_SEEDS = "/seed_generator/"

_PART_BYTES = 32
"""What is charged for each part that a list of names has, beside one byte for each place where a name has a part."""


class Weights(ABC):
    """The weights of one layer, or of a part of it."""

    @abstractmethod
    def layer(self, key: str, name: str) -> Weights:
        """Return the weights of a layer of this model: ``key`` is its class name and counter, ``name`` its own."""

    @abstractmethod
    def child(self, name: str) -> Weights:
        """Return the weights of a part of this layer, which has to be asked for in Keras's order of the parts."""

    @abstractmethod
    def take(self, where: str, *names: str) -> list[Array]:
        """Return the arrays of these names, which are just all that the layer has; ConversionError if it has others."""

    @abstractmethod
    def count(self) -> int:
        """How many arrays there are to take."""

    def asset(self, name: str) -> bytes | None:
        """Return a file that the layer has beside its weights; None if there is none."""
        return None


class ObjectWeights(Weights):
    """Weights under the path of the object that owns them."""

    def __init__(self, file: Objects, path: str, used: set[str], assets: Mapping[str, bytes]) -> None:
        self._file = file
        self._path = path
        self._used = used
        self._assets = assets

    def layer(self, key: str, name: str) -> Weights:
        return ObjectWeights(self._file, self._file.layer(self._path, key), self._used, self._assets)

    def child(self, name: str) -> Weights:
        return self._below(name)

    def count(self) -> int:
        return len(self._file.children(f"{self._path}/vars"))

    def asset(self, name: str) -> bytes | None:
        return self._assets.get(f"{self._path}/{name}")

    def take(self, where: str, *names: str) -> list[Array]:
        if self.count() != len(names):
            raise _wrong_count(where, names, self.count())
        paths = [f"{self._path}/vars/{index}" for index in range(len(names))]
        self._used.update(paths)
        return [self._file.array(path) for path in paths]

    def _below(self, name: str) -> ObjectWeights:
        return ObjectWeights(self._file, f"{self._path}/{name}".lstrip("/"), self._used, self._assets)


class Listing:
    """The names of weights in their order, and where they are; read once, however often a layer is called.

    The listing of a part knows the positions of its weights only. What is looked through is charged to the file, since
    a few names that the file holds once can be many that have many parts, in models inside of each other.

    Parameters
    ----------
    file
        The file.
    names
        The names in the whole list.
    paths
        Where the weights of these names are.
    positions
        Those that belong to this listing, from the first to the last.
    """

    def __init__(self, file: Hdf5, names: Sequence[str], paths: Sequence[str], positions: Sequence[int]) -> None:
        self._file = file
        self._names = names
        self._paths = paths
        self._positions = positions
        self._listings: dict[str, Listing] = {}

    def __len__(self) -> int:
        return len(self._positions)

    def part(self, name: str) -> Listing:
        """Return those that belong to a layer of this name in a nested model."""
        if name not in self._listings:
            self._listings[name] = Listing(self._file, self._names, self._paths, self._parts.get(name, ()))
        return self._listings[name]

    def paths(self, start: int, stop: int) -> list[str]:
        """Return where the weights from ``start`` to ``stop - 1`` are."""
        return [self._paths[position] for position in self._positions[start:stop]]

    @cached_property
    def _parts(self) -> Mapping[str, Sequence[int]]:
        """The positions of the names that have a part, by part."""
        positions: defaultdict[str, array[int]] = defaultdict(lambda: array("I"))
        for position in self._positions:
            name, known = self._names[position], len(positions)
            self._file.charge(name.count("/") + 1)
            for part in set(name.split("/")):
                positions[part].append(position)
            if len(positions) > MAX_OBJECTS:
                raise damaged(f"weights whose names have more than {MAX_OBJECTS} parts")
            self._file.charge(_PART_BYTES * (len(positions) - known))
        return positions


class ListedWeights(Weights):
    """Weights in a list, in the order in which the parts of the layer have them."""

    def __init__(self, file: Hdf5, listing: Listing, used: set[str]) -> None:
        self._file = file
        self._listing = listing
        self._used = used
        self._taken = 0

    def layer(self, key: str, name: str) -> Weights:
        return ListedWeights(self._file, self._listing.part(name), self._used)

    def child(self, name: str) -> Weights:
        return self

    def count(self) -> int:
        return len(self._listing) - self._taken

    def take(self, where: str, *names: str) -> list[Array]:
        if self.count() < len(names):
            raise _wrong_count(where, names, self.count())
        paths = self._listing.paths(self._taken, self._taken + len(names))
        self._taken += len(names)
        self._used.update(paths)
        return [self._file.array(path) for path in paths]


class ListedModel(Weights):
    """The lists of all layers of a model."""

    def __init__(self, file: Hdf5, path: str, used: set[str]) -> None:
        self._file = file
        self._path = path
        self._used = used
        self._listings: dict[str, Listing] = {}

    def layer(self, key: str, name: str) -> Weights:
        if name not in self._listings:
            group = f"{self._path}/{name}".lstrip("/")
            names = self._file.texts(group, "weight_names") or []
            paths = [f"{group}/{listed}" for listed in names]
            self._listings[name] = Listing(self._file, names, paths, range(len(names)))
        return ListedWeights(self._file, self._listings[name], self._used)

    def child(self, name: str) -> Weights:
        return self

    def count(self) -> int:
        return 0

    def take(self, where: str, *names: str) -> list[Array]:
        raise _wrong_count(where, names, 0)


class Store:
    """The weights of a whole model, the files beside them by their paths, and which of the weights were taken."""

    def __init__(self, file: Hdf5, assets: Mapping[str, bytes]) -> None:
        self._used: set[str] = set()
        self._datasets: Iterable[str] = file.datasets
        listed = next((path for path in ("model_weights", "") if file.texts(path, "layer_names") is not None), None)
        self.weights: Weights
        if listed is not None:
            self.weights = ListedModel(file, listed, self._used)
        elif (objects := Objects(file)).holds_layers:
            self.weights = ObjectWeights(objects, "", self._used, assets)
            self._datasets = objects.datasets
        else:
            found = ", ".join(file.groups[""][:20])[:500] or "nothing"
            raise ConversionError(
                f"the weights: expected the layers of a Keras model, got {found}; give a file that Keras saved"
            )

    def check_all_used(self) -> None:
        """Raise ConversionError for weights that no layer took. Those of the training, and seeds, do not count."""
        unused = [
            path
            for path in sorted(self._datasets)
            if path not in self._used and not path.startswith(_NOT_OF_LAYERS) and _SEEDS not in path
        ]
        if unused:
            raise ConversionError(
                f"the file holds {len(unused)} weights that no layer reads: {', '.join(unused[:5])[:500]}; they belong "
                "to another model, or to a layer that has more weights than its configuration says"
            )


def object_keys(classes: Iterable[str]) -> list[str]:
    """Return the keys under which Keras stores layers of these classes: the class in snake case, and a counter."""
    counts: Counter[str] = Counter()
    keys = []
    for name in classes:
        key = _snake_case(name)
        keys.append(f"{key}_{counts[key]}" if counts[key] else key)
        counts[key] += 1
    return keys


def _snake_case(name: str) -> str:
    """Return a class name as Keras's ``to_snake_case`` does: ``TimeDistributed``, ``CuDNNGRU`` -> ``cu_dnngru``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _wrong_count(where: str, names: tuple[str, ...], found: int) -> ConversionError:
    return ConversionError(
        f"{where}: expected {len(names)} weights ({', '.join(names)}), got {found}; the weights do not belong to "
        "this configuration"
    )
