"""ProbeTransport: an httpx transport that costs a probe little (S11).

A plain non-blocking socket, an httptools parser and Trio for the waiting. One request per
connection; no proxy, cookie, redirect or keep-alive. The body is streamed, and already there when
it came with the head.

Invariants: when `handle_async_request` raises, for whatever reason, its socket is closed; when it
returns, closing the response closes the socket. Connections end in order (`closing.py`): at once
where nothing more can come, else in the time that takes; a cancelled one just closes.

What a request needs is worked out once and kept in its `extensions`, so build a request once, send
it often, and do not change it in between.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import httpx
import trio

from warren.net.closing import DialRate, hang_up
from warren.net.dial import (
    Address,
    call,
    connected,
    numeric,
    refused,
    words,
)
from warren.net.http_response import ResponseReader
from warren.net.http_stream import HttpStream, PlainStream, TlsStream
from warren.net.resolver import look_up

_PREPARED = "warren.prepared"
_BROKEN = (OSError, trio.BrokenResourceError)


class ProbeTransport(httpx.AsyncBaseTransport):
    """Sends each request over a connection of its own.

    A request's extensions may say `verify` (bool: check the server's certificate) and
    `sni_hostname` (str: the name to ask and check for). `authorities` makes the context that
    checks; `frequency` knows which addresses are asked very often. Timeouts are the caller's
    cancel scope.
    """

    def __init__(
        self,
        *,
        authorities: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        frequency: DialRate | None = None,
    ) -> None:
        self._authorities = authorities
        self._frequency = frequency or DialRate()
        self._contexts: dict[bool, ssl.SSLContext] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response's head, and a stream of its body. Raises httpx.TransportError."""
        prepared: _Prepared | None = request.extensions.get(_PREPARED)
        if prepared is None:
            prepared = request.extensions[_PREPARED] = _prepare(request)
        wire = await self._open(prepared)
        reader = ResponseReader()
        try:
            await wire.send(prepared.head)
            while not reader.head_complete:
                reader.feed(await wire.receive(reader.wanted))
        except httpx.RemoteProtocolError:
            await _Body(reader, wire).aclose()
            raise
        except BaseException as error:
            _end(reader, wire)
            if isinstance(error, ConnectionRefusedError) and prepared.address is not None:
                raise _read_error(refused(errno.ECONNREFUSED, prepared.address)) from error
            if isinstance(error, _BROKEN):
                raise _read_error(error) from error
            raise
        return _response(reader, wire)

    async def _open(self, prepared: _Prepared) -> HttpStream:
        try:
            if prepared.address is not None:
                return await self._open_at(prepared.address, prepared)
            *others, last = await look_up(prepared.host, prepared.port)
            for other in others:
                try:
                    return await self._open_at(other, prepared)
                except OSError:
                    continue
            return await self._open_at(last, prepared)
        except _BROKEN as error:
            raise httpx.ConnectError(_words(error)) from error

    async def _open_at(self, address: Address, prepared: _Prepared) -> HttpStream:
        reset = self._frequency.note(address.sockaddr)
        if not prepared.tls:
            if prepared.address is not None:  # the first send waits, if there is need
                return PlainStream(call(address), reset=reset)
            return PlainStream(await connected(address), reset=reset)
        context = self._context(prepared.verify)  # may read files: before there is a socket
        sock = await connected(address)
        try:
            wire = TlsStream(sock, context, prepared.tls_name, reset=reset)
            await wire.shake_hands()
        except BaseException:
            hang_up(sock, reset=reset)
            raise
        return wire

    def _context(self, verify: bool) -> ssl.SSLContext:
        if verify not in self._contexts:
            self._contexts[verify] = self._authorities() if verify else _trusting()
        return self._contexts[verify]


class _Prepared(NamedTuple):
    # What of a request is the same at every attempt. `address` is None for a name.
    host: str
    port: int
    address: Address | None
    head: bytes
    tls: bool
    tls_name: str
    verify: bool


class _Body(httpx.AsyncByteStream):
    # Not a generator: one that is left early would have to be closed by hand.

    def __init__(self, reader: ResponseReader, wire: HttpStream) -> None:
        self._reader = reader
        self._wire = wire
        self._is_broken = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        reader = self._reader
        while True:
            if chunk := reader.take_body():
                return chunk
            if reader.complete:
                raise StopAsyncIteration
            try:
                reader.feed(await self._wire.receive(reader.wanted))
            except _BROKEN as error:
                self._is_broken = True
                raise _read_error(error) from error

    async def aclose(self) -> None:
        if self._is_broken or (self._reader.complete and self._wire.is_silent):
            _end(self._reader, self._wire)
            return
        self._reader.close()
        await self._wire.close_in_order()


def _response(reader: ResponseReader, wire: HttpStream) -> httpx.Response:
    if reader.complete and wire.is_silent:
        _end(reader, wire)
        stream: httpx.AsyncByteStream = httpx.ByteStream(reader.take_body())
    else:
        stream = _Body(reader, wire)
    return httpx.Response(
        reader.status,
        headers=reader.headers,
        stream=stream,
        extensions={"reason_phrase": reader.reason},
    )


def _end(reader: ResponseReader, wire: HttpStream) -> None:
    reader.close()
    wire.close()


def _prepare(request: httpx.Request) -> _Prepared:
    url = request.url
    port = url.port or (443 if url.scheme == "https" else 80)
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), url.raw_path)]
    lines += [b"%s: %s" % header for header in request.headers.raw]
    return _Prepared(
        host=url.host,
        port=port,
        address=numeric(url.host, port),
        head=b"\r\n".join([*lines, b"", b""]),
        tls=url.scheme == "https",
        tls_name=request.extensions.get("sni_hostname") or url.raw_host.decode("ascii"),
        verify=bool(request.extensions.get("verify", True)),
    )


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _read_error(error: BaseException) -> httpx.ReadError:
    return httpx.ReadError(_words(error))


def _words(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS: certificate not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS: {cause.reason or 'broken off'}"
    return words(cause) if isinstance(cause, OSError) else "TLS: connection broken"
