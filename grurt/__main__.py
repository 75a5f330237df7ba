"""The command ``grurt``, also as ``python -m grurt``."""

import sys
from importlib.util import find_spec

from grurt.cli import interrupts
from grurt.cli.descriptors import occupy_standard_descriptors
from grurt.cli.exits import INTERRUPTED

EXTRA_MISSING = """\
error: the command line needs {missing}, which the library does without. Install it with:
    {command}
"""


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        _run()
    except KeyboardInterrupt:  # while modules are imported; later on, the command group sees to it
        sys.exit(INTERRUPTED)


def _run() -> None:
    occupy_standard_descriptors()
    interrupts.watch()
    missing = [package for package in ("click", "rich") if find_spec(package) is None]
    if missing:
        from grurt.installing import install_command

        text = EXTRA_MISSING.format(missing=" and ".join(missing), command=install_command("cli"))
        print(text, end="", file=sys.stderr)
        sys.exit(2)
    from grurt.cli.app import grurt

    grurt(prog_name="grurt")


if __name__ == "__main__":
    main()
