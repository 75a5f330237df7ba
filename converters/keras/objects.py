"""The objects of a Keras 3 file, under the paths that their owners give them, whatever separates the names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from grurt.array_types import Array
from grurt.converters.keras.hdf5 import MAX_DEPTH, Hdf5
from grurt.errors import ConversionError

_LAYERS = "layers"
_EARLY_LAYERS = "_layer_checkpoint_dependencies"
"""What the layers of a model were stored under before Keras 2.14."""

_PATH_BYTES = 128
"""What is charged for each path, beside its length: the file may have the groups in the name of one object."""


class Objects:
    r"""The groups and datasets of a file, by paths whose parts are separated by slashes.

    Keras 2 and 3.0 joined paths as the operating system does: on Windows ``layers\dense`` is the name of one group.

    Raises
    ------
    ConversionError
        If two paths differ in their separators only, or have too many parts, or stand for more groups than the file
        can hold.
    """

    def __init__(self, file: Hdf5) -> None:
        self._file = file
        self._paths: dict[str, str] = {}
        self._children: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._early: dict[str, defaultdict[str, list[str]]] = {}
        datasets = set(file.datasets)
        for path in (*file.groups, *datasets):
            slashed = path.replace("\\", "/")
            if slashed in self._paths or slashed.count("/") > MAX_DEPTH:
                raise ConversionError(
                    f"HDF5: expected names that differ, of at most {MAX_DEPTH} parts, got {slashed[:200]!r}; the file "
                    "is damaged"
                )
            self._paths[slashed] = path
            self._add(slashed)
        self.datasets = tuple(slashed for slashed, path in self._paths.items() if path in datasets)

    def _add(self, path: str) -> None:
        """Note a path, and the groups that hold it."""
        while path:
            parent, _, name = path.rpartition("/")
            if name in self._children[parent]:
                return
            self._file.charge(_PATH_BYTES + len(path))
            self._children[parent][name] = None
            path = parent

    @property
    def holds_layers(self) -> bool:
        """Whether there are layers of a model."""
        return bool({_LAYERS, _EARLY_LAYERS} & self._children[""].keys())

    def children(self, path: str) -> Collection[str]:
        """Return the names in a group; none if there is no such group."""
        return self._children.get(path, ())

    def array(self, path: str) -> Array:
        """Return a dataset, as `Hdf5.array` does."""
        return self._file.array(self._paths.get(path, path))

    def layer(self, model: str, key: str) -> str:
        """Return the path of a layer.

        Before Keras 2.14, a layer with weights was counted twice, so that the second `Dense` is called ``dense_2``: its
        place among the names of its class is what tells it.

        Parameters
        ----------
        model
            The path of the model that holds it; ``""`` for the whole model.
        key
            The layer's class in snake case, and the number of those of its class before it: ``dense``, ``dense_1``.
        """
        early = f"{model}/{_EARLY_LAYERS}".lstrip("/")
        if early not in self._children:
            return f"{model}/{_LAYERS}/{key}".lstrip("/")
        kind, index = _counted(key)
        found = self._early_layers(early).get(kind, ())
        return f"{early}/{found[index] if index < len(found) else key}"

    def _early_layers(self, path: str) -> Mapping[str, Sequence[str]]:
        """Return the names of layers by class, in the order of their counters."""
        if path not in self._early:
            by_class = self._early[path] = defaultdict(list)
            for name in sorted(self._children[path], key=lambda name: _counted(name)[1]):
                by_class[_counted(name)[0]].append(name)
        return self._early[path]


def _counted(key: str) -> tuple[str, int]:
    """Return the class and the counter of a key."""
    kind, _, number = key.rpartition("_")
    return (kind, int(number)) if kind and number.isdecimal() and len(number) < 10 else (key, 0)
