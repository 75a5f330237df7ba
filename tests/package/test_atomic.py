"""Files are written whole or not at all, and never through a link that somebody else may have laid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from neighbours import NEIGHBOUR, as_neighbour, give, needs_root, public_folder

from grurt import atomic
from grurt.atomic import expect_own_links, open_for_writing, write_atomically
from grurt.path_walk import Step, walk

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system has neither owners nor modes of files")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a file that a link in another folder might have overwritten."""
    path = tmp_path / "private" / "victim"
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"precious")
    return path


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1755])
def test_a_link_of_ones_own_is_followed(shared: Path, victim: Path, mode: int) -> None:
    """In a folder that nobody else writes to."""
    (shared / "link").symlink_to(victim)
    shared.chmod(mode)
    write_atomically(shared / "link", b"new")
    assert (shared / "link").is_symlink()
    assert victim.read_bytes() == b"new"
    assert names(shared) == ["link"]


@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
@pytest.mark.parametrize("target", ["victim", "nothing", "folder"])
def test_a_link_in_a_folder_that_everybody_writes_to_is_replaced(
    shared: Path, victim: Path, target: str, mode: int
) -> None:
    (victim.parent / "folder").mkdir()
    (shared / "link").symlink_to(victim.with_name(target))
    shared.chmod(mode)
    write_atomically(shared / "link", b"new")
    assert not (shared / "link").is_symlink()
    assert (shared / "link").read_bytes() == b"new"
    assert victim.read_bytes() == b"precious"
    assert names(shared) == ["link"]
    assert names(victim.parent) == ["folder", "victim"]


@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o1777, 0o777])
def test_another_users_link_is_replaced(shared: Path, victim: Path, mode: int) -> None:
    (shared / "link").symlink_to(victim)
    give(shared / "link")
    shared.chmod(mode)
    write_atomically(shared / "link", b"new")
    assert not (shared / "link").is_symlink()
    assert (shared / "link").stat().st_uid == os.geteuid()
    assert victim.read_bytes() == b"precious"


@needs_root
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777])
def test_a_link_in_another_users_folder_is_replaced(shared: Path, victim: Path, mode: int) -> None:
    """Whoever owns a folder may rename links of others there."""
    (shared / "link").symlink_to(victim)
    shared.chmod(mode)
    give(shared)
    write_atomically(shared / "link", b"new")
    assert not (shared / "link").is_symlink()
    assert victim.read_bytes() == b"precious"


def test_every_link_of_a_chain_counts(tmp_path: Path, shared: Path, victim: Path) -> None:
    """The first is one's own, and points at one that is not."""
    (tmp_path / "first").symlink_to("shared/second")
    (shared / "second").symlink_to("third")
    (shared / "third").symlink_to(victim)
    write_atomically(tmp_path / "first", b"new")
    assert victim.read_bytes() == b"new"
    shared.chmod(0o777)
    write_atomically(tmp_path / "first", b"newer")
    assert (tmp_path / "first").is_symlink()
    assert (shared / "second").read_bytes() == b"newer"
    assert not (shared / "second").is_symlink()
    assert victim.read_bytes() == b"new"


@pytest.mark.parametrize("relative", [False, True])
def test_a_link_on_the_way_that_may_be_anothers_is_refused(
    shared: Path, victim: Path, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would choose the folder that is written to."""
    (shared / "folder").symlink_to(victim.parent)
    shared.chmod(0o777)
    monkeypatch.chdir(shared.parent)
    for name in ("victim", "new"):
        path = Path("shared", "folder", name) if relative else shared / "folder" / name
        with pytest.raises(PermissionError, match="folder, a link on the way, may be somebody else's: name the folder"):
            write_atomically(path, b"new")
    with pytest.raises(PermissionError, match="may be somebody else's: name the folder"):
        expect_own_links(shared / "folder")
    assert names(victim.parent) == ["victim"]
    for mode in (0o755, 0o1777):  # where nobody else can exchange it
        shared.chmod(mode)
        expect_own_links(shared / "folder")
        write_atomically(shared / "folder" / "new", b"new")
        assert names(victim.parent) == ["new", "victim"]


@needs_root
def test_another_users_link_on_the_way_is_refused_in_a_sticky_folder(shared: Path, victim: Path) -> None:
    (shared / "folder").symlink_to(victim.parent)
    give(shared / "folder")
    shared.chmod(0o1777)
    with pytest.raises(PermissionError, match="may be somebody else's: name the folder"):
        write_atomically(shared / "folder" / "victim", b"new")
    assert victim.read_bytes() == b"precious"


def test_a_folder_that_is_exchanged_meanwhile_is_still_the_one_that_is_written_to(
    shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who owns the folder above puts a link to one's own folder in its place."""
    write, sync = atomic.write_atomically, os.fsync

    def exchange(descriptor: int) -> None:
        sync(descriptor)
        if not shared.is_symlink():
            shared.rename(shared.with_name("moved"))
            shared.symlink_to(victim.parent)

    monkeypatch.setattr(atomic.os, "fsync", exchange)
    write(shared / "victim", b"new")
    assert shared.is_symlink()
    assert victim.read_bytes() == b"precious"
    assert names(shared.with_name("moved")) == ["victim"]
    assert names(victim.parent) == ["victim"]


def test_a_link_that_takes_the_place_of_a_folder_is_not_followed(
    shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the opening."""
    (shared / "folder").symlink_to(victim.parent)
    look, folder = os.stat, shared.stat()

    def looks_like_a_folder(name: object, **options: object) -> os.stat_result:
        return folder if name == "folder" else look(name, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("grurt.path_walk.os.stat", looks_like_a_folder)
    with pytest.raises(NotADirectoryError):
        write_atomically(shared / "folder" / "victim", b"new")
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(("umask", "mode", "expected"), [(0, 0o666, 0o666), (0o27, 0o666, 0o640), (0, 0o644, 0o644)])
def test_permissions(shared: Path, umask: int, mode: int, expected: int) -> None:
    (shared / "file").touch(0o600)
    old = os.umask(umask)
    try:
        write_atomically(shared / "file", b"new", mode=mode)
    finally:
        os.umask(old)
    assert (shared / "file").stat().st_mode & 0o777 == expected


@pytest.mark.parametrize("path", ["", ".", "..", "/", "shared/..", "shared/", "link"])
def test_a_folder_is_not_replaced(tmp_path: Path, shared: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("/")
    with pytest.raises(FileExistsError, match="expected a regular file or none, got something else"):
        write_atomically(path, b"new")
    assert names(tmp_path) == ["link", "shared"]


def test_what_is_missing_on_the_way_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "file", tmp_path / "missing" / "folder" / "file"):
        with pytest.raises(FileNotFoundError) as caught:
            write_atomically(path, b"new")
        assert caught.value.filename == str(path)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        write_atomically(tmp_path / "file" / "below", b"new")


def test_where_folders_have_no_descriptors(shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "IS_POSSIBLE", False)
    (shared / "link").symlink_to(victim)
    write_atomically(shared / "link", b"new")
    write_atomically(shared / "file", b"new")
    assert victim.read_bytes() == (shared / "file").read_bytes() == b"new"
    with pytest.raises(FileExistsError, match="expected a regular file or none, got something else"):
        write_atomically(shared, b"new")
    assert names(shared) == ["file", "link"]


@pytest.fixture
def public() -> Iterator[Path]:
    yield from public_folder()


@needs_root
def test_a_user_writes_where_only_parts_of_the_way_can_be_read(public: Path) -> None:
    """Folders on the way may be such that they can be passed, but not listed."""
    own = public / "passed" / "own"
    own.mkdir(parents=True)
    give(own)
    own.parent.chmod(0o711)
    as_neighbour(lambda: write_atomically(own / "file", b"new"))
    assert (own / "file").read_bytes() == b"new"
    assert (own / "file").stat().st_uid == NEIGHBOUR


@needs_root
def test_in_a_sticky_folder_nobody_replaces_what_is_anothers(public: Path) -> None:
    public.chmod(0o1777)
    (public / "file").write_bytes(b"old")

    def write() -> None:
        with pytest.raises(PermissionError):
            write_atomically(public / "file", b"new")
        write_atomically(public / "own", b"new")

    as_neighbour(write)
    assert (public / "file").read_bytes() == b"old"
    assert names(public) == ["file", "own"]


def test_what_is_opened_for_writing_is_behind_no_link_of_anothers(shared: Path, victim: Path) -> None:
    (shared / "link").symlink_to(victim)
    shared.chmod(0o777)
    with pytest.raises(PermissionError, match="link, a link on the way, may be somebody else's"):
        open_for_writing(shared / "link")
    os.mkfifo(shared / "pipe")
    with pytest.raises(PermissionError, match="pipe, a pipe, may be somebody else's"):
        open_for_writing(shared / "pipe")
    assert victim.read_bytes() == b"precious"


def test_a_link_that_is_laid_while_a_path_is_walked_is_not_followed(
    shared: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_first(path: Path) -> Iterator[Step]:
        steps = list(walk(path))
        (shared / "late").symlink_to(victim)
        folder = os.open(shared, os.O_RDONLY)
        yield Step(folder, shared, "late", steps[-1].status, is_last=True)

    monkeypatch.setattr(atomic, "walk", look_first)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_for_writing(shared / "late")
    assert victim.read_bytes() == b"precious"


def test_what_is_opened_for_writing_is_made_or_left_as_it_is(shared: Path, victim: Path) -> None:
    (shared / "link").symlink_to(victim)
    for path in (shared / "new", shared / "link", shared / ".." / "shared" / "new"):
        os.close(open_for_writing(path))
    assert (shared / "new").read_bytes() == b""
    assert victim.read_bytes() == b"precious"
    with (shared / "open").open("wb") as file:
        os.close(open_for_writing(f"/proc/self/fd/{file.fileno()}"))
    with pytest.raises(IsADirectoryError):
        open_for_writing(shared)
