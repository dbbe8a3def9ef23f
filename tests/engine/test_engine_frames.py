from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warren.engine.errors import EngineAwayError
from warren.engine.frames import FrameReader

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8)


def multiplexed(frames: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack(">BxxxI", stream, len(data)) + data for stream, data in frames)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(frames=FRAMES, places=st.lists(st.integers(0, 1000), max_size=12))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    frames: list[tuple[int, bytes]], places: list[int]
) -> None:
    reader, found = FrameReader(), list[tuple[int, bytes]]()
    for part in cut(multiplexed(frames), places):
        for piece in reader.feed(part):
            if piece.is_first:
                found.append((piece.stream, piece.data))
            else:
                stream, data = found.pop()
                assert stream == piece.stream
                found.append((stream, data + piece.data))
    assert found == frames
    assert reader.is_between


def test_a_frame_of_four_gigabytes_is_not_waited_for() -> None:
    reader = FrameReader()
    (piece,) = reader.feed(struct.pack(">BxxxI", 1, 0xFFFFFFFF) + b"here")
    assert (piece.data, piece.is_first, piece.is_last) == (b"here", True, False)


@pytest.mark.parametrize("head", [b"\x09\0\0\0\0\0\0\1", b"\1\0\2\0\0\0\0\1", b"HTTP/1.1"])
def test_what_is_no_frame_is_an_engine_that_does_not_answer(head: bytes) -> None:
    with pytest.raises(EngineAwayError, match="want frames"):
        list(FrameReader().feed(head))
