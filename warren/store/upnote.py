"""What one `warren up` leaves for the next, in a small file of the data directory.

`services` are those of its file, so that what is gone from the file can go. `has_ended` tells an
orderly end from a `kill -9`: after the first, finished jobs run again, after the second not.
"""

from __future__ import annotations

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
        return msgspec.json.decode((directory / _NAME).read_bytes(), type=UpNote)
    except (OSError, msgspec.DecodeError):
        return UpNote()


def write_note(directory: Path, note: UpNote) -> None:
    """Leave a note. Raises WarrenError where the disk does not take it."""
    new = directory / f"{_NAME}.new"
    try:
        new.write_bytes(msgspec.json.encode(note))
        new.replace(directory / _NAME)
    except OSError as error:
        raise WarrenError(f"{directory / _NAME} cannot be written: {error.strerror}") from None
