"""Values that a shell completes: of options whose values only grurt, or a model's file, knows."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click

from grurt.errors import GrurtError
from grurt.native.c99 import TARGET


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the platforms that models are exported for; C alone without the compiler, which the others need."""
    names = [TARGET]
    with suppress(ImportError):
        from grurt.native.targets import PLATFORMS

        names = [*PLATFORMS, TARGET]
    return _beginning(names, incomplete)


def cpus_of_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the CPUs of the platform that was named before."""
    with suppress(ImportError):
        from grurt.native.targets import PLATFORMS

        platform = PLATFORMS.get(ctx.params.get("target") or "")
        return _beginning(platform.cpus if platform else (), incomplete)
    return []


def cpus(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the CPUs that kernels are compiled for."""
    from grurt.native.cpus import CPUS

    return _beginning(("native", *(cpu.name for cpu in CPUS)), incomplete)


def layers_to_keep(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the layers, and the parts of step programs, that the model named before could be quantized without."""
    path = ctx.params.get("model_path")
    with suppress(GrurtError, OSError):
        from grurt.loading import read

        if path is not None and Path(path).is_file():
            layers = read(path).layers
            names = [*(layer.name for layer in layers), *(part.name for layer in layers for part in layer.parts())]
            return _beginning(dict.fromkeys(names), incomplete)
    return []


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
