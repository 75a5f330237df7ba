"""Keras files to networks: the steps, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grurt.converters.keras.builder import Builder
from grurt.converters.keras.config import policies
from grurt.converters.keras.container import KerasFile, read_archive, read_hdf5
from grurt.converters.keras.interpret import convert_layer, convert_model, model_inputs
from grurt.converters.keras.reference import reference_run
from grurt.converters.keras.signature import check_vectors, input_ports, output_ports, shown
from grurt.converters.keras.values import make_layer
from grurt.converters.reference import attach_reference
from grurt.network.network import Network, Source
from grurt.network.signature import Signature, StatePort
from grurt.regular_files import open_regular_file


def network_of_file(path: Path, *, architecture: Path | None, reference: bool) -> Network:
    """Return the GRU network that Keras saved, of Keras 1, 2 or 3. Neither Keras nor TensorFlow is needed.

    Parameters
    ----------
    path
        A ``.keras`` file; an ``.h5`` file of a whole model; or a file of weights (``.weights.h5``, ``.h5``).
    architecture
        For a file of weights: the JSON file with what ``model.to_json()`` gave.
    reference
        Run the model with Keras 3 and PyTorch, where both are installed, and keep the answers as the network's
        reference run. Keras then reads the file as well, in its safe mode, in which it runs no code from it. Without
        Keras, ``source.notes`` say that there is no reference run.

    Raises
    ------
    OSError
        If the file cannot be read.
    ConversionError
        If it is damaged, or holds weights that no layer reads.
    UnsupportedError
        If it holds something that grurt does not implement: the message names the layer and the argument.
    DescriptionError
        If it holds weights only, and there is no architecture; or the other way round.
    """
    with open_regular_file(path) as file:
        is_archive = file.read(2) == b"PK"
    with np.errstate(all="ignore"):  # weights that are not finite are refused by name
        found = read_archive(path) if is_archive else read_hdf5(path, architecture)
        network = _build(found, path.name)
    if not reference:
        return network
    return attach_reference(network, lambda: reference_run(network, path, found, architecture))


def _build(file: KerasFile, name: str) -> Network:
    root = make_layer(file.description, file.store.weights, file.version)
    build = Builder(convert_layer, elements=file.elements)
    tensors = convert_model(root, model_inputs(root, build), build, prefix="")
    names = [source.layer for source in build.topology(root).outputs]
    ports = output_ports(root, names, tensors, build)
    outputs, signature = shown(ports)
    file.store.check_all_used()
    inputs, given = input_ports(root, build)
    states = [state for port in (*given, *ports) if isinstance(port, StatePort) for state in port.states]
    build.prune([*(output.value for output in outputs), *states])
    notes = (*build.notes, *_precision_notes(file.description))
    network = Network(
        layers=build.layers.values(),
        weights=build.weights,
        inputs=inputs,
        outputs=outputs,
        signature=Signature(tuple(given), signature.outputs),
        vocabularies={found.name: found.vocabulary for found in build.inputs.values() if found.vocabulary is not None},
        source=Source(format="keras", producer=file.producer, file=name, notes=notes),
    )
    check_vectors(network)
    return network


def _precision_notes(description: Mapping[str, Any]) -> Iterator[str]:
    """Say so if layers computed in another precision than float32."""
    for policy in sorted(name for name in policies(description) - {"float32"} if "float" in name):
        yield f"layers of the dtype policy {policy} were converted to float32"
