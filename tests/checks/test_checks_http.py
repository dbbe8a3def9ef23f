"""HTTP checks against real sockets (S11)."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

import httpx
import pytest
import trio
import trio.testing
from check_servers import (
    CALM,
    OK,
    Ending,
    Found,
    answering,
    deaf_listener,
    endless,
    free_port,
    held_sockets,
    open_files,
    read_request,
    resolve_by,
    serving,
    sockets_of,
)

from warren.checks import Checker, HttpChecker, ProbeTransport, run_check
from warren.model.check import HttpCheck, Outcome, Result, Scheme, StatusRange
from warren.model.interfaces import Target
from warren.net.closing import LINGER, DialRate

TIME = 5.0  # seconds; enough for any answer that does come
SHORT = 0.2  # seconds; for answers that never come
CHUNK_WITHOUT_END = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"


def head_of(size: int) -> bytes:
    start, end = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", b"\r\n\r\n"
    return start + b"x" * (size - len(start) - len(end)) + end


async def ask(*pieces: bytes, then: str = "close", timeout: float = TIME) -> Outcome:
    async with serving(answering(*pieces, then=then)) as target:
        return await CALM(HttpCheck(), target, timeout=timeout)


async def request_of(check: HttpCheck) -> tuple[bytes, list[bytes]]:
    seen: list[bytes] = []

    async def answer(stream: trio.abc.Stream) -> None:
        seen.append(await read_request(stream))
        await stream.send_all(OK)

    async with serving(answer) as target:
        await run_check(check, target, timeout=TIME)
        port = str(target.ports["http"]).encode()
    line, *headers = seen[0].replace(port, b"PORT").removesuffix(b"\r\n\r\n").split(b"\r\n")
    return line, headers


async def test_http_passes_on_a_good_answer() -> None:
    outcome = await ask(OK)  # S11
    assert (outcome.result, outcome.detail) == (Result.PASS, "200 OK")
    assert 0 < outcome.duration < TIME


@pytest.mark.parametrize("status", [200, 204, 301, 304, 399])
async def test_http_passes_on_200_to_399(status: int) -> None:
    outcome = await ask(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status, then="hold")  # S11
    assert (outcome.result, outcome.detail) == (Result.PASS, f"{status} X")


@pytest.mark.parametrize("status", [101, 199, 400, 404, 500, 503, 999])
async def test_http_fails_outside_of_the_range_and_says_what_it_wants(status: int) -> None:
    head = b"HTTP/1.1 %d Oh No\r\nContent-Length: 0\r\n\r\n" % status  # S11
    outcome = await ask(head)
    if status == 199:
        assert outcome.detail == "closed before the end of the response head"  # interim
    else:
        assert outcome.detail == f"HTTP {status} Oh No, want 200-399"
    assert outcome.result is Result.FAIL


async def test_http_a_switch_of_protocols_is_judged_like_any_status() -> None:
    answer = b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n\0\1"  # S11
    assert (await ask(answer, then="hold")).detail == "HTTP 101 Go, want 200-399"


async def test_http_judges_by_the_range_asked_for() -> None:
    check = HttpCheck(status=StatusRange(204, 204))  # S11
    async with serving(answering(OK)) as target:
        outcome = await run_check(check, target, timeout=TIME)
    assert (outcome.result, outcome.detail) == (Result.FAIL, "HTTP 200 OK, want 204")


async def test_http_follows_no_redirect() -> None:
    asked: list[bytes] = []  # S11

    async def redirect(stream: trio.abc.Stream) -> None:
        asked.append(await read_request(stream))
        await stream.send_all(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")

    async with serving(redirect) as target:
        outcome = await run_check(HttpCheck(path="/a"), target, timeout=TIME)
    assert (outcome.result, outcome.detail) == (Result.PASS, "302 Found")
    assert [request.split()[1] for request in asked] == [b"/a"]


async def test_http_detail_never_has_body_or_headers() -> None:
    answer = b"HTTP/1.1 500 Bad\r\nX-Token: secret\r\nContent-Length: 6\r\n\r\nsecret"  # S11
    assert "secret" not in (await ask(answer)).detail


async def test_http_reason_phrase_is_bounded_and_harmless() -> None:
    outcome = await ask(b"HTTP/1.1 500 " + b"a\xff\x7f" * 500 + b"\r\nContent-Length: 0\r\n\r\n")
    assert len(outcome.detail.encode()) < 120  # S11
    assert "\x7f" not in outcome.detail


async def test_http_sends_a_short_request() -> None:
    line, headers = await request_of(HttpCheck(path="/healthz?full=1&x=%20"))  # S11
    assert line == b"GET /healthz?full=1&x=%20 HTTP/1.1"
    assert headers == [
        b"Host: 127.0.0.1:PORT",
        b"User-Agent: warren-probe/0.1.0",
        b"Accept: */*",
        b"Connection: close",
    ]


async def test_http_own_headers_override_and_remove() -> None:
    given = {"host": "shop.example", "ACCEPT": "", "User-Agent": "me", "X-Empty": "", "X-A": "b"}
    _, headers = await request_of(HttpCheck(headers=given))  # S11
    assert sorted(headers) == [
        b"Connection: close",
        b"User-Agent: me",
        b"X-A: b",
        b"X-Empty: ",
        b"host: shop.example",
    ]


async def test_http_sends_a_header_as_often_as_it_is_given() -> None:
    check = HttpCheck(headers={"X-A": ("1", "2"), "x-a": "3", "Accept": ("", "text/html")})
    _, headers = await request_of(check)  # S11
    assert [h for h in headers if h.lower().startswith(b"x-a")] == [
        b"X-A: 1",
        b"X-A: 2",
        b"x-a: 3",
    ]
    assert [h for h in headers if h.startswith(b"Accept")] == [b"Accept: text/html"]


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_http_asks_the_host_the_check_names(host: str) -> None:
    async with serving(answering(OK), host=host) as target:  # S14
        asked = Target(address="192.0.2.1", ports=target.ports)
        assert (await run_check(HttpCheck(host=host), asked, timeout=TIME)).detail == "200 OK"


async def test_http_host_can_be_removed() -> None:
    _, headers = await request_of(HttpCheck(headers={"Host": ""}))  # S11
    assert not [header for header in headers if header.lower().startswith(b"host")]


async def test_http_uses_no_proxy_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):  # S11
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert (await ask(OK)).result is Result.PASS


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more, HTTP/1.1 500",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK,
        OK + b"HTTP/1.1 500 Again\r\nContent-Length: 2\r\n\r\nno",
    ],
)
async def test_http_understands_every_framing(answer: bytes) -> None:
    outcome = await ask(answer)  # S11
    assert (outcome.result, outcome.detail) == (Result.PASS, "200 OK")
    pieces = [answer[i : i + 1] for i in range(len(answer))]
    assert (await ask(*pieces)).detail == "200 OK"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 X\r\n\r\n",
        b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_http_waits_for_no_body_where_there_is_none(head: bytes) -> None:
    assert (await ask(head, then="hold")).result is Result.PASS  # S11


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"", "closed without a response"),
        (b"HTTP/1.1 200", "closed before the end of the response head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "200 OK, but body cut short"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "200 OK, but body cut short",
        ),
    ],
)
async def test_http_fails_when_the_answer_is_cut_short(answer: bytes, detail: str) -> None:
    outcome = await ask(answer)  # S11
    assert (outcome.result, outcome.detail) == (Result.FAIL, detail)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_http_fails_on_bad_http(answer: bytes) -> None:
    outcome = await ask(answer, then="hold")  # S11
    assert outcome.result is Result.FAIL
    assert outcome.detail.removeprefix("200 OK, but ").startswith("bad HTTP: ")


async def test_http_reports_the_status_rather_than_a_broken_body() -> None:
    outcome = await ask(b"HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nno")  # S11
    assert outcome.detail == "HTTP 500 Oh, want 200-399"


async def test_http_fails_on_a_reset() -> None:
    assert await detail_of(then="reset") == "Connection reset by peer"  # S1
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    assert await detail_of(head, then="reset") == "200 OK, but Connection reset by peer"


async def detail_of(*pieces: bytes, then: str) -> str:
    outcome = await ask(*pieces, then=then)
    assert outcome.result is Result.FAIL
    return outcome.detail


async def test_http_fails_when_refused() -> None:
    for scheme in Scheme:
        check = HttpCheck(port=(port := free_port()), scheme=scheme)
        outcome = await run_check(check, Target(), timeout=TIME)  # S1
        refused = f"127.0.0.1:{port}: Connection refused"
        assert (outcome.result, outcome.detail) == (Result.FAIL, refused)


@pytest.mark.parametrize(
    ("pieces", "missing"),
    [
        ((), "response head"),
        ((b"HTTP/1.1 200 OK\r\n",), "response head"),
    ],
)
async def test_http_timeout_says_what_did_not_come(pieces: tuple[bytes], missing: str) -> None:
    outcome = await ask(*pieces, then="hold", timeout=SHORT)  # S9
    assert (outcome.result, outcome.detail) == (Result.FAIL, f"no {missing} within 200ms")
    assert outcome.duration >= SHORT


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (b"503 Full", "HTTP 503 Full, want 200-399"),
        (b"200 OK", "200 OK, but no end of the body within 200ms"),
    ],
)
async def test_http_reports_the_status_where_the_body_stalls(status: bytes, detail: str) -> None:
    head = b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\nok"  # S11
    outcome = await ask(head, then="hold", timeout=SHORT)
    assert (outcome.result, outcome.detail) == (Result.FAIL, detail)


async def test_http_timeout_covers_the_connection() -> None:
    with deaf_listener() as target:  # S9
        outcome = await CALM(HttpCheck(), target, timeout=SHORT)
    assert (outcome.result, outcome.detail) == (Result.FAIL, "no connection within 200ms")


async def test_http_timeout_is_one_for_the_whole_attempt() -> None:
    # A byte at a time keeps every single wait short; the attempt is cut all the same (S9).
    async with serving(endless(CHUNK_WITHOUT_END, b"x")) as target:
        outcome = await CALM(HttpCheck(), target, timeout=SHORT)
    assert outcome.detail == "200 OK, but no end of the body within 200ms"


async def test_http_framing_of_a_body_is_bounded() -> None:
    async with serving(endless(CHUNK_WITHOUT_END, b"x" * 4096)) as target:
        outcome = await run_check(HttpCheck(), target, timeout=TIME)
    assert outcome.detail == "200 OK, but framing of the body over 256 KiB"


async def test_http_reads_ten_kib_of_an_endless_body() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n"  # S11
    async with serving(endless(head, b"x" * 4096)) as target:
        outcome = await run_check(HttpCheck(), target, timeout=TIME)
    assert outcome.result is Result.PASS


async def test_http_reads_the_body_up_to_ten_kib_and_no_further() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"  # S11
    assert (await ask(head, b"x" * 10240, then="hold")).result is Result.PASS
    late = await ask(head, b"x" * 10239, then="hold", timeout=SHORT)
    assert late.detail == "200 OK, but no end of the body within 200ms"


async def test_http_head_may_have_64_kib_and_no_more() -> None:
    assert (await ask(head_of(65536))).result is Result.PASS  # S11
    outcome = await ask(head_of(65537))
    assert (outcome.result, outcome.detail) == (Result.FAIL, "response head over 64 KiB")


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 100),
        (b"HTTP/1.1 200 ", b"OK" * 100),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
async def test_http_fails_on_an_endless_head(start: bytes, piece: bytes) -> None:
    async with serving(endless(start, piece)) as target:  # S11
        outcome = await CALM(HttpCheck(), target, timeout=TIME)
    assert (outcome.result, outcome.detail) == (Result.FAIL, "response head over 64 KiB")


@pytest.mark.parametrize("address", ["::1", "[::1]"])
async def test_http_asks_over_ipv6(address: str) -> None:
    async with serving(answering(OK), host="::1") as target:  # S14
        asked = Target(address=address, ports=target.ports)
        outcome = await run_check(HttpCheck(), asked, timeout=TIME)
    assert outcome.detail == "200 OK"


async def test_http_asks_a_host_by_name() -> None:
    async with serving(answering(OK)) as target:
        asked = Target(address="localhost", ports=target.ports)
        outcome = await run_check(HttpCheck(), asked, timeout=TIME)
    assert outcome.detail == "200 OK"


def two_addresses(_host: str, _port: int) -> Found:
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", PORTS[0], 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", PORTS[0])),
    ]


PORTS = [0]


async def test_http_tries_every_address_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_by(monkeypatch, two_addresses)
    async with serving(answering(OK)) as target:
        PORTS[0] = target.ports["http"]
        asked = Target(address="two.example", ports=target.ports)
        assert (await run_check(HttpCheck(), asked, timeout=TIME)).detail == "200 OK"
    PORTS[0] = free_port()
    refused = f"127.0.0.1:{PORTS[0]}: Connection refused"
    assert (await run_check(HttpCheck(port=1), asked, timeout=TIME)).detail == refused


async def test_http_fails_when_the_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_host: str, _port: int) -> Found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve_by(monkeypatch, nobody)
    outcome = await run_check(HttpCheck(port=80), Target(address="no.example"), timeout=TIME)  # S1
    assert (outcome.result, outcome.detail) == (
        Result.FAIL,
        "name not found: Name or service not known",
    )


async def test_http_numeric_address_needs_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering(OK)) as target:
        monkeypatch.setattr(socket, "getaddrinfo", None)  # S14
        assert (await run_check(HttpCheck(), target, timeout=TIME)).result is Result.PASS


@pytest.mark.parametrize("port", ["http", None, 0])
async def test_http_port_is_a_number_a_name_or_the_only_one(port: int | str | None) -> None:
    async with serving(answering(OK)) as target:  # S11
        number = target.ports["http"] if port == 0 else port
        outcome = await run_check(HttpCheck(port=number), target, timeout=TIME)
    assert outcome.result is Result.PASS


@pytest.mark.parametrize(
    ("port", "ports", "detail"),
    [
        ("admin", {"http": 1, "app": 2}, "port 'admin' is unknown: the task's ports are app, http"),
        (None, {"http": 1, "app": 2}, "no port is given: the task's ports are app, http"),
        (None, {}, "no port is given: the task's ports are none"),
    ],
)
async def test_http_unknown_port_is_an_error(
    port: str | None, ports: dict[str, int], detail: str
) -> None:
    outcome = await run_check(HttpCheck(port=port), Target(ports=ports), timeout=TIME)  # S1
    assert (outcome.result, outcome.detail) == (Result.ERROR, detail)


@pytest.mark.parametrize(
    ("address", "result"),
    [("::zz", Result.ERROR), ("xn--zz--", Result.ERROR), ("a..b", Result.FAIL)],
)
async def test_http_unusable_address_raises_nothing(address: str, result: Result) -> None:
    outcome = await run_check(HttpCheck(port=80), Target(address=address), timeout=TIME)  # S1
    assert outcome.result is result


@contextmanager
def no_descriptors_left() -> Generator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_http_without_descriptors_is_an_error() -> None:
    async with serving(answering(OK)) as target:  # S1
        with no_descriptors_left():
            outcome = await run_check(HttpCheck(), target, timeout=TIME)
    assert (outcome.result, outcome.detail) == (Result.ERROR, "no file descriptors left")


async def test_http_leaves_no_time_wait_behind_where_it_asks_very_often() -> None:
    # The server holds on, so it is us who close first (S11): 600 a second must not use up ports.
    checker = Checker(transport=ProbeTransport(frequency=DialRate(often=0)))
    async with serving(answering(OK, then="hold")) as target:
        check = HttpCheck()
        before = sockets_of(target.ports["http"]).count("06")  # of an earlier test with this port
        for _ in range(20):
            assert (await checker(check, target, timeout=TIME)).result is Result.PASS
        assert sockets_of(target.ports["http"]).count("06") <= before


BODY = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        BODY + b"x" * 400_000,  # beyond what is read
        b"HTTP/1.1 503 Full\r\nContent-Length: 2\r\n\r\nok",
        b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 100_000,
        head_of(200_000),
    ],
)
async def test_http_ends_in_order(answer: bytes) -> None:
    ending = Ending()  # S11

    async def watching(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(answer)
        await ending.watch(stream)

    async with serving(watching) as target:
        await run_check(HttpCheck(), target, timeout=TIME)
        assert await ending.wait() == "in order"


async def test_http_timeout_ends_in_order_too() -> None:
    ending = Ending()

    async def silent(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await ending.watch(stream)

    async with serving(silent) as target:
        await CALM(HttpCheck(), target, timeout=SHORT)
        assert await ending.wait() == "in order"


async def test_http_parting_delays_no_answer_beyond_the_timeout() -> None:
    async with serving(answering(BODY + b"x" * 20_000, then="hold")) as target:
        outcome = await CALM(HttpCheck(), target, timeout=LINGER / 2)
    assert outcome.detail == "200 OK"  # S11
    assert outcome.duration < LINGER / 2


async def test_http_cancelled_leaves_no_socket_behind() -> None:
    with deaf_listener() as deaf:
        before = open_files()
        await cancel_ten(deaf)
        assert open_files() == before  # S15
    async with serving(answering(then="hold")) as target:
        await cancel_ten(target)
        assert not held_sockets(target.ports["http"])


async def cancel_ten(target: Target) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(patient, target)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught


async def patient(target: Target) -> None:
    await run_check(HttpCheck(), target, timeout=TIME)
    pytest.fail("the cancellation was swallowed")


@pytest.mark.parametrize("then", ["hold", "close", "reset"])
@pytest.mark.parametrize("pieces", [(), (b"HTTP/1.1 200 OK\r\n",), (head_of(99) + b"x",), (b"?",)])
async def test_http_leaves_no_socket_behind(pieces: tuple[bytes], then: str) -> None:
    async with serving(answering(*pieces, then=then)) as target:
        await CALM(HttpCheck(), target, timeout=SHORT)
        assert not held_sockets(target.ports["http"])


async def test_http_any_httpx_transport_will_do() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(418, content=b"x" * 20000)

    check = HttpCheck(path="/tea", port=8080, headers={"Host": "pot"})
    outcome = await Checker(transport=httpx.MockTransport(answer))(check, Target(), timeout=TIME)
    assert outcome.detail == "HTTP 418 I'm a teapot, want 200-399"
    assert str(seen[0].url) == "http://127.0.0.1:8080/tea"
    assert seen[0].headers["host"] == "pot"


class LongBody(httpx.AsyncByteStream):
    """A body that tells how far it was read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        try:
            for number in range(100):
                self.read.append(f"{number}")
                yield b"x" * 4096
        finally:
            self.read.append("left")

    async def aclose(self) -> None:
        self.read.append("closed")


async def test_http_reads_no_more_than_it_must_from_any_transport() -> None:
    body = LongBody()
    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=body))
    outcome = await HttpChecker(transport=transport)(HttpCheck(port=80), Target(), timeout=TIME)
    assert outcome.result is Result.PASS  # S11
    assert body.read == ["0", "1", "2", "left", "closed"]


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (httpx.ConnectError("refused"), Result.FAIL),
        (httpx.ReadTimeout(""), Result.FAIL),
        (OSError(errno.EHOSTUNREACH, ""), Result.FAIL),
        (OSError("odd"), Result.FAIL),
        (OSError(errno.ENOBUFS, ""), Result.ERROR),
        (httpx.UnsupportedProtocol("gopher"), Result.ERROR),
    ],
)
async def test_http_gives_foreign_errors_a_meaning(error: Exception, result: Result) -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        raise error

    checker = HttpChecker(transport=httpx.MockTransport(broken))
    outcome = await checker(HttpCheck(port=80), Target(), timeout=TIME)  # S1
    assert outcome.result is result
    assert outcome.detail


async def test_http_shortage_behind_a_transports_error_is_our_error() -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("all is lost") from OSError(errno.EMFILE, "")

    checker = HttpChecker(transport=httpx.MockTransport(broken))
    outcome = await checker(HttpCheck(port=80), Target(), timeout=TIME)  # S1
    assert (outcome.result, outcome.detail) == (Result.ERROR, "no file descriptors left")


async def test_http_our_own_bugs_come_through() -> None:
    def buggy(_request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    checker = HttpChecker(transport=httpx.MockTransport(buggy))
    with pytest.raises(ZeroDivisionError):
        await checker(HttpCheck(port=80), Target(), timeout=TIME)


async def test_http_builds_a_request_once_per_check_and_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200)

    monkeypatch.setattr("warren.checks.http.REQUESTS_KEPT", 2)
    checker = HttpChecker(transport=httpx.MockTransport(answer))
    check = HttpCheck()
    for port in (1, 1, 2, 3, 1):
        await checker(check, Target(ports={"http": port}), timeout=TIME)
    assert len({id(request) for request in requests}) == 4  # the third address made room
    assert requests[0] is requests[1]
    assert [request.url.port for request in requests] == [1, 1, 2, 3, 1]
