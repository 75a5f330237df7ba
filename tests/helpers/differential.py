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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from generated import comparison, script
from generated.comparison import KINDS, Outcome
from generated.families import FAMILIES, program
from generated.routes import ROUTES, export
from generated.truth import Source
from generated.writer import Program

from grurt.converters import convert


@dataclass(frozen=True)
class Case:
    """One network by one route."""

    program: Program
    route: str
    is_open: bool
    outcome: Outcome


def cases(count: int, seed: int, routes: tuple[str, ...], only: str = "") -> Iterator[Case]:
    """Yield what becomes of random networks by every route that exports them."""
    rng = random.Random(seed)
    names = [name for name in FAMILIES if only in name]
    weights = [FAMILIES[name][1] for name in names]
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            (name,) = rng.choices(names, weights)
            yield from network_cases(program(name, f"{seed}.{index}"), routes, Path(folder))


def network_cases(written: Program, routes: tuple[str, ...], folder: Path) -> Iterator[Case]:
    source = Source(written)
    inputs = source.inputs(written.batch, written.time, "export")
    is_open = random.Random(written.seed).random() < 0.5
    for route in routes:
        try:
            path = export(source.module, written, inputs, route, folder, is_open=is_open)
        except Exception:
            continue
        yield Case(written, route, is_open, comparison.judged(source, lambda path=path: convert(path, reference=False)))


def table(found: list[Case]) -> str:
    """Return what became of each family."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for case in found:
        rows[case.program.family][case.outcome.kind] += 1
        rows["all"][case.outcome.kind] += 1
    lines = [f"{'':22}" + "".join(f"{kind:>22}" for kind in KINDS)]
    lines += [
        f"{name:22}" + "".join(f"{rows[name][kind] or '':>22}" for kind in KINDS)
        for name in [*FAMILIES, "all"]
        if name in rows
    ]
    reasons = Counter(case.outcome.reason for case in found if case.outcome.kind == comparison.BY_DESIGN)
    lines += [f"    {reason.name}: {count}" for reason, count in reasons.most_common() if reason]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--routes", default=",".join(ROUTES))
    parser.add_argument("--family", default="", help="only those whose names hold this")
    parser.add_argument("--failures", type=Path, help="a folder for scripts that show what is not right")
    arguments = parser.parse_args()
    found = []
    for case in cases(arguments.networks, arguments.seed, tuple(arguments.routes.split(",")), arguments.family):
        found.append(case)
        if case.outcome.kind not in (comparison.RIGHT, comparison.BY_DESIGN):
            print(f"{case.program.family} {case.program.seed} {case.route}: {case.outcome.kind}: {case.outcome.detail}")
            if arguments.failures:
                script.write(case.program, case.route, case.is_open, case.outcome, arguments.failures)
    print(table(found))
    return int(any(case.outcome.kind in (comparison.WRONG, comparison.CRASHED) for case in found))


if __name__ == "__main__":
    sys.exit(main())
