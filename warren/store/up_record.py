"""What one `warren up` leaves for the next, in a small file of the data directory.

`services` are those of its file, so that what is gone from the file can go. `has_ended` tells a
requested end (also a forced one) from a `kill -9`: after the former finished jobs run again,
after the latter they do not.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from warren.model.errors import WarrenError

_NAME = "up.json"


class UpRecord(msgspec.Struct, frozen=True, kw_only=True):
    """See the module."""

    services: tuple[str, ...] = ()
    has_ended: bool = True


def read_note(directory: Path) -> UpRecord:
    """The last note; an empty one where there is none, or none that can be read."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(directory / _NAME, flags), "rb") as file:
            return msgspec.json.decode(file.read(), type=UpRecord)
    except (OSError, msgspec.DecodeError):
        return UpRecord()


def write_note(directory: Path, note: UpRecord) -> None:
    """Write a note. Raises WarrenError where the disk fails."""
    new = directory / f"{_NAME}.new"
    try:
        new.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(msgspec.json.encode(note))
        new.replace(directory / _NAME)
    except OSError as error:
        raise WarrenError(f"{directory / _NAME} cannot be written: {error.strerror}") from None


def note_end(directory: Path, note: UpRecord) -> None:
    """Write that it has ended. Where that needs more than there is (room, descriptors) and the note
    says nothing else, it is removed, as none means the same. Raises WarrenError."""
    try:
        write_note(directory, msgspec.structs.replace(note, has_ended=True))
    except WarrenError:
        if note.services:
            raise
        with suppress(OSError):
            (directory / _NAME).unlink(missing_ok=True)
            return
        raise
