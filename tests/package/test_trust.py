"""Files are run only if nobody else can have put them where they are: who that is, and which folders are looked at."""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from neighbours import NEIGHBOUR, give, needs_root

from grurt import trust
from grurt.path_walk import walk
from grurt.regular_files import NotRegularError
from grurt.trust import UntrustedError, expect_trusted, is_trusted, read_trusted_file, say_passed_by

pytestmark = pytest.mark.skipif(os.name != "posix", reason="this system has neither owners nor modes of files")

FILE, FOLDER, LINK = stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK


@pytest.fixture(autouse=True)
def nothing_is_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_said", [])


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process be alice's, on a machine with some users and groups, and no access control lists."""
    users = [("root", 0, 0), ("alice", 1, 1), ("bob", 2, 2), ("carol", 3, 30), ("dave", 4, 30)]
    groups = {0: ("root", []), 1: ("alice", []), 2: ("bob", []), 5: ("friends", ["alice", "bob"])}
    groups |= {6: ("own", ["alice"]), 30: ("staff", []), 40: ("empty", []), 7: ("gone", ["nobody known"])}
    accounts = [SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid) for name, uid, gid in users]
    by_id = {account.pw_uid: account for account in accounts}
    modules = {
        "pwd": SimpleNamespace(getpwall=lambda: accounts, getpwuid=by_id.__getitem__),
        "grp": SimpleNamespace(getgrgid=lambda gid: SimpleNamespace(gr_name=groups[gid][0], gr_mem=groups[gid][1])),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(os, "getresuid", lambda: (1, 1, 1), raising=False)
    monkeypatch.setattr(trust, "_package_owner", lambda: 0)
    refuse_access_lists(monkeypatch, errno.ENODATA)


def refuse_access_lists(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def getxattr(*arguments: object, **options: object) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "getxattr", getxattr, raising=False)


def reason(mode: int, uid: int = 1, gid: int = 1) -> str | None:
    """Return why something of a mode, an owner and a group is not trusted."""
    return trust._reason("/place", os.stat_result((mode, 0, 0, 1, uid, gid, 0, 0, 0, 0)))


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize(
    ("mode", "uid", "gid", "expected"),
    [
        (FILE | 0o644, 1, 1, None),
        (FILE | 0o644, 0, 0, None),
        (FILE | 0o600, 2, 2, "/place belongs to the user bob"),
        (FILE | 0o600, 99, 1, "/place belongs to user 99"),
        (FILE | 0o646, 1, 1, "everybody may write to /place"),
        (FILE | 0o1646, 1, 1, "everybody may write to /place"),
        (FOLDER | 0o777, 1, 1, "everybody may write to /place"),
        (FOLDER | 0o777, 0, 0, "everybody may write to /place"),
        (FOLDER | 0o1777, 0, 0, None),
        (FOLDER | 0o1777, 2, 2, "/place belongs to the user bob"),
        (LINK | 0o777, 1, 1, None),
        (LINK | 0o777, 2, 1, "/place belongs to the user bob"),
        (FILE | 0o664, 1, 1, None),  # a private group, as Linux gives each user
        (FILE | 0o664, 0, 0, None),
        (FILE | 0o664, 1, 6, None),  # a group with one member, who is named in it
        (FOLDER | 0o775, 1, 5, "the group friends may write to /place"),
        (FOLDER | 0o1775, 1, 5, None),
        (FOLDER | 0o775, 1, 30, "the group staff may write to /place"),  # others have it as their first group
        (FOLDER | 0o775, 1, 40, "the group empty may write to /place"),  # users that are not listed may be in it
        (FOLDER | 0o775, 1, 7, "the group gone may write to /place"),
        (FOLDER | 0o775, 1, 2, "the group bob may write to /place"),
        (FOLDER | 0o775, 1, 99, "the group 99 may write to /place"),
    ],
)
def test_who_may_write(mode: int, uid: int, gid: int, expected: str | None) -> None:
    assert reason(mode, uid, gid) == expected


def test_a_private_group_of_a_user_who_is_not_listed(alice: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As directories of users have it that answer for a name, and list nobody."""
    monkeypatch.setattr(sys.modules["pwd"], "getpwall", list)
    assert reason(FILE | 0o664) is None
    assert reason(FILE | 0o664, gid=40) == "the group empty may write to /place"


@pytest.mark.parametrize(
    ("users", "is_trusted_user"),
    [((1, 1, 1), True), ((1, 1, 0), False), ((0, 1, 0), False), ((1, 0, 0), False), ((2, 1, 1), False)],
)
def test_a_user_whose_process_can_become_another_is_not_trusted(
    users: tuple[int, int, int], is_trusted_user: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs with the setuid bit, and services that give up root for a while."""
    monkeypatch.setattr(os, "getresuid", lambda: users, raising=False)
    monkeypatch.setattr(trust, "_package_owner", lambda: 0)
    assert (reason(FILE | 0o600, uid=1) is None) == is_trusted_user
    assert reason(FILE | 0o600, uid=0, gid=0) is None
    monkeypatch.setattr(trust, "_package_owner", lambda: 1)
    assert reason(FILE | 0o600, uid=1) is None
    monkeypatch.delattr(os, "getresuid", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: users[0])
    monkeypatch.setattr(os, "geteuid", lambda: users[1])
    monkeypatch.setattr(trust, "_package_owner", lambda: 0)
    assert (reason(FILE | 0o600, uid=1) is None) == (users[:2] == (1, 1))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENODATA, None),
        (errno.ENOTSUP, None),
        (errno.EACCES, "an access control list may let others write to /place"),
    ],
)
def test_an_access_list_that_cannot_be_read(
    alice: None, code: int, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_access_lists(monkeypatch, code)
    assert reason(FILE | 0o664) == expected
    monkeypatch.delattr(os, "getxattr")
    assert reason(FILE | 0o664) is None


def allow(path: Path, user: int) -> None:
    """Let another user read and write, by an access control list."""
    nobody = 0xFFFFFFFF
    entries = [(1, 7, nobody), (2, 7, user), (4, 5, nobody), (16, 7, nobody), (32, 5, nobody)]
    content = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", content)
    except (AttributeError, OSError):
        pytest.skip("this file system has no access control lists")


def test_an_access_list_that_lets_another_user_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_is_group_of", lambda users, gid: True)
    assert is_trusted(tmp_path)
    allow(tmp_path, NEIGHBOUR)
    assert tmp_path.stat().st_mode & 0o070 == 0o070
    with pytest.raises(UntrustedError, match="an access control list may let others write to"):
        expect_trusted(tmp_path)
    tmp_path.chmod(0o705)
    assert is_trusted(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file some folders below, the only way to which is through two links."""
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "far" / "folder" / "file").write_bytes(b"content")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "relative").symlink_to("../far/../far/folder")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "absolute").symlink_to(tmp_path / "links" / "relative")
    return tmp_path / "near" / "absolute" / "file"


def test_a_file_on_a_way_of_ones_own(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_trusted_file(file) == b"content"
    monkeypatch.chdir(file.parent.parent)
    assert read_trusted_file("absolute/file") == b"content"
    assert read_trusted_file("../near/./absolute//file") == b"content"
    with pytest.raises(FileNotFoundError):
        read_trusted_file("absolute/missing")
    with pytest.raises(FileNotFoundError):
        read_trusted_file("missing/file")
    with pytest.raises(NotRegularError):
        read_trusted_file("absolute")


@pytest.mark.parametrize("place", ["", "near", "links", "far", "far/folder"])
def test_every_folder_on_the_way_counts(tmp_path: Path, file: Path, place: str) -> None:
    (tmp_path / place).chmod(0o777)
    with pytest.raises(UntrustedError) as caught:
        read_trusted_file(file)
    folder = (tmp_path / place).resolve()
    assert str(caught.value) == f"{file}: somebody else may have put it there: everybody may write to {folder}"
    with pytest.raises(FileNotFoundError):
        read_trusted_file(file.with_name("missing"))
    (tmp_path / place).chmod(0o1777)
    assert read_trusted_file(file) == b"content"


@needs_root
@pytest.mark.parametrize(
    "place", ["", "near", "near/absolute", "links", "links/relative", "far", "far/folder", "far/folder/file"]
)
def test_every_owner_on_the_way_counts(tmp_path: Path, file: Path, place: str) -> None:
    give(tmp_path / place)
    with pytest.raises(UntrustedError, match=f"belongs to user {NEIGHBOUR}$"):
        read_trusted_file(file)
    assert not is_trusted(file)


def test_the_file_itself_counts(file: Path) -> None:
    file.chmod(0o666)
    with pytest.raises(UntrustedError, match=r"everybody may write to .*file"):
        read_trusted_file(file)


def test_the_file_that_is_read_is_the_one_that_was_looked_at(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "expect_trusted", lambda path: None)
    file.chmod(0o666)
    with pytest.raises(UntrustedError, match=r"everybody may write to .*file"):
        read_trusted_file(file)


def test_folders_that_hold_the_package_are_as_good_as_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "grurt"
    package.mkdir(parents=True)
    (package / "native").mkdir()
    (package / "native" / "file").write_bytes(b"content")
    (tmp_path / "site").chmod(0o777)
    assert not is_trusted(package / "native" / "file")
    monkeypatch.setattr(trust, "_package_place", lambda: package)
    monkeypatch.setattr(trust, "_package_folders", trust._package_folders.__wrapped__)
    assert read_trusted_file(package / "native" / "file") == b"content"
    (package / "native").chmod(0o777)
    assert not is_trusted(package / "native" / "file")


def test_the_package_in_an_archive_has_the_archives_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "application.zip"
    archive.touch()
    monkeypatch.setattr(trust, "__file__", str(archive / "grurt" / "trust.py"))
    assert trust._package_place() == str(archive)
    assert trust._package_owner.__wrapped__() == archive.stat().st_uid


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels") as caught:
        list(walk(tmp_path / "a"))
    assert caught.value.errno == errno.ELOOP


def test_a_link_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("/")
    assert [step.name for step in walk(tmp_path / "root" / "dev" / "null")][-3:] == ["root", "dev", "null"]
    with pytest.raises(NotADirectoryError):
        list(walk("/dev/null/file"))


def test_no_descriptor_is_left_open(file: Path) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not say which descriptors are open")
    before = count()
    for _ in range(3):
        read_trusted_file(file)
        is_trusted(file.with_name("missing"))
    assert count() == before


def test_where_there_are_no_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "IS_POSSIBLE", False)
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "file").chmod(0o666)
    assert read_trusted_file(tmp_path / "file") == b"content"


def test_what_is_passed_by_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("first", "second"):
        say_passed_by(UntrustedError("everybody may write to /x", f"/x/{name}\x1b]0;evil\a\n\u202e.so"))
    assert trust.has_passed_by()
    printed = capsys.readouterr().err
    assert printed == (
        "grurt: passed by /x/first\\x1b]0;evil\\x07\\n\\u202e.so: somebody else may have put it there: "
        "everybody may write to /x: take the right to write there away from others (chown, chmod), or name a folder "
        "of your own in GRURT_CACHE_DIR (or GRURT_NATIVE); see docs/deployment.md\n"
    )


def test_nothing_is_said_without_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    say_passed_by(UntrustedError("everybody may write to /x", "/x/file"))
