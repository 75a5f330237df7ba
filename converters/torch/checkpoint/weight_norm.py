"""Weights that a checkpoint keeps as a product: weight normalization (Salimans and Kingma 2016) and pruning masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from grurt.array_types import Array
from grurt.errors import ConversionError, UnsupportedError

_PARAMETRIZATION = ".parametrizations."


def resolve_reparametrized(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors with every weight that is kept in parts replaced by the weight itself.

    ``W_g`` and ``W_v`` (``torch.nn.utils.weight_norm``), ``parametrizations.W.original0`` and ``original1``
    (``torch.nn.utils.parametrizations.weight_norm``), ``W_orig`` and ``W_mask`` (``torch.nn.utils.prune``).

    Raises
    ------
    ConversionError
        If the parts do not fit together.
    UnsupportedError
        If a weight has another parametrization.
    """
    _refuse_spectral_norm(tensors)
    resolved = dict(tensors)
    for name in tensors:
        weight, parts, combine = _parts_of(name)
        if weight not in tensors and all(part in resolved for part in parts):
            resolved[weight] = combine(weight, *(resolved.pop(part) for part in parts))
    for name in resolved:
        if _PARAMETRIZATION in f".{name}":
            raise UnsupportedError(
                f"tensor {name!r}: expected weight_norm as the only parametrization, got another; call "
                "torch.nn.utils.parametrize.remove_parametrizations(module, name) and save again"
            )
    return resolved


def _refuse_spectral_norm(tensors: Mapping[str, Array]) -> None:
    for name in tensors:
        if name.endswith("_orig") and f"{name[:-5]}_u" in tensors:
            raise UnsupportedError(
                f"tensor {name!r}: expected weight_norm as the only parametrization, got spectral_norm; call "
                "torch.nn.utils.remove_spectral_norm(module) and save again"
            )


def _parts_of(name: str) -> tuple[str, tuple[str, ...], Callable[..., Array]]:
    """Return the weight that a tensor of this name completes, the names of all its parts, and how they make it."""
    if name.endswith("_v"):
        return name[:-2], (f"{name[:-2]}_g", name), normalized_weight
    if name.endswith("_mask"):
        return name[:-5], (f"{name[:-5]}_orig", name), masked_weight
    if _PARAMETRIZATION in f".{name}" and name.endswith(".original1"):
        weight = f".{name}".replace(_PARAMETRIZATION, ".").removesuffix(".original1")[1:]
        return weight, (f"{name[:-1]}0", name), normalized_weight
    return name, (), normalized_weight


def normalized_weight(name: str, magnitude: Array, direction: Array) -> Array:
    """Return ``g * v / ||v||``, the norm taken over the axes on which the magnitude g has one number."""
    fits = magnitude.ndim in (0, direction.ndim) and all(
        size in (1, full) for size, full in zip(magnitude.shape, direction.shape, strict=False)
    )
    if not fits:
        raise ConversionError(
            f"tensor {name!r}: expected a magnitude for each row of {direction.shape}, got {magnitude.shape}; "
            "the file is damaged"
        )
    axes = tuple(axis for axis in range(direction.ndim) if magnitude.ndim == 0 or magnitude.shape[axis] == 1)
    with np.errstate(all="ignore"):  # what is not finite then is refused by name if it is used
        exact = direction.astype(np.float64)
        norm = np.sqrt(np.sum(exact**2, axis=axes, keepdims=True))
        exact *= magnitude / norm
        return np.asarray(exact, np.float32)


def masked_weight(name: str, weight: Array, mask: Array) -> Array:
    """Return the weight where the mask is one, and zero elsewhere."""
    if weight.shape != mask.shape:
        raise ConversionError(
            f"tensor {name!r}: expected a mask of shape {weight.shape}, got {mask.shape}; the file is damaged"
        )
    with np.errstate(all="ignore"):  # as above
        return np.asarray(weight * mask, np.float32)
