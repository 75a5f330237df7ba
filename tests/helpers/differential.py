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
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from generated import comparison, script
from generated.comparison import KINDS, Outcome, judged
from generated.families import FAMILIES, program
from generated.routes import ROUTES, export
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


def cases(count: int, seed: int, only: str = "", frameworks: Collection[str] = FRAMEWORKS) -> Iterator[Case]:
    """Yield what becomes of random networks, by every way from their framework to a file."""
    rng = random.Random(seed)
    families = {name: entry for name, entry in _families(frameworks).items() if only in name}
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            (name,) = rng.choices(list(families), [weight for _, weight in families.values()])
            yield from families[name][0](f"{seed}.{index}", Path(folder))


def _families(frameworks: Collection[str]) -> dict[str, tuple[Cases, int]]:
    """Return what makes the cases of each family, and how often."""
    found: dict[str, tuple[Cases, int]] = {}
    if "torch" in frameworks:
        found |= {name: (partial(_of_torch, name), weight) for name, (_, weight) in FAMILIES.items()}
    if "keras" in frameworks:
        from generated import keras_families

        found |= {name: (partial(_of_keras, name), weight) for name, (_, weight) in keras_families.FAMILIES.items()}
    return found


def _of_torch(name: str, seed: str, folder: Path) -> Iterator[Case]:
    source = TorchSource(program(name, seed))
    written = source.program
    inputs = source.inputs(written.batch, written.time, "export")
    is_open = random.Random(seed).random() < 0.5
    for route in ROUTES:
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


def table(found: list[Case]) -> str:
    """Return what became of each family."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for case in found:
        rows[case.program.family][case.outcome.kind] += 1
        rows["all"][case.outcome.kind] += 1
    lines = [f"{'':22}" + "".join(f"{kind:>22}" for kind in KINDS)]
    lines += [
        f"{name:22}" + "".join(f"{rows[name][kind] or '':>22}" for kind in KINDS)
        for name in sorted(rows, key=lambda name: (name == "all", list(rows).index(name)))
    ]
    reasons = Counter(case.outcome.reason for case in found if case.outcome.kind == comparison.BY_DESIGN)
    lines += [f"    {reason.name}: {count}" for reason, count in reasons.most_common() if reason]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frameworks", default="torch", help="torch, or torch,keras; Keras has to be installed")
    parser.add_argument("--family", default="", help="only those whose names hold this")
    parser.add_argument("--failures", type=Path, help="a folder for scripts that show what is not right")
    arguments = parser.parse_args()
    found = []
    torch.set_num_threads(1)
    for case in cases(arguments.networks, arguments.seed, arguments.family, arguments.frameworks.split(",")):
        found.append(case)
        if case.outcome.kind not in (comparison.RIGHT, comparison.BY_DESIGN):
            print(f"{case.program.family} {case.program.seed} {case.route}: {case.outcome.kind}: {case.outcome.detail}")
            if arguments.failures:
                script.write(case.program, case.route, case.is_open, case.outcome, arguments.failures)
    print(table(found))
    return int(any(case.outcome.kind in (comparison.WRONG, comparison.CRASHED) for case in found))


if __name__ == "__main__":
    sys.exit(main())
