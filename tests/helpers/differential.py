"""Converts random networks, compares them with their frameworks, and counts what becomes of each family.

Usage:
    python tests/helpers/differential.py --networks 500 --seed 3

Exits with 1 if an answer is wrong, or a foreign exception was raised. Each network that is not right, or refused by
design, becomes a script that shows it, in the folder of ``--failures``.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from generated import kinds, script
from generated.comparison import BY_DESIGN, CRASHED, RIGHT, WRONG, Outcome, judged
from generated.families import FAMILIES, program
from generated.routes import ROUTES, export
from generated.tally import Tally
from generated.truth import TorchSource
from generated.writer import Program

from grurt.converters import convert

FRAMEWORKS = ("torch",)


@dataclass(frozen=True)
class Case:
    """One network by one route."""

    program: Program
    route: str
    is_open: bool
    outcome: Outcome


Cases = Callable[[str, Path], Iterator[Case]]


def cases(
    count: int, seed: int, only: str = "", frameworks: Collection[str] = FRAMEWORKS, routes: Collection[str] = ROUTES
) -> Iterator[Case]:
    """Yield what becomes of random networks, by every way from their framework to a file."""
    rng = random.Random(seed)
    families = {name: entry for name, entry in _families(frameworks, routes).items() if only in name}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            (name,) = rng.choices(list(families), [weight for _, weight in families.values()])
            yield from families[name][0](f"{seed}.{index}", Path(folder))


def _families(frameworks: Collection[str], routes: Collection[str]) -> dict[str, tuple[Cases, int]]:
    """Return what makes the cases of each family, and how often."""
    found: dict[str, tuple[Cases, int]] = {}
    if "torch" in frameworks:
        found |= {name: (partial(_of_torch, name, routes), weight) for name, (_, weight) in FAMILIES.items()}
    if "keras" in frameworks:
        from generated import keras_families

        found |= {name: (partial(_of_keras, name), weight) for name, (_, weight) in keras_families.FAMILIES.items()}
    return found


def _of_torch(name: str, routes: Collection[str], seed: str, folder: Path) -> Iterator[Case]:
    return _by_routes(program(name, seed), routes, folder)


def cases_of_kinds() -> Iterator[Case]:
    """Yield what becomes of the kinds of networks that people have asked for."""
    with tempfile.TemporaryDirectory() as folder:
        for title in kinds.KINDS:
            yield from _by_routes(kinds.program(title), ROUTES, Path(folder))


def _by_routes(written: Program, routes: Collection[str], folder: Path) -> Iterator[Case]:
    source = TorchSource(written)
    inputs = source.inputs(written.batch, written.time, "export")
    is_open = random.Random(written.seed).random() < 0.5
    for route in routes:
        try:
            path = export(source.module, written, inputs, route, folder, is_open=is_open)
        except Exception:
            continue
        yield Case(written, route, is_open, judged(source, partial(convert, path, reference=False)))


def _of_keras(name: str, seed: str, folder: Path) -> Iterator[Case]:
    from generated import keras_families, keras_source

    source = keras_source.KerasSource(keras_families.program(name, seed))
    for route in keras_source.ROUTES:
        path = keras_source.export(source, route, folder)
        yield Case(source.program, route, False, judged(source, partial(convert, path, reference=False)))


def _of_kinds() -> dict[str, dict[str, Outcome]]:
    found: dict[str, dict[str, Outcome]] = {title: {} for title in kinds.KINDS}
    for case in cases_of_kinds():
        found[case.program.family][case.route] = case.outcome
    return found


def weights(frameworks: Collection[str] = FRAMEWORKS) -> dict[str, int]:
    """Return how often each family is drawn."""
    return {name: weight for name, (_, weight) in _families(frameworks, ROUTES).items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frameworks", default="torch", help="torch, or torch,keras; Keras has to be installed")
    parser.add_argument("--family", default="", help="only those whose names hold this")
    parser.add_argument("--failures", type=Path, help="a folder for scripts that show what is not right")
    parser.add_argument("--store", action="store_true", help="keep the counts for docs/supported.md")
    arguments = parser.parse_args()
    frameworks = arguments.frameworks.split(",")
    torch.set_num_threads(1)
    found = Tally(arguments.networks, arguments.seed, weights(frameworks))
    for case in cases(arguments.networks, arguments.seed, arguments.family, frameworks):
        written, outcome = case.program, case.outcome
        found.count(written.family, outcome)
        if outcome.kind not in (RIGHT, BY_DESIGN):
            print(f"{written.family} {written.seed} {case.route}: {outcome.kind}: {outcome.detail}", flush=True)
            if arguments.failures:
                script.write(written, case.route, case.is_open, outcome, arguments.failures)
    print(found.table(), found.of_reasons(), f"refused without design: {found.refused_part:.1%}", sep="\n")
    if arguments.store:
        found.store()
        kinds.store(_of_kinds())
    return int(found.total(WRONG) + found.total(CRASHED) > 0)


if __name__ == "__main__":
    sys.exit(main())
