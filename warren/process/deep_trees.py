"""Walk a tree of directories, however deep it is and however long its paths become.

A process that may make cgroups may nest them deeper than Python recurses, with longer paths than
the kernel takes. So the walk uses descriptors, one open at a time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def walk_below(
    top: Path,
    *,
    enter: Callable[[int], None] = lambda _directory: None,
    leave: Callable[[int, str], None] = lambda _above, _name: None,
) -> None:
    """Walk `top` and the directories below it, however deep they are and long their paths.

    `enter` gets the descriptor of each, `leave` that of the one above and the name, once all below
    is done. Raises FileNotFoundError where one is removed meanwhile.
    """
    here = os.open(top, _DIRECTORY)
    try:
        enter(here)
        left, trail = [_names_in(here)], list[str]()
        while True:
            if left[-1]:
                trail.append(left[-1].pop())
                below = os.open(trail[-1], _DIRECTORY, dir_fd=here)
                here = _closed(here, below)
                enter(here)
                left.append(_names_in(here))
            elif trail:
                here = _closed(here, os.open("..", _DIRECTORY, dir_fd=here))
                left.pop()
                leave(here, trail.pop())
            else:
                return
    finally:
        os.close(here)


def _closed(old: int, new: int) -> int:
    os.close(old)
    return new


def _names_in(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
