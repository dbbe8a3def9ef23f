"""HTTP checks over TLS (S11)."""

from __future__ import annotations

import ssl
from functools import partial

import pytest
import trio
import trustme
from check_servers import (
    CALM,
    OK,
    Ending,
    answering,
    deaf_listener,
    held_sockets,
    read_request,
    reset,
    serving,
)

from warren.checks import Checker, ProbeTransport, run_check
from warren.model.check import HttpCheck, Outcome, Result, Scheme
from warren.model.interfaces import Target

TIME = 5.0
SHORT = 0.2
CA = trustme.CA()
HTTPS = HttpCheck(scheme=Scheme.HTTPS)
VERIFIED = HttpCheck(scheme=Scheme.HTTPS, verify=True)


def certificate(*names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(*names).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    return context


def knowing() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)  # pyright: ignore[reportUnknownMemberType]
    return context


KNOWING = Checker(transport=ProbeTransport(authorities=knowing))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_https_passes_without_verifying(host: str) -> None:
    async with serving(answering(OK), host=host, tls=certificate("x.example")) as target:  # S11
        outcome = await run_check(HTTPS, target, timeout=TIME)
    assert (outcome.result, outcome.detail) == (Result.PASS, "200 OK")


async def test_https_verifies_when_told_to() -> None:
    async with serving(answering(OK), tls=certificate("127.0.0.1")) as target:  # S11
        known = await KNOWING(VERIFIED, target, timeout=TIME)
        unknown = await run_check(VERIFIED, target, timeout=TIME)
    assert known.result is Result.PASS
    assert unknown.result is Result.FAIL
    assert unknown.detail.startswith("TLS: certificate not trusted: ")


async def test_https_verifies_against_the_host_header() -> None:
    async with serving(answering(OK), tls=certificate("shop.example")) as target:
        assert (await verified("shop.example:8443", target)).result is Result.PASS
        assert (await verified("other.example", target)).result is Result.FAIL
        assert (await verified(".shop.example", target)).result is Result.FAIL
        assert (await verified("[::zz", target)).result is Result.FAIL


async def verified(host: str, target: Target) -> Outcome:
    check = HttpCheck(scheme=Scheme.HTTPS, verify=True, headers={"Host": host})
    return await KNOWING(check, target, timeout=TIME)


async def test_https_reads_a_body_that_ends_with_the_connection() -> None:
    answer = answering(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 5000)
    async with serving(answer, tls=certificate("x.example")) as target:
        assert (await run_check(HTTPS, target, timeout=TIME)).result is Result.PASS


async def test_https_fails_on_a_plain_server() -> None:
    async def plain(stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 400 Plain\r\n\r\n")

    async with serving(plain) as target:
        outcome = await run_check(HTTPS, target, timeout=TIME)
    assert outcome.result is Result.FAIL
    assert outcome.detail.startswith("TLS: ")


async def test_https_fails_when_the_handshake_is_broken_off() -> None:
    async def slam(stream: trio.abc.Stream) -> None:
        reset(stream)

    async def leave(_stream: trio.abc.Stream) -> None:
        await trio.lowlevel.checkpoint()

    for handler in (slam, leave):
        async with serving(handler) as target:
            assert (await run_check(HTTPS, target, timeout=TIME)).result is Result.FAIL


async def test_https_timeout_says_what_did_not_come() -> None:
    silent = answering(then="hold")  # S9
    async with serving(silent) as target:
        outcome = await CALM(HTTPS, target, timeout=SHORT)
    assert outcome.detail == "no TLS handshake within 200ms"
    async with serving(silent, tls=certificate("x.example")) as target:
        outcome = await CALM(HTTPS, target, timeout=SHORT)
    assert outcome.detail == "no response head within 200ms"
    with deaf_listener() as target:
        outcome = await CALM(HTTPS, target, timeout=SHORT)
    assert outcome.detail == "no connection within 200ms"


async def test_https_leaves_no_socket_behind() -> None:
    async with serving(answering(then="hold"), tls=certificate("x.example")) as target:
        asks = partial(run_check, HTTPS, timeout=TIME)
        with trio.move_on_after(SHORT) as scope:
            await asks(target=target)
        assert scope.cancelled_caught
        assert not held_sockets(target.ports["http"])  # S15


async def test_https_says_goodbye() -> None:
    ending = Ending()  # S11

    async def answer(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(OK)
        await ending.watch(stream)

    # Strict: without a close_notify its end of file is an error.
    async with serving(answer, tls=certificate("x.example"), is_strict=True) as target:
        assert (await run_check(HTTPS, target, timeout=TIME)).detail == "200 OK"
        assert await ending.wait() == "in order"


async def test_https_ends_in_order_where_the_body_goes_on() -> None:
    ending = Ending()

    async def answer(stream: trio.abc.Stream) -> None:
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000)
        await ending.watch(stream)

    async with serving(answer, tls=certificate("x.example")) as target:
        assert (await run_check(HTTPS, target, timeout=TIME)).result is Result.PASS
        assert await ending.wait() == "in order"  # S11
