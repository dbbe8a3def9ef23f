from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.engine.log_lines import Cursor, LogReader, nanoseconds

# Of one stream times do not fall; many entries have the same.
STEPS = st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(0, 1), st.binary(max_size=9)))


def written(at: int) -> bytes:
    seconds, rest = divmod(at, 10**9)
    return f"2026-11-24T06:12:{seconds:02d}.{rest:09d}Z ".encode()


def entry(stream: int, at: int, data: bytes) -> bytes:
    body = written(at) + data
    return struct.pack(">BxxxI", stream, len(body)) + body


@given(steps=STEPS, stops=st.lists(st.integers(0, 300), max_size=4), chunk=st.integers(1, 50))
def test_copying_that_is_killed_anywhere_neither_loses_nor_doubles_a_byte(
    steps: list[tuple[int, int, bytes]], stops: list[int], chunk: int
) -> None:
    at, entries = 0, list[tuple[int, int, bytes]]()
    for stream, step, data in steps:
        at += step
        entries.append((stream, at, data))
    whole = b"".join(data for _, _, data in entries)
    copy, cursor = b"", Cursor()
    for stop in [*stops, 10**6]:
        kept = [one for one in entries if not cursor.since or one[1] + BASE >= since(cursor)]
        stream = b"".join(entry(*one) for one in kept)
        reader = LogReader(cursor, skip=len(copy) - cursor.position)
        for begin in range(0, min(stop, len(stream)), chunk):
            copy += reader.feed(stream[begin : begin + chunk])
            if begin % 3 == 0:  # else it is killed before the cursor is written
                cursor = reader.cursor
    assert copy == whole


BASE = nanoseconds(b"2026-11-24T06:12:00Z") or 0


def since(cursor: Cursor) -> int:
    seconds, _, rest = cursor.since.partition(".")
    return int(seconds) * 10**9 + int(rest)


def test_times_are_read_as_both_engines_write_them() -> None:
    docker = nanoseconds(b"2026-11-24T06:12:01.120000000Z")
    assert docker == nanoseconds(b"2026-11-24T07:12:01.12+01:00")
    assert docker == nanoseconds(b"2026-11-24T04:42:01.12-01:30")
    assert nanoseconds(b"yesterday") is None


@pytest.mark.parametrize(
    "time",
    [
        b"9999-99-99T99:99:99.9Z",
        b"2026-13-01T00:00:00Z",
        b"0000-01-01T00:00:00Z",
        b"1969-12-31T23:59:59Z",
        b"2999-01-01T00:00:00Z",  # no cursor holds this
    ],
)
def test_a_time_that_cannot_be_is_none(time: bytes) -> None:
    assert nanoseconds(time) is None
    data = time + b" what was written\n"
    assert LogReader(Cursor()).feed(struct.pack(">BxxxI", 1, len(data)) + data) == data


def test_an_entry_without_a_time_is_output_all_the_same() -> None:
    data = b"no time here\n"
    assert LogReader(Cursor()).feed(struct.pack(">BxxxI", 1, len(data)) + data) == data
