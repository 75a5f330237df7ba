"""Which layers cost most: each is quantized alone; and which to keep, so that no more is lost than allowed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from grurt.errors import QuantizationError
from grurt.network.layers.base import QuantizedFormat
from grurt.quantization.loss import Difference, compare
from grurt.quantization.observe import answers, exposed
from grurt.quantization.quantize import check_arguments, parts_but, quantize
from grurt.quantization.recordings import Data, Recordings, random_recordings, recordings

if TYPE_CHECKING:
    from grurt.network.network import Network

Progress = Callable[[str], None]
"""Is told what is measured next."""


@dataclass(frozen=True)
class Limit:
    """What may be lost: no output has fewer ``decibels`` from signal to error, or a larger error than ``largest``."""

    decibels: float = -math.inf
    largest: float = math.inf

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Return the limit that a text stands for: ``"30dB"``, or ``"0.01"``, the largest absolute error, below 1.

        Raises
        ------
        QuantizationError
            If it stands for none.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:e-?\d+)?|\.\d+)\s*(dB)?\s*", text, re.IGNORECASE)
        if match is None or math.isinf(float(match[1])):
            raise QuantizationError(
                f"expected decibels from signal to error such as 30dB, or the largest absolute error such as 0.01, "
                f"got {text!r}"
            )
        number = float(match[1])
        if number >= 1 and not match[2]:
            raise QuantizationError(
                f"expected a largest absolute error below 1, or decibels with their unit, got {text!r}: "
                f"is {text.strip()}dB meant?"
            )
        return cls(decibels=number) if match[2] else cls(largest=number)

    def __str__(self) -> str:
        return f"{self.largest:g}" if math.isinf(self.decibels) else f"{self.decibels:g} dB"

    def allows(self, outputs: Collection[Difference]) -> bool:
        """Whether all outputs are within the limit."""
        return all(output.decibels >= self.decibels and output.largest <= self.largest for output in outputs)


@dataclass(frozen=True)
class LayerLoss:
    """What quantizing one layer costs, or one matrix of a step program."""

    name: str
    kind: str
    own: Difference
    """The layer's own value, where only this layer is quantized."""
    outputs: tuple[Difference, ...]
    """The model's outputs, where only this layer is quantized."""

    @property
    def decibels(self) -> float:
        """Decibels from signal to error of the output that suffers most."""
        return min(output.decibels for output in self.outputs)


def layer_losses(
    model: Network,
    weight_format: QuantizedFormat,
    data: Data | Recordings | None = None,
    *,
    keep: Collection[str] = (),
    calibrate: bool = False,
    progress: Progress = lambda what: None,
) -> tuple[LayerLoss, ...]:
    """Quantize every layer but those of ``keep`` alone, and compare with the float32 model; the costliest comes first.

    Parameters
    ----------
    model, weight_format, keep
        As `Model.quantize` takes them.
    data
        As `loss` takes them.
    calibrate
        Whether the data are for calibration too.
    progress
        Is told the layer that is measured next.

    Raises
    ------
    QuantizationError
        If the model cannot be quantized so, or the data do not fit.
    """
    kept = check_arguments(model, weight_format, keep)
    used = random_recordings(model) if data is None else recordings(model, data)
    shown = {output.name: output.value for output in model.outputs}
    found = []
    parts = parts_but(model, kept)
    for layer, part in parts:
        progress(part.name)
        others = [other.name for _, other in parts if other is not part] + [*kept]
        alone = quantize(model, weight_format, keep=others, calibration=used if calibrate else None)
        values = list(dict.fromkeys([layer.name, *shown.values()]))
        before, after = exposed(model, values), exposed(alone, values)
        differences = {
            each.name: each
            for each in compare((answers(before, sequence), answers(after, sequence)) for sequence in used.sequences)
        }
        outputs = tuple(replace(differences[value], name=name) for name, value in shown.items())
        found.append(LayerLoss(part.name, part.kind, differences[layer.name], outputs))
    return tuple(sorted(found, key=lambda each: each.decibels))


def layers_to_keep(
    model: Network,
    weight_format: QuantizedFormat,
    limit: Limit,
    data: Data | Recordings | None = None,
    *,
    keep: Collection[str] = (),
    calibrate: bool = False,
    costs: Sequence[LayerLoss] | None = None,
    progress: Progress = lambda what: None,
) -> tuple[str, ...]:
    """Return the layers to keep in float32, those of ``keep`` among them, for a loss within a limit.

    The layers that cost most alone are kept, one after the other, until the limit is met; then each of them that can be
    quantized after all is let go, beginning with the one that costs least.

    Parameters
    ----------
    model, weight_format, data, keep, calibrate, progress
        As `layer_losses` takes them.
    limit
        What may be lost.
    costs
        What `layer_losses` found with the same arguments, if it was called already.

    Raises
    ------
    QuantizationError
        As `layer_losses`; or if the limit is met by keeping all layers only.
    """
    used = random_recordings(model) if data is None else recordings(model, data)
    if costs is None:
        costs = layer_losses(model, weight_format, used, keep=keep, calibrate=calibrate, progress=progress)

    def fits(kept: Collection[str]) -> bool:
        progress(f"all but {', '.join(kept)}" if kept else "all layers")
        small = quantize(model, weight_format, keep=kept, calibration=used if calibrate else None)
        return limit.allows(
            compare((answers(model, sequence), answers(small, sequence)) for sequence in used.sequences)
        )

    candidates = [each.name for each in costs]
    count = next((n for n in range(len(candidates)) if fits([*keep, *candidates[:n]])), None)
    if count is None:
        raise QuantizationError(
            f"limit: nothing can be quantized to {weight_format} with a loss within {limit}: allow a greater one"
        )
    kept = candidates[:count]
    for name in reversed(kept[:-1]):  # the last one was needed, or the search would have ended before it
        if fits(fewer := [*keep, *(other for other in kept if other != name)]):
            kept = [other for other in fewer if other not in keep]
    return (*keep, *kept)
