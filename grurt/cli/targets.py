"""What `grurt export` and `grurt inspect` know of targets: how to export for one, what models take there and may."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import click

from grurt.cli.exits import USAGE
from grurt.cli.report import table
from grurt.errors import GrurtError
from grurt.native.c99 import TARGET
from grurt.network.layers.base import QuantizedFormat

if TYPE_CHECKING:
    from grurt.model import Model
    from grurt.native.c99.export import SourceExport
    from grurt.native.c99.packages import Package
    from grurt.native.export import Export

    AnyExport = Export | SourceExport

ALL = "all"
"""As ``grurt inspect --target`` takes it."""

NAMES = (
    "x86_64-linux-gnu, aarch64-linux-gnu, riscv64-linux-gnu, thumbv7em-none-eabihf (Cortex-M4), riscv32, wasm32; "
    "or c99: source text for any compiler."
)

Exporter = Callable[["Model", str], "AnyExport"]
"""What exports a model under a name."""


def exporter(target: str, cpu: str | None, command: str, package: Package | None = None) -> Exporter:
    """Return what exports for a target; the command is named where something is missing."""
    if target == TARGET:
        if cpu is not None:
            raise click.UsageError("--cpu: c99 is for any CPU: it is your compiler that is told which")
        from grurt.native.c99.export import export_c99

        return lambda model, name: export_c99(model, name=name, package=package)
    if package is not None:
        raise click.UsageError(f"--package: is for --target {TARGET}: build tools compile source text")
    from grurt.native.requirements import expect_numba

    expect_numba(command)
    from grurt.native.export import export

    return lambda model, name: export(model, target, cpu=cpu, name=name)


def exported_everywhere(model: Model, command: str) -> Iterator[AnyExport]:
    """Yield a model as it is on every target."""
    from grurt.native.requirements import expect_numba

    expect_numba(command)
    from grurt.native.targets import PLATFORMS

    for target in (*PLATFORMS, TARGET):
        try:
            yield exporter(target, None, command)(model, "model")
        except GrurtError:
            if target != TARGET:  # for which there are not all layers
                raise


def table_of(exports: Iterable[AnyExport], model: Model) -> list[str]:
    """Return a table of what a model takes on targets."""
    rows = [
        [each.target, f"{each.flash_bytes:,}{'*' if each.target == TARGET else ''}", f"{each.ram_bytes:,}"]
        for each in exports
    ]
    operations = sum(layer.multiply_adds() for layer in model.layers)
    return [
        *table(["target", "flash", "RAM"], rows, align="<>>"),
        f"flash and RAM in bytes, RAM of one stream; {operations:,} multiply-adds a timestep; * without code",
    ]


class Memory(click.types.StringParamType):
    """The type of a number of bytes: ``2048``, ``2K``, ``1M``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = re.fullmatch(r"([1-9][0-9]{0,11})([KM]?)B?", str(value).strip(), re.IGNORECASE)
        if found is None:
            self.fail(f"expected a number of bytes such as 2048, 32K or 1M, got {value!r}", param, ctx)
        return int(found[1]) << {"": 0, "K": 10, "M": 20}[found[2].upper()]


class DoesNotFitError(click.ClickException):
    """A model takes more memory than there is."""

    exit_code = USAGE


@dataclass(frozen=True)
class Budget:
    """The memory that there is, in bytes; None: any."""

    flash: int | None
    ram: int | None

    def holds(self, exported: AnyExport) -> bool:
        """Return whether a model fits."""
        return not self._excess(exported)

    def _excess(self, exported: AnyExport) -> list[str]:
        needs = (("flash", exported.flash_bytes, self.flash), ("RAM", exported.ram_bytes, self.ram))
        return [f"{taken:,} bytes of {what}, of {limit:,}" for what, taken, limit in needs if limit and taken > limit]

    def check(self, exported: AnyExport, in_format: Callable[[QuantizedFormat], AnyExport]) -> None:
        """Raise DoesNotFitError if a model does not fit, with the formats of weights in which it would.

        Parameters
        ----------
        exported
            The model.
        in_format
            Returns it with other weights; it may refuse by an exception of grurt's.
        """
        if not (excess := self._excess(exported)):
            return
        others = []
        for weight_format in get_args(QuantizedFormat):
            try:
                others.append((weight_format, in_format(weight_format)))
            except GrurtError:  # it has that format, or can have no other
                continue
        fitting = [_described(name, other) for name, other in others if self.holds(other)]
        smallest = min(others, key=lambda each: each[1].flash_bytes, default=None)
        if fitting:
            advice = f"what would fit: {', or '.join(fitting)}"
        elif smallest is not None:
            advice = f"no format of weights fits, the smallest being {_described(*smallest)}: train a smaller network"
        else:
            advice = "train a smaller network"
        if exported.target != TARGET:
            advice += f"; --target {TARGET} takes less RAM"
        raise DoesNotFitError(f"{exported.target}: the model takes {', and '.join(excess)}; {advice}")


def _described(weight_format: str, exported: AnyExport) -> str:
    return f"--weights {weight_format} ({exported.flash_bytes:,} bytes of flash, {exported.ram_bytes:,} of RAM)"


def budget_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how much memory there is."""
    flash = click.option("--flash", metavar="BYTES", type=Memory(), help="Refuse what takes more flash, such as 32K.")
    ram = click.option(
        "--ram", metavar="BYTES", type=Memory(), help="Refuse what takes more RAM for one stream, such as 2K."
    )
    return flash(ram(command))
