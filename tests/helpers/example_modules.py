"""The modules of an example, which find each other in its folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest


@contextmanager
def modules_of(folder: Path) -> Iterator[SimpleNamespace]:
    """Import all modules of a folder, by their names; afterwards none of them is known any more."""
    names = [path.stem for path in sorted(folder.glob("*.py"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        try:
            yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
        finally:
            for name in names:
                sys.modules.pop(name, None)
