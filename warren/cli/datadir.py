"""Where Warren keeps its things unless told otherwise."""

from __future__ import annotations

import os
from pathlib import Path

from warren.model.errors import WarrenError


class PlatformError(WarrenError):
    """Warren cannot run here."""


def default_data_dir() -> Path:
    """Where this user's data directory is. Raises PlatformError where there is no such place."""
    if os.geteuid() == 0:
        return Path("/var/lib/warren")
    share = os.environ.get("XDG_DATA_HOME", "")
    if share.startswith("/"):
        return Path(share) / "warren"
    try:
        return Path.home() / ".local" / "share" / "warren"
    except RuntimeError:
        raise PlatformError("this user has no home; want --data-dir or WARREN_DATA_DIR") from None
