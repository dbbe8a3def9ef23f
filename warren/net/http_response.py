"""Reading one HTTP response: bytes in, a head and pieces of body out. No sockets here.

    HEAD --(final head complete)--> BODY --(its end)--> complete
      ^  `--(1xx: skipped)--'

Invariants: at most `HEAD_LIMIT` bytes are taken before the head is complete, interim responses
included; after `complete` further bytes mean nothing; bad HTTP is an `httpx.RemoteProtocolError`.
"""

from __future__ import annotations

import httptools
import httpx

HEAD_LIMIT = 64 * 1024  # bytes (S11)
FRAMING_LIMIT = 256 * 1024  # bytes after the head that are no body: chunk sizes, trailers


class ResponseReader:
    """One response. Feed it until `head_complete`, then until `complete` or as far as needed."""

    __slots__ = (
        "_body", "_fed", "_framed", "_parser", "_room", "complete", "head_complete", "headers",
        "reason", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_complete = False
        self.complete = False
        self._body: list[bytes] = []
        self._framed = False
        self._fed = False
        self._room = HEAD_LIMIT
        # A reference cycle with the parser, which calls us back: `close` breaks it.
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # As browsers and Go do: a bare newline ends a line too.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)

    @property
    def wanted(self) -> int:
        """How many bytes may be fed next, at least 1."""
        return min(self._room, HEAD_LIMIT)

    def feed(self, data: bytes) -> None:
        """Take what came from the server; no bytes mean that it closed."""
        if not data:
            self._end()
            return
        assert self._parser is not None
        self._fed = True
        self._room -= len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = True  # 101 ends HTTP; its status is judged like any other
        except httptools.HttpParserError as error:
            # What follows a complete response is not looked at.
            if not self.complete:
                raise httpx.RemoteProtocolError(f"bad HTTP: {error}") from error
        if self._room <= 0 and not self.complete:
            part = "framing of the body" if self.head_complete else "response head"
            raise httpx.RemoteProtocolError(f"{part} over {_KIB[self.head_complete]}")

    def take_body(self) -> bytes:
        """The body's bytes that came since the last call."""
        body = self._body
        if not body:
            return b""
        self._body = []
        return body[0] if len(body) == 1 else b"".join(body)

    def close(self) -> None:
        """Release the parser; what was read stays."""
        self._parser = None

    def on_status(self, reason: bytes) -> None:
        if not self.head_complete:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_complete:
            return  # a trailer, or a second response
        self.headers.append((name, value))
        lower = name.lower()
        if lower == b"content-length":
            self._framed = True
        elif lower == b"transfer-encoding":
            self._framed = value.lower().endswith(b"chunked")

    def on_headers_complete(self) -> None:
        if self.head_complete:
            return
        assert self._parser is not None
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.reason, self.headers, self._framed = b"", [], False
            return
        self.status = status
        self.head_complete = True
        self._room = FRAMING_LIMIT

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self._body.append(body)
            self._room += len(body)

    def on_message_complete(self) -> None:
        self.complete = self.head_complete

    def _end(self) -> None:
        if not self._fed:
            raise httpx.RemoteProtocolError("closed without a response")
        if not self.head_complete:
            raise httpx.RemoteProtocolError("closed before the end of the response head")
        if self._framed:
            raise httpx.RemoteProtocolError("body cut short")
        self.complete = True


_KIB = {False: f"{HEAD_LIMIT // 1024} KiB", True: f"{FRAMING_LIMIT // 1024} KiB"}
