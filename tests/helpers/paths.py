"""Where things are."""

from pathlib import Path

HELPERS = Path(__file__).resolve().parent
"""The folder of these modules; a subprocess that is started in it, or with it on its path, can import them."""

ROOT = HELPERS.parent.parent
DATA = ROOT / "tests" / "data"
