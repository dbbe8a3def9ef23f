"""Making a piece of the file that is written to. All system calls go through `os`.

It is written to all the time: what is added during the copy is copied as well, and once more, with
the slot's lock, right before the file is truncated. What is added between those two calls is lost.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from warren.logs.reading import SlotFiles

_COPY = 1 << 20  # bytes at once


class FloodError(Exception):
    """It grows faster than it can be copied."""


class Copied(NamedTuple):
    """What of the newest file was copied: from where up to where, in bytes of it."""

    begin: int
    end: int


def copy_end(slot: SlotFiles, most: int, *, most_growth: int) -> Copied:
    """Copy the end of the newest file, and what is added meanwhile: at most `most` bytes, and
    `most_growth` of the added. Raises FloodError where it grows faster than that, and OSError."""
    reader = os.open(slot.newest, os.O_RDONLY | os.O_CLOEXEC)
    try:
        stat = os.fstat(reader)
        end = stat.st_size
        begin = offset = max(0, end - most)
        with _written_new(slot, stat.st_mode) as writer:
            while offset < end:
                sent = os.sendfile(writer, reader, offset, min(_COPY, end - offset))
                if sent == 0:
                    break
                offset += sent
                if offset < end and os.fstat(reader).st_size - end > most_growth:
                    raise FloodError
            stop = min(end + most_growth, begin + most)
            return Copied(begin, _copy_up_to(stop, writer, reader, offset))
    finally:
        os.close(reader)


def copy_rest(slot: SlotFiles, copied: Copied, most: int, *, most_growth: int) -> None:
    """Add what has come since: the last step before the file is truncated. Raises OSError."""
    reader = os.open(slot.newest, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = os.open(new_piece(slot), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(writer, 0, os.SEEK_END)  # sendfile takes no O_APPEND
            stop = min(copied.end + most_growth, copied.begin + most)
            _copy_up_to(stop, writer, reader, copied.end)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_up_to(stop: int, writer: int, reader: int, offset: int) -> int:
    """Copy from `offset` until there is no more, or up to `stop`; returns where it stopped."""
    while offset < (end := min(os.fstat(reader).st_size, stop)):
        sent = os.sendfile(writer, reader, offset, min(_COPY, end - offset))
        if sent == 0:
            break
        offset += sent
    return offset


def write_new(slot: SlotFiles, data: bytes, mode: int) -> None:
    with _written_new(slot, mode) as writer:
        while data:
            data = data[os.write(writer, data) :]


@contextmanager
def _written_new(slot: SlotFiles, mode: int) -> Generator[int]:
    """A descriptor of the piece being made; an incomplete one is removed. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    writer = os.open(new_piece(slot), flags, 0o640)
    try:
        os.fchmod(writer, mode & 0o777)
        yield writer
    except (OSError, FloodError):
        with suppress(OSError):
            os.unlink(new_piece(slot))  # noqa: PTH108
        raise
    finally:
        os.close(writer)


def shift(slot: SlotFiles, bases: list[int]) -> None:
    """Every older piece moves up by one; the oldest is lost."""
    for number in range(slot.keep, 1, -1):
        for path in (slot.path, slot.index_path):
            try:
                os.replace(path(number - 1), path(number))  # noqa: PTH105
            except FileNotFoundError:
                with suppress(FileNotFoundError):
                    os.unlink(path(number))  # noqa: PTH108
        bases[number] = bases[number - 1]


def new_piece(slot: SlotFiles) -> Path:
    return slot.newest.with_name(f"{slot.newest.name}.new")
