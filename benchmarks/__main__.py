"""Measures grurt beside its peers, and writes the results as JSON.

Every suite runs in several processes, one after the other, each pinned to one core. Without SUITES, all run.
"""

import shlex
import sys
import time
import tomllib
from pathlib import Path

import click

from benchmarks import environment, results
from benchmarks.contenders import missing
from benchmarks.processes import run
from benchmarks.suites import SUITES

SIZES = Path(__file__).parent / "sizes.toml"


@click.command(help=__doc__)
@click.argument("suites", nargs=-1, type=click.Choice(list(SUITES)))
@click.option("--processes", default=5, show_default=True, help="Processes, over which medians are taken.")
@click.option("--rounds", default=15, show_default=True, help="Turns of each contender in a process.")
@click.option("--seconds", default=0.02, show_default=True, help="How long a turn takes.")
@click.option("--core", type=int, help="The core to run on; by default the last one.")
@click.option("--only", multiple=True, metavar="CONTENDER", help="Measure just this contender; may be repeated.")
@click.option("--sizes", type=click.Path(exists=True, path_type=Path), default=SIZES, help="What to measure, as TOML.")
@click.option("--output", type=click.Path(path_type=Path), default=results.FOLDER, help="Folder for the results.")
def main(
    suites: tuple[str, ...],
    processes: int,
    rounds: int,
    seconds: float,
    core: int | None,
    only: tuple[str, ...],
    sizes: Path,
    output: Path,
) -> None:
    """Run suites, one result file each."""
    if left_out := missing():
        click.echo(f"left out, because not installed: {', '.join(left_out)}", err=True)
    configuration = tomllib.loads(sizes.read_text())
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    for name in suites or SUITES:
        settings = configuration[name] | {"rounds": rounds, "seconds": seconds, "only": only}
        about = {"suite": name, "command": command, "processes": processes, "settings": settings}
        about |= {"missing": left_out, "environment": environment.describe()}
        begin = time.perf_counter()
        measured, used_core = run(SUITES[name], settings, processes, core)
        took = time.perf_counter() - begin
        about |= {"core": used_core, "took_seconds": round(took)}
        results.write(output / f"{name}.json", about, measured)
        click.echo(f"{name}: {took:.0f} s, {len(measured)} records in {output / name}.json", err=True)


if __name__ == "__main__":
    main()
