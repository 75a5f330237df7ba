"""The command ``grurt``, also as ``python -m grurt``."""

import sys
from importlib.util import find_spec

from grurt.cli.exits import INTERRUPTED

EXTRA_MISSING = """\
error: the command line needs {missing}, which the library does without. Install it with:
    pip install "grurt[cli]"
"""


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        _run()
    except KeyboardInterrupt:  # while modules are imported; later on, the command group sees to it
        sys.exit(INTERRUPTED)


def _run() -> None:
    missing = [package for package in ("click", "rich") if find_spec(package) is None]
    if missing:
        sys.stderr.write(EXTRA_MISSING.format(missing=" and ".join(missing)))
        sys.exit(2)
    from grurt.cli.app import grurt

    grurt(prog_name="grurt")


if __name__ == "__main__":
    main()
