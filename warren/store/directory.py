"""Whether a data directory is safe: a user that can write into it can run programs as us."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from warren.model.errors import WarrenError

_log = logging.getLogger("warren.store")


class DataDirectoryError(WarrenError):
    """The data directory is in use or cannot be used. `str()` says which, and why."""


def refuse_unsafe(directory: Path) -> None:
    """Look at a resolved directory and everything above it.

    Each belongs to root or to us, and no other user may rename or replace what is in it: it is
    writable by all only with the sticky bit. A warning is logged if a group may write to it.
    Raises DataDirectoryError.
    """
    for part in (*reversed(directory.parents), directory):
        found = part.lstat()
        where = f"data directory {directory}" + ("" if part == directory else f": {part}")
        if stat.S_ISLNK(found.st_mode):
            raise DataDirectoryError(f"{where}: is a symbolic link by now; start anew")
        if found.st_uid not in (0, os.geteuid()):
            wanted = f"want it owned by root or by uid {os.geteuid()}, which this runs as"
            raise DataDirectoryError(f"{where}: belongs to uid {found.st_uid}; {wanted}")
        if found.st_mode & stat.S_ISVTX and part != directory:
            continue
        if found.st_mode & stat.S_IWOTH:
            said = f"is writable by everybody (mode {stat.S_IMODE(found.st_mode):04o})"
            raise DataDirectoryError(f"{where}: {said}; want chmod o-w")
        if found.st_mode & stat.S_IWGRP:
            said = f"may be written by group {found.st_gid}, whose members can run programs as"
            _log.warning("%s: %s uid %d; want chmod g-w", where, said, os.geteuid())
