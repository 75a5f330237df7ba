"""Whose files may be run: those that only root, this user, or the owner of this package can have put where they are.

All of these can have any code run in this process anyway. Somebody else can put a file at a path who owns it or a
folder on the way, or may write to one: so the whole way is looked at, of the path as it is given and of every link on
it. A library is loaded by its path, not by a descriptor: on a way that is trusted, nobody else can exchange it.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import Iterator
from contextlib import closing

from grurt.notices import say
from grurt.path_walk import IS_POSSIBLE, Step, walk
from grurt.regular_files import open_regular_file, read_to_size

_ACCESS_LIST = "system.posix_acl_access"


class UntrustedError(OSError):
    """Somebody else may have put something where it is. ``strerror`` says what lets them."""

    def __init__(self, reason: str, path: str | os.PathLike[str]) -> None:
        super().__init__(errno.EPERM, f"somebody else may have put it there: {reason}", os.fspath(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def read_trusted_file(path: str | os.PathLike[str]) -> bytes:
    """Return the bytes of a regular file that nobody else can have put where it is, or have written to.

    Raises
    ------
    UntrustedError
        If somebody else can.
    OSError
        As `read_regular_file` does.
    """
    expect_trusted(path)
    with open_regular_file(path) as file:
        if IS_POSSIBLE and (reason := _reason(os.fspath(path), os.fstat(file.fileno()))):
            raise UntrustedError(reason, path)
        return read_to_size(file, path)


def expect_trusted(path: str | os.PathLike[str]) -> None:
    """Raise UntrustedError if somebody else can have put there what lies at a path, and OSError if nothing does.

    Where the system knows neither owners nor modes of files, everything is trusted.
    """
    if not IS_POSSIBLE:
        return
    reason = None
    with closing(walk(_absolute(path))) as steps:
        for step in steps:
            if step.status is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
            reason = reason or _step_reason(step)
    if reason is not None:
        raise UntrustedError(reason, path)


def is_trusted(path: str | os.PathLike[str]) -> bool:
    """Return whether there is something at a path that nobody else can have put there."""
    try:
        expect_trusted(path)
    except OSError:
        return False
    return True


def is_ours(step: Step) -> bool:
    """Return whether nobody else can have put what is there into its folder."""
    return all(_reason(path, status) is None for path, status in _folder_and_itself(step))


def is_in_a_shared_folder(step: Step) -> bool:
    """Return whether others may put something beside it, be it that nobody can exchange what is another's there."""
    return _right_to_write(step.folder_path, os.fstat(step.folder)) is not None


def say_passed_by(error: UntrustedError) -> None:
    """Say on stderr, once in a process, that something is passed by: every start would read the same again."""
    if not _said:
        _said.append(error)
        say(
            f"passed by {error}: take the right to write there away from others (chown, chmod), "
            f"or name a folder of your own in GRURT_CACHE_DIR (or GRURT_NATIVE); see docs/deployment.md"
        )


def has_passed_by() -> bool:
    """Return whether something was passed by in this process."""
    return bool(_said)


_said: list[UntrustedError] = []


def _folder_and_itself(step: Step) -> list[tuple[str, os.stat_result]]:
    """Return the folder of a component, and what is there, if there is something; each with its path."""
    found = [(step.folder_path, os.fstat(step.folder))]
    return found if step.status is None else [*found, (step.path, step.status)]


def _step_reason(step: Step) -> str | None:
    for path, found in _folder_and_itself(step):
        if _identity(found) not in _package_folders() and (reason := _reason(path, found)):
            return reason
    return None


def _reason(path: str, status: os.stat_result) -> str | None:
    """Return what lets others change something, or, in a folder, exchange what is not theirs; None if nothing does."""
    if status.st_uid not in _trusted_users():
        return f"{path} belongs to {_user(status.st_uid)}"
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if is_sticky or stat.S_ISLNK(status.st_mode):  # as /tmp: nobody can exchange another's file; a link has no mode
        return None
    return _right_to_write(path, status)


def _right_to_write(path: str, status: os.stat_result) -> str | None:
    """Return who else may write to something that is one's own; None if nobody may."""
    if status.st_mode & stat.S_IWOTH:
        return f"everybody may write to {path}"
    if status.st_mode & stat.S_IWGRP:
        if not _is_group_of(_trusted_users(), status.st_gid):
            return f"the group {_group(status.st_gid)} may write to {path}"
        if _has_access_list(path):
            return f"an access control list may let others write to {path}"
    return None


def _trusted_users() -> frozenset[int]:
    users = {0, _package_owner()}
    # A process that can change back to another user would lend that one's rights to the files of this one.
    own = set(os.getresuid()) if hasattr(os, "getresuid") else {os.getuid(), os.geteuid()}
    return frozenset(users | own if len(own) == 1 else users)


def _is_group_of(users: frozenset[int], gid: int) -> bool:
    """Return whether all members of a group are among some users.

    Directories of users need not list whom they have. So a group without any known member is none of theirs, unless it
    has the name of one of them, as the private groups of Linux have.
    """
    import grp
    import pwd

    def names(uid: int) -> list[str]:
        try:
            return [pwd.getpwuid(uid).pw_name]
        except KeyError:
            return []

    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return False
    own = {name for uid in users for name in names(uid)}
    members = {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}.union(group.gr_mem)
    return members <= own and (bool(members) or group.gr_name in own)


def _has_access_list(path: str) -> bool:
    """Return whether a file may have an access control list: the group's bits in its mode then stand for all of it."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True


@functools.cache
def _package_owner() -> int:
    return os.stat(_package_place()).st_uid


@functools.cache
def _package_folders() -> frozenset[tuple[int, int]]:
    """Return the folders that hold this package: whoever may write there may exchange the package as well."""
    place = _package_place()
    folders = {*_with_folders_above(place), *_with_folders_above(os.path.dirname(os.path.realpath(place)))}
    return frozenset(_identity(os.stat(folder)) for folder in folders)


def _package_place() -> str:
    """Return the folder of this package, or the archive that it is in."""
    return next(place for place in _with_folders_above(os.path.dirname(_absolute(__file__))) if os.path.exists(place))


def _absolute(path: str | os.PathLike[str]) -> str:
    """Return an absolute path; what ``..`` stands for is left to the system, which knows of links."""
    text = os.fspath(path)
    return text if os.path.isabs(text) else os.path.join(os.getcwd(), text)


def _with_folders_above(path: str) -> Iterator[str]:
    """Yield an absolute path, its folder, and so on."""
    while (above := os.path.dirname(path)) != path:
        yield path
        path = above
    yield path


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _user(uid: int) -> str:
    import pwd

    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
