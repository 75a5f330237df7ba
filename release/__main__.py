"""``python -m release``: builds the packages of a release, checks them, and tries them out."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from release.emulated import Arm, arguments_of, reason_not

ROOT = Path(__file__).resolve().parent.parent
EPILOG = """\
Needs what `pip install -e ".[test,release]"` installs, and for the wheel of the other machine its linker, or ziglang.
See RELEASING.md.
"""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser("python -m release", description=__doc__, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="build the sdist, and all wheels from it, and check them")
    check = commands.add_parser("check", help="check packages that are there")
    trial = commands.add_parser("try", help="install each wheel in a fresh environment, and compare answers")
    sizes = commands.add_parser("sizes", help="measure what installing takes, beside others, for docs/native.md")
    for command in (build, check, trial, sizes):
        command.add_argument("folder", nargs="?", type=Path, default=ROOT / "dist", help="where they are: dist")
    emulated = commands.add_parser("emulated", help="run tests on an emulated 64-bit Arm, where Numba compiles")
    emulated.add_argument("folder", type=Path, help="where Debian's Python is kept, about 400 MB")
    emulated.add_argument("arguments", nargs=argparse.REMAINDER, help="what pytest is given")
    chosen = parser.parse_args()
    if chosen.command == "emulated":
        run_emulated(chosen.folder.resolve(), chosen.arguments)
        return
    if chosen.command == "build":
        build_all(chosen.folder)
    if chosen.command in ("build", "check"):
        check_all(packages(chosen.folder))
    if chosen.command == "try":
        try_all(packages(chosen.folder))
    if chosen.command == "sizes":
        from release.sizes import installations, write

        write(list(installations(packages(chosen.folder))))


def packages(folder: Path) -> list[Path]:
    """Return the packages in a folder; end the program if there are none."""
    found = sorted([*folder.glob("*.whl"), *folder.glob("*.tar.gz")])
    if not found:
        raise SystemExit(f"{folder}: expected packages, got none: `python -m release build` makes them")
    return found


def build_all(folder: Path) -> None:
    """Build all packages, and say how large they are."""
    from release.packages import build

    for path, seconds in build(ROOT, folder):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB in {seconds:.0f} s", flush=True)


def check_all(paths: list[Path]) -> None:
    """Check packages; end the program with what is wrong."""
    from release.checks import check

    if faults := check(paths):
        raise SystemExit("\n".join(faults))
    print(f"{len(paths)} packages checked: nothing is wrong")


def try_all(paths: list[Path]) -> None:
    """Try wheels out; end the program if the bits of an answer differ."""
    from release.trials import trials

    differing = False
    with tempfile.TemporaryDirectory() as folder:
        for trial in trials([path for path in paths if path.suffix == ".whl"], Path(folder)):
            verdict = f"OTHER BITS: {', '.join(trial.different)}" if trial.different else "the same bits"
            print(f"{trial.wheel}: {trial.where}: {trial.engine}, {trial.megabytes:.0f} MB: {verdict}", flush=True)
            differing |= bool(trial.different)
    if differing:
        raise SystemExit("answers differ")


def run_emulated(folder: Path, arguments: list[str]) -> None:
    """Run tests of this checkout on an emulated machine, where the kernels take about two minutes to compile."""
    if reason := reason_not():
        raise SystemExit(reason)
    from release.backend import compiler

    arm = Arm(folder)
    arm.install(*compiler(), "click", "rich", "pytest", "pytest-timeout")
    variables = {"GRURT_CACHE_DIR": str(folder / "kernels"), "PYTHONPATH": f"{arm.site}:{ROOT}"}
    print(arm.run(*arguments_of(arguments), environment=variables, cwd=ROOT))


if __name__ == "__main__":
    main()
