"""The HTTP check: GET, and judge the status (S11).

Invariants: the detail has the status and never the body nor a header; the body is read to its end
or to `BODY_LIMIT`; the status is reported whatever becomes of the body; the answer is set before
the connection is closed, which may take a moment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from warren import __version__
from warren.checks.attempt import Attempt
from warren.checks.detail import one_line
from warren.checks.port_names import port_number
from warren.model.check import HttpCheck, Outcome, Result
from warren.model.interfaces import Target
from warren.net.dial import unbracketed
from warren.net.http_transport import ProbeTransport
from warren.resilience.loop_lag import LoopLag

BODY_LIMIT = 10 * 1024  # bytes
REASON_LIMIT = 64  # bytes of the server's reason phrase that are shown
REQUESTS_KEPT = 10_000  # some 3 KB each
DEFAULT_HEADERS = {
    "User-Agent": f"warren-probe/{__version__}",
    "Accept": "*/*",
    "Connection": "close",
}


class HttpChecker:
    """Runs HTTP checks over `transport`: `ProbeTransport`, or any other that httpx has."""

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        lag: LoopLag | None = None,
    ) -> None:
        self._transport = transport or ProbeTransport()
        self._lag = lag
        # By the check's identity, which is safe while the check is held here as well: building
        # a request costs more than the rest of an attempt's own work.
        self._requests: dict[tuple[int, str, int], tuple[HttpCheck, httpx.Request]] = {}

    async def __call__(self, check: HttpCheck, target: Target, *, timeout: float) -> Outcome:
        """One attempt, `timeout` seconds from connect to the end of the body."""
        with Attempt(timeout, self._lag) as attempt:
            port = port_number(check.port, target.ports)
            request = self._request(check, check.host or target.address, port)
            attempt.waiting_for = "response head"
            response = await self._transport.handle_async_request(request)
            attempt.waiting_for = "end of the body"
            await _judge(attempt, check, response)
        return attempt.outcome

    def _request(self, check: HttpCheck, address: str, port: int) -> httpx.Request:
        key = (id(check), address, port)
        kept = self._requests.get(key)
        if kept is not None:
            return kept[1]
        if len(self._requests) >= REQUESTS_KEPT:
            self._requests.clear()
        request = build_request(check, address, port)
        self._requests[key] = check, request
        return request


def build_request(check: HttpCheck, address: str, port: int) -> httpx.Request:
    """The request of a check. Raises httpx.InvalidURL."""
    url = httpx.URL(
        scheme=check.scheme.value,
        host=unbracketed(address),
        port=port,
        raw_path=check.path.partition("#")[0].encode("ascii"),
    )
    headers = httpx.Headers(_headers(check))
    extensions: dict[str, object] = {"verify": check.verify}
    if name := _server_name(headers.get("host", "")):
        extensions["sni_hostname"] = name
    request = httpx.Request("GET", url, headers=headers, extensions=extensions)
    if _removes_host(check):
        del request.headers["host"]  # which the line above has added
    return request


def _headers(check: HttpCheck) -> list[tuple[str, str]]:
    # An empty value removes a default header; of any other it is the value.
    defaults = {name.lower() for name in DEFAULT_HEADERS} | {"host"}
    given = {name.lower() for name in check.headers}
    kept = [(name, value) for name, value in DEFAULT_HEADERS.items() if name.lower() not in given]
    own = [
        (name, value)
        for name, value in check.header_lines()
        if value or name.lower() not in defaults
    ]
    return kept + own


def _removes_host(check: HttpCheck) -> bool:
    return any(name.lower() == "host" and not value for name, value in check.header_lines())


def _server_name(host: str) -> str | None:
    # Of a Host header, for TLS. One that is no host name may still be sent.
    try:
        name = httpx.URL(f"//{host}").raw_host.decode("ascii")
    except httpx.InvalidURL:
        return None
    return None if name.startswith(".") else name


async def _judge(attempt: Attempt, check: HttpCheck, response: httpx.Response) -> None:
    attempt.known = _shown(response)
    is_wanted = response.status_code in check.status
    if not is_wanted:
        attempt.answer(Result.FAIL, f"HTTP {attempt.known}, want {check.status}")
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    try:
        await _read(stream)
        if is_wanted:
            attempt.answer(Result.PASS, attempt.known)
    finally:
        await stream.aclose()


async def _read(stream: httpx.AsyncByteStream) -> None:
    if isinstance(stream, httpx.ByteStream):
        return  # it is all here
    size = 0
    chunks = aiter(stream)
    async for chunk in chunks:
        size += len(chunk)
        if size >= BODY_LIMIT:
            break
    if isinstance(chunks, AsyncGenerator):
        await chunks.aclose()


def _shown(response: httpx.Response) -> str:
    reason = one_line(response.reason_phrase, REASON_LIMIT)
    return f"{response.status_code} {reason}".rstrip()
