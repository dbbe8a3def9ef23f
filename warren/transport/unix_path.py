"""A socket's path as the kernel takes it: at most 107 bytes, a longer one by its directory."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

LONGEST_PATH = 107  # bytes, less the NUL that ends it


@contextmanager
def within_reach(path: Path) -> Generator[str, None, None]:
    """The path, or a short one by way of a descriptor of its directory. Raises OSError."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield os.fspath(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
