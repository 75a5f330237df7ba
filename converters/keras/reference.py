"""Runs a Keras model with Keras itself, where it is installed, so that a conversion can be compared with its source."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grurt.converters.installed import is_installed
from grurt.converters.keras.config import policies
from grurt.converters.keras.container import KerasFile
from grurt.converters.reference import expect_finite, precision_of
from grurt.converters.sampling import BATCH, SEED, check_inputs, open_steps, random_input
from grurt.errors import ConversionError
from grurt.network.network import Network
from grurt.network.reference_run import ReferenceRun
from grurt.network.signature import ValuePort
from grurt.network.vocabulary import Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BACKENDS = ("torch", "tensorflow", "jax")


def reference_run(network: Network, path: Path, file: KerasFile, architecture: str | Path | None) -> ReferenceRun:
    """Return what Keras 3 answers to a seeded batch: 2 sequences of 24 timesteps, or what sizes the file fixes.

    Keras reads the file in its safe mode. By then it is known to hold nothing but layers of Keras's own.

    Parameters
    ----------
    network
        The converted network.
    path
        Its path.
    file
        What was read there.
    architecture
        The JSON file with the architecture, for a file of weights.

    Raises
    ------
    ConversionError
        With the reason why there is none: Keras is not installed, or is another version.
    """
    if file.version.major < 3:
        raise ConversionError(f"Keras 3 does not compute as Keras {file.version.major}, which wrote the file")
    if architecture is not None:
        raise ConversionError("the file holds weights only")
    if not is_installed("keras"):
        raise ConversionError("keras is not installed")
    try:
        keras = _import_keras()
    except ImportError as error:
        raise ConversionError(f"keras cannot be imported: {error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
            shapes = [port.shape for port in loaded.inputs]
            inputs = _inputs(network, shapes)
            given = [_as_read(network, *each) for each in zip(inputs.items(), shapes, strict=True)]
            answers = loaded(given if len(given) > 1 else given[0], training=False)
            arrays = [keras.ops.convert_to_numpy(answer) for answer in keras.tree.flatten(answers)]
    except ConversionError:
        raise
    except Exception as error:  # Keras's exceptions have no base class of their own
        reason = " ".join(str(error).split())[:200]
        raise ConversionError(f"Keras cannot run the file: {reason}") from error
    ports = network.signature.outputs
    outputs = {port.name: np.asarray(array, port.dtype) for port, array in zip(ports, arrays, strict=True)}
    expect_finite("Keras", outputs)
    computed = (policy.removeprefix("mixed_") for policy in policies(file.description))
    produced_by = f"keras {keras.__version__} with {keras.backend.backend()}"
    return ReferenceRun(inputs, outputs, produced_by, precision_of(network, computed))


def _import_keras() -> Any:
    """Import Keras; it needs a backend, and takes TensorFlow unless the environment says otherwise."""
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        import keras
    else:
        installed = [name for name in _BACKENDS if is_installed(name)]
        if not installed:
            raise ConversionError("keras is installed without a backend: PyTorch, TensorFlow or JAX")
        os.environ["KERAS_BACKEND"] = installed[0]
        try:
            import keras
        finally:
            del os.environ["KERAS_BACKEND"]
    if not keras.__version__.startswith("3."):
        raise ConversionError(f"the keras that is installed is {keras.__version__}, not Keras 3")
    return keras


def _inputs(network: Network, shapes: Sequence[tuple[int | None, ...]]) -> dict[str, NDArray[np.generic]]:
    """Return an input for each port of the model, of the sizes that Keras has for it, where they are fixed."""
    tokens = {port.name: port.size for port in network.inputs if port.tokens}
    batch = next((shape[0] for shape in shapes if shape[0] is not None), BATCH)
    n_steps = open_steps(network)
    sizes = {
        port.name: (batch, *(n_steps if size is None else size for size in shape[1:] or (None,)))
        for port, shape in zip(network.signature.inputs, shapes, strict=True)
    }
    check_inputs(network, sizes)
    random = np.random.default_rng(SEED)
    inputs: dict[str, NDArray[np.generic]] = {}
    for port in network.signature.inputs:
        inputs[port.name] = random_input(network, port, sizes[port.name], n_steps, random)
        if isinstance(port, ValuePort) and port.value in tokens:
            # a mask at the first timestep is where grurt and Keras differ
            inputs[port.name][:, 0] = tokens[port.value] - 1
        if (vocabulary := network.vocabularies.get(port.name)) is not None:
            inputs[port.name] = _tokens_of_texts(vocabulary, sizes[port.name], n_steps, random)
    return inputs


def _tokens_of_texts(
    vocabulary: Vocabulary, sizes: tuple[int, ...], n_steps: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Return the tokens of texts: of such as are found again where their texts are taken apart together."""
    numbered = enumerate(vocabulary.tokens)
    found = [text for number, text in numbered if text and vocabulary.encode_part(text).tolist() == [number]]
    if not found:
        raise ConversionError("no text of a token is read as that token")
    count = sizes[1] if vocabulary.split == "none" else min(n_steps, vocabulary.length or n_steps)
    chosen = random.choice(np.array(found, object), (sizes[0], count))
    return np.stack([vocabulary.encode(list(row)) for row in chosen])


def _as_read(
    network: Network, port: tuple[str, NDArray[np.generic]], shape: tuple[int | None, ...]
) -> NDArray[np.generic]:
    """Return an input as Keras takes it: texts in place of the tokens of a layer that takes them apart."""
    name, array = port
    vocabulary = network.vocabularies.get(name)
    if vocabulary is None:
        return array
    if vocabulary.split == "none":
        return np.array([[vocabulary.tokens[token] for token in row] for row in array.tolist()], object)
    texts = np.array([vocabulary.decode(row) for row in array.tolist()], object)
    return texts if len(shape) == 1 else texts[:, np.newaxis]
