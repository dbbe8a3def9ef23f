"""A client of the Docker Engine API on its Unix socket, which Podman's service speaks too.

Every request is bounded, in time and in what is read of its answer; only streams last. A version
both sides have is agreed on first: the highest. Errors of httpx do not leave this file.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import httpx
import msgspec
import trio

from warren.engine.answers import Refusal, Version
from warren.engine.differences import explained, is_improper
from warren.engine.errors import EngineAwayError, EngineError, EngineRefusedError, one_line

LOWEST, HIGHEST = (1, 41), (1, 51)  # of the API, that this client knows
PATIENCE = 10.0  # seconds for an answer
SLOW = 60.0  # for what starts, ends or moves something
MOST_READ = 16 << 20  # bytes of an answer
MOST_LINE = 1 << 20  # of an item of a stream
T = TypeVar("T")
Query = Mapping[str, str]
_NO_QUERY: Query = {}


class EngineClient:
    """Asks the engine behind a socket. To be closed; `connect` before anything else."""

    def __init__(self, path: str) -> None:
        self.path = path
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=8)
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=path, limits=limits),
            base_url="http://engine",
            timeout=httpx.Timeout(None),  # cancel scopes instead
            trust_env=False,
        )
        self._prefix = ""

    def __repr__(self) -> str:
        return f"<EngineClient {self.path}{self._prefix}>"

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def connect(self) -> Version:
        """Agree on a version of the API. Raises EngineError."""
        self._prefix = ""
        version = await self.get("/version", Version)
        self._prefix = f"/v{agreed(version)}"
        return version

    async def ping(self) -> None:
        """Whether it answers. Raises EngineError."""
        await self._ask("GET", "/_ping")

    async def get(self, path: str, kind: type[T], *, query: Query = _NO_QUERY) -> T:
        """An answer, decoded. Raises EngineError."""
        return self._decoded(await self._ask("GET", path, query=query), kind)

    async def post(
        self,
        path: str,
        kind: type[T],
        *,
        query: Query = _NO_QUERY,
        body: object = None,
        patience: float = SLOW,
    ) -> T:
        """Ask for something to be done, and decode the answer. Raises EngineError."""
        answer = await self._ask("POST", path, query=query, body=body, patience=patience)
        return self._decoded(answer, kind)

    async def do(
        self,
        method: str,
        path: str,
        *,
        query: Query = _NO_QUERY,
        body: object = None,
        patience: float = SLOW,
    ) -> None:
        """Ask for something to be done. Raises EngineError."""
        await self._ask(method, path, query=query, body=body, patience=patience)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query = _NO_QUERY,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """What comes for as long as it comes. The head is waited for like any answer; the rest
        for ever. Raises EngineError, also from the iterator."""
        with _translated():
            request = self._request(method, path, query, body, headers)
            with _within(SLOW):
                response = await self._http.send(request, stream=True)
        chunks = _Chunks(response)
        try:
            await self._check(response, chunks)
            yield chunks
        finally:
            await chunks.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Query = _NO_QUERY,
        body: object = None,
        patience: float | None = None,
    ) -> bytes:
        patience = PATIENCE if patience is None else patience
        with _translated(), _within(patience):
            request = self._request(method, path, query, body, None)
            response = await self._http.send(request, stream=True)
            chunks = _Chunks(response)
            try:
                await self._check(response, chunks)
                return await _read(chunks)
            finally:
                await chunks.aclose()

    def _request(
        self,
        method: str,
        path: str,
        query: Query,
        body: object,
        headers: Mapping[str, str] | None,
    ) -> httpx.Request:
        if self._http.is_closed:  # by the link, while somebody held it
            raise EngineAwayError("the connection to it was given up")
        told = dict(headers or {})
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            told["Content-Type"] = "application/json"
        return self._http.build_request(
            method, self._prefix + path, params=dict(query), content=content, headers=told
        )

    @staticmethod
    async def _check(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
        if response.status_code < 400:
            return
        text = await _read(chunks)
        try:
            refusal = msgspec.json.decode(text, type=Refusal)
            said, cause = refusal.message, refusal.cause
        except msgspec.MsgspecError:
            said, cause = text[:2000].decode(errors="replace"), ""
        raise EngineRefusedError(
            response.status_code, explained(said), is_improper=is_improper(cause)
        )

    @staticmethod
    def _decoded(text: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(text, type=kind)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise EngineAwayError(f"its answer cannot be read: {one_line(str(error))}") from None


class _Chunks:
    """A response's body as it comes. httpx has generators in generators, of which those that are
    left early are never closed: so what is left is ended by a cancellation, which passes through
    all of them."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._raw = response.aiter_raw()
        self._is_over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._is_over = True  # unless it returns
        with _translated():
            chunk = await anext(self._raw)
        self._is_over = False
        return chunk

    async def aclose(self) -> None:
        if not self._is_over:
            with trio.CancelScope() as scope, contextlib.suppress(StopAsyncIteration, EngineError):
                scope.cancel()
                while True:
                    await anext(self)
        with trio.CancelScope(shield=True):
            await self._response.aclose()


async def _read(chunks: AsyncIterator[bytes]) -> bytes:
    found, size = list[bytes](), 0
    async for chunk in chunks:
        found.append(chunk)
        size += len(chunk)
        if size > MOST_READ:
            raise EngineAwayError(f"its answer has more than {MOST_READ >> 20} MiB")
    return b"".join(found)


@contextlib.contextmanager
def _within(patience: float) -> Generator[None]:
    with trio.move_on_after(patience) as scope:
        yield
    if scope.cancelled_caught:
        raise EngineAwayError(f"no answer within {patience:g} s")


@contextlib.contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise EngineAwayError(_words(error)) from None


def agreed(version: Version) -> str:
    """The highest version of the API that both have. Raises EngineAwayError."""
    try:
        newest = _number(version.api_version)
        oldest = _number(version.min_api_version) if version.min_api_version else newest
    except ValueError:
        said = f"it tells API versions {version.min_api_version!r} to {version.api_version!r}"
        raise EngineAwayError(f"{said}; want numbers such as 1.41") from None
    both = min(newest, HIGHEST)
    if both < max(oldest, LOWEST):
        wanted = f"want one from {_text(LOWEST)} to {_text(HIGHEST)}"
        raise EngineAwayError(
            f"its API has the versions {_text(oldest)} to {_text(newest)}; {wanted}"
        )
    return _text(both)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """The lines of a stream, without empty ones. Raises EngineAwayError for an endless one."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(rest) > MOST_LINE:
            raise EngineAwayError(f"an item has more than {MOST_LINE >> 20} MiB")
    if rest.strip():
        yield rest


def _number(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def _text(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def _words(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, trio.ClosedResourceError):  # our side, which has waited too long
            return "it was given up, as it gave no sign of life"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return one_line(str(error)) or type(error).__name__
