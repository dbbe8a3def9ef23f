"""What a manager would make of a state file, tried on a copy."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from warren.manager.dry_run import dry_run
from warren.store.backup import copy_of
from warren.store.state import StateStore


def unplanned(database: Path) -> Mapping[str, str]:
    """The services that a manager of this file would set aside, and why. Raises StoreError."""
    with tempfile.TemporaryDirectory(prefix="warren-") as folder:
        copy = Path(folder) / database.name
        copy_of(database, copy)
        logging.disable(logging.CRITICAL)  # its findings are returned
        try:
            with closing(StateStore.open(copy)) as store:
                return dry_run(store)
        finally:
            logging.disable(logging.NOTSET)
