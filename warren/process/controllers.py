"""Which controllers, and so which limits (S27), the cgroups of instances can have.

    <mount>/<root>/                     gives its controllers to what is below
                  /warren-supervisor    this process: a cgroup that gives some may hold none itself
                  /warren-<token>       the base: it gives them to the instances below it

This process alone is moved, and only where it is alone: everything else in its cgroup is somebody
else's. It is not moved out of the cgroup of a systemd service, as systemd could then start no other
supervisor there while tasks of this one run; with `DelegateSubgroup=warren-supervisor` it starts in
the right one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from warren.process.cgroup_limits import write_control

LEAF = "warren-supervisor"
WANTED = ("memory", "cpu", "pids")
_GIVEN = "cgroup.subtree_control"
_PROCESSES = "cgroup.procs"


class Controllers(NamedTuple):
    """Those that the base can give; and why not all of WANTED, empty where it can."""

    given: frozenset[str]
    lacking: str = ""
    has_moved: bool = False


NONE = Controllers(frozenset(), "not asked for")


def root_of(own: Path) -> Path:
    """The cgroup that has the base and the supervisor's, from the supervisor's."""
    return own.parent if own.name == LEAF else own


def take_controllers(root: Path) -> Controllers:
    """Have `root` give what controllers it has; where it must be, move this process below it."""
    there = [name for name in WANTED if name in _words(root / "cgroup.controllers")]
    if not there:
        return Controllers(frozenset(), "cgroup2 has none of their controllers here")
    has_moved = False
    # Where processes are some can be given all the same, which makes the cgroup a threaded one: no
    # process may be below it then. The topmost cgroup alone has no type, and may have both.
    if (root / "cgroup.type").exists() and (inside := _words(root / _PROCESSES)):
        why = _why_not_moved(root, inside)
        if why is not None:
            return Controllers(frozenset(), why)
        has_moved = True
    error = give(root, there)
    given = _given(root)
    if has_moved and not given:
        leave_controllers(root)
        has_moved = False
    lacking = ", ".join(name for name in WANTED if name not in given)
    why = "not delegated" if error is None else error.strerror
    return Controllers(given, f"{lacking} in {root}: {why}" if lacking else "", has_moved)


def leave_controllers(root: Path) -> None:
    """Move this process back. Where that cannot be, as another supervisor needs the controllers,
    all stays as it is."""
    with contextlib.suppress(OSError):
        for name in _given(root):
            write_control(root / _GIVEN, f"-{name}")
        write_control(root / _PROCESSES, str(os.getpid()))
        (root / LEAF).rmdir()


def give(cgroup: Path, names: Iterable[str]) -> OSError | None:
    """Give these to what is below the cgroup; the error of the last that it cannot give. Each by
    itself, as one may be refused."""
    failed: OSError | None = None
    for name in names:
        try:
            write_control(cgroup / _GIVEN, f"+{name}")
        except OSError as error:
            failed = error
    return failed


def _why_not_moved(root: Path, inside: Iterable[str]) -> str | None:
    """Move this process out of the cgroup, or say why not."""
    if root.name.endswith(".service"):
        return f"want DelegateSubgroup={LEAF} in its unit {root.name}"
    own = str(os.getpid())
    if any(pid != own for pid in inside):
        wanted = "want it started in a cgroup of its own, such as by systemd-run --scope"
        return f"other processes are in its cgroup {root}; {wanted} -p Delegate=yes"
    try:
        (root / LEAF).mkdir(exist_ok=True)
        write_control(root / LEAF / _PROCESSES, own)
    except OSError as error:
        return f"{root}: {error.strerror}"
    return None


def _given(cgroup: Path) -> frozenset[str]:
    return frozenset(WANTED).intersection(_words(cgroup / _GIVEN))


def _words(path: Path) -> list[str]:
    try:
        return os.fsdecode(path.read_bytes()).split()
    except OSError:
        return []
