"""Normalizers of a network's inputs, by statistics of the training: ``(x - mean) / std`` for each feature.

Libraries of reinforcement learning save one as a module or beside the weights, and so do scalers of data sets:

===================================================  ======================================  ===========================
                                                     computes                                where epsilon is
===================================================  ======================================  ===========================
rsl_rl ``EmpiricalNormalization``                    ``(x - _mean) / (_std + epsilon)``      0.01 by default
stable-baselines3 ``VecNormalize``                   ``(x - mean) / sqrt(var + epsilon)``    1e-8, then clipped to 10
rl_games ``RunningMeanStd``                          ``(x - mean) / sqrt(var + epsilon)``    1e-5, then clipped to 5
skrl ``RunningStandardScaler``                       ``(x - mean) / (sqrt(var) + epsilon)``  1e-8, then clipped to 5
===================================================  ======================================  ===========================

No tensor shows the epsilon, nor the range that the results are clipped to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from grurt.array_types import Array
from grurt.converters.kinds.kind import Kind, Module, Reading, Tensors, Weighted
from grurt.converters.kinds.normalization import evaluate_batch_norm
from grurt.errors import DescriptionError
from grurt.network.layers import BatchNorm

_ROLES = {"mean": "mean", "std": "std", "stddev": "std", "var": "var", "variance": "var"}
_COUNTERS = frozenset(("count", "current_count", "running_count", "n", "num_samples", "n_samples"))
_EMPIRICAL = frozenset(("_mean", "_var", "_std", "count"))
"""The tensors of rsl_rl's class, which clips nothing."""

_DEFAULTS = {
    _EMPIRICAL: ("epsilon=0.01", ""),
    frozenset(("running_mean", "running_variance", "current_count")): (
        "epsilon=1e-8, epsilon_to=deviation",
        ":clip(-5,5)",
    ),
}
"""Options and functions of the classes that have such tensors, by default: of rsl_rl and of skrl."""

_UNKNOWN = ("epsilon=?", "")


def _roles(tensors: Tensors) -> dict[str, str]:
    """Return which tensor is the mean, the standard deviation and the variance."""
    found: dict[str, str] = {}
    for name in tensors:
        role = _ROLES.get(name.strip("_").removeprefix("running_"))
        if role is not None:
            found.setdefault(role, name)
    return found


def _is_normalizer(tensors: Tensors) -> bool:
    roles = _roles(tensors)
    others = [tensors[name] for name in tensors.keys() - set(roles.values()) if name not in _COUNTERS]
    return "mean" in roles and bool(roles.keys() & {"std", "var"}) and not others


def _convert(module: Module) -> Iterator[Weighted]:
    """Convert it to a BatchNorm, which takes off the mean before it multiplies, as the normalizer does."""
    roles = _roles(module.tensors)
    mean, deviation = _statistics(module, roles)
    module.used.update(name for name in module.tensors if name in roles.values() or name in _COUNTERS)
    if not module.followed and module.tensors.keys() != _EMPIRICAL:
        module.notes.append(f"{module.name}: taken without a range that it clips to, as :clip(-5,5)")
    size = max(mean.size, deviation.size)
    with np.errstate(over="ignore"):  # what is no float32 is refused by name
        factor = (1 / deviation).astype(np.float32)
    weights = {
        "mean": np.broadcast_to(mean, size),
        "variance": np.zeros(size, np.float32),
        "weight": np.broadcast_to(factor, size),
        "bias": np.zeros(size, np.float32),
    }
    yield BatchNorm(name=module.name, inputs=module.inputs, size=size, epsilon=1.0), weights


def _statistics(module: Module, roles: Mapping[str, str]) -> tuple[Array, Array]:
    """Return what is taken off and what is divided by: of each feature, or one number for all."""
    where = f"module {module.path!r}"
    epsilon, epsilon_to = module.options.epsilon, module.options.epsilon_to
    if epsilon is None:
        raise DescriptionError(
            f"{where}: expected the epsilon of a normalizer, which no tensor shows, got none; say epsilon=0 for "
            "(x - mean) / std; rsl_rl has 0.01, stable-baselines3 and skrl 1e-8, rl_games 1e-5"
        )
    if "mean" not in roles or not roles.keys() & {"std", "var"}:
        raise DescriptionError(f"{where}: expected a mean, and a std or var, got {', '.join(roles) or 'none of them'}")
    spread = "std" if "std" in roles else "var"
    if spread == "std" and epsilon_to == "variance":
        raise DescriptionError(
            f"{where}: expected epsilon_to=deviation beside a standard deviation, got variance; leave the array of the "
            "deviation out, and name that of the variance"
        )
    mean, width = (_vector(module, roles[role]) for role in ("mean", spread))
    if {mean.size, width.size} - {1, max(mean.size, width.size)}:
        raise DescriptionError(
            f"{where}: expected as many means as deviations, one for each feature, got {mean.size} and {width.size}"
        )
    deviation = _deviation(width.astype(np.float64), spread, epsilon, epsilon_to)
    if not ((deviation > 0) & np.isfinite(deviation)).all():
        raise DescriptionError(f"{where}: expected deviations above zero, got one that is not; is the epsilon right?")
    return mean, deviation


def _vector(module: Module, name: str) -> Array:
    """Return a tensor of one number for each feature, whatever axes of size 1 it has."""
    array = module.get(name, module.tensors[name].ndim)
    if array.size == 0 or array.size != max(array.shape, default=1):
        raise DescriptionError(
            f"module {module.path!r}: expected one number for each feature in {name!r}, got the shape {array.shape}"
        )
    return array.reshape(-1)


def _deviation(width: Array, spread: str, epsilon: float, epsilon_to: str | None) -> Array:
    """Return what is divided by, from a standard deviation or variance, in float64."""
    with np.errstate(invalid="ignore"):  # a negative variance gives NaN, which is refused
        if spread == "std":
            return width + epsilon
        return np.sqrt(width) + epsilon if epsilon_to == "deviation" else np.sqrt(width + epsilon)


def _readings(tensors: Tensors) -> tuple[Reading, ...]:
    size = tensors[_roles(tensors)["mean"]].size
    options, functions = _DEFAULTS.get(frozenset(tensors), _UNKNOWN)
    return (Reading(f"normalizer, {options}", size, size, functions),)


KINDS = (
    Kind(
        "normalizer",
        _convert,
        evaluate_batch_norm,
        parameters=("mean", "std", "var"),
        options=("epsilon", "epsilon_to"),
        fits=_is_normalizer,
        readings=_readings,
    ),
)
