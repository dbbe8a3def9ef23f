"""The context a program runs in: environment, working directory, user; and finding the program.

Everything that can be refused is refused here, before anything is started, with a `CannotRunError`
that names what is missing and where it was sought.
"""

from __future__ import annotations

import dataclasses
import errno
import grp
import os
import pwd
from collections.abc import Mapping, Sequence

from warren.model.interfaces import CannotRunError, ShortageError

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATH_SHOWN = 60  # characters: it is in the message of every failed restart

_SHORT_OF = {
    errno.EMFILE: "file descriptors",
    errno.ENFILE: "file descriptors",
    errno.EAGAIN: "processes",
    errno.ENOMEM: "memory",
    errno.ENOBUFS: "memory",
    errno.ENOSPC: "disk space",
    errno.EDQUOT: "disk space",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """Numeric ids a program runs under. `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """Where a program runs. `env` is complete; `credentials` None means the supervisor's own.

    With credentials a program cannot gain privileges (by set-uid programs, say), unless
    `new_privileges`.
    """

    env: Mapping[str, str]
    cwd: str | None = None
    credentials: Credentials | None = None
    new_privileges: bool = False

    def with_env(self, extra: Mapping[str, str]) -> Context:
        """The same context with more variables."""
        return dataclasses.replace(self, env={**self.env, **extra}) if extra else self

    def check(self, argv: Sequence[str]) -> None:
        """Raise CannotRunError where no program can be given that argv."""
        if not argv or not argv[0]:
            raise CannotRunError("the command is empty: want a program to run")
        if any("\0" in part for part in argv):
            raise CannotRunError(f"{argv[0]}: a NUL character in an argument")

    def candidates(self, name: str) -> list[str]:
        """Where a program of that name may be, in order of search: by the context's PATH and
        directory."""
        directories = [""] if "/" in name else self._search.split(":")
        return [os.path.join(self.cwd or "/", directory, name) for directory in directories]  # noqa: PTH118

    def resolve(self, argv: Sequence[str]) -> list[str]:
        """The argv with the program's full path, sought in the context's PATH and directory."""
        self.check(argv)
        if self.cwd is not None and not os.path.isdir(self.cwd):  # noqa: PTH112
            raise CannotRunError(f"{self.cwd}: no such directory to run {argv[0]} in")
        return [self._find(argv[0]), *argv[1:]]

    @property
    def _search(self) -> str:
        return self.env.get("PATH", DEFAULT_PATH)

    def _find(self, name: str) -> str:
        candidates = self.candidates(name)
        for path in candidates:
            if os.access(path, os.X_OK) and not os.path.isdir(path):  # noqa: PTH112
                return path
        if "/" not in name:
            raise CannotRunError(f"{name}: not found in PATH {_shown_path(self._search)}")
        if os.path.isdir(candidates[0]):  # noqa: PTH112
            raise CannotRunError(f"{name}: is a directory")
        found = os.path.exists(candidates[0])  # noqa: PTH110
        raise CannotRunError(f"{name}: {'not executable' if found else 'no such file'}")


def _shown_path(search: str) -> str:
    """The directories for which there is room, each whole where one fits."""
    if len(search) <= PATH_SHOWN:
        return search
    room = search[: PATH_SHOWN - len("...")]
    return f"{room[: room.rfind(':') + 1] or room}..."


def credentials_of(user: str | None) -> Credentials | None:
    """The ids of `NAME`, `UID`, `NAME:GROUP` or `UID:GID`; None stands for the supervisor's own.

    A bare number that has no account runs with a group of the same number.
    """
    if user is None:
        return None
    name, _, group = user.partition(":")
    account = _account(name)
    uid = account.pw_uid if account else int(name)
    gid = _group(group) if group else (account.pw_gid if account else uid)
    if os.geteuid() != 0:
        if uid == os.geteuid() and gid in (os.getegid(), *os.getgroups()):
            return None
        raise CannotRunError(f"user {user!r}: only a supervisor run by root may change users")
    groups = os.getgrouplist(account.pw_name, gid) if account else [gid]
    return Credentials(uid, gid, tuple(groups))


def is_shortage(error: OSError) -> bool:
    """Whether the system is short of something, so that a later try may succeed."""
    return error.errno in _SHORT_OF


def cannot_run(error: OSError, program: str) -> CannotRunError:
    """What to say when the system refused to start a program."""
    what = _SHORT_OF.get(error.errno or 0)
    if what is not None:
        return ShortageError(f"{program}: no {what} left ({error.strerror})")
    return CannotRunError(f"{program}: {error.strerror or error}")


def cannot_exec(error: OSError, argv: Sequence[str], env: Mapping[str, str]) -> CannotRunError:
    """What to say when the system refused to make a process into a program that is there."""
    program = argv[0]
    match error.errno:
        case errno.ENOENT | errno.EACCES if interpreter := interpreter_of(program):
            if error.errno == errno.EACCES and os.access(interpreter, os.X_OK):
                return CannotRunError(f"{program}: {error.strerror}: its user may not run it")
            return CannotRunError(f"{program}: its interpreter {interpreter}: {error.strerror}")
        case errno.ENOENT if os.path.exists(program):  # noqa: PTH110
            return CannotRunError(f"{program}: the loader it is linked with is missing")
        case errno.ENOEXEC:
            wanted = "want a program of this machine, or a script that begins with #!"
            return CannotRunError(f"{program}: {error.strerror}: {wanted}")
        case errno.E2BIG:
            size = sum(len(os.fsencode(word)) + 1 for word in argv)
            size += sum(len(os.fsencode(f"{name}={value}")) + 1 for name, value in env.items())
            wanted = f"want less than the {size:,} bytes of arguments and variables, each < 128 KiB"
            return CannotRunError(f"{program}: {error.strerror}: {wanted}")
        case _:
            return cannot_run(error, program)


def interpreter_of(path: str) -> str | None:
    """The interpreter in a script's first line; None where it is no script, or cannot be read."""
    try:
        # A pipe may be executable too: do not wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            first = os.read(handle, 256).partition(b"\n")[0]
        finally:
            os.close(handle)
    except OSError:
        return None
    words = first[2:].split(maxsplit=1) if first.startswith(b"#!") else []
    if not words:
        return None
    # The kernel takes a carriage return for a part of the name, so it is shown.
    return os.fsdecode(words[0]) + ("\\r" if first.endswith(b"\r") and len(words) == 1 else "")


def _account(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except KeyError:
        if name.isdecimal():
            return None
        raise CannotRunError(f"user {name!r}: no such user on this machine") from None


def _group(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise CannotRunError(f"group {name!r}: no such group on this machine") from None
