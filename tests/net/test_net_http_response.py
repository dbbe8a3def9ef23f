"""The response reader, and a check that meets arbitrary bytes (S11)."""

from __future__ import annotations

import httpx
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.checks.check_servers import OK, answering, serving
from warren.checks import run_check
from warren.model.check import HttpCheck, Result
from warren.net.http_response import HEAD_LIMIT, ResponseReader

PARTS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 500 No\r\n", b"HTTP/1.1 100 C\r\n\r\n",
    b"HTTP/1.1 101 S\r\n",
    b"HTTP/1.1 304 N\r\n", b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Upgrade: x\r\n",
    b"Connection: upgrade\r\n", b"Connection: close\r\n", b" folded\r\n", b"\r\n", b"\n",
    b"3\r\nabc\r\n", b"0\r\n\r\n", b"0\r\nX: trailer\r\n\r\n",
    b"ffffffffffffffff\r\n", b"abc", b"\x00", b"\xff" * 9,
]  # fmt: skip
ANSWERS = st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), max_size=12)


def read(pieces: list[bytes]) -> tuple[int, bytes, bytes] | str:
    """The status, reason and body of a whole answer, or what is wrong with it."""
    reader = ResponseReader()
    body = b""
    try:
        for piece in [*pieces, b""]:
            if not reader.complete:
                reader.feed(piece)
                body += reader.take_body()
    except httpx.RemoteProtocolError:
        return "bad"
    return reader.status, reader.reason, body


@given(ANSWERS, st.data())
@example([OK], None)
def test_response_does_not_depend_on_how_it_was_cut(parts: list[bytes], data: object) -> None:
    answer = b"".join(parts)
    pieces = [answer[index : index + 1] for index in range(len(answer))]
    whole = read([answer] if answer else [])
    # What comes in the same piece after a complete response is never looked at, so a piece may
    # only ever be judged better than its bytes.
    assert read(pieces) == whole


@settings(max_examples=150, deadline=None)
@given(ANSWERS)
async def test_http_any_bytes_end_in_pass_or_fail(parts: list[bytes]) -> None:
    async with serving(answering(*parts)) as target:  # S1, S11
        with trio.fail_after(20):
            outcome = await run_check(HttpCheck(), target, timeout=10)
    assert outcome.result in (Result.PASS, Result.FAIL)
    assert "within" not in outcome.detail  # the server closed, so nothing was waited for in vain


def test_response_wants_no_more_than_a_head_may_have() -> None:
    reader = ResponseReader()
    assert reader.wanted == HEAD_LIMIT
    reader.feed(b"HTTP/1.1 200 OK\r\n")
    assert reader.wanted == HEAD_LIMIT - 17


def test_response_framing_has_its_own_limit() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"1;extension-of-thirty-bytes-or-so\r\nx\r\n" * 3000  # over 64 KiB, under 256
    assert read([head + chunks[:100], chunks[100:], b"0\r\n\r\n"]) == (200, b"OK", b"x" * 3000)


def test_response_body_counts_towards_no_limit() -> None:
    body = b"x" * 65536  # how much is read is the caller's to say
    pieces = [b"HTTP/1.1 200 OK\r\n\r\n", *[body] * 8]
    assert read(pieces) == (200, b"OK", body * 8)
