"""What one `warren up` leaves for the next, in a small file of the data directory.

`services` are those of its file, so that what is gone from the file can go. `has_ended` tells an
end that was asked for (also where it was forced) from a `kill -9`: after the first, finished jobs
run again, after the second not.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from warren.model.errors import WarrenError

_NAME = "up.json"


class UpNote(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    services: tuple[str, ...] = ()
    has_ended: bool = True


def read_note(directory: Path) -> UpNote:
    """The last note; an empty one where there is none, or none that can be read."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(directory / _NAME, flags), "rb") as file:
            return msgspec.json.decode(file.read(), type=UpNote)
    except (OSError, msgspec.DecodeError):
        return UpNote()


def write_note(directory: Path, note: UpNote) -> None:
    """Leave a note. Raises WarrenError where the disk does not take it."""
    new = directory / f"{_NAME}.new"
    try:
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(msgspec.json.encode(note))
        new.replace(directory / _NAME)
    except OSError as error:
        raise WarrenError(f"{directory / _NAME} cannot be written: {error.strerror}") from None
