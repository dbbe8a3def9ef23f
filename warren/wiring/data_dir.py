"""Where Warren keeps its files by default."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warren.model.errors import SpecError, WarrenError

DATABASE = "manager.sqlite"  # the manager's, in its data directory


class PlatformError(WarrenError):
    """Warren cannot run here."""


def given_data_dir(_: Any, tokens: Sequence[Any]) -> Path:
    """A data directory as it was given, its links followed once. Raises SpecError."""
    name, value = tokens[0].keyword or "--data-dir", tokens[0].value
    if not value:
        raise SpecError(name, "want a directory such as /var/lib/warren", value=value)
    return Path(os.path.realpath(value))


def default_data_dir() -> Path:
    """Where this user's data directory is, its links followed once. Raises PlatformError where
    there is no such place."""
    if os.geteuid() == 0:
        return Path(os.path.realpath("/var/lib/warren"))
    share = os.environ.get("XDG_DATA_HOME", "")
    if share.startswith("/"):
        return Path(os.path.realpath(Path(share, "warren")))
    try:
        return Path(os.path.realpath(Path.home() / ".local" / "share" / "warren"))
    except RuntimeError:
        raise PlatformError("this user has no home; want --data-dir or WARREN_DATA_DIR") from None
