"""Files that are written together, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from grurt.atomic import expect_own_links, write_atomically


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder; raise OSError, with nothing written, if that cannot be done.

    Each file is replaced as a whole, and none before all are on the disk. A link to the folder is followed, unless it
    may be somebody else's.
    """
    expect_own_links(next(place for place in (folder, *folder.parents) if place.exists()))
    is_new = not folder.is_dir()
    if is_new:
        folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent if is_new else folder, prefix=".export.") as place:
        made = Path(place, "files")
        made.mkdir()
        for name, content in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(made / name, content)
        if is_new:
            made.rename(folder)
            return
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(folder / name)
